"""Folders of IDX files: torchvision's, Keras's, EMNIST's, and anybody's with files of these names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..backend import Array
from .idx import read_idx
from .parts import Parts
from .registry import SOURCES

_TRAIN_IMAGES = re.compile(r"(?P<prefix>.*)train-images[-.]idx[34]-ubyte(\.gz)?")


class IdxFiles(NamedTuple):
    """The files of one data set; without a test part its two are None."""

    folder: Path
    prefix: str  # of the names, such as "emnist-letters-"
    x_train: Path
    y_train: Path
    x_test: Path | None
    y_test: Path | None

    @property
    def name(self) -> str:
        """Name of the data set: of its files, or of the folder that it has for itself."""
        folder = self.folder.parent if self.folder.name == "raw" else self.folder
        known = {s.torchvision_name: s.name for s in SOURCES.values()}
        return self.prefix.rstrip("-_.") or known.get(folder.name, folder.name)


def is_train_images(name: str) -> bool:
    """Return whether a file of this name holds the training images of a data set.

    Example:
        >>> is_train_images("emnist-letters-train-images-idx3-ubyte.gz"), is_train_images("train-labels-idx1-ubyte")
        (True, False)
    """
    return _TRAIN_IMAGES.fullmatch(name) is not None


def find_idx(folder: Path, subfolders: list[str]) -> list[IdxFiles]:
    """Return the data sets of IDX files in `folder`: in itself, in ``raw/``, and in ``<name>/`` and ``<name>/raw/``."""
    places = [folder, folder / "raw"]
    for name in subfolders:
        places += [folder / name / "raw", *([folder / name] if _has_plain(folder / name) else [])]
    return [files for place in dict.fromkeys(places) for files in _in_place(place)]


def _has_plain(folder: Path) -> bool:
    """Ask for the usual names alone: a folder of a class may hold a hundred thousand files."""
    return any(os.path.isfile(folder / f"train-images-idx3-ubyte{end}") for end in ("", ".gz"))


def _in_place(folder: Path) -> list[IdxFiles]:
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = {}
    for name in names:  # the plain file comes before its .gz
        match = _TRAIN_IMAGES.fullmatch(name)
        if match and match["prefix"] not in found and (files := files_beside(folder / name)):
            found[match["prefix"]] = files
    return list(found.values())


def files_beside(images: Path) -> IdxFiles | None:
    """Return the files that go with these training images; None where there are no labels."""
    match = _TRAIN_IMAGES.fullmatch(images.name)
    if match is None:
        return None
    folder, prefix = images.parent, match["prefix"]
    labels = _first(folder, prefix, ["train-labels"], "1")
    if labels is None:
        return None
    tests = (_first(folder, prefix, ["t10k-images", "test-images"], "34"),
             _first(folder, prefix, ["t10k-labels", "test-labels"], "1"))  # fmt: skip
    return IdxFiles(folder, prefix, images, labels, *(tests if None not in tests else (None, None)))


def _first(folder: Path, prefix: str, names: list[str], axes: str) -> Path | None:
    candidates = (
        folder / f"{prefix}{name}{dot}idx{digit}-ubyte{end}"
        for name in names
        for dot in "-."
        for digit in axes
        for end in ("", ".gz")
    )
    return next((path for path in candidates if os.path.isfile(path)), None)


def read_idx_files(files: IdxFiles) -> tuple[Parts, dict[str, str]]:
    """Return the arrays, and names of classes by their labels where a file or a known data set has them.

    Raises:
        DataError: a file is damaged.
    """
    x_train, y_train = read_idx(files.x_train), read_idx(files.y_train)
    x_test = None if files.x_test is None else read_idx(files.x_test)
    y_test = None if files.y_test is None else read_idx(files.y_test)
    if files.prefix.startswith("emnist-"):  # whose images lie on their side
        x_train, x_test = _upright(x_train), None if x_test is None else _upright(x_test)
    return Parts(x_train, y_train, x_test, y_test), _class_names(files)


def _upright(x: Array) -> Array:
    return np.ascontiguousarray(x.swapaxes(-1, -2))


def _class_names(files: IdxFiles) -> dict[str, str]:
    source = SOURCES.get(files.name)
    if source is not None:
        return {str(label): name for label, name in enumerate(source.class_names)}
    mapping = files.folder / f"{files.prefix}mapping.txt"
    if not files.prefix.startswith("emnist-") or not os.path.isfile(mapping) or mapping.stat().st_size > 10_000:
        return {}
    # EMNIST's: a label, and the code of its letter, a line.
    rows = re.findall(r"^(\d{1,3}) (\d{1,3})\b", mapping.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    return {label: chr(int(code)) for label, code in rows if chr(int(code)).isprintable()}
