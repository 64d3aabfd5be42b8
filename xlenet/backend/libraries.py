"""The library and the device of an array: the arrays say it themselves."""

from __future__ import annotations

import contextlib
import functools
import importlib
from typing import Any

import numpy as np

# An array of whichever library is in use: there is no common base class to name.
Array = Any
Namespace = Any

LIBRARIES = ("numpy", "cupy", "array_api_strict")  # the last one stands in for a GPU in tests


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
    found = None
    for array in arrays:  # the usual case, and it is asked many times in a step
        if type(array) is np.ndarray:
            found = np
        elif array is not None:
            break
    else:
        if found is not None:
            return found
    return _common_library([a for a in arrays if a is not None])


def _common_library(given: list[Array]) -> Namespace:
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


def kind_of(value: Any) -> str:
    """Return what `value` is, for the words of an error.

    Example:
        >>> kind_of([1.0]), kind_of(None)
        ('a builtins.list', 'None')
    """
    return "None" if value is None else f"a {type(value).__module__}.{type(value).__qualname__}"


def library_of(array: Array) -> Namespace:
    """Return the library that `array` belongs to, on whichever device it lies."""
    kind = type(array)
    return np if kind is np.ndarray else namespace_of_type(kind)  # type: ignore[arg-type]  # mypy #14727


@functools.cache  # asked several times in every operation
def namespace_of_type(kind: type) -> Namespace:
    """Return the library whose arrays are of type `kind`."""
    library = kind.__module__.partition(".")[0]
    if issubclass(kind, np.ndarray | np.generic) and not issubclass(kind, np.matrix | np.ma.MaskedArray):
        return np
    if kind.__name__ in ("ndarray", "Array") and library in LIBRARIES:
        return importlib.import_module(library)  # loaded already: the caller holds an array of it
    raise TypeError(
        f"xlenet: got a {kind.__module__}.{kind.__qualname__}; expected an array of NumPy or CuPy; "
        "convert it first, for example with numpy.asarray"
    )


_ANYWHERE = contextlib.nullcontext()


def on_device_of(like: Array) -> contextlib.AbstractContextManager[Any]:
    """Make the device of `like` the current one inside a ``with`` block: CuPy computes and makes arrays there."""
    if type(like) is not np.ndarray and library_of(like).__name__ == "cupy":
        device: contextlib.AbstractContextManager[Any] = like.device
        return device
    return _ANYWHERE


def synchronize(like: Array) -> None:
    """Wait until the device of `like` has finished everything asked of it. Returns at once on the CPU."""
    xp = library_of(like)
    if xp.__name__ == "cupy":
        with on_device_of(like):
            xp.cuda.get_current_stream().synchronize()
