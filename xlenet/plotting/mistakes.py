"""Where a classifier was wrong, and how sure it was."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import Array
from ..checks import check_kind, check_path, check_texts, integer
from ..data.host import on_host
from .figures import BLUE, VERMILLION, Board, fitted, inches_of, percent
from .images import as_picture, checked_images

_COLUMNS, _IMAGE, _LINE = 6, 1.1, 0.17  # of which the lengths are inches
_NARROW, _WIDE, _BETWEEN = 1.25, 2.2, 0.15  # of the words under an image, and between two of them
_POINTS = 8.5
_AROUND = inches_of("said  (> 99.99 %)", _POINTS)  # a name


def plot_mistakes(
    images: Array,
    labels: Array,
    probabilities: Array,
    class_names: Sequence[str],
    path: str | os.PathLike[str],
    title: str = "Mistakes",
    *,
    most: int = 30,
) -> Path:
    """Draw the images that were taken for something else, those first of which the network was surest.

    Under each image: the predicted class with its probability, and the true class with its own. Where there is no
    mistake at all, the right answers are drawn that it was least sure of.

    Args:
        images: (N, C, H, W), host NumPy; uint8, or floating: then of each image the least number is black and the
            largest white.
        labels: true classes (N,), integers, host NumPy.
        probabilities: of the classes, (N, K), host NumPy; the largest is the predicted class.
        class_names: the K names, in the order of the labels.
        path: the PNG to write.
        title: what was tested on what; how many mistakes there are is written under it.
        most: how many images to draw at most.

    Returns:
        `path` as a `Path`.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: shapes that do not go together, or numbers that are not finite.
        MissingExtraError: Matplotlib is not installed.
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> images, labels = np.zeros((2, 1, 8, 8), np.uint8), np.array([0, 1])
        >>> probabilities = np.array([[0.9, 0.1], [0.7, 0.3]])  # the second one is wrong
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_mistakes(images, labels, probabilities, ["cat", "dog"], folder + "/mistakes.png").name
        'mistakes.png'
    """
    check_texts("plot_mistakes", "class_names", class_names)
    check_path("plot_mistakes", path)
    check_kind("plot_mistakes", "title", title, str, "a text")
    most = integer("plot_mistakes", "most", most, 1)
    pixels = checked_images("plot_mistakes", images)
    true, shares = _checked(labels, probabilities, len(pixels), class_names)
    predicted = shares.argmax(axis=1)
    sure = shares[np.arange(len(shares)), predicted]
    wrong = np.flatnonzero(predicted != true)
    chosen = wrong[np.argsort(-sure[wrong], kind="stable")] if len(wrong) else np.argsort(sure, kind="stable")
    chosen = chosen[:most]
    columns = min(_COLUMNS, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    cell = _IMAGE + 2 * _LINE + 0.22
    longest = max(inches_of(class_names[i], _POINTS) for k in chosen for i in (predicted[k], true[k]))
    room = min(_WIDE, max(_NARROW, longest + _AROUND))
    board = Board(max(0.3 + columns * (room + _BETWEEN), 6.0), 0.78 + rows * cell)
    board.text(fitted(title, board.width - 0.4, 12), 0.2, 0.25, 12)
    board.text(_summary(len(wrong), len(true), len(chosen)), 0.2, 0.52, 9, color="#6B6B6B")
    for place, k in enumerate(chosen):
        row, column = divmod(place, columns)
        x, y = 0.2 + column * (room + _BETWEEN), 0.78 + row * cell
        _draw_image(board, as_picture(pixels[k]), x, y)
        lines = [("said", predicted[k], VERMILLION)] if len(wrong) else []
        for number, (word, index, colour) in enumerate([*lines, ("true", true[k], BLUE)]):
            share = f"({percent(shares[k, index])})"
            name = fitted(class_names[index], room - _AROUND, _POINTS)
            words = f"{word} {name} {share}"
            board.text(words, x, y + _IMAGE + (number + 0.7) * _LINE, _POINTS, color=colour)
    return board.save(path)


def _draw_image(board: Board, picture: Any, left: float, top: float) -> None:
    height, width = picture.shape[:2]
    across = min(_IMAGE, _IMAGE * width / height)
    place = (left, top, across, across * height / width if width >= height else _IMAGE)
    board.picture(picture, *place)
    board.frame(*place)


def _summary(wrong: int, total: int, drawn: int) -> str:
    of = f"among {total:,} image{'s' if total > 1 else ''}"
    if not wrong:
        return f"no mistake {of}; the right answers that were least sure"
    mistakes = f"{wrong:,} mistake{'s' if wrong > 1 else ''} {of}"
    return f"{mistakes}; the surest come first" if drawn == wrong else f"{mistakes}; the {drawn} surest"


def _checked(labels: Array, probabilities: Array, count: int, class_names: Sequence[str]) -> tuple[Any, Any]:
    true = on_host("plot_mistakes", "labels", labels)
    shares = on_host("plot_mistakes", "probabilities", probabilities)
    classes = len(class_names)
    if shares.dtype.kind != "f" or shares.shape != (count, classes) or not classes or not np.isfinite(shares).all():
        raise ValueError(
            f"plot_mistakes: got probabilities of shape {shares.shape} and dtype {shares.dtype} for {count} images and "
            f"{classes} class names; expected (N, K), finite and floating; pass the softmax of the scores"
        )
    if true.dtype.kind not in "iu" or true.shape != (count,) or not 0 <= true.min() <= true.max() < classes:
        raise ValueError(
            f"plot_mistakes: got labels of shape {true.shape} and dtype {true.dtype} for {count} images; expected "
            f"integers (N,) from 0 to {classes - 1}; pass the true classes"
        )
    return true.astype(np.int64), shares
