"""The logarithm of softmax: y_k = x_k - log(sum_j exp(x_j)).

dx = dy - exp(y) * sum of dy

The largest score is subtracted first, so that no exponential overflows and no logarithm of a rounded-off zero is taken.
"""

from __future__ import annotations

from typing import NamedTuple

from ..backend import Array, into
from ..checks import check_axes, check_axis, check_cache, check_floating, check_gradient
from ..workspace import Workspace, new_batch_last


class Cache(NamedTuple):
    """What backward reads."""

    y: Array
    axis: int


def forward(x: Array, axis: int = -1, *, work: Workspace | None = None) -> tuple[Array, Cache]:
    """Return the logarithms of the probabilities that belong to the scores `x`.

    Args:
        x: of any shape, float32 or float64.
        axis: along which the classes lie; -1 is the last one.
        work: lends memory until the step ends; None allocates.

    Returns:
        y of the shape of x, in nats, and the cache for `backward`. A score of minus infinity stays one.

    Raises:
        TypeError: x is of another type, or axis is not a whole number.
        ValueError: x has no such axis, or no numbers.

    Example:
        >>> import numpy as np
        >>> forward(np.array([[0.0, 0.0], [1e4, 0.0]]))[0]
        array([[-6.93147181e-01, -6.93147181e-01],
               [ 0.00000000e+00, -1.00000000e+04]])

    References:
        P. Blanchard, D. J. Higham, N. J. Higham, Accurately computing the log-sum-exp and softmax functions (2021),
        https://doi.org/10.1093/imanum/draa038
    """
    xp = check_floating("log_softmax", x=x)
    check_axes("log_softmax", "(N) or (N, ...)", x=x)
    axis = check_axis("log_softmax", x, axis)
    y = into(new_batch_last(x.shape, like=x, work=work), xp.subtract, x, xp.max(x, axis=axis, keepdims=True))
    y -= xp.log(xp.sum(xp.exp(y), axis=axis, keepdims=True))
    return y, Cache(y, axis)


def backward(dy: Array, cache: Cache, *, work: Workspace | None = None) -> Array:
    """Return the gradient by x.

    Args:
        dy: gradient of the loss by y, of its shape.
        cache: what `forward` returned.
        work: lends memory until the step ends; None allocates.

    Returns:
        dx of the shape of x.

    Example:
        >>> import numpy as np
        >>> y, cache = forward(np.array([[0.0, 0.0]]))
        >>> backward(np.array([[1.0, 0.0]]), cache)
        array([[ 0.5, -0.5]])
    """
    check_cache("log_softmax", cache, Cache)
    y, axis = cache
    xp = check_gradient("log_softmax", dy, y.shape, y)
    dx = into(new_batch_last(dy.shape, like=dy, work=work), xp.exp, y)
    dx *= xp.sum(dy, axis=axis, keepdims=True)
    return into(dx, xp.subtract, dy, dx)
