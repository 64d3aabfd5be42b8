"""Fully connected layer."""

from __future__ import annotations

import math
from typing import Any

from .. import init
from ..backend import Array
from ..checks import check_dtype, integer, switch
from ..functional import linear
from ..workspace import Workspace
from .base import Layer


class Linear(Layer):
    """Multiply (N, IN) by a learned matrix and add a learned vector: (N, OUT). See `xlenet.functional.linear`.

    Args:
        in_features: IN.
        out_features: OUT.
        bias: whether each output adds a number of its own.
        requires_grad: False freezes the layer.
        rng: generator or seed of the first weights (`xlenet.init.he_normal`).
        dtype: "float32" or "float64".

    Example:
        >>> import numpy as np
        >>> Linear(120, 84, rng=0)(np.zeros((2, 120), np.float32)).shape
        (2, 84)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        requires_grad: bool = True,
        rng: init.Seed = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(requires_grad=requires_grad)
        self.in_features = integer("Linear", "in_features", in_features, 1)
        self.out_features = integer("Linear", "out_features", out_features, 1)
        dtype, with_bias = check_dtype("Linear", dtype), switch("Linear", "bias", bias)
        self._add_parameter("weight", init.he_normal((self.out_features, self.in_features), init.generator(rng), dtype))
        if with_bias:
            self._add_parameter("bias", init.zeros((self.out_features,), dtype))

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, linear.Cache]:
        return linear.forward(x, self.params["weight"], self.params.get("bias"), work=work)

    def _backward(self, dy: Array, cache: linear.Cache, need_dx: bool, work: Workspace | None) -> Array | None:
        out = self._gradients("weight", "bias")
        dx, dweight, dbias = linear.backward(
            dy, cache, need_dx=need_dx, need_dweight=self.requires_grad, out=out, work=work
        )
        self._set_gradients(weight=dweight, bias=dbias)
        return dx

    def _operations(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return 2 * math.prod(y_shape) * self.in_features

    def _input_shape(self) -> tuple[int, ...]:
        return (self.in_features,)

    def _describe(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ("" if "bias" in self.params else ", bias=False")
