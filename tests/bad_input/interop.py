"""Wrong arguments for networks that go to other programs, or come from them.

The right arguments are tried in tests/interop: they need the package onnx.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.bad_input.table import FOLDER, Call, Row, Table, bad
from tests.bad_input.training import NO_ABOUT, paths
from tests.libraries import Lib
from xlenet import Linear, interop

TABLE = Table()


def shapes(call: Call) -> list[Row]:
    """Rows for what is no shape of an x."""
    return [
        *[bad(call, "input_shape", v, TypeError, repr(v), "the shape of one x") for v in ((), 3, "CHW", np.zeros(2))],
        *[bad(call, "input_shape", (3, v), TypeError, repr(v), "a whole number") for v in (1.5, None, True)],
        *[bad(call, "input_shape", (v, 3), ValueError, repr(v), "at least 1") for v in (0, -1)],
    ]


def _exporting(lib: Lib) -> dict[str, Any]:
    return {"path": FOLDER / "m.onnx", "model": Linear(3, 2, rng=0), "input_shape": (3,), "about": {"classes": 2}}


call = Call(interop.export_onnx, "export_onnx", _exporting, dear=True)
TABLE.add(
    call,
    paths(call),
    [bad(call, "model", v, TypeError, (), "a Layer") for v in (None, 3, Linear, {})],
    [bad(call, "about", v, TypeError, got, "JSON") for v, got in NO_ABOUT if v is not None],
    shapes(call),
)


def _importing(lib: Lib) -> dict[str, Any]:
    return {"path": FOLDER / "none.onnx", "input_shape": (3,), "max_bytes": 10**6}


call = Call(interop.import_onnx, "import_onnx", _importing, arrays=False, dear=True)
TABLE.add(
    call,
    paths(call),
    shapes(call),
    [bad(call, "max_bytes", v, TypeError, repr(v), "a whole number") for v in ("3", None, 1.5, True)],
    bad(call, "max_bytes", -1, ValueError, "-1", "at least 0"),
)
