"""The fully connected operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.functional.messages import message
from tests.gradcheck import check_gradients
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet.functional import linear

SIZES = [(5, 3, 4), (1, 3, 4), (4, 1, 3), (4, 3, 1), (1, 1, 1), (7, 120, 84)]  # n, in, out
TOLERANCE = {"float32": {"rtol": 1e-4, "atol": 1e-5}, "float64": {"rtol": 1e-11, "atol": 1e-12}}


def draw(rng: np.random.Generator, size: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    """x, weight, bias, dy."""
    n, i, o = size
    return tuple(rng.standard_normal(shape) for shape in [(n, i), (o, i), (o,), (n, o)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_forward_and_gradients_against_loops(lib: Lib, rng: np.random.Generator, size: Any, dtype: str) -> None:
    x, weight, bias, dy = (a.astype(dtype).astype(np.float64) for a in draw(rng, size))
    y, cache = linear.forward(*(lib.asarray(a, dtype) for a in (x, weight, bias)))
    lib.assert_close(y, oracles.linear(x, weight, bias), dtype=dtype, **TOLERANCE[dtype])
    gradients = linear.backward(lib.asarray(dy, dtype), cache)
    for actual, wanted in zip(gradients, oracles.linear_gradients(x, weight, dy), strict=True):
        lib.assert_close(actual, wanted, dtype=dtype, **TOLERANCE[dtype])


@pytest.mark.parametrize("with_bias", [True, False])
def test_gradient_by_random_projection(lib: Lib, rng: np.random.Generator, with_bias: bool) -> None:
    x, weight, bias, _ = draw(rng, (5, 3, 4))
    inputs = {"x": x, "weight": weight} | ({"bias": bias} if with_bias else {})
    check_gradients(
        lib,
        "linear",
        linear.forward,
        lambda dy, cache: dict(zip(inputs, linear.backward(dy, cache), strict=False)),
        inputs,
        rng,
    )


def test_without_bias(lib: Lib, rng: np.random.Generator) -> None:
    x, weight, _, _ = draw(rng, (5, 3, 4))
    lib.assert_close(linear.forward(lib.asarray(x), lib.asarray(weight))[0], oracles.linear(x, weight, None))


def test_dweight_and_dbias_are_not_divided_by_the_batch(lib: Lib) -> None:
    """A batch of three equal rows: three times the gradient of one."""
    _, cache = linear.forward(*(lib.asarray(a) for a in (np.full((3, 2), 5.0), np.ones((1, 2)), np.zeros(1))))
    _, dweight, dbias = linear.backward(lib.asarray(np.ones((3, 1))), cache)
    lib.assert_equal(dweight, [[15, 15]])
    lib.assert_equal(dbias, [3])


@pytest.mark.parametrize("need_dx", [True, False])
@pytest.mark.parametrize("need_dweight", [True, False])
@pytest.mark.parametrize("with_bias", [True, False])
def test_only_the_gradients_asked_for(
    lib: Lib, rng: np.random.Generator, need_dx: bool, need_dweight: bool, with_bias: bool
) -> None:
    x, weight, bias, dy = draw(rng, (5, 3, 4))
    _, cache = linear.forward(lib.asarray(x), lib.asarray(weight), lib.asarray(bias) if with_bias else None)
    gradients = linear.backward(lib.asarray(dy), cache, need_dx=need_dx, need_dweight=need_dweight)
    assert [g is not None for g in gradients] == [need_dx, need_dweight, need_dweight and with_bias]
    for actual, wanted in zip(gradients, oracles.linear_gradients(x, weight, dy), strict=True):
        if actual is not None:
            lib.assert_close(actual, wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_order(lib: Lib, rng: np.random.Generator, layout: str) -> None:
    lay = LAYOUTS[layout]
    x, weight, bias, dy = draw(rng, (5, 3, 4))
    y, cache = linear.forward(*(lay(lib, a) for a in (x, weight, bias)))
    lib.assert_close(y, oracles.linear(x, weight, bias))
    for actual, wanted in zip(
        linear.backward(lay(lib, dy), cache), oracles.linear_gradients(x, weight, dy), strict=True
    ):
        lib.assert_close(actual, wanted)


# ==== errors ====


def call(lib: Lib, x: Any = (2, 3), weight: Any = (4, 3), bias: Any = (4,)) -> Any:
    return linear.forward(*(lib.asarray(np.zeros(shape)) for shape in (x, weight, bias)))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 1), (2, 3, 1, 1)])
def test_x_of_another_rank_is_refused(lib: Lib, shape: Any) -> None:
    with pytest.raises(ValueError, match=message("linear", got=f"x of shape {shape}", expected="(N, ")):
        call(lib, x=shape)


@pytest.mark.parametrize("shape", [(3,), (4, 3, 1), (4, 2), (3, 4)])
def test_a_weight_that_does_not_fit_is_refused(lib: Lib, shape: Any) -> None:
    with pytest.raises(ValueError, match=message("linear", got=f"weight of shape {shape}", expected="(OUT, 3)")):
        call(lib, weight=shape)


@pytest.mark.parametrize("shape", [(3,), (5,), (1,), (1, 4), ()])
def test_a_bias_of_another_shape_is_refused(lib: Lib, shape: Any) -> None:
    with pytest.raises(ValueError, match=message("linear", got=f"bias of shape {shape}", expected="(4,)")):
        call(lib, bias=shape)


@pytest.mark.parametrize("shape", [(2, 3), (1, 4), (2, 4, 1), (8,)])
def test_a_dy_of_another_shape_is_refused(lib: Lib, shape: Any) -> None:
    with pytest.raises(ValueError, match=message("linear", got=f"dy of shape {shape}", expected="(2, 4)")):
        linear.backward(lib.asarray(np.zeros(shape)), call(lib)[1])
