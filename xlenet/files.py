"""Writing a file so that a reader sees the old content or the new one, never a piece of it; and reading one that
anybody may have made.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import DataError, DataNotFoundError, OutputError

# What a file system answers that has no way to flush a folder; any other answer means that data may be lost.
_CANNOT_FLUSH_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)


def write_bytes_atomically(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write `data` to `path`, all of it or nothing: a crash or a full disk leaves what was there before.

    The bytes go to a temporary file in the same folder (a rename is atomic only inside one file system), are flushed
    to the disk, and then take the place of `path` in one step. A failed write leaves no temporary file behind.

    Args:
        path: the file to make or to replace; its folder must exist.
        data: the whole new content.

    Returns:
        `path` as a `Path`.

    Raises:
        OutputError: the file cannot be written; the message has the path and the system's reason.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_bytes_atomically(Path(folder) / "note.txt", b"kept").read_text()
        'kept'
    """
    target = Path(path)
    # The name owes nothing to the target's, which may already be as long as the file system allows.
    temporary = target.parent / f".xlenet-{secrets.token_hex(8)}.tmp"
    try:
        _write_through(temporary, data)
        os.replace(temporary, target)
        _flush_folder(target.parent)
    except OSError as error:
        raise OutputError(
            f"write_bytes_atomically: got {str(target)!r}, which cannot be written "
            f"({error.strerror or error}); expected a file in a folder that exists, is writable and has "
            f"{len(data):,} bytes free; choose another path or make room"
        ) from error
    finally:
        # After success the name is gone already. A Ctrl-C between two lines above comes through here as well.
        with contextlib.suppress(OSError):
            temporary.unlink()
    return target


def remove_leftovers(folder: Path, *, older_than: float = 0.0) -> None:
    """Remove what a killed process has left in `folder` of files it was writing.

    Args:
        folder: where to look.
        older_than: seconds since a file was last written to, for folders in which others may be writing just now; 0
            removes them all.
    """
    for path in folder.glob(".xlenet-*.tmp"):
        with contextlib.suppress(OSError):
            if not older_than or time.time() - path.stat().st_mtime > older_than:
                path.unlink()


def _write_through(path: Path, data: bytes) -> None:
    """Create `path`, which must not exist, and return once the disk has the data."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable. Windows has no such call and orders its metadata writes on its own."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH_FOLDERS:
            raise


# ==== reading ====


@contextlib.contextmanager
def open_regular(
    path: str | os.PathLike[str], max_bytes: int, operation: str = "read"
) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file for reading, and say how many bytes it has; nothing has been read then.

    What is asked of the file is asked of the open one: it does not matter who exchanges the name meanwhile. Errors of
    the system while it is open are told as those of `path`, too.

    Args:
        path: the file.
        max_bytes: size beyond which it is refused.
        operation: whose errors they are.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it cannot be read, is larger, or is a folder, a pipe or a device, which might never end.
    """
    if not _can_be_a_name(path):
        raise DataError(f"{operation}: got {str(path)!r}; expected the path of a file; no file can have such a name")
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DataError(
                    f"{operation}: got {str(path)!r}, a pipe or a device; expected a file; give one that has an end"
                )
            if status.st_size > max_bytes:
                raise DataError(
                    f"{operation}: got {str(path)!r}, a file of more than {max_bytes:,} bytes; expected at most that; "
                    "give the right file"
                )
            yield file, status.st_size
    except FileNotFoundError as error:
        raise DataNotFoundError(
            f"{operation}: got {str(path)!r}, which does not exist; expected a readable file; check the path"
        ) from error
    except OSError as error:
        raise DataError(
            f"{operation}: got {str(path)!r} ({error.strerror or error}); expected a file that can be read; check path "
            "and rights"
        ) from error


def _can_be_a_name(path: str | os.PathLike[str]) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # half a surrogate pair
        return False


def _without_waiting(path: str, flags: int) -> int:
    """Opening a pipe would wait for somebody to write to it. (Windows has neither the pipes nor the flag.)"""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_at_most(path: str | os.PathLike[str], max_bytes: int, operation: str = "read") -> bytes:
    """Return the content of the file `path`.

    Args:
        path: the file.
        max_bytes: size beyond which it is refused, unread.
        operation: whose errors they are.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: as from `open_regular`, or its size changes while it is read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     read_at_most(write_bytes_atomically(Path(folder) / "note.txt", b"kept"), max_bytes=4)
        b'kept'
    """
    with open_regular(path, max_bytes, operation) as (file, size):
        data = file.read(size + 1)
    if len(data) != size:
        raise DataError(
            f"{operation}: got {str(path)!r}, whose size changes while it is read; expected a file that nobody is "
            "writing to; wait for it to be whole"
        )
    return data
