"""Batch normalisation and the ReLU behind it: against the loops of the first, cut off at 0."""

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
from xlenet.functional import batchnorm, batchnorm_relu

SHAPES = [(5, 3), (2, 1), (3, 2, 4, 5), (1, 3, 2, 2), (2, 3, 1, 1), (7, 1, 3, 1), (130, 2, 3, 3)]
TOLERANCE = {"float32": {"rtol": 1e-4, "atol": 1e-5}, "float64": {"rtol": 1e-11, "atol": 1e-12}}


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "float64") -> list[np.ndarray]:
    """x, weight, bias, dy."""
    drawn = (rng.standard_normal(of) for of in (shape, (shape[1],), (shape[1],), shape))
    x, weight, bias, dy = (values.astype(dtype) for values in drawn)
    return [3 * x + 1, weight, bias, dy]


def by_loops(x: Any, weight: Any, bias: Any, dy: Any, eps: float = 1e-5) -> list[np.ndarray]:
    """y, dx, dweight, dbias."""
    x, weight, bias, dy = (array.astype(np.float64) for array in (x, weight, bias, dy))
    z = oracles.batchnorm(x, weight, bias, *oracles.mean_and_variance(x), eps)
    return [
        np.where(z > 0, z, 0.0),
        *oracles.batchnorm_training_gradients(x, weight, np.where(z > 0, dy, 0.0), eps),
    ]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_and_gradients_against_loops(lib: Lib, rng: np.random.Generator, shape: Any, dtype: str) -> None:
    x, weight, bias, dy = draw(rng, shape, dtype)
    y, cache = batchnorm_relu.forward_training(*map(lib.asarray, (x, weight, bias)))
    results = [y, *batchnorm_relu.backward_training(lib.asarray(dy), cache)]
    for result, wanted in zip(results, by_loops(x, weight, bias, dy), strict=True):
        lib.assert_close(result, wanted, dtype=dtype, **TOLERANCE[dtype])


@pytest.mark.parametrize("eps", [0.0, 1e-2, 1.0])
def test_eps_is_inside_the_square_root(lib: Lib, rng: np.random.Generator, eps: float) -> None:
    x, weight, bias, dy = draw(rng, (4, 2, 3, 3))
    y, cache = batchnorm_relu.forward_training(*map(lib.asarray, (x, weight, bias)), eps)
    results = [y, *batchnorm_relu.backward_training(lib.asarray(dy), cache)]
    for result, wanted in zip(results, by_loops(x, weight, bias, dy, eps), strict=True):
        lib.assert_close(result, wanted)


def test_eps_of_numpys_float64_does_not_change_the_type(numpy_lib: Lib, rng: np.random.Generator) -> None:
    x, weight, bias, dy = draw(rng, (4, 2), "float32")
    y, cache = batchnorm_relu.forward_training(x, weight, bias, np.float64(1e-3))
    for result in (y, cache.mean, cache.var, *batchnorm_relu.backward_training(dy, cache)):
        assert result.dtype == np.float32


@given(st.integers(2, 5), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_any_shape(n: int, c: int, h: int, w: int, seed: int) -> None:
    x, weight, bias, dy = draw(np.random.default_rng(seed), (n, c, h, w))
    y, cache = batchnorm_relu.forward_training(x, weight, bias, 1e-2)
    results = [y, *batchnorm_relu.backward_training(dy, cache)]
    for result, wanted in zip(results, by_loops(x, weight, bias, dy, 1e-2), strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-10, atol=1e-11)


def test_at_zero_the_gradient_is_zero(lib: Lib) -> None:
    """The middle number is the mean, and with no bias comes out as 0 exactly."""
    x, dy = np.array([[-1.0], [0.0], [1.0]]), np.array([[3.0], [5.0], [7.0]])
    y, cache = batchnorm_relu.forward_training(lib.asarray(x), lib.asarray([2.0]), lib.asarray([0.0]), 0.0)
    lib.assert_close(y, [[0.0], [0.0], [np.sqrt(6.0)]])
    assert lib.to_numpy(y)[1, 0] == 0.0
    dx, dweight, dbias = batchnorm_relu.backward_training(lib.asarray(dy), cache)
    lib.assert_close(dbias, [7.0])
    lib.assert_close(dweight, [7.0 * np.sqrt(1.5)])
    assert np.isfinite(lib.to_numpy(dx)).all()


def test_a_large_mean_costs_no_digits(lib: Lib, rng: np.random.Generator) -> None:
    x, weight, bias, dy = draw(rng, (40, 2, 3, 3))
    x += 1e6
    y, cache = batchnorm_relu.forward_training(*map(lib.asarray, (x, weight, bias)))
    lib.assert_close(y, by_loops(x, weight, bias, dy)[0], rtol=1e-7, atol=1e-8)
    assert (lib.to_numpy(cache.var) > 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_statistics_are_those_of_the_batch(lib: Lib, rng: np.random.Generator, shape: Any) -> None:
    x, weight, bias, _ = draw(rng, shape)
    _, cache = batchnorm_relu.forward_training(*map(lib.asarray, (x, weight, bias)))
    mean, var = oracles.mean_and_variance(x)
    lib.assert_close(cache.mean, mean)
    lib.assert_close(cache.var, var)
    assert cache.m == x.size // shape[1]


@pytest.mark.parametrize("decay", [0.0, 0.9, 1.0])
def test_running_statistics_follow(lib: Lib, rng: np.random.Generator, decay: float) -> None:
    """By the unbiased variance, in place."""
    x, weight, bias, _ = draw(rng, (3, 2, 4, 5))
    _, cache = batchnorm_relu.forward_training(*map(lib.asarray, (x, weight, bias)))
    mean, var = oracles.mean_and_variance(x)
    old_mean, old_var = np.array([5.0, -3.0]), np.array([2.0, 7.0])
    running_mean, running_var = (lib.xp.asarray(lib.asarray(old), copy=True) for old in (old_mean, old_var))
    batchnorm.update_running(running_mean, running_var, cache, decay)
    lib.assert_close(running_mean, decay * old_mean + (1 - decay) * mean)
    lib.assert_close(running_var, decay * old_var + (1 - decay) * var * 60 / 59)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(5, 3), (3, 2, 4, 5)])
def test_any_memory_order(lib: Lib, rng: np.random.Generator, shape: Any, layout: str) -> None:
    x, weight, bias, dy = draw(rng, shape)
    lay = LAYOUTS[layout]
    y, cache = batchnorm_relu.forward_training(*(lay(lib, array) for array in (x, weight, bias)))
    results = [y, *batchnorm_relu.backward_training(lay(lib, dy), cache)]
    for result, wanted in zip(results, by_loops(x, weight, bias, dy), strict=True):
        lib.assert_close(result, wanted)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_a_single_value_per_channel_is_refused(lib: Lib, shape: Any) -> None:
    one = lib.asarray(np.ones(3))
    with pytest.raises(ValueError, match=message("batchnorm", got=f"x of shape {shape}", expected="at least 2")):
        batchnorm_relu.forward_training(lib.asarray(np.ones(shape)), one, one)


@pytest.mark.parametrize("shape", [(50_000, 3), (50_000, 3, 1, 1)])
def test_a_large_batch_costs_no_digits_in_any_memory_order(lib: Lib, rng: np.random.Generator, shape: Any) -> None:
    """Added up one by one in float32, fifty thousand numbers would lose a digit or two."""
    x = (rng.standard_normal(shape) + 1000).astype("float32")
    exact = x.astype("float64").reshape(-1, 3).mean(axis=0)
    one = np.ones(3, "float32")
    for images in (x, np.ascontiguousarray(x.T).T):
        _, cache = batchnorm_relu.forward_training(*map(lib.asarray, (images, one, one)))
        lib.assert_close(cache.mean, exact, rtol=5e-7)
