"""Reading IDX, the file format of MNIST: a short header, then one array in big-endian order.

Nothing that a file says about itself is believed before the bytes are there: the sizes in the header are compared with
the size of the file before anything is read or unpacked, and a .gz file is never unpacked beyond what its own header
claims, nor beyond a limit that the caller sets.
"""

from __future__ import annotations

import math
import os
import struct
import sys
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

import numpy as np

from ..backend import Array, kind_of
from ..checks import check_path, integer
from ..errors import DataError, DataNotFoundError
from ..files import open_regular
from .packing import MOST_EXPANSION, PIECE, is_packed, packed_limit, unpacked

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_DIMENSIONS = 64  # of a NumPy array
_LONGEST_HEADER = 4 + 4 * _MOST_DIMENSIONS


def parse_idx(data: bytes | bytearray) -> Array:
    """Return the array that the IDX file content `data` holds.

    The header is two zero bytes, the number type, the number of dimensions, and one unsigned 32-bit size for each.

    Args:
        data: all bytes of the file, unpacked.

    Returns:
        A read-only array in the machine's own byte order: uint8, int8, int16, int32, float32 or float64. Bytes (uint8,
        int8) are not copied: the array is a view of `data`. Call ``.copy()`` for one to write to.

    Raises:
        DataError: another format, a header that is cut short, or a header that does not match what follows it.

    References:
        The MNIST database of handwritten digits, section "File formats", http://yann.lecun.com/exdb/mnist/

    Example:
        >>> parse_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]))
        array([[7, 8, 9]], dtype=uint8)
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"parse_idx: got data, {kind_of(data)}; expected bytes; read the file first")
    dtype, shape = _parse_header(data)
    start, wanted = _start_and_size(dtype, shape)
    if len(data) - start != wanted:
        raise _wrong_size(f"{len(data) - start:,}", dtype, shape)
    array = np.frombuffer(data, dtype, count=math.prod(shape), offset=start).reshape(shape)
    array = array.astype(dtype.newbyteorder("="), copy=False)
    array.flags.writeable = False
    return array


def _parse_header(data: bytes | bytearray) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    magic = bytes(data[:4])
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or not 1 <= magic[3] <= _MOST_DIMENSIONS:
        raise DataError(
            f"parse_idx: got a file that begins with {magic.hex(' ') or 'nothing'} (hexadecimal); expected 00 00, "
            f"a number type ({', '.join(f'{code:02x}' for code in _DTYPES)}), and 01 to {_MOST_DIMENSIONS:02x} "
            "dimensions; give an IDX file, unpacked"
        )
    dtype, dimensions = np.dtype(_DTYPES[magic[2]]), magic[3]
    if len(data) < 4 + 4 * dimensions:
        raise DataError(
            f"parse_idx: got {len(data)} bytes; expected {4 + 4 * dimensions} or more for the header of an array "
            f"with {dimensions} dimensions; give the whole file"
        )
    shape = struct.unpack_from(f">{dimensions}I", data, 4)
    # With a size of 0 among them, no number of bytes contradicts the others, however large.
    if math.prod(size or 1 for size in shape) * dtype.itemsize > sys.maxsize:
        raise DataError(
            f"parse_idx: got shape {shape}; expected an array that fits into memory; give a file that is not damaged"
        )
    return dtype, shape


def _start_and_size(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> tuple[int, int]:
    """How many bytes the header has, and how many have to follow it."""
    return 4 + 4 * len(shape), math.prod(shape) * dtype.itemsize


def _wrong_size(came: str, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> DataError:
    wanted = _start_and_size(dtype, shape)[1]
    return DataError(
        f"parse_idx: got {came} bytes after the header; expected {wanted:,} for shape {shape} of {dtype.name}; give "
        "the whole file and nothing else"
    )


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = 1 << 30) -> Array:
    """Return the array in the IDX file `path`, plain or gzip-compressed (told by its content, not by its name).

    Args:
        path: the file.
        max_bytes: size, in bytes, beyond which a file is refused, counted after unpacking.

    Returns:
        A read-only array, as from `parse_idx`.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: the file cannot be read, is larger than `max_bytes`, or is no whole IDX file.

    Example:
        >>> import gzip, tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "labels.gz"
        ...     _ = path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])))
        ...     read_idx(path)
        array([7, 9], dtype=uint8)
    """
    check_path("read_idx", path)
    max_bytes = integer("read_idx", "max_bytes", max_bytes, 0)
    try:
        with open_regular(path, packed_limit(max_bytes)) as (file, size):
            return parse_idx(_read_as_claimed(file, size, max_bytes))
    except DataNotFoundError:
        raise
    except (DataError, MemoryError) as error:
        why = str(error) or "too little memory"
        raise DataError(f"read_idx: got {str(path)!r}, which cannot be used: {why}") from error


def _read_as_claimed(file: BinaryIO, size: int, max_bytes: int) -> bytearray:
    """Return the content of an IDX file of `size` bytes, packed or not, having read little more than what the header
    says.
    """
    packed = is_packed(file.read(2))
    file.seek(0)
    pieces: Iterator[bytes] = iter(partial(file.read, PIECE), b"")
    if packed:
        pieces = unpacked(pieces)
    content = bytearray()
    while len(content) < _LONGEST_HEADER and (piece := next(pieces, b"")):
        content += piece
    dtype, shape = _parse_header(content)
    start, claimed = _start_and_size(dtype, shape)
    _refuse_more_than(max_bytes, start + claimed, "compressed data" if packed else "a file")
    if packed and start + claimed > MOST_EXPANSION * size:
        raise _wrong_size(f"a .gz file that can hold {MOST_EXPANSION * size - start:,}", dtype, shape)
    if not packed and start + claimed != size:
        raise _wrong_size(f"{size - start:,}", dtype, shape)
    for piece in pieces:
        content += piece
        if len(content) > start + claimed:
            raise _wrong_size("more", dtype, shape)
    return content


def unpack(data: bytes, limit: int) -> bytes | bytearray:
    """Return `data` as it is, or unpacked if it is gzip-compressed.

    Args:
        data: content of a file.
        limit: size in bytes beyond which the result is refused; unpacking stops there.

    Raises:
        DataError: more than `limit`, or damaged compressed data.
    """
    if not is_packed(data):
        _refuse_more_than(limit, len(data), "a file")
        return data
    content = bytearray()
    for piece in unpacked(data[start : start + PIECE] for start in range(0, len(data), PIECE)):
        content += piece
        _refuse_more_than(limit, len(content), "compressed data")
    return content


def _refuse_more_than(limit: int, size: int, what: str) -> None:
    if size > limit:
        raise DataError(f"read: got {what} of more than {limit:,} bytes; expected at most that; give the right file")
