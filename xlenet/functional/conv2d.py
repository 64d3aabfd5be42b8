"""Convolution by img2col: copy the windows into a matrix, multiply once.

Forward:   Y = W @ unfold(X) + b              (F, OH*OW*N) = (F, C*KH*KW) @ (C*KH*KW, OH*OW*N)
Backward:  dW = dY @ unfold(X).T,  db = the sum of dY over everything but F,  dX = fold(W.T @ dY)

In groups, each filter sees its own share of the channels: these are products of the same matrices cut into as many
blocks of rows, (G, F/G, OH*OW*N) = (G, F/G, C/G*KH*KW) @ (G, C/G*KH*KW, OH*OW*N).

As everywhere in neural networks the kernel is not flipped: it is a cross-correlation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..backend import Array, batch_first, batch_last, in_one_piece, into, put
from ..checks import check_arrays, check_cache, check_gradient, check_shape, integer
from ..workspace import Workspace, new
from .matmul import matmul
from .windows import Padding, Pair, Windows, fold, unfold, windows_over

# Matrix products want many rows: with fewer filters than this, (C*KH*KW, F) is up to twice as quick as (F, C*KH*KW).
_MANY_ROWS = 64


class Cache(NamedTuple):
    """What backward reads."""

    columns: Array  # (C*KH*KW, OH*OW*N)
    weight: Array  # (F, C/G, KH, KW)
    windows: Windows
    x_shape: tuple[int, ...]
    has_bias: bool


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
) -> tuple[Array, Cache]:
    """Convolve images with filters.

    Args:
        x: images (N, C, H, W), float32 or float64.
        weight: filters (F, C/G, KH, KW).
        bias: one number a filter, (F,), or None.
        stride: step between windows, or (vertical, horizontal).
        padding: zeros around the image: "SAME", "VALID", int, (vertical, horizontal) or ((top, bottom), (left, right)).
        dilation: step between the pixels that a window sees, or (vertical, horizontal).
        groups: G, a divisor of C and F: the k-th of G equal shares of the filters sees the k-th share of the channels
            alone. With G = C each channel has filters of its own (a depthwise convolution).
        work: lends memory until the step ends; None allocates.

    Returns:
        y (N, F, OH, OW), and the cache for `backward`.

    Raises:
        TypeError: other types, or arrays of two libraries.
        ValueError: shapes that do not go together, groups that do not divide them, or a kernel larger than the padded
            image.

    Example:
        >>> import numpy as np
        >>> y, _ = forward(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), padding="SAME")
        >>> y[0, 0]
        array([[4., 6., 4.],
               [6., 9., 6.],
               [4., 6., 4.]])

    References:
        K. Chellapilla, S. Puri, P. Simard, High Performance Convolutional Neural Networks for Document Processing
        (2006).
    """
    xp, windows = check_forward(x, weight, bias, stride, padding, dilation, groups)
    return convolve(x, weight, bias, windows, work, xp)


def convolve(
    x: Array, weight: Array, bias: Array | None, windows: Windows, work: Workspace | None, xp: Any
) -> tuple[Array, Cache]:
    """Return what `forward` returns, for arguments that have been checked."""
    f, groups = weight.shape[0], x.shape[1] // weight.shape[1]
    columns = unfold(x, windows, work)
    y = new((f, columns.shape[1]), like=x, work=work)
    filters = _blocks(xp.reshape(weight, (f, -1)), groups, xp)
    matmul(filters, _blocks(columns, groups, xp), out=_blocks(y, groups, xp))
    if bias is not None:
        y += xp.reshape(bias, (f, 1))
    y = batch_first(xp.reshape(y, (f, *windows.out, x.shape[0])))
    return y, Cache(columns, weight, windows, tuple(x.shape), bias is not None)


def check_forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair = 1,
    groups: int = 1,
) -> tuple[Any, Windows]:
    """Return the arrays' library and where the windows lie, having checked forward's arguments."""
    xp = check_arrays("conv2d", "(N, C, H, W)", x, weight=weight, bias=bias)
    if type(groups) is not int or groups != 1:
        groups = integer("conv2d", "groups", groups, 1)
        check_groups("conv2d", groups, x.shape[1], "channels")
    if weight.ndim != 4 or weight.shape[1] * groups != x.shape[1] or 0 in weight.shape:
        shared = "" if groups == 1 else f" and groups {groups}"
        raise ValueError(
            f"conv2d: got weight of shape {tuple(weight.shape)} for x of shape {tuple(x.shape)}{shared}; "
            f"expected (F, {x.shape[1] // groups}, KH, KW); both have C in second place{shared and ', divided'}"
        )
    check_groups("conv2d", groups, weight.shape[0], "filters")
    if bias is not None:
        check_shape("conv2d", "bias", bias, (weight.shape[0],), "one number for each filter")
    return xp, windows_over(x.shape[2:], weight.shape[2:], stride, padding, dilation, operation="conv2d")


def check_groups(operation: str, groups: int, count: int, what: str) -> None:
    """Check that so many channels or filters can be shared out among `groups`."""
    if count % groups:
        raise ValueError(
            f"{operation}: got groups {groups} for {count} {what}; expected a divisor of {count}; all are equally large"
        )


def backward(
    dy: Array,
    cache: Cache,
    *,
    need_dx: bool = True,
    need_dweight: bool = True,
    out: tuple[Array, Array | None] | None = None,
    work: Workspace | None = None,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the gradients by forward's arrays.

    Args:
        dy: gradient of the loss by y, (N, F, OH, OW).
        cache: what `forward` returned.
        need_dx: False skips dx, as in a network's first layer.
        need_dweight: False skips dweight and dbias, as in a frozen layer.
        out: where dweight and dbias are to be written; None allocates.
        work: lends memory until the step ends; None allocates.

    Returns:
        dx (N, C, H, W), dweight (F, C/G, KH, KW), dbias (F,): sums over the batch; None for what is not needed or was
        not there.

    Example:
        >>> import numpy as np
        >>> y, cache = forward(np.ones((2, 1, 3, 3)), np.ones((1, 1, 2, 2)))
        >>> dx, dweight, dbias = backward(np.ones(y.shape), cache)
        >>> dweight
        array([[[[8., 8.],
                 [8., 8.]]]])
    """
    check_cache("conv2d", cache, Cache)
    columns, weight, windows, x_shape, has_bias = cache
    f, groups = weight.shape[0], x_shape[1] // weight.shape[1]
    xp = check_gradient("conv2d", dy, (x_shape[0], f, *windows.out), weight)
    dy = xp.reshape(batch_last(dy), (f, -1))  # (F, OH*OW*N)
    blocks = _blocks(dy, groups, xp)
    dx = dweight = dbias = None
    if need_dweight:
        dweight = _weight_gradient(blocks, _blocks(columns, groups, xp), weight.shape, groups, xp, out and out[0])
        dbias = into(out and out[1], xp.sum, dy, axis=1) if has_bias else None
    if need_dx:
        dcolumns = new(tuple(columns.shape), like=dy, work=work)
        filters = _blocks(xp.reshape(weight, (f, -1)), groups, xp)
        matmul(_turned(filters, xp), blocks, out=_blocks(dcolumns, groups, xp))
        dx = fold(dcolumns, x_shape, windows, work)
    return dx, dweight, dbias


def _weight_gradient(
    dy: Array, columns: Array, shape: tuple[int, ...], groups: int, xp: Any, out: Array | None
) -> Array:
    if shape[0] // groups < _MANY_ROWS:
        return put(xp.reshape(_turned(matmul(columns, _turned(dy, xp)), xp), shape), out)
    columns = _turned(columns, xp)
    if out is None or not in_one_piece(out):
        return put(xp.reshape(matmul(dy, columns), shape), out)
    matmul(dy, columns, out=_blocks(xp.reshape(out, (shape[0], -1)), groups, xp))
    return out


def _blocks(matrix: Array, groups: int, xp: Any) -> Array:
    """View a matrix (ROWS, COLUMNS) as (G, ROWS/G, COLUMNS), what each group has; itself, where there is one group."""
    return matrix if groups == 1 else xp.reshape(matrix, (groups, matrix.shape[0] // groups, -1))


def _turned(matrix: Array, xp: Any) -> Array:
    """View a matrix, or each of several, with rows for columns."""
    return matrix.T if matrix.ndim == 2 else xp.permute_dims(matrix, (0, 2, 1))
