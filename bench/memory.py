"""How much memory an epoch of training takes, and whether it stays so: in a process of its own, for `bench.cpu_check`.

    python -m bench.memory xlenet|torch [--data-dir DIR]

Prints one line of JSON: the peak of the resident memory over loading the data and training for an epoch at batch size
64, and page faults and growth per step over the last 500 steps of it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

import numpy as np

BATCH, STEPS = 64, 500


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("who", choices=["xlenet", "torch"])
    parser.add_argument("--data-dir", metavar="DIR", help="folder with MNIST (default: random images)")
    options = parser.parse_args()
    images, labels = _data(options.data_dir)
    print(json.dumps((_xlenet if options.who == "xlenet" else _torch)(images, labels)))
    return 0


def _data(folder: str | None) -> tuple[Any, Any]:
    if folder:
        from xlenet.data import load_mnist

        dataset = load_mnist(folder, mirrors=[])
        return dataset.x_train, dataset.y_train
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (60_000, 1, 28, 28), dtype=np.uint8), rng.integers(0, 10, 60_000)


def _xlenet(images: Any, labels: Any) -> dict[str, float]:
    from xlenet import SGD, LeNet5
    from xlenet.data.images import Images
    from xlenet.training import fit

    model, steps = LeNet5(rng=0), -(-len(images) // BATCH)
    seen: list[tuple[int, float]] = []

    def look(progress: Any) -> None:
        if progress.step in (steps - STEPS, steps):
            seen.append((_page_faults(), _resident()))

    fit(model, Images(images, labels), optimizer=SGD(model, nesterov=True), epochs=1, batch_size=BATCH, on_step=look)
    (faults_before, resident_before), (faults, resident) = seen
    return {
        "peak_mb": _peak(),
        "page_faults_per_step": (faults - faults_before) / STEPS,
        "growth_mb_over_500_steps": resident - resident_before,
    }


def _torch(images: Any, labels: Any) -> dict[str, float]:
    import torch

    from bench.torch_lenet import TorchLeNet5

    torch.set_num_threads(1)
    run = TorchLeNet5(images, labels, float(images.mean()), float(images.std()))
    order = np.random.default_rng(0).permutation(len(images))
    run.train(order[: -STEPS * BATCH], BATCH, 0.01)
    faults, resident = _page_faults(), _resident()
    run.train(order[-STEPS * BATCH :], BATCH, 0.01)
    return {
        "peak_mb": _peak(),
        "page_faults_per_step": (_page_faults() - faults) / STEPS,
        "growth_mb_over_500_steps": _resident() - resident,
    }


def _peak() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _page_faults() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _resident() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    sys.exit(main())
