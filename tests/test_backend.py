"""Which library computes: asked of arrays, chosen by name, never changed behind anyone's back."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import fake_cupy as stand_in
from tests.libraries import Lib, open_partner
from tests.networks import backend_name, on
from xlenet import backend, default_namespace, errors, namespace_of, synchronize, to_device, to_host, use_backend


@pytest.fixture(autouse=True)
def clean_slate(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No backend from the caller's environment, and nothing remembered of a library that a test has made up."""
    monkeypatch.delenv("XLENET_BACKEND", raising=False)
    backend.resolve_backend.cache_clear()
    yield
    backend.resolve_backend.cache_clear()


# ==== the library of an array ====


def test_an_array_tells_its_library(lib: Lib) -> None:
    x, y = lib.asarray([1.0]), lib.asarray([1, 2])
    assert namespace_of(x) is lib.xp
    assert namespace_of(x, None, y, x) is lib.xp


def test_numpys_own_kinds_of_arrays_are_its_arrays(tmp_path: Path) -> None:
    memmap = np.memmap(tmp_path / "m", np.float32, "w+", shape=(3,))
    for x in (np.float32(1), np.zeros(()), memmap, np.zeros(2, [("a", int)]).view(np.recarray)):
        assert namespace_of(x) is np


def test_arrays_of_two_libraries_are_refused_by_name(numpy_lib: Lib, device_lib: Lib) -> None:
    ours, theirs = numpy_lib.asarray([1.0]), device_lib.asarray([1.0])
    pattern = rf"got arrays of numpy, {device_lib.name} in one call; expected one library; .*to_device.*to_host"
    with pytest.raises(TypeError, match=pattern):
        namespace_of(ours, ours, None, theirs)
    with pytest.raises(TypeError, match=rf"got arrays of {device_lib.name}, numpy "):
        namespace_of(theirs, ours)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([1.0], "builtins.list"),
        ((1.0,), "builtins.tuple"),
        (1.0, "builtins.float"),
        ("numpy", "builtins.str"),
        (np, "builtins.module"),
        (np.ma.masked_array([1.0], [True]), "numpy.ma.MaskedArray"),
        (np.dtype("float32"), "numpy"),
    ],
)
def test_what_is_no_array_is_refused_with_its_type_and_a_cure(value: Any, named: str) -> None:
    pattern = rf"xlenet: got a {re.escape(named)}[^;]*; expected an array of NumPy or CuPy; .*numpy\.asarray"
    with pytest.raises(TypeError, match=pattern):
        namespace_of(value)
    with pytest.raises(TypeError, match=pattern):
        namespace_of(np.ones(1), value)


def test_a_matrix_is_refused() -> None:
    """Its product and its slices are not an array's: the mathematics would be silently wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        matrix = np.matrix([[1.0]])
    with pytest.raises(TypeError, match=r"got a numpy\.matrix; expected an array of NumPy or CuPy; .*numpy\.asarray"):
        namespace_of(matrix)


def test_a_tensor_of_pytorch_is_refused(torch: Any) -> None:
    with pytest.raises(TypeError, match=r"got a torch\.Tensor; expected an array of NumPy or CuPy; .*numpy\.asarray"):
        namespace_of(torch.zeros(1))


@pytest.mark.parametrize("arrays", [(), (None,), (None, None)])
def test_no_array_at_all_is_refused(arrays: Any) -> None:
    with pytest.raises(TypeError, match=r"namespace_of: got no array; expected at least one; pass"):
        namespace_of(*arrays)


def test_a_class_with_an_arrays_name_is_no_array() -> None:
    for module, name in (("cupyx", "ndarray"), ("cupy", "poly1d"), ("array_api", "Array")):
        other = type(name, (), {"__module__": f"{module}.inner"})
        with pytest.raises(TypeError, match="expected an array of NumPy or CuPy"):
            namespace_of(other())


# ==== the library for new arrays ====


def test_numpy_is_what_nobody_has_to_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_namespace() is np
    monkeypatch.setenv("XLENET_BACKEND", "")
    assert default_namespace() is np


def test_use_backend_gives_the_library_and_takes_it_back(lib: Lib) -> None:
    with on(lib) as xp:
        assert xp is lib.xp
        assert default_namespace() is lib.xp
        assert backend.default_backend().name == backend_name(lib)
        lib.assert_native(to_device(np.ones(2)))
    assert default_namespace() is np


def test_the_innermost_block_decides(device_lib: Lib) -> None:
    with on(device_lib):
        with use_backend("numpy") as xp:
            assert xp is default_namespace() is np
            with on(device_lib):
                assert default_namespace() is device_lib.xp
            assert default_namespace() is np
        assert default_namespace() is device_lib.xp


def test_a_block_takes_a_backend_as_well_as_its_name(device_lib: Lib) -> None:
    chosen = backend.resolve_backend(backend_name(device_lib))
    with use_backend(chosen) as xp:
        assert xp is device_lib.xp
        assert backend.default_backend() == chosen


def test_an_exception_does_not_leave_the_backend_behind(device_lib: Lib) -> None:
    with pytest.raises(KeyError), on(device_lib):
        raise KeyError
    assert default_namespace() is np


def test_a_name_that_cannot_be_used_changes_nothing(device_lib: Lib) -> None:
    with on(device_lib):
        with pytest.raises(errors.BackendError), use_backend("no such library"):
            pytest.fail("the block must not be entered")
        assert default_namespace() is device_lib.xp


def test_threads_choose_for_themselves(device_lib: Lib) -> None:
    """Both threads are inside their blocks at once, and the main thread in neither."""
    barrier, seen = threading.Barrier(3, timeout=30), {}

    def choose(name: str) -> None:
        with use_backend(name):
            barrier.wait()
            seen[name] = default_namespace()
            barrier.wait()

    names = ["numpy", backend_name(device_lib)]
    threads = [threading.Thread(target=choose, args=(name,)) for name in names]
    with use_backend(names[1]):
        for thread in threads:
            thread.start()
        barrier.wait()
        barrier.wait()
        assert default_namespace() is device_lib.xp
        for thread in threads:
            thread.join()
        assert default_namespace() is device_lib.xp
    assert seen == {names[0]: np, names[1]: device_lib.xp}
    assert default_namespace() is np


def test_the_environment_is_asked_each_time(monkeypatch: pytest.MonkeyPatch, device_lib: Lib) -> None:
    monkeypatch.setenv("XLENET_BACKEND", backend_name(device_lib))
    assert default_namespace() is device_lib.xp
    monkeypatch.setenv("XLENET_BACKEND", "numpy")
    assert default_namespace() is np


def test_a_block_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch, device_lib: Lib) -> None:
    monkeypatch.setenv("XLENET_BACKEND", backend_name(device_lib))
    with use_backend("numpy"):
        assert default_namespace() is np
    monkeypatch.setenv("XLENET_BACKEND", "nonsense")
    with on(device_lib):
        assert default_namespace() is device_lib.xp
    with pytest.raises(errors.BackendError, match="nonsense"):
        default_namespace()


def test_like_goes_before_everything(device_lib: Lib, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLENET_BACKEND", "nonsense")
    with on(device_lib):
        assert type(to_device(np.ones(2), like=np.ones(1))) is np.ndarray
    with use_backend("numpy"):
        device_lib.assert_native(to_device(np.ones(2), like=device_lib.asarray([1])))


def test_a_library_is_as_good_as_its_name(lib: Lib) -> None:
    with use_backend(lib.xp) as xp:
        assert xp is lib.xp is default_namespace()


@pytest.mark.parametrize("name", ["numpy", "NumPy", " numpy ", "numpy:0"])
def test_a_name_may_be_written_carelessly(name: str) -> None:
    assert backend.resolve_backend(name) == backend.Backend(np)
    assert backend.resolve_backend(name).name == "numpy"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nunpy", "did you mean 'numpy'?"),
        ("np", "choose one of these"),
        ("cupi", "did you mean 'cupy'?"),
        ("Cuppy:1", "did you mean 'cupy'?"),
        ("autto", "did you mean 'auto'?"),
        ("tensorflow", "choose one of these"),
        ("", "choose one of these"),
        ("numpy:1", "did you mean 'numpy'?"),
        ("cupy:-1", "did you mean 'cupy'?"),
        ("cupy:one", "did you mean 'cupy'?"),
        ("cupy:1:2", "did you mean 'cupy'?"),
        ("auto:1", "did you mean 'auto'?"),
        (None, "choose one of these"),
        (7, "choose one of these"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(name: Any, hint: str) -> None:
    pattern = rf"backend: got {re.escape(repr(name))}; expected numpy, cupy, cupy:<device number> or auto; "
    with pytest.raises(errors.BackendError, match=f"^{pattern}{re.escape(hint)}$") as caught:
        backend.resolve_backend(name)
    assert caught.value.exit_code == 3


# ==== CuPy where it is not, and where it is but has no GPU ====


@contextlib.contextmanager
def no_cupy() -> Iterator[None]:
    """A block in which ``import cupy`` fails as it does where it is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", None)
        backend.resolve_backend.cache_clear()
        yield
    backend.resolve_backend.cache_clear()


def test_cupy_never_turns_into_numpy(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with no_cupy():
        with pytest.raises(errors.BackendError), use_backend("cupy"):
            pytest.fail("the block must not be entered")
        monkeypatch.setenv("XLENET_BACKEND", "cupy")
        with pytest.raises(errors.BackendError):
            to_device(np.ones(1))
    assert not caplog.records


def test_auto_falls_back_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with no_cupy():
        with use_backend("auto") as xp:
            assert xp is np
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("xlenet", logging.WARNING)
        assert re.search(
            r"backend auto uses NumPy: backend cupy: got no .*package.*(pip install|nvidia-smi)", record.getMessage()
        )
        backend.resolve_backend("auto")
        assert len(caplog.records) == 1, "once is enough"


def test_a_cupy_that_does_not_import_is_not_called_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complaint = r"got a package that does not import \(.*(libcublas|no_such|binary)"
    for name, line in (
        ("library", "raise ImportError('libcublas.so.13: cannot open')"),
        ("part", "import no_such"),
        ("numpy", "raise ValueError('numpy.dtype size changed, may indicate binary incompatibility')"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "cupy.py").write_text(line + "\n", encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(folder)
            patch.delitem(sys.modules, "cupy", raising=False)
            with pytest.raises(errors.BackendError, match=complaint):
                backend.resolve_backend("cupy")


def test_the_real_cupy_without_a_gpu_explains_itself(cupy_wheel: Any, caplog: pytest.LogCaptureFixture) -> None:
    try:
        count = cupy_wheel.cuda.runtime.getDeviceCount()
    except cupy_wheel.cuda.runtime.CUDARuntimeError:
        count = 0
    if count:
        pytest.skip("there is a GPU here, so CuPy has nothing to complain about")
    pattern = (
        r"^backend cupy: got (no NVIDIA driver|an NVIDIA driver|no visible GPU|.*cudaError).*, or --backend numpy; .*"
    )
    with pytest.raises(errors.BackendError, match=pattern):
        backend.resolve_backend("cupy")
    with use_backend("auto") as xp:
        assert xp is np
    assert "backend auto uses NumPy: backend cupy: got" in caplog.text


def test_the_arrays_of_the_real_cupy_are_known_by_their_type(cupy_wheel: Any) -> None:
    assert backend.libraries.namespace_of_type(cupy_wheel.ndarray) is cupy_wheel


# ==== a made-up CuPy: what is done for its sake, on machines that have no GPU ====


class FakeArray:
    """As much of cupy.ndarray as the shim touches. It remembers on which device it was made."""

    __module__ = "cupy"
    __qualname__ = "ndarray"

    def __init__(self, host: Any, device: Any) -> None:
        self.host, self.device, self.dtype = host, device, host.dtype

    def get(self) -> Any:
        return self.host.copy()

    def __add__(self, other: FakeArray) -> FakeArray:
        return FakeArray(self.host + other.host, self.device)


FakeArray.__name__ = "ndarray"


class FakeDevice:
    current = 0
    synchronized: list[int]

    def __init__(self, index: int) -> None:
        self.index = self.id = index

    def __enter__(self) -> None:
        self.before, type(self).current = type(self).current, self.index

    def __exit__(self, *_: Any) -> None:
        type(self).current = self.before


class FakeCUDAError(RuntimeError):
    pass


@pytest.fixture
def fake_cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """CuPy with two devices, whose creation functions follow the current one and know no `device=`."""
    cupy: Any = types.ModuleType("cupy")

    def made(host: Any) -> FakeArray:
        return FakeArray(host, FakeDevice(FakeDevice.current))

    cupy.ndarray = FakeArray
    cupy.asarray = lambda x: made(np.asarray(x))
    cupy.empty = lambda shape, dtype: made(np.empty(shape, dtype))
    cupy.zeros = lambda shape, dtype: made(np.zeros(shape, dtype))
    cupy.arange = lambda stop, dtype: made(np.arange(stop, dtype=dtype))
    cupy.int64, cupy.float32 = np.int64, np.float32
    cupy.__version__ = "14.2.0"
    cupy.ones = lambda shape, dtype: made(np.ones(shape, dtype))
    cupy.matmul = lambda a, b: made(a.host @ b.host)
    FakeDevice.current, FakeDevice.synchronized = 0, []
    stream = types.SimpleNamespace(synchronize=lambda: FakeDevice.synchronized.append(FakeDevice.current))
    runtime = types.SimpleNamespace(
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000,
        getDeviceCount=lambda: 2,
        getDevice=lambda: FakeDevice.current,
        CUDARuntimeError=FakeCUDAError,
    )
    cupy.cuda = types.SimpleNamespace(runtime=runtime, Device=FakeDevice, get_current_stream=lambda: stream)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    backend.libraries.namespace_of_type.cache_clear()
    yield cupy
    backend.libraries.namespace_of_type.cache_clear()


def test_cupy_that_works_is_used_and_auto_says_nothing(fake_cupy: Any, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("cupy", "CuPy:0", "auto"):
        with use_backend(name) as xp:
            assert xp is default_namespace() is fake_cupy
            assert backend.default_backend() == backend.Backend(fake_cupy, 0 if ":" in name else None)
    assert not caplog.records


def test_a_device_number_makes_that_device_the_current_one(fake_cupy: Any) -> None:
    with use_backend("cupy:1"):
        assert FakeDevice.current == 1
        assert to_device(np.ones(2)).device.index == 1
        with use_backend("cupy"):
            assert to_device(np.ones(2)).device.index == 1, "no number means the current device"
        with use_backend("cupy:0"):
            assert to_device(np.ones(2)).device.index == 0
        assert FakeDevice.current == 1
        assert backend.default_backend().name == "cupy:1"
    assert FakeDevice.current == 0
    assert backend.Backend(fake_cupy, 0).name == "cupy:0"
    assert backend.Backend(fake_cupy).name == "cupy"


def test_an_array_on_another_gpu_than_the_current_one_is_refused(fake_cupy: Any) -> None:
    with use_backend("cupy:1"):
        x = to_device(np.ones(2))
        assert namespace_of(x) is fake_cupy
    with pytest.raises(TypeError, match=r'an array on GPU 1 while GPU 0 is the current one; .*use_backend\("cupy:1"\)'):
        namespace_of(x)
    with backend.on_device_of(x):
        assert namespace_of(x) is fake_cupy
    assert to_host(x).tolist() == [1.0, 1.0]


def test_a_device_that_is_not_there_is_refused(fake_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    pattern = (
        r"^backend cupy:2: got device 2 of 2 \(CUDA_VISIBLE_DEVICES: '4,5'\); expected a number below 2, or --backend "
        "numpy; choose another device$"
    )
    with pytest.raises(errors.BackendError, match=pattern):
        backend.resolve_backend("cupy:2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with pytest.raises(errors.BackendError, match=r"\(CUDA_VISIBLE_DEVICES: not set\)"):
        backend.resolve_backend("cupy:11")


def test_arrays_of_cupy_are_made_beside_others(fake_cupy: Any) -> None:
    """CuPy makes arrays on the current device, wherever their neighbours lie: the shim has to switch."""
    like = FakeArray(np.zeros(1, np.float32), FakeDevice(1))
    assert backend.library_of(like) is fake_cupy
    for array in (
        backend.empty((2, 3), like=like),
        backend.zeros((2, 3), like=like, dtype="int64"),
        backend.arange(3, like=like),
        to_device(np.ones(3), like=like),
        backend.place(np.ones(3), backend.Backend(fake_cupy, 1)),
    ):
        assert array.device.index == 1
    assert FakeDevice.current == 0
    assert backend.empty((1,), like=like).dtype == np.float32
    assert backend.zeros((1,), like=like, dtype="int64").dtype == np.int64


def test_arrays_of_cupy_come_back_as_copies(fake_cupy: Any) -> None:
    array = FakeArray(np.arange(3), FakeDevice(1))
    assert to_host(array).tolist() == [0, 1, 2]


def test_synchronize_waits_for_the_device_of_the_array(fake_cupy: Any) -> None:
    synchronize(FakeArray(np.zeros(1), FakeDevice(1)))
    assert FakeDevice.synchronized == [1]
    assert FakeDevice.current == 0


# ==== between host and device ====


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64", "bool"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_there_and_back_changes_nothing(lib: Lib, rng: np.random.Generator, dtype: str, shape: Any) -> None:
    host = rng.integers(0, 2, shape).astype(dtype)
    with on(lib):
        there = to_device(host)
    lib.assert_native(there)
    lib.assert_equal(there, host, dtype=dtype)
    lib.assert_equal(to_device(host, like=lib.asarray([1.0])), host, dtype=dtype)
    back = to_host(there)
    assert isinstance(back, np.ndarray)
    assert back.dtype == host.dtype
    np.testing.assert_array_equal(back, host)


def test_memory_order_is_no_obstacle(lib: Lib, rng: np.random.Generator) -> None:
    host = rng.standard_normal((4, 3, 2)).transpose(2, 0, 1)[:, ::-1]
    with on(lib):
        lib.assert_equal(to_device(host), host)
    np.testing.assert_array_equal(to_host(to_device(host, like=lib.asarray([1.0]))), host)


def test_what_is_on_the_host_already_is_not_copied() -> None:
    x = np.ones(3)
    assert to_host(x) is x
    assert to_host(np.float32(2)).shape == ()


def test_to_host_takes_arrays_and_nothing_else() -> None:
    with pytest.raises(TypeError, match=r"got a builtins\.list; expected an array"):
        to_host([1.0])


def test_synchronize_can_be_called_anywhere(lib: Lib) -> None:
    assert synchronize(lib.asarray([1.0])) is None


# ==== new arrays ====


@pytest.mark.parametrize("dtype", [None, "float32", "float64", "int64", "uint8", "bool"])
def test_new_arrays_are_made_beside_like(lib: Lib, dtype: str | None) -> None:
    """`like` alone decides: the block around says something else."""
    like = lib.asarray([1], "float32")
    with use_backend("numpy"):
        made = [backend.empty((2, 3), like=like, dtype=dtype), backend.zeros((2, 3), like=like, dtype=dtype)]
        last = backend.empty_batch_last((2, 3, 4, 5), like=like, dtype=dtype)
    for array, shape in zip([*made, last], [(2, 3), (2, 3), (2, 3, 4, 5)], strict=True):
        lib.assert_native(array)
        assert lib.dtype_name(array) == (dtype or "float32")
        assert array.shape == shape
    lib.assert_equal(made[1], np.zeros((2, 3)))


def test_a_type_may_be_given_as_the_librarys_own(lib: Lib) -> None:
    like = lib.asarray([1], "float32")
    assert lib.dtype_name(backend.empty((1,), like=like, dtype=lib.xp.float64)) == "float64"


def test_arange_counts_in_int64_whatever_like_is(lib: Lib) -> None:
    made = backend.arange(4, like=lib.asarray([1], "float32"))
    lib.assert_native(made)
    lib.assert_equal(made, [0, 1, 2, 3], dtype="int64")


def test_batch_last_arrays_have_the_batch_innermost() -> None:
    like = np.zeros(1, np.float32)
    assert backend.empty_batch_last((8, 3, 5, 7), like=like).strides == (4, 5 * 7 * 8 * 4, 7 * 8 * 4, 8 * 4)
    assert backend.empty_batch_last((8, 3), like=like).strides == (4, 32)


def test_batch_first_and_batch_last_are_views_and_undo_each_other(lib: Lib, rng: np.random.Generator) -> None:
    host = rng.standard_normal((4, 3, 2, 5))
    x = lib.asarray(host)
    lib.assert_equal(backend.batch_last(x), host.transpose(1, 2, 3, 0))
    lib.assert_equal(backend.batch_first(x), host.transpose(3, 0, 1, 2))
    lib.assert_equal(backend.batch_first(backend.batch_last(x)), host)
    if lib.name == "numpy":
        assert np.shares_memory(backend.batch_last(x), x)
        assert np.shares_memory(backend.batch_first(x), x)


def test_into_writes_where_it_is_told(lib: Lib) -> None:
    x, y = lib.asarray([1.0, 2.0]), lib.asarray([10.0, 20.0])
    lib.assert_equal(backend.into(None, lib.xp.add, x, y), [11.0, 22.0])
    out = backend.zeros((2,), like=x)
    assert backend.into(out, lib.xp.add, x, y) is out
    lib.assert_equal(out, [11.0, 22.0])
    larger = backend.zeros((2, 2), like=x)
    backend.into(larger[:, 1], lib.xp.add, x, y)  # a view, as in the middle of a workspace
    lib.assert_equal(larger, [[0.0, 11.0], [0.0, 22.0]])


def test_the_stand_in_for_a_gpu_knows_its_devices() -> None:
    strict = open_partner("array_api_strict", "array_api_strict")
    with use_backend("array_api_strict:1"):
        assert to_device(np.ones(1)).device == strict.Device("device1")
    with use_backend("array_api_strict"):
        assert to_device(np.ones(1)).device == strict.Device("CPU_DEVICE")


# ==== a GPU that nobody asked for ====


def test_a_usable_gpu_is_mentioned_where_numpy_was_nobodys_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLENET_BACKEND", raising=False)
    with stand_in.installed():
        backend.resolve_backend.cache_clear()
        hint = backend.unused_gpu(None)
        assert hint.startswith("note: ")
        assert "--backend cupy" in hint
        assert "\n" not in hint
        assert backend.unused_gpu("numpy") == ""
        monkeypatch.setenv("XLENET_BACKEND", "numpy")
        assert backend.unused_gpu(None) == ""
    backend.resolve_backend.cache_clear()


def test_without_cupy_or_without_a_gpu_there_is_nothing_to_mention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLENET_BACKEND", raising=False)

    def refuse(name: str) -> Any:
        raise errors.BackendError("no driver")

    monkeypatch.setattr(backend.choice, "resolve_backend", refuse)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    for spec in (None, object()):
        monkeypatch.setattr(backend.choice.importlib.util, "find_spec", lambda name, spec=spec: spec)
        assert backend.unused_gpu(None) == ""
