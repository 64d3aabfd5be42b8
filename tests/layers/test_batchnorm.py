"""Batch normalisation's memory: what its running statistics are, and when they move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.functional.messages import message
from tests.libraries import Lib
from tests.networks import on
from xlenet import BatchNorm, MaxPool2D, Sequential


def make(lib: Lib, channels: int, **options: Any) -> BatchNorm:
    with on(lib):
        return BatchNorm(channels, dtype="float64", **options)


def statistics(lib: Lib, layer: BatchNorm) -> dict[str, list[float]]:
    return {name: lib.to_numpy(array).tolist() for name, array in layer.buffers.items()}


def test_running_statistics_by_hand(lib: Lib) -> None:
    """Two steps that can be followed on paper, with the variance divided by n - 1 and decay on the old value."""
    layer = make(lib, 2, decay=0.75)
    assert statistics(lib, layer) == {"running_mean": [0.0, 0.0], "running_var": [1.0, 1.0]}
    layer(lib.asarray([[1.0, 10.0], [3.0, 10.0], [8.0, 40.0]]))  # means 4 and 20; variances 26/2 and 600/2
    assert statistics(lib, layer) == {
        "running_mean": [0.25 * 4, 0.25 * 20],
        "running_var": [0.75 + 0.25 * 13, 0.75 + 0.25 * 300],
    }
    layer(lib.asarray([[2.0, 0.0], [4.0, 4.0]]))  # means 3 and 2; variances 2/1 and 8/1
    assert statistics(lib, layer) == {
        "running_mean": [0.75 * 1 + 0.25 * 3, 0.75 * 5 + 0.25 * 2],
        "running_var": [0.75 * 4 + 0.25 * 2, 0.75 * 75.75 + 0.25 * 8],
    }


def test_running_statistics_of_images(lib: Lib, rng: np.random.Generator) -> None:
    """n is N * H * W, and not N."""
    x = rng.standard_normal((4, 3, 5, 6)) * 2 + 1
    layer = make(lib, 3, decay=0.0)
    layer(lib.asarray(x))
    lib.assert_close(layer.buffers["running_mean"], x.mean(axis=(0, 2, 3)))
    lib.assert_close(layer.buffers["running_var"], x.var(axis=(0, 2, 3), ddof=1))


def test_decay_is_the_weight_of_the_old_value(lib: Lib, rng: np.random.Generator) -> None:
    x = rng.standard_normal((6, 1)) + 3
    kept, replaced, usual = (make(lib, 1, **options) for options in ({"decay": 1.0}, {"decay": 0.0}, {}))
    for layer in (kept, replaced, usual):
        layer(lib.asarray(x))
    assert statistics(lib, kept) == {"running_mean": [0.0], "running_var": [1.0]}
    lib.assert_close(replaced.buffers["running_mean"], x.mean(axis=0))
    lib.assert_close(usual.buffers["running_mean"], 0.1 * x.mean(axis=0))


def test_evaluation_uses_the_running_statistics_and_leaves_them_alone(lib: Lib, rng: np.random.Generator) -> None:
    layer = make(lib, 2, decay=0.5, eps=0.25)
    for _ in range(3):
        layer(lib.asarray(rng.standard_normal((4, 2, 3, 3)) * 3 - 1))
    before = statistics(lib, layer)
    x = rng.standard_normal((3, 2, 2, 2))
    expected = oracles.batchnorm(
        x,
        np.ones(2),
        np.zeros(2),
        np.array(before["running_mean"]),
        np.array(before["running_var"]),
        0.25,
    )
    lib.assert_close(layer.infer(lib.asarray(x)), expected)
    lib.assert_close(layer.eval()(lib.asarray(x)), expected)
    layer.backward(lib.asarray(x))
    assert statistics(lib, layer) == before


def test_backward_follows_the_rules_of_its_forward(lib: Lib, rng: np.random.Generator) -> None:
    """Also where the mode has changed in between."""
    x, dy = rng.standard_normal((4, 2)), rng.standard_normal((4, 2))
    layer = make(lib, 2)
    layer.train()(lib.asarray(x))
    layer.eval()
    expected = oracles.batchnorm_training_gradients(x, np.ones(2), dy, 1e-5)
    lib.assert_close(layer.backward(lib.asarray(dy)), expected[0])
    lib.assert_close(layer.grads["weight"], expected[1])

    before = {name: lib.to_numpy(array) for name, array in layer.buffers.items()}
    layer(lib.asarray(x))
    layer.train()
    expected = oracles.batchnorm_evaluation_gradients(
        x, np.ones(2), dy, before["running_mean"], before["running_var"], 1e-5
    )
    lib.assert_close(layer.backward(lib.asarray(dy)), expected[0])
    lib.assert_close(layer.grads["weight"], expected[1])
    lib.assert_close(layer.grads["bias"], expected[2])


def test_a_batch_without_a_spread_is_refused_and_moves_nothing(lib: Lib) -> None:
    layer = make(lib, 3)
    one = lib.asarray([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match=message("batchnorm", got="one value per channel", expected="at least 2")):
        layer(one)
    assert statistics(lib, layer) == {"running_mean": [0.0] * 3, "running_var": [1.0] * 3}
    assert layer.infer(one).shape == (1, 3)
    assert layer.eval()(one).shape == (1, 3)


def test_a_wrong_number_of_channels_moves_nothing(lib: Lib) -> None:
    layer = make(lib, 3)
    with pytest.raises(ValueError, match=message("batchnorm", got="(3,)", expected="(2,)")):
        layer(lib.asarray(np.ones((4, 2))))
    assert statistics(lib, layer) == {"running_mean": [0.0] * 3, "running_var": [1.0] * 3}


def test_a_frozen_layer_still_gathers_statistics(lib: Lib) -> None:
    """As in PyTorch: it is eval() that stops that."""
    layer = make(lib, 1, decay=0.5, requires_grad=False)
    layer(lib.asarray([[1.0], [3.0]]))
    assert statistics(lib, layer) == {"running_mean": [1.0], "running_var": [1.5]}


def test_a_backward_does_not_move_statistics(lib: Lib) -> None:
    layer = make(lib, 1)
    layer(lib.asarray([[1.0], [3.0]]))
    before = statistics(lib, layer)
    layer.backward(lib.asarray([[1.0], [3.0]]))
    assert statistics(lib, layer) == before


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2, 3)])
def test_three_batches_as_in_pytorch(lib: Lib, rng: np.random.Generator, torch: Any, shape: tuple[int, ...]) -> None:
    """PyTorch's momentum is 1 - decay. Results, gradients and statistics, in training and then in evaluation."""
    kind = torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d
    theirs = kind(3, eps=1e-3, momentum=0.3, dtype=torch.float64)
    ours = make(lib, 3, decay=0.7, eps=1e-3)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor([1.0, -0.5, 2.0]))
        theirs.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    for step in range(4):
        if step == 3:
            ours.eval()
            theirs.eval()
        host, dy = rng.standard_normal(shape) * (step + 1) + step, rng.standard_normal(shape)
        x = torch.tensor(host, requires_grad=True)
        y = theirs(x)
        theirs.zero_grad()
        y.backward(torch.from_numpy(dy))
        lib.assert_close(ours(lib.asarray(host)), y.detach().numpy())
        lib.assert_close(ours.backward(lib.asarray(dy)), x.grad.numpy(), atol=1e-10)
        for name, tensor in theirs.named_parameters():
            lib.assert_close(ours.grads[name], tensor.grad.numpy(), atol=1e-10)
        for name, array in ours.buffers.items():
            lib.assert_close(array, getattr(theirs, name).numpy())


def test_statistics_inside_a_network(lib: Lib, rng: np.random.Generator) -> None:
    with on(lib):
        model = Sequential(pool=MaxPool2D(2), bn=BatchNorm(2, decay=0.0, dtype="float64"))
    x = rng.standard_normal((3, 2, 4, 4))
    model.train().forward(lib.asarray(x))
    pooled = x.reshape(3, 2, 2, 2, 2, 2).max(axis=(3, 5))
    lib.assert_close(model["bn"].buffers["running_var"], pooled.var(axis=(0, 2, 3), ddof=1))
    model.eval().forward(lib.asarray(x + 100))
    lib.assert_close(model["bn"].buffers["running_var"], pooled.var(axis=(0, 2, 3), ddof=1))
