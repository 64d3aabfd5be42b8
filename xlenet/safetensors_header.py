"""The header of a safetensors file, read as if its writer meant harm.

A file is a length (eight bytes, little-endian), so many bytes of JSON, and the numbers of all arrays, one behind the
other. Nothing that it says about itself is believed before it has been compared with the size of the file.

References:
    Safetensors, section "Format", https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
import sys
from typing import Any, BinaryIO, NamedTuple

from .errors import shown
from .strictjson import parse_json

# The figures of 25,000 epochs, or of some 30,000 arrays; as Python objects it may take 40 times the memory.
MOST_HEADER_BYTES = 8 << 20
_MOST_AXES = 64  # of a NumPy array
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip


class Entry(NamedTuple):
    """What the header says about one array."""

    name: str
    dtype: str  # as NumPy writes it
    shape: tuple[int, ...]
    start: int  # bytes from the end of the header
    stop: int


def read_header(file: BinaryIO, size: int) -> tuple[list[Entry], dict[str, str]]:
    """Return the arrays in the order in which their numbers come, and the texts of the metadata.

    Args:
        file: at its beginning; afterwards at the first number.
        size: of the file, in bytes.

    Raises:
        ValueError: the header does not describe a file of this size, byte for byte.

    Example:
        >>> import io
        >>> text = b'{"bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'
        >>> data = len(text).to_bytes(8, "little") + text + bytes(8)
        >>> read_header(io.BytesIO(data), len(data))
        ([Entry(name='bias', dtype='<f4', shape=(2,), start=0, stop=8)], {})
    """
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise ValueError(
            f"{size:,} bytes that do not begin with the length of a header: no safetensors file, or cut off"
        )
    if length > MOST_HEADER_BYTES:
        raise ValueError(f"{size:,} bytes in all, and a header of {length:,} (at most {MOST_HEADER_BYTES:,})")
    text = file.read(length)
    if text[:1] != b"{":
        raise ValueError(f"a header that begins with {shown(text[:8])}")
    header = parse_json(text)
    metadata = _metadata(header.pop("__metadata__", {}))
    entries = sorted((_entry(name, entry) for name, entry in header.items()), key=lambda entry: entry[3:])
    end = 0
    for entry in entries:
        if entry.start != end:
            raise ValueError(f"numbers of {shown(entry.name)} from byte {entry.start:,} and not from {end:,} on")
        end = entry.stop
    if end != size - 8 - length:
        raise ValueError(f"{size - 8 - length:,} bytes of numbers and not {end:,}")
    return entries, metadata


def _metadata(given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
        raise ValueError(f"metadata {shown(given)} that are not texts by name")
    return given


def _entry(name: str, given: Any) -> Entry:
    if not isinstance(given, dict) or given.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{shown(given)} for {shown(name)} instead of dtype, shape and data_offsets")
    kind, shape, offsets = given["dtype"], given["shape"], given["data_offsets"]
    if not isinstance(kind, str) or kind not in _DTYPES:
        raise ValueError(f"{shown(name)} of type {shown(kind)}, which is none of {', '.join(_DTYPES)}: save it as F32")
    if not _are_sizes(shape) or len(shape) > _MOST_AXES or not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"{shown(name)} of shape {shown(shape)} at {shown(offsets)}")
    if max(offsets) > sys.maxsize:
        raise ValueError(f"{shown(name)} at {shown(offsets)}")
    item, (start, stop) = int(_DTYPES[kind][2:]), offsets
    # With a size of 0 among them, no number of bytes contradicts the others, however large.
    if math.prod(n or 1 for n in shape) * item > sys.maxsize or math.prod(shape) * item != stop - start:
        raise ValueError(f"{shown(name)} of shape {shown(shape)} and type {kind} at {shown(offsets)}")
    return Entry(name, _DTYPES[kind], tuple(shape), start, stop)


def _are_sizes(given: Any) -> bool:
    """Whether it is a list of whole numbers from 0 up. (JSON's true is a bool, which Python counts as an int.)"""
    return isinstance(given, list) and all(type(number) is int and number >= 0 for number in given)
