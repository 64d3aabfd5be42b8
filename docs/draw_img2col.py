"""Draws docs/images/img2col.png: what a convolution by img2col copies, and what it multiplies.

    python docs/draw_img2col.py

Two channels of 4x4 pixels, one filter of 3x3: four windows, a matrix of 18 rows and 4 columns, one product. The numbers
are those of `xlenet.functional`: the picture cannot show anything else than what the layer computes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))

from xlenet.functional import conv2d, img2col  # noqa: E402 - after the line above

PATH = _ROOT / "docs" / "images" / "img2col.png"
# Okabe and Ito's colours, told apart by every kind of colour vision; a window keeps its own from left to right.
WINDOWS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7")
CHANNELS = ("#FFFFFF", "#E4E4E4")  # white, and a grey that also survives a printer
INK, FAINT = "#1A1A1A", "#8A8A8A"


def main() -> int:
    """Draw the picture and say where it is."""
    x = np.arange(32.0).reshape(1, 2, 4, 4)
    weight = np.array([[[1, 0, -1], [1, 0, -1], [1, 0, -1]], [[0, 1, 0], [0, 1, 0], [0, 1, 0]]], dtype=float)[None]
    columns = img2col(x, 3).T
    y = conv2d.forward(x, weight)[0]

    figure = Figure(figsize=(12.5, 7.0), dpi=120, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 50)
    axes.set_ylim(28, 0)
    axes.set_axis_off()

    _images(axes, x[0])
    _columns(axes, columns)
    _weight(axes, weight[0])
    _result(axes, y[0, 0])
    PATH.parent.mkdir(exist_ok=True)
    figure.savefig(PATH, metadata={"Software": None})
    print(PATH.relative_to(_ROOT))
    return 0


def _cell(axes: Any, at: tuple[float, float], size: float, value: float, face: str, height: float = 0.0) -> None:
    high = height or size
    axes.add_patch(Rectangle(at, size, high, facecolor=face, edgecolor=FAINT, linewidth=0.8))
    axes.text(at[0] + size / 2, at[1] + high / 2, f"{value:g}", ha="center", va="center", fontsize=10, color=INK)


def _title(axes: Any, x: float, text: str, shape: str) -> None:
    axes.text(x, 1.3, text, fontsize=14, color=INK, va="center", weight="bold")
    axes.text(x, 2.5, shape, fontsize=11.5, color=INK, va="center")


def _images(axes: Any, image: Any) -> None:
    _title(axes, 1.0, "1  An image", "C = 2 channels of 4 × 4 pixels")
    for c, (plane, top) in enumerate(zip(image, (4.2, 15.6), strict=True)):
        for (h, w), value in np.ndenumerate(plane):
            _cell(axes, (1.0 + 2.1 * w, top + 2.1 * h), 2.1, value, CHANNELS[c])
        axes.text(1.0, top + 9.1, f"channel {c}", fontsize=11.5, color=INK, va="center")
        for k, colour in enumerate(WINDOWS):
            i, j = divmod(k, 2)
            inset = 0.08 + 0.11 * k  # so that all four frames are seen
            axes.add_patch(
                Rectangle(
                    (1.0 + 2.1 * j + inset, top + 2.1 * i + inset),
                    6.3 - 2 * inset, 6.3 - 2 * inset, fill=False, edgecolor=colour, linewidth=2.4,
                )
            )  # fmt: skip
    axes.text(1.0, 26.6, "the four places of a 3 × 3 window", fontsize=11.5, color=INK, va="center")


_TOP, _HIGH = 5.6, 1.1  # of the matrix of columns


def _columns(axes: Any, columns: Any) -> None:
    _title(axes, 14.2, "2  img2col", "a column of C·KH·KW = 18 for each window")
    wide = 2.5
    for (row, k), value in np.ndenumerate(columns):
        at = (16.6 + wide * k, _TOP + _HIGH * row)
        _cell(axes, at, wide, value, CHANNELS[row // 9], height=_HIGH)
    for k, colour in enumerate(WINDOWS):
        axes.add_patch(
            Rectangle(
                (16.6 + wide * k + 0.08, _TOP), wide - 0.16, 18 * _HIGH, fill=False, edgecolor=colour, linewidth=2.6
            )
        )
        axes.text(16.6 + wide * (k + 0.5), _TOP - 0.75, f"{k}", fontsize=11, ha="center", va="center", color=INK)
    axes.text(16.2, _TOP - 0.75, "window", fontsize=10.5, ha="right", va="center", color=INK)
    for c in range(2):
        middle = _TOP + _HIGH * (9 * c + 4.5)
        axes.text(16.2, middle, f"channel {c}", fontsize=10.5, ha="right", va="center", color=INK, rotation=90)
    axes.text(
        14.2, 26.6, "a pixel that several windows see is copied several times", fontsize=11.5, va="center", color=INK
    )
    _arrow(axes, (10.0, 14.4), (14.0, 14.4))


def _weight(axes: Any, weight: Any) -> None:
    _title(axes, 32.5, "3  One product", "W, a row for each filter (F = 1), times the matrix")
    for c, plane in enumerate(weight):
        for (i, j), value in np.ndenumerate(plane):
            _cell(axes, (32.5 + 6.6 * c + 1.9 * j, 5.2 + 1.9 * i), 1.9, value, CHANNELS[c])
        axes.text(32.5 + 6.6 * c, 11.6, f"weight of channel {c}", fontsize=10.5, color=INK, va="center")
    axes.text(32.5, 13.2, "read row by row: the 18 numbers of a row of W", fontsize=11.5, color=INK, va="center")
    _arrow(axes, (27.2, 17.6), (32.0, 17.6))


def _result(axes: Any, y: Any) -> None:
    wide = 3.4
    for k, (value, colour) in enumerate(zip(y.ravel(), WINDOWS, strict=True)):
        _cell(axes, (32.5 + wide * k, 16.5), wide, value, "#FFFFFF", height=2.2)
        axes.add_patch(
            Rectangle((32.58 + wide * k, 16.58), wide - 0.16, 2.04, fill=False, edgecolor=colour, linewidth=2.6)
        )
    axes.text(32.5, 15.5, "Y = W @ columns", fontsize=11.5, color=INK, va="center", weight="bold")
    _arrow(axes, (35.9, 19.1), (35.9, 20.9))
    for k, (value, colour) in enumerate(zip(y.ravel(), WINDOWS, strict=True)):
        i, j = divmod(k, 2)
        at = (34.1 + 2.6 * j, 21.1 + 2.2 * i)
        _cell(axes, at, 2.6, value, "#FFFFFF", height=2.2)
        axes.add_patch(Rectangle((at[0] + 0.08, at[1] + 0.08), 2.44, 2.04, fill=False, edgecolor=colour, linewidth=2.6))
    axes.text(39.9, 22.6, "the same numbers,", fontsize=11.5, color=INK, va="center")
    axes.text(39.9, 23.8, "seen as OH × OW = 2 × 2", fontsize=11.5, color=INK, va="center")


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=22, linewidth=2.2, color=INK))


if __name__ == "__main__":
    sys.exit(main())
