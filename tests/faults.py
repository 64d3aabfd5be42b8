"""Kill a training run, or let the disk fail, at every place where a file is written; go on, and compare.

    python -m tests.faults                  # every place, with every fault
    python -m tests.faults --every 7        # every seventh place
    python -m tests.faults --random 20      # and so many runs killed with kill -9 at random moments, again and again

After each fault the newest snapshot must load, and the run that goes on must end with the bytes of a run that nothing
disturbed, those of the last model and those of the best one, and with each epoch once in metrics.jsonl. Each run is a
forked process: the libraries are loaded once. Exit code 1 at the first broken promise. For Linux and macOS.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.train_on_tiny_data import tiny_dataset
from xlenet import files, runs, train
from xlenet.snapshots import Snapshots

EPOCHS = 3
ARGUMENTS = [
    "--epochs", str(EPOCHS), "--batch-size", "16", "--checkpoint-every", "2", "--validation", "8", "--quiet",
    "--backend", "numpy",
]  # fmt: skip
MODELS = ("model.safetensors", "best.safetensors")
FAULTS = ("kill", "EIO", "ENOSPC", "short write")


Models = list[bytes]  # of the files MODELS


class Broken(Exception):  # noqa: N818 - a promise, not a program
    """What was promised did not hold; the message says where."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th place (default: 1)")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="runs killed at random moments (default: 0)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (default: 0)")
    options = parser.parse_args(arguments)
    train.load = lambda *_, **__: tiny_dataset()  # type: ignore[assignment]
    runs.RunFolder.draw = lambda *_: None  # type: ignore[method-assign,assignment] - the slowest, and not what is tried
    try:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            places, reference = _undisturbed(Path(folder) / "reference")
            duration = time.perf_counter() - began
            print(f"{places} places where files are written", flush=True)
            for fault in FAULTS:
                tried = [_disturbed(Path(folder), fault, place, reference) for place in range(0, places, options.every)]
                print(f"{fault}: {len(tried)} places, {sum(tried)} of them reached", flush=True)
            kills = [
                _killed_at_random(Path(folder), k, options.seed, duration, reference) for k in range(options.random)
            ]
            if kills:
                print(f"kill -9 at random: {len(kills)} runs, {sum(kills)} kills", flush=True)
    except Broken as broken:
        print(f"broken: {broken}", file=sys.stderr)
        return 1
    return 0


# ==== runs ====


def _in_a_fork(work: Callable[[], int]) -> int:
    """Return the process number of a child that does `work` and ends with its exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    try:
        if "XLENET_FAULTS_SHOW" not in os.environ:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # error messages are what is expected
        os._exit(work())
    except BaseException:
        traceback.print_exc()
        os._exit(99)


def _wait(child: int) -> int:
    """Return a child's exit code, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _train(out: Path, *more: str) -> int:
    return train.main([*ARGUMENTS, "--out", str(out), "--resume", *more])


def _undisturbed(out: Path) -> tuple[int, Models]:
    """Return how many places there are, and the models."""
    counted = out.with_suffix(".count")

    def work() -> int:
        count = _watch(lambda place: None)
        code = _train(out)
        counted.write_text(str(count[0]), encoding="utf-8")
        return code

    if code := _wait(_in_a_fork(work)):
        raise Broken(f"undisturbed: exit code {code}")
    return int(counted.read_text(encoding="utf-8")), _models(out)


def _models(out: Path) -> Models:
    return [(out / name).read_bytes() for name in MODELS]


def _disturbed(folder: Path, fault: str, place: int, reference: Models) -> bool:
    """Let one place fail, go on, compare; return whether the place was reached."""
    out = folder / f"{fault}-{place}".replace(" ", "-")

    def work() -> int:
        _watch(lambda now: _fail(fault) if now == place else None)
        return _train(out)

    code = _wait(_in_a_fork(work))
    where = f"{fault} at place {place}"
    expected = {-signal.SIGKILL} if fault == "kill" else {5}
    if code not in expected | {0}:
        raise Broken(f"{where}: exit code {code}, expected {expected} or 0 where a failure does no harm")
    _check_snapshots(out, where)
    _go_on(out, where, reference)
    return code != 0


def _killed_at_random(folder: Path, run: int, seed: int, duration: float, reference: Models) -> int:
    """Kill a run again and again until it is through; return how often."""
    rng, out, kills = random.Random(f"{seed} {run}"), folder / f"random-{run}", 0
    while True:
        child = _in_a_fork(lambda: _train(out))
        time.sleep(rng.uniform(0.0, duration * (0.5 + 0.1 * kills)))  # most are killed more than once, none for ever
        os.kill(child, signal.SIGKILL)  # a child that has ended is still there until it is waited for
        code = _wait(child)
        if code == 0:
            break
        if code != -signal.SIGKILL:
            raise Broken(f"random run {run}: exit code {code} after {kills} kills")
        kills += 1
        _check_snapshots(out, f"random run {run}, kill {kills}")
    _compare(out, f"random run {run}", reference)
    return kills


def _check_snapshots(out: Path, where: str) -> None:
    snapshots = Snapshots(out / "snapshots")
    if snapshots.files() and snapshots.newest() is None:
        raise Broken(f"{where}: no snapshot loads")


def _go_on(out: Path, where: str, reference: Models) -> None:
    if code := _wait(_in_a_fork(lambda: _train(out))):
        raise Broken(f"{where}: going on ends with {code}")
    _compare(out, where, reference)


def _compare(out: Path, where: str, reference: Models) -> None:
    if _models(out) != reference:
        raise Broken(f"{where}: another model than undisturbed")
    if left := list(out.rglob("*.tmp")):
        raise Broken(f"{where}: {left} left behind")
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [json.loads(line)["epoch"] for line in lines]
    if epochs != list(range(1, EPOCHS + 1)):
        raise Broken(f"{where}: epochs {epochs} in metrics.jsonl")


# ==== faults ====


def _fail(fault: str) -> None:
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise OSError(errno.ENOSPC if fault != "EIO" else errno.EIO, fault)


class _File:
    """A file whose writing is one of the places; a short write leaves half of the bytes behind."""

    def __init__(self, file: Any, at: Callable[[], None]) -> None:
        self._file, self._at = file, at

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        try:
            self._at()
        except OSError:
            self._file.write(data[: len(data) // 2])
            raise
        self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _watch(at_place: Callable[[int], None]) -> list[int]:
    """Call `at_place` with the number of each open, write, fsync and rename of `xlenet.files`, before it happens."""
    count = [0]

    def at() -> None:
        count[0] += 1
        at_place(count[0] - 1)

    def before(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            at()
            return function(*args, **kwargs)

        return called

    class Watched:
        """`os`, with some of its functions watched."""

        fsync, replace = staticmethod(before(os.fsync)), staticmethod(before(os.replace))
        open = staticmethod(before(os.open))

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    opened = before(Path.open)
    files.os = Watched()  # type: ignore[assignment]

    def write_through(path: Path, data: bytes) -> None:
        with _File(opened(path, "xb"), at) as file:
            file.write(data)
            file.flush()
            files.os.fsync(file.fileno())

    files._write_through = write_through
    return count


if __name__ == "__main__":
    sys.exit(main())
