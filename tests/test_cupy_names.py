"""Every name that xlenet asks of a library exists in the real CuPy, with the arguments that it is given.

CuPy imports without a GPU, so this needs the wheel alone. It is the one check of the CuPy side on a machine that has
no NVIDIA hardware, and it asks the package itself and not somebody's list.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

import xlenet

PACKAGE = Path(xlenet.__file__).parent


class Use(NamedTuple):
    """A name that is asked of the library somewhere, and the call of it where it is called."""

    name: str  # below the library, such as "cuda.runtime.getDeviceCount"
    where: str
    call: ast.Call | None


def uses_in(tree: ast.AST, where: str) -> Iterator[Use]:
    """Go over ``xp.a.b``, ``backend.xp.a.b``, what was given a name of its own, and ``getattr(xp, "a")``."""
    renamed = {
        node.targets[0].id: chain
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id != "xp"
        and (chain := _chain(node.value, {}))
    }
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    inside = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        place = f"{where}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute) and id(node) not in inside and (name := _chain(node, renamed)):
            yield Use(name, place, calls.get(id(node)))
        if isinstance(node, ast.Call):
            for name in _names_in_strings(node):
                yield Use(name, place, None)


def _chain(node: ast.AST, renamed: dict[str, str]) -> str:
    """The dotted name behind the library, or nothing where `node` is none of its names."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        if node.attr == "xp":  # backend.xp
            return ".".join(reversed(names))
        names.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name) and node.id == "xp":
        return ".".join(reversed(names))
    if isinstance(node, ast.Name) and node.id in renamed:
        return ".".join([renamed[node.id], *reversed(names)])
    return ""


# Functions of the shim that look a name up in the library: the place, or the keyword, of that name.
_LOOKED_UP: dict[str, tuple[int | None, str]] = {
    "getattr": (1, ""),
    "_new": (0, "dtype"),
    "empty": (None, "dtype"),
    "zeros": (None, "dtype"),
    "new": (None, "dtype"),
    "empty_batch_last": (None, "dtype"),
}


def _names_in_strings(call: ast.Call) -> Iterator[str]:
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if function not in _LOOKED_UP:
        return
    place, keyword = _LOOKED_UP[function]
    if function == "getattr" and not _is_library(call.args[0]):
        return
    given = [call.args[place]] if place is not None and place < len(call.args) else []
    given += [k.value for k in call.keywords if k.arg == keyword]
    if function == "_new":
        given += call.args[3:]
    for value in given:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value


def _is_library(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id == "xp") or (isinstance(node, ast.Attribute) and node.attr == "xp")


def all_uses() -> list[Use]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += uses_in(_without_the_stand_in(tree), path.relative_to(PACKAGE).as_posix())
    return found


class _WithoutTheStandIn(ast.NodeTransformer):
    """Takes out what only the strict library gets to see: ``if xp.__name__ == "array_api_strict": ...``."""

    def visit_If(self, node: ast.If) -> Any:
        self.generic_visit(node)
        return node.orelse or None if "array_api_strict" in ast.unparse(node.test) else node


def _without_the_stand_in(tree: ast.Module) -> ast.Module:
    return _WithoutTheStandIn().visit(tree)


def look_up(module: ModuleType, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part)
    return value


# A ufunc has no signature to ask for. Its keywords are NumPy's, as far as CuPy has them.
UFUNC_KEYWORDS = {"out", "dtype", "casting", "where"}
# What says itself nothing about its arguments, with how many it takes.
OPAQUE = {
    "iinfo": (1, 1),
    "finfo": (1, 1),
    "from_dlpack": (1, 1),
    "cuda.Device": (0, 1),
    "cuda.runtime.getDeviceProperties": (1, 1),
}


def check_call(cupy: ModuleType, use: Use) -> None:
    """Fail where the arguments of a call do not fit what CuPy has under that name."""
    assert use.call is not None
    function = look_up(cupy, use.name)
    assert callable(function), f"{use.where}: cupy.{use.name} cannot be called"
    positional = [a for a in use.call.args if not isinstance(a, ast.Starred)]
    starred = len(positional) < len(use.call.args) or any(k.arg is None for k in use.call.keywords)
    keywords = {k.arg: None for k in use.call.keywords if k.arg is not None}
    if isinstance(function, cupy.ufunc):
        assert set(keywords) <= UFUNC_KEYWORDS, f"{use.where}: cupy.{use.name} takes no {set(keywords)}"
        assert starred or len(positional) in (function.nin, function.nin + 1), f"{use.where}: cupy.{use.name}"
        return
    try:
        signature = inspect.signature(function)
    except ValueError:
        if use.name in OPAQUE:
            least, most = OPAQUE[use.name]
            assert not keywords
            assert least <= len(positional) <= most
        else:
            assert not positional, f"{use.where}: cupy.{use.name} says nothing of its arguments: add it to OPAQUE"
            assert not keywords
        return
    try:
        (signature.bind_partial if starred else signature.bind)(*positional, **keywords)
    except TypeError as error:
        pytest.fail(f"{use.where}: cupy.{use.name} {signature}: {error}")


# ==== the real wheel ====


def test_every_name_in_use_exists_in_cupy(cupy_wheel: ModuleType) -> None:
    missing = []
    for use in all_uses():
        try:
            look_up(cupy_wheel, use.name)
        except AttributeError:
            missing.append(f"{use.where}: xp.{use.name}")
    assert not missing


def test_every_call_fits_cupys_signatures(cupy_wheel: ModuleType) -> None:
    calls = [use for use in all_uses() if use.call is not None]
    assert len(calls) > 30
    for use in calls:
        check_call(cupy_wheel, use)


def test_what_is_passed_on_as_a_function_takes_what_into_gives_it(cupy_wheel: ModuleType) -> None:
    """``into(out, xp.add, ...)`` calls with ``out=`` what is here only named."""
    passed = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "into":
                passed.add(_chain(node.args[1], {}))
    assert {"matmul", "multiply", "maximum"} <= passed
    for name in passed:
        function = look_up(cupy_wheel, name)
        assert isinstance(function, cupy_wheel.ufunc) or "out" in inspect.signature(function).parameters, name


def test_arrays_of_cupy_have_what_the_shim_asks_of_them(cupy_wheel: ModuleType) -> None:
    for name in ("get", "device", "dtype", "shape", "ndim", "size", "T", "strides"):
        assert hasattr(cupy_wheel.ndarray, name), name
    for name in ("iadd", "isub", "imul", "itruediv", "add", "mul", "rmul", "matmul", "eq", "gt", "and", "xor", "or"):
        assert hasattr(cupy_wheel.ndarray, f"__{name}__"), name


def test_errors_of_cupys_driver_can_be_caught(cupy_wheel: ModuleType) -> None:
    assert issubclass(cupy_wheel.cuda.runtime.CUDARuntimeError, Exception)


# ==== the check itself ====


def uses(text: str) -> list[str]:
    return sorted(use.name for use in uses_in(_without_the_stand_in(ast.parse(text)), "here"))


def test_names_are_found_however_they_are_written() -> None:
    assert uses("xp.sum(xp.astype(x, xp.float64))") == ["astype", "float64", "sum"]
    assert uses("backend.xp.cuda.Device(1)") == ["cuda.Device"]
    assert uses("runtime = backend.xp.cuda.runtime\nruntime.getDeviceCount()") == [
        "cuda.runtime",
        "cuda.runtime.getDeviceCount",
    ]
    assert uses("xp.cuda.get_current_stream().synchronize()") == ["cuda.get_current_stream"]
    assert uses("getattr(xp, 'empty')(3)") == ["empty"]
    assert uses("_new('zeros', shape, like, 'int64')") == ["int64", "zeros"]
    assert uses("zeros((3,), like=x, dtype='float64')") == ["float64"]
    assert uses("getattr(self, 'empty'); other.sum(x)") == []
    assert uses("if xp.__name__ == 'array_api_strict':\n    xp.Device('x')\nelse:\n    xp.sum(x)") == ["sum"]


@pytest.mark.parametrize("text", ["xp.arange(3, device=None)", "xp.take(x)", "xp.maximum(x, y, axis=0)", "xp.sum()"])
def test_a_call_that_does_not_fit_is_found(cupy_wheel: ModuleType, text: str) -> None:
    (use,) = uses_in(ast.parse(text), "here")
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check_call(cupy_wheel, use)


def test_a_name_that_cupy_lacks_would_be_noticed(cupy_wheel: ModuleType) -> None:
    """NumPy has names that CuPy has not: the check means something."""
    assert hasattr(np, "nditer")
    with pytest.raises(AttributeError):
        look_up(cupy_wheel, "nditer")


def test_the_names_in_use_are_many() -> None:
    names = {use.name for use in all_uses()}
    assert {"matmul", "permute_dims", "cuda.runtime.getDeviceCount", "empty", "zeros", "arange", "int64"} <= names
    assert len(names) > 25
