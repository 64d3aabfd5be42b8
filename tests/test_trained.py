"""A trained network out of a file."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.libraries import Lib, open_partner
from tests.networks import on
from tests.reader import DIGITS, digits, reader
from xlenet import Flatten, LeNet5, Linear, Sequential, Softmax, to_host, trained
from xlenet.backend import use_backend
from xlenet.checkpoint import save_arrays, save_model
from xlenet.data import Normalization
from xlenet.errors import DataError, DataNotFoundError
from xlenet.trained import Trained, load_trained, trained_file

ABOUT: dict[str, Any] = {
    "architecture": "LeNet5",
    "image_size": 28,
    "channels": 1,
    "classes": 3,
    "class_names": ["cat", "dog", "owl"],
    "relu_after_conv3": False,
    "normalization": {"mean": [33.0], "std": [78.5]},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "m.safetensors"


def save(file: Path, about: Any, model: LeNet5 | None = None) -> Path:
    save_arrays(file, (model or LeNet5(classes=3, rng=5)).state_dict(), about)
    return file


def test_a_network_comes_back_ready_to_be_asked(file: Path, rng: np.random.Generator) -> None:
    model = LeNet5(classes=3, rng=5)
    save_model(file, model, ABOUT)
    trained = load_trained(file)
    x = rng.standard_normal((2, 1, 28, 28)).astype(np.float32)
    np.testing.assert_array_equal(trained.model.infer(x), model.infer(x))
    assert not trained.model.training
    assert trained.normalization == Normalization((33.0,), (78.5,))
    assert (trained.class_names, trained.image_shape) == (("cat", "dog", "owl"), (1, 28, 28))
    assert (trained.title, trained.data) == ("LeNet-5", None)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_told_of_a_network_is_what_comes_back(file: Path, relu: bool, size: int, channels: int) -> None:
    model = LeNet5(size, channels=channels, classes=4, relu_after_conv3=relu, rng=1).eval()
    normalization = Normalization((1.0,) * channels, (2.5,) * channels)
    before = Trained(model, normalization, ("a", "b", "c", "d"), (channels, size, size), "LeNet-5", "mine")
    save_model(file, model, before.about())
    after = load_trained(file)
    assert after[1:] == before[1:]
    assert ("relu3" in after.model) == relu  # type: ignore[operator]
    assert after.about() == before.about()


def test_on_each_library(file: Path, lib: Lib) -> None:
    save(file, ABOUT)
    images = digits().x_test[:3]
    with on(lib):
        trained = load_trained(file)
    assert all(isinstance(array, type(lib.asarray([0.0]))) for _, array in trained.model.named_parameters())
    with use_backend("numpy"):  # whatever is the default when it is asked
        here = trained.probabilities(images)
        assert isinstance(here, np.ndarray)
        np.testing.assert_allclose(here, load_trained(file).probabilities(images), atol=1e-6)


# ==== probabilities ====


def test_probabilities_are_softmax_of_normalised_images(rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (1001, 1, 28, 28), np.uint8)
    asked = reader().probabilities(images)
    (mean,), (std,) = reader().normalization
    logits = to_host(reader().model.infer(((images[[0, 500, 1000]] - mean) / std).astype(np.float32)))
    for row, scores in zip(asked[[0, 500, 1000]], logits.astype(float), strict=True):
        total = sum(math.exp(score) for score in scores)
        np.testing.assert_allclose(row, [math.exp(score) / total for score in scores], rtol=1e-4)
    assert (asked.shape, asked.dtype) == ((1001, 10), np.float32)
    np.testing.assert_allclose(asked.sum(axis=1), 1.0, rtol=1e-6)


def test_each_channel_has_a_mean_of_its_own() -> None:
    model = Sequential(flatten=Flatten(), fc=Linear(2, 2, bias=False, rng=0)).eval()
    model.load_state_dict({"fc.weight": np.eye(2)})
    trained = Trained(model, Normalization((1.0, 5.0), (2.0, 4.0)), ("a", "b"), (2, 1, 1), "")
    scores = np.array([(3 - 1) / 2, (13 - 5) / 4])
    expected = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(trained.probabilities(np.array([[[[3]], [[13]]]], np.uint8))[0], expected)


@pytest.mark.parametrize(
    ("images", "error", "said"),
    [
        (np.zeros((1, 1, 28, 28)), TypeError, "got images float64; expected uint8"),
        (np.zeros((1, 1, 28, 28), bool), TypeError, "got images bool"),
        (None, TypeError, "got images object"),
        (np.zeros((1, 28, 28), np.uint8), ValueError, r"got images of shape \(1, 28, 28\); expected \(N, 1, 28, 28\)"),
        (np.zeros((1, 3, 28, 28), np.uint8), ValueError, r"\(1, 3, 28, 28\)"),
        (np.zeros((0, 1, 28, 28), np.uint8), ValueError, "N at least 1"),
    ],
)
def test_what_is_no_image_is_refused(images: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        reader().probabilities(images)


def test_numbers_that_are_not_finite_are_an_error() -> None:
    hostile = reader()._replace(normalization=Normalization((0.0,), (1e-300,)))
    with pytest.raises(DataError, match="numbers that are not finite from the network"):
        hostile.probabilities(digits().x_test[:2])


@pytest.mark.parametrize(
    ("change", "digits_wanted"),
    [
        ({}, True),
        ({"data": "mnist"}, True),
        ({"data": None}, True),
        ({"data": "fashion-mnist"}, False),
        ({"data": None, "class_names": tuple("012345678x")}, False),
        ({"image_shape": (1, 32, 32)}, True),
        ({"image_shape": (3, 28, 28)}, False),
        ({"image_shape": (1, 64, 64)}, False),
    ],
)
def test_who_wants_digits_as_mnist_has_them(change: dict[str, Any], digits_wanted: bool) -> None:
    assert reader()._replace(**change).reads_digits is digits_wanted


# ==== files of strangers ====


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architecture": "ResNet"}, "the architecture is 'ResNet'"),
        ({"architecture": ["LeNet5"]}, r"the architecture is \['LeNet5'\]"),
        ({"classes": 10**12}, "1000000000000 classes"),
        ({"classes": 99_999}, "99999 classes, and its arrays have"),
        ({"classes": "3"}, "'3' classes"),
        ({"classes": True}, "True classes"),
        ({"classes": 3.0}, "3.0 classes"),
        ({"classes": 0}, "0 classes"),
        ({"classes": 4}, r"1 channels and 4 classes, and its arrays have \(1, 3\)"),
        ({"channels": 10**6}, "1000000 channels"),
        ({"channels": -1}, "-1 channels"),
        ({"channels": None}, "None channels"),
        ({"channels": True}, "True channels"),
        ({"channels": 1000}, "1000 channels and 3 classes"),
        ({"image_size": 5}, "image_size 5"),
        ({"image_size": True}, "image_size True"),
        ({"image_size": [28]}, r"image_size \[28\]"),
        ({"image_size": 10**30}, "image_size 10000"),
        ({"relu_after_conv3": 1}, "relu_after_conv3 1"),
        ({"relu_after_conv3": "no"}, "relu_after_conv3 'no'"),
        ({"normalization": {"mean": ["a"], "std": [1.0]}}, r"normalization with \['a'\] for 1 channels"),
        ({"normalization": {"mean": [1.0, 2.0], "std": [1.0, 1.0]}}, "for 1 channels"),
        ({"normalization": {"mean": [], "std": []}}, "for 1 channels"),
        ({"normalization": {"mean": "1", "std": [1.0]}}, "normalization with '1'"),
        ({"normalization": {"mean": [True], "std": [1.0]}}, "normalization with "),
        ({"normalization": {"mean": [math.nan], "std": [1.0]}}, "normalization with "),
        ({"normalization": {"mean": [0.0], "std": [math.inf]}}, "normalization with "),
        ({"normalization": {"mean": [10**400], "std": [1.0]}}, "normalization with "),
        ({"normalization": {"mean": [0.0], "std": [0.0]}}, "standard deviation of"),
        ({"normalization": {"mean": [0.0], "std": [-1.0]}}, "standard deviation of"),
        ({"normalization": {"std": [1.0]}}, "it says nothing of 'mean'"),
        ({"normalization": 3}, "normalization 3"),
        ({"normalization": None}, "normalization None"),
        ({"class_names": None}, "names of classes None"),
        ({"class_names": "abc"}, "names of classes 'abc'"),
        ({"class_names": ["a", "b"]}, "names of classes"),
        ({"class_names": ["a", "b", 3]}, "names of classes"),
        ({"class_names": ["a", "b", "c" * 201]}, "names of classes"),
        ({"class_names": {"a": 1, "b": 2, "c": 3}}, "names of classes"),
        ({"data": 5}, "trained on 5"),
        ({"data_digest": 5}, "trained on 5"),
        ({"data": ["mnist"]}, "trained on "),
    ],
)
def test_a_file_that_says_something_else_is_refused(file: Path, change: dict[str, Any], reason: str) -> None:
    save(file, ABOUT | change)
    with pytest.raises(DataError, match=rf"^load_trained: got '.*m\.safetensors', .*no trained network \(.*{reason}"):
        load_trained(file)


@pytest.mark.parametrize("name", sorted(set(ABOUT) - {"class_names"}))
def test_a_file_that_says_nothing_of_it_is_refused(file: Path, name: str) -> None:
    save(file, {key: value for key, value in ABOUT.items() if key != name})
    with pytest.raises(DataError, match=f"it says nothing of '{name}'"):
        load_trained(file)


def test_no_network_is_made_before_its_arrays_are_compared(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred bytes may ask for a thousand channels and a hundred thousand classes."""

    def too_early(*_: Any, **__: Any) -> Any:
        raise AssertionError("a network was made")

    monkeypatch.setattr(trained, "LeNet5", too_early)
    for arrays in (
        {},
        {"conv1.weight": np.zeros((6, 1, 5, 5))},
        {"conv1.weight": np.zeros(3), "fc5.weight": np.zeros(3)},
    ):
        for about in ({}, ABOUT | {"channels": 1000, "classes": 100_000}):
            save_arrays(file, arrays, about)
            with pytest.raises(DataError, match="no trained network"):
                load_trained(file)


@pytest.mark.parametrize("name", ["conv1.weight", "fc5.weight", "bn2.running_var", "conv3.bias"])
@pytest.mark.parametrize("about", [{}, ABOUT], ids=["alone", "described"])
def test_an_array_that_is_missing_or_of_another_shape_is_refused(name: str, about: dict[str, Any], file: Path) -> None:
    state = LeNet5(classes=3, rng=5).state_dict()
    for changed in ({}, {name: state[name][:-1]}, {name: state[name][None]}, {name: np.full_like(state[name], np.nan)}):
        save_arrays(file, {other: array for other, array in state.items() if other != name} | changed, about)
        with pytest.raises(DataError, match="no trained network"):
            load_trained(file)


# ==== weights alone ====


@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, 7)])
def test_weights_alone_are_a_network_of_their_sizes(file: Path, channels: int, classes: int) -> None:
    model = LeNet5(channels=channels, classes=classes, rng=2).eval()
    save(file, {}, model)
    found = load_trained(file)
    assert (found.image_shape, found.class_names) == ((channels, 28, 28), tuple(map(str, range(classes))))
    assert found.normalization == Normalization((0.1307 * 255,) * channels, (0.3081 * 255,) * channels)
    assert "does not say how to normalise images" in found.title
    assert found.data is None
    x = np.ones((1, channels, 28, 28), np.float32)
    np.testing.assert_array_equal(found.model.infer(x), model.infer(x))


def test_weights_that_pytorch_has_saved(file: Path) -> None:
    torch = open_partner("torch", "torch")
    from safetensors.torch import save_file

    nn = torch.nn
    network = nn.Sequential()
    for name, layer in {
        "conv1": nn.Conv2d(1, 6, 5, padding=2), "pool1": nn.MaxPool2d(2), "bn1": nn.BatchNorm2d(6), "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(6, 16, 5), "pool2": nn.MaxPool2d(2), "bn2": nn.BatchNorm2d(16), "relu2": nn.ReLU(),
        "conv3": nn.Conv2d(16, 120, 5), "flatten": nn.Flatten(), "fc4": nn.Linear(120, 84), "relu4": nn.ReLU(),
        "fc5": nn.Linear(84, 10),
    }.items():  # fmt: skip
        network.add_module(name, layer)
    save_file(network.state_dict(), file)
    images = digits().x_test[:5]
    x = (torch.from_numpy(images).double() / 255 - 0.1307) / 0.3081
    expected = network.eval()(x.float()).softmax(1).detach().numpy()
    np.testing.assert_allclose(load_trained(file).probabilities(images), expected, atol=1e-5)


# ==== which file ====


def test_of_a_run_the_best_is_taken_and_else_the_last(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"a folder without best.safetensors or model.safetensors"):
        load_trained(tmp_path)
    save(tmp_path / "model.safetensors", ABOUT)
    assert trained_file(tmp_path) == tmp_path / "model.safetensors"
    save(tmp_path / "best.safetensors", ABOUT | {"class_names": ["the", "best", "one"]})
    assert trained_file(str(tmp_path)) == tmp_path / "best.safetensors"
    assert load_trained(tmp_path).class_names == ("the", "best", "one")
    assert trained_file(tmp_path / "model.safetensors") == tmp_path / "model.safetensors"


@pytest.mark.parametrize(
    "path", ["absent.safetensors", "absent.onnx", "absent", "a\0b"], ids=["weights", "onnx", "a folder", "a zero byte"]
)
def test_what_is_no_file_is_refused(path: str, tmp_path: Path) -> None:
    if path.endswith(".onnx"):
        needs_onnx()
    with pytest.raises(DataError, match=r"absent|no file can have such a name"):
        load_trained(tmp_path / path)


def test_what_is_no_path_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^load_trained: got path 5"):
        load_trained(5)  # type: ignore[arg-type]


# ==== ONNX ====


def needs_onnx() -> Any:
    """The package's reader and writer of ONNX."""
    open_partner("onnx", "onnx")
    if importlib.util.find_spec("xlenet.interop") is None:
        pytest.skip("xlenet.interop is not here")
    from xlenet import interop

    return interop


def test_a_network_that_has_been_to_onnx(tmp_path: Path) -> None:
    interop = needs_onnx()
    interop.export_onnx(reader().model, tmp_path / "m.onnx", (1, 28, 28), about=reader().about())
    found = load_trained(tmp_path / "m.onnx")
    assert found[1:4] == reader()[1:4]
    assert (found.title, found.data) == ("LeNet-5 as ONNX", "generated")
    assert found.reads_digits
    images = digits().x_test[:20]
    np.testing.assert_allclose(found.probabilities(images), reader().probabilities(images), atol=1e-5)


def test_a_strangers_onnx_file_takes_pixels_of_0_to_1(tmp_path: Path) -> None:
    interop = needs_onnx()
    model = Sequential(flatten=Flatten(), fc=Linear(12, 4, rng=0), softmax=Softmax()).eval()
    interop.export_onnx(model, tmp_path / "m.ONNX", (3, 2, 2))
    found = load_trained(tmp_path / "m.ONNX")
    assert found.normalization == Normalization((0.0,) * 3, (255.0,) * 3)
    assert (found.image_shape, found.class_names) == ((3, 2, 2), ("0", "1", "2", "3"))
    assert "from 0 to 1" in found.title
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    expected = model.infer((images / 255.0).astype(np.float32))
    np.testing.assert_allclose(found.probabilities(images), expected, atol=1e-6)  # no second softmax


def test_channels_last_in_a_file_are_first_for_the_caller(tmp_path: Path) -> None:
    interop = needs_onnx()
    from xlenet.layers import Permute

    inner = Sequential(flatten=Flatten(), fc=Linear(3 * 4 * 5, 2, rng=0)).eval()
    model = Sequential(permute=Permute((0, 3, 1, 2)), flatten=inner["flatten"], fc=inner["fc"]).eval()
    interop.export_onnx(model, tmp_path / "m.onnx", (4, 5, 3))
    found = load_trained(tmp_path / "m.onnx")
    assert found.image_shape == (3, 4, 5)
    images = np.arange(120, dtype=np.uint8).reshape(2, 3, 4, 5)
    scores = inner.infer((images / 255.0).astype(np.float32))
    np.testing.assert_allclose(found.model.infer((images / 255.0).astype(np.float32)), scores, atol=1e-6)


def no_images(interop: Any, path: Path) -> None:
    interop.export_onnx(Linear(5, 2, rng=0).eval(), path, (5,))


def no_classes(interop: Any, path: Path) -> None:
    from xlenet.layers import ReLU

    interop.export_onnx(ReLU().eval(), path, (1, 4, 4))


def one_number(interop: Any, path: Path) -> None:
    model = Sequential(flatten=Flatten(), fc=Linear(16, 1, rng=0)).eval()
    interop.export_onnx(model, path, (1, 4, 4))


def said(about: Any) -> Callable[[Any, Path], None]:
    def write(interop: Any, path: Path) -> None:
        model = Sequential(flatten=Flatten(), fc=Linear(16, 3, rng=0)).eval()
        interop.export_onnx(model, path, (1, 4, 4), about=about)

    return write


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (no_images, r"it takes x of shape \(5,\) each"),
        (one_number, "it gives one number for each image, and not one for each of two classes"),
        (no_classes, r"it makes \(1, 1, 4, 4\) of one image"),
        (said({"class_names": ["a"]}), "names of classes"),
        (said({"normalization": {"mean": [0.0], "std": [0.0]}}), "normalization with a standard deviation"),
        (said({"normalization": {"mean": [0.0]}}), "it says nothing of 'std'"),
        (said({"data": 7}), "trained on 7"),
    ],
)
def test_an_onnx_file_that_is_no_classifier_of_images(
    write: Callable[[Any, Path], None], reason: str, tmp_path: Path
) -> None:
    write(needs_onnx(), tmp_path / "m.onnx")
    with pytest.raises(DataError, match=rf"an ONNX file that is no classifier of images \({reason}"):
        load_trained(tmp_path / "m.onnx")


def test_the_metadata_is_the_same_json_in_both_kinds_of_files(tmp_path: Path) -> None:
    interop = needs_onnx()
    onnx = open_partner("onnx", "onnx")
    interop.export_onnx(reader().model, tmp_path / "m.onnx", (1, 28, 28), about=reader().about())
    props = {prop.key: prop.value for prop in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(props["xlenet"]) == reader().about()
    assert reader().about()["class_names"] == list(DIGITS)


@pytest.mark.parametrize("about", [True, False])
def test_a_negative_variance_is_refused(about: bool, file: Path) -> None:
    state = LeNet5(rng=0).state_dict()
    state["bn2.running_var"][3] = -0.5
    save_arrays(file, state, reader().about() if about else {})
    with pytest.raises(DataError, match=r"'bn2\.running_var' has a variance of -0\.5"):
        load_trained(file)
