"""The tests' own tools: a comparison that cannot fail, or a skip that nobody asked for, would hide everything else."""

from __future__ import annotations

import re
import tempfile
from typing import Any

import numpy as np
import pytest

from tests import libraries, oracles
from tests.functional.messages import message
from tests.gradcheck import check_gradients
from tests.layouts import LAYOUTS
from tests.libraries import Lib

# ==== names ====


def test_the_names_of_tests_are_the_same_in_every_process(request: pytest.FixtureRequest) -> None:
    """pytest-xdist gives up where they are not. Bytes may contain the time, as those of gzip do, and nobody reads them;
    an object's own text has its address. Looks at the tests that were collected with this one.
    """
    names = [item.name for item in request.session.items]
    assert [name for name in names if re.search(r"0x[0-9a-f]{6}|\\x[0-9a-f]{2}", name) or len(name) > 200] == []
    assert [name for name in names if tempfile.gettempdir() in name] == []


# ==== libraries and partners ====


@pytest.mark.parametrize(
    ("variable", "open_it"),
    [
        ("XLENET_REQUIRE_BACKENDS", lambda: libraries.open_library("cupy")),
        ("XLENET_REQUIRE_PARTNERS", lambda: libraries.open_partner("cupy", "no_such_package")),
    ],
)
def test_what_is_missing_is_skipped_and_what_is_required_fails(
    monkeypatch: pytest.MonkeyPatch, variable: str, open_it: Any
) -> None:
    monkeypatch.setitem(libraries._MISSING, "cupy", lambda: "it is not here")
    monkeypatch.setattr(libraries, "skip_reasons", set())
    for value in (None, "", "torch", "cup"):
        monkeypatch.delenv(variable, raising=False)
        if value is not None:
            monkeypatch.setenv(variable, value)
        with pytest.raises(pytest.skip.Exception, match=r"not here|not installed"):
            open_it()
    monkeypatch.setenv(variable, "torch, cupy")
    with pytest.raises(pytest.fail.Exception, match=rf"{variable} asks for cupy: .*(not here|not installed)"):
        open_it()


def test_an_array_of_another_library_is_not_native(numpy_lib: Lib, device_lib: Lib) -> None:
    with pytest.raises(AssertionError, match="expected an array of"):
        device_lib.assert_close(numpy_lib.asarray([1.0]), [1.0])
    with pytest.raises(AssertionError, match="expected an array of numpy"):
        numpy_lib.assert_close(device_lib.asarray([1.0]), [1.0])
    for value in ([1.0], 1.0, np.ma.masked_array([1.0]), None):
        with pytest.raises(AssertionError, match="expected an array of numpy"):
            numpy_lib.assert_native(value)


def test_an_array_on_another_device_is_not_native() -> None:
    strict = libraries.open_library("array_api_strict")
    with pytest.raises(AssertionError, match="CPU_DEVICE"):
        strict.assert_native(strict.xp.ones(3))


def test_assert_close_fails_where_it_should(lib: Lib) -> None:
    x = lib.asarray([1.0, 2.0])
    lib.assert_close(x, [1.0, 2.0], dtype="float64")
    for expected, options in [
        ([1.0, 2.1], {}),
        ([[1.0, 2.0]], {}),
        ([1.0, np.nan], {}),
        ([1.0, 2.0], {"dtype": "float32"}),
    ]:
        with pytest.raises(AssertionError):
            lib.assert_close(x, expected, **options)
    with pytest.raises(AssertionError):
        lib.assert_equal(x, [1.0, np.nextafter(2.0, 3.0)])
    with pytest.raises(AssertionError, match="shape"):
        lib.assert_close(lib.asarray(2.0), [2.0])  # numpy.testing alone would broadcast


def test_numpy_arrays_are_handed_out_read_only(numpy_lib: Lib) -> None:
    host = np.zeros(3)
    given = numpy_lib.asarray(host)
    with pytest.raises(ValueError, match="read-only"):
        given[0] = 1
    assert not np.shares_memory(given, host)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (4, 3)])
def test_a_layout_changes_strides_and_nothing_else(lib: Lib, rng: np.random.Generator, layout: str, shape: Any) -> None:
    values = rng.standard_normal(shape)
    laid = LAYOUTS[layout](lib, values)
    lib.assert_equal(laid, values, dtype="float64")
    if lib.name != "array_api_strict" and (len(shape) == 4 or layout != "channels_last"):
        assert (laid.strides == values.strides) == (layout == "contiguous")


# ==== gradients ====


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda dy, x, w: {"x": dy * w * 1.001, "w": dy * x}, "x"),
        (lambda dy, x, w: {"x": dy * w, "w": -dy * x}, "w"),
        (lambda dy, x, w: {"x": dy * w / len(x), "w": dy * x}, "x"),
        (lambda dy, x, w: {"x": dy * w, "w": np.flip(dy * x)}, "w"),
    ],
)
def test_a_wrong_gradient_is_found_and_named(numpy_lib: Lib, rng: np.random.Generator, wrong: Any, named: str) -> None:
    inputs = {"x": rng.standard_normal(7), "w": rng.standard_normal(7)}

    def check(backward: Any) -> None:
        check_gradients(numpy_lib, "product", lambda x, w: (x * w, (x, w)), lambda dy, c: backward(dy, *c), inputs, rng)

    check(lambda dy, x, w: {"x": dy * w, "w": dy * x})
    with pytest.raises(
        AssertionError, match=rf"^product: got a wrong gradient of {named}: analytic .*; expected numeric "
    ):
        check(wrong)


def test_a_backward_that_gives_nothing_is_not_right(numpy_lib: Lib, rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="no gradient"):
        check_gradients(numpy_lib, "nothing", lambda x: (x, None), lambda dy, c: {}, {"x": np.ones(2)}, rng)


# ==== oracles ====


def test_windows_are_counted_as_in_PyTorchs_formula() -> None:
    for n, k, s, begin, end in np.ndindex(9, 9, 4, 3, 3):
        n, k, s = n + 1, k + 1, s + 1  # sizes start from 1
        room = n + begin + end - k
        assert oracles.count_windows(n, k, s, (begin, end)) == max(room // s + 1, 0)
        ceil = -(-room // s) + 1
        last_starts_behind_the_input = (ceil - 1) * s >= n + begin
        expected = max(ceil - last_starts_behind_the_input, room // s + 1, 0)
        assert oracles.count_windows(n, k, s, (begin, end), ceil_mode=True) == expected


def test_the_oracle_of_pooling_gives_a_tie_to_the_first(rng: np.random.Generator) -> None:
    _, winners = oracles.maxpool2d(np.array([[[[1, 7], [7, 7]]]]), (2, 2), (2, 2), ((0, 0), (0, 0)))
    assert winners.tolist() == [[[[[0, 1]]]]]


# ==== messages ====


def test_the_form_of_an_error_is_checked_part_by_part() -> None:
    pattern = message("pool", got="x of shape (2, 3)", expected="(N, C)")
    assert re.search(pattern, "pool: got x of shape (2, 3); expected (N, C) and so on; reshape it")
    for other in (
        "pools: got x of shape (2, 3); expected (N, C); reshape it",
        "in pool: got x of shape (2, 3); expected (N, C); reshape it",
        "pool: got x of shape (2, 4); expected (N, C); reshape it",
        "pool: got x of shape (2, 3); expected (N, K); reshape it",
        "pool: got nothing; expected x of shape (2, 3) and (N, C); reshape it",
        "pool: got x of shape (2, 3); expected (N, C)",
        "pool: got x of shape (2, 3); expected (N, C); ",
    ):
        assert not re.search(pattern, other), other
