"""JSON from anybody: what has two meanings, or would take the machine with it, is refused."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from .errors import shown


def parse_json(text: bytes, *, nan: bool = False) -> Any:
    """Return what `text` says in JSON, UTF-8.

    Args:
        text: bounded by the caller; the result takes up to 40 times its memory.
        nan: True lets NaN and infinity pass, which JSON does not have and Python writes.

    Raises:
        ValueError: no JSON, a name twice in one object, half a surrogate pair, nesting without end, or a number of
            thousands of digits (which Python itself refuses).

    Example:
        >>> parse_json(b'{"a": [1, 2.5]}')
        {'a': [1, 2.5]}
        >>> parse_json(b'{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ...
        ValueError: the name 'a' twice
    """
    read_float, refuse = (None, None) if nan else (_finite, _not_finite)
    try:
        return json.loads(text.decode(), object_pairs_hook=_object, parse_float=read_float, parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


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
