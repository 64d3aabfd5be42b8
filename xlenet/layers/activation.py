"""Activation layers."""

from __future__ import annotations

from ..backend import Array
from ..functional import relu
from ..workspace import Workspace
from .base import Layer


class ReLU(Layer):
    """Set what is negative to zero; any shape. See `xlenet.functional.relu`.

    Example:
        >>> import numpy as np
        >>> ReLU()(np.array([-1.0, 2.0]))
        array([0., 2.])
    """

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, relu.Cache]:
        return relu.forward(x, work=work)

    def _backward(self, dy: Array, cache: relu.Cache, need_dx: bool, work: Workspace | None) -> Array | None:
        return relu.backward(dy, cache, work=work) if need_dx else None
