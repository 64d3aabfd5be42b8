"""What is true of every operation: arrays in, arrays out; nothing written to, nothing shared; errors in words."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xlenet.functional
from tests.functional.messages import message
from tests.functional.operations import OPERATIONS, Operation, each_argument, each_operation, operations_where
from tests.gradcheck import check_gradients
from tests.layouts import LAYOUTS
from tests.libraries import Lib, open_library
from xlenet.workspace import Workspace

TOLERANCE = {"float32": {"rtol": 1e-5, "atol": 1e-5}, "float64": {"rtol": 1e-12, "atol": 1e-13}}


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
    assert with_backward == {op.bare_backward.__module__.rpartition(".")[2] for op in OPERATIONS.values()}


# ==== types and libraries ====


@pytest.mark.parametrize("dtype", TOLERANCE)
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


@each_argument(of=lambda op: list(op.shapes) if len(op.shapes) > 1 else [])
def test_one_argument_of_another_type_is_refused(lib: Lib, rng: np.random.Generator, op: Operation, name: str) -> None:
    arrays = op.draw(rng)
    arrays[name] = arrays[name].astype(np.float32)
    with pytest.raises(TypeError, match=message(op.name, got="float32", expected="all float32 or all float64")):
        op.forward(*on(lib, arrays))


@operations_where(lambda op: not op.is_loss)
def test_a_dy_of_another_type_is_refused(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    y, cache = op.forward(*on(lib, op.draw(rng, "float32")))
    dy = lib.asarray(op.draw_dy(rng, lib, y))
    with pytest.raises(TypeError, match=message(op.backward_name, got="float64", expected="float32")):
        op.gradients(dy, cache)


@operations_where(lambda op: not op.is_loss)
def test_a_dy_of_another_shape_is_refused(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    y, cache = op.forward(*on(lib, op.draw(rng)))
    shape = tuple(int(size) for size in y.shape)
    for wrong in ((shape[0] + 1, *shape[1:]), shape[1:], (*shape, 1)):
        with pytest.raises(
            ValueError, match=message(op.backward_name, got=f"dy of shape {wrong}", expected=str(shape))
        ):
            op.gradients(lib.asarray(np.zeros(wrong)), cache)


@each_argument(of=lambda op: op.arguments if len(op.arguments) > 1 else [])
def test_arrays_of_two_libraries_are_refused(
    numpy_lib: Lib, device_lib: Lib, rng: np.random.Generator, op: Operation, name: str
) -> None:
    mixed = [
        (numpy_lib if argument == name else device_lib).asarray(values) for argument, values in op.draw(rng).items()
    ]
    with pytest.raises(TypeError, match=message(op.name, got=f"{name} of numpy", expected="one library")):
        op.forward(*mixed)


@operations_where(lambda op: not op.is_loss)
def test_a_dy_of_another_library_is_refused(
    numpy_lib: Lib, device_lib: Lib, rng: np.random.Generator, op: Operation
) -> None:
    y, cache = op.forward(*on(device_lib, op.draw(rng)))
    with pytest.raises(TypeError, match=r": got dy of numpy and [^;]*; expected one library; .*to_host"):
        op.gradients(numpy_lib.asarray(op.draw_dy(rng, device_lib, y)), cache)
    y, cache = op.forward(*on(numpy_lib, op.draw(rng)))
    with pytest.raises(TypeError, match=r": got dy of [^;]* and x of numpy; expected one library; .*to_host"):
        op.gradients(device_lib.asarray(op.draw_dy(rng, numpy_lib, y)), cache)


@each_operation
def test_everything_can_be_passed_by_name(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    given = dict(zip(op.arguments, on(lib, op.draw(rng)), strict=True))
    y, cache = op.forward(**given)
    lib.assert_equal(y, lib.to_numpy(op.forward(*given.values())[0]))
    dy = lib.asarray(op.draw_dy(rng, lib, y))
    expected = op.gradients(dy, op.forward(*given.values())[1])
    first = next(iter(inspect.signature(op.bare_backward).parameters))
    results = [
        op.bare_backward(dy, cache=cache),
        op.bare_backward(**{first: dy, "cache": cache}),
        op.bare_backward(**{"cache": cache, first: dy}),
    ]
    for result in results:
        for gradient, wanted in zip(result if isinstance(result, tuple) else [result], expected, strict=True):
            lib.assert_equal(gradient, lib.to_numpy(wanted))


@each_argument(of=lambda op: op.arguments)
def test_what_is_no_array_is_refused(rng: np.random.Generator, op: Operation, name: str) -> None:
    arrays: dict[str, Any] = op.draw(rng)
    arrays[name] = arrays[name].tolist()
    with pytest.raises(TypeError, match=message(op.name, got=f"{name}, a builtins.list", expected="an array")):
        op.forward(*arrays.values())


@operations_where(lambda op: op.name not in ("relu", "tanh", "sigmoid"))
def test_an_empty_batch_is_refused(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    """But for those that look at each number alone: of none they make none (test_relu.py, test_squeezing.py)."""
    arrays = op.shorten(op.draw(rng), 0)
    first = op.arguments[0]
    with pytest.raises(ValueError, match=message(op.name, got=f"{first} of shape (0, ", expected="none of them 0")):
        op.forward(*on(lib, arrays))


# ==== the device is not waited for ====


@each_operation
def test_no_operation_asks_for_a_number(rng: np.random.Generator, op: Operation, monkeypatch: Any) -> None:
    """`if array:`, `float(array)` and the like stall a GPU, and cannot be captured into a graph."""
    strict = open_library("array_api_strict")
    given, dy_of = on(strict, op.draw(rng)), op.draw_dy

    def refuse(self: Any, *_: Any, **__: Any) -> None:
        raise AssertionError("an operation asked the device for a number")

    checked = {"labels_checked": True} if op.is_loss else {}
    y, _ = op.forward(*given, **checked)
    dy = strict.asarray(dy_of(rng, strict, y))
    for asking in (
        "__bool__",
        "__int__",
        "__float__",
        "__complex__",
        "__index__",
        "__array__",
        "__buffer__",
        "__iter__",
    ):
        if hasattr(type(y), asking):
            monkeypatch.setattr(type(y), asking, refuse)
    _, cache = op.forward(*given, **checked)
    op.gradients(dy, cache)


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
def test_results_share_no_memory_with_anything(
    numpy_lib: Lib, rng: np.random.Generator, op: Operation, layout: str
) -> None:
    """Whoever writes into a result changes nothing else; and may write: the result is the caller's own."""
    first, *rest = op.draw(rng).values()
    given = [LAYOUTS[layout](numpy_lib, first), *map(numpy_lib.asarray, rest)]
    y, cache = op.forward(*given)
    dy = numpy_lib.asarray(op.draw_dy(rng, numpy_lib, y))
    results = [y, *op.gradients(dy, cache)]
    for k, result in enumerate(results):
        assert isinstance(result, np.generic) or result.flags.writeable
        for other in [*given, dy, *results[:k]]:
            assert not np.shares_memory(result, other)


@pytest.mark.parametrize("layout", LAYOUTS)
@operations_where(lambda op: not op.is_loss)
def test_a_dy_in_any_memory_order(lib: Lib, rng: np.random.Generator, op: Operation, layout: str) -> None:
    y, cache = op.forward(*on(lib, op.draw(rng)))
    dy = op.draw_dy(rng, lib, y)
    expected = [lib.to_numpy(g) for g in op.gradients(lib.asarray(dy), cache)]
    for gradient, wanted in zip(op.gradients(LAYOUTS[layout](lib, dy), cache), expected, strict=True):
        lib.assert_close(gradient, wanted, rtol=1e-12, atol=1e-13)


# ==== gradients into the caller's arrays ====

writes_gradients = operations_where(lambda op: "out" in op.backward_options)


def poisoned(lib: Lib, like: Any) -> Any:
    """An array as large as `like`, full of NaN, that may be written to."""
    array = lib.xp.empty_like(like)
    array[...] = float("nan")
    return array


def test_every_operation_with_parameters_writes_gradients() -> None:
    for label, op in OPERATIONS.items():
        assert ("out" in op.backward_options) == ("weight" in op.shapes), label


@pytest.mark.parametrize("lent", [False, True])
@writes_gradients
def test_gradients_are_written_to_where_they_shall_go(
    lib: Lib, rng: np.random.Generator, op: Operation, lent: bool
) -> None:
    """The results are the arrays that were given themselves."""
    y, cache = op.forward(*on(lib, op.draw(rng)))
    dy = lib.asarray(op.draw_dy(rng, lib, y))
    expected = op.gradients(dy, cache)
    out = tuple(poisoned(lib, gradient) for gradient in expected[1:])
    for need_dx in (True, False):
        for array in out:
            array[...] = float("nan")
        dx, *results = op.gradients(dy, cache, out=out, need_dx=need_dx, work=Workspace() if lent else None)
        assert all(result is array for result, array in zip(results, out, strict=True))
        for result, wanted in zip(results, expected[1:], strict=True):
            lib.assert_close(result, lib.to_numpy(wanted), rtol=1e-12, atol=1e-13)
        if need_dx:
            lib.assert_close(dx, lib.to_numpy(expected[0]), rtol=1e-12, atol=1e-13)
        else:
            assert dx is None


@operations_where(lambda op: "need_dweight" in op.backward_options)
def test_without_a_bias_there_is_no_gradient_of_it(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    x, weight, bias = on(lib, op.draw(rng))
    y, cache = op.forward(x, weight)
    expected_y = lib.to_numpy(op.forward(x, weight, lib.asarray(np.zeros(bias.shape)))[0])
    lib.assert_close(y, expected_y, rtol=1e-12, atol=1e-13)
    dy = lib.asarray(op.draw_dy(rng, lib, y))
    dx, dweight, dbias = op.gradients(dy, cache)
    assert dbias is None
    out = (poisoned(lib, dweight), None)
    again, written, nothing = op.gradients(dy, cache, out=out)
    assert written is out[0]
    assert nothing is None
    lib.assert_close(written, lib.to_numpy(dweight), rtol=1e-12, atol=1e-13)
    lib.assert_close(again, lib.to_numpy(dx), rtol=1e-12, atol=1e-13)


@operations_where(lambda op: "need_dweight" in op.backward_options)
def test_what_is_not_needed_is_none_and_the_rest_the_same(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    y, cache = op.forward(*on(lib, op.draw(rng)))
    dy = lib.asarray(op.draw_dy(rng, lib, y))
    dx, dweight, dbias = op.gradients(dy, cache)
    only_dx = op.gradients(dy, cache, need_dweight=False)
    lib.assert_close(only_dx[0], lib.to_numpy(dx), rtol=1e-12, atol=1e-13)
    assert only_dx[1:] == [None, None]
    rest = op.gradients(dy, cache, need_dx=False)
    assert rest[0] is None
    lib.assert_close(rest[1], lib.to_numpy(dweight), rtol=1e-12, atol=1e-13)
    lib.assert_close(rest[2], lib.to_numpy(dbias), rtol=1e-12, atol=1e-13)
    assert op.gradients(dy, cache, need_dx=False, need_dweight=False) == [None, None, None]


# ==== memory that is lent ====


@each_operation
def test_a_workspace_changes_no_number(lib: Lib, rng: np.random.Generator, op: Operation) -> None:
    """Over steps with longer and shorter batches and of either type; what is lent within a step does not overlap."""
    work = Workspace()
    for n, dtype in [(2, "float64"), (3, "float64"), (2, "float32"), (2, "float64")]:
        arrays = op.shorten(op.draw(rng, dtype), n)
        y, cache = op.forward(*on(lib, arrays))
        dy = lib.asarray(op.draw_dy(rng, lib, y, dtype))
        expected = [lib.to_numpy(result) for result in [y, *op.gradients(dy, cache)]]

        y, cache = op.forward(*on(lib, arrays), work=work)
        results = [y, *op.gradients(dy, cache, work=work)]
        for result, wanted in zip(results, expected, strict=True):
            lib.assert_close(result, wanted, dtype=dtype, **TOLERANCE[dtype])
        work.end_step()


@operations_where(lambda op: not op.is_loss)
def test_a_workspace_lends_the_same_memory_in_the_next_step(
    numpy_lib: Lib, rng: np.random.Generator, op: Operation
) -> None:
    """This is what it is for: the large results lie where they lay a step ago, from the second step on: the first one
    finds out how much is needed. (The loss has none.)
    """
    work = Workspace()
    steps = []
    for _ in range(3):
        y, cache = op.forward(*on(numpy_lib, op.draw(rng)), work=work)
        dx = op.gradients(numpy_lib.asarray(op.draw_dy(rng, numpy_lib, y)), cache, work=work)[0]
        work.end_step()
        steps.append((y, dx))
    _, (y1, dx1), (y2, dx2) = steps
    assert np.shares_memory(y1, y2)
    assert np.shares_memory(dx1, dx2)
    assert not np.shares_memory(y2, dx2)
