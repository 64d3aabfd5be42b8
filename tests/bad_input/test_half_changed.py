"""What holds when a mistake is found in the middle: behind layers that have already taken the batch.

Parameters, gradients and running statistics are as before, always. What a Sequential remembers of an earlier batch is
kept when its first layer refuses the new one, and let go of when a later layer does: then no backward can mix the two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.bad_input.table import frozen
from tests.libraries import Lib
from tests.networks import gradients, on, parameters
from xlenet import SGD, BatchNorm, Conv2D, Flatten, Layer, Linear, MaxPool2D, ReLU, Sequential, SoftmaxCrossEntropy
from xlenet.training import train_step


def network() -> Sequential:
    """Batch normalisation in front, within a block, and in a Sequential inside; the last layer fixes the image size."""
    return Sequential(
        bn=BatchNorm(2),
        body=Sequential(conv=Conv2D(2, 3, 3, rng=0), norm=BatchNorm(3), relu=ReLU()),
        pool=MaxPool2D(2),
        flatten=Flatten(),
        fc=Linear(12, 3, rng=1),
    )


RIGHT, TOO_LARGE, TOO_SMALL, CHANNELS = (4, 2, 6, 6), (4, 2, 9, 6), (4, 2, 2, 6), (4, 3, 6, 6)


def draw(lib: Lib, shape: tuple[int, ...]) -> Any:
    return lib.asarray(np.random.default_rng(5).standard_normal(shape), "float32")


def lasting(layer: Layer) -> Any:
    """All that outlives a batch."""
    return frozen([(leaf.params, leaf.grads, leaf.buffers) for _, leaf in layer.leaves()])


def trained(lib: Lib) -> Sequential:
    with on(lib):
        model = network()
    y = model(draw(lib, RIGHT))
    model.backward(lib.asarray(np.ones(y.shape), "float32"))
    return model


@pytest.mark.parametrize("shape", [TOO_LARGE, TOO_SMALL, CHANNELS])
@pytest.mark.parametrize("way", ["forward", "infer"])
def test_running_statistics_stay_when_a_later_layer_refuses_the_batch(
    lib: Lib, shape: tuple[int, ...], way: str
) -> None:
    model = trained(lib)
    before = lasting(model)
    with pytest.raises(ValueError, match=": got "):
        getattr(model, way)(draw(lib, shape))
    assert lasting(model) == before


def test_running_statistics_do_move_when_all_goes_well(lib: Lib) -> None:
    model = trained(lib)
    before = lasting(model)
    model(draw(lib, RIGHT))
    assert lasting(model) != before
    for name in ("bn.running_mean", "body.norm.running_var"):
        assert name in model.state_dict()


def test_they_move_once_and_as_those_of_the_layers_one_by_one(lib: Lib) -> None:
    model, other = trained(lib), trained(lib)
    x = draw(lib, RIGHT)
    model(x)
    for name in other:
        x = other[name](x)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(lib.to_numpy(array), lib.to_numpy(other.state_dict()[name]), err_msg=name)


def test_one_value_per_channel_far_behind_moves_nothing_in_front(lib: Lib) -> None:
    with on(lib):
        model = Sequential(bn=BatchNorm(2), flatten=Flatten(), last=BatchNorm(8))
    model(draw(lib, (3, 2, 2, 2)))
    before = lasting(model)
    with pytest.raises(ValueError, match="one value per channel"):
        model(draw(lib, (1, 2, 2, 2)))
    assert lasting(model) == before


def test_a_batch_refused_at_the_door_leaves_the_one_before_it_for_backward(lib: Lib) -> None:
    model, other = trained(lib), trained(lib)
    y, _ = model(draw(lib, RIGHT)), other(draw(lib, RIGHT))
    with pytest.raises(ValueError, match="batchnorm: got "):
        model(draw(lib, CHANNELS))
    dy = lib.asarray(np.ones(y.shape), "float32")
    lib.assert_equal(model.backward(dy), lib.to_numpy(other.backward(dy)))


def test_a_batch_refused_further_behind_is_never_mixed_with_the_one_before_it(lib: Lib) -> None:
    """The first layers remember the new batch by then, and the last ones the old one."""
    model = trained(lib)
    y = model(draw(lib, RIGHT))
    with pytest.raises(ValueError, match="linear: got "):
        model(draw(lib, TOO_LARGE))
    before = lasting(model)
    with pytest.raises(RuntimeError, match="Sequential: got backward without a forward"):
        model.backward(lib.asarray(np.ones(y.shape), "float32"))
    assert lasting(model) == before


@pytest.mark.parametrize("shape", [(4, 4), (3, 3), (1, 3), (4, 1), (4, 3, 1), (3,)])
def test_backward_can_be_repeated_with_the_right_gradient(lib: Lib, shape: tuple[int, ...]) -> None:
    model, other = trained(lib), trained(lib)
    y, _ = model(draw(lib, RIGHT)), other(draw(lib, RIGHT))
    before = lasting(model)
    with pytest.raises(ValueError, match=rf"linear: got dy of shape \({shape[0]},"):
        model.backward(draw(lib, shape))
    assert lasting(model) == before
    dy = draw(lib, tuple(y.shape))
    lib.assert_equal(model.backward(dy), lib.to_numpy(other.backward(dy)))
    for name, gradient in gradients(lib, model).items():
        np.testing.assert_array_equal(gradient, gradients(lib, other)[name], err_msg=name)


def test_they_move_once_in_a_step_and_as_in_forward(lib: Lib) -> None:
    model, other = trained(lib), trained(lib)
    other(draw(lib, RIGHT))
    train_step(model, SoftmaxCrossEntropy(), SGD(model), draw(lib, RIGHT), lib.asarray([0, 1, 2, 0], "int64"), 0.0)
    for name, array in model.state_dict().items():
        lib.assert_equal(array, lib.to_numpy(other.state_dict()[name]))


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [-1, 0, 1, 2], [0, 1]])
def test_a_step_with_wrong_labels_is_no_step(lib: Lib, labels: list[int]) -> None:
    """Labels are compared with the number of logits behind the whole network: even then nothing has moved."""
    runs = []
    for attempts in ([labels, [0, 1, 2, 0]], [[0, 1, 2, 0]]):
        model = trained(lib)
        loss, optimizer = SoftmaxCrossEntropy(), SGD(model)
        for attempt in attempts:
            arguments = (model, loss, optimizer, draw(lib, RIGHT), lib.asarray(attempt, "int64"), 0.1)
            if attempt is labels:
                before = frozen((model, optimizer, loss))
                with pytest.raises(ValueError, match="softmax_cross_entropy: got labels"):
                    train_step(*arguments)
                assert frozen((model, optimizer, loss)) == before
            else:
                train_step(*arguments)
        runs.append((parameters(lib, model), model.state_dict(), optimizer.steps))
    assert runs[0][2] == runs[1][2] == 1
    for name, value in runs[0][0].items():
        np.testing.assert_array_equal(value, runs[1][0][name], err_msg=name)
    for name, array in runs[0][1].items():
        lib.assert_equal(array, lib.to_numpy(runs[1][1][name]))


class Squares:
    """A loss of one's own, with what `train_step` asks of it and no more."""

    def __init__(self, fails_in: str = "") -> None:
        self.fails_in = fails_in

    def forward(self, scores: Any, labels: Any, /, *, labels_checked: bool = False, work: Any = None) -> Any:
        if self.fails_in == "forward":
            raise ValueError("no loss")
        self.scores = scores
        return (scores * scores).sum() / 2

    def backward(self, *, work: Any = None) -> Any:
        if self.fails_in == "backward":
            raise ValueError("no gradient")
        return self.scores


def test_a_loss_of_ones_own_trains(numpy_lib: Lib) -> None:
    model = trained(numpy_lib)
    optimizer, x, labels = SGD(model), draw(numpy_lib, RIGHT), np.array([0, 1, 2, 0])
    values = [float(train_step(model, Squares(), optimizer, x, labels, 0.01)[0]) for _ in range(20)]
    assert values[-1] < 0.1 * values[0]


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_a_step_whose_loss_gives_up_is_no_step(numpy_lib: Lib, way: str) -> None:
    model = trained(numpy_lib)
    optimizer, labels = SGD(model), np.array([0, 1, 2, 0])
    before = frozen((model, optimizer))
    with pytest.raises(ValueError, match=r"^no (loss|gradient)$"):
        train_step(model, Squares(way), optimizer, draw(numpy_lib, RIGHT), labels, 0.1)
    assert frozen((model, optimizer)) == before
