"""Is xlenet on NumPy as quick as promised? Each promise beside what was measured here, in one command.

    python bench/cpu_check.py [--data-dir DIR] [--quick] [--out FILE]

Epoch times against PyTorch (interleaved turns, one and two threads), time per image over batch sizes, memory,
evaluation and a single image. `--quick` takes a few steps instead of whole epochs: for a look, not for the record.
Other programs on the machine disturb the figures: the load average is in the record.

Exit codes: 0 all promises kept, 1 a contender failed, 2 usage, 3 PyTorch is not installed, 4 data missing or corrupt, 5
cannot write, 7 a promise not kept, 130 interrupted.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # measure the checkout that this file lies in, whether it is installed or not

from bench.comparison import Plan, measure, start, stop  # noqa: E402 - after the line above
from bench.epoch_time import write_task  # noqa: E402
from bench.machine import describe_machine  # noqa: E402
from bench.worker import THREAD_VARIABLES, WorkerError  # noqa: E402
from xlenet.errors import BackendError, XlenetError  # noqa: E402
from xlenet.files import write_bytes_atomically  # noqa: E402

SIZES = (32, 64, 128, 256, 512, 1024)
TARGETS = ((1, 64), (2, 64), (2, 128))  # threads, batch size: in whole epochs
IMAGES = 3200  # in a turn of some steps; more where they are not five


class Promise(NamedTuple):
    """Something that can be measured and must not be larger than it was promised to be."""

    what: str
    unit: str
    at_most: float
    measured: float

    @property
    def kept(self) -> bool:
        """Whether it is."""
        return self.measured <= self.at_most


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", metavar="DIR", help="folder with MNIST (default: XLENET_DATA_DIR, else random)")
    parser.add_argument("--quick", action="store_true", help="a few steps instead of whole epochs")
    parser.add_argument("--out", type=Path, default=_ROOT / "bench" / "results" / "cpu_check.json", metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        return _check(options)
    except XlenetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except WorkerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _check(options: argparse.Namespace) -> int:
    machine, data_dir = describe_machine(), options.data_dir or os.environ.get("XLENET_DATA_DIR")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        task = Path(folder) / "task.npz"
        data = write_task(task, data_dir)
        times = [row for threads in (1, 2) for row in _times(task, threads, options.quick)]
    memory = {who: _in_a_process("bench.memory", who, *(["--data-dir", data_dir] if data_dir else []))
              for who in ("xlenet", "torch")}  # fmt: skip
    inference = _in_a_process("bench.inference")
    promises = [*_about_times(times), *_about_memory(memory), *_about_inference(inference)]
    record = {
        "what": "the promises about the CPU, and what was measured",
        "measured_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "data": data,
        "quick": options.quick,
        "promises": [promise._asdict() | {"kept": promise.kept} for promise in promises],
        "times": times,
        "memory": memory,
        "inference": inference,
    }
    write_bytes_atomically(options.out, (json.dumps(record, indent=1) + "\n").encode())
    print(f"\n{table(promises)}\n\nwrote {options.out}")
    return 0 if all(promise.kept for promise in promises) else 7


def _times(task: Path, threads: int, quick: bool) -> list[dict[str, Any]]:
    """Let xlenet and PyTorch take turns: whole epochs where a promise needs them, then some steps of every size."""
    whole = {size: Plan(turns=5, steps=50, full=not quick) for of, size in TARGETS if of == threads}
    parts = {size: Plan(turns=15, steps=max(5, IMAGES // size), full=False) for size in SIZES}
    workers, absent = start(["numpy", "torch"], task, threads)
    try:
        if absent:
            raise BackendError(f"cpu_check: got no PyTorch ({absent}); expected one to compare with; install it")
        rows = []
        for kind, plans in (("epochs", whole), ("sizes", parts)):
            found = [row | {"threads": threads, "kind": kind} for row in measure(workers, plans)]
            _say(found)
            rows += found
        return rows
    finally:
        stop(workers)


def _say(rows: list[dict[str, Any]]) -> None:
    for row in (row for row in rows if row["contender"] == "numpy"):
        threads, seconds = row["threads"], row["seconds_per_epoch"]["median"]
        print(
            f"{threads} thread{'s' * (threads > 1)}, batch {row['batch_size']}: {seconds:.2f} s an epoch, "
            f"{row['ratio_to_pytorch']:.2f} of PyTorch's time ({row['turns']} turns of {row['steps_per_turn']} steps)",
            flush=True,
        )


def _in_a_process(module: str, *arguments: str) -> dict[str, Any]:
    """Run one of the small measurements in a fresh process with a single BLAS thread."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=_ROOT, capture_output=True, text=True, check=False,
        env=os.environ | dict.fromkeys(THREAD_VARIABLES, "1"),
    )  # fmt: skip
    if done.returncode:
        raise WorkerError(f"{module}: {done.stderr.strip() or done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# ==== the promises ====


def _about_times(rows: list[dict[str, Any]]) -> list[Promise]:
    def median(contender: str, threads: int, size: int, kind: str) -> float:
        wanted = (contender, threads, size, kind)
        (row,) = [r for r in rows if (r["contender"], r["threads"], r["batch_size"], r["kind"]) == wanted]
        return float(row["seconds_per_epoch"]["median"])

    def ratio(threads: int, size: int) -> float:
        return median("numpy", threads, size, "epochs") / median("torch", threads, size, "epochs")

    best = {who: min(median(who, 2, size, "sizes") for size in SIZES) for who in ("numpy", "torch")}
    return [
        Promise("epoch, batch 64, 1 thread each", "of PyTorch's time", 0.6, ratio(1, 64)),
        Promise("epoch, batch 64, 2 threads each", "of PyTorch's time", 0.8, ratio(2, 64)),
        Promise("epoch, batch 128, 2 threads each", "of PyTorch's time", 0.9, ratio(2, 128)),
        Promise("epoch, best batch of each, 2 threads", "of PyTorch's time", 0.9, best["numpy"] / best["torch"]),
        Promise(
            f"time per image, batch of {SIZES[0]} to {SIZES[-1]}, slowest to quickest, undisturbed", "times", 1.35,
            _spread([row for row in rows if (row["contender"], row["threads"], row["kind"]) == ("numpy", 1, "sizes")]),
        ),
    ]  # fmt: skip


def _spread(rows: list[dict[str, Any]]) -> float:
    """Return how many times longer an image takes at the slowest batch size than at the quickest.

    Of each size the quickest turn counts: it says what the work costs, and not how busy other programs kept the
    machine, from which many small operations suffer more than few large ones. (The medians are in the record, too.)
    """
    quickest = [min(row["seconds_per_epoch_by_turn"]) for row in rows]
    return max(quickest) / min(quickest)


def _about_memory(memory: dict[str, dict[str, float]]) -> list[Promise]:
    mine = memory["xlenet"]
    return [
        Promise(f"peak memory of an epoch (PyTorch: {memory['torch']['peak_mb']:.0f})", "MB", 200, mine["peak_mb"]),
        Promise("page faults in a step", "", 5, mine["page_faults_per_step"]),
        Promise("growth of memory over 500 steps", "MB", 1, mine["growth_mb_over_500_steps"]),
    ]


def _about_inference(inference: dict[str, float]) -> list[Promise]:
    return [
        Promise("evaluation of 10,000 images", "s", 0.3, inference["evaluation_s"]),
        Promise("one image, forward only", "ms", 0.5, inference["one_image_ms"]),
    ]


def table(promises: Sequence[Promise]) -> str:
    """Return the promises as an aligned table."""
    width = max(len(promise.what) for promise in promises)
    lines = [f"{'':{width}}  {'promised':>9}  {'measured':>9}"]
    for promise in promises:
        verdict = "" if promise.kept else "  NOT KEPT"
        lines.append(
            f"{promise.what:{width}}  {promise.at_most:>9.2f}  {promise.measured:>9.2f}  {promise.unit}{verdict}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
