"""The paper under a digit: how bright it would be without the ink."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array
from .grey import reduced

_FLAT = 6.0  # grey levels: a border that changes by less is of one grey
_SMALL = 64  # pixels: a smooth surface needs no more of a picture
_ROUNDS = 8
_SPREAD = 1.4826  # standard deviations in a median of distances, for normal noise


def border(grey: Array) -> Array:
    """Return the pixels along the four sides, a fiftieth of the shorter one deep."""
    depth = max(1, min(grey.shape) // 50)
    outer = np.ones(grey.shape, bool)
    outer[depth:-depth, depth:-depth] = False
    return grey[outer]


def paper(grey: Array) -> Any:
    """Return the grey of the paper: one number, or (H, W) where the light falls unevenly on it.

    Args:
        grey: a picture (H, W), with less than half of its border inked.

    Example:
        >>> sheet = np.full((20, 20), 200.0)
        >>> sheet[5:15, 8:12] = 30
        >>> float(paper(sheet))
        200.0
    """
    along = border(grey)
    usual = float(np.median(along))
    if np.percentile(np.abs(along - usual), 75) <= _FLAT:
        return np.float32(usual)
    return _surface(grey)


def _surface(grey: Array) -> Array:
    """Return a polynomial of second degree that goes through most of the picture, (H, W).

    First a plane through the border, where there is little ink; then, round by round, a surface through all pixels
    that are near to the last one: weights of Tukey, which are 0 for what is far away.
    """
    small = reduced(grey, _SMALL)
    weights = np.ones(small.shape)
    weights[1:-1, 1:-1] = 0.0
    terms, degree = _terms(small.shape), 3
    for _ in range(_ROUNDS):
        root = np.sqrt(weights).ravel()
        factors = np.linalg.lstsq(terms[:, :degree] * root[:, None], small.ravel() * root, rcond=None)[0]
        away = small - (terms[:, :degree] @ factors).reshape(small.shape)
        near = max(_FLAT, 3.0 * _SPREAD * float(np.median(np.abs(away))))
        weights, degree = np.clip(1.0 - (away / near) ** 2, 0.0, None) ** 2, 6
    surface = (_terms(grey.shape) @ factors).reshape(grey.shape)
    return surface.astype(np.float32)


def _terms(shape: tuple[int, ...]) -> Array:
    """Return 1, x, y, x^2, xy, y^2 of each pixel, (H * W, 6); x and y go from -1 to 1 between the picture's sides."""
    y, x = np.meshgrid(*((2.0 * np.arange(size) + 1.0) / size - 1.0 for size in shape), indexing="ij")
    return np.stack([np.ones(shape), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)


# ==== shadows with an edge ====


def smoothed(grey: Array) -> Array:
    """Return means over 3 x 3 pixels: grain has less say then in what is the most or the least."""
    h, w = grey.shape
    wide = np.pad(grey, 1, mode="edge")
    means: Array = sum(wide[i : i + h, j : j + w] for i in range(3) for j in range(3)) / np.float32(9.0)
    return means


def filled(grey: Array, width: int) -> Array:
    """Return the picture with whatever is darker than its surroundings, and narrower than `width`, as bright as these:
    the closing of mathematical morphology. An edge between two broad areas stays where it is. Beyond its sides the
    picture goes on as the pixels there are.

    Example:
        >>> filled(np.array([[9, 1, 9, 9, 2, 2, 2, 2]]), 3).tolist()
        [[9, 9, 9, 9, 2, 2, 2, 2]]
    """
    h, w = grey.shape
    wide = np.pad(grey, width, mode="edge")
    return -most_around(-most_around(wide, width), width)[width : width + h, width : width + w]


def most_around(grey: Array, width: int) -> Array:
    """Return the greatest value in the square of `width` pixels (an odd number: else one more) around each pixel."""
    reach = width // 2
    for axis in (0, 1):
        beyond = [(reach, reach) if axis == one else (0, 0) for one in (0, 1)]
        wide = np.moveaxis(np.pad(grey, beyond, mode="edge"), axis, 0)
        covered = 1
        while covered < 2 * reach + 1:  # up to twice as far each time
            more = min(covered, 2 * reach + 1 - covered)
            wide = np.maximum(wide[:-more], wide[more:])
            covered += more
        grey = np.moveaxis(wide, 0, axis)
    return grey
