"""Pictures out of files that anybody may have made: decoded with Pillow, turned the right way up, as bytes."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .backend import Array
from .errors import DataError, DataNotFoundError, MissingExtraError, printable
from .files import read_at_most

STANDARD_INPUT = "-"
MAX_BYTES = 256 << 20
MOST_PIXELS = 64_000_000  # a telephone's largest has 50 million; a file of a few bytes may claim any number
_MOST_LETTERS = 120  # of what Pillow says
_ROWS = 1000  # of pixels
# Those that a program of its own would open (PostScript), or that are no pictures of anything, are not among them.
_FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "TGA", "ICO", "JPEG2000")
_ENDINGS = {
    ".png", ".jpg", ".jpeg", ".jpe", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".pbm", ".pgm", ".ppm", ".pnm",
    ".tga", ".ico", ".jp2",
}  # fmt: skip


def read_picture(path: str | os.PathLike[str]) -> Array:
    """Read a picture.

    It is turned as its EXIF data say; of an animation, the first frame is taken; 16 bits become 8.

    Args:
        path: the file; ``-`` is standard input.

    Returns:
        (H, W) grey, (H, W, 3) red, green, blue, or (H, W, 4) with alpha, uint8.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is no picture of a known kind, is damaged, or has more than 64 million pixels.
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
    return decode(_standard_input() if name == STANDARD_INPUT else read_at_most(path, MAX_BYTES, "read_picture"), name)


def decode(data: bytes, name: str) -> Array:
    """Return the picture that the bytes `data` are; `name` is for messages."""
    image_module = _pillow()
    try:
        # A warning that it is large, or about something odd in it, is no reason to fail, and nobody's business.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            formats = [name for name in _FORMATS if name in image_module.OPEN]
            with image_module.open(io.BytesIO(data), formats=formats) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise ValueError(f"{width} x {height} pixels, of which {MOST_PIXELS:,} are the most")
                return _as_bytes(_upright(image))
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds for damaged files, SyntaxError among them
        raise DataError(
            f"read_picture: got {name!r} ({_reason(error)}); expected a picture: PNG, JPEG, GIF, BMP, TIFF or WebP; "
            "it is damaged or of another kind"
        ) from error


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
        and os.path.splitext(name)[1].lower() in _ENDINGS
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
        data: bytes = stream.read(MAX_BYTES + 1) if stream is not None else b""
    except OSError as error:
        raise DataError(
            f"read_picture: got standard input ({error.strerror or error}); expected a picture there; use < FILE"
        ) from error
    if not data or len(data) > MAX_BYTES:
        came = f"more than {MAX_BYTES:,} bytes" if data else "nothing"
        raise DataError(f"read_picture: got {came} on standard input; expected a picture there; use < FILE")
    return data


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(
            'read_picture: Pillow, which reads pictures, is not installed; pip install "xlenet[images]"'
        ) from error
    Image.init()  # all formats, whichever have been asked for
    return Image


def _reason(error: Exception) -> str:
    kind = type(error).__name__
    if kind == "UnidentifiedImageError":
        return "no picture of a known kind"
    if kind == "DecompressionBombError":
        return f"more than {MOST_PIXELS:,} pixels"
    return printable(str(error))[:_MOST_LETTERS] or kind


def _upright(image: Any) -> Any:
    """Return the picture turned as the camera was held; without the turn where the note of it is damaged."""
    from PIL import ImageOps

    image.load()  # now, so that damaged pixels are not taken for a damaged note below
    try:
        turned = ImageOps.exif_transpose(image)
    except Exception:  # what is written beside the picture is no part of it
        return image
    return image if turned is None else turned


def _as_bytes(image: Any) -> Array:
    if image.mode.startswith("I;16"):
        return _scaled(np.asarray(image), 65535.0)
    if image.mode in ("I", "F"):
        return _scaled(np.asarray(image), 65535.0 if image.mode == "I" else None)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        mode = "RGBA"
    else:
        mode = "L" if image.mode in ("1", "L") else "RGB"
    return np.array(image if image.mode == mode else image.convert(mode))


def _scaled(values: Array, white: float | None) -> Array:
    """Return numbers of 0 to `white` as bytes. None: it is 1, 255 or 65,535, the least that is not exceeded."""
    low, high = float(values.min()), float(values.max())
    whites = [white] if white is not None else [1.0, 255.0, 65535.0]
    fitting = [white for white in whites if low >= 0.0 and high <= white]
    if not fitting:  # NaN is neither
        raise ValueError(f"numbers from {low:g} to {high:g} for pixels, expected 0 to {whites[-1]:g}")
    scale, scaled = np.float32(255.0 / fitting[0]), np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):  # some at a time: as floating numbers they take four times the memory
        scaled[start : start + _ROWS] = np.rint(values[start : start + _ROWS].astype(np.float32) * scale)
    return scaled
