"""Runs the tests for CuPy on the stand-in, with the CUDA kernels compiled for the processor:

    python -m pytest -p tests.fake_cupy.plugin -k "cupy and not fake_cupy"

and, quicker, without the kernels: ``XLENET_KERNELS=off``. The tests that ask the real wheel are left out by the plugin:
in such a run there is none.
"""

from __future__ import annotations

import contextlib
import os

import pytest

from tests import fake_cupy

_REAL = ("cupy_wheel",)  # fixtures that want the package itself

_running = contextlib.ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Before any test, or the library itself, has imported CuPy."""
    fake_cupy.settings.cublas_can_be_captured = os.environ.get("XLENET_KERNELS") == "off"
    _running.enter_context(fake_cupy.installed())


def pytest_unconfigure(config: pytest.Config) -> None:
    _running.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    real = [item for item in items if set(_REAL) & set(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=real)
    items[:] = [item for item in items if item not in set(real)]
