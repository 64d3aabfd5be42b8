"""Runs a small ONNX graph with these layers: nothing but the package `onnx` itself reads the files.

A runner computes one operator: f(lib, attributes, inputs as arrays of lib (None for one that is left out), how many
outputs are wanted) -> outputs as arrays of lib.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.libraries import Lib, import_quietly
from tests.onnx import loss_runners, runners

Runner = Callable[[Lib, dict[str, Any], list[Any], int], list[Any]]

RUNNERS: dict[str, Runner] = runners.RUNNERS | loss_runners.RUNNERS

KINDS = ("node", "pytorch-converted", "pytorch-operator")
OF_IMAGES = (
    "Conv",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "BatchNormalization",
)  # whose first input is (N, C, H, W) in what is run here


@dataclass(frozen=True)
class Case:
    """A graph, what goes in, what shall come out, and how nearly."""

    name: str
    kind: str
    model: Any
    data_sets: list[tuple[list[np.ndarray], list[np.ndarray]]]
    rtol: float
    atol: float

    @property
    def operators(self) -> set[str]:
        """The types of the nodes but for constants."""
        return {node.op_type for node in self.model.graph.node} - {"Constant"}

    @property
    def is_two_dimensional(self) -> bool:
        """Whether every operator that has images for its input has images (N, C, H, W)."""
        rank = {value.name: len(value.type.tensor_type.shape.dim) for value in self.model.graph.input}
        first_inputs = [node.input[0] for node in self.model.graph.node if node.op_type in OF_IMAGES]
        return all(rank[name] == 4 for name in first_inputs)


@functools.cache
def load_cases(operators: frozenset[str]) -> dict[str, Case]:
    """Every case whose graph is made of `operators`, by its name without "test_"."""
    loader = import_quietly("onnx.backend.test.loader")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own reference implementation divides by zero where it likes
        found = [_read(case) for kind in KINDS for case in loader.load_model_tests(kind=kind)]
    return {case.name: case for case in found if case.operators and case.operators <= operators}


def _read(case: Any) -> Case:
    onnx = import_quietly("onnx")
    model, data_sets = case.model, case.data_sets
    if model is None:  # it lies in a folder
        folder = Path(case.model_dir)
        model = onnx.load(folder / "model.onnx")
        data_sets = [
            tuple(_tensors(data, kind) for kind in ("input", "output"))
            for data in sorted(folder.glob("test_data_set_*"))
        ]
    return Case(case.name.removeprefix("test_"), case.kind, model, data_sets, case.rtol, case.atol)


def _tensors(folder: Path, kind: str) -> list[np.ndarray]:
    """Return input_0.pb, input_1.pb ... of `folder` as arrays."""
    onnx = import_quietly("onnx")
    paths = [folder / f"{kind}_{k}.pb" for k in range(len(list(folder.glob(f"{kind}_*.pb"))))]
    return [onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())) for path in paths]


def run(lib: Lib, case: Case, inputs: list[np.ndarray]) -> list[Any]:
    """The outputs of a graph, as arrays of `lib`."""
    onnx = import_quietly("onnx")
    graph = case.model.graph
    values: dict[str, Any] = {"": None}  # an input without a name is left out
    for tensor in graph.initializer:
        values[tensor.name] = lib.asarray(onnx.numpy_helper.to_array(tensor))
    names = [value.name for value in graph.input if value.name not in values]
    values |= dict(zip(names, map(lib.asarray, inputs), strict=True))
    for node in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            values[node.output[0]] = lib.asarray(onnx.numpy_helper.to_array(attributes["value"]))
            continue
        given = [values[name] for name in node.input]
        values |= dict(zip(node.output, RUNNERS[node.op_type](lib, attributes, given, len(node.output)), strict=True))
    return [values[value.name] for value in graph.output]
