"""Downloads as a user meets them: through ``python -m xlenet.train``, by its exit code and its one line."""

from __future__ import annotations

import contextlib
import errno
import functools
import gzip
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xlenet.data
from tests.data import fakes
from tests.data.fakes import FakeMirror, idx_bytes
from tests.data.train_on_small import SMALL
from xlenet import files, train
from xlenet.data import generated_digits, registry

ROOT = Path(__file__).parent.parent.parent
IMAGES = "train-images-idx3-ubyte"
BODY = SMALL.packed[IMAGES]
DOWNLOADED = sorted(f"mnist/{name}.gz" for name in SMALL.packed)


@pytest.fixture(autouse=True)
def small_mnist(mirror: FakeMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST is a few pictures, all of them on the mirror."""
    for variable in ("XLENET_BACKEND", "XLENET_DATA_DIR", "XLENET_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setitem(registry.SOURCES, "mnist", SMALL.source._replace(mirrors=(mirror.url,)))
    serve(mirror)


def serve(mirror: FakeMirror) -> None:
    mirror.answers |= {f"/{name}.gz": content for name, content in SMALL.packed.items()}


def arguments(folder: Path, *more: str) -> list[str]:
    out = str(folder / "out")
    return ["--data-dir", str(folder / "data"), "--out", out, "--epochs", "1", "--quiet", "--backend", "numpy", *more]


def command_line(folder: Path, *more: str) -> int:
    return train.main(arguments(folder, *(more or ("--data", "mnist"))))


def the_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The only line that was printed."""
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.isprintable()
    assert line.startswith("error: ")
    return line


def all_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def assert_downloaded(folder: Path) -> None:
    assert {path.name: path.read_bytes() for path in (folder / "data" / "mnist").glob("*.gz")} == {
        f"{name}.gz": content for name, content in SMALL.packed.items()
    }


# ==== a server that fails: 4 ====

FAULTS = {
    "403": (fakes.status(403), "got HTTP status 403"),
    "404": (fakes.status(404), "got HTTP status 404"),
    "429": (fakes.status(429, Retry_After="60"), r"got HTTP status 429 and the wish to be asked again later \(60\)"),
    "503": (fakes.status(503), "got HTTP status 503"),
    "reset": (fakes.resets(BODY), "got (Connection reset|.*forcibly closed)"),
    "hangs up": (fakes.hangs_up, "got "),
    "no answer": (fakes.silent, r"got (no answer in 0\.3 s|.*timed out)"),
    "stall": (fakes.stalling(BODY), r"got (no answer in 0\.3 s|.*timed out)"),  # the former where all is busy
    "short": (fakes.truncated(BODY), f"got {len(BODY) // 2:,} bytes and then the end; expected {len(BODY):,}"),
    "short, said to be whole": (BODY[: len(BODY) // 2], "got damaged gzip data"),
    "long": (BODY + b"\0" * 100_000, r"got \d+,\d+ bytes announced; expected at most"),
    "long, not said": (fakes.endless, r"got more than [\d,]+ bytes"),
    "wrong hash": (
        gzip.compress(idx_bytes(np.zeros((6, 28, 28), np.uint8))),
        rf"got the unpacked content with sha256 [0-9a-f]{{64}} \(4,720 bytes\); expected "
        rf"{SMALL.source.files[0].digest.removeprefix('sha256:')}",
    ),
    "gzip bomb": (gzip.compress(bytes(3_000_000)), "got compressed data of more than 4,720 bytes"),
    "a web page": (b"<html>Please log in</html>", "got 26 bytes; expected 4,720"),
    "redirect to http": (fakes.redirect("http://127.0.0.1:1/file"), r"got a redirect to http \(http://127\.0\.0\.1:1/"),
    "redirect loop": (fakes.redirect(f"/{IMAGES}.gz"), "got a redirect loop, back to http://"),
    "redirect to a file": (fakes.redirect("file:///etc/passwd"), "got a redirect to file"),
    "no HTTP": (fakes.not_http, r"got no valid HTTP answer \(BadStatusLine\)"),
}
SLOW = ("no answer", "stall")


@pytest.mark.parametrize("case", FAULTS)
def test_4_with_the_reason_and_no_file(
    mirror: FakeMirror, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    if case in SLOW:  # instead of four seconds
        monkeypatch.setattr(train, "load", functools.partial(train.load, timeout=0.3))
    mirror.answers[f"/{IMAGES}.gz"], reason = FAULTS[case]
    assert command_line(tmp_path) == 4
    pattern = rf"error: load mnist: got no {IMAGES} \(nor \.gz\) in .*none from the mirrors \({mirror.url}: .*{reason}"
    assert re.match(pattern, the_error(capsys))
    assert all_files(tmp_path) == []


@pytest.mark.parametrize("case", ["503", "reset", "wrong hash", "redirect loop"])
def test_0_where_another_mirror_has_it(
    mirror: FakeMirror, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    with fakes.serving() as bad:
        bad.answers[f"/{IMAGES}.gz"], _ = FAULTS[case]
        monkeypatch.setitem(registry.SOURCES, "mnist", SMALL.source._replace(mirrors=(bad.url, mirror.url)))
        assert command_line(tmp_path) == 0
    assert capsys.readouterr() == ("", "")
    assert_downloaded(tmp_path)


def test_4_for_a_certificate_that_nobody_has_signed(
    https_mirror: FakeMirror, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(https_mirror)
    monkeypatch.setitem(registry.SOURCES, "mnist", SMALL.source._replace(mirrors=(https_mirror.url,)))
    assert command_line(tmp_path) == 4
    assert "certificate verify failed" in the_error(capsys)
    assert all_files(tmp_path) == []


def test_over_https_all_is_well(
    https_mirror: FakeMirror, trusting: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(https_mirror)
    monkeypatch.setitem(registry.SOURCES, "mnist", SMALL.source._replace(mirrors=(https_mirror.url,)))
    assert command_line(tmp_path) == 0
    assert_downloaded(tmp_path)


# ==== no network ====


def test_4_offline_where_the_files_are_not_there(
    no_network: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLENET_OFFLINE", "1")
    assert command_line(tmp_path) == 4
    error = the_error(capsys)
    assert f"got no {IMAGES}" in error
    assert "XLENET_OFFLINE is set, so that no mirror was asked" in error


def test_offline_it_trains_on_generated_digits_and_says_why(
    no_network: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLENET_OFFLINE", "yes")
    monkeypatch.setattr(xlenet.data, "generated_digits", lambda: generated_digits(100, 40))
    assert command_line(tmp_path, "--seed", "1") == 0
    assert capsys.readouterr().err == (
        "note: MNIST is not on disk, and XLENET_OFFLINE is set; training on generated digits instead "
        "(--data mnist insists)\n"
    )


# ==== a disk that cannot be written: 5 ====


WRITING = {
    "folder": (Path, "mkdir"),
    "write": (files, "_write_through"),
    "flush": (os, "fsync"),
    "rename": (os, "replace"),
}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", WRITING)
def test_5_where_a_download_cannot_be_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    earlier = folder / f"{IMAGES}.gz"
    earlier.write_bytes(BODY)
    with monkeypatch.context() as patch:
        patch.setattr(*WRITING[call], fail)
        assert command_line(tmp_path) == 5
    error = the_error(capsys)
    for part in (os.strerror(code), str(folder), "--data-dir"):
        assert part in error
    assert all_files(tmp_path) == [f"data/mnist/{IMAGES}.gz"]
    assert earlier.read_bytes() == BODY


def test_5_where_a_file_stands_in_the_place_of_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").write_bytes(b"mine")
    assert command_line(tmp_path) == 5
    assert str(tmp_path / "data") in the_error(capsys)
    assert (tmp_path / "data").read_bytes() == b"mine"


@pytest.mark.skipif(os.name != "posix", reason="folder rights as POSIX has them")
def test_5_for_a_folder_without_the_right_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "data").mkdir(mode=0o500)
    assert command_line(tmp_path) == 5
    assert "Permission denied" in the_error(capsys)


# ==== processes ====


@contextlib.contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    """`train_on_small` in a process of its own, which does not outlive the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XLENET_")}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.data.train_on_small", *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def test_two_processes_at_once(mirror: FakeMirror, tmp_path: Path) -> None:
    """Into one folder, which is empty. Each request is answered when both have asked, and slowly."""
    both_have_asked = threading.Barrier(2, timeout=60)

    def slowly(handler: Any) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both_have_asked.wait()
        fakes.send(handler, BODY[:100], length=len(BODY))
        for start in range(100, len(BODY), 1000):
            handler.server.closing.wait(0.02)
            handler.wfile.write(BODY[start : start + 1000])

    mirror.answers[f"/{IMAGES}.gz"] = slowly
    command = [mirror.url, "--data", "mnist", *arguments(tmp_path)]
    with process(*command) as first, process(*command[:-1], "numpy", "--out", str(tmp_path / "out 2")) as second:
        for one in (first, second):
            output = one.communicate(timeout=120)
            assert (one.returncode, *output) == (0, "", "")
    assert mirror.asked.count(f"/{IMAGES}.gz") == 2, "or this was no test of two at once"
    assert all_files(tmp_path / "data") == DOWNLOADED
    assert_downloaded(tmp_path)


def test_killed_while_the_body_comes_leaves_nothing(mirror: FakeMirror, tmp_path: Path) -> None:
    half_sent = threading.Event()

    def half(handler: Any) -> None:
        fakes.send(handler, BODY[: len(BODY) // 2], length=len(BODY))
        half_sent.set()
        handler.server.closing.wait()

    mirror.answers[f"/{IMAGES}.gz"] = half
    with process(mirror.url, "--data", "mnist", *arguments(tmp_path)) as started:
        assert half_sent.wait(60)
        started.kill()
        assert started.wait(60) != 0
    assert all_files(tmp_path) == []


def test_killed_while_the_file_is_written_leaves_none_under_its_name(mirror: FakeMirror, tmp_path: Path) -> None:
    with process("--hang", mirror.url, "--data", "mnist", *arguments(tmp_path)) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "writing\n"
        started.kill()
        assert started.wait(60) != 0
    (left,) = all_files(tmp_path)
    assert re.fullmatch(r"data/mnist/\.xlenet-[0-9a-f]{16}\.tmp", left)
    os.utime(tmp_path / left, (1e9, 1e9))  # long ago, so that nobody can be writing it any more
    assert command_line(tmp_path) == 0
    assert all_files(tmp_path / "data") == DOWNLOADED
    assert_downloaded(tmp_path)
