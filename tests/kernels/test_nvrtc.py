"""The CUDA sources as NVIDIA's own compiler sees them, for every GPU that CuPy 14 runs on. No GPU is needed."""

from __future__ import annotations

import importlib.resources
import re

import pytest

from tests.kernels import nvrtc
from xlenet.functional.windows import windows_over
from xlenet.kernels.cuda_conv import _defines
from xlenet.kernels.cuda_launch import text_of

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
REALS = ("float", "double")

CONVOLUTIONS = {  # the image's size, and the kernel, the stride and the pool
    "lenet": (28, 5, 1, 2),
    "no pool": (14, 3, 1, 1),
    "two sets of sums": (9, 7, 1, 1),
    "not in registers": (20, 9, 2, 3),
    "a large pool": (40, 3, 1, 12),
}


def convolution(way: str, g: int, name: str) -> tuple[str, ...]:
    size, kernel, stride, pool = CONVOLUTIONS[name]
    windows = windows_over((size, size), kernel, stride, 0)
    return _defines(way, g, windows, windows_over(windows.out, pool, pool, 0))


def variants(source: str) -> list[tuple[str, ...]]:
    """What the largest variants of a source are compiled with."""
    if source == "conv_pool":
        return [convolution("FORWARD", 6, "lenet"), convolution("BACKWARD", 6, "lenet")]
    if source == "linear":
        return [("-DFORWARD", "-DGROUP=8"), ("-DBACKWARD", "-DGROUP=8")]
    return [("-DTILE=4",)] if source == "matmul" else [()]


SOURCES = sorted(
    path.name.removesuffix(".cu")
    for path in (importlib.resources.files("xlenet.kernels") / "cuda").iterdir()
    if path.name.endswith(".cu") and path.name != "common.cu"
)


def options(real: str, architecture: str, more: tuple[str, ...] = ()) -> tuple[str, ...]:
    return ("-std=c++17", f"-DREAL={real}", f"--gpu-architecture={architecture}", *more)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_compiles(source: str, architecture: str) -> None:
    # In double only where the oldest and the newest GPU may differ: it takes long.
    for real in REALS if architecture in (ARCHITECTURES[0], ARCHITECTURES[-1]) else REALS[:1]:
        for more in variants(source):
            compiled = nvrtc.compile_source(text_of(source), options(real, architecture, more))
            assert compiled.cubin.startswith(b"\x7fELF")
            assert compiled.log == ""  # no warning either


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if name != "lenet"])
def test_every_kind_of_convolution_compiles(name: str) -> None:
    for way in ("FORWARD", "BACKWARD"):
        nvrtc.compile_source(text_of("conv_pool"), options("float", "sm_90", convolution(way, 1, name)))


@pytest.mark.parametrize("source", SOURCES)
def test_kernels_fit_into_a_multiprocessor(source: str) -> None:
    """Registers spilled to memory, or shared memory beyond what every GPU has, are found by no other test."""
    for real in REALS:
        for more in variants(source):
            log = nvrtc.compile_source(text_of(source), options(real, "sm_90", (*more, "--ptxas-options=-v"))).log
            spilled = [int(size) for size in re.findall(r"(\d+) bytes spill stores", log)]
            assert spilled, log
            assert max(spilled) <= (64 if real == "float" else 512), log
            assert all(int(size) <= 48 * 1024 for size in re.findall(r"(\d+) bytes smem", log)), log
