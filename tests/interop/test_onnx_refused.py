"""What `import_onnx` refuses: by a DataError that names the node and what is the matter, and never in another way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from time import process_time
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.fuzzing.mutate import change_bytes, refused
from tests.interop.onnx_files import STYLES, Graph
from xlenet import LeNet5
from xlenet.errors import DataError
from xlenet.interop import export_onnx, import_onnx

F = np.float32
ONES = np.ones((3, 3), F)
AROUND, SIZES = np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.array([2**31])
Make = Callable[[Graph], Any]


def graph(onnx: ModuleType, opset: int = 17, shape: Any = ("N", 3)) -> Graph:
    return Graph(onnx, opset, list(shape))


def branch(g: Graph) -> None:
    first = g.node("Relu", name="one")
    g.node("Tanh", "image", name="two", first=False)
    g.node("Add", first, name="sum")


def later(g: Graph) -> None:
    g.node("Relu", name="one")
    g.node("Tanh", "nowhere", name="two", first=False)


def twice(g: Graph) -> None:
    g.node("Relu")
    g.node("Add", g.value, name="sum")


def mask(g: Graph) -> None:
    g.node("Dropout", out=2)
    g.node("Relu", "value0_1", name="of the mask", first=False)


def padded(operator: str, **attributes: Any) -> Make:
    """One node behind zeros around images."""

    def add(g: Graph) -> None:
        g.node("Pad", g.constant(AROUND))
        g.node(operator, name="the node", **attributes)

    return add


def with_the_batch(g: Graph) -> None:
    shape = g.aside("Shape", g.value)
    g.node("Reshape", g.aside("Mul", shape, g.constant(np.array([2])), name="the node"))


def of_32_bits(g: Graph) -> None:
    g.node("Reshape", g.aside("Cast", g.aside("Shape", g.value), name="the node", to=6))


def bias_of_columns(g: Graph) -> None:
    """As many columns as channels: (3,) is a number for each column all the same."""
    g.node("Conv", g.weight(3, 2, 1, 4))
    g.node("Add", g.constant(np.ones(3, F)), name="the node")


def of(operator: str, *arrays: Any, **attributes: Any) -> Make:
    """One node of the chain, with constants behind x."""

    def add(g: Graph) -> None:
        g.node(operator, *("" if a is None else g.constant(a) for a in arrays), name="the node", **attributes)

    return add


def constants(operator: str, *arrays: Any, **attributes: Any) -> Make:
    """One node of constants, whose result is used."""

    def add(g: Graph) -> None:
        g.node("Add", g.aside(operator, *(g.constant(a) for a in arrays), name="the node", **attributes))

    return add


IMAGE = ("N", 2, 6, 6)
NODES: dict[str, tuple[Make, Any, int, str]] = {
    # name: what is added, shape of x, opset, what is said
    "an operator there is no layer for": (of("Gelu"), ("N", 3), 20, r"'Gelu', node 'the node': there is no layer for"),
    "an operator of somebody's own": (of("Relu", domain="com.me"), ("N", 3), 17, r"the operator is of 'com\.me'"),
    "a branch": (branch, ("N", 3), 17, r"'Tanh', node 'two': it takes 'image', which is not the result of the node before"),
    "a value from nowhere": (later, ("N", 3), 17, r"node 'two': it takes 'nowhere'"),
    "the same value twice": (twice, ("N", 3), 17, r"'Add', node 'sum': it takes the same value twice"),
    "a second output that is used": (mask, ("N", 3), 17, r"node 'of the mask': it takes 'value0_1'"),
    "an unknown attribute": (of("Relu", alpha=0.5), ("N", 3), 17, r"'Relu', node 'the node': attribute 'alpha' is unknown"),
    "an attribute of another type": (of("Softmax", axis=1.0), ("N", 3), 17, r"attribute axis is of type 1, not 2"),
    "a conv of one dimension": (of("Conv", np.ones((2, 3, 1), F)), ("N", 3, 8), 17, r"a convolution of 1 dimensions"),
    "a conv of another kernel_shape": (
        of("Conv", np.ones((2, 2, 3, 3), F), kernel_shape=[3, 2]), IMAGE, 17, r"kernel_shape is another one .*\(3, 3\)",
    ),
    "a conv for other channels": (of("Conv", np.ones((2, 3, 1, 1), F)), IMAGE, 17, r"got x of \(2, 6, 6\).*\(3, H, W\)"),
    "a conv of groups that do not divide": (of("Conv", np.ones((3, 1, 1, 1), F), group=2), IMAGE, 17, r"groups"),
    "a conv of no groups": (of("Conv", np.ones((3, 1, 1, 1), F), group=0), IMAGE, 17, r"Conv: got groups 0; expected at least 1"),
    "a bias of another length": (of("Conv", np.ones((3, 2, 1, 1), F), np.ones(2, F)), IMAGE, 17, r"bias of shape \(2,\)"),
    "negative pads": (of("Conv", np.ones((3, 2, 1, 1), F), pads=[-1, 0, 0, 0]), IMAGE, 17, r"-1"),
    "two pads": (of("Conv", np.ones((3, 2, 1, 1), F), pads=[1, 1]), IMAGE, 17, r"attribute pads has 2 numbers, not 4"),
    "no stride": (of("Conv", np.ones((3, 2, 1, 1), F), strides=[0, 1]), IMAGE, 17, r"stride"),
    "auto_pad and pads": (
        of("Conv", np.ones((3, 2, 3, 3), F), pads=[1, 1, 1, 1], auto_pad="SAME_UPPER"), IMAGE, 17,
        r"auto_pad 'SAME_UPPER' and pads \(1, 1, 1, 1\)",
    ),
    "auto_pad of another name": (of("MaxPool", kernel_shape=[2, 2], auto_pad="SAME"), IMAGE, 17, r"auto_pad is 'SAME'"),
    "a padding of gigabytes": (of("Conv", np.ones((3, 2, 1, 1), F), pads=[2**33, 0, 0, 0], strides=[2**16, 1]), IMAGE, 17, r"which no small network has"),
    "a stride beyond all pixels": (of("Conv", np.ones((3, 2, 1, 1), F), strides=[2**53, 1]), IMAGE, 17, r"which no network has"),
    "a window of a million pixels": (of("MaxPool", kernel_shape=[1000, 1000], auto_pad="SAME_UPPER"), IMAGE, 17, r"which no network has"),
    "windows of gigabytes": (
        of("Conv", np.ones((1, 2, 200, 200), F), auto_pad="SAME_UPPER"), ("N", 2, 99, 99), 17, r"in windows, which no small",
    ),
    "a picture of a gibibyte": (
        of("Conv", np.ones((64, 1, 1, 1), F), pads=[900] * 4), ("N", 1, 28, 28), 17, r"numbers (for each x|of an x)",  # as tests.fuzz may have set the bound
    ),
    "a result of gigabytes": (of("Conv", np.ones((300_000, 2, 1, 1), F), pads=[30, 30, 30, 30]), IMAGE, 17, r"numbers for each x, more than"),
    "an alpha that is not finite": (of("Gemm", ONES, alpha=float("inf")), ("N", 3), 17, r"attribute alpha is inf"),
    "an alpha that makes weights so": (of("Gemm", 9 * ONES, alpha=3e38), ("N", 3), 17, r"finite"),
    "a kernel that does not fit": (of("MaxPool", kernel_shape=[9, 2]), IMAGE, 17, r"got kernel \(9, 2\) over an image"),
    "a pooling without kernel": (of("MaxPool"), IMAGE, 17, r"attribute kernel_shape has 0 numbers"),
    "a pooling of one dimension": (of("MaxPool", kernel_shape=[2]), ("N", 3, 8), 17, r"pooling of 1 dimensions"),
    "a gemm of the transposed x": (of("Gemm", ONES, transA=1), ("N", 3), 17, r"'Gemm', node 'the node': transA"),
    "a bias for each image": (of("Gemm", ONES, np.ones((2, 3), F)), ("N", 3), 17, r"a bias of shape \(2, 3\)"),
    "a matmul of images": (of("MatMul", np.ones((6, 6), F)), IMAGE, 17, r"a product of arrays of 4 and 2 axes"),
    "a matmul of another size": (of("MatMul", np.ones((4, 3), F)), ("N", 3), 17, r"got x of \(3,\) each; expected \(4,\)"),
    "an addition of its own": (of("Add", np.ones(3, F)), ("N", 3), 17, r"'Add', node 'the node': a constant of shape \(3,\)"),
    "a bias for each column": (bias_of_columns, IMAGE, 17, r"'Add', node 'the node': a constant of shape \(3,\) that is no bias"),
    "numbers of another type": (of("MatMul", np.ones((3, 3))), ("N", 3), 17, r"float64 numbers beside float32 ones"),
    "whole numbers as weights": (of("MatMul", np.ones((3, 3), np.int64)), ("N", 3), 17, r"int64 numbers beside"),
    "weights that are not finite": (of("MatMul", np.full((3, 3), np.nan, F)), ("N", 3), 17, r"not finite|finite"),
    "statistics of batches": (
        of("BatchNormalization", *[np.ones(3, F)] * 4, training_mode=1), ("N", 3), 17, r"training_mode=1",
    ),
    "batchnorm of each pixel": (of("BatchNormalization", *[np.ones(3, F)] * 4, spatial=0), ("N", 3), 7, r"spatial=0"),
    "a negative variance": (
        of("BatchNormalization", *[np.ones(3, F)] * 3, -np.ones(3, F)), ("N", 3), 17, r"must not be negative",
    ),
    "a batchnorm without variance": (of("BatchNormalization", *[np.ones(3, F)] * 3), ("N", 3), 17, r"3 inputs behind"),
    "a reshape of the batch": (of("Reshape", np.array([-1])), IMAGE, 17, r"to shape \[-1\], which mixes the images"),
    "a reshape into more images": (of("Reshape", np.array([-1, 9])), IMAGE, 17, r"\(9,\) for \(2, 6, 6\); expected 72"),
    "a reshape of a batch that is open": (of("Reshape", np.array([2, -1])), IMAGE, 17, r"a batch of any size"),
    "a reshape that copies too much": (of("Reshape", np.array([0, 0, 0, 0, 0])), IMAGE, 17, r"to shape \[0, 0, 0, 0, 0\]"),
    "a reshape to nothing": (of("Reshape", np.array([0, -1]), allowzero=1), IMAGE, 17, r"allowzero"),
    "a reshape by numbers": (of("Reshape", np.ones(2, F)), IMAGE, 17, r"vector of whole numbers"),
    "a flatten of the batch": (of("Flatten", axis=0), IMAGE, 17, r"'Flatten', node 'the node': at axis 0, which mixes"),
    "a flatten of channels": (of("Flatten", axis=2), IMAGE, 17, r"at axis 2, which mixes"),
    "a flatten at axis 9": (of("Flatten", axis=9), IMAGE, 17, r"axis 9 of 4"),
    "a transpose of the batch": (of("Transpose"), IMAGE, 17, r"by \(3, 2, 1, 0\); the batch stays the first of 4 axes"),
    "a transpose of an axis twice": (of("Transpose", perm=[0, 1, 1, 2]), IMAGE, 17, r"by \(0, 1, 1, 2\)"),
    "a squeeze of all": (of("Squeeze"), IMAGE, 17, r"of all axes, the batch among them"),
    "a squeeze of the batch": (of("Squeeze", np.array([0])), IMAGE, 17, r"of axes \[0\]"),
    "a softmax over the batch": (of("Softmax", axis=0), IMAGE, 17, r"'Softmax', node 'the node': over the batch"),
    "a dropout in training": (of("Dropout", F(0.5), np.array(True)), ("N", 3), 17, r"training_mode"),
    "a dropout of more than everything": (of("Dropout", F(1.5)), ("N", 3), 17, r"got p 1\.5"),
    "a dropout of two ratios": (of("Dropout", F([0.5, 0.1])), ("N", 3), 17, r"2 ratios"),
    "a cast to whole numbers": (of("Cast", to=7), ("N", 3), 17, r"of float32 to another type"),
    "a mean of some axes": (of("ReduceMean", axes=[1]), IMAGE, 17, r"over axes \[1\]; what there is, is the mean"),
    "padding by itself": (of("Pad", AROUND), IMAGE, 17, r"'Pad', node 'the node': there is no Conv or AveragePool behind"),
    "padding by ones": (of("Pad", AROUND, F(1)), IMAGE, 17, r"only zeros around images are taken"),
    "padding by ones of an attribute": (of("Pad", pads=list(AROUND), value=1.0), IMAGE, 9, r"only zeros around images"),
    "padding by a mirror": (of("Pad", AROUND, mode="reflect"), IMAGE, 17, r"only zeros around images are taken"),
    "padding of channels": (of("Pad", np.array([0, 1, 0, 0, 0, 0, 0, 0])), IMAGE, 17, r"only zeros around images"),
    "padding of features": (of("Pad", np.array([0, 1, 0, 0])), ("N", 3), 17, r"'Pad', node 'the node': "),
    "padding that cuts": (of("Pad", -AROUND), IMAGE, 17, r"by \[0, 0, -1, -1, 0, 0, \.\.\.\]; only zeros"),
    "padding in front of a maximum": (padded("MaxPool", kernel_shape=[2, 2]), IMAGE, 17, r"'MaxPool', node 'the node': it is behind a Pad"),
    "padding in front of a ReLU": (padded("Relu"), IMAGE, 17, r"'Relu', node 'the node': it is behind a Pad"),
    "padding in front of a mean with ceil_mode": (
        padded("AveragePool", kernel_shape=[2, 2], ceil_mode=1), IMAGE, 17, r"behind a Pad, with ceil_mode",
    ),
    "padding that counts and padding that does not": (
        padded("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), IMAGE, 17, r"padding of its own that does not count",
    ),
    "a size made with the batch": (with_the_batch, IMAGE, 17, r"'Mul', node 'the node': of more than whole numbers of 32 bits"),
    "the batch as 32 bits": (of_32_bits, IMAGE, 17, r"'Cast', node 'the node': of the size of a batch to INT32"),
    "an activation with a constant": (of("Relu", ONES), ("N", 3), 17, r"1 inputs behind the first one"),
    "sums of weights": (constants("Add", ONES[0], ONES), ("N", 3), 17, r"'Add', node 'the node': of more than whole numbers"),
    "sums that are too large": (constants("Mul", SIZES, SIZES), ("N", 3), 17, r"'Mul', node 'the node': of more than whole"),
    "sizes that wrap": (constants("Add", SIZES, np.array([-(2**63)])), ("N", 3), 17, r"'Add', node 'the node': of more than whole"),
    "a size divided by 0": (constants("Div", SIZES, np.array([0])), ("N", 3), 17, r"'Div', node 'the node': a size below 0, or"),
    "the sine of constants": (constants("Sin", ONES), ("N", 3), 17, r"'Sin', node 'the node': its inputs are all constants"),
    "a constant of a hundred numbers": (constants("ConstantOfShape", np.array([10, 10])), ("N", 3), 17, r"more than 64 numbers"),
    "a constant of -1 numbers": (constants("ConstantOfShape", np.array([-1])), ("N", 3), 17, r"of shape \[-1\]"),
    "a slice by no steps": (
        constants("Slice", SIZES, *map(np.array, ([0], [1], [0], [0]))), ("N", 3), 17, r"'Slice', node 'the node': slice step",
    ),
    "weights put together": (constants("Concat", np.ones(99, F), np.ones(9, F), axis=0), ("N", 3), 17, r"more than 64 numbers"),
    "a constant of text": (constants("Constant", value_string="a"), ("N", 3), 17, r"it holds no tensor of numbers"),
    "a constant reshaped wrongly": (constants("Reshape", ONES, np.array([2, 2])), ("N", 3), 17, r"'Reshape', node"),
    "a cast to text": (constants("Cast", ONES, to=8), ("N", 3), 17, r"to STRING"),
}  # fmt: skip


@pytest.mark.parametrize("case", NODES)
def test_a_node_that_is_not_understood_is_named(tmp_path: Path, onnx: ModuleType, case: str) -> None:
    add, shape, opset, says = NODES[case]
    g = graph(onnx, opset, shape)
    add(g)
    with pytest.raises(DataError, match=rf"import_onnx: got .*m\.onnx'.*{says}") as caught:
        import_onnx(g.save(tmp_path / "m.onnx"))
    assert "expected a chain of Add, AveragePool" in str(caught.value)
    refused(caught.value, sound=False, path=tmp_path)


# ==== the file as a whole ====


def two_inputs(onnx: ModuleType, file: Any) -> None:
    file.graph.input.append(onnx.helper.make_tensor_value_info("more", 1, ["N", 3]))


def two_outputs(onnx: ModuleType, file: Any) -> None:
    file.graph.output.append(onnx.helper.make_tensor_value_info("image", 1, ["N", 3]))


def half_floats(onnx: ModuleType, file: Any) -> None:
    file.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.ones((3, 3), np.float16), "constant0"))


def brain_floats(onnx: ModuleType, file: Any) -> None:
    file.graph.initializer[0].CopyFrom(onnx.TensorProto(name="w", data_type=16, dims=[3, 3], raw_data=bytes(18)))


def elsewhere(onnx: ModuleType, file: Any) -> None:
    tensor = file.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    tensor.ClearField("raw_data")


def sparse(onnx: ModuleType, file: Any) -> None:
    file.graph.sparse_initializer.add()


def dims(*sizes: int) -> Callable[[ModuleType, Any], None]:
    def change(onnx: ModuleType, file: Any) -> None:
        file.graph.initializer[0].dims[:] = sizes

    return change


def opsets(*versions: tuple[str, int]) -> Callable[[ModuleType, Any], None]:
    def change(onnx: ModuleType, file: Any) -> None:
        del file.opset_import[:]
        file.opset_import.extend(onnx.helper.make_opsetid(*version) for version in versions)

    return change


def takes(kind: int, *shape: Any) -> Callable[[ModuleType, Any], None]:
    def change(onnx: ModuleType, file: Any) -> None:
        file.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("image", kind, list(shape)))

    return change


def about(text: str) -> Callable[[ModuleType, Any], None]:
    def change(onnx: ModuleType, file: Any) -> None:
        file.metadata_props.add(key="xlenet", value=text)

    return change


def thousands(onnx: ModuleType, file: Any) -> None:
    for _ in range(5_001):
        file.graph.node.add()


def the_same_weight_often(onnx: ModuleType, file: Any) -> None:
    """A file of 3 MB in the memory of 300."""
    file.graph.output[0].name = "more99"
    file.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.ones((900, 900), F), "constant0"))
    takes(1, "N", 900)(onnx, file)
    for number in range(100):
        value = "value0_0" if not number else f"more{number - 1}"
        file.graph.node.append(onnx.helper.make_node("MatMul", [value, "constant0"], [f"more{number}"]))


FILES: dict[str, tuple[Callable[[ModuleType, Any], None], str]] = {
    "two inputs": (two_inputs, r"it takes 2 inputs, not one"),
    "two outputs": (two_outputs, r"the outputs are \['value0_0', 'image'\], and the chain ends with 'value0_0'"),
    "half floats": (half_floats, r"tensor 'constant0' is FLOAT16, not FLOAT or DOUBLE"),
    "brain floats": (brain_floats, r"tensor 'w' is BFLOAT16"),
    "numbers in another file": (
        elsewhere,
        r"tensor 'constant0' lies in another file; put all into one with onnx\.save",
    ),
    "sparse tensors": (sparse, r"it holds sparse tensors"),
    "more numbers than there are": (dims(3, 4), r"tensor 'constant0' has shape \(3, 4\) and 9 numbers"),
    "a size below 0": (dims(-3, -3), r"has shape \(-3, -3\)"),
    "a size of 4 EiB": (dims(2**31, 2**31), r"has shape \(2147483648, 2147483648\) and 9 numbers"),
    "sizes whose product wraps": (dims(2**32, 2**32, 9), r"and 9 numbers"),
    "20 axes": (dims(*[1] * 19, 9), r"has shape \(1, 1, 1"),
    "nothing, hugely": (dims(0, 2**62, 2**62), r"and 9 numbers"),
    "opset 6": (opsets(("", 6)), r"operators of version \[6\], not one from 7 to 22"),
    "opset 23": (opsets(("", 23)), r"version \[23\]"),
    "no opset": (opsets(), r"version \[\]"),
    "two opsets": (opsets(("", 13), ("ai.onnx", 14)), r"version \[13, 14\]"),
    "x of half floats": (takes(10, "N", 3), r"it takes FLOAT16, not FLOAT or DOUBLE"),
    "x of no axes": (takes(1), r"it takes x of 0 axes"),
    "x without batch": (takes(1, 3), r"it takes x of 1 axes"),
    "x of open sizes": (takes(1, "N", "width"), r"it leaves the sizes of x open, \[None\]; pass input_shape"),
    "x of 2**60 numbers": (takes(1, "N", 2**60), r"leaves the sizes of x open"),
    "about a list": (about("[1]"), r"\[1\] about the model"),
    "about no JSON": (about("{"), r"\(Expecting property name"),
    "five thousand nodes": (thousands, r"5,002 nodes, more than 5,000"),
    "a weight a hundred times": (the_same_weight_often, r"the weights, unpacked, are larger than max_bytes"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_not_understood_is_told(tmp_path: Path, onnx: ModuleType, case: str) -> None:
    change, says = FILES[case]
    g = graph(onnx)
    g.node("MatMul", g.constant(ONES))
    file = g.file()
    change(onnx, file)
    (tmp_path / "m.onnx").write_bytes(file.SerializeToString())
    with pytest.raises(DataError, match=rf"import_onnx: got .*m\.onnx'.*{says}") as caught:
        import_onnx(tmp_path / "m.onnx")
    refused(caught.value, sound=False, path=tmp_path)


@pytest.mark.parametrize(
    ("shape", "says"), [((4,), r"x of \[3\] each, and input_shape is \(4,\)"), ((3, 1), r"and input_shape is \(3, 1\)")]
)
def test_an_input_shape_that_is_not_the_files(tmp_path: Path, onnx: ModuleType, shape: Any, says: str) -> None:
    g = graph(onnx)
    g.node("Relu")
    with pytest.raises(DataError, match=says):
        import_onnx(g.save(tmp_path / "m.onnx"), shape)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x08", b"PK\x03\x04", b"\xff" * 100, b"\x0a" * 5000, bytes(1000)],
    ids=["nothing", "one byte", "a zip's beginning", "ones", "fields without an end", "zeros"],
)
def test_bytes_that_are_no_onnx_file(tmp_path: Path, onnx: ModuleType, data: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(DataError, match=r"import_onnx: got .*m\.onnx'"):
        import_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "unit",
    [b"\x0a\x00", b"\x2a\x00", b"\x5a\x00", b"\x0a\x04\x0a\x00\x0a\x00"],
    ids=["nodes", "tensors", "inputs", "nodes of two"],
)
def test_a_file_of_next_to_nothing_many_times_is_refused_before_it_is_unpacked(
    tmp_path: Path, onnx: ModuleType, unit: bytes
) -> None:
    """Nodes, tensors or inputs of nothing: a megabyte in the file, a hundred in memory."""
    body = unit * (3_000_000 // len(unit))
    size = bytes(
        [len(body) & 0x7F | 0x80, len(body) >> 7 & 0x7F | 0x80, len(body) >> 14 & 0x7F | 0x80, len(body) >> 21]
    )
    (tmp_path / "m.onnx").write_bytes(b"\x08\x07\x42\x02\x10\x0d\x3a" + size + body)
    with pytest.raises(DataError, match=r"more than 1,048,576 bytes besides numbers.*expected an ONNX file"):
        import_onnx(tmp_path / "m.onnx")


def test_numbers_may_be_more_than_the_rest(tmp_path: Path, onnx: ModuleType) -> None:
    """Two megabytes of them as bytes, in an initialiser or in a Constant, or each as a float of its own."""
    wide = np.ones((3, 200_000), F)
    for number in range(3):
        g = graph(onnx)
        if number == 0:
            name = g.constant(wide)
        elif number == 1:
            name = g.aside("Constant", value=onnx.numpy_helper.from_array(wide))
        else:
            g.initializers.append(onnx.helper.make_tensor(name := "wide", 1, wide.shape, wide.ravel()))
        g.node("MatMul", name)
        assert import_onnx(g.save(tmp_path / "m.onnx"))["matmul"].size == wide.size


def test_a_bias_that_is_added_a_thousand_times_is_paid_for_each_time(tmp_path: Path, onnx: ModuleType) -> None:
    """The layer is made once, at the end; before, each of them copied its weight, 25 s in a file of 10 MB."""
    g = graph(onnx, shape=("N", 1, 5, 5))
    g.node("Conv", g.constant(np.zeros((100_000, 1, 5, 5), F)))
    bias = g.constant(np.zeros((100_000, 1, 1), F))
    for _ in range(4_900):
        g.node("Add", bias)
    path = g.save(tmp_path / "m.onnx")
    start = process_time()
    with pytest.raises(DataError, match=r"'Add', node number 143: the weights, unpacked, are larger than max_bytes"):
        import_onnx(path)
    assert process_time() - start < 2.5


def test_a_weight_that_nobody_has_room_for_is_not_made(tmp_path: Path, onnx: ModuleType) -> None:
    g = graph(onnx, shape=("N", 1000))
    weight = g.constant(np.zeros((1000, 1000), F))
    for _ in range(1000):
        g.node("MatMul", weight)
    path = g.save(tmp_path / "m.onnx")
    start = process_time()
    with pytest.raises(DataError, match=r"'MatMul', node number 16: the weights, unpacked, are larger"):
        import_onnx(path)
    assert process_time() - start < 0.5


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, onnx: ModuleType) -> None:
    path = export_onnx(LeNet5(rng=0), tmp_path / "m.onnx")
    with pytest.raises(DataError, match=r"more than 1,000 bytes"):
        import_onnx(path, max_bytes=1000)


def test_names_for_the_terminal_and_long_ones_are_shown_harmlessly(tmp_path: Path, onnx: ModuleType) -> None:
    for name in ("\x1b[2J", "n" * 10_000, "\u202e"):
        g = graph(onnx)
        g.node(name, name=name)
        with pytest.raises(DataError, match="no layer for this operator") as caught:
            import_onnx(g.save(tmp_path / "m.onnx"))
        refused(caught.value, sound=False, path=tmp_path)


@pytest.mark.parametrize("style", STYLES)
def test_changed_bytes_are_refused_in_words_or_read(tmp_path: Path, onnx: ModuleType, style: str) -> None:
    """More of them, with a look at time and memory, are drawn by `python -m tests.fuzz --only onnx`."""
    sound, rng, errors = STYLES[style](onnx, 17).file().SerializeToString(), Random(style), 0
    for _ in range(150):
        (tmp_path / "m.onnx").write_bytes(change_bytes(rng, sound, rng.choice((1, 1, 2, 5))))
        try:
            import_onnx(tmp_path / "m.onnx")
        except DataError as error:
            errors += 1
            refused(error, sound=False, path=tmp_path)
    assert errors > 20
