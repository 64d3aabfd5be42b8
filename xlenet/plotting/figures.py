"""What every picture shares: a figure without a window, colours, and the way into a file."""

from __future__ import annotations

import io
import itertools
import os
from pathlib import Path
from typing import Any

from ..backend.gpu import in_a_line
from ..errors import MissingExtraError, OutputError
from ..files import write_bytes_atomically
from .fonts import add_fonts, is_wide, unshown_letters

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
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"plotting: got no usable Matplotlib ({error}); expected it to draw a picture; "
            'pip install "xlenet[train]" brings it'
        ) from error
    except OSError as error:  # it wants a folder for itself: that of the user, else a temporary one
        raise OutputError(
            f"plotting: got no folder that Matplotlib may write to ({error.__cause__ or error}); expected one for its "
            "settings and fonts; set MPLCONFIGDIR to a folder that can be written"
        ) from error
    except (Exception, SystemExit) as error:  # it is there, and does not fit something else
        raise MissingExtraError(
            f"plotting: got a Matplotlib that does not import ({in_a_line(error)}); expected it to draw a picture; "
            "pip install --force-reinstall matplotlib"
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
    add_fonts(figure)
    with unshown_letters():
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


# ==== pictures made of small pictures ====

SIGNED = "RdBu_r"  # blue below zero, white at zero, red above: told apart with every kind of colour vision
POINTS_PER_INCH = 72.0
_PLAIN = {"va": "center", "color": INK, "parse_math": False}  # a $ in a name is a $
_LETTER = 0.6  # the width of a letter, in heights, on average and generously
_WIDE = 1.1 / _LETTER  # that of a Chinese one, or of the box for one, in such letters


class Board:
    """A page on which small pictures and words are put by hand, in inches from its upper left corner.

    All of them are in the same axes: hundreds of axes would take seconds to draw.

    Args:
        width: inches.
        height: inches.
    """

    def __init__(self, width: float, height: float) -> None:
        self.figure, self.width, self.height = new_figure(width, height), width, height
        self._axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self._axes.set_axis_off()

    def picture(
        self, pixels: Any, left: float, top: float, width: float, height: float, *, limit: float | None = None
    ) -> None:
        """Put an image there: (H, W, 3) as it is, (H, W) from black 0 to white 1, or, with a `limit`, signed numbers
        from -limit to limit in colour.
        """
        low, high, colours = (0.0, 1.0, "gray") if limit is None else (-limit, limit, SIGNED)
        extent = (left, left + width, top + height, top)
        self._axes.imshow(
            pixels, extent=extent, vmin=low, vmax=high, cmap=colours, interpolation="nearest", aspect="auto"
        )

    def frame(self, left: float, top: float, width: float, height: float) -> None:
        """Draw a thin line around something that may be as white as the page."""
        across, down = (left, left + width, left + width, left, left), (top, top, top + height, top + height, top)
        self._axes.plot(across, down, color=FAINT, linewidth=0.5)

    def bar(self, left: float, middle: float, width: float, height: float, colour: str) -> None:
        """Put a horizontal bar there."""
        self._axes.barh([middle], [width], height, left=left, color=colour, linewidth=0)

    def text(self, words: str, left: float, middle: float, points: float = 9.0, **options: Any) -> None:
        """Write `words` at `left`, with their middle at a height; `options` are Matplotlib's."""
        self._axes.text(left, middle, words, **(_PLAIN | {"fontsize": points} | options))

    def scale(self, limit: float, left: float, top: float, height: float, name: str) -> None:
        """Draw what the colours of signed numbers mean: from -limit, at the bottom, to limit."""
        self.picture([[1 - k / 50] for k in range(101)], left, top, 0.14, height, limit=1.0)
        self.frame(left, top, 0.14, height)
        for share, value in ((0.0, limit), (0.5, 0.0), (1.0, -limit)):
            self.text(f"{value:.2g}", left + 0.2, top + share * height, 8)
        self.text(name, left + 0.07, top - 0.16, 8, ha="center")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to `path` as `save_figure` does."""
        self._axes.set_xlim(0.0, self.width)
        self._axes.set_ylim(self.height, 0.0)
        return save_figure(self.figure, path)


def fitted(words: str, inches: float, points: float) -> str:
    """Return `words` in one line, cut in the middle so that they are not wider than `inches`.

    Example:
        >>> fitted("Ankle boot", 2.0, 9.0), fitted("a class with a long name", 1.0, 9.0)
        ('Ankle boot', 'a clas…g name')
    """
    line = "".join(c if c.isprintable() else " " for c in words)
    most = max(3.0, inches / inches_of("a", points) + 1e-6)  # a width that was made to measure is enough
    if _letters(line) <= most:
        return line
    return f"{_beginning(line, most // 2).rstrip()}…{_beginning(line[::-1], (most - 1) // 2)[::-1].lstrip()}"


def _letters(words: str) -> float:
    """Return how many letters of the usual width are as wide as `words`."""
    return sum(_WIDE if is_wide(letter) else 1.0 for letter in words)


def _beginning(words: str, letters: float) -> str:
    widths = itertools.accumulate(map(_letters, words))
    return words[: sum(width <= letters for width in widths)]


def inches_of(words: str, points: float) -> float:
    """Return how wide `words` are at most, as far as one can tell without drawing them."""
    return _letters(words) * _LETTER * points / POINTS_PER_INCH


def percent(share: float) -> str:
    """Return a share in %, with more digits near the ends.

    Example:
        >>> percent(0.5), percent(0.9999), percent(0.00001)
        ('50.0 %', '99.99 %', '< 0.01 %')
    """
    value = 100.0 * float(share)
    if 0.0 < value < 0.01:
        return "< 0.01 %"
    if 99.99 < value < 100.0:
        return "> 99.99 %"
    return f"{value:.1f} %" if 1.0 <= value < 99.0 or value in (0.0, 100.0) else f"{value:.2f} %"
