"""Max-pooling: each window gives its largest number, and its gradient goes back to where that number was.

A window has one winner: of several equal numbers the first in row-major order. Padding never wins.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..backend import Array, arange, batch_first, into, namespace_of, swappable, zeros
from ..checks import check_axes, check_cache, check_gradient, check_library
from ..workspace import Workspace, new
from .windows import Padding, Pair, Windows, positions, windows_over


class Cache(NamedTuple):
    """What backward reads."""

    x: Array  # (N, C, H, W)
    y: Array  # (N, C, OH, OW)
    windows: Windows


@swappable
def forward(
    x: Array,
    kernel: Pair,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    dilation: Pair = 1,
    *,
    work: Workspace | None = None,
) -> tuple[Array, Cache]:
    """Take the largest number of every window.

    Args:
        x: images (N, C, H, W), floating or integer.
        kernel: window KH = KW, or (KH, KW).
        stride: step between windows, or (vertical, horizontal); None means the kernel, so that windows tile the image.
        padding: as in `conv2d`, but with minus infinity; less than a window reaches, on every side.
        ceil_mode: let a last window hang over the end instead of leaving the rest of the image out.
        dilation: step between the pixels that a window sees, or (vertical, horizontal).
        work: lends memory until the step ends; None allocates.

    Returns:
        y (N, C, OH, OW) of the type of x, and the cache for `backward`.

    Raises:
        TypeError: x is neither floating nor integer, or a size is no whole number.
        ValueError: x has not four axes, the kernel is larger than the padded image, or a window might see nothing but
            padding.

    Example:
        >>> import numpy as np
        >>> y, _ = forward(np.arange(16).reshape(1, 1, 4, 4), 2)
        >>> y[0, 0]
        array([[ 5,  7],
               [13, 15]])
    """
    xp = check_library("maxpool2d", x=x)
    check_axes("maxpool2d", "(N, C, H, W)", x=x)
    windows = windows_of(x.shape[2:], kernel, stride, padding, ceil_mode, dilation)
    n, c = x.shape[:2]
    y = batch_first(new((c, *windows.out, n), like=x, work=work))
    y[...] = _lowest(x, xp)
    for _, seen, pixels in positions(windows):
        part = y[seen]
        into(part, xp.maximum, part, x[pixels])
    return y, Cache(x, y, windows)


def windows_of(
    size: tuple[int, int], kernel: Pair, stride: Pair | None, padding: Padding, ceil_mode: bool, dilation: Pair = 1
) -> Windows:
    """Return where the windows lie over an image of `size`, having checked forward's arguments."""
    stride = kernel if stride is None else stride
    windows = windows_over(size, kernel, stride, padding, dilation, ceil_mode=ceil_mode, operation="maxpool2d")
    if any(max(side) >= e for side, e in zip(windows.padding, windows.extent, strict=True)) or _see_nothing(windows):
        spread = "" if windows.dilation == (1, 1) else f" and dilation {windows.dilation}"
        raise ValueError(
            f"maxpool2d: got padding {windows.padding} for kernel {windows.kernel}{spread}; "
            "expected less padding than kernel; a window of nothing but padding has no maximum"
        )
    return windows


def _see_nothing(windows: Windows) -> bool:
    """Return whether the image falls into a gap of a dilated window that begins before it."""
    if windows.dilation == (1, 1):
        return False
    axes = zip(windows.padding, windows.stride, windows.out, windows.dilation, windows.size, strict=True)
    return any(
        start % step >= size  # the first pixel at or behind 0
        for (before, _), stride, out, step, size in axes
        for start in range(-before, 0, stride)[:out]
    )


def _lowest(x: Array, xp: Any) -> float | int:
    if xp.isdtype(x.dtype, "real floating"):
        return float("-inf")
    if xp.isdtype(x.dtype, "integral"):
        return int(xp.iinfo(x.dtype).min)
    raise TypeError(f"maxpool2d: got x {x.dtype}; expected a floating or an integer type; cast it")


@swappable
def backward(dy: Array, cache: Cache, *, work: Workspace | None = None) -> Array:
    """Send each window's gradient to its winner; where windows overlap, gradients add up. (That of a window with a NaN
    goes to one of its pixels, be it the NaN or not.)

    Args:
        dy: gradient of the loss by y, (N, C, OH, OW).
        cache: what `forward` returned.
        work: lends memory until the step ends; None allocates.

    Returns:
        dx (N, C, H, W). Nothing is lost and nothing is counted twice: dx.sum() == dy.sum().

    Example:
        >>> import numpy as np
        >>> y, cache = forward(np.zeros((1, 1, 2, 2)), 2)   # four equal numbers: the first one wins
        >>> backward(np.ones(y.shape), cache)[0, 0]
        array([[1., 0.],
               [0., 0.]])
    """
    check_cache("maxpool2d", cache, Cache)
    x, y, windows = cache
    xp = check_gradient("maxpool2d", dy, y.shape, y)
    n, c, h, w = x.shape
    dx = batch_first(new((c, h, w, n), like=dy, work=work))
    dx[...] = 0
    free = batch_first(new((c, *windows.out, n), like=y, work=work, dtype="bool"))  # whose winner has not been met yet
    free[...] = True
    for _, seen, pixels in positions(windows):
        wins, still_free, target = ~(x[pixels] < y[seen]), free[seen], dx[pixels]  # not less: equal, or there is a NaN
        wins &= still_free
        still_free ^= wins
        target += xp.astype(wins, dy.dtype) * dy[seen]
    return dx


def argmax(cache: Cache) -> Array:
    """Tell where the winner of each window was: PyTorch's ``return_indices``.

    Args:
        cache: what `forward` returned.

    Returns:
        (N, C, OH, OW), int64: h * W + w, its place in its own plane of x, counted row by row and without padding. Of
        several equal numbers the first; of several NaN, which win against every number, the last, as in PyTorch.

    Example:
        >>> import numpy as np
        >>> _, cache = forward(np.array([[[[1.0, 7.0, 0.0, 2.0], [3.0, 5.0, 2.0, 1.0]]]]), 2)
        >>> argmax(cache)
        array([[[[1, 3]]]])
    """
    check_cache("maxpool2d", cache, Cache)
    x, y, windows = cache
    xp = namespace_of(x)
    h, w = windows.size
    place = xp.reshape(arange(h * w, like=x), (1, 1, h, w))
    found = zeros(tuple(y.shape), like=y, dtype="int64")
    free = zeros(tuple(y.shape), like=y, dtype="bool")  # whose winner has not been met yet
    free[...] = True
    for _, seen, pixels in positions(windows):
        here, still_free, target = x[pixels], free[seen], found[seen]
        wins = (here == y[seen]) & still_free
        still_free ^= wins
        wins |= here != here  # a NaN
        target[...] = xp.where(wins, place[pixels], target)
    return found
