"""Convolution with and without the max-pooling behind it, by CUDA kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..backend import Array, batch_first, in_one_piece, put
from ..checks import check_gradient
from ..functional.conv2d import check_forward
from ..functional.windows import Padding, Windows, windows_over
from ..workspace import Workspace, new
from . import cuda_linear
from .cuda_launch import (
    MANY_BLOCKS,
    are_real,
    cut,
    group,
    is_small,
    launch,
    rounded_up,
    with_batch_last,
    without_gaps,
)

_THREADS = 128
_FILTERS = 2  # to a block that makes their gradients: FILTERS in the source
_GROUPS = (6, 4, 3, 2, 1)  # filters or channels to a thread
_PATCH = 64  # pixels that fit into registers: IN_REGISTERS in the source
_STAGED = 2432  # weights in shared memory at once: BACKWARD_WEIGHTS in the source
_LARGEST_KERNEL = 6000  # whose weights of one filter and channel still fit there

Gradients = tuple[Array | None, Array | None, Array | None]
Out = tuple[Array, Array | None] | None


class Cache(NamedTuple):
    """What backward reads."""

    x: Array  # (C, H, W, N)
    weight: Array  # (F, C, KH, KW)
    winner: Array  # (F, POH, POW, N), uint8: which place of its window was the largest; one number without a pooling
    windows: Windows
    pool: Windows
    has_bias: bool
    operation: str  # for errors


class WholeImageCache(NamedTuple):
    """What backward reads where the kernel is as large as the image: a fully connected layer's."""

    linear: cuda_linear.Cache
    weight_shape: tuple[int, ...]
    x_shape: tuple[int, ...]


def conv_pool_forward(
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
    """See `xlenet.functional.conv_pool.forward`. Every window of the pooling lies inside, else it is not taken."""
    _, windows = check_forward(x, weight, bias, stride, padding)
    pool_stride = pool_kernel if pool_stride is None else pool_stride
    pool = windows_over(windows.out, pool_kernel, pool_stride, pool_padding, ceil_mode=ceil_mode, operation="maxpool2d")
    return _forward(x, weight, bias, windows, pool, "conv_pool", work)


def conv_pool_infer(*args: Any, **kwargs: Any) -> Any:
    """See `xlenet.functional.conv_pool.infer`."""
    result = conv_pool_forward(*args, **kwargs)
    return result if result is NotImplemented else result[0]


def conv2d_rows_forward(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Padding = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    work: Workspace | None = None,
) -> Any:
    """See `xlenet.functional.conv2d_rows.forward`. Neither dilation nor groups are taken."""
    _, windows = check_forward(x, weight, bias, stride, padding, dilation, groups)
    if windows.dilation != (1, 1) or groups != 1:
        return NotImplemented
    if windows.kernel == windows.size and windows.out == (1, 1) and windows.padding == ((0, 0), (0, 0)):
        return _forward_whole(x, weight, bias, work)
    return _forward(x, weight, bias, windows, windows_over(windows.out, 1, 1, 0), "conv2d", work)


def conv_pool_backward(
    dy: Array,
    cache: Any,
    *,
    need_dx: bool = True,
    need_dweight: bool = True,
    out: Out = None,
    work: Workspace | None = None,
) -> Any:
    """See `xlenet.functional.conv_pool.backward`."""
    if not isinstance(cache, Cache):
        return NotImplemented
    return _backward(dy, cache, need_dx, need_dweight, out, work)


def conv2d_rows_backward(
    dy: Array,
    cache: Any,
    *,
    need_dx: bool = True,
    need_dweight: bool = True,
    out: Out = None,
    work: Workspace | None = None,
) -> Any:
    """See `xlenet.functional.conv2d_rows.backward`."""
    if isinstance(cache, WholeImageCache):
        return _backward_whole(dy, cache, need_dx, need_dweight, out, work)
    if not isinstance(cache, Cache):
        return NotImplemented
    return _backward(dy, cache, need_dx, need_dweight, out, work)


# ==== windows over the image ====


def _forward(
    x: Array, weight: Array, bias: Array | None, windows: Windows, pool: Windows, operation: str, work: Workspace | None
) -> Any:
    n, c, h, w = x.shape
    f, places = weight.shape[0], pool.out[0] * pool.out[1]
    if not (_is_inside(pool) and are_real(x, weight, or_none=bias) and _taps(windows) <= _LARGEST_KERNEL):
        return NotImplemented
    if not all(map(is_small, (f * places * n, h * w * n, 2 * weight.size))):
        return NotImplemented
    x, weight = with_batch_last(x, work), without_gaps(weight, work)
    y = new((f, *pool.out, n), like=x, work=work)
    winner = new(y.shape if pool.kernel != (1, 1) else (1,), like=x, work=work, dtype="uint8")
    blocks = rounded_up(places * n, _THREADS)
    g = group(f, blocks, _GROUPS if _patch(windows, pool) <= _PATCH else ())
    launch(
        "conv_pool", "conv_pool_forward", rounded_up(f, g) * blocks, _THREADS,
        x, weight, weight if bias is None else without_gaps(bias, work), y, winner, bias is not None,
        c, f, h, w, n, *pool.out, *_before(windows),
        like=x, defines=_defines("FORWARD", g, windows, pool),
    )  # fmt: skip
    return batch_first(y), Cache(x, weight, winner, windows, pool, bias is not None, operation)


def _backward(dy: Array, cache: Cache, need_dx: bool, need_dweight: bool, out: Out, work: Workspace | None) -> Any:
    x, weight, winner, windows, pool, has_bias, operation = cache
    (c, h, w, n), f = x.shape, weight.shape[0]
    check_gradient(operation, dy, (n, f, *pool.out), weight)
    if not (need_dx or need_dweight):
        return None, None, None
    dy = with_batch_last(dy, work)
    dx = new(x.shape, like=x, work=work) if need_dx else None
    dweight = dbias = partial = None
    sums = rounded_up(f, _FILTERS) * c  # blocks for one part of the places
    length, chunks = cut(pool.out[0] * pool.out[1] * n, MANY_BLOCKS // sums, _THREADS)
    if need_dweight:
        partial = new((f, c, _taps(windows) + 1, chunks), like=x, work=work)
    blocks = rounded_up(h * w * n, _THREADS)
    g = group(c, blocks, tuple(size for size in _GROUPS if size * _taps(windows) <= _STAGED))
    weight_blocks = sums * chunks if need_dweight else 0
    launch(
        "conv_pool", "conv_pool_backward", weight_blocks + (rounded_up(c, g) * blocks if need_dx else 0), _THREADS,
        x, weight, dy, winner, x if dx is None else dx, x if partial is None else partial, weight_blocks,
        length, chunks, c, f, h, w, n, *pool.out, *_before(windows),
        like=x, defines=_defines("BACKWARD", g, windows, pool),
    )  # fmt: skip
    if partial is not None:
        dweight, dbias = cuda_linear.targets(weight, has_bias, out, work)
        launch(
            "conv_pool", "conv_pool_finish", rounded_up(partial.size // chunks, 8), 256,
            partial, dweight, dweight if dbias is None else dbias, has_bias, chunks, c, f,
            like=x, defines=_defines("BACKWARD", g, windows, pool),
        )  # fmt: skip
    return None if dx is None else batch_first(dx), *cuda_linear.brought_to(out, dweight, dbias)


def _is_inside(pool: Windows) -> bool:
    """Return whether no window of the pooling hangs over, and a byte can say which of its places has won."""
    reached = ((out - 1) * s + k for out, s, k in zip(pool.out, pool.stride, pool.kernel, strict=True))
    fits = all(last <= size for last, size in zip(reached, pool.size, strict=True))
    return fits and pool.padding == ((0, 0), (0, 0)) and pool.kernel[0] * pool.kernel[1] <= 256


def _taps(windows: Windows) -> int:
    return windows.kernel[0] * windows.kernel[1]


def _patch(windows: Windows, pool: Windows) -> int:
    """Return how many pixels a pooled place sees."""
    (rows, cols) = ((p - 1) * s + k for p, s, k in zip(pool.kernel, windows.stride, windows.kernel, strict=True))
    return rows * cols


def _before(windows: Windows) -> tuple[int, int]:
    (top, _), (left, _) = windows.padding
    return top, left


def _defines(way: str, g: int, windows: Windows, pool: Windows) -> tuple[str, ...]:
    names = ("KH", "KW", "SH", "SW", "PH", "PW", "TH", "TW")
    sizes = (*windows.kernel, *windows.stride, *pool.kernel, *pool.stride)
    return f"-D{way}", f"-DGROUP={g}", *(f"-D{name}={size}" for name, size in zip(names, sizes, strict=True))


# ==== a kernel as large as the image ====


def _forward_whole(x: Array, weight: Array, bias: Array | None, work: Workspace | None) -> Any:
    n, f = x.shape[0], weight.shape[0]
    if not (are_real(x, weight, or_none=bias) and is_small(f * n)):
        return NotImplemented
    rows = with_batch_last(x, work).reshape((-1, n))
    y, cache = cuda_linear.forward(rows, without_gaps(weight, work).reshape((f, -1)), bias, False, work)
    return batch_first(y.reshape((f, 1, 1, n))), WholeImageCache(cache, tuple(weight.shape), tuple(x.shape))


def _backward_whole(
    dy: Array, cache: WholeImageCache, need_dx: bool, need_dweight: bool, out: Out, work: Workspace | None
) -> Any:
    n, c, h, w = cache.x_shape
    f = cache.weight_shape[0]
    check_gradient("conv2d", dy, (n, f, 1, 1), cache.linear.weight)
    flat = None if out is None else (_as_rows(out[0], cache.weight_shape), out[1])
    dy = with_batch_last(dy, work).reshape((f, n))
    dx, dweight, dbias = cuda_linear.backward(dy, cache.linear, need_dx, need_dweight, flat, work)
    if dx is not None:
        dx = batch_first(dx.reshape((c, h, w, n)))
    if dweight is None:
        return dx, None, dbias
    if out is None or flat is None:
        return dx, dweight.reshape(cache.weight_shape), dbias
    return dx, out[0] if dweight is flat[0] else put(dweight.reshape(cache.weight_shape), out[0]), dbias


def _as_rows(out: Array | None, shape: tuple[int, ...]) -> Array | None:
    """View where the gradient of filters goes as a matrix; None where it does not lie in one piece."""
    if out is None or tuple(out.shape) != shape or not in_one_piece(out):
        return None
    return out.reshape((shape[0], -1))
