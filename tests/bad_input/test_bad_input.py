"""Whatever a user passes that is wrong: told in words that name it, before anything has changed."""

from __future__ import annotations

import pytest

from tests.bad_input import backend, data, functional, layers, optim, training
from tests.bad_input.table import Call, Row, try_row
from tests.libraries import Lib, open_library
from tests.networks import on

TABLES = [functional.TABLE, layers.TABLE, optim.TABLE, training.TABLE, data.TABLE, backend.TABLE]
CALLS = [call for table in TABLES for call in table.calls]
ROWS = [row for table in TABLES for row in table.rows]


def names(rows: list[Row]) -> list[str]:
    return [str(row) for row in rows]


WITH_ARRAYS = [row for row in ROWS if row.call.arrays]
WITHOUT_ARRAYS = [row for row in ROWS if not row.call.arrays]


@pytest.mark.parametrize("row", WITH_ARRAYS, ids=names(WITH_ARRAYS))
def test_a_wrong_argument_is_told_and_nothing_has_changed(lib: Lib, row: Row) -> None:
    try_row(lib, row)


@pytest.mark.parametrize("row", WITHOUT_ARRAYS, ids=names(WITHOUT_ARRAYS))
def test_a_wrong_argument_beside_arrays_is_told_and_nothing_has_changed(numpy_lib: Lib, row: Row) -> None:
    try_row(numpy_lib, row)


TRIED = [call for call in CALLS if not call.dear]


@pytest.mark.parametrize("call", TRIED, ids=map(str, TRIED))
def test_the_right_arguments_are_right(lib: Lib, call: Call) -> None:
    """Else a row could be refused for another reason than its own."""
    if lib.name != "numpy" and not call.arrays:
        lib = open_library("numpy")
    with on(lib):
        call(call.good(lib))
