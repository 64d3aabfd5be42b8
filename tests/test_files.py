from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from xlenet import files
from xlenet.errors import OutputError
from xlenet.files import write_bytes_atomically


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
