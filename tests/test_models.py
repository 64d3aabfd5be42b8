"""LeNet-5: its layers, its size, and that every library and PyTorch see the same network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.functional.messages import message
from tests.libraries import Lib, open_library
from tests.networks import assert_gradients_agree, gradients, lenet_in_torch, on, parameters
from xlenet import SGD, LeNet5, SoftmaxCrossEntropy
from xlenet.backend import batch_first, batch_last
from xlenet.training import train_step
from xlenet.workspace import Workspace

BATCH = 8


def batches(rng: np.random.Generator, dtype: str, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for _ in range(steps):
        yield rng.standard_normal((BATCH, 1, 28, 28)).astype(dtype), rng.integers(0, 10, BATCH)


def first_gradients(lib: Lib, rng: np.random.Generator, dtype: str, **options: Any) -> dict[str, np.ndarray]:
    """The gradients of a first step, on the host."""
    with on(lib):
        model, loss = LeNet5(rng=0, dtype=dtype, **options), SoftmaxCrossEntropy()
    ((x, labels),) = batches(rng, dtype, 1)
    loss(model(lib.asarray(x)), lib.asarray(labels))
    model.backward(loss.backward(), need_dx=False)
    return gradients(lib, model)


def train_20_steps(lib: Lib, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], list[float]]:
    """State after 20 float64 steps of SGD with Nesterov's momentum, and the losses."""
    with on(lib):
        model, loss = LeNet5(rng=0, dtype="float64"), SoftmaxCrossEntropy()
    optimizer = SGD(model, momentum=0.9, nesterov=True)
    losses = []
    for x, labels in batches(rng, "float64", 20):
        value, _ = train_step(model, loss, optimizer, lib.asarray(x), lib.asarray(labels), 0.02)
        losses.append(float(lib.to_numpy(value)))
    return {name: lib.to_numpy(array) for name, array in model.state_dict().items()}, losses


def assert_states_agree(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> None:
    assert list(actual) == list(expected)
    for name, value in expected.items():
        difference = np.abs(actual[name] - value).max()
        assert difference <= tolerance * max(1.0, np.abs(value).max()), f"{name}: off by {difference}"


# ==== what it is ====


def test_the_number_of_parameters_is_the_papers_plus_batch_normalisation() -> None:
    expected = {
        "conv1.weight": 6 * 1 * 5 * 5,
        "conv1.bias": 6,
        "bn1.weight": 6,
        "bn1.bias": 6,
        "conv2.weight": 16 * 6 * 5 * 5,
        "conv2.bias": 16,
        "bn2.weight": 16,
        "bn2.bias": 16,
        "conv3.weight": 120 * 16 * 5 * 5,
        "conv3.bias": 120,
        "fc4.weight": 84 * 120,
        "fc4.bias": 84,
        "fc5.weight": 10 * 84,
        "fc5.bias": 10,
    }
    assert sum(expected.values()) == 61_750
    for options in ({}, {"image_size": 32}, {"relu_after_conv3": True}):
        model = LeNet5(**options)
        assert model.size == 61_750
        assert {name: array.size for name, array in model.named_parameters()} == expected


AFTER_CONV1 = [
    ("pool1", (6, 14, 14)),
    ("bn1", (6, 14, 14)),
    ("relu1", (6, 14, 14)),
    ("conv2", (16, 10, 10)),
    ("pool2", (16, 5, 5)),
    ("bn2", (16, 5, 5)),
    ("relu2", (16, 5, 5)),
    ("conv3", (120, 1, 1)),
    ("flatten", (120,)),
    ("fc4", (84,)),
    ("relu4", (84,)),
    ("fc5", (10,)),
]


@pytest.mark.parametrize("size", [28, 32])
def test_the_shape_behind_each_layer(lib: Lib, rng: np.random.Generator, size: int) -> None:
    """28 x 28 with a border that conv1 adds, or 32 x 32 with one of its own: conv1 gives 28 x 28."""
    with on(lib):
        model = LeNet5(size, rng=0)
    x = lib.asarray(rng.standard_normal((3, 1, size, size)), "float32")
    shapes = []
    for name in model:
        x = model[name](x)
        shapes.append((name, x.shape))
    assert shapes == [(name, (3, *shape)) for name, shape in [("conv1", (6, 28, 28)), *AFTER_CONV1]]


def test_a_relu_after_conv3_is_an_option(lib: Lib, rng: np.random.Generator) -> None:
    with on(lib):
        plain, other = LeNet5(rng=0), LeNet5(rng=0, relu_after_conv3=True)
    names = list(plain)
    names.insert(names.index("conv3") + 1, "relu3")
    assert list(other) == names
    x = lib.asarray(rng.standard_normal((4, 1, 28, 28)), "float32")
    assert not np.array_equal(lib.to_numpy(plain.infer(x)), lib.to_numpy(other.infer(x)))
    for name in other:
        x = other[name].infer(x)
        if name == "relu3":
            assert lib.to_numpy(x).min() == 0.0


def test_channels_classes_and_decay_can_be_chosen() -> None:
    model = LeNet5(channels=3, classes=7, bn_decay=0.5)
    assert model(np.zeros((2, 3, 28, 28), np.float32)).shape == (2, 7)
    assert "BatchNorm(16, decay=0.5" in repr(model)


@pytest.mark.parametrize("size", [0, 27, 29, 64, 28.5, None, (28, 28)])
def test_another_image_size_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match=message("LeNet5", got=f"image_size {size!r}", expected="28 or 32")):
        LeNet5(size)


def test_images_of_the_other_size_are_refused(lib: Lib) -> None:
    with on(lib):
        model = LeNet5(28)
    with pytest.raises(ValueError, match=message("LeNet5", got="(2, 1, 32, 32)", expected="(N, C, 28, 28)")):
        model(lib.asarray(np.zeros((2, 1, 32, 32)), "float32"))
    with pytest.raises(ValueError, match="LeNet5: got x"):
        model.infer(lib.asarray(np.zeros((2, 1, 27, 28)), "float32"))


def test_both_lowerings_are_the_same_network(lib: Lib, rng: np.random.Generator) -> None:
    x = lib.asarray(rng.standard_normal((3, 1, 28, 28)))
    with on(lib):
        rows, img2col = LeNet5(rng=0, dtype="float64"), LeNet5(rng=0, dtype="float64", lowering="img2col")
    assert "img2col" in repr(img2col)
    np.testing.assert_allclose(lib.to_numpy(rows(x)), lib.to_numpy(img2col(x)), rtol=1e-10, atol=1e-12)


def test_every_layer_draws_from_one_stream() -> None:
    """A seed makes one generator for all: layers that each began the same stream would begin with the same numbers."""
    model, other = LeNet5(rng=3), LeNet5(rng=np.random.default_rng(3))
    weights = {name: array for name, array in model.named_parameters() if array.ndim > 1}
    for name, array in weights.items():
        np.testing.assert_array_equal(array, dict(other.named_parameters())[name])
    beginnings = [array.ravel()[:100] for array in weights.values()]
    for k, beginning in enumerate(beginnings):
        for another in beginnings[:k]:
            assert abs(np.corrcoef(beginning, another)[0, 1]) < 0.5


# ==== memory ====


@pytest.mark.parametrize("lend", [False, True])
def test_the_batch_stays_innermost_in_memory(rng: np.random.Generator, lend: bool) -> None:
    """The fast path lives from it, and it is easily lost: after each layer, forward and back."""
    work = Workspace() if lend else None
    model = LeNet5(rng=0, relu_after_conv3=True)

    def assert_batch_last(array: np.ndarray, where: str) -> None:
        assert batch_last(array).flags.c_contiguous, f"{where}: {array.shape}, strides {array.strides}"

    x = batch_first(rng.standard_normal((1, 28, 28, BATCH)).astype(np.float32))
    for name in model:
        x = model[name].forward(x, work=work)
        assert_batch_last(x, f"forward through {name}")
    dy = batch_first(rng.standard_normal((10, BATCH)).astype(np.float32))
    for name in reversed(list(model)):
        dy = model[name].backward(dy, work=work)
        assert_batch_last(dy, f"backward through {name}")


def test_images_in_any_order_give_the_same_logits(lib: Lib, rng: np.random.Generator) -> None:
    with on(lib):
        model = LeNet5(rng=0, dtype="float64")
    host = rng.standard_normal((3, 1, 28, 28))
    last = batch_first(lib.asarray(np.ascontiguousarray(np.moveaxis(host, 0, -1))))
    lib.assert_close(model(last), lib.to_numpy(model(lib.asarray(host))), rtol=1e-9, atol=1e-10)


def test_two_models_do_not_share_anything(numpy_lib: Lib, rng: np.random.Generator) -> None:
    first, second = LeNet5(rng=0), LeNet5(rng=0)
    ((x, labels),) = batches(rng, "float32", 1)
    before = parameters(numpy_lib, second)
    kept = first(x)
    copy = kept.copy()
    train_step(first, SoftmaxCrossEntropy(), SGD(first), x, labels, 0.1)
    for name, value in parameters(numpy_lib, second).items():
        np.testing.assert_array_equal(value, before[name])
    assert not np.array_equal(first(x), copy)
    np.testing.assert_array_equal(kept, copy)  # a result of long ago is still the caller's own
    for mine in first.state_dict().values():
        for theirs in second.state_dict().values():
            assert not np.shares_memory(mine, theirs)


def test_one_image_and_a_hundred_give_the_same_answer(rng: np.random.Generator) -> None:
    """By the rules of evaluation each image's result is independent of the others."""
    model = LeNet5(rng=0, dtype="float64")
    x = rng.standard_normal((100, 1, 28, 28))
    model(x)  # moves the running statistics to where they mean something
    together = model.infer(x)
    np.testing.assert_allclose(model.infer(x[7:8]), together[7:8], rtol=1e-9, atol=1e-10)


# ==== learning ====


def test_one_batch_is_learned_by_heart(lib: Lib, rng: np.random.Generator) -> None:
    with on(lib):
        model, loss = LeNet5(rng=0), SoftmaxCrossEntropy()
    optimizer = SGD(model, momentum=0.9)
    x = lib.asarray(rng.standard_normal((16, 1, 28, 28)), "float32")
    labels = lib.asarray(np.arange(16) % 10)
    losses = [float(lib.to_numpy(train_step(model, loss, optimizer, x, labels, 0.02)[0])) for _ in range(25)]
    assert 1.5 < losses[0] < 5.0
    assert losses[-1] < 0.02
    assert (lib.to_numpy(model(x)).argmax(axis=1) == lib.to_numpy(labels)).all()


def test_biases_in_front_of_batch_normalisation_have_no_gradient(lib: Lib, rng: np.random.Generator) -> None:
    found = first_gradients(lib, rng, "float64")
    for name in ("conv1", "conv2"):
        assert np.abs(found[f"{name}.bias"]).max() < 1e-12 * np.abs(found[f"{name}.weight"]).max()
    assert np.abs(found["conv3.bias"]).max() > 1e-6


# ==== every library sees the same network ====


def test_a_first_step_is_the_same_on_every_library(device_lib: Lib) -> None:
    expected = first_gradients(open_library("numpy"), np.random.default_rng(5), "float32")
    actual = first_gradients(device_lib, np.random.default_rng(5), "float32")
    assert_gradients_agree(actual, expected, 1e-4)


def test_float32_stays_close_to_float64(lib: Lib) -> None:
    """What one library rounds in the last digit must not have come from a formula that loses more."""
    expected = first_gradients(open_library("numpy"), np.random.default_rng(5), "float64")
    actual = first_gradients(lib, np.random.default_rng(5), "float32")
    assert_gradients_agree(actual, expected, 1e-4)


def test_twenty_steps_are_the_same_on_every_library(device_lib: Lib) -> None:
    expected, losses = train_20_steps(open_library("numpy"), np.random.default_rng(6))
    actual, other_losses = train_20_steps(device_lib, np.random.default_rng(6))
    assert_states_agree(actual, expected, 1e-9)
    np.testing.assert_allclose(other_losses, losses, rtol=1e-9)


# ==== and so does PyTorch ====


def torch_step(torch: Any, module: Any, x: np.ndarray, labels: np.ndarray) -> float:
    module.zero_grad()
    loss = torch.nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(labels))
    loss.backward()
    return float(loss.detach())


@pytest.mark.parametrize("options", [{}, {"relu_after_conv3": True}])
def test_a_first_step_is_pytorchs(lib: Lib, torch: Any, options: dict[str, bool]) -> None:
    actual = first_gradients(lib, np.random.default_rng(5), "float32", **options)
    module = lenet_in_torch(torch, LeNet5(rng=0, **options).state_dict(), **options)
    ((x, labels),) = batches(np.random.default_rng(5), "float32", 1)
    torch_step(torch, module, x, labels)
    expected = {name: tensor.grad.numpy() for name, tensor in module.named_parameters()}
    assert_gradients_agree(actual, expected, 1e-4)


def test_twenty_steps_are_pytorchs(lib: Lib, torch: Any) -> None:
    """Weights and running statistics, in float64, with Nesterov's momentum."""
    actual, losses = train_20_steps(lib, np.random.default_rng(6))
    module = lenet_in_torch(torch, LeNet5(rng=0, dtype="float64").state_dict())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9, nesterov=True)
    theirs = []
    for x, labels in batches(np.random.default_rng(6), "float64", 20):
        theirs.append(torch_step(torch, module, x, labels))
        optimizer.step()
    state = {name: tensor.numpy() for name, tensor in module.state_dict().items() if "num_batches" not in name}
    assert_states_agree(actual, state, 1e-9)
    np.testing.assert_allclose(losses, theirs, rtol=1e-9)


def test_evaluation_is_pytorchs(lib: Lib, rng: np.random.Generator, torch: Any) -> None:
    with on(lib):
        model = LeNet5(rng=0, dtype="float64")
    model(lib.asarray(rng.standard_normal((8, 1, 28, 28))))  # statistics that are not their first values
    state = {name: lib.to_numpy(array) for name, array in model.state_dict().items()}
    module = lenet_in_torch(torch, state).eval()
    x = rng.standard_normal((4, 1, 28, 28))
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    lib.assert_close(model.infer(lib.asarray(x)), expected, rtol=1e-9, atol=1e-10)
