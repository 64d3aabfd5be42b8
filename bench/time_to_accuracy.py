"""How long until 97.1 % and 99 % of MNIST's test images are read? Wall clock, on one thread of a CPU or on a GPU.

    python bench/time_to_accuracy.py [--data-dir DIR] [--targets 0.971 0.99] [--seeds 0 1 2 3 4] [--backend NAME]
                                     [--out FILE]

A run is planned before it begins: the settings of ``--recipe fast``, for so many images, and the learning rate falls to
0 at their end. The shortest plan with which every seed reaches the target on 5,000 training images held out is chosen;
then each seed does it once more with all training images to draw from, and the test images are looked at, once.

The time is that of training: from bytes in memory to a network that is done. Importing, reading the files and
evaluating are not in it. It is given for the median seed, beside that of a first run of the process, which on a GPU
compiles the kernels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # measure the checkout that this file lies in, whether it is installed or not

from bench.machine import describe_machine  # noqa: E402 - after the line above
from xlenet import SGD, LeNet5, use_backend, use_threads  # noqa: E402
from xlenet.data import Images, Normalization, hold_out, load  # noqa: E402
from xlenet.files import write_bytes_atomically  # noqa: E402
from xlenet.recipes import RECIPES  # noqa: E402
from xlenet.training import evaluate, fit  # noqa: E402


class Plan(NamedTuple):
    """How long a run is."""

    images: int  # the first so many
    epochs: int  # of them

    @property
    def command(self) -> str:
        """The training command that does the same."""
        some = f" --train-size {self.images}" if self.images else ""
        return "python -m xlenet.train --recipe fast" + some + (f" --epochs {self.epochs}" if self.epochs > 1 else "")


# From the shortest on; 0 images are all of them.
PLANS = [Plan(images, 1) for images in (4_000, 5_000, 6_000, 8_000, 10_000, 12_000, 15_000, 20_000, 25_000, 30_000)]
PLANS += [Plan(40_000, 1), Plan(50_000, 1), Plan(0, 1), Plan(40_000, 2), Plan(0, 2), Plan(0, 3), Plan(0, 4)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, or 1 where a target was not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data-dir", metavar="DIR", help="folder of MNIST (default: as python -m xlenet.train)")
    add("--targets", type=float, nargs="+", default=[0.971, 0.99], metavar="X", help="default: 0.971 0.99")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], metavar="N", help="default: 0 1 2 3 4")
    add("--backend", default="numpy", metavar="NAME", help="default: numpy")
    add("--out", type=Path, metavar="FILE", help="default: bench/results/time_to_accuracy_<backend>.json")
    chosen = parser.parse_args(arguments)
    out = chosen.out or _ROOT / "bench" / "results" / f"time_to_accuracy_{chosen.backend.partition(':')[0]}.json"
    record: dict[str, Any] = {"what": __doc__.partition("\n")[0], "machine": describe_machine(), "targets": {}}
    with use_backend(chosen.backend), use_threads(1):
        mnist = load("mnist", chosen.data_dir)
        first = _train(mnist.x_train, mnist.y_train, PLANS[0], seed=0)[0]
        record["first_run"] = {"command": PLANS[0].command, "seconds": first}
        for target in chosen.targets:
            found = reach(target, mnist, chosen.seeds)
            record["targets"][str(target)] = found
            print(_line(target, found), flush=True)
    write_bytes_atomically(out, (json.dumps(record, indent=1) + "\n").encode())
    print(f"wrote {out}")
    return 0 if all(found.get("reached") for found in record["targets"].values()) else 1


def reach(target: float, mnist: Any, seeds: Sequence[int]) -> dict[str, Any]:
    """Return with which plan, and when, a network reads `target` of the test images."""
    stay, held = hold_out(len(mnist.x_train), 5_000)
    x, y = mnist.x_train[stay], mnist.y_train[stay]
    for plan in PLANS:
        if _all_reach(target, x, y, (mnist.x_train[held], mnist.y_train[held]), plan, seeds):
            break
    else:
        return {"reached": False}
    seconds, accuracies = [], []
    for seed in seeds:
        spent, model, normalization = _train(mnist.x_train, mnist.y_train, plan, seed)
        seconds.append(spent)
        accuracies.append(_accuracy(model, normalization, (mnist.x_test, mnist.y_test)))
    mean = statistics.mean(accuracies)
    return {
        "reached": mean >= target,
        "command": plan.command,
        "seconds": statistics.median(seconds),
        "seconds_by_seed": seconds,
        "mean": mean,
        "accuracies": accuracies,
    }


def _all_reach(target: float, x: Any, y: Any, held: tuple[Any, Any], plan: Plan, seeds: Sequence[int]) -> bool:
    return all(_accuracy(*_train(x, y, plan, seed)[1:], held) >= target for seed in seeds)


def _train(x: Any, y: Any, plan: Plan, seed: int) -> tuple[float, LeNet5, Normalization]:
    """Return how many seconds training took, the network, and how its images were normalised."""
    recipe, count = RECIPES["fast"], plan.images or len(x)
    model = LeNet5(rng=seed)
    began = time.perf_counter()
    train = Images(x[:count], y[:count])
    optimizer = SGD(model, momentum=recipe["momentum"], nesterov=True, weight_decay=recipe["weight_decay"])
    options = {"batch_size": recipe["batch_size"], "lr": recipe["lr"], "seed": seed}
    fit(model, train, optimizer=optimizer, epochs=plan.epochs, **options)
    return time.perf_counter() - began, model, train.normalization


def _accuracy(model: LeNet5, normalization: Normalization, part: tuple[Any, Any]) -> float:
    return evaluate(model, Images(*part, normalization)).accuracy


def _line(target: float, found: dict[str, Any]) -> str:
    if "seconds" not in found:
        return f"{target:.1%}: not reached on the images held out"
    missed = "" if found["reached"] else "not reached on the test images: "
    return f"{target:.1%}: {missed}{found['seconds']:.2f} s, {found['mean']:.2%} (mean); {found['command']}"


if __name__ == "__main__":
    sys.exit(main())
