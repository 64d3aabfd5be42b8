"""Has xlenet become slower? A few steps against the textbook algorithm, and PyTorch where it is installed, in turns.

    python bench/guard.py [--turns N] [--at-most RATIO]

In one process and in seconds, so that every commit can be asked. It prints ratios and knows nothing of the machine:
a step of xlenet must take at most a quarter of the textbook's time (an eighth is usual), and distorting its images as
``--recipe best`` does at most a third of the step (an eighth is usual), whatever the machine.

Exit codes: 0 quick enough, 1 too slow, 2 usage.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

# Before NumPy is loaded, which reads them once: one thread for everybody.
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # measure the checkout that this file lies in, whether it is installed or not

import numpy as np  # noqa: E402 - after the lines above

from bench.contenders import CONTENDERS, TITLES, Task, Unavailable  # noqa: E402
from bench.textbook import initial_parameters  # noqa: E402
from xlenet import Workspace  # noqa: E402
from xlenet.data import Augmentation  # noqa: E402
from xlenet.data.augmentation import Augmenter  # noqa: E402
from xlenet.recipes import RECIPES  # noqa: E402

BATCH = 64
STEPS = {"textbook": 2, "numpy": 20, "torch": 20}
DISTORTION = "distortion"
LARGEST_SHARE = 1 / 3  # of a step


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="of each contender (default: 5)")
    parser.add_argument("--at-most", type=float, default=0.25, metavar="RATIO", help="of the textbook's time")
    options = parser.parse_args(arguments)
    if options.turns < 1:
        parser.error(f"--turns: got {options.turns}; expected at least 1")
    seconds = measure(options.turns)
    distortion = seconds.pop(DISTORTION)
    for name, value in seconds.items():
        ratios = ", ".join(
            f"{value / seconds[other]:.2f} of {TITLES[other]}'s" for other in seconds if other not in (name, "numpy")
        )
        print(f"{TITLES[name]:20} {1e3 * value:7.2f} ms a step{': ' + ratios if name == 'numpy' else ''}")
    ratio = seconds["numpy"] / seconds["textbook"]
    if ratio > options.at_most:
        print(f"too slow: {ratio:.2f} of the textbook's time; expected at most {options.at_most:.2f}", file=sys.stderr)
        return 1
    share = distortion / seconds["numpy"]
    print(f"distorting a batch   {1e3 * distortion:7.2f} ms: {share:.2f} of xlenet's step")
    if share > LARGEST_SHARE:
        print(f"too slow: expected at most {LARGEST_SHARE:.2f} of a step", file=sys.stderr)
        return 1
    return 0


def measure(turns: int) -> dict[str, float]:
    """Return the median time of a step of each contender there is, and of distorting a batch, one thread each, in
    turns.
    """
    rng = np.random.default_rng(0)
    count = BATCH * max(STEPS.values())
    images = rng.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
    task = Task(images, rng.integers(0, 10, count), initial_parameters(seed=0), 1)
    there: dict[str, Any] = {}
    for name in STEPS:
        try:
            there[name] = CONTENDERS[name](task)
        except Unavailable as reason:
            print(f"not measured: {name}: {reason}")
            continue
        there[name].about()  # PyTorch sets its number of threads here
        there[name].prepare(BATCH)
        there[name].train(np.arange(BATCH * 2))
    seconds: dict[str, list[float]] = {name: [] for name in (*there, DISTORTION)}
    for _ in range(turns):
        seconds[DISTORTION].append(_distortion(20))
        for name, contender in there.items():
            order = rng.permutation(count)[: BATCH * STEPS[name]]
            began = time.perf_counter()
            contender.train(order)
            seconds[name].append((time.perf_counter() - began) / STEPS[name])
    return {name: statistics.median(values) for name, values in seconds.items()}


def _distortion(batches: int) -> float:
    """Return how many seconds it takes to distort a batch as the best recipe does."""
    x, work = np.zeros((BATCH, 1, 28, 28), np.float32), Workspace()
    names = ("rotation", "shift", "scale", "shear", "elastic")
    augmenter = Augmenter(Augmentation(**{name: RECIPES["best"][name] for name in names}), (28, 28), x, 0, 0)
    augmenter(x, work)
    began = time.perf_counter()
    for _ in range(batches):
        work.end_step()
        augmenter(x, work)
    return (time.perf_counter() - began) / batches


if __name__ == "__main__":
    sys.exit(main())
