"""Convolution and max-pooling in one, for windows of the pooling that lie side by side, some images at a time.

What lies between the two stays in the processor's cache: a part of the batch is convolved and pooled at once, and only
the pooled numbers are kept, and for each place in a pooling window where it won, as truth values. Backward unfolds the
images once more, which is cheaper than to fetch from memory what forward had unfolded.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, batch_first, batch_last, in_parts, put, thread_count
from ..checks import check_gradient
from ..functional import conv2d, maxpool2d
from ..functional.conv2d_rows import fold_width, multiply, rows_gradient, unfold_width, weight_gradient
from ..functional.windows import Padding, Windows
from ..workspace import Workspace, new, scratch

IMAGES = 64  # at a time; docs/performance.md has the figures


class Cache(NamedTuple):
    """What backward reads."""

    x: Array  # (N, C, H, W): forward's own, which must not change before backward, as with `linear`
    weight: Array  # (F, C, KH, KW)
    winners: list[Any]  # of each part of the batch: (KPH*KPW, PH, F, PW, n), bool
    windows: Windows
    pool: Windows
    has_bias: bool


def forward(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Padding = 0,
    pool_kernel: Any = 2,
    pool_stride: Any = None,
    pool_padding: Padding = 0,
    ceil_mode: bool = False,
    *,
    work: Workspace | None = None,
) -> Any:
    """See `conv_pool.forward`."""
    windows = _windows(x, weight, bias, stride, padding, pool_kernel, pool_stride, pool_padding, ceil_mode)
    return NotImplemented if windows is None else _compute(x, weight, bias, *windows, True, work)


def infer(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Padding = 0,
    pool_kernel: Any = 2,
    pool_stride: Any = None,
    pool_padding: Padding = 0,
    ceil_mode: bool = False,
    *,
    work: Workspace | None = None,
) -> Any:
    """See `conv_pool.infer`: no time is spent on who won."""
    windows = _windows(x, weight, bias, stride, padding, pool_kernel, pool_stride, pool_padding, ceil_mode)
    return NotImplemented if windows is None else _compute(x, weight, bias, *windows, False, work)[0]


def _windows(
    x: Array, weight: Array, bias: Array | None, stride: Any, padding: Padding, *pool: Any
) -> tuple[Windows, Windows] | None:
    """Return the windows of convolution and pooling, or None where they are not of the kind that is done here."""
    _, windows = conv2d.check_forward(x, weight, bias, stride, padding)
    pools = maxpool2d.windows_of(windows.out, *pool)
    if not pools.lie_side_by_side or windows.cover_the_image:
        return None
    return windows, pools


def _compute(
    x: Array, weight: Array, bias: Array | None, windows: Windows, pool: Windows, keep: bool, work: Workspace | None
) -> tuple[Array, Cache]:
    """Return y (N, F, PH, PW), and the cache, without winners if they need not be kept."""
    n, f, (ph, pw) = x.shape[0], weight.shape[0], pool.out
    y = new((f, ph, pw, n), like=x, work=work)
    parts = _parts(n)
    places = pool.kernel[0] * pool.kernel[1]
    winners = [
        new((places, ph, f, pw, part.stop - part.start), like=x, work=work, dtype="bool") if keep else None
        for part in parts
    ]
    works = _of_threads(work)

    def compute(k: int, thread: int) -> None:
        part, won, work = parts[k], winners[k], works[thread]
        size = part.stop - part.start
        with scratch(work):
            z = new((windows.out[0], f, windows.out[1] * size), like=x, work=work)
            multiply(weight, unfold_width(x[part], windows, work), windows, z)
            best = _largest(z, pool, size, work)
            if won is not None:
                _mark_winners(_places(z, pool, size), best, won)
            target = y[..., part].transpose(1, 0, 2, 3)
            np.add(best, 0.0 if bias is None else bias[:, None, None], out=target)

    in_parts(compute, len(parts), len(works))
    return batch_first(y), Cache(x, weight, winners, windows, pool, bias is not None)


def _of_threads(work: Workspace | None) -> list[Workspace | None]:
    """Return a workspace for each thread, or None for each: then everything is allocated."""
    return [work.of_thread(thread) if work else None for thread in range(thread_count())]


def _parts(n: int) -> list[slice]:
    """Cut a batch into parts of about `IMAGES` images."""
    count = max(1, round(n / IMAGES))
    return [slice(n * k // count, n * (k + 1) // count) for k in range(count)]


def _places(z: Array, pool: Windows, n: int) -> list[Array]:
    """View z (OH, F, OW*n) at the places of the pooling windows, in row-major order: each (PH, F, PW, n)."""
    (kph, kpw), (ph, pw) = pool.kernel, pool.out
    z = z.reshape(*z.shape[:2], -1, n)[: ph * kph, :, : pw * kpw]
    return [z[i::kph, :, j::kpw] for i in range(kph) for j in range(kpw)]


def _largest(z: Array, pool: Windows, n: int, work: Workspace | None) -> Array:
    """Return the largest number of each window, (PH, F, PW, n): first of its rows, where numbers lie in long runs."""
    (kph, kpw), (ph, pw) = pool.kernel, pool.out
    rows = _maximum([z[i : ph * kph : kph] for i in range(kph)], work)
    rows = rows.reshape(*rows.shape[:2], -1, n)
    return _maximum([rows[:, :, j : pw * kpw : kpw] for j in range(kpw)], work)


def _maximum(candidates: list[Array], work: Workspace | None) -> Array:
    """Return the largest of `candidates`, element by element."""
    first, *others = candidates
    best = new(first.shape, like=first, work=work) if others else None
    for other in others:
        first = np.maximum(first, other, out=best)
    return first


def _mark_winners(candidates: list[Array], best: Array, won: Array) -> None:
    """Set `won` where each of `candidates` is the first that is as large as `best`; where nobody else is, the last (and
    with it where there is a NaN, which equals nothing).
    """
    if len(won) == 1:
        won[...] = True
        return
    found = np.equal(candidates[0], best, out=won[0])
    for candidate, mine in zip(candidates[1:-1], won[1:-1], strict=True):
        np.equal(candidate, best, out=mine)
        np.greater(mine, found, out=mine)
        found = np.logical_or(mine, found, out=won[-1])
    np.logical_not(found, out=won[-1])


def backward(
    dy: Array,
    cache: Any,
    *,
    need_dx: bool = True,
    need_dweight: bool = True,
    out: tuple[Array, Array | None] | None = None,
    work: Workspace | None = None,
) -> Any:
    """See `conv_pool.backward`."""
    if not isinstance(cache, Cache):
        return NotImplemented
    x, weight, winners, windows, pool, has_bias = cache
    n, c, h, w = x.shape
    f = weight.shape[0]
    check_gradient("conv_pool", dy, (n, f, *pool.out), weight)
    dx = batch_first(new((c, h, w, n), like=dy, work=work)) if need_dx else None
    parts = _parts(n)
    dweights: list[Any] = [None] * len(parts)
    works = _of_threads(work)

    def compute(k: int, thread: int) -> None:
        part, won, work = parts[k], winners[k], works[thread]
        with scratch(work):
            dz = _conv_gradient(dy[part], won, windows, pool, work)
            if need_dweight:
                rows = unfold_width(x[part], windows, work)
                dweights[k] = weight_gradient(dz.transpose(0, 2, 1), rows, windows)
            if dx is not None:
                height = h + sum(windows.padding[0])
                shape = (height, c, windows.kernel[1], windows.out[1], part.stop - part.start)
                fold_width(rows_gradient(dz, shape, weight, windows, work), windows, dx[part])

    in_parts(compute, len(parts), len(works))
    dweight = dbias = None
    if need_dweight:
        dweight = put(functools.reduce(np.add, dweights), out and out[0])  # in the order of the parts, always
        if has_bias:
            dbias = np.add.reduce(batch_last(dy).reshape(f, -1), axis=1, out=out and out[1])
    return dx, dweight, dbias


def _conv_gradient(dy: Array, won: Array, windows: Windows, pool: Windows, work: Workspace | None) -> Array:
    """Return the gradient by the convolution's result, (OH, F, OW*n), from dy (n, F, PH, PW)."""
    n, f, ph, pw = dy.shape
    oh, ow = windows.out
    dbest = new((ph, f, pw, n), like=dy, work=work)
    dbest[...] = dy.transpose(2, 1, 3, 0)
    dz = new((oh, f, ow * n), like=dy, work=work)
    if (oh, ow) != (ph * pool.kernel[0], pw * pool.kernel[1]):
        dz[...] = 0  # what no window of the pooling sees
    for place, wins in zip(_places(dz, pool, n), won, strict=True):
        np.multiply(dbest, wins, out=place)
    return dz
