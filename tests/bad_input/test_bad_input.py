"""Whatever a user passes that is wrong: told in words that name it, before anything has changed."""

from __future__ import annotations

import dataclasses

import pytest

from tests import fake_cupy
from tests.bad_input import backend, data, functional, interop, layers, optim, testing, training
from tests.bad_input.table import Row, try_rows
from tests.kernels import cuda_on_cpu
from tests.libraries import Lib, open_library
from tests.networks import on

TABLES = [
    functional.TABLE,
    layers.TABLE,
    optim.TABLE,
    training.TABLE,
    data.TABLE,
    backend.TABLE,
    testing.TABLE,
    interop.TABLE,
]
CALLS = [call for table in TABLES for call in table.calls]
ROWS = [row for table in TABLES for row in table.rows]


def by_argument() -> dict[str, list[Row]]:
    """The rows of each argument of each call."""
    groups: dict[str, list[Row]] = {}
    for row in ROWS:
        groups.setdefault(f"{row.call}-{row.argument}", []).append(row)
    return groups


GROUPS = by_argument()
WITH_ARRAYS = {name: rows for name, rows in GROUPS.items() if rows[0].call.arrays}
WITHOUT_ARRAYS = {name: rows for name, rows in GROUPS.items() if not rows[0].call.arrays}


@pytest.mark.parametrize("rows", WITH_ARRAYS.values(), ids=WITH_ARRAYS)
def test_a_wrong_argument_is_told_and_nothing_has_changed(lib: Lib, rows: list[Row]) -> None:
    try_rows(lib, rows)


@pytest.mark.skipif(bool(cuda_on_cpu.missing()), reason=cuda_on_cpu.missing() or "g++ is here")
@pytest.mark.parametrize("rows", WITH_ARRAYS.values(), ids=WITH_ARRAYS)
def test_with_kernels_for_a_gpu_it_is_told_in_the_same_words(rows: list[Row]) -> None:
    """On the stand-in for CuPy: kernels are asked before the portable code, and must leave mistakes to it."""
    with fake_cupy.installed() as cupy:
        try_rows(Lib("cupy", cupy), rows)


@pytest.mark.parametrize("rows", WITHOUT_ARRAYS.values(), ids=WITHOUT_ARRAYS)
def test_a_wrong_argument_where_no_array_is_is_told_and_nothing_has_changed(numpy_lib: Lib, rows: list[Row]) -> None:
    try_rows(numpy_lib, rows)


def test_the_right_arguments_are_right() -> None:
    """Else a row could be refused for another reason than its own. (Those of arrays are tried with their rows.)"""
    lib = open_library("numpy")
    for call in CALLS:
        if not call.dear:
            with on(lib):
                call(call.good(lib))


def test_no_two_calls_are_told_apart_by_nothing() -> None:
    """Their rows would be tried as those of one, with the arguments of the first."""
    assert len({str(call) for call in CALLS}) == len(CALLS)


def test_a_row_can_fail() -> None:
    """For each way to answer badly, a row that notices."""
    lib, seen = open_library("numpy"), []
    good = next(row for row in ROWS if row.call.path == "functional.linear.forward" and row.came == "a list")
    for change in (
        {"error": ValueError},
        {"got": ("weight",)},
        {"expected": ("a tensor",)},
        {"says": "conv2d"},
        {"spoil": lambda lib, right: right},
    ):
        with pytest.raises(AssertionError) as told:
            try_rows(lib, [dataclasses.replace(good, **change)])
        seen.append(str(told.value).partition(": ")[2])
    assert len(set(seen)) >= 3
    assert seen[-1].startswith("was taken")
