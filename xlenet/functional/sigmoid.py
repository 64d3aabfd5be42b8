"""Logistic function: y = 1 / (1 + exp(-x)), between 0 and 1; its derivative is y * (1 - y)."""

from __future__ import annotations

from typing import NamedTuple

from ..backend import Array, into
from ..checks import check_cache, check_floating, check_gradient
from ..workspace import Workspace, out_for


class Cache(NamedTuple):
    """What backward reads."""

    y: Array


def forward(x: Array, *, work: Workspace | None = None) -> tuple[Array, Cache]:
    """Squeeze every number in between 0 and 1.

    With e = exp(-abs(x)), which cannot overflow: y = 1 / (1 + e) where x >= 0, and e / (1 + e) where x < 0. Small
    results keep all their digits.

    Args:
        x: of any shape, float32 or float64.
        work: lends memory until the step ends; None allocates.

    Returns:
        y of the shape of x, and the cache for `backward`.

    Raises:
        TypeError: x is of another type.

    Example:
        >>> import numpy as np
        >>> forward(np.array([-1000.0, 0.0, 1000.0]))[0]
        array([0. , 0.5, 1. ])
    """
    xp = check_floating("sigmoid", x=x)
    e = xp.asarray(into(out_for(x, work), xp.abs, x))  # NumPy makes a scalar of an array of no axes
    e = into(e, xp.exp, into(e, xp.negative, e))
    # e is at most 1: the larger one of it and of 1 where x >= 0, else 0, is what stands above.
    y = xp.asarray(into(out_for(x, work), xp.maximum, e, xp.astype(xp.asarray(x >= 0), x.dtype)))
    e += 1.0
    y /= e
    return y, Cache(y)


def backward(dy: Array, cache: Cache, *, work: Workspace | None = None) -> Array:
    """Return the gradient by x: dx = dy * y * (1 - y).

    Args:
        dy: gradient of the loss by y, of its shape.
        cache: what `forward` returned.
        work: lends memory until the step ends; None allocates.

    Returns:
        dx of the shape of x.

    Example:
        >>> import numpy as np
        >>> y, cache = forward(np.array([-1000.0, 0.0, 1000.0]))
        >>> backward(np.array([4.0, 4.0, 4.0]), cache)
        array([0., 1., 0.])
    """
    check_cache("sigmoid", cache, Cache)
    y = cache.y
    xp = check_gradient("sigmoid", dy, y.shape, y)
    slope = xp.asarray(into(out_for(dy, work), xp.subtract, 1.0, y))
    slope *= y
    slope *= dy
    return slope
