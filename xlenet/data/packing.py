"""Unpacking gzip, piece by piece, so that nobody has to believe what comes out before it is there."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from ..errors import DataError

PIECE = 1 << 16  # bytes at a time, packed or unpacked
MOST_EXPANSION = 1032  # deflate's limit: 258 bytes in two bits
_MAGIC = b"\x1f\x8b"
_GZIP = 31  # zlib's word for it: a window of 32 KiB, header and checksum those of gzip
_MOST_FOR_NOTHING = 1 << 22  # bytes that unpack to none, such as empty blocks, and take their time
_MOST_MEMBERS = 100_000  # bgzip makes one of each 64 KiB; a file of nothing but empty ones would take hours


def is_packed(data: bytes) -> bool:
    """Say whether `data` begins as gzip data do."""
    return data[:2] == _MAGIC


def packed_limit(size: int) -> int:
    """Return the largest sensible size of a .gz file of `size` bytes: gzip adds little to what it cannot pack."""
    return size + size // 100 + 4096


def unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what the gzip-compressed `pieces` hold, at most `PIECE` bytes at a time.

    Several members, one behind the other, are one content. Nothing else may follow the last.

    Raises:
        DataError: damaged data.

    Example:
        >>> import gzip
        >>> list(unpacked([gzip.compress(b"one "), gzip.compress(b"and two")]))
        [b'one ', b'and two']
    """
    member, members, count, read = zlib.decompressobj(_GZIP), 1, 0, 0
    try:
        for piece in pieces:
            read += len(piece)
            if read > packed_limit(count) + _MOST_FOR_NOTHING:
                raise zlib.error("much of it stands for nothing")
            while piece:
                if member.eof:
                    member, members = zlib.decompressobj(_GZIP), members + 1
                    if members > _MOST_MEMBERS:
                        raise zlib.error(f"more than {_MOST_MEMBERS:,} members")
                if content := member.decompress(piece, PIECE):
                    count += len(content)
                    yield content
                piece = member.unused_data if member.eof else member.unconsumed_tail
        if not member.eof:
            raise zlib.error("the end is missing")
    except zlib.error as error:
        raise DataError(
            f"unpack: got damaged gzip data ({error}) after {count:,} bytes; expected a whole .gz file; fetch it again"
        ) from error
