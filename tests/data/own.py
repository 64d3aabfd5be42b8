"""Small data of a user's own: bright bars, each class in a row of its own, as arrays and as files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PIL = pytest.importorskip("PIL.Image", reason="Pillow, which decodes images, is not installed")


def bars(count: int, side: int = 28, classes: int = 3, channels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W), or (N, H, W, C) with `channels`, and labels in turn."""
    rng = np.random.default_rng(5)
    labels = np.arange(count) % classes
    x = rng.integers(0, 40, (count, side, side, channels) if channels else (count, side, side), np.uint8)
    high = side // (2 * classes)
    for image, label in zip(x, labels, strict=True):
        image[2 * label * high : (2 * label + 1) * high, 3:-3] += 190
    return x, labels


def save_picture(path: Path, image: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.fromarray(image).save(path, **options)
    return path


def picture_folder(
    folder: Path, count: int = 30, end: str = ".png", *, side: int = 28, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """A folder of three classes, ``a``, ``b`` and ``c``; and what is in it. `options` are Pillow's for saving."""
    x, y = bars(count, side)
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        save_picture(folder / "abc"[label] / f"{number:03}{end}", image, **options)
    return x, y


def idx_bytes(array: np.ndarray) -> bytes:
    code = {"uint8": 8, "float32": 0x0D}[array.dtype.name]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def idx_files(
    folder: Path, x: np.ndarray, y: np.ndarray, *, prefix: str = "", test: str = "t10k", packed: bool = False
) -> None:
    """Files of all images as the training part, and of the first nine as the test part, unless `test` is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", len(x)), (test, 9)):
        for kind, array in (("images-idx3", x[:count]), ("labels-idx1", y[:count].astype(np.uint8))):
            if part:
                content = idx_bytes(array)
                name = f"{prefix}{part}-{kind}-ubyte{'.gz' if packed else ''}"
                (folder / name).write_bytes(gzip.compress(content) if packed else content)
