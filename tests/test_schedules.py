"""Learning rates over a run: from progress, 0 to 1, to a factor of the peak."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from xlenet.schedules import SCHEDULES, constant, cosine, one_cycle

PROGRESS = [float(p) for p in np.linspace(0, 1, 201)]


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_factors_are_numbers_from_0_to_1(schedule: Callable[[float], float]) -> None:
    for p in PROGRESS:
        assert type(schedule(p)) is float
        assert 0.0 <= schedule(p) <= 1.0


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_the_peak_is_reached_and_nothing_jumps(schedule: Callable[[float], float]) -> None:
    values = [schedule(p) for p in PROGRESS]
    assert max(values) == pytest.approx(1.0)
    assert max(abs(a - b) for a, b in pairwise(values)) < 0.03


def test_constant_is_constant() -> None:
    assert {constant(p) for p in PROGRESS} == {1.0}


def test_cosine_is_half_a_cosine_downwards() -> None:
    assert (cosine(0.0), cosine(1.0)) == (1.0, 0.0)
    assert cosine(0.5) == pytest.approx(0.5)
    assert cosine(0.25) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert all(a > b for a, b in pairwise(map(cosine, PROGRESS)))


def test_one_cycle_rises_on_a_line_and_falls_along_a_cosine() -> None:
    assert one_cycle(0.0) == pytest.approx(0.1)
    assert one_cycle(0.05) == pytest.approx(0.1 + 0.9 / 4)
    assert one_cycle(0.2) == pytest.approx(1.0)
    assert one_cycle(0.6) == pytest.approx(0.5)
    assert one_cycle(0.4) == pytest.approx(cosine(0.25))
    assert one_cycle(1.0) == pytest.approx(0.0, abs=1e-12)


def test_one_cycle_can_be_shaped() -> None:
    assert one_cycle(0.0, warmup=0.5, start=0.0) == 0.0
    assert one_cycle(0.25, warmup=0.5, start=0.0) == pytest.approx(0.5)
    assert one_cycle(0.5, warmup=0.5, start=0.0) == 1.0
    assert one_cycle(0.0, warmup=0.0) == 1.0


def test_the_table_holds_every_schedule_by_the_command_lines_names() -> None:
    assert {"constant": constant, "cosine": cosine, "one-cycle": one_cycle} == SCHEDULES
