"""A folder with a folder of images for each class."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from ..backend import Array
from ..errors import DataError
from .classes import check_names, class_names, in_order, readable
from .dataset import Dataset
from .parts import Note, UnfitError, check_size
from .picture import read_on_white, size_of_picture
from .resize import nearer_size, require_pillow, squared
from .split import hold_out_fifth, mixed_order, told_of_fifth

# What the parts are called, in whatever case; the first that is there counts.
_TRAIN_NAMES = ("train", "training")
_TEST_NAMES = ("test", "testing", "val", "valid", "validation")
_NOT_OURS = ("__MACOSX", "@eaDir", "lost+found")  # what systems leave in folders
_MOST_FILES = 1_000_000
_MANY = 5_000  # files that take their time
_MOST_NAMED = 3  # damaged pictures

_T = TypeVar("_T")


class _Found(NamedTuple):
    """The files of a part, class by class; once they have been looked at, the images alone, with heights and widths."""

    paths: list[Path]
    labels: list[int]
    sizes: list[tuple[int, int]]


class _Damaged:
    """Pictures that cannot be read: all are looked at before the first is an error, so that all are told at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.first: list[str] = []
        self.error: DataError | None = None

    def attempt(self, read: Callable[..., _T], path: Path, *arguments: object) -> _T | None:
        """Return ``read(path, *arguments)``, or None where the picture is damaged."""
        try:
            return read(path, *arguments)
        except DataError as error:
            self.count += 1
            if self.error is None:
                self.error = error
            if len(self.first) < _MOST_NAMED:
                self.first.append(repr(str(path.relative_to(self.folder))))
            return None

    def tell(self) -> None:
        """Raise what was found, if anything was."""
        if self.count > 1:
            more = " ..." if self.count > len(self.first) else ""
            raise UnfitError(
                f"with {self.count:,} pictures that cannot be read, {', '.join(self.first)}{more} (the first: "
                f"{self.error}); expected whole ones; leave them out, or fetch them again"
            ) from self.error
        if self.error is not None:
            raise self.error


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in `folder`, links to folders among them, but for hidden ones and for links back
    to `folder` or to what it lies in.
    """
    with os.scandir(folder) as entries:
        return sorted(
            e.name
            for e in entries
            if e.name[0] != "." and e.name not in _NOT_OURS and e.is_dir() and not (e.is_symlink() and _is_above(e))
        )


def _is_above(link: os.DirEntry[str]) -> bool:
    target, here = Path(os.path.realpath(link.path)), Path(os.path.realpath(os.path.dirname(link.path)))
    return target == here or target in here.parents


def read_folder(folder: Path, name: str, image_size: int | None, note: Note) -> Dataset:
    """Return the images in ``FOLDER/<class>/``, or in ``FOLDER/train/<class>/`` and ``FOLDER/test/<class>/``.

    Files that are no images are left out, hidden ones too; folders in a class folder belong to the class, but links to
    folders are not followed there. Images of one size stay as they are if that is 28 x 28 or 32 x 32; else all become
    squares of one size, `nearer_size` of the middle one among their longer sides.

    Args:
        folder: where they lie.
        name: of the data set.
        image_size: side of the squares; None chooses.
        note: told what was left out, held out, or resized.

    Raises:
        UnfitError: there are no classes, or none but one, or a class is empty, or images are damaged.
        DataError: an image is damaged.
        MissingExtraError: Pillow is not installed.
    """
    require_pillow("decoding images")
    train_folder, test_folder = _two_parts(folder, note)
    classes = in_order(subfolders(train_folder))
    check_names(classes)
    damaged = _Damaged(folder)
    files = [_find(train_folder, classes)]
    if test_folder is not None:
        files.append(_find(test_folder, _only_known(test_folder, train_folder, classes), classes))
    parts = _look(folder, files, damaged, note)
    if not damaged.count:
        _check_layout(train_folder, parts[0])
        _check_classes(train_folder, classes, parts[0])
    sizes = [size for part in parts for size in part.sizes]
    if not sizes:
        damaged.tell()
    side = _side(sizes, image_size, note)
    check_size(len(sizes), 3, side)
    decoded = [_decode(part, side, damaged) for part in parts]
    damaged.tell()
    if test_folder is not None and not decoded[1][0]:
        raise UnfitError(f"with no image in {str(test_folder)!r}; expected some; add them or remove the folder")
    return _assemble(name, decoded, class_names(classes), note)


# ==== where they lie ====


def _two_parts(folder: Path, note: Note) -> tuple[Path, Path | None]:
    """Tell ``train/`` and ``test/``, with the folders of classes in them, from two classes of these names."""
    inside = subfolders(folder)
    trains = [name for name in _called(_TRAIN_NAMES, inside) if subfolders(folder / name)]
    if not trains:
        return folder, None
    train = trains[0]
    parts = [name for name in _called(_TEST_NAMES, inside) if subfolders(folder / name)]
    if not parts and not {name.casefold() for name in inside} <= {*_TRAIN_NAMES, *_TEST_NAMES}:
        return folder, None
    if parts and parts[0].casefold() not in _TEST_NAMES[:2]:
        note(f"{readable(parts[0])}/ is the test part")
    for left in inside:
        if left not in (train, *parts[:1]):
            note(f"{readable(left)}/ is left out, beside the parts for training and for testing")
    return folder / train, folder / parts[0] if parts else None


def _called(names: Sequence[str], inside: Sequence[str]) -> list[str]:
    """Return those folders that have one of `names`, in the order of these."""
    return [folder for name in names for folder in inside if folder.casefold() == name]


def _only_known(folder: Path, train_folder: Path, classes: Sequence[str]) -> list[str]:
    found = subfolders(folder)
    if strangers := [name for name in found if name not in classes]:
        raise UnfitError(
            f"with the class {readable(strangers[0])!r} in {folder.name}/ and not in {train_folder.name}/; expected "
            f"classes that there is something to learn of; remove it, or add images to {train_folder.name}/"
        )
    return found


def _find(folder: Path, inside: Sequence[str], classes: Sequence[str] | None = None) -> _Found:
    """Return all files below the folders `inside`, in the order of their names."""
    found = _Found([], [], [])
    number = {name: label for label, name in enumerate(inside if classes is None else classes)}
    for name in inside:
        for path in _files(folder / name):
            found.paths.append(path)
            found.labels.append(number[name])
            if len(found.paths) > _MOST_FILES:
                raise UnfitError(f"with more than {_MOST_FILES:,} files; expected at most that; give fewer")
    return found


def _files(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield from (Path(place, name) for name in sorted(files) if name[0] != "." and os.path.isfile(f"{place}/{name}"))


# ==== what they are ====


def _look(folder: Path, files: Sequence[_Found], damaged: _Damaged, note: Note) -> list[_Found]:
    """Read the header of each file; return the images, and say what is left out."""
    count = sum(len(part.paths) for part in files)
    if count > _MANY:
        note(f"looking at {count:,} files in {str(folder)!r}")
    left_out, parts = [], []
    for part in files:
        images = _Found([], [], [])
        for path, label in zip(part.paths, part.labels, strict=True):
            before = damaged.count
            size = damaged.attempt(size_of_picture, path)
            if size is not None:
                images.paths.append(path)
                images.labels.append(label)
                images.sizes.append(size)
            elif damaged.count == before:
                left_out.append(path)
        parts.append(images)
    if left_out:
        first = repr(str(left_out[0].relative_to(folder)))
        one = f"1 file is no image and is left out: {first}"
        many = f"{len(left_out):,} files are no images and are left out, the first of them {first}"
        note(one if len(left_out) == 1 else many)
    return parts


def _check_layout(folder: Path, found: _Found) -> None:
    """Refuse a folder of data sets, whose parts would be taken for classes: no folder in it has an image of its own."""
    if found.paths and not any(path.parent.parent == folder for path in found.paths):
        first = found.paths[0].relative_to(folder)
        raise UnfitError(
            f"with no image in the folders in it, but deeper, such as {str(first)!r}; expected FOLDER/<class>/, or "
            "FOLDER/train/<class>/ and FOLDER/test/<class>/; name the folder in which the classes are"
        )


def _check_classes(folder: Path, classes: Sequence[str], found: _Found) -> None:
    there = set(found.labels)
    for label, name in enumerate(classes):
        if label not in there:
            raise UnfitError(
                f"with no image in {str(folder / name)!r}; expected some in the folder of each class; add images or "
                "remove the folder"
            )


def _side(sizes: Sequence[tuple[int, int]], image_size: int | None, note: Note) -> int:
    """Return the side of the squares that the images become."""
    side = image_size or nearer_size(float(np.median([max(size) for size in sizes])))
    others = sum(size != (side, side) for size in sizes)
    if others:
        are = "is" if others == 1 else "are"
        note(
            f"{others:,} of {len(sizes):,} images {are} not {side} x {side}: scaled to that, and padded with the "
            "colour of the border where not square"
        )
    return side


# ==== their pixels ====


def _decode(found: _Found, side: int, damaged: _Damaged) -> tuple[list[Array], Array]:
    images, labels = [], []
    for path, label in zip(found.paths, found.labels, strict=True):
        image = damaged.attempt(read_on_white, path, side)
        if image is not None:
            images.append(squared(image, side))
            labels.append(label)
    return images, np.array(labels, np.int64)


def _assemble(name: str, decoded: Sequence[tuple[list[Array], Array]], names: tuple[str, ...], note: Note) -> Dataset:
    """Hold a test part out where there is none, mix the training part, and lay the pixels out for training."""
    x_train, y_train = decoded[0]
    if len(decoded) > 1:
        x_test, y_test = decoded[1]
    else:
        stay, out = hold_out_fifth(y_train)
        note(told_of_fifth(y_train, out))
        x_test, y_test = [x_train[i] for i in out], y_train[out]
        x_train, y_train = [x_train[i] for i in stay], y_train[stay]
    order = mixed_order(len(y_train))
    channels = 3 if any(image.ndim == 3 for images in (x_train, x_test) for image in images) else 1
    x_train = [x_train[i] for i in order]
    return Dataset(
        name,
        _stacked(x_train, channels),
        y_train[order],
        _stacked(x_test, channels),
        y_test,
        names,
        held_out=len(decoded) == 1,
    )


def _stacked(images: Sequence[Array], channels: int) -> Array:
    side = images[0].shape[0]
    x = np.empty((len(images), channels, side, side), np.uint8)
    for place, image in zip(x, images, strict=True):
        place[...] = image if image.ndim == 2 else image.transpose(2, 0, 1)
    return x
