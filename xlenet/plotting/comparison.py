"""Several training runs in one picture."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Mapping
from pathlib import Path

from ..checks import check_kind, check_path
from .curves import History, prepare_accuracies, prepare_losses, read_series
from .figures import BLUE, GREEN, INK, ORANGE, PURPLE, VERMILLION, fitted, inches_of, new_figure, save_figure

_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, INK)
_MARKERS = ("o", "s", "^", "D", "v", "P")  # tell the runs apart where colour does not
MOST_RUNS = len(_COLOURS)

_WIDTH, _PANELS, _LINE = 10.0, 3.9, 0.2  # inches
_TRAIN = (0, (4, 1.6))
_MOST_LINES = 4  # of notes on a run


def plot_comparison(
    histories: Mapping[str, History],
    path: str | os.PathLike[str],
    title: str = "Runs compared",
    *,
    notes: Mapping[str, str] | None = None,
) -> Path:
    """Draw loss and accuracy of several runs over each other, on the axes of `plot_curves`: test images solid, training
    images dashed. A legend has the runs' names, their last figures, and the notes.

    Args:
        histories: from two to six runs by name, each as for `plot_curves`; they may be of different lengths.
        path: the PNG to write.
        title: what the runs have in common.
        notes: what to say of a run, by its name: what sets it apart from the others.

    Returns:
        `path` as a `Path`.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: not two to six runs, or one without an epoch or with an epoch that lacks a key.
        MissingExtraError: Matplotlib is not installed.
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> figures = {"train_loss": 0.2, "train_accuracy": 0.94, "test_loss": 0.1, "test_accuracy": 0.97}
        >>> runs = {"one": [{"epoch": 1} | figures], "other": [{"epoch": 1} | figures | {"test_loss": 0.2}]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_comparison(runs, folder + "/compared.png").name
        'compared.png'
    """
    check_kind("plot_comparison", "histories", histories, Mapping, "a mapping from names to histories")
    if not 2 <= len(histories) <= MOST_RUNS:
        raise ValueError(
            f"plot_comparison: got {len(histories)} histories; expected 2 to {MOST_RUNS}; more could not be told apart"
        )
    check_path("plot_comparison", path)
    check_kind("plot_comparison", "title", title, str, "a text")
    check_kind("plot_comparison", "notes", notes or {}, Mapping, "a mapping from names to texts")
    runs = {str(name): read_series("plot_comparison", history) for name, history in histories.items()}
    legend = {name: _lines(name, series, str((notes or {}).get(name, ""))) for name, series in runs.items()}
    below = 0.75 + _LINE * sum(map(len, legend.values())) + 0.1 * len(legend)
    height = _PANELS + below
    figure = new_figure(_WIDTH, height)
    words = fitted(title, _WIDTH - 3.5, 13)
    figure.text(0.065, 1 - 0.25 / height, words, va="center", fontsize=13, color=INK, parse_math=False)
    figure.text(
        0.98, 1 - 0.25 / height, "solid: test, dashed: training", va="center", ha="right", fontsize=9, color=INK
    )
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.065, right=0.98, top=1 - 0.75 / height, bottom=below / height, wspace=0.2)
    epochs = [epoch for series in runs.values() for epoch in series["epoch"]]
    for axes, what, prepare in ((left, "loss", prepare_losses), (right, "accuracy", prepare_accuracies)):
        parts = [
            (part, k, series["epoch"], _values(series, part, what))
            for k, series in enumerate(runs.values())
            for part in ("train", "test")
        ]
        prepare(axes, epochs, [values for *_, values in parts])
        for part, k, along, values in parts:
            tested = part == "test"
            alone = len(along) == 1  # no line shows it: a larger, hollow mark, over those of the others
            size = 9.0 if alone else 4.5 if tested else 3.0
            axes.plot(
                along, values, color=_COLOURS[k], linestyle="solid" if tested else _TRAIN,
                linewidth=1.8 if tested else 1.1, clip_on=False, zorder=4 if alone else 3 if tested else 2,
                marker=_MARKERS[k], markersize=size if len(along) <= 30 else 0,
                fillstyle="none" if alone else "full",
            )  # fmt: skip
    _write_legend(figure, legend, height, below - 0.62)
    return save_figure(figure, path)


def _values(series: dict[str, list[float]], part: str, what: str) -> list[float]:
    """Return what the axes of a panel want: losses, or errors."""
    values = series[f"{part}_{what}"]
    return values if what == "loss" else [1.0 - v for v in values]


def _lines(name: str, series: dict[str, list[float]], note: str) -> list[str]:
    """Return what the legend says of a run: its name and last figures, and below these what sets it apart."""
    accuracy, loss, learnt, epoch = (series[key][-1] for key in ("test_accuracy", "test_loss", "train_loss", "epoch"))
    tested = f"{100 * accuracy:.2f} % test accuracy, test loss {loss:.3g}, "
    if math.isnan(accuracy):  # trained without a test set
        tested = "no test images, "
    last = f"{tested}training loss {learnt:.3g} after epoch {epoch:g}"
    room = _WIDTH - 1.5
    words = fitted(note, 10 * room, 9)
    widest = max(inches_of(letter, 9) for letter in f"a{words}")
    wrapped = textwrap.wrap(words, int(room / widest), max_lines=_MOST_LINES, placeholder=" …") if words.strip() else []
    return [f"{fitted(name, room - inches_of(last, 9) - 0.3, 9)}: {last}", *wrapped]


def _write_legend(figure: object, legend: Mapping[str, list[str]], height: float, top: float) -> None:
    """Write below the panels what the legend says, `top` inches above the lower edge."""
    axes = figure.add_axes((0.0, 0.0, 1.0, top / height))  # type: ignore[attr-defined]  # Matplotlib has no types
    axes.set_axis_off()
    axes.set_xlim(0.0, _WIDTH)
    axes.set_ylim(0.0, top)
    y = top - 0.5 * _LINE
    for k, lines in enumerate(legend.values()):
        axes.plot([0.65, 1.05], [y, y], color=_COLOURS[k], linewidth=1.8, marker=_MARKERS[k], markersize=4.5)
        for number, line in enumerate(lines):
            colour = INK if number == 0 else "#6B6B6B"
            axes.text(1.2, y, line, va="center", fontsize=9, color=colour, parse_math=False)
            y -= _LINE
        y -= 0.1
