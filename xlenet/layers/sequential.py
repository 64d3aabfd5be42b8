"""One layer after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self

from ..backend import Array
from ..workspace import Workspace
from .base import Layer
from .blocks import join_neighbours


class Sequential(Layer):
    """A layer made of layers, each working on the result of the one before it.

    Neighbours that can be computed as one operation are (see `xlenet.layers.blocks`): backward therefore goes through
    the whole, not through its layers one by one. To go step by step, call the layers one after another yourself. Which
    neighbours these are is settled when the Sequential is made.

    Running statistics move once all layers have taken the batch: a shape that only the last one refuses moves none.

    Args:
        **layers: the layers in their order; the keywords are their names, in `named_parameters` and in files.

    Raises:
        TypeError: an argument is no layer.
        ValueError: no layer, or the same one twice (it can remember only one forward).

    Example:
        >>> import numpy as np
        >>> from xlenet import Linear, ReLU
        >>> model = Sequential(fc1=Linear(4, 3, rng=0), relu=ReLU(), fc2=Linear(3, 2, rng=1))
        >>> model(np.zeros((5, 4), np.float32)).shape
        (5, 2)
        >>> [name for name, _ in model.named_parameters()]
        ['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias']
    """

    def __init__(self, **layers: Layer) -> None:
        super().__init__()
        for name, layer in layers.items():
            if not isinstance(layer, Layer):
                raise TypeError(f"Sequential: got {name}={layer!r}; expected a Layer; make an instance of it first")
        inner = [id(leaf) for layer in layers.values() for _, leaf in layer.leaves()]
        if not layers or len(set(inner)) < len(inner):
            raise ValueError(
                f"Sequential: got {list(layers)}; expected at least one layer and none twice; make an instance "
                "for each place"
            )
        self._layers = dict(layers)
        self._steps = join_neighbours(list(layers.values()))

    def __getitem__(self, name: str) -> Layer:
        if not isinstance(name, str) or name not in self._layers:
            raise KeyError(f"Sequential: got name {name!r}; expected one of {list(self._layers)}; choose one of these")
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Go over the layers that hold arrays, with their full names, in the order of the forward pass."""
        for name, layer in self._layers.items():
            yield from layer.leaves(f"{prefix}.{name}" if prefix else name)

    def _inner(self) -> Mapping[str, Layer]:
        return self._layers

    def _input_shape(self) -> tuple[int, ...] | None:
        return next(iter(self._layers.values()))._input_shape()

    def _set_mode(self, training: bool) -> Self:
        for layer in self._layers.values():
            layer._set_mode(training)
        return super()._set_mode(training)

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, bool]:
        for i, step in enumerate(self._steps):
            try:
                x = step._propose(x, work)
            except BaseException:
                if i:  # those before it remember this batch, those behind it another one
                    self.forget()
                raise
        return x, True  # each layer keeps its own cache; this one says that forward was called

    def _settle(self) -> None:
        for step in self._steps:
            step._accept()

    def _backward(self, dy: Array, cache: bool, need_dx: bool, work: Workspace | None) -> Array | None:
        steps = self._steps
        # Below the lowest layer that learns nobody asks for a gradient, unless the caller does.
        lowest = 0 if need_dx else next((i for i, step in enumerate(steps) if step.learns), len(steps))
        for i in reversed(range(len(steps))):
            if i < lowest:
                steps[i].forget()
            else:
                dy = steps[i].backward(dy, need_dx=need_dx or i > lowest, work=work)
        return dy if need_dx else None

    def _infer(self, x: Array, work: Workspace | None) -> Array:
        for step in self._steps:
            x = step.infer(x, work=work)
        return x

    def forget(self) -> None:
        """Let go of what the last `forward` remembered, in this layer and in all those in it."""
        for step in self._steps:
            step.forget()
        super().forget()

    def __repr__(self) -> str:
        lines = "".join(f"  {name}: {layer!r}\n" for name, layer in self._layers.items())
        return f"{type(self).__name__}(\n{lines})"
