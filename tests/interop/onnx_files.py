"""ONNX files in miniature, written as other programs write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

FLOAT, DOUBLE, INT64, BOOL = 1, 11, 7, 9  # TensorProto.DataType


class Graph:
    """A graph that is put together node by node: each takes what came out of the one before, unless told otherwise.

    Args:
        onnx: the package.
        opset: version of the operators.
        shape: of the input, with the batch.
        seed: of the weights.
        dtype: of the weights.
    """

    def __init__(self, onnx: Any, opset: int, shape: list[Any], *, seed: int = 0, dtype: str = "float32") -> None:
        self.onnx, self.opset, self.dtype = onnx, opset, dtype
        self.kind = FLOAT if dtype == "float32" else DOUBLE
        self.rng = np.random.default_rng(seed)
        self.inputs = [onnx.helper.make_tensor_value_info("image", self.kind, shape)]
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.value, self.rank = "image", 2  # of the result

    def weight(self, *shape: int, name: str = "", low: float = -0.5, high: float = 0.5) -> str:
        """Add random weights."""
        return self.constant(self.rng.uniform(low, high, shape).astype(self.dtype), name)

    def constant(self, array: Any, name: str = "") -> str:
        """Add an initialiser."""
        name = name or f"constant{len(self.initializers)}"
        self.initializers.append(self.onnx.numpy_helper.from_array(np.array(array), name))
        return name

    def node(
        self, operator: str, *inputs: str, name: str = "", first: bool = True, out: int = 1, **attributes: Any
    ) -> str:
        """Add a node of the chain."""
        outputs = [f"value{len(self.nodes)}_{k}" for k in range(out)]
        given = [self.value, *inputs] if first else list(inputs)
        self.nodes.append(self.onnx.helper.make_node(operator, given, outputs, name=name, **attributes))
        self.value = outputs[0]
        return self.value

    def aside(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node beside the chain."""
        value = self.value
        made = self.node(operator, *inputs, first=False, **attributes)
        self.value = value
        return made

    def file(self, *, ir: int = 7, weights_are_inputs: bool = False, outputs: tuple[str, ...] = ()) -> Any:
        """The whole model."""
        helper = self.onnx.helper
        inputs = list(self.inputs)
        if weights_are_inputs:  # before IR version 4 all initialisers had to be
            inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.initializers]
        ends = [helper.make_tensor_value_info(name, self.kind, self.rank * [None]) for name in outputs or (self.value,)]
        graph = helper.make_graph(self.nodes, "graph", inputs, ends, self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=ir)

    def save(self, path: Path, **options: Any) -> Path:
        """Write the whole model."""
        path.write_bytes(self.file(**options).SerializeToString())
        return path

    def dropout(self, ratio: float = 0.4, **options: Any) -> None:
        """Dropout, whose ratio is an attribute up to opset 11."""
        if self.opset < 12:
            self.node("Dropout", ratio=ratio, **options)
        else:
            self.node("Dropout", self.constant(np.float32(ratio)), **options)


def cntk(onnx: Any, opset: int, **options: Any) -> Graph:
    """As MNIST of the model zoo (CNTK): one image at a time, biases (C, 1, 1) that are added, and a matrix that is kept
    as four axes and reshaped in the graph.
    """
    g = Graph(onnx, opset, [1, 1, 12, 12], **options)
    flat = g.constant(np.array([18, 5]), "Parameter193_reshape1_shape")
    matrix = g.aside("Reshape", g.weight(2, 3, 3, 5, name="Parameter193"), flat, name="Times212_reshape1")
    square = {"dilations": [1, 1], "group": 1}
    g.node(
        "Conv", g.weight(4, 1, 5, 5, name="Parameter5"), name="Convolution28",
        kernel_shape=[5, 5], strides=[1, 1], auto_pad="SAME_UPPER", **square,
    )  # fmt: skip
    g.node("Add", g.weight(4, 1, 1, name="Parameter6"), name="Plus30")
    g.node("Relu", name="ReLU32")
    g.node("MaxPool", name="Pooling66", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], auto_pad="NOTSET")
    g.node(
        "Conv", g.weight(2, 4, 4, 4, name="Parameter87"), name="Convolution110",
        kernel_shape=[4, 4], strides=[1, 1], auto_pad="SAME_UPPER", **square,
    )  # fmt: skip
    g.node("Add", g.weight(2, 1, 1, name="Parameter88"), name="Plus112")
    g.node("Relu", name="ReLU114")
    g.node("MaxPool", name="Pooling160", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], auto_pad="NOTSET")
    g.node("Reshape", g.constant(np.array([1, 18]), "Pooling160_Output_0_reshape0_shape"), name="Times212_reshape0")
    g.node("MatMul", matrix, name="Times212")
    g.node("Add", g.weight(1, 5, name="Parameter194"), name="Plus214")
    return g


def keras(onnx: Any, opset: int, **options: Any) -> Graph:
    """As tf2onnx writes a Keras model: channels last outside, first inside; any number of images."""
    at = "StatefulPartitionedCall/sequential"
    g = Graph(onnx, opset, ["unk__1", 9, 8, 3], **options)
    g.node("Transpose", name=f"{at}/conv2d/BiasAdd__6", perm=[0, 3, 1, 2])
    g.node("Conv", g.weight(4, 3, 3, 3), name=f"{at}/conv2d/BiasAdd", auto_pad="SAME_UPPER", strides=[2, 2])
    g.node("Add", g.weight(1, 4, 1, 1), name=f"{at}/conv2d/BiasAdd_add")
    g.node("Relu", name=f"{at}/conv2d/Relu")
    g.node("MaxPool", name=f"{at}/max_pooling2d/MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="VALID")
    g.node("Transpose", name=f"{at}/max_pooling2d/MaxPool__10", perm=[0, 2, 3, 1])
    g.node("Reshape", g.constant(np.array([-1, 16]), "const_fold_opt__22"), name=f"{at}/flatten/Reshape")
    g.node("MatMul", g.weight(16, 6), name=f"{at}/dense/MatMul")
    g.node("Add", g.weight(6), name=f"{at}/dense/BiasAdd")
    g.node("Tanh", name=f"{at}/dense/Tanh")
    g.node("MatMul", g.weight(6, 4), name=f"{at}/dense_1/MatMul")
    g.node("Add", g.weight(4), name=f"{at}/dense_1/BiasAdd")
    g.node("Softmax", name=f"{at}/dense_1/Softmax", **({} if opset < 13 else {"axis": -1}))
    return g


def keras_bias_outside(onnx: Any, opset: int, **options: Any) -> Graph:
    """The same with the bias added where channels are last, and transposes that lead there and back."""
    g = Graph(onnx, opset, ["N", 6, 5, 2], **options)
    g.rank = 4
    there, back = {"perm": [0, 3, 1, 2]}, {"perm": [0, 2, 3, 1]}
    g.node("Transpose", **there)
    g.node("Conv", g.weight(3, 2, 2, 2), auto_pad="SAME_LOWER", strides=[2, 1])
    g.node("Transpose", **back)
    g.node("Add", g.weight(3))
    g.node("Sigmoid")
    g.node("Transpose", **there)
    g.node("Transpose", **back)
    g.node("Transpose", **there)
    g.node("AveragePool", kernel_shape=[2, 3], strides=[1, 2], auto_pad="SAME_UPPER")
    g.node("Transpose", **back)
    return g


def pytorch(onnx: Any, opset: int, **options: Any) -> Graph:
    """As PyTorch's first exporter: weights with the names of the modules, and a view by the size of the batch."""
    g = Graph(onnx, opset, ["batch", 2, 11, 9], **options)
    g.node(
        "Conv", g.weight(4, 1, 3, 3, name="conv1.weight"), g.weight(4, name="conv1.bias"), name="/conv1/Conv",
        dilations=[1, 2], group=2, kernel_shape=[3, 3], pads=[1, 0, 2, 1], strides=[2, 1],
    )  # fmt: skip
    g.node(
        "BatchNormalization", g.weight(4, name="bn1.weight"), g.weight(4, name="bn1.bias"),
        g.weight(4, name="bn1.running_mean"), g.weight(4, name="bn1.running_var", low=0.5, high=2.0),
        name="/bn1/BatchNormalization", epsilon=1e-3, momentum=0.8,
    )  # fmt: skip
    g.node("Relu", name="/Relu")
    g.node("MaxPool", name="/MaxPool", kernel_shape=[3, 2], pads=[1, 0, 1, 0], strides=[2, 2], **_ceil(opset))
    g.node("AveragePool", name="/pool/AveragePool", kernel_shape=[2, 2], pads=[1, 0, 0, 1], count_include_pad=1)
    g.dropout(name="/drop/Dropout")
    shape = g.aside("Shape", g.value, name="/Shape")
    size = g.aside("Gather", shape, g.aside("Constant", value=onnx.numpy_helper.from_array(np.array(0))), axis=0)
    rest = g.aside("Constant", value=onnx.numpy_helper.from_array(np.array([-1])))
    g.node("Reshape", g.aside("Concat", unsqueezed(g, size), rest, axis=0), name="/Reshape")
    weight, bias = g.weight(7, 48 if opset >= 10 else 36, name="fc1.weight"), g.weight(7, name="fc1.bias")
    g.node("Gemm", weight, bias, name="/fc1/Gemm", alpha=1.0, beta=1.0, transB=1)
    g.node("Sigmoid", name="/Sigmoid")
    g.node("Identity", name="/Identity")
    g.node("Gemm", g.weight(7, 4), g.weight(1, 4), name="/fc2/Gemm", alpha=0.5, beta=2.0)
    g.node("LogSoftmax", name="/LogSoftmax", axis=1)
    return g


def pooled(onnx: Any, opset: int, **options: Any) -> Graph:
    """A global mean in front of the classes, and a dropout whose mask nobody uses."""
    g = Graph(onnx, opset, ["N", 2, 5, 6], **options)
    g.node("MaxPool", kernel_shape=[2, 2], auto_pad="SAME_LOWER", strides=[2, 1])
    g.node("Conv", g.weight(3, 2, 1, 1), g.weight(3), kernel_shape=[1, 1])
    g.node("GlobalAveragePool")
    g.node("Flatten", **({"axis": -3} if opset >= 11 else {}))
    g.dropout(out=2)
    g.node("MatMul", g.aside("Transpose", g.weight(4, 3, name="fc.weight"), perm=[1, 0]))
    return g


STYLES = {style.__name__: style for style in (cntk, keras, keras_bias_outside, pytorch, pooled)}


def _ceil(opset: int) -> dict[str, int]:
    return {"ceil_mode": 1} if opset >= 10 else {}


def unsqueezed(g: Graph, value: str) -> str:
    if g.opset < 13:
        return g.aside("Unsqueeze", value, axes=[0])
    return g.aside("Unsqueeze", value, g.constant(np.array([0])))
