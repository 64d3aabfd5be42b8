"""A folder with a folder of images for each class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..backend import Array
from .classes import check_names, in_order, readable
from .dataset import Dataset
from .parts import MOST_BYTES, Note, UnfitError
from .picture import read_on_white, size_of_picture
from .resize import nearer_size, require_pillow, squared
from .split import hold_out_fifth, mixed_order

_TEST_NAMES = ("test", "val", "validation")
_NOT_OURS = ("__MACOSX", "@eaDir", "lost+found")  # what systems leave in folders
_MOST_FILES = 1_000_000
_MANY = 5_000  # files that take their time


class _Found(NamedTuple):
    """The images of a part, class by class."""

    paths: list[Path]
    labels: list[int]


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in `folder`, links to folders among them, but for hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.name[0] != "." and e.name not in _NOT_OURS and e.is_dir())


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
        UnfitError: there are no classes, or none but one, or a class is empty.
        DataError: an image is damaged.
        MissingExtraError: Pillow is not installed.
    """
    require_pillow("decoding images")
    train_folder, test_folder = _two_parts(folder, note)
    classes = in_order(subfolders(train_folder))
    names = tuple(map(readable, classes))
    check_names(names)
    train = _find(train_folder, classes)
    test = None if test_folder is None else _find(test_folder, _only_known(test_folder, classes), classes)
    paths = train.paths + ([] if test is None else test.paths)
    if len(paths) > _MANY:
        note(f"looking at {len(paths):,} files in {str(folder)!r}")
    sizes = [size_of_picture(path) for path in paths]
    _tell_what_is_left_out(folder, paths, sizes, note)
    _check_classes(train_folder, classes, train, sizes)
    sides = [max(size) for size in sizes if size is not None]
    side = image_size or (nearer_size(float(np.median(sides))))
    others = sum(size is not None and size != (side, side) for size in sizes)
    if others:
        note(
            f"{others:,} of {len(sides):,} images are not {side} x {side}: scaled to that, and padded with the "
            "colour of their borders where they are not square"
        )
    if len(sides) * side * side * 3 > MOST_BYTES:
        raise UnfitError(f"with {len(sides):,} images; expected at most {MOST_BYTES:,} bytes of pixels; give fewer")
    count = len(train.paths)
    x_train, y_train = _decode(train, sizes[:count], side)
    if test is None:
        stay, out = hold_out_fifth(y_train)
        note(told_of_fifth(len(out), len(y_train)))
        x_test, y_test = [x_train[i] for i in out], y_train[out]
        x_train, y_train = [x_train[i] for i in stay], y_train[stay]
    else:
        x_test, y_test = _decode(test, sizes[count:], side)
        if not x_test:
            raise UnfitError(f"with no image in {str(test_folder)!r}; expected some; add them or remove the folder")
    order = mixed_order(len(y_train))
    channels = 3 if any(image.ndim == 3 for images in (x_train, x_test) for image in images) else 1
    x_train = [x_train[i] for i in order]
    return Dataset(name, _stacked(x_train, channels), y_train[order], _stacked(x_test, channels), y_test, names)


def told_of_fifth(held: int, count: int) -> str:
    """Return the words for a test part that nobody has given."""
    return (
        f"no test part here: {held:,} of {count:,} images, a fifth of each class, are held out as one, always the same"
    )


def _two_parts(folder: Path, note: Note) -> tuple[Path, Path | None]:
    """Tell ``train/`` and ``test/``, with the folders of classes in them, from two classes of these names."""
    inside = subfolders(folder)
    if "train" not in inside or not subfolders(folder / "train"):
        return folder, None
    parts = [name for name in _TEST_NAMES if name in inside and subfolders(folder / name)]
    if not parts and not set(inside) <= {"train", *_TEST_NAMES}:
        return folder, None
    if parts and parts[0] != "test":
        note(f"{readable(parts[0])}/ is the test part")
    for left in inside:
        if left not in ("train", *parts[:1]):
            note(f"{readable(left)}/ is left out, beside the parts for training and for testing")
    return folder / "train", folder / parts[0] if parts else None


def _only_known(folder: Path, classes: Sequence[str]) -> list[str]:
    found = subfolders(folder)
    if strangers := [name for name in found if name not in classes]:
        raise UnfitError(
            f"with the class {readable(strangers[0])!r} in {folder.name}/ and not in train/; expected classes that "
            "there is something to learn of; remove it, or add images to train/"
        )
    return found


def _find(folder: Path, inside: Sequence[str], classes: Sequence[str] | None = None) -> _Found:
    """Return all files below the folders `inside`, in the order of their names."""
    paths: list[Path] = []
    labels: list[int] = []
    number = {name: label for label, name in enumerate(inside if classes is None else classes)}
    for name in inside:
        for path in _files(folder / name):
            paths.append(path)
            labels.append(number[name])
            if len(paths) > _MOST_FILES:
                raise UnfitError(f"with more than {_MOST_FILES:,} files; expected at most that; give fewer")
    return _Found(paths, labels)


def _files(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield from (Path(place, name) for name in sorted(files) if name[0] != "." and os.path.isfile(f"{place}/{name}"))


def _tell_what_is_left_out(
    folder: Path, paths: Sequence[Path], sizes: Sequence[tuple[int, int] | None], note: Note
) -> None:
    left_out = [path for path, size in zip(paths, sizes, strict=True) if size is None]
    if left_out:
        first = str(left_out[0].relative_to(folder))
        what = "file is no image and is" if len(left_out) == 1 else "files are no images and are"
        note(f"{len(left_out):,} {what} left out, the first of them {first!r}")


def _check_classes(
    folder: Path, classes: Sequence[str], found: _Found, sizes: Sequence[tuple[int, int] | None]
) -> None:
    there = {label for label, size in zip(found.labels, sizes, strict=False) if size is not None}
    for label, name in enumerate(classes):
        if label not in there:
            raise UnfitError(
                f"with no image in {str(folder / name)!r}; expected some in the folder of each class; add images or "
                "remove the folder"
            )


def _decode(found: _Found, sizes: Sequence[tuple[int, int] | None], side: int) -> tuple[list[Array], Array]:
    images, labels = [], []
    for path, label, size in zip(found.paths, found.labels, sizes, strict=True):
        if size is not None:
            images.append(squared(read_on_white(path, side), side))
            labels.append(label)
    return images, np.array(labels, np.int64)


def _stacked(images: Sequence[Array], channels: int) -> Array:
    side = images[0].shape[0]
    x = np.empty((len(images), channels, side, side), np.uint8)
    for place, image in zip(x, images, strict=True):
        place[...] = image if image.ndim == 2 else image.transpose(2, 0, 1)
    return x
