"""The pictures that a training run leaves in its folder, all of them from what a run has at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .backend import Array, to_host
from .data import Images
from .inside import Answers, answers, first_filters, layer_results
from .layers import Layer
from .metrics import confusion_matrix
from .plotting import plot_confusion, plot_curves, plot_features, plot_filters, plot_mistakes

CURVES, FILTERS = "curves.png", "filters.png"
OF_IMAGES = ("confusion.png", "features.png", "mistakes.png")  # these want the data set
PICTURES = (CURVES, *OF_IMAGES, FILTERS)
_LARGEST = 1e300  # beyond it Matplotlib's own arithmetic overflows


class Drawn(NamedTuple):
    """The pictures that there are now, and which are left out and why; nothing if none is."""

    paths: list[Path]
    left_out: str = ""


def draw_curves(folder: Path, history: Sequence[Mapping[str, Any]], title: str) -> Path:
    """Draw loss and accuracy of the epochs in `history`, the objects of metrics.jsonl."""
    return plot_curves(history, folder / CURVES, title=title)


def draw_filters(folder: Path, model: Layer, title: str) -> Path | None:
    """Draw the filters of the first convolution; None where there is none."""
    found = first_filters(model)
    if found is None:
        return None
    name, weight = found
    return plot_filters(weight, folder / FILTERS, f"{title}: {name}")


def draw_images(
    folder: Path, model: Layer, test: Images, class_names: Sequence[str], title: str, number: int = 0
) -> Drawn:
    """Draw what the model makes of the test images: confusion matrix, the way of one of them, the worst mistakes. What
    is made of numbers that are not finite is left out.

    Args:
        folder: of the pictures.
        model: gives logits (N, K) for images.
        test: labelled images.
        class_names: the K names.
        title: what was trained on what.
        number: which image goes through the layers.
    """
    confusion, features, mistakes = (folder / name for name in OF_IMAGES)
    with np.errstate(all="ignore"):  # it is said in words
        said = answers(model, test)
        layers = layer_results(model, test.batch(slice(number, number + 1))[0])
    if not np.isfinite(said.probabilities).all():
        return Drawn([], f"{', '.join(OF_IMAGES)}; the network's answers are not finite numbers")
    matrix = confusion_matrix(said.labels, said.predictions, len(class_names))
    paths = [
        plot_confusion(matrix, class_names, confusion, title=title),
        plot_mistakes(to_host(test.x), said.labels, said.probabilities, class_names, mistakes, title),
    ]
    broken = [name for name, values in layers.items() if not (np.abs(values.astype(np.float64)) <= _LARGEST).all()]
    if broken:
        return Drawn(paths, f"{features.name}; what {broken[0]} makes of the image are not finite numbers")
    return Drawn([*paths, _draw_features(features, layers, test, said, class_names, title, number)])


def _draw_features(
    path: Path,
    layers: Mapping[str, Any],
    test: Images,
    said: Answers,
    class_names: Sequence[str],
    title: str,
    number: int,
) -> Path:
    image: Array = to_host(test.x[number, ...])
    words, label = f"{title}: test image {number}, layer by layer", int(said.labels[number])
    return plot_features(image, layers, said.probabilities[number], class_names, path, words, label=label)
