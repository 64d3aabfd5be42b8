"""A stand-in for CuPy 14 on a machine without a GPU: the same names, computed by NumPy, and strict where CuPy is.

It shows what no other test without a GPU can: where the host waits for the device, what goes wrong when a stream is
captured into a CUDA graph, and whose memory a graph still reads after it was freed. Its kernels are the real CUDA
sources, compiled for the processor.

    with fake_cupy.installed() as cupy: ...      # `import cupy` gives the stand-in inside the block
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any

from tests.fake_cupy import cuda, functions
from tests.fake_cupy.array import ndarray
from tests.fake_cupy.cuda import RawKernel, RawModule
from tests.fake_cupy.state import counters, settings

__all__ = ["counters", "installed", "ndarray", "settings"]

_KERNELS = "xlenet.kernels.cupy_kernels"


def _make() -> types.ModuleType:
    cupy = types.ModuleType("cupy", __doc__)
    cupy.__version__ = "14.2.0"
    for name, value in functions.everything().items():
        setattr(cupy, name, value)
    cupy.cuda, cupy.RawModule, cupy.RawKernel = cuda.make(), RawModule, RawKernel
    return cupy


_module = _make()


@contextlib.contextmanager
def installed() -> Iterator[types.ModuleType]:
    """Let ``import cupy`` give the stand-in inside the block, and forget everything about it behind the block."""
    with _modules({"cupy": _module, "cupy.cuda": _module.cuda, "cupy.cuda.runtime": _module.cuda.runtime}):
        _forget()
        counters.reset()
        try:
            yield _module
        finally:
            _forget()


@contextlib.contextmanager
def _modules(mine: dict[str, Any]) -> Iterator[None]:
    """Exchange all modules of CuPy, and those of ours that have taken it in."""
    before = {name: module for name, module in sys.modules.items() if _is_of_cupy(name)}
    for name in before:
        del sys.modules[name]
    sys.modules.update(mine)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _is_of_cupy(name)]:
            del sys.modules[name]
        sys.modules.update(before)
        package = sys.modules.get("xlenet.kernels")
        if package is not None and hasattr(package, "cupy_kernels"):
            del package.cupy_kernels
            if _KERNELS in before:
                package.cupy_kernels = before[_KERNELS]


def _is_of_cupy(name: str) -> bool:
    return name.partition(".")[0] in ("cupy", "cupyx") or (name.startswith("xlenet.kernels.") and "cu" in name)


def _forget() -> None:
    """Clear what xlenet remembers of its libraries."""
    from xlenet.backend import choice, libraries

    caches = [choice.resolve_backend, libraries.namespace_of_type]
    seam = sys.modules.get("xlenet.backend.seam")
    if seam is not None:
        caches += [seam._kernel, seam._kernels, seam._kind, seam.kernels_on]
    for cached in caches:
        cached.cache_clear()
