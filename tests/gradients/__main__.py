"""Check results and gradients of drawn configurations of every layer, in float64.

    python -m tests.gradients                        # 1,000 of each on NumPy, 100 on array-api-strict
    python -m tests.gradients --examples 50 --only Conv2D --seed 3

Results are compared with slow loops that share no code with the library, gradients with central differences. A line for
each layer; exit code 1 if one of them is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import pytest

from tests.gradients.checking import check_many
from tests.gradients.examples import EXAMPLES
from tests.libraries import LIBRARIES, open_library

_SHARE = 10  # of the examples, on libraries other than NumPy: they are slow


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1000, metavar="N", help="of each layer (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    parser.add_argument("--only", default="", metavar="WORD", help="only layers with this word in their names")
    parser.add_argument("--backends", nargs="+", choices=LIBRARIES, default=["numpy", "array_api_strict"])
    options = parser.parse_args(arguments)
    wrong = 0
    for backend in options.backends:
        count = options.examples if backend == "numpy" else -(-options.examples // _SHARE)
        try:
            lib = open_library(backend)
        except pytest.skip.Exception as reason:
            print(f"{backend}: not tried: {reason}")
            continue
        print(f"{backend}, seed {options.seed}")
        for name in EXAMPLES:
            if options.only.lower() in name.lower():
                wrong += not _check(lib, name, count, options.seed)
    return 1 if wrong else 0


def _check(lib: object, name: str, count: int, seed: int) -> bool:
    try:
        record = check_many(lib, name, count, seed)  # type: ignore[arg-type]
    except Exception as error:
        print(f"{name}  WRONG: {error}", flush=True)
        return False
    traits = ", ".join(f"{count} {trait}" for trait, count in sorted(record.traits.items()))
    print(
        f"{name:34}  {record.examples:5} examples  {record.seconds:6.1f} s  worst error {record.worst:.1e}  {traits}",
        flush=True,
    )
    return True


if __name__ == "__main__":
    sys.exit(main())
