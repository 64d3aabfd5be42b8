"""Images distorted by chance, each in its own way: rotated, shifted, scaled, sheared, and bent.

Every pixel of the result takes its value from a position of the image, between four pixels (bilinear). The positions
are a cubic B-spline over a net of 7 x 7 control points, a quarter of the image apart. Such a spline follows a linear
map of its control points exactly: where the net is rotated, shifted, scaled and sheared, so is the image. Where each
point is moved a little on its own, the image is bent smoothly, as by the smoothed random fields of elastic distortion.

What is drawn is a function of (seed, step, place in the batch) alone, the same on every library: see
`xlenet.functional.hashing`.

References:
    P. Simard, D. Steinkraus, J. Platt, Best Practices for Convolutional Neural Networks Applied to Visual Document
    Analysis (2003), https://doi.org/10.1109/ICDAR.2003.1227801
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import Array, arange, batch_first, batch_last, into, namespace_of, swappable
from ..functional.hashing import hash_in_place, keys
from ..workspace import Workspace, new, scratch

CELLS = 4  # of the net, along each side of an image
POINTS = CELLS + 3
DRAWN = 6 + 2 * POINTS**2  # numbers to an image: angle, two scales, shear, two shifts; and each point's two


def spline(size: int) -> Any:
    """Return the weight of each control point for each pixel of a side, (SIZE, 7), on the host; each row adds up to 1.

    Example:
        >>> spline(5).round(2)[:2]
        array([[0.17, 0.67, 0.17, 0.  , 0.  , 0.  , 0.  ],
               [0.  , 0.17, 0.67, 0.17, 0.  , 0.  , 0.  ]])

    References:
        C. de Boor, A Practical Guide to Splines (1978).
    """
    place = np.arange(size) / max(size - 1, 1) * CELLS
    cell = np.minimum(place.astype(int), CELLS - 1)
    t = place - cell
    pieces = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    weights = np.zeros((size, POINTS))
    for i, piece in enumerate(pieces):
        weights[np.arange(size), cell + i] = piece / 6
    return weights


def points(size: int) -> tuple[float, ...]:
    """Return where the control points of a side lie, in pixels from its middle.

    Example:
        >>> points(5)
        (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
    """
    return tuple((i - POINTS // 2) * (size - 1) / CELLS for i in range(POINTS))


@swappable
def distort(
    x: Array,
    rows: Array,
    columns: Array,
    step: Array,
    by: tuple[float, float, float, float, float],
    seed: int,
    *,
    work: Workspace | None = None,
) -> Array:
    """Return the images, each distorted in its own way; what lies beyond their edges is like the edge.

    Args:
        x: images (N, C, H, W), float32 or float64.
        rows: what `spline` gives for H, (H, 7), in the type of x.
        columns: the same for W, (W, 7).
        step: another number for each call, (1,), int64.
        by: the largest angle in degrees, shift in pixels, share by which a side becomes longer or shorter, shear in
            degrees, and pixels by which a control point is moved; each is drawn evenly between that and its negative.
        seed: of what is drawn, 0 to below 2^64.
        work: lends memory until the step ends; None allocates.

    Returns:
        y of the shape of x, with N innermost in memory.

    Example:
        >>> x = np.arange(25.0).reshape(1, 1, 5, 5)
        >>> weights, step = spline(5), np.array([0])
        >>> y = distort(x, weights, weights, step, (0.0, 1.0, 0.0, 0.0, 0.0), seed=3)  # shifted by a pixel at most
        >>> y[0, 0, :, 2].round(2)
        array([ 5.55, 10.55, 15.55, 20.55, 21.41])
    """
    xp = namespace_of(x)
    n, c, h, w = x.shape
    y = new((c, h, w, n), like=x, work=work)
    with scratch(work):
        net = _net(_drawn(n, step, seed, like=x, work=work), h, w, by, xp)  # (7, 2, 7, N)
        across = xp.reshape(xp.matmul(rows, xp.reshape(net, (POINTS, -1))), (2 * h, POINTS, n))
        positions = xp.reshape(xp.matmul(columns, across), (h, 2, w * n))
        _sample(batch_last(x), xp.reshape(positions[:, 0, :], (h, w, n)), xp.reshape(positions[:, 1, :], (h, w, n)), y)
    return batch_first(y)


def _drawn(n: int, step: Array, seed: int, *, like: Array, work: Workspace | None) -> Array:
    """Return numbers from -1 to below 1, (DRAWN, N)."""
    xp = namespace_of(like)
    both = keys("distort", seed, step, x=like, xp=xp)
    bits, spare = (new((DRAWN, n), like=like, work=work, dtype="uint32") for _ in range(2))
    number, image = (xp.astype(arange(count, like=like), xp.uint32) for count in (DRAWN, n))
    into(bits, xp.add, number[:, None], (image * DRAWN)[None, :])
    hash_in_place(bits, spare, both, xp)
    drawn = xp.astype(bits >> 8, like.dtype)  # 24 bits: what float32 holds exactly
    drawn *= 2.0**-23
    drawn -= 1.0
    return drawn


def _net(drawn: Array, h: int, w: int, by: tuple[float, ...], xp: Any) -> Array:
    """Return where the control points are sent, (7, 2, 7, N): of each row of points its places down, then across."""
    rotation, shift, scale, shear, elastic = by
    angle, lean = drawn[0, :] * math.radians(rotation), drawn[3, :] * math.tan(math.radians(shear))
    down, right = 1.0 + drawn[1, :] * scale, 1.0 + drawn[2, :] * scale
    cos, sin = xp.cos(angle), xp.sin(angle)
    net = xp.reshape(drawn[6:, :] * elastic, (POINTS, 2, POINTS, -1))
    # Sheared, then rotated, then scaled; (row, column) of the middle stays but for the shift.
    for j, y in enumerate(points(h)):
        net[j, 0, :, :] += y * (sin * lean + cos) / down + drawn[4, :] * shift + (h - 1) / 2
        net[j, 1, :, :] += y * (cos * lean - sin) / right + drawn[5, :] * shift + (w - 1) / 2
    for i, x in enumerate(points(w)):
        net[:, 0, i, :] += x * sin / down
        net[:, 1, i, :] += x * cos / right
    return net


def _sample(x: Array, down: Array, across: Array, out: Array) -> None:
    """Write into `out` what the images (C, H, W, N) have at these positions, each (H, W, N)."""
    xp = namespace_of(x)
    c, h, w, n = x.shape
    top, below = _split(down, h, xp)
    left, beside = _split(across, w, xp)
    first = xp.astype(top, xp.int64)
    first *= w
    first += xp.astype(left, xp.int64)
    first *= n
    first += arange(n, like=x)
    first = xp.reshape(first, (-1,))
    next_row, next_column = (w if h > 1 else 0) * n, n if w > 1 else 0
    for channel in range(c):
        pixels = xp.reshape(x[channel, ...], (-1,))

        def at(start: int, pixels: Array = pixels) -> Array:
            return xp.reshape(xp.take(pixels[start:], first), (h, w, n))

        upper = _between(at(0), at(next_column), beside)
        lower = _between(at(next_row), at(next_row + next_column), beside)
        out[channel, ...] = _between(upper, lower, below)


def _split(position: Array, size: int, xp: Any) -> tuple[Array, Array]:
    """Return the pixel before a position, as a floating number, and how far behind it the position is, 0 to 1."""
    inside = xp.clip(position, 0.0, float(size - 1))
    before = xp.floor(inside)
    before = xp.clip(before, 0.0, float(max(size - 2, 0)))
    inside -= before
    return before, inside


def _between(a: Array, b: Array, share: Array) -> Array:
    """Return a + share * (b - a), in the memory of b."""
    b -= a
    b *= share
    b += a
    return b
