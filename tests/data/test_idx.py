"""IDX files: what is right is read, what is not is a DataError, whatever the bytes."""

import gzip
import os
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.fakes import memory_below
from xlenet.data import idx, parse_idx, read_idx
from xlenet.data.idx import unpack
from xlenet.data.packing import PIECE, packed_limit, unpacked
from xlenet.errors import DataError, DataNotFoundError

CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx_bytes(array):
    header = bytes([0, 0, CODES[array.dtype.name], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


# ==== what is right ====


@pytest.mark.parametrize("shape", [(5,), (3, 2), (2, 3, 4), (1, 2, 1, 3), (0,), (0, 3), (1,) * 64])
@pytest.mark.parametrize("dtype", CODES)
def test_every_number_type_comes_back(dtype, shape):
    expected = (np.arange(np.prod(shape)) * 37 - 11).astype(dtype).reshape(shape)
    array = parse_idx(idx_bytes(expected))
    np.testing.assert_array_equal(array, expected)
    assert array.dtype == expected.dtype
    assert array.dtype.isnative
    assert array.shape == shape
    assert array.flags.c_contiguous


@pytest.mark.parametrize("container", [bytes, bytearray])
@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_the_array_is_read_only(dtype, container):
    array = parse_idx(container(idx_bytes(np.arange(3, dtype=dtype))))
    assert not array.flags.writeable


def test_bytes_are_viewed_and_not_copied():
    data = idx_bytes(np.arange(6, dtype=np.uint8))
    assert np.shares_memory(parse_idx(data), np.frombuffer(data, np.uint8))


# ==== what is not ====

GOOD = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))
HUGE = struct.pack(">I", 2**31)
MALFORMED = {
    "nothing": (b"", "begins with nothing"),
    "half a magic number": (b"\0\0\x08", "begins with 00 00 08"),
    "first byte": (b"\1" + GOOD[1:], "begins with 01 00 08 02"),
    "second byte": (b"\0\1" + GOOD[2:], "begins with 00 01 08 02"),
    "number type": (b"\0\0\x0a\2" + GOOD[4:], "begins with 00 00 0a 02"),
    "no dimensions": (b"\0\0\x08\0\7", "begins with 00 00 08 00"),
    "too many dimensions": (b"\0\0\x08\x41" + b"\0\0\0\1" * 65 + b"\7", "begins with 00 00 08 41"),
    "little-endian magic": (b"\2\x08\0\0" + GOOD[4:], "begins with 02 08 00 00"),
    "little-endian sizes": (b"\0\0\x08\1" + b"\3\0\0\0" + b"abc", "expected 50,331,648 for shape"),
    "packed": (gzip.compress(GOOD), "begins with 1f 8b"),
    "a web page": (b"<!doctype html>", "begins with 3c 21 64 6f"),
    "header cut short": (GOOD[:11], r"got 11 bytes; expected 12 or more"),
    "one byte missing": (GOOD[:-1], r"got 5 bytes after the header; expected 6 for shape \(2, 3\) of uint8"),
    "one byte more": (GOOD + b"\0", r"got 7 bytes after the header; expected 6"),
    "empty with a byte": (b"\0\0\x08\1\0\0\0\0\7", "got 1 bytes after the header; expected 0"),
    "part of a number": (b"\0\0\x0c\1\0\0\0\2" + b"\0" * 7, "got 7 bytes after the header; expected 8"),
    "huge size": (b"\0\0\x08\1" + HUGE + b"\0", "expected 2,147,483,648 for shape"),
    "huge product": (b"\0\0\x0e\2" + HUGE * 2, "expected an array that fits into memory"),
    "a product that wraps to 0": (b"\0\0\x08\4" + HUGE * 4, "expected an array that fits into memory"),
    "nothing, hugely": (b"\0\0\x08\4\0\0\0\0" + HUGE * 3, "expected an array that fits into memory"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_data_are_named(case):
    data, message = MALFORMED[case]
    with pytest.raises(DataError, match=message):
        parse_idx(data)


def test_a_header_alone_allocates_nothing():
    data = b"\0\0\x08\2" + struct.pack(">II", 2**15, 2**15) + b"\0"
    with memory_below(100_000), pytest.raises(DataError):
        parse_idx(data)


def array_or_data_error(data):
    try:
        array = parse_idx(data)
    except DataError:
        return
    assert idx_bytes(array) == data


@given(st.binary(max_size=64))
def test_any_bytes_are_an_array_or_a_data_error(data):
    array_or_data_error(data)


@given(
    st.sampled_from([*CODES.values(), 0, 0x0A, 0xFF]),
    st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1)), max_size=66),
    st.integers(-5, 5),
)
def test_any_header_is_an_array_or_a_data_error(code, shape, extra):
    itemsize = {0x0B: 2, 0x0C: 4, 0x0D: 4, 0x0E: 8}.get(code, 1)
    payload = min(int(np.prod(shape, dtype=object)) * itemsize, 1000)
    array_or_data_error(
        bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(max(0, payload + extra))
    )


# ==== files ====


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_is_read_plain_or_packed_whatever_its_name(tmp_path, packed):
    path = tmp_path / "a file ü"
    path.write_bytes(gzip.compress(GOOD) if packed else GOOD)
    np.testing.assert_array_equal(read_idx(path), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(read_idx(str(path)), [[0, 1, 2], [3, 4, 5]])


def test_several_gzip_members_are_one_file(tmp_path):
    path = tmp_path / "members.gz"
    path.write_bytes(gzip.compress(GOOD[:13]) + gzip.compress(GOOD[13:]))
    np.testing.assert_array_equal(read_idx(path), [[0, 1, 2], [3, 4, 5]])


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"none\.gz.*does not exist"):
        read_idx(tmp_path / "none.gz")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(DataError, match="expected a file"):
        read_idx(tmp_path)


PACKED = gzip.compress(GOOD, mtime=0)
DAMAGED = {
    "cut short": PACKED[:-9],
    "without its end": PACKED[:-4],
    "checksum": PACKED[:-8] + bytes([PACKED[-8] ^ 1]) + PACKED[-7:],
    "length": PACKED[:-1] + b"\7",
    "compressed data": PACKED[:10] + b"\xff" + PACKED[11:],
    "method": b"\x1f\x8b\x07" + PACKED[3:],
    "only the magic": b"\x1f\x8b",
    "something behind": PACKED + b"more",
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_gzip_data_are_a_data_error(tmp_path, case):
    path = tmp_path / "damaged.gz"
    path.write_bytes(DAMAGED[case])
    with pytest.raises(DataError, match=r"read_idx: got .*damaged\.gz.*damaged gzip data.*expected a whole \.gz file"):
        read_idx(path)


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_larger_than_allowed_is_refused(tmp_path, packed):
    path = tmp_path / "large"
    path.write_bytes(gzip.compress(GOOD) if packed else GOOD)
    read_idx(path, max_bytes=len(GOOD))
    with pytest.raises(DataError, match="more than 17 bytes"):
        read_idx(path, max_bytes=len(GOOD) - 1)


def test_a_file_too_large_to_be_a_packed_one_is_not_read_whole(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"\x1f\x8b" + bytes(4_000_000))
    with memory_below(500_000), pytest.raises(DataError, match="a file of more than"):
        read_idx(path, max_bytes=100)


def test_a_bomb_stops_at_the_limit():
    bomb = gzip.compress(bytes(50_000_000), 1)
    assert len(bomb) < 500_000
    with memory_below(1_000_000), pytest.raises(DataError, match="compressed data of more than 100,000 bytes"):
        unpack(bomb, 100_000)


def test_a_file_that_claims_little_is_not_unpacked_further(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(GOOD + bytes(50_000_000), 1))
    with memory_below(1_500_000), pytest.raises(DataError, match="got more bytes after the header; expected 6"):
        read_idx(path)


def test_a_packed_file_that_claims_more_than_it_can_hold_is_not_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "claims.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\1" + HUGE[:1] + b"\0\0\0" + bytes(1_000_000)))
    with pytest.raises(
        DataError, match=r"got a .gz file that can hold 1,\d+,\d+ bytes after the header; expected 2,147"
    ):
        read_idx(path, max_bytes=1 << 40)


@pytest.mark.skipif(os.name != "posix", reason="sparse files are made otherwise on Windows")
def test_a_plain_file_of_another_size_than_it_claims_is_not_read(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(GOOD)
        file.truncate(1 << 30)
    with (
        memory_below(1_000_000),
        pytest.raises(DataError, match=r"got 1,073,741,812 bytes after the header; expected 6 "),
    ):
        read_idx(path)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no pipes and devices among its files")
def test_a_pipe_or_a_device_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(DataError, match=r"read_idx: got .*a pipe or a device; expected a file"):
            read_idx(path)


@pytest.mark.parametrize(
    "data",
    [
        b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 20_000_000,  # a name without an end
        gzip.compress(b"") * 200_000,
        gzip.compress(GOOD) + gzip.compress(b"") * 200_000,
    ],
    ids=["a long name", "empty members", "empty members behind"],
)
def test_a_packed_file_that_makes_others_wait_is_refused_soon(tmp_path, data):
    """Python's own gzip reads such a name byte by byte, and members without end."""
    (tmp_path / "slow.gz").write_bytes(data)
    began = time.process_time()
    with pytest.raises(DataError, match="damaged gzip data"):
        read_idx(tmp_path / "slow.gz")
    assert time.process_time() - began < 1.0


@given(st.lists(st.binary(max_size=200_000), min_size=1, max_size=4), st.integers(1, 70_000), st.integers(0, 9))
def test_unpacking_is_what_gzip_says_however_it_comes_in_pieces(parts, size, level):
    packed = b"".join(gzip.compress(part, level) for part in parts)
    pieces = list(unpacked(packed[start : start + size] for start in range(0, len(packed), size)))
    assert b"".join(pieces) == b"".join(parts)
    assert max(map(len, pieces), default=0) <= PIECE


def test_what_cannot_be_compressed_fits_the_limit_for_packed_files():
    for size in (0, 1, 1000, 1_000_000):
        noise = np.random.default_rng(0).bytes(size)
        assert len(gzip.compress(noise, 0)) <= packed_limit(size)


def test_gzip_that_stands_for_nothing_is_given_up_soon(tmp_path):
    """Empty blocks: each costs a code table to be read, and no limit on what comes out ends it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    path = tmp_path / "nothing.gz"
    path.write_bytes(head + b"\0\0\0\xff\xff" * 2_000_000)
    with pytest.raises(DataError, match="much of it stands for nothing"):
        read_idx(path)


def test_too_little_memory_is_told_of_the_file(tmp_path, monkeypatch):
    path = tmp_path / "large"
    path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(idx, "parse_idx", full)
    with pytest.raises(DataError, match=r"read_idx: got .*large.*, which cannot be used: too little memory"):
        read_idx(path)
