"""The tables of docs/accuracy.md, from the records of bench/accuracy.py, time_to_accuracy.py and recipe_search.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.markdown import table
from bench.recipe_search import LEVELS, Effect, effects

RESULTS = Path(__file__).resolve().parent / "results"


def _record(name: str) -> dict[str, Any] | None:
    path = RESULTS / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def accuracy(data: str) -> str:
    """Return what each recipe reaches on NumPy and on CuPy, as far as it was measured."""
    here, gpu = ((_record(f"accuracy_{data}_{name}.json") or {"recipes": {}})["recipes"] for name in ("numpy", "cupy"))
    rows = []
    for case, found in (here or gpu).items():
        there = gpu.get(case)
        spread, count = found["standard_deviation"], len(found["accuracies"])
        rows.append((
            f"`{found['command']}`",
            f"**{100 * found['mean']:.2f} %**" if here else "not yet run",
            ", ".join(f"{100 * accuracy:.2f}" for accuracy in found["accuracies"]),
            "" if spread is None else f"{100 * spread / count**0.5:.2f}",
            f"{100 * found['standard_error_of_the_test_set']:.2f}",
            f"{100 * there['mean']:.2f} %" if there and _settings(there) == _settings(found) else "not yet run",
        ))  # fmt: skip
    return table(("command", "mean on NumPy", "by seed, %", "± by seeds", "± by test images", "mean on CuPy"), rows)


def _settings(found: dict[str, Any]) -> dict[str, Any]:
    """Return what a recipe was when it was measured, but for where and with which seeds."""
    config = next(iter(found["runs"].values()))["config"]
    elsewhere = ("backend", "data", "seed", "threads", "versions")
    return {name: value for name, value in config.items() if name not in elsewhere}


def times() -> str:
    """Return how long each target takes."""
    rows = []
    for backend in ("numpy", "cupy"):
        record = _record(f"time_to_accuracy_{backend}.json")
        for target, found in (record or {"targets": {}})["targets"].items():
            gpu = (record or {})["machine"]["gpus"]
            where = gpu[0].split(",")[0] if backend == "cupy" and gpu else "NumPy, one thread"
            rows.append((
                f"{100 * float(target):.1f} %",
                where,
                f"**{found['seconds']:.2f} s**" if found["reached"] else "not reached",
                f"{record['first_run']['seconds']:.1f} s" if record else "",
                f"{100 * found['mean']:.2f} %" if "mean" in found else "",
                f"`{found['command']}`" if "command" in found else "",
            ))  # fmt: skip
    return table(("read", "on", "after", "a first run, of 4,000 images", "mean of five seeds", "the same as"), rows)


def search(file: str) -> str:
    """Return what each setting changes on the images held out."""
    lines = (RESULTS / file).read_text(encoding="utf-8").splitlines()
    found = effects([json.loads(line) for line in lines])
    rows = []
    for (name, level), effect in found.items():
        mine = f"{name.replace('_', ' ')} {level:g}" if level is not True else name.replace("_", " ")
        rows.append((mine, f"{LEVELS[name][0]:g}", _points(effect["error"], 3), _points(effect["loss"], 4)))
    return table(("setting", "instead of", "mistakes, points", "loss"), rows)


def carry_over() -> str:
    """Return what strengths do to digits and to clothes, on the same tenths of the training images."""
    lines = (RESULTS / "recipe_carry_over.jsonl").read_text(encoding="utf-8").splitlines()
    errors: dict[tuple[float, ...], dict[str, dict[int, float]]] = {}
    for run in map(json.loads, lines):
        settings = run["settings"]
        key = tuple(settings[name] for name in ("strength", "elastic", "plain_epochs"))
        errors.setdefault(key, {}).setdefault(run["data"], {})[run["run"]] = run["error"]
    shared = {data: set.intersection(*(set(by[data]) for by in errors.values() if data in by)) for data in _DATA}
    rows = []
    for (strength, elastic, plain), by_data in sorted(errors.items()):
        cells = (_mean_error(by_data.get(data, {}), shared[data]) for data in _DATA)
        rows.append((f"{strength:g}", f"{elastic:g}", f"{plain}" if strength else "all", *cells))
    return table(
        ("strength", "elastic", "plain epochs", *(f"{data}, {len(shared[data])} tenths" for data in _DATA)), rows
    )


_DATA = ("fashion-mnist", "mnist")


def _mean_error(errors: dict[int, float], tenths: set[int]) -> str:
    return f"{sum(errors[tenth] for tenth in tenths) / len(tenths):.2f} %" if errors else ""


def _points(effect: Effect, digits: int) -> str:
    return f"{effect.change:+.{digits}f} ± {effect.error:.{digits}f}"


TABLES: dict[str, Callable[[], str]] = {
    "accuracy": lambda: accuracy("mnist"),
    "accuracy_fashion": lambda: accuracy("fashion-mnist"),
    "accuracy_optdigits": lambda: accuracy("optdigits"),
    "times_to_accuracy": times,
    "carry_over": carry_over,
    "search_wide": lambda: search("recipe_search_wide.jsonl"),
    "search_near": lambda: search("recipe_search_near.jsonl"),
}
