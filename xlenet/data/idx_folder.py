"""Folders of IDX files: torchvision's, Keras's, EMNIST's, and anybody's with files of these names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..backend import Array
from .idx import read_idx
from .mnist import is_original
from .parts import Parts, UnfitError
from .registry import SOURCES, Source

_IDX = re.compile(r".*[-.]idx[0-9]-ubyte(\.gz)?")
_TRAIN_IMAGES = re.compile(r"(?P<prefix>.*)train-images[-.]idx[34]-ubyte(\.gz)?")


class IdxFiles(NamedTuple):
    """The files of one data set; those that are not there are None."""

    folder: Path
    prefix: str  # of the names, such as "emnist-letters-"
    x_train: Path
    y_train: Path | None
    x_test: Path | None
    y_test: Path | None

    @property
    def name(self) -> str:
        """Name of the data set: of its files, or of the folder that it has for itself."""
        folder = self.folder.parent if self.folder.name == "raw" else self.folder
        return self.prefix.rstrip("-_.") or folder.name


def is_train_images(name: str) -> bool:
    """Return whether a file of this name holds the training images of a data set.

    Example:
        >>> is_train_images("emnist-letters-train-images-idx3-ubyte.gz"), is_train_images("train-labels-idx1-ubyte")
        (True, False)
    """
    return _TRAIN_IMAGES.fullmatch(name) is not None


def is_idx(name: str) -> bool:
    """Return whether a file of this name is one of the files of such a data set.

    Example:
        >>> is_idx("t10k-labels-idx1-ubyte.gz"), is_idx("mnist.npz")
        (True, False)
    """
    return _IDX.fullmatch(name) is not None


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
        if match and match["prefix"] not in found:
            found[match["prefix"]] = files_beside(folder / name)
    return list(found.values())


def files_beside(images: Path) -> IdxFiles:
    """Return the files that go with these training images."""
    match = _TRAIN_IMAGES.fullmatch(images.name)
    folder, prefix = images.parent, "" if match is None else match["prefix"]
    return IdxFiles(
        folder,
        prefix,
        images,
        _first(folder, prefix, ["train-labels"], "1"),
        _first(folder, prefix, ["t10k-images", "test-images"], "34"),
        _first(folder, prefix, ["t10k-labels", "test-labels"], "1"),
    )


def _first(folder: Path, prefix: str, names: list[str], axes: str) -> Path | None:
    candidates = (
        folder / f"{prefix}{name}{dot}idx{digit}-ubyte{end}"
        for name in names
        for dot in "-."
        for digit in axes
        for end in ("", ".gz")
    )
    return next((path for path in candidates if os.path.isfile(path)), None)


def read_idx_files(files: IdxFiles) -> tuple[Parts, dict[str, str], str]:
    """Return the arrays, and names of classes by their labels where a file or a known data set has them; and the name
    of the known data set, whose files these are by their digests, else nothing.

    Raises:
        UnfitError: labels are missing, or one of the two files of the test part.
        DataError: a file is damaged.
    """
    if files.y_train is None:
        raise UnfitError(
            f"with {files.x_train.name!r} without a file of labels beside it; expected "
            f"{files.prefix}train-labels-idx1-ubyte; put it there"
        )
    if (files.x_test is None) != (files.y_test is None):
        there = files.x_test or files.y_test
        raise UnfitError(
            f"with {there.name if there else ''!r} alone of the test part; expected its images and its labels, or none "
            "of them; put both there, or move this one away"
        )
    x_train, y_train = read_idx(files.x_train), read_idx(files.y_train)
    x_test = None if files.x_test is None else read_idx(files.x_test)
    y_test = None if files.y_test is None else read_idx(files.y_test)
    source = _source(files, x_train.shape)
    if source is not None:
        names = {str(label): name for label, name in enumerate(source.class_names)}
        return Parts(x_train, y_train, x_test, y_test), names, source.name
    if files.prefix.startswith("emnist-"):  # whose images lie on their side
        x_train, x_test = _upright(x_train), None if x_test is None else _upright(x_test)
    return Parts(x_train, y_train, x_test, y_test), _class_names(files), ""


def _source(files: IdxFiles, shape: tuple[int, ...]) -> Source | None:
    """Return the known data set whose files these are, byte for byte: what they are called says nothing."""
    paths = (files.x_train, files.y_train, files.x_test, files.y_test)
    for source in SOURCES.values():
        if source.files[0].shape == shape and all(
            path is not None and is_original(path, file) for path, file in zip(paths, source.files, strict=True)
        ):
            return source
    return None


def _upright(x: Array) -> Array:
    return np.ascontiguousarray(x.swapaxes(-1, -2))


def _class_names(files: IdxFiles) -> dict[str, str]:
    mapping = files.folder / f"{files.prefix}mapping.txt"
    if not files.prefix.startswith("emnist-") or not os.path.isfile(mapping) or mapping.stat().st_size > 10_000:
        return {}
    # EMNIST's: a label, and the code of its letter, a line.
    rows = re.findall(r"^(\d{1,3}) (\d{1,3})\b", mapping.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    return {label: chr(int(code)) for label, code in rows if chr(int(code)).isprintable()}
