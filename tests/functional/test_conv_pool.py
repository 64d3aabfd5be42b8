"""A convolution and the max-pooling behind it: against the loops of both, one after the other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests import oracles
from tests.functional.cases import WINDOWS, Window, each_window, pads_of, pair
from tests.functional.messages import message
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet.functional import conv2d, conv_pool, maxpool2d

FILTERS = 3
TOLERANCE = {"float32": {"rtol": 1e-5, "atol": 1e-5}, "float64": {"rtol": 1e-12, "atol": 1e-12}}


class Pool(NamedTuple):
    """The pooling's arguments, by conv_pool's order."""

    kernel: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False

    def explicit(self, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int], oracles.Pads, bool]:
        """The same as the oracles take it, over an image of `size`."""
        kernel, stride = pair(self.kernel), pair(self.kernel if self.stride is None else self.stride)
        return kernel, stride, pads_of(self.padding, size, kernel, stride), self.ceil_mode


POOLS = {
    "two by two": Pool(2),
    "one by one": Pool(1),
    "tall tiles": Pool((2, 1)),
    "wide tiles, stride said": Pool((1, 3), (1, 3)),
    "three by two": Pool((3, 2)),
    "tiles, ceil": Pool(2, None, 0, True),
    "overlap": Pool(2, 1),
    "overlap, stride 2, padding": Pool(3, 2, 1),
    "overlap, ceil": Pool((3, 2), 2, (1, 0), True),
    "stride beyond the kernel": Pool(1, 2),
    "SAME": Pool(2, 2, "SAME"),
}

each_pool = pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS.keys())


class Expected(NamedTuple):
    """What the loops say."""

    y: np.ndarray
    dx: np.ndarray
    dweight: np.ndarray
    dbias: np.ndarray


def fits(case: Window, pool: Pool) -> bool:
    kernel, stride, pads, ceil_mode = pool.explicit(case.out_size)
    return min(oracles.out_size(case.out_size, kernel, stride, pads, ceil_mode)) > 0


def by_loops(x: Any, weight: Any, bias: Any, case: Window, pool: Pool, dy: Any = None) -> Expected:
    """Convolve, add the bias, pool; with the gradients for `dy`, or for a dy of ones."""
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    _, stride, pads = case.explicit
    z = oracles.conv2d(x, weight, bias, stride, pads)
    of_pool = pool.explicit(z.shape[2:])
    y, _ = oracles.maxpool2d(z, *of_pool)
    dz = oracles.maxpool2d_gradient(z, np.ones(y.shape) if dy is None else dy, *of_pool)
    return Expected(y, *oracles.conv2d_gradients(x, weight, dz, stride, pads))


def draw(rng: np.random.Generator, case: Window, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    c, kernel = case.x_shape[1], pair(case.kernel)
    shapes = (case.x_shape, (FILTERS, c, *kernel), (FILTERS,))
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)  # type: ignore[return-value]


def distinct(rng: np.random.Generator, case: Window, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays for which no two numbers that the pooling compares are within rounding of each other, if not equal."""
    while True:
        x, weight, bias = draw(rng, case, dtype)
        _, stride, pads = case.explicit
        z = oracles.conv2d(x.astype(np.float64), weight.astype(np.float64), None, stride, pads)
        values = np.sort(z.reshape(z.shape[0], z.shape[1], -1), axis=2)
        gaps = np.diff(values, axis=2)
        if np.all((gaps > 1e-5) | (gaps == 0)):
            return x, weight, bias


def compute(lib: Lib, x: Any, weight: Any, bias: Any, case: Window, pool: Pool) -> tuple[Any, Any]:
    return conv_pool.forward(x, weight, bias, case.stride, case.padding, *pool)


# ==== against loops ====


@pytest.mark.parametrize("has_bias", [True, False], ids=["bias", "no bias"])
@each_pool
@each_window
def test_forward_infer_and_gradients_against_loops(
    lib: Lib, rng: np.random.Generator, case: Window, pool: Pool, has_bias: bool
) -> None:
    x, weight, bias = draw(rng, case)
    given = [lib.asarray(x), lib.asarray(weight), lib.asarray(bias) if has_bias else None]
    if not fits(case, pool):
        for function in (conv_pool.forward, conv_pool.infer):
            with pytest.raises(ValueError, match=message("maxpool2d", got="kernel", expected="fit")):
                function(*given, case.stride, case.padding, *pool)
        return
    y, cache = compute(lib, *given, case, pool)
    dy = rng.standard_normal(lib.to_numpy(y).shape)
    expected = by_loops(x, weight, bias if has_bias else None, case, pool, dy)
    lib.assert_close(y, expected.y, dtype="float64", **TOLERANCE["float64"])
    lib.assert_equal(conv_pool.infer(*given, case.stride, case.padding, *pool), lib.to_numpy(y), dtype="float64")
    dx, dweight, dbias = conv_pool.backward(lib.asarray(dy), cache)
    lib.assert_close(dx, expected.dx, dtype="float64", **TOLERANCE["float64"])
    lib.assert_close(dweight, expected.dweight, dtype="float64", **TOLERANCE["float64"])
    if has_bias:
        lib.assert_close(dbias, expected.dbias, dtype="float64", **TOLERANCE["float64"])
    else:
        assert dbias is None


@pytest.mark.parametrize("name", ["two by two", "three by two", "overlap, stride 2, padding", "tiles, ceil"])
@pytest.mark.parametrize("window", ["not square at all", "SAME odd kernel", "padding beyond the kernel", "VALID"])
def test_float32_against_loops(lib: Lib, rng: np.random.Generator, window: str, name: str) -> None:
    case, pool = WINDOWS[window], POOLS[name]
    if not fits(case, pool):
        case = case._replace(x_shape=(*case.x_shape[:2], 9, 9))
    x, weight, bias = distinct(rng, case, "float32")
    y, cache = compute(lib, *map(lib.asarray, (x, weight, bias)), case, pool)
    dy = rng.standard_normal(lib.to_numpy(y).shape).astype(np.float32)
    expected = by_loops(x, weight, bias, case, pool, dy)
    lib.assert_close(y, expected.y, dtype="float32", **TOLERANCE["float32"])
    for result, wanted in zip(conv_pool.backward(lib.asarray(dy), cache), expected[1:], strict=True):
        lib.assert_close(result, wanted, dtype="float32", **TOLERANCE["float32"])


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 95, 96, 97, 130])
@pytest.mark.parametrize("padding", [0, 1])
def test_batches_of_any_size(lib: Lib, rng: np.random.Generator, n: int, padding: int) -> None:
    """A large one may be cut into parts: nobody is left out, and nobody counted twice."""
    case, pool = Window((n, 2, 5, 4), 2, 1, padding), POOLS["two by two"]
    x, weight, bias = draw(rng, case)
    y, cache = compute(lib, *map(lib.asarray, (x, weight, bias)), case, pool)
    dy = rng.standard_normal(lib.to_numpy(y).shape)
    expected = by_loops(x, weight, bias, case, pool, dy)
    lib.assert_close(y, expected.y)
    lib.assert_close(conv_pool.infer(*map(lib.asarray, (x, weight, bias)), 1, padding), expected.y)
    for result, wanted in zip(conv_pool.backward(lib.asarray(dy), cache), expected[1:], strict=True):
        lib.assert_close(result, wanted)


@given(data=st.data())
def test_any_geometry(data: st.DataObject) -> None:
    def number(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    n, c, h, w = number(1, 3), number(1, 3), number(1, 9), number(1, 9)
    kernel, stride = (number(1, 4), number(1, 4)), (number(1, 3), number(1, 3))
    padding = ((number(0, 3), number(0, 3)), (number(0, 3), number(0, 3)))
    case = Window((n, c, h, w), kernel, stride, padding)
    assume(min(case.out_size) > 0)
    pool_kernel = (number(1, 3), number(1, 3))
    pool_stride = data.draw(st.sampled_from([None, pool_kernel, 1, 2, (3, 1)]))
    pool_padding = tuple((number(0, k - 1), number(0, k - 1)) for k in pool_kernel)
    pool = Pool(pool_kernel, pool_stride, data.draw(st.sampled_from([0, pool_padding])), data.draw(st.booleans()))
    assume(fits(case, pool))
    rng = np.random.default_rng(number(0, 2**32 - 1))
    x, weight, bias = draw(rng, case)
    y, cache = conv_pool.forward(x, weight, bias, stride, padding, *pool)
    dy = rng.standard_normal(y.shape)
    expected = by_loops(x, weight, bias, case, pool, dy)
    np.testing.assert_allclose(y, expected.y, **TOLERANCE["float64"])
    np.testing.assert_array_equal(conv_pool.infer(x, weight, bias, stride, padding, *pool), y)
    for result, wanted in zip(conv_pool.backward(dy, cache), expected[1:], strict=True):
        np.testing.assert_allclose(result, wanted, **TOLERANCE["float64"])


# ==== who wins ====


@pytest.mark.parametrize("pool", [Pool(2), Pool((3, 2)), Pool(3, 2), Pool(2, 2, 1)], ids=str)
def test_of_equal_numbers_the_first_wins(lib: Lib, rng: np.random.Generator, pool: Pool) -> None:
    """In constant images every window is a tie."""
    case = Window((2, 2, 7, 8), 2)
    x, weight, bias = np.ones(case.x_shape), np.ones((FILTERS, 2, 2, 2)), np.zeros(FILTERS)
    y, cache = compute(lib, *map(lib.asarray, (x, weight, bias)), case, pool)
    dy = rng.standard_normal(lib.to_numpy(y).shape)
    expected = by_loops(x, weight, bias, case, pool, dy)
    lib.assert_close(y, expected.y)
    for result, wanted in zip(conv_pool.backward(lib.asarray(dy), cache), expected[1:], strict=True):
        lib.assert_close(result, wanted)


@pytest.mark.parametrize("pool", [Pool(2), Pool((3, 2)), Pool((1, 4)), Pool(3, 2)], ids=str)
def test_each_window_has_one_winner(lib: Lib, rng: np.random.Generator, pool: Pool) -> None:
    """With a single 1 for a filter dx is the pooling's: nothing is lost or counted twice, with ties everywhere."""
    x = rng.integers(-2, 1, (3, 1, 7, 9)).astype(np.float64)
    given = lib.asarray(x), lib.asarray(np.ones((1, 1, 1, 1)))
    y, cache = conv_pool.forward(*given, None, 1, 0, *pool)
    dy = rng.integers(1, 9, lib.to_numpy(y).shape).astype(np.float64)
    dx = conv_pool.backward(lib.asarray(dy), cache)[0]
    of_pool = pool.explicit((7, 9))
    lib.assert_equal(y, oracles.maxpool2d(x, *of_pool)[0])
    lib.assert_equal(dx, oracles.maxpool2d_gradient(x, dy, *of_pool))
    assert lib.to_numpy(dx).sum() == dy.sum()


@pytest.mark.parametrize("pool", [Pool(2), Pool((3, 2)), Pool(2, 1)], ids=str)
def test_minus_infinity_can_win_where_there_is_nothing_else(lib: Lib, pool: Pool) -> None:
    x = np.full((1, 1, 6, 6), -np.inf)
    x[0, 0, 3, 4] = 2.0
    y, cache = conv_pool.forward(lib.asarray(x), lib.asarray(np.ones((1, 1, 1, 1))), lib.asarray([1.0]), 1, 0, *pool)
    of_pool = pool.explicit((6, 6))
    lib.assert_equal(y, oracles.maxpool2d(x, *of_pool)[0] + 1.0)
    dy = np.ones(lib.to_numpy(y).shape)
    dx = conv_pool.backward(lib.asarray(dy), cache, need_dweight=False)[0]
    lib.assert_equal(dx, oracles.maxpool2d_gradient(x, dy, *of_pool))


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("pool", [Pool(1), Pool(2), Pool(2, 2, 0, True), Pool(3, 2)], ids=str)
def test_a_window_with_nan_gives_nan_and_loses_no_gradient(lib: Lib, pool: Pool, place: int) -> None:
    x = np.arange(36.0).reshape(1, 1, 6, 6)
    x[0, 0, 2 + place // 2, 2 + place % 2] = np.nan
    given = lib.asarray(x), lib.asarray(np.ones((1, 1, 1, 1))), lib.asarray([1.0])
    y, cache = conv_pool.forward(*given, 1, 0, *pool)
    expected = lib.to_numpy(maxpool2d.forward(lib.asarray(x), *pool)[0]) + 1.0
    assert np.isnan(expected).any()
    lib.assert_equal(y, expected)
    lib.assert_equal(conv_pool.infer(*given, 1, 0, *pool), expected)
    dx = lib.to_numpy(conv_pool.backward(lib.asarray(np.ones(expected.shape)), cache, need_dweight=False)[0])
    assert dx.sum() == expected.size
    assert set(dx.ravel()) <= {0.0, 1.0, 2.0, 3.0, 4.0}


def test_a_large_bias_does_not_change_who_wins(lib: Lib, rng: np.random.Generator) -> None:
    """It is added behind the pooling: in front of it 1e6 would round the differences away, and leave ties."""
    case, pool = Window((2, 2, 7, 6), 2), POOLS["two by two"]
    x, weight, _ = distinct(rng, case, "float32")
    x *= np.float32(0.01)
    bias = np.full(FILTERS, 1e6, np.float32)
    y, cache = compute(lib, *map(lib.asarray, (x, weight, bias)), case, pool)
    dy = rng.standard_normal(lib.to_numpy(y).shape).astype(np.float32)
    expected = by_loops(x, weight, None, case, pool, dy)
    lib.assert_close(y, expected.y + 1e6, rtol=1e-6)
    dx, dweight, _ = conv_pool.backward(lib.asarray(dy), cache)
    lib.assert_close(dx, expected.dx, rtol=1e-5, atol=1e-6)
    lib.assert_close(dweight, expected.dweight, rtol=1e-5, atol=1e-6)


# ==== memory ====


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["two by two", "overlap, stride 2, padding"])
@pytest.mark.parametrize("window", ["plain", "SAME even kernel, stride 3", "padding by side"])
def test_any_memory_order(lib: Lib, rng: np.random.Generator, window: str, name: str, layout: str) -> None:
    case, pool, lay = WINDOWS[window], POOLS[name], LAYOUTS[layout]
    x, weight, bias = draw(rng, case)
    y, cache = compute(lib, *(lay(lib, array) for array in (x, weight, bias)), case, pool)
    dy = rng.standard_normal(lib.to_numpy(y).shape)
    expected = by_loops(x, weight, bias, case, pool, dy)
    lib.assert_close(y, expected.y)
    for result, wanted in zip(conv_pool.backward(lay(lib, dy), cache), expected[1:], strict=True):
        lib.assert_close(result, wanted)


def test_a_part_of_a_batch_leaves_the_rest_alone(lib: Lib, rng: np.random.Generator) -> None:
    """Each image's result is its own: it does not depend on who else is in the batch."""
    case, pool = Window((130, 1, 6, 6), 3), POOLS["two by two"]
    x, weight, bias = draw(rng, case)
    parameters = lib.asarray(weight), lib.asarray(bias)
    whole = lib.to_numpy(conv_pool.infer(lib.asarray(x), *parameters, 1, 0, *pool))
    for k in (0, 64, 65, 129):
        alone = conv_pool.infer(lib.asarray(x[k : k + 1]), *parameters, 1, 0, *pool)
        lib.assert_close(alone, whole[k : k + 1], rtol=1e-13, atol=1e-13)


# ==== mistakes are told as by the two operations ====


@pytest.mark.parametrize(
    ("operation", "arguments", "error"),
    [
        ("conv2d", {"stride": 0}, ValueError),
        ("conv2d", {"stride": 1.5}, TypeError),
        ("conv2d", {"padding": "same as ever"}, ValueError),
        ("conv2d", {"padding": -1}, ValueError),
        ("maxpool2d", {"pool_kernel": 0}, ValueError),
        ("maxpool2d", {"pool_kernel": 9}, ValueError),
        ("maxpool2d", {"pool_kernel": "2"}, TypeError),
        ("maxpool2d", {"pool_stride": 0}, ValueError),
        ("maxpool2d", {"pool_stride": (1, 2, 3)}, ValueError),
        ("maxpool2d", {"pool_padding": 2}, ValueError),
        ("maxpool2d", {"pool_padding": "none"}, ValueError),
    ],
    ids=str,
)
@pytest.mark.parametrize("function", [conv_pool.forward, conv_pool.infer], ids=["forward", "infer"])
def test_a_mistake_is_told_as_by_the_operation_it_belongs_to(
    lib: Lib, function: Any, operation: str, arguments: dict[str, Any], error: type[Exception]
) -> None:
    x, weight = lib.asarray(np.zeros((2, 1, 6, 6))), lib.asarray(np.zeros((2, 1, 3, 3)))
    with pytest.raises(error, match=message(operation)) as told:
        function(x, weight, **arguments)
    of_pool = {name.removeprefix("pool_"): value for name, value in arguments.items() if name.startswith("pool_")}
    z, _ = conv2d.forward(x, weight)
    with pytest.raises(error) as alone:
        conv2d.forward(x, weight, **arguments) if not of_pool else maxpool2d.forward(z, **({"kernel": 2} | of_pool))
    assert str(told.value) == str(alone.value)
