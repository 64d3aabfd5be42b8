"""The tool that runs kernels on the processor: it must see what a GPU would not forgive."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernels.cuda_on_cpu import CudaError, Function, Module, Pointer, missing
from tests.kernels.guards import with_guards
from tests.libraries import skip_or_fail

SOURCE = r"""
template <int K> __device__ __forceinline__ REAL times(REAL x) { return K * x; }

#define TIMES(K)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256) times_##K(const REAL *x, REAL *y, long long n) { \
        long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;                                \
        if (i < n) y[i] = times<K>(x[i]);                                                              \
    }
TIMES(2)
TIMES(3)

extern "C" __global__ void sum(const REAL *__restrict__ x, REAL *__restrict__ out, int n) {
    __shared__ REAL parts[32];
    REAL value = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) value += x[i];
    for (int by = 16; by > 0; by /= 2) value += __shfl_down_sync(0xffffffffu, value, by);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int warp = 1; warp < blockDim.x / 32; warp++) value += parts[warp];
    out[blockIdx.x] = value;
}

extern "C" __global__ void lanes(int *__restrict__ out) {
    int lane = threadIdx.x % 32;
    out[threadIdx.x] = __shfl_sync(0xffffffffu, lane, 3) + 100 * __shfl_xor_sync(0xffffffffu, lane, 1) +
                       10000 * (__ballot_sync(0xffffffffu, lane < 2) == 3u);
}

extern "C" __global__ void without_a_barrier(REAL *out) {
    __shared__ REAL s[64];
    s[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = s[63 - threadIdx.x];
}

extern "C" __global__ void some_leave_early(REAL *out) {
    if (threadIdx.x < 40) return;
    __syncthreads();
    out[threadIdx.x] = 1;
}

extern "C" __global__ void two_barriers(REAL *out) {
    if (threadIdx.x < 32) __syncthreads();
    else __syncthreads();
    out[threadIdx.x] = 1;
}

extern "C" __global__ void half_a_warp(REAL *out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffffffu, out[threadIdx.x], 0);
}

extern "C" __global__ void from_block_before(REAL *out) { out[blockIdx.x + 1] = out[blockIdx.x] + 1; }

extern "C" __global__ void beside(REAL *out, const REAL *x, int n) { out[n] = x[n]; }
"""


@pytest.fixture(params=["own switch", "ucontext"])
def module(request: pytest.FixtureRequest) -> Module:
    if reason := missing():
        skip_or_fail("XLENET_REQUIRE_PARTNERS", "g++", reason)
    return Module(SOURCE, ("-std=c++17", "-DREAL=float", *["-DCUDA_ON_CPU_UCONTEXT"] * (request.param == "ucontext")))


def test_kernels_compute(module: Module) -> None:
    x, y, out = np.arange(1000, dtype=np.float32), np.empty(1000, np.float32), np.zeros(3, np.float32)
    module.function("times_3")((4,), (256,), (x, y, np.int64(1000)))
    np.testing.assert_array_equal(y, 3 * x)
    module.function("times_2")((4, 1), (256, 1, 1), (Pointer(x.ctypes.data), y, np.int64(10)))
    np.testing.assert_array_equal(y[:11], [*(2 * x[:10]), 30])
    for seed in range(4):
        module.function("sum")((3,), (96,), (x, out, np.int32(1000)), seed=seed)
        assert out.tolist() == [499500.0] * 3


def test_shuffles(module: Module) -> None:
    out = np.zeros(64, np.int32)
    module.function("lanes")((1,), (64,), (out,))
    assert out.tolist() == [10003 + 100 * (lane ^ 1) for lane in range(32)] * 2


def test_a_missing_barrier_shows(module: Module) -> None:
    out = np.zeros(64, np.float32)
    module.function("without_a_barrier")((1,), (64,), (out,))
    assert np.isnan(out).any()


def test_blocks_come_in_no_promised_order(module: Module) -> None:
    found = []
    for seed in (0, 1, 2):
        out = np.zeros(9, np.float32)
        module.function("from_block_before")((8,), (1,), (out,), seed=seed)
        found.append(tuple(out))
    assert len(set(found)) == 3
    assert (0, 1, 2, 3, 4, 5, 6, 7, 8) not in found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("some_leave_early", r"threads wait at line \d+, 40 of 64 have finished"),
        ("two_barriers", r"threads wait at line \d+ and at line \d+, 0 have finished"),
        ("half_a_warp", r"threads wait at line \d+, 48 of 64 have finished"),
    ],
)
def test_divergent_barriers_are_errors(module: Module, name: str, message: str) -> None:
    out = np.zeros(64, np.float32)
    for _ in range(2):  # and what was left standing in the middle does no harm
        with pytest.raises(CudaError, match=message):
            module.function(name)((1,), (64,), (out,))
        module.function("sum")((1,), (64,), (out, np.zeros(1, np.float32), np.int32(64)))


def test_arguments_are_checked_against_the_source(module: Module) -> None:
    x, times = np.zeros(4, np.float32), module.function("times_2")
    read_only = x.copy()
    read_only.flags.writeable = False
    times((1,), (32,), (read_only, x, np.int64(4)))
    for args, message in (
        ((x, x, np.int32(4)), r"parameter long long n: got a numpy.int32; expected a numpy.int64"),
        ((x, x, 4), r"got a builtins.int; expected a numpy.int64"),
        ((x.astype(np.float64), x, np.int64(4)), r"const float \* x: got an array of float64; expected one of float32"),
        ((x, read_only, np.int64(4)), r"y: got a read-only array"),
        ((x.ctypes.data, x, np.int64(4)), r"x: got a int; expected an array or a Pointer"),
        ((x, x), r"got 2 arguments; expected 3"),
    ):
        with pytest.raises(CudaError, match=message):
            times((1,), (32,), args)


def test_sizes_are_checked(module: Module) -> None:
    x, times = np.zeros(4, np.float32), module.function("times_2")
    arguments = x, x, np.int64(4)
    for grid, block, message in (
        ((1,), (257,), r"at most 256 threads"),
        ((0,), (32,), r"expected 1 to"),
        ((1, 65536), (32,), r"65535"),
        ((1.0,), (32,), r"Python ints"),
        ((1, 1, 1, 1), (32,), r"one to three sizes"),
    ):
        with pytest.raises(CudaError, match=message):
            times(grid, block, arguments)
    with pytest.raises(CudaError, match="dynamic shared memory"):
        times((1,), (32,), arguments, 64)
    with pytest.raises(CudaError, match=r"no kernel 'other'; there are|no kernel 'other' in this source"):
        module.function("other")


def test_sources_that_do_not_compile_say_why(module: Module) -> None:
    with pytest.raises(CudaError, match="error"):
        Module('extern "C" __global__ void f(float *x) { x[0] = nothing; }')
    with pytest.raises(CudaError, match=r'extern "C" __global__ void name\('):
        Module("__global__ void f(float *x) { x[0] = 1; }")


def test_guards_see_what_is_read_and_written_beside_an_array(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Function, "__call__", with_guards(Function.__call__))
    beside, memory, out = module.function("beside"), np.zeros(9, np.float32), np.zeros(9, np.float32)
    beside((1,), (1,), (out, memory[:4], np.int32(4)))
    assert np.isnan(out[4])
    with pytest.raises(AssertionError, match="beside: out: written beside the array"):
        beside((1,), (1,), (out[:4], memory, np.int32(4)))
    beside((1,), (1,), (out[::2], memory[::2], np.int32(3)))  # a kernel knows nothing of steps
    assert out.tolist()[3] == 0.0
