"""One image file, of whatever kind, as grey or coloured bytes."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import Array
from ..errors import DataError, XlenetError
from ..files import open_regular

# What is read, and nothing else: Pillow knows kinds that start other programs.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".pnm", ".pbm", ".tif", ".tiff", ".webp"}
_MOST_BYTES = 1 << 28  # of a file
_MOST_PIXELS = 1 << 26  # 67 million: more than cameras make, and 200 MB


def size_of_picture(path: Path) -> tuple[int, int] | None:
    """Return height and width of an image as its header has them, or None for a file of another kind.

    Raises:
        DataError: it is named as an image and is none, or has more pixels than are unpacked.
    """
    from PIL import UnidentifiedImageError

    try:
        width, height = _with_image(path, lambda image: image.size)
    except DataError as error:
        if isinstance(error.__cause__, UnidentifiedImageError) and path.suffix.lower() not in _SUFFIXES:
            return None
        raise
    return height, width


def read_picture(path: str | os.PathLike[str], size: int = 1 << 20) -> Array:
    """Return an image as bytes: (H, W) where it is grey, else (H, W, 3). It stands as its camera was held.

    Transparent pixels are laid over white, 16 bits become 8, palettes, CMYK and the like become red, green and blue; an
    image whose three channels are the same everywhere counts as grey. Of an animation it is the first image.

    Args:
        path: the file.
        size: side of what is to be made of it: an image of more than 16 times that may come out smaller, but not below
            8 times that.

    Raises:
        DataError: it cannot be read, is damaged, or has more pixels than are unpacked.
    """
    from PIL import ImageOps

    def decode(image: Any) -> Array:
        if image.format == "JPEG":
            image.draft(image.mode, (8 * size, 8 * size))
        return _as_array(_reduced(ImageOps.exif_transpose(image), 8 * size))

    return _with_image(Path(path), decode)


def _with_image(path: Path, use: Any) -> Any:
    from PIL import Image

    with open_regular(path, _MOST_BYTES, "load") as (file, _), _quiet():
        try:
            with Image.open(file, formats=_FORMATS) as image:
                width, height = image.size
                if width * height > _MOST_PIXELS:
                    raise DataError(
                        f"load: got {str(path)!r}, an image of {width} x {height}; expected at most {_MOST_PIXELS:,} "
                        "pixels; make it smaller"
                    )
                return use(image)
        except XlenetError:
            raise
        except Exception as error:  # Pillow's readers raise whatever they meet in a damaged file
            why = (
                "not of a kind that is read" if type(error).__name__ == "UnidentifiedImageError" else _in_a_line(error)
            )
            raise DataError(
                f"load: got {str(path)!r}, no image, or a damaged one ({why}); expected a whole "
                f"{', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}; remove it, or fetch it again"
            ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Pillow says beside its errors, of odd metadata for example, from the terminal."""
    logger, nobody = logging.getLogger("PIL"), logging.NullHandler()
    logger.addHandler(nobody)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(nobody)


def _in_a_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in text)[:100]


def _reduced(image: Any, side: int) -> Any:
    """Return a large image by a whole factor smaller, but not below `side`: the rest would only cost memory."""
    factor = max(image.size) // side
    if factor < 2 or image.mode.startswith("I") or image.mode == "F":
        return image
    if image.mode in ("1", "P", "PA"):  # colours by number, of which there are no means
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    return image.reduce(factor)


def _as_array(image: Any) -> Array:
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep(image)
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    pixels = np.asarray(image.convert("RGB"))
    red = pixels[..., :1]
    return np.ascontiguousarray(red[..., 0]) if (pixels == red).all() else pixels


def _from_deep(image: Any) -> Array:
    """Return grey of 16 bits as bytes: 65535 is white. Of more bits nobody knows what is white."""
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError(f"pixels of mode {image.mode} from {pixels.min():g} to {pixels.max():g}, not 8 or 16 bits")
    return (pixels // 257).astype(np.uint8)
