"""Layers that only look at the same numbers in another shape."""

from __future__ import annotations

from ..backend import Array, namespace_of
from ..workspace import Workspace
from .base import Layer


class Flatten(Layer):
    """(N, C, H, W) -> (N, C*H*W), as a fully connected layer wants it.

    Example:
        >>> import numpy as np
        >>> Flatten()(np.zeros((2, 120, 1, 1))).shape
        (2, 120)
    """

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, tuple[int, ...]]:
        return _reshape(x, (x.shape[0], -1)), tuple(x.shape)

    def _backward(self, dy: Array, cache: tuple[int, ...], need_dx: bool, work: Workspace | None) -> Array | None:
        return _reshape(dy, cache) if need_dx else None


def _reshape(x: Array, shape: tuple[int, ...]) -> Array:
    return namespace_of(x).reshape(x, shape)
