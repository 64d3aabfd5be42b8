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
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from .libraries import LIBRARIES, Array, library_of

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
        kernel = _kernel(name, _library((*args, *kwargs.values())))
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


def _library(args: tuple[Any, ...]) -> str:
    """Return the name of the library of the first tuple with an array among `args`, else of the first array: no name,
    no kernel.
    """
    for value in args:
        if isinstance(value, tuple) and (found := _library(value)):
            return found
    for value in args:
        if type(value).__module__.partition(".")[0] in LIBRARIES:
            return _name_of(value)
    return ""


def _name_of(array: Array) -> str:
    try:
        return str(library_of(array).__name__)
    except TypeError:  # no array of ours: the function itself says what is wrong with it
        return ""


@functools.cache
def _kernel(name: str, library: str) -> Callable[..., Any] | None:
    return getattr(_kernels(library), name, None) if library and kernels_on() else None


@functools.cache
def _kernels(library: str) -> Any:
    """Return the module of `library`'s kernels, loaded at its first use, or None where there are none."""
    module = f"{__name__.partition('.')[0]}.kernels.{library}_kernels"
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # the functional core lifted out alone
        found = None
    return importlib.import_module(module) if found else None


@functools.cache
def kernels_on() -> bool:
    """Return whether kernels may be used: not with ``XLENET_KERNELS=off``."""
    return os.environ.get("XLENET_KERNELS", "on").strip().lower() not in ("off", "0", "no", "false")
