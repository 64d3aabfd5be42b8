"""`fit`, `evaluate` and `predict` on whatever arrays a user has, and on data sets of floating numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.functional.messages import message
from tests.libraries import Lib, open_partner
from tests.networks import on, parameters
from xlenet import SGD, Adam, BatchNorm, Conv2D, Flatten, Layer, Linear, ReLU, Sequential
from xlenet.backend import library_of
from xlenet.data import Examples, Images
from xlenet.training import evaluate, fit, predict

CLASSES = 3


def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(0, 256, (n, 2, 4, 4), np.uint8), rng.integers(0, CLASSES, n)


def network(dtype: str = "float32") -> Sequential:
    return Sequential(
        conv=Conv2D(2, 3, 3, rng=0, dtype=dtype),
        bn=BatchNorm(3, dtype=dtype),
        relu=ReLU(),
        flatten=Flatten(),
        fc=Linear(12, CLASSES, rng=1, dtype=dtype),
    )


def on_rows(dtype: str = "float32") -> Sequential:
    return Sequential(
        fc1=Linear(5, 8, rng=0, dtype=dtype),
        bn=BatchNorm(8, dtype=dtype),
        relu=ReLU(),
        fc2=Linear(8, CLASSES, rng=1, dtype=dtype),
    )


def same(lib: Lib, one: Layer, other: Layer) -> None:
    expected = parameters(lib, other)
    for name, value in parameters(lib, one).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def figures(history: list[Any]) -> list[Any]:
    return [epoch[:6] for epoch in history]


# ==== arrays are what the data sets made of them are ====


def test_bytes_are_images_normalised_by_the_training_part(lib: Lib, rng: np.random.Generator) -> None:
    (x, y), (xt, yt) = draw(rng, 21), draw(rng, 9)
    with on(lib):
        one, other = network(), network()
        train = Images(x, y)
        test = Images(xt, yt, train.normalization)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 8, "lr": 0.1}
    history = fit(one, x, y, test=(xt, yt), validation=(xt[:5], yt[:5]), optimizer=SGD(one), **options)
    expected = fit(other, train, test=test, optimizer=SGD(other), **options)
    assert figures(history) == figures(expected)
    assert history[-1].validation_accuracy is not None
    same(lib, one, other)


@pytest.mark.parametrize("kind", ["NumPy float64", "NumPy float16", "the library's own", "PyTorch"])
def test_floating_arrays_of_any_library_go_beside_the_model(lib: Lib, rng: np.random.Generator, kind: str) -> None:
    """And in its type: made outside of any `use_backend`, as a user does."""
    x, y = rng.standard_normal((20, 5)).astype(np.float16), rng.integers(0, CLASSES, 20)
    given: dict[str, Any] = {
        "NumPy float64": lambda: (x.astype(np.float64), y),
        "NumPy float16": lambda: (x, y.astype(np.uint8)),
        "the library's own": lambda: (lib.asarray(x.astype(np.float64)), lib.asarray(y)),
        "PyTorch": lambda: tuple(map(open_partner("torch", "torch").tensor, (x.astype(np.float32), y))),
    }
    with on(lib):
        one, other = on_rows(), on_rows()
        train = Examples(x, y)
    mine = given[kind]()
    history = fit(one, *mine, test=mine, epochs=2, batch_size=6)
    assert figures(history) == figures(fit(other, train, test=train, epochs=2, batch_size=6))
    same(lib, one, other)
    assert evaluate(one, *mine).accuracy == history[-1].test_accuracy


def test_examples_come_in_batches(lib: Lib, rng: np.random.Generator) -> None:
    """Of any rank, with the batch innermost in memory, by positions and by slices."""
    y = np.arange(6) % 2
    for shape in [(6, 3), (6, 3, 2), (6, 2, 3, 4), (6, 1, 2, 3, 2)]:
        x = rng.standard_normal(shape)
        with on(lib):
            examples = Examples(x, y)
        which = lib.asarray(np.array([5, 0, 5]), "int64")
        for asked, places in [(which, [5, 0, 5]), (slice(1, 6, 2), [1, 3, 5]), (slice(4, 99), [4, 5])]:
            batch, labels = examples.batch(asked)
            np.testing.assert_array_equal(lib.to_numpy(batch), x[places])
            np.testing.assert_array_equal(lib.to_numpy(labels), y[places])
            assert library_of(batch) is lib.xp
        if lib.name == "numpy":
            assert batch.strides[0] == batch.itemsize
    assert (len(examples), examples.classes, examples.dtype) == (6, 2, "float64")


def test_a_batch_is_the_callers_own(rng: np.random.Generator) -> None:
    x = rng.standard_normal((4, 3))
    kept = x.copy()
    examples = Examples(x, np.arange(4))
    examples.batch(slice(0, 4))[0][...] = 7.0
    np.testing.assert_array_equal(examples.batch(slice(0, 4))[0], kept)


def test_labels_in_a_column_as_keras_has_them(numpy_lib: Lib, rng: np.random.Generator) -> None:
    x, y = draw(rng, 12)
    one, other = network(), network()
    fit(one, x, y[:, None].astype(np.uint8), epochs=1, batch_size=4)
    fit(other, x, y, epochs=1, batch_size=4)
    same(numpy_lib, one, other)


# ==== what is not said ====


def test_what_is_not_said_is_what_the_command_line_takes(lib: Lib, rng: np.random.Generator) -> None:
    x, y = draw(rng, 70)
    with on(lib):
        one, other = network(), network()
    history = fit(one, x, y, epochs=2)
    optimizer = SGD(other, momentum=0.9, nesterov=True, weight_decay=5e-4)
    assert (
        figures(history)[0][:4]
        == figures(fit(other, x, y, optimizer=optimizer, epochs=2, batch_size=64, lr=0.05))[0][:4]
    )
    same(lib, one, other)
    with on(lib):
        one, other = network(), network()
    fit(one, x, y, optimizer=Adam(one), epochs=1)
    fit(other, x, y, optimizer=Adam(other), epochs=1, lr=0.004)
    same(lib, one, other)


@pytest.mark.parametrize("count", [2, 5, 63])
def test_fewer_examples_than_a_batch_are_one_batch(numpy_lib: Lib, rng: np.random.Generator, count: int) -> None:
    steps = []
    model = network()
    fit(model, *draw(rng, count), epochs=1, on_step=lambda progress: steps.append(progress.steps))
    assert steps == [1]


# ==== a batch of one ====


@pytest.mark.parametrize(
    ("count", "batch_size", "advice"),
    [(1, None, "train on more examples"), (65, None, "use batch_size=63"), (9, 4, "use batch_size=3"),
     (6, 1, "use batch_size=6"), (3, 2, "use batch_size=3"), (2, 1, "use batch_size=2")],
)  # fmt: skip
def test_a_batch_of_one_and_batch_normalisation(
    lib: Lib, rng: np.random.Generator, count: int, batch_size: int | None, advice: str
) -> None:
    """Said before the first step, and not in the last one."""
    x, y = rng.standard_normal((count, 5)), rng.integers(0, CLASSES, count)
    with on(lib):
        model = on_rows()
    before, arrays = parameters(lib, model), dict(model["fc1"].params)
    with pytest.raises(ValueError, match=message("fit", got=f"for {count} examples, which makes a batch of one")) as e:
        fit(model, x, y, batch_size=batch_size)
    assert str(e.value).endswith(advice)
    for name, value in parameters(lib, model).items():
        np.testing.assert_array_equal(value, before[name])
    assert all(model["fc1"].params[name] is array for name, array in arrays.items()), "no optimiser was made"


def test_a_batch_of_one_image_has_statistics(numpy_lib: Lib, rng: np.random.Generator) -> None:
    model = network()
    assert len(fit(model, *draw(rng, 9), epochs=1, batch_size=4)) == 1
    assert len(fit(model, *draw(rng, 1), epochs=2)) == 2


def test_without_batch_normalisation_one_example_is_a_batch(numpy_lib: Lib, rng: np.random.Generator) -> None:
    model = Sequential(fc=Linear(5, CLASSES, rng=0))
    assert len(fit(model, rng.standard_normal((9, 5)), np.arange(9) % 3, epochs=1, batch_size=4)) == 1


# ==== predict ====


@pytest.mark.parametrize("batch_size", [1, 4, 500])
def test_predictions_are_the_softmax_of_the_logits(lib: Lib, rng: np.random.Generator, batch_size: int) -> None:
    x, y = draw(rng, 11)
    with on(lib):
        model, images = network("float64"), Images(x, y, dtype="float64")
    before = parameters(lib, model)
    logits = lib.to_numpy(model.infer(images.batch(slice(0, 11))[0]))
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    found = predict(model, x, normalization=images.normalization, batch_size=batch_size)
    assert type(found) is np.ndarray
    np.testing.assert_allclose(found, exp / exp.sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_array_equal(predict(model, images, batch_size=batch_size), found)
    evaluation = evaluate(model, x, y, normalization=images.normalization)
    np.testing.assert_array_equal(found.argmax(axis=1), evaluation.predictions)
    assert evaluation.loss == pytest.approx(-np.log(found[np.arange(11), y]).mean(), rel=1e-10)
    for name, value in parameters(lib, model).items():
        np.testing.assert_array_equal(value, before[name])


def test_predictions_of_floats_and_of_few_rows(lib: Lib, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 5))
    with on(lib):
        model = on_rows("float64")
    found = predict(model, x, batch_size=2)
    for i in range(3):
        np.testing.assert_allclose(predict(model, x[i : i + 1])[0], found[i], rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)


def test_a_tensor_on_another_device_is_refused_in_words(numpy_lib: Lib) -> None:
    torch = open_partner("torch", "torch")
    y = np.arange(4) % 2
    with pytest.raises(TypeError, match=message("fit", got="x, a torch.Tensor", expected="on the host")):
        fit(on_rows(), torch.zeros((4, 5), device="meta"), y)
    with pytest.raises(TypeError, match=message("fit", got="x, a torch.Tensor", expected="on the host")) as told:
        fit(on_rows(), torch.zeros((4, 5), requires_grad=True), y)
    assert str(told.value).endswith("; call its .detach()")
    with pytest.raises(TypeError, match=message("fit", got="x, a torch.Tensor", expected="on the host")) as told:
        fit(on_rows(), torch.zeros((4, 5), dtype=torch.bfloat16), y)
    assert str(told.value).endswith(": call its .float(), or cast it to float32")


# ==== what a type is called ====


class Elsewhere:
    """An array of a library that names its types in its own way, as TensorFlow does; or that has none."""

    def __init__(self, array: Any, dtype: str | None) -> None:
        self.array = array
        if dtype is not None:
            self.dtype = dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.array


@pytest.mark.parametrize("dtype", ["<dtype: 'uint8'>", "uint8", "float32", None])
def test_bytes_are_bytes_whatever_they_are_called(numpy_lib: Lib, rng: np.random.Generator, dtype: str | None) -> None:
    """Else they were normalised by themselves, and nobody was told."""
    x, y = draw(rng, 12)
    model, given, normalization = network(), Elsewhere(x // 4, dtype), Images(x, y).normalization
    expected = predict(model, x // 4, normalization=normalization)
    np.testing.assert_array_equal(predict(model, given, normalization=normalization), expected)
    assert evaluate(model, given, y, normalization=normalization) is not None
    for measure in (lambda: predict(model, given), lambda: evaluate(model, given, y)):
        with pytest.raises(TypeError, match="normalization None; expected that of the images"):
            measure()
    floats = Elsewhere((x / 255.0).astype("float32"), dtype)
    assert predict(model, floats).shape == (12, CLASSES)
    with pytest.raises(TypeError, match="got normalization beside x that is no array of bytes"):
        predict(model, floats, normalization=normalization)


# ==== what to do ====


def advice(call: Any) -> str:
    with pytest.raises((TypeError, ValueError)) as told:
        call()
    return str(told.value).rpartition("; ")[2]


def test_what_to_do_about_labels_that_are_none(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((12, 5)), np.arange(12) % CLASSES
    for labels, words in [
        (np.eye(CLASSES, dtype=int)[y], "take the argmax of one-hot rows"),
        (np.eye(CLASSES)[y], "take the argmax of one-hot rows"),
        (y.astype(float), "cast them, with y.astype(int)"),
        (x[:, 0], "this trains classifiers, so put numbers of classes in the place of measured ones"),
        (np.array(["ant", "bee", "cat"])[y], "number the classes: names, y = numpy.unique(y, return_inverse=True)"),
        (y[None], "reshape it"),
    ]:
        assert advice(lambda labels=labels: fit(on_rows(), x, labels)) == words


def test_truth_values_are_two_classes(numpy_lib: Lib, rng: np.random.Generator) -> None:
    x, y = draw(rng, 12)
    one, other = network(), network()
    fit(one, x, y > 0, epochs=1, batch_size=4)
    fit(other, x, (y > 0).astype(int), epochs=1, batch_size=4)
    same(numpy_lib, one, other)


def test_a_data_set_of_another_type_is_told_what_to_be(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((12, 5)), np.arange(12) % CLASSES
    assert advice(lambda: fit(on_rows(), Examples(x, y))) == 'make it with dtype="float32"'
    assert advice(lambda: fit(on_rows("float64"), Examples(x, y, dtype="float32"))) == 'make it with dtype="float64"'


def test_a_part_that_the_model_does_not_take_is_named(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((12, 5)), np.arange(12) % CLASSES
    with pytest.raises(ValueError, match=r"^fit: got test that the model does not take \(linear: got weight"):
        fit(on_rows(), x, y, test=(x[:, :3], y))
    with pytest.raises(ValueError, match=r"^linear: got weight"):
        fit(on_rows(), x[:, :3], y)


def test_a_model_is_in_training_mode_afterwards(rng: np.random.Generator) -> None:
    """As the docstring says."""
    model = on_rows().eval()
    fit(model, rng.standard_normal((12, 5)), np.arange(12) % CLASSES, epochs=1)
    assert model.training
