"""What a network is made of, in a table: results, parameters, operations and bytes of each layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import init
from ..backend import Array, default_backend, namespace_of, place, zeros
from ..checks import integer
from ..errors import XlenetError

if TYPE_CHECKING:
    from .base import Layer

_HEADINGS = ("layer", "what it is", "result", "parameters", "FLOPs", "parameter bytes", "result bytes")
_UNKNOWN = "-"


class LayerSummary(NamedTuple):
    """A row: one layer.

    Attributes:
        name: its full name, as in ``conv1`` or ``body.conv1``; empty for a layer that stands alone.
        kind: the name of its class.
        description: its `repr`.
        shape: of its result, without the batch.
        parameters: how many numbers training can change, frozen ones included.
        flops: operations for one sample by the rules of evaluation; None where the layer does not say.
        parameter_bytes: of its parameters.
        result_bytes: of its result for one sample.
    """

    name: str
    kind: str
    description: str
    shape: tuple[int, ...]
    parameters: int
    flops: int | None
    parameter_bytes: int
    result_bytes: int


class Summary(NamedTuple):
    """What `Layer.summary` returns; printed, it is a table.

    Attributes:
        title: the class of the network.
        input_shape: of one sample.
        rows: a row for each layer, in the order of the forward pass.

    Example:
        >>> from xlenet import Linear
        >>> Linear(120, 84, rng=0).summary().flops
        20160
    """

    title: str
    input_shape: tuple[int, ...]
    rows: tuple[LayerSummary, ...]

    @property
    def parameters(self) -> int:
        """How many numbers training can change, in all."""
        return sum(row.parameters for row in self.rows)

    @property
    def flops(self) -> int:
        """Operations for one sample, of the layers that say how many theirs are."""
        return sum(row.flops or 0 for row in self.rows)

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all parameters."""
        return sum(row.parameter_bytes for row in self.rows)

    @property
    def result_bytes(self) -> int:
        """Bytes of all results for one sample, which training keeps until backward has gone by."""
        return sum(row.result_bytes for row in self.rows)

    def __str__(self) -> str:
        """Return the table."""
        unknown = sum(row.flops is None for row in self.rows)
        cells = [_HEADINGS, *map(_cells, self.rows)]
        total = (self.parameters, self.flops, self.parameter_bytes, self.result_bytes)
        cells.append(("total", "", "", *(f"{number:,}" for number in total)))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(_aligned(row, widths)).rstrip() for row in cells]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        note = f"{self.title} for one sample {self.input_shape}; a multiply-add is 2 FLOPs"
        if unknown:
            note += f"; {unknown} of {len(self.rows)} layers do not say theirs ({_UNKNOWN})"
        return "\n".join([note, "", lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def __repr__(self) -> str:
        return str(self)


def _cells(row: LayerSummary) -> tuple[str, ...]:
    flops = _UNKNOWN if row.flops is None else f"{row.flops:,}"
    numbers = (f"{row.parameters:,}", flops, f"{row.parameter_bytes:,}", f"{row.result_bytes:,}")
    return (row.name, row.kind, str(row.shape), *numbers)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """Put words to the left and numbers to the right."""
    for i, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        yield cell.ljust(width) if i < 3 else cell.rjust(width)


def summarise(layer: Layer, shape: Any) -> Summary:
    """Do what `Layer.summary` says."""
    sample = layer._input_shape() if shape is None else _checked(shape)
    if sample is None:
        raise ValueError(
            f"summary: got no shape, and {type(layer).__name__} takes samples of several; expected the shape of one "
            "sample, without the batch; pass it, such as (1, 28, 28)"
        )
    try:
        x = _sample(layer, sample)
        rows = list(_rows("", layer, x))
    except (TypeError, ValueError, OverflowError, MemoryError, XlenetError) as error:
        raise ValueError(
            f"summary: got shape {sample}; expected the shape of one sample, without the batch, that "
            f"{type(layer).__name__} takes; pass one, such as (1, 28, 28) ({error})"
        ) from error
    return Summary(type(layer).__name__, sample, tuple(rows))


def _checked(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple | list) or not shape:
        raise TypeError(
            f"summary: got shape {shape!r}; expected the shape of one sample, without the batch; pass a tuple, such as "
            "(1, 28, 28)"
        )
    try:
        return tuple(integer("summary", "shape", size, 1) for size in shape)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"summary: got shape {shape!r}; expected whole numbers from 1 up, without the batch; pass a tuple, such as "
            "(1, 28, 28)"
        ) from error


def _sample(layer: Layer, shape: tuple[int, ...]) -> Array:
    """Return a batch of one, of zeros, where the layer's arrays are and of their type."""
    for _, like in layer.named_parameters():
        return zeros((1, *shape), like=like)
    return place(init.zeros((1, *shape), "float32"), default_backend())


def _rows(name: str, layer: Layer, x: Array) -> Iterator[LayerSummary]:
    """Go through the layers as the forward pass does, by the rules of evaluation: nothing is stored."""
    y = layer.infer(x)  # first of all the whole, which knows best what it does not take
    inner = layer._inner()
    for part, child in inner.items():
        yield from _rows(f"{name}.{part}" if name else part, child, x)
        x = child.infer(x)
    if not inner:
        parameters = list(layer.params.values())
        yield LayerSummary(
            name=name,
            kind=type(layer).__name__,
            description=repr(layer),
            shape=tuple(y.shape[1:]),
            parameters=sum(p.size for p in parameters),
            flops=layer._operations(tuple(x.shape[1:]), tuple(y.shape[1:])),
            parameter_bytes=sum(map(_bytes, parameters)),
            result_bytes=_bytes(y),
        )


def _bytes(array: Array) -> int:
    """Return the bytes of its numbers; the array API has no ``nbytes``."""
    xp = namespace_of(array)
    if xp.isdtype(array.dtype, "bool"):
        return math.prod(array.shape)
    about = xp.finfo(array.dtype) if xp.isdtype(array.dtype, "real floating") else xp.iinfo(array.dtype)
    bits: int = about.bits
    size: int = math.prod(array.shape)
    return size * bits // 8
