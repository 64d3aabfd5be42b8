"""NVIDIA's run-time compiler, which needs neither a driver nor a GPU, called by its C interface."""

from __future__ import annotations

import ctypes
import functools
import glob
import importlib.util
from pathlib import Path
from typing import NamedTuple

from tests.libraries import skip_or_fail


class Compiled(NamedTuple):
    """What came out: the GPU's code, and what the compiler said, registers and spills of each kernel included."""

    cubin: bytes
    log: str


def compile_source(source: str, options: tuple[str, ...]) -> Compiled:
    """Compile a source, or fail with the compiler's own words."""
    library, program = _library(), ctypes.c_void_p()
    _ask(library.nvrtcCreateProgram, ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    words = [option.encode() for option in options]
    failed = library.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*words))
    log = _text(library.nvrtcGetProgramLogSize, library.nvrtcGetProgramLog, program).decode().strip("\0")
    assert not failed, log
    cubin = _text(library.nvrtcGetCUBINSize, library.nvrtcGetCUBIN, program)
    _ask(library.nvrtcDestroyProgram, ctypes.byref(program))
    return Compiled(cubin, log)


def version() -> tuple[int, int]:
    """Return the compiler's version, as (12, 9)."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _ask(_library().nvrtcVersion, ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def _text(size_of: object, get: object, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    _ask(size_of, program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    _ask(get, program, buffer)
    return buffer.raw


def _ask(function: object, *args: object) -> None:
    status = function(*args)
    assert status == 0, f"NVRTC answers with status {status}"


@functools.cache
def _library() -> ctypes.CDLL:
    found = [library for library in map(_opened, _places()) if library is not None]
    if not found:
        reason = "NVRTC is not installed (the wheel nvidia-cuda-nvrtc-cu12 has it)"
        skip_or_fail("XLENET_REQUIRE_PARTNERS", "nvrtc", reason)
    return found[0]


def _opened(path: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(path)
    except OSError:
        return None


def _places() -> list[str]:
    """Where NVIDIA's wheels and the CUDA toolkit put it."""
    wheels = importlib.util.find_spec("nvidia")
    folders = [] if wheels is None else list(wheels.submodule_search_locations or ())
    patterns = [str(Path(folder, "*", "lib", "libnvrtc.so.*")) for folder in folders]
    patterns.append("/usr/local/cuda*/lib64/libnvrtc.so")
    found = [path for pattern in patterns for path in sorted(glob.glob(pattern))]
    return [path for path in found if ".alt." not in path]
