"""Arrays in a .npz file, which is a zip file, and so may say anything about what is in it.

Nothing is unpacked before what the file claims has been compared with what it can hold and with a limit; nothing is
ever unpickled.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
import warnings
import zipfile
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO

import numpy as np

from ..backend import Array
from ..errors import XlenetError, printable, shown
from ..files import open_regular
from .packing import MOST_EXPANSION
from .parts import MOST_BYTES, Note, Parts, UnfitError

# What the arrays are called: by Keras, and by others who write such files.
_NAMES = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("X_train", "y_train", "X_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
)
_INSTEAD = ("test", "val", "valid", "validation")  # of the word test in these names; the first that is there counts
_MOST_NAMED = 4  # arrays that are left out
_MOST_DIRECTORY = 1 << 20  # bytes of the zip file's table of contents
_LONGEST_HEADER = 10_000  # bytes of an array's header, as NumPy has it
_END = struct.Struct("<4s4H2LH")


def read_npz(path: str | os.PathLike[str], note: Note = lambda _: None) -> Parts:
    """Return ``x_train``, ``y_train``, ``x_test`` and ``y_test`` of the file `path`; the last two may be missing, or be
    called ``x_val`` and ``y_val``, and the like.

    Args:
        path: the file.
        note: told what takes the test part's place, and what is left out.

    Raises:
        UnfitError: the file has no such arrays.
        DataError: it cannot be read, is damaged, or claims more than it can hold or than is unpacked.
    """
    with open_regular(path, MOST_BYTES, "load") as (file, size), _in_words():
        _check_directory(file, size)
        with zipfile.ZipFile(file) as archive:
            members = _members(archive)
            wanted = [members[name] for name in _choose(members, note)]
            total = sum(member.file_size for member in wanted)
            if total > MOST_BYTES:
                raise UnfitError(f"with {total:,} bytes of arrays; expected at most {MOST_BYTES:,}; give fewer images")
            return Parts(*(_read_member(archive, member) for member in wanted))


def _choose(members: Collection[str], note: Note) -> list[str]:
    """Return the names of the two arrays of the training part, and of the two of the test part if there is one."""
    names = next((names for names in _NAMES if {*names[:2]} <= {*members}), None)
    if names is None:
        there = ", ".join(sorted(map(shown, members))[:8]) or "nothing"
        raise UnfitError(f"in which there is {there}; expected x_train, y_train, x_test and y_test; name them so")
    if (names[2] in members) != (names[3] in members):
        raise UnfitError(f"with one of {names[2]} and {names[3]} alone; expected both or none; save both")
    pairs = [[name.replace("test", word) for name in names[2:]] for word in _INSTEAD]
    test = next((pair for pair in pairs if {*pair} <= {*members}), [])
    if test and test != pairs[0]:
        note(f"{' and '.join(test)} are the test part")
    chosen = [*names[:2], *test]
    left_out = sorted({*members} - {*chosen})
    if left_out:
        some = ", ".join(map(shown, left_out[:_MOST_NAMED])) + (", ..." if len(left_out) > _MOST_NAMED else "")
        note(f"{some} {'is' if len(left_out) == 1 else 'are'} left out, beside {', '.join(chosen)}")
    return chosen


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Tell what zip files, their packing and NumPy's headers may raise as damage."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 has written, among others
            yield
    except XlenetError:
        raise
    except MemoryError as error:
        raise UnfitError("which is too large for this machine's memory; expected less; give fewer images") from error
    except OSError:
        raise  # told by open_regular
    except Exception as error:  # of zipfile: BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ...
        reason = printable(f"{type(error).__name__}: {' '.join(str(error).split())}", 100)
        raise UnfitError(f"a damaged .npz file ({reason}); expected a whole one; fetch or save it again") from error


def _check_directory(file: BinaryIO, size: int) -> None:
    """Look at the end of a zip file: a table of contents of gigabytes would be read before anybody could object."""
    start = file.read(2)  # as NumPy tells them from others
    longest = min(size, _END.size + (1 << 16))  # with the longest comment
    file.seek(size - longest)
    tail = file.read(longest)
    place = tail.rfind(b"PK\5\6")
    if start != b"PK" or place < 0 or len(tail) < place + _END.size:
        raise UnfitError("which is no .npz file, or not a whole one; expected a zip file of arrays; save it again")
    _, _, _, _, count, directory, _, _ = _END.unpack_from(tail, place)
    if directory > _MOST_DIRECTORY or count == 0xFFFF or b"PK\6\7" in tail[max(0, place - 20) : place]:
        raise UnfitError(f"with {count:,} members; expected the four arrays of a .npz file; save them alone")
    file.seek(0)


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in members:
            raise UnfitError(f"with {shown(name)} twice; expected each array once; save them again")
        members[name] = member
    return members


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    name, claimed = member.filename.removesuffix(".npy"), member.file_size
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
        raise UnfitError(f"with {name} packed in another way than NumPy's; expected deflate, or none; save it again")
    if claimed > MOST_EXPANSION * member.compress_size:
        raise UnfitError(
            f"whose {name} claims {claimed:,} bytes out of {member.compress_size:,}; expected no more than deflate can "
            "hold; fetch or save it again"
        )
    with archive.open(member) as file:
        dtype, shape, fortran, start = _read_header(file, name)
        wanted = math.prod(shape) * dtype.itemsize
        if start + wanted != claimed:
            raise UnfitError(
                f"whose {name} claims shape {shown(shape)} of {dtype} in {claimed - start:,} bytes; expected "
                f"{wanted:,}; fetch or save it again"
            )
        content = bytearray()
        while piece := file.read(1 << 20):
            content += piece
    if len(content) != wanted:
        raise UnfitError(f"whose {name} ends after {len(content):,} bytes; expected {wanted:,}; fetch it again")
    array: Any = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), order="C", copy=False)


def _read_header(file: Any, name: str) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Return type, shape and order of the array that follows, and where it begins."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise UnfitError(f"with {name} in version {version} of NumPy's format; expected 1 or 2; save plain arrays")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file, max_header_size=_LONGEST_HEADER)
    if dtype.kind not in "biufSU" or dtype.hasobject or not dtype.itemsize:
        raise UnfitError(f"with {name} of type {shown(str(dtype))}; expected numbers or texts; save it as such")
    if any(type(length) is not int or length < 0 for length in shape):
        raise UnfitError(f"with {name} of shape {shown(shape)}; expected whole numbers from 0 up; save it again")
    return dtype, shape, bool(fortran), file.tell()
