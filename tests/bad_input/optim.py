"""Wrong arguments for optimisers and schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.bad_input.table import INF, NAN, Call, Row, Table, bad, made, numbers, switches, whole_numbers
from tests.libraries import Lib
from xlenet import SGD, Adam, AdamW, Layer, Linear, ReLU, schedules
from xlenet.optim import Optimizer

TABLE = Table()

KINDS: dict[type[Optimizer], dict[str, Any]] = {
    SGD: {"momentum": 0.9, "nesterov": False},
    Adam: {"betas": (0.9, 0.999), "eps": 1e-8},
    AdamW: {"betas": (0.9, 0.999), "eps": 1e-8},
}


def learned(lib: Lib) -> Layer:
    """A layer with gradients."""
    layer = Linear(3, 2, rng=0)
    y = layer.forward(lib.asarray(np.ones((2, 3)), "float32"))
    layer.backward(lib.asarray(np.ones(y.shape), "float32"))
    return layer


def stepped(lib: Lib, kind: type[Optimizer]) -> Optimizer:
    """An optimiser that has done a step."""
    optimizer = kind(learned(lib))
    optimizer.step(0.1)
    return optimizer


def own(call: Call, options: dict[str, Any]) -> list[Row]:
    """Rows for what only some optimisers have."""
    rows = []
    if "momentum" in options:
        rows += numbers(call, "momentum", -0.1, 1.0, 1.5) + switches(call, "nesterov")
    if "eps" in options:
        rows += numbers(call, "eps", -1e-8)
        for value in (0.9, None, "ab", (0.9,), (0.9, 0.99, 0.999), ()):
            rows.append(bad(call, "betas", value, ValueError, repr(value), "a pair"))
        for beta in (NAN, INF, -0.1, 1.0):
            rows.append(bad(call, "betas", (0.9, beta), ValueError, repr(beta), "from 0 to below 1"))
            rows.append(bad(call, "betas", (beta, 0.9), ValueError, repr(beta), "from 0 to below 1"))
        for other in ("0.9", None, 1j, True):
            rows.append(bad(call, "betas", (0.9, other), TypeError, repr(other), "from 0 to below 1"))
    return rows


for _kind, _options in KINDS.items():
    call = Call(
        _kind,
        _kind.__name__,
        lambda lib, options=_options: {"model": learned(lib), "weight_decay": 0.0, "clip": None} | options,
        positional=("model",),
    )
    TABLE.add(
        call,
        [bad(call, "model", v, TypeError, (), "a Layer") for v in (None, 3, "model", Linear, {}, [Linear(2, 2)])],
        bad(
            call,
            "model",
            Linear(2, 2, requires_grad=False),
            ValueError,
            "nothing to learn",
            "not frozen",
            came="frozen",
        ),
        bad(call, "model", ReLU(), ValueError, "nothing to learn", "not frozen", came="ReLU"),
        numbers(call, "weight_decay", -1e-4),
        numbers(call, "clip", 0.0, -1.0, may_be_none=True),
        own(call, _options),
    )
    call = Call(
        Optimizer.step,
        _kind.__name__,
        lambda lib, kind=_kind: {"self": stepped(lib, kind), "lr": 0.1},
        label=_kind.__name__,
    )
    TABLE.add(call, numbers(call, "lr", -0.1), bad(call, "lr", np.zeros(2), TypeError, "lr", "a finite number"))

    def _state(lib: Lib, kind: type[Optimizer] = _kind) -> dict[str, Any]:
        optimizer = stepped(lib, kind)
        return {"self": optimizer, "state": optimizer.state_dict(), "steps": 7}

    call = Call(Optimizer.load_state_dict, _kind.__name__, _state, label=_kind.__name__)
    _slot = "velocity" if _kind is SGD else "square"

    def _with(came: str, value: Any, slot: str = _slot) -> made:
        return made(came, lambda lib, good: dict(good) | {slot: value})

    TABLE.add(
        call,
        whole_numbers(call, "steps", -1),
        [bad(call, "state", v, TypeError, repr(v), "a mapping") for v in (None, 3, "velocity", [1.0])],
        bad(call, "state", {}, ValueError, "slots {}", _slot, named=""),
        [
            bad(call, "state", _with(came, np.zeros(size)), ValueError, f"({size}, 'float64')", "(8, 'float32')",
                named=_slot)
            for came, size in [("too long", 9), ("broadcastable", 1), ("of another type", 8)]
        ],
        bad(call, "state", _with("a list", [0.0] * 8), TypeError, "builtins.list", "an array", named=_slot),
        bad(call, "state", _with("complex", np.zeros(8, complex)), TypeError, "complex128", "real", named=_slot),
        bad(call, "state", _with("text", np.array(["a"] * 8)), TypeError, "<U1", "real", named=_slot),
        bad(call, "state", made("one more", lambda lib, good: dict(good) | {"more": np.zeros(8)}), ValueError, "more",
            _slot, named=""),
    )  # fmt: skip

call = Call(Optimizer.is_for, "SGD", lambda lib: {"self": stepped(lib, SGD), "model": Linear(2, 2)}, arrays=False)
TABLE.add(call, [bad(call, "model", v, TypeError, (), "a Layer") for v in (None, 3, Linear)])


def schedule(function: Callable[..., float], **options: float) -> Call:
    """A schedule in the middle of a run."""
    return Call(function, function.__name__, lambda lib: {"progress": 0.5} | options, arrays=False)


for _function in (schedules.constant, schedules.cosine):
    call = schedule(_function)
    TABLE.add(call, numbers(call, "progress", -0.1, 1.1))
call = schedule(schedules.one_cycle, warmup=0.2, start=0.1)
TABLE.add(
    call,
    numbers(call, "progress", -0.1, 1.1),
    numbers(call, "warmup", -0.1, 1.0),
    numbers(call, "start", -0.1),
)
