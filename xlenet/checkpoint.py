"""A model in a file: safetensors, with PyTorch's names and layouts, and how to normalise images in its metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .backend import Array, to_host
from .checks import as_json, check_kind, check_path
from .errors import DataError, DataNotFoundError, MissingExtraError
from .files import write_bytes_atomically
from .layers import Layer

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
    write_bytes_atomically(path, _safetensors().save(host, metadata={_KEY: json.dumps(about, sort_keys=True)}))


def load_model(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `save_model` wrote, or what another program wrote as safetensors.

    Returns:
        The arrays by name, on the host, for `Layer.load_state_dict`; and `about` (empty for another program's file).

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is no safetensors file.
        MissingExtraError: safetensors is not installed.
    """
    return load_arrays(path, "load_model")


def load_arrays(
    path: str | os.PathLike[str], operation: str = "load_snapshot"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `save_arrays` wrote; errors are those of `operation`."""
    check_path(operation, path)
    safetensors = _safetensors()
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise DataNotFoundError(
            f"{operation}: got {os.fspath(path)!r} ({error.strerror}); expected a readable file; check the path"
        ) from error
    try:
        state = safetensors.load(data)
        about = dict(json.loads(_metadata(data).get(_KEY, "{}")))
    except Exception as error:  # safetensors has an exception of its own for some faults, and Python's for others
        raise DataError(
            f"{operation}: got {os.fspath(path)!r} ({error}); expected a safetensors file; it is damaged or of "
            "another kind"
        ) from error
    return state, about


def _metadata(data: bytes) -> dict[str, str]:
    """The header is a little-endian length and as many bytes of JSON; safetensors has checked it by now."""
    length = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return metadata


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingExtraError('checkpoint: safetensors is not installed; pip install "xlenet[train]"') from error
    return safetensors.numpy
