"""Average pooling: each window gives the mean of what it sees, and its gradient is spread over it in equal shares.

y[o, p] = sum of x over window (o, p) / D[o, p]

D counts what the window's mean is of: the pixels that it sees and, with ``count_include_pad``, the padding as well.
What hangs over the end of the padding, with ``ceil_mode``, is never counted. D[o, p] is a number of rows times a number
of columns.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..backend import Array, batch_first, into
from ..checks import check_arrays, check_cache, check_gradient
from ..workspace import Workspace, new
from .windows import Padding, Pair, Windows, positions, windows_over

_Run = tuple[slice, int]  # neighbouring windows along an axis, and how many rows (or columns) each of them counts


class Cache(NamedTuple):
    """What backward reads."""

    y: Array  # (N, C, OH, OW)
    windows: Windows
    count_include_pad: bool


def forward(
    x: Array,
    kernel: Pair,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    dilation: Pair = 1,
    *,
    work: Workspace | None = None,
) -> tuple[Array, Cache]:
    """Take the mean of every window.

    Args:
        x: images (N, C, H, W), float32 or float64.
        kernel: window KH = KW, or (KH, KW).
        stride: step between windows, or (vertical, horizontal); None means the kernel, so that windows tile the image.
        padding: zeros around the image, as in `conv2d`.
        ceil_mode: let a last window hang over the end instead of leaving the rest of the image out.
        count_include_pad: whether the zeros of the padding count in the mean, as PyTorch has it (ONNX: 1); False: a
            mean of pixels alone, as TensorFlow has it.
        dilation: step between the pixels that a window sees, or (vertical, horizontal).
        work: lends memory until the step ends; None allocates.

    Returns:
        y (N, C, OH, OW), and the cache for `backward`.

    Raises:
        TypeError: x is of another type, or a size is no whole number.
        ValueError: x has not four axes, the kernel is larger than the padded image, or a window sees nothing but
            padding that does not count.

    Example:
        >>> import numpy as np
        >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
        >>> forward(x, 2)[0][0, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]])
        >>> forward(np.ones((1, 1, 2, 2)), 2, 2, padding=1)[0][0, 0]
        array([[0.25, 0.25],
               [0.25, 0.25]])
        >>> forward(np.ones((1, 1, 2, 2)), 2, 2, padding=1, count_include_pad=False)[0][0, 0]
        array([[1., 1.],
               [1., 1.]])
    """
    xp = check_arrays("avgpool2d", "(N, C, H, W)", x)
    stride = kernel if stride is None else stride
    windows = windows_over(x.shape[2:], kernel, stride, padding, dilation, ceil_mode=ceil_mode, operation="avgpool2d")
    _check_counts(windows, count_include_pad)
    n, c = x.shape[:2]
    y = batch_first(new((c, *windows.out, n), like=x, work=work))
    if windows.cover_the_image:
        into(y, xp.sum, x, axis=(2, 3), keepdims=True)
    else:
        _add_up(x, windows, y)
    _divide(y, y, windows, count_include_pad, xp)
    return y, Cache(y, windows, bool(count_include_pad))


def _add_up(x: Array, windows: Windows, y: Array) -> None:
    places = positions(windows)
    if windows.lie_inside:  # each sees a pixel at the kernel's first position: begin with that one
        y[...] = x[next(places)[2]]
    else:
        y[...] = 0
    for _, seen, pixels in places:
        part = y[seen]
        part += x[pixels]


def backward(dy: Array, cache: Cache, *, work: Workspace | None = None) -> Array:
    """Give each pixel of a window an equal share, dy / D; where windows overlap, shares add up.

    Args:
        dy: gradient of the loss by y, (N, C, OH, OW).
        cache: what `forward` returned.
        work: lends memory until the step ends; None allocates.

    Returns:
        dx (N, C, H, W). What falls on padding is dropped.

    Example:
        >>> import numpy as np
        >>> y, cache = forward(np.zeros((1, 1, 2, 3)), 2, 1)
        >>> backward(np.ones(y.shape), cache)[0, 0]
        array([[0.25, 0.5 , 0.25],
               [0.25, 0.5 , 0.25]])
    """
    check_cache("avgpool2d", cache, Cache)
    y, windows, count_include_pad = cache
    xp = check_gradient("avgpool2d", dy, y.shape, y)
    (h, w), (n, c) = windows.size, y.shape[:2]
    shares = batch_first(new((c, *windows.out, n), like=dy, work=work))
    _divide(shares, dy, windows, count_include_pad, xp)
    dx = batch_first(new((c, h, w, n), like=dy, work=work))
    if windows.cover_the_image:
        dx[...] = shares
        return dx
    apart = windows.lie_side_by_side
    if not apart or (h, w) != (windows.out[0] * windows.kernel[0], windows.out[1] * windows.kernel[1]):
        dx[...] = 0  # to be added to, or pixels that no window sees
    for _, seen, pixels in positions(windows):
        if apart:
            dx[pixels] = shares
        else:
            target = dx[pixels]
            target += shares[seen]
    return dx


# ==== what the mean is of ====


def _divide(out: Array, sums: Array, windows: Windows, count_include_pad: bool, xp: Any) -> None:
    """Write sums / D into `out`: block by block, in each of which D is the same number.

    Numbers of Python alone, so that a step can be recorded, and one rounding.
    """
    rows, columns = _runs(windows, count_include_pad)
    for (down, height), (across, width) in itertools.product(rows, columns):
        part = (..., down, across)
        into(out[part], xp.divide, sums[part], float(height * width))


def _check_counts(windows: Windows, count_include_pad: bool) -> None:
    if all(count for runs in _runs(windows, count_include_pad) for _, count in runs):
        return
    raise ValueError(
        f"avgpool2d: got padding {windows.padding} for kernel {windows.kernel} without count_include_pad; expected a "
        "pixel in every window; use less padding, or count it"
    )


@functools.lru_cache(256)  # asked twice in every step
def _runs(windows: Windows, count_include_pad: bool) -> tuple[tuple[_Run, ...], tuple[_Run, ...]]:
    """Return the runs of windows that count equally much, along either axis: few, since only those at the ends differ
    from the kernel.
    """
    vertical, horizontal = (tuple(_runs_along(windows, axis, count_include_pad)) for axis in (0, 1))
    return vertical, horizontal


def _runs_along(windows: Windows, axis: int, count_include_pad: bool) -> Iterator[_Run]:
    before, after = windows.padding[axis] if count_include_pad else (0, 0)
    first, end = -before, windows.size[axis] + after
    starts = (o * windows.stride[axis] - windows.padding[axis][0] for o in range(windows.out[axis]))
    counts = [_count(start, windows.kernel[axis], windows.dilation[axis], first, end) for start in starts]
    at = 0
    for count, equal in itertools.groupby(counts):
        length = len(list(equal))
        yield slice(at, at + length), count
        at += length


def _count(start: int, kernel: int, dilation: int, first: int, end: int) -> int:
    """Return how many of start, start + dilation, ... (`kernel` of them) are at least `first` and below `end`."""
    from_, to = math.ceil((first - start) / dilation), math.ceil((end - start) / dilation)
    return max(min(to, kernel) - max(from_, 0), 0)
