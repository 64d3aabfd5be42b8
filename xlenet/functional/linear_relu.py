"""A fully connected layer and the ReLU behind it as one operation: y = max(x @ W.T + b, 0)."""

from __future__ import annotations

from typing import NamedTuple

from ..backend import Array, swappable
from ..checks import check_cache
from ..workspace import Workspace
from . import linear, relu


class Cache(NamedTuple):
    """What backward reads."""

    linear: linear.Cache
    relu: relu.Cache


@swappable
def forward(
    x: Array, weight: Array, bias: Array | None = None, *, work: Workspace | None = None
) -> tuple[Array, Cache]:
    """Multiply by a matrix, add a vector, and set what is negative to zero: arguments and errors of `linear.forward`.

    Example:
        >>> import numpy as np
        >>> forward(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [-3.0, -4.0]]))[0]
        array([[11.,  0.]])
    """
    z, of_linear = linear.forward(x, weight, bias, work=work)
    y, of_relu = relu.forward(z, work=work)
    return y, Cache(of_linear, of_relu)


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
    """Return the gradients by forward's arrays: arguments and results of `linear.backward`.

    Example:
        >>> import numpy as np
        >>> y, cache = forward(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [-3.0, -4.0]]))
        >>> backward(np.ones((1, 2)), cache)[0]
        array([[3., 4.]])
    """
    check_cache("linear_relu", cache, Cache)
    dz = relu.backward(dy, cache.relu, work=work)
    return linear.backward(dz, cache.linear, need_dx=need_dx, need_dweight=need_dweight, out=out, work=work)
