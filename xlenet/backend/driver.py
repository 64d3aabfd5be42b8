"""The driver of NVIDIA's GPUs, asked without CuPy."""

from __future__ import annotations

import ctypes
import sys
from typing import Any, NamedTuple


class Driver(NamedTuple):
    """The driver of NVIDIA's GPUs.

    Attributes:
        cuda: the newest version of CUDA that it runs, as in 13000 for 13.0.
        release: its own version, as in "580.65.06"; empty where nobody says.
        devices: the names of the GPUs that are visible.
    """

    cuda: int
    release: str
    devices: tuple[str, ...]


def find_driver() -> Driver | None:
    """Return what the driver says of itself; None where there is none.

    Raises:
        OSError: it is there, and does not answer.
    """
    cuda = _library("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    if cuda is None:
        return None
    version = ctypes.c_int()
    _call(cuda, "cuDriverGetVersion", ctypes.byref(version))
    return Driver(version.value, _release(), _devices(cuda))


def _library(name: str) -> Any:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _call(library: Any, function: str, *arguments: Any) -> None:
    status = getattr(library, function)(*arguments)
    if status != 0:
        raise OSError(f"{function} answers with error {status}")


def _devices(cuda: Any) -> tuple[str, ...]:
    """Return the names of the GPUs; none where the driver finds none, or none that is visible."""
    count = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    names = []
    for number in range(count.value):
        device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
        _call(cuda, "cuDeviceGet", ctypes.byref(device), number)
        _call(cuda, "cuDeviceGetName", name, 256, device)
        names.append(name.value.decode(errors="replace"))
    return tuple(names)


def _release() -> str:
    management = _library("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    if management is None or management.nvmlInit_v2() != 0:
        return ""
    try:
        text = ctypes.create_string_buffer(96)
        failed = management.nvmlSystemGetDriverVersion(text, 96)
        return "" if failed else text.value.decode(errors="replace")
    finally:
        management.nvmlShutdown()
