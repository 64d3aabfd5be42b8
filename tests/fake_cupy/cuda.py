"""`cupy.cuda`, and kernels from CUDA sources, which g++ compiles for the processor."""

from __future__ import annotations

import types
from typing import Any

import numpy as np

from tests.fake_cupy import memory, streams
from tests.fake_cupy.array import ndarray
from tests.fake_cupy.state import CUDARuntimeError

PROPERTIES = {
    "name": b"stand-in", "major": 9, "minor": 0, "multiProcessorCount": 4, "clockRate": 1_000_000,
    "memoryClockRate": 1_000_000, "memoryBusWidth": 256, "totalGlobalMem": 2**30, "l2CacheSize": 2**20,
    "warpSize": 32, "maxThreadsPerBlock": 1024, "sharedMemPerBlock": 49152,
}  # fmt: skip


class Device:
    """The only device there is. It cannot be hashed, as CuPy's cannot."""

    def __init__(self, device: Any = None) -> None:
        self.id = 0 if device is None else int(device)
        self._before: list[int] = []

    __hash__ = None

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def use(self) -> Device:
        return self

    def synchronize(self) -> None:
        streams.wait_for()

    compute_capability = "90"
    attributes = {"MultiProcessorCount": 4}  # noqa: RUF012


class RawKernel:
    """A kernel by its name."""

    def __init__(self, function: Any, name: str) -> None:
        self._function, self.name = function, name

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], shared_mem: int = 0
    ) -> None:
        for size in (grid, block):
            if not isinstance(size, tuple) or not all(isinstance(n, int | np.integer) and n > 0 for n in size):
                raise CUDARuntimeError(
                    f"{self.name}: got grid {grid}, block {block}; expected tuples of ints from 1 up"
                )
        raw = tuple(_argument(self.name, value) for value in args)
        grid, block = tuple(map(int, grid)), tuple(map(int, block))
        function = self._function
        streams.enqueue(lambda: function(grid, block, raw, shared_mem))


def _argument(kernel: str, value: Any) -> Any:
    if isinstance(value, ndarray):
        return value._a
    if isinstance(value, np.generic):
        return value
    raise TypeError(f"{kernel}: got an argument {value!r}; expected an array or a NumPy scalar of the exact C type")


class RawModule:
    """Kernels of a source."""

    def __init__(
        self, code: str | None = None, *, path: str | None = None, options: tuple[str, ...] = (),
        backend: str = "nvrtc", translate_cucomplex: bool = False, enable_cooperative_groups: bool = False,
        name_expressions: Any = None, jitify: Any = None,
    ) -> None:  # fmt: skip
        if not isinstance(code, str) or not isinstance(options, tuple):
            raise TypeError("RawModule: got no source as a str, or options that are no tuple")
        self._code, self._options, self._module = code, options, None

    def get_function(self, name: str) -> RawKernel:
        from tests.kernels.cuda_on_cpu import Module

        if self._module is None:
            self._module = Module(self._code, self._options)
        return RawKernel(self._module.function(name), name)


def _runtime() -> types.ModuleType:
    runtime = types.ModuleType("cupy.cuda.runtime")
    runtime.CUDARuntimeError = CUDARuntimeError
    runtime.is_hip = False
    runtime.getDevice = lambda: 0
    runtime.setDevice = lambda device: None
    runtime.getDeviceCount = lambda: 1
    runtime.driverGetVersion = runtime.runtimeGetVersion = lambda: 13000
    runtime.getDeviceProperties = lambda device: dict(PROPERTIES)
    asked = {
        "ClockRate": 1_000_000,
        "MemoryClockRate": 1_000_000,
        "MultiProcessorCount": 4,
        "GlobalMemoryBusWidth": 256,
    }
    for number, name in enumerate(asked):
        setattr(runtime, f"cudaDevAttr{name}", number)
    runtime.deviceGetAttribute = lambda attrib, device: list(asked.values())[attrib]
    runtime.deviceSynchronize = lambda: streams.wait_for()
    runtime.memGetInfo = lambda: (2**30, 2**30)
    runtime.streamCaptureModeGlobal, runtime.streamCaptureModeThreadLocal, runtime.streamCaptureModeRelaxed = 0, 1, 2
    return runtime


def make() -> types.ModuleType:
    """Make the module `cupy.cuda`."""
    cuda = types.ModuleType("cupy.cuda")
    cuda.runtime = _runtime()
    cuda.is_available = lambda: True
    for holder, names in (
        (memory, ("MemoryPool", "MemoryPointer", "PinnedMemoryPool", "PinnedMemoryPointer", "alloc",
                  "alloc_pinned_memory", "get_allocator", "using_allocator")),
        (streams, ("Event", "Graph", "Stream", "get_current_stream", "get_elapsed_time")),
    ):  # fmt: skip
        for name in names:
            setattr(cuda, name, getattr(holder, name))
    cuda.Device = Device
    return cuda
