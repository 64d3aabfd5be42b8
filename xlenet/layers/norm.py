"""Batch normalisation layer."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .. import init
from ..backend import Array, default_backend, on_device_of, place
from ..checks import check_dtype, integer, number
from ..functional import batchnorm
from ..workspace import Workspace
from .base import Layer


class _Cache(NamedTuple):
    """By which rules forward went, and what the backward of these rules reads."""

    training: bool
    of_forward: Any


class BatchNorm(Layer):
    """Normalise each channel of (N, C, H, W) or (N, C). See `xlenet.functional.batchnorm`.

    In training mode with the batch's own mean and variance, which also move the running ones:
    running = decay * running + (1 - decay) * batch, with the unbiased variance (divided by M - 1). In evaluation mode
    with the running ones.

    Args:
        channels: C.
        decay: the weight of the old running value, 0 to 1. (PyTorch's ``momentum`` is 1 - decay.)
        eps: added to the variance, inside the square root.
        requires_grad: False freezes `weight` and `bias`; the running statistics still move in training mode.
        dtype: "float32" or "float64".

    Example:
        >>> import numpy as np
        >>> bn = BatchNorm(1, decay=0.5)
        >>> bn(np.array([[1.0], [3.0]], np.float32))[:, 0]
        array([-0.999995,  0.999995], dtype=float32)
        >>> bn.buffers["running_mean"], bn.buffers["running_var"]
        (array([1.], dtype=float32), array([1.5], dtype=float32))
    """

    def __init__(
        self,
        channels: int,
        decay: float = 0.9,
        eps: float = 1e-5,
        *,
        requires_grad: bool = True,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(requires_grad=requires_grad)
        self.channels = integer("BatchNorm", "channels", channels, 1)
        self.decay = number("BatchNorm", "decay", decay, 0.0, 1.0, closed=True)
        self.eps = number("BatchNorm", "eps", eps, 0.0)
        dtype = check_dtype("BatchNorm", dtype)
        shape = (self.channels,)
        self._add_parameter("weight", init.ones(shape, dtype))
        self._add_parameter("bias", init.zeros(shape, dtype))
        self.buffers["running_mean"] = place(init.zeros(shape, dtype), default_backend())
        self.buffers["running_var"] = place(init.ones(shape, dtype), default_backend())

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, Any]:
        if not self.training:
            y, cache = self._evaluate(x, work)
            return y, _Cache(False, cache)
        y, trained = batchnorm.forward_training(x, self.params["weight"], self.params["bias"], self.eps, work=work)
        return y, _Cache(True, trained)

    def _settle(self) -> None:
        training, of_forward = self._cache[0] if self._cache else (False, None)
        if training:
            self._follow(of_forward)

    def _follow(self, cache: Any) -> None:
        """Let the running statistics follow a batch's."""
        mean, var = self.buffers["running_mean"], self.buffers["running_var"]
        with on_device_of(mean):
            batchnorm.update_running(mean, var, cache, self.decay)

    def _evaluate(self, x: Array, work: Workspace | None) -> tuple[Array, batchnorm.EvaluationCache]:
        params, buffers = self.params, self.buffers
        return batchnorm.forward_evaluation(
            x, params["weight"], params["bias"], buffers["running_mean"], buffers["running_var"], self.eps, work=work
        )

    def _infer(self, x: Array, work: Workspace | None) -> Array:
        return self._evaluate(x, work)[0]

    def _backward(self, dy: Array, cache: _Cache, need_dx: bool, work: Workspace | None) -> Array | None:
        # By the rules that forward followed, even if the mode has changed since.
        backward: Any = batchnorm.backward_training if cache.training else batchnorm.backward_evaluation
        out = self._gradients("weight", "bias")
        dx, dweight, dbias = backward(dy, cache.of_forward, need_dx=need_dx, out=out, work=work)
        self._set_gradients(weight=dweight, bias=dbias)
        return dx

    def _operations(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return 2 * math.prod(y_shape)  # scale and shift: the statistics are constants

    def _describe(self) -> str:
        return f"{self.channels}, decay={self.decay}, eps={self.eps}"
