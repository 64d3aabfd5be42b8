"""Dropout: the numbers that are dropped, one by one against whole numbers of Python, and as a crowd."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.functional.messages import message
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet import Workspace
from xlenet.backend import in_one_piece
from xlenet.functional import dropout

SHAPES = [(3, 2, 4, 5), (7, 3), (5,), (1, 1, 1, 1), (1, 300), (2, 3, 1)]


def kept(shape: tuple[int, ...], p: float = 0.5, seed: int = 0, step: int = 0) -> np.ndarray:
    """What is kept, as ones, in a row."""
    return (dropout.forward(np.ones(shape, np.float32), p, seed=seed, step=step)[0] != 0).ravel().astype(float)


# ==== one by one ====


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("p", "seed", "step"), [(0.5, 0, 0), (0.1, 1, 7), (0.9, 2**63 + 5, 2**32 - 1), (0.3, 2**64 - 1, 2**40)]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_and_gradient_against_whole_numbers(
    lib: Lib, rng: np.random.Generator, shape: Any, p: float, seed: int, step: int, dtype: str
) -> None:
    x, dy = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
    factor = oracles.dropout_factor(shape, p, seed, step).astype(dtype)
    for given in (step, lib.asarray([step], "int64")):
        y, cache = dropout.forward(lib.asarray(x), p, seed=seed, step=given)
        lib.assert_equal(y, x * factor, dtype=dtype)
        lib.assert_equal(dropout.backward(lib.asarray(dy), cache), dy * factor, dtype=dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("lent", [False, True], ids=["own memory", "lent memory"])
def test_any_memory_order_drops_the_same(lib: Lib, rng: np.random.Generator, layout: str, lent: bool) -> None:
    x, dy, work = rng.standard_normal((3, 2, 4, 5)), rng.standard_normal((3, 2, 4, 5)), Workspace() if lent else None
    factor = oracles.dropout_factor(x.shape, 0.4, 9, 3)
    for _ in range(2):
        y, cache = dropout.forward(LAYOUTS[layout](lib, x), 0.4, seed=9, step=3, work=work)
        lib.assert_equal(y, x * factor)
        lib.assert_equal(dropout.backward(LAYOUTS[layout](lib, dy), cache, work=work), dy * factor)
        if work is not None:
            work.end_step()


def test_both_memory_orders_are_met(numpy_lib: Lib) -> None:
    """Else the test above would not have seen both ways to count."""
    found = {in_one_piece(layout(numpy_lib, np.ones((3, 2, 4, 5)))) for layout in LAYOUTS.values()}
    assert found == {True, False}


def test_p_of_0_drops_nothing(lib: Lib, rng: np.random.Generator) -> None:
    x = rng.standard_normal((50, 40))
    lib.assert_equal(dropout.forward(lib.asarray(x), 0.0)[0], x)


def test_p_just_below_1_drops_all_but_chance(lib: Lib) -> None:
    y, _ = dropout.forward(lib.asarray(np.ones((50, 40))), math.nextafter(1.0, 0.0))
    lib.assert_equal(y, np.zeros((50, 40)))


def test_a_step_is_no_number_on_the_host(numpy_lib: Lib) -> None:
    """What a recorded step reads, is read where it lies: the array, and not the number that was in it."""
    step, x = np.array([3]), np.ones((4, 50))
    first, _ = dropout.forward(x, seed=1, step=step)
    step += 1
    second, _ = dropout.forward(x, seed=1, step=step)
    np.testing.assert_array_equal(first, dropout.forward(x, seed=1, step=3)[0])
    np.testing.assert_array_equal(second, dropout.forward(x, seed=1, step=4)[0])
    assert list(step) == [4]


def test_a_step_of_another_shape_is_refused(lib: Lib) -> None:
    with pytest.raises(TypeError, match=message("dropout", got="step", expected="(1,)")):
        dropout.forward(lib.asarray(np.ones((2, 3))), step=lib.asarray([1, 2], "int64"))


# ==== as a crowd ====

# So many deviations are allowed: by chance alone one in two million is further off, and nothing is left to chance here.
FAR = 5.0


@pytest.mark.parametrize("p", [0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999])
@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63 - 1])
def test_the_share_of_zeros_is_p(p: float, seed: int) -> None:
    n = 1_000_000
    zeros = n - kept((1000, n // 1000), p, seed).sum()
    assert abs(zeros - n * p) < FAR * math.sqrt(n * p * (1 - p))


def test_the_mean_stays() -> None:
    x = np.full((1000, 1000), 3.0)
    assert abs(dropout.forward(x, 0.3, seed=2)[0].mean() - 3.0) < FAR * 3.0 * math.sqrt(0.3 / 0.7) / 1000


@pytest.mark.parametrize("axis", [0, 1])
def test_each_row_and_column_has_its_share(axis: int) -> None:
    """Their counts scatter as counts of independent draws do."""
    n = 1024
    counts = kept((n, n), seed=5).reshape(n, n).sum(axis=axis)
    chi2 = float(((counts - n / 2) ** 2).sum() / (n / 4))
    assert abs(chi2 - n) < FAR * math.sqrt(2 * n)


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 7, 8, 16, 28, 31, 64, 84, 100, 255, 256, 1024, 4096, 65536])
def test_neighbours_do_not_know_of_each_other(lag: int) -> None:
    signs = 2 * kept((1000, 1000), seed=3) - 1
    assert abs(float(signs[:-lag] @ signs[lag:])) < FAR * math.sqrt(signs.size - lag)


def unlike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two draws agree as often as by chance."""
    return abs(float((2 * one - 1) @ (2 * other - 1))) < FAR * math.sqrt(one.size)


def test_steps_do_not_know_of_each_other() -> None:
    draws = [kept((100, 1000), seed=1, step=step) for step in (*range(24), 255, 256, 65535, 65536, 2**31, 2**32 - 1)]
    assert all(unlike(one, other) for one, other in itertools.combinations(draws, 2))


def test_seeds_do_not_know_of_each_other() -> None:
    """Those of two layers; a seed and a step that are exchanged; seeds that differ in one bit, low or high."""
    seeds = [*range(16), *(1 << bit for bit in (8, 16, 31, 32, 33, 48, 62, 63))]
    draws = [kept((100, 1000), seed=seed, step=1) for seed in seeds]
    assert all(unlike(one, other) for one, other in itertools.combinations(draws, 2))
    assert unlike(kept((100, 1000), seed=3, step=8), kept((100, 1000), seed=8, step=3))


def test_no_step_drops_the_same_in_another_order() -> None:
    """With one key for all, steps whose keys differ in low bits alone would keep equally many of each block."""
    blocks = np.array([kept((1, 4096), seed=1, step=step).sum() for step in range(4000)])
    assert abs(blocks.mean() - 2048) < FAR * 32 / math.sqrt(4000)
    assert abs(blocks.var() / 1024 - 1) < FAR * math.sqrt(2 / 4000)
    words = {kept((1, 64), seed=1, step=step).tobytes() for step in range(4000)}
    assert len(words) == 4000


def test_three_in_a_row_are_as_often_kept_as_they_should_be() -> None:
    bits = kept((1, 1_000_002), seed=6).astype(int)
    counts = np.bincount(bits[:-2] * 4 + bits[1:-1] * 2 + bits[2:], minlength=8)
    assert np.all(np.abs(counts - 125_000) < FAR * math.sqrt(1_000_000 * 2 * 7 / 64))
