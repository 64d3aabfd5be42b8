"""The seam: where a portable function may give way to one that is written for a single array library.

A function marked `@swappable` has a twin's place in ``xlenet/kernels/<library>_kernels.py``: a function named
``<module>_<function>`` there is asked first, with the same arguments. What it does not take (another type, a rare
configuration) it answers with `NotImplemented`, and the portable function does the work. ``XLENET_KERNELS=off`` turns
all kernels off, to find out whose fault something is.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar, cast

from .libraries import LIBRARIES, namespace_of_type

P = ParamSpec("P")
R = TypeVar("R")


def swappable(portable: Callable[P, R]) -> Callable[P, R]:
    """Let a kernel of the arrays' library stand in for `portable`, which stays reachable as ``.portable``.

    A cache among the arguments says whose kernel is asked, since it knows who made it; without one, the first array.

    Example:
        >>> import numpy as np
        >>> @swappable
        ... def twice(x):
        ...     return 2 * x
        >>> twice(np.ones(1)), twice.portable(np.ones(1))
        (array([2.]), array([2.]))
    """
    name = f"{portable.__module__.rpartition('.')[2]}_{portable.__name__}"

    @functools.wraps(portable)
    def swapped(*args: P.args, **kwargs: P.kwargs) -> R:
        kernel = _kernel(name, _library((*args, *kwargs.values()) if kwargs else args))
        if kernel is not None:
            result = kernel(*args, **kwargs)
            if result is not NotImplemented:
                return cast(R, result)
        return portable(*args, **kwargs)

    swapped.portable = portable  # type: ignore[attr-defined]
    swappables[name] = swapped
    return swapped


# Every swappable function by its kernel's name: the test of their equality goes through them all.
swappables: dict[str, Callable[..., Any]] = {}


_CACHE = "cache"  # in the place of a library's name


def _library(values: Iterable[Any]) -> str:
    """Return the name of the library of the first cache with an array among `values`, else of the first array: no name,
    no kernel.
    """
    of_arrays = ""
    for value in values:
        name = _kind(type(value))  # type: ignore[arg-type]  # mypy #14727
        if name is _CACHE:
            if found := _library_of_cache(value):
                return found
        elif name and not of_arrays:
            of_arrays = name
    return of_arrays


def _library_of_cache(cache: Iterable[Any]) -> str:
    """Return the name of the library of the first array in `cache`, however deep."""
    for value in cache:
        name = _kind(type(value))  # type: ignore[arg-type]  # mypy #14727
        if name is _CACHE:
            name = _library_of_cache(value)
        if name:
            return name
    return ""


@functools.cache  # asked for every argument of every operation
def _kind(kind: type) -> str:
    """Return the name of the library if `kind` is a type of arrays, `_CACHE` for a named tuple, else nothing."""
    if issubclass(kind, tuple):
        return _CACHE if hasattr(kind, "_fields") else ""
    if kind.__module__.partition(".")[0] not in LIBRARIES:
        return ""
    try:
        return str(namespace_of_type(kind).__name__)  # type: ignore[arg-type]  # mypy #14727
    except TypeError:  # no array of ours: the function itself says what is wrong with it
        return ""


@functools.cache
def _kernel(name: str, library: str) -> Callable[..., Any] | None:
    return getattr(_kernels(library), name, None) if library and kernels_on() else None


@functools.cache
def _kernels(library: str) -> Any:
    """Return the module of `library`'s kernels, loaded at its first use, or None where there are none."""
    module = f"{__name__.rsplit('.', 2)[0]}.kernels.{library}_kernels"
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # the functional core lifted out alone
        found = None
    return importlib.import_module(module) if found else None


@functools.cache
def kernels_on() -> bool:
    """Return whether kernels may be used: not with ``XLENET_KERNELS=off``."""
    return os.environ.get("XLENET_KERNELS", "on").strip().lower() not in ("off", "0", "no", "false")
