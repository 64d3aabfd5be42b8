"""Images side by side."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..backend import Array
from ..checks import check_path, check_texts
from ..data.host import on_host
from .figures import INK, inches_of, new_figure, save_figure

_MOST_COLUMNS = 10
_CELL = 0.95  # inches; the title of an image is written above it, in the same width


def plot_digits(images: Array, titles: Sequence[str], path: str | os.PathLike[str]) -> Path:
    """Draw images side by side, ten to a row, each under its title.

    Args:
        images: (N, H, W) or (N, 1, H, W), grey, or (N, 3, H, W), in colours, host NumPy; uint8 from black 0 to white
            255, or any floating type, then black is the least value of all the images and white the largest.
        titles: N short texts, for example ``"4 for 9"``; ``""`` for none.
        path: the PNG to write.

    Returns:
        `path` as a `Path`.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: no image, pixels that are not finite, another shape, or not one title for each image.
        MissingExtraError: Matplotlib is not installed.
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from xlenet.data import generated_digits
        >>> digits = generated_digits(n_train=20, n_test=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_digits(digits.x_train, [str(label) for label in digits.y_train], folder + "/digits.png").name
        'digits.png'
    """
    check_texts("plot_digits", "titles", titles)
    check_path("plot_digits", path)
    pictures = _checked(images, titles)
    low, high = (0.0, 255.0) if pictures.dtype == np.uint8 else (float(pictures.min()), float(pictures.max()))
    if not math.isfinite(low) or not math.isfinite(high):
        raise ValueError(
            f"plot_digits: got images that are not finite (from {low} to {high}); expected finite numbers; leave out "
            "what is broken"
        )
    columns = min(_MOST_COLUMNS, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    caption = 0.26 if any(titles) else 0.06
    width, height = 0.1 + columns * _CELL, 0.1 + rows * (_CELL - 0.1 + caption)
    longest = max(inches_of(line, 9.0) for title in titles for line in title.split("\n"))
    points = 9.0 * min(1.0, (_CELL - 0.08) / (longest or 1.0))
    figure = new_figure(width, height)
    for i, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        row, column = divmod(i, columns)
        top = height - 0.05 - row * (_CELL - 0.1 + caption) - caption
        place = (0.1 + column * _CELL, top - (_CELL - 0.1), _CELL - 0.1, _CELL - 0.1)
        axes = figure.add_axes((place[0] / width, place[1] / height, place[2] / width, place[3] / height))
        if picture.ndim == 3:
            picture = (picture - low) / ((high - low) or 1.0)
        axes.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(title, fontsize=points, color=INK, pad=3, parse_math=False)
    return save_figure(figure, path)


def _checked(images: Array, titles: Sequence[str]) -> Array:
    """Return the images as (N, H, W), or (N, H, W, 3)."""
    pictures = on_host("plot_digits", "images", images)
    shape = pictures.shape
    known = pictures.ndim == 3 or (pictures.ndim == 4 and pictures.shape[1] in (1, 3))
    if not known or not pictures.size or len(titles) != len(pictures):
        raise ValueError(
            f"plot_digits: got images of shape {shape} and {len(titles)} titles; expected (N, H, W), "
            "(N, 1, H, W) or (N, 3, H, W) with N at least 1, and N titles; pass one title for each image, '' for none"
        )
    if pictures.dtype.kind not in "biuf":
        raise TypeError(f"plot_digits: got images {pictures.dtype}; expected uint8 or floating; cast them")
    if pictures.ndim == 3:
        return pictures
    return pictures[:, 0] if pictures.shape[1] == 1 else pictures.transpose(0, 2, 3, 1)
