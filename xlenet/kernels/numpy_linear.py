"""A fully connected layer and the ReLU behind it for NumPy: in place, with few calls, since the arrays are small."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..backend import Array
from ..checks import check_gradient
from ..functional import linear
from ..workspace import Workspace, new


class Cache(NamedTuple):
    """What backward reads."""

    x: Array  # (N, IN)
    weight: Array  # (OUT, IN)
    y: Array  # (OUT, N)
    has_bias: bool


def forward(
    x: Array, weight: Array, bias: Array | None = None, *, work: Workspace | None = None
) -> tuple[Array, Cache]:
    """See `linear_relu.forward`."""
    z, (x, weight, has_bias) = linear.forward(x, weight, bias, work=work)
    y = z.T
    np.maximum(y, 0.0, out=y)
    return z, Cache(x, weight, y, has_bias)


def backward(
    dy: Array,
    cache: Any,
    *,
    need_dx: bool = True,
    need_dweight: bool = True,
    out: tuple[Array, Array | None] | None = None,
    work: Workspace | None = None,
) -> Any:
    """See `linear_relu.backward`."""
    if not isinstance(cache, Cache):
        return NotImplemented
    x, weight, y, has_bias = cache
    check_gradient("relu", dy, y.shape[::-1], weight)  # to whom dy comes first
    dz = np.multiply(dy.T, y > 0.0, out=new(y.shape, like=y, work=work))
    return linear.backward(
        dz.T, linear.Cache(x, weight, has_bias), need_dx=need_dx, need_dweight=need_dweight, out=out, work=work
    )
