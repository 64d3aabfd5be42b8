"""Where kernels run in these tests: on a GPU where there is one, and on the processor in any case."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests import fake_cupy
from tests.kernels import cuda_on_cpu
from tests.kernels.guards import with_guards
from tests.libraries import open_library, skip_or_fail


class Machine:
    """A CuPy, real or not, and our kernels on it."""

    def __init__(self, cupy: ModuleType, emulated: bool) -> None:
        self.xp, self.emulated = cupy, emulated
        self.kernels = importlib.import_module("xlenet.kernels.cupy_kernels")

    def asarray(self, values: Any, dtype: Any = None) -> Any:
        return self.xp.asarray(np.array(values, dtype=dtype, order="C"))

    def batch_last(self, values: Any, dtype: Any = None) -> Any:
        """An array that lies in memory as the kernels like it."""
        host = np.array(values, dtype=dtype)
        moved = self.xp.asarray(np.ascontiguousarray(np.moveaxis(host, 0, -1)))
        return moved.transpose((moved.ndim - 1, *range(moved.ndim - 1)))

    def with_gaps(self, values: Any, dtype: Any = None) -> Any:
        """An array of which every other number along each axis belongs to somebody else."""
        host = np.array(values, dtype=dtype)
        wide = self.xp.asarray(np.full([2 * size for size in host.shape], 7, host.dtype))
        view = wide[tuple(slice(1, None, 2) for _ in host.shape)]
        view[...] = self.xp.asarray(host)
        return view

    def change_order(self, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
        """Let blocks and warps run in another order from now on: a GPU does so anyway."""
        monkeypatch.setattr(cuda_on_cpu, "default_seed", seed)


@pytest.fixture(params=["g++", "cupy"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    if request.param == "cupy":
        yield Machine(open_library("cupy").xp, emulated=False)
        return
    if missing := cuda_on_cpu.missing():
        skip_or_fail("XLENET_REQUIRE_PARTNERS", "g++", missing)
    monkeypatch.setattr(cuda_on_cpu.Function, "__call__", with_guards(cuda_on_cpu.Function.__call__))
    with fake_cupy.installed() as cupy:
        yield Machine(cupy, emulated=True)
