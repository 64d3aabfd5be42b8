"""Optimiser steps, each in one launch."""

from __future__ import annotations

from typing import Any

from ..backend import Array
from .cuda_launch import are_real, launch, rounded_up

_THREADS = 256


def optim_sgd_update(
    params: Array,
    velocity: Array,
    grads: Array,
    scalars: Any,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    decayed: int,
) -> Any:
    """See `xlenet.optim.sgd_update`."""
    if not _fit(params, velocity, grads, scalars=scalars):
        return NotImplemented
    launch(
        "optim", "sgd_update", rounded_up(params.size, _THREADS), _THREADS,
        params, velocity, grads, *_scalars(scalars, params, 1),
        float(momentum), nesterov, float(weight_decay), decayed if weight_decay else 0, params.size,
        like=params,
    )  # fmt: skip
    return None


def optim_adam_update(
    params: Array,
    mean: Array,
    square: Array,
    grads: Array,
    scalars: Any,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decayed: int,
    decoupled: bool,
) -> Any:
    """See `xlenet.optim.adam_update`."""
    if not _fit(params, mean, square, grads, scalars=scalars):
        return NotImplemented
    beta1, beta2 = betas
    launch(
        "optim", "adam_update", rounded_up(params.size, _THREADS), _THREADS,
        params, mean, square, grads, *_scalars(scalars, params, 3),
        float(beta1), 1.0 - beta1, float(beta2), 1.0 - beta2, float(eps), float(weight_decay),
        decayed if weight_decay else 0, decoupled, params.size,
        like=params,
    )  # fmt: skip
    return None


def _fit(*vectors: Array, scalars: Any) -> bool:
    on_device = () if isinstance(scalars, tuple) else (scalars,)
    return are_real(*vectors, *on_device) and all(v.flags.c_contiguous for v in (*vectors, *on_device))


def _scalars(scalars: Any, params: Array, count: int) -> tuple[Any, ...]:
    """Return the kernels' three ways to say them: an array, whether it counts, and `count` floats, if it does not."""
    if isinstance(scalars, tuple):
        return (params, 0, *(float(value) for value in scalars[:count]))  # the array is not read
    return (scalars, 1, *(0.0,) * count)
