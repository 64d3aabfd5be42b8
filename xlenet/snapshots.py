"""A training run in a file, so that it can go on after whatever ended it: model, optimiser, and where it stood.

A snapshot is a safetensors file in the run's folder ``snapshots``, named after the steps that are done. Nothing in it
is ever executed. The newest few are kept, and the newest that is whole is the one to go on from.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .backend import Array
from .checkpoint import load_arrays, save_arrays
from .checks import as_json, check_kind, check_path
from .errors import DataError, OutputError, shown
from .files import remove_leftovers
from .layers import Layer
from .optim import Optimizer
from .snapshot_format import About, read_about, write_about
from .training import Position

_MODEL, _OPTIMIZER, _BEST = _GROUPS = "model.", "optimizer.", "best."


class Snapshot(NamedTuple):
    """A run as it stood."""

    model: dict[str, Any]  # arrays by name, on the host
    optimizer: dict[str, Any]
    steps: int  # of the optimiser
    position: Position
    config: dict[str, Any]  # of the run
    best: dict[str, Any] | None = None  # the model after the best epoch so far, where images are held out to choose it


def save_snapshot(
    path: str | os.PathLike[str],
    model: Layer,
    optimizer: Optimizer,
    position: Position,
    config: dict[str, Any],
    best: Mapping[str, Array] | None = None,
) -> None:
    """Write all that is needed to go on.

    Args:
        path: the file; it is written as a whole or not at all.
        model: whose `state_dict` to save.
        optimizer: whose `state_dict` and steps to save.
        position: where training stands.
        config: everything that decides how the run goes, as JSON.
        best: the `state_dict` after the best epoch so far, if there is one.

    Raises:
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from xlenet import SGD, Linear
        >>> model = Linear(3, 2, rng=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_snapshot(folder + "/s.safetensors", model, SGD(model), Position(epoch=2), {"seed": 0})
        ...     snapshot = load_snapshot(folder + "/s.safetensors")
        >>> snapshot.position.epoch, snapshot.config, sorted(snapshot.model)
        (2, {'seed': 0}, ['bias', 'weight'])
    """
    check_path("save_snapshot", path)
    check_kind("save_snapshot", "model", model, Layer, "a Layer")
    check_kind("save_snapshot", "optimizer", optimizer, Optimizer, "an optimiser, such as SGD")
    check_kind("save_snapshot", "position", position, Position, "a Position")
    as_json("save_snapshot", "config", config)
    arrays = {_MODEL + name: array for name, array in model.state_dict().items()}
    arrays |= {_OPTIMIZER + name: array for name, array in optimizer.state_dict().items()}
    arrays |= {_BEST + name: array for name, array in (best or {}).items()}
    save_arrays(path, arrays, write_about(About(optimizer.steps, position, config)))


def load_snapshot(path: str | os.PathLike[str]) -> Snapshot:
    """Read what `save_snapshot` wrote.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is damaged, or something else, or says what cannot be: a run's numbers are finite.
    """
    arrays, given = load_arrays(path)
    try:
        about = read_about(given)
        _check_arrays(arrays)
    except (ValueError, MemoryError) as error:
        raise DataError(
            f"load_snapshot: got {os.fspath(path)!r} ({error}); expected a snapshot of a training run, of this version "
            "of xlenet; give one from a run's folder snapshots"
        ) from error
    return Snapshot(_under(_MODEL, arrays), _under(_OPTIMIZER, arrays), *about, _under(_BEST, arrays) or None)


def _check_arrays(arrays: dict[str, Any]) -> None:
    for name, array in arrays.items():
        if not name.startswith(_GROUPS):
            raise ValueError(f"an array {shown(name)}")
        if not np.isfinite(array).all():
            raise ValueError(f"{shown(name)} with numbers that are not finite")


def _under(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def restore(snapshot: Snapshot, model: Layer, optimizer: Optimizer) -> None:
    """Put a snapshot's arrays into a model and its optimiser, on whichever library they are.

    Raises:
        TypeError: an argument is of another kind.
        DataError: they are not those of such a model, or of such an optimiser; nothing has been changed then.
    """
    check_kind("restore", "snapshot", snapshot, Snapshot, "a Snapshot, which load_snapshot returns")
    check_kind("restore", "model", model, Layer, "a Layer")
    check_kind("restore", "optimizer", optimizer, Optimizer, "an optimiser, such as SGD")
    _check_fit("model", model.state_dict(), snapshot.model)
    if snapshot.best is not None:
        _check_fit("best model", model.state_dict(), snapshot.best)
    _check_fit("optimizer", optimizer.state_dict(), snapshot.optimizer)
    try:
        # Both, before one number is replaced in either.
        weights, slots = model._prepared(snapshot.model), optimizer._prepared(snapshot.optimizer, snapshot.steps)
    except (TypeError, ValueError) as error:
        raise DataError(f"snapshot: {error}") from error
    model._put(weights)
    optimizer._put(*slots)


def _check_fit(what: str, mine: dict[str, Any], given: dict[str, Any]) -> None:
    """Compare names, types and shapes, of which one that differs is enough to say."""
    wanted, came = _kinds(mine), _kinds(given)
    for name in sorted(wanted.keys() | came.keys()):
        if wanted.get(name) != came.get(name):
            raise DataError(
                f"snapshot: got {came.get(name, 'nothing')} as {shown(name)} of the {what}; expected "
                f"{wanted.get(name, 'nothing')}; give a snapshot of this model and this kind of optimiser"
            )


def _kinds(arrays: dict[str, Any]) -> dict[str, str]:
    return {name: f"{str(a.dtype).rpartition('.')[2]} {tuple(a.shape)}" for name, a in arrays.items()}


def _name(steps: int) -> str:
    return f"step-{steps:09}.safetensors"


class Snapshots:
    """The snapshots of a run: a folder that holds the newest few.

    Args:
        folder: made when the first is saved.
        keep: how many.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 3) -> None:
        self.folder, self.keep = Path(folder), keep

    def files(self) -> list[Path]:
        """Return them, the newest first."""
        found = (path for path in self.folder.glob("step-*.safetensors") if path.stem[5:].isdecimal())
        return sorted(found, reverse=True)

    def save(
        self,
        model: Layer,
        optimizer: Optimizer,
        position: Position,
        config: dict[str, Any],
        best: Mapping[str, Array] | None = None,
    ) -> None:
        """Save one, named after the optimiser's steps, and remove those that are too many.

        Raises:
            OutputError: it cannot be written; all that were there still are.
        """
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"snapshots: got {str(self.folder)!r} ({error.strerror}); expected a folder that can be written; "
                "choose another --out"
            ) from error
        save_snapshot(self.folder / _name(optimizer.steps), model, optimizer, position, config, best)
        for old in self.files()[self.keep :]:
            with contextlib.suppress(OSError):  # one too many does no harm
                old.unlink()

    def newest(self) -> Snapshot | None:
        """Return the newest that is whole, since a disk may lose what it said it had; None where there is none at all.

        Raises:
            DataError: there are some, and all of them are damaged.
        """
        files = self.files()
        for path in files:
            with contextlib.suppress(DataError):
                return load_snapshot(path)
        if files:
            raise DataError(
                f"snapshots: got {len(files)} in {str(self.folder)!r}, all of them damaged; expected at least one that "
                "loads; begin anew, without --resume"
            )
        return None

    def forget_after(self, steps: int) -> None:
        """Remove those of more optimiser steps than `steps`: a run that goes on from there will make its own."""
        for path in self.files():
            if path.name > _name(steps):
                path.unlink()
        remove_leftovers(self.folder)

    def clear(self) -> None:
        """Remove them all: another run begins here."""
        for path in self.files():
            path.unlink()
        remove_leftovers(self.folder)
        with contextlib.suppress(OSError):  # it was never made, or somebody else's files are in it
            self.folder.rmdir()
