"""The stand-in is as strict as it says, and has no name that CuPy lacks."""

from __future__ import annotations

import copy
import gc
import importlib
import inspect
import pickle
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests import fake_cupy
from tests.fake_cupy import counters
from tests.fake_cupy.state import CUDARuntimeError
from xlenet.backend import library_of, to_device, to_host


@pytest.fixture
def cp() -> Iterator[ModuleType]:
    with fake_cupy.installed() as cupy:
        yield cupy


# ==== its names ====


def test_every_name_of_the_stand_in_is_one_of_cupys(cupy_wheel: ModuleType, cp: ModuleType) -> None:
    pairs = [(cp, cupy_wheel), (cp.cuda, cupy_wheel.cuda), (cp.cuda.runtime, cupy_wheel.cuda.runtime)]
    pairs += [(getattr(cp.cuda, n), getattr(cupy_wheel.cuda, n)) for n in ("Stream", "Event", "Graph", "MemoryPool")]
    pairs += [(cp.ndarray, cupy_wheel.ndarray)]
    for mine, real in pairs:
        names = [name for name in vars(mine) if not name.startswith("_")]
        assert len(names) > 1
        assert [name for name in names if not hasattr(real, name)] in ([], ["slow"]), mine


def test_functions_take_what_cupys_take(cupy_wheel: ModuleType, cp: ModuleType) -> None:
    for name in vars(cp):
        mine, real = getattr(cp, name), getattr(cupy_wheel, name, None)
        if not inspect.isfunction(mine) or isinstance(real, cupy_wheel.ufunc):
            continue
        try:
            known = inspect.signature(real).parameters
        except (TypeError, ValueError):
            continue
        if any(p.kind is p.VAR_POSITIONAL for f in (mine, real) for p in inspect.signature(f).parameters.values()):
            continue
        given = list(inspect.signature(mine).parameters)
        assert [n for n in given if n not in known] == [], f"{name}{tuple(given)} against {tuple(known)}"


# ==== arrays ====


def test_it_is_taken_for_cupy(cp: ModuleType) -> None:
    x = cp.asarray(np.arange(3.0))
    assert library_of(x) is cp
    assert type(x).__module__ == "cupy"
    assert isinstance(to_device(np.ones(2), like=x), cp.ndarray)
    np.testing.assert_array_equal(to_host(x), [0, 1, 2])


def test_behind_the_block_nothing_is_left_of_it() -> None:
    def of_cupy() -> dict[str, ModuleType]:
        return {name: module for name, module in sys.modules.items() if name.startswith(("cupy", "xlenet.kernels.cu"))}

    before = of_cupy()
    with fake_cupy.installed() as cupy:
        assert sys.modules["cupy"] is cupy
        importlib.import_module("xlenet.kernels.cupy_kernels")
    assert of_cupy() == before


def test_numpy_cannot_read_it(cp: ModuleType) -> None:
    x = cp.asarray(np.arange(3.0))
    for read in (lambda: np.asarray(x), lambda: np.ones(3) + x, lambda: x + np.ones(3), lambda: np.sqrt(x)):
        with pytest.raises(TypeError):
            read()
    with pytest.raises(TypeError):
        cp.add(x, np.ones(3))
    assert (np.float64(2.0) * x).get().tolist() == [0.0, 2.0, 4.0]


def test_operators_and_views(cp: ModuleType) -> None:
    host = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    x = cp.asarray(host)
    for f in (
        lambda a: a[1, ..., None, ::2], lambda a: a.T + 1, lambda a: -a * 2.0 / 3 - a, lambda a: a > 5,
        lambda a: 1 - a, lambda a: a.sum(axis=1), lambda a: a.reshape(6, -1) @ a.reshape(4, 6).T[:4, :4].T,
    ):  # fmt: skip
        wanted, found = f(host), f(x)
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found.get(), wanted, rtol=1e-6)
    view = x[:, 1]
    view += 100
    view[...] = view * 2
    assert (x.get()[:, 1] == (host[:, 1] + 100) * 2).all()
    assert x[0].data.ptr == x.data.ptr
    assert x[1].data.ptr == x.data.ptr + 48
    for look_up in (lambda i: cp.take(x, i, axis=0), lambda i: x[i]):
        assert look_up(cp.asarray([1, 0])).get().tolist() == x.get()[::-1].tolist()
        with pytest.raises(IndexError):
            look_up(cp.asarray([5]))
    assert cp.max(x).shape == ()
    assert copy.deepcopy(x).get().tolist() == pickle.loads(pickle.dumps(x)).get().tolist() == x.get().tolist()


def test_copies_of_the_host_have_no_gaps(cp: ModuleType) -> None:
    host = np.arange(60.0).reshape(3, 4, 5)
    for view in (host[:, ::2], host[::-1, 1:], host.T, host[..., None], np.broadcast_to(host[0, 0], (2, 5))):
        x = cp.asarray(view)
        np.testing.assert_array_equal(x.get(), view)
        assert sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True)) == x.nbytes - 8
    assert cp.asarray(host.T).flags.f_contiguous


def test_results_lie_in_c_order_whatever_the_arguments(cp: ModuleType) -> None:
    x = cp.asarray(np.ones((3, 4))).T
    assert (x + 1).flags.c_contiguous
    assert cp.astype(x, cp.float32).flags.f_contiguous, "but for a cast, which keeps the order"


def test_what_makes_the_host_wait_is_counted(cp: ModuleType) -> None:
    x = cp.asarray(np.array(2.0))
    counters.reset()
    assert (float(x), int(x), bool(x), x.item(), x.get()) == (2.0, 2, True, 2.0, 2.0)
    cp.cuda.get_current_stream().synchronize()
    cp.cuda.Device().synchronize()
    assert (counters.waits, counters.downloads, counters.uploads) == (7, 5, 0)
    cp.asarray([1, 2])
    assert counters.uploads == 1


def test_a_device_cannot_be_hashed(cupy_wheel: ModuleType, cp: ModuleType) -> None:
    for module in (cupy_wheel, cp):
        with pytest.raises(TypeError, match="unhashable"):
            hash(module.cuda.Device(0))


def test_a_copy_that_nobody_waits_for_arrives_with_its_event(cp: ModuleType) -> None:
    x = cp.asarray(np.array([1.0, 2.0]))
    counters.reset()
    host = np.frombuffer(cp.cuda.alloc_pinned_memory(16), np.float64, 2)
    x.get(out=host, blocking=False)
    event = cp.cuda.Event()
    event.record()
    x += 5
    assert np.isnan(host).all()
    assert event.done
    assert (host.tolist(), counters.waits, counters.late_copies) == ([1.0, 2.0], 0, 1)
    x.get(out=np.empty(2), blocking=False)
    assert counters.waits == 1, "not into memory that the GPU does not reach"


# ==== memory ====


def test_freed_memory_is_spoilt_and_used_again(cp: ModuleType) -> None:
    pool = cp.cuda.MemoryPool()
    with cp.cuda.using_allocator(pool.malloc):
        x = cp.ones(10)
        address, raw = x.data.ptr, x._a
        assert (pool.used_bytes(), pool.total_bytes()) == (512, 512)
        del x
        assert np.isnan(raw).all()
        assert pool.used_bytes() == 0
        y = cp.empty(5)
        assert y.data.ptr == address
        assert np.isnan(y.get()).all()
        view = y[1:]
        del y
        assert pool.used_bytes() == 512, "a view keeps it"
        del view
        assert (pool.total_bytes(), pool.free_bytes()) == (512, 512)
    del pool
    gc.collect()
    assert np.isnan(raw).all()


# ==== graphs ====


def chain(cp: ModuleType, x: Any, y: Any) -> None:
    """A bit of everything that a step does."""
    z = cp.exp(-x) * 2.0 + cp.where(y > 1, x, cp.zeros_like(x))
    y += cp.sum(z, axis=0, keepdims=True)
    x[:, 1:] = cp.astype(cp.take(z, cp.argmax(z, axis=0), axis=0), cp.float32)[:, 1:]
    part = x[::2, :]
    part -= 0.5 * cp.maximum(part, y[::2, :])
    cp.multiply(x, y, out=y)


def test_a_graph_does_what_it_recorded_on_the_memory_as_it_is_then(cp: ModuleType) -> None:
    rng = np.random.default_rng(0)
    start = rng.standard_normal((2, 3, 3)).astype(np.float32)
    eager, (x, y) = [cp.asarray(a) for a in start], [cp.asarray(a) for a in start]
    pool, stream = cp.cuda.MemoryPool(), cp.cuda.Stream(non_blocking=True)
    with stream, cp.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        chain(cp, x, y)
        graph = stream.end_capture()
    np.testing.assert_array_equal([x.get(), y.get()], start, "recording computes nothing")
    size = pool.total_bytes(), cp.get_default_memory_pool().used_bytes()
    for _ in range(3):
        graph.launch()
        chain(cp, *eager)
        np.testing.assert_array_equal(x.get(), eager[0].get())
        np.testing.assert_array_equal(y.get(), eager[1].get())
    assert (pool.total_bytes(), cp.get_default_memory_pool().used_bytes()) == size
    x[...] = 1.0
    eager[0][...] = 1.0
    graph.launch()
    chain(cp, *eager)
    np.testing.assert_array_equal(y.get(), eager[1].get())


def test_a_graph_whose_memory_was_given_to_others_computes_rubbish(cp: ModuleType) -> None:
    """The mistake that a pool of the graph's own is there against."""
    x, stream = cp.ones(100), cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        z = x * 2.0
        x += z
        del z
        graph = stream.end_capture()
        other = cp.zeros(100)
        graph.launch()
        assert not (other.get() == 0).all(), "the graph has written over somebody else's array"


def test_what_cannot_be_recorded_is_refused(cp: ModuleType) -> None:
    x = cp.ones((2, 2))
    with pytest.raises(RuntimeError, match="default"):
        cp.cuda.Stream.null.begin_capture()
    for forbidden in (
        x.get, x[0, 0].item, lambda: float(x[0, 0]), lambda: bool(x[0, 0]), lambda: cp.asarray(np.ones(2)),
        cp.cuda.Device().synchronize,
    ):  # fmt: skip
        stream = cp.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture()
            with pytest.raises(CUDARuntimeError, match="not permitted"):
                forbidden()
            with pytest.raises(CUDARuntimeError, match="Invalidated"):
                stream.end_capture()
    for forbidden in (lambda: x @ x, lambda: cp.matmul(x, x), lambda: cp.dot(x, x), lambda: cp.tensordot(x, x)):
        stream = cp.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture()
            with pytest.raises(NotImplementedError, match="cuBLAS"):
                forbidden()
            stream.end_capture()


def test_values_are_not_there_while_recording(cp: ModuleType) -> None:
    x, stream = cp.ones(3), cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        y = x + 1
        graph = stream.end_capture()
    assert np.isnan(y.get()).all()
    graph.launch()
    assert (y.get() == 2).all()


# ==== kernels from sources ====

ADD = """
extern "C" __global__ void add(const REAL* x, REAL* y, long long n) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < n) y[i] += x[i];
}
"""


def test_a_kernel_is_the_source_itself(cp: ModuleType) -> None:
    from tests.kernels.cuda_on_cpu import missing

    if missing():
        pytest.skip(missing())
    add = cp.RawModule(code=ADD, options=("-std=c++17", "-DREAL=float")).get_function("add")
    x, y = cp.arange(10, dtype=cp.float32), cp.ones(10, dtype=cp.float32)
    add((2,), (32,), (x, y, np.int64(10)))
    assert (y.get() == 1 + np.arange(10)).all()
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        add((1,), (32,), (x[5:], y[:5], np.int64(5)))
        graph = stream.end_capture()
    graph.launch()
    graph.launch()
    assert y.get()[:5].tolist() == [11, 14, 17, 20, 23]
    with pytest.raises(TypeError, match="exact C type"):
        add((1,), (32,), (x, y, 10))
    with pytest.raises(CUDARuntimeError, match="from 1 up"):
        add((0,), (32,), (x, y, np.int64(10)))
