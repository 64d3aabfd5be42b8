from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.data.fakes import memory_below
from xlenet import files
from xlenet.checkpoint import load_model
from xlenet.data import read_idx
from xlenet.errors import DataError, DataNotFoundError, OutputError, shown
from xlenet.files import open_regular, read_at_most, write_bytes_atomically
from xlenet.snapshots import load_snapshot


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_with(error: BaseException):
    def fail(*_args: object) -> None:
        raise error

    return fail


def test_it_writes_a_new_file_and_returns_its_path(tmp_path):
    written = write_bytes_atomically(str(tmp_path / "a.bin"), b"\x00\r\n\xff")
    assert written == tmp_path / "a.bin"
    assert written.read_bytes() == b"\x00\r\n\xff"
    assert names_in(tmp_path) == ["a.bin"]


def test_it_replaces_a_file_and_leaves_nothing_else(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"old and longer")
    write_bytes_atomically(tmp_path / "a.bin", b"")
    assert (tmp_path / "a.bin").read_bytes() == b""
    assert names_in(tmp_path) == ["a.bin"]


def test_a_name_as_long_as_file_systems_allow(tmp_path):
    name = "n" * 100 + ".bin"  # Windows limits the whole path; elsewhere a name may have 255 bytes
    name = name if os.name == "nt" else "n" * 251 + ".bin"
    write_bytes_atomically(tmp_path / name, b"x")
    assert names_in(tmp_path) == [name]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file_and_cleans_up(tmp_path, monkeypatch, call):
    (tmp_path / "a.bin").write_bytes(b"old")
    monkeypatch.setattr(files.os, call, fail_with(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OutputError, match="No space left on device") as caught:
        write_bytes_atomically(tmp_path / "a.bin", b"new")
    assert "a.bin" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.exit_code == 5
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert names_in(tmp_path) == ["a.bin"]


def test_an_interrupt_cleans_up_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "replace", fail_with(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write_bytes_atomically(tmp_path / "a.bin", b"new")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("target", ["absent/a.bin", "file/a.bin", "folder"])
def test_what_cannot_be_written_is_an_output_error_with_the_path(tmp_path, target):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=r"^write_bytes_atomically: got .*; expected .*; choose") as caught:
        write_bytes_atomically(tmp_path / target, b"x")
    assert Path(target).name in str(caught.value)
    assert names_in(tmp_path) == ["file", "folder"]
    assert names_in(tmp_path / "folder") == []


@pytest.mark.skipif(os.name != "posix", reason="permission bits and flushing a folder are POSIX")
def test_the_new_file_has_the_rights_that_any_new_file_gets(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_bytes_atomically(tmp_path / "a.bin", b"x")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="permission bits and flushing a folder are POSIX")
@pytest.mark.parametrize(("number", "fails"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_the_folder_is_flushed_where_its_file_system_can(tmp_path, monkeypatch, number, fails):
    flushed, fsync = [], os.fsync

    def folders_fail(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        if flushed[-1] == tmp_path.stat().st_ino:
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(files.os, "fsync", folders_fail)
    if fails:
        with pytest.raises(OutputError):
            write_bytes_atomically(tmp_path / "a.bin", b"x")
    else:
        write_bytes_atomically(tmp_path / "a.bin", b"x")
    assert flushed == [(tmp_path / "a.bin").stat().st_ino, tmp_path.stat().st_ino]


@pytest.mark.skipif(os.name != "posix", reason="Windows refuses to replace a file that somebody is reading")
def test_readers_never_see_a_piece(tmp_path):
    path, contents, seen = tmp_path / "a.bin", [bytes([k]) * 200_000 for k in (1, 2)], set()
    write_bytes_atomically(path, contents[0])
    writers = [
        threading.Thread(target=lambda c=c: [write_bytes_atomically(path, c) for _ in range(10)]) for c in contents
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        seen.add(path.read_bytes())
    for writer in writers:
        writer.join()
    assert seen <= set(contents)
    assert names_in(tmp_path) == ["a.bin"]


# ==== reading ====


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_a_file_is_read_whole_up_to_the_limit_and_not_beyond(tmp_path, size):
    path, content = tmp_path / "a", bytes(range(256)) * (size // 256 + 1)
    path.write_bytes(content[:size])
    assert read_at_most(path, size) == content[:size]
    if size:
        with pytest.raises(DataError, match=rf"^read: got .*a file of more than {size - 1:,} bytes; expected .*; \w"):
            read_at_most(str(path), size - 1)


def test_a_link_to_a_file_is_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"kept")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert read_at_most(tmp_path / "link", 4) == b"kept"


def test_what_is_missing_and_what_cannot_be_read_are_told_apart(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(DataNotFoundError, match=r"^load: got .*none'.*does not exist; expected a readable file; \w"):
        read_at_most(tmp_path / "none", 9, "load")
    for path in (tmp_path, tmp_path / "a" / "b", tmp_path / ("n" * 300)):
        with pytest.raises(DataError, match=r"^load: got .*; expected a file that can be read; \w") as caught:
            read_at_most(path, 9, "load")
        assert not isinstance(caught.value, DataNotFoundError)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no pipes and devices among its files")
def test_what_might_never_end_is_refused_at_once(tmp_path):
    """Nobody writes to the pipe: opening it in the usual way would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/tty"), tmp_path / "link"):
        with pytest.raises(DataError, match=r"^read: got .*; expected a file"):
            read_at_most(path, 1 << 60)


@pytest.mark.skipif(os.name != "posix", reason="sparse files are made otherwise on Windows")
def test_a_file_too_large_is_refused_unread(tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with memory_below(100_000), pytest.raises(DataError, match=r"more than 1,000 bytes"):
        read_at_most(path, 1000)


@pytest.mark.parametrize("change", [b"", b"longer than it was"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch, change):
    path = tmp_path / "a"
    path.write_bytes(b"as it was")
    fstat = os.fstat

    def then_changed(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        path.write_bytes(change)
        return status

    monkeypatch.setattr(files.os, "fstat", then_changed)
    with pytest.raises(DataError, match=r"whose size changes while it is read; expected"):
        read_at_most(path, 1000)


@pytest.mark.skipif(os.name != "posix", reason="Windows refuses to replace a file that somebody is reading")
def test_a_file_replaced_while_it_is_open_is_the_one_that_was_opened(tmp_path):
    path = write_bytes_atomically(tmp_path / "a", b"old")
    with open_regular(path, 3) as (file, size):
        write_bytes_atomically(path, b"new and longer")
        assert (file.read(), size) == (b"old", 3)


def test_a_disk_that_fails_is_a_data_error(tmp_path):
    path = write_bytes_atomically(tmp_path / "a", b"old")
    with pytest.raises(DataError, match="input/output"), open_regular(path, 3):
        raise OSError(errno.EIO, "input/output")


# ==== what is shown of it ====


@pytest.mark.parametrize(
    "value",
    [
        "a" * 10**6,
        "\x1b[31m\x07\n\u202e",
        ["a" * 1000] * 1000,
        {"a" * 1000: {"b" * 1000: ["c"] * 1000}},
        b"\0" * 10**6,
        10**4000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_file_says_is_shown_in_a_line_that_does_nothing(value):
    assert len(shown(value)) <= 80
    assert shown(value).isprintable()


def test_what_is_short_is_shown_as_it_is():
    for value in (1.5, "lr", None, ["a", 1], {"a": True}):
        assert shown(value) == repr(value)


@pytest.mark.parametrize("path", ["a\0b", "\ud800"], ids=["a zero byte", "half a character"])
@pytest.mark.parametrize("read", [load_model, read_idx, load_snapshot])
def test_what_cannot_be_a_name_is_told(path: str, read: Any) -> None:
    with pytest.raises(DataError, match="no file can have such a name"):
        read(path)
