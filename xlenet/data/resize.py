"""Images of any size as squares of 28 or 32, the two that LeNet-5 takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array
from ..backend.gpu import in_a_line
from ..errors import MissingExtraError


def require_pillow(what: str) -> None:
    """Say that Pillow is missing, or does not import, and what brings it.

    Raises:
        MissingExtraError: it is so.
    """
    try:
        import PIL.Image  # noqa: F401  (one that is there may still not import)
    except Exception as error:  # what does not fit its Python fails in ways of its own
        raise MissingExtraError(
            f"{what}: got no usable Pillow ({in_a_line(error)}); expected it to read images; "
            'pip install "xlenet[images]"'
        ) from error


def nearer_size(side: float) -> int:
    """Return 28 or 32, whichever is nearer to the longer side of images; 32 where both are as near.

    Example:
        >>> nearer_size(29), nearer_size(30), nearer_size(8), nearer_size(640)
        (28, 32, 28, 32)
    """
    return 28 if side < 30 else 32


def squared(image: Array, size: int) -> Array:
    """Return an image (H, W) or (H, W, 3) of bytes as a square of `size`.

    The longer side becomes `size`, by Lanczos' filter as wide as the reduction asks for, and the aspect is kept: what
    is missing beside the shorter side is filled with the colour of the border, the median of its pixels.

    Example:
        >>> squared(np.full((10, 20), 7, np.uint8), 28).shape
        (28, 28)
    """
    height, width = image.shape[:2]
    if height == width == size:
        return image
    from PIL import Image

    longer = max(height, width)
    h, w = (max(1, round(side * size / longer)) for side in (height, width))
    small = np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((w, h), Image.Resampling.LANCZOS))
    square = np.empty((size, size, *image.shape[2:]), np.uint8)
    square[...] = _border_colour(image)
    top, left = (size - h) // 2, (size - w) // 2
    square[top : top + h, left : left + w] = small
    return square


def _border_colour(image: Array) -> Any:
    edges = (image[0], image[-1], image[:, 0], image[:, -1])
    border = np.sort(np.concatenate(edges), axis=0)
    return border[len(border) // 2]


def squares(x: Array, size: int) -> Array:
    """Do what `squared` does to images (N, C, H, W)."""
    n, c, *_ = x.shape
    result = np.empty((n, c, size, size), np.uint8)
    for image, square in zip(x, result, strict=True):
        if c == 1:
            square[0] = squared(image[0], size)
        else:
            square[...] = squared(image.transpose(1, 2, 0), size).transpose(2, 0, 1)
    return result
