"""Break one line of the library at a time, in a copy, and see whether the tests notice.

    python -m tests.planted                       # all faults of tests/planted_faults.py
    python -m tests.planted --jobs 2 --only eps   # those with a word in their names, two at a time
    python -m tests.planted --every 20            # every twentieth
    python -m tests.planted --list

First the tests that are to notice run on an unbroken copy, where all must pass. What they do not notice is tried on all
tests, which must pass on an unbroken copy, too. Exit code 1 if a fault survives these, or if the line it breaks is not
there any more.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.planted_faults import FAULTS, Fault

ROOT = Path(__file__).parent.parent
FOLDERS = ("xlenet", "tests", "bench", "docs", ".github")
FILES = ("pyproject.toml", "README.md", "README.zh-CN.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff")
ALL_TESTS = "tests/functional tests/layers tests/gradients tests/testing tests/kernels tests"
PATIENCE = 1200  # seconds; a fault may make a loop endless, which is noticed, too

PASSED, FAILED = 0, 1  # of pytest's exit codes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="faults at a time (default: 1)")
    parser.add_argument("--only", default="", metavar="WORD", help="only faults with this word in name or file")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th fault (default: 1)")
    parser.add_argument("--list", action="store_true", help="list the faults, and nothing else")
    options = parser.parse_args(arguments)
    faults = [fault for fault in FAULTS if options.only.lower() in f"{fault.file} {fault.name}".lower()]
    faults = faults[:: options.every]
    if options.list:
        for fault in faults:
            print(f"{fault.file:34} {fault.name}")
        return 0
    if gone := [fault.name for fault in faults if not is_there(fault, ROOT)]:
        print(f"not found exactly once: {gone}")
        return 1
    began = time.perf_counter()
    with copies(options.jobs) as free, ThreadPoolExecutor(options.jobs) as pool:
        if not all(pool.map(lambda tests: _pass(tests, free), _each_once(faults))):
            return 1
        missed = _unnoticed(faults, [fault.tests for fault in faults], free, pool)
        if missed and not _pass(ALL_TESTS, free):
            return 1
        survived = _unnoticed(missed, [ALL_TESTS] * len(missed), free, pool)
    minutes = (time.perf_counter() - began) / 60.0
    print(
        f"{len(faults)} faults planted, {len(faults) - len(survived)} noticed, {len(missed) - len(survived)} of them "
        f"by others than their own tests, {minutes:.1f} minutes"
    )
    if survived:
        print(f"survived: {[fault.name for fault in survived]}")
    return 1 if survived or not faults else 0


def is_there(fault: Fault, root: Path) -> bool:
    """Whether what the fault breaks stands in its file exactly once."""
    path = root / "xlenet" / fault.file
    return path.is_file() and path.read_text(encoding="utf-8").count(fault.right) == 1


def plant(fault: Fault, root: Path) -> None:
    """Break the line in the copy at `root`."""
    path = root / "xlenet" / fault.file
    path.write_text(path.read_text(encoding="utf-8").replace(fault.right, fault.wrong), encoding="utf-8")


@contextlib.contextmanager
def copies(count: int) -> Iterator[queue.Queue[Path]]:
    """Copies of the library and its tests, to be broken: taken out by whoever uses one, and put back whole."""
    free: queue.Queue[Path] = queue.Queue()
    with tempfile.TemporaryDirectory() as folder:
        for k in range(count):
            copy = Path(folder) / str(k)
            copy.mkdir()
            for name in FOLDERS:
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
            for name in FILES:
                shutil.copy(ROOT / name, copy / name)
            found = _python(copy, "-c", "import xlenet; print(xlenet.__file__)").stdout.strip()
            if Path(found).resolve() != (copy / "xlenet" / "__init__.py").resolve():
                raise RuntimeError(f"planted: got xlenet from {found}; expected the copy in {copy}; unset PYTHONPATH")
            free.put(copy)
        yield free


def _python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def _pytest(copy: Path, tests: str) -> subprocess.CompletedProcess[str]:
    return _python(copy, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *shlex.split(tests))


def _each_once(faults: Sequence[Fault]) -> list[str]:
    """Return all tests that are to notice `faults`, each file once where there is nothing but files."""
    return list(
        dict.fromkeys(
            part for fault in faults for part in ([fault.tests] if "-k" in fault.tests else fault.tests.split())
        )
    )


def _pass(tests: str, free: queue.Queue[Path]) -> bool:
    """Without a fault nothing may fail, or it would say nothing that something fails with one."""
    copy = free.get()
    try:
        done = _pytest(copy, tests)
    finally:
        free.put(copy)
    if done.returncode != PASSED:
        print(f"without any fault: exit code {done.returncode} of {tests}\n{done.stdout[-3000:]}", flush=True)
    return done.returncode == PASSED


def _unnoticed(
    faults: Sequence[Fault], tests: Sequence[str], free: queue.Queue[Path], pool: ThreadPoolExecutor
) -> list[Fault]:
    """Plant each of `faults`, run the tests for it, and return those that none of these notices."""
    verdicts = pool.map(lambda fault, its_tests: _try(fault, its_tests, free), faults, tests)
    return [fault for fault, noticed in zip(faults, verdicts, strict=True) if not noticed]


def _try(fault: Fault, tests: str, free: queue.Queue[Path]) -> bool:
    """Plant one fault; return whether one of `tests` notices."""
    copy, began = free.get(), time.perf_counter()
    whole = copy / "xlenet" / fault.file
    before = whole.read_text(encoding="utf-8")
    try:
        plant(fault, copy)
        noticed = _notice(copy, tests)
    finally:
        whole.write_text(before, encoding="utf-8")
        free.put(copy)
    how = "noticed" if noticed else "NOT NOTICED" + (" by any test" if tests == ALL_TESTS else "")
    print(f"{how:11} {time.perf_counter() - began:5.1f} s  {fault.file}: {fault.name}", flush=True)
    return noticed


def _notice(copy: Path, tests: str) -> bool:
    try:
        done = _pytest(copy, tests)
    except subprocess.TimeoutExpired:
        return True
    if done.returncode not in (PASSED, FAILED):
        print(f"exit code {done.returncode} is none of a failed test:\n{done.stdout[-2000:]}", flush=True)
    return done.returncode == FAILED


if __name__ == "__main__":
    sys.exit(main())
