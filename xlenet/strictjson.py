"""JSON from anybody: what has two meanings, or would take the machine with it, is refused."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any, NoReturn

from .errors import shown

# More would take longer than a second: each object is looked at by Python, each value made by it.
_MOST_OBJECTS, _MOST_VALUES = 30_000, 400_000

# Lists and objects in each other. Python's own limit is another in each version, up to thousands: what reads as deep as
# that is not written again, nor printed.
_MOST_LEVELS = 100
_DEEP = f"nested more than {_MOST_LEVELS} levels deep"


def parse_json(text: bytes, *, nan: bool = False) -> Any:
    """Return what `text` says in JSON, UTF-8.

    Args:
        text: bounded by the caller; the result takes up to 40 times its memory.
        nan: True lets NaN and infinity pass, which JSON does not have and Python writes.

    Raises:
        ValueError: no JSON, a name twice in one object, half a surrogate pair, more than 100 levels, more than 30,000
            objects or 400,000 values, or a number of thousands of digits (which Python itself refuses).

    Example:
        >>> parse_json(b'{"a": [1, 2.5]}')
        {'a': [1, 2.5]}
        >>> parse_json(b'{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ...
        ValueError: the name 'a' twice
    """
    if sum(map(text.count, (b"[", b"{", b","))) > _MOST_VALUES:  # those in texts as well: they may be JSON in JSON
        raise ValueError(f"more than {_MOST_VALUES:,} values")
    read_float, refuse = (None, None) if nan else (_finite, _not_finite)
    try:
        value = json.loads(text.decode(), object_pairs_hook=_objects(), parse_float=read_float, parse_constant=refuse)
    except RecursionError:
        raise ValueError(_DEEP) from None
    level: list[Any] = [[value]]
    for _ in range(_MOST_LEVELS + 1):
        inside = (item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer))
        level = [item for item in inside if isinstance(item, dict | list)]
    if level:
        raise ValueError(_DEEP)
    return value


def _objects() -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """Return a function that makes an object of its pairs, so many times."""
    numbers = itertools.count(1)

    def make(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if next(numbers) > _MOST_OBJECTS:
            raise ValueError(f"more than {_MOST_OBJECTS:,} objects")
        return _object(pairs)

    return make


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"the name {shown(name)} twice")
        name.encode()
        if isinstance(value, str):
            value.encode()  # a UnicodeEncodeError is a ValueError
        made[name] = value
    return made


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _not_finite(digits)
    return number


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"the number {shown(name)}, which is not finite")
