"""``python -m xlenet.plot``: pictures out of a run's folder, whatever state that is in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.train_on_tiny_data import tiny_dataset
from xlenet import gallery, plot, train
from xlenet.checkpoint import load_model, save_arrays, save_model
from xlenet.data import Dataset
from xlenet.errors import DataNotFoundError
from xlenet.models import LeNet5
from xlenet.records import read_record

ROOT = Path(__file__).parent.parent
PNG = b"\x89PNG\r\n\x1a\n"
ALL = ["confusion.png", "curves.png", "features.png", "filters.png", "mistakes.png"]


def make_run(folder: Path, *arguments: object, stop: bool = False) -> Path:
    """Train for two epochs on next to nothing."""
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(train, "load", lambda *_, **__: tiny_dataset()._replace(name="mnist"))
        patched.delenv("XLENET_BACKEND", raising=False)
        if stop:
            patched.setattr(train.RunFolder, "save_model", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        code = train.main([str(a) for a in ("--out", folder, "--epochs", 2, "--batch-size", 32, "--quiet", *arguments)])
    assert code == (130 if stop else 0)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has left snapshots and epochs, and no model."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "killed", "--validation", 10, stop=True)
    assert not (folder / "model.safetensors").exists()
    (folder / "best.safetensors").unlink()
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy without pictures."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("*.png"))
    return folder


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The data set that is loaded, in a list, so that a test can change it; None is nowhere."""
    monkeypatch.delenv("XLENET_BACKEND", raising=False)
    there: list[Any] = [tiny_dataset()._replace(name="mnist")]

    def load(name: str, data_dir: str | None) -> Dataset:
        if there[0] is None:
            raise DataNotFoundError(f"load {name}: got nothing; expected it; look elsewhere")
        dataset: Dataset = there[0]
        return dataset

    monkeypatch.setattr(plot, "load_data", load)
    return there


def call(*arguments: object) -> int:
    try:
        return plot.main([str(argument) for argument in arguments])
    except SystemExit as ending:
        return int(ending.code or 0)


def pictures(folder: Path) -> list[str]:
    found = sorted(folder.glob("*.png"))
    assert all(path.read_bytes().startswith(PNG) for path in found)
    return [path.name for path in found]


def test_all_pictures_are_drawn_again_and_are_the_same(
    run: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(run) == 0
    assert pictures(run) == ALL == pictures(finished)
    for name in ALL:
        assert (run / name).read_bytes() == (finished / name).read_bytes(), name
    said = capsys.readouterr()
    assert sorted(said.out.split()) == [str(run / name) for name in ALL]
    assert said.err == ""


def test_another_folder_and_another_image(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "pictures"
    assert call(run, "--out", out, "--image", 3) == 0
    assert pictures(run) == []
    assert pictures(out) == ALL
    call(run)
    assert (out / "features.png").read_bytes() != (run / "features.png").read_bytes()
    assert (out / "mistakes.png").read_bytes() == (run / "mistakes.png").read_bytes()


def test_without_data_what_can_be_drawn_is(run: Path, data: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    data[0] = None
    assert call(run) == 0
    assert pictures(run) == ["curves.png", "filters.png"]
    assert "left out: confusion.png, features.png, mistakes.png; the run's data are not to be had" in (
        capsys.readouterr().err
    )


def test_data_that_were_asked_for_must_be_there(run: Path, data: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    data[0] = None
    assert call(run, "--data", "mnist") == 4
    assert capsys.readouterr().err.startswith("error: load mnist: got nothing")


def test_data_other_than_the_runs_are_taken_only_when_asked_for(
    run: Path, data: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    data[0] = data[0]._replace(x_test=data[0].x_test[::-1])
    assert call(run) == 0
    assert pictures(run) == ["curves.png", "filters.png"]
    assert "has other images or labels than the run saw" in capsys.readouterr().err
    assert call(run, "--data", "mnist") == 0
    assert pictures(run) == ALL


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class_names": ("a", "b")}, "and mnist has (1, 28, 28) of 2"),
        ({"x_test": np.zeros((30, 3, 28, 28), np.uint8)}, "and mnist has (3, 28, 28) of 10"),
    ],
)
def test_data_that_the_network_does_not_take(
    run: Path, data: list[Any], capsys: pytest.CaptureFixture[str], change: dict[str, Any], words: str
) -> None:
    data[0] = data[0]._replace(**change)
    assert call(run) == 0
    assert pictures(run) == ["curves.png", "filters.png"]
    assert "left out: " in capsys.readouterr().err
    assert call(run, "--data", "mnist") == 2
    assert pictures(run) == ["curves.png", "filters.png"]
    error = capsys.readouterr().err
    assert words in error
    assert "error: --data 'mnist': got what cannot be drawn" in error


def test_an_image_that_is_not_there(run: Path, data: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(run, "--image", 30) == 2
    assert pictures(run) == ["curves.png", "filters.png"]
    error = capsys.readouterr().err
    assert "there is no test image 30 among 30; --image chooses another" in error
    assert "error: --image 30: got what cannot be drawn" in error
    data[0] = None
    assert call(run, "--image", 3) == 2


@pytest.mark.parametrize("option", [("--data", "mnist"), ("--image", "0"), ("--data-dir", ".")])
def test_what_several_runs_have_no_use_for(
    option: tuple[str, str], run: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(run, finished, "--out", tmp_path, *option) == 2
    assert capsys.readouterr().err.startswith(f"error: {option[0]}: got it with 2 runs")


# ==== which network ====


def change(path: Path, name: str, value: float, to: Path | None = None) -> None:
    state, about = load_model(path)
    state[name].flat[:3] = value
    save_arrays(to or path, state, about)


def test_the_best_network_is_drawn_where_there_is_one(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    titles: list[str] = []
    original = plot.draw_filters

    def listen(folder: Path, model: Any, title: str) -> Any:
        titles.append(title)
        return original(folder, model, title)

    monkeypatch.setattr(plot, "draw_filters", listen)
    assert call(run, "--out", tmp_path / "last") == 0
    change(run / "model.safetensors", "conv1.weight", 9.0, run / "best.safetensors")
    assert capsys.readouterr().err == ""
    assert call(run, "--out", tmp_path / "best") == 0
    assert capsys.readouterr().err.startswith("note: the network is that of best.safetensors")
    assert titles == ["LeNet-5 on MNIST", "LeNet-5 on MNIST (best.safetensors)"]
    for name in ("filters.png", "features.png"):
        assert (tmp_path / "last" / name).read_bytes() != (tmp_path / "best" / name).read_bytes()
    assert (tmp_path / "last" / "curves.png").read_bytes() == (tmp_path / "best" / "curves.png").read_bytes()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "value", "left", "words"),
    [
        ("fc5.weight", 3e38, ["curves.png", "filters.png"], "the network's answers are not finite numbers"),
        ("bn1.weight", 3e38, ["curves.png", "filters.png"], "the network's answers are not finite numbers"),
        ("conv1.weight", 0.0, ALL, ""),
    ],
)
def test_a_network_whose_results_overflow(
    run: Path, capsys: pytest.CaptureFixture[str], name: str, value: float, left: list[str], words: str
) -> None:
    change(run / "model.safetensors", name, value)
    assert call(run) == (4 if words else 0)
    assert pictures(run) == left
    error = capsys.readouterr().err
    assert words in error
    assert not words or error.splitlines()[-1].startswith("error: run folder: got ")


def test_a_layer_that_overflows_where_the_answers_do_not(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As below a ReLU."""
    original = gallery.layer_results
    monkeypatch.setattr(gallery, "layer_results", lambda *_: original(*_) | {"bn1": np.full((2, 3, 3), -np.inf)})
    assert call(run) == 4
    assert pictures(run) == [name for name in ALL if name != "features.png"]
    assert "left out: features.png; what bn1 makes of the image are not finite numbers" in capsys.readouterr().err


def test_a_negative_variance_is_no_networks(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(run / "model.safetensors", "bn1.running_var", -5.0)
    assert call(run) == 4
    assert pictures(run) == ["curves.png"]
    assert "'bn1.running_var' has a variance of -5" in capsys.readouterr().err


def test_a_run_under_way_is_drawn_from_its_snapshot(killed: Path, data: list[Any]) -> None:
    """With the normalisation of the images that it learns from, of which ten are held out."""
    assert call(killed) == 0
    assert pictures(killed) == ALL
    record = read_record(killed)
    assert record.snapshot is not None
    trained, _ = plot._trained(record, data[0])
    assert trained is not None
    np.testing.assert_array_equal(trained.model.params or trained.model.state_dict()["fc5.bias"],
                                  record.snapshot.model["fc5.bias"])  # fmt: skip
    from xlenet.data import Images, hold_out

    stay, _ = hold_out(70, 10)
    wanted = Images(data[0].x_train[stay], data[0].y_train[stay]).normalization
    assert trained.normalization == wanted
    for picture in ALL:
        (killed / picture).unlink()
    data[0] = None
    assert call(killed) == 0
    assert pictures(killed) == ["curves.png", "filters.png"]


def test_epochs_are_in_the_snapshot_too(killed: Path, tmp_path: Path) -> None:
    shutil.copytree(killed, tmp_path / "run", ignore=shutil.ignore_patterns("*.png", "metrics.jsonl"))
    assert len(read_record(tmp_path / "run").history) == 2
    assert call(tmp_path / "run") == 0
    assert pictures(tmp_path / "run") == ALL


def test_a_run_that_has_just_begun(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("metrics.jsonl", "model.safetensors"):
        (run / path).unlink()
    shutil.rmtree(run / "snapshots")
    assert call(run) == 4
    assert "with nothing to draw; expected an epoch or a model" in capsys.readouterr().err
    (run / "metrics.jsonl").write_text("")
    assert call(run) == 4


# ==== several ====


def test_two_runs_in_one_picture(run: Path, killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    original = plot.plot_comparison

    def listen(histories: Any, *arguments: Any, **notes: Any) -> Path:
        asked.append((list(histories), notes["notes"]))
        return original(histories, *arguments, **notes)

    monkeypatch.setattr(plot, "plot_comparison", listen)
    assert call(run, killed, "--out", tmp_path / "out") == 0
    assert pictures(tmp_path / "out") == ["compared.png"]
    names, notes = asked[0]
    assert names == ["run", "killed"]
    assert notes == {"run": "validation none", "killed": "validation 10"}
    assert pictures(run) == []


def test_runs_of_one_name_are_told_apart(run: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    shutil.copytree(run, tmp_path / "other" / "run")
    records = [read_record(path) for path in (run, tmp_path / "other" / "run", run)]
    assert plot._names(records[:2]) == [str(run), str(tmp_path / "other" / "run")]
    assert plot._names(records) == [f"{run} (1)", f"{tmp_path / 'other' / 'run'} (2)", f"{run} (3)"]
    assert call(*[run] * 6, "--out", tmp_path) == 0
    assert call(*[run] * 7, "--out", tmp_path) == 2


def test_a_run_without_an_epoch_cannot_be_compared(run: Path, finished: Path, capsys: Any, tmp_path: Path) -> None:
    (run / "metrics.jsonl").write_text("")
    assert call(finished, run, "--out", tmp_path) == 4
    assert "where no epoch has ended yet" in capsys.readouterr().err


# ==== folders that anybody may have made ====


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"versions": 3}', '{"versions": {"xlenet": 1}}', "\xff", "[" * 9999],
    ids=["nothing", "cut short", "a list", "null", "a number", "a number inside", "a letter", "deep"],
)
def test_a_configuration_that_is_none(run: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (run / "config.json").write_bytes(text.encode("latin-1"))
    assert call(run) == 4
    assert "error: run folder: got " in capsys.readouterr().err
    assert pictures(run) == []


GOOD = {"epoch": 1, "train_loss": 0.5, "train_accuracy": 0.9, "test_loss": 0.6, "test_accuracy": 0.8}


@pytest.mark.parametrize(
    "line",
    [
        "{", "3", "[]", '{"epoch": 1}', json.dumps(GOOD | {"test_loss": "0.5"}), json.dumps(GOOD | {"epoch": True}),
        json.dumps(GOOD | {"epoch": 1e12}), json.dumps(GOOD | {"epoch": -1}), json.dumps(GOOD | {"lr": 10**400}),
        json.dumps(GOOD | {"test_accuracy": 5}), json.dumps(GOOD | {"train_accuracy": -0.1}),
        json.dumps(GOOD | {"test_loss": -3.0}), json.dumps(GOOD | {"validation_loss": 1.0}),
        "\n".join(json.dumps(GOOD | more) for more in ({}, {"validation_loss": 1.0, "validation_accuracy": 0.5})),
        json.dumps(GOOD | {"lr": None}), json.dumps(GOOD | {"more": {"a": 1}}), json.dumps(GOOD) + "\n\n",
        "\n".join([json.dumps(GOOD)] * 20_001),
    ],
)  # fmt: skip
def test_epochs_that_are_none(run: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    (run / "metrics.jsonl").write_text(line)
    assert call(run) == 4
    assert "expected a line of JSON for each epoch" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_is_a_gap(run: Path) -> None:
    (run / "metrics.jsonl").write_text(json.dumps(GOOD | {"train_loss": float("nan"), "test_loss": float("inf")}))
    assert call(run) == 0
    assert pictures(run) == ALL


@pytest.mark.parametrize(
    "change",
    [{"data": 3}, {"data": ["x"]}, {"data": None}, {"data": "$\\frac" * 50}, {"data_digest": None}, {"model": 3}],
)
def test_a_configuration_that_says_odd_things(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    from xlenet.data import load

    monkeypatch.setattr(plot, "load_data", lambda name, data_dir: load(name, data_dir, mirrors=[]))
    config = json.loads((run / "config.json").read_text()) | change
    (run / "config.json").write_text(json.dumps(config))
    assert call(run) == 0
    assert pictures(run) == ["curves.png", "filters.png"]
    assert "left out: " in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["truncated", "other", "folder", "empty"])
def test_a_damaged_model_is_told_after_the_rest_was_drawn(
    run: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    path = run / "model.safetensors"
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "other":
        save_model(path, LeNet5(rng=0), {"architecture": "other"})
    else:
        path.write_bytes(content[:1000] if damage == "truncated" else b"")
    assert call(run) == 4
    assert pictures(run) == ["curves.png"]
    error = capsys.readouterr().err
    assert "left out: filters.png, confusion.png, features.png, mistakes.png; the network cannot be read" in error
    assert "error: " in error


@pytest.mark.parametrize(
    "change", [{"train_size": "70"}, {"train_size": 0}, {"validation": 70}, {"validation": -1}, {"model": []}]
)
def test_a_snapshot_that_says_odd_things(
    killed: Path, tmp_path: Path, change: dict[str, Any], monkeypatch: Any
) -> None:
    record = read_record(killed)
    assert record.snapshot is not None
    snapshot = record.snapshot._replace(config=record.snapshot.config | change)
    monkeypatch.setattr(plot, "read_record", lambda _: record._replace(snapshot=snapshot))
    assert call(killed, "--out", tmp_path) == 4
    assert pictures(tmp_path) == ["curves.png"]


def test_a_reader_who_has_gone_has_the_pictures_all_the_same(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", gone)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    assert call(run) == 141
    sys.stdout.close()  # what it was exchanged for
    assert pictures(run) == ALL


def test_where_there_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for path, words in (("nowhere", "not there"), ("file", "no folder"), (".", "config.json")):
        assert call(tmp_path / path) == 4
        assert words in capsys.readouterr().err
    assert call() == 2


def test_where_nothing_can_be_written(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert call(run, "--out", tmp_path / "file" / "deeper") == 5
    assert "error: --out: got " in capsys.readouterr().err


def test_a_path_in_a_configuration_is_not_followed(
    run: Path, data: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The digest would be right: it is not for a file to say what is read here."""
    config = json.loads((run / "config.json").read_text()) | {"data": str(tmp_path)}
    (run / "config.json").write_text(json.dumps(config))
    assert call(run) == 0
    assert pictures(run) == ["curves.png", "filters.png"]
    assert "data of somebody's own" in capsys.readouterr().err
    assert call(run, "--data", tmp_path) == 0
    assert pictures(run) == ALL


def test_as_a_user_starts_it(run: Path) -> None:
    """In a process of its own, without the data; and what reads its output may stop reading."""
    command = [sys.executable, "-m", "xlenet.plot", str(run)]
    nowhere = os.environ | {"XLENET_DATA_DIR": str(run / "nowhere")}
    done = subprocess.run(command, cwd=ROOT, env=nowhere, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(run / name) for name in ("curves.png", "filters.png")]
    assert done.stderr.count("\n") == 1
    assert load_model(run / "model.safetensors")
