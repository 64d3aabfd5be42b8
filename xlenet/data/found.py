"""Where the data sets that are known by name lie on this machine, for whoever wants to know before training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError, DataNotFoundError
from .location import places
from .mnist import load_mnist
from .registry import SOURCES


class Found(NamedTuple):
    """Where a data set is, or why it cannot be used.

    Attributes:
        name: of the data set.
        folder: in which it lies, whole and undamaged; None where it does not.
        looked: the folders that were looked at, in this order.
        damage: what is wrong with files that are there; empty where they are right, or not there.
    """

    name: str
    folder: Path | None
    looked: tuple[Path, ...]
    damage: str = ""


def find(name: str, folder: Path) -> Found:
    """Look for the data set `name` in the data folder `folder`, and check every byte; nothing is downloaded.

    Args:
        name: of one of the data sets in `SOURCES`.
        folder: the data folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as empty:
        ...     find("mnist", Path(empty)).folder is None
        True
    """
    source = SOURCES[name]
    looked = tuple(places(folder, source.name, source.torchvision_name))
    try:
        load_mnist(folder, source=source, mirrors=[])
    except DataNotFoundError:
        return Found(name, None, looked)
    except DataError as error:
        return Found(name, None, looked, str(error))
    first = source.files[0].name
    there = (place for place in looked if any(os.path.isfile(place / f"{first}{end}") for end in (".gz", "")))
    return Found(name, next(there), looked)
