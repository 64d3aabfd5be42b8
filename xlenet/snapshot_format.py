"""What a snapshot says besides its arrays: written here, and believed only where it can be true."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .errors import DataError, shown
from .training import Epoch, Position

_FORMAT = 1
_NAMES = {"format", "steps", "position", "config"}
_MOST = 2**53  # of anything that is counted: a float beyond it skips whole numbers
_NOT_MEASURED = {"test_loss", "test_accuracy"}  # NaN where there was no test set
_LONGEST_NAME = 80  # in a configuration; error messages print it


class About(NamedTuple):
    """What a snapshot says besides its arrays."""

    steps: int  # of the optimiser
    position: Position
    config: dict[str, Any]  # of the run


def write_about(about: About) -> dict[str, Any]:
    """Return `about` as JSON."""
    position = about.position._asdict() | {"history": [epoch.record() for epoch in about.position.history]}
    return about._asdict() | {"format": _FORMAT, "position": position}


def read_about(given: dict[str, Any]) -> About:
    """Return what `write_about` was given.

    Raises:
        ValueError: a name, a type or a number is not what a run could have left.

    Example:
        >>> read_about({"format": 1, "steps": 5, "position": {"epoch": 2}, "config": {"seed": 0}}).position.epoch
        2
        >>> read_about({"format": 1, "steps": -5, "position": {"epoch": 2}, "config": {"seed": 0}})
        Traceback (most recent call last):
        ...
        ValueError: steps -5
    """
    if given.keys() != _NAMES:
        raise ValueError(f"the names {shown(sorted(given))} instead of {sorted(_NAMES)}")
    if _count("format", given["format"], 0) != _FORMAT:
        raise ValueError(f"format {given['format']}")
    config = given["config"]
    if not isinstance(config, dict) or not all(len(name) <= _LONGEST_NAME and name.isprintable() for name in config):
        raise ValueError(f"config {shown(config)}")
    return About(_count("steps", given["steps"], 0), _position(given["position"]), config)


def check_place(position: Position, done: int, epochs: int, steps: int) -> None:
    """Check that a run of `epochs` epochs of `steps` steps, which began with an optimiser of its own, was once there.

    Args:
        position: where it says it stood.
        done: how many steps its optimiser says it had done.
        epochs: of the run.
        steps: of an epoch.

    Raises:
        DataError: it never was there.

    Example:
        >>> check_place(Position(epoch=1, step=3), 3, epochs=20, steps=938)
    """
    epoch, step, history = position.epoch, position.step, position.history
    if epoch > epochs + (step == 0) or step > steps or done != (epoch - 1) * steps + step:
        raise DataError(
            f"snapshot: got epoch {epoch}, step {step} and {done} steps in all; expected a place in {epochs} epochs of "
            f"{steps} steps; give a snapshot of this run"
        )
    if len(history) != epoch - 1:
        raise DataError(
            f"snapshot: got figures of {len(history)} epochs in epoch {epoch}; expected one for each that is done; "
            "give a snapshot of this run"
        )


def _position(given: Any) -> Position:
    fields = _fields("position", given, Position)
    history = fields.get("history", [])
    if not isinstance(history, list):
        raise ValueError(f"history {shown(history)}")
    epochs = tuple(_epoch(epoch) for epoch in history)
    position = Position(
        _count("epoch", fields.get("epoch", 1), 1),
        _count("step", fields.get("step", 0), 0),
        _sums(fields.get("sums", [0.0, 0.0, 0.0])),
        _number("seconds", fields.get("seconds", 0.0), 0.0),
        epochs,
    )
    if position.sums[2] != position.step:
        raise ValueError(f"{position.sums[2]:g} losses added up in {position.step} steps")
    behind = position.epoch - len(epochs)  # a history may begin late, but has no gap
    if epochs and [epoch.epoch for epoch in epochs] != list(range(behind, position.epoch)):
        raise ValueError(f"a history of epochs {shown([epoch.epoch for epoch in epochs])} in epoch {position.epoch}")
    return position


def _sums(given: Any) -> tuple[float, ...]:
    if not isinstance(given, list) or len(given) != 3:
        raise ValueError(f"sums {shown(given)}")
    loss, right, finite = given
    return _number("loss", loss), _number("right answers", right, 0.0), _number("finite losses", finite, 0.0)


def _epoch(given: Any) -> Epoch:
    fields = _fields("an epoch", given, Epoch)
    return Epoch(**{name: _figure(name, value) for name, value in fields.items()})


def _figure(name: str, value: Any) -> Any:
    if name == "epoch":
        return _count(name, value, 1)
    if value is None and Epoch._field_defaults.get(name, 0) is None:
        return None
    if name in _NOT_MEASURED and isinstance(value, float) and math.isnan(value):
        return value
    if name.endswith("accuracy"):
        return _number(name, value, 0.0, 1.0)
    return _number(name, value, 0.0 if "second" in name else -math.inf)


def _fields(what: str, given: Any, kind: type[Position] | type[Epoch]) -> dict[str, Any]:
    """Return `given`, whose names are fields of `kind` and all of them that have no default."""
    names, needed = set(kind._fields), set(kind._fields) - set(kind._field_defaults)
    if not isinstance(given, dict) or not needed <= given.keys() <= names:
        raise ValueError(f"{what} {shown(given)}")
    return given


def _count(name: str, value: Any, at_least: int) -> int:
    if type(value) is not int or not at_least <= value <= _MOST:  # JSON's true is a bool, which is an int
        raise ValueError(f"{name} {shown(value)}")
    return value


def _number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    if type(value) in (int, float) and low <= value <= high and abs(value) <= 1e300 and float(value) == value:
        return float(value)
    raise ValueError(f"{name} {shown(value)}")
