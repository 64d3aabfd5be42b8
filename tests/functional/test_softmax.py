"""Softmax and its logarithm: along any axis, without overflow, and with the scores of a line pulling on each other."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.functional.messages import message
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet.functional import log_softmax, softmax

TOLERANCE = {"float32": {"rtol": 1e-5, "atol": 1e-6}, "float64": {"rtol": 1e-12, "atol": 1e-13}}
SHAPES = [((7,), 0), ((3, 4), -1), ((3, 4), 0), ((2, 3, 4), 1), ((2, 5, 3, 4), -3), ((2, 1, 3), 1), ((1, 1), 0)]
ORACLES = {
    "softmax": (oracles.softmax, oracles.softmax_gradient),
    "log_softmax": (oracles.log_softmax, oracles.log_softmax_gradient),
}

each_operation = pytest.mark.parametrize("operation", [softmax, log_softmax], ids=list(ORACLES))


def name_of(operation: ModuleType) -> str:
    return operation.__name__.rpartition(".")[2]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@each_operation
def test_forward_and_gradient_against_loops(
    lib: Lib, rng: np.random.Generator, operation: ModuleType, shape: Any, axis: int, dtype: str
) -> None:
    x, dy = (3 * rng.standard_normal(shape).astype(dtype) for _ in range(2))
    there, back = ORACLES[name_of(operation)]
    y, cache = operation.forward(lib.asarray(x), axis)
    lib.assert_close(y, there(x, axis), dtype=dtype, **TOLERANCE[dtype])
    lib.assert_close(operation.backward(lib.asarray(dy), cache), back(x, dy, axis), dtype=dtype, **TOLERANCE[dtype])


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@each_operation
def test_as_pytorch_has_it(
    lib: Lib,
    torch: ModuleType,
    rng: np.random.Generator,
    operation: ModuleType,
    shape: Any,
    axis: int,
    scale: float,
) -> None:
    x, dy = scale * rng.standard_normal(shape), rng.standard_normal(shape)
    tensor = torch.tensor(x, requires_grad=True)
    theirs = getattr(torch.nn.functional, name_of(operation))(tensor, dim=axis)
    theirs.backward(torch.tensor(dy))
    y, cache = operation.forward(lib.asarray(x), axis)
    lib.assert_close(y, theirs.detach().numpy(), rtol=1e-12, atol=1e-13)
    lib.assert_close(operation.backward(lib.asarray(dy), cache), tensor.grad.numpy(), rtol=1e-9, atol=1e-12)


@each_operation
def test_the_last_axis_is_the_default(lib: Lib, rng: np.random.Generator, operation: ModuleType) -> None:
    x = lib.asarray(rng.standard_normal((2, 3, 4)))
    lib.assert_equal(operation.forward(x)[0], lib.to_numpy(operation.forward(x, axis=2)[0]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_scores_overflow_nowhere(lib: Lib, dtype: str) -> None:
    x = lib.asarray([[1e4, 0.0, -1e4], [-1e30, -1e30, -1e30]], dtype)
    lib.assert_close(softmax.forward(x)[0], [[1, 0, 0], [1 / 3] * 3], rtol=1e-6)
    third = -np.log(3.0)
    lib.assert_close(log_softmax.forward(x)[0], [[0, -1e4, -2e4], [third] * 3], rtol=1e-6)


def test_a_class_ruled_out_by_minus_infinity_takes_no_part(lib: Lib) -> None:
    x, dy = lib.asarray([[0.0, 0.0, -np.inf]]), lib.asarray([[1.0, 0.0, 5.0]])
    y, cache = softmax.forward(x)
    lib.assert_close(y, [[0.5, 0.5, 0.0]])
    lib.assert_close(softmax.backward(dy, cache), [[0.25, -0.25, 0.0]])
    y, cache = log_softmax.forward(x)
    lib.assert_close(y, [[-np.log(2.0), -np.log(2.0), -np.inf]])
    lib.assert_close(log_softmax.backward(lib.asarray([[1.0, 0.0, 0.0]]), cache), [[0.5, -0.5, 0.0]])


def test_little_probability_is_not_rounded_off(lib: Lib) -> None:
    """log(softmax) would take the logarithm of 0."""
    y, _ = log_softmax.forward(lib.asarray([[0.0, -200.0]], "float32"))
    lib.assert_close(y, [[0.0, -200.0]])


@pytest.mark.parametrize("layout", LAYOUTS)
@each_operation
def test_any_memory_order(lib: Lib, rng: np.random.Generator, operation: ModuleType, layout: str) -> None:
    x, dy = rng.standard_normal((3, 4, 2, 5)), rng.standard_normal((3, 4, 2, 5))
    there, back = ORACLES[name_of(operation)]
    y, cache = operation.forward(LAYOUTS[layout](lib, x), 1)
    lib.assert_close(y, there(x, 1))
    lib.assert_close(operation.backward(LAYOUTS[layout](lib, dy), cache), back(x, dy, 1))


@pytest.mark.parametrize("axis", [2, -3, 100])
@each_operation
def test_an_axis_that_is_not_there_is_refused(lib: Lib, operation: ModuleType, axis: int) -> None:
    refused = message(name_of(operation), got=f"axis {axis} for x of shape (2, 3)", expected="-2 to 1")
    with pytest.raises(ValueError, match=refused):
        operation.forward(lib.asarray(np.zeros((2, 3))), axis)


@pytest.mark.parametrize("axis", [None, 1.0, "1", (0, 1), True])
@each_operation
def test_an_axis_that_is_no_whole_number_is_refused(lib: Lib, operation: ModuleType, axis: Any) -> None:
    with pytest.raises(TypeError, match=message(name_of(operation), got=f"axis {axis!r}", expected="a whole number")):
        operation.forward(lib.asarray(np.zeros((2, 3))), axis)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (2, 3, 0)])
@each_operation
def test_no_numbers_are_refused(lib: Lib, operation: ModuleType, shape: Any) -> None:
    """A single number has no axis, and of nothing there is no largest."""
    with pytest.raises(ValueError, match=message(name_of(operation), got=f"x of shape {shape}", expected="(N)")):
        operation.forward(lib.asarray(np.zeros(shape)))
