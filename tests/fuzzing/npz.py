"""Files of arrays, as NumPy writes them and as it does not: what is read must be what NumPy reads."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.fuzzing.mutate import EDGES, Broken, change_bytes, refused
from xlenet.data.npz import read_npz
from xlenet.data.own import load_path
from xlenet.errors import DataError

NAMES = ("x_train", "y_train", "x_test", "y_test")
TYPES = ("|u1", "|b1", "<i2", ">i4", "<f4", ">f8", "<f2")
ODD_TYPES = ("|O", "<c8", "<M8[s]", "|V4", "<U0", "<U9", "|S3", "<i16", "[('a', '|u1')]", "x", "<f99999")


def make(rng: Random) -> tuple[bytes, bool]:
    sound = rng.random() < 0.05
    count, side = rng.choice((4, 6, 9)), rng.choice((28, 28, 32, 7))
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name in NAMES if sound or rng.random() < 0.9 else rng.choices([*NAMES, "z", "../x"], k=rng.randrange(7)):
            shape = (count, side, side) if name[0] == "x" else (count,)
            packing = zipfile.ZIP_DEFLATED if rng.random() < 0.7 else zipfile.ZIP_STORED
            if not sound and rng.random() < 0.03:
                packing = rng.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
            info = zipfile.ZipInfo(f"{name}.npy")  # of 1980, and not of now
            archive.writestr(info, member(rng, name, shape, sound), packing)
    data = file.getvalue()
    if not sound and rng.random() < 0.5:
        data = change_bytes(rng, data, rng.choice((1, 1, 2, 4)))
    if not sound and rng.random() < 0.2:
        data = claim(rng, data)
    return data, sound


def member(rng: Random, name: str, shape: tuple[int, ...], sound: bool) -> bytes:
    descr = rng.choice(TYPES) if name[0] == "x" and not sound else "|u1"
    content = bytes(i % 2 if name[0] == "y" else i * 7 % 256 for i in range(int(np.prod(shape))))
    content *= np.dtype(descr).itemsize
    said: Any = shape
    if not sound and rng.random() < 0.1:
        descr = rng.choice(ODD_TYPES)
    if not sound and rng.random() < 0.1:
        said = tuple(rng.choice((-1, 0, 1, True, 1.5, *EDGES)) for _ in range(rng.randrange(5)))
    text = repr({"descr": descr, "fortran_order": rng.random() < 0.2, "shape": said}).encode()
    if not sound and rng.random() < 0.1:
        text = change_bytes(rng, text, 1)
    if not sound and rng.random() < 0.02:
        text = rng.choice((b"(" * 3000, b"[" * 9000, b" " * 60_000, b"{'a': __import__('os')}", b"1" * 9000))
    text = text[:65_000] + b"\n"
    if not sound and rng.random() < 0.01:
        content = bytes(rng.choice((10**6, 10**7, 5 * 10**7)))
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + content


def claim(rng: Random, data: bytes) -> bytes:
    """Overwrite a size in the zip file's table of contents, or at its end."""
    kind, offset = rng.choice(((b"PK\1\2", 20), (b"PK\1\2", 24), (b"PK\3\4", 18), (b"PK\3\4", 22), (b"PK\5\6", 12)))
    at = data.find(kind)
    if at < 0:
        return data
    return data[: at + offset] + struct.pack("<I", rng.choice(EDGES) % (1 << 32)) + data[at + offset + 4 :]


def check(path: Path, data: bytes, sound: bool) -> str:
    path.write_bytes(data)
    try:
        parts = read_npz(path)
    except DataError as error:
        return refused(error, sound, path)
    with warnings.catch_warnings(), np.load(path, allow_pickle=False) as theirs:
        warnings.simplefilter("ignore")
        for name, mine in zip(NAMES, parts, strict=True):
            if mine is not None and mine.tobytes() != theirs[name].astype(mine.dtype).tobytes():
                raise Broken(f"{name}: {mine.dtype} {mine.shape}, which is not what NumPy reads")
    try:
        dataset = load_path(path, None, lambda line: None)
    except DataError as error:
        return f"as a data set: {refused(error, sound, path)}"
    if (
        dataset.x_train.shape[1:] not in [(c, s, s) for c in (1, 3) for s in (28, 32)]
        or dataset.x_train.dtype != np.uint8
    ):
        raise Broken(f"images {dataset.x_train.shape} {dataset.x_train.dtype}")
    return "loaded"
