"""A network as an ONNX file, for the programs that run such files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..backend import default_backend, on_device_of, place, to_host, zeros
from ..checks import as_json, check_kind, check_path, integer
from ..files import write_bytes_atomically
from ..layers import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    Linear,
    LogSoftmax,
    MaxPool2D,
    Permute,
    ReLU,
    Reshape,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from ..models import LeNet5
from .onnx_package import onnx_package
from .shapes import Shape, flat, windows_of

OPSET, IR_VERSION = 17, 8  # what runtimes of 2022 read already, with all that the layers need
INPUT, OUTPUT, BATCH, KEY = "x", "logits", "N", "xlenet"
_MOST_BYTES = 2**31 - 2**20  # of arrays: protobuf ends at 2 GiB


def export_onnx(
    model: Layer,
    path: str | os.PathLike[str],
    input_shape: tuple[int, ...] | None = None,
    *,
    about: dict[str, Any] | None = None,
) -> Path:
    """Write `model` as it is in evaluation to `path`, as ONNX: opset 17, IR version 8, any number of images at a time.

    The graph takes ``x`` and gives ``logits``; its initialisers have the names of `Layer.state_dict`. Equal models give
    equal bytes. A `Dropout` is left out. A float64 model becomes a graph of doubles, which ONNX allows and not every
    runtime computes: ONNX Runtime has no convolution of doubles.

    Args:
        model: a layer of xlenet's own, or a `Sequential` of them, which may be nested.
        path: the file to make or to replace.
        input_shape: (C, H, W) of one image, or (IN,): paddings such as "SAME" are numbers in ONNX. Who takes only
            one shape, as `LeNet5`, a `Linear` and a model from `import_onnx`, knows it.
        about: what JSON can hold, such as the names of classes, kept in the file's ``metadata_props["xlenet"]``.

    Returns:
        `path` as a `Path`.

    Raises:
        TypeError: an argument is of another kind, a layer is none of xlenet's own, or JSON cannot hold `about`.
        ValueError: the model does not take x of `input_shape`, `input_shape` is missing, or there are 2 GiB of arrays.
        OutputError: the file cannot be written.
        MissingExtraError: onnx is not installed.

    Example:
        >>> import tempfile
        >>> from xlenet import LeNet5
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_onnx(LeNet5(rng=0), folder + "/lenet.onnx").name
        'lenet.onnx'

    References:
        https://onnx.ai/onnx/operators/
    """
    check_kind("export_onnx", "model", model, Layer, "a Layer")
    check_path("export_onnx", path)
    text = None if about is None else as_json("export_onnx", "about", about)
    layers = list(_chain(model))
    shape = _input_shape(model, input_shape)
    state = {name: np.ascontiguousarray(to_host(array)) for name, array in model.state_dict().items()}
    if (size := sum(array.nbytes for array in state.values())) > _MOST_BYTES:
        raise ValueError(
            f"export_onnx: got a model of {size:,} bytes; expected at most {_MOST_BYTES:,}, which ONNX holds in one "
            "file; save it as safetensors"
        )
    shapes = _shapes(model, layers, shape)
    onnx = onnx_package("export_onnx")
    made = _model(onnx, layers, shapes, state)
    if text is not None:
        onnx.helper.set_model_props(made, {KEY: text})
    onnx.checker.check_model(made, full_check=True)
    return write_bytes_atomically(path, made.SerializeToString(deterministic=True))


# ==== what is to be written ====


def _chain(layer: Layer, name: str = "") -> Iterator[tuple[str, Layer]]:
    """Go over the layers in their order, with their full names."""
    # A Sequential that computes something else than one layer after another would be written as what it is not.
    if isinstance(layer, Sequential) and type(layer)._infer in (Sequential._infer, LeNet5._infer):
        for inner in layer:
            yield from _chain(layer[inner], f"{name}.{inner}" if name else inner)
    elif type(layer) in _WRITERS:  # a derived class may compute something else
        yield name, layer
    else:
        kind = f"{type(layer).__module__}.{type(layer).__qualname__}"
        raise TypeError(
            f"export_onnx: got layer {name!r}, a {kind}; expected layers of xlenet's own, alone or in a Sequential; "
            "put it together from these, or export the layers before it and behind it as two models"
        )


def _input_shape(model: Layer, given: Any) -> Shape:
    given = model._input_shape() if given is None else given
    if not isinstance(given, tuple | list) or not given:
        raise TypeError(
            f"export_onnx: got input_shape {given!r}; expected the shape of one x, without the batch; pass (C, H, W), "
            "or (IN,) for a model that begins with a Linear"
        )
    return tuple(integer("export_onnx", "input_shape", size, 1) for size in given)


def _shapes(model: Layer, layers: list[tuple[str, Layer]], shape: Shape) -> list[Shape]:
    """Return the shape of what each layer takes, and of the result; the layers themselves say what they do not take."""
    array = next((array for _, array in model.named_parameters()), None)
    x = place(np.zeros((1, *shape), np.float32), default_backend()) if array is None else zeros((1, *shape), like=array)
    shapes = [shape]
    with on_device_of(x):
        model.infer(x)  # first the whole, which knows best
        for _, layer in layers:
            x = layer.infer(x)
            shapes.append(tuple(x.shape[1:]))
    return shapes


# ==== how it is written ====


class _Place(NamedTuple):
    """Where in the graph a layer stands.

    Attributes:
        helper: of the package onnx.
        name: the layer's full name.
        x, y: names of its input and its result.
        shape: of one x.
    """

    helper: Any
    name: str
    x: str
    y: str
    shape: Shape

    def node(self, operator: str, *parameters: str, **attributes: Any) -> list[Any]:
        """Return one node in a list; `parameters` are names in the layer's state_dict."""
        inputs = [self.x, *(f"{self.name}.{name}" if self.name else name for name in parameters)]
        return [self.helper.make_node(operator, inputs, [self.y], name=self.name or operator, **attributes)]


def _model(onnx: Any, layers: list[tuple[str, Layer]], shapes: list[Shape], state: dict[str, Any]) -> Any:
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    if any(array.dtype == np.float64 for array in state.values()):
        kind = onnx.TensorProto.DOUBLE
    x = helper.make_tensor_value_info(INPUT, kind, [BATCH, *shapes[0]])
    nodes: list[Any] = []
    value = INPUT
    for (name, layer), shape in zip(layers, shapes, strict=False):
        place = _Place(helper, name, value, f"{name}.y" if name else "y", shape)
        if written := _WRITERS[type(layer)](layer, place):
            value = place.y
            nodes += written
    if nodes:
        nodes[-1].output[0] = OUTPUT
    else:
        nodes = [helper.make_node("Identity", [INPUT], [OUTPUT], name="identity")]
    logits = helper.make_tensor_value_info(OUTPUT, kind, [BATCH, *shapes[-1]])
    arrays = [_tensor(onnx, name, array) for name, array in state.items()]
    graph = helper.make_graph(nodes, "xlenet", [x], [logits], arrays)
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="xlenet")


def _tensor(onnx: Any, name: str, array: Any) -> Any:
    kind = onnx.TensorProto.DOUBLE if array.dtype == np.float64 else onnx.TensorProto.FLOAT
    data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()  # in the file, whatever the machine
    return onnx.TensorProto(name=name, data_type=kind, dims=array.shape, raw_data=data)


def _windows(layer: Any, place: _Place, padding: Any = None, *, ceil_mode: int = 0) -> dict[str, Any]:
    windows = windows_of(layer, place.shape)
    (top, bottom), (left, right) = windows.padding if padding is None else padding
    attributes = {"kernel_shape": layer.kernel, "strides": layer.stride, "pads": [top, left, bottom, right]}
    dilations = {} if windows.dilation == (1, 1) else {"dilations": windows.dilation}
    return attributes | dilations | ({"ceil_mode": 1} if ceil_mode else {})


def _pool(layer: Any, place: _Place, counts_padding: bool = False) -> dict[str, Any]:
    """As `_windows`, for what may have ceil_mode. Whether a last window may begin in the padding at the end, opset 17
    leaves open: where one would, padding of its own says how many windows there are.
    """
    windows = windows_of(layer, place.shape)
    reach = [(n - 1) * s + e for n, s, e in zip(windows.out, windows.stride, windows.extent, strict=True)]
    room = [size + sum(ends) - r for size, ends, r in zip(windows.size, windows.padding, reach, strict=True)]
    if all(0 <= r < stride for r, stride in zip(room, windows.stride, strict=True)):
        return _windows(layer, place)
    if all(-stride < r <= 0 for r, stride in zip(room, windows.stride, strict=True)):
        return _windows(layer, place, ceil_mode=1)
    if counts_padding:
        raise ValueError(
            f"export_onnx: got layer {place.name!r}, {layer!r}, whose ceil_mode adds a window along one axis of "
            f"{windows.size} only; expected one along both or none, as ONNX of opset {OPSET} cannot say that and "
            "count padding; use ceil_mode=False and explicit padding"
        )
    padding = [(before, end + max(0, -r)) for (before, end), r in zip(windows.padding, room, strict=True)]
    return _windows(layer, place, padding)


def _conv(layer: Any, place: _Place) -> list[Any]:
    return place.node("Conv", *layer.params, group=layer.groups, **_windows(layer, place))


def _average(layer: Any, place: _Place) -> list[Any]:
    if windows_of(layer, place.shape).dilation != (1, 1):
        raise ValueError(
            f"export_onnx: got layer {place.name!r}, an AvgPool2D with dilation {layer.dilation}; expected 1, since "
            f"ONNX of opset {OPSET} has no other; use a larger kernel"
        )
    counts = layer.count_include_pad and windows_of(layer, place.shape).padding != ((0, 0), (0, 0))
    return place.node("AveragePool", count_include_pad=int(counts), **_pool(layer, place, counts))


def _batchnorm(layer: Any, place: _Place) -> list[Any]:
    arrays = ("weight", "bias", "running_mean", "running_var")
    return place.node("BatchNormalization", *arrays, epsilon=layer.eps, momentum=layer.decay)


def _reshape(layer: Any, place: _Place) -> list[Any]:
    target = f"{place.y}.shape"
    sizes = [0, *flat("Reshape", place.shape, layer.shape)]  # 0: as many as there are
    constant = place.helper.make_node("Constant", [], [target], name=target, value_ints=sizes)
    node = place.helper.make_node("Reshape", [place.x, target], [place.y], name=place.name or "Reshape")
    return [constant, node]


def _plain(operator: str, **renamed: str) -> Callable[[Any, _Place], list[Any]]:
    """Return a writer of one node, whose attributes are those of the layer."""
    return lambda layer, place: place.node(operator, **{to: getattr(layer, name) for to, name in renamed.items()})


_WRITERS: dict[type[Layer], Callable[[Any, _Place], list[Any]]] = {
    AvgPool2D: _average,
    BatchNorm: _batchnorm,
    Conv2D: _conv,
    Dropout: lambda layer, place: [],
    Flatten: _plain("Flatten"),
    GlobalAvgPool2D: _plain("GlobalAveragePool"),
    Linear: lambda layer, place: place.node("Gemm", *layer.params, transB=1),
    LogSoftmax: _plain("LogSoftmax", axis="axis"),
    MaxPool2D: lambda layer, place: place.node("MaxPool", **_pool(layer, place)),
    Permute: _plain("Transpose", perm="axes"),
    ReLU: _plain("Relu"),
    Reshape: _reshape,
    Sigmoid: _plain("Sigmoid"),
    Softmax: _plain("Softmax", axis="axis"),
    Tanh: _plain("Tanh"),
}
