"""How much disk an installation takes: xlenet with all that it needs, against PyTorch with all that it needs.

    python bench/install_size.py [--json bench/results/install_size.json]

Each is installed by pip into an empty virtual environment of its own, made without pip: what lies in site-packages
afterwards, byte code included, is what was counted, in megabytes of 1,000,000 bytes. PyTorch is the build for the CPU
alone; the one that PyPI has for Linux brings CUDA's libraries along besides.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
PROMISE = 80.0  # MB, of the base package with NumPy


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 1 if the promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", default="torch==2.13.0+cpu", help="which PyTorch; 'none' leaves it out")
    parser.add_argument("--torch-index", help="where pip finds PyTorch's builds for the CPU, unless it has been told")
    parser.add_argument("--json", type=Path, help="where to leave the record")
    options = parser.parse_args(arguments)
    contenders = {"xlenet": [str(_ROOT)], "xlenet[train]": [f"{_ROOT}[train]"]}
    if options.torch != "none":
        index = ["--extra-index-url", options.torch_index] if options.torch_index else []
        contenders["torch, CPU"] = [*index, options.torch]
    record: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "promise_mb": PROMISE,
        "installed": {name: installed(arguments) for name, arguments in contenders.items()},
    }
    for name, sizes in record["installed"].items():
        largest = ", ".join(f"{package} {mb:.1f}" for package, mb in list(sizes["largest_mb"].items())[:3])
        print(f"{name:14} {sizes['mb']:8.1f} MB in {sizes['files']:6} files   ({largest})")
    kept = record["installed"]["xlenet"]["mb"] < PROMISE
    print(f"xlenet below {PROMISE:g} MB in all: {'yes' if kept else 'no'}")
    if options.json is not None:
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0 if kept else 1


def installed(arguments: list[str]) -> dict[str, Any]:
    """Install into an empty environment, and return what lies there."""
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=False)
        python = next(Path(scratch).glob("[bS]*/python*"))  # bin/python or Scripts\python.exe
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *arguments]
        subprocess.run(command, check=True)
        packages = next(Path(scratch).rglob("site-packages"))
        return measured(packages)


def measured(folder: Path) -> dict[str, Any]:
    """Return what `folder` takes, in all and by its largest parts, and the versions of the packages in it."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    by_part: dict[str, float] = {}
    for file in files:
        part = file.relative_to(folder).parts[0]
        by_part[part] = by_part.get(part, 0.0) + file.stat().st_size / 1e6
    largest = sorted(by_part.items(), key=lambda item: -item[1])[:5]
    return {
        "mb": round(sum(by_part.values()), 1),
        "files": len(files),
        "largest_mb": {part: round(mb, 1) for part, mb in largest},
        "packages": sorted(f"{path.name.removesuffix('.dist-info')}" for path in folder.glob("*.dist-info")),
    }


if __name__ == "__main__":
    sys.exit(main())
