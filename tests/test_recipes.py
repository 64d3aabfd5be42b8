"""The recipes: what each sets, that what is said counts more, and that a run of one goes on as it was."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bench import accuracy, accuracy_tables, recipe_search
from tests.train_on_tiny_data import tiny_dataset
from xlenet import train
from xlenet.data import Augmentation
from xlenet.experiment import augmentation, complete
from xlenet.options import LEARNING_RATES, WEIGHT_DECAYS, training_options
from xlenet.recipes import RECIPES
from xlenet.schedules import SCHEDULES

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLENET_BACKEND", raising=False)
    monkeypatch.setattr(train, "load", lambda *_, **__: tiny_dataset())


def completed(*arguments: str) -> Any:
    options = training_options().parse_args(arguments)
    complete(options, tiny_dataset())
    return options


def call(*arguments: object) -> int:
    try:
        return train.main([str(argument) for argument in arguments])
    except SystemExit as ending:
        return int(ending.code or 0)


# ==== what they are ====


@pytest.mark.parametrize("name", RECIPES)
def test_each_sets_the_same_options_and_only_what_can_be_said(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.keys() == RECIPES["default"].keys()
    words = [f"--{option.replace('_', '-')}={value}" for option, value in recipe.items()]
    said = completed(*words)
    assert {option: getattr(said, option) for option in recipe} == recipe | {"batch_size": said.batch_size}
    assert recipe["optimizer"] in LEARNING_RATES
    assert recipe["schedule"] in SCHEDULES


def test_the_default_is_what_fit_does() -> None:
    """The command and the library agree on what suits."""
    from xlenet import SGD
    from xlenet.training import BATCH_SIZE, WEIGHT_DECAY

    recipe = RECIPES["default"]
    assert (recipe["batch_size"], recipe["weight_decay"], recipe["lr"]) == (BATCH_SIZE, WEIGHT_DECAY, SGD.usual_lr)
    assert (recipe["lr"], recipe["weight_decay"]) == (LEARNING_RATES["nesterov"], WEIGHT_DECAYS["nesterov"])
    assert not augmentation(completed())


def test_what_the_names_promise() -> None:
    assert (RECIPES["fast"]["epochs"], RECIPES["default"]["epochs"], RECIPES["best"]["epochs"]) == (1, 20, 20)
    best = augmentation(completed("--recipe", "best"))
    assert all(best.by)
    assert best.plain_epochs >= 1


def test_each_flag_is_the_strength_of_its_name() -> None:
    words = ("--rotation=1", "--shift=2", "--scale=0.3", "--shear=4", "--elastic=5", "--plain-epochs=6")
    assert augmentation(completed(*words)) == Augmentation(1, 2, 0.3, 4, 5, 6)


# ==== what is said counts more ====


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_said_counts_more(name: str) -> None:
    options = completed("--recipe", name, "--epochs", "7", "--lr", "0.3", "--rotation", "0", "--batch-size", "9")
    assert (options.epochs, options.lr, options.rotation, options.batch_size) == (7, 0.3, 0.0, 9)
    assert options.shear == RECIPES[name]["shear"]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_another_optimiser_has_its_own_rates(name: str, optimizer: str) -> None:
    options = completed("--recipe", name, "--optimizer", optimizer)
    assert (options.lr, options.weight_decay) == (LEARNING_RATES[optimizer], WEIGHT_DECAYS[optimizer])
    assert completed("--recipe", name, "--optimizer", optimizer, "--lr", "0.7").lr == 0.7


def test_the_help_tells_what_each_recipe_makes_of_an_option() -> None:
    text = " ".join(training_options().format_help().split())
    assert "0.05 for nesterov (0.08 with fast)" in text
    assert "0.0005 for nesterov (0.001 with fast)" in text
    for name, recipe in RECIPES.items():
        assert all(
            f"{value:g} with {name}" in text for option, value in recipe.items() if value != RECIPES["default"][option]
        )


@pytest.mark.parametrize("name", RECIPES)
def test_momentum_without_nesterov_has_the_recipes_rates(name: str) -> None:
    options = completed("--recipe", name, "--optimizer", "sgd")
    assert (options.lr, options.weight_decay) == (RECIPES[name]["lr"], RECIPES[name]["weight_decay"])


def test_a_batch_is_not_larger_than_what_there_is() -> None:
    assert completed("--recipe", "best", "--train-size", "12", "--validation", "2").batch_size == 10


@pytest.mark.parametrize(
    "wrong",
    ["--recipe=worst", "--recipe=", "--rotation=181", "--rotation=nan", "--shift=-1", "--scale=1", "--shear=90",
     "--elastic=inf", "--plain-epochs=-1", "--plain-epochs=1.5", "--shift=1e300"],
)  # fmt: skip
def test_what_makes_no_sense_is_told_in_a_line(wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(wrong, "--epochs=1", "--out", tmp_path / "out") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert wrong.partition("=")[0] in lines[-1]
    assert "expected" in lines[-1] or "choose from" in lines[-1]
    assert not any("Traceback" in line for line in lines)


# ==== a run of one ====


def test_a_run_says_what_it_did_and_goes_on_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stopped by nothing: two epochs of four, and the other two from the second snapshot, in another folder."""
    whole, again = tmp_path / "whole", tmp_path / "again"
    assert call("--recipe=best", "--epochs=4", "--keep=9", "--out", whole) == 0
    assert "best" in capsys.readouterr().out.splitlines()[0]
    config = json.loads((whole / "config.json").read_text(encoding="utf-8"))
    assert config["recipe"] == "best"
    assert {name: config[name] for name in ("rotation", "shift", "scale", "shear", "elastic", "plain_epochs")} == {
        name: RECIPES["best"][name] for name in ("rotation", "shift", "scale", "shear", "elastic", "plain_epochs")
    }
    snapshots = sorted((whole / "snapshots").iterdir())
    spelt_out = [f"--{name.replace('_', '-')}={config[name]}" for name in RECIPES["best"]]
    assert call(*spelt_out, "--resume", snapshots[1], "--out", again) == 0, capsys.readouterr().err
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert call("--epochs=4", "--resume", snapshots[1], "--out", tmp_path / "other") == 2
    told = capsys.readouterr().err
    assert "expected the same run" in told
    assert "--recipe best" in told


def test_distortion_and_its_end_are_part_of_the_run(tmp_path: Path) -> None:
    """What is named by itself changes the model, and so does where it ends."""
    models = {}
    for name, words in {
        "plain": [],
        "bent": ["--elastic=2"],
        "last one plain": ["--elastic=2", "--plain-epochs=1"],
    }.items():
        assert call("--epochs=2", *words, "--quiet", "--out", tmp_path / name) == 0
        models[name] = (tmp_path / name / "model.safetensors").read_bytes()
    arrays = [data[data.index(b"}}") + 2 :] for data in models.values()]
    assert len(set(arrays)) == 3


def test_some_epoch_is_distorted_where_anything_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recipe's plain epochs give way to a short run; those that are named are told."""
    assert completed("--recipe", "best", "--epochs", "1").plain_epochs == 0
    assert completed("--recipe", "best", "--epochs", "2").plain_epochs == 1
    assert completed("--recipe", "best", "--epochs", "9").plain_epochs == RECIPES["best"]["plain_epochs"]
    assert completed("--plain-epochs", "30").plain_epochs == 30, "nothing is distorted"
    assert call("--recipe=best", "--epochs=2", "--plain-epochs=2", "--out", tmp_path / "out") == 2
    assert "--plain-epochs: got 2 of 2; expected fewer" in capsys.readouterr().err


def test_the_docs_show_the_recipe_as_it_is() -> None:
    recipe = RECIPES["best"]
    names = ("rotation", "shift", "scale", "shear", "elastic", "plain_epochs")
    words = ", ".join(f"{name}={recipe[name]:g}" for name in names)
    for page in ("accuracy.md", "recipes.md"):
        assert f"Augmentation({words})" in (ROOT / "docs" / page).read_text(encoding="utf-8"), page


def test_a_snapshot_of_a_version_without_recipes_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xlenet import snapshots

    whole = tmp_path / "whole"
    assert call("--epochs=3", "--keep=9", "--out", whole) == 0
    load = snapshots.load_snapshot

    def old(path: Any) -> Any:
        snapshot = load(path)
        new = {"recipe", "rotation", "shift", "scale", "shear", "elastic", "plain_epochs"}
        return snapshot._replace(config={k: v for k, v in snapshot.config.items() if k not in new})

    monkeypatch.setattr(train, "load_snapshot", old)
    first = sorted((whole / "snapshots").iterdir())[0]
    assert call("--epochs=3", "--resume", first, "--out", tmp_path / "again") == 0
    again = (tmp_path / "again" / "model.safetensors").read_bytes()
    assert again == (whole / "model.safetensors").read_bytes()
    assert call("--epochs=3", "--rotation=5", "--resume", first, "--out", tmp_path / "third") == 2


# ==== what is measured of them ====


def test_a_summary_is_that_of_the_last_epochs() -> None:
    runs = {seed: {"epochs": [{"test_accuracy": 0.5, "seconds": 9.0}, {"test_accuracy": last, "seconds": seconds}]}
            for seed, last, seconds in ((0, 0.99, 1.0), (1, 0.97, 3.0))}  # fmt: skip
    found = accuracy.summary(runs, 400)
    assert found["mean"] == pytest.approx(0.98)
    assert found["standard_deviation"] == pytest.approx(0.01 * math.sqrt(2))
    assert found["standard_error_of_the_test_set"] == pytest.approx(0.007)
    assert found["seconds_per_epoch"] == 6.0
    assert "mean 98.000%" in accuracy.line("best+relu", found)
    one = accuracy.summary({0: runs[0]}, 400)
    assert one["standard_deviation"] is None
    assert "standard deviation -" in accuracy.line("fast", one)


def test_options_of_ones_own_do_not_replace_what_is_published(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        accuracy.main(["--recipes", "fast", "--", "--lr", "0.1"])
    assert "--out" in capsys.readouterr().err


def test_effects_are_found_among_noise_and_hard_tenths() -> None:
    """Runs made up by a formula: what it is made of comes out."""
    runs = []
    for number in range(60):
        settings = recipe_search.draw(number)
        error = 1.0 + 0.3 * (settings["weight_decay"] == 1e-3) - 0.2 * settings["relu_after_conv3"]
        runs.append({"run": number, "settings": settings, "error": error + 0.1 * (number % 10), "loss": 0.0})
    found = recipe_search.effects(runs)
    assert found["weight_decay", 1e-3]["error"].change == pytest.approx(0.3)
    assert found["relu_after_conv3", True]["error"].change == pytest.approx(-0.2)
    others = {name: effect for (name, _), effect in found.items() if name not in ("weight_decay", "relu_after_conv3")}
    assert all(abs(effect["error"].change) < 1e-9 for effect in others.values())
    assert recipe_search.table(runs).startswith("60 runs\n")


def test_too_few_runs_say_nothing() -> None:
    """And not that they are certain; nor do settings that were never apart."""
    runs = [
        {"run": number, "settings": recipe_search.draw(number), "error": float(number % 3), "loss": 0.0}
        for number in range(12)
    ]
    assert all(math.isnan(number) for effect in recipe_search.effects(runs).values() for number in effect["error"])
    many: list[Any] = [{"run": n, "settings": recipe_search.draw(n), "error": 0.0, "loss": 0.0} for n in range(60)]
    for run in many:
        run["settings"]["warmup"] = 0.4 if run["settings"]["relu_after_conv3"] else 0.2
    assert all(math.isnan(number) for effect in recipe_search.effects(many).values() for number in effect["error"])


def test_each_image_is_held_out_once() -> None:
    held = [recipe_search.tenth(1003, which)[1] for which in range(10)]
    stay = [recipe_search.tenth(1003, which)[0] for which in range(10)]
    assert sorted(int(i) for part in held for i in part) == list(range(1003))
    assert all(not set(a) & set(b) and len(a) + len(b) == 1003 for a, b in zip(stay, held, strict=True))


def test_every_table_has_its_record() -> None:
    for name, table in accuracy_tables.TABLES.items():
        lines = table().splitlines()
        assert len(lines) >= 3, name
        assert len({line.count("|") for line in lines}) == 1, name
