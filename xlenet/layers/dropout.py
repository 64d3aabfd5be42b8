"""Dropout layer."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import init
from ..backend import Array, default_backend, on_device_of, place
from ..checks import check_axes, check_floating, check_gradient, number
from ..functional import dropout
from ..workspace import Workspace
from .base import Layer


class _Unchanged(NamedTuple):
    """What backward reads where nothing was dropped."""

    x: Array


class Dropout(Layer):
    """In training mode set each number to zero with probability p, and scale the others up by 1 / (1 - p); in
    evaluation mode return x as it is. See `xlenet.functional.dropout`.

    What is dropped depends on the layer's seed, which `rng` gives it once, on the step and on the place in x alone: it
    is the same on every library. The step is in ``buffers["step"]`` and counts the batches of training; it is not in
    `state_dict`. `xlenet.training.fit` sets it to the optimiser's steps: a run that goes on drops what it would have
    dropped.

    Args:
        p: probability that a number is set to zero, 0 to below 1.
        rng: generator or seed of what is drawn; None draws a seed. Two layers need two seeds, or one generator.

    Example:
        >>> import numpy as np
        >>> drop = Dropout(0.5, rng=0)
        >>> drop(np.ones((2, 4)))
        array([[2., 0., 0., 2.],
               [2., 0., 0., 2.]])
        >>> drop.eval()(np.ones((2, 4)))
        array([[1., 1., 1., 1.],
               [1., 1., 1., 1.]])
    """

    _transient = frozenset({"step"})

    def __init__(self, p: float = 0.5, *, rng: init.Seed = None) -> None:
        super().__init__()
        self.p = number("Dropout", "p", p, 0.0, 1.0)
        self._seed = int(init.generator(rng).integers(2**63))
        self.buffers["step"] = place(init.zeros((1,), "int64"), default_backend())

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, Any]:
        if not (self.training and self.p):
            return self._infer(x, work), _Unchanged(x)
        return dropout.forward(x, self.p, seed=self._seed, step=self.buffers["step"], work=work)

    def _infer(self, x: Array, work: Workspace | None) -> Array:
        check_floating("Dropout", x=x)
        check_axes("Dropout", "(N) or (N, ...)", x=x)
        return x

    def _settle(self) -> None:
        if self._cache is not None and isinstance(self._cache[0], dropout.Cache):
            step = self.buffers["step"]
            with on_device_of(step):
                step += 1  # in place: a recorded step counts by itself

    def _count_from(self, steps: int) -> None:
        step = self.buffers["step"]
        with on_device_of(step):
            step[...] = steps

    def _backward(self, dy: Array, cache: Any, need_dx: bool, work: Workspace | None) -> Array | None:
        # By the rules that forward followed, even if the mode has changed since.
        if isinstance(cache, _Unchanged):
            check_gradient("Dropout", dy, cache.x.shape, cache.x)
            return dy if need_dx else None
        return dropout.backward(dy, cache, work=work) if need_dx else None

    def _operations(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return 0  # by the rules of evaluation nothing is dropped

    def _describe(self) -> str:
        return f"{self.p}"
