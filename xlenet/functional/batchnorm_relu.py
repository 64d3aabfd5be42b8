"""Batch normalisation by the statistics of the batch, and the ReLU behind it, as one operation."""

from __future__ import annotations

from typing import NamedTuple

from ..backend import Array, swappable
from ..checks import check_cache
from ..workspace import Workspace
from . import batchnorm, relu


class Cache(NamedTuple):
    """What backward reads, and the statistics from which a layer updates its running ones."""

    norm: batchnorm.TrainingCache
    relu: relu.Cache

    @property
    def mean(self) -> Array:
        """The batch's mean of each channel, (C,)."""
        return self.norm.mean

    @property
    def var(self) -> Array:
        """The batch's variance of each channel, (C,), divided by M and not by M - 1."""
        return self.norm.var

    @property
    def m(self) -> int:
        """How many numbers each mean is of."""
        return self.norm.m


@swappable
def forward_training(
    x: Array, weight: Array, bias: Array, eps: float = 1e-5, *, work: Workspace | None = None
) -> tuple[Array, Cache]:
    """Normalise and set what is negative to zero: arguments and errors of `batchnorm.forward_training`.

    Example:
        >>> import numpy as np
        >>> y, cache = forward_training(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), eps=0.0)
        >>> y[:, 0], cache.mean
        (array([0., 1.]), array([2.]))
    """
    z, norm = batchnorm.forward_training(x, weight, bias, eps, work=work)
    y, of_relu = relu.forward(z, work=work)
    return y, Cache(norm, of_relu)


@swappable
def backward_training(
    dy: Array,
    cache: Cache,
    *,
    need_dx: bool = True,
    out: tuple[Array, Array] | None = None,
    work: Workspace | None = None,
) -> tuple[Array | None, Array, Array]:
    """Return the gradients by x, weight and bias: arguments and results of `batchnorm.backward_training`.

    Example:
        >>> import numpy as np
        >>> y, cache = forward_training(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1))
        >>> backward_training(np.ones((2, 1)), cache)[2]
        array([1.])
    """
    check_cache("batchnorm_relu", cache, Cache)
    dz = relu.backward(dy, cache.relu, work=work)
    return batchnorm.backward_training(dz, cache.norm, need_dx=need_dx, out=out, work=work)
