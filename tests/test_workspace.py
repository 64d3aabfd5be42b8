"""Memory that is lent: the same again in each step, never twice in one."""

from __future__ import annotations

import numpy as np
import pytest

from tests.libraries import Lib
from xlenet import Workspace
from xlenet.backend import batch_last
from xlenet.workspace import new, out_for


def test_what_is_lent_is_like_like(lib: Lib) -> None:
    work, like = Workspace(), lib.asarray([1.0], "float32")
    for dtype in (None, "float64", "int64", "bool", "uint8"):
        array = work.empty((2, 3), like=like, dtype=dtype)
        lib.assert_native(array)
        assert array.shape == (2, 3)
        assert lib.dtype_name(array) == (dtype or "float32")


def test_within_a_step_nothing_is_lent_twice(numpy_lib: Lib) -> None:
    work, like = Workspace(), np.zeros(1)
    lent = [
        work.empty(shape, like=like, dtype=dtype) for shape in ((3,), (3,), (2, 2)) for dtype in (None, "int64", "bool")
    ]
    for k, array in enumerate(lent):
        assert not any(np.shares_memory(array, other) for other in lent[:k])


def test_in_the_next_step_the_same_is_lent_again(lib: Lib) -> None:
    work, like = Workspace(), lib.asarray([1.0])
    for array, value in zip([work.empty((4,), like=like) for _ in range(2)], (1.0, 2.0), strict=True):
        array[...] = value
    work.end_step()
    again = [work.empty((2, 2), like=like) for _ in range(2)]
    for array, value in zip(again, (1.0, 2.0), strict=True):
        lib.assert_equal(array, np.full((2, 2), value))


def test_a_smaller_request_gets_a_part_and_a_larger_one_a_new_buffer(numpy_lib: Lib) -> None:
    work, like = Workspace(), np.zeros(1)
    large = work.empty((10,), like=like)
    work.end_step()
    small = work.empty((3, 2), like=like)
    assert np.shares_memory(large, small)
    assert small.flags.c_contiguous
    work.end_step()
    assert np.shares_memory(large, work.empty((10,), like=like)), "a short batch does not shrink it"
    work.end_step()
    larger = work.empty((11,), like=like)
    assert not np.shares_memory(large, larger)
    work.end_step()
    assert np.shares_memory(larger, work.empty((11,), like=like))


def test_types_do_not_disturb_each_other(numpy_lib: Lib) -> None:
    work, like = Workspace(), np.zeros(1)
    first = work.empty((4,), like=like)
    work.end_step()
    work.empty((4,), like=like, dtype="bool")
    assert np.shares_memory(first, work.empty((4,), like=like))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_shapes_with_little_in_them(lib: Lib, shape: tuple[int, ...]) -> None:
    work, like = Workspace(), lib.asarray([1.0])
    assert work.empty(shape, like=like).shape == shape


def test_without_a_workspace_an_array_is_the_callers_own(lib: Lib) -> None:
    like = lib.asarray([1.0], "float32")
    array = new((2, 3), like=like, work=None)
    lib.assert_native(array)
    assert (array.shape, lib.dtype_name(array)) == ((2, 3), "float32")
    assert out_for(like, None) is None


def test_results_of_elementwise_functions_go_to_batch_last_loans(lib: Lib, rng: np.random.Generator) -> None:
    x = lib.asarray(rng.standard_normal((4, 3, 2, 2)), "float32")
    out = out_for(x, Workspace())
    lib.assert_native(out)
    assert (out.shape, lib.dtype_name(out)) == (x.shape, "float32")
    if lib.name == "numpy":
        assert batch_last(out).flags.c_contiguous
