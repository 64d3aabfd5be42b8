"""What the filters of a convolution look for."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import Array
from ..checks import check_kind, check_path
from ..data.host import on_host
from .figures import Board, fitted

_MOST_FILTERS, _MOST_CHANNELS = 32, 16  # more would be too small to see
_MOST_COLUMNS = 8
_GAP, _BETWEEN = 0.06, 0.42  # inches between the channels of a filter, and between filters one below the other
_COLOURS = ("red", "green", "blue")


def plot_filters(weight: Array, path: str | os.PathLike[str], title: str = "Filters") -> Path:
    """Draw the filters of a convolution: each channel in colours that are symmetric around zero, on one scale for all;
    filters of three channels also as the colours that they look for.

    Args:
        weight: (F, C, KH, KW), host NumPy: the ``weight`` of a `Conv2D`. The first 32 filters and their first 16
            channels are drawn.
        path: the PNG to write.
        title: what they are of.

    Returns:
        `path` as a `Path`.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: `weight` has another shape, or numbers that are not finite.
        MissingExtraError: Matplotlib is not installed.
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from xlenet import Conv2D
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_filters(Conv2D(1, 6, 5, rng=0).params["weight"], folder + "/filters.png").name
        'filters.png'
    """
    check_path("plot_filters", path)
    check_kind("plot_filters", "title", title, str, "a text")
    filters = _checked(weight)
    channels = filters.shape[1]
    drawn = filters[:_MOST_FILTERS, :_MOST_CHANNELS]
    limit = float(np.abs(drawn).max()) or 1.0
    parts = [*([_in_colour(drawn, limit)] if channels == 3 else []), *drawn.transpose(1, 0, 2, 3)]
    names = _names(channels, drawn.shape[1])
    tile = 0.95 if len(parts) == 1 else 0.62
    down = tile * min(max(filters.shape[2] / filters.shape[3], 0.25), 4.0)
    columns = min(_MOST_COLUMNS, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    left, top = (0.2 if len(parts) == 1 else 1.05), 1.0
    block = len(parts) * (down + _GAP)
    width = max(left + columns * (tile + 0.14) + 0.8, 5.0)
    scale = max(block - _GAP, 0.95)
    board = Board(width, top + max(rows * (block + _BETWEEN) - _BETWEEN, scale) + 0.2)
    board.text(fitted(title, width - 0.4, 12), 0.2, 0.25, 12)
    board.text(_what(filters.shape, drawn.shape), 0.2, 0.5, 9, color="#6B6B6B")
    for k in range(len(drawn)):
        row, column = divmod(k, columns)
        x, y = left + column * (tile + 0.14), top + row * (block + _BETWEEN)
        board.text(f"{k + 1}", x + tile / 2, y - 0.12, 8, ha="center")
        for place, part in enumerate(parts):
            there = (x, y + place * (down + _GAP), tile, down)
            board.picture(part[k], *there, limit=limit if part[k].ndim == 2 else None)
            board.frame(*there)
            if column == 0 and names:
                board.text(names[place], x - 0.1, there[1] + down / 2, 8, ha="right")
    board.scale(limit, width - 0.6, top, scale, "weight")
    return board.save(path)


def _checked(weight: Array) -> Any:
    filters = on_host("plot_filters", "weight", weight)
    if filters.dtype.kind not in "f":
        raise TypeError(f"plot_filters: got weight {filters.dtype}; expected floating; pass the weight of a Conv2D")
    if filters.ndim != 4 or 0 in filters.shape:
        raise ValueError(
            f"plot_filters: got weight of shape {filters.shape}; expected (F, C, KH, KW), none of them 0; pass the "
            "weight of a Conv2D"
        )
    if not np.isfinite(filters).all():
        raise ValueError("plot_filters: got weight that is not finite; expected finite numbers; train it anew")
    return filters.astype(np.float64)


def _in_colour(filters: Any, limit: float) -> Any:
    """Return filters (F, 3, KH, KW) as colours (F, KH, KW, 3) around a middle grey."""
    return (0.5 + filters / (2.0 * limit)).transpose(0, 2, 3, 1)


def _names(channels: int, drawn: int) -> list[str]:
    if channels == 1:
        return []
    return ["in colour", *_COLOURS] if channels == 3 else [f"channel {c + 1}" for c in range(drawn)]


def _what(shape: tuple[int, ...], drawn: tuple[int, ...]) -> str:
    count, channels, height, width = shape
    of_filters = (
        f"{count} filter{'s' if count > 1 else ''}" if count == drawn[0] else f"the first {drawn[0]} of {count} filters"
    )
    of_channels = f"{channels} channel{'s' if channels > 1 else ''}"
    if channels != drawn[1]:
        of_channels = f"the first {drawn[1]} of {channels} channels"
    return f"{of_filters} of {height} x {width}, {of_channels}; red adds, blue subtracts"
