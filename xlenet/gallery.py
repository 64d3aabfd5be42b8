"""The pictures that a training run leaves in its folder, all of them from what a run has at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .backend import Array, to_host
from .data import Images
from .inside import Answers, answers, first_filters, layer_results
from .layers import Layer
from .metrics import confusion_matrix
from .plotting import plot_confusion, plot_curves, plot_features, plot_filters, plot_mistakes

CURVES, FILTERS = "curves.png", "filters.png"
OF_IMAGES = ("confusion.png", "features.png", "mistakes.png")  # these want the data set
PICTURES = (CURVES, *OF_IMAGES, FILTERS)


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
) -> list[Path]:
    """Draw what the model makes of the test images: confusion matrix, the way of one of them, the worst mistakes.

    Args:
        folder: of the pictures.
        model: gives logits (N, K) for images.
        test: labelled images.
        class_names: the K names.
        title: what was trained on what.
        number: which image goes through the layers.
    """
    said = answers(model, test)
    matrix = confusion_matrix(said.labels, said.predictions, len(class_names))
    confusion, features, mistakes = (folder / name for name in OF_IMAGES)
    return [
        plot_confusion(matrix, class_names, confusion, title=title),
        _draw_features(features, model, test, said, class_names, title, number),
        plot_mistakes(to_host(test.x), said.labels, said.probabilities, class_names, mistakes, title),
    ]


def _draw_features(
    path: Path, model: Layer, test: Images, said: Answers, class_names: Sequence[str], title: str, number: int
) -> Path:
    x, _ = test.batch(slice(number, number + 1))
    image: Array = to_host(test.x[number, ...])
    layers = layer_results(model, x)
    words, label = f"{title}: test image {number}, layer by layer", int(said.labels[number])
    return plot_features(image, layers, said.probabilities[number], class_names, path, words, label=label)
