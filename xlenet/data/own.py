"""Data of a user's own, told by what lies at a path: a .npz file, a folder of classes, IDX files."""

from __future__ import annotations

import os
from pathlib import Path

from ..backend import Array
from ..errors import DataError, DataNotFoundError
from .classes import check_names, number_classes, readable
from .dataset import Dataset
from .folder import read_folder, subfolders
from .idx_folder import IdxFiles, files_beside, find_idx, is_idx, is_train_images, read_idx_files
from .npz import read_npz
from .parts import Note, Parts, UnfitError, check_size
from .pixels import as_bytes, with_channels
from .registry import NAMES
from .resize import nearer_size, require_pillow, squares
from .split import hold_out_fifth, told_of_fifth

_TAKEN = (*NAMES, "fashionmnist")  # names, in whatever case, that nobody's own data may have


def load_path(path: str | os.PathLike[str], image_size: int | None, note: Note) -> Dataset:
    """Return the data set at `path`: see `xlenet.data.load`.

    Raises:
        DataNotFoundError: there is nothing.
        DataError: it is no data set, or a damaged one.
    """
    place = Path(os.path.abspath(os.path.expanduser(path)))  # "." has a name then, and a link keeps its own
    try:
        if os.path.isdir(place) and os.fspath(path):
            return _from_folder(place, image_size, note)
        if os.path.isfile(place):
            return _from_file(place, image_size, note)
    except UnfitError as error:
        raise DataError(f"load: got {str(place)!r}, {error}") from error
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"load: got {str(place)!r} ({error.strerror or error}); expected files that can be read; check path and "
            "rights"
        ) from error
    raise DataNotFoundError(
        f"load: got {str(path)!r}, neither the name of a data set nor a file or folder that is there; expected "
        f"{', '.join(NAMES)}, FILE.npz, or a folder; check the spelling"
    )


def _name_of(name: str) -> str:
    """Return what data of one's own are called, after their file or folder: as no known data set is."""
    name = readable(name) or "data"
    return f"{name}/" if name.casefold() in _TAKEN else name


def _from_file(path: Path, image_size: int | None, note: Note) -> Dataset:
    if is_train_images(path.name):
        return _from_idx(files_beside(path), image_size, note)
    if is_idx(path.name):
        raise UnfitError(
            "one of several IDX files; expected the one of the training images; name that, train-images-idx3-ubyte, or "
            "the folder"
        )
    return _assemble(_name_of(path.name), read_npz(path, note), image_size, note)


def _from_folder(folder: Path, image_size: int | None, note: Note) -> Dataset:
    inside = subfolders(folder)
    sets = find_idx(folder, inside)
    archives = sorted(name for name in os.listdir(folder) if name.endswith(".npz"))
    if len(sets) + (len(archives) if sets or not inside else 0) > 1:
        candidates = [str(files.x_train) for files in sets] + [str(folder / name) for name in archives]
        raise UnfitError(
            f"with several data sets; expected one; name one of {', '.join(map(repr, candidates[:6]))}"
            f"{' ...' if len(candidates) > 6 else ''}"
        )
    if sets:
        of_the_set = {sets[0].folder.name, sets[0].folder.parent.name} if sets[0].folder != folder else {"raw"}
        _tell_what_is_left_out([name for name in inside if name not in of_the_set], "IDX files", note)
        return _from_idx(sets[0], image_size, note)
    if archives and not inside:
        return _from_file(folder / archives[0], image_size, note)
    if not inside:
        raise UnfitError(
            "with no folder in it and no IDX files; expected a folder of images for each class, or "
            "train-images-idx3-ubyte and its like; name the folder above or below"
        )
    _tell_what_is_left_out(archives, "folders of images", note)
    return read_folder(folder, _name_of(folder.name), image_size, note)


def _tell_what_is_left_out(names: list[str], beside: str, note: Note) -> None:
    if names:
        some = ", ".join(map(readable, names[:3])) + (", ..." if len(names) > 3 else "")
        note(f"{some} {'is' if len(names) == 1 else 'are'} left out, beside {beside}")


def _from_idx(files: IdxFiles, image_size: int | None, note: Note) -> Dataset:
    parts, names, known = read_idx_files(files)
    dataset = _assemble(known or _name_of(files.name), parts, image_size, note)
    named = tuple(names.get(label, label) for label in dataset.class_names)
    try:
        check_names(named)
    except UnfitError:  # capital and small letters are classes of their own there: their numbers tell them apart
        named = tuple(f"{names[label]} ({label})" if label in names else label for label in dataset.class_names)
    return dataset._replace(class_names=named)


def _assemble(name: str, parts: Parts, image_size: int | None, note: Note) -> Dataset:
    """Make of arrays, as they were found, what training takes."""
    pixels = {n: x for n, x in (("x_train", parts.x_train), ("x_test", parts.x_test)) if x is not None}
    pixels = as_bytes({n: with_channels(n, x) for n, x in pixels.items()})
    x_train, x_test = pixels["x_train"], pixels.get("x_test")
    counts = (len(x_train), 0 if x_test is None else len(x_test))
    side = image_size or nearer_size(max(x_train.shape[2:]))
    check_size(sum(counts), x_train.shape[1], side)
    y_train, y_test, names = number_classes(parts.y_train, parts.y_test, counts)
    held_out = x_test is None or y_test is None
    if x_test is None or y_test is None:
        stay, out = hold_out_fifth(y_train)
        note(told_of_fifth(y_train, out))
        x_train, y_train, x_test, y_test = x_train[stay], y_train[stay], x_train[out], y_train[out]
    if x_test.shape[1] != x_train.shape[1]:
        raise UnfitError(
            f"with {x_train.shape[1]} channels in x_train and {x_test.shape[1]} in x_test; expected as many of both; "
            "convert one"
        )
    others = x_test.shape[2:] != x_train.shape[2:]
    train = _fitted("images", x_train, side, note)
    test = _fitted("test images", x_test, side, note if others else lambda _: None)
    return Dataset(name, train, y_train, test, y_test, names, held_out)


def _fitted(what: str, x: Array, side: int, note: Note) -> Array:
    height, width = x.shape[2:]
    if height == width == side:
        return x
    require_pillow(f"making {side} x {side} pixels of {height} x {width}")
    padded = "" if height == width else ", and padded with the colour of their borders"
    note(f"{what} of {height} x {width} are scaled to {side} x {side}{padded}")
    return squares(x, side)
