"""The seam: whose kernel is asked, and what happens where there is none."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import xlenet
from tests.libraries import Lib, open_library
from xlenet.backend import seam, swappable, swappables
from xlenet.functional import batchnorm, batchnorm_relu, conv_pool, linear, maxpool2d, softmax_cross_entropy


class Cache(NamedTuple):
    inner: Any
    number: int = 0


def forget() -> None:
    seam.kernels_on.cache_clear()
    seam._kernel.cache_clear()
    seam._kernels.cache_clear()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """What kernels were asked for, as (name, library); none of them exists."""
    log: list[tuple[str, str]] = []
    monkeypatch.setattr(seam, "swappables", dict(swappables))
    monkeypatch.setattr(seam, "_kernel", lambda name, library: log.append((name, library)))
    return log  # type: ignore[return-value]


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.SimpleNamespace]:
    """An empty module of kernels for NumPy, to be filled; swappable functions made meanwhile are taken out again."""
    monkeypatch.delenv("XLENET_KERNELS", raising=False)
    monkeypatch.setattr(seam, "swappables", dict(swappables))
    module = types.SimpleNamespace()
    forget()
    monkeypatch.setattr(seam, "_kernels", lambda library: module if library == "numpy" else None)
    yield module
    monkeypatch.undo()
    forget()


def make(name: str = "f") -> Any:
    """A swappable function that says who it is."""

    def f(*args: Any, **kwargs: Any) -> Any:
        return "portable", args, kwargs

    f.__name__, f.__module__ = name, "somewhere.module"
    return swappable(f)


# ==== whose kernel ====


def test_the_first_array_says_whose_kernel_is_asked(asked: list[Any], lib: Lib) -> None:
    array, f = lib.asarray([1.0]), make()
    for args in ((array,), (1.0, array), (None, "SAME", [1], array), (3, (2, 2), array)):
        asked.clear()
        assert f(*args)[0] == "portable"
        assert asked == [("module_f", lib.name)]


def test_of_arrays_of_two_libraries_the_first_counts(asked: list[Any], numpy_lib: Lib, device_lib: Lib) -> None:
    f, here, there = make(), numpy_lib.asarray([1.0]), device_lib.asarray([1.0])
    f(here, there)
    f(there, here)
    assert [library for _, library in asked] == ["numpy", device_lib.name]


def test_a_cache_counts_before_arrays_since_it_knows_who_made_it(
    asked: list[Any], numpy_lib: Lib, device_lib: Lib
) -> None:
    f, here, there = make(), numpy_lib.asarray([1.0]), device_lib.asarray([1.0])
    f(there, Cache(here))
    f(here, Cache(there))
    f(here, Cache(Cache(Cache(there))))
    f(here, ("SAME", (1, 2)), Cache(3), Cache(there))
    f(here, Cache(there), Cache(here))
    assert [library for _, library in asked] == ["numpy", *[device_lib.name] * 4]


def test_arguments_may_be_passed_by_name(asked: list[Any], lib: Lib) -> None:
    f, array = make(), lib.asarray([1.0])
    f(x=array)
    f(cache=Cache(array), work=None)
    f(1.0, stride=(2, 2), cache=Cache(1), x=array)
    assert [library for _, library in asked] == [lib.name] * 3


@pytest.mark.parametrize(
    "args",
    [(), (1.0, None, "x"), ((1, (2, 3)),), ([np.ones(1)],), (object(),)],
    ids=["nothing", "plain values", "tuples", "a list of arrays", "an object"],
)
def test_without_an_array_no_kernel_is_asked(asked: list[Any], args: Any) -> None:
    assert make()(*args) == ("portable", args, {})
    assert asked == [("module_f", "")]
    assert seam._kernel.__name__ == "<lambda>"


def test_numpys_numbers_are_arrays(asked: list[Any]) -> None:
    make()(np.float64(1.0))
    assert asked == [("module_f", "numpy")]


def test_an_array_that_is_none_of_ours_has_no_kernel(asked: list[Any]) -> None:
    make()(np.ma.ones(2))
    make()(Cache(np.ma.ones(2)))
    assert [library for _, library in asked] == ["", ""]


def test_a_foreign_array_gets_the_functions_own_error(torch: Any) -> None:
    tensor = torch.zeros((2, 3))
    for function, rest in [
        (linear.forward, (tensor,)),
        (conv_pool.forward, (tensor,)),
        (maxpool2d.forward, (2,)),
        (batchnorm_relu.forward_training, (tensor, tensor)),
        (softmax_cross_entropy.forward, (tensor,)),
    ]:
        with pytest.raises(TypeError, match=r"got \w+, a torch\.Tensor; expected an array of NumPy or CuPy"):
            function(tensor, *rest)


def test_a_masked_array_gets_the_functions_own_error() -> None:
    with pytest.raises(TypeError, match=r"MaskedArray; expected an array of NumPy or CuPy"):
        conv_pool.forward(np.ma.zeros((1, 1, 4, 4)), np.ma.zeros((1, 1, 2, 2)))


# ==== what a kernel answers ====


def test_a_kernel_gets_the_same_arguments_and_its_result_is_returned(kernels: Any) -> None:
    kernels.module_f = lambda *args, **kwargs: ("kernel", args, kwargs)
    f, x = make(), np.ones(1)
    assert f(x, 2, work=None) == ("kernel", (x, 2), {"work": None})
    assert f.portable(x, 2, work=None) == ("portable", (x, 2), {"work": None})
    assert f(1.0) == ("portable", (1.0,), {})


def test_a_kernel_that_answers_not_implemented_leaves_it_to_the_portable_function(kernels: Any) -> None:
    kernels.module_f = lambda x: NotImplemented if x.size > 1 else None
    f = make()
    assert f(np.ones(2))[0] == "portable"
    assert f(np.ones(1)) is None, "None is a result like any other"


def test_an_error_of_a_kernel_is_not_swallowed(kernels: Any) -> None:
    def kernel(x: Any) -> None:
        raise ValueError("of the kernel")

    kernels.module_f = kernel
    with pytest.raises(ValueError, match="of the kernel"):
        make()(np.ones(1))


def test_a_kernel_of_another_name_or_library_is_not_asked(kernels: Any, device_lib: Lib) -> None:
    kernels.module_f = kernels.f = kernels.somewhere_module_f = lambda x: "kernel"
    assert make("f")(np.ones(1)) == "kernel"
    assert make("g")(np.ones(1))[0] == "portable"
    assert make("f")(device_lib.asarray([1.0]))[0] == "portable"


@pytest.mark.parametrize(
    ("value", "on"),
    [
        (None, True), ("on", True), ("1", True), ("", True),
        ("off", False), ("OFF", False), (" off ", False), ("0", False), ("no", False), ("false", False),
    ],
)  # fmt: skip
def test_an_environment_variable_turns_kernels_off(
    kernels: Any, monkeypatch: pytest.MonkeyPatch, value: str | None, on: bool
) -> None:
    kernels.module_f = lambda x: "kernel"
    if value is None:
        monkeypatch.delenv("XLENET_KERNELS", raising=False)
    else:
        monkeypatch.setenv("XLENET_KERNELS", value)
    forget_kernels()
    result = make()(np.ones(1))
    assert (result == "kernel") == on
    assert seam.kernels_on() == on


def forget_kernels() -> None:
    seam.kernels_on.cache_clear()
    seam._kernel.cache_clear()


SAY_WHICH = """
import sys
import numpy as np
from xlenet.functional import conv_pool
_, cache = conv_pool.forward(np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 3, 3)))
print(type(cache).__module__, "xlenet.kernels" in sys.modules)
"""


@pytest.mark.parametrize(
    ("value", "said"),
    [("on", "xlenet.kernels.numpy_conv_pool True"), ("off", "xlenet.functional.conv_pool False")],
)
def test_in_a_process_of_its_own(value: str, said: str) -> None:
    """With kernels off they are not even imported."""
    env = os.environ | {"XLENET_KERNELS": value}
    result = subprocess.run([sys.executable, "-c", SAY_WHICH], env=env, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == said


def test_an_import_loads_no_kernels() -> None:
    code = "import sys, xlenet; print([name for name in sys.modules if name.startswith('xlenet.kernels')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# ==== which libraries have kernels ====


def test_numpy_and_cupy_have_kernels_and_the_stand_in_for_a_device_has_none() -> None:
    forget()
    assert seam._kernels("numpy").__name__ == "xlenet.kernels.numpy_kernels"
    assert seam._kernels("array_api_strict") is None
    assert seam._kernels("no_such_library") is None
    strict = open_library("array_api_strict")
    _, cache = conv_pool.forward(strict.asarray(np.zeros((1, 1, 4, 4))), strict.asarray(np.zeros((1, 1, 3, 3))))
    assert isinstance(cache, conv_pool.Cache)


def test_without_a_package_of_kernels_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the functional core was copied into another program without them."""
    forget()
    monkeypatch.setattr(seam, "__name__", "another_program.backend.seam")
    assert seam._kernels("numpy") is None
    monkeypatch.undo()
    forget()


# ==== what a swappable function looks like ====


@pytest.mark.parametrize("name", list(swappables))
def test_a_swappable_function_looks_like_its_portable_one(name: str) -> None:
    function = swappables[name]
    portable = function.portable  # type: ignore[attr-defined]
    assert function.__name__ == portable.__name__
    assert function.__doc__ == portable.__doc__
    assert function.__module__ == portable.__module__
    assert inspect.signature(function) == inspect.signature(portable)
    assert name == f"{function.__module__.rpartition('.')[2]}_{function.__name__}"
    assert not hasattr(portable, "portable")


def test_no_two_functions_share_a_kernels_name() -> None:
    """`swappables` would hold one of them alone, and the other would get its kernel."""
    modules = [function.__module__ for function in swappables.values()]
    by_stem = {module.rpartition(".")[2]: module for module in modules}
    assert set(by_stem.values()) == set(modules)


def test_the_public_functions_are_the_swappable_ones() -> None:
    for module, names in [
        (batchnorm, ["forward_training", "backward_training", "update_running"]),
        (batchnorm_relu, ["forward_training", "backward_training"]),
        (conv_pool, ["forward", "infer", "backward"]),
        (linear, ["forward", "backward"]),
        (maxpool2d, ["forward", "backward"]),
        (softmax_cross_entropy, ["forward", "backward"]),
    ]:
        for name in names:
            assert swappables[f"{module.__name__.rpartition('.')[2]}_{name}"] is getattr(module, name)


def test_a_copy_inside_another_package_uses_its_own_kernels(tmp_path: Path) -> None:
    """And not those of the package around it, even if that has some of the same name."""
    house = tmp_path / "house"
    shutil.copytree(Path(xlenet.__file__).parent, house / "vendored", ignore=shutil.ignore_patterns("__pycache__"))
    (house / "kernels").mkdir()
    for name in ("__init__.py", "kernels/__init__.py", "kernels/numpy_kernels.py"):
        (house / name).touch()
    code = SAY_WHICH.replace("from xlenet.", "from house.vendored.")
    env = os.environ | {"XLENET_KERNELS": "on", "PYTHONPATH": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["house.vendored.kernels.numpy_conv_pool", "False"]
