"""What a training run has left in its folder, read by somebody who was not there: nothing of it is believed unseen."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .errors import DataError, DataNotFoundError, shown
from .files import read_at_most
from .runs import MOST_CONFIG_BYTES
from .snapshots import Snapshot, Snapshots
from .strictjson import parse_json

_MOST_METRICS_BYTES, _MOST_EPOCHS = 16 << 20, 20_000
_LARGEST = 1e300


class Record(NamedTuple):
    """What is known of a run.

    Attributes:
        path: its folder.
        config: everything that decided how it went.
        history: the epochs so far, the objects of metrics.jsonl; empty before the first has ended.
        snapshot: the newest, where the run has not left its model yet; None where it has, or there is none.
    """

    path: Path
    config: dict[str, Any]
    history: tuple[dict[str, float], ...]
    snapshot: Snapshot | None


def read_record(path: str | os.PathLike[str]) -> Record:
    """Read the folder of a run that has ended, was interrupted, or is under way.

    Raises:
        DataNotFoundError: there is no such folder, or no run in it.
        DataError: what is there is damaged, or no run of xlenet has left it.
    """
    folder = Path(path)
    if not os.path.isdir(folder):
        kind = DataError if os.path.lexists(folder) else DataNotFoundError
        raise kind(
            f"run folder: got {str(path)!r}, which is {'no folder' if kind is DataError else 'not there'}; expected "
            "the folder of a run; name the one that training wrote to, such as runs/2026-01-31_12-00-00"
        )
    config = _read_config(folder / "config.json")
    snapshot = None
    if not os.path.lexists(folder / "model.safetensors"):
        snapshot = Snapshots(folder / "snapshots").newest()
    history = _read_metrics(folder / "metrics.jsonl")
    if not history and snapshot is not None:
        history = tuple(epoch.record() for epoch in snapshot.position.history)
    return Record(folder, config, history, snapshot)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = parse_json(read_at_most(path, MOST_CONFIG_BYTES, "run folder"))
        if not isinstance(config, dict) or not isinstance(config["versions"]["xlenet"], str):
            raise ValueError("it does not say which version of xlenet wrote it")
    except DataError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"run folder: got {str(path)!r} ({error}); expected the configuration of a run of xlenet; name the folder "
            "that training wrote to"
        ) from error
    return config


def _read_metrics(path: Path) -> tuple[dict[str, float], ...]:
    """Return the epochs; of a file that is not there, none."""
    try:
        lines = read_at_most(path, _MOST_METRICS_BYTES, "run folder").splitlines()
    except DataNotFoundError:
        return ()
    try:
        if len(lines) > _MOST_EPOCHS:
            raise ValueError(f"{len(lines):,} lines")
        epochs = tuple(_epoch(parse_json(line, nan=True)) for line in lines)
        _check_held_out(epochs)
        return epochs
    except ValueError as error:
        raise DataError(
            f"run folder: got {str(path)!r} ({error}); expected a line of JSON for each epoch, as training writes "
            "them; train once more, or name another run"
        ) from error


def _epoch(row: Any) -> dict[str, float]:
    wanted = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
    if not isinstance(row, dict) or not all(name in row for name in wanted):
        raise ValueError(f"an epoch without {', '.join(wanted)}: {shown(row)}")
    for name, value in row.items():
        known = isinstance(value, int | float) and not isinstance(value, bool)
        if not known or (isinstance(value, int) and abs(value) > _LARGEST):  # float() would overflow
            raise ValueError(f"{shown(name)} {shown(value)} in an epoch")
    if not 0 <= row["epoch"] <= 1e9:
        raise ValueError(f"epoch {shown(row['epoch'])}")
    for name, value in row.items():
        below, above = value < 0 and name.endswith("_loss"), not 0 <= value <= 1 and name.endswith("_accuracy")
        if math.isfinite(value) and (below or above):
            raise ValueError(f"{shown(name)} {shown(value)} in an epoch")
    return {name: math.nan if not math.isfinite(value) else value for name, value in row.items()}


def _check_held_out(epochs: Sequence[dict[str, float]]) -> None:
    """Figures of the images held out are in all epochs or in none, loss and accuracy both."""
    wanted = {"validation_loss", "validation_accuracy"}
    if any(row.keys() & wanted != epochs[0].keys() & wanted or len(row.keys() & wanted) == 1 for row in epochs):
        raise ValueError(f"{' and '.join(sorted(wanted))} not in all epochs")


def differences(records: Sequence[Record]) -> list[str]:
    """Return of each run what is not the same in all their configurations, in words.

    Example:
        >>> runs = [Record(Path(), {"lr": lr, "seed": 0, "model": {"classes": 10}}, (), None) for lr in (0.1, 0.2)]
        >>> differences(runs)
        ['lr 0.1', 'lr 0.2']
    """
    flat = [dict(_flattened("", record.config)) for record in records]
    names = [name for name in sorted({name for one in flat for name in one}) if name not in _FOLLOW]
    differ = [name for name in names if any(one.get(name) != flat[0].get(name) for one in flat)]
    return [", ".join(f"{name} {_said(one.get(name))}" for name in differ) for one in flat]


_FOLLOW = ("data_digest", "model.class_names", "versions.python")  # from others, or of no account


def _flattened(prefix: str, config: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return names with dots and what is there; deeper than two floors nothing is looked at."""
    found: list[tuple[str, Any]] = []
    for name, value in config.items():
        full = f"{prefix}{name}"
        found += _flattened(f"{full}.", value) if isinstance(value, dict) and not prefix else [(full, value)]
    return found


def _said(value: Any) -> str:
    if value is None:
        return "none"
    return shown(value).strip("'")
