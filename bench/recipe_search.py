"""Which settings read more of images held out? Runs with settings drawn at random, and what each setting does.

    python bench/recipe_search.py [--runs 30 | --seconds 600] [--first 0] [--data mnist] [--data-dir DIR]
                                  [--backend NAME] [--out FILE]
    python bench/recipe_search.py --effects FILE ...

A tenth of the training images is held out, another one in every run (ten in all, always the same ones), and the test
images are never looked at. Each run draws every setting anew, so that all runs say something of every setting: the
effect of each, beside its standard error, comes out of one least-squares fit, and a tenth that is harder than others
does not count. This takes far fewer runs than changing one setting at a time.

Beside the network as training leaves it, two others are evaluated: the same one with batch normalisation's statistics
counted anew on plain images, and the running mean of its weights (decay 0.999), with statistics counted anew.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # measure the checkout that this file lies in, whether it is installed or not

from xlenet import SGD, AdamW, LeNet5, use_backend, use_threads  # noqa: E402 - after the line above
from xlenet.data import Augmentation, Images, load  # noqa: E402
from xlenet.schedules import one_cycle  # noqa: E402
from xlenet.training import Progress, evaluate, fit  # noqa: E402

# What is drawn; the first of each is what others are compared with. The rate is that of a batch of 64 and of momentum
# 0.9, and grows with the batch and with 1 - momentum.
LEVELS: dict[str, tuple[Any, ...]] = {
    "relu_after_conv3": (False, True),
    "optimizer": ("nesterov",),
    "batch_size": (64, 128),
    "rate": (0.05, 0.1),
    "momentum": (0.9,),
    "weight_decay": (5e-4, 1e-3),
    "warmup": (0.2, 0.4),
    "strength": (1.0, 0.85),  # of 12 degrees, the shift, 10 % and 8 degrees
    "shift": (1.0, 1.5),
    "elastic": (2.0, 1.0),
    "plain_epochs": (1, 2),
}
FIGURES = ("error", "loss", "error_recounted", "loss_recounted", "error_averaged", "loss_averaged")
FOLDS, AVERAGE, COUNTED = 10, 0.999, 10_000

Record = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--runs", type=int, default=30, metavar="N", help="default: 30")
    add("--seconds", type=float, default=float("inf"), metavar="S", help="begin no run after so many")
    add("--first", type=int, default=0, metavar="N", help="number of the first run, which decides what it draws")
    add("--epochs", type=int, default=20, metavar="N", help="default: 20")
    add("--data", choices=["mnist", "fashion-mnist"], default="mnist", help="default: mnist")
    add("--data-dir", metavar="DIR", help="folder of its files (default: as python -m xlenet.train)")
    add("--backend", default="numpy", metavar="NAME", help="default: numpy")
    add("--out", type=Path, metavar="FILE", help="a line of JSON for each run is added to it")
    add("--effects", type=Path, nargs="+", metavar="FILE", help="only say what the runs in these files show")
    chosen = parser.parse_args(arguments)
    if chosen.effects:
        print(table([json.loads(line) for file in chosen.effects for line in file.read_text().splitlines()]))
        return 0
    began, runs = time.perf_counter(), []
    with use_backend(chosen.backend), use_threads(1):
        dataset = load(chosen.data, chosen.data_dir)
        for number in range(chosen.first, chosen.first + chosen.runs):
            if time.perf_counter() - began > chosen.seconds:
                break
            runs.append(try_out(draw(number), number, dataset.x_train, dataset.y_train, chosen.epochs))
            line = json.dumps(runs[-1])
            print(line, flush=True)
            if chosen.out:
                with chosen.out.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
    return 0


def draw(number: int) -> Record:
    """Return the settings of a run."""
    rng = np.random.default_rng([number, 6])
    return {name: levels[rng.integers(len(levels))] for name, levels in LEVELS.items()}


def try_out(settings: Record, number: int, x: Any, y: Any, epochs: int) -> Record:
    """Train with these settings on nine tenths of the images; return what the other tenth says."""
    stay, out = tenth(len(x), number % FOLDS)
    train = Images(x[stay], y[stay])
    held = Images(x[out], y[out], train.normalization)
    model = LeNet5(relu_after_conv3=settings["relu_after_conv3"], rng=number)
    decay, momentum = settings["weight_decay"], settings["momentum"]
    if settings["optimizer"] == "adamw":
        optimizer: Any = AdamW(model, weight_decay=decay)
    else:
        optimizer = SGD(model, momentum=momentum, nesterov=True, weight_decay=decay)
    mean = optimizer.params * 1.0

    def average(progress: Progress) -> None:
        steps = optimizer.steps
        nonlocal mean
        mean += (optimizer.params - mean) * (1.0 - min(AVERAGE, steps / (steps + 10)))

    strength, plain = settings["strength"], settings["plain_epochs"]
    bent, shift = settings["elastic"], settings["shift"] * strength
    fit(
        model,
        train,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=settings["batch_size"],
        lr=settings["rate"] * settings["batch_size"] / 64 * (1 - momentum) / 0.1,
        schedule=functools.partial(one_cycle, warmup=settings["warmup"]),
        augmentation=Augmentation(12 * strength, shift, 0.1 * strength, 8 * strength, bent, plain),
        seed=number,
        on_step=average,
    )
    found = {"run": number, "settings": settings} | _figures(model, held, "")
    count_anew(model, train)
    found |= _figures(model, held, "_recounted")
    optimizer.params[...] = mean
    count_anew(model, train)
    return found | _figures(model, held, "_averaged")


def tenth(count: int, which: int) -> tuple[Any, Any]:
    """Return the positions of the images that stay and of those that are held out."""
    order = np.random.default_rng((0, 2)).permutation(count)
    part = slice(which * count // FOLDS, (which + 1) * count // FOLDS)
    return np.sort(np.delete(order, part)), np.sort(order[part])


def _figures(model: LeNet5, held: Images, which: str) -> Record:
    found = evaluate(model, held)
    return {f"error{which}": 100 * (1 - found.accuracy), f"loss{which}": found.loss}


def count_anew(model: LeNet5, images: Images, size: int = 500) -> None:
    """Make the running statistics of batch normalisation the plain mean over some batches."""
    norms = [model[name] for name in model if name.startswith("bn")]
    decays = [norm.decay for norm in norms]
    model.train()
    for number in range(min(COUNTED, len(images)) // size):
        for norm in norms:
            norm.decay = number / (number + 1)
        model(images.batch(slice(number * size, (number + 1) * size))[0])
    model.forget()
    for norm, decay in zip(norms, decays, strict=True):
        norm.decay = decay


# ==== what the runs show ====


class Effect(NamedTuple):
    """What a setting changes in a figure, and its standard error."""

    change: float
    error: float


def effects(runs: list[Record]) -> dict[tuple[str, Any], dict[str, Effect]]:
    """Return for each setting and level what it changes, compared with the first level in LEVELS, by figure."""
    drawn = [(name, {run["settings"][name] for run in runs} - {LEVELS[name][0]}) for name in LEVELS]
    names = [(name, level) for name, levels in drawn for level in sorted(levels)]
    columns = [[run["settings"][name] == level for run in runs] for name, level in names]
    columns += [[run["run"] % FOLDS == fold for run in runs] for fold in range(FOLDS)]
    matrix = np.array(columns, float).T
    matrix = matrix[:, matrix.any(0)]
    found: dict[tuple[str, Any], dict[str, Effect]] = {name: {} for name in names}
    for figure in (figure for figure in FIGURES if all(figure in run for run in runs)):
        solution, error = _least_squares(matrix, np.array([run[figure] for run in runs]))
        for row, name in enumerate(names):
            found[name][figure] = Effect(float(solution[row]), float(error[row]))
    return found


def table(runs: list[Record]) -> str:
    """Return the effects as a table."""
    lines = [f"{len(runs)} runs"]
    for (name, level), by_figure in effects(runs).items():
        cells = (f"{figure} {effect.change:+.4f} +- {effect.error:.4f}" for figure, effect in by_figure.items())
        lines.append(f"{name + ' ' + str(level):24}" + "".join(f"{cell:>40}" for cell in cells))
    return "\n".join(lines)


def _least_squares(matrix: Any, values: Any) -> tuple[Any, Any]:
    """Return the solution and the standard error of each of its numbers; all are NaN where there are too few runs to
    tell one setting from another, or from chance.
    """
    solution, _, rank, _ = np.linalg.lstsq(matrix, values, rcond=None)
    spare = len(values) - matrix.shape[1]
    if spare < 1 or rank < matrix.shape[1]:
        return np.full(matrix.shape[1], np.nan), np.full(matrix.shape[1], np.nan)
    variance = ((values - matrix @ solution) ** 2).sum() / spare
    return solution, np.sqrt(np.diag(np.linalg.pinv(matrix.T @ matrix)) * variance)


if __name__ == "__main__":
    sys.exit(main())
