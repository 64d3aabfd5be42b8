"""Wrong arguments for the checks of a layer of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.bad_input.layers import generators
from tests.bad_input.table import Call, Row, Table, bad, numbers
from tests.libraries import Lib
from xlenet import ReLU, testing
from xlenet.functional import relu

TABLE = Table()


def functions(call: Call, *arguments: str, none: bool = False) -> list[Row]:
    """Rows for what cannot be called."""
    return [
        bad(call, argument, value, TypeError, repr(value), "a function")
        for argument in arguments
        for value in (3, "relu", [], None)
        if value is not None or not none
    ]


call = Call(
    testing.check_layer,
    "check_layer",
    lambda lib: {"make": ReLU, "shape": (2, 3), "rng": 0, "rtol": 1e-6, "draw": None, "random": False},
    arrays=False,
)
TABLE.add(
    call,
    [bad(call, "make", v, TypeError, (), "a Layer, or what makes one") for v in (None, 3, "relu", dict, np.ones(2))],
    [bad(call, "shape", v, TypeError, repr(v), "a batch") for v in (None, 3, "23", ())],
    [bad(call, "shape", (2, v), TypeError, repr(v), "a whole number") for v in (1.5, "3", None)],
    [bad(call, "shape", (v, 3), ValueError, repr(v), "at least 1") for v in (0, -1)],
    generators(call),
    numbers(call, "rtol", 0.0, -1e-6),
    functions(call, "draw", none=True),
)


def _gradients(lib: Lib) -> dict[str, Any]:
    return {
        "name": "relu",
        "forward": relu.forward,
        "backward": lambda dy, cache: {"x": relu.backward(dy, cache)},
        "inputs": {"x": np.array([[-1.0, 2.0]])},
        "rng": 0,
        "rtol": 1e-6,
    }


call = Call(testing.check_gradients, "check_gradients", _gradients, arrays=False)
TABLE.add(
    call,
    functions(call, "forward", "backward"),
    [bad(call, "inputs", v, TypeError, (), "a mapping") for v in (None, 3, np.ones(2), [np.ones(2)])],
    generators(call),
    numbers(call, "rtol", 0.0, -1e-6),
)
