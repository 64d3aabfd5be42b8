"""The ways in which a GPU can be missing: each has a message of its own, with the cause and one command that cures it.

No GPU is needed: CuPy is a stand-in, in which one thing at a time is made to fail in the words of the real one.
"""

from __future__ import annotations

import errno
import importlib.metadata
import logging
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from tests import fake_cupy
from tests.train_on_tiny_data import tiny_dataset
from xlenet import backend, errors, train
from xlenet.backend import gpu
from xlenet.backend.driver import Driver
from xlenet.kernels import cuda_launch


class CUDARuntimeError(RuntimeError):
    """As CuPy's: a number, and a text that begins with its name."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


class World:
    """A machine with a GPU, a driver for CUDA 13.0 and a wheel of CuPy; a test takes something away."""

    def __init__(self, cupy: Any, patch: pytest.MonkeyPatch) -> None:
        self.cupy, self.patch, self.runtime = cupy, patch, cupy.cuda.runtime
        patch.setattr(self.runtime, "CUDARuntimeError", CUDARuntimeError)
        self.wheels = {"cupy-cuda13x": "14.2.0"}
        patch.setattr(importlib.metadata, "version", self._version)

    def _version(self, name: str) -> str:
        if name not in self.wheels:
            raise importlib.metadata.PackageNotFoundError(name)
        return self.wheels[name]

    def versions(self, *, driver: int, wheel: int = 13000) -> None:
        self.patch.setattr(self.runtime, "driverGetVersion", lambda: driver)
        self.patch.setattr(self.runtime, "runtimeGetVersion", lambda: wheel)
        self.wheels = {f"cupy-cuda{wheel // 1000}x": "14.2.0"}

    def counting_fails(self, status: int, text: str) -> None:
        self.patch.setattr(self.runtime, "getDeviceCount", raising(CUDARuntimeError(status, text)))

    def computing_fails(self, error: Exception) -> None:
        self.patch.setattr(self.cupy, "matmul", raising(error))

    def memory_is_full(self) -> None:
        self.patch.setattr(self.runtime, "memGetInfo", lambda: (1_024, 85_000_000_000))
        pool = types.SimpleNamespace(used_bytes=lambda: 16, total_bytes=lambda: 512)
        self.patch.setattr(self.cupy, "get_default_memory_pool", lambda: pool)

    def import_fails(self, error: Exception) -> None:
        self.patch.delitem(sys.modules, "cupy")
        finder = types.SimpleNamespace(find_spec=lambda name, *_: raising(error)() if name == "cupy" else None)
        self.patch.setattr(sys, "meta_path", [finder])


def raising(error: Exception) -> Callable[..., NoReturn]:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise error

    return fail


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for variable in ("XLENET_BACKEND", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(variable, raising=False)
    with fake_cupy.installed() as cupy, pytest.MonkeyPatch.context() as patch:
        yield World(cupy, patch)


# ==== where CuPy cannot be used at all ====


def not_installed(world: World) -> None:
    world.patch.setattr(gpu, "find_driver", lambda: Driver(13000, "", ("a GPU",)))
    world.wheels = {}
    world.import_fails(ModuleNotFoundError("No module named 'cupy'", name="cupy"))


def neither_installed_nor_a_driver(world: World) -> None:
    not_installed(world)
    world.patch.setattr(gpu, "find_driver", lambda: None)


def no_driver(world: World) -> None:
    world.versions(driver=0)


def driver_too_old(world: World) -> None:
    world.versions(driver=12040)


def driver_older_than_any_wheel(world: World) -> None:
    world.versions(driver=11080, wheel=12090)


def driver_that_says_it_is_too_old(world: World) -> None:
    world.versions(driver=13000)
    world.counting_fails(
        35, "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
    )


def hidden_devices(world: World) -> None:
    world.patch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    world.counting_fails(100, "cudaErrorNoDevice: no CUDA-capable device is detected")


def no_devices(world: World) -> None:
    world.counting_fails(100, "cudaErrorNoDevice: no CUDA-capable device is detected")


def none_counted(world: World) -> None:
    world.patch.setenv("CUDA_VISIBLE_DEVICES", "")
    world.patch.setattr(world.runtime, "getDeviceCount", lambda: 0)


def no_compiler(world: World) -> None:
    absent = OSError("libnvrtc.so.12: cannot open shared object file: No such file or directory")
    error = RuntimeError(f"CuPy failed to load libnvrtc.so.12: OSError: {absent}")
    error.__cause__ = absent
    world.versions(driver=13000, wheel=12090)
    world.computing_fails(error)


def no_compiler_on_windows(world: World) -> None:
    world.computing_fails(FileNotFoundError("Could not find module 'nvrtc64_130_0.dll' (or one of its dependencies)."))


def no_headers(world: World) -> None:
    world.computing_fails(
        RuntimeError(
            "Failed to find CUDA headers. Please install CUDA toolkit headers (e.g., pip install cupy-cuda13x[ctk]) or "
            "specify CUDA_PATH environment variable."
        )
    )


def one_header(world: World) -> None:
    source = 'tmp.cubin.cu(56): catastrophic error: cannot open source file "cuda_fp16.h"\n  #include <cuda_fp16.h>\n'
    world.computing_fails(type("CompileException", (Exception,), {})(source + "x" * 9000))


def no_cublas(world: World) -> None:
    world.wheels = {"cupy": "14.2.0"}  # of conda
    world.computing_fails(ImportError('Failure finding "libcublasLt.so.13": No such file: libcublasLt.so.13\n'))


def no_library_at_import(world: World) -> None:
    error = ImportError("\n=====\nFailed to import CuPy.\n\nOriginal error: ...\n=====\n")
    error.__cause__ = ImportError("libcudart.so.13: cannot open shared object file: No such file or directory")
    world.import_fails(error)


def two_wheels(world: World) -> None:
    world.wheels = {"cupy-cuda13x": "14.2.0", "cupy-cuda12x": "14.1.0"}


def wheel_and_source(world: World) -> None:
    world.wheels |= {"cupy": "13.6.0"}


def full_gpu(world: World) -> None:
    world.memory_is_full()
    world.computing_fails(OutOfMemoryError("Out of memory allocating 512 bytes (allocated so far: 0 bytes)."))


def no_room_for_cublas(world: World) -> None:
    world.patch.setattr(world.runtime, "memGetInfo", raising(CUDARuntimeError(2, "cudaErrorMemoryAllocation")))
    world.computing_fails(type("CUBLASError", (RuntimeError,), {})("CUBLAS_STATUS_ALLOC_FAILED"))


def broken_driver(world: World) -> None:
    world.counting_fails(802, "cudaErrorSystemNotReady: system not yet initialized")


def broken_gpu(world: World) -> None:
    world.computing_fails(RuntimeError("cudaErrorECCUncorrectable: uncorrectable ECC error encountered"))


def broken_package(world: World) -> None:
    world.import_fails(ValueError("numpy.dtype size changed"))


def version_13(world: World) -> None:
    world.versions(driver=13000, wheel=12000)
    world.patch.setattr(world.cupy, "__version__", "13.6.0")


def home_without_rights_at_import(world: World) -> None:
    world.import_fails(PermissionError(errno.EACCES, "Permission denied", "/home/user/.cupy"))


def home_without_rights(world: World) -> None:
    world.computing_fails(OSError(errno.EROFS, "Read-only file system", "/home/user/.cupy/kernel_cache/x"))


EITHER = "cuda12 in this where nvidia-smi says CUDA 12"
NUMPY = "or --backend numpy"
PART = "got CuPy without CUDA's compiler, headers or libraries"
CASES: dict[Callable[[World], None], str] = {
    not_installed: "got no such package installed; expected a working cupy, "
    f'{NUMPY}; {EITHER}: pip install "xlenet[cuda13]"',
    neither_installed_nor_a_driver: "got no NVIDIA driver, and no such package installed; expected a GPU with both, "
    f"{NUMPY}; first install the driver (in a container: start it with --gpus all), until this shows the GPU: "
    "nvidia-smi",
    no_driver: f"got no NVIDIA driver; expected one, and a GPU, {NUMPY}; install the driver (in a container: start it "
    "with --gpus all), until this shows the GPU: nvidia-smi",
    driver_too_old: "got an NVIDIA driver for CUDA 12.4, and CuPy for CUDA 13.0; expected a driver that is new "
    f'enough, {NUMPY}; pip uninstall -y cupy-cuda13x && pip install "xlenet[cuda12]"',
    driver_older_than_any_wheel: "got an NVIDIA driver for CUDA 11.8, and CuPy for CUDA 12.9; expected a driver that "
    f"is new enough, {NUMPY}; update the driver; which one is there, says: nvidia-smi",
    driver_that_says_it_is_too_old: "got an NVIDIA driver for CUDA 13.0, and CuPy for CUDA 13.0; expected a driver "
    f"that is new enough, {NUMPY}; update the driver; which one is there, says: nvidia-smi",
    hidden_devices: f"got no visible GPU (CUDA_VISIBLE_DEVICES: '-1'); expected one, {NUMPY}; "
    "unset CUDA_VISIBLE_DEVICES",
    none_counted: f"got no visible GPU (CUDA_VISIBLE_DEVICES: ''); expected one, {NUMPY}; unset CUDA_VISIBLE_DEVICES",
    no_devices: f"got no visible GPU (CUDA_VISIBLE_DEVICES: not set); expected one, {NUMPY}; "
    "see which the driver finds: nvidia-smi",
    no_compiler: f"{PART} (RuntimeError: CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12: cannot open "
    f"shared object file: No such file or directory); expected them beside it, {NUMPY}; "
    'pip install "cupy-cuda12x[ctk]"',
    no_compiler_on_windows: f"{PART} (FileNotFoundError: Could not find module 'nvrtc64_130_0.dll' (or one of its "
    f'dependencies).); expected them beside it, {NUMPY}; pip install "cupy-cuda13x[ctk]"',
    no_headers: f"{PART} (RuntimeError: Failed to find CUDA headers. Please install CUDA toolkit headers (e.g., pip "
    "install cupy-cuda13x[ctk]) or specify CUDA_PATH environment variable.); expected them beside it, "
    f'{NUMPY}; pip install "cupy-cuda13x[ctk]"',
    one_header: f"{PART} (CompileException: tmp.cubin.cu(56): catastrophic error: cannot open source file "
    f'"cuda_fp16.h" #include <cuda_fp16.h> {"x" * 98}...); expected them beside it, {NUMPY}; '
    'pip install "cupy-cuda13x[ctk]"',
    no_cublas: f'{PART} (ImportError: Failure finding "libcublasLt.so.13": No such file: libcublasLt.so.13); expected '
    f'them beside it, {NUMPY}; pip uninstall -y cupy && pip install "xlenet[cuda13]"',
    no_library_at_import: f"{PART} (ImportError: libcudart.so.13: cannot open shared object file: No such file or "
    f'directory); expected them beside it, {NUMPY}; pip install "cupy-cuda13x[ctk]"',
    two_wheels: "got cupy-cuda12x 14.1.0 and cupy-cuda13x 14.2.0, which overwrite each other's files; expected one of "
    f'them, {NUMPY}; {EITHER}: pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install "xlenet[cuda13]"',
    wheel_and_source: "got cupy 13.6.0 and cupy-cuda13x 14.2.0, which overwrite each other's files; expected one of "
    f'them, {NUMPY}; {EITHER}: pip uninstall -y cupy cupy-cuda13x && pip install "xlenet[cuda13]"',
    full_gpu: "got a GPU without free memory (OutOfMemoryError: Out of memory allocating 512 bytes (allocated so far: "
    "0 bytes).; 16 of the pool's 512 bytes in use; 1,024 of the GPU's 85,000,000,000 bytes free); expected some, "
    f"{NUMPY}; see who holds it: nvidia-smi",
    no_room_for_cublas: "got a GPU without free memory (CUBLASError: CUBLAS_STATUS_ALLOC_FAILED); expected some, "
    f"{NUMPY}; see who holds it: nvidia-smi",
    # Not among the eight, and met all the same:
    broken_driver: "got CUDARuntimeError: cudaErrorSystemNotReady: system not yet initialized; expected a usable "
    f"NVIDIA GPU, {NUMPY}; see whether the driver works: nvidia-smi",
    broken_gpu: "got RuntimeError: cudaErrorECCUncorrectable: uncorrectable ECC error encountered in a first "
    f"computation; expected a GPU that computes, {NUMPY}; see whether the driver works: nvidia-smi",
    broken_package: "got a package that does not import (ValueError: numpy.dtype size changed); expected a working "
    f'cupy, {NUMPY}; pip uninstall -y cupy-cuda13x && pip install "xlenet[cuda13]"',
    version_13: "got CuPy 13.6.0; expected 14 or later, which has the array API's names, "
    f'{NUMPY}; pip uninstall -y cupy-cuda12x && pip install "xlenet[cuda12]"',
    home_without_rights_at_import: "got no folder for compiled kernels (PermissionError: [Errno 13] Permission denied: "
    f"'/home/user/.cupy'); expected one that can be written, {NUMPY}; export CUPY_CACHE_DIR=$(mktemp -d)",
    home_without_rights: "got no folder for compiled kernels (OSError: [Errno 30] Read-only file system: "
    f"'/home/user/.cupy/kernel_cache/x'); expected one that can be written, {NUMPY}; "
    "export CUPY_CACHE_DIR=$(mktemp -d)",
}
by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.replace("_", " "))


@by_name
def test_the_cause_and_its_cure(world: World, case: Callable[[World], None]) -> None:
    case(world)
    with pytest.raises(errors.BackendError) as caught:
        backend.resolve_backend("cupy")
    assert str(caught.value) == f"backend cupy: {CASES[case]}"
    assert caught.value.exit_code == 3


@pytest.mark.skipif(sys.platform == "win32", reason="bash is asked, whether it can read the command")
@by_name
def test_the_cure_can_be_pasted_into_a_shell(case: Callable[[World], None]) -> None:
    cure = CASES[case].rpartition("; ")[2].rpartition(": ")[2]
    checked = subprocess.run(["bash", "-n", "-c", cure], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert cure.split()[0] in ("pip", "nvidia-smi", "unset", "export")


@by_name
def test_3_on_the_command_line_and_no_traceback(
    world: World,
    case: Callable[[World], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(train, "load", lambda *_, **__: tiny_dataset())
    monkeypatch.setattr(train, "check_extras", lambda *_: None)  # it would look for packages where imports fail
    case(world)
    assert train.main(["--backend", "cupy", "--out", str(tmp_path / "out")]) == 3
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"error: backend cupy: {CASES[case]}\n")
    assert not (tmp_path / "out").exists()


@by_name
def test_auto_falls_back_with_the_reason(
    world: World, case: Callable[[World], None], caplog: pytest.LogCaptureFixture
) -> None:
    case(world)
    with caplog.at_level(logging.WARNING, logger="xlenet"):
        assert backend.resolve_backend("auto") == backend.Backend(np)
    (record,) = caplog.records
    assert record.getMessage() == f"backend auto uses NumPy: backend cupy: {CASES[case]}"


def test_an_unknown_name_is_none_of_these(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["--backend", "cuda"]) == 3
    assert capsys.readouterr().err == (
        "error: backend: got 'cuda'; expected numpy, cupy, cupy:<device number> or auto; choose one of these\n"
    )
    assert train.main(["--backend", "cuppy:0"]) == 3
    assert "did you mean 'cupy'?" in capsys.readouterr().err


def test_what_is_cured_is_found_at_the_next_question(world: World) -> None:
    """A failure is not remembered: a notebook need not be started anew."""
    world.versions(driver=0)
    with pytest.raises(errors.BackendError, match="no NVIDIA driver"):
        backend.resolve_backend("cupy")
    world.versions(driver=13000)
    assert backend.resolve_backend("cupy").xp is world.cupy


@pytest.mark.parametrize(("driver", "wheel"), [(12000, 12090), (13000, 12090), (13010, 13000), (13000, 13010)])
def test_a_driver_of_the_same_or_a_later_major_version_will_do(world: World, driver: int, wheel: int) -> None:
    world.versions(driver=driver, wheel=wheel)
    assert backend.resolve_backend("cupy").xp is world.cupy


# ==== out of memory in the middle ====

MEMORY = {
    "of CuPy": OutOfMemoryError("Out of memory allocating 1,024 bytes (allocated so far: 512 bytes)."),
    "of the runtime": CUDARuntimeError(2, "cudaErrorMemoryAllocation: out of memory"),
    "of the driver": type("CUDADriverError", (RuntimeError,), {})("CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
    "of cuBLAS": type("CUBLASError", (RuntimeError,), {})("CUBLAS_STATUS_ALLOC_FAILED"),
}


def train_with(error: Exception, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(train, "load", lambda *_, **__: tiny_dataset())
    monkeypatch.setattr(train, "fit", raising(error))
    return train.main(["--backend", "cupy", "--quiet", *arguments])


@pytest.mark.parametrize("whose", MEMORY)
def test_2_with_figures_and_a_batch_size_to_try(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], whose: str
) -> None:
    world.memory_is_full()
    error = MEMORY[whose]
    assert train_with(error, monkeypatch, "--out", str(tmp_path), "--batch-size", "64") == 2
    assert capsys.readouterr().err == (
        f"error: train: got no memory for batches of 64 ({type(error).__name__}: {error}; 16 of the pool's 512 bytes "
        "in use; 1,024 of the GPU's 85,000,000,000 bytes free); expected a step that fits in; try --batch-size 32\n"
    )


def test_a_batch_of_one_cannot_be_halved(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_with(MEMORY["of CuPy"], monkeypatch, "--out", str(tmp_path), "--batch-size", "1") == 2
    assert capsys.readouterr().err.endswith("; try --backend numpy\n")


def test_another_error_is_nobodys_memory(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="IllegalAddress") as caught:
        train_with(error, monkeypatch, "--out", str(tmp_path))
    assert caught.value is error


@pytest.mark.parametrize("whose", MEMORY)
def test_a_program_gets_the_librarys_own_error(world: World, whose: str) -> None:
    error = MEMORY[whose]
    like = types.SimpleNamespace(dtype=np.dtype(np.float32), device=types.SimpleNamespace(id=0))
    world.patch.setattr(cuda_launch, "library_of", lambda like: world.cupy)
    world.patch.setattr(cuda_launch, "_module", raising(error))
    with pytest.raises(type(error)) as caught:
        cuda_launch.launch("matmul", "one", 1, 1, like=like)
    assert caught.value is error


def test_headers_that_only_a_kernel_misses_are_named_too(world: World) -> None:
    """Where the first computation's kernels lie in CuPy's cache."""
    like = types.SimpleNamespace(dtype=np.dtype(np.float32), device=types.SimpleNamespace(id=0))
    world.patch.setattr(cuda_launch, "library_of", lambda like: world.cupy)
    world.patch.setattr(cuda_launch, "_module", raising(RuntimeError("Failed to find CUDA headers.")))
    with pytest.raises(errors.BackendError, match=r"^backend cupy: got CuPy without .*\"cupy-cuda13x\[ctk\]\"$"):
        cuda_launch.launch("matmul", "one", 1, 1, like=like)


# ==== what the real one says ====


def test_the_real_cupys_errors_are_known(cupy_wheel: Any) -> None:
    memory = cupy_wheel.cuda.memory.OutOfMemoryError(1024, 512)
    assert gpu.is_out_of_memory(memory)
    assert not gpu.is_part_absent(memory)
    error = cupy_wheel.cuda.runtime.CUDARuntimeError
    assert gpu.is_out_of_memory(error(2))
    assert (error(gpu._DRIVER_TOO_OLD).status, error(gpu._NO_DEVICE).status) == (35, 100)
    assert "cudaErrorInsufficientDriver" in str(error(35))
    assert "cudaErrorNoDevice" in str(error(100))
    assert not gpu.is_out_of_memory(error(700))
    assert cupy_wheel.cuda.runtime.runtimeGetVersion() // 1000 in (12, 13)


@pytest.mark.parametrize("other", ["cupy-rocm-7-0", "cupy-cuda117", "amd-cupy"])
def test_any_second_cupy_is_seen(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"cupy-cuda12x": "14.2.0", other: "13.0.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert set(gpu.installed()) == set(versions)
    assert gpu._major(None) == 12
