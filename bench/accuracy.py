"""How accurate are the recipes? Each with several seeds of the training command; the last epoch counts.

    python bench/accuracy.py [--recipes default best ...] [--seeds 0 1 2 3 4] [--data mnist] [--data-dir DIR]
                             [--backend NAME] [--jobs N] [--out FILE] [-- MORE OPTIONS OF python -m xlenet.train]

For each recipe: mean and standard deviation over the seeds, beside the standard error of one network's accuracy on so
many test images. Every epoch of every seed is written as JSON; a recipe that the file has already is replaced there,
and others stay. The training command looks at the test images after each epoch; the last one counts, whatever it says.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # measure the checkout that this file lies in, whether it is installed or not

from bench.machine import describe_machine  # noqa: E402 - after the line above
from xlenet.data import load  # noqa: E402
from xlenet.files import write_bytes_atomically  # noqa: E402
from xlenet.options import whole  # noqa: E402
from xlenet.recipes import RECIPES  # noqa: E402

# What can be asked for: each recipe for the network as it is, and for the one with a ReLU more.
CASES = {name: ["--recipe", name] for name in RECIPES}
CASES |= {f"{name}+relu": [*options, "--relu-after-conv3"] for name, options in CASES.items()}

Record = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, or that of the first training run that failed."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.options and chosen.out is None:
        parser.error("--out: got none beside other options; expected a file, so that the recipes' own is left alone")
    images = len(load(chosen.data, chosen.data_dir).x_test)
    name, backend = Path(chosen.data).name, (chosen.backend or "numpy").partition(":")[0]
    out: Path = chosen.out or _ROOT / "bench" / "results" / f"accuracy_{name}_{backend}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    record: Record = {
        "what": "test accuracy of python -m xlenet.train after the last epoch",
        "data": name,
        "recipes": {},
    }
    if out.exists():
        record["recipes"] = json.loads(out.read_text(encoding="utf-8"))["recipes"]
    where = ["--data", chosen.data]
    for option in ("data_dir", "backend"):
        if getattr(chosen, option):
            where += [f"--{option.replace('_', '-')}", getattr(chosen, option)]
    for case in chosen.recipes:
        options = [*CASES[case], *chosen.options]
        with ThreadPoolExecutor(chosen.jobs) as pool:
            runs = list(pool.map(lambda seed, options=options: _run([*options, *where], seed), chosen.seeds))
        failed = next((run for run in runs if isinstance(run, int)), 0)
        if failed:
            return failed
        found = {"command": " ".join(["python -m xlenet.train", *options]), "machine": describe_machine()}
        found |= summary(dict(zip(chosen.seeds, runs, strict=True)), images)
        record["recipes"][case] = found
        write_bytes_atomically(out, (json.dumps(record, indent=1) + "\n").encode())
        print(line(case, found), flush=True)
    print(f"wrote {out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    usual = ["fast", "default", "best", "best+relu"]
    add("--recipes", nargs="+", choices=CASES, default=usual, metavar="NAME", help=f"of {', '.join(CASES)}")
    add("--seeds", type=whole(0), nargs="+", default=[0, 1, 2, 3, 4], metavar="N", help="default: 0 1 2 3 4")
    add("--data", default="mnist", metavar="DATA", help="as of python -m xlenet.train (default: mnist)")
    add("--data-dir", metavar="DIR", help="folder of its files (default: as of python -m xlenet.train)")
    add("--backend", metavar="NAME", help="as of python -m xlenet.train")
    add("--jobs", type=whole(1), default=1, metavar="N", help="so many runs at a time (default: 1)")
    add("--out", type=Path, metavar="FILE", help="default: bench/results/accuracy_<data>_<backend>.json")
    add("options", nargs="*", help="more of python -m xlenet.train")
    return parser


def _run(options: list[str], seed: int) -> Record | int:
    """Return what a run has left behind, or its exit code where that is not 0."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path])}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "xlenet.train", *options, "--seed", str(seed), "--out", folder, "--quiet"]
        code = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL).returncode
        if code:
            return code
        lines = (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        return {"config": config, "epochs": [json.loads(line) for line in lines]}


def summary(runs: dict[int, Record], images: int) -> Record:
    """Return what the last epochs of a recipe's runs say together, of so many test images."""
    accuracies = [run["epochs"][-1]["test_accuracy"] for run in runs.values()]
    mean = statistics.mean(accuracies)
    return {
        "accuracies": accuracies,
        "mean": mean,
        "standard_deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "test_images": images,
        "standard_error_of_the_test_set": math.sqrt(mean * (1 - mean) / images),
        "seconds_per_epoch": statistics.median(epoch["seconds"] for run in runs.values() for epoch in run["epochs"]),
        "runs": runs,
    }


def line(case: str, found: Record) -> str:
    """Return what was found in a line."""
    spread = "-" if found["standard_deviation"] is None else f"{found['standard_deviation']:.3%}"
    each = ", ".join(f"{100 * accuracy:.2f}" for accuracy in found["accuracies"])
    return (
        f"{case:13} mean {found['mean']:.3%} ({each})  standard deviation {spread}  "
        f"standard error of the test set {found['standard_error_of_the_test_set']:.3%}  "
        f"{found['seconds_per_epoch']:.2f} s per epoch"
    )


if __name__ == "__main__":
    sys.exit(main())
