"""What `export_onnx` writes, run by others."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.interop.networks import draw, randomise
from tests.libraries import Lib
from tests.networks import on
from xlenet import (
    SGD,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dropout,
    Flatten,
    LeNet5,
    Linear,
    MaxPool2D,
    ReLU,
    Sequential,
    Softmax,
    SoftmaxCrossEntropy,
    use_backend,
)
from xlenet.data import Dataset, generated_digits, load_mnist
from xlenet.errors import MissingExtraError, OutputError
from xlenet.interop import export_onnx
from xlenet.layers import Layer
from xlenet.training import train_step

Run = Callable[[Path, np.ndarray], np.ndarray]


def trained(data: Dataset, steps: int, batch: int = 64) -> tuple[LeNet5, np.ndarray]:
    """LeNet-5 after some steps, whose logits are those of a network that knows what it sees; and all test images."""
    model, loss, mean, std = LeNet5(rng=0), SoftmaxCrossEntropy(), data.x_train[:1000].mean(), data.x_train[:1000].std()
    optimizer = SGD(model, momentum=0.9)

    def pixels(x: np.ndarray) -> np.ndarray:
        return ((x - mean) / std).astype(np.float32)

    for step in range(steps):
        at = slice(step * batch % (len(data.x_train) - batch), None)
        x, labels = data.x_train[at][:batch], data.y_train[at][:batch]
        train_step(model, loss, optimizer, pixels(x), labels, 0.02)
    return model.eval(), pixels(data.x_test)


def check_same(model: Layer, path: Path, x: np.ndarray, runtime: Run) -> None:
    """The same labels, and logits within 1e-5; those of 20 or 30 have fewer digits behind the point."""
    mine, theirs = np.concatenate([model.infer(x[i : i + 500]) for i in range(0, len(x), 500)]), runtime(path, x)
    np.testing.assert_array_equal(mine.argmax(1), theirs.argmax(1))
    np.testing.assert_allclose(theirs, mine, rtol=1e-6, atol=1e-5)


def test_a_trained_lenet_gives_the_same_in_onnx_runtime(tmp_path: Path, runtime: Run) -> None:
    """10,000 images, all of them: those of the next test are real and need MNIST."""
    model, x = trained(generated_digits(6_400, 10_000), 100)
    logits = model.infer(x[:500])
    assert logits.max() > 4  # it knows something: logits near 0 would agree whatever the graph
    check_same(model, export_onnx(model, tmp_path / "m.onnx"), x, runtime)


def test_a_lenet_trained_on_mnist_gives_the_same_in_onnx_runtime(tmp_path: Path, mnist_dir: Path, runtime: Run) -> None:
    model, x = trained(load_mnist(mnist_dir), 300)
    assert x.shape == (10_000, 1, 28, 28)
    check_same(model, export_onnx(model, tmp_path / "m.onnx"), x, runtime)


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_give_the_same_in_onnx_runtime(tmp_path: Path, runtime: Run, seed: int) -> None:
    """Any layer behind any other, with any stride and padding; what ONNX cannot say is an error in words."""
    rng = np.random.default_rng(seed)
    model, shape = draw(rng)
    x = rng.standard_normal((3, *shape)).astype(np.float32)
    expected, path = model.infer(x), export_onnx(model, tmp_path / "m.onnx", shape)
    np.testing.assert_allclose(runtime(path, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_doubles_give_the_same_in_the_reference(tmp_path: Path, reference: Run, seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    model = Sequential(
        conv=Conv2D(2, 4, (3, 2), stride=(1, 2), padding="SAME", groups=2, dtype="float64"), relu=ReLU(),
        bn=BatchNorm(4, eps=0.25, dtype="float64"), flat=Flatten(), fc=Linear(4 * 7 * 3, 5, dtype="float64"),
        soft=Softmax(),
    )  # fmt: skip
    randomise(model, rng)
    x = rng.standard_normal((3, 2, 7, 6))
    y = reference(export_onnx(model, tmp_path / "m.onnx", (2, 7, 6)), x)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, model.infer(x), rtol=1e-12, atol=1e-12)


# ==== what is in the file ====


def read(onnx: ModuleType, path: Path) -> Any:
    return onnx.load_model_from_string(path.read_bytes())


def test_the_file_says_what_was_promised(tmp_path: Path, onnx: ModuleType) -> None:
    model, about = LeNet5(channels=3, classes=4, rng=0), {"classes": 4, "class_names": ["猫", "dog", "owl", "ant"]}
    file = read(onnx, export_onnx(model, tmp_path / "m.onnx", about=about))
    onnx.checker.check_model(file, full_check=True)
    assert (file.ir_version, [(o.domain, o.version) for o in file.opset_import]) == (8, [("", 17)])
    assert {p.key: json.loads(p.value) for p in file.metadata_props} == {"xlenet": about}
    (x,), (logits,) = file.graph.input, file.graph.output
    assert (x.name, logits.name) == ("x", "logits")
    for value, shape in ((x, ["N", 3, 28, 28]), (logits, ["N", 4])):
        assert [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] == shape
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in file.graph.initializer}
    state = model.state_dict()
    assert list(arrays) == list(state)
    for name, array in state.items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)
    assert [node.name for node in file.graph.node] == list(model)
    assert not file.doc_string


def test_equal_models_give_equal_bytes_and_others_do_not(tmp_path: Path, onnx: ModuleType) -> None:
    paths = [
        export_onnx(LeNet5(rng=seed), tmp_path / f"{number}.onnx", about=about)
        for number, (seed, about) in enumerate([(0, {"b": 1, "a": 2}), (0, {"a": 2, "b": 1}), (1, {"a": 2, "b": 1})])
    ]
    first, again, other = (path.read_bytes() for path in paths)
    assert first == again != other


def test_names_of_nested_layers_are_those_of_the_state_dict(tmp_path: Path, onnx: ModuleType, runtime: Run) -> None:
    model = Sequential(
        block=Sequential(conv=Conv2D(1, 2, 3, rng=0), inner=Sequential(relu=ReLU(), drop=Dropout(0.5))),
        flatten=Flatten(), x=Linear(8, 2, rng=1), logits=Linear(2, 3, rng=2),
    )  # fmt: skip
    file = read(onnx, path := export_onnx(model, tmp_path / "m.onnx", (1, 4, 4)))
    assert [tensor.name for tensor in file.graph.initializer] == list(model.state_dict())
    assert [node.name for node in file.graph.node] == ["block.conv", "block.inner.relu", "flatten", "x", "logits"]
    x = np.ones((2, 1, 4, 4), np.float32)
    np.testing.assert_allclose(runtime(path, x), model.infer(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("model", [Linear(3, 2, rng=0), Dropout(0.5), Sequential(a=Dropout(0.2), b=Dropout(0.5))])
def test_a_layer_alone_and_a_network_that_does_nothing(tmp_path: Path, runtime: Run, model: Layer) -> None:
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(runtime(export_onnx(model, tmp_path / "m.onnx", (3,)), x), model.infer(x), rtol=1e-6)


def test_a_batch_of_any_size_and_a_training_model_as_in_evaluation(tmp_path: Path, runtime: Run) -> None:
    model = LeNet5(rng=0).train()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    path = export_onnx(model, tmp_path / "m.onnx")
    assert model.training
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
    for n in (1, 2, 7):
        x = np.random.default_rng(n).standard_normal((n, 1, 28, 28)).astype(np.float32)
        np.testing.assert_allclose(runtime(path, x), model.infer(x), rtol=1e-5, atol=1e-5)


def test_a_model_on_any_library_gives_the_same_bytes(tmp_path: Path, onnx: ModuleType, lib: Lib) -> None:
    host = export_onnx(LeNet5(rng=0), tmp_path / "host.onnx").read_bytes()
    with on(lib):
        there = LeNet5(rng=0)
    assert export_onnx(there, tmp_path / "there.onnx").read_bytes() == host


# ==== what is refused ====


class Twice(Layer):
    """A layer of one's own."""

    def _forward(self, x: Any, work: Any) -> Any:
        return 2 * x, None


class Shifted(ReLU):
    """Derived from one of xlenet's own, and something else."""

    def _forward(self, x: Any, work: Any) -> Any:
        return x + 1, None


class Residual(Sequential):
    """Layers that are not one after another."""

    def _infer(self, x: Any, work: Any) -> Any:
        return x + super()._infer(x, work)


@pytest.mark.parametrize(
    ("model", "shape", "error", "says"),
    [
        (Sequential(a=ReLU(), mine=Twice()), (3,), TypeError, r"layer 'mine', a tests\..*Twice; expected layer"),
        (Sequential(a=Sequential(b=Shifted())), (3,), TypeError, r"layer 'a\.b', a .*Shifted; .* put it together"),
        (Residual(a=ReLU()), (3,), TypeError, r"layer '', a .*Residual"),
        (Conv2D(1, 2, 3), None, TypeError, r"got input_shape None; expected the shape of one x.*pass \(C, H, W\)"),
        (Linear(3, 2), (0,), ValueError, r"got input_shape 0; expected at least 1"),
        (Linear(3, 2), "3", TypeError, r"got input_shape '3'"),
        (Linear(3, 2), (1.5,), TypeError, r"got input_shape 1\.5"),
        (Linear(3, 2), (4,), ValueError, r"\(1, 4\)"),
        (LeNet5(), (1, 27, 28), ValueError, r"LeNet5: got x of shape"),
        (AvgPool2D(2, dilation=2), (1, 9, 9), ValueError, r"layer '', an AvgPool2D with dilation \(2, 2\); expected 1"),
        (
            Sequential(p=AvgPool2D(3, 3, ((0, 0), (1, 2)), ceil_mode=True)), (2, 1, 10), ValueError,
            r"layer 'p', AvgPool2D.*whose ceil_mode adds a window along one axis.*use ceil_mode=False",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_told_in_words(
    tmp_path: Path, onnx: ModuleType, model: Layer, shape: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        export_onnx(model, tmp_path / "m.onnx", shape)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path, onnx: ModuleType) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        export_onnx(LeNet5(), tmp_path / "none" / "m.onnx")


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r'pip install "xlenet\[onnx\]"'):
        export_onnx(LeNet5(), tmp_path / "m.onnx")


def test_a_mixed_ceil_mode_of_maxima_becomes_padding(tmp_path: Path, runtime: Run) -> None:
    """Along one axis a last window hangs over the end; along the other one it would begin in the padding."""
    model = MaxPool2D((2, 3), stride=(3, 2), padding=((1, 1), (0, 0)), ceil_mode=True)
    x = np.random.default_rng(0).standard_normal((2, 1, 2, 6)).astype(np.float32)
    assert model.infer(x).shape == (2, 1, 1, 3)
    path = export_onnx(model, tmp_path / "m.onnx", (1, 2, 6))
    np.testing.assert_array_equal(runtime(path, x), model.infer(x))


def test_the_default_backend_does_not_matter_to_a_model_without_arrays(tmp_path: Path, onnx: ModuleType) -> None:
    with use_backend("numpy"):
        assert export_onnx(ReLU(), tmp_path / "m.onnx", (3,)).exists()
