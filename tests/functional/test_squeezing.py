"""Tanh and the logistic function: each number for itself."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet import Workspace
from xlenet.functional import sigmoid, tanh

SHAPES = [(3, 2, 4, 5), (7, 3), (5,), (1, 1, 1, 1), (), (0, 3)]
VALUES = {
    tanh: lambda x: np.array([math.tanh(v) for v in x.ravel()]).reshape(x.shape),
    sigmoid: oracles.sigmoid,
}
SLOPES = {
    tanh: lambda x: np.array([1 / math.cosh(v) ** 2 for v in x.ravel()]).reshape(x.shape),
    sigmoid: lambda x: oracles.sigmoid(x) * oracles.sigmoid(-x),
}

each = pytest.mark.parametrize("module", [tanh, sigmoid], ids=["tanh", "sigmoid"])


@pytest.mark.parametrize("lent", [False, True], ids=["own memory", "lent memory"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@each
def test_forward_and_gradient_against_loops(
    lib: Lib, rng: np.random.Generator, module: Any, shape: Any, dtype: str, lent: bool
) -> None:
    x, dy = (np.asarray(rng.standard_normal(shape)).astype(dtype) for _ in range(2))
    work = Workspace() if lent else None
    rounding = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-14}
    y, cache = module.forward(lib.asarray(x), work=work)
    lib.assert_close(y, VALUES[module](x.astype(float)), dtype=dtype, **rounding)
    dx = module.backward(lib.asarray(dy), cache, work=work)
    lib.assert_close(dx, dy * SLOPES[module](x.astype(float)), dtype=dtype, **rounding)


@pytest.mark.parametrize("layout", LAYOUTS)
@each
def test_any_memory_order(lib: Lib, rng: np.random.Generator, module: Any, layout: str) -> None:
    x, dy = rng.standard_normal((3, 2, 4, 5)), rng.standard_normal((3, 2, 4, 5))
    y, cache = module.forward(LAYOUTS[layout](lib, x))
    lib.assert_close(y, VALUES[module](x))
    lib.assert_close(module.backward(LAYOUTS[layout](lib, dy), cache), dy * SLOPES[module](x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_numbers(lib: Lib, dtype: str) -> None:
    """No warning, no NaN, and the limits are reached."""
    x = lib.asarray([-np.inf, -1e30, -1000.0, 1000.0, 1e30, np.inf], dtype)
    dy = lib.asarray(np.ones(6), dtype)
    for module, low in ((tanh, -1.0), (sigmoid, 0.0)):
        y, cache = module.forward(x)
        lib.assert_equal(y, [low] * 3 + [1.0] * 3, dtype=dtype)
        lib.assert_equal(module.backward(dy, cache), np.zeros(6), dtype=dtype)


@pytest.mark.parametrize(("dtype", "lowest", "rtol"), [("float32", -80.0, 2e-6), ("float64", -700.0, 1e-13)])
def test_small_results_of_sigmoid_keep_their_digits(lib: Lib, dtype: str, lowest: float, rtol: float) -> None:
    x = np.linspace(lowest, -1.0, 200).astype(dtype)
    y, _ = sigmoid.forward(lib.asarray(x))
    lib.assert_close(y, [1 / (1 + math.exp(-float(v))) for v in x], rtol=rtol, atol=0)


@each
def test_a_nan_stays_one(lib: Lib, module: ModuleType) -> None:
    y, _ = module.forward(lib.asarray([np.nan, 0.0]))
    assert list(np.isnan(lib.to_numpy(y))) == [True, False]
