"""The partners of these tests."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.libraries import open_partner


@pytest.fixture(scope="session")
def onnx() -> ModuleType:
    """The package that reads, writes and checks the files."""
    return open_partner("onnx", "onnx")


@pytest.fixture(scope="session")
def runtime(onnx: ModuleType) -> Callable[[Path, np.ndarray], np.ndarray]:
    """ONNX Runtime: runs a file on x and returns its first output."""
    module = open_partner("onnxruntime", "onnxruntime")

    def run(path: Path, x: np.ndarray) -> np.ndarray:
        options = module.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        session = module.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        (y,) = session.run(None, {session.get_inputs()[0].name: x})[:1]
        return np.asarray(y)

    return run


@pytest.fixture(scope="session")
def reference(onnx: ModuleType) -> Callable[[Path, np.ndarray], np.ndarray]:
    """The evaluator that comes with onnx and computes with NumPy: slow, and it knows doubles."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.reference import ReferenceEvaluator

    def run(path: Path, x: np.ndarray) -> np.ndarray:
        session = ReferenceEvaluator(str(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(session.run(None, {session.input_names[0]: x})[0])

    return run
