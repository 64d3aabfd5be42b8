"""``python -m xlenet.evaluate``: its figures, and the code it ends with."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.reader import digits, reader
from xlenet import LeNet5, evaluate, train
from xlenet.checkpoint import load_model, save_arrays, save_model
from xlenet.data import Dataset
from xlenet.errors import DataNotFoundError


@pytest.fixture(autouse=True)
def on_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLENET_BACKEND", raising=False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A thousand test images, whatever data are asked for; gives what was asked."""
    calls: list[tuple[Any, ...]] = []

    def load(*arguments: Any, **_: Any) -> Dataset:
        calls.append(arguments)
        return digits()._replace(name=str(arguments[0]))

    monkeypatch.setattr(evaluate, "load", load)
    return calls


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(tmp_path / "model.safetensors", reader().model, reader().about())
    return tmp_path


def call(*arguments: object) -> int:
    try:
        return evaluate.main([str(argument) for argument in arguments])
    except SystemExit as ending:
        return int(ending.code or 0)


def oracle() -> tuple[Any, Any]:
    """Probabilities, and the confusion matrix, by loops."""
    data = digits()
    probabilities = reader().probabilities(data.x_test)
    matrix = np.zeros((10, 10), int)
    for label, row in zip(data.y_test, probabilities, strict=True):
        matrix[label, row.argmax()] += 1
    return probabilities, matrix


def test_figures_are_those_of_the_network(model: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--model", model, "--json") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    probabilities, matrix = oracle()
    accuracy = np.trace(matrix) / 1000
    assert captured.err == ""
    assert asked == [("generated", None)]
    assert (found["data"], found["images"]) == ("generated", 1000)
    assert found["accuracy"] == pytest.approx(accuracy)
    assert found["standard_error"] == pytest.approx(math.sqrt(accuracy * (1 - accuracy) / 1000))
    true = probabilities[np.arange(1000), digits().y_test]
    assert found["loss"] == pytest.approx(-np.log(true).mean(), rel=1e-4)
    assert found["confusion"] == matrix.tolist()
    assert [one["recall"] for one in found["recall"]] == pytest.approx(np.diagonal(matrix) / matrix.sum(axis=1))
    wrong = sorted(
        ((matrix[i, j], i, j) for i in range(10) for j in range(10) if i != j and matrix[i, j]), reverse=True
    )
    assert [one["count"] for one in found["mistakes"]] == [count for count, _, _ in wrong]
    for one in found["mistakes"]:
        assert matrix[int(one["class"]), int(one["taken_for"])] == one["count"]
    assert found["milliseconds_per_image"] > 0.0
    assert found["backend"] == f"numpy {np.__version__}"


def test_what_it_says(model: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--model", model, "--batch-size", 37) == 0
    captured = capsys.readouterr()
    _, matrix = oracle()
    text = captured.out
    assert captured.err == ""
    assert f"{model / 'model.safetensors'}" in text
    assert "1,000 test images of generated, the data that it was trained on; on numpy" in text
    assert f"accuracy {np.trace(matrix) / 1000:.2%} (standard error " in text
    assert f"  3  {matrix[3, 3] / matrix[3].sum():7.2%}" in text
    wrong = matrix - np.diag(np.diagonal(matrix))
    i, j = np.unravel_index(wrong.argmax(), wrong.shape)
    assert f"  {i} taken for {j}: {wrong[i, j]} of {matrix[i].sum()} (" in text


def test_other_data_are_asked_for_by_name(model: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--model", model, "--data", "my.npz", "--data-dir", "here") == 0
    assert asked == [("my.npz", "here")]
    assert "1,000 test images of my.npz; on numpy" in capsys.readouterr().out


@pytest.mark.parametrize("data", [None, "/etc/passwd", "my.npz", "http://example.org/"])
def test_a_file_does_not_decide_which_path_is_read(
    data: str | None, model: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    about = {name: value for name, value in (reader().about() | {"data": data}).items() if value is not None}
    save_model(model / "model.safetensors", reader().model, about)
    assert call("--model", model) == 2
    assert asked == []
    line = capsys.readouterr().err
    assert line.startswith("error: evaluate: got a model ")
    assert "give --data" in line


def test_the_confusion_matrix_is_drawn(model: Path, asked: list[Any], tmp_path: Path) -> None:
    names = ["$x$", r"$\frac{", *"23456789"]
    save_model(model / "model.safetensors", reader().model, reader().about() | {"class_names": names})
    assert call("--model", model, "--data", "x", "--confusion", tmp_path / "confusion.png") == 0
    with Image.open(tmp_path / "confusion.png") as image:
        assert min(image.size) > 300


@pytest.mark.parametrize(("expect", "code"), [("0.5", 0), ("0.9999", 7)])
def test_an_accuracy_that_is_expected(
    expect: str, code: int, model: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--model", model, "--expect", expect) == code
    assert ("expected at least" in capsys.readouterr().err) == bool(code)


def test_a_class_without_images_and_a_network_without_mistakes(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = digits()
    right = (reader().probabilities(data.x_test).argmax(axis=1) == data.y_test) & (data.y_test < 9)
    few = data._replace(x_test=data.x_test[right], y_test=data.y_test[right])
    monkeypatch.setattr(evaluate, "load", lambda *_, **__: few)
    assert call("--model", model) == 0
    text = capsys.readouterr().out
    assert "  9  no images" in text
    assert "no mistake" in text
    assert f"accuracy 100.00% (with 95% certainty above {1 - 3 / right.sum():.2%})" in text
    wrong = few._replace(y_test=(few.y_test + 1) % 9)
    monkeypatch.setattr(evaluate, "load", lambda *_, **__: wrong)
    assert call("--model", model) == 0
    assert f"accuracy 0.00% (with 95% certainty below {3 / right.sum():.2%})" in capsys.readouterr().out


def test_of_many_classes_the_worst_come_first(
    model: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluate, "_MOST_CLASSES", 4)
    assert call("--model", model) == 0
    _, matrix = oracle()
    recalls = np.diagonal(matrix) / matrix.sum(axis=1)
    lines = capsys.readouterr().out.split("(the worst 4 of 10):\n")[1].splitlines()[:4]
    assert [line.split()[0] for line in lines] == [str(k) for k in np.argsort(recalls, kind="stable")[:4]]


# ==== what goes wrong ====

ABOUT = {"architecture": "LeNet5", "image_size": 28, "channels": 1, "classes": 10, "relu_after_conv3": False,
         "normalization": {"mean": [33.0], "std": [78.0]}, "data": "generated"}  # fmt: skip
MISFITS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "other classes": (
        {"classes": 7},
        {"classes": 7},
        "of 10 classes for a model of 7, 7, 8, 9 not among them; expected as many",
    ),
    "colours": (
        {"channels": 3},
        {"channels": 3, "normalization": {"mean": [1.0] * 3, "std": [1.0] * 3}},
        "images (1, 28, 28) for a model of images (3, 28, 28); expected the same channels and size",
    ),
    "size": ({"image_size": 32}, {"image_size": 32}, "images (1, 28, 28) for a model of images (1, 32, 32)"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_data_that_do_not_fit_are_one_line(
    case: str, tmp_path: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    made, about, said = MISFITS[case]
    save_model(tmp_path / "m.safetensors", LeNet5(**made, rng=0), ABOUT | about)
    assert call("--model", tmp_path / "m.safetensors") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert said in line


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_network_whose_results_are_not_finite(
    arguments: tuple[str, ...], model: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    state, about = load_model(model / "model.safetensors")
    state["fc5.weight"].flat[:3] = 3e38
    save_arrays(model / "model.safetensors", state, about)
    assert call("--model", model, *arguments) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: evaluate: got a network whose results are not finite")


def test_names_that_differ_are_noted(model: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    save_model(model / "model.safetensors", reader().model, reader().about() | {"class_names": list("abcdefghi\n")})
    assert call("--model", model) == 0
    assert "note: the classes have other names: a, b, c, ... in the model, 0, 1, 2, ... in the data" in (
        capsys.readouterr().err
    )


def named(data: Dataset, names: list[str], numbers: list[int]) -> Dataset:
    """The same images, under `names`, where class `label` is now class `numbers[label]`; those of -1 are left out."""
    labels = np.array(numbers)[data.y_test]
    return data._replace(x_test=data.x_test[labels >= 0], y_test=labels[labels >= 0], class_names=tuple(names))


@pytest.mark.parametrize(
    ("names", "numbers", "told"),
    [
        (list("9876543210"), list(range(9, -1, -1)), ""),
        (list("0123456"), [*range(7), -1, -1, -1], "note: the data have no images of 7, 8, 9"),
        (list("13"), [-1, 0, -1, 1, *[-1] * 6], "note: the data have no images of 0, 2, 4, ..."),
    ],
)
def test_classes_of_the_same_name_are_the_same(
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    names: list[str],
    numbers: list[int],
    told: str,
) -> None:
    """In whatever order, and however few of them."""
    monkeypatch.setattr(evaluate, "load", lambda *_, **__: named(digits(), names, numbers))
    assert call("--model", model, "--data", "x", "--json") == 0
    captured = capsys.readouterr()
    there = np.array([str(label) in names for label in range(10)])
    expected = oracle()[1] * there[:, None]
    assert json.loads(captured.out)["confusion"] == expected.tolist()
    assert captured.err.strip() == told


def test_some_classes_of_the_model_and_some_others(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By their places they would be taken for each other."""
    save_model(model / "model.safetensors", reader().model, reader().about() | {"class_names": list("abcdefghij")})
    monkeypatch.setattr(evaluate, "load", lambda *_, **__: digits()._replace(class_names=tuple("bcdefghijk")))
    assert call("--model", model, "--data", "x") == 2
    assert "with classes that the model has not (k), beside others that it has" in capsys.readouterr().err


# ==== data without a test part ====


@pytest.mark.parametrize("which", ["what was learnt from", "others", "who knows"])
def test_all_of_new_images_are_measured(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And of those that were learnt from, or may have been, the fifth that was held out."""
    x, y = digits().x_train[:100, 0], digits().y_train[:100]
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y)
    np.savez(tmp_path / "new.npz", x_train=x[::-1], y_train=y[::-1])
    out, data = tmp_path / "out", tmp_path / ("mine.npz" if which == "what was learnt from" else "new.npz")
    assert train.main(["--data", str(tmp_path / "mine.npz"), "--out", str(out), "--epochs", "1", "--quiet"]) == 0
    if which == "who knows":
        about = {name: value for name, value in reader().about().items() if name != "data_digest"}
        save_model(out / "model.safetensors", reader().model, about)
    capsys.readouterr()
    assert call("--model", out, "--data", data, "--json") == 0
    captured = capsys.readouterr()
    held_out, note = captured.err.splitlines()
    assert held_out.startswith("note: no test part here: ")
    told = {
        "what was learnt from": "note: only the images held out are measured: the model has learnt from the others",
        "others": "note: all 100 images are measured: these are not the data that the model has learnt from",
        "who knows": "note: only the images held out are measured: the model may have learnt from the others",
    }
    assert note == told[which]
    images = json.loads(captured.out)["images"]
    assert images == 100 if which == "others" else 10 < images < 30


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "--model"),
        (["--model", "absent"], 4, "which does not exist"),
        (["--data", "nope"], 4, "nope"),
        (["--data", ""], 2, "empty text"),
        (["--batch-size", "0"], 2, "whole number from 1 up"),
        (["--expect", "2"], 2, "from 0 up to 1"),
        (["--backend", "abacus"], 3, "abacus"),
    ],
)
def test_a_mistake_is_told_in_words(
    arguments: list[str], code: int, said: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_model = [] if not arguments or "--model" in arguments else ["--model", model]
    assert call(*of_model, *arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err


def test_data_that_are_not_there(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any, **__: Any) -> Dataset:
        raise DataNotFoundError("load mnist: got none; expected some; fetch them")

    monkeypatch.setattr(evaluate, "load", absent)
    assert call("--model", model) == 4
