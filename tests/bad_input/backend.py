"""Wrong arguments for what chooses libraries, moves arrays and lends memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.bad_input.table import (
    BOTH_LIBRARIES,
    Call,
    Table,
    another,
    bad,
    made,
    no_arrays,
    whole_numbers,
    wrong_library,
)
from tests.libraries import Lib
from tests.networks import backend_name
from xlenet import Workspace, namespace_of, synchronize, to_device, to_host, use_backend, use_threads
from xlenet.errors import BackendError
from xlenet.interop import borrow, give_back

TABLE = Table()


def entered(function: Any) -> Any:
    """The same function, whose ``with`` block is entered."""

    def call(**arguments: Any) -> None:
        with function(**arguments):
            pass

    call.__module__, call.__qualname__ = function.__module__, function.__qualname__
    return call


call = Call(entered(use_backend), "backend", lambda lib: {"name": backend_name(lib)})
TABLE.add(
    call,
    [bad(call, "name", v, TypeError, repr(v), "a name", named="") for v in (None, 3, 1.5, ["numpy"], np.float32, True)],
    [
        bad(call, "name", v, BackendError, repr(v), "numpy", named="")
        for v in ("", "nunpy", "numpy:1", "cupy:x", "auto:0")
    ],
)
call = Call(entered(use_threads), "use_threads", lambda lib: {"count": 2}, arrays=False)
TABLE.add(
    call,
    [bad(call, "count", v, TypeError, repr(v), "whole number") for v in (None, "2", 1.5, True, [2])],
    [bad(call, "count", v, ValueError, repr(v), "from 1 up") for v in (0, -1)],
)


def one(lib: Lib) -> Any:
    return lib.asarray(np.ones(2), "float32")


call = Call(namespace_of, "namespace_of", lambda lib: {"a": one(lib), "b": one(lib)}, positional=("a", "b"))
for _value, _came in [([1.0], "builtins.list"), ("text", "builtins.str"), (3.0, "builtins.float")]:
    TABLE.add(call, bad(call, "a", _value, TypeError, _came, "an array", named="", says="xlenet"))
TABLE.add(
    call,
    bad(
        call,
        "b",
        made("another library", lambda lib, good: another(lib).asarray([1.0])),
        TypeError,
        BOTH_LIBRARIES,
        "one library",
        named="",
        says="xlenet",
    ),
)  # fmt: skip
call = Call(namespace_of, "namespace_of", lambda lib: {"a": one(lib)}, positional=("a",), label="one")
TABLE.add(call, bad(call, "a", None, TypeError, "no array", "at least one", named=""))

for _function, _argument, _says in ((to_host, "x", "xlenet"), (synchronize, "like", "xlenet")):
    call = Call(_function, _says, lambda lib, argument=_argument: {argument: one(lib)})
    TABLE.add(
        call,
        [
            bad(call, _argument, v, TypeError, type(v).__name__, "an array", named="")
            for v in ([1.0], None, "text", 3.0, np.ma.ones(2))
        ],
    )
call = Call(to_device, "to_device", lambda lib: {"x": np.ones(2), "like": one(lib)})
TABLE.add(
    call,
    [
        bad(call, "x", v, TypeError, (), "numbers")
        for v in (None, "text", np.array(["a"]), {}, [[1.0], [1.0, 2.0]], [None], object())
    ],
    [
        bad(call, "like", v, TypeError, type(v).__name__, "an array", named="", says="xlenet")
        for v in ([1.0], "numpy", 3.0)
    ],
)

# ==== arrays of other libraries ====

call = Call(borrow, "borrow", lambda lib: {"x": one(lib)})
TABLE.add(call, no_arrays(call, "x", borrower="borrow"))
call = Call(give_back, "give_back", lambda lib: {"y": one(lib), "like": one(lib)})
TABLE.add(call, no_arrays(call, "y"), no_arrays(call, "like")[:-1], wrong_library(call, "like"))

# ==== lent memory ====

call = Call(
    Workspace.empty, "Workspace", lambda lib: {"self": Workspace(), "shape": (2, 3), "like": one(lib), "dtype": None}
)
TABLE.add(
    call,
    [bad(call, "shape", v, TypeError, repr(v), "a tuple") for v in (None, 3, "23", [2, 3], (2, 1.5), (2, "3"))],
    [bad(call, "shape", v, ValueError, repr(v), "0 or more") for v in ((-1,), (2, -3))],
    no_arrays(call, "like"),
    [bad(call, "dtype", v, TypeError, repr(v), "a type") for v in ("float33", 3.5)],
)
call = Call(Workspace.of_thread, "Workspace", lambda lib: {"self": Workspace(), "thread": 1}, arrays=False)
TABLE.add(call, whole_numbers(call, "thread", -1))
