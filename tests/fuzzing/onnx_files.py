"""ONNX files: written as other programs write them, changed, imported, and asked for one result.

The package onnx must be there; `tests.fuzz` leaves this kind out where it is not.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.fuzzing.mutate import EDGES, Broken, change_bytes, refused
from tests.interop.onnx_files import STYLES
from tests.libraries import import_quietly
from xlenet.errors import DataError
from xlenet.interop import import_onnx, onnx_chain

SIZES = (*(size for size in EDGES if size < 2**63), -1, -3, 2, 3, 5, 2**31 + 1)
OPERATORS = ("Relu", "Add", "Conv", "Gemm", "MatMul", "Reshape", "Identity", "Flatten", "If", "Shape", "Constant",
             "Concat", "Softmax", "\x1b[2J", "n" * 3000)  # fmt: skip
onnx_chain.MOST_NUMBERS = 1 << 20  # so that every model that is made can be asked


@functools.cache
def sound_file(style: str, opset: int) -> bytes:
    """The bytes of one file of another program."""
    data: bytes = STYLES[style](import_quietly("onnx"), opset).file().SerializeToString(deterministic=True)
    return data


def make(rng: Random) -> tuple[bytes, bool]:
    data = sound_file(rng.choice(tuple(STYLES)), rng.choice((7, 9, 12, 13, 17, 22)))
    how = rng.random()
    if how < 0.02:
        return data, True
    if how < 0.5:
        return change_bytes(rng, data, rng.choice((1, 1, 2, 3))), False
    file = import_quietly("onnx").ModelProto.FromString(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        change(rng, file)
    return file.SerializeToString(deterministic=True), False


def change(rng: Random, file: Any) -> None:
    """Change one thing, and leave a file that protobuf reads."""
    graph = file.graph
    if not graph.node:
        return
    node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
    match rng.randrange(12):
        case 0:
            tensor.dims[:] = [rng.choice(SIZES) for _ in range(rng.choice((0, 1, 2, 4, 9)))]
        case 1:
            tensor.raw_data = rng.randbytes(rng.choice((0, 1, 8, 400)))
        case 2:
            tensor.data_type = rng.choice((0, 1, 2, 7, 9, 10, 11, 16, 99))
        case 3:
            node.op_type = rng.choice(OPERATORS)
        case 4 if node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice((tensor.name, "image", "", "nowhere"))
        case 5 if node.attribute:
            attribute = rng.choice(node.attribute)
            attribute.ints[:] = [rng.choice(SIZES) for _ in range(rng.choice((0, 1, 2, 4)))]
            attribute.i = rng.choice(SIZES)
        case 6 if node.attribute:
            rng.choice(node.attribute).type = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 11))
        case 7:
            graph.node.insert(rng.randrange(len(graph.node)), node)
        case 8:
            graph.node.remove(node)
        case 9:
            size = rng.choice(graph.input[0].type.tensor_type.shape.dim or [file])
            if size is not file:
                size.dim_value = rng.choice(SIZES)
        case 10:
            file.metadata_props.add(key="xlenet", value=rng.choice(("{}", "[]", "{" * 5000, '{"a": 1, "a": 2}')))
        case 11 if node.input and node.output:
            repeat(graph, node, rng.choice((1, 10, 1000)))


def repeat(graph: Any, node: Any, times: int) -> None:
    """Let a node follow upon itself: a few bytes that ask for its weights, or for additions to them, each time."""
    end, at = node.output[0], list(graph.node).index(node)
    node.output[0] = f"{end} 0"
    for number in range(times):
        again = type(node).FromString(node.SerializeToString())
        again.input[0], again.output[0] = f"{end} {number}", f"{end} {number + 1}" if number < times - 1 else end
        graph.node.insert(at + number + 1, again)


def check(path: Path, data: bytes, sound: bool) -> str:
    path.write_bytes(data)
    try:
        model = import_onnx(path)
    except DataError as error:
        return refused(error, sound, path)
    if math.prod(model.input_shape) > onnx_chain.MOST_NUMBERS:
        return "loaded, and takes more than is tried"
    return asked(model)


def asked(model: Any) -> str:
    """A model that was made of the file can be asked, or says why not."""
    name = next((str(array.dtype) for array in model.state_dict().values()), "float32")
    try:
        with np.errstate(all="ignore"):
            y = model.infer(np.zeros((1, *model.input_shape), name))
    except (ValueError, TypeError) as error:
        raise Broken(f"made, and refuses what it says it takes: {error}") from error
    if y.shape[0] != 1:
        raise Broken(f"one image became {y.shape}")
    return "loaded"
