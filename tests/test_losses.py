"""The loss as a layer keeps it: forward, then backward, once."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from tests import oracles
from tests.functional.messages import message
from tests.libraries import Lib
from xlenet import SoftmaxCrossEntropy, Workspace


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


def test_backward_wants_a_forward_each_time(lib: Lib) -> None:
    loss = SoftmaxCrossEntropy()
    pattern = r"^SoftmaxCrossEntropy: got backward without a forward before it; expected forward first; call the loss"
    with pytest.raises(RuntimeError, match=pattern):
        loss.backward()
    loss(lib.asarray(np.zeros((2, 3))), lib.asarray([0, 2]))
    loss.backward()
    with pytest.raises(RuntimeError, match=pattern):
        loss.backward()


def test_backward_can_be_called_again_after_a_mistake_in_dloss(lib: Lib) -> None:
    """As with a layer."""
    loss = SoftmaxCrossEntropy()
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


def test_a_forward_that_fails_leaves_no_half_of_one(lib: Lib) -> None:
    loss = SoftmaxCrossEntropy()
    with pytest.raises(ValueError, match="softmax_cross_entropy"):
        loss(lib.asarray(np.zeros((2, 3))), lib.asarray([0, 7]))
    with pytest.raises(RuntimeError, match="without a forward"):
        loss.backward()
