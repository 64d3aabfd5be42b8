"""A fully connected layer and the ReLU behind it: against the loops of the first, cut off at 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.functional.messages import message
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet.functional import linear_relu

SIZES = [(5, 3, 4), (1, 3, 4), (5, 1, 4), (5, 3, 1), (1, 1, 1), (9, 20, 11)]  # N, IN, OUT
TOLERANCE = {"float32": {"rtol": 1e-5, "atol": 1e-5}, "float64": {"rtol": 1e-12, "atol": 1e-13}}

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def draw(rng: np.random.Generator, size: tuple[int, int, int], dtype: str = "float64") -> Arrays:
    """x, weight, bias, dy."""
    n, i, o = size
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in ((n, i), (o, i), (o,), (n, o)))  # type: ignore[return-value]


def by_loops(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, dy: np.ndarray) -> list[np.ndarray]:
    """y, dx, dweight, dbias."""
    z = oracles.linear(x, weight, bias)
    return [np.where(z > 0, z, 0.0), *oracles.linear_gradients(x, weight, np.where(z > 0, dy, 0.0))]


@pytest.mark.parametrize("has_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", SIZES)
def test_forward_and_gradients_against_loops(
    lib: Lib, rng: np.random.Generator, size: Any, dtype: str, has_bias: bool
) -> None:
    x, weight, bias, dy = draw(rng, size, dtype)
    expected = by_loops(x, weight, bias if has_bias else None, dy)
    y, cache = linear_relu.forward(lib.asarray(x), lib.asarray(weight), lib.asarray(bias) if has_bias else None)
    results = [y, *linear_relu.backward(lib.asarray(dy), cache)]
    if not has_bias:
        assert results.pop() is None
    for result, wanted in zip(results, expected, strict=False):
        lib.assert_close(result, wanted, dtype=dtype, **TOLERANCE[dtype])


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_any_size(n: int, i: int, o: int, seed: int) -> None:
    x, weight, bias, dy = draw(np.random.default_rng(seed), (n, i, o))
    y, cache = linear_relu.forward(x, weight, bias)
    for result, wanted in zip([y, *linear_relu.backward(dy, cache)], by_loops(x, weight, bias, dy), strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-13)


def test_at_zero_the_gradient_is_zero(lib: Lib) -> None:
    x, weight = np.array([[1.0], [-1.0], [2.0]]), np.array([[1.0], [-1.0]])
    bias = np.array([-1.0, -1.0])  # z = [[0, -2], [-2, 0], [1, -3]]
    y, cache = linear_relu.forward(*map(lib.asarray, (x, weight, bias)))
    lib.assert_equal(y, [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    dx, dweight, dbias = linear_relu.backward(lib.asarray([[3.0, 5.0], [7.0, 11.0], [13.0, 17.0]]), cache)
    lib.assert_equal(dx, [[0.0], [0.0], [13.0]])
    lib.assert_equal(dweight, [[26.0], [0.0]])
    lib.assert_equal(dbias, [13.0, 0.0])


def test_nan_stays_nan(lib: Lib) -> None:
    y, _ = linear_relu.forward(lib.asarray([[np.nan], [1.0]]), lib.asarray([[1.0]]))
    lib.assert_equal(y, [[np.nan], [1.0]])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_order(lib: Lib, rng: np.random.Generator, layout: str) -> None:
    x, weight, bias, dy = draw(rng, (5, 3, 4))
    lay = LAYOUTS[layout]
    y, cache = linear_relu.forward(*(lay(lib, array) for array in (x, weight, bias)))
    results = [y, *linear_relu.backward(lay(lib, dy), cache)]
    for result, wanted in zip(results, by_loops(x, weight, bias, dy), strict=True):
        lib.assert_close(result, wanted)


def test_shapes_that_do_not_go_together_are_refused(lib: Lib) -> None:
    x = lib.asarray(np.ones((2, 3)))
    with pytest.raises(ValueError, match=message("linear", got="(4, 2)", expected="(OUT, 3)")):
        linear_relu.forward(x, lib.asarray(np.ones((4, 2))))
    with pytest.raises(ValueError, match=message("linear", got="bias of shape (3,)", expected="(4,)")):
        linear_relu.forward(x, lib.asarray(np.ones((4, 3))), lib.asarray(np.ones(3)))
