"""What `import_onnx` makes of files in the style of other programs, against those who run such files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.interop.networks import draw
from tests.interop.onnx_files import STYLES, Graph, unsqueezed
from tests.libraries import Lib, open_partner
from tests.networks import on
from xlenet import Adam, BatchNorm, Dropout, LeNet5, Sequential, SoftmaxCrossEntropy
from xlenet.checkpoint import load_model, save_model
from xlenet.errors import DataNotFoundError
from xlenet.interop import OnnxModel, export_onnx, import_onnx
from xlenet.training import train_step

Run = Callable[[Path, np.ndarray], np.ndarray]
OPSETS = range(7, 23)


def images(graph: Graph, batch: int = 1) -> np.ndarray:
    """What the graph takes, as many as it says or `batch` of them."""
    sizes = [size.dim_value for size in graph.inputs[0].type.tensor_type.shape.dim]
    rng = np.random.default_rng(1)
    return rng.standard_normal([sizes[0] or batch, *sizes[1:]]).astype(graph.dtype)


def saved(graph: Graph, path: Path) -> Path:
    old = graph.opset < 9
    return graph.save(path / "m.onnx", ir=3 if old else 7, weights_are_inputs=old)


# ==== other programs' files ====


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("style", STYLES)
def test_a_file_of_another_program_gives_what_onnx_runtime_makes_of_it(
    tmp_path: Path, onnx: ModuleType, runtime: Run, style: str, opset: int
) -> None:
    graph = STYLES[style](onnx, opset)
    path, x = saved(graph, tmp_path), images(graph, 3)
    np.testing.assert_allclose(import_onnx(path).infer(x), runtime(path, x), rtol=1e-5, atol=1e-5)


# What the reference of the oldest onnx that is supported computes rightly; it knows auto_pad with strides only later.
@pytest.mark.parametrize("style", ["cntk", "pytorch"])
def test_doubles_give_what_the_reference_makes_of_them(
    tmp_path: Path, onnx: ModuleType, reference: Run, style: str
) -> None:
    graph = STYLES[style](onnx, 22, dtype="float64")
    path, x = saved(graph, tmp_path), images(graph, 3)
    y = import_onnx(path).infer(x)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, reference(path, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("style", STYLES)
def test_the_layers_are_made_in_the_default_backend(
    tmp_path: Path, onnx: ModuleType, lib: Lib, numpy_lib: Lib, style: str
) -> None:
    graph = STYLES[style](onnx, 17)
    path, x = saved(graph, tmp_path), images(graph, 3)
    with on(lib):
        y = import_onnx(path).infer(lib.asarray(x))
    with on(numpy_lib):
        expected = import_onnx(path).infer(x)
    lib.assert_close(y, expected, rtol=1e-5, atol=1e-5, dtype="float32")


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("dynamic", [False, True], ids=["one image", "any batch"])
def test_pytorch_itself(tmp_path: Path, torch: ModuleType, onnx: ModuleType, dynamo: bool, dynamic: bool) -> None:
    """Not a miniature of it: what the installed PyTorch writes, by the exporter that needs `onnxscript` as well."""
    if dynamo:
        open_partner("onnxscript", "onnxscript")
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same", bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, stride=2, groups=2), nn.Tanh(), nn.Dropout(0.5), nn.AvgPool2d(2, ceil_mode=True),
        nn.Flatten(), nn.Linear(54, 5), nn.LogSoftmax(1),
    ).eval()  # fmt: skip
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.5, 2.0)
    x, path = torch.randn(1, 1, 26, 26), tmp_path / "m.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
            torch.onnx.export(model, (x,), path, dynamo=True, external_data=False, dynamic_shapes=shapes, verbose=False)
        else:
            axes = {"input": {0: "batch"}} if dynamic else None
            torch.onnx.export(model, x, str(path), dynamo=False, input_names=["input"], dynamic_axes=axes)
    batch = torch.randn(5, 1, 26, 26)
    with torch.no_grad():
        expected = model(batch).numpy()
    np.testing.assert_allclose(import_onnx(path).infer(batch.numpy()), expected, rtol=1e-5, atol=1e-5)


# ==== one operator at a time ====


def one(
    onnx: ModuleType, opset: int, shape: list[Any], operator: str, *arrays: Any, rank: int = 2, **attributes: Any
) -> Graph:
    """A graph of one node, with constants behind x."""
    g = Graph(onnx, opset, shape)
    g.rank = rank
    g.node(operator, *("" if a is None else g.constant(a) for a in arrays), **attributes)
    return g


F = np.float32
RNG = np.random.default_rng(3)
W25, W52, C5 = RNG.normal(size=(2, 5)).astype(F), RNG.normal(size=(5, 2)).astype(F), RNG.normal(size=5).astype(F)
CASES: dict[str, tuple[Any, ...]] = {
    # name: opset, shape of x, operator, constants, attributes, rank of the result
    "softmax up to 12 flattens": (11, ["N", 2, 3, 2], "Softmax", [], {}, 4),
    "softmax up to 12 at axis 2": (12, ["N", 2, 3, 2], "Softmax", [], {"axis": 2}, 4),
    "softmax up to 12 at the last axis": (12, ["N", 2, 3, 2], "Softmax", [], {"axis": 3}, 4),
    "softmax up to 12 of (N, K, 1, 1)": (8, ["N", 4, 1, 1], "Softmax", [], {"axis": 1}, 4),
    "softmax from 13 on": (13, ["N", 2, 3, 2], "Softmax", [], {}, 4),
    "softmax from 13 on at axis 1": (13, ["N", 2, 3, 2], "Softmax", [], {"axis": 1}, 4),
    "logsoftmax up to 12 flattens": (9, ["N", 2, 3], "LogSoftmax", [], {}, 3),
    "logsoftmax from 13 on": (17, ["N", 2, 3], "LogSoftmax", [], {"axis": -2}, 3),
    "flatten": (7, ["N", 2, 3], "Flatten", [], {}, 2),
    "flatten behind axes of 1": (13, ["N", 1, 1, 6], "Flatten", [], {"axis": -1}, 2),
    "gemm": (7, ["N", 2], "Gemm", [W25, C5], {}, 2),
    "gemm with all attributes": (13, ["N", 2], "Gemm", [W52, C5], {"transB": 1, "alpha": 0.5, "beta": -2.0}, 2),
    "gemm without bias": (11, ["N", 2], "Gemm", [W25], {"alpha": 2.0}, 2),
    "gemm with a bias for all": (13, ["N", 2], "Gemm", [W25, F(0.5)], {}, 2),
    "gemm with a bias of one": (9, ["N", 2], "Gemm", [W25, F([[0.5]])], {"beta": 3.0}, 2),
    "matmul": (13, ["N", 2], "MatMul", [W25], {}, 2),
    "conv of its own kernel_shape": (
        7, [1, 2, 5, 4], "Conv", [RNG.normal(size=(3, 2, 3, 2)).astype(F), F([1, 2, 3])], {}, 4,
    ),
    "conv SAME_LOWER": (
        11, ["N", 2, 8, 7], "Conv", [RNG.normal(size=(2, 1, 4, 3)).astype(F)],
        {"auto_pad": "SAME_LOWER", "group": 2, "strides": [2, 1]}, 4,
    ),
    "conv SAME_UPPER": (
        22, ["N", 2, 8, 7], "Conv", [RNG.normal(size=(2, 2, 2, 4)).astype(F)],
        {"auto_pad": "SAME_UPPER", "strides": [1, 2]}, 4,
    ),
    "conv VALID": (11, ["N", 1, 5, 5], "Conv", [np.ones((1, 1, 2, 2), F)], {"auto_pad": "VALID"}, 4),
    "maxpool with dilations": (10, ["N", 2, 9, 9], "MaxPool", [], {"kernel_shape": [3, 2], "dilations": [2, 3]}, 4),
    "maxpool with ceil_mode": (
        12, ["N", 2, 6, 6], "MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, 4,
    ),
    "maxpool whose indices are stored by column": (
        8, ["N", 2, 6, 6], "MaxPool", [], {"kernel_shape": [2, 2], "storage_order": 1}, 4,
    ),
    "averagepool does not count padding": (
        7, ["N", 2, 6, 6], "AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2]}, 4,
    ),
    "averagepool counts padding": (
        11, ["N", 2, 6, 6], "AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2], "count_include_pad": 1},
        4,
    ),
    "averagepool with ceil_mode": (
        19, ["N", 2, 7, 7], "AveragePool", [],
        {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1, "count_include_pad": 1, "pads": [1, 1, 1, 1]}, 4,
    ),
    "averagepool with dilations": (
        19, ["N", 1, 7, 7], "AveragePool", [], {"kernel_shape": [2, 3], "dilations": [2, 2], "count_include_pad": 1}, 4,
    ),
    "averagepool SAME_UPPER": (
        11, ["N", 1, 5, 6], "AveragePool", [], {"kernel_shape": [2, 3], "auto_pad": "SAME_UPPER"}, 4,
    ),
    "globalaveragepool": (7, ["N", 2, 3, 4], "GlobalAveragePool", [], {}, 4),
    "mean of channels": (13, ["N", 2, 3, 4], "ReduceMean", [], {"axes": [-1, -2]}, 4),
    "mean of channels, flat": (18, ["N", 2, 3, 4], "ReduceMean", [np.array([2, 3])], {"keepdims": 0}, 2),
    "batchnorm of features": (
        15, ["N", 3], "BatchNormalization", [F([1, -2, 3]), F([0, 1, 2]), F([1, 0, -1]), F([0.5, 1, 2])],
        {"epsilon": 0.1}, 2,
    ),
    "reshape with 0 and -1": (7, ["N", 4, 3, 2], "Reshape", [np.array([0, 0, -1])], {}, 3),
    "reshape with an open batch": (13, ["N", 4, 3], "Reshape", [np.array([-1, 2, 6])], {}, 3),
    "reshape with a copied batch": (14, ["N", 4, 3], "Reshape", [np.array([0, 12])], {"allowzero": 0}, 2),
    "reshape with allowzero, and none": (14, ["N", 4, 3], "Reshape", [np.array([-1, 12])], {"allowzero": 1}, 2),
    "transpose": (13, ["N", 2, 3, 4], "Transpose", [], {"perm": [0, 2, 3, 1]}, 4),
    "squeeze": (11, ["N", 4, 1, 1], "Squeeze", [], {"axes": [2, -1]}, 2),
    "squeeze from 13 on": (13, ["N", 4, 1, 1], "Squeeze", [np.array([2, 3])], {}, 2),
    "add to a bias of all": (13, ["N", 2], "MatMul", [W25], {}, 2),
    "dropout of its default": (12, ["N", 3], "Dropout", [], {}, 2),
    "dropout that is not training": (13, ["N", 3], "Dropout", [F(0.3), np.array(False)], {"seed": 3}, 2),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_operator(tmp_path: Path, onnx: ModuleType, runtime: Run, case: str) -> None:
    opset, shape, operator, arrays, attributes, rank = CASES[case]
    graph = one(onnx, opset, shape, operator, *arrays, rank=rank, **attributes)
    path, x = graph.save(tmp_path / "m.onnx"), images(graph, 3)
    np.testing.assert_allclose(import_onnx(path).infer(x), runtime(path, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("auto_pad", "pads"), [("SAME_UPPER", [1, 0, 2, 1]), ("SAME_LOWER", [2, 1, 1, 0])])
def test_same_with_dilation(tmp_path: Path, onnx: ModuleType, runtime: Run, auto_pad: str, pads: list[int]) -> None:
    """ONNX Runtime has it not: worked out by hand, from 8 x 7 pixels to 8 x 4 with windows that reach over 4 x 2."""
    weight, how = np.random.default_rng(0).normal(size=(2, 2, 2, 2)).astype(F), {"dilations": [3, 1], "strides": [1, 2]}
    same = one(onnx, 13, ["N", 2, 8, 7], "Conv", weight, rank=4, auto_pad=auto_pad, **how)
    padded = one(onnx, 13, ["N", 2, 8, 7], "Conv", weight, rank=4, pads=pads, **how)
    x = images(same, 3)
    expected = runtime(padded.save(tmp_path / "padded.onnx"), x)
    assert expected.shape == (3, 2, 8, 4)
    np.testing.assert_allclose(import_onnx(same.save(tmp_path / "m.onnx")).infer(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("opset", [7, 12, 13, 22])
@pytest.mark.parametrize(
    ("operator", "arrays", "attributes"),
    [
        ("Pad", [[0, 0, 0, 0]], {"mode": "constant"}), ("Identity", [], {}), ("Dropout", [0.0], {}),
        ("Dropout", [1.0], {}), ("Cast", [], {"to": 1}),
    ],
)  # fmt: skip
def test_what_does_nothing_makes_no_layer(
    tmp_path: Path, onnx: ModuleType, opset: int, operator: str, arrays: list[Any], attributes: dict[str, Any]
) -> None:
    g = Graph(onnx, opset, ["N", 3])
    g.node("Relu")
    if operator == "Dropout":
        g.dropout(arrays[0])
    elif operator == "Pad" and opset < 11:
        g.node("Pad", pads=arrays[0], **attributes)
    else:
        g.node(operator, *(g.constant(np.array(a)) for a in arrays), **attributes)
    assert list(import_onnx(g.save(tmp_path / "m.onnx"))) == ["relu"]


def test_biases_that_are_added_go_into_the_layer(tmp_path: Path, onnx: ModuleType, runtime: Run) -> None:
    """Also where there is one already, from either side, and as one number for all."""
    g = Graph(onnx, 13, ["N", 2, 4, 4])
    g.node("Conv", g.weight(3, 2, 2, 2), g.weight(3), name="conv")
    g.node("Add", g.weight(), name="number")
    value = g.value
    g.node("Add", g.weight(3, 1, 1), value, first=False, name="from the left")
    g.node("Flatten")
    g.node("MatMul", g.weight(27, 4), name="fc")
    g.node("Add", g.weight(1, 4), name="row")
    path, x = g.save(tmp_path / "m.onnx"), images(g, 3)
    model = import_onnx(path)
    assert list(model) == ["conv", "flatten", "fc"]
    np.testing.assert_allclose(model.infer(x), runtime(path, x), rtol=1e-5, atol=1e-5)


def test_constants_made_of_constants_are_made_now(tmp_path: Path, onnx: ModuleType, runtime: Run) -> None:
    """Weights turned, reshaped and cast; and the shape of what comes along, cut into pieces."""
    g = Graph(onnx, 13, ["N", 2, 3, 2])
    wide = g.aside("Cast", g.constant(g.rng.normal(size=(3, 12))), to=1)
    turned = g.aside("Identity", g.aside("Transpose", wide))
    shape = g.aside("Shape", g.value)
    first = g.aside("Slice", shape, g.constant([0]), g.constant([1]), g.constant([0]))
    rest = g.aside("Squeeze", g.aside("Unsqueeze", g.constant(12), g.constant([0, 1])), g.constant([1]))
    g.node("Reshape", g.aside("Concat", g.aside("Cast", first, to=7), rest, axis=0))
    g.node("MatMul", g.aside("Reshape", turned, g.constant([0, -1])))
    path, x = g.save(tmp_path / "m.onnx"), images(g, 3)
    np.testing.assert_allclose(import_onnx(path).infer(x), runtime(path, x), rtol=1e-5, atol=1e-5)


def view(g: Graph, *sizes: str) -> str:
    """The sizes of a Reshape, each made a vector."""
    return g.aside("Concat", *(unsqueezed(g, size) for size in sizes), axis=0)


@pytest.mark.parametrize("opset", [7, 12, 13, 22])
@pytest.mark.parametrize("way", ["the batch of an earlier value", "a product of sizes", "sums of sizes"])
def test_a_view_by_sizes(tmp_path: Path, onnx: ModuleType, runtime: Run, way: str, opset: int) -> None:
    """Those of y.view(x.size(0), -1), whose x is no longer what comes along, and of y.view(-1, c * h * w)."""
    g = Graph(onnx, opset, ["N", 2, 3, 4])
    g.node("Relu")
    g.node("Tanh")
    shape, least = g.aside("Shape", g.value), g.constant(-1)
    n, c, h, w = (g.aside("Gather", shape, g.constant(axis), axis=0) for axis in range(4))
    two = g.constant(2)
    if way == "the batch of an earlier value":
        target = view(g, g.aside("Gather", g.aside("Shape", "image"), g.constant(0), axis=0), least)
    elif way == "a product of sizes":
        target = view(g, n, g.aside("Mul", g.aside("Mul", c, h), w))
    else:
        target = view(
            g, least, g.aside("Sub", g.aside("Add", h, c), two), g.aside("Div", g.aside("Mul", w, two), g.constant(1))
        )
        g.rank = 3
    g.node("Reshape", target)
    path, x = saved(g, tmp_path), images(g, 3)
    np.testing.assert_allclose(import_onnx(path).infer(x), runtime(path, x), rtol=1e-6)


ZEROS: dict[str, tuple[str, dict[str, Any]]] = {
    "conv": ("Conv", {}),
    "conv with pads": ("Conv", {"pads": [1, 0, 2, 0], "strides": [2, 1]}),
    "conv SAME": ("Conv", {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    "conv VALID": ("Conv", {"auto_pad": "VALID"}),
    "mean": ("AveragePool", {"kernel_shape": [3, 4], "strides": [2, 2]}),
    "mean with pads that count": (
        "AveragePool",
        {"kernel_shape": [4, 4], "pads": [1, 0, 0, 1], "count_include_pad": 1},
    ),
}


@pytest.mark.parametrize("opset", [7, 11, 18])
@pytest.mark.parametrize("case", ZEROS)
def test_zeros_around_images_go_into_what_is_behind(
    tmp_path: Path, onnx: ModuleType, runtime: Run, case: str, opset: int
) -> None:
    """nn.ZeroPad2d in front of a convolution, and what PyTorch makes of a padded AvgPool2d up to opset 9."""
    operator, attributes = ZEROS[case]
    g = Graph(onnx, opset, ["N", 2, 6, 5])
    g.rank = 4
    if opset < 11:
        g.node("Pad", pads=[0, 0, 1, 2, 0, 0, 0, 1], mode="constant")
    elif opset < 18:
        g.node("Pad", g.constant(np.array([0, 0, 1, 2, 0, 0, 0, 1])), g.constant(F(0)))
    else:
        g.node("Pad", g.constant(np.array([2, 1, 1, 0])), "", g.constant(np.array([-1, 2])))
    g.node("Identity")
    g.node(operator, *([g.weight(3, 2, 2, 3)] if operator == "Conv" else []), **attributes)
    path, x = saved(g, tmp_path), images(g, 3)
    model = import_onnx(path)
    assert len(model) == 1
    np.testing.assert_allclose(model.infer(x), runtime(path, x), rtol=1e-5, atol=1e-6)


def test_padding_as_pytorch_works_it_out(tmp_path: Path, onnx: ModuleType, runtime: Run) -> None:
    """From opset 11 on: the four numbers of nn.ZeroPad2d are made eight, turned round and turned over in the graph."""
    g = Graph(onnx, 13, ["N", 1, 5, 4])
    g.rank = 4
    zeros = g.aside("ConstantOfShape", g.constant([4]), value=onnx.numpy_helper.from_array(np.array([0])))
    pairs = g.aside("Reshape", g.aside("Concat", g.constant([1, 2, 0, 3]), zeros, axis=0), g.constant([-1, 2]))
    turned = g.aside("Slice", pairs, *(g.constant([n]) for n in (-1, -(2**63) + 1, 0, -1)))
    pads = g.aside("Cast", g.aside("Reshape", g.aside("Transpose", turned, perm=[1, 0]), g.constant([-1])), to=7)
    g.node("Pad", pads, g.constant(F(0)))
    g.node("Conv", g.weight(2, 1, 3, 3))
    path, x = g.save(tmp_path / "m.onnx"), images(g, 3)
    np.testing.assert_allclose(import_onnx(path).infer(x), runtime(path, x), rtol=1e-5, atol=1e-6)


def test_what_nothing_depends_on_is_left_out(tmp_path: Path, onnx: ModuleType) -> None:
    g = Graph(onnx, 17, ["N", 3])
    g.aside("Gelu", "image", domain="com.me")
    g.aside("Sin", g.constant(F(1)))
    g.aside("Identity", "image")
    g.node("Relu", name="relu")
    g.node("Identity")
    before = g.value
    g.aside("Identity", before)
    g.node("Tanh", before, name="tanh", first=False)
    assert list(import_onnx(g.save(tmp_path / "m.onnx"))) == ["relu", "tanh"]


@pytest.mark.parametrize("value", ["image", "renamed"])
def test_either_name_of_an_identity_is_good(tmp_path: Path, onnx: ModuleType, value: str) -> None:
    """Where one is asked for its shape, and the other for its numbers."""
    g = Graph(onnx, 17, ["N", 3, 2])
    for name in ("renamed", "again"):
        g.nodes.append(onnx.helper.make_node("Identity", ["image"], [name]))
    batch = g.aside("Gather", g.aside("Shape", "again"), g.constant(0), axis=0)
    g.node("Reshape", value, view(g, batch, g.constant(-1)), name="flat", first=False)
    assert list(import_onnx(g.save(tmp_path / "m.onnx"))) == ["flat"]


def test_a_network_of_nothing_comes_back(tmp_path: Path, onnx: ModuleType) -> None:
    path = export_onnx(Sequential(drop=Dropout(0.5)), tmp_path / "m.onnx", (2, 3))
    x = np.ones((4, 2, 3), F)
    model = import_onnx(path)
    assert list(model) == ["identity"]
    np.testing.assert_array_equal(model.train()(x), x)
    np.testing.assert_array_equal(import_onnx(export_onnx(model, path)).infer(x), x)


@pytest.mark.parametrize("opset", [9, 10])
def test_a_slice_of_a_shape_by_attributes_or_inputs(tmp_path: Path, onnx: ModuleType, runtime: Run, opset: int) -> None:
    g = Graph(onnx, opset, ["N", 2, 3])
    shape = g.aside("Shape", g.value)
    if opset == 9:
        batch = g.aside("Slice", shape, starts=[0], ends=[1])
    else:
        batch = g.aside("Slice", shape, g.constant([0]), g.constant([1]))
    g.node("Reshape", g.aside("Concat", batch, g.constant([-1]), axis=0))
    path, x = g.save(tmp_path / "m.onnx"), images(g, 3)
    np.testing.assert_array_equal(import_onnx(path).infer(x), runtime(path, x))


def test_a_weight_in_its_own_words(tmp_path: Path, onnx: ModuleType, runtime: Run) -> None:
    """Not as raw bytes but number by number, as older programs write it."""
    g = Graph(onnx, 9, ["N", 2])
    numbers = [0.5, -1.0, 2.0, 4.0]
    g.initializers.append(onnx.helper.make_tensor("w", 1, [2, 2], numbers))
    g.node("MatMul", "w")
    path, x = g.save(tmp_path / "m.onnx"), images(g, 3)
    np.testing.assert_array_equal(import_onnx(path).infer(x), x @ np.array(numbers, F).reshape(2, 2))


# ==== what comes back ====


def test_the_model_says_what_it_takes_and_what_was_said_of_it(tmp_path: Path, onnx: ModuleType) -> None:
    model = import_onnx(export_onnx(LeNet5(rng=0), tmp_path / "m.onnx", about={"classes": 10}))
    assert isinstance(model, OnnxModel)
    assert (model.input_shape, model.about, model.training) == ((1, 28, 28), {"classes": 10}, False)
    other = import_onnx(saved(STYLES["keras"](onnx, 13), tmp_path))
    assert (other.input_shape, other.about) == ((9, 8, 3), {})


def test_the_decay_of_a_batchnorm_is_the_weight_of_the_old(tmp_path: Path, onnx: ModuleType) -> None:
    """As momentum is in ONNX, and not in PyTorch."""
    norm: Any = import_onnx(saved(STYLES["pytorch"](onnx, 17), tmp_path))["bn1"]
    assert (norm.decay, norm.eps) == (0.8, 1e-3)


def test_transposes_one_after_another_are_one(tmp_path: Path, onnx: ModuleType, runtime: Run) -> None:
    g = Graph(onnx, 17, ["N", 2, 3, 4])
    g.rank = 4
    for perm in ([0, 2, 3, 1], [0, 1, 3, 2], [0, 3, 1, 2]):
        g.node("Transpose", perm=perm)
    path, x = g.save(tmp_path / "m.onnx"), images(g, 3)
    model = import_onnx(path)
    assert len(model) == 1
    np.testing.assert_array_equal(model.infer(x), runtime(path, x))


def test_transposes_there_and_back_are_nothing(tmp_path: Path, onnx: ModuleType) -> None:
    g = Graph(onnx, 17, ["N", 2, 3, 4])
    g.node("Transpose", perm=[0, 3, 1, 2])
    g.node("Transpose", perm=[0, 2, 3, 1])
    g.node("Reshape", g.constant(np.array([0, 0, 12])), name="rows")
    model = import_onnx(g.save(tmp_path / "m.onnx"))
    assert list(model) == ["rows"]
    assert model.infer(images(g, 3)).shape == (3, 2, 12)


def test_two_transposes_the_same_way_are_two(tmp_path: Path, onnx: ModuleType, runtime: Run) -> None:
    g = Graph(onnx, 17, ["N", 2, 3, 4])
    g.rank = 4
    g.node("Transpose", perm=[0, 3, 1, 2])
    g.node("Transpose", perm=[0, 3, 1, 2])
    path, x = g.save(tmp_path / "m.onnx"), images(g, 3)
    np.testing.assert_array_equal(import_onnx(path).infer(x), runtime(path, x))


def test_a_batch_that_the_file_fixes_becomes_free(tmp_path: Path, onnx: ModuleType, runtime: Run) -> None:
    graph = STYLES["cntk"](onnx, 8)
    path = saved(graph, tmp_path)
    x = np.random.default_rng(0).standard_normal((5, 1, 12, 12)).astype(F)
    expected = np.concatenate([runtime(path, image[None]) for image in x])
    np.testing.assert_allclose(import_onnx(path).infer(x), expected, rtol=1e-5, atol=1e-5)


def test_names_are_those_of_weights_and_nodes_and_differ(tmp_path: Path, onnx: ModuleType) -> None:
    cases = {
        "pytorch": "conv1 bn1 Relu MaxPool pool drop Reshape fc1 Sigmoid fc2 LogSoftmax",
        "cntk": "Convolution28 ReLU32 Pooling66 Convolution110 ReLU114 Pooling160 Times212_reshape0 Times212",
        "keras": "conv2d_2 conv2d conv2d_3 max_pooling2d max_pooling2d_2 flatten dense dense_2 dense_1 dense_1_2",
    }
    for style, names in cases.items():
        assert list(import_onnx(saved(STYLES[style](onnx, 17), tmp_path))) == names.split()
    g = Graph(onnx, 17, ["N", 3])
    for name in ("a b", "a  b", "\x1b[2J", "猫", "x" * 500):
        g.node("Relu", name=name)
    assert list(import_onnx(g.save(tmp_path / "m.onnx"))) == ["a_b", "a_b_2", "2J", "relu", "x" * 60]


def test_sizes_that_the_file_leaves_open_can_be_given(tmp_path: Path, onnx: ModuleType, runtime: Run) -> None:
    g = Graph(onnx, 17, ["N", 2, "height", None])
    g.rank = 4
    g.node("Conv", g.weight(3, 2, 3, 3), auto_pad="SAME_LOWER", strides=[2, 2])
    path, x = g.save(tmp_path / "m.onnx"), np.random.default_rng(0).standard_normal((2, 2, 6, 5)).astype(F)
    np.testing.assert_allclose(import_onnx(path, (2, 6, 5)).infer(x), runtime(path, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(40))
def test_there_and_back_changes_nothing(tmp_path: Path, onnx: ModuleType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model, shape = draw(rng, dtype := ("float32", "float64")[seed % 2])
    x = rng.standard_normal((3, *shape)).astype(dtype)
    if any(not isinstance(layer, Dropout) for _, layer in model.leaves()):
        back = import_onnx(export_onnx(model, tmp_path / "m.onnx", shape))
        assert back.input_shape == shape
        mine = back.state_dict()
        assert list(mine) == list(model.state_dict())
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(mine[name], array, strict=True)
        np.testing.assert_allclose(back.infer(x), model.infer(x), rtol=1e-6, atol=1e-7)
        norms = [repr(layer) for _, layer in model.leaves() if isinstance(layer, BatchNorm)]  # eps and decay, too
        assert [repr(layer) for _, layer in back.leaves() if isinstance(layer, BatchNorm)] == norms


@pytest.mark.parametrize("style", ["cntk", "keras", "pytorch", "pooled"])
def test_an_imported_model_learns_and_goes_out_again(
    tmp_path: Path, onnx: ModuleType, runtime: Run, style: str
) -> None:
    graph = STYLES[style](onnx, 17)
    model = import_onnx(saved(graph, tmp_path))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, *model.input_shape)).astype(F)
    labels = rng.integers(0, 4, 24)
    loss, optimizer = SoftmaxCrossEntropy(), Adam(model.train())
    for name in model:
        if isinstance(model[name], Dropout):
            model[name].eval()  # the loss falls steadily only without chance
    losses = [float(train_step(model, loss, optimizer, x, labels, 0.01)[0]) for _ in range(40)]
    assert losses[-1] < 0.9 * losses[0]
    save_model(tmp_path / "m.safetensors", model, {})
    again = import_onnx(saved(graph, tmp_path)).load_state_dict(load_model(tmp_path / "m.safetensors")[0])
    path = export_onnx(model.eval(), tmp_path / "again.onnx")
    np.testing.assert_array_equal(again.infer(x), model.infer(x))
    np.testing.assert_allclose(runtime(path, x), model.infer(x), rtol=1e-5, atol=1e-5)


def test_two_imports_drop_the_same(tmp_path: Path, onnx: ModuleType) -> None:
    path, x = saved(STYLES["pooled"](onnx, 17), tmp_path), np.ones((4, 2, 5, 6), F)
    first, second = (import_onnx(path).train()(x) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_file_that_is_not_there(tmp_path: Path, onnx: ModuleType) -> None:
    with pytest.raises(DataNotFoundError, match=r"import_onnx: got .*none\.onnx', which does not exist"):
        import_onnx(tmp_path / "none.onnx")


def test_an_imported_model_knows_the_shape_of_its_images(tmp_path: Path) -> None:
    open_partner("onnx", "onnx")
    model = import_onnx(export_onnx(LeNet5(rng=0), tmp_path / "lenet.onnx"))
    table = model.summary()
    assert table.input_shape == (1, 28, 28)
    assert (table.parameters, table.flops) == (61_750, LeNet5(rng=0).summary().flops)
