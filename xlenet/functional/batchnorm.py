"""Batch normalisation: each channel is shifted and scaled to mean 0 and variance 1, then to a learned mean and scale.

The mathematics calls the learned scale gamma and the learned mean beta; here they are `weight` and `bias`, as in files.

Training:    y = gamma * (x - mean) / sqrt(var + eps) + beta     mean, var: of this batch, so they depend on x
Evaluation:  the same formula                                    mean, var: running statistics, so they are constants

The two therefore have different gradients by x, and each has its own backward. Inside, x is the matrix (C, M) with
M = N*H*W (or N): a view, where the batch lies innermost in memory.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..backend import Array, batch_first, batch_last, into, swappable
from ..checks import check_arrays, check_cache, check_gradient, check_library, check_shape, number
from ..workspace import Workspace, new


class TrainingCache(NamedTuple):
    """What backward reads, and the statistics from which a layer updates its running ones."""

    centred: Array  # x - mean, (C, M)
    inv_std: Array  # 1 / sqrt(var + eps), (C, 1)
    weight: Array  # (C,)
    mean: Array  # (C,)
    var: Array  # (C,): the mean of the squares, divided by M and not by M - 1
    m: int  # how many numbers each mean is of
    shape: tuple[int, ...]


class EvaluationCache(NamedTuple):
    """What backward reads."""

    centred: Array  # x - running mean, (C, M)
    inv_std: Array  # 1 / sqrt(running variance + eps), (C, 1)
    weight: Array  # (C,)
    shape: tuple[int, ...]


@swappable
def forward_training(
    x: Array, weight: Array, bias: Array, eps: float = 1e-5, *, work: Workspace | None = None
) -> tuple[Array, TrainingCache]:
    """Normalise with the mean and the variance of this very batch.

    Args:
        x: (N, C, H, W) or (N, C), float32 or float64.
        weight: gamma, (C,).
        bias: beta, (C,).
        eps: added to the variance, inside the square root.
        work: lends memory until the step ends; None allocates.

    Returns:
        y of the shape of x, and the cache for `backward_training`.

    Raises:
        TypeError: other types, or arrays of two libraries.
        ValueError: shapes that do not go together, or a single value per channel, whose variance says nothing.

    Example:
        >>> import numpy as np
        >>> y, cache = forward_training(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), eps=0.0)
        >>> y[:, 0], cache.mean, cache.var
        (array([-1.,  1.]), array([2.]), array([1.]))

    References:
        S. Ioffe, C. Szegedy, Batch Normalization (2015), https://arxiv.org/abs/1502.03167
    """
    xp, eps = check_training(x, eps, weight, bias)
    rows = as_rows(x, xp)
    m = rows.shape[1]
    mean = xp.mean(rows, axis=1)
    centred = into(new(rows.shape, like=x, work=work), xp.subtract, rows, mean[:, None])
    # Two passes: E[x^2] - E[x]^2 would lose every digit where the mean is large against the spread.
    var = _dot_rows(centred, centred, xp) / m
    inv_std = (1.0 / xp.sqrt(var + eps))[:, None]
    y = _scale_and_shift(centred, inv_std, weight, bias, x, xp, work)
    return y, TrainingCache(centred, inv_std, weight, mean, var, m, tuple(x.shape))


@swappable
def backward_training(
    dy: Array,
    cache: TrainingCache,
    *,
    need_dx: bool = True,
    out: tuple[Array, Array] | None = None,
    work: Workspace | None = None,
) -> tuple[Array | None, Array, Array]:
    """Return the gradients by x, weight and bias, where mean and variance depend on x as well.

    With xhat = (x - mean) / std:  dx = gamma / std * (dy - mean of dy - xhat * mean of (dy * xhat)).

    Args:
        dy: gradient of the loss by y, of its shape.
        cache: what `forward_training` returned.
        need_dx: False skips dx.
        out: where dweight and dbias are to be written; None allocates.
        work: lends memory until the step ends; None allocates.

    Returns:
        dx of the shape of x (None if not needed), dweight (C,), dbias (C,).

    Example:
        >>> import numpy as np
        >>> y, cache = forward_training(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1))
        >>> dx, dweight, dbias = backward_training(np.ones((2, 1)), cache)
        >>> dx[:, 0], dbias       # to shift everything alike changes nothing
        (array([0., 0.]), array([2.]))
    """
    check_cache("batchnorm", cache, TrainingCache)
    centred, inv_std, weight, m = cache.centred, cache.inv_std, cache.weight, cache.m
    xp, rows, dweight, dbias = _parameter_gradients(dy, cache, out)
    if not need_dx:
        return None, dweight, dbias
    dx = into(new(rows.shape, like=dy, work=work), xp.multiply, centred, inv_std * dweight[:, None] * (-1.0 / m))
    dx += rows
    dx -= dbias[:, None] / m
    dx *= weight[:, None] * inv_std
    return _images(dx, cache.shape, xp), dweight, dbias


@swappable
def update_running(running_mean: Array, running_var: Array, cache: Any, decay: float) -> None:
    """Let running statistics follow a batch's, in place: running = decay * running + (1 - decay) * batch.

    Args:
        running_mean: (C,), changed.
        running_var: (C,), changed; it follows the unbiased variance, divided by M - 1.
        cache: what `forward_training` returned: its mean, var and m are read.
        decay: the weight of the old value, 0 to 1.

    Raises:
        TypeError, ValueError: as in `forward_training`; nothing has been changed then.

    Example:
        >>> import numpy as np
        >>> mean, var = np.zeros(1), np.ones(1)
        >>> update_running(mean, var, forward_training(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1))[1], decay=0.5)
        >>> mean, var
        (array([1.]), array([1.5]))
    """
    decay = number("batchnorm", "decay", decay, 0.0, 1.0, closed=True)
    _check_running(cache, running_mean=running_mean, running_var=running_var)
    running_mean *= decay
    running_mean += (1.0 - decay) * cache.mean
    running_var *= decay
    running_var += ((1.0 - decay) * cache.m / (cache.m - 1)) * cache.var


def _check_running(cache: Any, **statistics: Array) -> None:
    mean: Any = getattr(cache, "mean", None)
    if mean is not None and all(type(a) is type(mean) and a.shape == mean.shape for a in statistics.values()):
        return
    if mean is None:  # of each kernel's cache, whatever kind that is
        check_cache("batchnorm", cache, TrainingCache)
    check_library("batchnorm", **statistics, x=mean)
    for name, array in statistics.items():
        check_shape("batchnorm", name, array, mean.shape, "one number for each channel of x")


def forward_evaluation(
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    eps: float = 1e-5,
    *,
    work: Workspace | None = None,
) -> tuple[Array, EvaluationCache]:
    """Normalise with the statistics gathered in training: each image's result is independent of the others.

    Args:
        x: (N, C, H, W) or (N, C), float32 or float64.
        weight: gamma, (C,).
        bias: beta, (C,).
        running_mean: (C,).
        running_var: (C,).
        eps: added to the variance, inside the square root.
        work: lends memory until the step ends; None allocates.

    Returns:
        y of the shape of x, and the cache for `backward_evaluation`.

    Raises:
        TypeError: other types, or arrays of two libraries.
        ValueError: shapes that do not go together.

    Example:
        >>> import numpy as np
        >>> one = np.ones(1)
        >>> forward_evaluation(np.array([[5.0]]), 2 * one, one, running_mean=3 * one, running_var=4 * one, eps=0.0)[0]
        array([[3.]])
    """
    xp, eps = _check(x, eps, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    rows = as_rows(x, xp)
    centred = into(new(rows.shape, like=x, work=work), xp.subtract, rows, running_mean[:, None])
    inv_std = (1.0 / xp.sqrt(running_var + eps))[:, None]
    y = _scale_and_shift(centred, inv_std, weight, bias, x, xp, work)
    return y, EvaluationCache(centred, inv_std, weight, tuple(x.shape))


def backward_evaluation(
    dy: Array,
    cache: EvaluationCache,
    *,
    need_dx: bool = True,
    out: tuple[Array, Array] | None = None,
    work: Workspace | None = None,
) -> tuple[Array | None, Array, Array]:
    """Return the gradients by x, weight and bias, where mean and variance are constants: dx = gamma / std * dy.

    Args:
        dy: gradient of the loss by y, of its shape.
        cache: what `forward_evaluation` returned.
        need_dx: False skips dx.
        out: where dweight and dbias are to be written; None allocates.
        work: lends memory until the step ends; None allocates.

    Returns:
        dx of the shape of x (None if not needed), dweight (C,), dbias (C,).

    Example:
        >>> import numpy as np
        >>> one = np.ones(1)
        >>> y, cache = forward_evaluation(np.array([[5.0]]), 2 * one, one, 3 * one, 4 * one, eps=0.0)
        >>> backward_evaluation(np.array([[1.0]]), cache)
        (array([[1.]]), array([1.]), array([1.]))
    """
    check_cache("batchnorm", cache, EvaluationCache)
    xp, rows, dweight, dbias = _parameter_gradients(dy, cache, out)
    if not need_dx:
        return None, dweight, dbias
    dx = into(new(rows.shape, like=dy, work=work), xp.multiply, rows, cache.weight[:, None] * cache.inv_std)
    return _images(dx, cache.shape, xp), dweight, dbias


def check_training(x: Array, eps: float, weight: Array, bias: Array) -> tuple[Any, float]:
    """Return the arrays' library and eps as a Python float, having checked forward_training's arguments."""
    xp, eps = _check(x, eps, weight=weight, bias=bias)
    if math.prod(x.shape) == x.shape[1]:
        raise ValueError(
            f"batchnorm: got one value per channel in x of shape {tuple(x.shape)}; expected at least 2 in training; "
            "use a larger batch (or another, if the last one of an epoch is short), or eval()"
        )
    return xp, eps


def _check(x: Array, eps: float, **parameters: Array) -> tuple[Any, float]:
    xp = check_arrays("batchnorm", "(N, C) or (N, C, H, W)", x, **parameters)
    for name, array in parameters.items():
        check_shape("batchnorm", name, array, (x.shape[1],), "one number for each channel of x")
    return xp, number("batchnorm", "eps", eps, 0.0)


def as_rows(x: Array, xp: Any) -> Array:
    """(N, C, H, W) -> (C, H*W*N), each row in one piece: only then does NumPy add it up pairwise, losing no digits."""
    flat = xp.reshape(batch_last(x), (-1,))  # a view of batch-last memory, else a copy
    return xp.reshape(flat, (x.shape[1], -1))


def _images(rows: Array, shape: tuple[int, ...], xp: Any) -> Array:
    """(C, H*W*N) -> (N, C, H, W)."""
    return batch_first(xp.reshape(rows, (*shape[1:], shape[0])))


def _dot_rows(a: Array, b: Array, xp: Any) -> Array:
    """(C, M), (C, M) -> (C,): the sum of the products in each row. (CuPy has no vecdot.)"""
    return xp.matmul(a[:, None, :], b[:, :, None])[:, 0, 0]


def _scale_and_shift(
    centred: Array, inv_std: Array, weight: Array, bias: Array, x: Array, xp: Any, work: Workspace | None
) -> Array:
    y = into(new(centred.shape, like=x, work=work), xp.multiply, centred, weight[:, None] * inv_std)
    y += bias[:, None]
    return _images(y, x.shape, xp)


def _parameter_gradients(
    dy: Array, cache: TrainingCache | EvaluationCache, out: tuple[Array, Array] | None
) -> tuple[Any, Array, Array, Array]:
    """Return xp, dy as (C, M), and the two sums that both kinds of backward need: dgamma = sum of dy * xhat, dbeta =
    sum of dy.
    """
    xp = check_gradient("batchnorm", dy, cache.shape, cache.weight)
    rows = as_rows(dy, xp)
    dweight = into(out and out[0], xp.multiply, _dot_rows(rows, cache.centred, xp), cache.inv_std[:, 0])
    return xp, rows, dweight, into(out and out[1], xp.sum, rows, axis=1)
