"""Everything that a borrowed GPU is needed for, in one command and less than eight minutes:

    python bench/gpu_check.py [--data-dir DIR] [--out FILE] [--quick] [--backend cupy]

Runs, one after another and each in a process of its own: what machine this is; whether runs with and without a CUDA
graph are the same to the last bit, and agree with NumPy; what the first steps cost; the time of each part of a step
beside its limit; the epoch times of xlenet and PyTorch in all their modes; 20 epochs by the training command; the
tests on the GPU; PyTorch's compiler. A stage that overruns its time is ended, and the next one begins. Whatever has
been found out by then is in one JSON file, bench/results/gpu_check_<name of the GPU>.json, at any time.

Nothing is downloaded. Real MNIST is used where --data-dir or XLENET_DATA_DIR says where it lies, else generated digits.
``--backend numpy`` is a dry run on any machine: what needs a GPU is skipped.

Exit codes: 0 every stage is ok, 1 a stage failed or overran, 2 usage, 3 nothing failed but a stage was skipped.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # measure the checkout that this file lies in, whether it is installed or not

from bench.gpu_stages import STAGES, Options  # noqa: E402 - after the line above

# Seconds after which a stage is ended: eight minutes all together, most of which are not used.
BUDGETS = {
    "machine": 15,
    "equality": 40,
    "first_steps": 25,
    "kernels": 25,
    "contenders": 90,
    "training": 25,
    "parity": 180,
    "compiled": 80,
}
assert BUDGETS.keys() == STAGES.keys()

Record = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    chosen = _parser().parse_args(arguments)
    options = Options(chosen.backend, chosen.data_dir or os.environ.get("XLENET_DATA_DIR"), chosen.quick)
    record: Record = {
        "what": "bench/gpu_check.py: is xlenet right and quick on this GPU?",
        "began_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "options": options._asdict() | {"data_dir": "MNIST" if options.data_dir else None},
        "stages": {},
    }
    out: Path | None = chosen.out
    for name in chosen.only or list(STAGES):
        print(f"{name} ... ", end="", flush=True)
        stage = run_stage(name, options, BUDGETS[name])
        record["stages"][name] = stage
        print(f"{stage['status']} after {stage['seconds']:.0f} s" + _because(stage), flush=True)
        out = chosen.out or _file_for(record, options)
        _save(record, out)
    print(f"\n{table(record)}\n\nwrote {out}")
    states = {stage["status"] for stage in record["stages"].values()}
    return 1 if "failed" in states else 3 if "skipped" in states else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data-dir", metavar="DIR", help="folder with MNIST (default: XLENET_DATA_DIR, else generated digits)")
    add("--out", type=Path, metavar="FILE", help="default: bench/results/gpu_check_<name of the GPU>.json")
    add("--quick", action="store_true", help="fewer epochs and turns")
    add("--backend", default="cupy", metavar="NAME", help="cupy, cupy:1, or numpy for a dry run (default: cupy)")
    add("--only", nargs="+", choices=list(STAGES), metavar="STAGE", help=f"some of {', '.join(STAGES)}")
    return parser


def run_stage(name: str, options: Options, budget: float) -> Record:
    """Run a stage in a process of its own, for `budget` seconds at most; return what is known of it then."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        result, log = Path(folder) / "result.json", Path(folder) / "log"
        command = [sys.executable, "-m", "bench.gpu_stages", name, json.dumps(options._asdict()), str(result)]
        path = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=_ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
            try:
                process.wait(budget)
                overrun = False
            except subprocess.TimeoutExpired:
                overrun = True
            finally:
                _end(process)
        found: Record = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
        said = log.read_text(encoding="utf-8", errors="replace")[-4000:]
    if overrun:
        found |= {"status": "failed", "reason": f"overran its {budget:g} s and was ended"}
    elif "status" not in found:
        found |= {"status": "failed", "reason": f"the process ended with code {process.returncode}"}
    if found["status"] == "failed":
        found["log"] = said
    return {"status": found.pop("status"), "seconds": round(time.perf_counter() - began, 1)} | found


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it has started, which belong to its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _because(stage: Record) -> str:
    reason = str(stage.get("reason", "")).partition("\n")[0]
    return f": {reason}" if reason else ""


def _file_for(record: Record, options: Options) -> Path:
    """Return where the record belongs: by the GPU's name, as far as it is known."""
    gpu = record["stages"].get("machine", {}).get("gpu") or options.backend
    name = "".join(c if c.isalnum() else "_" for c in gpu.lower()).strip("_")
    return _ROOT / "bench" / "results" / f"gpu_check_{name}.json"


def _save(record: Record, path: Path) -> None:
    from xlenet.files import write_bytes_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(path, (json.dumps(record, indent=1) + "\n").encode())


# ==== the table ====


def table(record: Record) -> str:
    """Return what came out, in a few lines."""
    lines = [f"{name:12} {stage['status']:8}{_because(stage)}" for name, stage in record["stages"].items()]
    for name in ("contenders", "compiled"):
        results = record["stages"].get(name, {}).get("results", [])
        lines += [_result_line(result) for result in results]
    kernels = record["stages"].get("kernels", {})
    for n in (64, 256, 1024):
        if f"batch_{n}" in kernels:
            spent, least = kernels[f"batch_{n}_sum_microseconds"], kernels[f"batch_{n}_limit_microseconds"]
            lines.append(f"batch {n:5}  parts of a step {spent:8.1f} us, limit {least:6.1f} us")
    for failure in record["stages"].get("parity", {}).get("failures", [])[:10]:
        lines.append(f"{failure['test']}: {failure['reason'].partition(chr(10))[0]}")
    training = record["stages"].get("training", {})
    if "test_accuracy" in training:
        lines.append(f"{training['epochs']} epochs on {training['data']}: {training['test_accuracy']:.2%}")
    return "\n".join(lines)


def _result_line(result: Record) -> str:
    epoch, step = result["seconds_per_epoch"], result["ms_per_step"]
    return (
        f"batch {result['batch_size']:5}  {result['contender']:20} {1e3 * step['median']:9.1f} us per step  "
        f"{epoch['median']:8.4f} s per epoch  {result['seconds_to_start']:6.1f} s to start"
    )


if __name__ == "__main__":
    sys.exit(main())
