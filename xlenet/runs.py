"""The folder of a training run: configuration, figures of each epoch, the model, pictures."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from .checkpoint import save_model
from .errors import OutputError
from .files import write_bytes_atomically
from .layers import Layer
from .metrics import confusion_matrix
from .plotting import plot_confusion, plot_curves
from .training import Epoch

_FILES = ("config.json", "metrics.jsonl", "model.safetensors", "curves.png", "confusion.png")


def new_run_folder() -> Path:
    """Return a folder name that says when the run began, such as ``runs/2026-01-31_12-00-00``."""
    return Path("runs") / time.strftime("%Y-%m-%d_%H-%M-%S")


class RunFolder:
    """Writes what a run leaves behind, as soon as it is known.

    Making one makes the folder, or empties it of an earlier run's files, so that what cannot be written is known before
    the training and not after it.

    Args:
        path: the folder.
        config: everything that decides how the run goes, as JSON.

    Raises:
        OutputError: the folder or a file in it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], config: dict[str, Any]) -> None:
        self.path = Path(path)
        self.history: list[dict[str, Any]] = []
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name in _FILES:
                (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"run folder: got {str(self.path)!r} ({error.strerror}); expected a folder that can be written; "
                "choose another --out"
            ) from error
        write_bytes_atomically(
            self.path / "config.json", (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()
        )
        write_bytes_atomically(self.path / "metrics.jsonl", b"")

    def add_epoch(self, epoch: Epoch) -> None:
        """Add a line to metrics.jsonl."""
        self.history.append(epoch._asdict())
        lines = "".join(json.dumps(record) + "\n" for record in self.history)
        write_bytes_atomically(self.path / "metrics.jsonl", lines.encode())

    def save_model(self, model: Layer, about: dict[str, Any]) -> None:
        """Write model.safetensors."""
        save_model(self.path / "model.safetensors", model, about)

    def draw(self, labels: Any, predictions: Any, class_names: tuple[str, ...], title: str) -> None:
        """Draw curves.png and confusion.png."""
        plot_curves(self.history, self.path / "curves.png", title=title)
        matrix = confusion_matrix(labels, predictions, len(class_names))
        plot_confusion(matrix, class_names, self.path / "confusion.png", title=title)
