"""How long an epoch takes: xlenet on every backend present, the textbook algorithm, and PyTorch, in one run.

    python bench/epoch_time.py                              # 7 turns of 50 steps each, scaled to an epoch
    python bench/epoch_time.py --full --epochs 3            # whole epochs (the textbook algorithm still a few steps)
    python bench/epoch_time.py --batch-size 32 64 128 --threads 1 --only numpy torch

The contenders take turns, A B C A B C, each in a warm process of its own that sleeps meanwhile, with the same images,
first weights, batches and optimiser. Median and quartiles over the turns, with the machine and all versions, go into a
table, a JSON file and a picture. Before the first turn everybody's first loss is compared: they train the same network.

Exit codes: 0 done, 1 a contender failed, 2 usage, 3 a contender asked for with --only is not available, 4 data missing
or corrupt, 5 cannot write, 130 interrupted.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # measure the checkout that this file lies in, whether it is installed or not

from bench.comparison import EPOCH, WARM_STEPS, Plan, measure, start, stop  # noqa: E402 - after the line above
from bench.contenders import CONTENDERS, LEARNING_RATE, MOMENTUM  # noqa: E402
from bench.machine import describe_machine  # noqa: E402
from bench.report import draw, table  # noqa: E402
from bench.textbook import initial_parameters  # noqa: E402
from bench.worker import WorkerError  # noqa: E402
from xlenet.data import load_mnist  # noqa: E402
from xlenet.errors import BackendError, OutputError, XlenetError  # noqa: E402
from xlenet.files import write_bytes_atomically  # noqa: E402

_BUSY = 0.5  # load average from which the record of a comparison is worth little


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        _compare(options)
    except XlenetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except WorkerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--batch-size", type=_whole, nargs="+", default=[64], metavar="N", help="one or more (default: 64)")
    add("--epochs", type=_whole, default=7, metavar="N", help="turns of each contender (default: 7)")
    add("--steps", type=_whole, default=50, metavar="N", help="steps in a turn (default: 50; the textbook a tenth)")
    add("--full", action="store_true", help="a whole epoch in a turn, except for the textbook algorithm")
    add("--threads", type=_whole, default=_cores(), metavar="N", help="threads of each contender (default: all cores)")
    add("--only", nargs="+", choices=list(CONTENDERS), metavar="NAME", help=f"some of {', '.join(CONTENDERS)}")
    add("--data-dir", metavar="DIR", help="folder with MNIST (default: XLENET_DATA_DIR, else random images)")
    add("--out", default=_ROOT / "bench" / "results", type=Path, metavar="DIR", help="default: bench/results")
    return parser


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}; expected a whole number from 1 up")
    return int(text)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _compare(options: argparse.Namespace) -> None:
    _make_folder(options.out)
    machine, plan = describe_machine(), Plan(options.epochs, options.steps, options.full)
    if (machine["load_average_before"] or 0.0) > _BUSY:
        print(f"warning: load average {machine['load_average_before']}: other programs disturb the figures", flush=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        task = Path(folder) / "task.npz"
        data = write_task(task, options.data_dir or os.environ.get("XLENET_DATA_DIR"))
        workers, absent = start(options.only or list(CONTENDERS), task, options.threads)
        try:
            _report_absent(absent, options.only)
            print(f"{', '.join(worker.name for worker in workers)}: {options.threads} threads, {data}", flush=True)
            sizes = dict.fromkeys(options.batch_size, plan)
            print(f"batch size {', '.join(map(str, sizes))}: {plan.turns} turns each ...", flush=True)
            results = measure(workers, sizes)
        finally:
            stop(workers)
    record = {
        "what": f"training time of LeNet-5 with batch normalisation, per epoch of {EPOCH} images of 28x28",
        "measured_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "settings": _settings(options, data),
        "contenders": {worker.name: worker.about for worker in workers},
        "not_measured": absent,
        "results": results,
    }
    print(f"\n{table(record)}\n")
    _save(record, options.out)


def _make_folder(folder: Path) -> None:
    """Find out now, not after the measurement, that nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"--out: got {str(folder)!r} ({error.strerror}); expected a folder that can be written; choose another"
        ) from error


def write_task(path: Path, data_dir: str | None) -> str:
    """Write images, labels and first weights where the workers find them; return what the images are."""
    if data_dir:
        dataset = load_mnist(data_dir, mirrors=[])
        images, labels, data = dataset.x_train, dataset.y_train, "MNIST"
    else:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (EPOCH, 1, 28, 28), dtype=np.uint8)
        labels, data = rng.integers(0, 10, EPOCH), "random images in place of MNIST (the time does not depend on it)"
    parameters = {f"parameter:{name}": value for name, value in initial_parameters(seed=0).items()}
    np.savez(path, images=images, labels=labels, **parameters)
    return data


def _report_absent(absent: dict[str, str], only: list[str] | None) -> None:
    for name, reason in absent.items():
        if only is not None:
            raise BackendError(f"--only: got {name}, which is not available: {reason}; leave it out or install it")
        print(f"not measured: {name}: {reason}", flush=True)


def _settings(options: argparse.Namespace, data: str) -> dict[str, Any]:
    return {
        "threads": options.threads,
        "batch_sizes": list(dict.fromkeys(options.batch_size)),
        "epochs": options.epochs,
        "steps": options.steps,
        "full": options.full,
        "untimed_steps_before_each_turn": WARM_STEPS,
        "order_of_turns": "interleaved: every contender at every batch size once, then all again",
        "data": data,
        "optimiser": f"SGD, Nesterov momentum {MOMENTUM}, learning rate {LEARNING_RATE}",
    }


def _threads(number: int) -> str:
    return f"{number}_thread" + ("" if number == 1 else "s")


def _save(record: dict[str, Any], folder: Path) -> None:
    # Machines with and without a GPU keep their records apart, and so do one thread and several.
    device = "gpu" if any("gpu" in about for about in record["contenders"].values()) else "cpu"
    stem = f"epoch_time_{device}_{_threads(record['settings']['threads'])}"
    written = write_bytes_atomically(folder / f"{stem}.json", (json.dumps(record, indent=2) + "\n").encode())
    print(f"wrote {written}")
    if importlib.util.find_spec("matplotlib") is None:
        print('no picture: Matplotlib is not installed; pip install "xlenet[train]"')
        return
    draw(record, folder / f"{stem}.png")
    print(f"wrote {folder / stem}.png")


if __name__ == "__main__":
    sys.exit(main())
