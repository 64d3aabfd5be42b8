"""Load hostile files without end: each must give a typed error or what is in it, soon, and in little memory.

    python -m tests.fuzz --seconds 60
    python -m tests.fuzz --cases 1000000 --seed 7
    python -m tests.fuzz --only idx --seed 7 --first 1234 --cases 1     # one of them again

A finding is an exception that is no error of xlenet's, a warning, a wrong result, a message that no terminal should be
shown, more than a second of computing, more than 10 seconds of waiting, or more than 1 GiB of memory. It is written to
a folder, file and story, and the exit code is 1. For Linux: two forked processes, files in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from tests.fuzzing import checkpoints, configs, handwriting, idx, npz, onnx_files, pictures, snapshots, trained
from tests.libraries import import_quietly

KINDS = {
    "checkpoint": checkpoints, "snapshot": snapshots, "idx": idx, "config": configs, "npz": npz, "picture": pictures,
    "trained": trained, "handwriting": handwriting,
}  # fmt: skip
MIX = [
    *["checkpoint"] * 4, *["snapshot"] * 4, *["idx"] * 4, *["config"] * 2, *["npz"] * 4, *["picture"] * 4,
    *["trained"] * 2, *["handwriting"] * 4,
]  # fmt: skip
with contextlib.suppress(ImportError):
    import_quietly("onnx")
    KINDS["onnx"] = onnx_files
    MIX += ["onnx"] * 2
WORKERS = 2
MEMORY = 1 << 30  # bytes beyond what is in use once everything is imported
COMPUTING, WAITING = 1.0, 10.0  # seconds


class TooLong(BaseException):
    """A case ran out of time."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=60.0, metavar="X", help="how long, without --cases (default: 60)"
    )
    parser.add_argument("--cases", type=int, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of all cases (default: 0)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first case (default: 0)")
    parser.add_argument("--only", choices=list(KINDS), help="one kind of file (default: all)")
    parser.add_argument("--findings", type=Path, default=Path("findings"), metavar="DIR", help="default: findings")
    options = parser.parse_args(arguments)
    began, outcomes, broken = time.perf_counter(), Counter[str](), 0
    for number, child in enumerate([_start(options, number) for number in range(WORKERS)]):
        process, receiver, at = child
        try:
            results, found = receiver.recv()
        except EOFError:  # it was killed, or it crashed
            process.join()
            _save(options, at.value, f"process {number} ended with {process.exitcode}")
            results, found = Counter(), 1
        process.join()
        outcomes, broken = outcomes + results, broken + found
    seconds, cases = time.perf_counter() - began, outcomes.total()
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:10,}  {outcome}")
    print(
        f"{cases:,} cases in {seconds:.0f} s ({cases / seconds:,.0f} a second), seed {options.seed}, {broken} findings"
    )
    return 1 if broken or not cases else 0


def _start(options: argparse.Namespace, number: int) -> tuple[Any, Connection, Any]:
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    at = fork.Value("q", -1, lock=False)
    process = fork.Process(target=_work, args=(options, number, sender, at))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of JAX, where other tests have imported it: these processes do without it
        process.start()
    sender.close()
    return process, receiver, at


def _work(options: argparse.Namespace, number: int, sender: Connection, at: Any) -> None:
    _limit_memory()
    _hush_libraries()
    warnings.simplefilter("error")
    for timer in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(timer, _too_long)
    outcomes, found, end = Counter[str](), 0, time.monotonic() + options.seconds
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        at.value = options.first + number
        while at.value < options.first + options.cases if options.cases is not None else time.monotonic() < end:
            kind, rng = _draw(options, at.value)
            data, sound = KINDS[kind].make(rng)
            try:
                outcome = _try(kind, Path(folder) / "file", data, sound)
            except BaseException:
                outcome, found = "FOUND", found + 1
                _save(options, at.value, traceback.format_exc())
            outcomes[f"{kind}: {outcome}"] += 1
            at.value += WORKERS
    sender.send((outcomes, found))


def _hush_libraries() -> None:
    """Let Python alone write to standard error: libtiff says a line there about each damaged file, past Pillow."""
    sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _draw(options: argparse.Namespace, case: int) -> tuple[str, Random]:
    rng = Random(f"{options.seed} {case}")
    return options.only or rng.choice(MIX), rng


def _try(kind: str, path: Path, data: bytes, sound: bool) -> str:
    signal.setitimer(signal.ITIMER_PROF, COMPUTING)
    signal.setitimer(signal.ITIMER_REAL, WAITING)
    try:
        outcome: str = KINDS[kind].check(path, data, sound)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    return outcome


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TooLong(signal.Signals(number).name)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _save(options: argparse.Namespace, case: int, story: str) -> None:
    kind, rng = _draw(options, case)
    name = f"{kind}-{options.seed}-{case}"
    options.findings.mkdir(exist_ok=True)
    (options.findings / name).write_bytes(KINDS[kind].make(rng)[0])
    only = f" --only {options.only}" if options.only else ""
    again = f"python -m tests.fuzz --seed {options.seed} --first {case} --cases 1{only}"
    (options.findings / f"{name}.txt").write_text(f"{again}\n\n{story}", encoding="utf-8")
    print(f"found: {options.findings / name}: {story.strip().splitlines()[-1][:200]}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
