"""Changes to bytes and to JSON, and how both are judged."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii
from random import Random
from typing import Any

from xlenet.errors import XlenetError


class Broken(Exception):  # noqa: N818 - a promise, not a program
    """What was promised did not hold; the message says what."""


def refused(error: XlenetError | ValueError | TypeError, sound: bool, path: object = "") -> str:
    """What became of a file that was refused: the name of the error, whose message must be fit to print."""
    message = str(error).replace(str(path), "")
    if sound:
        raise Broken(f"a sound file was refused: {message[:500]}") from error
    if len(message) > 1500 or not message.isprintable():
        raise Broken(f"a message of {len(message)} characters: {message[:500]!r}") from error
    return type(error).__name__


def same(a: Any, b: Any) -> bool:
    """Whether two values out of JSON are equal; NaN is itself, and true is not 1."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


# ==== bytes ====

EDGES = (
    0,
    1,
    7,
    8,
    9,
    2**7,
    2**8 - 1,
    2**15,
    2**16,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**53,
    2**63 - 1,
    2**63,
)


def change_bytes(rng: Random, data: bytes, times: int, where: int | None = None) -> bytes:
    """Flip, overwrite, cut out, repeat, insert, cut off, add: `times` of them, in the first `where` bytes."""
    changed = bytearray(data)
    for _ in range(times):
        end = min(len(changed), where or len(changed))
        at = rng.randrange(end + 1)
        size = min(int(rng.paretovariate(0.7)), 4096)
        match rng.randrange(8):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(changed):
                changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                del changed[at : at + size]
            case 3:
                changed[at:at] = changed[at : at + size]
            case 4:
                changed[at:at] = rng.randbytes(size)
            case 5:
                del changed[at:]
            case 6:
                changed += rng.choice((b"\0", b"\n", b" ", rng.randbytes(1), rng.randbytes(size), bytes(size)))
            case 7:
                width = rng.choice((2, 4, 8))
                value = rng.choice(EDGES) % (1 << 8 * width)
                changed[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))
    return bytes(changed)


# ==== JSON ====


class Raw(str):
    """A piece of JSON that is written as it stands, sound or not."""

    __slots__ = ()


class Object(list[list[Any]]):
    """An object as [name, value] pairs, so that a name can come twice."""


def tree(value: Any) -> Any:
    """What is in JSON, ready to be changed."""
    if isinstance(value, dict):
        return Object([name, tree(inner)] for name, inner in value.items())
    return [tree(inner) for inner in value] if isinstance(value, list | tuple) else value


def write(value: Any) -> str:
    """The text of a tree."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, Object):
        return "{" + ", ".join(f"{write(name)}: {write(inner)}" for name, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(write, value)) + "]"
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    return repr(value) if type(value) in (int, float) else json.dumps(value)


JUNK: Sequence[Any] = (
    *EDGES, -1, 2**64, 10**30, 10**99, 10**400, 0.5, 1.0, -0.0, 1e300, 1e308, True, False, None, "", "1", "F32", "\0",
    "\x1b[31m\x07", "\u202e", "a" * 5000, "\N{GRINNING FACE}" * 50, [], [[]], [0], [True, 0],
    Object(), Object([["a", 1]]), Object([["a", 1], ["a", 2]]),
    *map(
        Raw,
        ("NaN", "-Infinity", "1e999", "-0", "01", "1.", "9" * 5000, "-" + "9" * 90, '"\\ud800"', '"\\u0000"', '"', "",
         "tru", "'a'", "[" * 3000, "[" * 400 + "]" * 400, '{"a":' * 2000, "[" * 50_000 + "]" * 50_000, "/**/1", "[1,]",
         "1 1", "\t\n1", '"\n"', "\\u0031"),
    ),
)  # fmt: skip
JUNK_NAMES = ("", "a", "epoch", "dtype", "shape", "__metadata__", "xlenet", "best.a", "\x1b[2J", "\n", "n" * 3000, "\0",
              Raw('"\\udfff"'), Raw("1"), Raw('"dty\\u0070e"'))  # fmt: skip


def change_tree(rng: Random, root: Any, times: int) -> None:
    """Change `times` places: another value, a near number, one left out, one twice, one more, two exchanged."""
    for _ in range(times):
        places = [(holder, index) for holder in _holders(root) for index in range(len(holder))]
        if not places:
            return
        holder, index = rng.choice(places)
        at: Any = holder[index] if isinstance(holder, Object) else holder
        slot = 1 if isinstance(holder, Object) else index
        match rng.randrange(9):
            case 0 | 1:
                at[slot] = _junk(rng)
            case 2 | 3:
                at[slot] = _near(rng, at[slot])
            case 4:
                del holder[index]
            case 5:
                holder.append(copy.deepcopy(holder[index]))
            case 6:
                holder.append([rng.choice(JUNK_NAMES), _junk(rng)] if isinstance(holder, Object) else 1)
            case 7:
                other = rng.randrange(len(holder))
                holder[index], holder[other] = holder[other], holder[index]
            case 8 if isinstance(holder, Object):
                at[0] = rng.choice(JUNK_NAMES)


def _junk(rng: Random) -> Any:
    return copy.deepcopy(rng.choice(JUNK))  # the next change may be in the middle of it


def _near(rng: Random, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return [value]
    return rng.choice(
        (value + 1, value - 1, value * 2, -value, float(value % 2**60), str(value), 0, value + 2**32, bool(value))
    )


def _holders(node: Any) -> list[Any]:
    found = [node] if isinstance(node, list) else []
    for inner in node if isinstance(node, list) else []:
        found += _holders(inner[1] if isinstance(node, Object) else inner)
    return found
