"""Batch normalisation by the batch's own statistics, with and without the ReLU behind it, by CUDA kernels."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from ..backend import Array, batch_first
from ..checks import check_gradient
from ..workspace import Workspace, new
from .cuda_launch import (
    MANY_BLOCKS,
    are_real,
    brought,
    cut,
    is_within,
    launch,
    place_for,
    rounded_up,
    with_batch_last,
    without_gaps,
)

_THREADS = 256

Gradients = tuple[Array | None, Array, Array]


class TrainingCache(NamedTuple):
    """What backward reads, and the statistics from which a layer updates its running ones."""

    x: Array  # (C, ..., N)
    mean: Array  # (C,)
    var: Array  # (C,): the mean of the squares, divided by M and not by M - 1
    inv_std: Array  # (C,)
    weight: Array  # (C,)
    bias: Array  # (C,)
    m: int  # how many numbers each mean is of
    shape: tuple[int, ...]
    relu: bool


def batchnorm_forward_training(
    x: Array, weight: Array, bias: Array, eps: float = 1e-5, *, work: Workspace | None = None
) -> Any:
    """See `xlenet.functional.batchnorm.forward_training`."""
    return _forward(x, weight, bias, eps, False, work)


def batchnorm_relu_forward_training(
    x: Array, weight: Array, bias: Array, eps: float = 1e-5, *, work: Workspace | None = None
) -> Any:
    """See `xlenet.functional.batchnorm_relu.forward_training`."""
    return _forward(x, weight, bias, eps, True, work)


def batchnorm_backward_training(
    dy: Array,
    cache: Any,
    *,
    need_dx: bool = True,
    out: tuple[Array, Array] | None = None,
    work: Workspace | None = None,
) -> Any:
    """See `xlenet.functional.batchnorm.backward_training`."""
    if not isinstance(cache, TrainingCache) or cache.relu:
        return NotImplemented
    return _backward("batchnorm", dy, cache, need_dx, out, work)


def batchnorm_relu_backward_training(
    dy: Array,
    cache: Any,
    *,
    need_dx: bool = True,
    out: tuple[Array, Array] | None = None,
    work: Workspace | None = None,
) -> Any:
    """See `xlenet.functional.batchnorm_relu.backward_training`."""
    if not isinstance(cache, TrainingCache) or not cache.relu:
        return NotImplemented
    return _backward("relu", dy, cache, need_dx, out, work)


def batchnorm_update_running(running_mean: Array, running_var: Array, cache: Any, decay: float) -> Any:
    """See `xlenet.functional.batchnorm.update_running`."""
    arrays: tuple[Any, ...] = (running_mean, running_var, getattr(cache, "mean", None), getattr(cache, "var", None))
    if not are_real(*arrays) or not all(a.flags.c_contiguous and a.shape == running_mean.shape for a in arrays):
        return NotImplemented
    if not is_within(decay, 0.0, 1.0):
        return NotImplemented
    unbiased = cache.m / (cache.m - 1)
    launch(
        "batchnorm", "batchnorm_running", rounded_up(running_mean.size, _THREADS), _THREADS,
        *arrays, float(decay), 1.0 - decay, unbiased, running_mean.size,
        like=running_mean,
    )  # fmt: skip
    return None


def _forward(x: Array, weight: Array, bias: Array, eps: float, relu: bool, work: Workspace | None) -> Any:
    if not are_real(x, weight, bias) or x.ndim not in (2, 4):
        return NotImplemented
    if not is_within(eps, 0.0, sys.float_info.max):
        return NotImplemented
    shape, c = tuple(x.shape), x.shape[1]
    m = x.size // c
    if m == 1 or tuple(weight.shape) != (c,) or tuple(bias.shape) != (c,):
        return NotImplemented
    x, weight, bias = with_batch_last(x, work), without_gaps(weight, work), without_gaps(bias, work)
    length, chunks = _cut(c, m)
    means, squares = (new((c, chunks), like=x, work=work) for _ in range(2))
    launch(
        "batchnorm", "batchnorm_statistics", c * chunks, _THREADS, x, means, squares, m, length, chunks, like=x
    )  # fmt: skip
    y = new(x.shape, like=x, work=work)
    mean, var, inv_std = (new((c,), like=x, work=work) for _ in range(3))
    launch(
        "batchnorm", "batchnorm_forward", c * chunks, _THREADS,
        x, means, squares, weight, bias, y, mean, var, inv_std, m, length, chunks, float(eps), relu,
        like=x,
    )  # fmt: skip
    return batch_first(y), TrainingCache(x, mean, var, inv_std, weight, bias, m, shape, relu)


def _backward(
    operation: str,
    dy: Array,
    cache: TrainingCache,
    need_dx: bool,
    out: tuple[Array, Array] | None,
    work: Workspace | None,
) -> Any:
    check_gradient(operation, dy, cache.shape, cache.weight)
    x, c, m = cache.x, cache.shape[1], cache.m
    dy = with_batch_last(dy, work)
    length, chunks = _cut(c, m)
    known = (dy, x, cache.mean, cache.inv_std, cache.weight, cache.bias)
    sums, products = (new((c, chunks), like=x, work=work) for _ in range(2))
    launch(
        "batchnorm", "batchnorm_gradient_sums", c * chunks, _THREADS,
        *known, sums, products, m, length, chunks, cache.relu,
        like=x,
    )  # fmt: skip
    dweight, dbias = (place_for(given, (c,), x, work) for given in out or (None, None))
    dx = new(x.shape, like=x, work=work) if need_dx else None
    launch(
        "batchnorm", "batchnorm_backward", c * chunks if need_dx else c, _THREADS,
        *known, sums, products, dweight if dx is None else dx, dweight, dbias,
        m, length, chunks, cache.relu, need_dx,
        like=x,
    )  # fmt: skip
    to_weight, to_bias = out or (None, None)
    return None if dx is None else batch_first(dx), brought(dweight, to_weight), brought(dbias, to_bias)


def _cut(c: int, m: int) -> tuple[int, int]:
    """Return the length and the number of the parts of each channel."""
    return cut(m, min(MANY_BLOCKS // c, rounded_up(m, _THREADS)), 32)
