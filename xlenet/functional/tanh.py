"""Hyperbolic tangent: y = tanh(x), between -1 and 1. LeNet-5 had it, scaled; its derivative is 1 - y^2."""

from __future__ import annotations

from typing import NamedTuple

from ..backend import Array, into
from ..checks import check_cache, check_floating, check_gradient
from ..workspace import Workspace, out_for


class Cache(NamedTuple):
    """What backward reads."""

    y: Array


def forward(x: Array, *, work: Workspace | None = None) -> tuple[Array, Cache]:
    """Squeeze every number in between -1 and 1: y = (exp(x) - exp(-x)) / (exp(x) + exp(-x)).

    Args:
        x: of any shape, float32 or float64.
        work: lends memory until the step ends; None allocates.

    Returns:
        y of the shape of x, and the cache for `backward`.

    Raises:
        TypeError: x is of another type.

    Example:
        >>> import numpy as np
        >>> forward(np.array([-1000.0, 0.0, 0.5]))[0]
        array([-1.        ,  0.        ,  0.46211716])
    """
    xp = check_floating("tanh", x=x)
    y = into(out_for(x, work), xp.tanh, x)
    return y, Cache(y)


def backward(dy: Array, cache: Cache, *, work: Workspace | None = None) -> Array:
    """Return the gradient by x: dx = dy * (1 - y^2).

    Args:
        dy: gradient of the loss by y, of its shape.
        cache: what `forward` returned.
        work: lends memory until the step ends; None allocates.

    Returns:
        dx of the shape of x.

    Example:
        >>> import numpy as np
        >>> y, cache = forward(np.array([-1000.0, 0.0, 1000.0]))
        >>> backward(np.array([5.0, 6.0, 7.0]), cache)
        array([0., 6., 0.])
    """
    check_cache("tanh", cache, Cache)
    y = cache.y
    xp = check_gradient("tanh", dy, y.shape, y)
    slope = xp.asarray(into(out_for(dy, work), xp.multiply, y, y))  # NumPy makes a scalar of an array of no axes
    slope = into(slope, xp.subtract, 1.0, slope)
    slope *= dy
    return slope
