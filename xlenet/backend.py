"""Which array library computes: the only file that knows which ones exist.

The mathematics asks the arrays (`namespace_of`); whoever makes new arrays asks `default_namespace`: the innermost
``with use_backend(...)``, else the environment variable ``XLENET_BACKEND``, else NumPy. ``xp`` is always the library's
own module, never a wrapper. Bytes cross between host and device in `to_host` and `to_device`, and nowhere else.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import logging
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from .errors import BackendError

# An array of whichever library is in use: there is no common base class to name.
Array = Any
Namespace = Any

_LIBRARIES = ("numpy", "cupy", "array_api_strict")  # the last one stands in for a GPU in tests
_logger = logging.getLogger("xlenet")


# ==== the library of an array ====


def namespace_of(*arrays: Array | None) -> Namespace:
    """Return the library that all of `arrays` belong to; None is passed over.

    Raises:
        TypeError: an argument is no array of a known library, two of them are from different libraries, or one lies on
            another GPU than the current one (CuPy would compute with it on the wrong GPU, or crash).

    Example:
        >>> import numpy as np
        >>> namespace_of(np.zeros(3), None) is np
        True
    """
    given = [a for a in arrays if a is not None]
    if not given:
        raise TypeError("namespace_of: got no array; expected at least one; pass the arrays that the result depends on")
    found = [library_of(a) for a in given]
    if any(xp is not found[0] for xp in found[1:]):
        names = ", ".join(dict.fromkeys(xp.__name__ for xp in found))
        raise TypeError(
            f"xlenet: got arrays of {names} in one call; expected one library; "
            "move them with xlenet.to_device(array, like=other) or xlenet.to_host(array)"
        )
    if found[0].__name__ == "cupy":
        _check_current_device(found[0], given)
    return found[0]


def _check_current_device(xp: Namespace, arrays: list[Array]) -> None:
    current = xp.cuda.runtime.getDevice()
    for array in arrays:
        if array.device.id != current:
            raise TypeError(
                f"xlenet: got an array on GPU {array.device.id} while GPU {current} is the current one; expected the "
                f'same; compute inside `with xlenet.use_backend("cupy:{array.device.id}"):`'
            )


def library_of(array: Array) -> Namespace:
    """Return the library that `array` belongs to, on whichever device it lies."""
    return _namespace_of_type(type(array))  # type: ignore[arg-type]  # mypy #14727


@functools.cache  # asked several times in every operation
def _namespace_of_type(kind: type) -> Namespace:
    library = kind.__module__.partition(".")[0]
    if issubclass(kind, np.ndarray | np.generic) and not issubclass(kind, np.matrix | np.ma.MaskedArray):
        return np
    if kind.__name__ in ("ndarray", "Array") and library in _LIBRARIES:
        return importlib.import_module(library)  # loaded already: the caller holds an array of it
    raise TypeError(
        f"xlenet: got a {kind.__module__}.{kind.__qualname__}; expected an array of NumPy or CuPy; "
        "convert it first, for example with numpy.asarray"
    )


# ==== the library for new arrays ====


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
    backend = name if isinstance(name, Backend) else resolve_backend(name)
    token = _chosen.set(backend)
    try:
        with _current(backend):
            yield backend.xp
    finally:
        _chosen.reset(token)


@functools.cache  # asking the driver takes milliseconds, and a fallback is reported once
def resolve_backend(name: str) -> Backend:
    """Turn a name such as ``cupy:1`` into a `Backend` that is known to work.

    Raises:
        BackendError: no such library, no such device, or the library does not work here; the message says what to do.
    """
    library, _, index = str(getattr(name, "__name__", name)).strip().lower().partition(":")
    if library == "auto" and not index:
        return _first_that_works()
    if (
        library not in _LIBRARIES
        or (index and not index.isdecimal())
        or (library == "numpy" and index not in ("", "0"))
    ):
        near = difflib.get_close_matches(library, ("numpy", "cupy", "auto"), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "choose one of these"
        raise BackendError(f"backend: got {name!r}; expected numpy, cupy, cupy:<device number> or auto; {hint}")
    backend = Backend(_import(library), int(index) if index and library != "numpy" else None)
    if library == "cupy":
        _check_version(backend.xp)
        _check_devices(backend)
        _check_computes(backend)
    return backend


def _first_that_works() -> Backend:
    try:
        return resolve_backend("cupy")
    except BackendError as reason:
        _logger.warning("backend auto uses NumPy: %s", reason)
        return resolve_backend("numpy")


def _import(library: str) -> Namespace:
    try:
        return importlib.import_module(library)
    except Exception as error:  # a package that does not fit its dependencies fails in ways of its own
        absent = isinstance(error, ModuleNotFoundError) and error.name == library
        came = "no such package installed" if absent else f"a package that does not import ({error})"
        cure = (
            'pip install "xlenet[cuda13]" (or cuda12, after the driver)'
            if library == "cupy"
            else f"pip install {library}"
        )
        raise BackendError(f"backend {library}: got {came}; expected a working {library}; {cure}") from error


def _check_version(cupy: Namespace) -> None:
    if int(cupy.__version__.partition(".")[0]) < 14:
        raise BackendError(
            f"backend cupy: got CuPy {cupy.__version__}; expected 14 or later, which has the array API's names; "
            'pip install "xlenet[cuda13]" (or cuda12, after the driver)'
        )


def _check_devices(backend: Backend) -> None:
    """CuPy imports without a driver and fails later, in words that help nobody: ask now."""
    runtime = backend.xp.cuda.runtime
    try:
        if runtime.driverGetVersion() == 0:
            raise BackendError(
                "backend cupy: got no NVIDIA driver on this machine; expected one, and a GPU; "
                "install the driver (nvidia-smi then shows the GPU), or choose --backend numpy"
            )
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise BackendError(
            f"backend cupy: got {error}; expected a usable NVIDIA GPU; check that nvidia-smi lists one and that its "
            "CUDA version is not older than the CuPy wheel's, or choose --backend numpy"
        ) from error
    if (backend.device or 0) >= count:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        wanted = f"a number below {count}; choose another device" if count else "a visible GPU; make one visible"
        raise BackendError(
            f"backend {backend.name}: got device {backend.device or 0} of {count} (CUDA_VISIBLE_DEVICES: {visible}); "
            f"expected {wanted}, or --backend numpy"
        )


def _check_computes(backend: Backend) -> None:
    """A wheel without CUDA's libraries imports, counts devices, and fails in its first kernel: run two now."""
    xp = backend.xp
    try:
        with _current(backend):
            ones = xp.ones((2, 2), dtype=xp.float32)
            xp.matmul(ones + ones, ones).get()
    except Exception as error:  # of CuPy, of the driver, or of a library that is not there
        raise BackendError(
            f"backend {backend.name}: got {type(error).__name__} in a first computation ({error}); expected CUDA's "
            'libraries and free memory; pip install "xlenet[cuda13]" (or cuda12, after the driver), or --backend numpy'
        ) from error


# ==== devices ====


def _current(backend: Backend) -> contextlib.AbstractContextManager[Any]:
    if backend.xp.__name__ == "cupy" and backend.device is not None:
        device: contextlib.AbstractContextManager[Any] = backend.xp.cuda.Device(backend.device)
        return device
    return contextlib.nullcontext()


def on_device_of(like: Array) -> contextlib.AbstractContextManager[Any]:
    """Make the device of `like` the current one inside a ``with`` block: CuPy computes and makes arrays there."""
    if library_of(like).__name__ == "cupy":
        device: contextlib.AbstractContextManager[Any] = like.device
        return device
    return contextlib.nullcontext()


def synchronize(like: Array) -> None:
    """Wait until the device of `like` has finished everything asked of it. Returns at once on the CPU."""
    xp = library_of(like)
    if xp.__name__ == "cupy":
        with on_device_of(like):
            xp.cuda.get_current_stream().synchronize()


# ==== new arrays ====


def empty(shape: tuple[int, ...], *, like: Array, dtype: Any = None) -> Array:
    """Return an uninitialised array beside `like`, and of its type unless `dtype` says otherwise."""
    return _new("empty", shape, like, dtype)


def zeros(shape: tuple[int, ...], *, like: Array, dtype: Any = None) -> Array:
    """Return zeros beside `like`, and of its type unless `dtype` says otherwise."""
    return _new("zeros", shape, like, dtype)


def arange(stop: int, *, like: Array) -> Array:
    """Return the int64 numbers 0 ... stop - 1 in the library and on the device of `like`."""
    return _new("arange", stop, like, "int64")


def _new(function: str, what: Any, like: Array, dtype: Any) -> Array:
    xp = library_of(like)
    dtype = like.dtype if dtype is None else getattr(xp, dtype) if isinstance(dtype, str) else dtype
    if xp.__name__ == "array_api_strict":
        return getattr(xp, function)(what, dtype=dtype, device=like.device)
    with on_device_of(like):
        return getattr(xp, function)(what, dtype=dtype)


def empty_batch_last(shape: tuple[int, ...], *, like: Array, dtype: Any = None) -> Array:
    """Return an uninitialised (N, ...) array that lies in memory with N innermost: (C, H, W, N) for an (N, C, H, W).

    Slices of it are then runs of N contiguous numbers, which is what makes windows cheap to copy.

    Example:
        >>> import numpy as np
        >>> a = empty_batch_last((8, 3, 5, 5), like=np.zeros(1, np.float32))
        >>> a.shape, a.strides
        ((8, 3, 5, 5), (4, 800, 160, 32))
    """
    n, *rest = shape
    return batch_first(empty((*rest, n), like=like, dtype=dtype))


def batch_first(x: Array) -> Array:
    """View an array whose last axis is the batch with the batch as its first axis."""
    return library_of(x).permute_dims(x, (x.ndim - 1, *range(x.ndim - 1)))


def batch_last(x: Array) -> Array:
    """View an array whose first axis is the batch with the batch as its last axis."""
    return library_of(x).permute_dims(x, (*range(1, x.ndim), 0))


def into(out: Array | None, function: Callable[..., Array], *args: Any) -> Array:
    """Return ``function(*args)``, written into `out` where one is given.

    ``out=`` is not part of the array API standard: a library without it computes first and copies then.
    """
    if out is None:
        return function(*args)
    if library_of(out).__name__ == "array_api_strict":
        out[...] = function(*args)
        return out
    return function(*args, out=out)


def copy(x: Array) -> Array:
    """Return a copy of `x` beside it."""
    xp = library_of(x)
    with on_device_of(x):
        return xp.astype(x, x.dtype, copy=True)


# ==== between host and device ====


def to_host(x: Array) -> Any:
    """Return `x` as a NumPy array: itself where it is one, else a copy fetched from its device.

    Example:
        >>> import numpy as np
        >>> to_host(np.arange(3))
        array([0, 1, 2])
    """
    xp = library_of(x)
    if xp.__name__ == "cupy":
        return x.get()
    if xp.__name__ == "array_api_strict":
        return np.array(x.to_device(xp.Device("CPU_DEVICE")))
    return np.asarray(x)


def to_device(x: Any, *, like: Array | None = None) -> Array:
    """Return the host array `x` as an array beside `like`, or, without `like`, of the default backend.

    Example:
        >>> import numpy as np
        >>> to_device(np.arange(3), like=np.zeros(1))
        array([0, 1, 2])
    """
    if like is None:
        return place(x, default_backend())
    xp = library_of(like)
    if xp.__name__ == "array_api_strict":
        return xp.asarray(np.asarray(x), device=like.device)
    with on_device_of(like):
        return xp.asarray(x)


def place(x: Any, backend: Backend) -> Array:
    """Return the host array `x` as an array of `backend`."""
    if backend.xp.__name__ == "array_api_strict":
        device = backend.xp.Device(f"device{backend.device}" if backend.device else "CPU_DEVICE")
        return backend.xp.asarray(np.asarray(x), device=device)
    with _current(backend):
        return backend.xp.asarray(x)
