"""How long an evaluation and a single image take: in a process of its own, for `bench.cpu_check`.

    python -m bench.inference

Prints one line of JSON: seconds for 10,000 images by `xlenet.training.evaluate`, and milliseconds for one image through
`LeNet5.infer`; medians.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from xlenet import LeNet5
from xlenet.data.images import Images
from xlenet.training import evaluate


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    test = Images(rng.integers(0, 256, (10_000, 1, 28, 28), dtype=np.uint8), rng.integers(0, 10, 10_000))
    model = LeNet5(rng=0).eval()
    image, _ = test.batch(slice(0, 1))
    print(json.dumps({
        "evaluation_s": _median(lambda: evaluate(model, test), 9),
        "one_image_ms": 1e3 * _median(lambda: model.infer(image), 500),
    }))  # fmt: skip


def _median(what: Callable[[], Any], times: int) -> float:
    what()
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        what()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
