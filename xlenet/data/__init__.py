"""Data sets in host memory: MNIST, Fashion-MNIST, digits that the package draws itself; reading IDX files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .dataset import Dataset, hold_out
from .generated import generated_digits
from .handwriting import as_mnist
from .idx import parse_idx, read_idx
from .images import Images, Normalization
from .location import default_data_dir
from .mnist import load_mnist
from .registry import SOURCES

if TYPE_CHECKING:
    from .download import Progress

__all__ = [
    "Dataset",
    "Images",
    "Normalization",
    "as_mnist",
    "default_data_dir",
    "generated_digits",
    "hold_out",
    "load",
    "load_mnist",
    "parse_idx",
    "read_idx",
]


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    mirrors: Sequence[str] | None = None,
    timeout: float = 4.0,
    progress: Progress | None = None,
) -> Dataset:
    """Return the data set `name`.

    Args:
        name: ``mnist``, ``fashion-mnist`` or ``generated``. The last needs no file and none of the other arguments.
        data_dir: folder of the files; None is `default_data_dir`.
        mirrors: addresses to download from, as for `load_mnist`.
        timeout: seconds after which a silent mirror is given up.
        progress: called while downloading, as for `load_mnist`.

    Raises:
        ValueError: there is no data set of that name.
        DataNotFoundError: the files are neither on disk nor reachable.
        DataError: a file on disk is damaged.
        OutputError: a downloaded file cannot be saved.
    """
    if name == "generated":
        return generated_digits()
    if not isinstance(name, str) or name not in SOURCES:
        known = ", ".join((*SOURCES, "generated"))
        raise ValueError(f"load: got {name!r}; expected one of {known}; choose one of these")
    return load_mnist(data_dir, source=SOURCES[name], mirrors=mirrors, timeout=timeout, progress=progress)
