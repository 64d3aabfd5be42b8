"""Writes the tables of figures in README.md and in pages of docs from the records in bench/results.

    python bench/tables.py [--check]

What stands between ``<!-- table: NAME -->`` and ``<!-- end -->`` is replaced; `--check` changes nothing and exits with
1 if a table is not what its record says.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))

from bench import accuracy_tables  # noqa: E402 - after the line above
from bench.contenders import TITLES  # noqa: E402
from bench.limits import OPTIONAL  # noqa: E402
from bench.markdown import table  # noqa: E402

PAGES = (_ROOT / "README.md", _ROOT / "docs" / "accuracy.md", _ROOT / "docs" / "performance.md")
RESULTS = _ROOT / "bench" / "results"
GPU_RECORD = "gpu_check_nvidia_h100_80gb_hbm3.json"
_PLACE = re.compile(r"(<!-- table: (?P<name>[a-z_]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a table is out of date")
    options = parser.parse_args(arguments)
    stale = False
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = filled(before)
        if after != before:
            stale = True
            verdict = "is out of date; run python bench/tables.py" if options.check else "written"
            print(f"{page.relative_to(_ROOT)}: {verdict}")
            if not options.check:
                page.write_text(after, encoding="utf-8")
    return 1 if stale and options.check else 0


def filled(text: str) -> str:
    """Return `text` with every table as its record has it."""
    return _PLACE.sub(lambda found: f"{found[1]}\n{TABLES[found['name']]()}\n\n{found[3]}", text)


def _record(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return found


def _machine() -> str:
    record = _record("cpu_check.json")
    machine = record["machine"]
    return (
        f"Measured {record['measured_at'][:10]} on {machine['cpu']}, {machine['cores']} cores, "
        f"Python {machine['python']}, NumPy {machine['numpy']} ({machine['blas']}); "
        f"load average before: {machine['load_average_before']}."
    )


def _promises() -> str:
    rows = [
        (row["what"], f"{row['at_most']:g}", f"{row['measured']:.2f}", row["unit"], "yes" if row["kept"] else "**no**")
        for row in _record("cpu_check.json")["promises"]
    ]
    return table(("what", "at most", "measured", "", "kept"), rows)


def _pairs(kind: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Go over threads and batch sizes of whole "epochs" or of all "sizes": what was measured of xlenet and PyTorch."""
    times = [row for row in _record("cpu_check.json")["times"] if row["kind"] == kind]
    theirs = {(row["threads"], row["batch_size"]): row for row in times if row["contender"] == "torch"}
    for mine in (row for row in times if row["contender"] == "numpy"):
        yield mine, theirs[mine["threads"], mine["batch_size"]]


def _short() -> str:
    rows = [
        (
            f"{mine['threads']} thread{'s' * (mine['threads'] > 1)}, batch {mine['batch_size']}",
            f"**{mine['seconds_per_epoch']['median']:.1f} s**",
            f"{theirs['seconds_per_epoch']['median']:.1f} s",
            f"{mine['ratio_to_pytorch']:.2f}",
        )
        for mine, theirs in _pairs("epochs")
    ]
    return table(("an epoch of 60,000 images", TITLES["numpy"], "PyTorch 2.13", "ratio"), rows)


def _flat() -> str:
    rows = [mine for mine, _ in _pairs("sizes") if mine["threads"] == 1]

    def images(seconds: list[float]) -> str:
        small, best = 1e6 * seconds[0] / 60_000, 1e6 * min(seconds) / 60_000
        return f"{small:.0f} µs at batch {rows[0]['batch_size']}, {best:.0f} at the best one, {small / best:.2f} times"

    quickest = images([min(row["seconds_per_epoch_by_turn"]) for row in rows])
    medians = images([row["seconds_per_epoch"]["median"] for row in rows])
    return (
        f"An image takes, on one thread, by the quickest of {rows[0]['turns']} turns of each size: {quickest}. "
        f"By the medians: {medians}."
    )


def _also() -> str:
    record = _record("cpu_check.json")
    memory, inference = record["memory"], record["inference"]
    return (
        f"An epoch takes {memory['xlenet']['peak_mb']:.0f} MB of memory (PyTorch: {memory['torch']['peak_mb']:.0f}), "
        f"10,000 images are evaluated in {inference['evaluation_s']:.2f} s, and one image in "
        f"{inference['one_image_ms']:.2f} ms."
    )


def _epochs() -> str:
    rows = []
    for mine, theirs in (*_pairs("epochs"), *_pairs("sizes")):
        some = f"{mine['turns']} times {mine['steps_per_turn']} steps"
        rows.append((
            str(mine["threads"]),
            str(mine["batch_size"]),
            _seconds(mine),
            _seconds(theirs),
            f"{mine['ratio_to_pytorch']:.2f}",
            " / ".join(f"{1e6 * row['seconds_per_epoch']['median'] / 60_000:.0f}" for row in (mine, theirs)),
            some if mine["scaled"] else f"{mine['turns']} epochs",
        ))  # fmt: skip
    both = (TITLES["numpy"], TITLES["torch"])
    head = ("threads", "batch", *(f"{who}, s" for who in both), "ratio", "µs per image, both", "median of")
    return table(head, rows)


def _seconds(row: dict[str, Any]) -> str:
    epoch = row["seconds_per_epoch"]
    return f"{epoch['median']:.2f} ({epoch['q1']:.2f}-{epoch['q3']:.2f})"


def _gpu_stages() -> dict[str, Any]:
    stages: dict[str, Any] = _record(GPU_RECORD)["stages"]
    return stages


def _gpu() -> str:
    """Return the largest parts of a step and the sum of all, each beside its limit, and the first steps."""
    record, stages = _record(GPU_RECORD), _gpu_stages()
    machine, kernels = stages["machine"], stages["kernels"]
    sizes = (64, 256, 1024)
    by_size = [{part["part"]: part for part in kernels[f"batch_{size}"]} for size in sizes]
    always = [name for name in by_size[0] if name not in OPTIONAL]
    slowest = sorted(always, key=lambda name: -by_size[0][name]["microseconds"])[:5]

    def row(title: str, names: list[str]) -> tuple[str, ...]:
        sums = [
            f"{sum(parts[name][what] for name in names):{form}}"
            for parts in by_size
            for what, form in (("microseconds", ".1f"), ("limit_microseconds", ".2g"))
        ]
        return (title, *sums)

    rows = [row(f"`{name}`", [name]) for name in slowest]
    rows.append(row(f"the other {len(always) - len(slowest)}", [name for name in always if name not in slowest]))
    rows.append(row(f"**all {len(always)}**", always))
    rows += [row(f"`{name}`, where a run has it", [name]) for name in by_size[0] if name in OPTIONAL]
    head = ("part of a step, µs", *(title for size in sizes for title in (f"batch {size:,}", "limit")))
    first, again = (stages["first_steps"][run] for run in ("first_run", "second_run_of_the_process"))
    runtime = machine["cuda_runtime"]
    return (
        f"Measured {record['began_at'][:10]} on {machine['gpu']}, CuPy {machine['cupy']}, "
        f"CUDA {runtime // 1000}.{runtime % 1000 // 10}, Python {machine['machine']['python']}, "
        f"NumPy {machine['machine']['numpy']}.\n\n{table(head, rows)}\n\n"
        f"The first step of a process, which compiles the kernels, took {first[0] / 1e3:.1f} s, the second one "
        f"{first[1]:.1f} ms, the sixth {first[-1]:.2f} ms; in another run of the same process the first one took "
        f"{again[0]:.1f} ms. Epochs of {stages['training']['data']} by the training command, at batch 64: "
        f"{', '.join(f'{seconds:.3f}' for seconds in stages['training']['seconds_by_epoch'])} s."
    )


def _gpu_epoch() -> str:
    stages = _gpu_stages()
    machine, training = stages["machine"], stages["training"]
    last = training["history"][-1]
    return (
        f"On a GPU ({machine['gpu']}, CuPy {machine['cupy']}) an epoch of 60,000 images takes "
        f"**{last['seconds']:.3f} s** at batch 64\nafter the first one, "
        f"{round(last['images_per_second'], -3):,.0f} images a second; "
        f"{training['epochs']} epochs read {training['test_accuracy']:.2%} of MNIST's test images.".replace("%", " %")
    )


TABLES: dict[str, Callable[[], str]] = {
    "machine": _machine,
    "promises": _promises,
    "short": _short,
    "also": _also,
    "flat": _flat,
    "epochs": _epochs,
    "gpu": _gpu,
    "gpu_epoch": _gpu_epoch,
} | accuracy_tables.TABLES


if __name__ == "__main__":
    sys.exit(main())
