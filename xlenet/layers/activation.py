"""Activation layers."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

from ..backend import Array
from ..checks import integer
from ..functional import log_softmax, relu, sigmoid, softmax, tanh
from ..workspace import Workspace
from .base import Layer


class _Elementwise(Layer):
    """An operation on each number by itself."""

    _operation: ModuleType

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, Any]:
        y, cache = self._operation.forward(x, work=work)
        return y, cache

    def _backward(self, dy: Array, cache: Any, need_dx: bool, work: Workspace | None) -> Array | None:
        return self._operation.backward(dy, cache, work=work) if need_dx else None

    def _operations(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return math.prod(y_shape)


class ReLU(_Elementwise):
    """Set what is negative to zero; any shape. See `xlenet.functional.relu`.

    Example:
        >>> import numpy as np
        >>> ReLU()(np.array([-1.0, 2.0]))
        array([0., 2.])
    """

    _operation = relu


class Tanh(_Elementwise):
    """Squeeze every number in between -1 and 1; any shape. See `xlenet.functional.tanh`.

    Example:
        >>> import numpy as np
        >>> Tanh()(np.array([-1000.0, 0.0]))
        array([-1.,  0.])
    """

    _operation = tanh


class Sigmoid(_Elementwise):
    """Squeeze every number in between 0 and 1; any shape. See `xlenet.functional.sigmoid`.

    Example:
        >>> import numpy as np
        >>> Sigmoid()(np.array([-1000.0, 0.0]))
        array([0. , 0.5])
    """

    _operation = sigmoid


class _AlongAxis(Layer):
    """An operation along one axis."""

    _operation: ModuleType

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = integer(type(self).__name__, "axis", axis)

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, Any]:
        y, cache = self._operation.forward(x, self.axis, work=work)
        return y, cache

    def _backward(self, dy: Array, cache: Any, need_dx: bool, work: Workspace | None) -> Array | None:
        return self._operation.backward(dy, cache, work=work) if need_dx else None

    def _operations(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return 5 * math.prod(y_shape)  # the largest, minus it, exponential, sum, and division (or minus a logarithm)

    def _describe(self) -> str:
        return f"axis={self.axis}"


class Softmax(_AlongAxis):
    """Make probabilities of scores, along an axis of any shape. See `xlenet.functional.softmax`.

    To train, leave it out and take `xlenet.SoftmaxCrossEntropy`, which wants the scores.

    Args:
        axis: along which the classes lie; -1 is the last one.

    Example:
        >>> import numpy as np
        >>> Softmax()(np.array([[0.0, 0.0]]))
        array([[0.5, 0.5]])
    """

    _operation = softmax


class LogSoftmax(_AlongAxis):
    """Make logarithms of probabilities of scores, as `xlenet.NLLLoss` wants them. See `xlenet.functional.log_softmax`.

    Args:
        axis: along which the classes lie; -1 is the last one.

    Example:
        >>> import numpy as np
        >>> LogSoftmax()(np.array([[0.0, 0.0]]))
        array([[-0.69314718, -0.69314718]])
    """

    _operation = log_softmax
