"""IDX files: what is right is read, what is not is a DataError, whatever the bytes."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.fakes import memory_below
from xlenet.data import parse_idx, read_idx
from xlenet.data.idx import unpack
from xlenet.data.packing import packed_limit
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


def test_what_cannot_be_compressed_fits_the_limit_for_packed_files():
    for size in (0, 1, 1000, 1_000_000):
        noise = np.random.default_rng(0).bytes(size)
        assert len(gzip.compress(noise, 0)) <= packed_limit(size)
