"""Where data files are: the folder, the places in it, and whether they may come from elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..errors import DataNotFoundError


def default_data_dir() -> Path:
    """Return the folder of the data: ``XLENET_DATA_DIR`` where that is set, else ``xlenet`` in the user's cache folder.

    The environment is asked at each call. The folder need not exist.

    Raises:
        DataNotFoundError: the variable is not set, and the user has no home folder.
    """
    configured = os.environ.get("XLENET_DATA_DIR")
    try:
        return Path(configured).expanduser() if configured else _cache_folder() / "xlenet"
    except RuntimeError as error:  # what pathlib raises for a user without a home, as in some containers
        raise DataNotFoundError(
            f"data folder: got no home folder ({error}); expected one, for the cache in it; set XLENET_DATA_DIR"
        ) from error


def _cache_folder() -> Path:
    if sys.platform == "win32":
        return _from_environment("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return _from_environment("XDG_CACHE_HOME") or Path.home() / ".cache"


def _from_environment(variable: str) -> Path | None:
    path = Path(os.environ.get(variable, ""))
    return path if path.is_absolute() else None  # the XDG rules: ignore a relative path


def is_offline() -> bool:
    """Return whether the network is never to be asked: ``XLENET_OFFLINE`` is set, and not to 0, off, no or false.

    Any other word counts as a wish for quiet, since the opposite mistake could not be taken back.
    """
    return os.environ.get("XLENET_OFFLINE", "").strip().lower() not in ("", "0", "off", "no", "false")


def places(folder: Path, source_name: str, torchvision_name: str) -> list[Path]:
    """Return the folders in which the files of one data set may lie, in the order of looking.

    The bare `folder` comes last: there, files of another data set may have the same names.

    Args:
        folder: the data folder.
        source_name: name of the data set, and of the folder that downloads go to.
        torchvision_name: name of the folder that torchvision makes for it.

    Example:
        >>> [place.as_posix() for place in places(Path("data"), "mnist", "MNIST")]
        ['data/mnist', 'data/MNIST/raw', 'data']
    """
    return [folder / source_name, folder / torchvision_name / "raw", folder]
