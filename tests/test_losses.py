"""The loss as a layer keeps it: forward, then backward, once."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.functional.messages import message
from tests.libraries import Lib
from tests.networks import on
from xlenet import SGD, Linear, LogSoftmax, NLLLoss, Sequential, SoftmaxCrossEntropy, Workspace, losses
from xlenet.functional import softmax_cross_entropy
from xlenet.training import train_step

each_loss = pytest.mark.parametrize("make", [SoftmaxCrossEntropy, NLLLoss])


def test_forward_and_backward(lib: Lib, rng: np.random.Generator) -> None:
    logits, labels = rng.standard_normal((5, 4)), np.array([0, 3, 3, 1, 2])
    loss = SoftmaxCrossEntropy()
    value = loss(lib.asarray(logits), lib.asarray(labels))
    lib.assert_close(value, oracles.softmax_cross_entropy(logits, labels), dtype="float64")
    lib.assert_close(loss.backward(), oracles.softmax_cross_entropy_gradient(logits, labels), dtype="float64")


def test_what_comes_after_the_loss_scales_its_gradient(lib: Lib, rng: np.random.Generator) -> None:
    logits, labels = lib.asarray(rng.standard_normal((5, 4))), lib.asarray([0, 3, 3, 1, 2])
    loss = SoftmaxCrossEntropy()
    loss(logits, labels)
    once = lib.to_numpy(loss.backward())
    loss.forward(logits, labels, work=Workspace())
    lib.assert_close(loss.backward(0.5, work=Workspace()), once / 2)


@each_loss
def test_backward_wants_a_forward_each_time(lib: Lib, make: Callable[[], Any]) -> None:
    loss = make()
    pattern = (
        rf"^{type(loss).__name__}: got backward without a forward before it; expected forward first; call the loss"
    )
    with pytest.raises(RuntimeError, match=pattern):
        loss.backward()
    loss(lib.asarray(np.zeros((2, 3))), lib.asarray([0, 2]))
    loss.backward()
    with pytest.raises(RuntimeError, match=pattern):
        loss.backward()


@each_loss
def test_backward_can_be_called_again_after_a_mistake_in_dloss(lib: Lib, make: Callable[[], Any]) -> None:
    """As with a layer."""
    loss = make()
    loss(lib.asarray(np.zeros((2, 3))), lib.asarray([0, 2]))
    with pytest.raises(ValueError, match="dloss"):
        loss.backward(lib.asarray(np.ones(2)))
    assert loss.backward().shape == (2, 3)


def test_labels_are_checked_unless_someone_has(lib: Lib) -> None:
    loss = SoftmaxCrossEntropy()
    logits = lib.asarray(np.zeros((2, 3)))
    for labels in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match=message("softmax_cross_entropy", got="labels from", expected="0 to 2")):
            loss(logits, lib.asarray(labels))
    # Unchecked it passes, or fails where it is looked up.
    with pytest.raises(IndexError) if lib.name == "numpy" else contextlib.nullcontext():
        loss.forward(logits, lib.asarray([0, 3]), labels_checked=True)


@each_loss
def test_a_forward_that_fails_leaves_no_half_of_one(lib: Lib, make: Callable[[], Any]) -> None:
    loss = make()
    with pytest.raises(ValueError, match="got labels from 0 to 7"):
        loss(lib.asarray(np.zeros((2, 3))), lib.asarray([0, 7]))
    with pytest.raises(RuntimeError, match="without a forward"):
        loss.backward()


# ==== options ====

WEIGHT = [0.5, 2.0, 1.25, 1.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_options_reach_the_loss(lib: Lib, rng: np.random.Generator, reduction: str, dtype: str) -> None:
    scores, labels = rng.standard_normal((3, 4, 2)).astype(dtype), np.array([[0, 3], [-1, 1], [2, -1]])
    dloss = np.asarray(rng.standard_normal(labels.shape if reduction == "none" else ())).astype(dtype)
    options: Any = (np.array(WEIGHT), -1, reduction)
    log_p = oracles.log_softmax(scores, 1)
    close: Any = {"rtol": 1e-5, "atol": 1e-6, "dtype": dtype}

    cross_entropy = SoftmaxCrossEntropy(WEIGHT, ignore_index=-1, reduction=reduction)
    value = cross_entropy(lib.asarray(scores), lib.asarray(labels))
    lib.assert_close(value, oracles.nll_loss(log_p, labels, *options), **close)
    by_log_p = oracles.nll_loss_gradient(log_p, labels, *options, dloss)
    expected = oracles.log_softmax_gradient(scores, by_log_p, 1)
    lib.assert_close(cross_entropy.backward(lib.asarray(dloss)), expected, **close)

    likelihood = NLLLoss(WEIGHT, ignore_index=-1, reduction=reduction)
    value = likelihood(lib.asarray(scores), lib.asarray(labels))
    lib.assert_close(value, oracles.nll_loss(scores, labels, *options), **close)
    lib.assert_close(likelihood.backward(lib.asarray(dloss)), by_log_p, **close)


@each_loss
def test_weights_may_come_as_any_sequence_or_array(
    lib: Lib, torch: ModuleType, rng: np.random.Generator, make: Callable[..., Any]
) -> None:
    """And nothing that is done to them later matters."""
    logits, labels = lib.asarray(rng.standard_normal((4, 4))), lib.asarray([0, 1, 2, 3])
    expected = lib.to_numpy(make(WEIGHT)(logits, labels))
    own = np.array(WEIGHT, "float32")
    for weight in (tuple(WEIGHT), own, lib.asarray(WEIGHT), torch.tensor(WEIGHT), iter(WEIGHT)):
        loss = make(weight)
        own[...] = 7.0
        assert loss.weight == tuple(WEIGHT)
        lib.assert_equal(loss(logits, labels), expected)
        own[...] = WEIGHT


@each_loss
def test_weights_are_moved_once_and_not_in_every_step(
    lib: Lib, rng: np.random.Generator, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = []
    real = losses.to_device
    monkeypatch.setattr(losses, "to_device", lambda x, like: moved.append(like) or real(x, like=like))
    loss, labels = make(WEIGHT), lib.asarray([0, 3])
    for dtype in ("float32", "float32", "float64", "float64"):
        value = loss(lib.asarray(rng.standard_normal((2, 4)), dtype), labels)
        loss.backward()
        assert lib.dtype_name(value) == dtype
    assert len(moved) == 2, "one for each type"


@each_loss
def test_one_loss_serves_one_library_after_another(
    numpy_lib: Lib, device_lib: Lib, rng: np.random.Generator, make: Callable[..., Any]
) -> None:
    loss, scores = make(WEIGHT), rng.standard_normal((2, 4))
    for lib in (numpy_lib, device_lib, numpy_lib):
        lib.assert_close(loss(lib.asarray(scores), lib.asarray([0, 3])), make(WEIGHT)(scores, np.array([0, 3])))


@each_loss
def test_a_loss_shows_how_it_was_made(make: Callable[..., Any]) -> None:
    name = make.__name__  # type: ignore[attr-defined]
    assert repr(make()) == f"{name}()"
    full = make(np.array([1, 0.5]), ignore_index=np.int64(-1), reduction="none")
    assert repr(full) == f"{name}(weight=(1.0, 0.5), ignore_index=-1, reduction='none')"
    assert repr(eval(repr(full))) == repr(full)


@each_loss
def test_a_loss_can_be_copied_and_pickled(lib: Lib, make: Callable[..., Any]) -> None:
    logits, labels = lib.asarray(np.zeros((2, 4))), lib.asarray([0, 3])
    loss = make(WEIGHT, ignore_index=3)
    fresh = pickle.loads(pickle.dumps(loss))
    assert repr(fresh) == repr(copy.deepcopy(loss)) == repr(loss)
    lib.assert_equal(fresh(logits, labels), lib.to_numpy(loss(logits, labels)))


@pytest.mark.parametrize("weight", [[], [1.0, -0.5], [1.0, np.nan], [np.inf], 2.0, np.array(2.0), [[1.0]], ["a"], "12"])
@each_loss
def test_what_is_no_weight_for_each_class_is_refused(make: Callable[..., Any], weight: Any) -> None:
    refused = message(make.__name__, got="weight", expected="a number from 0 up for each class")  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=refused):
        make(weight)


@each_loss
def test_other_options_are_refused_when_the_loss_is_made(make: Callable[..., Any]) -> None:
    name = make.__name__  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=message(name, got="ignore_index 1.5", expected="a whole number")):
        make(ignore_index=1.5)
    with pytest.raises(ValueError, match=message(name, got="reduction 'avg'", expected="'mean', 'sum' or 'none'")):
        make(reduction="avg")


@each_loss
def test_weights_for_another_number_of_classes_are_refused(lib: Lib, make: Callable[..., Any]) -> None:
    with pytest.raises(
        ValueError, match=r"^\w+: got weight of shape \(4,\); expected \(3,\); one number for each class"
    ):
        make(WEIGHT)(lib.asarray(np.zeros((2, 3))), lib.asarray([0, 1]))


def test_a_model_that_ends_with_log_softmax_learns_the_same(lib: Lib, rng: np.random.Generator) -> None:
    """As PyTorch's users write it."""
    x, labels = lib.asarray(rng.standard_normal((5, 3))), lib.asarray([0, 1, 1, -1, 3])
    trained = []
    for make, head in ((SoftmaxCrossEntropy, {}), (NLLLoss, {"log_p": LogSoftmax(axis=1)})):
        with on(lib):
            model = Sequential(fc=Linear(3, 4, rng=0, dtype="float64"), **head)
        optimizer, loss = SGD(model), make(WEIGHT, ignore_index=-1)
        for _ in range(3):
            train_step(model, loss, optimizer, x, labels, 0.5, Workspace())
        trained.append([lib.to_numpy(array) for _, array in model.named_parameters()])
    for mine, other in zip(*trained, strict=True):
        np.testing.assert_allclose(other, mine, rtol=1e-10)


def test_a_loss_that_has_been_used_can_be_copied_and_pickled(numpy_lib: Lib) -> None:
    """Its options go along; what belongs to a batch does not."""
    loss = SoftmaxCrossEntropy(weight=[1.0, 2.0], ignore_index=-1)
    value = loss(np.zeros((2, 2)), np.array([0, 1]))
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        with pytest.raises(RuntimeError, match="without a forward"):
            other.backward()
        assert repr(other) == repr(loss)
        assert other(np.zeros((2, 2)), np.array([0, 1])) == value


def test_labels_that_have_been_wrapped_round_are_refused(lib: Lib) -> None:
    labels = lib.asarray(np.array([0, 2**64 - 1], np.uint64))
    with pytest.raises(ValueError, match=r"got labels of uint64 up to 18446744073709551615; expected 0 to 2; "):
        softmax_cross_entropy.forward(lib.asarray(np.zeros((2, 3))), labels, ignore_index=-1)
