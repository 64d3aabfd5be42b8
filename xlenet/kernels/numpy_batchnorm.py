"""Batch normalisation and ReLU for NumPy, with as few passes over memory as they need."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, batch_first, batch_last
from ..checks import check_gradient
from ..functional import batchnorm
from ..workspace import Workspace, new


class Cache(NamedTuple):
    """What backward reads, and the statistics from which a layer updates its running ones."""

    y: Array  # (C, M)
    centred: Array  # (C, M)
    inv_std: Array  # (C,)
    weight: Array  # (C,)
    mean: Array  # (C,)
    var: Array  # (C,)
    m: int
    shape: tuple[int, ...]


def forward(
    x: Array, weight: Array, bias: Array, eps: float = 1e-5, *, work: Workspace | None = None
) -> tuple[Array, Cache]:
    """See `batchnorm_relu.forward_training`."""
    _, eps = batchnorm.check_training(x, eps, weight, bias)
    rows = batchnorm.as_rows(x, np)
    c, m = rows.shape
    mean = np.add.reduce(rows, axis=1) / m
    centred = np.subtract(rows, mean[:, None], out=new((c, m), like=x, work=work))
    var = _dot(centred, centred) / m
    inv_std = 1.0 / np.sqrt(var + eps)
    y = np.multiply(centred, (weight * inv_std)[:, None], out=new((c, m), like=x, work=work))
    y += bias[:, None]
    np.maximum(y, 0.0, out=y)
    shape = x.shape
    return _images(y, shape), Cache(y, centred, inv_std, weight, mean, var, m, shape)


def backward(
    dy: Array,
    cache: Any,
    *,
    need_dx: bool = True,
    out: tuple[Array, Array] | None = None,
    work: Workspace | None = None,
) -> Any:
    """See `batchnorm_relu.backward_training`."""
    if not isinstance(cache, Cache):
        return NotImplemented
    y, centred, inv_std, weight, _, _, m, shape = cache
    check_gradient("relu", dy, shape, weight)  # to whom dy comes first
    positive = np.greater(y, 0.0, out=new(y.shape, like=y, work=work, dtype="bool"))
    rows = batch_last(dy).reshape(y.shape)
    dz = np.multiply(rows, positive, out=new(y.shape, like=y, work=work))
    dbias = np.add.reduce(dz, axis=1, out=out and out[1])
    dweight = np.multiply(_dot(dz, centred), inv_std, out=out and out[0])
    if not need_dx:
        return None, dweight, dbias
    scale = weight * inv_std
    dx = np.multiply(centred, (-1.0 / m * scale * inv_std * dweight)[:, None], out=new(y.shape, like=y, work=work))
    dx -= (scale * dbias / m)[:, None]
    dz *= scale[:, None]
    dx += dz
    return _images(dx, shape), dweight, dbias


def _dot(a: Array, b: Array) -> Array:
    """(C, M), (C, M) -> (C,): the sum of the products in each row."""
    return np.matmul(a[:, None, :], b[:, :, None])[:, 0, 0]


def _images(rows: Array, shape: tuple[int, ...]) -> Array:
    """(C, M) -> (N, C, H, W)."""
    return batch_first(rows.reshape(*shape[1:], shape[0]))
