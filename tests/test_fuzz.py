"""The fuzzer itself: it runs, it draws the same again, and it finds what is planted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tests import fuzz
from tests.fuzzing import checkpoints, idx
from tests.fuzzing.mutate import Broken, refused, same
from xlenet import safetensors_header
from xlenet.errors import DataError

ROOT = Path(__file__).resolve().parent.parent
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="limits memory by what /proc says")


@on_linux
def test_some_cases_of_all_kinds_find_nothing(tmp_path: Path) -> None:
    """Some of them; CI tries them for a minute."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--cases", "2000", "--findings", tmp_path / "findings"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2,000 cases in " in done.stdout
    assert ", seed 0, 0 findings" in done.stdout
    for kind in fuzz.KINDS:
        assert f"  {kind}: " in done.stdout
    assert not (tmp_path / "findings").exists()


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_a_case_is_the_same_again(kind: str) -> None:
    make = fuzz.KINDS[kind].make
    first = [make(Random(f"7 {case}")) for case in range(30)]
    assert [make(Random(f"7 {case}")) for case in range(30)] == first
    assert len({data for data, _ in first}) > 20


def crash(*_: Any) -> None:
    raise KeyError("planted")


def warn(*_: Any) -> str:
    warnings.warn("planted", stacklevel=1)
    return ""


def compute(*_: Any) -> None:
    end = time.process_time() + 2.0
    while time.process_time() < end:
        pass


def allocate(*_: Any) -> Any:
    return np.ones(3 << 28)


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@on_linux
@pytest.mark.parametrize(
    ("planted", "told"),
    [(crash, "KeyError"), (warn, "planted"), (compute, "TooLong"), (allocate, "MemoryError"), (die, "ended with -9")],
)
def test_what_is_planted_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: Callable[..., Any], told: str
) -> None:
    """In a loader that does what none should; the finding is on disk, and how to see it again."""
    monkeypatch.setattr(idx, "check", planted)
    monkeypatch.setattr(fuzz, "COMPUTING", 0.3)
    assert fuzz.main(["--only", "idx", "--cases", "2", "--seed", "3", "--findings", str(tmp_path / "f")]) == 1
    names = sorted(path.name for path in (tmp_path / "f").iterdir())
    assert names == ["idx-3-0", "idx-3-0.txt", "idx-3-1", "idx-3-1.txt"]
    assert (tmp_path / "f" / "idx-3-1").read_bytes() == idx.make(Random("3 1"))[0]
    story = (tmp_path / "f" / "idx-3-1.txt").read_text(encoding="utf-8")
    assert "python -m tests.fuzz --seed 3 --first 1 --cases 1 --only idx" in story
    assert told in story


def test_a_wrong_reader_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(safetensors_header._DTYPES, "I32", "<f4")

    def some_cases() -> None:
        for case in range(1000):
            checkpoints.check(tmp_path / "file", *checkpoints.make(Random(f"0 {case}")))

    with pytest.raises(Broken, match=r"F32.*by safetensors.*I32"):
        some_cases()


def test_messages_are_judged() -> None:
    assert refused(DataError("in words"), sound=False) == "DataError"
    for error, sound in ((DataError("in words"), True), (DataError("\x1b[2J"), False), (DataError("a" * 2000), False)):
        with pytest.raises(Broken):
            refused(error, sound)


def test_values_are_judged() -> None:
    nan = float("nan")
    assert same({"a": [1, nan, None]}, {"a": (1.0, nan, None)})
    for a, b in ((1, True), (nan, 1.0), ([1], [1, 1]), ({"a": 1}, {"b": 1}), ("1", 1), (None, 0)):
        assert not same(a, b)
