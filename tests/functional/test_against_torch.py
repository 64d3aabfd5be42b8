"""A second opinion: PyTorch on the CPU, forward and backward, in float64."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.libraries import Lib
from xlenet.functional import (
    avgpool2d,
    batchnorm,
    conv2d,
    conv2d_rows,
    linear,
    maxpool2d,
    relu,
    sigmoid,
    softmax_cross_entropy,
    tanh,
)


def leaves(torch: ModuleType, *arrays: np.ndarray) -> list[Any]:
    return [torch.tensor(array, requires_grad=True) for array in arrays]


def assert_agree(lib: Lib, ours: Any, theirs: Any) -> None:
    assert len(ours) == len(theirs)
    for mine, tensor in zip(ours, theirs, strict=True):
        lib.assert_close(mine, tensor.detach().numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "stride", "padding"),
    [
        ((2, 1, 28, 28), (6, 1, 5, 5), 1, 2),
        ((3, 6, 14, 14), (16, 6, 5, 5), 1, 0),
        ((2, 3, 9, 7), (4, 3, 3, 2), (2, 3), (1, 2)),
        ((2, 3, 9, 7), (4, 3, 2, 2), 4, 0),
        ((1, 2, 3, 3), (2, 2, 5, 4), 1, (1, 3)),
        ((2, 2, 6, 5), (3, 2, 4, 2), 1, "SAME"),
        ((2, 2, 6, 5), (3, 2, 3, 5), 1, "SAME"),
        ((2, 2, 6, 5), (3, 2, 4, 2), 1, "VALID"),
    ],
)
def test_conv2d(
    lib: Lib, torch: ModuleType, rng: np.random.Generator, x_shape: Any, w_shape: Any, stride: Any, padding: Any
) -> None:
    x, weight, bias = rng.standard_normal(x_shape), rng.standard_normal(w_shape), rng.standard_normal(w_shape[0])
    tensors = leaves(torch, x, weight, bias)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says that an even kernel with "same" costs it a copy
        theirs = torch.nn.functional.conv2d(
            *tensors, stride=stride, padding=padding.lower() if isinstance(padding, str) else padding
        )
    dy = rng.standard_normal(tuple(theirs.shape))
    theirs.backward(torch.tensor(dy))
    y, cache = conv2d.forward(*map(lib.asarray, (x, weight, bias)), stride, padding)
    assert_agree(lib, [y, *conv2d.backward(lib.asarray(dy), cache)], [theirs, *(t.grad for t in tensors)])


@pytest.mark.parametrize("module", [conv2d, conv2d_rows], ids=["img2col", "rows"])
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "stride", "padding", "dilation", "groups"),
    [
        ((2, 4, 9, 8), (6, 4, 3, 2), (2, 1), (1, 2), (2, 3), 1),
        ((2, 4, 9, 8), (6, 2, 3, 2), 1, 1, 1, 2),
        ((2, 6, 7, 8), (6, 1, 3, 3), 2, 1, 1, 6),
        ((2, 3, 7, 8), (9, 1, 3, 3), (1, 2), (2, 0), (1, 2), 3),
        ((2, 4, 9, 8), (4, 2, 3, 4), 1, "SAME", 2, 2),
        ((2, 4, 2, 3), (8, 1, 2, 3), 1, 0, 1, 4),
    ],
)
def test_conv2d_with_dilation_and_groups(
    lib: Lib,
    torch: ModuleType,
    rng: np.random.Generator,
    module: Any,
    x_shape: Any,
    w_shape: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> None:
    x, weight, bias = rng.standard_normal(x_shape), rng.standard_normal(w_shape), rng.standard_normal(w_shape[0])
    tensors = leaves(torch, x, weight, bias)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says that an even kernel with "same" costs it a copy
        theirs = torch.nn.functional.conv2d(
            *tensors, stride, padding.lower() if isinstance(padding, str) else padding, dilation, groups
        )
    dy = rng.standard_normal(tuple(theirs.shape))
    theirs.backward(torch.tensor(dy))
    y, cache = module.forward(*map(lib.asarray, (x, weight, bias)), stride, padding, dilation, groups)
    assert_agree(lib, [y, *module.backward(lib.asarray(dy), cache)], [theirs, *(t.grad for t in tensors)])


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("dilation", [1, (2, 1)])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [
        ((2, 6, 28, 28), 2, 2, 0),
        ((2, 3, 9, 7), 2, 2, 0),
        ((2, 3, 9, 7), 3, 1, 1),
        ((2, 3, 9, 8), 3, 2, 1),
        ((2, 3, 9, 7), (4, 2), (3, 1), (2, 1)),
        ((1, 2, 5, 5), (2, 3), (3, 4), (1, 0)),
        ((2, 1, 4, 4), 2, 3, 1),
        ((2, 1, 4, 5), (4, 5), 1, 0),
        ((1, 2, 6, 9), 3, 5, 1),
    ],
)
def test_maxpool2d(
    lib: Lib,
    torch: ModuleType,
    rng: np.random.Generator,
    shape: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    ties: bool,
) -> None:
    """PyTorch too gives a tie to the first in row-major order."""
    if dilation != 1 and kernel == (4, 5):
        shape = (2, 1, 7, 5)  # else it does not fit
    x = rng.integers(-3, 0, shape).astype(np.float64) if ties else rng.standard_normal(shape)
    (tensor,) = leaves(torch, x)
    theirs, positions = torch.nn.functional.max_pool2d(
        tensor, kernel, stride, padding, dilation, ceil_mode, return_indices=True
    )
    dy = rng.standard_normal(tuple(theirs.shape))
    theirs.backward(torch.tensor(dy))
    y, cache = maxpool2d.forward(lib.asarray(x), kernel, stride, padding, ceil_mode, dilation)
    lib.assert_equal(maxpool2d.argmax(cache), positions.numpy(), dtype="int64")
    assert_agree(lib, [y, maxpool2d.backward(lib.asarray(dy), cache)], [theirs, tensor.grad])


@pytest.mark.parametrize("seed", range(60))
def test_avgpool2d(lib: Lib, torch: ModuleType, seed: int) -> None:
    """With whatever PyTorch takes: no more than half a kernel of padding."""
    rng = np.random.default_rng(seed)
    kernel, stride = (tuple(int(k) for k in rng.integers(1, 6, 2)) for _ in range(2))
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    size = [int(rng.integers(max(1, k - 2 * p), 12)) for k, p in zip(kernel, padding, strict=True)]
    ceil_mode, counted = (bool(one) for one in rng.integers(2, size=2))
    x = rng.standard_normal((2, 3, *size))
    (tensor,) = leaves(torch, x)
    theirs = torch.nn.functional.avg_pool2d(tensor, kernel, stride, padding, ceil_mode, counted)
    dy = rng.standard_normal(tuple(theirs.shape))
    theirs.backward(torch.tensor(dy))
    y, cache = avgpool2d.forward(lib.asarray(x), kernel, stride, padding, ceil_mode, counted)
    assert_agree(lib, [y, avgpool2d.backward(lib.asarray(dy), cache)], [theirs, tensor.grad])


@pytest.mark.parametrize("module", [tanh, sigmoid], ids=["tanh", "sigmoid"])
def test_tanh_and_sigmoid(lib: Lib, torch: ModuleType, rng: np.random.Generator, module: Any) -> None:
    x, dy = 5 * rng.standard_normal((3, 2, 4, 5)), rng.standard_normal((3, 2, 4, 5))
    (tensor,) = leaves(torch, x)
    theirs = torch.tanh(tensor) if module is tanh else torch.sigmoid(tensor)
    theirs.backward(torch.tensor(dy))
    y, cache = module.forward(lib.asarray(x))
    assert_agree(lib, [y, module.backward(lib.asarray(dy), cache)], [theirs, tensor.grad])


@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (8, 3), (1, 3, 1, 2)])
def test_batchnorm(lib: Lib, torch: ModuleType, rng: np.random.Generator, shape: Any, eps: float) -> None:
    x, dy = rng.normal(2, 3, shape), rng.standard_normal(shape)
    weight, bias, mean = (rng.standard_normal(3) for _ in range(3))
    var = rng.uniform(0.5, 2, 3)
    for training in (True, False):
        tensors = leaves(torch, x, weight, bias)
        running = [torch.tensor(mean), torch.tensor(var)]
        theirs = torch.nn.functional.batch_norm(tensors[0], *running, *tensors[1:], training=training, eps=eps)
        theirs.backward(torch.tensor(dy))
        if training:
            y, cache = batchnorm.forward_training(*map(lib.asarray, (x, weight, bias)), eps)
            gradients = batchnorm.backward_training(lib.asarray(dy), cache)
        else:
            y, cache = batchnorm.forward_evaluation(*map(lib.asarray, (x, weight, bias, mean, var)), eps)
            gradients = batchnorm.backward_evaluation(lib.asarray(dy), cache)
        assert_agree(lib, [y, *gradients], [theirs, *(t.grad for t in tensors)])


def test_linear_and_relu(lib: Lib, torch: ModuleType, rng: np.random.Generator) -> None:
    x, weight, bias = rng.standard_normal((5, 7)), rng.standard_normal((4, 7)), rng.standard_normal(4)
    tensors = leaves(torch, x, weight, bias)
    theirs = torch.nn.functional.relu(torch.nn.functional.linear(*tensors))
    dy = rng.standard_normal((5, 4))
    theirs.backward(torch.tensor(dy))
    hidden, linear_cache = linear.forward(*map(lib.asarray, (x, weight, bias)))
    y, relu_cache = relu.forward(hidden)
    gradients = linear.backward(relu.backward(lib.asarray(dy), relu_cache), linear_cache)
    assert_agree(lib, [y, *gradients], [theirs, *(t.grad for t in tensors)])


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_softmax_cross_entropy(lib: Lib, torch: ModuleType, rng: np.random.Generator, scale: float) -> None:
    logits, labels = scale * rng.standard_normal((7, 10)), rng.integers(0, 10, 7)
    (tensor,) = leaves(torch, logits)
    theirs = torch.nn.functional.cross_entropy(tensor, torch.tensor(labels))
    theirs.backward()
    loss, cache = softmax_cross_entropy.forward(lib.asarray(logits), lib.asarray(labels))
    assert_agree(lib, [loss, softmax_cross_entropy.backward(1.0, cache)], [theirs, tensor.grad])
