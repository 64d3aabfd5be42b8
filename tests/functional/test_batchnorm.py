"""Batch normalisation: training and evaluation, each with its own backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.functional.messages import message
from tests.gradcheck import check_gradients
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet.functional import batchnorm

SHAPES = [(4, 3, 5, 6), (1, 2, 3, 5), (7, 4), (2, 1), (3, 1, 1, 1), (2, 5, 1, 3), (5, 6, 14, 14)]
EPS = 0.3  # large enough to be seen: beside a variance near 1, 1e-5 would hide where it is added
TOLERANCE = {"float32": {"rtol": 2e-4, "atol": 2e-5}, "float64": {"rtol": 1e-10, "atol": 1e-11}}


def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Channels of different means and spreads; a gamma of either sign."""
    c = shape[1]
    across = (1, c, *([1] * (len(shape) - 2)))
    offset, spread = rng.normal(0, 2, across), rng.uniform(0.5, 2, across)
    return {
        "x": offset + spread * rng.standard_normal(shape),
        "weight": rng.normal(0, 1.5, c),
        "bias": rng.standard_normal(c),
        "running_mean": rng.standard_normal(c),
        "running_var": rng.uniform(0.2, 3, c),
    }


def training(lib: Lib, arrays: dict[str, np.ndarray], eps: float = EPS) -> tuple[Any, Any]:
    return batchnorm.forward_training(*(lib.asarray(arrays[name]) for name in ("x", "weight", "bias")), eps)


def evaluation(lib: Lib, arrays: dict[str, np.ndarray], eps: float = EPS) -> tuple[Any, Any]:
    return batchnorm.forward_evaluation(*(lib.asarray(array) for array in arrays.values()), eps)


# ==== against loops ====


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_training_against_loops(lib: Lib, rng: np.random.Generator, shape: Any, dtype: str) -> None:
    a = {name: array.astype(dtype) for name, array in draw(rng, shape).items()}
    dy = rng.standard_normal(shape).astype(dtype)
    mean, var = oracles.mean_and_variance(a["x"])
    y, cache = training(lib, a)
    expected = oracles.batchnorm(a["x"].astype(np.float64), a["weight"], a["bias"], mean, var, EPS)
    lib.assert_close(y, expected, dtype=dtype, **TOLERANCE[dtype])
    gradients = batchnorm.backward_training(lib.asarray(dy), cache)
    wanted = oracles.batchnorm_training_gradients(a["x"].astype(np.float64), a["weight"], dy, EPS)
    for actual, value in zip(gradients, wanted, strict=True):
        lib.assert_close(actual, value, dtype=dtype, **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 3), (1, 2, 1, 1)])
def test_evaluation_against_loops(lib: Lib, rng: np.random.Generator, shape: Any, dtype: str) -> None:
    a = {name: array.astype(dtype) for name, array in draw(rng, shape).items()}
    dy = rng.standard_normal(shape).astype(dtype)
    y, cache = evaluation(lib, a)
    lib.assert_close(y, oracles.batchnorm(*a.values(), EPS), dtype=dtype, **TOLERANCE[dtype])
    gradients = batchnorm.backward_evaluation(lib.asarray(dy), cache)
    wanted = oracles.batchnorm_evaluation_gradients(a["x"], a["weight"], dy, a["running_mean"], a["running_var"], EPS)
    for actual, value in zip(gradients, wanted, strict=True):
        lib.assert_close(actual, value, dtype=dtype, **TOLERANCE[dtype])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_cache_tells_the_layer_what_it_saw(lib: Lib, rng: np.random.Generator, shape: Any) -> None:
    """mean, the variance divided by n (the layer makes it unbiased), and n itself, N * H * W."""
    a = draw(rng, shape)
    _, cache = training(lib, a)
    mean, var = oracles.mean_and_variance(a["x"])
    lib.assert_close(cache.mean, mean, dtype="float64")
    lib.assert_close(cache.var, var, dtype="float64")
    assert cache.m == a["x"].size // shape[1]


# ==== against differences ====


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (6, 3)])
@pytest.mark.parametrize("eps", [1e-5, EPS])
def test_training_gradient_by_random_projection(lib: Lib, rng: np.random.Generator, shape: Any, eps: float) -> None:
    a = draw(rng, shape)
    inputs = {name: a[name] for name in ("x", "weight", "bias")}
    check_gradients(
        lib,
        f"batchnorm in training, {shape}",
        lambda x, weight, bias: batchnorm.forward_training(x, weight, bias, eps),
        lambda dy, cache: dict(zip(inputs, batchnorm.backward_training(dy, cache), strict=True)),
        inputs,
        rng,
    )


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (6, 3)])
def test_evaluation_gradient_by_random_projection(lib: Lib, rng: np.random.Generator, shape: Any) -> None:
    inputs = draw(rng, shape)
    check_gradients(
        lib,
        f"batchnorm in evaluation, {shape}",
        lambda *arrays: batchnorm.forward_evaluation(*arrays, EPS),
        lambda dy, cache: dict(zip(inputs, batchnorm.backward_evaluation(dy, cache), strict=False)),
        inputs,
        rng,
    )


# ==== where peers went wrong ====


def test_evaluation_has_a_backward_of_its_own(lib: Lib, rng: np.random.Generator) -> None:
    """With constant statistics a uniform gradient stays one; the training formula would make it zero."""
    a = draw(rng, (4, 3, 2, 2))
    _, cache = evaluation(lib, a)
    dx, _, _ = batchnorm.backward_evaluation(lib.asarray(np.ones((4, 3, 2, 2))), cache)
    slope = a["weight"] / np.sqrt(a["running_var"] + EPS)
    lib.assert_close(dx, np.broadcast_to(slope.reshape(1, 3, 1, 1), (4, 3, 2, 2)))


def test_in_training_a_uniform_gradient_moves_nothing(lib: Lib, rng: np.random.Generator) -> None:
    _, cache = training(lib, draw(rng, (4, 3, 2, 2)))
    dx, _, dbias = batchnorm.backward_training(lib.asarray(np.ones((4, 3, 2, 2))), cache)
    lib.assert_close(dx, np.zeros((4, 3, 2, 2)))
    lib.assert_equal(dbias, [16, 16, 16])


def test_evaluation_treats_each_image_alone(lib: Lib, rng: np.random.Generator) -> None:
    a = draw(rng, (4, 3, 2, 2))
    together = lib.to_numpy(evaluation(lib, a)[0])
    for n in range(4):
        alone, _ = evaluation(lib, a | {"x": a["x"][n : n + 1]})
        lib.assert_close(alone, together[n : n + 1], rtol=1e-14)


def test_eps_is_inside_the_square_root(lib: Lib) -> None:
    """x = -1, 1 has variance 1: with eps = 3 the divisor is 2, not 1 + 3."""
    x = np.array([[-1.0], [1.0]])
    y, _ = batchnorm.forward_training(lib.asarray(x), lib.asarray([1.0]), lib.asarray([0.0]), 3.0)
    lib.assert_close(y, x / 2)
    y, _ = batchnorm.forward_evaluation(lib.asarray(x), *(lib.asarray([v]) for v in (1.0, 0.0, 0.0, 1.0)), 3.0)
    lib.assert_close(y, x / 2)


def test_a_constant_channel_comes_out_as_beta(lib: Lib) -> None:
    """Variance 0: eps alone keeps it finite."""
    x, weight, bias = np.full((3, 2, 2, 2), 7.0), np.array([2.0, -3.0]), np.array([0.5, -0.25])
    y, cache = batchnorm.forward_training(lib.asarray(x), lib.asarray(weight), lib.asarray(bias))
    lib.assert_equal(y, np.broadcast_to(bias.reshape(1, 2, 1, 1), x.shape))
    lib.assert_equal(cache.var, [0, 0])


@pytest.mark.parametrize("shape", [(64, 2, 8, 8), (65536, 2), (65536, 2, 1, 1)])
def test_the_variance_takes_two_passes(lib: Lib, rng: np.random.Generator, shape: Any) -> None:
    """Mean 1e4 and spread 1 in float32: E[x^2] - E[x]^2 has no correct digit left."""
    x = (1e4 + rng.standard_normal(shape)).astype(np.float32)
    a = {"x": x, "weight": np.ones(2, np.float32), "bias": np.zeros(2, np.float32)}
    y, cache = training(lib, a, 1e-5)
    mean, var = oracles.mean_and_variance(x)
    lib.assert_close(cache.var, var, rtol=1e-4, dtype="float32")
    expected = oracles.batchnorm(x.astype(np.float64), a["weight"], a["bias"], mean, var, 1e-5)
    lib.assert_close(y, expected, rtol=0, atol=1e-2)  # neighbours at 1e4 are 1e-3 apart: ten of them


def test_a_negative_gamma_turns_the_order_round(lib: Lib) -> None:
    y, _ = batchnorm.forward_training(lib.asarray([[1.0], [3.0]]), lib.asarray([-2.0]), lib.asarray([1.0]), 0.0)
    lib.assert_close(y, [[3.0], [-1.0]])


def test_statistics_run_over_the_batch_and_the_pixels_of_a_channel(lib: Lib, rng: np.random.Generator) -> None:
    a = draw(rng, (5, 3, 4, 2))
    y = lib.to_numpy(training(lib, a | {"weight": np.ones(3), "bias": np.zeros(3)}, 0.0)[0])
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=(0, 2, 3)), 1, rtol=1e-12)


def test_eps_is_1e_minus_5_unless_told_otherwise(lib: Lib, rng: np.random.Generator) -> None:
    a = {name: lib.asarray(array) for name, array in (draw(rng, (3, 2)) | {"x": 1e-3 * draw(rng, (3, 2))["x"]}).items()}
    three = [a["x"], a["weight"], a["bias"]]
    lib.assert_equal(batchnorm.forward_training(*three)[0], lib.to_numpy(batchnorm.forward_training(*three, 1e-5)[0]))
    a["running_var"] = lib.asarray([1e-5, 1e-6])
    lib.assert_equal(
        batchnorm.forward_evaluation(*a.values())[0], lib.to_numpy(batchnorm.forward_evaluation(*a.values(), 1e-5)[0])
    )


@pytest.mark.parametrize("mode", [training, evaluation])
def test_a_numpy_scalar_as_eps_does_not_change_the_type(lib: Lib, rng: np.random.Generator, mode: Any) -> None:
    """numpy.float64 promotes float32 arrays where a Python float does not."""
    a = {name: array.astype(np.float32) for name, array in draw(rng, (4, 3)).items()}
    y, cache = mode(lib, a, np.float64(EPS))
    lib.assert_equal(y, lib.to_numpy(mode(lib, a)[0]), dtype="float32")
    assert lib.dtype_name(cache.inv_std) == "float32"


# ==== what is not asked for, and memory ====


@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_dx_only_where_it_is_asked_for(lib: Lib, rng: np.random.Generator, mode: str) -> None:
    a, dy = draw(rng, (3, 2, 4, 5)), lib.asarray(rng.standard_normal((3, 2, 4, 5)))
    forward = {"training": training, "evaluation": evaluation}[mode]
    backward = getattr(batchnorm, f"backward_{mode}")
    _, dweight, dbias = backward(dy, forward(lib, a)[1])
    none, same_dweight, same_dbias = backward(dy, forward(lib, a)[1], need_dx=False)
    assert none is None
    lib.assert_equal(same_dweight, lib.to_numpy(dweight))
    lib.assert_equal(same_dbias, lib.to_numpy(dbias))


@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (7, 4)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_order(lib: Lib, rng: np.random.Generator, layout: str, shape: tuple[int, ...]) -> None:
    a, dy, lay = draw(rng, shape), rng.standard_normal(shape), LAYOUTS[layout]
    mean, var = oracles.mean_and_variance(a["x"])
    small = [lib.asarray(a[name]) for name in ("weight", "bias", "running_mean", "running_var")]

    y, cache = batchnorm.forward_training(lay(lib, a["x"]), *small[:2], EPS)
    lib.assert_close(y, oracles.batchnorm(a["x"], a["weight"], a["bias"], mean, var, EPS))
    wanted = oracles.batchnorm_training_gradients(a["x"], a["weight"], dy, EPS)
    for actual, value in zip(batchnorm.backward_training(lay(lib, dy), cache), wanted, strict=True):
        lib.assert_close(actual, value)

    y, cache = batchnorm.forward_evaluation(lay(lib, a["x"]), *small, EPS)
    lib.assert_close(y, oracles.batchnorm(*a.values(), EPS))
    wanted = oracles.batchnorm_evaluation_gradients(a["x"], a["weight"], dy, a["running_mean"], a["running_var"], EPS)
    for actual, value in zip(batchnorm.backward_evaluation(lay(lib, dy), cache), wanted, strict=True):
        lib.assert_close(actual, value)


# ==== errors ====


@pytest.mark.parametrize("mode", [training, evaluation])
@pytest.mark.parametrize("shape", [(4, 3, 5), (1, 4, 3, 5, 6)])
def test_x_of_another_rank_is_refused(lib: Lib, rng: np.random.Generator, mode: Any, shape: Any) -> None:
    with pytest.raises(ValueError, match=message("batchnorm", got=f"x of shape {shape}", expected="(N, C, H, W)")):
        mode(lib, draw(rng, (4, 3, 5, 6)) | {"x": np.zeros(shape)})


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_one_value_per_channel_is_refused_in_training(lib: Lib, rng: np.random.Generator, shape: Any) -> None:
    """Its variance is 0 whatever the value: the result would be beta and the gradient nothing."""
    with pytest.raises(ValueError, match=message("batchnorm", got=f"{shape}", expected="at least 2")):
        training(lib, draw(rng, shape))


@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
@pytest.mark.parametrize("wrong", [(2,), (4,), (1,), (3, 1), (1, 3, 1, 1), ()])
def test_parameters_of_another_shape_are_refused(lib: Lib, rng: np.random.Generator, name: str, wrong: Any) -> None:
    a = draw(rng, (4, 3, 5, 6)) | {name: np.ones(wrong)}
    with pytest.raises(ValueError, match=message("batchnorm", got=f"{name} of shape {wrong}", expected="(3,)")):
        evaluation(lib, a)
    if name in ("weight", "bias"):
        with pytest.raises(ValueError, match=message("batchnorm", got=f"{name} of shape {wrong}", expected="(3,)")):
            training(lib, a)


@pytest.mark.parametrize("mode", [training, evaluation])
@pytest.mark.parametrize("eps", [-1e-5, float("nan")])
def test_an_eps_below_zero_is_refused(lib: Lib, rng: np.random.Generator, mode: Any, eps: float) -> None:
    with pytest.raises(ValueError, match=message("batchnorm", got="eps", expected="from 0 up")):
        mode(lib, draw(rng, (4, 3)), eps)


@pytest.mark.parametrize("shape", [(4, 3, 5, 5), (1, 3, 5, 6), (4, 3, 30), (4, 3)])
def test_a_dy_of_another_shape_is_refused(lib: Lib, rng: np.random.Generator, shape: Any) -> None:
    a, dy = draw(rng, (4, 3, 5, 6)), lib.asarray(np.zeros(shape))
    refused = message("batchnorm", got=f"dy of shape {shape}", expected="(4, 3, 5, 6)")
    with pytest.raises(ValueError, match=refused):
        batchnorm.backward_training(dy, training(lib, a)[1])
    with pytest.raises(ValueError, match=refused):
        batchnorm.backward_evaluation(dy, evaluation(lib, a)[1])
