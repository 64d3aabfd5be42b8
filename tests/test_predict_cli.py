"""``python -m xlenet.predict``: what it says of pictures, and the code it ends with."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.reader import reader
from tests.sheets import STROKES, black_on_white, drawn
from xlenet import LeNet5, evaluate, predict
from xlenet.checkpoint import save_model
from xlenet.data import as_mnist

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def on_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLENET_BACKEND", raising=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, but for what nobody asks here."""
    folder = tmp_path_factory.mktemp("run")
    save_model(folder / "model.safetensors", reader().model, reader().about())
    return folder


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.png, 1.png, 4.png and 7.png: each a digit in black on white."""
    folder = tmp_path_factory.mktemp("sheets")
    for digit in STROKES:
        Image.fromarray(black_on_white(drawn(digit))).save(folder / f"{digit}.png")
    return folder


def call(*arguments: object) -> int:
    """The exit code, whether it is returned or, as by argparse, raised. Any other exception is a traceback."""
    try:
        return predict.main([str(argument) for argument in arguments])
    except SystemExit as ending:
        return int(ending.code or 0)


def records(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What --json has printed, and nothing else."""
    captured = capsys.readouterr()
    assert captured.err == ""
    found: list[dict[str, Any]] = json.loads(captured.out)
    return found


# ==== answers ====


def test_each_picture_of_a_folder_has_a_line(model: Path, sheets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--model", model, sheets) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == (
        f"LeNet-5 trained on generated, {model / 'model.safetensors'}; each digit centred and scaled as MNIST does"
    )
    for digit, line in zip(sorted(STROKES), lines, strict=True):
        name, _, said = line.partition(": ")
        assert name == str(sheets / f"{digit}.png")
        label, share, *_ = said.split()
        assert label == digit
        assert 30.0 < float(share.rstrip("%")) <= 100.0
        assert line.count("%") == 3


def test_json_has_labels_probabilities_and_runners_up(
    model: Path, sheets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--model", model, "--json", "--top", 4, sheets / "4.png", sheets / "7.png") == 0
    found = records(capsys)
    assert [(Path(one["file"]).name, one["label"]) for one in found] == [("4.png", "4"), ("7.png", "7")]
    for one in found:
        shares = [each["probability"] for each in one["top"]]
        assert len(shares) == 4
        assert shares == sorted(shares, reverse=True)
        assert (one["label"], one["probability"]) == (one["top"][0]["label"], shares[0])
        image = as_mnist(np.asarray(Image.open(one["file"])))
        np.testing.assert_allclose(shares, np.sort(reader().probabilities(image[None])[0])[::-1][:4], rtol=1e-5)


def test_more_runners_up_than_classes_are_all_of_them(
    model: Path, sheets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--model", model, "--json", "--top", 99, sheets / "4.png") == 0
    shares = [each["probability"] for each in records(capsys)[0]["top"]]
    assert len(shares) == 10
    assert sum(shares) == pytest.approx(1.0)


def test_more_pictures_than_are_asked_about_at_once(
    model: Path, sheets: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "_TOGETHER", 3)
    paths = [sheets / f"{digit}.png" for digit in "47104"]
    assert call("--model", model, "--json", *paths[:4], "absent", paths[4]) == 4
    assert [one.get("label", "error") for one in records(capsys)] == ["4", "7", "1", "0", "error", "4"]


def test_a_picture_from_standard_input(
    model: Path, sheets: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = io.BytesIO((sheets / "7.png").read_bytes())
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=data))
    assert call("--model", model, "--json", "-") == 0
    assert [(one["file"], one["label"]) for one in records(capsys)] == [("-", "7")]


def test_what_the_network_saw_is_drawn(model: Path, sheets: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen.png"
    assert call("--model", model, "--show", out, sheets) == 0
    with Image.open(out) as image:
        assert min(image.size) > 100


@pytest.mark.parametrize("option", ["--show", "--confusion"])
def test_a_picture_that_cannot_be_written_is_told_before_the_work(
    option: str, model: Path, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out in (tmp_path / "absent" / "seen.png", tmp_path, "a\0b.png"):
        if option == "--show":
            assert call("--model", model, option, out, sheets) == 5
        else:
            assert evaluate.main(["--model", str(model), option, str(out)]) == 5
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(f"error: {option}: got ")


def test_what_is_not_drawn_is_said(
    model: Path, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "_MOST_SHOWN", 3)
    assert call("--model", model, "--show", tmp_path / "seen.png", sheets) == 0
    assert capsys.readouterr().err == "note: --show: the first 3 of 4 pictures are drawn\n"
    assert call("--model", model, "--show", tmp_path / "none.png", tmp_path / "absent.png") == 4
    assert "note: --show: nothing is drawn, since no picture could be answered" in capsys.readouterr().err
    assert not (tmp_path / "none.png").exists()


def test_ink_from_side_to_side_is_noted(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ink = drawn("4")
    ink[200:203] = 1.0  # a ruled line
    Image.fromarray(black_on_white(ink)).save(tmp_path / "ruled.png")
    assert call("--model", model, tmp_path / "ruled.png") == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(f"note: {tmp_path / 'ruled.png'}: what was found reaches the picture's border, or")
    assert call("--model", model, "--json", tmp_path / "ruled.png") == 0
    assert json.loads(capsys.readouterr().out)[0]["note"].startswith("what was found reaches")
    assert call("--model", model, "--raw", tmp_path / "ruled.png") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes it")
@pytest.mark.parametrize("name", ["predict", "evaluate", "doctor"])
def test_a_standard_output_that_is_closed_is_told(name: str, model: Path, sheets: Path) -> None:
    more = {"predict": f"--model {model} {sheets}", "evaluate": f"--model {model}", "doctor": ""}[name]
    shell = f"{sys.executable} -m xlenet.{name} {more} >&-"
    done = subprocess.run(["sh", "-c", shell], cwd=ROOT, stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == 5
    assert done.stderr.startswith(b"error: standard output: got it closed")


def test_best_is_taken_before_the_last(sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(tmp_path / "model.safetensors", LeNet5(rng=0), reader().about())
    save_model(tmp_path / "best.safetensors", reader().model, reader().about())
    assert call("--model", tmp_path, sheets / "4.png") == 0
    head, line = capsys.readouterr().out.splitlines()
    assert "best.safetensors" in head
    assert ": 4 " in line


# ==== how pictures are prepared ====


def test_as_is_leaves_the_picture_where_it_is(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = as_mnist(black_on_white(drawn("4")))
    Image.fromarray(image[0]).save(tmp_path / "like-mnist.png")
    Image.fromarray(black_on_white(drawn("4"))).save(tmp_path / "sheet.png")
    for flag in ("--raw", "--as-is"):
        assert call("--model", model, flag, "--json", tmp_path / "like-mnist.png", tmp_path / "sheet.png") == 0
        first, second = records(capsys)
        assert first["probability"] == pytest.approx(reader().probabilities(image[None]).max(), rel=1e-5)
        assert second["probability"] != first["probability"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "each digit centred"),
        ({"data": "mnist"}, "each digit centred"),
        ({"data": None}, "each digit centred"),  # ten classes named 0 to 9
        ({"data": None, "class_names": list("abcdefghij")}, "pictures scaled as they are"),
        ({"data": "fashion-mnist"}, "pictures scaled as they are"),
        ({"data": "letters/"}, "pictures scaled as they are"),
    ],
)
def test_what_the_model_was_trained_on_decides(
    change: dict[str, Any], expected: str, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = {name: value for name, value in (reader().about() | change).items() if value is not None}
    save_model(tmp_path / "m.safetensors", reader().model, about)
    assert call("--model", tmp_path / "m.safetensors", sheets / "4.png") == 0
    assert expected in capsys.readouterr().out.splitlines()[0]


def test_a_network_of_colours_takes_grey_pictures_too(
    sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = {
        "architecture": "LeNet5", "image_size": 32, "channels": 3, "classes": 2, "class_names": ["dog", "cat"],
        "relu_after_conv3": False, "normalization": {"mean": [99.0] * 3, "std": [50.0] * 3},
    }  # fmt: skip
    save_model(tmp_path / "m.safetensors", LeNet5(32, channels=3, classes=2, rng=0), about)
    assert call("--model", tmp_path / "m.safetensors", "--show", tmp_path / "seen.png", sheets / "4.png") == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.endswith("pictures scaled as they are")
    assert {"dog", "cat"} <= set(line.replace("(", "").split())


def test_a_network_of_32_pixels_gets_digits_with_a_frame(
    sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "m.safetensors", LeNet5(32, rng=0), reader().about() | {"image_size": 32})
    assert call("--model", tmp_path / "m.safetensors", sheets) == 0
    assert "each digit centred" in capsys.readouterr().out


def test_channels_that_no_picture_has(sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = reader().about() | {"channels": 2, "normalization": {"mean": [1.0] * 2, "std": [1.0] * 2}}
    save_model(tmp_path / "m.safetensors", LeNet5(channels=2, rng=0), about)
    assert call("--model", tmp_path / "m.safetensors", sheets) == 4
    assert "2 channels; expected 1 or 3" in capsys.readouterr().err


# ==== what goes wrong ====


def test_the_others_are_answered_where_one_cannot_be(
    model: Path, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    white, words, absent = (tmp_path / f"{name}.png" for name in ("white", "words", "absent"))
    Image.new("L", (50, 50), 255).save(white)
    words.write_text("hello")
    paths = [white, sheets / "4.png", words, absent, sheets / "7.png"]
    assert call("--model", model, *paths) == 4
    captured = capsys.readouterr()
    assert [line.split(": ")[1][0] for line in captured.out.splitlines()[1:]] == ["4", "7"]
    first, second, third = captured.err.splitlines()
    assert first.startswith(f"error: '{white}': as_mnist: got a picture on which nothing stands out")
    assert second.startswith(f"error: read_picture: got '{words}' (no picture of a known kind)")
    assert third.startswith(f"error: read_picture: got '{absent}', which does not exist")
    assert call("--model", model, "--json", *paths) == 4
    assert [sorted(one) for one in records(capsys)] == [
        ["error", "file"], ["file", "label", "probability", "top"], ["error", "file"], ["error", "file"],
        ["file", "label", "probability", "top"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["\x1b[31m\x07.png", "two\nlines.png", "\u202egnp.4.png", "-json.png", "%s {}.png"],
    ids=["red and a bell", "two lines", "right to left", "an option", "to be filled in"],
)
def test_a_hostile_name_is_shown_harmlessly(
    name: str, model: Path, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes((sheets / "4.png").read_bytes())
    (tmp_path / f"broken{name}").write_bytes(b"hello")
    assert call("--model", model, tmp_path) == 4
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert all(line.isprintable() for line in text.splitlines())
    assert len(captured.out.splitlines()) == 2
    assert len(captured.err.splitlines()) == 1
    assert call("--model", model, "--json", tmp_path) == 4
    assert str(tmp_path / name) in {one["file"] for one in records(capsys)}


def test_a_hostile_name_of_a_class_is_shown_harmlessly(
    sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["\x1b[2J", "a\nb", r"$\frac{", "$x$", "\u202e", "", "f", "g", "h" * 200, "i"]
    save_model(tmp_path / "m.safetensors", reader().model, reader().about() | {"class_names": names})
    assert call("--model", tmp_path / "m.safetensors", "--top", 10, "--show", tmp_path / "seen.png", sheets) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "required"),
        (["a.png"], 2, "--model"),
        (["--model", "", "a.png"], 2, "empty text"),
        (["--model", "m", "--top", "0", "a.png"], 2, "whole number from 1 up"),
        (["--model", "absent", "a.png"], 4, "which does not exist"),
        (["--model", "absent\0", "a.png"], 4, "no file can have such a name"),
        (["--model", str(ROOT), "a.png"], 4, "without best.safetensors or model.safetensors"),
        (["--model", str(ROOT / "README.md"), "a.png"], 4, "expected a safetensors file"),
        (["--model", "m", "--backend", "", "a.png"], 2, "--backend: got an empty text"),
        (["--model", "m", "--backend", "abacus", "a.png"], 3, "abacus"),
    ],
)
def test_a_mistake_is_told_in_words(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert "Traceback" not in captured.err


def test_weights_out_of_all_proportion_are_told(
    sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = reader().about() | {"normalization": {"mean": [0.0], "std": [1e-300]}}
    save_model(tmp_path / "m.safetensors", reader().model, about)
    assert call("--model", tmp_path / "m.safetensors", sheets) == 4
    assert "numbers that are not finite" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_reader_that_has_gone_is_no_traceback(more: list[str], model: Path, sheets: Path) -> None:
    command = [sys.executable, "-m", "xlenet.predict", "--model", str(model), *more, *[str(sheets)] * 3]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_standard_output_is_told(model: Path, sheets: Path) -> None:
    command = [sys.executable, "-m", "xlenet.predict", "--model", str(model), str(sheets)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 5
    assert done.stderr.startswith(b"error: standard output: got ")
    assert b"Traceback" not in done.stderr
