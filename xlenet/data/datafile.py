"""One file of a known data set, and the proof that some bytes are that file."""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

from ..backend import Array
from ..errors import DataError
from .idx import parse_idx, unpack
from .packing import is_packed, packed_limit


class DataFile(NamedTuple):
    """What is known about an IDX file of uint8 before it is seen.

    A digest is ``<algorithm>:<hexadecimal digits>``, with an algorithm of `hashlib`.

    Attributes:
        name: file name without ``.gz``.
        shape: shape of the array in it.
        digest: of the unpacked content.
        packed_digest: of the .gz file; empty where any compression of the right content will do.
    """

    name: str
    shape: tuple[int, ...]
    digest: str
    packed_digest: str = ""

    @property
    def size(self) -> int:
        """Bytes of the unpacked file."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)

    @property
    def packed_limit(self) -> int:
        """Bytes beyond which nothing is this file, packed or not."""
        return packed_limit(self.size)


def verified_array(data: bytes, file: DataFile, *, require_sha256: bool = False) -> Array:
    """Return the array in `data`, once `data` has been shown to be `file`.

    Args:
        data: content of the file, gzip-compressed or plain.
        file: what it must be.
        require_sha256: accept no weaker digest. For bytes from the network; MD5 still tells a damaged file on disk.

    Returns:
        A read-only uint8 array of shape `file.shape`.

    Raises:
        DataError: `data` is not that file; the message says what came and what was expected, without a path.
    """
    by_package = is_packed(data) and bool(file.packed_digest)
    digest = file.packed_digest if by_package else file.digest
    if require_sha256 and not digest.startswith("sha256:"):
        raise DataError("got an unpacked file, for which no SHA-256 is known; expected the .gz file")
    if by_package:
        _match(data, digest, "the .gz file")
    content = unpack(data, file.size)
    if len(content) != file.size:
        raise DataError(f"got {len(content):,} bytes; expected {file.size:,}")
    if not by_package:
        _match(content, digest, "the unpacked content")
    return parse_idx(content)


def _match(data: bytes | bytearray, digest: str, what: str) -> None:
    algorithm, _, expected = digest.partition(":")
    came = hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
    if came != expected:
        raise DataError(f"got {what} with {algorithm} {came} ({len(data):,} bytes); expected {expected}")
