"""Drawn examples, one after another: is the result the oracle's, and are the gradients those of the result?"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.gradcheck import check_gradients
from tests.gradients.examples import EXAMPLES, Example
from tests.libraries import Lib
from tests.networks import on


@dataclass
class Record:
    """What was tried."""

    examples: int = 0
    seconds: float = 0.0
    worst: float = 0.0  # error of a gradient, relative
    traits: Counter[str] = field(default_factory=Counter)


def check(lib: Lib, example: Example) -> float:
    """Check one example; return the relative error of its gradients."""
    with on(lib):
        y, _ = example.forward(*map(lib.asarray, example.inputs.values()))
        lib.assert_close(y, example.expected, rtol=1e-9, atol=1e-9, dtype="float64")
    rng = np.random.default_rng([0, 1])  # no example is drawn by it: dy would be x
    return check_gradients(lib, example.text, example.forward, example.backward, example.inputs, rng)


def check_many(lib: Lib, name: str, count: int, start: int | None = None) -> Record:
    """Check `count` drawn examples of a layer: the same each time, or by the seed `start`."""
    record, began = Record(), time.perf_counter()
    options = settings(
        max_examples=count,
        derandomize=start is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )

    def one(example: Example) -> None:
        record.worst = max(record.worst, check(lib, example))
        record.examples += 1
        record.traits.update(example.traits)

    drawn = options(given(EXAMPLES[name])(one))
    (drawn if start is None else seed(start)(drawn))()
    record.seconds = time.perf_counter() - began
    return record
