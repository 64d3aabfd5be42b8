"""What every test can ask for.

Environment variables (comma-separated lists): ``XLENET_REQUIRE_BACKENDS=cupy`` and
``XLENET_REQUIRE_PARTNERS=torch,jax`` turn the skip for a missing library or partner into a failure;
``XLENET_DATA_DIR`` is where real MNIST lies.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.libraries import LIBRARIES, Lib, open_library, open_partner, skip_or_fail, skip_reasons

# JAX is a second opinion on the CPU, as PyTorch is. Else it would put its arrays on a GPU that it finds, and take three
# quarters of the GPU's memory, in each process that imports it. (Read when JAX is imported, also by children.)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

# Derandomised: a run in CI draws the examples of the run before it. No deadline: a shared machine stalls at times.
settings.register_profile(
    "xlenet",
    derandomize=True,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("xlenet")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Let the report say once, with a count, that a library is missing, and not once for every test that wanted it."""
    report = yield
    if report.skipped and call.when == "setup" and isinstance(report.longrepr, tuple):
        text = report.longrepr[2]
        if text.removeprefix("Skipped: ") in skip_reasons:
            report.longrepr = (str(Path(__file__)), None, text)
    return report


@pytest.fixture(scope="session", params=LIBRARIES)
def lib(request: pytest.FixtureRequest) -> Lib:
    """Each array library present, one after the other."""
    return open_library(request.param)


@pytest.fixture(scope="session")
def xp(lib: Lib) -> ModuleType:
    """The module of `lib`."""
    return lib.xp


@pytest.fixture(scope="session", params=[name for name in LIBRARIES if name != "numpy"])
def device_lib(request: pytest.FixtureRequest) -> Lib:
    """Each library whose arrays are out of NumPy's reach."""
    return open_library(request.param)


@pytest.fixture(scope="session")
def numpy_lib() -> Lib:
    """NumPy alone, for what does not depend on the library."""
    return open_library("numpy")


@pytest.fixture
def rng() -> np.random.Generator:
    """The same numbers in every test, whichever tests run beside it."""
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """PyTorch on the CPU, as a second opinion."""
    module = open_partner("torch", "torch")
    module.set_num_threads(1)
    return module


@pytest.fixture(scope="session")
def cupy_wheel() -> ModuleType:
    """The CuPy package itself, which imports without a GPU: to ask which names it has."""
    return open_partner("cupy-wheel", "cupy")


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with the real MNIST files."""
    folder = os.environ.get("XLENET_DATA_DIR")
    if not folder:
        skip_or_fail("XLENET_REQUIRE_PARTNERS", "mnist", "real MNIST: XLENET_DATA_DIR is not set")
    path = Path(folder)
    assert path.is_dir(), f"XLENET_DATA_DIR is {folder}, which is no folder"
    return path
