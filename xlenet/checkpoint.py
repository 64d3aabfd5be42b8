"""A model in a file: safetensors, with PyTorch's names and layouts, and how to normalise images in its metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from .backend import Array, to_host
from .checks import as_json, check_kind, check_path, integer
from .errors import DataError, MissingExtraError, OutputError, shown
from .files import open_regular, write_bytes_atomically
from .layers import Layer
from .safetensors_header import MOST_HEADER_BYTES, Entry, read_header
from .strictjson import parse_json

MAX_BYTES = 1 << 30  # of a file to load, unless told otherwise: four thousand times LeNet-5
_KEY = "xlenet"


def save_model(path: str | os.PathLike[str], model: Layer, about: dict[str, Any]) -> None:
    """Write all parameters and buffers of `model` to `path`.

    Equal weights and equal `about` give equal bytes: nothing of the time or the machine goes in.

    Args:
        path: the file to write; it is replaced in one step or not at all.
        model: whose `state_dict` to save.
        about: what a reader must know besides, as JSON: the normalisation of the images, the architecture.

    Raises:
        TypeError: an argument is of another kind, or JSON cannot hold `about`.
        OutputError: the file cannot be written.
        MissingExtraError: safetensors is not installed.

    Example:
        >>> import tempfile
        >>> from xlenet import Linear
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_model(folder + "/m.safetensors", Linear(3, 2, rng=0), {"classes": 2})
        ...     state, about = load_model(folder + "/m.safetensors")
        >>> sorted(state), about
        (['bias', 'weight'], {'classes': 2})
    """
    check_path("save_model", path)
    check_kind("save_model", "model", model, Layer, "a Layer")
    as_json("save_model", "about", about)
    save_arrays(path, model.state_dict(), about)


def save_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Array], about: dict[str, Any]) -> None:
    """Write `arrays` of any library, and `about` as JSON in the metadata, in one step or not at all."""
    # safetensors writes the wrong numbers for an array that is not C-contiguous, and says nothing.
    host = {name: np.ascontiguousarray(to_host(array)) for name, array in arrays.items()}
    # One key: the order of several would differ from file to file.
    data = _safetensors().save(host, metadata={_KEY: json.dumps(about, sort_keys=True)})
    if (header := int.from_bytes(data[:8], "little")) > MOST_HEADER_BYTES:
        raise OutputError(
            f"save: got names and words about the arrays of {header:,} bytes; expected at most {MOST_HEADER_BYTES:,}, "
            "which can be loaded again; leave something out"
        )
    write_bytes_atomically(path, data)


def load_model(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `save_model` wrote, or what another program wrote as safetensors.

    Nothing in the file is ever executed, and nothing that it says about itself is believed before it has been compared
    with the file's size. Needs no package but NumPy.

    Args:
        path: the file.
        max_bytes: size beyond which it is refused, unread.

    Returns:
        The arrays by name, on the host, for `Layer.load_state_dict`; and `about` (empty for another program's file).

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is no safetensors file, larger than `max_bytes`, or has numbers of a type that NumPy has not, such
            as BF16.
        TypeError, ValueError: an argument is of another kind, or `max_bytes` below 0.
    """
    return load_arrays(path, "load_model", integer("load_model", "max_bytes", max_bytes, 0))


def load_arrays(
    path: str | os.PathLike[str], operation: str = "load_snapshot", max_bytes: int = MAX_BYTES
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `save_arrays` wrote; errors are those of `operation`."""
    check_path(operation, path)
    with open_regular(path, max_bytes, operation) as (file, size):
        try:
            return read_arrays(file, size)
        except (ValueError, MemoryError) as error:
            raise DataError(
                f"{operation}: got {os.fspath(path)!r} ({error}); expected a safetensors file; it is damaged or of "
                "another kind"
            ) from error


def read_arrays(file: BinaryIO, size: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read `size` bytes from an open file; what is wrong with them is a ValueError.

    The package safetensors would have to be handed the whole file, takes of a name that comes twice the second, and
    raises a dozen kinds of errors. It writes the files, and the tests ask it for a second opinion.
    """
    entries, metadata = read_header(file, size)
    about = parse_json(metadata.get(_KEY, "{}").encode(), nan=True)
    if not isinstance(about, dict):
        raise ValueError(f"{shown(about)} about the model")
    return {entry.name: _read_array(file, entry) for entry in entries}, about


def _read_array(file: BinaryIO, entry: Entry) -> Any:
    array: Any = np.empty(entry.shape, entry.dtype)
    there = array.reshape(-1).view(np.uint8)
    if file.readinto(there) != there.size:  # type: ignore[attr-defined]
        raise ValueError("a size that changes while it is read")
    if entry.dtype == "|b1" and there.size and there.max() > 1:
        raise ValueError(f"{shown(entry.name)} with truth values that are neither 0 nor 1")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingExtraError(
            f'checkpoint: got no usable safetensors ({error}); expected it to write a file; pip install "xlenet[train]"'
        ) from error
    return safetensors.numpy
