"""What an ONNX file holds in words and numbers: tensors, attributes of nodes, and constants made of constants.

What is wrong is a ValueError, whose text goes into the DataError of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import shown

# TensorProto.DataType: the type of the numbers, and the field that holds them where they are not raw bytes.
_KINDS = {
    1: ("<f4", "float_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("|b1", "int32_data"),
    11: ("<f8", "double_data"),
}
_NAMES = (
    "UNDEFINED", "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "STRING", "BOOL", "FLOAT16", "DOUBLE",
    "UINT32", "UINT64", "COMPLEX64", "COMPLEX128", "BFLOAT16",
)  # fmt: skip
_EXTERNAL = 1  # TensorProto.DataLocation
_MOST_AXES = 8
ANY = -(2**40)  # the batch, in what a node Shape gives: how many there are is not known yet
_SMALL = 64  # numbers in what is put together: a shape, and never a weight


def kind_name(kind: int) -> str:
    """Return what ONNX calls a type of numbers."""
    return _NAMES[kind] if 0 <= kind < len(_NAMES) else f"type {kind}"


def read_tensor(tensor: Any) -> Any:
    """Return a TensorProto's numbers, having compared what it says of its shape with what it holds."""
    name, shape = shown(tensor.name), tuple(tensor.dims)
    if tensor.data_location == _EXTERNAL or tensor.external_data:
        raise ValueError(f"tensor {name} lies in another file; put all into one with onnx.save(model, path)")
    if tensor.data_type not in _KINDS:
        raise ValueError(f"tensor {name} is {kind_name(tensor.data_type)}, not FLOAT or DOUBLE")
    dtype, field = _KINDS[tensor.data_type]
    if len(shape) > _MOST_AXES or any(size < 0 for size in shape) or tensor.HasField("segment"):
        raise ValueError(f"tensor {name} has shape {shown(shape)}")
    held: Any = tensor.raw_data if tensor.HasField("raw_data") else getattr(tensor, field)
    count = len(held) / np.dtype(dtype).itemsize if isinstance(held, bytes) else len(held)
    if count != math.prod(shape):
        raise ValueError(f"tensor {name} has shape {shown(shape)} and {count:,.6g} numbers")
    if not count:
        return np.empty(0, np.dtype(dtype).newbyteorder("="))  # (0, 2**62) is a shape that NumPy does not take
    array = np.frombuffer(held, dtype) if isinstance(held, bytes) else np.fromiter(held, dtype, len(held))
    return array.astype(array.dtype.newbyteorder("="), copy=False).reshape(shape)


# ==== attributes ====

_FLOAT, _INT, _STRING, _TENSOR, _FLOATS, _INTS = 1, 2, 3, 4, 6, 7  # AttributeProto.AttributeType
_FIELDS = {_FLOAT: "f", _INT: "i", _STRING: "s", _TENSOR: "t", _FLOATS: "floats", _INTS: "ints"}


class Attributes:
    """The attributes of a node. Each is asked for by its name; what nobody has asked for might change the result."""

    def __init__(self, attributes: Any) -> None:
        self._all = {attribute.name: attribute for attribute in attributes}
        if len(self._all) < len(attributes):
            raise ValueError("the same attribute twice")
        self._left = set(self._all)

    def _take(self, name: str, kind: int, default: Any) -> Any:
        self._left.discard(name)
        attribute = self._all.get(name)
        if attribute is None:
            return default
        if attribute.type != kind or attribute.ref_attr_name:
            raise ValueError(f"attribute {name} is of type {attribute.type}, not {kind}")
        return getattr(attribute, _FIELDS[kind])

    def whole(self, name: str, default: int = 0) -> int:
        """Return a whole number."""
        return int(self._take(name, _INT, default))

    def real(self, name: str, default: float) -> float:
        """Return a number: the shortest that has the same float32, which is what was meant by 0.9."""
        number = float(str(np.float32(self._take(name, _FLOAT, default))))
        if not math.isfinite(number):
            raise ValueError(f"attribute {name} is {number}")
        return number

    def text(self, name: str, default: str) -> str:
        """Return a text."""
        found: Any = self._take(name, _STRING, default.encode())
        return bytes(found).decode("ascii", "backslashreplace")

    def wholes(self, name: str, default: tuple[int, ...] | None = None, count: int | None = None) -> Any:
        """Return some whole numbers, `count` of them unless that is None."""
        found = self._take(name, _INTS, default)
        if found is None:
            return None
        if count is not None and len(found) != count:
            raise ValueError(f"attribute {name} has {len(found)} numbers, not {count}")
        return tuple(found)

    def constant(self) -> Any:
        """Return what a node Constant holds."""
        if "value" in self._all:
            return read_tensor(self._take("value", _TENSOR, None))
        for name, kind, dtype in (
            ("value_float", _FLOAT, np.float32), ("value_floats", _FLOATS, np.float32),
            ("value_int", _INT, np.int64), ("value_ints", _INTS, np.int64),
        ):  # fmt: skip
            if name in self._all:
                return np.array(self._take(name, kind, None), dtype)
        raise ValueError("it holds no tensor of numbers")

    def end(self) -> None:
        """Say that nothing else is expected."""
        if self._left:
            raise ValueError(f"attribute {shown(min(self._left))} is unknown here")


# ==== constants made of constants ====


def fold(operator: str, given: list[Any], attributes: Attributes) -> Any:
    """Return what `operator` makes of constants: what exporters leave in files between a weight and its use, and the
    small sums about shapes.
    """
    if operator not in _FOLDED:
        raise ValueError("its inputs are all constants; only reshaping and the like is done with these")
    if any(array is None for array in given) or (not given and operator != "Constant"):
        raise ValueError("an input is left out")
    result = np.asarray(_FOLDED[operator](given, attributes))
    attributes.end()
    return result


def _reshape(given: list[Any], attributes: Attributes) -> Any:
    array, shape = given
    sizes = whole_numbers(shape)
    if attributes.whole("allowzero") and 0 in sizes:
        raise ValueError("to a shape with allowzero, which leaves nothing")
    return array.reshape([array.shape[i] if size == 0 else size for i, size in enumerate(sizes)])


def _cast(given: list[Any], attributes: Attributes) -> Any:
    kind = attributes.whole("to")
    if kind not in _KINDS:
        raise ValueError(f"to {kind_name(kind)}")
    return given[0].astype(np.dtype(_KINDS[kind][0]).newbyteorder("="), copy=False)


def _transpose(given: list[Any], attributes: Attributes) -> Any:
    axes = attributes.wholes("perm", tuple(reversed(range(given[0].ndim))))
    return given[0].transpose(axes)


def _axes(given: list[Any], attributes: Attributes, name: str = "axes") -> list[int]:
    """Axes, which are an attribute up to opset 12 and an input from 13 on."""
    if len(given) > 1:
        return whole_numbers(given[1])
    return list(attributes.wholes(name, ()))


def _squeeze(given: list[Any], attributes: Attributes) -> Any:
    axes = _axes(given, attributes)
    return given[0].squeeze(tuple(axes) if axes else None)


def _unsqueeze(given: list[Any], attributes: Attributes) -> Any:
    axes = _axes(given, attributes)
    if given[0].ndim + len(axes) > _MOST_AXES:
        raise ValueError("too many axes")
    return np.expand_dims(given[0], tuple(axes))


def _small(*arrays: Any) -> None:
    if sum(array.size for array in arrays) > _SMALL:
        raise ValueError(f"more than {_SMALL} numbers, which no shape has")


def _concat(given: list[Any], attributes: Attributes) -> Any:
    _small(*given)
    return np.concatenate(given, attributes.whole("axis"))


def _gather(given: list[Any], attributes: Attributes) -> Any:
    _small(*given)
    return np.take(given[0], given[1], axis=attributes.whole("axis"), mode="raise")


def _slice(given: list[Any], attributes: Attributes) -> Any:
    """Of a vector, such as the shape of an image without its batch. From opset 10 on all but the vector are inputs."""
    _small(*given)
    array, *rest = given
    if rest:
        start, end, axes, step = map(whole_numbers, [*rest, *map(np.array, ([0], [0], [0], [1])[len(rest) :])])
    else:
        start, end, axes = (list(attributes.wholes(name, (0,))) for name in ("starts", "ends", "axes"))
        step = [1]
    if array.ndim != 1 or axes not in ([0], [-1]) or not len(start) == len(end) == len(step) == 1:
        raise ValueError("of more than a vector")
    return array[start[0] : end[0] : step[0]]


def whole_numbers(array: Any) -> list[int]:
    """Return a vector of few whole numbers as a list."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != "i" or array.ndim > 1 or array.size > _SMALL:
        raise ValueError("what should be a constant vector of whole numbers is none")
    return [int(number) for number in array.reshape(-1)]


_FOLDED: Mapping[str, Callable[[list[Any], Attributes], Any]] = {
    "Cast": _cast,
    "Concat": _concat,
    "Constant": lambda given, attributes: attributes.constant(),
    "Gather": _gather,
    "Identity": lambda given, attributes: given[0],
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
