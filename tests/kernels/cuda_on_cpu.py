"""CUDA kernels on a CPU: compiled by g++, run thread by thread, so that their numbers can be tested without a GPU.

Slow, and strict where a GPU is not: see cuda_on_cpu.h. What it cannot show is how fast a kernel is, and races between
threads that no order of running them one after another brings to light.

    module = Module(source, ("-DREAL=float",))
    module.function("add")((blocks,), (threads,), (x, y, np.int64(n)))
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HEADER = Path(__file__).with_name("cuda_on_cpu.h")

# In which order blocks and warps run where a launch does not say: 0 is backwards, any other number shuffles; with an
# even one a warp goes as far as it gets, with an odd one all warps go from one shuffle to the next together.
default_seed = 0

_FLAGS = (
    "-O1",
    "-std=c++17",
    "-shared",
    "-fPIC",
    "-w",
    "-fno-stack-protector",
    "-Wl,-Bsymbolic",
    "-ftrivial-auto-var-init=pattern",
)
_SCALARS = {
    "float": np.float32,
    "double": np.float64,
    "bool": np.bool_,
    "char": np.int8,
    "signed char": np.int8,
    "unsigned char": np.uint8,
    "short": np.int16,
    "unsigned short": np.uint16,
    "int": np.int32,
    "unsigned": np.uint32,
    "unsigned int": np.uint32,
    "long long": np.int64,
    "unsigned long long": np.uint64,
}


class CudaError(Exception):
    """A source that does not compile, a launch that a GPU would refuse, or a kernel that breaks CUDA's rules."""


class Pointer(int):
    """An address, for a kernel's pointer argument: its type is not checked."""


class Parameter(NamedTuple):
    """One parameter of a kernel, as its source declares it."""

    declared: str  # as in "const float *"
    name: str
    dtype: str  # NumPy's name of the number, or of what the pointer points to
    is_pointer: bool
    is_const: bool


def missing() -> str:
    """Return why kernels cannot be compiled here, or nothing where they can."""
    return "" if shutil.which("g++") else "g++ is not installed"


class Module:
    """The kernels of one source.

    Args:
        source: CUDA C++ with ``extern "C" __global__`` kernels; static shared memory only.
        options: -D options; others, such as -std, are passed over.
    """

    def __init__(self, source: str, options: tuple[str, ...] = ()) -> None:
        defines = tuple(option for option in options if option.startswith(("-D", "-U")))
        self._library, self.kernels = _compiled(source, defines)

    def function(self, name: str) -> Function:
        """Return the kernel `name`."""
        if name not in self.kernels:
            raise CudaError(f"no kernel {name!r} in this source; there are {sorted(self.kernels)}")
        parameters, bound = self.kernels[name]
        return Function(name, getattr(self._library, f"launch_{name}"), parameters, bound)


class Function:
    """A kernel, to be called as ``function(grid, block, args)``."""

    def __init__(self, name: str, launch: Any, parameters: tuple[Parameter, ...], bound: int) -> None:
        self.name, self.parameters, self.bound = name, parameters, bound
        self._launch = launch
        launch.restype = ctypes.c_char_p

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        shared_mem: int = 0,
        *,
        seed: int | None = None,
    ) -> None:
        """Run the kernel over a grid of blocks, to its end.

        Raises:
            CudaError: sizes or arguments that CUDA would refuse or misread, or a barrier that some threads never reach.
        """
        sizes = self._sizes(grid, block)
        if shared_mem:
            raise CudaError(f"{self.name}: got {shared_mem} bytes of dynamic shared memory; expected 0")
        if len(args) != len(self.parameters):
            raise CudaError(f"{self.name}: got {len(args)} arguments; expected {len(self.parameters)}")
        values = [self._value(p, arg) for p, arg in zip(self.parameters, args, strict=True)]
        pointers = (ctypes.c_void_p * max(len(values), 1))(*[ctypes.addressof(value) for value in values])
        order = default_seed if seed is None else seed
        error = self._launch((ctypes.c_uint * 6)(*sizes), pointers, ctypes.c_uint(order))
        if error:
            raise CudaError(f"{self.name}: {error.decode()}")

    def _sizes(self, grid: tuple[int, ...], block: tuple[int, ...]) -> tuple[int, ...]:
        if not (1 <= len(grid) <= 3 and 1 <= len(block) <= 3):
            raise CudaError(f"{self.name}: got grid {grid}, block {block}; expected one to three sizes each")
        grid, block = (*grid, 1, 1)[:3], (*block, 1, 1)[:3]
        if not all(isinstance(size, int) for size in (*grid, *block)):
            raise CudaError(f"{self.name}: got grid {grid}, block {block}; expected Python ints")
        if min(*grid, *block) < 1 or grid[0] >= 2**31 or max(grid[1:]) > 65535:
            raise CudaError(f"{self.name}: got grid {grid}, block {block}; expected 1 to (2**31 - 1, 65535, 65535)")
        if math.prod(block) > self.bound or block[2] > 64:
            raise CudaError(f"{self.name}: got blocks of {block}; expected at most {self.bound} threads, 64 along z")
        return (*grid, *block)

    def _value(self, parameter: Parameter, arg: Any) -> Any:
        """Return `arg` as a ctypes value of the parameter's type."""
        where = f"{self.name}: parameter {parameter.declared} {parameter.name}"
        if parameter.is_pointer:
            return ctypes.c_void_p(_address(where, parameter, arg))
        if not isinstance(arg, np.generic) or arg.dtype != np.dtype(parameter.dtype):
            came = f"{type(arg).__module__}.{type(arg).__name__}"
            raise CudaError(f"{where}: got a {came}; expected a numpy.{parameter.dtype}, which CUDA reads as it is")
        return (ctypes.c_char * arg.itemsize).from_buffer_copy(arg.tobytes())


def _address(where: str, parameter: Parameter, arg: Any) -> int:
    if isinstance(arg, Pointer):
        return int(arg)
    if not isinstance(arg, np.ndarray):
        raise CudaError(f"{where}: got a {type(arg).__name__}; expected an array or a Pointer")
    if arg.dtype != np.dtype(parameter.dtype):
        raise CudaError(f"{where}: got an array of {arg.dtype}; expected one of {parameter.dtype}")
    if not (parameter.is_const or arg.flags.writeable):
        raise CudaError(f"{where}: got a read-only array; expected one that may be written to")
    return int(arg.ctypes.data)


# ==== compilation ====


@functools.cache
def _compiled(source: str, defines: tuple[str, ...]) -> tuple[Any, dict[str, tuple[tuple[Parameter, ...], int]]]:
    parts = (HEADER.read_text(), source, *defines, *_FLAGS)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    folder = Path(tempfile.gettempdir()) / f"xlenet-cuda-on-cpu-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library, described = folder / f"{key}.so", folder / f"{key}.json"
    if not (library.exists() and described.exists()):
        _compile(source, defines, library, described)
    signatures = json.loads(described.read_text())
    kernels = {name: (tuple(Parameter(*p) for p in rows), bound) for name, (rows, bound) in signatures.items()}
    return ctypes.PyDLL(str(library)), kernels  # PyDLL: one launch at a time, whatever threads Python has


def _compile(source: str, defines: tuple[str, ...], library: Path, described: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        file, built, signatures = Path(scratch, "kernels.cpp"), Path(scratch, "built.so"), Path(scratch, "built.json")
        file.write_text(f'#include "{HEADER}"\n#line 1 "source"\n{source}\n')
        expanded = _gxx("-E", "-P", "-std=c++17", *defines, str(file))
        kernels = _signatures(expanded)
        file.write_text(file.read_text() + "".join(_launcher(name, rows) for name, (rows, _) in kernels.items()))
        # The two names are left alone above, so that kernels are found by them.
        erased = ("-D__global__=", "-D__launch_bounds__(...)=")
        _gxx(*_FLAGS, *defines, *erased, str(file), "-o", str(built))
        signatures.write_text(json.dumps(kernels))
        built.replace(library)
        signatures.replace(described)


def _gxx(*arguments: str) -> str:
    done = subprocess.run(["g++", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CudaError(f"g++ {' '.join(arguments)}\n{done.stderr}")
    return done.stdout


_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\(\s*(?P<bound>[^),]+)[^)]*\)\s*)?(?P<name>\w+)\s*'
    r"\((?P<parameters>[^)]*)\)\s*\{"
)


def _signatures(expanded: str) -> dict[str, tuple[tuple[Parameter, ...], int]]:
    found = {}
    for kernel in _KERNEL.finditer(expanded):
        declared = [text.strip() for text in kernel["parameters"].split(",") if text.strip()]
        bound = math.prod(map(int, (kernel["bound"] or "1024").split("*")))
        found[kernel["name"]] = (tuple(_parameter(text) for text in declared), bound)
    if len(found) != expanded.count("__global__"):
        raise CudaError(f'found kernels {sorted(found)}; expected every __global__ as extern "C" __global__ void name(')
    return found


def _parameter(text: str) -> Parameter:
    matched = re.fullmatch(r"(?P<type>.*?)(?P<name>\w+)", text, re.DOTALL)
    assert matched is not None, text
    declared = " ".join(matched["type"].split())
    is_pointer = "*" in declared
    pointee = declared.partition("*")[0]
    number = " ".join(word for word in pointee.split() if word not in ("const", "volatile"))
    if number not in _SCALARS or declared.count("*") > 1:
        raise CudaError(f"a kernel's parameter {text!r}: expected a number or a pointer to numbers")
    return Parameter(declared, matched["name"], np.dtype(_SCALARS[number]).name, is_pointer, "const" in pointee.split())


def _launcher(name: str, parameters: tuple[Parameter, ...]) -> str:
    given = ", ".join(f"*({p.declared} *)a[{i}]" for i, p in enumerate(parameters))
    return (
        f'extern "C" const char *launch_{name}(const unsigned *sizes, void **args, unsigned seed) '
        f"{{ return cuda_on_cpu::launch([](void **a) {{ {name}({given}); }}, sizes, args, seed); }}\n"
    )
