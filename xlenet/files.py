"""Writing a file so that a reader sees the old content or the new one, never a piece of it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from pathlib import Path

from .errors import OutputError

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
