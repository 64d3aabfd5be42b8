"""Pictures of all kinds: decoded, and prepared for a network in both ways."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from tests.fuzzing.mutate import Broken, change_bytes, refused
from xlenet.data import as_mnist
from xlenet.data.handwriting import as_is
from xlenet.errors import DataError
from xlenet.pictures import read_picture

KINDS = ("PNG", "PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA")
MODES = {"PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "JPEG": ("L", "RGB", "CMYK"), "GIF": ("L", "P"),
         "BMP": ("1", "L", "P", "RGB"), "TIFF": ("1", "L", "RGB", "CMYK", "I;16", "F", "YCbCr"),
         "WEBP": ("RGB", "RGBA"), "PPM": ("1", "L", "RGB"), "TGA": ("L", "RGB", "RGBA")}  # fmt: skip


def make(rng: Random) -> tuple[bytes, bool]:
    kind = rng.choice(KINDS)
    height, width = (rng.choice((1, 2, 9, 28, 60)) for _ in range(2))
    file = io.BytesIO()
    picture(rng, height, width, rng.choice(MODES[kind])).save(file, kind, **options(rng, kind))
    data, sound = file.getvalue(), rng.random() < 0.1
    if not sound:
        data = change_bytes(rng, data, rng.choice((1, 1, 2, 3, 8)), rng.choice((None, 40, 120)))
    return data, sound


def picture(rng: Random, height: int, width: int, mode: str) -> Image.Image:
    grey = np.full((height, width), rng.choice((0, 255, 128)), np.uint8)
    for _ in range(rng.randrange(4)):
        top, left = rng.randrange(height), rng.randrange(width)
        grey[top : top + rng.randrange(30), left : left + rng.randrange(5)] = rng.randrange(256)
    if rng.random() < 0.3:
        grey = np.frombuffer(rng.randbytes(height * width), np.uint8).reshape(height, width)
    if mode == "I;16":
        return Image.fromarray(grey.astype(np.uint16) * rng.choice((1, 257)))
    return Image.fromarray(grey).convert(mode)


def options(rng: Random, kind: str) -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x0112] = rng.randrange(12)
    chosen: dict[str, Any] = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP") and rng.random() < 0.5 else {}
    if kind == "TIFF":
        chosen["compression"] = rng.choice((None, "packbits"))
    return chosen


def check(path: Path, data: bytes, sound: bool) -> str:
    path.write_bytes(data)
    try:
        array = read_picture(path)
    except DataError as error:
        return refused(error, sound, path)
    array.flags.writeable = False  # who looks at a picture does not change it
    try:
        image = as_is(array, (3, 28, 28))
        if image.shape != (3, 28, 28) or image.dtype != np.uint8:
            raise Broken(f"an image {image.shape} {image.dtype}")
        digit = as_mnist(array)
    except DataError as error:
        return f"read; no digit: {refused(error, False, path)}"
    if digit.shape != (1, 28, 28) or digit.dtype != np.uint8 or digit.max() != 255:
        raise Broken(f"a digit {digit.shape} {digit.dtype}, up to {digit.max()}")
    return "read"
