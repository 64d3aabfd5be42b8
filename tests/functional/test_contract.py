"""What is true of every operation: arrays in, arrays out, nothing written to, nothing shared, mistakes answered in words."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xlenet.functional
from tests.functional.messages import message
from tests.functional.operations import OPERATIONS, Operation, each_argument, each_operation
from tests.gradcheck import check_gradients
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet.workspace import Workspace

DTYPES = ("float32", "float64")


def on(lib: Lib, arrays: dict[str, np.ndarray]) -> list[Any]:
    return [lib.asarray(array) for array in arrays.values()]


# ==== signatures ====


@each_operation
def test_work_is_a_keyword_that_defaults_to_none(op: Operation) -> None:
    for function in (op.bare_forward, op.bare_backward):
        parameter = inspect.signature(function).parameters["work"]
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert parameter.default is None


@each_operation
def test_forward_takes_its_arrays_by_the_names_of_the_contract(op: Operation) -> None:
    names = [*op.shapes, *op.constants]
    assert list(inspect.signature(op.bare_forward).parameters)[: len(names)] == names


@each_operation
def test_the_cache_is_a_named_tuple(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    _, cache = op.forward(*on(lib, op.draw(rng)))
    assert isinstance(cache, tuple)
    assert len(cache._fields) == len(cache)


def test_the_table_holds_every_operation_there_is() -> None:
    """A new module in functional/ is tested by all of this or by none of it."""
    folder = Path(xlenet.functional.__file__).parent
    with_backward = {
        path.stem
        for path in folder.glob("*.py")
        if any(
            isinstance(node, ast.FunctionDef) and node.name.startswith("backward")
            for node in ast.parse(path.read_text(encoding="utf-8")).body
        )
    }
    assert with_backward == {op.name for op in OPERATIONS.values()}


# ==== types and libraries ====


@pytest.mark.parametrize("dtype", DTYPES)
@each_operation
def test_the_library_the_device_and_the_type_are_kept(
    lib: Lib, rng: np.random.Generator, op: Operation, dtype: str
) -> None:
    y, cache = op.forward(*on(lib, op.draw(rng, dtype)))
    dy = op.draw_dy(rng, lib, y, dtype)
    results = [y, *op.gradients(lib.asarray(dy), cache)]
    assert len(results) >= 2
    for result in results:
        lib.assert_native(result)
        assert lib.dtype_name(result) == dtype


@each_operation
def test_gradients_have_the_shapes_of_the_arguments(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    y, cache = op.forward(*on(lib, op.draw(rng)))
    gradients = op.gradients(lib.asarray(op.draw_dy(rng, lib, y)), cache)
    learned = [shape for name, shape in op.shapes.items() if not name.startswith("running_")]
    assert [g.shape for g in gradients] == learned


@each_operation
def test_all_gradients_together_by_random_projection(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    arrays = op.draw(rng)
    constants = [lib.asarray(arrays[name]) for name in op.constants]
    inputs = {name: arrays[name] for name in op.shapes}
    check_gradients(
        lib,
        op.name,
        lambda *floating: op.forward(*floating, *constants),
        lambda dy, cache: dict(zip(inputs, op.gradients(dy, cache), strict=False)),
        inputs,
        rng,
    )


@pytest.mark.parametrize("dtype", ["float16", "int64", "complex128", "bool", ">f4"])
@each_operation
def test_another_type_is_refused(numpy_lib: Lib, rng: np.random.Generator, op: Operation, dtype: str) -> None:
    arrays = {name: values.astype(dtype) if name in op.shapes else values for name, values in op.draw(rng).items()}
    if op.name == "maxpool2d" and dtype in ("float16", "int64", ">f4"):
        y, _ = op.forward(*arrays.values())  # it compares and does not compute: any real number will do
        assert y.dtype == arrays["x"].dtype
    else:
        with pytest.raises(TypeError, match=message(op.name, got=str(np.dtype(dtype)), expected="float")):
            op.forward(*arrays.values())


@each_argument
def test_one_argument_of_another_type_is_refused(
    lib: Lib, rng: np.random.Generator, op: Operation, position: int
) -> None:
    arrays = op.draw(rng)
    name = list(arrays)[position]
    if len(op.shapes) == 1 or name in op.constants:
        pytest.skip("there is one floating argument: it cannot differ from another")
    arrays[name] = arrays[name].astype(np.float32)
    with pytest.raises(TypeError, match=message(op.name, got="float32", expected="all float32 or all float64")):
        op.forward(*on(lib, arrays))


@each_operation
def test_a_dy_of_another_type_is_refused(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    y, cache = op.forward(*on(lib, op.draw(rng, "float32")))
    dy = lib.asarray(op.draw_dy(rng, lib, y))
    with pytest.raises(TypeError, match=message(op.name, got="float64", expected="float32")):
        op.gradients(dy, cache)


@each_argument
def test_arrays_of_two_libraries_are_refused(
    numpy_lib: Lib, lib: Lib, rng: np.random.Generator, op: Operation, position: int
) -> None:
    if lib.name == "numpy":
        pytest.skip("NumPy is the other library here")
    arrays = op.draw(rng)
    if len(arrays) == 1:
        pytest.skip("there is one argument: it cannot differ from another")
    mixed = on(lib, arrays)
    mixed[position] = numpy_lib.asarray(list(arrays.values())[position])
    with pytest.raises(TypeError, match=rf"(?s)got arrays of .*(numpy.*{lib.name}|{lib.name}.*numpy).*expected one library"):
        op.forward(*mixed)


@each_operation
def test_a_dy_of_another_library_is_refused(
    numpy_lib: Lib, lib: Lib, rng: np.random.Generator, op: Operation
) -> None:
    if lib.name == "numpy":
        pytest.skip("NumPy is the other library here")
    y, cache = op.forward(*on(lib, op.draw(rng)))
    with pytest.raises(TypeError, match=r"(?s)got arrays of .*expected one library"):
        op.gradients(numpy_lib.asarray(op.draw_dy(rng, lib, y)), cache)


@each_argument
def test_what_is_no_array_is_refused(rng: np.random.Generator, op: Operation, position: int) -> None:
    arrays: list[Any] = list(op.draw(rng).values())
    arrays[position] = arrays[position].tolist()
    with pytest.raises(TypeError, match=r"got a builtins\.list; expected an array"):
        op.forward(*arrays)


@each_operation
def test_an_empty_batch_is_refused(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    arrays = op.draw(rng)
    first = next(iter(arrays))
    arrays[first] = arrays[first][:0]
    if op.constants:
        arrays["labels"] = arrays["labels"][:0]
    if op.name == "relu":
        pytest.skip("relu looks at each number alone: of none it makes none (test_relu.py)")
    with pytest.raises(ValueError, match=message(op.name, got=f"{first} of shape (0, ", expected="nothing empty")):
        op.forward(*on(lib, arrays))


# ==== inputs and results ====


@each_operation
def test_inputs_are_never_written_to(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    """NumPy's are read-only as well, so that a write would raise."""
    arrays = op.draw(rng)
    given = on(lib, arrays)
    y, cache = op.forward(*given)
    dy = op.draw_dy(rng, lib, y)
    given_dy = lib.asarray(dy)
    op.gradients(given_dy, cache)
    for before, after in zip([*arrays.values(), dy], [*given, given_dy], strict=True):
        np.testing.assert_array_equal(lib.to_numpy(after), before)


@each_operation
def test_the_same_call_gives_the_same_bits(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    """Nothing is remembered from call to call, and a cache may be used twice."""
    given = on(lib, op.draw(rng))
    y, cache = op.forward(*given)
    dy = lib.asarray(op.draw_dy(rng, lib, y))
    again, other = op.forward(*given)
    lib.assert_equal(again, lib.to_numpy(y))
    first = [lib.to_numpy(g) for g in op.gradients(dy, cache)]
    for used in (cache, other):
        for gradient, expected in zip(op.gradients(dy, used), first, strict=True):
            lib.assert_equal(gradient, expected)


@each_operation
def test_results_held_at_once_do_not_alias(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    """A second call on other numbers leaves the results of the first as they were."""
    y, cache = op.forward(*on(lib, op.draw(rng)))
    dy = lib.asarray(op.draw_dy(rng, lib, y))
    results = [y, *op.gradients(dy, cache)]
    kept = [lib.to_numpy(result) for result in results]
    other_y, other_cache = op.forward(*on(lib, op.draw(rng)))
    others = [other_y, *op.gradients(lib.asarray(op.draw_dy(rng, lib, y)), other_cache)]
    for result, before, other in zip(results, kept, others, strict=True):
        lib.assert_equal(result, before)
        assert not np.array_equal(lib.to_numpy(other), before), "the second call was to give other numbers"


@pytest.mark.parametrize("layout", LAYOUTS)
@each_operation
def test_results_share_no_memory_with_the_arguments(rng: np.random.Generator, op: Operation, layout: str) -> None:
    """Whoever writes into a result changes nothing else; and may write: the result is the caller's own."""
    lib = Lib("numpy", np)
    if layout in ("batch_last", "channels_last") and op.name in ("linear", "softmax_cross_entropy"):
        layout = "fortran"  # the same thing for a matrix
    arrays = op.draw(rng)
    if layout == "channels_last" and next(iter(arrays.values())).ndim < 3:
        layout = "fortran"
    first, *rest = arrays.values()
    given = [LAYOUTS[layout](lib, first), *map(lib.asarray, rest)]
    y, cache = op.forward(*given)
    dy = lib.asarray(op.draw_dy(rng, lib, y))
    results = [y, *op.gradients(dy, cache)]
    for k, result in enumerate(results):
        assert isinstance(result, np.generic) or result.flags.writeable
        for other in [*given, dy, *results[:k]]:
            assert not np.shares_memory(result, other)


@each_operation
def test_read_only_and_awkward_dy(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    given = on(lib, op.draw(rng))
    y, cache = op.forward(*given)
    dy = op.draw_dy(rng, lib, y)
    expected = [lib.to_numpy(g) for g in op.gradients(lib.asarray(dy), cache)]
    for lay in LAYOUTS.values():
        if dy.ndim == 0 or (dy.ndim < 3 and lay is LAYOUTS["channels_last"]):
            continue
        for gradient, wanted in zip(op.gradients(lay(lib, dy), cache), expected, strict=True):
            lib.assert_close(gradient, wanted, rtol=1e-12, atol=1e-13)


# ==== memory that is lent ====


@each_operation
def test_a_workspace_changes_no_number(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    """Over several steps, with a short batch among them; what is lent within a step does not overlap."""
    work = Workspace()
    for n in (3, 2, 3):
        arrays = op.draw(rng)
        first = next(iter(arrays))
        arrays[first] = arrays[first][:n]
        if op.constants:
            arrays["labels"] = arrays["labels"][:n]
        y, cache = op.forward(*on(lib, arrays))
        dy = lib.asarray(op.draw_dy(rng, lib, y))
        expected = [lib.to_numpy(result) for result in [y, *op.gradients(dy, cache)]]

        y, cache = op.forward(*on(lib, arrays), work=work)
        results = [y, *op.gradients(dy, cache, work=work)]
        for result, wanted in zip(results, expected, strict=True):
            lib.assert_close(result, wanted, rtol=1e-12, atol=1e-13)
        work.end_step()


@each_operation
def test_a_workspace_lends_the_same_memory_in_the_next_step(rng: np.random.Generator, op: Operation) -> None:
    """This is what it is for: the large results lie where they lay a step ago."""
    if op.name == "softmax_cross_entropy":
        pytest.skip("the loss has nothing large to lend")
    work, lib = Workspace(), Lib("numpy", np)
    steps = []
    for _ in range(2):
        y, cache = op.forward(*on(lib, op.draw(rng)), work=work)
        dx = op.gradients(lib.asarray(op.draw_dy(rng, lib, y)), cache, work=work)[0]
        work.end_step()
        steps.append((y, dx))
    (y1, dx1), (y2, dx2) = steps
    assert np.shares_memory(y1, y2)
    assert np.shares_memory(dx1, dx2)
    assert not np.shares_memory(y2, dx2)
