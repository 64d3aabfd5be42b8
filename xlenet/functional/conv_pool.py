"""A convolution and the max-pooling behind it as one operation.

What lies between the two is four times as large as what comes out, and nobody else asks for it: a kernel need not write
it to memory. The bias is added behind the pooling, which changes nothing, since the largest of several numbers stays
the largest when all of them are shifted alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..backend import Array, batch_last, into, namespace_of, swappable
from ..checks import check_cache, check_gradient
from ..workspace import Workspace, out_for
from . import conv2d, conv2d_rows, maxpool2d
from .windows import Padding, Pair


class Cache(NamedTuple):
    """What backward reads."""

    conv: Any  # conv2d_rows.forward's
    pool: maxpool2d.Cache
    has_bias: bool


@swappable
def forward(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    pool_kernel: Pair = 2,
    pool_stride: Pair | None = None,
    pool_padding: Padding = 0,
    ceil_mode: bool = False,
    *,
    work: Workspace | None = None,
) -> tuple[Array, Cache]:
    """Convolve images with filters and take the largest number of every window of the result.

    Args:
        x: images (N, C, H, W), float32 or float64.
        weight: filters (F, C, KH, KW).
        bias: one number a filter, (F,), or None.
        stride: of the convolution; see `conv2d.forward`.
        padding: of the convolution.
        pool_kernel: window of the pooling; see `maxpool2d.forward`.
        pool_stride: of the pooling; None means its kernel.
        pool_padding: of the pooling.
        ceil_mode: of the pooling.
        work: lends memory until the step ends; None allocates.

    Returns:
        y (N, F, PH, PW), and the cache for `backward`.

    Raises:
        TypeError, ValueError: as in `conv2d.forward` and `maxpool2d.forward`.

    Example:
        >>> import numpy as np
        >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
        >>> forward(x, np.ones((1, 1, 1, 1)), np.ones(1))[0][0, 0]
        array([[ 6.,  8.],
               [14., 16.]])
    """
    xp, _ = conv2d.check_forward(x, weight, bias, stride, padding)
    z, conv = conv2d_rows.forward(x, weight, None, stride, padding, work=work)
    y, pool = maxpool2d.forward(z, pool_kernel, pool_stride, pool_padding, ceil_mode, work=work)
    if bias is not None:
        y = into(out_for(y, work), xp.add, y, bias[None, :, None, None])  # the cache needs y as it is
    return y, Cache(conv, pool, bias is not None)


@swappable
def infer(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    pool_kernel: Pair = 2,
    pool_stride: Pair | None = None,
    pool_padding: Padding = 0,
    ceil_mode: bool = False,
    *,
    work: Workspace | None = None,
) -> Array:
    """Return what `forward` returns, without the cache: who does not go back need not remember the winners.

    Example:
        >>> import numpy as np
        >>> infer(np.arange(16.0).reshape(1, 1, 4, 4), np.ones((1, 1, 1, 1)))[0, 0]
        array([[ 5.,  7.],
               [13., 15.]])
    """
    return forward(x, weight, bias, stride, padding, pool_kernel, pool_stride, pool_padding, ceil_mode, work=work)[0]


@swappable
def backward(
    dy: Array,
    cache: Cache,
    *,
    need_dx: bool = True,
    need_dweight: bool = True,
    out: tuple[Array, Array | None] | None = None,
    work: Workspace | None = None,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the gradients by forward's arrays: arguments and results of `conv2d.backward`, dy (N, F, PH, PW).

    Example:
        >>> import numpy as np
        >>> y, cache = forward(np.arange(16.0).reshape(1, 1, 4, 4), np.ones((1, 1, 1, 1)), np.ones(1))
        >>> dx, dweight, dbias = backward(np.ones(y.shape), cache)
        >>> dweight.item(), dbias.item()
        (40.0, 4.0)
    """
    check_cache("conv_pool", cache, Cache)
    check_gradient("conv_pool", dy, tuple(cache.pool.y.shape), cache.pool.y)
    dbias = None
    if cache.has_bias and need_dweight:
        xp = namespace_of(dy)
        dbias = into(out and out[1], xp.sum, xp.reshape(batch_last(dy), (dy.shape[1], -1)), axis=1)
    dz = maxpool2d.backward(dy, cache.pool, work=work)
    dx, dweight, _ = conv2d_rows.backward(
        dz, cache.conv, need_dx=need_dx, need_dweight=need_dweight, out=out and (out[0], None), work=work
    )
    return dx, dweight, dbias
