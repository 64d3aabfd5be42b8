"""Softmax and cross-entropy in one: stable, and averaged over the batch once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.functional.messages import message
from tests.gradcheck import check_gradients
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet.backend.seam import kernels_on
from xlenet.functional import softmax_cross_entropy

SHAPES = [(6, 10), (1, 10), (5, 1), (1, 1), (4, 2), (3, 300)]
TOLERANCE = {"float32": {"rtol": 1e-5, "atol": 1e-6}, "float64": {"rtol": 1e-12, "atol": 1e-13}}
OPERATION = "softmax_cross_entropy"


def draw(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return 3 * rng.standard_normal(shape), rng.integers(0, shape[1], shape[0])


def loss_of(lib: Lib, logits: Any, labels: Any, **options: Any) -> tuple[Any, Any]:
    return softmax_cross_entropy.forward(lib.asarray(logits), lib.asarray(labels), **options)


# ==== against loops and differences ====


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradient_against_loops(lib: Lib, rng: np.random.Generator, shape: Any, dtype: str) -> None:
    logits, labels = draw(rng, shape)
    logits = logits.astype(dtype)
    loss, cache = loss_of(lib, logits, labels)
    expected = oracles.softmax_cross_entropy(logits, labels)
    lib.assert_close(loss, expected, dtype=dtype, **TOLERANCE[dtype])
    dlogits = softmax_cross_entropy.backward(1.0, cache)
    wanted = oracles.softmax_cross_entropy_gradient(logits, labels)
    lib.assert_close(dlogits, wanted, dtype=dtype, **TOLERANCE[dtype])


def test_gradient_by_random_projection(lib: Lib, rng: np.random.Generator) -> None:
    logits, labels = draw(rng, (6, 10))
    check_gradients(
        lib,
        OPERATION,
        lambda z: softmax_cross_entropy.forward(z, lib.asarray(labels)),
        lambda dloss, cache: {"logits": softmax_cross_entropy.backward(dloss, cache)},
        {"logits": logits},
        rng,
    )


# ==== where peers went wrong ====


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_large_logits_give_a_finite_loss(lib: Lib, dtype: str, size: float) -> None:
    """Wrong by 1e4: the loss is 1e4, where a softmax of its own gives exp(1e4) and log(0)."""
    logits = np.array([[size, 0.0, -size], [size, 0.0, -size]]).astype(dtype)
    loss, cache = loss_of(lib, logits, [1, 0])
    lib.assert_close(loss, float(logits[0, 0]) / 2, rtol=1e-6, dtype=dtype)
    lib.assert_close(softmax_cross_entropy.backward(1.0, cache), [[0.5, -0.5, 0], [0, 0, 0]], atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_confident_right_answer_still_has_a_gradient(lib: Lib, dtype: str) -> None:
    """Fused log-sum-exp: log(softmax) would have rounded the rest of 1e-6 away from the loss as well."""
    loss, _ = loss_of(lib, np.array([[0.0, -30.0]], dtype), [1])
    lib.assert_close(loss, 30.0, rtol=1e-6, dtype=dtype)
    loss, cache = loss_of(lib, np.array([[0.0, -12.0]], dtype), [0])
    lib.assert_close(loss, math.log1p(math.exp(-12.0)), rtol=1e-7 if dtype == "float64" else 0.05)
    right = lib.to_numpy(softmax_cross_entropy.backward(1.0, cache))
    np.testing.assert_allclose(right, [[-6.144e-6, 6.144e-6]], rtol=0.02)


def test_a_shift_of_all_logits_changes_nothing(lib: Lib, rng: np.random.Generator) -> None:
    logits, labels = draw(rng, (6, 10))
    expected = lib.to_numpy(loss_of(lib, logits, labels)[0])
    lib.assert_close(loss_of(lib, logits + 1000.0, labels)[0], expected, rtol=1e-11)


def test_a_class_ruled_out_by_minus_infinity_takes_no_part(lib: Lib) -> None:
    loss, cache = loss_of(lib, [[0.0, 0.0, -np.inf]], [1])
    lib.assert_close(loss, math.log(2.0))
    lib.assert_close(softmax_cross_entropy.backward(1.0, cache), [[0.5, -0.5, 0.0]])


def test_equal_logits_lose_log_k(lib: Lib) -> None:
    lib.assert_close(loss_of(lib, np.full((4, 10), 7.0), [0, 3, 9, 9])[0], math.log(10.0))


def test_the_batch_is_divided_by_here_and_once(lib: Lib, rng: np.random.Generator) -> None:
    """The same rows twice: the same mean loss, and each row's gradient is halved."""
    logits, labels = draw(rng, (3, 4))
    once, cache = loss_of(lib, logits, labels)
    twice, double = loss_of(lib, np.tile(logits, (2, 1)), np.tile(labels, 2))
    lib.assert_close(twice, lib.to_numpy(once))
    first = lib.to_numpy(softmax_cross_entropy.backward(1.0, cache))
    lib.assert_close(softmax_cross_entropy.backward(1.0, double), np.tile(first, (2, 1)) / 2)


def test_each_row_of_the_gradient_sums_to_zero(lib: Lib, rng: np.random.Generator) -> None:
    _, cache = loss_of(lib, *draw(rng, (6, 10)))
    dlogits = lib.to_numpy(softmax_cross_entropy.backward(1.0, cache))
    np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=1e-16)


# ==== what comes after the loss ====


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dloss_scales_the_gradient(lib: Lib, rng: np.random.Generator, dtype: str) -> None:
    logits, labels = draw(rng, (6, 10))
    _, cache = loss_of(lib, logits.astype(dtype), labels)
    whole = lib.to_numpy(softmax_cross_entropy.backward(1.0, cache))
    for dloss in (-2.5, lib.asarray(-2.5, dtype)):
        dlogits = softmax_cross_entropy.backward(dloss, cache)
        lib.assert_close(dlogits, -2.5 * whole, rtol=1e-6, atol=1e-8, dtype=dtype)


def test_a_numpy_scalar_as_dloss_does_not_change_the_type(numpy_lib: Lib, rng: np.random.Generator) -> None:
    """numpy.float64 promotes float32 arrays where a Python float does not."""
    logits, labels = draw(rng, (6, 10))
    _, cache = softmax_cross_entropy.forward(logits.astype(np.float32), labels)
    for dloss in (np.float64(0.5), np.array(0.5)):
        dlogits = softmax_cross_entropy.backward(dloss, cache)
        numpy_lib.assert_close(dlogits, softmax_cross_entropy.backward(0.5, cache), rtol=1e-6, dtype="float32")


@pytest.mark.parametrize("shape", [(3,), (6,), (6, 1), (6, 3)])
def test_a_dloss_that_is_not_one_number_is_refused(lib: Lib, rng: np.random.Generator, shape: Any) -> None:
    """It would broadcast, and weigh classes or images in silence."""
    _, cache = loss_of(lib, *draw(rng, (6, 3)))
    with pytest.raises(ValueError, match=message(OPERATION, got=f"dloss of shape {shape}", expected="()")):
        softmax_cross_entropy.backward(lib.asarray(np.ones(shape)), cache)


# ==== labels ====


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "uint32", "int64"])
def test_labels_of_any_integer_type(lib: Lib, rng: np.random.Generator, dtype: str) -> None:
    logits, labels = draw(rng, (6, 10))
    loss, cache = loss_of(lib, logits, labels.astype(dtype))
    lib.assert_close(loss, oracles.softmax_cross_entropy(logits, labels))
    wanted = oracles.softmax_cross_entropy_gradient(logits, labels)
    lib.assert_close(softmax_cross_entropy.backward(1.0, cache), wanted)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_more_classes_than_the_type_of_the_labels_can_count(lib: Lib, rng: np.random.Generator, dtype: str) -> None:
    logits, labels = 3 * rng.standard_normal((6, 300)), rng.integers(0, 100, 6)
    loss, _ = loss_of(lib, logits, labels.astype(dtype))
    lib.assert_close(loss, oracles.softmax_cross_entropy(logits, labels))


@pytest.mark.parametrize("labels", [[0, 10, 1], [0, -1, 1], [255, 0, 0], [-10, 10, 0]])
def test_a_label_out_of_range_is_refused(lib: Lib, labels: list[int]) -> None:
    """On every backend: indexing with it would wrap round in silence on a GPU."""
    refused = message(OPERATION, got=f"labels from {min(labels)} to {max(labels)}", expected="0 to 9")
    with pytest.raises(ValueError, match=refused):
        loss_of(lib, np.zeros((3, 10)), labels)


def test_the_first_and_the_last_class_are_in_range(lib: Lib) -> None:
    lib.assert_close(loss_of(lib, np.zeros((2, 10)), [0, 9])[0], math.log(10.0))


def test_labels_checked_asks_the_device_nothing(lib: Lib) -> None:
    """The training loop has checked the whole data set. A label out of range all the same is an IndexError where
    looking it up costs nothing, and passes elsewhere: no device is waited for.
    """
    if lib.name == "numpy" and kernels_on():
        with pytest.raises(IndexError):
            loss_of(lib, np.zeros((2, 10)), [0, 10], labels_checked=True)
    else:
        loss, _ = loss_of(lib, np.zeros((2, 10)), [0, 10], labels_checked=True)
        assert loss.shape == ()


@pytest.mark.parametrize("dtype", ["float32", "float64", "bool"])
@pytest.mark.parametrize("checked", [True, False])
def test_labels_that_are_not_integers_are_refused(lib: Lib, dtype: str, checked: bool) -> None:
    labels = lib.asarray([0, 1], dtype)
    with pytest.raises(TypeError, match=message(OPERATION, got=f"labels {labels.dtype}", expected="integers")):
        softmax_cross_entropy.forward(lib.asarray(np.zeros((2, 10))), labels, labels_checked=checked)


@pytest.mark.parametrize("shape", [(4,), (1,), (3, 1), (3, 10), ()])
@pytest.mark.parametrize("checked", [True, False])
def test_labels_of_another_shape_are_refused(lib: Lib, shape: Any, checked: bool) -> None:
    with pytest.raises(ValueError, match=message(OPERATION, got=f"labels of shape {shape}", expected="(3,)")):
        loss_of(lib, np.zeros((3, 10)), np.zeros(shape, int), labels_checked=checked)


@pytest.mark.parametrize("shape", [(), (10,)])
def test_logits_of_too_few_axes_are_refused(lib: Lib, shape: Any) -> None:
    with pytest.raises(ValueError, match=message(OPERATION, got=f"logits of shape {shape}", expected="(N, ")):
        loss_of(lib, np.zeros(shape), [0, 1, 2])


# ==== memory ====


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_order(lib: Lib, rng: np.random.Generator, layout: str) -> None:
    logits, labels = draw(rng, (6, 10))
    lay = LAYOUTS[layout]
    loss, cache = softmax_cross_entropy.forward(lay(lib, logits), lay(lib, labels))
    lib.assert_close(loss, oracles.softmax_cross_entropy(logits, labels))
    wanted = oracles.softmax_cross_entropy_gradient(logits, labels)
    lib.assert_close(softmax_cross_entropy.backward(1.0, cache), wanted)


def test_little_left_to_learn_is_not_rounded_off(lib: Lib) -> None:
    """Where the right class is nearly certain, its gradient is a small difference, which must be taken first."""
    if lib.name == "cupy":
        pytest.skip("the kernel for CuPy keeps no probabilities to compare with")
    logits, labels = np.array([[12.0, 0.0], [13.0, 0.0], [14.0, 0.0]], "float32"), np.zeros(3, "int64")
    _, cache = loss_of(lib, logits, labels, labels_checked=True)
    probabilities = lib.to_numpy(cache[0])
    certain = probabilities[probabilities > 0.5].astype("float64")
    dlogits = softmax_cross_entropy.backward(1.0, cache)
    lib.assert_close(dlogits[:, 0], (certain - 1.0) / 3.0, rtol=1e-6)
