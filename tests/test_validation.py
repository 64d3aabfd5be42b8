"""Images held out of training, and the model that does best on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.libraries import Lib
from tests.networks import on
from tests.train_on_tiny_data import TRAIN, tiny_dataset
from xlenet import SGD, Flatten, LeNet5, Linear, Sequential, runs, train
from xlenet.backend import to_host
from xlenet.checkpoint import load_model
from xlenet.data import Dataset, Images, hold_out
from xlenet.experiment import complete, make_experiment
from xlenet.options import training_options
from xlenet.snapshots import Snapshots, load_snapshot
from xlenet.training import Epoch, best_epoch, evaluate, fit

HELD = 20
EPOCHS = 6


# ==== the library ====


def epoch(number: int, loss: float | None, accuracy: float | None, test: float = 0.5) -> Epoch:
    return Epoch(number, 0.1, 0.1, 0.9, 0.1, test, 1.0, 1.0, loss, accuracy)


def test_the_best_epoch_is_the_one_with_the_most_right_then_the_lowest_loss_then_the_first() -> None:
    assert best_epoch([epoch(1, 0.3, 0.90), epoch(2, 0.9, 0.95), epoch(3, 0.2, 0.94)]).epoch == 2  # type: ignore[union-attr]
    assert best_epoch([epoch(1, 0.3, 0.95), epoch(2, 0.1, 0.95), epoch(3, 0.2, 0.95)]).epoch == 2  # type: ignore[union-attr]
    assert best_epoch([epoch(1, 0.2, 0.95), epoch(2, 0.2, 0.95)]).epoch == 1  # type: ignore[union-attr]


def test_without_images_held_out_there_is_no_best_epoch_whatever_the_test_images_say() -> None:
    assert best_epoch([]) is None
    assert best_epoch([epoch(1, None, None, test=0.1), epoch(2, None, None, test=0.99)]) is None


@pytest.mark.parametrize(("count", "held"), [(10, 3), (1000, 999), (7, 1)])
def test_images_are_held_out_at_random_each_once_and_always_the_same(count: int, held: int) -> None:
    stay, out = hold_out(count, held)
    assert (len(stay), len(out)) == (count - held, held)
    assert sorted([*stay, *out]) == list(range(count))
    again = hold_out(count, held)
    np.testing.assert_array_equal(out, again[1])
    assert list(stay) == sorted(stay), "those that stay are in the order they had"


def test_a_share_of_every_part_is_held_out() -> None:
    """Not the last ones: a data set may be sorted."""
    _, out = hold_out(10_000, 1000)
    assert all(60 < ((out >= k * 1000) & (out < (k + 1) * 1000)).sum() < 140 for k in range(10))


def test_fit_measures_on_the_images_held_out_after_each_epoch(lib: Lib, rng: np.random.Generator) -> None:
    x, y = rng.integers(0, 256, (40, 1, 4, 4), np.uint8), rng.integers(0, 3, 40)
    with on(lib):
        images = Images(x[:25], y[:25])
        held = Images(x[25:], y[25:], images.normalization)
        model = Sequential(flatten=Flatten(), fc=Linear(16, 3, rng=0))
    history = fit(model, images, optimizer=SGD(model), validation=held, epochs=2, batch_size=10)
    measured = evaluate(model, held)
    assert (history[-1].validation_loss, history[-1].validation_accuracy) == (measured.loss, measured.accuracy)
    assert history[0].validation_loss != history[1].validation_loss
    assert list(history[0].record())[-2:] == ["validation_loss", "validation_accuracy"]


def test_a_label_too_many_in_the_images_held_out_is_told_before_training(numpy_lib: Lib) -> None:
    x = np.zeros((4, 1, 2, 2), np.uint8)
    model = Sequential(flatten=Flatten(), fc=Linear(4, 2, rng=0))
    with pytest.raises(ValueError, match=r"fit: got a label 2 in validation and a model of 2 classes"):
        fit(
            model,
            Images(x, np.zeros(4, int)),
            optimizer=SGD(model),
            validation=Images(x, np.arange(4) % 3),
            batch_size=2,
        )


def test_a_data_set_has_another_digest_where_anything_in_it_differs() -> None:
    data = tiny_dataset()
    digest = data.digest()
    assert digest == tiny_dataset().digest()
    changed = {name: getattr(data, name).copy() for name in ("x_train", "y_train", "x_test", "y_test")}
    for name, array in changed.items():
        array.flat[-1] ^= 1
        assert data._replace(**{name: array}).digest() != digest, name
    assert data._replace(x_train=data.x_train.reshape(TRAIN, 1, 14, 56)).digest() != digest
    assert data._replace(x_train=np.asfortranarray(data.x_train)).digest() == digest, "its place in memory is no part"


# ==== the command ====


def contrary_dataset() -> Dataset:
    """What is learned from the other images is wrong for those held out: the best epoch is an early one."""
    data = tiny_dataset()
    _, held = hold_out(TRAIN, HELD)
    labels = data.y_train.copy()
    labels[held] = (labels[held] + 1) % 10
    return data._replace(y_train=labels)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "load", lambda *_, **__: contrary_dataset())
    monkeypatch.setattr(runs.RunFolder, "draw", lambda *_: None)
    monkeypatch.delenv("XLENET_BACKEND", raising=False)


def test_all_images_are_normalised_by_the_figures_of_those_that_are_trained_on() -> None:
    data, options = contrary_dataset(), training_options().parse_args(["--validation", str(HELD)])
    complete(options, data)
    experiment = make_experiment(data, options)
    stay, _ = hold_out(TRAIN, HELD)
    assert experiment.train.normalization == Images(data.x_train[stay], data.y_train[stay]).normalization
    for images in (experiment.validation, experiment.test):
        assert images is not None
        assert images.normalization == experiment.train.normalization
        assert Images(to_host(images.x), to_host(images.y)).normalization != images.normalization, (
            "else this says nothing"
        )


def call(*arguments: object) -> int:
    try:
        return train.main(["--batch-size", "16", "--validation", str(HELD), *map(str, arguments)])
    except SystemExit as ending:
        return int(ending.code or 0)


def records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_best_model_is_kept_beside_the_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert call("--out", out, "--epochs", EPOCHS) == 0
    lines = records(out)
    best = max(lines, key=lambda line: (line["validation_accuracy"], -line["validation_loss"]))
    assert best["epoch"] < EPOCHS, "else this test says nothing"
    state, about = load_model(out / "best.safetensors")
    assert (about["epoch"], about["validation_accuracy"]) == (best["epoch"], best["validation_accuracy"])
    data = contrary_dataset()
    _, held = hold_out(TRAIN, HELD)
    mean, std = about["normalization"]["mean"][0], about["normalization"]["std"][0]
    logits = LeNet5().load_state_dict(state).infer(((data.x_train[held] - mean) / std).astype(np.float32))
    assert (logits.argmax(axis=1) == data.y_train[held]).mean() == pytest.approx(best["validation_accuracy"])
    stay, _ = hold_out(TRAIN, HELD)
    assert mean == pytest.approx(data.x_train[stay].mean()), "measured without those held out"
    said = capsys.readouterr().out
    assert f"tiny ({TRAIN - HELD:,} + {HELD} held out + 30 images, 10 classes: 0, 1, 2, ...)" in said
    assert said.count("validation loss") == EPOCHS
    assert f"best on the images held out: epoch {best['epoch']}, {best['validation_accuracy']:.2%} of them" in said
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["validation"] == HELD


def test_without_held_out_images_there_is_no_best_model(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert call("--out", out, "--epochs", 1, "--quiet") == 0
    assert (out / "best.safetensors").exists()
    assert train.main(["--batch-size", "16", "--out", str(out), "--epochs", "1", "--quiet"]) == 0
    assert not (out / "best.safetensors").exists(), "an older run's is gone"
    assert Snapshots(out / "snapshots").newest().best is None  # type: ignore[union-attr]


@pytest.mark.parametrize("ends_at", ["step-000000004", "step-000000012", "step-000000024"])
def test_a_run_that_goes_on_has_the_same_best_model(tmp_path: Path, ends_at: str) -> None:
    """From before, amid and after the best epoch: with what a later epoch has left in the folder, or with nothing."""
    whole, parts, other = tmp_path / "whole", tmp_path / "parts", tmp_path / "other"
    arguments = ("--epochs", EPOCHS, "--quiet", "--checkpoint-every", 1, "--keep", 1000)
    assert call("--out", whole, *arguments) == 0
    assert call("--out", parts, *arguments) == 0
    snapshot = parts / "snapshots" / f"{ends_at}.safetensors"
    best_by_then = load_snapshot(snapshot).best
    assert call("--resume", snapshot, "--out", other, *arguments) == 0
    assert call("--resume", snapshot, *arguments) == 0
    for out in (parts, other):
        for name in ("best.safetensors", "model.safetensors"):
            assert (out / name).read_bytes() == (whole / name).read_bytes(), f"{out.name}/{name}"
    assert best_by_then is not None


def test_a_later_epochs_best_model_is_gone_where_a_run_goes_on_from_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, there = tmp_path / "run", []
    arguments = ("--out", out, "--epochs", 1, "--quiet", "--checkpoint-every", 1, "--keep", 1000)
    assert call(*arguments) == 0
    best = (out / "best.safetensors").read_bytes()
    monkeypatch.setattr(train.Console, "step", lambda *_: there.append((out / "best.safetensors").exists()))
    assert call("--resume", out / "snapshots" / "step-000000002.safetensors", *arguments) == 0
    assert there
    assert not any(there)
    assert (out / "best.safetensors").read_bytes() == best


@pytest.mark.parametrize("held", [TRAIN, TRAIN + 5, 0, -1])
def test_2_where_nothing_would_be_left(tmp_path: Path, held: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--validation", held, "--out", tmp_path / "run") == 2
    assert "--validation: got" in capsys.readouterr().err.replace("argument ", "").replace("--validation N: ", "")
    assert not (tmp_path / "run").exists()


def test_a_run_on_other_data_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the same name and size: one pixel differs."""
    out = tmp_path / "run"
    assert call("--out", out, "--epochs", 1, "--quiet") == 0
    data = contrary_dataset()
    data.x_train[3, 0, 2, 1] ^= 1
    monkeypatch.setattr(train, "load", lambda *_, **__: data)
    assert call("--out", out, "--epochs", 1, "--quiet", "--resume") == 2
    assert "--resume: got data_digest 'blake2b:" in capsys.readouterr().err
