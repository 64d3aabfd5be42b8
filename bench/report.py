"""A comparison of epoch times as a table and as a picture."""

from __future__ import annotations

import os
from typing import Any

from bench.contenders import TITLES

Record = dict[str, Any]

_COLUMNS = ("batch", "contender", "ms per step", "s per epoch", "(quartiles)", "images/s", "of PyTorch's time")


def table(record: Record) -> str:
    """Return the results as an aligned table."""
    rows = [_COLUMNS]
    for result in record["results"]:
        epoch, ratio = result["seconds_per_epoch"], result["ratio_to_pytorch"]
        rows.append((
            str(result["batch_size"]),
            TITLES[result["contender"]] + ("*" if result["scaled"] else ""),
            f"{result['ms_per_step']['median']:.2f}",
            f"{epoch['median']:.2f}",
            f"{epoch['q1']:.2f}-{epoch['q3']:.2f}",
            f"{result['images_per_second']:,.0f}",
            "-" if ratio is None else f"{ratio:.2f}",
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(_align(cell, width, i) for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    notes = sorted({_scaling(result) for result in record["results"] if result["scaled"]})
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:], *notes])


def _align(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 1 else cell.rjust(width)


def _scaling(result: Record) -> str:
    turns = f"{result['turns']} times {result['steps_per_turn']} steps"
    return f"* {TITLES[result['contender']]}: {turns}, scaled to an epoch by the number of images"


def draw(record: Record, path: str | os.PathLike[str]) -> None:
    """Draw a bar for each contender, a panel for each batch size, on one logarithmic axis of seconds."""
    from xlenet.plotting.figures import (
        BLUE,
        GREEN,
        INK,
        ORANGE,
        PURPLE,
        VERMILLION,
        new_figure,
        save_figure,
        style_axes,
    )

    ours, theirs = (
        dict.fromkeys(("cupy-plain", "cupy-kernels", "cupy"), GREEN),
        dict.fromkeys(("torch-cuda", "torch-cuda-compile", "torch-cuda-graph"), ORANGE),
    )
    colours = {"textbook": PURPLE, "numpy": BLUE, "torch": VERMILLION} | ours | theirs
    sizes = record["settings"]["batch_sizes"]
    bars = len(record["results"]) / len(sizes)
    height = 1.45 + len(sizes) * (0.42 * bars + 0.45)
    figure = new_figure(8.4, height)
    panels = figure.subplots(len(sizes), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(
        left=0.2, right=0.93, top=1 - 0.95 / height, bottom=0.55 / height, hspace=0.5 / (0.42 * bars)
    )
    for axes, size in zip(panels, sizes, strict=True):
        style_axes(axes)
        axes.grid(visible=False, axis="y")
        axes.set_title(f"Batch size {size}", loc="left", fontsize=9, color=INK)
        _draw_bars(axes, [r for r in record["results"] if r["batch_size"] == size], colours)
    _label_seconds(panels, record)
    figure.text(
        0.02, 1 - 0.14 / height, "LeNet-5, training time per epoch of 60,000 images", va="top", fontsize=12.5, color=INK
    )
    figure.text(0.02, 1 - 0.42 / height, _subtitle(record), va="top", fontsize=8.5, color=INK)
    save_figure(figure, path)


def _draw_bars(axes: Any, results: list[Record], colours: dict[str, str]) -> None:
    for row, result in enumerate(results):
        epoch = result["seconds_per_epoch"]
        spread = [[epoch["median"] - epoch["q1"]], [epoch["q3"] - epoch["median"]]]
        axes.barh(
            row, epoch["median"], xerr=spread, color=colours[result["contender"]], height=0.66,
            error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#444444"},
        )  # fmt: skip
        axes.annotate(
            f"{epoch['median']:#.3g}".rstrip(".") + " s", (max(epoch["median"], epoch["q3"]), row), (5, 0),
            textcoords="offset points", va="center", fontsize=9, color="#222222",
        )  # fmt: skip
    axes.set_yticks(range(len(results)), labels=[TITLES[r["contender"]] + "*" * r["scaled"] for r in results])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()


def _label_seconds(panels: Any, record: Record) -> None:
    """Give all panels one logarithmic axis, with ticks at 1, 2 and 5 times powers of ten, and room for the figures."""
    medians = [result["seconds_per_epoch"]["median"] for result in record["results"]]
    low, high = min(medians) / 2.5, max(medians) * 2.2
    ticks = [float(f"{f}e{power}") for power in range(-6, 7) for f in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    ticks = [tick for tick in ticks if f"{tick:e}"[0] == "1"] if len(ticks) > 9 else ticks
    for axes in panels:
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
    scaled = ";  * a few steps, scaled" if any(result["scaled"] for result in record["results"]) else ""
    panels[-1].set_xlabel(f"Seconds per epoch, logarithmic; lines: quartiles{scaled}", fontsize=9, color="#222222")


def _subtitle(record: Record) -> str:
    machine, settings = record["machine"], record["settings"]
    gpu = f"; {machine['gpus'][0].split(',')[0]}" if machine["gpus"] else ""
    turns = f"median of {settings['epochs']} turns"
    return f"{machine['cpu']}, {_threads(settings['threads'])}{gpu}; float32 (textbook: float64); {turns}"


def _threads(number: int) -> str:
    return f"{number} thread" + ("" if number == 1 else "s")
