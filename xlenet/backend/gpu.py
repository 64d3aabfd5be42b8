"""Why a GPU cannot be used: each cause told apart, with what was found and the one command that cures it."""

from __future__ import annotations

import contextlib
import os
import re

from ..errors import BackendError
from .driver import find_driver
from .libraries import Namespace

# What can be installed as CuPy. Two of them write to the same folder, and the second spoils the first.
_WHEELS = (
    "cupy", "amd-cupy", *(f"cupy-cuda{cuda}" for cuda in (102, *range(110, 118), "11x", "12x", "13x")),
    *(f"cupy-rocm-{rocm}" for rocm in ("4-2", "4-3", "5-0", "7-0", "7-1", "7-14")),
)  # fmt: skip
OLDEST_CUDA, NEWEST_CUDA = 12, 13  # for which there are wheels of CuPy 14
_OTHERWISE = "or --backend numpy"
_WRITE_12 = "cuda12 in this where nvidia-smi says CUDA 12"  # the command behind it is for the newest

# Numbers of CUDA's errors: they stay, and their names are only in the text.
_DRIVER_TOO_OLD, _NO_DEVICE = 35, 100

# How CuPy, its loader, NVRTC and the system say that a part of CUDA is not there.
_ABSENT = re.compile(
    r"CUDA headers|open source file|failed to load|Failure finding|open shared object|Could not find module|DLL load"
)
_NO_MEMORY = re.compile(r"cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|STATUS_ALLOC(ATION)?_FAILED")


# ==== what is installed ====


def check_wheels() -> None:
    """Refuse two CuPys in one place, of which `import cupy` only warns."""
    found = installed()
    if len(found) > 1:
        came = " and ".join(f"{name} {version}" for name, version in found.items())
        raise BackendError(
            f"backend cupy: got {came}, which overwrite each other's files; expected one of them, {_OTHERWISE}; "
            f"{_WRITE_12}: {_instead(NEWEST_CUDA)}"
        )


def installed() -> dict[str, str]:
    """Return the packages that are CuPy, with their versions."""
    from importlib import metadata  # slow to load, and asked for CuPy's sake alone

    found = {}
    for name in _WHEELS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def not_imported(error: BaseException) -> BackendError:
    """Return what to say about a CuPy that does not import."""
    if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
        if _is_without_driver():  # which no package brings
            return BackendError(
                f"backend cupy: got no NVIDIA driver, and no such package installed; expected a GPU with both, "
                f"{_OTHERWISE}; first install the driver (in a container: start it with --gpus all), until this shows "
                "the GPU: nvidia-smi"
            )
        return BackendError(
            f"backend cupy: got no such package installed; expected a working cupy, {_OTHERWISE}; "
            f"{_WRITE_12}: {_instead(NEWEST_CUDA)}"
        )
    if is_part_absent(error):
        return _without_a_part(error, _major(None))
    if _is_about_a_file(error):
        return _without_a_cache("cupy", error)
    return BackendError(
        f"backend cupy: got a package that does not import ({in_a_line(error)}); expected a working cupy, "
        f"{_OTHERWISE}; {_instead(_major(None))}"
    )


def _is_without_driver() -> bool:
    try:
        return find_driver() is None
    except OSError:  # it is there, and does not answer
        return False


def check_version(xp: Namespace) -> None:
    """Refuse a CuPy without the array API's names."""
    if int(xp.__version__.partition(".")[0]) < 14:
        raise BackendError(
            f"backend cupy: got CuPy {xp.__version__}; expected 14 or later, which has the array API's names, "
            f"{_OTHERWISE}; {_instead(_major(xp))}"
        )


# ==== the driver and its devices ====


def check_devices(xp: Namespace, name: str, device: int) -> None:
    """Refuse a machine without the GPU number `device`. CuPy imports all the same, and fails later, in its first call.

    Args:
        xp: CuPy.
        name: the backend's name, for messages.
        device: number of the GPU among those that are visible.
    """
    runtime = xp.cuda.runtime
    driver, wheel = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if driver == 0:
        raise BackendError(
            f"backend {name}: got no NVIDIA driver; expected one, and a GPU, {_OTHERWISE}; install the driver (in a "
            "container: start it with --gpus all), until this shows the GPU: nvidia-smi"
        )
    if driver // 1000 < wheel // 1000:  # within one major version CUDA runs with older drivers, too
        raise _old_driver(name, driver, wheel)
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        status = getattr(error, "status", None)
        if status == _DRIVER_TOO_OLD:
            raise _old_driver(name, driver, wheel) from error
        if status == _NO_DEVICE:
            raise _no_device(name) from error
        raise BackendError(
            f"backend {name}: got {in_a_line(error)}; expected a usable NVIDIA GPU, {_OTHERWISE}; see whether the "
            "driver works: nvidia-smi"
        ) from error
    if count == 0:
        raise _no_device(name)
    if device >= count:
        raise BackendError(
            f"backend {name}: got device {device} of {count} (CUDA_VISIBLE_DEVICES: {_visible()}); expected a number "
            f"below {count}, {_OTHERWISE}; choose another device"
        )


def _old_driver(name: str, driver: int, wheel: int) -> BackendError:
    fits = OLDEST_CUDA <= driver // 1000 < wheel // 1000
    cure = _instead(driver // 1000) if fits else "update the driver; which one is there, says: nvidia-smi"
    return BackendError(
        f"backend {name}: got an NVIDIA driver for CUDA {readable(driver)}, and CuPy for CUDA {readable(wheel)}; "
        f"expected a driver that is new enough, {_OTHERWISE}; {cure}"
    )


def _no_device(name: str) -> BackendError:
    cure = "see which the driver finds: nvidia-smi"
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        cure = "unset CUDA_VISIBLE_DEVICES"
    return BackendError(
        f"backend {name}: got no visible GPU (CUDA_VISIBLE_DEVICES: {_visible()}); expected one, {_OTHERWISE}; {cure}"
    )


def _visible() -> str:
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "not set" if value is None else repr(value)


# ==== computing ====


def cannot_compute(xp: Namespace, name: str, error: Exception) -> BackendError:
    """Return what to say where devices are counted, and a first computation on one fails."""
    if is_part_absent(error):
        return _without_a_part(error, _major(xp))
    if _is_about_a_file(error):
        return _without_a_cache(name, error)
    if is_out_of_memory(error):
        return BackendError(
            f"backend {name}: got a GPU without free memory ({in_a_line(error)}{memory_in_use(xp)}); expected some, "
            f"{_OTHERWISE}; see who holds it: nvidia-smi"
        )
    return BackendError(
        f"backend {name}: got {in_a_line(error)} in a first computation; expected a GPU that computes, {_OTHERWISE}; "
        "see whether the driver works: nvidia-smi"
    )


def is_part_absent(error: BaseException | None) -> bool:
    """Return whether `error`, or what led to it, says that CUDA's compiler, headers or a library are not there."""
    while error is not None:
        if _ABSENT.search(str(error)):
            return True
        error = error.__cause__
    return False


def _without_a_part(error: BaseException, major: int) -> BackendError:
    wheel = f"cupy-cuda{major}x"
    # Beside a CuPy that is no wheel, another one would spoil both.
    cure = f'pip install "{wheel}[ctk]"' if wheel in installed() else _instead(major)
    return BackendError(
        f"backend cupy: got CuPy without CUDA's compiler, headers or libraries ({in_a_line(error)}); expected them "
        f"beside it, {_OTHERWISE}; {cure}"
    )


def _is_about_a_file(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.filename is not None


def _without_a_cache(name: str, error: BaseException) -> BackendError:
    return BackendError(
        f"backend {name}: got no folder for compiled kernels ({in_a_line(error)}); expected one that can be written, "
        f"{_OTHERWISE}; export CUPY_CACHE_DIR=$(mktemp -d)"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` is a library's or a driver's word for memory that is used up, of the host or of a GPU."""
    return isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)) is not None


def memory_in_use(xp: Namespace) -> str:
    """Return how full CuPy's pool and the current GPU are, to stand behind another text; nothing if nobody can tell."""
    try:
        pool, (free, total) = xp.get_default_memory_pool(), xp.cuda.runtime.memGetInfo()
        used, held = pool.used_bytes(), pool.total_bytes()
    except Exception:  # a driver that has just failed need not answer
        return ""
    return f"; {used:,} of the pool's {held:,} bytes in use; {free:,} of the GPU's {total:,} bytes free"


# ==== words ====


def in_a_line(error: BaseException) -> str:
    r"""Return an error's type and text without line breaks, and not too long: compilers print whole sources.

    Example:
        >>> in_a_line(RuntimeError("first line\n  second line"))
        'RuntimeError: first line second line'
    """
    while isinstance(error, ImportError) and error.__cause__ is not None:  # CuPy wraps it in a page of advice
        error = error.__cause__
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text if len(text) <= 200 else text[:197] + '...'}"


def readable(version: int) -> str:
    """Return one of CUDA's version numbers as people write it.

    Example:
        >>> readable(12080)
        '12.8'
    """
    return f"{version // 1000}.{version % 1000 // 10}"


def _major(xp: Namespace | None) -> int:
    """Return the version of CUDA that CuPy was made for, as far as there are wheels."""
    wheels = [name for name in installed() if name.startswith("cupy-cuda") and name.endswith("x")]
    if wheels:
        major = int(wheels[0].removeprefix("cupy-cuda").removesuffix("x"))
    else:
        major = xp.cuda.runtime.runtimeGetVersion() // 1000 if xp is not None else NEWEST_CUDA
    return min(max(major, OLDEST_CUDA), NEWEST_CUDA)


def _instead(major: int) -> str:
    """Return the command that puts the wheel for a version of CUDA in the place of what is installed."""
    there, new = " ".join(installed()), f'pip install "xlenet[cuda{major}]"'
    return f"pip uninstall -y {there} && {new}" if there else new
