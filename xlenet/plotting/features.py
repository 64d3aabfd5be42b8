"""One image on its way through a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import Array
from ..checks import check_kind, check_path, check_texts
from ..data.host import on_host
from .figures import BLUE, GREEN, Board, fitted, inches_of, percent
from .images import as_picture, checked_images

_MOST_MAPS, _MOST_CLASSES = 16, 10
_ROOM, _RIGHT = 8.2, 0.85  # inches: maps, scale
_LEFT, _MOST_LEFT = 1.75, 3.2  # of names and shapes
_TILE, _STRIP, _BAR, _IMAGE = 0.62, 0.24, 0.22, 1.25
_QUIET = "#6B6B6B"


def plot_features(
    image: Array,
    layers: Mapping[str, Array],
    probabilities: Array,
    class_names: Sequence[str],
    path: str | os.PathLike[str],
    title: str = "What the network sees",
    *,
    label: int | None = None,
) -> Path:
    """Draw an image, what each layer makes of it, and the probabilities of the classes at the end.

    Maps are drawn side by side, numbers without height and width as a strip. Each row has a scale of its own, symmetric
    around zero, which is written behind it.

    Args:
        image: (C, H, W), host NumPy; uint8, or floating: then the least number is black and the largest white.
        layers: the result of each layer for it by the layer's name, without the batch: (C, H, W) or (K,), host NumPy.
            The first 16 maps of each are drawn.
        probabilities: of the classes, (K,), host NumPy. The ten most probable are drawn.
        class_names: the K names, in the order of the labels.
        path: the PNG to write.
        title: what the image is.
        label: the true class; None: nobody knows.

    Returns:
        `path` as a `Path`.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: shapes that do not go together, or numbers that are not finite.
        MissingExtraError: Matplotlib is not installed.
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> image, maps = np.eye(4)[None], {"conv": np.ones((2, 3, 3)), "fc": np.array([2.0, -1.0])}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_features(image, maps, np.array([0.95, 0.05]), ["yes", "no"], folder + "/features.png").name
        'features.png'
    """
    check_texts("plot_features", "class_names", class_names)
    check_path("plot_features", path)
    check_kind("plot_features", "title", title, str, "a text")
    picture = as_picture(checked_images("plot_features", image, "(C, H, W)"))
    rows = _checked_layers(layers)
    shares = _checked_probabilities(probabilities, class_names, label)
    heights = [_row_height(values) for values in rows.values()]
    order = np.argsort(-shares, kind="stable")[:_MOST_CLASSES]
    bottom = 0.45 + _BAR * len(order) + 0.15
    left = _width_of_names(rows, [class_names[k] for k in order])
    board = Board(left + _ROOM + _RIGHT, 0.55 + _IMAGE + 0.18 + sum(heights) + bottom)
    board.text(fitted(title, left + 5.0, 12), 0.2, 0.27, 12)
    _name_row(board, left, "image", np.shape(image), 0.55 + _IMAGE / 2)
    _draw_image(board, left, picture)
    best = int(order[0])
    words = [f"predicted: {fitted(class_names[best], 4.0, 10)}, {percent(shares[best])}"]
    if label is not None:
        words.append(f"true class: {fitted(class_names[label], 4.0, 10)}, {percent(shares[label])}")
    for k, line in enumerate(words):
        board.text(line, left + 2.2, 0.55 + _IMAGE / 2 + 0.25 * (k - (len(words) - 1) / 2), 10)
    board.text("red above zero, blue below, white zero", board.width - 0.2, 0.27, 8, ha="right", color=_QUIET)
    top = 0.55 + _IMAGE + 0.18
    for (name, values), height in zip(rows.items(), heights, strict=True):
        _name_row(board, left, name, values.shape, top + height / 2)
        _draw_row(board, left, values, top, height)
        top += height
    _draw_bars(board, left, shares, order, class_names, label, top + 0.4)
    return board.save(path)


# ==== what is drawn ====


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _width_of_names(rows: dict[str, Any], classes: Sequence[str]) -> float:
    """Return how much room the names to the left want, within reason."""
    layers = [inches_of(name, 9) + inches_of(_size(values.shape), 8) + 0.47 for name, values in rows.items()]
    return min(_MOST_LEFT, max(_LEFT, *layers, *(inches_of(name, 9) + 0.32 for name in classes)))


def _name_row(board: Board, left: float, name: str, shape: tuple[int, ...], middle: float) -> None:
    board.text(fitted(name, left - 0.47 - inches_of(_size(shape), 8), 9), 0.2, middle, 9)
    board.text(_size(shape), left - 0.12, middle, 8, color=_QUIET, ha="right")


def _draw_image(board: Board, left: float, picture: Any) -> None:
    height, width = picture.shape[:2]
    across = min(_IMAGE * width / height, 2.0)
    down = across * height / width
    place = (left, 0.55 + (_IMAGE - down) / 2, across, down)  # its middle where its name is
    board.picture(picture, *place)
    board.frame(*place)


def _is_flat(values: Any) -> bool:
    return bool(values.ndim == 1 or values.shape[1:] == (1, 1))


def _row_height(values: Any) -> float:
    return _STRIP + 0.1 if _is_flat(values) else _tile(values)[1] + 0.1


def _tile(values: Any) -> tuple[float, float]:
    """Return width and height of a map: all of a row fit beside each other, and none is out of proportion."""
    height, width = values.shape[1:]
    room = _ROOM / min(len(values), _MOST_MAPS) - 0.06
    across = min(room, _TILE * min(width / height, 4.0))
    return across, min(_TILE, max(across * height / width, 0.1))


def _draw_row(board: Board, left: float, values: Any, top: float, height: float) -> None:
    limit = float(np.abs(values).max())
    if _is_flat(values):
        strip = values.reshape(1, -1)
        place = (left, top + 0.05, min(_ROOM - 0.06, 0.4 * strip.shape[1]), height - 0.1)
        board.picture(strip, *place, limit=limit or 1.0)
        board.frame(*place)
    else:
        across, down = _tile(values)
        for k, one in enumerate(values[:_MOST_MAPS]):
            place = (left + k * (across + 0.06), top + 0.05, across, down)
            board.picture(one, *place, limit=limit or 1.0)
            board.frame(*place)
    middle = top + height / 2
    more = not _is_flat(values) and len(values) > _MOST_MAPS
    board.text(f"± {limit:.2g}", left + _ROOM + 0.02, middle - (0.08 if more else 0.0), 8, color=_QUIET)
    if more:
        board.text(f"{_MOST_MAPS} of {len(values)}", left + _ROOM + 0.02, middle + 0.08, 8, color=_QUIET)


def _draw_bars(
    board: Board, left: float, shares: Any, order: Any, class_names: Sequence[str], label: int | None, top: float
) -> None:
    heading = "probabilities" if len(order) == len(shares) else f"the {len(order)} most probable of {len(shares)}"
    board.text(heading, 0.2, top - 0.12, 9)
    for k, index in enumerate(order):
        middle = top + (k + 0.5) * _BAR
        right = label is not None and index == label
        board.text(fitted(class_names[index], left - 0.32, 9), left - 0.12, middle, 9, ha="right")
        board.bar(left, middle, max(5.0 * float(shares[index]), 0.012), 0.62 * _BAR, GREEN if right else BLUE)
        behind = left + 5.0 * float(shares[index]) + 0.1
        board.text(percent(shares[index]) + ("  true class" if right else ""), behind, middle, 9)


# ==== what is checked ====


def _checked_layers(layers: Any) -> dict[str, Any]:
    check_kind("plot_features", "layers", layers, Mapping, "a mapping from names to arrays")
    checked = {}
    for name, values in layers.items():
        array = on_host("plot_features", "layers", values)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"plot_features: got layers with {name!r} {array.dtype}; expected numbers; cast them")
        if array.ndim not in (1, 3) or 0 in array.shape or not np.isfinite(array).all():
            raise ValueError(
                f"plot_features: got layers with {name!r} of shape {array.shape}; expected (C, H, W) or (K,), none of "
                "them 0, of finite numbers; leave the batch out"
            )
        checked[str(name)] = array.astype(np.float64)
    return checked


def _checked_probabilities(probabilities: Any, class_names: Sequence[str], label: Any) -> Any:
    shares = on_host("plot_features", "probabilities", probabilities)
    if shares.dtype.kind != "f" or shares.shape != (len(class_names),) or not len(class_names):
        raise ValueError(
            f"plot_features: got probabilities of shape {shares.shape} and dtype {shares.dtype} for {len(class_names)} "
            "class names; expected one for each, floating; pass the softmax of the scores"
        )
    if not ((shares >= 0) & (shares <= 1.001)).all():
        raise ValueError(
            "plot_features: got probabilities outside 0 to 1; expected shares of 1; pass the softmax of the scores"
        )
    if label is not None and not (isinstance(label, int) and 0 <= label < len(class_names)):
        raise ValueError(
            f"plot_features: got label {label!r}; expected None, or a class from 0 to {len(class_names) - 1}; pass the "
            "true class"
        )
    return shares
