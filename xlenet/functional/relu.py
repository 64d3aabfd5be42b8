"""Rectified linear unit: y = max(x, 0)."""

from __future__ import annotations

from typing import NamedTuple

from ..backend import Array, into
from ..checks import check_cache, check_floating, check_gradient
from ..workspace import Workspace, out_for


class Cache(NamedTuple):
    """What backward reads."""

    y: Array


def forward(x: Array, *, work: Workspace | None = None) -> tuple[Array, Cache]:
    """Set what is negative to zero.

    Args:
        x: of any shape, float32 or float64.
        work: lends memory until the step ends; None allocates.

    Returns:
        y of the shape of x, and the cache for `backward`.

    Raises:
        TypeError: x is of another type.

    Example:
        >>> import numpy as np
        >>> forward(np.array([-1.0, 0.0, 2.0]))[0]
        array([0., 0., 2.])
    """
    xp = check_floating("relu", x=x)
    y = into(out_for(x, work), xp.maximum, x, 0.0)
    return y, Cache(y)


def backward(dy: Array, cache: Cache, *, work: Workspace | None = None) -> Array:
    """Let the gradient through where x was positive. (At 0 itself the derivative is taken to be 0.)

    Args:
        dy: gradient of the loss by y, of its shape.
        cache: what `forward` returned.
        work: lends memory until the step ends; None allocates.

    Returns:
        dx of the shape of x.

    Example:
        >>> import numpy as np
        >>> y, cache = forward(np.array([-1.0, 0.0, 2.0]))
        >>> backward(np.array([5.0, 6.0, 7.0]), cache)
        array([0., 0., 7.])
    """
    check_cache("relu", cache, Cache)
    xp = check_gradient("relu", dy, cache.y.shape, cache.y)
    positive = xp.asarray(cache.y > 0)  # NumPy compares an array of no axes to a scalar
    return into(out_for(dy, work), xp.multiply, dy, xp.astype(positive, dy.dtype))
