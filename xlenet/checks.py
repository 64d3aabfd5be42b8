"""Questions that several operations ask of their arguments, so that a mistake is answered in words and before any
work.
"""

from __future__ import annotations

import operator
from typing import Any

from .backend import Array, namespace_of


def check_arrays(operation: str, letters: str, x: Array, **others: Array | None) -> Any:
    """Return the library of `x` and `others`, having checked the axes of `x` and that all are of one floating type."""
    xp = check_floating(operation, x=x, **others)
    check_axes(operation, letters, x=x)
    return xp


def check_floating(operation: str, **arrays: Array | None) -> Any:
    """Return the library of `arrays`, having checked that all are float32 or all float64; None is passed over."""
    xp = namespace_of(*arrays.values())
    types = [array.dtype for array in arrays.values() if array is not None]
    if types.count(types[0]) != len(types) or types[0] not in (xp.float32, xp.float64):
        came = ", ".join(f"{name} {array.dtype}" for name, array in arrays.items() if array is not None)
        raise TypeError(
            f"{operation}: got {came}; expected all float32 or all float64; cast with xp.astype(array, xp.float32)"
        )
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
    if tuple(array.shape) != tuple(shape):
        raise ValueError(f"{operation}: got {name} of shape {tuple(array.shape)}; expected {tuple(shape)}; {why}")


def check_gradient(operation: str, dy: Array, y_shape: tuple[int, ...], like: Array, name: str = "dy") -> Any:
    """Return the library of a gradient that comes back into `operation`, having checked its shape and type."""
    xp = namespace_of(dy, like)
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
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2:
        raise ValueError(
            f"{operation}: got {name} {value!r}; expected an int or a pair (vertical, horizontal); pass one of them"
        )
    return integer(operation, name, both[0], at_least), integer(operation, name, both[1], at_least)


def check_dtype(operation: str, dtype: Any) -> str:
    """Return the name of a floating type that the layers compute in, given as a name or as a library's own type."""
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype).rpartition(".")[2]
    if name not in ("float32", "float64"):
        raise ValueError(f"{operation}: got dtype {dtype!r}; expected 'float32' or 'float64'; pass one of these names")
    return str(name)
