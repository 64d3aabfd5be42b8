"""With XLENET_DEBUG=1 every layer looks at its numbers: the first that is not finite is told, and where it was."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.libraries import Lib
from tests.networks import on
from tests.train_on_tiny_data import tiny_dataset
from xlenet import (
    SGD,
    Adam,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2D,
    ReLU,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Tanh,
    runs,
    steps,
    train,
)
from xlenet.backend import all_finite, debugging, to_host
from xlenet.backend.debug import debugging as cached
from xlenet.data import Images
from xlenet.errors import DivergedError, NotFiniteError
from xlenet.snapshots import Snapshots
from xlenet.training import fit


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("XLENET_DEBUG", raising=False)
    monkeypatch.delenv("XLENET_BACKEND", raising=False)
    cached.cache_clear()
    yield
    monkeypatch.undo()
    cached.cache_clear()


@pytest.fixture
def debug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLENET_DEBUG", "1")


class Bomb(Layer):
    """Hands everything through, until its time has come."""

    def __init__(self, at: int, *, forward: bool = False, dx: bool = False, dweight: bool = False) -> None:
        super().__init__()
        self.at, self.calls = at, 0
        self.wrong = {"forward": forward, "dx": dx, "dweight": dweight}
        self._add_parameter("weight", np.zeros(1, np.float32))

    def _value(self, way: str) -> float:
        return float("nan") if self.calls >= self.at and self.wrong[way] else 0.0

    def _forward(self, x: Any, work: Any) -> tuple[Any, None]:
        self.calls += self.training
        return x + self._value("forward"), None

    def _backward(self, dy: Any, cache: None, need_dx: bool, work: Any) -> Any:
        self._set_gradients(weight=0.0 * self.params["weight"] + self._value("dweight"))
        return dy + self._value("dx")


def images_on(lib: Lib, count: int = 40) -> Images:
    rng = np.random.default_rng(5)
    with on(lib):
        return Images(rng.integers(0, 256, (count, 1, 8, 8), np.uint8), rng.integers(0, 3, count))


def network(lib: Lib, bomb: Layer | None = None) -> Sequential:
    with on(lib):
        middle = {} if bomb is None else {"inner": Sequential(bomb=bomb)}
        return Sequential(
            conv1=Conv2D(1, 2, 3, rng=0), pool1=MaxPool2D(2), bn1=BatchNorm(2), relu1=ReLU(), flatten=Flatten(),
            fc2=Linear(18, 5, rng=1), relu2=ReLU(), **middle, fc3=Linear(5, 3, rng=2),
        )  # fmt: skip


@pytest.mark.parametrize("text", ["1", "on", "True", " yes "])
def test_it_is_asked_for_by_the_environment(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not debugging()
    monkeypatch.setenv("XLENET_DEBUG", text)
    cached.cache_clear()
    assert debugging()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_bad_number_is_seen(lib: Lib, value: float) -> None:
    assert all_finite(lib.asarray([0.0, 1e300]))
    assert not all_finite(lib.asarray([0.0, value, 1.0]))
    assert all_finite(lib.asarray([1, 2]))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"forward": True}, r"inner\.bomb \(Bomb\), its output,"),
        ({"dx": True}, r"inner\.bomb \(Bomb\), its gradient by x,"),
        ({"dweight": True}, r"inner\.bomb \(Bomb\), its gradient of weight,"),
    ],
    ids=["output", "gradient", "gradient of a parameter"],
)
@pytest.mark.usefixtures("debug")
def test_the_first_layer_is_named_with_the_step_and_its_rate(lib: Lib, where: dict[str, bool], said: str) -> None:
    """Four steps an epoch; the bomb goes off in the sixth. (`fit` asks for the number of classes before.)"""
    with on(lib):
        model = network(lib, Bomb(7, **where))
    pattern = rf"^fit: got numbers that are not finite in {said} in step 2 of epoch 2 \(learning rate 0\.0\d+, at its "
    with pytest.raises(DivergedError, match=pattern) as caught:
        fit(model, images_on(lib), optimizer=SGD(model), epochs=3, batch_size=10, lr=0.01)
    assert caught.value.exit_code == 6
    assert isinstance(caught.value.__cause__, NotFiniteError)


@pytest.mark.parametrize(
    ("layer", "parameter", "said"),
    [
        ("conv1", "weight", r"conv1 \(Conv2D\), its output"),
        ("bn1", "bias", r"bn1 \(BatchNorm\), its output"),
        ("fc2", "bias", r"fc2 \(Linear\), its output"),
        ("fc3", "weight", r"fc3 \(Linear\), its output"),
    ],
)
@pytest.mark.usefixtures("debug")
def test_layers_that_compute_as_one_are_told_apart(lib: Lib, layer: str, parameter: str, said: str) -> None:
    model = network(lib)
    model[layer].params[parameter][...] = float("inf")
    optimizer = SGD(model)
    with pytest.raises(DivergedError, match=rf"not finite in {said}, in step 1 of epoch 1"):
        fit(model, images_on(lib), optimizer=optimizer, epochs=1, batch_size=10, lr=0.01)


def test_who_looks_at_dropout_changes_nothing(lib: Lib, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> list[Any]:
        cached.cache_clear()
        with on(lib):
            model = Sequential(
                conv=Conv2D(1, 2, 3, rng=0), tanh=Tanh(), pool=AvgPool2D(2), drop1=Dropout(0.3, rng=1),
                flatten=Flatten(), fc1=Linear(18, 5, rng=1), sigmoid=Sigmoid(), drop2=Dropout(rng=2),
                fc2=Linear(5, 3, rng=2),
            )  # fmt: skip
            return [epoch[:4] for epoch in fit(model, images_on(lib), optimizer=SGD(model), epochs=2, batch_size=10)]

    plain = run()
    monkeypatch.setenv("XLENET_DEBUG", "1")
    assert run() == plain
    assert debugging()


@pytest.mark.usefixtures("debug")
def test_a_step_that_goes_too_far_is_the_optimisers(numpy_lib: Lib) -> None:
    model = network(numpy_lib)
    with pytest.raises(DivergedError, match=r"in SGD, its parameters after a step, in step 1 of epoch 1"):
        fit(model, images_on(numpy_lib), optimizer=SGD(model, momentum=0.9), epochs=1, batch_size=10, lr=1e38,
            schedule=lambda _: 10.0)  # fmt: skip


@pytest.mark.usefixtures("debug")
def test_a_layer_alone_says_what_came_in(lib: Lib) -> None:
    bad = lib.asarray([[1.0, np.nan]], "float32")
    with on(lib):
        layer = Linear(2, 2, rng=0)
    with pytest.raises(NotFiniteError, match=r"^Linear: got numbers in its input that are not finite; expected"):
        layer(bad)
    layer(lib.asarray([[1.0, 2.0]], "float32"))
    with pytest.raises(NotFiniteError, match=r"^Linear: got numbers in its gradient from behind that are not finite"):
        layer.backward(bad)


@pytest.mark.usefixtures("debug")
def test_the_loss_and_its_gradient_are_looked_at(numpy_lib: Lib) -> None:
    loss = SoftmaxCrossEntropy()
    with (
        pytest.raises(NotFiniteError, match="SoftmaxCrossEntropy: got numbers in its output"),
        np.errstate(all="ignore"),
    ):
        loss(np.array([[np.inf, 0.0]], np.float32), np.array([1]))


def test_without_it_nobody_looks(numpy_lib: Lib) -> None:
    assert not np.isfinite(Linear(2, 2, rng=0)(np.array([[1.0, np.nan]], np.float32))).any()


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_looking_changes_nothing(lib: Lib, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replay computes what the run has computed, to the last bit."""
    results = []
    for value in ("0", "1"):
        monkeypatch.setenv("XLENET_DEBUG", value)
        cached.cache_clear()
        model = network(lib)
        fit(model, images_on(lib), optimizer=kind(model), epochs=2, batch_size=15, lr=0.01)
        results.append([to_host(array) for array in model.state_dict().values()])
    for plain, looked_at in zip(*results, strict=True):
        np.testing.assert_array_equal(plain, looked_at)


@pytest.mark.usefixtures("debug")
def test_nothing_is_recorded_into_a_graph_then(numpy_lib: Lib, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks at every number waits for the device, which a graph cannot."""
    monkeypatch.setattr(steps, "can_capture", lambda _: True)
    model, images = network(numpy_lib), images_on(numpy_lib)
    party = steps.Party(model, SoftmaxCrossEntropy(), SGD(model), images, steps.Meter(images.x))
    assert type(steps.choose_way(party, 4)) is steps._Plain


# ==== the command ====


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "load", lambda *_, **__: tiny_dataset())
    monkeypatch.setattr(runs.RunFolder, "draw", lambda *_: None)


def call(*arguments: object) -> int:
    return train.main(["--batch-size", "16", "--epochs", "3", "--quiet", *map(str, arguments)])


@pytest.mark.usefixtures("tiny")
def test_a_run_that_diverged_is_replayed_from_its_last_snapshot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its second epoch, by weights that somebody has spoilt in the same step each time."""
    out = tmp_path / "run"
    backpropagate = steps.backpropagate

    def spoil(model: Any, loss: Any, x: Any, labels: Any, work: Any, **more: Any) -> Any:
        spoil.calls += 1  # type: ignore[attr-defined]
        if spoil.calls == spoil.at:  # type: ignore[attr-defined]
            model["fc4"].params["weight"][3, 2] = np.nan
        return backpropagate(model, loss, x, labels, work, **more)

    monkeypatch.setattr(steps, "backpropagate", spoil)
    spoil.calls, spoil.at = 0, 8  # type: ignore[attr-defined]
    assert call("--out", out) == 6
    error = capsys.readouterr().err
    assert re.search(
        r"a loss that is not finite in step 3 of epoch 2 \(learning rate 0\.0\d+, at its peak 0\.05\)", error
    )
    assert f"XLENET_DEBUG=1 with --resume --out {out} shows in which layer" in error
    newest = Snapshots(out / "snapshots").newest()
    assert newest is not None
    assert newest.steps == 5
    monkeypatch.setenv("XLENET_DEBUG", "1")
    cached.cache_clear()
    spoil.calls, spoil.at = 0, 3  # type: ignore[attr-defined]
    assert call("--out", out, "--resume") == 6
    error = capsys.readouterr().err
    assert "numbers that are not finite in fc4 (Linear), its output, in step 3 of epoch 2 (learning rate 0.0" in error
    assert "XLENET_DEBUG" not in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("how", ["--checkpoint-every", "Ctrl-C"])
@pytest.mark.usefixtures("tiny")
def test_no_snapshot_holds_numbers_that_are_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """A step too far shows in the next step's loss, and that is looked at only now and then: a snapshot looks first."""

    def spoil(self: Any, progress: Any) -> None:
        if (progress.epoch, progress.step) == (2, 2):
            self.model["bn1"].params["bias"][0] = np.inf
            if how == "Ctrl-C":
                signal.raise_signal(signal.SIGINT)

    original = train.make_experiment

    def keep(*arguments: Any) -> Any:
        experiment = original(*arguments)
        train.Console.model = experiment.model  # type: ignore[attr-defined]
        return experiment

    monkeypatch.setattr(train, "make_experiment", keep)
    monkeypatch.setattr(train.Console, "model", None, raising=False)
    monkeypatch.setattr(train.Console, "step", spoil)
    more = ("--checkpoint-every", 1) if how == "--checkpoint-every" else ()
    assert call("--out", tmp_path, *more) == 6
    assert "got parameters that are not finite in step 2 of epoch 2 (learning rate" in capsys.readouterr().err
    newest = Snapshots(tmp_path / "snapshots").newest()
    assert newest is not None
    assert newest.steps == (6 if more else 5)
    assert all(np.isfinite(array).all() for array in [*newest.model.values(), *newest.optimizer.values()])
