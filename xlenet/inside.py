"""What a trained network says of images, and what each of its layers makes of one: for pictures, on the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .backend import Array, to_host
from .checks import check_kind
from .data import Images
from .layers import Layer
from .training import predict


class Answers(NamedTuple):
    """What a network says of labelled images.

    Attributes:
        labels: the true classes, (N,).
        predictions: the classes with the highest score, (N,).
        probabilities: of all classes, (N, K).
    """

    labels: Any
    predictions: Any
    probabilities: Any


def answers(model: Layer, images: Images, *, batch_size: int = 500) -> Answers:
    """Return what the network says of all images, by the rules of evaluation.

    Args:
        model: gives logits (N, K) for images.
        images: labelled images.
        batch_size: images at a time; only memory depends on it.

    Example:
        >>> from xlenet import Flatten, Linear, Sequential
        >>> images = Images(np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2), np.array([0, 1, 1]))
        >>> answers(Sequential(flatten=Flatten(), fc=Linear(4, 2, rng=0)), images).probabilities.shape
        (3, 2)
    """
    check_kind("answers", "model", model, Layer, "a Layer")
    check_kind("answers", "images", images, Images, "labelled Images")
    probabilities = predict(model, images, batch_size=batch_size)
    return Answers(to_host(images.y), probabilities.argmax(axis=1), probabilities)


def layer_results(model: Layer, x: Array) -> dict[str, Any]:
    """Return what each layer makes of a batch of one image, without the batch, by the rules of evaluation.

    Args:
        model: of which a `Sequential` is taken apart, as deep as it goes.
        x: (1, C, H, W).

    Returns:
        Host arrays by the layers' full names, in the order of the forward pass.

    Example:
        >>> from xlenet import LeNet5
        >>> results = layer_results(LeNet5(rng=0), np.zeros((1, 1, 28, 28), np.float32))
        >>> results["conv1"].shape, list(results)[-1]
        ((6, 28, 28), 'fc5')
    """
    check_kind("layer_results", "model", model, Layer, "a Layer")
    return {name: np.array(to_host(y)[0]) for name, y in _results("", model, x)}


def _results(name: str, layer: Layer, x: Array) -> Iterator[tuple[str, Array]]:
    inner = layer._inner()
    for part, child in inner.items():
        yield from _results(f"{name}.{part}" if name else part, child, x)
        x = child.infer(x)
    if not inner:
        yield name or type(layer).__name__, layer.infer(x)


def first_filters(model: Layer) -> tuple[str, Any] | None:
    """Return the name and the weight, on the host, of the first convolution; None where there is none.

    Example:
        >>> from xlenet import LeNet5
        >>> name, weight = first_filters(LeNet5(rng=0))
        >>> name, weight.shape
        ('conv1', (6, 1, 5, 5))
    """
    check_kind("first_filters", "model", model, Layer, "a Layer")
    for name, leaf in model.leaves():
        weight = leaf.params.get("weight")
        if weight is not None and weight.ndim == 4:
            return name or type(leaf).__name__, to_host(weight)
    return None
