"""Has xlenet become slower? A few steps against the textbook algorithm, and PyTorch where it is installed, in turns.

    python bench/guard.py [--turns N] [--at-most RATIO]

In one process and in seconds, so that every commit can be asked. It prints ratios and knows nothing of the machine:
a step of xlenet must take at most a quarter of the textbook's time (an eighth is usual), and distorting its images as
``--recipe best`` does may add a third to it at most (a fifth is usual), whatever the machine.

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
from xlenet import LeNet5  # noqa: E402
from xlenet.data import Augmentation, Images  # noqa: E402
from xlenet.recipes import RECIPES  # noqa: E402
from xlenet.training import fit  # noqa: E402

BATCH = 64
STEPS = {"textbook": 2, "numpy": 20, "torch": 20}
LARGEST_SHARE = 1 / 3  # of a step, for distorting its images


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="of each contender (default: 5)")
    parser.add_argument("--at-most", type=float, default=0.25, metavar="RATIO", help="of the textbook's time")
    options = parser.parse_args(arguments)
    if options.turns < 1:
        parser.error(f"--turns: got {options.turns}; expected at least 1")
    seconds = measure(options.turns)
    for name, value in seconds.items():
        ratios = ", ".join(
            f"{value / seconds[other]:.2f} of {TITLES[other]}'s" for other in seconds if other not in (name, "numpy")
        )
        print(f"{TITLES[name]:20} {1e3 * value:7.2f} ms a step{': ' + ratios if name == 'numpy' else ''}")
    ratio = seconds["numpy"] / seconds["textbook"]
    if ratio > options.at_most:
        print(f"too slow: {ratio:.2f} of the textbook's time; expected at most {options.at_most:.2f}", file=sys.stderr)
        return 1
    plain, distorted = _epochs(3 * options.turns)
    share = distorted / plain - 1
    print(
        f"fit: {1e3 * plain:.2f} ms a step, and {1e3 * distorted:.2f} with distorted images: {share:.2f} of a step more"
    )
    if share > LARGEST_SHARE:
        print(f"too slow: expected at most {LARGEST_SHARE:.2f} of a step", file=sys.stderr)
        return 1
    return 0


def measure(turns: int) -> dict[str, float]:
    """Return the median time of a step of each contender there is, one thread each, in turns."""
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
    seconds: dict[str, list[float]] = {name: [] for name in there}
    for _ in range(turns):
        for name, contender in there.items():
            order = rng.permutation(count)[: BATCH * STEPS[name]]
            began = time.perf_counter()
            contender.train(order)
            seconds[name].append((time.perf_counter() - began) / STEPS[name])
    return {name: statistics.median(values) for name, values in seconds.items()}


def _epochs(turns: int) -> tuple[float, float]:
    """Return the median time of a step of `fit` with images as they are, and with images distorted, in turns: of the
    processor, which waits for nobody else as the clock does.
    """
    rng, steps = np.random.default_rng(0), STEPS["numpy"]
    images = Images(rng.integers(0, 256, (BATCH * steps, 1, 28, 28), np.uint8), rng.integers(0, 10, BATCH * steps))
    names = ("rotation", "shift", "scale", "shear", "elastic")
    best = Augmentation(**{name: RECIPES["best"][name] for name in names})
    seconds: dict[Augmentation | None, list[float]] = {None: [], best: []}
    for turn in range(turns + 1):
        for augmentation, found in seconds.items():
            model = LeNet5(rng=0)
            began = time.process_time()
            fit(model, images, epochs=1, batch_size=BATCH, lr=0.01, augmentation=augmentation)
            if turn:  # the first one takes what memory it needs
                found.append((time.process_time() - began) / steps)
    return statistics.median(seconds[None]), statistics.median(seconds[best])


if __name__ == "__main__":
    sys.exit(main())
