"""A trained network out of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xlenet import LeNet5
from xlenet.checkpoint import save_model
from xlenet.data import Normalization
from xlenet.errors import DataError
from xlenet.trained import load_trained

ABOUT = {
    "architecture": "LeNet5",
    "image_size": 28,
    "channels": 1,
    "classes": 3,
    "class_names": ["cat", "dog", "owl"],
    "relu_after_conv3": False,
    "normalization": {"mean": [33.0], "std": [78.5]},
}


def test_a_network_comes_back_ready_to_be_asked(tmp_path: Path, rng: np.random.Generator) -> None:
    model = LeNet5(classes=3, rng=5)
    save_model(tmp_path / "m.safetensors", model, ABOUT)
    trained = load_trained(tmp_path / "m.safetensors")
    x = rng.standard_normal((2, 1, 28, 28)).astype(np.float32)
    np.testing.assert_array_equal(trained.model.infer(x), model.infer(x))
    assert not trained.model.training
    assert trained.normalization == Normalization((33.0,), (78.5,))
    assert (trained.class_names, trained.image_shape) == (("cat", "dog", "owl"), (1, 28, 28))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architecture": "ResNet"}, "the architecture is 'ResNet'"),
        ({"classes": 10**12}, "1000000000000 classes"),
        ({"classes": "3"}, "'3' classes"),
        ({"channels": 10**6}, "1000000 channels"),
        ({"image_size": 5}, "image_size 5"),
        ({"classes": 4}, "for 4 classes"),
        ({"normalization": {"mean": ["a"], "std": [1.0]}}, "could not convert"),
        ({"normalization": 3}, "not subscriptable"),
        ({"class_names": "abc"}, "names of classes 'abc'"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    save_model(tmp_path / "m.safetensors", LeNet5(classes=3, rng=5), ABOUT | change)
    with pytest.raises(DataError, match=r"no trained network") as caught:
        load_trained(tmp_path / "m.safetensors")
    if change != {"classes": 4}:  # the arrays do not fit, said first
        assert reason in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(ABOUT) - {"class_names"}))
def test_a_file_that_says_nothing_of_it_is_refused(tmp_path: Path, name: str) -> None:
    about = {key: value for key, value in ABOUT.items() if key != name}
    save_model(tmp_path / "m.safetensors", LeNet5(classes=3, rng=5), about)
    with pytest.raises(DataError, match=f"it says nothing of '{name}'"):
        load_trained(tmp_path / "m.safetensors")
