"""Memory that is lent: the same again in each step, never twice in one."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.libraries import Lib
from xlenet import Workspace, workspace
from xlenet.backend import batch_last, empty
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
    for _ in range(2):  # the first step finds out how much is needed
        work.end_step()
        for array, value in zip([work.empty((4,), like=like) for _ in range(2)], (1.0, 2.0), strict=True):
            array[...] = value
    work.end_step()
    again = [work.empty((2, 2), like=like) for _ in range(2)]
    for array, value in zip(again, (1.0, 2.0), strict=True):
        lib.assert_equal(array, np.full((2, 2), value))


def test_a_smaller_request_gets_a_part_and_a_larger_one_more_memory(numpy_lib: Lib) -> None:
    work, like = Workspace(), np.zeros(1)
    large = work.empty((10,), like=like)
    work.end_step()
    small = work.empty((3, 2), like=like)
    assert np.shares_memory(large, small)
    assert small.flags.c_contiguous
    work.end_step()
    assert np.shares_memory(large, work.empty((10,), like=like)), "a short batch does not shrink it"
    work.end_step()
    larger = work.empty((1000,), like=like)
    assert not np.shares_memory(large, larger)
    work.end_step()
    assert np.shares_memory(larger, work.empty((1000,), like=like))


def test_from_the_second_step_on_all_of_it_is_one_piece(lib: Lib) -> None:
    """And the first step, which outgrows what there is, gets memory apart."""
    work, like = Workspace(), lib.asarray([1.0])

    def step(*sizes: int) -> list[Any]:
        lent = [work.empty((size,), like=like) for size in sizes]
        for k, array in enumerate(lent):
            array[...] = k
        for k, array in enumerate(lent):
            lib.assert_equal(array, np.full(sizes[k], k))
        work.end_step()
        return lent

    step(5, 70, 3)
    if lib.name == "numpy":
        (a, b, c), (d, e) = step(5, 70, 3), step(40, 2)
        places = [array.ctypes.data for array in (a, b, c, d, e)]
        assert places[0] == places[3] < places[4] <= places[1] < places[2] < places[0] + 8 * 512
        assert all((place - places[0]) % 512 == 0 for place in places), "each begins with a line of the cache"
    step(700, 1)


def test_no_more_memory_is_asked_for_than_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that outgrows the piece gets what is missing; the next one the whole in one piece, and nothing after."""
    asked: list[Any] = []

    def watched(shape: tuple[int, ...], **kwargs: Any) -> Any:
        if shape != (0,):  # which only asks whether there is such a type
            asked.append(shape)
        return empty(shape, **kwargs)

    monkeypatch.setattr(workspace, "empty", watched)
    work, like = Workspace(), np.zeros(1)
    for expected in ([(64,), (64,), (100,)], [(256,)], [], []):
        asked.clear()
        for size in (64, 64, 100):
            work.empty((size,), like=like)
        assert asked == expected
        work.end_step()


def test_scratch_is_taken_back_at_the_end_of_its_block(numpy_lib: Lib) -> None:
    work, like = Workspace(), np.zeros(1)
    for _ in range(2):
        kept = work.empty((10,), like=like)
        with work.scratch():
            gone = work.empty((100,), like=like)
            with work.scratch():
                inner = work.empty((100,), like=like, dtype="bool")
        after = work.empty((50,), like=like)
        flags = work.empty((50,), like=like, dtype="bool")
        assert not np.shares_memory(kept, gone)
        assert not np.shares_memory(kept, after)
        work.end_step()
    assert np.shares_memory(gone, after)
    assert np.shares_memory(inner, flags)


def test_scratch_is_taken_back_after_an_error(numpy_lib: Lib) -> None:
    work, like = Workspace(), np.zeros(1)
    with contextlib.suppress(KeyError), work.scratch():
        gone = work.empty((100,), like=like)
        raise KeyError
    assert np.shares_memory(gone, work.empty((100,), like=like))


@given(
    st.lists(st.tuples(st.sampled_from(["lend", "lend", "open", "close", "end"]), st.integers(0, 200), st.booleans()))
)
def test_no_two_loans_that_are_out_overlap(calls: list[tuple[str, int, bool]]) -> None:
    """Whatever is asked for, in whichever order: what was lent in a block is back at its end, and all at a step's."""
    work, like = Workspace(), np.zeros(1)
    for _ in range(3):
        held: list[tuple[Any, int]] = []
        with contextlib.ExitStack() as outer:
            blocks: list[tuple[contextlib.ExitStack, int]] = []
            for number, (call, size, flags) in enumerate(calls):
                if call == "lend":
                    array = work.empty((size,), like=like, dtype="int8" if flags else None)
                    assert array.shape == (size,)
                    assert array.flags.c_contiguous
                    array[...] = number % 100
                    held.append((array, number % 100))
                elif call == "open":
                    block = outer.enter_context(contextlib.ExitStack())
                    block.enter_context(work.scratch())
                    blocks.append((block, len(held)))
                elif call == "close" and blocks:
                    block, before = blocks.pop()
                    block.close()
                    del held[before:]
                elif call == "end" and not blocks:
                    work.end_step()
                    held.clear()
                for array, value in held:
                    assert (array == value).all()
        work.end_step()


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


# ==== what is remembered ====


def test_the_same_is_lent_by_the_same_array(numpy_lib: Lib) -> None:
    work, like = Workspace(), np.zeros(1)
    lent = []
    for _ in range(3):
        lent.append([work.empty((2, 3), like=like), work.empty((4,), like=like)])
        work.end_step()
    assert all(mine is theirs for mine, theirs in zip(lent[1], lent[2], strict=True))


def test_nothing_is_lent_from_a_piece_that_was_exchanged() -> None:
    work, like = Workspace(), np.zeros(1)
    for size in (10, 10, 1000, 1000):
        work.empty((size,), like=like)
        work.end_step()
    small = work.empty((10,), like=like)
    work.end_step()
    assert np.shares_memory(small, work.empty((1000,), like=like))


@pytest.mark.parametrize("block", ["scratch", "step"])
def test_a_block_that_begins_as_the_one_before_still_gets_a_larger_piece(
    monkeypatch: pytest.MonkeyPatch, block: str
) -> None:
    """The helpers of threads lend scratch memory alone: nobody ends their steps."""
    asked: list[Any] = []
    monkeypatch.setattr(workspace, "empty", lambda shape, **kwargs: asked.append(shape) or empty(shape, **kwargs))
    work, like = Workspace(), np.zeros(1)
    fresh = []
    for _ in range(4):
        asked.clear()
        with work.scratch() if block == "scratch" else contextlib.nullcontext():
            work.empty((640,), like=like)
            work.empty((1280,), like=like)
        if block == "step":
            work.end_step()
        fresh.append(len(asked))
    assert fresh[2:] == [0, 0]


def test_of_many_shapes_not_all_are_remembered_but_the_last_ones_are() -> None:
    work, like = Workspace(), np.zeros(1)
    for size in (2000, *range(1, 1500), 7, 7):
        last = work.empty((size,), like=like)
        work.end_step()
    assert work.empty((7,), like=like) is last
    (piece,) = work._pieces.values()
    assert len(piece.views) <= 1024


@pytest.mark.parametrize(("dtype", "size", "room"), [
    ("float32", 300_000, 1 << 20), ("float64", 300_000, 1 << 19), ("float32", 200_000, 200_000),
    ("float32", 2_000_000, 2_000_000), ("bool", 300_000, 300_000),
])  # fmt: skip
def test_a_piece_of_more_than_a_megabyte_lies_on_large_pages(dtype: str, size: int, room: int) -> None:
    work, like = Workspace(), np.zeros(1, dtype)
    for _ in range(2):
        work.empty((size,), like=like)
        work.end_step()
    (piece,) = work._pieces.values()
    assert piece.memory.shape == (-(-room // 64) * 64,)
