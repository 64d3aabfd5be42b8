"""The training loop as a library: what it counts, in which order it goes, when it stops, and what it allocates."""

from __future__ import annotations

import contextlib
import math
import tracemalloc
import types
from typing import Any

import numpy as np
import pytest

from tests.functional.messages import message
from tests.libraries import Lib, open_library
from tests.networks import on, parameters
from xlenet import (
    SGD,
    Adam,
    BatchNorm,
    Flatten,
    Layer,
    LeNet5,
    Linear,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Workspace,
    errors,
    steps,
    training,
)
from xlenet.backend.seam import kernels_on
from xlenet.data.images import Images
from xlenet.schedules import constant, one_cycle
from xlenet.training import Epoch, Evaluation, Position, Progress, evaluate, fit, train_step

CLASSES = 3


def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(0, 256, (n, 1, 4, 4), np.uint8), rng.integers(0, CLASSES, n)


def plain_model() -> Sequential:
    """Each image's logits depend on that image alone, in training too."""
    return Sequential(flatten=Flatten(), fc=Linear(16, CLASSES, rng=0, dtype="float64"))


def model_with_statistics() -> Sequential:
    return Sequential(
        flatten=Flatten(),
        fc1=Linear(16, 8, rng=0, dtype="float64"),
        bn=BatchNorm(8, dtype="float64"),
        relu=ReLU(),
        fc2=Linear(8, CLASSES, rng=1, dtype="float64"),
    )


def images_on(lib: Lib, x: np.ndarray, y: np.ndarray, **options: Any) -> Images:
    with on(lib):
        return Images(x, y, dtype="float64", **options)


def direct(lib: Lib, model: Layer, images: Images) -> tuple[float, float, np.ndarray]:
    """Loss, accuracy and predictions of all images at once, in plain NumPy behind the logits."""
    x, labels = images.batch(slice(0, len(images)))
    logits, labels = lib.to_numpy(model.infer(x)), lib.to_numpy(labels)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -log_p[np.arange(len(labels)), labels].mean()
    predictions = logits.argmax(axis=1)
    return float(loss), float((predictions == labels).mean()), predictions


class Bomb(Layer):
    """Passes everything on, but in one forward pass in training it turns the numbers into something else.

    Then it takes the gradient away, so that the weights survive and the losses behind that one are finite again.
    """

    def __init__(self, at: int, value: float) -> None:
        super().__init__()
        self.at, self.value, self.calls = at, value, 0

    def _forward(self, x: Any, work: Workspace | None) -> tuple[Any, Any]:
        self.calls += 1
        return x * (self.value if self.calls == self.at else 1.0), True

    def _backward(self, dy: Any, cache: Any, need_dx: bool, work: Workspace | None) -> Any:
        return np.zeros_like(dy) if self.calls == self.at else dy

    def _infer(self, x: Any, work: Workspace | None) -> Any:
        return x


# ==== what is counted ====


@pytest.mark.parametrize("batch_size", [1, 4, 7, 10])
def test_a_short_last_batch_counts_by_its_own_size(lib: Lib, rng: np.random.Generator, batch_size: int) -> None:
    """With a rate that changes next to nothing, the epoch's mean is that of all images, whatever the batches."""
    images = images_on(lib, *draw(rng, 10))
    with on(lib):
        model = plain_model()
    loss, accuracy, _ = direct(lib, model, images)
    (epoch,) = fit(model, images, optimizer=SGD(model), epochs=1, batch_size=batch_size, lr=1e-14)
    assert epoch.train_loss == pytest.approx(loss, rel=1e-10)
    assert epoch.train_accuracy == pytest.approx(accuracy, abs=1e-12)
    assert math.isnan(epoch.test_loss)
    assert math.isnan(epoch.test_accuracy)


def test_a_short_last_batch_is_trained_on_too(lib: Lib, rng: np.random.Generator) -> None:
    """By its own size: its gradient is a mean over its images, and not over as many as the others have."""
    x, y = draw(rng, 5)
    images = images_on(lib, x, y)
    with on(lib):
        model, other = plain_model(), plain_model()
    fit(model, images, optimizer=SGD(model, momentum=0.0), epochs=1, batch_size=3, lr=0.1, schedule=constant, seed=2)
    order = np.random.default_rng([2, training.ORDER_STREAM, 1]).permutation(5)
    optimizer = SGD(other, momentum=0.0)
    for which in (order[:3], order[3:]):
        train_step(other, SoftmaxCrossEntropy(), optimizer, *images.batch(lib.asarray(which)), 0.1, labels_checked=True)
    assert_same(parameters(lib, model), parameters(lib, other))


def test_the_record_of_an_epoch(lib: Lib, rng: np.random.Generator) -> None:
    train, test = images_on(lib, *draw(rng, 20)), images_on(lib, *draw(rng, 9))
    with on(lib):
        model = model_with_statistics()
    seen: list[Epoch] = []
    history = fit(model, train, optimizer=SGD(model), test=test, epochs=3, batch_size=8, lr=0.5, on_epoch=seen.append)
    assert history == seen
    assert [epoch.epoch for epoch in history] == [1, 2, 3]
    assert list(history[0].record()) == [
        "epoch",
        "lr",
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "seconds",
        "images_per_second",
    ], "nothing of images that nobody has held out"
    for epoch in history:
        assert epoch.lr == pytest.approx(0.5 * one_cycle((epoch.epoch * 3 - 1) / 9))
        assert epoch.images_per_second == pytest.approx(20 / epoch.seconds)
        assert 0 <= epoch.train_accuracy <= 1
        assert all(type(value) in (int, float) for value in epoch.record().values()), "a line of JSON"
    loss, accuracy, _ = direct(lib, model, test)
    assert history[-1].test_loss == pytest.approx(loss, rel=1e-10)
    assert history[-1].test_accuracy == accuracy


def test_seconds_are_those_of_training_alone_until_the_device_has_finished(
    numpy_lib: Lib, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock on which a step takes 1 s, waiting for the device 100 s, and an evaluation 10,000 s."""
    clock = [0.0]

    def passes(seconds: float, result: Any = None) -> Any:
        clock[0] += seconds
        return result

    monkeypatch.setattr(training, "time", types.SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(steps, "synchronize", lambda _: passes(100.0))
    monkeypatch.setattr(training, "evaluate", lambda *_, **__: passes(10_000.0, Evaluation(0.0, 0.0, None)))
    model, images = plain_model(), images_on(numpy_lib, *draw(rng, 6))
    history = fit(
        model, images, optimizer=SGD(model), test=images, epochs=2, batch_size=3, on_step=lambda _: passes(1.0)
    )
    assert [epoch.seconds for epoch in history] == [102.0, 102.0]
    assert [epoch.images_per_second for epoch in history] == [6 / 102] * 2


def test_training_learns(lib: Lib, rng: np.random.Generator) -> None:
    """The class is which quarter of the image is bright."""
    y = rng.integers(0, CLASSES, 60)
    x = rng.integers(0, 100, (60, 1, 4, 4), np.uint8)
    for image, label in zip(x, y, strict=True):
        image[0, label] += 150
    with on(lib):
        model = model_with_statistics()
    images = images_on(lib, x, y)
    history = fit(model, images, optimizer=SGD(model), test=images, epochs=5, batch_size=16, lr=0.1)
    assert history[-1].test_accuracy == 1.0
    assert history[-1].train_loss < history[0].train_loss


# ==== order and rates ====


class Recorded(Images):
    """Writes down which images were asked for."""

    asked: list[list[int]]

    def batch(self, which: Any, work: Workspace | None = None) -> Any:
        if not isinstance(which, slice):
            host = np.asarray(which) if isinstance(which, np.ndarray) else self.host(which)
            self.asked.append(host.tolist())
        return super().batch(which, work)

    host: Any


def recorded_order(lib: Lib, seed: int, epochs: int) -> list[list[int]]:
    with on(lib):
        images, model = Recorded(*draw(np.random.default_rng(1), 10), dtype="float64"), plain_model()
    images.asked, images.host = [], lib.to_numpy
    fit(model, images, optimizer=SGD(model), epochs=epochs, batch_size=4, seed=seed)
    return images.asked


def test_each_epoch_has_an_order_of_its_own_with_each_image_once(lib: Lib) -> None:
    asked = recorded_order(lib, 7, 3)
    assert [len(batch) for batch in asked] == [4, 4, 2] * 3
    epochs = [[*asked[k], *asked[k + 1], *asked[k + 2]] for k in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert list(range(10)) not in epochs


def test_the_order_depends_on_the_seed_and_on_nothing_else(lib: Lib) -> None:
    """Not on the library, and not on whether anybody has drawn random numbers before."""
    expected = recorded_order(open_library("numpy"), 7, 2)
    np.random.default_rng().random()
    assert recorded_order(lib, 7, 2) == expected
    assert recorded_order(lib, 8, 2) != expected


def test_the_schedule_is_asked_for_the_progress_of_the_whole_run(numpy_lib: Lib, rng: np.random.Generator) -> None:
    asked: list[float] = []

    def schedule(progress: float) -> float:
        asked.append(progress)
        return 1.0 - progress

    rates: list[float] = []

    class Recording(SGD):
        def step(self, lr: float) -> None:
            rates.append(lr)
            super().step(lr)

    model, images = plain_model(), images_on(numpy_lib, *draw(rng, 10))
    history = fit(model, images, optimizer=Recording(model), epochs=3, batch_size=4, lr=0.2, schedule=schedule)
    np.testing.assert_allclose(asked, np.arange(9) / 9)
    np.testing.assert_allclose(rates, 0.2 * (1 - np.arange(9) / 9))
    assert [epoch.lr for epoch in history] == [rates[2], rates[5], rates[8]]


# ==== the same again ====


def run(lib: Lib, *, seed: int = 0, init: int = 0, dtype: str = "float32") -> tuple[list[Any], dict[str, np.ndarray]]:
    """A short run of LeNet-5; what can be compared of its history, and its parameters."""
    rng = np.random.default_rng(9)
    x, y = rng.integers(0, 256, (40, 1, 28, 28), np.uint8), rng.integers(0, 10, 40)
    with on(lib):
        train, model = Images(x, y, dtype=dtype), LeNet5(rng=init, dtype=dtype)
        test = Images(x[:15], y[:15], train.normalization, dtype=dtype)
    history = fit(model, train, optimizer=Adam(model), test=test, epochs=2, batch_size=16, lr=0.002, seed=seed)
    return [epoch[:6] for epoch in history], parameters(lib, model)


def test_the_same_seed_gives_the_same_numbers_to_the_last_bit(lib: Lib) -> None:
    history, state = run(lib)
    again, other_state = run(lib)
    assert again == history
    assert_same(other_state, state)
    for options in ({"seed": 1}, {"init": 1}):
        assert run(lib, **options)[0] != history


def test_a_run_is_the_same_on_every_library(device_lib: Lib) -> None:
    history, state = run(open_library("numpy"), dtype="float64")
    actual, other_state = run(device_lib, dtype="float64")
    np.testing.assert_allclose(actual, history, rtol=1e-8)
    for name, value in state.items():
        np.testing.assert_allclose(other_state[name], value, rtol=1e-8, atol=1e-9, err_msg=name)


def test_lent_memory_changes_no_bit(lib: Lib, rng: np.random.Generator) -> None:
    """`fit`, which lends memory from step to step, against the same steps with arrays of their own."""
    _, expected = run(lib)
    data = np.random.default_rng(9)
    with on(lib):
        train = Images(data.integers(0, 256, (40, 1, 28, 28), np.uint8), data.integers(0, 10, 40))
        model, loss = LeNet5(rng=0), SoftmaxCrossEntropy()
    optimizer = Adam(model)
    for epoch in (1, 2):
        order = np.random.default_rng([0, training.ORDER_STREAM, epoch]).permutation(40)
        for step in range(3):
            x, labels = train.batch(lib.asarray(order[step * 16 : (step + 1) * 16]))
            rate = 0.002 * one_cycle(((epoch - 1) * 3 + step) / 6)
            train_step(model, loss, optimizer, x, labels, rate, labels_checked=True)  # as fit does
    assert_same(parameters(lib, model), expected)


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(actual) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


def test_a_step_allocates_nothing_large(numpy_lib: Lib, rng: np.random.Generator) -> None:
    """After the first steps. The largest array of a step is conv1's columns: 25 * 28 * 28 * 64 floats, 5 MB."""
    x, y = rng.integers(0, 256, (64 * 8, 1, 28, 28), np.uint8), rng.integers(0, 10, 64 * 8)
    model, images = LeNet5(rng=0), Images(x, y)
    peaks: list[int] = []

    def look(progress: Progress) -> None:
        now, peak = tracemalloc.get_traced_memory()
        if progress.step > 3:
            peaks.append(peak - before[0])
        before[0] = now
        tracemalloc.reset_peak()

    before = [0]
    tracemalloc.start()
    try:
        fit(model, images, optimizer=SGD(model), epochs=1, batch_size=64, on_step=look)
    finally:
        tracemalloc.stop()
    assert len(peaks) == 5
    assert max(peaks) < 900_000, f"a step took {max(peaks):,} bytes of its own"


# ==== stopping and diverging ====


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("at", "epoch", "step"), [(1, 1, 1), (5, 1, 5), (130, 1, 130), (205, 2, 5), (400, 2, 200)])
def test_a_loss_that_is_not_finite_is_told_with_its_step(
    numpy_lib: Lib, rng: np.random.Generator, value: float, at: int, epoch: int, step: int
) -> None:
    """Whether it is noticed at once or some steps later. There are 200 steps in an epoch."""
    images = images_on(numpy_lib, *draw(rng, 200))
    model = Sequential(flatten=Flatten(), fc=Linear(16, CLASSES, rng=0, dtype="float64"), bomb=Bomb(at, value))
    pattern = rf"^fit: got .* not finite in step {step} of epoch {epoch} \(learning rate [^,]+, at its peak 0\.01\);"
    with np.errstate(all="ignore"), pytest.raises(errors.DivergedError, match=pattern) as caught:
        fit(model, images, optimizer=SGD(model), epochs=2, batch_size=1, lr=0.01)
    assert "try a peak of 0.001" in str(caught.value)
    assert f"(learning rate {0.01 * one_cycle((200 * (epoch - 1) + step - 1) / 400):.3g}," in str(caught.value)
    assert caught.value.exit_code == 6
    assert model["bomb"].calls <= at + 100, "it is noticed before long"


def test_a_rate_far_too_large_diverges_without_a_warning(lib: Lib, rng: np.random.Generator) -> None:
    """Warnings are errors here: the one thing to be told is the step."""
    x, y = rng.integers(0, 256, (64, 1, 28, 28), np.uint8), rng.integers(0, 10, 64)
    with on(lib):
        images, model = Images(x, y), LeNet5(rng=0)
    with pytest.raises(errors.DivergedError, match=r"in step \d+ of epoch 1 \(learning rate \S+, at its peak 1e\+30\)"):
        fit(model, images, optimizer=SGD(model), test=images, epochs=1, batch_size=16, lr=1e30)


def test_should_stop_stops_in_the_middle_of_an_epoch(lib: Lib, rng: np.random.Generator) -> None:
    images = images_on(lib, *draw(rng, 10))
    with on(lib):
        model = plain_model()
    steps: list[tuple[int, int]] = []
    history = fit(
        model,
        images,
        optimizer=SGD(model),
        epochs=3,
        batch_size=4,
        on_step=lambda p: steps.append((p.epoch, p.step)),
        should_stop=lambda: len(steps) == 5,
    )
    assert steps == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]
    assert [epoch.epoch for epoch in history] == [1]


def test_progress_tells_where_a_run_is(lib: Lib, rng: np.random.Generator) -> None:
    images = images_on(lib, *draw(rng, 10))
    with on(lib):
        model = plain_model()
    seen: list[tuple[int, int, int, int, float, float, int]] = []
    history = fit(
        model,
        images,
        optimizer=SGD(model),
        epochs=2,
        batch_size=4,
        on_step=lambda p: seen.append((p.epoch, p.step, p.steps, p.meter.images, *p.meter.read())),
    )
    assert [entry[:4] for entry in seen] == [(e, s, 3, n) for e in (1, 2) for s, n in ((1, 4), (2, 8), (3, 10))]
    assert [entry[4:6] for entry in (seen[2], seen[5])] == [(h.train_loss, h.train_accuracy) for h in history]
    assert [entry[6] for entry in seen] == [1, 2, 3, 1, 2, 3]


def test_an_exception_in_a_callback_goes_through(numpy_lib: Lib, rng: np.random.Generator) -> None:
    model, images = plain_model(), images_on(numpy_lib, *draw(rng, 10))

    def fail(_: Any) -> None:
        raise KeyError("mine")

    for callback in ("on_step", "on_epoch"):
        with pytest.raises(KeyError, match="mine"):
            fit(model, images, optimizer=SGD(model), epochs=1, batch_size=4, **{callback: fail})


# ==== modes ====


def test_each_epoch_trains_by_the_rules_of_training(lib: Lib, rng: np.random.Generator) -> None:
    """Whatever the mode of the model before, and whatever a callback makes of it."""
    images = images_on(lib, *draw(rng, 12))
    with on(lib):
        model = model_with_statistics().eval()
    moved: list[np.ndarray] = []

    def look(_: Epoch) -> None:
        moved.append(lib.to_numpy(model["bn"].buffers["running_mean"]))
        model.eval()

    fit(model, images, optimizer=SGD(model), test=images, epochs=3, batch_size=4, on_epoch=look)
    assert moved[0].any()
    assert not np.array_equal(moved[0], moved[1])
    assert not np.array_equal(moved[1], moved[2])


# ==== evaluate ====


@pytest.mark.parametrize("batch_size", [1, 4, 9, 500])
def test_evaluation_is_the_direct_formula(lib: Lib, rng: np.random.Generator, batch_size: int) -> None:
    images = images_on(lib, *draw(rng, 9))
    with on(lib):
        model = model_with_statistics()
    model(images.batch(slice(0, 9))[0])  # statistics that are not their first values
    loss, accuracy, predictions = direct(lib, model, images)
    found = evaluate(model, images, batch_size=batch_size)
    assert found.loss == pytest.approx(loss, rel=1e-12)
    assert found.accuracy == accuracy
    assert type(found.predictions) is np.ndarray
    assert found.predictions.dtype == np.int64
    np.testing.assert_array_equal(found.predictions, predictions)


@pytest.mark.parametrize("training_mode", [True, False])
def test_evaluation_leaves_the_model_as_it_is(lib: Lib, rng: np.random.Generator, training_mode: bool) -> None:
    images = images_on(lib, *draw(rng, 9))
    with on(lib):
        model, other = model_with_statistics(), model_with_statistics()
    for one in (model, other):
        one.train() if training_mode else one.eval()
    x = images.batch(slice(0, 4))[0]
    y, _ = model(x), other(x)
    before = {name: lib.to_numpy(array) for name, array in model.state_dict().items()}
    evaluate(model, images, batch_size=4)
    assert model.training is training_mode
    assert_same({name: lib.to_numpy(array) for name, array in model.state_dict().items()}, before)
    dy = lib.asarray(np.ones(lib.to_numpy(y).shape))
    lib.assert_equal(model.backward(dy), lib.to_numpy(other.backward(dy)))


def test_an_evaluation_uses_its_memory_again(rng: np.random.Generator) -> None:
    """However many batches there are."""
    x, y = rng.integers(0, 256, (400, 1, 28, 28), np.uint8), rng.integers(0, 10, 400)
    model = LeNet5(rng=0)
    peaks = []
    for images in (Images(x[:40], y[:40]), Images(x, y)):
        tracemalloc.start()
        try:
            evaluate(model, images, batch_size=20)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize("batch_size", [0, -1, 2.5])
def test_an_evaluation_of_impossible_batches_is_refused(rng: np.random.Generator, batch_size: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message("evaluate", got=f"batch_size {batch_size}")):
        evaluate(plain_model(), Images(*draw(rng, 4), dtype="float64"), batch_size=batch_size)


# ==== mistakes ====


@pytest.mark.parametrize(
    ("options", "error", "got", "expected"),
    [
        ({"epochs": 0}, ValueError, "epochs 0", "at least 1"),
        ({"epochs": -3}, ValueError, "epochs -3", "at least 1"),
        ({"epochs": 1.5}, TypeError, "epochs 1.5", "whole number"),
        ({"batch_size": 0}, ValueError, "batch_size 0", "at least 1"),
        ({"batch_size": 2.0}, TypeError, "batch_size 2.0", "whole number"),
        ({"batch_size": 11}, ValueError, "batch_size 11 for 10 examples", "no more than those"),
        ({"lr": 0.0}, ValueError, "lr 0.0", "above 0"),
        ({"lr": -0.1}, ValueError, "lr -0.1", "above 0"),
        ({"lr": math.nan}, ValueError, "lr nan", "above 0"),
        ({"lr": math.inf}, ValueError, "lr inf", "above 0"),
    ],
)
def test_a_number_out_of_range_is_refused(
    rng: np.random.Generator, options: dict[str, Any], error: type[Exception], got: str, expected: str
) -> None:
    model = plain_model()
    before = model.state_dict()
    with pytest.raises(error, match=message("fit", got=got, expected=expected)):
        fit(model, Images(*draw(rng, 10), dtype="float64"), optimizer=SGD(model), **({"batch_size": 4} | options))
    assert_same(dict(model.state_dict()), before)


@pytest.mark.parametrize("where", ["x", "test"])
def test_labels_that_the_model_has_no_logit_for_are_refused_before_training(
    lib: Lib, rng: np.random.Generator, where: str
) -> None:
    """The steps do not check labels, so as not to wait for a GPU: somebody must have done so before."""
    x, y = draw(rng, 10)
    y[3] = CLASSES + 1
    good, bad = images_on(lib, x, y % CLASSES), images_on(lib, x, y)
    with on(lib):
        model = plain_model()
    before = parameters(lib, model)
    train, test = (bad, good) if where == "x" else (good, bad)
    with pytest.raises(ValueError, match=message("fit", got=f"a label {CLASSES + 1} in {where}", expected="0 to 2")):
        fit(model, train, optimizer=SGD(model), test=test, epochs=1, batch_size=4)
    assert_same(parameters(lib, model), before)


def test_a_step_on_its_own_checks_labels(lib: Lib, rng: np.random.Generator) -> None:
    with on(lib):
        model = plain_model()
    x = lib.asarray(rng.standard_normal((2, 1, 4, 4)))
    step = (model, SoftmaxCrossEntropy(), SGD(model), x, lib.asarray([0, CLASSES]), 0.1)
    with pytest.raises(ValueError, match="labels from 0 to 3"):
        train_step(*step)
    # Unchecked it passes, or fails where it is looked up.
    looked_up = lib.name == "numpy" and kernels_on()
    with pytest.raises(IndexError) if looked_up else contextlib.nullcontext():
        train_step(*step, labels_checked=True)


def test_a_step_returns_the_loss_before_it(lib: Lib, rng: np.random.Generator) -> None:
    with on(lib):
        model = plain_model()
    x, labels = lib.asarray(rng.standard_normal((5, 1, 4, 4))), lib.asarray([0, 1, 2, 1, 0])
    expected, logits = SoftmaxCrossEntropy()(model.infer(x), labels), model.infer(x)
    value, seen = train_step(model, SoftmaxCrossEntropy(), SGD(model), x, labels, 0.1)
    lib.assert_equal(value, lib.to_numpy(expected))
    lib.assert_equal(seen, lib.to_numpy(logits))
    assert not np.array_equal(lib.to_numpy(model.infer(x)), lib.to_numpy(logits))


def test_an_optimizer_of_another_model_is_refused() -> None:
    x, y = np.zeros((4, 1, 28, 28), np.uint8), np.arange(4)
    with pytest.raises(ValueError, match="fit: got an optimizer that was made for another model"):
        fit(LeNet5(), Images(x, y), optimizer=SGD(LeNet5()), batch_size=4)


def test_an_evaluation_of_labels_beyond_the_model_is_refused() -> None:
    images = Images(np.zeros((3, 1, 28, 28), np.uint8), np.array([0, 1, 10]))
    with pytest.raises(ValueError, match=r"evaluate: got a label 10 in x and a model of 10 classes; expected labels"):
        evaluate(LeNet5(), images)


@pytest.mark.parametrize(
    ("start", "kind", "words"),
    [
        (Position(step=-1), ValueError, "start.step"),
        (Position(step=99, sums=(1.0, 1.0, 99.0)), ValueError, "expected a place in 2 epochs of 2 steps"),
        (Position(epoch=0), ValueError, "start.epoch"),
        (Position(epoch=9), ValueError, "got start in epoch 9"),
        (Position(epoch=1.5), TypeError, "start.epoch"),  # type: ignore[arg-type]
        (Position(step=1, sums=(1.0,)), ValueError, "got start.sums"),
        (Position(step=1, sums=(1.0, 1.0, math.nan)), ValueError, "start.sums"),
        (Position(step=1, sums=(1.0, 1.0, 0.0)), ValueError, "got start.sums"),
        (Position(seconds="a"), TypeError, "start.seconds"),  # type: ignore[arg-type]
        (Position(history=5), TypeError, "start.history"),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_a_start_that_cannot_be_is_told_before_anything_is_done(
    numpy_lib: Lib, rng: np.random.Generator, start: Position, kind: type[Exception], words: str
) -> None:
    images, model = images_on(numpy_lib, *draw(rng, 8)), plain_model()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    with pytest.raises(kind, match=words):
        fit(model, images, optimizer=SGD(model), epochs=2, batch_size=4, start=start)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
