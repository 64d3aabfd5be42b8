"""An ONNX file as a network: a chain of operators that the layers cover."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import Any

from ..checks import check_path, integer
from ..errors import DataError, shown
from ..files import read_at_most
from ..layers import Layer, Reshape, Sequential
from ..strictjson import parse_json
from .onnx_chain import WRONG, Chain, NodeError
from .onnx_export import KEY
from .onnx_operators import OPERATORS
from .onnx_package import onnx_package
from .onnx_values import dtype_of, kind_name, read_tensor
from .protobuf import check_structure
from .shapes import Shape

MAX_BYTES = 64 << 20  # of a file, unless told otherwise: 250 times LeNet-5
OLDEST, NEWEST = 7, 22  # versions of the operators that are understood
_MOST_STRUCTURE = 1 << 20  # bytes besides numbers, which may take a hundred times their size: see `check_structure`
_MOST_NODES, _MOST_SIZE = 5_000, 2**31


class OnnxModel(Sequential):
    """What `import_onnx` returns: a `Sequential`, and what else the file says.

    Attributes:
        input_shape: of one x, such as (1, 28, 28); or with the channels last, if the file wants them so.
        about: what `export_onnx` was given of this name; empty for another program's file.
    """

    input_shape: Shape
    about: dict[str, Any]

    def _input_shape(self) -> Shape:
        return self.input_shape


def import_onnx(
    path: str | os.PathLike[str], input_shape: tuple[int, ...] | None = None, *, max_bytes: int = MAX_BYTES
) -> OnnxModel:
    """Return the network in an ONNX file, in evaluation mode, in the default backend; it can be trained further.

    The file must hold a chain, each operator working on the result of the one before it, of operators of version 7 to
    22 that there are layers for; ``docs/onnx.md`` lists them. A bias that is added behind a convolution or a product
    goes into the layer, what is done to weights alone is done now, and a batch that the file fixes becomes free. An
    image is laid out as the file has it: if that takes (N, H, W, C), so does the model.

    Nothing of the file is executed, and what it says of sizes is compared with the file before memory is taken.

    Args:
        path: the file.
        input_shape: of one x, without the batch, where the file leaves sizes open.
        max_bytes: size beyond which it is refused, unread; as much may its weights take when unpacked.

    Returns:
        The model. Its layers are named after the file's weights or nodes: ``conv1.weight`` makes ``conv1``.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is damaged, larger than `max_bytes`, no chain, or has an operator, a version or a type of numbers
            that is not understood; the message names the node and the operator.
        TypeError, ValueError: an argument is of another kind, or `max_bytes` below 0.
        MissingExtraError: onnx is not installed.

    Example:
        >>> import tempfile
        >>> from xlenet import LeNet5
        >>> from xlenet.interop import export_onnx
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model = import_onnx(export_onnx(LeNet5(rng=0), folder + "/lenet.onnx"))
        >>> model.input_shape, list(model)[:4]
        ((1, 28, 28), ['conv1', 'pool1', 'bn1', 'relu1'])
    """
    check_path("import_onnx", path)
    max_bytes = integer("import_onnx", "max_bytes", max_bytes, 0)
    if input_shape is not None:
        input_shape = _as_shape(input_shape)
    onnx = onnx_package("import_onnx")
    data = read_at_most(path, max_bytes, "import_onnx")
    try:
        check_structure(data, _MOST_STRUCTURE)
        file = onnx.ModelProto.FromString(data)
    except Exception as error:  # of protobuf there are several kinds
        why = str(error) if isinstance(error, ValueError) else "bytes that protobuf does not read"
        raise _refused(path, why, "an ONNX file; it is damaged or of another kind") from error
    del data
    try:
        return _read(file, input_shape, max_bytes)
    except NodeError as error:
        wanted = f"a chain of {', '.join(OPERATORS)}; export it in another way, or leave that part out"
        raise _refused(path, str(error), wanted) from error.__cause__
    except WRONG as error:
        raise _refused(path, str(error), "a chain of operators of one input and one output") from error


def _refused(path: str | os.PathLike[str], why: str, wanted: str) -> DataError:
    return DataError(f"import_onnx: got {os.fspath(path)!r} ({why}); expected {wanted}")


def _as_shape(given: Any) -> Shape:
    if not isinstance(given, tuple | list) or not given:
        raise TypeError(
            f"import_onnx: got input_shape {given!r}; expected the shape of one x, without the batch; pass (C, H, W)"
        )
    return tuple(integer("import_onnx", "input_shape", size, 1) for size in given)


def _read(file: Any, input_shape: Shape | None, max_bytes: int) -> OnnxModel:
    graph, opset = file.graph, _opset(file)
    if len(graph.node) > _MOST_NODES:
        raise ValueError(f"{len(graph.node):,} nodes, more than {_MOST_NODES:,}")
    if graph.sparse_initializer:
        raise ValueError("it holds sparse tensors")
    constants = {tensor.name: read_tensor(tensor) for tensor in graph.initializer}
    name, dtype, batch, shape = _input(graph, constants, input_shape)
    chain = Chain(name, shape, batch, dtype, opset, constants, max_bytes)
    outputs = [output.name for output in graph.output]
    layers = chain.along(_used(graph.node, outputs), OPERATORS)
    if len(outputs) != 1 or outputs[0] not in chain.values:
        raise ValueError(
            f"the outputs are {shown(outputs)}, and the chain ends with {shown(chain.value)}: it has branches"
        )
    model = OnnxModel(**_named(layers or [("identity", Reshape(shape))]))  # a network of nothing gives what it takes
    model.input_shape, model.about = shape, _about(file)
    return model.eval()


def _used(nodes: Any, outputs: list[str]) -> list[tuple[int, Any]]:
    """Return the nodes that the result depends on, with their numbers. Exporters leave others in the file."""
    names, used = set(outputs), []
    for number, node in reversed(list(enumerate(nodes))):
        if names.intersection(filter(None, node.output)):
            names.update(node.input)
            used.append((number, node))
    return used[::-1]


def _opset(file: Any) -> int:
    versions = [opset.version for opset in file.opset_import if opset.domain in ("", "ai.onnx")]
    if len(versions) != 1 or not OLDEST <= versions[0] <= NEWEST:
        raise ValueError(f"operators of version {shown(versions)}, not one from {OLDEST} to {NEWEST}")
    return int(versions[0])


def _input(graph: Any, constants: dict[str, Any], given: Shape | None) -> tuple[str, str, int | None, Shape]:
    """Return name, type, batch (None for any) and shape of what the network takes."""
    inputs = [x for x in graph.input if x.name not in constants]  # older files list the weights there, too
    if len(inputs) != 1:
        raise ValueError(f"it takes {len(inputs)} inputs, not one")
    tensor = inputs[0].type.tensor_type
    dtype = dtype_of(tensor.elem_type)
    if dtype not in ("float32", "float64"):
        raise ValueError(f"it takes {kind_name(tensor.elem_type)}, not FLOAT or DOUBLE")
    sizes = [size.dim_value if 0 < size.dim_value < _MOST_SIZE else None for size in tensor.shape.dim]
    if len(sizes) < 2:
        raise ValueError(f"it takes x of {len(sizes)} axes, not a batch of something")
    batch, *rest = sizes
    if given is None and None in rest:
        raise ValueError(f"it leaves the sizes of x open, {shown(rest)}; pass input_shape")
    shape = tuple(size for size in rest if size is not None) if given is None else given
    if len(shape) != len(rest) or any(size not in (None, mine) for size, mine in zip(rest, shape, strict=True)):
        raise ValueError(f"it takes x of {shown(rest)} each, and input_shape is {shape}")
    return inputs[0].name, dtype, batch, shape


# ==== words ====


def _named(layers: list[tuple[str, Layer]]) -> dict[str, Layer]:
    """Return the layers by names that are valid and differ; of several, one with weights has its name as it is."""
    names: dict[str, int] = {}
    times = Counter[str]()
    for number, (label, layer) in sorted(enumerate(layers), key=lambda item: not item[1][1].params):
        stem = re.sub(r"[^\w.]+", "_", label, flags=re.ASCII)[:60].strip("_.") or type(layer).__name__.lower()
        name = stem
        while name in names:
            times[stem] += 1
            name = f"{stem}_{times[stem] + 1}"
        names[name] = number
    return {name: layers[number][1] for name, number in sorted(names.items(), key=lambda item: item[1])}


def _about(file: Any) -> dict[str, Any]:
    for pair in file.metadata_props:
        if pair.key == KEY:
            about = parse_json(pair.value.encode(), nan=True)
            if isinstance(about, dict):
                return about
            raise ValueError(f"{shown(about)} about the model")
    return {}
