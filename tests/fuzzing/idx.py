"""IDX files, plain and in gzip of all sorts: written again from the array that was read, they must be the same."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.fuzzing.mutate import EDGES, Broken, change_bytes, refused
from xlenet.data import read_idx
from xlenet.errors import DataError

CODES = {0x08: ("uint8", 1), 0x09: ("int8", 1), 0x0B: ("int16", 2), 0x0C: ("int32", 4), 0x0D: ("float32", 4),
         0x0E: ("float64", 8)}  # fmt: skip
OF_TYPE = {name: code for code, (name, _) in CODES.items()}


def make(rng: Random) -> tuple[bytes, bool]:
    sound = rng.random() < 0.02
    if not sound and rng.random() < 0.01:
        return bomb(rng), False
    code = rng.choice(tuple(CODES))
    shape = [rng.choice((0, 1, 2, 3, 5, 28)) for _ in range(rng.choice((1, 1, 2, 3, 3, 4)))]
    if not sound and rng.random() < 0.02:
        shape = [1] * rng.choice((63, 64, 65, 255))
    body = rng.randbytes(math.prod(shape) * CODES[code][1])
    how = rng.random()
    if not sound and how < 0.3:
        shape[rng.randrange(len(shape))] = rng.choice((*EDGES, rng.randrange(100))) % 2**32
    if not sound and 0.3 <= how < 0.4:
        code = rng.choice((0, 0x0A, 0xFF, *CODES))
    content = bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body
    if not sound and 0.4 <= how < 0.6:
        content = change_bytes(rng, content, rng.choice((1, 1, 2)), rng.choice((None, 4, 4 + 4 * len(shape))))
    if rng.random() < 0.4:
        return content, sound
    packed = pack(rng, content, sound)
    if not sound and how >= 0.6:
        packed = change_bytes(rng, packed, rng.choice((1, 1, 2)), rng.choice((None, None, 12)))
    return packed, sound


def pack(rng: Random, content: bytes, sound: bool) -> bytes:
    """One member or several, with what a header may hold; unless it is to be sound, with what does not belong there."""
    cuts = sorted(rng.randrange(len(content) + 1) for _ in range(rng.choice((0, 0, 0, 1, 2, 5))))
    parts = [content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    members = [member(rng, part) for part in parts]
    if not sound and rng.random() < 0.2:
        odd = (b"", b"\0" * 9, b"more", b"\x1f\x8b", members[0][:-1], gzip.compress(b"") * 300, gzip.compress(b"x"))
        members.insert(rng.randrange(len(members) + 1), rng.choice(odd))
    return b"".join(members)


def member(rng: Random, content: bytes) -> bytes:
    flags = rng.choice((0, 0, 0, rng.randrange(32)))
    header = b"\x1f\x8b\x08" + bytes([flags & ~1]) + rng.randbytes(4) + b"\2\xff"
    if flags & 4:
        extra = rng.randbytes(rng.randrange(20))
        header += len(extra).to_bytes(2, "little") + extra
    for flag in (8, 16):  # name, comment
        if flags & flag:
            header += b"a name" * rng.choice((1, 1, 500)) + b"\0"
    if flags & 2:
        header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little")
    packer = zlib.compressobj(rng.randrange(10), zlib.DEFLATED, -15, 8, rng.choice((0, 1, 2, 3, 4)))
    ends = struct.pack("<II", zlib.crc32(content), len(content))
    return header + packer.compress(content) + packer.flush() + ends


@cache
def zeros(count: int) -> bytes:
    return gzip.compress(bytes(count), 9)


def bomb(rng: Random) -> bytes:
    """A header, and behind it a thousand times what its bytes are; or it claims to have that behind it."""
    claimed = rng.choice((1, 1000, 10**6, 2 * 10**7, 2 * 10**8, 2**32 - 1))
    return gzip.compress(b"\0\0\x08\1" + struct.pack(">I", claimed)) + zeros(rng.choice((10**6, 10**7, 2 * 10**7)))


def check(path: Path, data: bytes, sound: bool) -> str:
    path.write_bytes(data)
    most = 1 << 30 if sound or len(data) % 2 else 1000
    try:
        array = read_idx(path, max_bytes=most)
    except DataError as error:
        return refused(error, sound, path)
    content = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    if len(content) > most:
        raise Broken(f"{len(content)} bytes, and the limit was {most}")
    if again(array) != content:
        raise Broken(f"{array.dtype} {array.shape}, which is not what the file says")
    return "loaded"


def again(array: Any) -> bytes:
    header = bytes([0, 0, OF_TYPE[array.dtype.name], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + np.asarray(array, array.dtype.newbyteorder(">")).tobytes()
