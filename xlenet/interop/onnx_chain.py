"""A walk along the nodes of an ONNX file: the layers so far, and what comes out of the last one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import shown
from ..functional.windows import Windows, windows_over
from ..layers import Layer
from .onnx_values import ANY, Attributes, fold
from .shapes import Shape

# What some bytes of a file may ask for: numbers of one x, its padding included; numbers in all windows over it; and
# pixels that a window sees or steps over.
MOST_NUMBERS, _MOST_IN_WINDOWS, _MOST_SEEN = 1 << 24, 1 << 27, 1 << 16

X = object()  # stands for what comes along the chain, between the constants among a node's inputs
_RENAMING = ("Cast", "Identity")  # what they are given is good under its old name as well
WRONG = (ValueError, TypeError, IndexError, OverflowError, MemoryError)  # with what is in a file


class NodeError(Exception):
    """A node is not understood."""


class Node(NamedTuple):
    """An operator of the chain.

    Attributes:
        where: how an error names it.
        label: the name that its layer would like.
        inputs: `X` once, constants, and None for what is left out.
        attributes: to be asked for.
    """

    where: str
    label: str
    inputs: list[Any]
    attributes: Attributes

    def constants(self, least: int, most: int) -> list[Any]:
        """Return the inputs behind the first one, which must be what comes along the chain, filled up with None."""
        if self.inputs[0] is not X:
            raise ValueError("its first input is a constant; the network's own values belong there")
        rest = self.inputs[1:]
        if not least <= len(rest) <= most or any(array is None for array in rest[:least]):
            raise ValueError(f"{len(rest)} inputs behind the first one")
        return rest + [None] * (most - len(rest))


class Product:
    """A Conv2D or a Linear that is made at the end, when all that is added to its bias is known.

    Args:
        make: its class, with all arguments but those of every layer with weights.
        weight, bias: as the layer has them; bias is None for none.
    """

    def __init__(self, make: Callable[..., Layer], weight: Any, bias: Any) -> None:
        self.make, self.weight, self.bias, self.where = make, weight, bias, ""

    def layer(self, dtype: str) -> Layer:
        """Return the layer."""
        state = {"weight": self.weight} | ({} if self.bias is None else {"bias": self.bias})
        return self.make(bias=self.bias is not None, rng=0, dtype=dtype).load_state_dict(state)


Operator = Callable[["Chain", Node], None]


class Chain:
    """The layers so far, and what comes out of the last one.

    Args:
        name: of what the network takes.
        shape: of one x.
        batch: how many x the file was made for; None for any number.
        dtype: of all numbers.
        opset: version of the operators.
        constants: by name.
        room: bytes that weights may take.

    Attributes:
        pads: zeros that a Pad has put around `shape`: (top, left, bottom, right), for what comes next.
        layers: with the names that they would like.
        values: names of what comes out of the last layer; the last one is `value`.
    """

    def __init__(
        self, name: str, shape: Shape, batch: int | None, dtype: str, opset: int, constants: dict[str, Any], room: int
    ) -> None:
        self.shape, self.batch, self.dtype, self.opset = shape, batch, dtype, opset
        self.pads: tuple[int, ...] = (0, 0, 0, 0)
        self.layers: list[tuple[str, Any]] = []
        self.value, self.values = name, {name}
        self._shapes, self._constants, self._room = {name: shape}, constants, room

    def along(self, nodes: list[tuple[int, Any]], operators: Mapping[str, Operator]) -> list[tuple[str, Layer]]:
        """Go to the end of `nodes`, which have their numbers in the file, and return the layers."""
        where = ""
        for number, node in nodes:
            where = f"{shown(node.op_type)}, node {shown(node.name) if node.name else f'number {number}'}"
            with _blaming(where):
                self._visit(node, where, operators)
        with _blaming(where):
            if any(self.pads):
                raise ValueError("there is no Conv or AveragePool behind this padding of zeros, which could take it up")
        return [(label, self._made(layer)) for label, layer in self.layers]

    def _made(self, layer: Layer | Product) -> Layer:
        if isinstance(layer, Layer):
            return layer
        with _blaming(layer.where):
            return layer.layer(self.dtype)

    def _visit(self, node: Any, where: str, operators: Mapping[str, Operator]) -> None:
        if node.domain not in ("", "ai.onnx"):
            raise ValueError(f"the operator is of {shown(node.domain)}, and not of ONNX itself")
        attributes = Attributes(node.attribute)
        name = node.output[0]
        if name in self._constants or name in self._shapes:
            raise ValueError("its result has no name of its own")
        if node.op_type == "Shape" and len(node.input) == 1 and node.input[0] in self._shapes:
            self._constants[name] = self._shape(self._shapes[node.input[0]], attributes)
        elif all(name in self._constants for name in node.input if name):
            given = [self._one(name) for name in node.input]
            array = fold(node.op_type, given, attributes)
            if given and not any(np.may_share_memory(array, one) for one in given):
                self.pay(array.nbytes)
            self._constants[name] = array
        elif node.op_type not in operators:
            raise ValueError("there is no layer for this operator")
        else:
            given = [self._one(name) for name in node.input]
            if sum(value is X for value in given) != 1:
                raise ValueError("it takes the same value twice; a chain does not branch")
            operators[node.op_type](self, Node(where, _label(node), given, attributes))
            attributes.end()
            if node.op_type not in _RENAMING:
                self.values.clear()
            self.values.add(name)
            self.value, self._shapes[name] = name, self.padded

    def _one(self, name: str) -> Any:
        if name in self.values:
            return X
        if name and name not in self._constants:
            raise ValueError(
                f"it takes {shown(name)}, which is not the result of the node before; a chain does not branch"
            )
        return self._constants[name] if name else None

    def _shape(self, shape: Shape, attributes: Attributes) -> Any:
        """What a node Shape gives."""
        start, end = attributes.take("start", 0), attributes.take("end", len(shape) + 1)
        attributes.end()
        return np.array([ANY, *shape], np.int64)[start:end]

    # ==== for the operators ====

    @property
    def padded(self) -> Shape:
        """`shape`, with what a Pad has put around it."""
        if not any(self.pads):
            return self.shape
        (channels, h, w), (top, left, bottom, right) = self.shape, self.pads
        return channels, top + h + bottom, left + w + right

    def windows(self, kernel: Any, stride: Any, padding: Any, dilation: Any, *, ceil_mode: bool = False) -> Windows:
        """Return where windows lie over what comes along, having compared what they ask for with what there is."""
        size = self.shape[1], self.shape[2]
        if max(math.prod(kernel), *stride) > _MOST_SEEN:
            raise ValueError(f"kernel {tuple(kernel)} and stride {stride}, which no network has")
        windows = windows_over(size, kernel, stride, padding, dilation, ceil_mode=ceil_mode)
        padded = self.shape[0] * math.prod(n + sum(ends) for n, ends in zip(size, windows.padding, strict=True))
        copied = self.shape[0] * math.prod(windows.out) * math.prod(kernel)
        if padded > MOST_NUMBERS or copied > _MOST_IN_WINDOWS:
            raise ValueError(
                f"kernel {tuple(kernel)}, stride {stride} and padding {windows.padding} over {self.shape} make "
                f"{padded:,} numbers of an x and {copied:,} in windows, which no small network has"
            )
        return windows

    def append(self, label: str, layer: Layer, shape: Shape | None = None) -> None:
        """Add a layer, which takes what comes out of the one before it, and whose result has `shape`, or the same."""
        self.pay(layer.size * np.dtype(self.dtype).itemsize)
        self._append(label, layer, self.shape if shape is None else shape)

    def multiply(self, node: Node, product: Product, shape: Shape) -> None:
        """Add a product, whose result has `shape`. A Pad in front of it is in its padding."""
        weight, bias = self.numbers(product.weight), product.bias
        if bias is not None and self.numbers(bias).shape != weight.shape[:1]:
            raise ValueError(f"a bias of shape {bias.shape}, not ({len(weight)},)")
        self.pay(weight.nbytes)
        product.where, self.pads = node.where, (0, 0, 0, 0)
        self._append(node.label, product, shape)

    def _append(self, label: str, layer: Layer | Product, shape: Shape) -> None:
        if any(self.pads):
            raise ValueError("it is behind a Pad by zeros, which only a Conv or an AveragePool takes up")
        if math.prod(shape) > MOST_NUMBERS:
            raise ValueError(f"its result has {math.prod(shape):,} numbers for each x, more than {MOST_NUMBERS:,}")
        self.shape = shape
        self.layers.append((label, layer))

    def axis(self, axis: int) -> int:
        """Return an axis, counted from the batch, which is axis 0."""
        rank = len(self.shape) + 1
        if not -rank <= axis < rank:
            raise ValueError(f"axis {axis} of {rank}")
        return axis % rank

    def numbers(self, array: Any) -> Any:
        """Return a constant that goes into a layer."""
        if array.dtype != self.dtype:
            raise ValueError(f"{array.dtype} numbers beside {self.dtype} ones")
        return array

    def pay(self, size: int) -> None:
        """A file of some bytes may say that the same weight is used a thousand times."""
        self._room -= size
        if self._room < 0:
            raise ValueError("the weights, unpacked, are larger than max_bytes; pass a larger one for a file you trust")


@contextlib.contextmanager
def _blaming(where: str) -> Iterator[None]:
    try:
        yield
    except WRONG as error:
        raise NodeError(f"{where}: {str(error)[:500]}") from error


def _label(node: Any) -> str:
    """Return what the layer should be called: as the module of its weight, or as the node."""
    for name in node.input:
        if name.endswith(".weight"):
            return str(name.removesuffix(".weight"))
    *path, last = [part for part in node.name.split("/") if part] or [node.op_type.lower()]
    return str(path[-1] if path else last)
