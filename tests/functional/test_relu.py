"""The rectified linear unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.functional.messages import message
from tests.gradcheck import check_gradients
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet.functional import relu

SHAPES = [(3, 2, 4, 5), (7, 3), (5,), (1, 1, 1, 1), (), (0, 3)]


def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Of either sign, and at least 0.1 away from the kink."""
    values = rng.standard_normal(shape)
    return np.asarray(values + 0.1 * np.sign(values))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_and_gradient_against_loops(lib: Lib, rng: np.random.Generator, shape: Any, dtype: str) -> None:
    x, dy = draw(rng, shape).astype(dtype), np.asarray(rng.standard_normal(shape)).astype(dtype)
    expected = np.array([v if v > 0 else 0 for v in x.ravel()], dtype).reshape(shape)
    wanted = np.array([g if v > 0 else 0 for v, g in zip(x.ravel(), dy.ravel(), strict=True)], dtype).reshape(shape)
    y, cache = relu.forward(lib.asarray(x))
    lib.assert_equal(y, expected, dtype=dtype)
    lib.assert_equal(relu.backward(lib.asarray(dy), cache), wanted, dtype=dtype)


def test_gradient_by_random_projection(lib: Lib, rng: np.random.Generator) -> None:
    inputs = {"x": draw(rng, (3, 2, 4, 5))}
    check_gradients(lib, "relu", relu.forward, lambda dy, cache: {"x": relu.backward(dy, cache)}, inputs, rng)


def test_at_zero_the_gradient_is_zero(lib: Lib) -> None:
    y, cache = relu.forward(lib.asarray([-1.0, -0.0, 0.0, 1e-300, 2.0]))
    lib.assert_equal(y, [0, 0, 0, 1e-300, 2])
    lib.assert_equal(relu.backward(lib.asarray([3.0, 4.0, 5.0, 6.0, 7.0]), cache), [0, 0, 0, 6, 7])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_order(lib: Lib, rng: np.random.Generator, layout: str) -> None:
    x, dy = draw(rng, (3, 2, 4, 5)), rng.standard_normal((3, 2, 4, 5))
    y, cache = relu.forward(LAYOUTS[layout](lib, x))
    lib.assert_equal(y, np.where(x > 0, x, 0))
    lib.assert_equal(relu.backward(LAYOUTS[layout](lib, dy), cache), np.where(x > 0, dy, 0))


def test_a_dy_in_another_memory_order_than_x(lib: Lib, rng: np.random.Generator) -> None:
    x, dy = draw(rng, (3, 2, 4, 5)), rng.standard_normal((3, 2, 4, 5))
    _, cache = relu.forward(LAYOUTS["batch_last"](lib, x))
    lib.assert_equal(relu.backward(lib.asarray(dy), cache), np.where(x > 0, dy, 0))


@pytest.mark.parametrize("shape", [(2, 4), (1, 3), (3,), (6,), (2, 3, 1)])
def test_a_dy_of_another_shape_is_refused(lib: Lib, shape: Any) -> None:
    _, cache = relu.forward(lib.asarray(np.ones((2, 3))))
    with pytest.raises(ValueError, match=message("relu", got=f"dy of shape {shape}", expected="(2, 3)")):
        relu.backward(lib.asarray(np.ones(shape)), cache)
