"""Which class was taken for which."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array
from ..checks import check_kind, check_path, check_texts
from ..data.host import on_host
from .figures import FAINT, INK, POINTS_PER_INCH, Axes, Figure, fitted, inches_of, new_figure, percent, save_figure

_RIGHT = "#DCE9F2"  # the diagonal: pale, because the mistakes are what the picture is for
_NEVER = "#F7F7F7"  # a mistake that was never made
_COLOURS = "Oranges"  # from light to dark in one hue: reads without colour vision, too
_MOST_CLASSES_WITH_FIGURES = 50  # beyond this, numbers that fit a cell could not be read
_LONGEST_NAME = 3.0  # inches
_TOP, _RIGHT_MARGIN, _AXIS_NAME = 0.9, 1.75, 0.5  # inches


def plot_confusion(
    matrix: Array, class_names: Sequence[str], path: str | os.PathLike[str], title: str = "Confusion matrix"
) -> Path:
    """Draw a confusion matrix: counts in the cells, colour for the share of a true class that was taken for another.

    The colour leaves the right answers out and begins at zero, so that a few mistakes among thousands can be seen.

    Args:
        matrix: counts (C, C), host NumPy; row = true class, column = predicted class
            (`xlenet.metrics.confusion_matrix`).
        class_names: the C names, in the order of the labels.
        path: the PNG to write.
        title: what was tested on what; accuracy and number of mistakes are written under it.

    Returns:
        `path` as a `Path`.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: `matrix` is not square or not made of counts, or the names are not as many.
        MissingExtraError: Matplotlib is not installed.
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> matrix = np.array([[8, 2], [1, 9]])  # of ten cats two were taken for dogs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_confusion(matrix, ["cat", "dog"], folder + "/confusion.png").stat().st_size > 1000
        True
    """
    check_texts("plot_confusion", "class_names", class_names)
    check_path("plot_confusion", path)
    check_kind("plot_confusion", "title", title, str, "a text")
    counts = _checked(matrix, class_names)
    class_names = [fitted(name, _LONGEST_NAME, 9.0) for name in class_names]
    page = _lay_out(class_names)
    figure = new_figure(page.width, page.height)
    axes = _axes(figure, page, page.left, page.side)
    picture = _draw_cells(axes, counts)
    _write_names(axes, class_names, page)
    if len(counts) <= _MOST_CLASSES_WITH_FIGURES:
        _write_counts(axes, counts, page.cell)
        _write_recalls(axes, counts, page.points)
    _draw_scale(figure, picture, _axes(figure, page, page.width - 0.78, 0.16))
    place = (0.2 / page.width, 1 - 0.16 / page.height)
    heading = f"{fitted(title, page.width - 0.4, 11.0)}\n{_summary(counts)}"
    figure.text(*place, heading, va="top", fontsize=11, color=INK, linespacing=1.35, parse_math=False)
    return save_figure(figure, path)


def _checked(matrix: Array, class_names: Sequence[str]) -> Array:
    """Return `matrix` as an int64 array that fits the names."""
    counts = on_host("plot_confusion", "matrix", matrix)
    square = counts.ndim == 2 and counts.shape[0] == counts.shape[1] and counts.size > 0
    if not square or counts.dtype.kind not in "iu" or counts.min() < 0:
        raise ValueError(
            f"plot_confusion: got a matrix of shape {counts.shape} and dtype {counts.dtype}; expected counts (C, C), "
            "integers from 0 up; make it with xlenet.metrics.confusion_matrix"
        )
    if len(class_names) != len(counts):
        raise ValueError(
            f"plot_confusion: got {len(class_names)} class names for {len(counts)} classes; expected one name each; "
            "pass the class_names of the data set"
        )
    return counts.astype(np.int64)


class _Page(NamedTuple):
    """Where things are, in inches from the lower left corner."""

    cell: float
    side: float  # of the square of cells
    left: float
    bottom: float
    width: float
    height: float
    points: float  # size of the names
    upright: bool  # the names under the columns, where they would run into each other


def _lay_out(class_names: Sequence[str]) -> _Page:
    """Give few classes large cells, and keep many classes on a page that a screen can still show."""
    classes = len(class_names)
    cell = min(1.5, max(5.8 / classes, min(0.36, 22.0 / classes)))
    points = max(4.5, min(9.0, 0.6 * cell * POINTS_PER_INCH))
    longest = max(inches_of(name, points) for name in class_names)
    upright = longest > 0.85 * cell
    side, left = cell * classes, _AXIS_NAME + 0.15 + longest
    bottom = _AXIS_NAME + 0.15 + (longest if upright else 0.0)
    return _Page(cell, side, left, bottom, left + side + _RIGHT_MARGIN, bottom + side + _TOP, points, upright)


def _axes(figure: Figure, page: _Page, left: float, width: float) -> Axes:
    """Return axes as high as the square of cells."""
    return figure.add_axes((left / page.width, page.bottom / page.height, width / page.width, page.side / page.height))


def _error_rates(counts: Array) -> Array:
    """Return how many of each true class were taken for each other class, in % of the true class; 0 on the diagonal."""
    rates = 100.0 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(rates, 0.0)
    return rates


def _highest(rates: Array) -> float:
    """Return the end of the colour scale, which has to be above zero when nothing is wrong."""
    return float(rates.max()) or 1.0


def _draw_cells(axes: Axes, counts: Array) -> Any:
    """Colour every cell by the share of its row, and the diagonal by itself; return the coloured picture."""
    from matplotlib.colors import ListedColormap

    rates = _error_rates(counts)
    axes.set_facecolor(_NEVER)
    picture = axes.imshow(np.where(rates > 0, rates, np.nan), cmap=_COLOURS, vmin=0.0, vmax=_highest(rates))
    axes.imshow(np.where(np.eye(len(counts)) > 0, 1.0, np.nan), cmap=ListedColormap([_RIGHT]))
    edges = np.arange(1, len(counts)) - 0.5
    axes.hlines(edges, -0.5, len(counts) - 0.5, color="white", linewidth=0.8)
    axes.vlines(edges, -0.5, len(counts) - 0.5, color="white", linewidth=0.8)
    axes.spines[:].set_visible(False)
    return picture


def _write_counts(axes: Axes, counts: Array, cell: float) -> None:
    """Write each count into its cell, in white where the cell is dark, and faintly where it is zero."""
    digits = max(len(f"{counts.max()}"), 2)
    points = min(10.5, cell * POINTS_PER_INCH * 0.9 / (0.64 * digits))
    rates = _error_rates(counts)
    dark = rates > 0.55 * _highest(rates)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if dark[row, column] else INK if count or row == column else "#C4C4C4"
        axes.text(column, row, f"{count}", ha="center", va="center", fontsize=points, color=colour)


def _write_names(axes: Axes, class_names: Sequence[str], page: _Page) -> None:
    """Write the names along both axes; only every k-th where rows are closer than letters are high."""
    shown = range(0, len(class_names), math.ceil(1.35 * page.points / (page.cell * POINTS_PER_INCH)))
    labels = [class_names[i] for i in shown]
    axes.set_yticks(shown, labels=labels, fontsize=page.points, color=INK, parse_math=False)
    turned = 90 if page.upright else 0
    axes.set_xticks(shown, labels=labels, fontsize=page.points, color=INK, parse_math=False, rotation=turned)
    axes.tick_params(length=0)
    axes.set_xlabel("Predicted", fontsize=10, color=INK)
    axes.set_ylabel("True", fontsize=10, color=INK)


def _write_recalls(axes: Axes, counts: Array, points: float) -> None:
    """Write behind each row which share of its class was recognised."""
    beside = {"textcoords": "offset points", "annotation_clip": False}
    axes.annotate("Recognised", (len(counts) - 0.5, -0.5), (6, 6), fontsize=8, color="#6B6B6B", **beside)
    for row, (right, total) in enumerate(zip(np.diagonal(counts), counts.sum(axis=1), strict=True)):
        text = percent(right / total) if total else "no images"
        axes.annotate(text, (len(counts) - 0.5, row), (6, 0), va="center", fontsize=points, color=INK, **beside)


def _draw_scale(figure: Figure, picture: Any, axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    few_and_round = MaxNLocator(5, steps=[1, 2, 5, 10])
    scale = figure.colorbar(picture, cax=axes, ticks=few_and_round, format=lambda rate, _: f"{rate:.2g}")
    scale.outline.set_visible(False)
    scale.ax.tick_params(labelsize=8, labelcolor=INK, color=FAINT)
    scale.set_label("Taken for another: % of the true class", fontsize=8, color=INK)


def _summary(counts: Array) -> str:
    total, right = int(counts.sum()), int(np.trace(counts))
    if not total:
        return "no images"
    share = percent(right / total) if 0 < total - right < 1e-4 * total else f"{100 * right / total:.2f} %"
    return f"{share} right, {total - right:,} of {total:,} wrong"
