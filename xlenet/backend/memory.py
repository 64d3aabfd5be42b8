"""New arrays, results put into arrays that are there, and the way between host and device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .choice import Backend, current, default_backend
from .libraries import LIBRARIES, Array, kind_of, library_of, on_device_of

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
    if type(like) is np.ndarray:
        return getattr(np, function)(what, dtype=like.dtype if dtype is None else dtype)
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
    return _transposed(x, (x.ndim - 1, *range(x.ndim - 1)))


def batch_last(x: Array) -> Array:
    """View an array whose first axis is the batch with the batch as its last axis."""
    return _transposed(x, (*range(1, x.ndim), 0))


def _transposed(x: Array, axes: tuple[int, ...]) -> Array:
    """View `x` with its axes in another order: ``permute_dims``, by NumPy's shorter way where there is one."""
    return x.transpose(axes) if type(x) is np.ndarray else library_of(x).permute_dims(x, axes)


def into(out: Array | None, function: Callable[..., Array], *args: Any, **kwargs: Any) -> Array:
    """Return ``function(*args, **kwargs)``, written into `out` where one is given.

    ``out=`` is not part of the array API standard: a library without it computes first and copies then.
    """
    if out is None:
        return function(*args, **kwargs)
    if type(out) is not np.ndarray and library_of(out).__name__ == "array_api_strict":
        return put(function(*args, **kwargs), out)
    return function(*args, out=out, **kwargs)


def in_one_piece(x: Array) -> bool:
    """Return whether `x` is known to lie in memory in C order without gaps, so that reshaping it makes a view."""
    flags = getattr(x, "flags", None)
    return flags is not None and bool(flags.c_contiguous)


def put(value: Array, out: Array | None) -> Array:
    """Return `value`, copied into `out` where one is given."""
    if out is None:
        return value
    out[...] = value
    return out


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


def read(x: Any) -> Any:
    """Return as a NumPy array what is an array here or in another library on the host, such as a tensor of PyTorch's.

    Raises:
        TypeError: `x` is no array.

    Example:
        >>> import numpy as np
        >>> read(np.zeros(2)).dtype
        dtype('float64')
    """
    foreign = hasattr(type(x), "__array__") and not isinstance(x, np.ndarray | np.generic)
    if foreign and type(x).__module__.partition(".")[0] not in LIBRARIES:
        return np.asarray(x)
    return to_host(x)


def as_finite(operation: str, name: str, host: Any, dtype: str) -> Any:
    """Return real numbers on the host as finite ones of the type `dtype`.

    Raises:
        ValueError: a number is not finite, or too large for `dtype`.

    Example:
        >>> import numpy as np
        >>> as_finite("load", "x", np.arange(2), "float32")
        array([0., 1.], dtype=float32)
    """
    with np.errstate(over="ignore"):
        converted = host.astype(dtype)
    if not np.isfinite(converted).all():
        raise ValueError(
            f"{operation}: got {name} with numbers that are not finite as {dtype}; expected finite ones; load what was "
            "saved before training diverged"
        )
    return converted


def to_device(x: Any, *, like: Array | None = None) -> Array:
    """Return the host array `x` as an array beside `like`, or, without `like`, of the default backend.

    Raises:
        TypeError: `x` is no array of numbers on the host, or `like` no array.

    Example:
        >>> import numpy as np
        >>> to_device(np.arange(3), like=np.zeros(1))
        array([0, 1, 2])
    """
    xp = default_backend().xp if like is None else library_of(like)
    x = _numbers(x, xp)
    if like is None:
        return place(x, default_backend())
    if xp.__name__ == "array_api_strict":
        return xp.asarray(np.asarray(x), device=like.device)
    with on_device_of(like):
        return xp.asarray(x)


def _numbers(x: Any, xp: Any) -> Any:
    """Return `x`, which is to become an array of `xp`, as an array of numbers: `xp`'s own as it is."""
    try:
        if xp is not np and type(x).__module__.partition(".")[0] in LIBRARIES and library_of(x) is xp:
            return x
        host = np.asarray(x)
    except (TypeError, ValueError, RuntimeError):  # of another device, or rows that are not equally long
        host = np.empty(0, object)
    if host.dtype.kind not in "biufc":
        raise TypeError(
            f"to_device: got x, {kind_of(x)}; expected an array of numbers on the host; convert it first, or fetch it "
            "with xlenet.to_host"
        )
    return host


def place(x: Any, backend: Backend) -> Array:
    """Return the host array `x` as an array of `backend`."""
    if backend.xp.__name__ == "array_api_strict":
        device = backend.xp.Device(f"device{backend.device}" if backend.device else "CPU_DEVICE")
        return backend.xp.asarray(np.asarray(x), device=device)
    with current(backend):
        return backend.xp.asarray(x)
