"""A run that goes on as if nothing had ended it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.libraries import Lib
from tests.networks import on
from tests.train_on_tiny_data import tiny_dataset
from xlenet import SGD, Adam, AdamW, BatchNorm, Flatten, Layer, Linear, ReLU, Sequential, runs, train
from xlenet.backend import to_host
from xlenet.checkpoint import load_arrays, save_arrays
from xlenet.data.images import Images
from xlenet.errors import DataError, DataNotFoundError
from xlenet.optim import Optimizer
from xlenet.snapshot_format import check_place
from xlenet.snapshots import Snapshot, Snapshots, load_snapshot, restore, save_snapshot
from xlenet.training import Epoch, Position, Progress, fit

ROOT = Path(__file__).resolve().parent.parent
IMAGES, BATCH, EPOCHS = 23, 5, 3  # five steps an epoch, the last one of three images
OPTIMIZERS: dict[str, Callable[[Layer], Optimizer]] = {
    "sgd": lambda model: SGD(model, nesterov=True, weight_decay=1e-3),
    "adam": Adam,
    "adamw with clip": lambda model: AdamW(model, clip=0.1),
}
each_optimizer = pytest.mark.parametrize("kind", OPTIMIZERS)


FIGURES = {"epoch": 1, "lr": 0.1, "train_loss": 1.0, "train_accuracy": 0.5, "test_loss": 1.0, "test_accuracy": 0.5,
           "seconds": 1.0, "images_per_second": 9.0}  # fmt: skip


class Run:
    """A small training run on the library `lib`."""

    def __init__(self, lib: Lib, kind: str, seed: int = 1) -> None:
        rng = np.random.default_rng(7)
        x, y = rng.integers(0, 256, (IMAGES, 1, 4, 4), np.uint8), rng.integers(0, 3, IMAGES)
        with on(lib):
            self.train, self.test = Images(x, y), Images(x[:9], y[:9])
            self.model = Sequential(
                flatten=Flatten(), fc1=Linear(16, 8, rng=seed), bn=BatchNorm(8), relu=ReLU(), fc2=Linear(8, 3, rng=seed)
            )
        self.optimizer = OPTIMIZERS[kind](self.model)

    def fit(self, **more: Any) -> list[Epoch]:
        return fit(
            self.model,
            self.train,
            optimizer=self.optimizer,
            test=self.test,
            epochs=EPOCHS,
            batch_size=BATCH,
            lr=0.1,
            seed=3,
            **more,
        )

    def arrays(self) -> list[np.ndarray]:
        """All that training changes."""
        state = self.model.state_dict() | self.optimizer.state_dict()
        return [np.array(to_host(array)) for array in state.values()]


def figures(history: list[Epoch]) -> list[tuple[Any, ...]]:
    """What must be equal: all but the clock's."""
    return [epoch[:6] for epoch in history]


# ==== the library ====


@each_optimizer
@pytest.mark.parametrize("at", [(1, 1), (1, 5), (2, 3), (3, 4)], ids=str)
def test_a_run_that_goes_on_is_the_run_that_never_stopped(
    lib: Lib, tmp_path: Path, kind: str, at: tuple[int, int]
) -> None:
    """To the last bit, wherever it ended; what the second run begins with does not matter."""
    whole, path, done = Run(lib, kind), tmp_path / "s.safetensors", list[Epoch]()
    expected = whole.fit()
    first = Run(lib, kind)

    def look(progress: Progress) -> None:
        if (progress.epoch, progress.step) == at:
            sums = tuple(to_host(progress.meter.sums).tolist())
            position = Position(progress.epoch, progress.step, sums, progress.seconds, tuple(done))
            save_snapshot(path, first.model, first.optimizer, position, {})

    first.fit(on_step=look, on_epoch=done.append, should_stop=path.exists)
    second, snapshot = Run(lib, kind, seed=99), load_snapshot(path)
    restore(snapshot, second.model, second.optimizer)
    history = second.fit(start=snapshot.position)
    assert figures(history) == figures(expected)
    assert second.optimizer.steps == whole.optimizer.steps == 15
    for mine, theirs in zip(second.arrays(), whole.arrays(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("epochs", [2, EPOCHS])
def test_it_goes_on_between_epochs_and_behind_the_last(numpy_lib: Lib, tmp_path: Path, epochs: int) -> None:
    whole, second, path, done = Run(numpy_lib, "sgd"), Run(numpy_lib, "sgd"), tmp_path / "s", list[Epoch]()

    def save(epoch: Epoch) -> None:
        done.append(epoch)
        if len(done) == epochs:
            save_snapshot(path, whole.model, whole.optimizer, Position(epochs + 1, history=tuple(done)), {})

    expected, snapshot = whole.fit(on_epoch=save), load_snapshot(path)
    restore(snapshot, second.model, second.optimizer)
    assert figures(second.fit(start=snapshot.position)) == figures(expected)
    for mine, theirs in zip(second.arrays(), whole.arrays(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@each_optimizer
def test_a_run_goes_on_with_another_library(lib: Lib, numpy_lib: Lib, tmp_path: Path, kind: str) -> None:
    """From NumPy and back: equal within rounding."""
    whole, path, done = Run(numpy_lib, kind), tmp_path / "s.safetensors", list[Epoch]()
    expected = whole.fit()
    runs_of = [Run(numpy_lib, kind), Run(lib, kind, seed=9), Run(numpy_lib, kind, seed=8)]
    position = Position()
    for run, epochs in zip(runs_of, (1, 2, 3), strict=True):
        if path.exists():
            snapshot = load_snapshot(path)
            restore(snapshot, run.model, run.optimizer)
            position = snapshot.position

        def save(epoch: Epoch, run: Run = run, epochs: int = epochs) -> None:
            done.append(epoch)
            if len(done) == epochs:
                save_snapshot(path, run.model, run.optimizer, Position(epochs + 1, history=tuple(done)), {})

        stop = lambda epochs=epochs: len(done) == epochs  # noqa: E731
        run.fit(on_epoch=save, start=position, should_stop=stop)
    np.testing.assert_allclose(
        [epoch[1:6] for epoch in done[:3]], [epoch[1:6] for epoch in expected], rtol=2e-3, atol=2e-3
    )


def test_the_time_before_counts(numpy_lib: Lib) -> None:
    run = Run(numpy_lib, "sgd")
    history = run.fit(start=Position(EPOCHS, 2, (0.5, 3.0, 2.0), seconds=1000.0))
    assert 1000.0 < history[-1].seconds < 1060.0


@pytest.mark.parametrize("change", ["missing", "unknown", "longer"])
def test_slots_of_another_optimiser_are_refused(numpy_lib: Lib, change: str) -> None:
    run = Run(numpy_lib, "adam")
    state = run.optimizer.state_dict()
    if change == "missing":
        del state["mean"]
    elif change == "unknown":
        state["velocity"] = state["mean"]
    else:
        state["mean"] = np.zeros(len(state["mean"]) + 1, np.float32)
    with pytest.raises(ValueError, match=r"Adam: got slots .*; expected .*; load what an optimiser"):
        run.optimizer.load_state_dict(state, 5)
    assert run.optimizer.steps == 0


@pytest.mark.parametrize(
    ("array", "error", "told"),
    [
        (lambda a: a.astype(np.float64), ValueError, "got slots"),
        (lambda a: a.astype(np.int32), ValueError, "got slots"),
        (lambda a: a.astype(bool), TypeError, "got 'square' bool; expected real numbers"),
        (lambda a: a * np.nan, ValueError, "not finite"),
        (lambda a: a.tolist(), TypeError, "list"),
    ],
)  # fmt: skip
def test_slots_of_another_type_are_refused(numpy_lib: Lib, array: Any, error: Any, told: str) -> None:
    """The last of two: nothing of the first has been loaded then."""
    run = Run(numpy_lib, "adam")
    state = {name: slot + 1.0 for name, slot in run.optimizer.state_dict().items()}
    state["square"] = array(state["square"])
    with pytest.raises(error, match=told):
        run.optimizer.load_state_dict(state, 5)
    assert run.optimizer.steps == 0
    assert not any(slot.any() for slot in run.optimizer.slots.values())


@pytest.mark.parametrize("steps", [-1, 1.0, True, "5"])
def test_steps_are_counted(numpy_lib: Lib, steps: Any) -> None:
    run = Run(numpy_lib, "sgd")
    with pytest.raises((TypeError, ValueError), match="got steps"):
        run.optimizer.load_state_dict(run.optimizer.state_dict(), steps)


def test_damage_is_found(numpy_lib: Lib, tmp_path: Path) -> None:
    run, path = Run(numpy_lib, "sgd"), tmp_path / "s.safetensors"
    save_snapshot(path, run.model, run.optimizer, Position(), {"seed": 1})
    whole = path.read_bytes()
    for damaged in (b"", whole[:7], whole[:100], whole[:-1], b"\xff" * len(whole), whole.replace(b"format", b"former")):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"load_snapshot: got .*; expected a s"):
            load_snapshot(path)
    with pytest.raises(DataNotFoundError, match=r"load_snapshot: got .*expected a readable file"):
        load_snapshot(tmp_path / "none")


@pytest.mark.parametrize(
    "change",
    [
        {"steps": -1}, {"steps": 1e400}, {"steps": "5"}, {"format": 2}, {"config": 3}, {"position": 7},
        {"position": {"epoch": 0}}, {"position": {"step": -1}}, {"position": {"epoch": "2"}},
        {"position": {"sums": [1.0]}}, {"position": {"sums": 5}}, {"position": {"history": [{"epoch": 1}]}},
        {"position": {"seconds": "long"}}, {"position": {"what": 1}},
        {"steps": True}, {"steps": 1.0}, {"steps": 2**53 + 1}, {"format": True}, {"config": {"\x1b[2J": 1}},
        {"more": 1},
        {"position": {"epoch": True}}, {"position": {"sums": [float("nan"), 0.0, 0.0]}}, {"position": {"step": 2}},
        {"position": {"sums": [0.0, 0.0, 1.0]}}, {"position": {"seconds": float("inf")}}, {"position": {"history": {}}},
        {"position": {"history": [FIGURES]}}, {"position": {"epoch": 2, "history": [FIGURES | {"lr": 10**400}]}},
        {"position": {"epoch": 2, "history": [FIGURES | {"test_accuracy": 1.5}]}},
        {"position": {"epoch": 2, "history": [FIGURES | {"train_loss": float("nan")}]}},
        {"position": {"epoch": 2, "history": [FIGURES | {"seconds": -1.0}]}},
        {"position": {"epoch": 2, "history": [FIGURES | {"seconds": None}]}},
        {"position": {"epoch": 2, "history": [FIGURES | {"epoch": 2}]}},
        {"position": {"epoch": 4, "history": [FIGURES, FIGURES | {"epoch": 3}]}},
    ],
    ids=lambda change: str(change).replace("\\x1b", "ESC")[:60],
)  # fmt: skip
def test_a_file_made_by_somebody_else_is_refused(numpy_lib: Lib, tmp_path: Path, change: dict[str, Any]) -> None:
    path, about = tmp_path / "s.safetensors", {"format": 1, "steps": 1, "position": {}, "config": {}}
    save_arrays(path, {"model.weight": np.zeros(1)}, about)
    assert load_snapshot(path).steps == 1
    save_arrays(path, {"model.weight": np.zeros(1)}, about | change)
    with pytest.raises(DataError, match=r"load_snapshot: got .*; expected a snapshot of a training run"):
        load_snapshot(path)


def test_the_arrays_of_another_network_are_refused(numpy_lib: Lib) -> None:
    run = Run(numpy_lib, "sgd")
    for arrays in ({}, {"fc1.weight": np.zeros(3)}, run.model.state_dict()):
        with pytest.raises(DataError, match=r"^snapshot: "):
            restore(Snapshot(arrays, {}, 0, Position(), {}), run.model, run.optimizer)


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "missing"}, {"optimizer": np.float64}, {"optimizer": "longer"},
        {"model": np.float64}, {"model": np.int32}, {"model": bool},
        {"optimizer": "infinite"}, {"model": "infinite"}, {"steps": -1},
    ],
    ids=str,
)  # fmt: skip
def test_all_of_a_snapshot_is_put_back_or_nothing(lib: Lib, change: dict[str, Any]) -> None:
    """Whatever is wrong, and in whichever half: the model, too, stays as it is."""
    run, other = Run(lib, "adam"), Run(lib, "adam", seed=5)
    parts = {"model": other.model.state_dict(), "optimizer": other.optimizer.state_dict()}
    arrays = {part: {name: np.array(to_host(a)) + 1 for name, a in state.items()} for part, state in parts.items()}
    for part, what in change.items():
        if part == "steps":
            continue
        name = list(arrays[part])[-1]
        array = arrays[part].pop(name)
        if what == "longer":
            arrays[part][name] = np.append(array, array)
        elif what == "infinite":
            arrays[part][name] = array * np.inf
        elif what != "missing":
            arrays[part][name] = array.astype(what)
    before = run.arrays()
    with pytest.raises(DataError, match=r"^snapshot: .*; expected .*; .*\w"):
        restore(
            Snapshot(**arrays, steps=change.get("steps", 3), position=Position(), config={}), run.model, run.optimizer
        )
    assert run.optimizer.steps == 0
    for now, then in zip(run.arrays(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("array", [np.array([1.0, np.nan]), np.array([np.inf], np.float16)])
def test_a_run_is_finite(tmp_path: Path, array: np.ndarray) -> None:
    path, about = tmp_path / "s.safetensors", {"format": 1, "steps": 1, "position": {}, "config": {}}
    save_arrays(path, {"model.weight": array}, about)
    with pytest.raises(DataError, match=r"'model.weight' with numbers that are not finite"):
        load_snapshot(path)
    save_arrays(path, {"code": np.zeros(1)}, about)
    with pytest.raises(DataError, match=r"an array 'code'"):
        load_snapshot(path)


def test_without_a_test_set_the_figures_are_none_and_the_snapshot_loads(numpy_lib: Lib, tmp_path: Path) -> None:
    run, path, done = Run(numpy_lib, "sgd"), tmp_path / "s", list[Epoch]()
    fit(run.model, run.train, optimizer=run.optimizer, epochs=1, batch_size=BATCH, lr=0.1, on_epoch=done.append)
    save_snapshot(path, run.model, run.optimizer, Position(2, history=tuple(done)), {})
    assert str(load_snapshot(path).position.history) == str(tuple(done))
    assert np.isnan(done[0].test_loss)


@pytest.mark.parametrize(
    ("position", "steps"),
    [
        (Position(4), 14),
        (Position(4, 1, (0.0, 0.0, 1.0)), 16),
        (Position(5), 20),
        (Position(2, 6), 11),
        (Position(2), 0),
    ],
)
def test_a_place_that_no_run_comes_through_is_refused(position: Position, steps: int) -> None:
    """Of three epochs of five steps."""
    history = tuple(Epoch(number, 0.1, 1.0, 0.5, 1.0, 0.5, 1.0, 9.0) for number in range(1, position.epoch))
    with pytest.raises(
        DataError, match=r"^snapshot: got epoch .* steps in all; expected a place in 3 epochs of 5 steps"
    ):
        check_place(position._replace(history=history), steps, 3, 5)
    for epoch, step in ((1, 0), (1, 5), (3, 4), (4, 0)):
        right = Position(epoch, step, history=history[:1] * (epoch - 1) or (history * 3)[: epoch - 1])
        check_place(right, 5 * (epoch - 1) + step, 3, 5)
        with pytest.raises(DataError, match=r"got figures of \d epochs in epoch \d"):
            check_place(right._replace(history=(*right.history, *history[:1])), 5 * (epoch - 1) + step, 3, 5)


def test_the_newest_few_are_kept_and_the_newest_whole_one_is_found(numpy_lib: Lib, tmp_path: Path) -> None:
    run, snapshots = Run(numpy_lib, "sgd"), Snapshots(tmp_path / "snapshots", keep=2)
    assert snapshots.newest() is None
    for run.optimizer.steps in (8, 9, 10):
        snapshots.save(run.model, run.optimizer, Position(), {})
    assert [path.name for path in snapshots.files()] == ["step-000000010.safetensors", "step-000000009.safetensors"]
    newest = snapshots.newest()
    assert newest is not None
    assert newest.steps == 10
    snapshots.files()[0].write_bytes(b"half")
    newest = snapshots.newest()
    assert newest is not None
    assert newest.steps == 9
    snapshots.files()[1].write_bytes(b"half")
    with pytest.raises(DataError, match=r"snapshots: got 2 in .*all of them damaged; .*begin anew"):
        snapshots.newest()
    snapshots.clear()
    assert list(tmp_path.iterdir()) == []


# ==== the command ====


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "load", lambda *_, **__: tiny_dataset())
    monkeypatch.setattr(runs.RunFolder, "draw", lambda *_: None)
    monkeypatch.delenv("XLENET_BACKEND", raising=False)


def call(out: Path | None, *arguments: object) -> int:
    common = ["--batch-size", 16, "--quiet", *(["--out", out] if out else [])]
    try:
        return train.main([str(argument) for argument in (*common, *arguments)])
    except SystemExit as ending:
        return int(ending.code or 0)


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int, number: int = signal.SIGINT) -> None:
    seen = [0]

    def press(self: Any, progress: Any) -> None:
        seen[0] += 1
        if seen[0] == steps:
            signal.raise_signal(number)

    monkeypatch.setattr(train.Console, "step", press)


def model(out: Path) -> bytes:
    return (out / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "terminated"]
)
@pytest.mark.parametrize("steps", [1, 5, 8])
@pytest.mark.usefixtures("tiny")
def test_a_run_ended_by_a_signal_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int, steps: int
) -> None:
    """There are five steps in an epoch."""
    assert call(tmp_path / "whole", "--epochs", 3) == 0
    out = tmp_path / "parts"
    with monkeypatch.context() as patch:
        stop_after(patch, steps, number)
        assert call(out, "--epochs", 3) == code
    newest = Snapshots(out / "snapshots").newest()
    assert newest is not None
    assert newest.steps == steps, "nothing that was done is lost"
    assert call(out, "--epochs", 3, "--resume") == 0
    assert model(out) == model(tmp_path / "whole")
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


@pytest.mark.usefixtures("tiny")
def test_where_there_is_nothing_to_resume_it_begins_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--out", str(tmp_path / "a"), "--epochs", "1", "--batch-size", "16", "--resume"]) == 0
    assert "nothing to resume yet: beginning" in capsys.readouterr().out


@pytest.mark.usefixtures("tiny")
def test_going_on_from_a_file_forgets_what_came_after_it(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert call(out, "--epochs", 2, "--checkpoint-every", 2, "--keep", 100) == 0
    expected, snapshots = model(out), Snapshots(out / "snapshots")
    assert [int(path.stem[5:]) for path in snapshots.files()] == [10, 8, 6, 5, 4, 2]
    assert call(None, "--epochs", 2, "--resume", out / "snapshots" / "step-000000004.safetensors") == 0
    assert model(out) == expected
    assert [int(path.stem[5:]) for path in snapshots.files()] == [10, 5, 4]


@pytest.mark.usefixtures("tiny")
def test_a_file_of_another_folder_begins_a_new_one(tmp_path: Path) -> None:
    """What an older run has left there is gone, and nothing of the file's own folder is touched."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert call(first, "--epochs", 2, "--checkpoint-every", 2, "--keep", 100) == 0
    assert call(second, "--epochs", 1, "--seed", 9, "--checkpoint-every", 1, "--keep", 100) == 0
    before = [path.name for path in Snapshots(first / "snapshots").files()]
    assert call(second, "--epochs", 2, "--resume", first / "snapshots" / "step-000000004.safetensors") == 0
    assert model(second) == model(first)
    assert [path.name for path in Snapshots(first / "snapshots").files()] == before
    assert [int(path.stem[5:]) for path in Snapshots(second / "snapshots").files()] == [10, 5, 4]


@pytest.mark.usefixtures("tiny")
def test_another_run_is_not_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert call(out, "--epochs", 1) == 0
    before = model(out)
    assert call(out, "--epochs", 1, "--lr", 0.01, "--resume") == 2
    assert "--resume: got lr 0.01, and the snapshot has 0.05; expected the same run" in capsys.readouterr().err
    assert model(out) == before
    assert call(None, "--resume") == 2
    assert "--resume: got no file and no --out" in capsys.readouterr().err


@pytest.mark.usefixtures("tiny")
def test_a_damaged_file_is_an_error_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert call(out, "--epochs", 1) == 0
    (only,) = Snapshots(out / "snapshots").files()
    only.write_bytes(only.read_bytes()[:-9])
    before = sorted(path.name for path in out.iterdir())
    assert call(out, "--epochs", 1, "--resume") == 4
    assert call(out, "--epochs", 1, "--resume", only) == 4
    assert "Traceback" not in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda about, arrays: about.update(steps=9),
        lambda about, arrays: about["position"].update(epoch=7),
        lambda about, arrays: about["position"].update(history=[]),
        lambda about, arrays: about["position"].update(step=3, sums=[1.0, 1.0, 3.0]),
        lambda about, arrays: arrays.update({"model.fc5.bias": np.full(10, np.nan, np.float32)}),
        lambda about, arrays: arrays.update({"model.fc5.bias": np.zeros(10)}),
        lambda about, arrays: arrays.update({"optimizer.velocity": np.zeros(7, np.float32)}),
        lambda about, arrays: arrays.update({"optimizer.mean": arrays.pop("optimizer.velocity")}),
        lambda about, arrays: arrays.update({"\x1b[2J": np.zeros(7)}),
    ],
)
@pytest.mark.usefixtures("tiny")
def test_a_snapshot_that_lies_ends_the_command_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any
) -> None:
    out, path = tmp_path / "run", tmp_path / "lies.safetensors"
    assert call(out, "--epochs", 1) == 0
    arrays, about = load_arrays(Snapshots(out / "snapshots").files()[0])
    save_arrays(path, arrays, about)
    assert call(tmp_path / "other", "--epochs", 1, "--resume", path) == 0, "as it is, it is good"
    change(about, arrays)
    save_arrays(path, arrays, about)
    before = sorted((name, name.read_bytes()) for name in out.rglob("*.*"))
    assert call(out, "--epochs", 1, "--resume", path) == 4
    assert sorted((name, name.read_bytes()) for name in out.rglob("*.*")) == before, "the folder stays as it was"
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith(("error: snapshot: got ", "error: load_snapshot: got "))
    assert message.isprintable()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no pipes among its files")
@pytest.mark.usefixtures("tiny")
def test_a_pipe_is_no_snapshot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert call(tmp_path / "run", "--epochs", 1, "--resume", tmp_path / "pipe") == 4
    assert "a pipe or a device; expected a file" in capsys.readouterr().err


@pytest.mark.usefixtures("tiny")
def test_a_new_run_in_the_folder_leaves_no_snapshot_of_the_old_one(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert call(out, "--epochs", 3) == 0
    assert call(out, "--epochs", 1) == 0
    assert [int(path.stem[5:]) for path in Snapshots(out / "snapshots").files()] == [5]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a process for each fault")
def test_faults_and_kills_lose_nothing() -> None:
    """Some of them; ``python -m tests.faults`` tries them all."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--every", "13", "--random", "3"],
        cwd=ROOT, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill: 9 places, 9 of them reached" in done.stdout


@pytest.mark.parametrize("name", ["step-1000.safetensors", "step-foo.safetensors"])
@pytest.mark.usefixtures("tiny")
def test_snapshots_of_nobody_knows_whom_are_left_alone(tmp_path: Path, name: str) -> None:
    """A folder without a configuration is no run's: they may be the only copy."""
    theirs = tmp_path / "snapshots" / name
    theirs.parent.mkdir()
    theirs.write_text("mine", encoding="utf-8")
    assert call(tmp_path, "--epochs", 1) == (5 if name[5:9].isdecimal() else 0)
    assert theirs.read_text(encoding="utf-8") == "mine"
