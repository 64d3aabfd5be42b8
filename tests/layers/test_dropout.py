"""The layer: when it drops, what counts its steps, and that a run which goes on drops what it would have dropped."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.libraries import Lib
from tests.networks import backend_name, on
from xlenet import SGD, Dropout, Flatten, Linear, ReLU, Sequential, SoftmaxCrossEntropy
from xlenet.backend import to_host
from xlenet.checkpoint import load_model, save_model
from xlenet.data import Images
from xlenet.snapshots import load_snapshot, restore, save_snapshot
from xlenet.testing import check_layer
from xlenet.training import Epoch, Position, Progress, fit, train_step

IMAGES, BATCH, EPOCHS = 23, 5, 2  # five steps an epoch, the last one of three images


def step_of(layer: Dropout) -> int:
    return int(to_host(layer.buffers["step"])[0])


def ones(lib: Lib, *shape: int) -> Any:
    return lib.asarray(np.ones(shape))


def network(seed: int = 1, **options: Any) -> Sequential:
    return Sequential(
        flatten=Flatten(),
        drop1=Dropout(0.2, rng=4),
        fc1=Linear(16, 8, rng=seed, **options),
        relu=ReLU(),
        drop2=Dropout(0.5, rng=5),
        fc2=Linear(8, 3, rng=seed, **options),
    )


def images() -> Images:
    rng = np.random.default_rng(7)
    return Images(rng.integers(0, 256, (IMAGES, 1, 4, 4), np.uint8), rng.integers(0, 3, IMAGES))


# ==== when it drops ====


def test_each_batch_of_training_drops_something_else_and_every_library_the_same(lib: Lib) -> None:
    with on(lib):
        layer = Dropout(0.3, rng=11)
    for step in range(3):
        wanted = oracles.dropout_factor((4, 6), 0.3, layer._seed, step)
        lib.assert_equal(layer(ones(lib, 4, 6)), wanted)
        lib.assert_equal(layer.backward(ones(lib, 4, 6)), wanted)  # of the forward, though the step has moved on
    assert step_of(layer) == 3


def test_in_evaluation_x_comes_through(lib: Lib) -> None:
    with on(lib):
        layer = Dropout(0.3, rng=11).eval()
    x, dy = ones(lib, 4, 6), ones(lib, 4, 6)
    assert layer(x) is x
    assert layer.backward(dy) is dy
    assert layer.train().infer(x) is x
    assert step_of(layer) == 0


def test_backward_follows_the_rules_of_its_forward(lib: Lib) -> None:
    with on(lib):
        layer = Dropout(0.5, rng=1)
    y = layer(ones(lib, 4, 6))
    lib.assert_equal(layer.eval().backward(ones(lib, 4, 6)), lib.to_numpy(y))
    layer(ones(lib, 4, 6))
    lib.assert_equal(layer.train().backward(ones(lib, 4, 6)), np.ones((4, 6)))


def test_seeds_come_from_the_generator() -> None:
    rng = np.random.default_rng(3)
    first, second, again = Dropout(rng=rng), Dropout(rng=rng), Dropout(rng=3)
    assert first._seed == again._seed != second._seed
    assert Dropout()._seed != Dropout()._seed
    x = np.ones((20, 20))
    assert not np.array_equal(first(x), second(x))


def test_a_batch_that_is_refused_moves_nothing() -> None:
    model = network()
    optimizer, loss = SGD(model), SoftmaxCrossEntropy()
    x, labels = np.ones((4, 1, 4, 4), np.float32), np.array([0, 1, 2, 3])
    for wrong in (np.ones((4, 1, 5, 5), np.float32), x):
        with pytest.raises(ValueError, match="expected"):  # of fc1, behind drop1; then a label of a fourth class
            train_step(model, loss, optimizer, wrong, labels, lr=0.1)
        assert step_of(model["drop1"]) == step_of(model["drop2"]) == 0
    train_step(model, loss, optimizer, x, labels % 3, lr=0.1)
    assert step_of(model["drop1"]) == step_of(model["drop2"]) == 1


def test_x_of_another_library_says_how_to_move_the_layer(numpy_lib: Lib, device_lib: Lib) -> None:
    with pytest.raises(TypeError, match=rf"Dropout: got x of {device_lib.name} and step of numpy; .*\.to\("):
        Dropout()(ones(device_lib, 2, 3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_type_is_kept(lib: Lib, dtype: str) -> None:
    with on(lib):
        y = Dropout(rng=0)(lib.asarray(np.ones((3, 4)), dtype))
    assert lib.dtype_name(y) == dtype


# ==== what is saved, copied and moved ====


def test_the_step_is_in_no_file(tmp_path: Path) -> None:
    model = network()
    model(np.ones((2, 16), np.float32))
    assert list(model.state_dict()) == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    save_model(tmp_path / "m.safetensors", model, {})
    other = network(seed=9)
    other.load_state_dict(load_model(tmp_path / "m.safetensors")[0])
    assert step_of(other["drop1"]) == 0
    assert step_of(model["drop1"]) == 1


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_goes_on_from_the_same_step(numpy_lib: Lib, duplicate: Any) -> None:
    layer, x = Dropout(rng=2), np.ones((5, 6))
    layer(x)
    other = duplicate(layer)
    np.testing.assert_array_equal(other(x), layer(x))
    assert other.buffers["step"] is not layer.buffers["step"]


def test_a_layer_that_moves_goes_on_from_the_same_step(device_lib: Lib) -> None:
    layer, other = Dropout(rng=2), Dropout(rng=2)
    for one in (layer, other):
        one(np.ones((5, 6)))
    moved = layer.to(backend_name(device_lib))(ones(device_lib, 5, 6))
    device_lib.assert_equal(moved, other(np.ones((5, 6))))


# ==== runs ====


class Run:
    """A small training run."""

    def __init__(self, lib: Lib, seed: int = 1) -> None:
        with on(lib):
            self.model, self.train = network(seed), images()
        self.optimizer = SGD(self.model, momentum=0.9)
        self.lib = lib

    def fit(self, **more: Any) -> list[tuple[Any, ...]]:
        history = fit(
            self.model,
            self.train,
            optimizer=self.optimizer,
            test=self.train,
            epochs=EPOCHS,
            batch_size=BATCH,
            lr=0.1,
            seed=3,
            **more,
        )
        return [epoch[:6] for epoch in history]

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: self.lib.to_numpy(array) for name, array in self.model.state_dict().items()}


@pytest.mark.parametrize("at", [(1, 1), (1, 5), (2, 3)], ids=str)
def test_a_run_that_goes_on_is_the_run_that_never_stopped(lib: Lib, tmp_path: Path, at: tuple[int, int]) -> None:
    """To the last bit, through a snapshot, which has nothing of dropout in it."""
    whole, first, path, done = Run(lib), Run(lib), tmp_path / "s.safetensors", list[Epoch]()
    expected = whole.fit()

    def look(progress: Progress) -> None:
        if (progress.epoch, progress.step) == at:
            sums = tuple(to_host(progress.meter.sums).tolist())
            position = Position(progress.epoch, progress.step, sums, progress.seconds, tuple(done))
            save_snapshot(path, first.model, first.optimizer, position, {})

    first.fit(on_step=look, on_epoch=done.append, should_stop=path.exists)
    second, snapshot = Run(lib, seed=99), load_snapshot(path)
    assert not [name for name in snapshot.model if "drop" in name]
    restore(snapshot, second.model, second.optimizer)
    assert second.fit(start=snapshot.position) == expected
    for name, value in second.arrays().items():
        np.testing.assert_array_equal(value, whole.arrays()[name], err_msg=name)
    assert step_of(second.model["drop1"]) == step_of(whole.model["drop2"]) == whole.optimizer.steps == 10


def test_a_run_that_forgets_its_step_is_another_one(numpy_lib: Lib, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above could not fail otherwise."""
    whole, other = Run(numpy_lib), Run(numpy_lib)
    whole.fit()
    monkeypatch.setattr(Dropout, "_count_from", lambda self, steps: self.buffers["step"].fill(steps + 1))
    other.fit()
    assert any(not np.array_equal(value, whole.arrays()[name]) for name, value in other.arrays().items())


def test_a_model_that_was_used_before_begins_anew(numpy_lib: Lib) -> None:
    whole, used = Run(numpy_lib), Run(numpy_lib)
    used.model(np.ones((3, 1, 4, 4), np.float32))
    assert used.fit() == whole.fit()


def test_check_layer_takes_it_as_random_and_says_what_it_is_otherwise(lib: Lib) -> None:
    with on(lib):
        check_layer(lambda: Dropout(0.4, rng=0), (3, 2, 4), random=True)
        check_layer(network, (3, 16), random=True, rtol=1e-5)
        with pytest.raises(AssertionError, match=r"Dropout, training: got a y that is off .* after a second pass"):
            check_layer(lambda: Dropout(0.4, rng=0), (3, 2, 4))
