"""A picture out of a file that anybody may have made: decoded with Pillow, turned the right way up, as bytes.

This is the only reader of pictures: those of class folders and those that a network is asked about are the same to it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..backend import Array
from ..errors import DataError, XlenetError, printable
from ..files import open_regular
from .parts import UnfitError
from .pixels import as_bytes
from .resize import require_pillow

MOST_BYTES = 256 << 20  # of a file
MOST_PIXELS = 50_000_000  # as many as a telephone's; a file of a few bytes may claim any number
SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".pbm", ".pgm", ".ppm", ".pnm",
    ".tga", ".ico", ".jp2",
}  # fmt: skip
# Those that a program of its own would open (PostScript), or that are no pictures of anything, are not among them.
_FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "TGA", "ICO", "JPEG2000")
_MOST_LETTERS = 120  # of what Pillow says
_UNKNOWN = "no picture of a known kind"
_ROWS = 1000  # of pixels


def size_of_picture(path: Path) -> tuple[int, int] | None:
    """Return height and width of a picture as its header has them, or None for a file of another kind.

    Raises:
        DataError: it is named as a picture and is none, or has more pixels than are unpacked.
    """
    from PIL import UnidentifiedImageError

    try:
        with open_regular(path, MOST_BYTES, "load") as (file, _), _opened(file, str(path), "load") as image:
            width, height = image.size
    except DataError as error:
        if isinstance(error.__cause__, UnidentifiedImageError) and path.suffix.lower() not in SUFFIXES:
            return None
        raise
    return height, width


def read_on_white(path: str | os.PathLike[str], side: int | None = None) -> Array:
    """Return a picture to learn from, as `decode` does, but without alpha: what is transparent is laid over white.

    Args:
        path: the file.
        side: as in `decode`.

    Returns:
        (H, W) where it is grey, or red, green and blue are the same everywhere; else (H, W, 3).

    Raises:
        DataError: as from `decode`, or the file cannot be read.
    """
    from PIL import Image

    with open_regular(path, MOST_BYTES, "load") as (file, _):
        pixels = decode(file, os.fspath(path), "load", side)
    if pixels.shape[2:] == (4,):
        image = Image.fromarray(pixels)
        pixels = np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image))[..., :3]
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    return np.ascontiguousarray(pixels)


def decode(file: BinaryIO, name: str, operation: str, side: int | None = None) -> Array:
    """Return a picture as bytes. It stands as its camera was held; of an animation it is the first image.

    16 bits become 8, floating numbers are taken as in `as_bytes`; palettes, CMYK and the like become red, green, blue.

    Args:
        file: what is in the picture's file, from its beginning.
        name: of the file, for messages.
        operation: whose errors they are.
        side: of what is to be made of it: a picture of more than 16 times that may come out smaller, but not below 8
            times that. None: it never does.

    Returns:
        (H, W) grey, (H, W, 3) red, green, blue, or (H, W, 4) with alpha, uint8.

    Raises:
        DataError: it is no picture of a known kind, is damaged, or has more than 50 million pixels.
        MissingExtraError: Pillow is not installed.
    """
    require_pillow(operation)
    from PIL import Image

    with _opened(file, name, operation) as image:
        if side is not None and image.format == "JPEG":
            image.draft(image.mode, (8 * side, 8 * side))
        upright = _upright(image)
        deep = upright.mode.startswith("I") or upright.mode == "F"
        plain = Image.fromarray(_from_deep(np.asarray(upright))) if deep else _plain(upright)
        return np.array(plain if side is None else _reduced(plain, 8 * side))


@contextlib.contextmanager
def _opened(file: BinaryIO, name: str, operation: str) -> Iterator[Any]:
    """Give what Pillow makes of the header; whatever Pillow raises while this is open is told in words."""
    from PIL import Image

    Image.init()  # all formats, whichever have been asked for
    formats = [name for name in _FORMATS if name in Image.OPEN]
    with _quiet():
        try:
            with Image.open(file, formats=formats) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise ValueError(f"{width} x {height} pixels, of which {MOST_PIXELS:,} are the most")
                yield image
        except XlenetError:
            raise
        except Exception as error:  # Pillow's decoders raise a dozen kinds for damaged files, SyntaxError among them
            raise DataError(
                f"{operation}: got {name!r} ({_reason(error)}); expected a picture, a whole PNG, JPEG, GIF, BMP, "
                "TIFF or WebP; leave it out, or fetch it again"
            ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Pillow says beside its errors (that it is large, that something in it is odd) from the terminal."""
    logger, nobody = logging.getLogger("PIL"), logging.NullHandler()
    logger.addHandler(nobody)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(nobody)


def _reason(error: Exception) -> str:
    kind = type(error).__name__
    if kind == "UnidentifiedImageError":
        return _UNKNOWN
    if kind == "DecompressionBombError":
        return f"more than {MOST_PIXELS:,} pixels"
    return printable(str(error), _MOST_LETTERS) or kind


def _upright(image: Any) -> Any:
    """Return the picture turned as the camera was held; without the turn where the note of it is damaged."""
    from PIL import ImageOps

    image.load()  # now, so that damaged pixels are not taken for a damaged note below
    try:
        turned = ImageOps.exif_transpose(image)
    except Exception:  # what is written beside the picture is no part of it
        return image
    return image if turned is None else turned


def _plain(image: Any) -> Any:
    """Return the picture in grey (L), colours (RGB), or colours and alpha (RGBA)."""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        mode = "RGBA"
    else:
        mode = "L" if image.mode in ("1", "L") else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _reduced(image: Any, side: int) -> Any:
    """Return a large picture by a whole factor smaller, but not below `side`: the rest would only cost memory."""
    factor = max(image.size) // side
    return image if factor < 2 else image.reduce(factor)


def _from_deep(values: Array) -> Array:
    """Return grey of 16 bits, in whatever type, as bytes: 65,535 is white. Of floating numbers it is 1 or 255."""
    if values.dtype.kind == "f":
        try:
            return as_bytes({"pixels": values})["pixels"]
        except UnfitError as error:
            raise ValueError(str(error).partition(";")[0]) from error
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(f"with pixels of {values.dtype} from {low} to {high}, not 8 or 16 bits")
    scaled = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):  # some at a time: as floating numbers they take twice the memory
        scaled[start : start + _ROWS] = np.rint(values[start : start + _ROWS].astype(np.float32) / 257)
    return scaled
