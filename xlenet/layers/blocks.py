"""Neighbours in a network that compute as one operation.

A block is a layer made of two: the parameters, gradients and running statistics stay where they are, in the two layers;
the block only calls the operation that does the work of both. What it computes is what the two would have computed, one
after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..backend import Array
from ..functional import batchnorm_relu, conv_pool, linear_relu
from ..workspace import Workspace
from .activation import ReLU
from .base import Layer
from .conv import Conv2D
from .linear import Linear
from .norm import BatchNorm
from .pool import MaxPool2D


def join_neighbours(layers: Sequence[Layer]) -> list[Layer]:
    """Return `layers` with blocks in the place of the pairs that compute as one.

    Example:
        >>> [type(layer).__name__ for layer in join_neighbours([Linear(3, 2), ReLU(), Linear(2, 1)])]
        ['LinearReLU', 'Linear']
    """
    joined: list[Layer] = []
    for layer in layers:
        # Their own types alone: a class derived from them may compute something else.
        block = _BLOCKS.get((type(joined[-1]), type(layer))) if joined else None
        if block is not None and block.joins(joined[-1], layer):
            joined[-1] = block(joined[-1], layer)
        else:
            joined.append(layer)
    return joined


class Block(Layer):
    """Two layers in one step."""

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__()
        self.first, self.second = first, second

    @classmethod
    def joins(cls, first: Any, second: Any) -> bool:
        """Whether these two can be one."""
        return True

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Go over the two layers."""
        yield from self.first.leaves(prefix)
        yield from self.second.leaves(prefix)

    def _check_library(self, x: Array) -> None:
        self.first._check_library(x)  # who made a mistake knows the layer, and not the block

    @property
    def _computes(self) -> Layer:
        first: Layer = self.first  # the second one only chooses among its numbers
        return first

    def _learned(self, backward: Any, dy: Array, cache: Any, need_dx: bool, work: Workspace | None) -> Array | None:
        """Call a backward that computes the gradients of the first layer's weight and bias, and keep them there."""
        first = self.first
        out = first._gradients("weight", "bias")
        dx, dweight, dbias = backward(dy, cache, need_dx=need_dx, need_dweight=first.requires_grad, out=out, work=work)
        first._set_gradients(weight=dweight, bias=dbias)
        return dx


class ConvPool(Block):
    """A convolution and the max-pooling behind it. See `xlenet.functional.conv_pool`."""

    @classmethod
    def joins(cls, first: Conv2D, second: MaxPool2D) -> bool:
        """Whether the convolution leaves open how it is computed, and neither has what the operation of both lacks."""
        return first.lowering == "rows" and first.groups == 1 and first.dilation == second.dilation == (1, 1)

    def _arguments(self, x: Array) -> tuple[Any, ...]:
        conv, pool = self.first, self.second
        if not self.joins(conv, pool):
            raise RuntimeError(
                f"Sequential: got {conv!r} and {pool!r}, one of which has been changed; expected them as they were "
                "when the Sequential was made; make another one of them"
            )
        return (
            x, conv.params["weight"], conv.params.get("bias"), conv.stride, conv.padding,
            pool.kernel, pool.stride, pool.padding, pool.ceil_mode,
        )  # fmt: skip

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, Any]:
        return conv_pool.forward(*self._arguments(x), work=work)

    def _backward(self, dy: Array, cache: Any, need_dx: bool, work: Workspace | None) -> Array | None:
        return self._learned(conv_pool.backward, dy, cache, need_dx, work)

    def _infer(self, x: Array, work: Workspace | None) -> Array:
        return conv_pool.infer(*self._arguments(x), work=work)


class LinearReLU(Block):
    """A fully connected layer and the ReLU behind it. See `xlenet.functional.linear_relu`."""

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, Any]:
        return linear_relu.forward(x, self.first.params["weight"], self.first.params.get("bias"), work=work)

    def _backward(self, dy: Array, cache: Any, need_dx: bool, work: Workspace | None) -> Array | None:
        return self._learned(linear_relu.backward, dy, cache, need_dx, work)


class BatchNormReLU(Block):
    """Batch normalisation and the ReLU behind it. See `xlenet.functional.batchnorm_relu`.

    In evaluation mode the two go one by one: their statistics are constants then, and there is little to save.
    """

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, Any]:
        norm = self.first
        if not norm.training:
            return self.second.forward(norm.forward(x, work=work), work=work), None
        y, cache = batchnorm_relu.forward_training(x, norm.params["weight"], norm.params["bias"], norm.eps, work=work)
        return y, cache

    def _settle(self) -> None:
        if self._cache is not None and self._cache[0] is not None:
            self.first._follow(self._cache[0])

    def _backward(self, dy: Array, cache: Any, need_dx: bool, work: Workspace | None) -> Array | None:
        norm = self.first
        if cache is None:
            dz = self.second.backward(dy, work=work)
            return norm.backward(dz, need_dx=need_dx, work=work)
        out = norm._gradients("weight", "bias")
        dx, dweight, dbias = batchnorm_relu.backward_training(dy, cache, need_dx=need_dx, out=out, work=work)
        norm._set_gradients(weight=dweight, bias=dbias)
        return dx

    def _infer(self, x: Array, work: Workspace | None) -> Array:
        return self.second.infer(self.first.infer(x, work=work), work=work)


_BLOCKS: dict[tuple[type, type], type[Block]] = {
    (Conv2D, MaxPool2D): ConvPool,
    (BatchNorm, ReLU): BatchNormReLU,
    (Linear, ReLU): LinearReLU,
}
