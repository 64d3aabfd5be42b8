"""Weights go to PyTorch and come back, in files: equal logits there, equal bits here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.libraries import Lib
from tests.networks import lenet_in_torch, on
from xlenet import BatchNorm, Conv2D, Flatten, Layer, LeNet5, Linear, MaxPool2D, ReLU, Sequential
from xlenet.checkpoint import load_model, save_model


class Pair(NamedTuple):
    """A network here, the same one in PyTorch (from the arrays it begins with), and the shape of a batch."""

    ours: Callable[[int], Layer]  # from a seed
    theirs: Callable[[ModuleType, dict[str, Any]], Any]
    shape: tuple[int, ...]
    dtype: str = "float32"


def lenet(size: int = 28, dtype: str = "float32", **options: Any) -> Pair:
    return Pair(
        lambda seed: LeNet5(size, rng=seed, dtype=dtype, **options),
        lambda torch, state: lenet_in_torch(torch, state, size, **options),
        (8, options.get("channels", 1), size, size),
        dtype,
    )


def cifar(seed: int) -> Sequential:
    """For 32x32 images in colour, with Sequentials in it, groups, dilation, and layers without a bias."""
    rng = np.random.default_rng(seed)
    return Sequential(
        stem=Sequential(
            conv=Conv2D(3, 16, 3, padding=1, bias=False, rng=rng),
            bn=BatchNorm(16, decay=0.8, eps=1e-3),
            relu=ReLU(),
            pool=MaxPool2D(3, 2, 1),
        ),
        block=Sequential(
            depthwise=Conv2D(16, 16, (3, 5), stride=(2, 1), padding=(1, 2), groups=16, rng=rng),
            pointwise=Conv2D(16, 24, 1, rng=rng),
            bn=BatchNorm(24),
            relu=ReLU(),
            dilated=Conv2D(24, 12, 3, dilation=2, padding=2, rng=rng),
            pool=MaxPool2D(2),
        ),
        flatten=Flatten(),
        fc1=Linear(12 * 4 * 8, 32, bias=False, rng=rng),
        norm=BatchNorm(32),
        relu=ReLU(),
        fc2=Linear(32, 10, rng=rng),
    )


def cifar_in_torch(torch: ModuleType, state: dict[str, Any]) -> Any:
    nn = torch.nn

    def chain(**modules: Any) -> Any:
        return nn.Sequential(OrderedDict(modules))

    module = chain(
        stem=chain(
            conv=nn.Conv2d(3, 16, 3, padding=1, bias=False),
            bn=nn.BatchNorm2d(16, momentum=0.2, eps=1e-3),
            relu=nn.ReLU(),
            pool=nn.MaxPool2d(3, 2, 1),
        ),
        block=chain(
            depthwise=nn.Conv2d(16, 16, (3, 5), stride=(2, 1), padding=(1, 2), groups=16),
            pointwise=nn.Conv2d(16, 24, 1),
            bn=nn.BatchNorm2d(24),
            relu=nn.ReLU(),
            dilated=nn.Conv2d(24, 12, 3, dilation=2, padding=2),
            pool=nn.MaxPool2d(2),
        ),
        flatten=nn.Flatten(),
        fc1=nn.Linear(12 * 4 * 8, 32, bias=False),
        norm=nn.BatchNorm1d(32),
        relu=nn.ReLU(),
        fc2=nn.Linear(32, 10),
    )
    module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state.items()}, strict=True)
    return module


PAIRS = {
    "LeNet-5": lenet(),
    "LeNet-5 with ReLU after conv3": lenet(relu_after_conv3=True),
    "LeNet-5 for 32x32, three channels, seven classes": lenet(32, channels=3, classes=7),
    "LeNet-5 in float64": lenet(28, "float64", relu_after_conv3=True),
    "CIFAR": Pair(cifar, cifar_in_torch, (6, 3, 32, 32)),
}

each_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())


def draw(pair: Pair, rng: np.random.Generator) -> np.ndarray:
    return (rng.standard_normal(pair.shape) + 0.3).astype(pair.dtype)


def moved(pair: Pair, rng: np.random.Generator, seed: int = 0) -> Layer:
    """A network whose running statistics, biases and scales are not their first values."""
    model = pair.ours(seed)
    for _, array in model.named_parameters():
        array += 0.02 * rng.standard_normal(array.shape).astype(pair.dtype)
    for _ in range(3):
        model(draw(pair, rng))
    return model


def assert_equal_bits(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(actual) == list(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype, name
        assert actual[name].shape == value.shape, name
        assert np.asarray(actual[name]).tobytes() == np.asarray(value).tobytes(), name


@each_pair
def test_a_file_of_ours_gives_equal_logits_in_pytorch(
    pair: Pair, tmp_path: Path, rng: np.random.Generator, torch: Any
) -> None:
    """In evaluation, and in training, after which the running statistics are equal, too."""
    from safetensors.torch import load_file  # it loads torch, which not everyone has

    model = moved(pair, rng)
    save_model(tmp_path / "model.safetensors", model, {"architecture": "of the test"})
    module = pair.theirs(torch, pair.ours(1).state_dict())
    assert str(module.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=True)) == (
        "<All keys matched successfully>"
    )
    x = draw(pair, rng)
    with torch.no_grad():
        evaluated = module.eval()(torch.from_numpy(x)).numpy()
        trained = module.train()(torch.from_numpy(x)).numpy()
    assert evaluated.dtype == model.infer(x).dtype == pair.dtype
    assert np.abs(model.infer(x) - evaluated).max() <= 1e-5
    assert np.abs(model.forward(x) - trained).max() <= 1e-5
    theirs = {name: tensor.numpy() for name, tensor in module.state_dict().items() if "running" in name}
    assert theirs
    for name, array in theirs.items():
        np.testing.assert_allclose(model.state_dict()[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


@each_pair
def test_a_file_of_pytorchs_comes_here_bit_by_bit(
    pair: Pair, tmp_path: Path, rng: np.random.Generator, torch: Any
) -> None:
    """After some steps of training there, with its count of batches and its memory orders."""
    from safetensors.torch import save_file

    module = pair.theirs(torch, pair.ours(0).state_dict()).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(
            module(torch.from_numpy(draw(pair, rng))), torch.from_numpy(rng.integers(7, size=pair.shape[0]))
        ).backward()
        optimizer.step()
    save_file(module.state_dict(), tmp_path / "theirs.safetensors")
    state, about = load_model(tmp_path / "theirs.safetensors")
    assert about == {}
    model = pair.ours(5).load_state_dict(state)
    expected = {name: t.numpy() for name, t in module.state_dict().items() if "num_batches" not in name}
    actual = model.state_dict()
    assert_equal_bits({name: actual[name] for name in expected}, expected)
    assert set(actual) == set(expected)
    assert_equal_bits(pair.ours(6).load_state_dict(module.state_dict()).state_dict(), actual)  # and without a file
    x = draw(pair, rng)
    with torch.no_grad():
        assert np.abs(model.infer(x) - module.eval()(torch.from_numpy(x)).numpy()).max() <= 1e-5


@each_pair
def test_there_and_back_is_the_same_file(pair: Pair, tmp_path: Path, rng: np.random.Generator, torch: Any) -> None:
    from safetensors.torch import load_file, save_file

    model = moved(pair, rng)
    save_model(tmp_path / "ours", model, {})
    module = pair.theirs(torch, pair.ours(1).state_dict())
    module.load_state_dict(load_file(tmp_path / "ours"), strict=True)
    save_file(module.state_dict(), tmp_path / "theirs")
    back = pair.ours(2).load_state_dict(load_model(tmp_path / "theirs")[0])
    assert_equal_bits(back.state_dict(), model.state_dict())
    save_model(tmp_path / "back", back, {})
    assert (tmp_path / "back").read_bytes() == (tmp_path / "ours").read_bytes()


def test_a_file_that_does_not_fit_is_refused_here_as_there(tmp_path: Path, torch: Any) -> None:
    from safetensors.torch import load_file

    save_model(tmp_path / "model", LeNet5(rng=0, classes=7), {})
    with pytest.raises(RuntimeError, match=r"size mismatch for fc5\.weight"):
        lenet_in_torch(torch, LeNet5(rng=0).state_dict()).load_state_dict(load_file(tmp_path / "model"))
    with pytest.raises(ValueError, match=r"fc5\.weight of shape \(7, 84\); expected \(10, 84\)"):
        LeNet5(rng=0).load_state_dict(load_model(tmp_path / "model")[0])


def test_tensors_go_to_every_library(lib: Lib, torch: Any) -> None:
    """What PyTorch holds as channels last arrives by its numbers, on whichever library the network is."""
    module = lenet_in_torch(torch, LeNet5(rng=3).state_dict()).to(memory_format=torch.channels_last)
    with on(lib):
        model = LeNet5(rng=0)
    model.load_state_dict(module.state_dict())
    host = {name: lib.to_numpy(array) for name, array in model.state_dict().items()}
    assert_equal_bits(host, LeNet5(rng=3).state_dict())


def test_parameters_of_a_module_are_taken_with_their_gradients(torch: ModuleType) -> None:
    """Of dict(module.named_parameters()) the numbers alone are read: no gradient is lost by that."""
    theirs, ours = torch.nn.Linear(3, 2), Linear(3, 2, rng=0)
    ours.load_state_dict(dict(theirs.named_parameters()))
    for name, array in theirs.named_parameters():
        np.testing.assert_array_equal(ours.params[name], array.detach().numpy())


def test_weights_of_bfloat16_are_told(torch: ModuleType) -> None:
    theirs, ours = torch.nn.Linear(3, 2).bfloat16(), Linear(3, 2, rng=0)
    with pytest.raises(TypeError, match=r"got weight, a torch\.Tensor; .*; NumPy has no bfloat16: .*\.float\(\)"):
        ours.load_state_dict(theirs.state_dict())
    ours.load_state_dict(theirs.float().state_dict())
