"""What every picture shares: a figure without a window, colours, and the way into a file."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError, OutputError
from ..files import write_bytes_atomically

# Matplotlib has no types of its own that could be named without importing it.
Figure = Any
Axes = Any

# Told apart with every kind of colour vision, and in grey.
# Reference: Okabe and Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/
BLUE = "#0072B2"
VERMILLION = "#D55E00"
ORANGE = "#E69F00"
GREEN = "#009E73"
PURPLE = "#CC79A7"

INK = "#222222"
FAINT = "#9A9A9A"
GRID = "#E3E3E3"

_DOTS_PER_INCH = 120


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of `width` by `height` inches that belongs to no window.

    Raises:
        MissingExtraError: Matplotlib is not installed.
        OutputError: it finds no folder to keep its settings in.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as MatplotlibFigure
    except ImportError as error:
        raise MissingExtraError(
            f"plotting: got no usable Matplotlib ({error}); expected it to draw a picture; "
            'pip install "xlenet[train]" brings it'
        ) from error
    except OSError as error:  # it wants a folder for itself: that of the user, else a temporary one
        raise OutputError(
            f"plotting: got no folder that Matplotlib may write to ({error.__cause__ or error}); expected one for its "
            "settings and fonts; set MPLCONFIGDIR to a folder that can be written"
        ) from error
    figure = MatplotlibFigure(figsize=(width, height), dpi=_DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write `figure` to `path` as a PNG, whole or not at all; equal figures give equal bytes.

    Raises:
        OutputError: the file cannot be written.
    """
    memory = io.BytesIO()
    # Without the version of Matplotlib, which it writes into every file unless told not to.
    figure.savefig(memory, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return write_bytes_atomically(path, memory.getvalue())


def style_axes(axes: Axes) -> None:
    """Draw a light grid behind the data and only the two spines that carry numbers."""
    axes.set_axisbelow(True)
    axes.grid(visible=True, which="major", color=GRID, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(which="both", color=FAINT, labelcolor=INK, labelsize=9)
