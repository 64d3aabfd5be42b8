"""MNIST and its kin, from the disk or from a mirror, checked before use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..backend import Array
from ..checks import check_callable, check_kind, check_path, check_texts, number
from ..errors import DataError, DataNotFoundError, OutputError
from ..files import read_at_most, remove_leftovers, write_bytes_atomically
from .addresses import objection, without_secrets
from .datafile import DataFile, verified_array
from .dataset import Dataset
from .location import default_data_dir, is_offline, places
from .packing import is_packed
from .registry import MNIST, SOURCES, Source

if TYPE_CHECKING:
    from .download import Progress

# Seconds after which a half-written file is nobody's any more; another process writes its own in seconds.
_ABANDONED = 3600.0


def load_mnist(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    source: Source = MNIST,
    mirrors: Sequence[str] | None = None,
    timeout: float = 4.0,
    progress: Progress | None = None,
) -> Dataset:
    """Return MNIST, or another data set of four IDX files.

    Each file is looked for, as .gz or plain, in ``DIR/<name>``, in torchvision's ``DIR/MNIST/raw`` (or
    ``DIR/FashionMNIST/raw``) and in ``DIR`` itself. One that is nowhere is downloaded to ``DIR/<name>``. Each is
    checked against its known digest before use.

    Args:
        data_dir: the folder DIR; None is `default_data_dir`.
        source: which data set, of `xlenet.data.registry`.
        mirrors: https addresses of folders to download from, in the order of asking, or http ones on this machine; None
            is the data set's own list, an empty list means never to download. With ``XLENET_OFFLINE`` set none is
            asked.
        timeout: seconds without an answer, or without a byte, after which a mirror is given up.
        progress: called while downloading with a file's name, the bytes so far, and the bytes in all or None.

    Returns:
        The data set: x (N, 1, 28, 28), y (N,). The images are read-only.

    Raises:
        DataNotFoundError: a file is not on disk and no mirror gave it.
        DataError: a file on disk is not what it should be.
        OutputError: a downloaded file cannot be saved.
        TypeError: an argument is of another kind.
        ValueError: a mirror is no https address, nor one of this machine; or `timeout` is not above 0.

    References:
        Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document recognition, 1998.
        H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking, 2017.
    """
    check_kind("load_mnist", "source", source, Source, "a Source of xlenet.data.registry")
    timeout = number("load_mnist", "timeout", timeout, 0.0, above=True)
    if data_dir is not None:
        check_path("load_mnist", data_dir, "data_dir")
    if mirrors is not None:
        check_texts("load_mnist", "mirrors", mirrors)
    if progress is not None:
        check_callable("load_mnist", "progress", progress)
    asked = list(source.mirrors if mirrors is None else mirrors)
    for mirror in asked:
        if reason := objection(mirror):
            raise ValueError(
                f"load {source.name}: got the mirror {without_secrets(mirror)!r}, {reason}; expected a list of https "
                "addresses, or of http ones on this machine (localhost, 127.x.x.x, [::1]); give folders that hold the "
                ".gz files"
            )
    folder = default_data_dir() if data_dir is None else Path(data_dir)
    download = partial(_download, folder, source, mirrors=asked, timeout=timeout, progress=progress)
    arrays = []
    for file in source.files:
        array = _from_disk(folder, source, file)
        arrays.append(download(file) if array is None else array)
    x_train, y_train, x_test, y_test = arrays
    labels = (y_train.astype(np.int64), y_test.astype(np.int64))
    return Dataset(source.name, x_train[:, None], labels[0], x_test[:, None], labels[1], source.class_names)


def _from_disk(folder: Path, source: Source, file: DataFile) -> Array | None:
    """Return the first file found, checked; None where there is none."""
    for place in places(folder, source.name, source.torchvision_name):
        for path in (place / f"{file.name}.gz", place / file.name):
            if not os.path.isfile(path):  # unlike Path.is_file, this never raises
                continue
            try:
                return verified_array(read_at_most(path, file.packed_limit), file)
            except DataError as error:
                if place == folder and _is_known(path, file.name):
                    continue
                raise DataError(
                    f"load {source.name}: got {str(path)!r}, which is damaged or another file ({error}); expected the "
                    "original; delete it or move it away, so that it can be downloaded again, or name another folder "
                    "with data_dir (--data-dir, XLENET_DATA_DIR)"
                ) from error
    return None


def _is_known(path: Path, name: str) -> bool:
    """Say whether `path` is the file `name` of any data set: MNIST and Fashion-MNIST have the same file names."""
    return any(is_original(path, file) for source in SOURCES.values() for file in source.files if file.name == name)


def is_original(path: Path, file: DataFile) -> bool:
    """Say whether `path` is this file of a known data set, plain or packed, by its digest."""
    try:
        verified_array(read_at_most(path, file.packed_limit), file)
    except DataError:
        return False
    return True


def _download(
    folder: Path, source: Source, file: DataFile, *, mirrors: list[str], timeout: float, progress: Progress | None
) -> Array:
    name = f"{file.name}.gz"
    looked = ", ".join(str(place) for place in places(folder, source.name, source.torchvision_name))
    if is_offline():
        raise DataNotFoundError(
            f"load {source.name}: got no {file.name} (nor .gz) in {looked}, and XLENET_OFFLINE is set, so that no "
            "mirror was asked; expected it in one of these folders; put the files there, name another folder with "
            "data_dir (--data-dir, XLENET_DATA_DIR), or unset XLENET_OFFLINE"
        )
    # Imported when needed: urllib and the TLS library behind it slow down a start that downloads nothing.
    from .download import MirrorError, fetch_from_mirrors

    check = partial(verified_array, file=file, require_sha256=True)
    try:
        data, array = fetch_from_mirrors(
            mirrors, name, check, max_bytes=file.packed_limit, timeout=timeout, progress=progress
        )
    except MirrorError as error:
        raise DataNotFoundError(
            f"load {source.name}: got no {file.name} (nor .gz) in {looked}, and none from the mirrors ({error}); "
            "expected it in one of these folders or from a mirror; connect to the network, put the files there, or "
            "name another folder with data_dir (--data-dir, XLENET_DATA_DIR) or other mirrors with mirrors="
        ) from error
    _save(folder / source.name / (name if is_packed(data) else file.name), data)
    return array


def _save(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(path, data)
        remove_leftovers(path.parent, older_than=_ABANDONED)
    except OSError as error:
        # Windows does not replace a file that another process reads: that one was quicker, and its file serves.
        if not os.path.isfile(path):
            raise OutputError(
                f"load: got a download that cannot be saved as {str(path)!r} ({error.__cause__ or error}); expected a "
                "folder to write to; make room or rights, or name another with data_dir (--data-dir, XLENET_DATA_DIR)"
            ) from error
