"""Fully connected: every output sees every input. y = x @ W.T + b."""

from __future__ import annotations

from typing import NamedTuple

from ..backend import Array, batch_first, into, swappable
from ..checks import check_arrays, check_cache, check_gradient, check_shape
from ..workspace import Workspace, new


class Cache(NamedTuple):
    """What backward reads."""

    x: Array  # (N, IN)
    weight: Array  # (OUT, IN)
    has_bias: bool


@swappable
def forward(
    x: Array, weight: Array, bias: Array | None = None, *, work: Workspace | None = None
) -> tuple[Array, Cache]:
    """Multiply by a matrix and add a vector.

    Args:
        x: (N, IN), float32 or float64.
        weight: (OUT, IN).
        bias: (OUT,), or None.
        work: lends memory until the step ends; None allocates.

    Returns:
        y (N, OUT), and the cache for `backward`.

    Raises:
        TypeError: other types, or arrays of two libraries.
        ValueError: shapes that do not go together.

    Example:
        >>> import numpy as np
        >>> forward(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.array([5.0]))[0]
        array([[16.]])
    """
    xp = check_arrays("linear", "(N, IN)", x, weight=weight, bias=bias)
    if weight.ndim != 2 or weight.shape[1] != x.shape[1] or 0 in weight.shape:
        raise ValueError(
            f"linear: got weight of shape {tuple(weight.shape)} for x of shape {tuple(x.shape)}; "
            f"expected (OUT, {x.shape[1]}); both have IN in second place"
        )
    out_features = weight.shape[0]
    if bias is not None:
        check_shape("linear", "bias", bias, (out_features,), "one number for each output")
    y = into(new((out_features, x.shape[0]), like=x, work=work), xp.matmul, weight, x.T)
    if bias is not None:
        y += bias[:, None]
    return batch_first(y), Cache(x, weight, bias is not None)


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
    """Return the gradients by forward's arrays: dx = dy @ W, dW = dy.T @ x, db = the sum of dy over the batch.

    Args:
        dy: gradient of the loss by y, (N, OUT).
        cache: what `forward` returned.
        need_dx: False skips dx.
        need_dweight: False skips dweight and dbias, as in a frozen layer.
        out: where dweight and dbias are to be written; None allocates.
        work: lends memory until the step ends; None allocates.

    Returns:
        dx (N, IN), dweight (OUT, IN), dbias (OUT,): sums over the batch; None for what is not needed or was not there.

    Example:
        >>> import numpy as np
        >>> y, cache = forward(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.array([5.0]))
        >>> backward(np.array([[1.0]]), cache)
        (array([[3., 4.]]), array([[1., 2.]]), array([1.]))
    """
    check_cache("linear", cache, Cache)
    x, weight, has_bias = cache
    xp = check_gradient("linear", dy, (x.shape[0], weight.shape[0]), weight)
    dx = dweight = dbias = None
    if need_dweight:
        dweight = into(out and out[0], xp.matmul, dy.T, x)
        dbias = into(out and out[1], xp.sum, dy, axis=0) if has_bias else None
    if need_dx:
        dx = batch_first(into(new((x.shape[1], x.shape[0]), like=dy, work=work), xp.matmul, weight.T, dy.T))
    return dx, dweight, dbias
