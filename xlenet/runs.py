"""The folder of a training run: configuration, figures of each epoch, the model, pictures."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .backend import Array
from .checkpoint import save_arrays, save_model
from .data import Images
from .errors import DataError, OutputError
from .files import read_at_most, remove_leftovers, write_bytes_atomically
from .gallery import PICTURES, draw_curves, draw_filters, draw_images
from .layers import Layer
from .snapshots import Snapshots
from .strictjson import parse_json
from .trained import BEST
from .training import Epoch

_FILES = ("config.json", "metrics.jsonl", "model.safetensors", BEST, *PICTURES)
MOST_CONFIG_BYTES = 1 << 20  # a thousand times what a run writes


def new_run_folder() -> Path:
    """Make a folder of this run's own that says when it began, such as ``runs/2026-01-31_12-00-00``.

    Raises:
        OutputError: it cannot be made.
    """
    name = time.strftime("%Y-%m-%d_%H-%M-%S")
    for number in itertools.count(1):
        path = Path("runs") / (name if number == 1 else f"{name}_{number}")
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:  # another run began in the same second
            continue
        except OSError as error:
            raise _unwritable(path, error) from error
    return path


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"run folder: got {str(path)!r} ({error.strerror}); expected a folder that can be written; choose another --out"
    )


def _is_ours(folder: Path, goes_on: bool) -> bool:
    """Whether the files of our names in `folder` are an earlier run's, or there are none. (Whoever goes on with a
    snapshot has read it.)
    """
    snapshots = not goes_on and Snapshots(folder / "snapshots").files()
    if not snapshots and not any(os.path.lexists(folder / name) for name in _FILES):
        return True
    try:
        config = parse_json(read_at_most(folder / "config.json", MOST_CONFIG_BYTES))
        return isinstance(config["versions"]["xlenet"], str)
    except (ValueError, TypeError, KeyError):  # a DataError is a ValueError
        return False


class RunFolder:
    """Writes what a run leaves behind, as soon as it is known.

    Making one makes the folder, or empties it of an earlier run's files, so that what cannot be written is known before
    the training and not after it. Files of the same names that are not an earlier run's are left alone.

    Args:
        path: the folder.
        config: everything that decides how the run goes, as JSON.
        history: epochs of the run that goes on here.
        goes_on_at: the optimiser's steps in a snapshot of this folder: the earlier run's files stay, but for snapshots
            of more steps.
        keep: how many snapshots to keep.

    Raises:
        OutputError: the folder or a file in it cannot be written, or it holds somebody else's files.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        config: dict[str, Any],
        *,
        history: Sequence[Epoch] = (),
        goes_on_at: int | None = None,
        keep: int = 3,
    ) -> None:
        self.path = Path(path)
        self.history = list(history)
        self.snapshots = Snapshots(self.path / "snapshots", keep)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not _is_ours(self.path, goes_on_at is not None):
                raise OutputError(
                    f"run folder: got {str(self.path)!r}, which holds snapshots or files of the names "
                    f"{', '.join(_FILES)} that no run of xlenet has left; expected a new folder or an "
                    "earlier run's; choose another --out"
                )
            self._check_files()
            remove_leftovers(self.path)
            if goes_on_at is not None:
                self.snapshots.forget_after(goes_on_at)
                (self.path / BEST).unlink(missing_ok=True)  # perhaps of a later epoch; the snapshot has the right one
            else:
                self.snapshots.clear()
                for name in reversed(_FILES):  # config.json last: it says that the others are ours
                    (self.path / name).unlink(missing_ok=True)
        except OutputError:
            raise
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._config = (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()
        write_bytes_atomically(self.path / "config.json", self._config)
        self._write_metrics()

    def _check_files(self) -> None:
        """What cannot be removed is told before anything is."""
        for name in _FILES:
            if (self.path / name).is_dir():
                raise OutputError(
                    f"run folder: got {str(self.path / name)!r}, a folder; expected a file or none; choose another "
                    "--out"
                )

    def _check_still_ours(self) -> None:
        """Another run that began in the same folder has put its own configuration there."""
        try:
            taken = read_at_most(self.path / "config.json", len(self._config)) != self._config
        except DataError:  # gone, longer, or no file at all
            taken = True
        if taken:
            raise OutputError(
                f"run folder: got {str(self.path)!r}, which another run has taken over meanwhile; expected it to be "
                "this run's alone; give each run its own --out"
            )

    def add_epoch(self, epoch: Epoch) -> None:
        """Add a line to metrics.jsonl."""
        self._check_still_ours()
        self.history.append(epoch)
        self._write_metrics()

    def _write_metrics(self) -> None:
        lines = "".join(json.dumps(epoch.record()) + "\n" for epoch in self.history)
        write_bytes_atomically(self.path / "metrics.jsonl", lines.encode())

    def save_model(self, model: Layer, about: dict[str, Any]) -> None:
        """Write model.safetensors."""
        self._check_still_ours()
        save_model(self.path / "model.safetensors", model, about)

    def save_best(self, state: Mapping[str, Array], about: dict[str, Any]) -> None:
        """Write best.safetensors: the model after the epoch that did best on the images held out."""
        self._check_still_ours()
        save_arrays(self.path / BEST, state, about)

    def draw(self, model: Layer, test: Images, class_names: tuple[str, ...], title: str) -> str:
        """Draw the pictures: curves, filters, confusion matrix, what each layer makes of an image, mistakes.

        Return which are left out and why; nothing if none is.
        """
        self._check_still_ours()
        draw_curves(self.path, [epoch.record() for epoch in self.history], title)
        if (self.path / BEST).exists():  # which `plot` draws
            title += " (the last epoch's)"
        draw_filters(self.path, model, title)
        return draw_images(self.path, model, test, class_names, title).left_out


_TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "generated": "generated digits"}


def titled(data: str) -> str:
    """Return what a run's pictures are called.

    Example:
        >>> titled("mnist")
        'LeNet-5 on MNIST'
    """
    return f"LeNet-5 on {_TITLES.get(data, data)}"
