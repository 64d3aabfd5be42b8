"""Augmentation in training: what the model sees, in which epochs, and that a run stays one that can be repeated."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.functional.messages import message
from tests.libraries import Lib
from tests.networks import on
from xlenet import (
    SGD,
    Adam,
    BatchNorm,
    Conv2D,
    Flatten,
    Layer,
    LeNet5,
    Linear,
    MaxPool2D,
    ReLU,
    Sequential,
    Workspace,
    use_threads,
)
from xlenet.backend import to_host
from xlenet.data import Augmentation, Examples, Images, augment
from xlenet.data.augmentation import STREAM
from xlenet.snapshots import load_snapshot, restore, save_snapshot
from xlenet.training import ORDER_STREAM, Epoch, Position, Progress, evaluate, fit

COUNT, BATCH, EPOCHS, CLASSES = 14, 4, 3, 3  # four steps an epoch, the last one of two images
STRONG = Augmentation(rotation=30, shift=1.5, scale=0.2, shear=15, elastic=1)
SEED = 5

# ==== how much ====


def test_nothing_is_distorted_by_default() -> None:
    assert not Augmentation()
    assert not Augmentation(plain_epochs=3)
    assert Augmentation().by == (0.0,) * 5


@pytest.mark.parametrize("name", ["rotation", "shift", "scale", "shear", "elastic"])
def test_each_number_counts_in_its_place(name: str) -> None:
    augmentation = Augmentation(**{name: 0.5})
    assert augmentation
    assert [getattr(augmentation, field) for field in ("rotation", "shift", "scale", "shear", "elastic")] == [
        0.5 if field == name else 0.0 for field in ("rotation", "shift", "scale", "shear", "elastic")
    ]
    assert augmentation.by.index(0.5) == ["rotation", "shift", "scale", "shear", "elastic"].index(name)


def test_whole_numbers_and_those_of_numpy_become_numbers_of_python() -> None:
    given = Augmentation(rotation=180, shift=np.float32(2), scale=np.float64(0.5), elastic=1, plain_epochs=np.int64(2))
    assert [type(value) for value in dataclasses.astuple(given)] == [float] * 5 + [int]
    assert given == Augmentation(180.0, 2.0, 0.5, 0.0, 1.0, 2)


def test_the_edges_of_each_range() -> None:
    below = {"shift": 1e6, "scale": 1.0, "shear": 90.0, "elastic": 1e6}
    assert Augmentation(rotation=180.0, **{name: math.nextafter(edge, 0) for name, edge in below.items()})
    for name, value in {**below, "rotation": math.nextafter(180, 200)}.items():
        with pytest.raises(ValueError, match=message("Augmentation", got=f"{name} {value!r}", expected="from 0")):
            Augmentation(**{name: value})


def test_it_is_a_value() -> None:
    """To be compared, kept as a key, copied, sent to another process, and changed only into another one."""
    same, other = dataclasses.replace(STRONG), dataclasses.replace(STRONG, plain_epochs=1)
    assert same == STRONG
    assert other != STRONG
    assert len({same, STRONG, other}) == 2
    for again in (pickle.loads(pickle.dumps(STRONG)), copy.deepcopy(STRONG), eval(repr(STRONG))):
        assert again == STRONG
    with pytest.raises(dataclasses.FrozenInstanceError):
        STRONG.shift = 3.0  # type: ignore[misc]
    with pytest.raises(ValueError, match=message("Augmentation", got="shift -1.0")):
        dataclasses.replace(STRONG, shift=-1.0)


# ==== a run ====


class Witness(Layer):
    """Passes everything on, and remembers what it was in training."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []

    def _forward(self, x: Any, work: Workspace | None) -> tuple[Any, Any]:
        self.seen.append(np.array(to_host(x)))
        return x, True

    def _backward(self, dy: Any, cache: Any, need_dx: bool, work: Workspace | None) -> Any:
        return dy

    def _infer(self, x: Any, work: Workspace | None) -> Any:
        return x


def pixels(count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    return rng.integers(0, 256, (count, 2, 6, 7), np.uint8), rng.integers(0, CLASSES, count)


class Run:
    """A small training run on the library `lib`; its model has seen what `seen` says."""

    def __init__(self, lib: Lib, dtype: str = "float64", data: Any = None, rng: int = 1) -> None:
        x, y = pixels()
        self.lib = lib
        with on(lib):
            self.train = Images(x, y, dtype=dtype) if data is None else data(x, y)
            self.test = Images(x[:5], y[:5], dtype=dtype)
            self.model = Sequential(
                witness=Witness(),
                conv=Conv2D(2, 3, 3, rng=rng, dtype=dtype),
                pool=MaxPool2D(2),
                relu=ReLU(),
                flatten=Flatten(),
                fc1=Linear(12, 8, rng=rng, dtype=dtype),
                bn=BatchNorm(8, dtype=dtype),
                fc2=Linear(8, CLASSES, rng=rng, dtype=dtype),
            )
        self.optimizer = SGD(self.model, nesterov=True)
        self.history: list[Epoch] = []

    def fit(self, augmentation: Augmentation | None, **options: Any) -> Run:
        options = {"epochs": EPOCHS, "batch_size": BATCH, "seed": SEED} | options
        self.history = fit(self.model, self.train, optimizer=self.optimizer, test=self.test, lr=0.05,
                           augmentation=augmentation, **options)  # fmt: skip
        return self

    @property
    def seen(self) -> list[np.ndarray]:
        return self.model["witness"].seen  # type: ignore[attr-defined, no-any-return]

    def arrays(self) -> list[np.ndarray]:
        """All that training changes."""
        state = self.model.state_dict() | self.optimizer.state_dict()
        return [np.array(to_host(array)) for array in state.values()]

    def figures(self) -> list[tuple[Any, ...]]:
        """All but the clock's."""
        return [epoch[:6] for epoch in self.history]


def as_they_are(run: Run, epoch: int, count: int = COUNT) -> list[np.ndarray]:
    """The batches of an epoch, before anybody distorts them."""
    order = np.random.default_rng([SEED, ORDER_STREAM, epoch]).permutation(count)
    parts = (order[first : first + BATCH] for first in range(0, count, BATCH))
    return [run.lib.to_numpy(run.train.batch(run.lib.asarray(part))[0]) for part in parts]


def assert_same(one: Run, other: Run) -> None:
    assert one.figures() == other.figures()
    for mine, theirs in zip(one.arrays(), other.arrays(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def drawn_seed() -> int:
    return int(np.random.default_rng([SEED, STREAM]).integers(2**63))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_batch_is_distorted_by_the_number_of_its_step(lib: Lib, dtype: str) -> None:
    """Against the slow loop: steps are counted through all epochs, and a short last batch is one of them."""
    run = Run(lib, dtype).fit(STRONG)
    batches = [batch for epoch in range(1, EPOCHS + 1) for batch in as_they_are(run, epoch)]
    assert [len(seen) for seen in run.seen] == [4, 4, 4, 2] * EPOCHS
    for step, (seen, batch) in enumerate(zip(run.seen, batches, strict=True)):
        assert seen.dtype == dtype
        expected = oracles.distort(batch, drawn_seed(), step, STRONG.by)
        np.testing.assert_allclose(seen, expected, rtol=0, atol=2e-4 if dtype == "float32" else 1e-11)


@pytest.mark.parametrize("plain", range(EPOCHS))
def test_the_last_epochs_have_the_images_as_they_are(lib: Lib, plain: int) -> None:
    run = Run(lib).fit(dataclasses.replace(STRONG, plain_epochs=plain))
    steps = len(run.seen) // EPOCHS
    for epoch in range(1, EPOCHS + 1):
        for seen, batch in zip(run.seen[(epoch - 1) * steps : epoch * steps], as_they_are(run, epoch), strict=True):
            assert np.array_equal(seen, batch) is (epoch > EPOCHS - plain)


def test_a_run_without_any_is_the_same_to_the_last_bit(lib: Lib) -> None:
    expected = Run(lib).fit(None)
    for augmentation in (Augmentation(), Augmentation(plain_epochs=9)):
        assert_same(Run(lib).fit(augmentation), expected)


@pytest.mark.parametrize("plain", [EPOCHS, EPOCHS + 4])
def test_some_epoch_is_distorted_where_anything_is(lib: Lib, plain: int) -> None:
    with pytest.raises(ValueError, match=f"^fit: got plain_epochs {plain} of {EPOCHS} epochs; expected fewer"):
        Run(lib).fit(dataclasses.replace(STRONG, plain_epochs=plain))


def test_images_to_measure_by_are_not_distorted(lib: Lib) -> None:
    run = Run(lib).fit(STRONG, validation=Run(lib).test)
    measured = evaluate(run.model, run.test)
    assert run.history[-1].test_loss == measured.loss == run.history[-1].validation_loss


def test_the_same_seed_gives_the_same_bits_and_another_another_run(lib: Lib) -> None:
    first = Run(lib).fit(STRONG)
    assert_same(Run(lib).fit(STRONG), first)
    assert Run(lib).fit(STRONG, seed=SEED + 1).figures() != first.figures()
    assert Run(lib).fit(dataclasses.replace(STRONG, shear=0)).figures() != first.figures()


def test_a_run_is_the_same_on_every_library(device_lib: Lib, numpy_lib: Lib) -> None:
    expected, run = Run(numpy_lib).fit(STRONG), Run(device_lib).fit(STRONG)
    np.testing.assert_allclose(run.figures(), expected.figures(), rtol=1e-8)
    for mine, theirs in zip(run.arrays(), expected.arrays(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-9)


def test_watching_over_every_number_changes_none(lib: Lib, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Run(lib).fit(STRONG)
    monkeypatch.setenv("XLENET_DEBUG", "1")
    assert_same(Run(lib).fit(STRONG), expected)


def test_an_optimiser_that_has_done_steps_draws_what_it_has_not_drawn(lib: Lib) -> None:
    """A second run with the same seed has the same batches, distorted in another way."""
    run = Run(lib).fit(STRONG, epochs=1)
    first = list(run.seen)
    run.fit(STRONG, epochs=1)
    for seen, step in zip(run.seen[4:], range(4, 8), strict=True):
        expected = oracles.distort(as_they_are(run, 1)[step - 4], drawn_seed(), step, STRONG.by)
        np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-11)
        assert not np.array_equal(seen, first[step - 4])


# ==== in a loop of one's own ====


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("step", [0, 3, 2**32 + 5, 2**70 + 1])
def test_augment_does_what_a_run_does_in_this_step(lib: Lib, rng: np.random.Generator, step: int, dtype: str) -> None:
    x = rng.standard_normal((3, 2, 6, 5)).astype(dtype)
    y = augment(lib.asarray(x), STRONG, seed=SEED, step=step)
    lib.assert_close(y, oracles.distort(x, drawn_seed(), step, STRONG.by), rtol=0, atol=2e-4 if dtype == "float32" else
                     1e-11, dtype=dtype)  # fmt: skip


def test_augment_does_so_whatever_the_last_epochs_are(lib: Lib, rng: np.random.Generator) -> None:
    """They are those of a run: it is asked for a batch, and has no epochs."""
    x = lib.asarray(rng.standard_normal((2, 1, 5, 5)))
    expected = lib.to_numpy(augment(x, STRONG, seed=2))
    lib.assert_equal(augment(x, dataclasses.replace(STRONG, plain_epochs=9), seed=2), expected)
    assert not np.array_equal(lib.to_numpy(augment(x, STRONG, seed=3)), expected)


# ==== a run that goes on ====


@pytest.mark.parametrize("plain", [0, 1])
@pytest.mark.parametrize("at", [(1, 1), (1, 4), (2, 3), (3, 2)], ids=str)
def test_a_run_that_goes_on_is_the_run_that_never_stopped(
    lib: Lib, tmp_path: Path, at: tuple[int, int], plain: int
) -> None:
    augmentation, path = dataclasses.replace(STRONG, plain_epochs=plain), tmp_path / "s.safetensors"
    whole, first, second, done = Run(lib).fit(augmentation), Run(lib), Run(lib, rng=9), list[Epoch]()

    def look(progress: Progress) -> None:
        if (progress.epoch, progress.step) == at:
            sums = tuple(to_host(progress.meter.sums).tolist())
            position = Position(progress.epoch, progress.step, sums, progress.seconds, tuple(done))
            save_snapshot(path, first.model, first.optimizer, position, {})

    first.fit(augmentation, on_step=look, on_epoch=done.append, should_stop=path.exists)
    snapshot = load_snapshot(path)
    restore(snapshot, second.model, second.optimizer)
    assert_same(second.fit(augmentation, start=snapshot.position), whole)
    for seen, expected in zip(first.seen + second.seen, whole.seen, strict=True):
        np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("epochs", [1, 2, EPOCHS])
def test_it_goes_on_between_epochs(lib: Lib, tmp_path: Path, epochs: int) -> None:
    augmentation, path = dataclasses.replace(STRONG, plain_epochs=1), tmp_path / "s.safetensors"
    whole, second, done = Run(lib), Run(lib, rng=9), list[Epoch]()

    def save(epoch: Epoch) -> None:
        done.append(epoch)
        if len(done) == epochs:
            save_snapshot(path, whole.model, whole.optimizer, Position(epochs + 1, history=tuple(done)), {})

    whole.fit(augmentation, on_epoch=save)
    snapshot = load_snapshot(path)
    restore(snapshot, second.model, second.optimizer)
    assert_same(second.fit(augmentation, start=snapshot.position), whole)


# ==== whatever the images ====


def test_floating_images_are_distorted_as_they_are(lib: Lib) -> None:
    run = Run(lib, data=lambda x, y: Examples(x / 100, y, dtype="float64")).fit(STRONG, epochs=1)
    for step, (seen, batch) in enumerate(zip(run.seen, as_they_are(run, 1), strict=True)):
        np.testing.assert_allclose(seen, oracles.distort(batch, drawn_seed(), step, STRONG.by), rtol=0, atol=1e-11)


def test_arrays_are_distorted_as_data_sets_are(lib: Lib) -> None:
    x, y = pixels()
    for given, data in ((x, Images), (x / 100, Examples)):
        with on(lib):
            run, expected = (
                Run(lib),
                Run(lib, data=lambda x, y, data=data, given=given: data(given, y, dtype="float64")),
            )
            fit(run.model, given, y, optimizer=run.optimizer, epochs=1, batch_size=BATCH, lr=0.05, seed=SEED,
                augmentation=STRONG)  # fmt: skip
        expected.fit(STRONG, epochs=1)
        for mine, theirs in zip(run.arrays(), expected.arrays(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


class Cropped(Images):
    """Keeps larger images than it gives."""

    def batch(self, which: Any, work: Workspace | None = None) -> Any:
        x, labels = super().batch(which, work)
        return x[:, :, 1:7, 2:9], labels


def test_a_data_set_of_ones_own_is_distorted_as_it_comes(lib: Lib) -> None:
    wide = [(1, 2), (2, 3)]
    run = Run(lib, data=lambda x, y: Cropped(np.pad(x, ((0, 0), (0, 0), *wide)), y, dtype="float64"))
    run.fit(STRONG, epochs=1)
    for step, (seen, batch) in enumerate(zip(run.seen, as_they_are(run, 1), strict=True)):
        assert seen.shape[1:] == (2, 6, 7)
        np.testing.assert_allclose(seen, oracles.distort(batch, drawn_seed(), step, STRONG.by), rtol=0, atol=1e-11)


def test_rows_of_a_table_are_no_images(lib: Lib, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((9, 6)), np.arange(9) % CLASSES
    with on(lib):
        model = Linear(6, CLASSES, rng=0, dtype="float64")
        before = lib.to_numpy(model.params["weight"])
        with pytest.raises(
            ValueError, match=message("fit", got="augmentation for examples of shape (6,)", expected="(C")
        ):
            fit(model, x, y, augmentation=STRONG)
        lib.assert_equal(model.params["weight"], before)
        assert len(fit(model, x, y, augmentation=Augmentation(), epochs=1)) == 1


@pytest.mark.parametrize("augmentation", [0, 1.5, True, (10.0, 1.0), {"shift": 1}, Augmentation, "elastic"], ids=repr)
def test_what_is_no_augmentation_is_told_before_anything_is_done(numpy_lib: Lib, augmentation: Any) -> None:
    run = Run(numpy_lib)
    before = run.arrays()
    with pytest.raises(TypeError, match=message("fit", got="augmentation", expected="an xlenet.data.Augmentation")):
        run.fit(augmentation)
    for mine, theirs in zip(run.arrays(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    """Batches of 200 and 61 images: parts of them are computed at once."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (261, 1, 28, 28), np.uint8), rng.integers(0, 10, 261)

    def trained(threads: int) -> dict[str, Any]:
        model = LeNet5(rng=0)
        with use_threads(threads):
            fit(model, x, y, optimizer=Adam(model), epochs=1, batch_size=200, augmentation=STRONG)
        return model.state_dict()

    expected, actual = trained(1), trained(2)
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


def test_a_network_that_saw_moved_images_reads_moved_images(numpy_lib: Lib) -> None:
    """What it is for: a bar that always stood in the same place, and now stands a pixel beside it."""
    rng = np.random.default_rng(2)
    y = np.arange(120) % CLASSES
    x = rng.integers(0, 40, (120, 1, 13, 13), np.uint8)
    for image, label in zip(x, y, strict=True):
        image[0, 2 + 4 * label, 2:11] += 200
    moved = np.roll(x, 1, axis=2)

    def accuracy(augmentation: Augmentation | None) -> float:
        model = Sequential(flatten=Flatten(), fc1=Linear(169, 20, rng=0), relu=ReLU(), fc2=Linear(20, CLASSES, rng=1))
        normalization = Images(x, y).normalization
        fit(model, x, y, optimizer=Adam(model), epochs=20, batch_size=20, lr=0.004, augmentation=augmentation)
        assert evaluate(model, x, y, normalization=normalization).accuracy == 1.0
        return evaluate(model, moved, y, normalization=normalization).accuracy

    assert accuracy(Augmentation(shift=2)) == 1.0
    assert accuracy(None) < 0.8
