"""Layers that only look at the same numbers in another shape."""

from __future__ import annotations

from typing import NamedTuple

from ..backend import Array, namespace_of
from ..checks import check_axes, check_gradient
from ..workspace import Workspace
from .base import Layer


class _Cache(NamedTuple):
    """What backward reads."""

    y: Array
    x_shape: tuple[int, ...]


class Flatten(Layer):
    """(N, C, H, W) -> (N, C*H*W), as a fully connected layer wants it.

    Example:
        >>> import numpy as np
        >>> Flatten()(np.zeros((2, 120, 1, 1))).shape
        (2, 120)
    """

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, _Cache]:
        check_axes("Flatten", "(N) or (N, ...)", x=x)
        y = namespace_of(x).reshape(x, (x.shape[0], -1))
        return y, _Cache(y, tuple(x.shape))

    def _backward(self, dy: Array, cache: _Cache, need_dx: bool, work: Workspace | None) -> Array | None:
        xp = check_gradient("Flatten", dy, cache.y.shape, cache.y)
        return xp.reshape(dy, cache.x_shape) if need_dx else None

    def _operations(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return 0
