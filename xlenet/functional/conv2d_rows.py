"""The same convolution as `conv2d` with fewer copies, in less memory: windows are unfolded along the width only.

In memory (H, C, KW, OW, N) the KH rows of pixels that one row of results sees lie one behind the other. They are, as
they are, the matrix (KH*C*KW, OW*N) of that row of results, and overlap with the next row's matrix: KH / SH times fewer
copies, and products that stay in the processor's cache. Forward, for each of the OH rows of results:

    Y[o] = W @ rows[o*stride : o*stride + KH]        (F, OW*N) = (F, KH*C*KW) @ (KH*C*KW, OW*N)

and backward the two adjoint products, added up over the rows.
"""

from __future__ import annotations

from typing import NamedTuple

from ..backend import Array, batch_first, batch_last, into, namespace_of, put, swappable, zeros
from ..checks import check_cache, check_gradient
from ..workspace import Workspace, new
from . import conv2d
from .windows import Padding, Pair, Windows, pad, seen_along


class Cache(NamedTuple):
    """What backward reads."""

    rows: Array  # (H + padding, C, KW, OW, N)
    weight: Array  # (F, C, KH, KW)
    windows: Windows
    x_shape: tuple[int, ...]
    has_bias: bool


@swappable
def forward(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    work: Workspace | None = None,
) -> tuple[Array, Cache | conv2d.Cache]:
    """Convolve images with filters: arguments, results and errors of `conv2d.forward`, equal to it within rounding.

    Example:
        >>> import numpy as np
        >>> y, _ = forward(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), padding="SAME")
        >>> y[0, 0]
        array([[4., 6., 4.],
               [6., 9., 6.],
               [4., 6., 4.]])
    """
    xp, windows = conv2d.check_forward(x, weight, bias, stride, padding, dilation, groups)
    # A window as large as the image: nothing overlaps, and img2col has nothing to copy. Dilation and groups: what a row
    # of results sees does not lie in one piece.
    if windows.cover_the_image or windows.dilation != (1, 1) or groups != 1:
        return conv2d.convolve(x, weight, bias, windows, work, xp)
    n, f, (oh, ow) = x.shape[0], weight.shape[0], windows.out
    rows = unfold_width(x, windows, work)
    y = new((f, oh, ow * n), like=x, work=work)
    multiply(weight, rows, windows, xp.permute_dims(y, (1, 0, 2)))
    if bias is not None:
        y += bias[:, None, None]
    y = batch_first(xp.reshape(y, (f, oh, ow, n)))
    return y, Cache(rows, weight, windows, tuple(x.shape), bias is not None)


@swappable
def backward(
    dy: Array,
    cache: Cache | conv2d.Cache,
    *,
    need_dx: bool = True,
    need_dweight: bool = True,
    out: tuple[Array, Array | None] | None = None,
    work: Workspace | None = None,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the gradients by forward's arrays: arguments and results of `conv2d.backward`.

    Example:
        >>> import numpy as np
        >>> y, cache = forward(np.ones((2, 1, 3, 3)), np.ones((1, 1, 2, 2)))
        >>> dx, dweight, dbias = backward(np.ones(y.shape), cache)
        >>> dweight
        array([[[[8., 8.],
                 [8., 8.]]]])
    """
    if isinstance(cache, conv2d.Cache):
        return conv2d.backward(dy, cache, need_dx=need_dx, need_dweight=need_dweight, out=out, work=work)
    check_cache("conv2d", cache, Cache)
    rows, weight, windows, x_shape, has_bias = cache
    n, f, (oh, ow) = x_shape[0], weight.shape[0], windows.out
    xp = check_gradient("conv2d", dy, (n, f, oh, ow), weight)
    dy = xp.reshape(batch_last(dy), (f, oh, ow * n))
    dx = dweight = dbias = None
    if need_dweight:
        dweight = put(weight_gradient(xp.permute_dims(dy, (1, 2, 0)), rows, windows), out and out[0])
        dbias = into(out and out[1], xp.sum, xp.reshape(dy, (f, -1)), axis=1) if has_bias else None
    if need_dx:
        drows = rows_gradient(xp.permute_dims(dy, (1, 0, 2)), rows.shape, weight, windows, work)
        dx = batch_first(new((*x_shape[1:], n), like=dy, work=work))
        fold_width(drows, windows, dx)
    return dx, dweight, dbias


# ==== the parts, for windows without gaps ====


@swappable
def unfold_width(x: Array, windows: Windows, work: Workspace | None) -> Array:
    """Copy each pixel once for each column of the kernel: (N, C, H, W) -> (H + padding, C, KW, OW, N)."""
    n, c = x.shape[:2]
    x = namespace_of(x).permute_dims(pad(x, windows.padding, work), (2, 1, 3, 0))  # (H, C, W, N)
    kw, sw, ow = windows.kernel[1], windows.stride[1], windows.out[1]
    rows = new((x.shape[0], c, kw, ow, n), like=x, work=work)
    for j in range(kw):
        rows[:, :, j, :, :] = x[:, :, j : j + (ow - 1) * sw + 1 : sw, :]
    return rows


@swappable
def multiply(weight: Array, rows: Array, windows: Windows, y: Array) -> None:
    """Fill y (OH, F, OW*N) with the products of the filters and what each row of results sees."""
    xp, matrix = namespace_of(rows), as_matrix(weight)
    for o in range(windows.out[0]):
        into(y[o, ...], xp.matmul, matrix, _seen_by(o, rows, windows))


@swappable
def weight_gradient(dy: Array, rows: Array, windows: Windows) -> Array:
    """Return dW (F, C, KH, KW), from dy (OH, OW*N, F)."""
    xp, kh, (_, c, kw, _, _) = namespace_of(dy), windows.kernel[0], rows.shape
    total = zeros((kh * c * kw, dy.shape[2]), like=dy)
    for o in range(windows.out[0]):
        total += xp.matmul(_seen_by(o, rows, windows), dy[o, ...])  # this way round: BLAS likes many rows
    return as_filters(total, c, kh, kw)


@swappable
def rows_gradient(dy: Array, shape: tuple[int, ...], weight: Array, windows: Windows, work: Workspace | None) -> Array:
    """Return the gradient by rows, of `shape` (H + padding, C, KW, OW, N), from dy (OH, F, OW*N): one row of the kernel
    after the other.
    """
    xp, (h, c, kw, ow, n), (oh, sh) = namespace_of(dy), shape, (windows.out[0], windows.stride[0])
    drows = new((h, c * kw, ow * n), like=dy, work=work)
    drows[...] = 0
    part = new((oh, c * kw, ow * n), like=dy, work=work)
    for i in range(windows.kernel[0]):
        filters = xp.reshape(weight[:, :, i, :], (-1, c * kw))
        seen = drows[i : i + (oh - 1) * sh + 1 : sh, ...]
        seen += into(part, xp.matmul, filters.T, dy)
    return xp.reshape(drows, shape)


def fold_width(drows: Array, windows: Windows, dx: Array) -> None:
    """Add each copy back to its pixel, into dx (N, C, H, W): the adjoint of `unfold_width`."""
    h, w = windows.size
    (top, _), (left, _) = windows.padding
    dx = batch_last(dx)
    inside = namespace_of(drows).permute_dims(drows[top : top + h, ...], (1, 2, 0, 3, 4))  # (C, KW, H, OW, N)
    for j in range(windows.kernel[1]):
        seen, pixels = seen_along(j, windows.stride[1], left, w, windows.out[1])
        target = dx[:, :, pixels, :]
        if j:
            target += inside[:, j, :, seen, :]
            continue
        first, last = (pixels.start, pixels.stop) if windows.stride[1] == 1 else (0, 0)  # between them all are set
        dx[:, :, :first, :] = 0
        dx[:, :, last:, :] = 0
        dx[:, :, pixels, :] = inside[:, j, :, seen, :]


def as_matrix(weight: Array) -> Array:
    """(F, C, KH, KW) -> (F, KH*C*KW), the order in which a window lies in rows."""
    xp = namespace_of(weight)
    return xp.reshape(xp.permute_dims(weight, (0, 2, 1, 3)), (weight.shape[0], -1))


def as_filters(matrix: Array, c: int, kh: int, kw: int) -> Array:
    """(KH*C*KW, F) -> (F, C, KH, KW)."""
    xp = namespace_of(matrix)
    return xp.permute_dims(xp.reshape(matrix, (kh, c, kw, -1)), (3, 1, 0, 2))


def _seen_by(o: int, rows: Array, windows: Windows) -> Array:
    """View what the o-th row of results sees as a matrix (KH*C*KW, OW*N)."""
    first = o * windows.stride[0]
    seen = rows[first : first + windows.kernel[0], ...]
    kh, c, kw, ow, n = seen.shape
    return namespace_of(rows).reshape(seen, (kh * c * kw, ow * n))
