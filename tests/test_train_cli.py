"""``python -m xlenet.train``: what it leaves behind, what it says, and the code it ends with."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl

import xlenet.data
from tests.train_on_tiny_data import TEST, TRAIN, tiny_dataset
from xlenet import LeNet5, backend, runs, train
from xlenet.checkpoint import load_model
from xlenet.console import interruptible
from xlenet.data import generated_digits, registry
from xlenet.errors import OutputError
from xlenet.training import Epoch

ROOT = Path(__file__).parent.parent
FILES = [
    "config.json", "confusion.png", "curves.png", "features.png", "filters.png", "metrics.jsonl", "mistakes.png",
    "model.safetensors", "snapshots",
]  # fmt: skip
KEYS = [
    "epoch",
    "lr",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "seconds",
    "images_per_second",
]


@pytest.fixture(autouse=True)
def no_settings_of_the_callers(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.delenv("XLENET_BACKEND", raising=False)
    if "mnist_dir" not in request.fixturenames:
        monkeypatch.delenv("XLENET_DATA_DIR", raising=False)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Train on a handful of images, whatever data are asked for; gives what was asked."""
    asked: list[tuple[Any, ...]] = []

    def load(*arguments: Any, **_: Any) -> Any:
        asked.append(arguments)
        return tiny_dataset()

    monkeypatch.setattr(train, "load", load)
    return asked


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "results"


def call(*arguments: object) -> int:
    """The exit code, whether it is returned or, as by argparse, raised. Any other exception is a traceback."""
    try:
        return train.main([str(argument) for argument in arguments])
    except SystemExit as ending:
        return int(ending.code or 0)


def quick(out: Path, *arguments: object) -> int:
    return call("--out", out, "--epochs", 1, "--batch-size", 32, *arguments)


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def command(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XLENET_")}
    return kept | {"PYTHONUNBUFFERED": "1"}


def in_a_process(module: str, *arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(module, *arguments),
        cwd=ROOT,
        env=environment() | more,
        capture_output=True,
        text=True,
        timeout=300,
    )


# ==== a whole run ====


def test_generated_digits_from_end_to_end(out: Path) -> None:
    """As a user starts it, and with nothing made up."""
    done = in_a_process(
        "xlenet.train", "--data", "generated", "--train-size", 2000, "--epochs", 2, "--out", out, "--expect", 0.5
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said = done.stdout.splitlines()
    assert len(said) == 4
    assert "61,750 parameters" in said[0]
    assert "generated (2,000 + 10,000 images), 2 epochs" in said[0]
    assert re.fullmatch(
        r"epoch 1/2  train loss \d\.\d{4}  \d+\.\d\d%  test loss \d\.\d{4}  \d+\.\d\d%  [\d.]+ s  [\d,]+ images/s",
        said[1],
    )
    records = lines(out)
    assert [record["epoch"] for record in records] == [1, 2]
    assert f"test accuracy {records[-1]['test_accuracy']:.2%} on 10,000 images" in said[3]
    assert records[-1]["test_accuracy"] > 0.5
    assert names(out) == FILES


def test_real_mnist_in_one_epoch(mnist_dir: Path, out: Path) -> None:
    """A third of it; the whole of it, in twenty epochs, is what the README shows."""
    code = call(
        "--data", "mnist", "--data-dir", mnist_dir, "--train-size", 20_000, "--epochs", 1, "--expect", 0.97,
        "--out", out, "--quiet",
    )  # fmt: skip
    assert code == 0
    assert lines(out)[0]["test_accuracy"] >= 0.97


# ==== what it leaves behind ====


def test_a_line_for_each_epoch(tiny: Any, out: Path) -> None:
    assert call("--out", out, "--epochs", 3, "--batch-size", 32, "--lr", 0.01, "--schedule", "constant") == 0
    records = lines(out)
    assert [list(record) for record in records] == [KEYS] * 3
    for number, record in enumerate(records, start=1):
        assert record["epoch"] == number
        assert record["lr"] == 0.01
        assert record["images_per_second"] == pytest.approx(TRAIN / record["seconds"])
        assert 0 <= record["test_accuracy"] <= 1
        assert record["test_accuracy"] * TEST == pytest.approx(round(record["test_accuracy"] * TEST))
        assert record["train_accuracy"] * TRAIN == pytest.approx(round(record["train_accuracy"] * TRAIN))


def test_the_lines_are_there_as_soon_as_they_are_known(tiny: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = train.Console.epoch

    def look(self: Any, *arguments: Any) -> None:
        seen.append(len(lines(out)))
        original(self, *arguments)

    monkeypatch.setattr(train.Console, "epoch", look)
    assert call("--out", out, "--epochs", 3, "--batch-size", 32) == 0
    assert seen == [1, 2, 3]


def test_the_model_can_be_loaded_and_does_what_was_measured(tiny: Any, out: Path) -> None:
    assert call("--out", out, "--epochs", 2, "--batch-size", 16, "--relu-after-conv3") == 0
    state, about = load_model(out / "model.safetensors")
    assert about["architecture"] == "LeNet5"
    assert about["relu_after_conv3"] is True
    assert (about["image_size"], about["channels"], about["classes"]) == (28, 1, 10)
    data = tiny_dataset()
    mean, std = about["normalization"]["mean"], about["normalization"]["std"]
    np.testing.assert_allclose((mean, std), ([data.x_train.mean()], [data.x_train.std()]), rtol=1e-12)
    model = LeNet5(about["image_size"], relu_after_conv3=True).load_state_dict(state)
    x = ((data.x_test - mean[0]) / std[0]).astype(np.float32)
    logits = model.infer(x).astype(np.float64)
    assert (logits.argmax(axis=1) == data.y_test).mean() == pytest.approx(lines(out)[-1]["test_accuracy"])
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(TEST), data.y_test]
    assert losses.mean() == pytest.approx(lines(out)[-1]["test_loss"], rel=1e-5), "the training set's mean and std"


def test_pictures_are_pictures(tiny: Any, out: Path) -> None:
    assert quick(out) == 0
    for name in ("curves.png", "confusion.png", "filters.png", "features.png", "mistakes.png"):
        data = (out / name).read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(data) > 5_000


def test_the_configuration_says_what_decided_the_run(tiny: Any, out: Path) -> None:
    assert quick(out, "--optimizer", "adamw", "--seed", 7, "--clip", 2, "--train-size", 64, "--data", "mnist") == 0
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    expected = {
        "epochs": 1,
        "batch_size": 32,
        "train_size": 64,
        "optimizer": "adamw",
        "seed": 7,
        "clip": 2.0,
        "schedule": "one-cycle",
        "weight_decay": 0.01,
        "data": "tiny",
        "lr": 0.004,
    }
    assert {name: config[name] for name in expected} == expected
    assert config["backend"] == f"numpy {np.__version__}"
    assert config["model"]["architecture"] == "LeNet5"
    assert config["versions"]["numpy"] == np.__version__


def test_no_file_says_where_or_when_it_was_made(tiny: Any, out: Path) -> None:
    assert quick(out) == 0
    for name in ("config.json", "model.safetensors", "metrics.jsonl"):
        data = (out / name).read_bytes()
        assert str(out).encode() not in data
        assert time.strftime("%Y-").encode() not in data


@pytest.mark.parametrize("more", [(), ("--optimizer", "adam"), ("--train-size", 50, "--schedule", "cosine")])
def test_the_same_seed_gives_the_same_bytes(tiny: Any, tmp_path: Path, more: tuple[object, ...]) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert call("--out", tmp_path / name, "--epochs", 2, "--batch-size", 32, "--seed", seed, *more) == 0
    model = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in "abc"}
    assert model["a"] == model["b"] != model["c"]
    figures = {name: [list(line.values())[:6] for line in lines(tmp_path / name)] for name in "abc"}
    assert figures["a"] == figures["b"] != figures["c"]
    assert (tmp_path / "a" / "config.json").read_bytes() == (tmp_path / "b" / "config.json").read_bytes()


def test_the_seed_decides_the_first_weights_and_the_order(
    tiny: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, np.ndarray]] = []
    original = train.fit

    def look(model: Any, *arguments: Any, seed: int, **options: Any) -> Any:
        seen.append((seed, model["fc5"].params["weight"].copy()))
        return original(model, *arguments, seed=seed, **options)

    monkeypatch.setattr(train, "fit", look)
    for seed in (5, 6):
        assert quick(out, "--seed", seed) == 0
    assert [seed for seed, _ in seen] == [5, 6]
    for seed, weight in seen:
        np.testing.assert_array_equal(weight, LeNet5(rng=seed)["fc5"].params["weight"])


def test_a_folder_used_again_holds_the_last_run_alone(tiny: Any, out: Path) -> None:
    assert call("--out", out, "--epochs", 3, "--batch-size", 32) == 0
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    assert quick(out, "--seed", 5) == 0
    assert [record["epoch"] for record in lines(out)] == [1]
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["seed"] == 5
    assert names(out) == sorted([*FILES, "notes.txt"])


def test_nothing_of_an_older_run_stays_beside_one_that_failed(tiny: Any, out: Path) -> None:
    assert quick(out) == 0
    assert quick(out, "--lr", 1e30) == 6
    assert names(out) == ["config.json", "metrics.jsonl"]
    assert lines(out) == []


def test_without_out_the_folder_has_the_time_in_its_name(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("--epochs", 1, "--batch-size", 32) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert re.match(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", folder.name)
    assert names(folder) == FILES


def test_two_runs_begun_in_the_same_second_have_a_folder_each(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where three seeds are started side by side: the second would empty the folder of the first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "time", types.SimpleNamespace(strftime=lambda _: "2026-01-31_12-00-00"))
    for _ in range(2):
        assert call("--epochs", 1, "--batch-size", 32, "--quiet") == 0
    folders = list((tmp_path / "runs").iterdir())
    assert len(folders) == 2
    assert all(names(folder) == FILES for folder in folders)


# ==== what it says ====


def test_quiet_says_nothing(tiny: Any, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quick(out, "--quiet") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ""
    assert names(out) == FILES


def test_a_log_file_gets_lines_and_no_bar(
    tiny: Any, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLENET_BACKEND", "numpy")  # else a GPU that is not used is worth a line
    assert quick(out) == 0
    captured = capsys.readouterr()
    assert "\r" not in captured.out
    assert captured.err == ""
    assert len(captured.out.splitlines()) == 3
    assert "1 epoch," in captured.out.splitlines()[0]
    assert str(out) in captured.out


def test_a_name_that_the_terminal_cannot_show_is_no_reason_to_fail(tmp_path: Path) -> None:
    """As on Windows, where a log file has the letters of one language."""
    out = tmp_path / "größe-数字"
    done = in_a_process(
        "tests.train_on_tiny_data", "--out", out, "--epochs", 1, "--batch-size", 32, PYTHONIOENCODING="ascii"
    )
    assert done.returncode == 0, done.stderr
    assert names(out) == FILES


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for option in (
        "--data",
        "--data-dir",
        "--epochs",
        "--batch-size",
        "--train-size",
        "--optimizer",
        "--lr",
        "--schedule",
        "--weight-decay",
        "--clip",
        "--seed",
        "--threads",
        "--backend",
        "--out",
        "--expect",
        "--quiet",
    ):
        assert option in text
    for code in ("0 done", "2 usage", "3 backend", "4 data", "5 cannot write", "6 diverged", "7 accuracy", "130 int"):
        assert code in text


# ==== where data come from ====


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world with one mirror, at which nobody listens, and digits that are drawn in no time."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name, source in list(registry.SOURCES.items()):
        monkeypatch.setitem(registry.SOURCES, name, source._replace(mirrors=(f"http://127.0.0.1:{port}/",)))
    monkeypatch.setattr(xlenet.data, "generated_digits", lambda: generated_digits(100, 40))


def test_without_data_it_trains_on_generated_digits_and_says_so(
    unreachable: None, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quick(out, "--data-dir", tmp_path, "--quiet") == 0
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert "generated digits" in line
    assert "MNIST" in line
    assert captured.out == ""
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["data"] == "generated"


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_data_that_were_asked_for_and_cannot_be_had_are_an_error(
    unreachable: None, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    began = time.monotonic()
    assert quick(out, "--data", name, "--data-dir", tmp_path) == 4
    assert time.monotonic() - began < 20
    error = capsys.readouterr().err
    assert error.startswith(f"error: load {name}: got no ")
    assert str(tmp_path) in error
    assert not out.exists(), "nothing is written before the data are there"


@pytest.mark.parametrize("arguments", [(), ("--data", "mnist")])
def test_damaged_data_are_an_error_and_no_reason_to_train_on_something_else(
    unreachable: None,
    tmp_path: Path,
    out: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b damaged")
    assert quick(out, "--data-dir", tmp_path, *arguments) == 4
    assert "train-images-idx3-ubyte.gz" in capsys.readouterr().err


def test_the_data_folder_is_the_option_or_else_the_environment(
    unreachable: None, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XLENET_DATA_DIR", str(tmp_path / "by environment"))
    assert quick(out, "--data", "mnist") == 4
    assert "by environment" in capsys.readouterr().err
    assert quick(out, "--data", "mnist", "--data-dir", tmp_path / "by option") == 4
    error = capsys.readouterr().err
    assert "by option" in error
    assert "by environment" not in error


def test_what_is_asked_for_is_what_is_loaded(tiny: list[Any], out: Path, tmp_path: Path) -> None:
    assert quick(out, "--data", "fashion-mnist", "--data-dir", tmp_path) == 0
    assert [str(argument) for argument in tiny[-1]] == ["fashion-mnist", str(tmp_path)]


# ==== exit codes ====

USAGE: list[tuple[object, ...]] = [
    ("--epochs", 0),
    ("--epochs", -1),
    ("--epochs", 1.5),
    ("--epochs", "many"),
    ("--batch-size", 0),
    ("--batch-size", 1000),
    ("--train-size", 0),
    ("--train-size", TRAIN + 1),
    ("--lr", 0),
    ("--lr", -0.1),
    ("--lr", "nan"),
    ("--lr", "inf"),
    ("--lr", "fast"),
    ("--momentum", 1),
    ("--momentum", 1.5),
    ("--momentum", -0.1),
    ("--momentum", "nan"),
    ("--weight-decay", -1),
    ("--weight-decay", "inf"),
    ("--clip", 0),
    ("--clip", "nan"),
    ("--threads", 0),
    ("--threads", "two"),
    ("--seed", -1),
    ("--seed", 1.5),
    ("--expect", 1.5),
    ("--expect", -0.1),
    ("--expect", "99%"),
    ("--optimizer", "sgdd"),
    ("--schedule", "linear"),
    ("--data", ""),
    ("--no-such-option",),
    ("a word",),
]


@pytest.mark.parametrize("arguments", USAGE, ids=lambda a: " ".join(map(str, a)))
def test_2_for_a_wrong_argument(
    tiny: Any, out: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...]
) -> None:
    assert quick(out, *arguments) == 2
    captured = capsys.readouterr()
    assert re.search(r"error: .*\w", captured.err)
    assert str(arguments[0]) in captured.err
    assert "invalid _" not in captured.err, "a function's name means nothing to a user"
    assert captured.out == ""
    assert not out.exists(), "nothing is written before the arguments are right"


@pytest.mark.parametrize("name", ["matplotlib", "safetensors", "threadpoolctl", "tqdm"])
def test_2_for_a_missing_extra_with_its_cure(
    tiny: Any, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert quick(out) == 2
    error = capsys.readouterr().err
    assert name in error
    assert 'pip install "xlenet[train]"' in error
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("matplotlib", "raise RuntimeError('wrong\\nABI')"), ("threadpoolctl", "raise ImportError('wrong ABI')"),
        ("tqdm", "import sys; sys.exit(3)"), ("safetensors", "import numpy.absent"),
    ],
)  # fmt: skip
def test_a_broken_extra_is_told_before_the_work(
    tiny: Any, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    name: str, complaint: str,
) -> None:  # fmt: skip
    (tmp_path / f"{name}.py").write_text(f"{complaint}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for module in [one for one in sys.modules if one.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    assert quick(out) == 2
    said = capsys.readouterr()
    who = "plotting: got a Matplotlib" if name == "matplotlib" else f"training: got a {name}"
    assert f"error: {who} that does not import (" in said.err
    assert f"pip install --force-reinstall {name}" in said.err
    assert said.out == ""
    assert not out.exists()


@pytest.mark.parametrize("name", ["nunpy", "cupy:x", "numpy:1"])
def test_3_for_an_unknown_backend(tiny: Any, out: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert quick(out, "--backend", name) == 3
    assert capsys.readouterr().err.startswith(f"error: backend: got '{name}'; expected numpy, cupy")
    assert not out.exists()


def test_3_for_a_backend_that_is_not_here(
    tiny: Any, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    backend.resolve_backend.cache_clear()
    assert quick(out, "--backend", "cupy") == 3
    assert re.match(r"error: backend cupy: got .*; expected .*; .*(pip install|nvidia-smi)", capsys.readouterr().err)
    monkeypatch.setenv("XLENET_BACKEND", "cupy")
    assert quick(out) == 3
    assert quick(out, "--backend", "auto", "--quiet") == 0
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["backend"].startswith("numpy ")
    backend.resolve_backend.cache_clear()


def test_the_option_goes_before_the_environment(tiny: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLENET_BACKEND", "nonsense")
    assert quick(out) == 3
    assert quick(out, "--backend", "numpy") == 0


def test_threads_are_those_of_the_run_and_given_back(tiny: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One unless asked, and BLAS has one in any case: a seed gives the same numbers whatever the machine is set to."""

    def of_blas() -> set[int]:
        return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}

    if not of_blas():
        pytest.skip("threadpoolctl knows no BLAS here, so there is nothing to limit")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    seen: list[tuple[set[int], int]] = []
    original = train.fit

    def look(*arguments: Any, **options: Any) -> Any:
        seen.append((of_blas(), backend.thread_count()))
        return original(*arguments, **options)

    monkeypatch.setattr(train, "fit", look)
    before = of_blas()
    for arguments in ((), ("--threads", 2)):
        assert quick(out, *arguments) == 0
    assert seen == [({1}, 1), ({1}, 2)]
    assert (of_blas(), backend.thread_count()) == (before, 1)


def test_the_backend_is_not_left_behind(tiny: Any, out: Path) -> None:
    assert quick(out, "--backend", "numpy") == 0
    assert backend.choice._chosen.get() is None


def test_5_where_nothing_can_be_written(tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a file"
    file.write_text("mine", encoding="utf-8")
    folder = tmp_path / "in use"
    (folder / "model.safetensors" / "inner").mkdir(parents=True)
    for place in (file, file / "below it", folder):
        assert quick(place) == 5
        captured = capsys.readouterr()
        assert captured.err.startswith("error: ")
        assert str(place) in captured.err
        assert "epoch" not in captured.out, "it is noticed before the training"
    assert file.read_text(encoding="utf-8") == "mine"


def test_5_where_nothing_can_be_written_any_more(
    tiny: Any, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = train.Console.epoch

    def get_in_the_way(self: Any, *arguments: Any) -> None:
        (out / "model.safetensors").mkdir()
        original(self, *arguments)

    monkeypatch.setattr(train.Console, "epoch", get_in_the_way)
    assert quick(out) == 5
    assert re.search(r"(?m)^error: .*model\.safetensors", capsys.readouterr().err)


def test_6_for_a_loss_that_is_not_finite(tiny: Any, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quick(out, "--lr", 1e30) == 6
    error = capsys.readouterr().err
    assert re.match(r"error: fit: got a loss that is not finite in step \d of epoch 1 .*; expected .*; try ", error)
    assert len(error.splitlines()) == 1


def test_6_for_a_last_step_that_goes_too_far(tiny: Any, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its loss was measured before it, and no further step is there to show what it did."""
    arguments = ("--train-size", 32, "--batch-size", 32, "--epochs", 1, "--lr", 1e30, "--schedule", "constant")
    assert call("--out", out, *arguments) == 6
    error = capsys.readouterr().err
    assert re.match(r"error: fit: got (parameters that are|a test loss that is) not finite in step 1 of epoch", error)
    assert len(error.splitlines()) == 1
    assert lines(out) == []


def test_few_images_make_a_small_batch(tiny: Any, out: Path) -> None:
    assert call("--out", out, "--epochs", 1, "--train-size", 20) == 0
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["batch_size"] == 20


def test_2_where_memory_is_too_small(
    tiny: Any, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(*_: Any, **__: Any) -> Any:
        raise MemoryError("Unable to allocate 9.9 GiB")

    monkeypatch.setattr(train, "fit", fit)
    assert quick(out) == 2
    assert capsys.readouterr().err == (
        "error: train: got no memory for batches of 32 (MemoryError: Unable to allocate 9.9 GiB); expected a step that "
        "fits in; try --batch-size 16\n"
    )


WITHOUT_TEMPORARY_FOLDERS = """
import sys, tempfile

def refuse(*_, **__):
    raise OSError(30, "Read-only file system")

tempfile.mkdtemp = refuse
from tests.train_on_tiny_data import tiny_dataset
from xlenet import train
train.load = lambda *_, **__: tiny_dataset()
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("temporary", [True, False], ids=["a temporary folder", "none at all"])
def test_a_home_that_cannot_be_written_costs_a_remark_of_matplotlibs_or_ends_with_5(
    out: Path, tmp_path: Path, temporary: bool
) -> None:
    """Matplotlib keeps its settings and fonts there."""
    home = tmp_path / "a file"
    home.write_bytes(b"")
    program = ["-m", "tests.train_on_tiny_data"] if temporary else ["-c", WITHOUT_TEMPORARY_FOLDERS]
    settings = {name: value for name, value in environment().items() if name not in ("MPLCONFIGDIR", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, *program, "--out", str(out), "--epochs", "1", "--batch-size", "32", "--quiet"],
        cwd=ROOT,
        env=settings | dict.fromkeys(("HOME", "USERPROFILE", "XDG_CONFIG_HOME"), str(home / "below it")),
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = [line for line in done.stderr.splitlines() if "atplotlib" in line or line.startswith(("error", "Trace"))]
    assert len(said) <= 2, done.stderr
    if temporary:
        assert done.returncode == 0, done.stderr
        assert names(out) == FILES
    else:
        assert done.returncode == 5, done.stderr
        assert said[-1].startswith("error: plotting: got no folder that Matplotlib may write to ([Errno 30] Read-only")
        assert not out.exists(), "told before the training"


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "model.safetensors"])
def test_5_rather_than_overwrite_what_is_not_ours(
    tiny: Any, out: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out.mkdir()
    (out / name).write_text('{"mine": 1}', encoding="utf-8")
    assert quick(out) == 5
    assert "choose another --out" in capsys.readouterr().err
    assert names(out) == [name]
    assert (out / name).read_text(encoding="utf-8") == '{"mine": 1}'


def test_the_plain_img2col_convolution_trains_too(tiny: Any, out: Path) -> None:
    assert quick(out, "--lowering", "img2col") == 0


def test_7_below_what_was_expected_with_everything_saved(
    tiny: Any, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quick(out, "--expect", 1.0, "--lr", 1e-6) == 7
    accuracy = lines(out)[-1]["test_accuracy"]
    assert f"error: --expect: got a test accuracy of {accuracy:.4f}; expected at least 1" in capsys.readouterr().err
    assert names(out) == FILES
    assert quick(out, "--expect", accuracy, "--lr", 1e-6) == 0, "what is reached exactly is reached"
    assert quick(out, "--expect", 0.0) == 0


def test_130_for_ctrl_c_after_saving(
    tiny: Any, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of the second epoch: its step is finished, the model saved, and the first epoch's line stays."""
    steps = 0

    def press(self: Any, progress: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 4:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(train.Console, "step", press)
    before = signal.getsignal(signal.SIGINT)
    assert call("--out", out, "--epochs", 5, "--batch-size", 32) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert steps == 4, "the step under way is the last one"
    assert [record["epoch"] for record in lines(out)] == [1]
    LeNet5().load_state_dict(load_model(out / "model.safetensors")[0])
    error = capsys.readouterr().err
    assert "interrupted after 1 of 5 epochs" in error
    assert str(out) in error
    assert names(out) == ["config.json", "metrics.jsonl", "model.safetensors", "snapshots"]


def test_130_for_ctrl_c_in_the_last_evaluation(
    tiny: Any, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was heard, and whoever runs several in a row wants to get out."""
    original = train.Console.epoch

    def press(self: Any, epoch: Any, *arguments: Any) -> None:
        if epoch.epoch == 2:
            signal.raise_signal(signal.SIGINT)
        original(self, epoch, *arguments)

    monkeypatch.setattr(train.Console, "epoch", press)
    assert call("--out", out, "--epochs", 2, "--batch-size", 32) == 130
    assert len(lines(out)) == 2
    LeNet5().load_state_dict(load_model(out / "model.safetensors")[0])


@pytest.mark.parametrize("where", ["load", "fit", "titled"])
def test_130_for_ctrl_c_anywhere_else(
    tiny: Any, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, where, interrupted)
    assert quick(out) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="elsewhere one process cannot send another one Ctrl-C alone")
def test_130_for_a_real_ctrl_c(out: Path) -> None:
    process = subprocess.Popen(
        command("tests.train_on_tiny_data", "--out", out, "--epochs", 5000, "--batch-size", 16),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch"):
                break
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert re.search(r"interrupted after \d+ of 5000 epochs; the model so far is in ", error)
    assert len(lines(out)) >= 1
    LeNet5().load_state_dict(load_model(out / "model.safetensors")[0])


def test_a_folder_taken_over_by_another_run_is_left_to_it(out: Path) -> None:
    first = runs.RunFolder(out, {"seed": 0, "versions": {"xlenet": "1"}})
    second = runs.RunFolder(out, {"seed": 1, "versions": {"xlenet": "1"}})
    epoch = Epoch(1, 0.1, 0.2, 0.9, 0.3, 0.8, 1.0, 10.0)
    second.add_epoch(epoch)
    with pytest.raises(OutputError, match="another run has taken over"):
        first.add_epoch(epoch)
    assert len(lines(out)) == 1


@pytest.mark.skipif(os.name != "posix", reason="Windows has no pipes among its files")
@pytest.mark.parametrize("what", ["a pipe", "two megabytes", "a folder"])
def test_a_folder_whose_configuration_is_no_runs_is_left_alone(out: Path, what: str) -> None:
    config, sound = out / "config.json", b'{"versions": {"xlenet": "1"}}'
    out.mkdir()
    (out / "model.safetensors").write_bytes(b"somebody's")
    if what == "a pipe":
        os.mkfifo(config)
    elif what == "a folder":
        config.mkdir()
    else:
        config.write_bytes(sound + b" " * 2_000_000)
    with pytest.raises(OutputError, match=r"that no run of xlenet has left; expected"):
        runs.RunFolder(out, {"seed": 0})
    assert (out / "model.safetensors").read_bytes() == b"somebody's"
    if what == "two megabytes":
        config.write_bytes(sound)
        runs.RunFolder(out, {"seed": 0})
        assert not (out / "model.safetensors").exists()


@pytest.mark.parametrize("option", ["--out", "--data-dir", "--backend"])
def test_2_for_an_empty_text(tiny: Any, out: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert quick(out, option, "") == 2
    assert "empty" in capsys.readouterr().err


def test_more_threads_than_cores_are_not_asked_for(tiny: Any, out: Path) -> None:
    assert quick(out, "--threads", 10**9) == 0
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["threads"] == os.cpu_count()


@pytest.mark.skipif(os.name != "posix", reason="a closed pipe is another error elsewhere")
def test_whoever_stops_reading_gets_no_traceback(out: Path) -> None:
    """As in ``... | head -1``."""
    with subprocess.Popen(
        command("tests.train_on_tiny_data", "--out", out, "--epochs", 1, "--batch-size", 32),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        error = process.stderr.read()
        assert process.wait(60) == 0
    assert "Traceback" not in error
    assert "Exception ignored" not in error
    assert "standard output cannot be written" in error
    assert names(out) == FILES, "what was asked for is there all the same"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--epochs", 0), 2),
        (("--backend", "nunpy"), 3),
        (("--data", "mnist", "--data-dir", "{folder}"), 4),
        (("--lr", 1e30), 6),
        (("--lr", 1e-9, "--expect", 1), 7),
    ],
    ids=lambda value: str(value),
)
def test_codes_and_errors_of_a_real_process(tmp_path: Path, arguments: tuple[object, ...], code: int) -> None:
    """Nothing but one line for a mistake; no traceback, and no warning of NumPy's."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    given = [str(argument).format(folder=tmp_path) for argument in arguments]
    module = "xlenet.train" if code == 4 else "tests.train_on_tiny_data"
    done = in_a_process(module, "--epochs", 1, "--out", tmp_path / "out", *given, XLENET_DATA_DIR=str(tmp_path))
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert re.match(r"(usage: (?s:.*)\n[^\n]*: )?error: [^\n]*\n$", done.stderr), done.stderr


# ==== Ctrl-C ====


def test_the_first_ctrl_c_is_remembered_and_the_second_interrupts(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as pressed:
        assert not pressed()
        signal.raise_signal(signal.SIGINT)
        assert pressed()
        assert "once more" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_handler_is_taken_back_after_an_exception() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyError), interruptible():
        raise KeyError
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_has_no_ctrl_c_to_listen_to() -> None:
    answers: list[bool] = []

    def work() -> None:
        with interruptible() as pressed:
            answers.append(pressed())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]


@pytest.mark.skipif(os.name != "posix", reason="a closed pipe is another error elsewhere")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_whoever_listens_to_errors_may_go_and_nothing_is_lost(out: Path, number: int, code: int) -> None:
    """As where Ctrl-C ends ``... 2>&1 | tee log``, too: tee is gone, and the step under way is saved all the same."""
    with subprocess.Popen(
        command("tests.train_on_tiny_data", "--out", out, "--epochs", 5000, "--batch-size", 16),
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        while not process.stdout.readline().startswith("epoch"):
            pass
        process.stdout.close()
        process.stderr.close()
        process.send_signal(number)
        assert process.wait(60) == code
    assert (out / "model.safetensors").exists()
