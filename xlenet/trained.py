"""A trained network as a file holds it: ready to be asked, with what its pictures must look like."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from .checkpoint import load_model
from .data import Normalization
from .errors import DataError, shown
from .layers import Layer
from .models import LeNet5

_MOST_CLASSES, _MOST_CHANNELS = 100_000, 1_000  # a file of a few bytes does not decide how much memory is taken


class Trained(NamedTuple):
    """A network and what it was trained on.

    Attributes:
        model: in evaluation mode, in the default backend.
        normalization: mean and standard deviation of each channel of its training images, in pixels of 0 to 255.
        class_names: name of each class.
        image_shape: (C, H, W) of the images that it takes.
        title: what it is, in words.
    """

    model: Layer
    normalization: Normalization
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    title: str


def load_trained(path: str | os.PathLike[str]) -> Trained:
    """Return the network that ``python -m xlenet.train`` has left in `path`, ``model.safetensors`` or
    ``best.safetensors``.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is damaged, of another kind, or does not say what network it is of.
    """
    state, about = load_model(path)
    try:
        return _lenet(state, about)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"load_trained: got {os.fspath(path)!r}, a file of arrays that is no trained network "
            f"({_reason(error)}); expected a model that python -m xlenet.train has left; name its model.safetensors"
        ) from error


def _reason(error: Exception) -> str:
    return f"it says nothing of {error}" if isinstance(error, KeyError) else str(error)


def _lenet(state: dict[str, Any], about: dict[str, Any]) -> Trained:
    if about["architecture"] != "LeNet5":
        raise ValueError(f"the architecture is {shown(about['architecture'])}")
    classes, channels = about["classes"], about["channels"]
    if not isinstance(classes, int) or classes > _MOST_CLASSES or not isinstance(channels, int):
        raise ValueError(f"{shown(classes)} classes, {shown(channels)} channels")
    if channels > _MOST_CHANNELS:
        raise ValueError(f"{channels} channels")
    relu_after_conv3 = about["relu_after_conv3"]
    model = LeNet5(about["image_size"], channels=channels, classes=classes, relu_after_conv3=relu_after_conv3, rng=0)
    model.load_state_dict(state).eval()
    normalization = Normalization(*(tuple(map(float, about["normalization"][name])) for name in ("mean", "std")))
    names = about.get("class_names", [str(label) for label in range(classes)])
    if not isinstance(names, list) or len(names) != classes or not all(isinstance(name, str) for name in names):
        raise ValueError(f"names of classes {shown(names)} for {classes} classes")
    size = model.image_size
    return Trained(model, normalization, tuple(names), (channels, size, size), "LeNet-5")
