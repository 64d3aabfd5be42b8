"""The pictures that a command line names: files, folders of them, and standard input."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .backend import Array
from .data.picture import MOST_BYTES, SUFFIXES, decode
from .errors import DataError, DataNotFoundError
from .files import open_regular

STANDARD_INPUT = "-"


def read_picture(path: str | os.PathLike[str]) -> Array:
    """Read a picture.

    It is turned as its EXIF data say; of an animation, the first frame is taken; 16 bits become 8.

    Args:
        path: the file; ``-`` is standard input.

    Returns:
        (H, W) grey, (H, W, 3) red, green, blue, or (H, W, 4) with alpha, uint8.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is no picture of a known kind, is damaged, or has more than 50 million pixels.
        MissingExtraError: Pillow is not installed.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("1", (3, 2), 1).save(folder + "/white.png")
        ...     read_picture(folder + "/white.png").tolist()
        [[255, 255, 255], [255, 255, 255]]
    """
    name = os.fspath(path)
    if name == STANDARD_INPUT:
        return decode(io.BytesIO(_standard_input()), name, "read_picture")
    with open_regular(path, MOST_BYTES, "read_picture") as (file, _):
        return decode(file, name, "read_picture")


def pictures_in(folder: str | os.PathLike[str]) -> list[str]:
    """Return the paths of the pictures in a folder by their endings, sorted; those that begin with a dot are hidden.

    Raises:
        DataNotFoundError: there is none.
        DataError: the folder cannot be read.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(
            f"read_picture: got the folder {os.fspath(folder)!r} ({error.strerror or error}); expected one that can be "
            "read; check its rights"
        ) from error
    found = [
        os.path.join(folder, name)
        for name in names
        if not name.startswith(".")
        and os.path.splitext(name)[1].lower() in SUFFIXES
        and not os.path.isdir(os.path.join(folder, name))
    ]
    if not found:
        raise DataNotFoundError(
            f"read_picture: got the folder {os.fspath(folder)!r} without a picture in it; expected files such as "
            "a.png or b.jpg; name another folder, or the files themselves"
        )
    return found


def each_picture(paths: Sequence[str]) -> Iterator[tuple[str, Array | DataError]]:
    """Go over pictures, those in folders among them: each path with its picture, or with what is wrong with it."""
    for path in paths:
        try:
            inside = pictures_in(path) if path != STANDARD_INPUT and Path(path).is_dir() else [path]
        except (DataError, ValueError, OSError) as error:
            yield path, error if isinstance(error, DataError) else DataError(f"read_picture: got {path!r} ({error})")
            continue
        for one in inside:
            try:
                yield one, read_picture(one)
            except DataError as error:
                yield one, error


def _standard_input() -> bytes:
    stream = getattr(sys.stdin, "buffer", None)
    try:
        data: bytes = stream.read(MOST_BYTES + 1) if stream is not None else b""
    except OSError as error:
        raise DataError(
            f"read_picture: got standard input ({error.strerror or error}); expected a picture there; use < FILE"
        ) from error
    if not data or len(data) > MOST_BYTES:
        came = f"more than {MOST_BYTES:,} bytes" if data else "nothing"
        raise DataError(f"read_picture: got {came} on standard input; expected a picture there; use < FILE")
    return data
