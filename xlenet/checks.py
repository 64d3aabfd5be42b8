"""Questions that several operations ask of their arguments, so that a mistake is answered in words and before any
work.
"""

from __future__ import annotations

import contextlib
import json
import math
import numbers
import operator
import os
from collections.abc import Sequence
from typing import Any

from .backend import Array, is_foreign, kind_of, library_of, namespace_of, on_device_of, read

# ==== arrays ====


def check_library(operation: str, **arrays: Array | None) -> Any:
    """Return the library of `arrays`, having checked that each is an array, and all of the same library; of all
    arrays, only a bias may be None.
    """
    try:
        for name, array in arrays.items():
            if array is None and name != "bias":
                raise TypeError
        return namespace_of(*arrays.values())
    except TypeError:
        _say_whose_fault(operation, arrays)
        raise  # an array on another GPU than the current one: that message says all


def read_real(operation: str, name: str, array: Any) -> Any:
    """Return what `read` does, having checked that it is an array of real numbers."""
    try:
        host = read(array)
    except (TypeError, RuntimeError) as error:  # the latter is PyTorch's
        raise TypeError(
            f"{operation}: got {name}, {kind_of(array)}; expected an array of NumPy or CuPy, or one on the host that "
            f"NumPy can read; {_made_readable(array)}"
        ) from error
    if host.dtype.kind not in "iuf":
        raise TypeError(f"{operation}: got {name} {host.dtype}; expected real numbers; cast it")
    return host


def _made_readable(array: Any) -> str:
    """Return what to do with an array that NumPy cannot read."""
    if str(getattr(array, "dtype", "")).endswith("bfloat16"):
        return "NumPy has no bfloat16: call its .float(), or cast it to float32"
    if getattr(array, "requires_grad", False) is True:
        return "call its .detach()"
    return "convert or fetch it first"


def on_device(operation: str, name: str, array: Array) -> contextlib.AbstractContextManager[Any]:
    """Do what `on_device_of` does, and name the argument that is no array."""
    try:
        return on_device_of(array)
    except TypeError:
        check_library(operation, **{name: array})
        raise


def _say_whose_fault(operation: str, arrays: dict[str, Array | None]) -> None:
    found = {}
    for name, array in arrays.items():
        if array is None and name == "bias":
            continue
        try:
            found[name] = library_of(array).__name__
        except TypeError:
            advice = "convert it first, for example with numpy.asarray"
            if is_foreign(array):
                advice = f"pass xlenet.interop.borrow({name}), and the result through xlenet.interop.give_back"
            raise TypeError(
                f"{operation}: got {name}, {kind_of(array)}; expected an array of NumPy or CuPy; {advice}"
            ) from None
    if len(set(found.values())) > 1:
        came = " and ".join(f"{name} of {library}" for name, library in found.items())
        raise TypeError(
            f"{operation}: got {came}; expected one library; move them with xlenet.to_device(array, like=other) or "
            "xlenet.to_host(array)"
        ) from None


def check_arrays(operation: str, letters: str, x: Array, **others: Array | None) -> Any:
    """Return the library of `x` and `others`, having checked the axes of `x` and that all are of one floating type."""
    xp = check_floating(operation, x=x, **others)
    check_axes(operation, letters, x=x)
    return xp


def check_floating(operation: str, **arrays: Array | None) -> Any:
    """Return the library of `arrays`, having checked that all are float32 or all float64; a bias may be None."""
    xp = check_library(operation, **arrays)
    types = [array.dtype for array in arrays.values() if array is not None]
    if types.count(types[0]) != len(types) or types[0] not in (xp.float32, xp.float64):
        came = ", ".join(f"{name} {array.dtype}" for name, array in arrays.items() if array is not None)
        raise TypeError(
            f"{operation}: got {came}; expected all float32 or all float64; cast with xp.astype(array, xp.float32)"
        )
    return xp


def check_numeric(operation: str, **arrays: Array) -> Any:
    """Return the library of `arrays`, having checked that they are of numbers, of whatever type."""
    xp = check_library(operation, **arrays)
    for name, array in arrays.items():
        if not xp.isdtype(array.dtype, "numeric"):
            raise TypeError(f"{operation}: got {name} {array.dtype}; expected numbers; cast it")
    return xp


def check_axes(operation: str, letters: str, **arrays: Array) -> None:
    """Check that `arrays` have as many axes as `letters`, as in "(N, C) or (N, C, H, W)", and something along each.

    In "(N, C) or (N, C, ...)" the dots stand for one axis or more.
    """
    ranks = [shape.count(",") + 1 for shape in letters.split(" or ")]
    for name, array in arrays.items():
        fits = array.ndim in ranks or ("..." in letters and array.ndim > max(ranks))
        if not fits or 0 in array.shape:
            raise ValueError(
                f"{operation}: got {name} of shape {tuple(array.shape)}; expected {letters}, none of them 0; "
                "reshape it, and leave empty batches out"
            )


def check_shape(operation: str, name: str, array: Array, shape: tuple[int, ...], why: str) -> None:
    """Check the shape of a parameter, or of a gradient that comes back."""
    if array is None:
        raise TypeError(f"{operation}: got {name} None; expected an array of shape {tuple(shape)}; {why}")
    if tuple(array.shape) != tuple(shape):
        raise ValueError(f"{operation}: got {name} of shape {tuple(array.shape)}; expected {tuple(shape)}; {why}")


def check_gradient(operation: str, dy: Array, y_shape: tuple[int, ...], like: Array, name: str = "dy") -> Any:
    """Return the library of a gradient that comes back into `operation`, having checked its shape and type."""
    xp = check_library(operation, **{name: dy, "x": like})
    check_shape(operation, name, dy, y_shape, "pass the gradient of the loss by forward's result")
    if dy.dtype != like.dtype:
        raise TypeError(
            f"{operation}: got {name} {dy.dtype}; expected {like.dtype}, the type of forward's result; cast it"
        )
    return xp


def check_axis(operation: str, x: Array, axis: Any) -> int:
    """Return `axis` as an int, having checked that `x` has it; a negative one counts from the end."""
    number = integer(operation, "axis", axis)
    if not -x.ndim <= number < x.ndim:
        raise ValueError(
            f"{operation}: got axis {number} for x of shape {tuple(x.shape)}; expected {-x.ndim} to {x.ndim - 1}; "
            "the last axis is -1"
        )
    return number


def check_cache(operation: str, cache: Any, *kinds: type) -> None:
    """Check that `cache` is what the forward of `operation` returned beside its result."""
    if not isinstance(cache, kinds):
        raise TypeError(
            f"{operation}: got cache, {kind_of(cache)}; expected the one that forward returned; pass it as it is"
        )


# ==== numbers, switches, objects ====


def integer(operation: str, name: str, value: Any, at_least: int | None = None) -> int:
    """Return `value` as an int, or say what was wrong with it."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        wanted = "a whole number" if at_least is None else f"a whole number from {at_least} up"
        raise TypeError(f"{operation}: got {name} {value!r}; expected {wanted}; pass an int") from None
    if at_least is not None and number < at_least:
        raise ValueError(f"{operation}: got {name} {value!r}; expected at least {at_least}; pass a larger one")
    return number


def pair(operation: str, name: str, value: Any, at_least: int) -> tuple[int, int]:
    """Return an int or a (vertical, horizontal) pair as a pair."""
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int and min(value) >= at_least:
        return value  # the usual case, and it is asked some times in a step
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2:
        raise ValueError(
            f"{operation}: got {name} {value!r}; expected an int or a pair (vertical, horizontal); pass one of them"
        )
    return integer(operation, name, both[0], at_least), integer(operation, name, both[1], at_least)


def number(
    operation: str,
    name: str,
    value: Any,
    low: float = -math.inf,
    below: float = math.inf,
    *,
    above: bool = False,
    closed: bool = False,
) -> float:
    """Return `value` as a Python float, having checked that it is a finite number from `low` (or above it) to below
    `below` (or up to it, if `closed`).

    Example:
        >>> number("SGD", "momentum", 0.9, 0.0, 1.0)
        0.9
    """
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, numbers.Real)):
        raise TypeError(
            f"{operation}: got {name} {value!r}; expected {_range(low, below, above, closed)}; pass a float"
        )
    try:
        given = float(value)  # a NumPy float64 would make everything float64
    except OverflowError:  # of an int with hundreds of digits
        given = math.inf
    fits = (low < given if above else low <= given) and (given <= below if closed else given < below)
    if not fits or not math.isfinite(given):
        raise ValueError(
            f"{operation}: got {name} {value!r}; expected {_range(low, below, above, closed)}; choose one in that range"
        )
    return given


def _range(low: float, below: float, above: bool, closed: bool) -> str:
    wanted = "a finite number"
    if low > -math.inf:
        wanted += f" {'above' if above else 'from'} {low:g}"
        wanted += " up" if below == math.inf and not above else ""
    return wanted + (f" {'up to' if closed else 'to below'} {below:g}" if below < math.inf else "")


def switch(operation: str, name: str, value: Any) -> bool:
    """Return `value` as a bool, having checked that it is True or False (or 1 or 0): any other text would be true."""
    if isinstance(value, str | bytes) or not any(value is one or value == one for one in (True, False)):
        raise TypeError(f"{operation}: got {name} {value!r}; expected True or False; pass one of them")
    return bool(value)


def check_kind(operation: str, name: str, value: Any, kind: type, what: str) -> None:
    """Check that `value` is an instance of `kind`, which is `what` in words."""
    if not isinstance(value, kind):
        raise TypeError(f"{operation}: got {name} {_shortened(value)}; expected {what}; pass one")


def check_texts(operation: str, name: str, values: Any) -> None:
    """Check that `values` are several texts, and not a single one."""
    if not isinstance(values, Sequence) or isinstance(values, str) or not all(isinstance(v, str) for v in values):
        raise TypeError(f"{operation}: got {name} {_shortened(values)}; expected a list of texts; pass one")


def check_path(operation: str, path: Any, name: str = "path") -> None:
    """Check that `path` is a path: a whole number would be a file that is open already."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{operation}: got {name} {path!r}; expected a path; pass a text or a pathlib.Path")


def as_json(operation: str, name: str, value: Any) -> str:
    """Return a dict as JSON, with its keys in order."""
    try:
        if isinstance(value, dict):
            return json.dumps(value, sort_keys=True)
        came = repr(value)
    except (TypeError, ValueError) as error:
        came = f"with {error}"
    raise TypeError(f"{operation}: got {name} {came}; expected a dict that JSON can hold; convert what is in it")


def check_callable(operation: str, name: str, value: Any) -> None:
    """Check that `value` can be called."""
    if not callable(value):
        raise TypeError(
            f"{operation}: got {name} {_shortened(value)}; expected a function; pass one, without calling it"
        )


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else kind_of(value)


def check_dtype(operation: str, dtype: Any) -> str:
    """Return the name of a floating type that the layers compute in, given as a name or as a library's own type."""
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype).rpartition(".")[2]
    if name not in ("float32", "float64"):
        raise ValueError(f"{operation}: got dtype {dtype!r}; expected 'float32' or 'float64'; pass one of these names")
    return str(name)
