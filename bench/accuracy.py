"""How accurate are the default settings? Several seeds of the training command on MNIST; the last epoch counts.

    python bench/accuracy.py [--data-dir DIR] [--seeds 0 1 2] [--out FILE] [-- OPTIONS OF python -m xlenet.train]

Prints mean and standard deviation over the seeds beside the standard error that 10,000 test images have in themselves,
and writes every epoch of every seed as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # measure the checkout that this file lies in, whether it is installed or not

from bench.machine import describe_machine  # noqa: E402 - after the line above
from xlenet import train  # noqa: E402

_TEST_IMAGES = 10_000


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", metavar="DIR", help="folder of MNIST (default: as python -m xlenet.train)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parser.add_argument("--out", type=Path, default=_ROOT / "bench" / "results" / "accuracy_cpu.json", metavar="FILE")
    parser.add_argument("options", nargs="*", help="for python -m xlenet.train")
    options = parser.parse_args()
    where = ["--data-dir", options.data_dir] if options.data_dir else []
    runs = {}
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            code = train.main(["--data", "mnist", *where, "--seed", str(seed), "--out", folder, *options.options])
            if code:
                return code
            runs[seed] = _read(Path(folder))
    accuracies = [run["epochs"][-1]["test_accuracy"] for run in runs.values()]
    mean = statistics.mean(accuracies)
    record = {
        "what": "test accuracy of python -m xlenet.train on MNIST after the last epoch",
        "machine": describe_machine(),
        "mean": mean,
        "standard_deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "standard_error_of_the_test_set": math.sqrt(mean * (1 - mean) / _TEST_IMAGES),
        "seconds_per_epoch": statistics.median(epoch["seconds"] for run in runs.values() for epoch in run["epochs"]),
        "runs": runs,
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    spread, error = record["standard_deviation"] or 0.0, record["standard_error_of_the_test_set"]
    print(
        f"mean {mean:.3%} over seeds {', '.join(map(str, runs))}; standard deviation {spread:.3%}; standard error of "
        f"the test set {error:.3%}; median {record['seconds_per_epoch']:.2f} s per epoch"
    )
    return 0


def _read(folder: Path) -> dict[str, Any]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {
        "config": json.loads((folder / "config.json").read_text(encoding="utf-8")),
        "epochs": [json.loads(line) for line in lines],
    }


if __name__ == "__main__":
    sys.exit(main())
