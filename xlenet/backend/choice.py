"""The library and the device for new arrays: chosen by name, in code or in the environment, and known to work."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any, NamedTuple

from ..errors import BackendError
from . import gpu
from .libraries import LIBRARIES, Array, Namespace, library_of

_logger = logging.getLogger("xlenet")


class Backend(NamedTuple):
    """A library and one of its devices, as in ``cupy:1``; None is the device that is current."""

    xp: Namespace
    device: int | None = None

    @property
    def name(self) -> str:
        """The name that `resolve_backend` takes."""
        return str(self.xp.__name__) if self.device is None else f"{self.xp.__name__}:{self.device}"


_chosen: ContextVar[Backend | None] = ContextVar("xlenet_backend", default=None)


def default_namespace() -> Namespace:
    """Return the library in which new parameters are made: `use_backend`, else ``XLENET_BACKEND``, else NumPy."""
    return default_backend().xp


def default_backend() -> Backend:
    """Return the library and device in which new parameters are made."""
    return _chosen.get() or resolve_backend(os.environ.get("XLENET_BACKEND") or "numpy")


@contextlib.contextmanager
def use_backend(name: str | Backend | Namespace) -> Iterator[Namespace]:
    """Make new arrays with the library `name` inside the ``with`` block, and make its device current.

    Args:
        name: ``numpy``, ``cupy``, ``cupy:1`` (the second GPU), ``auto`` (CuPy where it works, else NumPy); or a module.

    Raises:
        BackendError: the library cannot be used here. Only ``auto`` ever falls back to another one.

    Example:
        >>> with use_backend("numpy") as xp:
        ...     xp.__name__
        'numpy'
    """
    backend = as_backend(name)
    token = _chosen.set(backend)
    try:
        with current(backend):
            yield backend.xp
    finally:
        _chosen.reset(token)


def as_backend(name: str | Backend | Namespace) -> Backend:
    """Return `name` as a `Backend` that is known to work: see `use_backend`."""
    if isinstance(name, Backend):
        return name
    if not isinstance(name, str | ModuleType):
        raise TypeError(
            f"backend: got {name!r}; expected a name such as numpy, cupy, cupy:<device number> or auto, or a module; "
            "pass one of them"
        )
    return resolve_backend(name)


@functools.cache  # asking the driver takes milliseconds, and a fallback is reported once
def resolve_backend(name: str) -> Backend:
    """Turn a name such as ``cupy:1`` into a `Backend` that is known to work.

    Raises:
        BackendError: no such library, no such device, or the library does not work here; the message says what to do.
    """
    library, _, index = str(getattr(name, "__name__", name)).strip().lower().partition(":")
    if library == "auto" and not index:
        return _first_that_works()
    if library not in LIBRARIES or (index and not index.isdecimal()) or (library == "numpy" and index not in ("", "0")):
        near = difflib.get_close_matches(library, ("numpy", "cupy", "auto"), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "choose one of these"
        raise BackendError(f"backend: got {name!r}; expected numpy, cupy, cupy:<device number> or auto; {hint}")
    if library == "cupy":
        gpu.check_wheels()
    backend = Backend(_import(library), int(index) if index and library != "numpy" else None)
    if library == "cupy":
        gpu.check_version(backend.xp)
        gpu.check_devices(backend.xp, backend.name, backend.device or 0)
        _check_computes(backend)
    return backend


def _first_that_works() -> Backend:
    try:
        return resolve_backend("cupy")
    except BackendError as reason:
        _logger.warning("backend auto uses NumPy: %s", reason)
        return resolve_backend("numpy")


def unused_gpu(asked_for: str | None) -> str:
    """Return a line about a GPU that would be used if anybody had asked for it; nothing if there is none, or somebody
    has chosen a backend: in `asked_for` or in the environment.

    Where CuPy is not installed, nobody is asked: CPU-only machines lose no time.
    """
    if asked_for or os.environ.get("XLENET_BACKEND"):
        return ""
    if "cupy" not in sys.modules and importlib.util.find_spec("cupy") is None:
        return ""
    try:
        backend = resolve_backend("cupy")
    except BackendError:
        return ""
    name = backend.xp.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return f"note: {name} is not used; --backend cupy, or XLENET_BACKEND=cupy, trains on it"


def _import(library: str) -> Namespace:
    try:
        return importlib.import_module(library)
    except (Exception, SystemExit) as error:  # a package that does not fit its dependencies fails in ways of its own
        if library == "cupy":
            raise gpu.not_imported(error) from error
        raise BackendError(
            f"backend {library}: got a package that does not import ({gpu.in_a_line(error)}); expected a working "
            f"{library}; pip install {library}"
        ) from error


def _check_computes(backend: Backend) -> None:
    """A wheel without CUDA's libraries imports, counts devices, and fails in its first kernel: run two now."""
    xp = backend.xp
    with current(backend):
        try:
            ones = xp.ones((2, 2), dtype=xp.float32)
            xp.matmul(ones + ones, ones).get()
        except Exception as error:  # of CuPy, of the driver, or of a library that is not there
            raise gpu.cannot_compute(xp, backend.name, error) from error


def backend_of(array: Array) -> Backend:
    """Return the library and the device of `array`, to make others beside it.

    Example:
        >>> import numpy as np
        >>> backend_of(np.zeros(3)).name
        'numpy'
    """
    xp = library_of(array)
    if xp.__name__ == "cupy":
        return Backend(xp, int(array.device.id))
    if xp.__name__ == "array_api_strict":
        number = str(array.device).rpartition("device")[2].strip("')")
        return Backend(xp, int(number) if number.isdecimal() else None)
    return Backend(xp)


def memory_in_use(backend: Backend) -> str:
    """Return how full the memory of a GPU is, to be put behind another text; nothing for the host."""
    if backend.xp.__name__ != "cupy":
        return ""
    with current(backend):
        return gpu.memory_in_use(backend.xp)


def current(backend: Backend) -> contextlib.AbstractContextManager[Any]:
    """Make the device of `backend` the current one inside a ``with`` block."""
    if backend.xp.__name__ == "cupy" and backend.device is not None:
        device: contextlib.AbstractContextManager[Any] = backend.xp.cuda.Device(backend.device)
        return device
    return contextlib.nullcontext()
