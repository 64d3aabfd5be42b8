"""What there is to compute with on this machine, asked in such a way that nothing has to be installed."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import shlex
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import BackendError
from . import gpu
from .choice import Backend, _chosen, current, resolve_backend
from .driver import Driver as Driver
from .driver import find_driver as find_driver

# What decides how many threads a BLAS uses, whichever it is.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
_TF32_VARIABLES = ("CUPY_TF32", "NVIDIA_TF32_OVERRIDE")
_TRAINING = ("matplotlib", "pillow", "safetensors", "threadpoolctl", "tqdm")
_OPTIONAL = (*_TRAINING, "onnx", "array-api-strict", "torch", "jax")
# What is imported of the packages that commands use; those of others take seconds, and are their callers' own.
_IMPORTED = {
    "matplotlib": "matplotlib.figure", "pillow": "PIL.Image", "safetensors": "safetensors.numpy",
    "threadpoolctl": "threadpoolctl", "tqdm": "tqdm", "onnx": "onnx", "array-api-strict": "array_api_strict",
}  # fmt: skip


# ==== what is installed ====


def versions() -> dict[str, str | None]:
    """Return the version of each optional package; None where it is not installed."""
    return {name: _version(name) for name in _OPTIONAL}


def broken() -> dict[str, str]:
    """Return the packages that commands of xlenet use, and that are there and do not import: why, in a line."""
    whys = {name: why_broken(module) for name, module in _IMPORTED.items()}
    return {name: why for name, why in whys.items() if why}


def why_broken(module: str) -> str:
    """Return why a module that is there does not import; nothing if it does, or is not there.

    Example:
        >>> why_broken("json"), why_broken("no_such_module")
        ('', '')
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):  # what a package prints is no answer
            warnings.simplefilter("ignore")  # of the packages that it needs: nobody here can mend them
            importlib.import_module(module)
    except ModuleNotFoundError as error:
        return "" if error.name == module.partition(".")[0] else gpu.in_a_line(error)
    except (Exception, SystemExit) as error:  # a package that does not fit its dependencies fails in ways of its own
        return gpu.in_a_line(error)
    return ""


def _version(name: str) -> str | None:
    from importlib import metadata  # slow to load

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def cupy_packages() -> dict[str, str]:
    """Return all packages that are CuPy; two of them overwrite each other's files."""
    return gpu.installed()


def conflict() -> str:
    """Return what to say about two CuPys in one place; nothing where there are not two."""
    try:
        gpu.check_wheels()
    except BackendError as error:
        return str(error)
    return ""


# ==== which backend, and why ====


def choice(argument: str | None) -> tuple[str | Backend, str]:
    """Return the backend that would be used, and who has chosen it: the argument, `use_backend`, the environment, or
    nobody.
    """
    if argument is not None:
        return argument, "--backend says so"
    if (inside := _chosen.get()) is not None:
        return inside, "use_backend says so"
    if name := os.environ.get("XLENET_BACKEND"):
        return name, "XLENET_BACKEND says so"
    return "numpy", "the default: neither --backend nor XLENET_BACKEND says another"


def why_no_gpu() -> str:
    """Return why CuPy cannot be used; nothing if it can."""
    try:
        resolve_backend("cupy")
    except BackendError as error:
        return str(error)
    return ""


# ==== the GPU, which CuPy is asked for ====


def gpu_state(backend: Backend) -> dict[str, Any]:
    """Return what CuPy says of the GPU that `backend` computes on: name, versions, memory, and its pool's.

    Only of a backend that is known to work.
    """
    xp = backend.xp
    with current(backend):
        runtime = xp.cuda.runtime
        number = runtime.getDevice()
        properties, (free, total) = runtime.getDeviceProperties(number), runtime.memGetInfo()
        pool = xp.get_default_memory_pool()
        return {
            "device": number,
            "name": properties["name"].decode(errors="replace"),
            "compute_capability": f"{properties['major']}.{properties['minor']}",
            "driver_cuda": gpu.readable(runtime.driverGetVersion()),
            "runtime_cuda": gpu.readable(runtime.runtimeGetVersion()),
            "memory_total": int(total),
            "memory_free": int(free),
            "pool_used": int(pool.used_bytes()),
            "pool_held": int(pool.total_bytes()),
        }


def driver_seen_by(backend: Backend) -> Driver:
    """Return what CuPy says of the driver, where `backend` computes on a GPU."""
    runtime = backend.xp.cuda.runtime
    names = (runtime.getDeviceProperties(number)["name"] for number in range(runtime.getDeviceCount()))
    return Driver(runtime.driverGetVersion(), "", tuple(name.decode(errors="replace") for name in names))


def is_on_gpu(backend: Backend) -> bool:
    """Return whether `backend` computes on a GPU."""
    return bool(backend.xp.__name__ == "cupy")


def tf32() -> dict[str, Any]:
    """Return whether products of float32 numbers may be rounded to TF32 on a GPU, and the variables that decide it.

    CuPy leaves it off, and so do the kernels of this library; a driver's override goes before both.
    """
    variables = _set(_TF32_VARIABLES)
    override = variables.get("NVIDIA_TF32_OVERRIDE")
    on = override == "1" or (override != "0" and variables.get("CUPY_TF32", "0") not in ("0", ""))
    return {"on": on, "variables": variables}


def _set(names: Sequence[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


# ==== the processor and its BLAS ====


def processor() -> dict[str, Any]:
    """Return what is known of the processor."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"os": platform.uname()[0], "machine": platform.machine(), "cores": os.cpu_count(), "usable": usable}


def blas() -> dict[str, Any]:
    """Return which BLAS NumPy was built with, which are loaded and with how many threads, and the variables that say
    how many.
    """
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[call-arg,index,unused-ignore]
    return {
        "name": str(built.get("name", "unknown")),
        "version": str(built.get("version", "unknown")),
        "loaded": _loaded(),
        "variables": _set(_THREAD_VARIABLES),
    }


def _loaded() -> list[dict[str, Any]] | None:
    try:
        from threadpoolctl import threadpool_info
    except (Exception, SystemExit):  # absent, or broken: said among the versions
        return None
    wanted = ("internal_api", "version", "num_threads", "threading_layer", "architecture")
    return [{name: pool.get(name) for name in wanted} for pool in threadpool_info() if pool.get("user_api") == "blas"]


# ==== what to install ====


class Advice(NamedTuple):
    """How to install xlenet on this machine.

    Attributes:
        command: to be pasted as it stands.
        why: what was found.
        missing: packages that it would bring.
    """

    command: str
    why: str
    missing: tuple[str, ...]


def advice(driver: Driver | None) -> Advice:
    """Return the command that installs what suits a machine with this driver."""
    there = gpu.installed()
    missing = tuple(name for name in _TRAINING if _version(name) is None)
    if driver is None or not driver.devices:
        why = "no NVIDIA driver" if driver is None else "an NVIDIA driver that finds no GPU"
        return Advice(_install("train"), why, missing)
    major = driver.cuda // 1000
    said = f"{driver.devices[0]} with a driver for CUDA {gpu.readable(driver.cuda)}"
    if major < gpu.OLDEST_CUDA:
        return Advice(_install("train"), f"{said}, which is too old for CuPy: update the driver", missing)
    major = min(major, gpu.NEWEST_CUDA)
    wheel = f"cupy-cuda{major}x"
    suits = list(there) == [wheel]
    instead = "" if suits or not there else f"{_pip()} uninstall -y {' '.join(there)} && "
    return Advice(instead + _install(f"train,cuda{major}"), said, missing if suits else (*missing, wheel))


def _install(extras: str) -> str:
    """Return the command for a checkout, where this is one, else for a package."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file() and (checkout / "xlenet").is_dir():
        return f"{_pip()} install -e {_quoted(f'{checkout}[{extras}]')}"
    return f'{_pip()} install "xlenet[{extras}]"'


def _pip() -> str:
    """Return what calls the pip of this very Python: by its short name alone where that finds it."""
    found = shutil.which("pip")
    if found and Path(found).parent == Path(sys.executable).parent:
        return "pip"
    return f"{_quoted(sys.executable)} -m pip"


def _quoted(text: str) -> str:
    return f'"{text}"' if sys.platform == "win32" else shlex.quote(text)
