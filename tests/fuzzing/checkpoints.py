"""Models as safetensors: loaded, compared with what the package safetensors reads, and put into a network."""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import safetensors

from tests.fuzzing.mutate import EDGES, Broken, change_bytes, change_tree, refused, tree, write
from xlenet import BatchNorm, Linear, Sequential
from xlenet.checkpoint import load_model
from xlenet.errors import DataError

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
         "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1"}  # fmt: skip
NAMES = {np.dtype(text).name: name for name, text in TYPES.items()}
MODEL = Sequential(fc=Linear(3, 2, rng=0), bn=BatchNorm(2))


def make(rng: Random) -> tuple[bytes, bool]:
    arrays = of_network(rng) if rng.random() < 0.5 else of_anything(rng)
    sound, metadata = rng.random() < 0.02, {"xlenet": json.dumps({"classes": 2, "mean": [1.5]})}
    if not sound and rng.random() < 0.2:
        about = tree({"classes": 2, "mean": [1.5]})
        change_tree(rng, about, 1)
        metadata = {"xlenet": write(about)}
    return pack(rng, arrays, metadata, sound), sound


def of_network(rng: Random) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    state = {}
    for name, array in MODEL.state_dict().items():
        kind = rng.choice(("F32", "F32", "F32", "F64", "F16", "I32", "BOOL") if rng.random() < 0.2 else ("F32",))
        numbers = np.array([rng.choice((0.0, 1.0, rng.uniform(0, 9))) for _ in range(array.size)])
        state[name] = kind, array.shape, numbers.astype(TYPES[kind]).tobytes()
    return state


def of_anything(rng: Random) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    state = {}
    for number in range(rng.randrange(5)):
        kind = rng.choice(tuple(TYPES))
        shape = tuple(rng.choice((0, 1, 2, 3, 7)) for _ in range(rng.choice((0, 1, 1, 2, 3, 4))))
        size = math.prod(shape) * np.dtype(TYPES[kind]).itemsize
        state[f"a{number}"] = kind, shape, bytes(size) if kind == "BOOL" else rng.randbytes(size)
    return state


def pack(
    rng: Random, arrays: dict[str, tuple[str, tuple[int, ...], bytes]], metadata: dict[str, Any], sound: bool
) -> bytes:
    """The bytes of a file; unless it is to be sound, something in it is changed."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    body = b""
    for name, (kind, shape, data) in arrays.items():
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    written, how = tree(header), rng.random()
    if not sound and how < 0.6:
        change_tree(rng, written, rng.choice((1, 1, 1, 2, 3)))
    text = write(written).encode() + rng.choice((b"", b"", b"   "))
    length = len(text)
    if not sound and 0.6 <= how < 0.65:
        length = max(0, rng.choice((length + 1, length - 1, length + len(body), *EDGES, 2**64 - 1)))
    if not sound and 0.65 <= how < 0.7:
        body += rng.choice((b"\0", body, rng.randbytes(8)))
    whole = (length % 2**64).to_bytes(8, "little") + text + body
    if not sound and how >= 0.7:
        whole = change_bytes(rng, whole, rng.choice((1, 1, 2, 3)), rng.choice((None, None, 8, 8 + len(text))))
    return whole


def check(path: Path, data: bytes, sound: bool) -> str:
    path.write_bytes(data)
    try:
        state, about = load_model(path)
    except DataError as error:
        return refused(error, sound, path)
    compare(data, state)
    if not isinstance(about, dict):
        raise Broken(f"about is {about!r}")
    return into_network(state)


def compare(data: bytes, state: dict[str, Any]) -> None:
    """What the other reader says, down to the bytes."""
    try:
        theirs = dict(safetensors.deserialize(data))
    except safetensors.SafetensorError as error:
        if "`-0.0`, expected usize" in str(error):  # to Python, -0 is a whole number
            return
        raise
    if theirs.keys() != state.keys():
        raise Broken(f"names {list(state)}, by safetensors {list(theirs)}")
    for name, array in state.items():
        mine = NAMES[array.dtype.name], list(array.shape), array.tobytes()
        if mine != (theirs[name]["dtype"], theirs[name]["shape"], bytes(theirs[name]["data"])):
            raise Broken(f"{name} is {mine}, by safetensors {theirs[name]}")


def into_network(state: dict[str, Any]) -> str:
    """All of it and right, or nothing of it."""
    before = {name: array.tobytes() for name, array in MODEL.state_dict().items()}
    try:
        MODEL.load_state_dict(state)
    except (ValueError, TypeError) as error:
        refused(error, sound=False)
        if {name: array.tobytes() for name, array in MODEL.state_dict().items()} != before:
            raise Broken("a network changed by what it has refused") from error
        return "loaded, of another network"
    for name, array in MODEL.state_dict().items():
        if not np.isfinite(array).all() or not np.array_equal(array, state[name].astype(np.float32)):
            raise Broken(f"{name} is {array}, in the file {state[name]}")
    return "loaded"
