"""`python -m xlenet.train --data ...` with data of a user's own, from end to end; and its mistakes, a line each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.own import bars, idx_files, picture_folder, save_picture
from xlenet import train
from xlenet.backend import use_backend
from xlenet.trained import load_trained


@pytest.fixture(autouse=True)
def no_settings_of_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("XLENET_BACKEND", "XLENET_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XLENET_OFFLINE", "1")


def run(data: Path | str, out: Path, *arguments: object) -> int:
    return train.main(
        ["--data", str(data), "--out", str(out), "--epochs", "12", "--batch-size", "16", *map(str, arguments)]
    )


def npz(folder: Path, side: int = 28, channels: int = 0) -> Path:
    x, y = bars(60, side, channels=channels)
    path = folder / "bars.npz"
    np.savez(path, x_train=x, y_train=np.array(["low", "mid", "top"])[y], x_test=x[:12], y_test=np.array(
        ["low", "mid", "top"])[y[:12]])  # fmt: skip
    return path


def pictures(folder: Path) -> Path:
    picture_folder(folder / "bars", 60)
    return folder / "bars"


def idx(folder: Path) -> Path:
    idx_files(folder / "bars" / "MNIST" / "raw", *bars(60), packed=True)
    return folder / "bars"


FORMATS: dict[str, Any] = {
    "npz": (npz, "bars.npz", (1, 28, 28), ["low", "mid", "top"]),
    "colour": (lambda folder: npz(folder, 32, 3), "bars.npz", (3, 32, 32), ["low", "mid", "top"]),
    "folder": (pictures, "bars", (1, 28, 28), ["a", "b", "c"]),
    "IDX": (idx, "MNIST/", (1, 28, 28), ["0", "1", "2"]),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_each_kind_is_learnt_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    make, name, (channels, side, _), classes = FORMATS[kind]
    data, out = make(tmp_path), tmp_path / "out"
    assert run(data, out, "--expect", 0.9) == 0
    said = capsys.readouterr()
    assert f"parameters), {name} (" in said.out
    assert f" images, 3 classes: {', '.join(classes)}), " in said.out
    assert "Traceback" not in said.err
    assert ("no test part here" in said.err) == (kind == "folder")
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert (config["data"], config["model"]["channels"], config["model"]["image_size"]) == (name, channels, side)
    assert config["model"]["class_names"] == classes
    assert str(tmp_path) not in json.dumps(config)
    with use_backend("numpy"):
        trained = load_trained(out / "model.safetensors")
    assert (trained.class_names, trained.image_shape) == (tuple(classes), (channels, side, side))

    # Half of it, gone on with, in another place and under another name: the same model.
    half, moved = tmp_path / "half", tmp_path / f"moved{data.suffix}"
    assert run(data, half, "--quiet", "--checkpoint-every", 5, "--keep", 100) == 0
    snapshot = sorted((half / "snapshots").iterdir())[0]
    data.rename(moved)
    assert run(moved, tmp_path / "other", "--quiet", "--resume", snapshot) == 0
    assert (tmp_path / "other" / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def test_other_images_or_class_names_are_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = bars(60)
    data, out = tmp_path / "mine.npz", tmp_path / "out"

    def save(x: Any, names: list[str]) -> None:
        labels = np.array(names)[y]
        np.savez(data, x_train=x, y_train=labels, x_test=x, y_test=labels)

    save(x, ["a", "b", "c"])
    assert run(data, out, "--epochs", 1, "--quiet") == 0
    capsys.readouterr()
    save(x + 1, ["a", "b", "c"])
    assert run(data, out, "--epochs", 2, "--quiet", "--resume") == 2
    assert re.match(r"error: --resume: got data_digest .*; expected the same run; ", capsys.readouterr().err)
    save(x, ["a", "b", "d"])
    assert run(data, out, "--epochs", 1, "--quiet", "--resume") == 2
    assert re.match(r"error: --resume: got model .*; expected the same run; ", capsys.readouterr().err)
    save(x, ["a", "b", "c"])
    assert run(data, out, "--epochs", 1, "--quiet", "--resume") == 0


def test_the_first_images_of_a_folder_are_of_all_classes(tmp_path: Path) -> None:
    assert run(pictures(tmp_path), tmp_path / "out", "--train-size", 24, "--validation", 4, "--quiet") == 0


def empty(folder: Path) -> Path:
    (folder / "nothing").mkdir()
    return folder / "nothing"


def one_class(folder: Path) -> Path:
    save_picture(folder / "one" / "a" / "1.png", np.zeros((28, 28), np.uint8))
    return folder / "one"


def damaged(folder: Path) -> Path:
    path = pictures(folder) / "a" / "000.png"
    path.write_bytes(path.read_bytes()[:60])
    return folder / "bars"


def a_text(folder: Path) -> Path:
    path = folder / "data\x1b[31m.csv"
    path.write_text("1,2,3\n")
    return path


def pickled(folder: Path) -> Path:
    path = folder / "mine.npz"
    np.savez(path, x_train=np.array([None, {}]), y_train=np.array([0, 1]))
    return path


def normalised(folder: Path) -> Path:
    x, y = bars(30)
    np.savez(folder / "mine.npz", x_train=(x - 40.0) / 50.0, y_train=y)
    return folder / "mine.npz"


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: "cifar",
        lambda folder: folder / "none.npz",
        empty,
        one_class,
        damaged,
        a_text,
        pickled,
        normalised,
    ],
)
def test_a_mistake_is_a_line_and_4(tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Any) -> None:
    out = tmp_path / "out"
    assert run(make(tmp_path), out) == 4
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert re.fullmatch(r"error: load: got .*; expected .*; \w.*", line)
    assert line.isprintable()
    assert said.out == ""
    assert not out.exists()
