"""Image files of all kinds: bytes of grey or colour, or an error that names the file."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.fuzzing.mutate import EDGES, Broken, change_bytes, refused
from xlenet.data.picture import read_on_white, size_of_picture
from xlenet.data.resize import squared
from xlenet.errors import DataError

KINDS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP", "TGA", "ICO")
MODES = ("L", "RGB", "1", "P", "RGBA", "LA", "CMYK", "I;16")


def make(rng: Random) -> tuple[bytes, bool]:
    sound = rng.random() < 0.1
    if not sound and rng.random() < 0.05:
        return bomb(rng), False
    data = encoded(rng.choice(KINDS), rng.choice(MODES), rng.choice((1, 2, 9, 28)), rng.choice((1, 3, 28, 100)))
    return (data if sound else change_bytes(rng, data, rng.choice((1, 1, 2, 3)))), sound


@functools.cache
def encoded(kind: str, mode: str, height: int, width: int) -> bytes:
    """A picture, in the mode nearest to `mode` that the kind of file can hold."""
    from PIL import Image

    pixels = (np.arange(height * width * 3) * 37 % 256).astype(np.uint8).reshape(height, width, 3)
    image: Any = Image.fromarray(pixels)
    image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    for other in (image, image.convert("RGB") if mode != "I;16" else image.convert("L")):
        file = io.BytesIO()
        try:
            # Pillow before 13 leaves an icon empty that is smaller than 16 x 16, unless its size is given.
            other.save(file, kind, **({"sizes": [other.size]} if kind == "ICO" else {}))
        except (OSError, ValueError, KeyError):
            continue
        return file.getvalue()
    raise AssertionError(f"{kind} holds neither {mode} nor RGB")


def bomb(rng: Random) -> bytes:
    """A PNG that speaks of more pixels than it has bytes; they may be there."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    side = rng.choice((100, 2000, 60_000))
    width, height = (side, side) if rng.random() < 0.7 else (rng.choice(EDGES) % (1 << 31), rng.choice((0, 1, side)))
    header = struct.pack(">IIBBBBB", width, height, rng.choice((1, 8, 16)), rng.choice((0, 2, 3, 4, 6)), 0, 0, 0)
    pixels = zlib.compress(bytes(rng.choice((10, 10**6, 2 * 10**7))), 1)
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(rng.choice((10, 10**7))), 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + text + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def check(path: Path, data: bytes, sound: bool) -> str:
    path.write_bytes(data)
    try:
        size = size_of_picture(path)
        if size is None:
            if sound:
                raise Broken("an image that is taken for none")
            return "no image"
        image = read_on_white(path, 32)
    except DataError as error:
        return refused(error, sound, path)
    if (
        image.dtype != np.uint8
        or image.shape[2:] not in [(), (3,)]
        or (sound and sorted(image.shape[:2]) != sorted(size))
    ):
        raise Broken(f"{image.dtype} {image.shape} of an image of {size}")
    if squared(image, 28).shape != (28, 28, *image.shape[2:]):
        raise Broken(f"no square of {image.shape}")
    return "loaded"
