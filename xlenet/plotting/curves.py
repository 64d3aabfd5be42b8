"""Loss and accuracy over the epochs of a training run."""

from __future__ import annotations

import itertools
import math
import numbers
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checks import check_kind, check_path
from .figures import BLUE, FAINT, GREEN, INK, VERMILLION, Axes, fitted, new_figure, save_figure, style_axes

_COLOURS = {"train": VERMILLION, "validation": GREEN, "test": BLUE}
# Dashes tell the curves apart where colour does not.
_DASHES = {"train": (0, (4, 1.6)), "validation": (0, (1, 1.4)), "test": "solid"}
_ALWAYS = ("train", "test")

# Errors (1 - accuracy) that make round accuracies: 100 %, 99.99 %, ... 90 %, 80 %, 50 %, 0 %.
_ERROR_TICKS = (0.0, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_LINEAR_BELOW = 1e-4  # errors smaller than this have no logarithmic room of their own, so that 100 % has a place
_NARROWEST = 4.0  # the least ratio of the two ends of an accuracy axis: enough for three ticks
_MEDIOCRE = 0.2  # larger errors have a linear axis: what matters there are not nines
_FEWEST_TICKS = 3
_TITLE = 4.5  # inches
_LABEL_HEIGHT = 0.065  # of a panel: labels nearer than this are pushed apart

History = Sequence[Mapping[str, Any]]


def plot_curves(history: History, path: str | os.PathLike[str], title: str = "LeNet-5") -> Path:
    """Draw loss and accuracy over the epochs, of training, test and, if there are any, validation images, with the last
    values in figures.

    The loss has a logarithmic axis where it falls or rises by more than a factor of three. The accuracy's axis is
    logarithmic in the error, so that 99 % and 99.9 % are as far apart as 90 % and 99 %; it is linear where all of them
    are below 80 %, or too near to each other for that.

    Args:
        history: one mapping per epoch, as in ``metrics.jsonl``: `epoch`, `train_loss`, `train_accuracy`, `test_loss`,
            `test_accuracy` (accuracies from 0 to 1); `validation_loss` and `validation_accuracy` in all of them or in
            none. Other keys are passed over. A value that is not finite is a gap.
        path: the PNG to write.
        title: what was trained on what; the last epoch's test accuracy is written behind it.

    Returns:
        `path` as a `Path`.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: no epoch, or an epoch that lacks a key.
        MissingExtraError: Matplotlib is not installed.
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> figures = {"train_loss": 0.2, "train_accuracy": 0.94, "test_loss": 0.1, "test_accuracy": 0.97}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_curves([{"epoch": 1} | figures], folder + "/curves.png").name
        'curves.png'
    """
    check_path("plot_curves", path)
    check_kind("plot_curves", "title", title, str, "a text")
    series = read_series("plot_curves", history)
    figure = new_figure(10.0, 4.4)
    heading = _heading(fitted(title, _TITLE, 13), series)
    figure.suptitle(heading, x=0.065, y=0.955, ha="left", fontsize=13, color=INK, parse_math=False)
    left, right = figure.subplots(1, 2)
    wide = len(_parts(series)) > len(_ALWAYS)  # the third label is longer
    figure.subplots_adjust(
        left=0.065, right=0.845 if wide else 0.875, top=0.83, bottom=0.125, wspace=0.66 if wide else 0.54
    )
    _draw_losses(left, series)
    _draw_accuracies(right, series)
    return save_figure(figure, path)


def _heading(title: str, series: dict[str, list[float]]) -> str:
    accuracy, epoch = series["test_accuracy"][-1], series["epoch"][-1]
    if math.isnan(accuracy):  # trained without a test set
        return f"{title}, epoch {epoch:g}"
    return f"{title}: {100 * accuracy:.2f} % test accuracy after epoch {epoch:g}"


def read_series(operation: str, history: History) -> dict[str, list[float]]:
    """Turn the epochs' mappings into one list per key; what is not finite becomes NaN."""
    if not history:
        raise ValueError(f"{operation}: got no epoch; expected at least one; draw after the first epoch has ended")
    if not isinstance(history, Sequence) or not all(isinstance(row, Mapping) for row in history):
        raise TypeError(
            f"{operation}: got history {history!r}; expected one mapping for each epoch; pass the objects of "
            "metrics.jsonl"
        )
    parts = [part for part in _COLOURS if part in _ALWAYS or any(f"{part}_loss" in row for row in history)]
    keys = ["epoch", *(f"{part}_{what}" for what in ("loss", "accuracy") for part in parts)]
    absent = sorted({key for row in history for key in keys if key not in row})
    if absent:
        raise ValueError(
            f"{operation}: got an epoch without {', '.join(absent)}; expected {', '.join(keys)}; "
            "pass the objects of metrics.jsonl"
        )
    for key, value in ((key, row[key]) for row in history for key in keys):
        if not isinstance(value, numbers.Real):
            raise TypeError(
                f"{operation}: got {key} {value!r} in an epoch; expected a number; pass the objects of metrics.jsonl"
            )
    columns = {key: [float(row[key]) for row in history] for key in keys}
    # Neither NaN, which compares as False, nor what is so large that Matplotlib's own arithmetic overflows.
    return {key: [v if abs(v) <= 1e300 else math.nan for v in values] for key, values in columns.items()}


def _parts(series: dict[str, list[float]]) -> list[str]:
    return [part for part in _COLOURS if f"{part}_loss" in series]


def _draw_losses(axes: Axes, series: dict[str, list[float]]) -> None:
    losses = {part: series[f"{part}_loss"] for part in _parts(series)}
    prepare_losses(axes, series["epoch"], losses.values())
    _draw(axes, series["epoch"], losses, {part: f"{values[-1]:.3g}" for part, values in losses.items()})


def prepare_losses(axes: Axes, epochs: Sequence[float], curves: Iterable[Sequence[float]]) -> None:
    """Give the panel of the losses its axes, for curves that are to be drawn in it."""
    _prepare(axes, epochs, "Loss (cross-entropy, nats)")
    values = [v for curve in curves for v in curve if not math.isnan(v)] or [1.0]
    low, high = min(values), max(values)
    if low > 0 and high / 3 > low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.25, high * 1.25)
        _label_round_losses(axes, low, high)
    else:
        axes.set_ylim(min(0.0, 1.08 * low), 1.08 * high if high > 0 else 1.0)


def _label_round_losses(axes: Axes, low: float, high: float) -> None:
    """Put ticks at 1, 2 and 5 times powers of ten where there is room, else at powers of ten alone."""
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high))
    stride = math.ceil((last - first) / 8)
    factors = (1.0, 2.0, 5.0) if last - first < 3 else (1.0,)
    ticks = [float(f"{f}e{power}") for power in range(first, last + 1, max(stride, 1)) for f in factors]
    ticks = [tick for tick in ticks if low / 1.25 <= tick <= high * 1.25]
    axes.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)


def _draw_accuracies(axes: Axes, series: dict[str, list[float]]) -> None:
    errors = {part: [1.0 - v for v in series[f"{part}_accuracy"]] for part in _parts(series)}
    prepare_accuracies(axes, series["epoch"], errors.values())
    ends = {part: f"{100 * series[f'{part}_accuracy'][-1]:.2f} %" for part in _parts(series)}
    _draw(axes, series["epoch"], errors, ends)


def prepare_accuracies(axes: Axes, epochs: Sequence[float], errors: Iterable[Sequence[float]]) -> None:
    """Give the panel of the accuracies its axes, for curves of errors (1 - accuracy) that are to be drawn in it."""
    _prepare(axes, epochs, "Accuracy (%)")
    values = [v for curve in errors for v in curve if not math.isnan(v)] or [1.0]
    low, high = min(values) / 1.3, min(max(values) * 1.3, 1.0)
    high = min(max(high, _NARROWEST * low, 10 * _LINEAR_BELOW), 1.0)
    low = min(low, high / _NARROWEST)
    ticks = _round_accuracies(low, high)
    if min(values) > _MEDIOCRE or len(ticks) < _FEWEST_TICKS:
        low, high, ticks = _evenly(min(values), max(values))
    else:
        axes.set_yscale("symlog", linthresh=_LINEAR_BELOW, linscale=0.4)
        low = low if low > _LINEAR_BELOW else 0.0
    axes.set_ylim(high, low)
    axes.set_yticks(ticks, labels=[f"{100 * (1 - tick):.6g}" for tick in ticks])
    axes.set_yticks([], minor=True)


def _round_accuracies(low: float, high: float) -> list[float]:
    """Return the errors of round accuracies; over several decades only the powers of ten, which keep apart."""
    ticks = [tick for tick in _ERROR_TICKS if low <= tick <= high or (tick == 0 and low <= _LINEAR_BELOW)]
    if len(ticks) > 8:
        ticks = [tick for tick in ticks if tick == 0 or math.log10(tick).is_integer()]
    return ticks


def _evenly(least: float, most: float) -> tuple[float, float, list[float]]:
    """Return the ends of a linear axis for these errors, and ticks on it that are as far apart as room for three
    allows.
    """
    beyond = max(0.1 * (most - least), 0.05)
    low, high = max(least - beyond, 0.0), min(most + beyond, 1.0)
    for percent in (50, 20, 10, 5, 2, 1):
        ticks = [k * percent / 100 for k in range(100 // percent + 1) if low <= k * percent / 100 <= high]
        if len(ticks) >= _FEWEST_TICKS:
            break
    return low, high, ticks


def _prepare(axes: Axes, epochs: Sequence[float], name: str) -> None:
    """Name the panel above it, where it reads horizontally, and give the epochs whole numbers."""
    style_axes(axes)
    axes.set_title(name, loc="left", fontsize=10, color=INK)
    axes.set_xlabel("Epoch", fontsize=9, color=INK)
    first, last = min(epochs), max(epochs)
    axes.set_xticks(_epoch_ticks(first, last))
    axes.set_xlim((first, last) if first < last else (first - 0.5, first + 0.5))


def _epoch_ticks(first: float, last: float) -> list[float]:
    """Return the first epoch and the multiples of a round number after it, eight at most."""
    span = max(last - first, 1.0)
    power = 10.0 ** math.floor(math.log10(span / 8))
    step = max(1.0, next(power * factor for factor in (1, 2, 5, 10) if span <= 8 * power * factor))
    multiples = [step * k for k in range(math.ceil(first / step), math.floor(last / step) + 1)]
    return [first, *(tick for tick in multiples if tick - first > 0.5 * step)]


def _draw(axes: Axes, epochs: Sequence[float], curves: dict[str, list[float]], ends: dict[str, str]) -> None:
    """Draw the curves and write each one's name and last value right of its end."""
    heights = {}
    for part, values in curves.items():
        axes.plot(
            epochs, values, color=_COLOURS[part], linestyle=_DASHES[part], linewidth=1.8, clip_on=False,
            marker="o", markersize=3.5 if len(epochs) <= 30 else 0, zorder=3 if part == "test" else 2,
        )  # fmt: skip
        place = axes.transAxes.inverted().transform(axes.transData.transform((epochs[-1], values[-1])))[1]
        heights[part] = min(max(place, 0.0), 1.0) if math.isfinite(place) else 0.5
    for part, height in _apart(heights).items():
        axes.annotate(
            f"{part}  {ends[part]}", xy=(1.03, height), xycoords="axes fraction", annotation_clip=False,
            va="center", fontsize=9.5, color=_COLOURS[part] if "nan" not in ends[part] else FAINT,
        )  # fmt: skip


def _apart(heights: dict[str, float]) -> dict[str, float]:
    """Push labels apart, two neighbours at a time and each by the same amount, until they no longer touch."""
    apart = dict(sorted(heights.items(), key=lambda item: item[1]))
    for _ in range(50):  # with three labels, what is left halves each time
        for lower, upper in itertools.pairwise(apart):
            push = max(0.0, _LABEL_HEIGHT - (apart[upper] - apart[lower])) / 2
            apart[lower], apart[upper] = apart[lower] - push, apart[upper] + push
    return apart
