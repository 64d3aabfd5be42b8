"""Dropout: in training each number is set to zero with probability p, and what is left is scaled up by 1 / (1 - p).

y = x * m / (1 - p), where m is 0 with probability p and 1 otherwise: the mean of y is x.

What is drawn is a function of (seed, step, index) alone: see `hashing`. The index counts the numbers of x in row-major
order, and m = [ bits >= p * 2^32 ].
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..backend import Array, arange, batch_first, in_one_piece, into, put
from ..checks import check_axes, check_cache, check_floating, check_gradient, number
from ..workspace import Workspace, new, out_for, scratch
from .hashing import hash_in_place, keys


class Cache(NamedTuple):
    """What backward reads."""

    factor: Array  # of the shape of x: 0, or 1 / (1 - p)


def forward(
    x: Array, p: float = 0.5, *, seed: int = 0, step: Any = 0, work: Workspace | None = None
) -> tuple[Array, Cache]:
    """Set numbers to zero by chance.

    Args:
        x: (N, ...), float32 or float64.
        p: probability that a number is set to zero, 0 to below 1.
        seed: of what is drawn, 0 to below 2^64; another one for each layer.
        step: another one for each call, 0 or more; or an array (1,) of whole numbers in the library of x, which is
            read where it lies: a recorded step can then count by itself.
        work: lends memory until the step ends; None allocates.

    Returns:
        y of the shape of x, and the cache for `backward`.

    Raises:
        TypeError: x is of another type, or a number of another kind.
        ValueError: a number out of range, or x is empty.

    Example:
        >>> import numpy as np
        >>> forward(np.ones((2, 4)), 0.5, seed=1, step=7)[0]
        array([[2., 2., 0., 0.],
               [0., 0., 0., 0.]])

    References:
        N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, Dropout (2014),
        https://jmlr.org/papers/v15/srivastava14a.html
    """
    xp = check_floating("dropout", x=x)
    check_axes("dropout", "(N) or (N, ...)", x=x)
    p = number("dropout", "p", p, 0.0, 1.0)
    both = keys("dropout", seed, step, x=x, xp=xp)
    in_order = in_one_piece(x)  # else the batch lies innermost, or may as well
    n, size = x.shape[0], math.prod(x.shape[1:])
    factor = new((n, size) if in_order else (size, n), like=x, work=work)
    with scratch(work):
        bits = new(factor.shape, like=x, work=work, dtype="uint32")
        spare = new(factor.shape, like=x, work=work, dtype="uint32")
        images, pixels = (xp.astype(arange(count, like=x), xp.uint32) for count in (n, size))
        images *= size
        into(bits, xp.add, *((images[:, None], pixels[None, :]) if in_order else (pixels[:, None], images[None, :])))
        hash_in_place(bits, spare, both, xp)
        put(xp.astype(bits >= int(p * 2**32), x.dtype), factor)
    factor *= 1.0 / (1.0 - p)
    factor = xp.reshape(factor, x.shape) if in_order else batch_first(xp.reshape(factor, (*x.shape[1:], n)))
    y = into(out_for(x, work), xp.multiply, x, factor)
    return y, Cache(factor)


def backward(dy: Array, cache: Cache, *, work: Workspace | None = None) -> Array:
    """Return the gradient by x: what was set to zero has none, and the rest is scaled up as y was.

    Args:
        dy: gradient of the loss by y, of its shape.
        cache: what `forward` returned.
        work: lends memory until the step ends; None allocates.

    Returns:
        dx of the shape of x.

    Example:
        >>> import numpy as np
        >>> y, cache = forward(np.ones((1, 4)), 0.5, seed=1, step=7)
        >>> backward(np.array([[1.0, 2.0, 3.0, 4.0]]), cache)
        array([[2., 4., 0., 0.]])
    """
    check_cache("dropout", cache, Cache)
    factor = cache.factor
    xp = check_gradient("dropout", dy, factor.shape, factor)
    return into(out_for(dy, work), xp.multiply, dy, factor)
