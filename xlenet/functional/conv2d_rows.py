"""The same convolution as `conv2d` in a quarter of the memory: windows are unfolded along the width only.

In memory (H, C, KW, OW, N) the KH rows of pixels that one row of results sees lie one behind the other. They are, as
they are, the matrix (KH*C*KW, OW*N) of that row of results, and overlap with the next row's matrix: KH times fewer
copies, and a product that stays in the processor's cache. Forward, for each of the OH rows of results:

    Y[o] = W @ rows[o*stride : o*stride + KH]        (F, OW*N) = (F, KH*C*KW) @ (KH*C*KW, OW*N)

and backward the two adjoint products, added up over the rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..backend import Array, batch_first, batch_last, into, namespace_of, zeros
from ..checks import check_gradient
from ..workspace import Workspace, new
from .conv2d import check_forward
from .windows import Padding, Windows, pad, seen_along


class Cache(NamedTuple):
    """What backward reads."""

    rows: Array  # (H + padding, C, KW, OW, N)
    weight: Array  # (F, C, KH, KW)
    windows: Windows
    x_shape: tuple[int, ...]
    has_bias: bool


def forward(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Padding = 0,
    *,
    work: Workspace | None = None,
) -> tuple[Array, Cache]:
    """Convolve images with filters: arguments, results and errors of `conv2d.forward`, equal to it within rounding.

    Example:
        >>> import numpy as np
        >>> y, _ = forward(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), padding="SAME")
        >>> y[0, 0]
        array([[4., 6., 4.],
               [6., 9., 6.],
               [4., 6., 4.]])
    """
    xp, windows = check_forward(x, weight, bias, stride, padding)
    n, f, (oh, ow) = x.shape[0], weight.shape[0], windows.out
    rows = _unfold_width(x, windows, work)
    matrix = _as_matrix(weight, xp)
    y = new((f, oh, ow * n), like=x, work=work)
    for o in range(oh):
        into(y[:, o, :], xp.matmul, matrix, _seen_by(o, rows, windows, xp))
    if bias is not None:
        y += bias[:, None, None]
    y = batch_first(xp.reshape(y, (f, oh, ow, n)))
    return y, Cache(rows, weight, windows, tuple(x.shape), bias is not None)


def backward(
    dy: Array, cache: Cache, *, need_dx: bool = True, need_dweight: bool = True, work: Workspace | None = None
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
    rows, weight, windows, x_shape, has_bias = cache
    n, f, (oh, ow) = x_shape[0], weight.shape[0], windows.out
    xp = check_gradient("conv2d", dy, (n, f, oh, ow), weight)
    dy = xp.reshape(batch_last(dy), (f, oh, ow * n))
    dx = dweight = dbias = None
    if need_dweight:
        dweight = _weight_gradient(dy, rows, weight, windows, xp)
        dbias = xp.sum(xp.reshape(dy, (f, -1)), axis=1) if has_bias else None
    if need_dx:
        drows = new(rows.shape, like=dy, work=work)
        drows[...] = 0
        matrix = _as_matrix(weight, xp).T
        part = new((matrix.shape[0], ow * n), like=dy, work=work)
        for o in range(oh):
            seen = _seen_by(o, drows, windows, xp)
            seen += into(part, xp.matmul, matrix, dy[:, o, :])
        dx = _fold_width(drows, x_shape, windows, work)
    return dx, dweight, dbias


def _weight_gradient(dy: Array, rows: Array, weight: Array, windows: Windows, xp: Any) -> Array:
    f, c, kh, kw = weight.shape
    total = zeros((kh * c * kw, f), like=dy)
    for o in range(windows.out[0]):
        # This way round, (KH*C*KW, F): BLAS likes many rows.
        total += xp.matmul(_seen_by(o, rows, windows, xp), dy[:, o, :].T)
    return xp.permute_dims(xp.reshape(total, (kh, c, kw, f)), (3, 1, 0, 2))


def _as_matrix(weight: Array, xp: Any) -> Array:
    """(F, C, KH, KW) -> (F, KH*C*KW), the order in which a window lies in rows."""
    return xp.reshape(xp.permute_dims(weight, (0, 2, 1, 3)), (weight.shape[0], -1))


def _seen_by(o: int, rows: Array, windows: Windows, xp: Any) -> Array:
    """View what the o-th row of results sees as a matrix (KH*C*KW, OW*N)."""
    first = o * windows.stride[0]
    seen = rows[first : first + windows.kernel[0], ...]
    _, c, kw, ow, n = seen.shape
    return xp.reshape(seen, (windows.kernel[0] * c * kw, ow * n))


def _unfold_width(x: Array, windows: Windows, work: Workspace | None) -> Array:
    """Copy each pixel once for each column of the kernel: (N, C, H, W) -> (H + padding, C, KW, OW, N)."""
    n, c = x.shape[:2]
    x = namespace_of(x).permute_dims(pad(x, windows.padding, work), (2, 1, 3, 0))  # (H, C, W, N)
    kw, sw, ow = windows.kernel[1], windows.stride[1], windows.out[1]
    rows = new((x.shape[0], c, kw, ow, n), like=x, work=work)
    for j in range(kw):
        rows[:, :, j, :, :] = x[:, :, j : j + (ow - 1) * sw + 1 : sw, :]
    return rows


def _fold_width(drows: Array, x_shape: tuple[int, ...], windows: Windows, work: Workspace | None) -> Array:
    """Add each copy back to its pixel: the adjoint of `_unfold_width`."""
    n, c, h, w = x_shape
    (top, _), (left, _) = windows.padding
    dx = new((c, h, w, n), like=drows, work=work)
    dx[...] = 0
    inside = namespace_of(drows).permute_dims(drows[top : top + h, ...], (1, 2, 0, 3, 4))  # (C, KW, H, OW, N)
    for j in range(windows.kernel[1]):
        seen, pixels = seen_along(j, windows.stride[1], left, w, windows.out[1])
        target = dx[:, :, pixels, :]
        target += inside[:, j, :, seen, :]
    return batch_first(dx)
