"""What an ONNX file holds in words and numbers: tensors, attributes of nodes, and constants made of constants.

What is wrong is a ValueError, whose text goes into the DataError of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import shown

# By the names of TensorProto.DataType: the type of the numbers, and the field that holds them where they are not raw.
_KINDS = {
    "FLOAT": ("float32", "float_data"),
    "INT32": ("int32", "int32_data"),
    "INT64": ("int64", "int64_data"),
    "BOOL": ("bool", "int32_data"),
    "DOUBLE": ("float64", "double_data"),
}
_MOST_AXES = 8
ANY = -(2**40)  # the batch, in what a node Shape gives: how many there are is not known yet
_SMALL, _LARGEST = 64, 2**31  # how many numbers there are in what is put together, a shape and never a weight; and each


def kind_name(kind: int) -> str:
    """Return what ONNX calls a type of numbers."""
    import onnx

    kinds = onnx.TensorProto.DataType
    return str(kinds.Name(kind)) if kind in kinds.values() else f"type {kind}"


def dtype_of(kind: int) -> str | None:
    """Return NumPy's name of a type of numbers; None for one that is not read."""
    return _KINDS.get(kind_name(kind), (None,))[0]


def read_tensor(tensor: Any) -> Any:
    """Return a TensorProto's numbers, having compared what it says of its shape with what it holds."""
    from onnx import numpy_helper

    name, shape, kind = shown(tensor.name), tuple(tensor.dims), kind_name(tensor.data_type)
    if tensor.data_location == tensor.EXTERNAL or tensor.external_data:
        raise ValueError(f"tensor {name} lies in another file; put all into one with onnx.save(model, path)")
    if kind not in _KINDS:
        raise ValueError(f"tensor {name} is {kind}, not FLOAT or DOUBLE")
    dtype, field = _KINDS[kind]
    if len(shape) > _MOST_AXES or any(size < 0 for size in shape) or tensor.HasField("segment"):
        raise ValueError(f"tensor {name} has shape {shown(shape)}")
    raw = tensor.HasField("raw_data")
    count = len(tensor.raw_data) / np.dtype(dtype).itemsize if raw else len(getattr(tensor, field))
    if count != math.prod(shape):
        raise ValueError(f"tensor {name} has shape {shown(shape)} and {count:,.6g} numbers")
    if not count:
        return np.empty(0, dtype)  # (0, 2**62) is a shape that NumPy does not take
    return numpy_helper.to_array(tensor)


# ==== attributes ====

# AttributeProto.AttributeType, and the field of an attribute that holds it, by the type that its default has here.
_FIELDS = {float: (1, "f"), int: (2, "i"), str: (3, "s"), tuple: (7, "ints")}
_CONSTANTS: Mapping[str, tuple[int, str, Any]] = {
    "value": (4, "t", None),
    "value_float": (1, "f", "float32"),
    "value_floats": (6, "floats", "float32"),
    "value_int": (2, "i", "int64"),
    "value_ints": (7, "ints", "int64"),
}


class Attributes:
    """The attributes of a node. Each is asked for by its name; what nobody has asked for might change the result."""

    def __init__(self, attributes: Any) -> None:
        self._all = {attribute.name: attribute for attribute in attributes}
        if len(self._all) < len(attributes):
            raise ValueError("the same attribute twice")
        self._left = set(self._all)

    def take(self, name: str, default: Any) -> Any:
        """Return an attribute of the type of `default`, which stands for one that is left out.

        Of whole numbers there must be as many as in `default`, unless that is empty. A real number is the shortest that
        has the same float32, which is what was meant by 0.9.
        """
        if name not in self._all:
            return default
        value = self._value(name, *_FIELDS[type(default)])
        if isinstance(default, tuple):
            if default and len(value) != len(default):
                raise ValueError(f"attribute {name} has {len(value)} numbers, not {len(default)}")
            return tuple(value)
        if isinstance(default, float):
            value = float(str(np.float32(value)))
            if not math.isfinite(value):
                raise ValueError(f"attribute {name} is {value}")
        return value.decode("ascii", "backslashreplace") if isinstance(value, bytes) else value

    def constant(self) -> Any:
        """Return what a node Constant holds, or what a ConstantOfShape repeats; None if it does not say."""
        for name, (kind, field, dtype) in _CONSTANTS.items():
            if name in self._all:
                value = self._value(name, kind, field)
                return np.array(value, dtype) if dtype else read_tensor(value)
        return None

    def _value(self, name: str, kind: int, field: str) -> Any:
        attribute = self._all[name]
        if attribute.type != kind or attribute.ref_attr_name:
            raise ValueError(f"attribute {name} is of type {attribute.type}, not {kind}")
        self._left.discard(name)
        return getattr(attribute, field)

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
        raise ValueError("its inputs are all constants; only reshaping and sums of sizes are done with these")
    if any(array is None for array in given) or (not given and operator != "Constant"):
        raise ValueError("an input is left out")
    result = np.asarray(_FOLDED[operator](given, attributes))
    attributes.end()
    return result


def _constant(given: list[Any], attributes: Attributes) -> Any:
    value = attributes.constant()
    if value is None:
        raise ValueError("it holds no tensor of numbers")
    return value


def _constant_of_shape(given: list[Any], attributes: Attributes) -> Any:
    shape, value = whole_numbers(given[0]), attributes.constant()
    if len(shape) > _MOST_AXES or not all(0 <= size <= _SMALL for size in shape) or math.prod(shape) > _SMALL:
        raise ValueError(f"of shape {shown(shape)}; more than {_SMALL} numbers, which no shape has")
    return np.full(shape, np.float32(0) if value is None else value.reshape(()))


def _reshape(given: list[Any], attributes: Attributes) -> Any:
    array, shape = given
    sizes = whole_numbers(shape)
    if attributes.take("allowzero", 0) and 0 in sizes:
        raise ValueError("to a shape with allowzero, which leaves nothing")
    return array.reshape([array.shape[i] if size == 0 else size for i, size in enumerate(sizes)])


def _cast(given: list[Any], attributes: Attributes) -> Any:
    dtype = dtype_of(kind := attributes.take("to", 0))
    if dtype is None:
        raise ValueError(f"to {kind_name(kind)}")
    if dtype != "int64" and given[0].dtype == np.int64 and (given[0] == ANY).any():
        raise ValueError(f"of the size of a batch to {kind_name(kind)}")
    return given[0].astype(dtype, copy=False)


def _transpose(given: list[Any], attributes: Attributes) -> Any:
    return given[0].transpose(attributes.take("perm", tuple(reversed(range(given[0].ndim)))))


def _axes(given: list[Any], attributes: Attributes) -> tuple[int, ...]:
    """Axes, which are an attribute up to opset 12 and an input from 13 on."""
    return tuple(whole_numbers(given[1]) if len(given) > 1 else attributes.take("axes", ()))


def _squeeze(given: list[Any], attributes: Attributes) -> Any:
    return given[0].squeeze(_axes(given, attributes) or None)


def _unsqueeze(given: list[Any], attributes: Attributes) -> Any:
    axes = _axes(given, attributes)
    if given[0].ndim + len(axes) > _MOST_AXES:
        raise ValueError("too many axes")
    return np.expand_dims(given[0], axes)


def _small(*arrays: Any) -> None:
    if sum(array.size for array in arrays) > _SMALL:
        raise ValueError(f"more than {_SMALL} numbers, which no shape has")


def _concat(given: list[Any], attributes: Attributes) -> Any:
    _small(*given)
    return np.concatenate(given, attributes.take("axis", 0))


def _gather(given: list[Any], attributes: Attributes) -> Any:
    _small(*given)
    return np.take(given[0], given[1], axis=attributes.take("axis", 0), mode="raise")


def _slice(given: list[Any], attributes: Attributes) -> Any:
    """Up to opset 9 where from and where to are attributes, from 10 on inputs."""
    _small(*given)
    array, *rest = given
    rest = [*map(whole_numbers, rest)] or [list(attributes.take(name, ())) for name in ("starts", "ends", "axes")]
    start, end, axes, step = [*rest, [], [], []][: max(4, len(rest))]
    cut = [slice(None)] * array.ndim
    for axis, *how in zip(axes or range(len(start)), start, end, step or [1] * len(start), strict=True):
        cut[axis] = slice(*how)
    return array[tuple(cut)]


def _sized(compute: Callable[[Any, Any], Any]) -> Callable[[list[Any], Attributes], Any]:
    """Sums and products of sizes. The batch is none of them: a product with it would be taken for a size."""

    def fold(given: list[Any], attributes: Attributes) -> Any:
        _small(*given)
        left, right = map(_moderate, given)
        _small(result := compute(left, right))
        return _moderate(result)

    return fold


def _moderate(array: Any) -> Any:
    if array.dtype != np.int64 or not ((array >= -_LARGEST) & (array <= _LARGEST)).all():
        raise ValueError("of more than whole numbers of 32 bits; with the size of a batch nothing is computed")
    return array


def _divide(left: Any, right: Any) -> Any:
    if (left < 0).any() or (right < 1).any():
        raise ValueError("a size below 0, or divided by 0")
    return left // right


def whole_numbers(array: Any) -> list[int]:
    """Return a vector of few whole numbers as a list."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != "i" or array.ndim > 1 or array.size > _SMALL:
        raise ValueError("what should be a constant vector of whole numbers is none")
    return [int(number) for number in array.reshape(-1)]


_FOLDED: Mapping[str, Callable[[list[Any], Attributes], Any]] = {
    "Add": _sized(np.add),
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Div": _sized(_divide),
    "Gather": _gather,
    "Identity": lambda given, attributes: given[0],
    "Mul": _sized(np.multiply),
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _sized(np.subtract),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
