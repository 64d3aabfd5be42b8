"""What the tests above the functional core share: backend names, a small network, LeNet-5 in PyTorch."""

from __future__ import annotations

from collections import OrderedDict
from types import ModuleType
from typing import Any

import numpy as np

from tests.libraries import Lib
from xlenet import BatchNorm, Conv2D, Flatten, Layer, Linear, MaxPool2D, ReLU, Sequential, use_backend


def backend_name(lib: Lib) -> str:
    """The name by which xlenet knows the library and the device that the tests use."""
    return "array_api_strict:1" if lib.name == "array_api_strict" else lib.name


def on(lib: Lib) -> Any:
    """A ``with`` block in which new layers are made on `lib`."""
    return use_backend(backend_name(lib))


def small_network(dtype: str = "float64", **options: Any) -> Sequential:
    """Every kind of layer once, for x (N, 2, 7, 6) and three classes."""
    return Sequential(
        conv=Conv2D(2, 3, 3, padding="SAME", rng=1, dtype=dtype, **options),
        pool=MaxPool2D((3, 2), stride=2),
        bn=BatchNorm(3, dtype=dtype, **options),
        relu=ReLU(),
        flatten=Flatten(),
        fc=Linear(27, 3, rng=2, dtype=dtype, **options),
    )


SMALL_SHAPE = (5, 2, 7, 6)


def parameters(lib: Lib, layer: Layer) -> dict[str, np.ndarray]:
    """Host copies of the parameters, by their full names."""
    return {name: lib.to_numpy(array) for name, array in layer.named_parameters()}


def gradients(lib: Lib, layer: Layer) -> dict[str, np.ndarray]:
    """Host copies of the gradients, by the full names of their parameters."""
    return {
        f"{prefix}.{name}" if prefix else name: lib.to_numpy(array)
        for prefix, leaf in layer.leaves()
        for name, array in leaf.grads.items()
    }


def lenet_in_torch(
    torch: ModuleType,
    state: dict[str, Any],
    image_size: int = 28,
    *,
    relu_after_conv3: bool = False,
    channels: int = 1,
    classes: int = 10,
) -> Any:
    """LeNet-5 as PyTorch's own modules, with the arrays of `state` loaded strictly."""
    nn = torch.nn
    layers: list[tuple[str, Any]] = [
        ("conv1", nn.Conv2d(channels, 6, 5, padding=2 if image_size == 28 else 0)),
        ("pool1", nn.MaxPool2d(2)),
        ("bn1", nn.BatchNorm2d(6)),
        ("relu1", nn.ReLU()),
        ("conv2", nn.Conv2d(6, 16, 5)),
        ("pool2", nn.MaxPool2d(2)),
        ("bn2", nn.BatchNorm2d(16)),
        ("relu2", nn.ReLU()),
        ("conv3", nn.Conv2d(16, 120, 5)),
        ("flatten", nn.Flatten()),
        ("fc4", nn.Linear(120, 84)),
        ("relu4", nn.ReLU()),
        ("fc5", nn.Linear(84, classes)),
    ]
    if relu_after_conv3:
        layers.insert(9, ("relu3", nn.ReLU()))
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in state.items()}
    module = nn.Sequential(OrderedDict(layers)).to(next(iter(tensors.values())).dtype)
    module.load_state_dict(tensors, strict=True)
    return module


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def assert_gradients_agree(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> None:
    """Compare LeNet-5's gradients one by one, each against its own size.

    The biases of conv1 and conv2 are the exception: pooling and batch normalisation take every constant out again, so
    their gradients are 0, and what is there is rounding, to be judged against the gradient of the weights beside them.
    """
    assert list(actual) == list(expected)
    for name, value in expected.items():
        if name in ("conv1.bias", "conv2.bias"):
            largest = tolerance * np.linalg.norm(expected[name.replace("bias", "weight")])
            assert np.linalg.norm(value) <= largest, name
            assert np.linalg.norm(actual[name]) <= largest, name
        else:
            assert relative_error(actual[name], value) <= tolerance, name
