"""A picture of a digit, from anywhere, made into what MNIST's digits look like.

How it goes:

1. One grey value a pixel; what is transparent becomes paper.
2. The paper: the grey that the border of the picture has; where that changes from side to side (a shadow, a lamp), the
   picture with its narrow parts filled in by what is around them.
3. The ink: what departs furthest from the paper, darker or lighter. So it does not matter which of the two is black.
4. The digit: the strokes that hang together, and those beside it that are no specks.
5. As MNIST's authors did: scaled, with its proportions kept and every grey value an average of what it covers, until
   its longer side is 20 pixels; then moved until its centre of mass is in the middle of 28 x 28.

References:
    Y. LeCun, C. Cortes, C. Burges, The MNIST Database of Handwritten Digits, http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..backend import Array
from ..errors import DataError
from .blobs import blobs
from .generated import BOX, CENTRE, SIZE
from .grey import check_picture, check_proportions, in_colours, in_grey, reduced
from .paper import border, filled, paper, smoothed
from .thickness import stroke_width, thickened

_MOST = 800  # pixels: longer pictures are averaged down to it first; 40 times MNIST's box
_FAINTEST = 16.0  # grey levels between paper and ink, of 255
_GRAINS = 6.0  # the ink must stand out from the paper's grain by so many of its standard deviations
_EDGE, _CORE = 0.12, 0.5  # of the ink's strength: where a stroke ends; what only a stroke reaches
_BROADEST = 4  # a stroke is narrower than this part of the picture's shorter side, where the light is uneven
_SPECK = 0.04  # of the largest stroke's ink
_THINNEST, _THICK = 1.3, 2.0  # pixels of the image: a stroke that is narrower is thickened to MNIST's usual width
_SMALL = 3 * BOX  # pixels: a digit that is smaller on an averaged picture is cut from the picture itself
_NEARLY = 0.92  # of a picture's width or height
_LABELLED = 200  # pixels: strokes are told apart on a picture of this size


class NoDigitError(DataError):
    """There is nothing on the picture that stands out from its paper."""


class Steps(NamedTuple):
    """What `as_mnist` has made on its way, for whoever wants to look at it.

    Attributes:
        grey: the picture (H, W), float32, 0 to 255.
        ink: how much ink there is (H, W), 0 to 1.
        digit: the same without specks and shadows.
        box: top, bottom, left, right of the digit.
        image: what the network sees, (1, 28, 28), uint8.
        reaches: whether the digit reaches the picture's border, or nearly from side to side: then it may be no digit
            alone, but lines, a frame, or strokes of another; or a part of one.
    """

    grey: Array
    ink: Array
    digit: Array
    box: tuple[int, int, int, int]
    image: Array
    reaches: bool = False


def as_mnist(picture: Array) -> Array:
    """Return one of MNIST's images, white on black, of a picture of one digit.

    Args:
        picture: (H, W) grey, or (H, W, 3) red, green, blue, or (H, W, 4) with alpha; uint8, host NumPy; dark on light
            or light on dark.

    Returns:
        The image (1, 28, 28), uint8.

    Raises:
        NoDigitError: nothing stands out from the paper.
        DataError: it is a line: one side is more than 800 times as long as the other.
        TypeError: it is no array on the host, or not of uint8.
        ValueError: it has another shape, or no pixel.

    Example:
        >>> sheet = np.full((300, 200), 255, np.uint8)
        >>> sheet[100:220, 140:150] = 0  # a one, black on white, at the right
        >>> image = as_mnist(sheet)
        >>> image.shape, image[0, 14, 12:16].tolist(), int(image[0, :, 2].max())
        ((1, 28, 28), [0, 0, 255, 170], 0)

    References:
        See the module.
    """
    return steps(picture).image


def steps(picture: Array) -> Steps:
    """Return all that `as_mnist` makes on its way; its arguments and errors."""
    picture = check_picture("as_mnist", picture)
    check_proportions("as_mnist", picture, _MOST)
    made = _steps(reduced(picture, _MOST))
    small = _step(made.box) * BOX
    if small >= _SMALL or max(picture.shape[:2]) <= _MOST:
        return made
    # A small digit on a large sheet: found on the averaged picture, and looked at in the picture itself.
    k = picture.shape[0] / made.grey.shape[0]
    top, bottom, left, right = (
        round(k * (side + sign * small)) for side, sign in zip(made.box, (-1, 1, -1, 1), strict=True)
    )
    try:
        return _steps(reduced(picture[max(top, 0) : bottom, max(left, 0) : right], _MOST))
    except NoDigitError:  # averages have less grain
        return made


def _steps(picture: Array) -> Steps:
    grey, ink = _inked(picture)
    digit = _digit(ink)
    step = _step(_box(digit))
    if (thin := stroke_width(digit)) < _THINNEST * step:
        digit = thickened(digit, round(_THICK * step - thin))
    box = _box(digit)
    return Steps(grey, ink, digit, box, _centred(digit, box), _reaches(box, grey.shape))


def _reaches(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> bool:
    top, bottom, left, right = box
    touches = min(top, left) == 0 or bottom == shape[0] or right == shape[1]
    return touches or bottom - top > _NEARLY * shape[0] or right - left > _NEARLY * shape[1]


def as_is(picture: Array, shape: tuple[int, int, int]) -> Array:
    """Return a picture as an image of `shape`, as it is: fitted in whole, with its proportions kept and its border's
    colour around it.

    A picture of that size already is left alone.

    Args:
        picture: as for `as_mnist`.
        shape: (C, H, W), C 1 or 3.

    Returns:
        The image (C, H, W), uint8.

    Raises:
        DataError, TypeError, ValueError: as from `as_mnist`, or C is another.

    Example:
        >>> as_is(np.full((2, 4), 9, np.uint8), (3, 2, 2)).tolist()
        [[[9, 9], [9, 9]], [[9, 9], [9, 9]], [[9, 9], [9, 9]]]
    """
    picture = check_picture("as_is", picture)
    channels, height, width = shape
    if channels not in (1, 3):
        raise ValueError(f"as_is: got shape {shape}; expected 1 or 3 channels; a picture has no others")
    check_proportions("as_is", picture, _MOST)
    picture = reduced(picture, max(_MOST, 4 * height, 4 * width))
    colours = in_grey(picture)[None] if channels == 1 else in_colours(picture)
    if colours.shape[1:] == (height, width):
        return np.rint(colours).astype(np.uint8)
    around = np.array([np.median(border(colour)) for colour in colours], np.float32)[:, None, None]
    h, w = colours.shape[1:]
    step = max(h / height, w / width)
    rows = _weights(h, (h - height * step) / 2, step, height)
    columns = _weights(w, (w - width * step) / 2, step, width)
    return np.rint(around + rows @ (colours - around) @ columns.T).clip(0, 255).astype(np.uint8)


# ==== paper and ink ====


def _inked(picture: Array) -> tuple[Array, Array]:
    """Return the picture in grey, and how much ink there is at each place. Where ink and paper are of different colours
    and as bright as each other, the grey is that of red, green or blue, whichever differs most.
    """
    grey = in_grey(picture)
    try:
        return grey, _ink(grey)
    except NoDigitError:
        colours = in_colours(picture)
        if (colours == colours[0]).all():
            raise
    strongest = max(colours, key=np.std)
    return strongest, _ink(strongest)


def _ink(grey: Array) -> Array:
    """Return how much ink there is at each place, 0 to 1."""
    departs = _departs(grey)
    peak = float(np.partition(departs.ravel(), -min(4, departs.size))[-min(4, departs.size) :].mean())
    strength = float(np.percentile(departs[departs >= _CORE * peak], 90)) if peak > 0 else 0.0
    grain = _grain(departs)
    if strength < max(_FAINTEST, _GRAINS * grain):
        if strength >= _FAINTEST:
            raise NoDigitError(
                f"as_mnist: got a picture on which nothing stands out from the paper's grain (of {grain:.0f} grey "
                f"levels); expected a digit that does by {_GRAINS:.0f} times that, and not by {strength / grain:.1f}; "
                "take it in better light, or write it with a stronger pen"
            )
        raise NoDigitError(
            f"as_mnist: got a picture on which nothing stands out from the paper (by {strength:.0f} of 255 grey "
            f"levels); expected a digit, {_FAINTEST:.0f} levels or more darker or lighter; write it with a stronger pen"
        )
    sheet = departs[departs < _CORE * strength]
    unevenness = 1.4826 * float(np.median(np.abs(sheet))) if sheet.size else 0.0
    floor = min(3.0 * unevenness, 0.35 * strength)
    return ((departs - floor) / (strength - floor)).clip(0.0, 1.0)


def _departs(grey: Array) -> Array:
    """Return how far each pixel is from its paper, in grey levels, the ink's way up."""
    sheet = paper(grey)
    departs = grey - sheet
    # Fourth powers: a stroke departs far and is small, a shadow is large and departs little.
    dark = (np.maximum(departs, 0.0) ** 4).sum() < (np.maximum(-departs, 0.0) ** 4).sum()
    if np.ndim(sheet) == 0:
        return -departs if dark else departs
    # What is too broad for a stroke is a shadow, with an edge or without: it belongs to the paper.
    width = min(grey.shape) // _BROADEST
    if not dark:
        return grey + filled(-smoothed(grey), width)
    sheet = filled(smoothed(grey), width)
    # Ink gives back a share of the light that falls on it: in half the light it departs half as far.
    lit = np.maximum(sheet, 0.1 * float(sheet.max()))
    shares: Array = (sheet - grey) * (float(np.median(lit)) / lit)
    return shares


def _grain(departs: Array) -> float:
    """Return the standard deviation of what changes from one pixel to the next, strokes left out."""
    change = np.diff(departs, axis=1 if departs.shape[1] > 1 else 0)
    return 1.4826 / math.sqrt(2.0) * float(np.median(np.abs(change))) if change.size else 0.0


# ==== the digit ====


def _digit(ink: Array) -> Array:
    """Return the ink without what is no stroke."""
    # On squares of pixels: strokes are told apart sooner, and one that the pen has left for a moment is one.
    k = -(-max(ink.shape) // _LABELLED)
    room = [(0, -size % k) for size in ink.shape]
    squares = np.pad(ink, room).reshape(-(-ink.shape[0] // k), k, -(-ink.shape[1] // k), k)
    most = squares.max(axis=(1, 3))
    labels, count = blobs(most >= _EDGE)
    seen, peak = labels >= 0, np.zeros(count)
    mass = np.bincount(labels[seen], squares.sum(axis=(1, 3))[seen], minlength=count)
    np.maximum.at(peak, labels[seen], most[seen])
    keep = (peak >= _CORE) & (mass >= _SPECK * mass.max())
    stays = np.where(seen, keep[labels], _beside(seen & keep[labels]))
    return np.where(np.repeat(np.repeat(stays, k, axis=0), k, axis=1)[: ink.shape[0], : ink.shape[1]], ink, 0.0)


def _box(digit: Array) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of a digit."""
    rows, columns = (np.flatnonzero((digit >= _EDGE).any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _step(box: tuple[int, int, int, int]) -> float:
    """Return how many pixels of the picture become one of the image."""
    top, bottom, left, right = box
    return max(bottom - top, right - left) / BOX


def _beside(there: Array) -> Array:
    """Return where a square is that is `there`, or one beside it: a stroke's pale edge."""
    wide = np.pad(there, 1)
    h, w = there.shape
    near: Array = np.logical_or.reduce([wide[i : i + h, j : j + w] for i in range(3) for j in range(3)])
    return near


def _centred(ink: Array, box: tuple[int, int, int, int]) -> Array:
    """Return (1, 28, 28), uint8: the `box` scaled to 20 pixels, its centre of mass in the middle."""
    step, matrices = _step(box), []
    for axis, start in ((1, box[0]), (0, box[2])):
        along = ink.sum(axis=axis)
        centre = float(along @ np.arange(len(along))) / float(along.sum())
        # The box begins at a whole pixel, as MNIST's do: then a digit out of MNIST stays as it is.
        first = math.floor(CENTRE + 0.5 - (centre + 0.5 - start) / step + 0.5)
        matrices.append(_weights(len(along), start - first * step, step, SIZE))
    image = matrices[0] @ ink @ matrices[1].T
    # Where a pixel is larger than a stroke is wide, it is grey; the middle of MNIST's strokes is white.
    return np.rint(255.0 * image / max(float(image.max()), 1e-9)).clip(0, 255).astype(np.uint8)[None]


def _weights(size: int, start: float, step: float, count: int) -> Array:
    """Return which share of each of `count` pixels, `step` wide and from `start` on, each of `size` pixels has.

    What lies beyond the picture has no ink. A matrix (count, size), float32.
    """
    centres = start + step * (np.arange(count) + 0.5)
    reach = max(1.0, step)
    away = np.abs(np.arange(size) + 0.5 - centres[:, None])
    # Areas, where a pixel of the image covers several of the picture's; else what lies between two of them.
    shares = np.clip(reach / 2.0 + 0.5 - away, 0.0, 1.0) / reach
    return shares.astype(np.float32)
