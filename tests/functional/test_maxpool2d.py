"""Max-pooling: against loops, against differences, and where peers went wrong."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.functional.cases import pads_of, pair
from tests.functional.messages import message
from tests.gradcheck import check_gradients
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet.functional import maxpool2d


class Pool(NamedTuple):
    """An input shape and maxpool2d's arguments after it."""

    x_shape: tuple[int, int, int, int]
    kernel: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    dilation: Any = 1

    @property
    def explicit(self) -> tuple[tuple[int, int], tuple[int, int], oracles.Pads, bool, tuple[int, int]]:
        """The same as the oracles take it."""
        kernel, stride = pair(self.kernel), pair(self.kernel if self.stride is None else self.stride)
        pads = pads_of(self.padding, self.x_shape[2:], kernel, stride, self.dilation)
        return kernel, stride, pads, self.ceil_mode, pair(self.dilation)


POOLS = {
    "LeNet-5": Pool((2, 6, 28, 28), 2),
    "batch of one, one channel": Pool((1, 1, 4, 4), 2),
    "one by one": Pool((2, 2, 3, 4), 1),
    "one pixel": Pool((2, 3, 1, 1), 1),
    "kernel is the input": Pool((3, 2, 4, 5), (4, 5)),
    "does not tile": Pool((2, 2, 5, 7), 2),
    "does not tile, ceil": Pool((2, 2, 5, 7), 2, ceil_mode=True),
    "overlap": Pool((2, 2, 6, 5), 3, 1),
    "overlap, stride 2": Pool((2, 2, 7, 9), 3, 2),
    "not square at all": Pool((2, 2, 9, 7), (3, 2), (2, 3), ((1, 0), (0, 1))),
    "tall kernel": Pool((2, 1, 6, 4), (4, 1), (1, 2)),
    "wide kernel": Pool((2, 1, 4, 6), (1, 4), (2, 1)),
    "stride beyond the kernel": Pool((2, 2, 7, 8), 2, 3),
    "stride beyond the kernel, ceil": Pool((2, 2, 7, 8), 2, 5, 0, True),
    "padding": Pool((2, 2, 5, 6), 3, 2, 1),
    "padding, ceil": Pool((2, 2, 6, 7), 3, 2, 1, True),
    "padding by direction": Pool((2, 2, 4, 5), (2, 4), (1, 2), (1, 2)),
    "padding at the end": Pool((1, 2, 5, 5), 3, 2, ((0, 2), (0, 2)), True),
    "padding at the start": Pool((1, 2, 5, 5), 3, 2, ((2, 0), (2, 0))),
    "SAME": Pool((2, 2, 7, 8), 3, 2, "SAME"),
    "SAME even kernel": Pool((2, 1, 5, 6), (2, 4), 1, "SAME"),
    "VALID": Pool((2, 1, 5, 6), 3, 2, "VALID"),
    "overhang dropped, as in PyTorch": Pool((2, 1, 4, 4), 2, 3, 1, True),
    "dilated": Pool((2, 2, 6, 7), 2, dilation=2),
    "dilated, windows that interlock": Pool((2, 2, 6, 8), 2, 1, dilation=(1, 3)),
    "dilated, stride 2, padding": Pool((2, 2, 7, 9), 3, 2, 1, dilation=2),
    "dilated, ceil": Pool((2, 1, 6, 8), (2, 3), 2, (0, 1), True, (3, 2)),
    "dilated, more padding than kernel": Pool((1, 2, 5, 6), 3, 1, ((3, 3), (4, 0)), dilation=4),
    "dilated, SAME even kernel": Pool((2, 1, 5, 6), (2, 4), (1, 2), "SAME", dilation=(3, 1)),
    "dilated, one by one": Pool((2, 2, 3, 4), 1, 2, dilation=3),
}

each_pool = pytest.mark.parametrize("case", POOLS.values(), ids=POOLS.keys())


def draw(rng: np.random.Generator, case: Pool, dtype: str = "float64") -> np.ndarray:
    """Distinct values a tenth apart, half of them negative: no ties, and no kink within reach of a difference."""
    size = int(np.prod(case.x_shape))
    return ((rng.permutation(size) - size // 2) / 10).reshape(case.x_shape).astype(dtype)


def draw_tied(rng: np.random.Generator, case: Pool) -> np.ndarray:
    """Few values, all negative: ties everywhere, and a padding of 0 would win them all."""
    return rng.integers(-3, 0, case.x_shape).astype(np.float64)


# ==== against loops ====


@pytest.mark.parametrize("draw_x", [draw, draw_tied], ids=["distinct", "tied"])
@each_pool
def test_forward_and_gradient_against_loops(lib: Lib, rng: np.random.Generator, case: Pool, draw_x: Any) -> None:
    x = draw_x(rng, case)
    y, cache = maxpool2d.forward(lib.asarray(x), *case[1:])
    expected, _ = oracles.maxpool2d(x, *case.explicit)
    lib.assert_equal(y, expected, dtype="float64")
    dy = rng.standard_normal(expected.shape)
    dx = maxpool2d.backward(lib.asarray(dy), cache)
    lib.assert_close(dx, oracles.maxpool2d_gradient(x, dy, *case.explicit), dtype="float64")


@pytest.mark.parametrize("draw_x", [draw, draw_tied], ids=["distinct", "tied"])
@each_pool
def test_where_the_winners_are_against_loops(lib: Lib, rng: np.random.Generator, case: Pool, draw_x: Any) -> None:
    """Counted in the image without padding, row by row."""
    x = draw_x(rng, case)
    _, cache = maxpool2d.forward(lib.asarray(x), *case[1:])
    _, winners = oracles.maxpool2d(x, *case.explicit)
    lib.assert_equal(maxpool2d.argmax(cache), winners[..., 0] * case.x_shape[3] + winners[..., 1], dtype="int64")


@each_pool
def test_float32_is_exact_too(lib: Lib, rng: np.random.Generator, case: Pool) -> None:
    """A maximum rounds nothing, and whole numbers add up exactly."""
    x = draw(rng, case, "float32")
    y, cache = maxpool2d.forward(lib.asarray(x), *case[1:])
    expected, _ = oracles.maxpool2d(x, *case.explicit)
    lib.assert_equal(y, expected, dtype="float32")
    dy = rng.integers(-9, 10, expected.shape).astype(np.float32)
    dx = maxpool2d.backward(lib.asarray(dy), cache)
    lib.assert_equal(dx, oracles.maxpool2d_gradient(x, dy, *case.explicit), dtype="float32")


# ==== against differences ====


@pytest.mark.parametrize(
    "name",
    ["not square at all", "padding, ceil", "overlap", "stride beyond the kernel, ceil", "dilated, stride 2, padding"],
)
def test_gradient_by_random_projection(lib: Lib, rng: np.random.Generator, name: str) -> None:
    case = POOLS[name]
    check_gradients(
        lib,
        f"maxpool2d, {name}",
        lambda x: maxpool2d.forward(x, *case[1:]),
        lambda dy, cache: {"x": maxpool2d.backward(dy, cache)},
        {"x": draw(rng, case)},
        rng,
    )


# ==== where peers went wrong ====


def test_padding_is_minus_infinity_and_never_zero(lib: Lib) -> None:
    y, _ = maxpool2d.forward(lib.asarray(-np.ones((1, 1, 3, 3))), 2, 1, 1)
    lib.assert_equal(y, -np.ones((1, 1, 4, 4)))


@pytest.mark.parametrize("background", [0.0, -1.0, 0.5])
def test_a_tie_goes_to_the_first_in_row_major_order_once(lib: Lib, background: float) -> None:
    """The constant background of a digit: a mask `x == y` would count the gradient four times."""
    x = np.full((1, 1, 4, 4), background)
    _, cache = maxpool2d.forward(lib.asarray(x), 2)
    dx = maxpool2d.backward(lib.asarray([[[[1.0, 2.0], [3.0, 4.0]]]]), cache)
    lib.assert_equal(dx, [[[[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]]])


def test_a_tie_of_two_goes_to_the_upper_right_before_the_lower_left(lib: Lib) -> None:
    """Row-major: a search by columns would find the lower left first."""
    _, cache = maxpool2d.forward(lib.asarray([[[[1.0, 7.0], [7.0, 2.0]]]]), 2)
    lib.assert_equal(maxpool2d.backward(lib.asarray([[[[5.0]]]]), cache), [[[[0, 5], [0, 0]]]])


@each_pool
def test_nothing_is_lost_and_nothing_counted_twice(lib: Lib, rng: np.random.Generator, case: Pool) -> None:
    x = np.zeros(case.x_shape)
    y, cache = maxpool2d.forward(lib.asarray(x), *case[1:])
    dy = rng.integers(-9, 10, y.shape).astype(np.float64)
    assert np.sum(lib.to_numpy(maxpool2d.backward(lib.asarray(dy), cache))) == np.sum(dy)


def test_a_window_of_minus_infinity_beside_padding_keeps_its_gradient(lib: Lib) -> None:
    """Equal to the padding, and yet the pixel wins: the gradient may not fall into the padding."""
    _, cache = maxpool2d.forward(lib.asarray(np.full((1, 1, 2, 2), -np.inf)), 3, 3, 1)
    lib.assert_equal(maxpool2d.backward(lib.asarray([[[[5.0]]]]), cache), [[[[5, 0], [0, 0]]]])


def test_overlapping_windows_add_up(lib: Lib) -> None:
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1.0
    _, cache = maxpool2d.forward(lib.asarray(x), 2, 1)
    dx = maxpool2d.backward(lib.asarray([[[[1.0, 2.0], [3.0, 4.0]]]]), cache)
    lib.assert_equal(dx, 10 * x)


def test_ceil_mode_keeps_the_rest_of_the_image(lib: Lib) -> None:
    x = lib.asarray(np.arange(25.0).reshape(1, 1, 5, 5))
    lib.assert_equal(maxpool2d.forward(x, 2)[0], [[[[6, 8], [16, 18]]]])
    y, cache = maxpool2d.forward(x, 2, ceil_mode=True)
    lib.assert_equal(y, [[[[6, 8, 9], [16, 18, 19], [21, 23, 24]]]])
    dx = maxpool2d.backward(lib.asarray(np.ones((1, 1, 3, 3))), cache)
    lib.assert_equal(dx, np.isin(np.arange(25.0), [6, 8, 9, 16, 18, 19, 21, 23, 24]).reshape(1, 1, 5, 5))


@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (7, None), (8, 3), ((6, 7), 2)])
def test_in_ceil_mode_the_only_window_may_overhang_by_less_than_a_stride(lib: Lib, kernel: Any, stride: Any) -> None:
    """PyTorch has it so: it rounds (6 - 7) / 2 + 1 up like any other size."""
    x = np.arange(36.0).reshape(1, 1, 6, 6)
    y, cache = maxpool2d.forward(lib.asarray(x), kernel, stride, ceil_mode=True)
    lib.assert_equal(y, [[[[35.0]]]])
    lib.assert_equal(maxpool2d.backward(lib.asarray([[[[2.0]]]]), cache), 2.0 * (x == 35))


def test_without_a_stride_windows_tile_the_image(lib: Lib, rng: np.random.Generator) -> None:
    x = lib.asarray(rng.standard_normal((2, 2, 6, 8)))
    y, _ = maxpool2d.forward(x, (3, 2))
    lib.assert_equal(y, lib.to_numpy(maxpool2d.forward(x, (3, 2), (3, 2))[0]))
    assert y.shape == (2, 2, 2, 4)


# ==== integers ====


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("name", ["padding, ceil", "not square at all", "overlap", "dilated, stride 2, padding"])
def test_integers_stay_integers(lib: Lib, rng: np.random.Generator, dtype: str, name: str) -> None:
    case = POOLS[name]
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, case.x_shape, dtype=dtype, endpoint=True)
    x[0, 0, :3, :3] = info.min  # the least number there is, beside the padding
    y, cache = maxpool2d.forward(lib.asarray(x), *case[1:])
    expected, winners = oracles.maxpool2d(x, *case.explicit)
    lib.assert_equal(y, expected, dtype=dtype)
    lib.assert_equal(maxpool2d.argmax(cache), winners[..., 0] * case.x_shape[3] + winners[..., 1], dtype="int64")


def test_large_integers_do_not_pass_through_floating_point(lib: Lib) -> None:
    x = np.array([[[[2**60, 2**60 + 1], [2**60 - 1, -(2**63)]]]])
    assert int(lib.to_numpy(maxpool2d.forward(lib.asarray(x), 2)[0])[0, 0, 0, 0]) == 2**60 + 1


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_an_image_of_the_least_integer_keeps_it_beside_padding(lib: Lib, dtype: str) -> None:
    least = int(np.iinfo(dtype).min)
    y, _ = maxpool2d.forward(lib.asarray(np.full((1, 1, 3, 3), least), dtype), 2, 2, 1)
    lib.assert_equal(y, np.full((1, 1, 2, 2), least), dtype=dtype)


# ==== memory ====


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_order(lib: Lib, rng: np.random.Generator, layout: str) -> None:
    case = POOLS["not square at all"]
    x = draw(rng, case)
    lay = LAYOUTS[layout]
    y, cache = maxpool2d.forward(lay(lib, x), *case[1:])
    expected, _ = oracles.maxpool2d(x, *case.explicit)
    lib.assert_equal(y, expected)
    dy = rng.standard_normal(expected.shape)
    dx = maxpool2d.backward(lay(lib, dy), cache)
    lib.assert_close(dx, oracles.maxpool2d_gradient(x, dy, *case.explicit))


# ==== random configurations ====


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """Any pooling whose window fits, and each of whose windows sees a pixel."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.one_of(st.just((1, 1)), st.tuples(st.integers(1, 3), st.integers(1, 3))))
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    sides = tuple((draw(st.integers(0, r - 1)), draw(st.integers(0, r - 1))) for r in reach)
    # A gap that is no wider than the image lets no image through.
    least = (max(d, r - sum(pad)) for d, r, pad in zip(dilation, reach, sides, strict=True))
    size = tuple(draw(st.integers(n, n + 7)) for n in least)
    stride = draw(st.one_of(st.none(), st.tuples(st.integers(1, 5), st.integers(1, 5))))
    n, c = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    padding = draw(st.sampled_from([sides, "SAME"]))
    return Pool((n, c, *size), kernel, stride, padding, draw(st.booleans()), dilation)


@given(case=pools(), seed=st.integers(0, 2**32 - 1))
def test_random_poolings(lib: Lib, case: Pool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = draw_tied(rng, case)
    y, cache = maxpool2d.forward(lib.asarray(x), *case[1:])
    expected, winners = oracles.maxpool2d(x, *case.explicit)
    lib.assert_equal(y, expected)
    lib.assert_equal(maxpool2d.argmax(cache), winners[..., 0] * case.x_shape[3] + winners[..., 1])
    dy = rng.standard_normal(expected.shape)
    dx = maxpool2d.backward(lib.asarray(dy), cache)
    lib.assert_close(dx, oracles.maxpool2d_gradient(x, dy, *case.explicit))


@given(
    size=st.integers(1, 4), kernel=st.integers(1, 3), stride=st.integers(1, 4), dilation=st.integers(1, 7),
    before=st.integers(0, 8), after=st.integers(0, 8), ceil_mode=st.booleans(),
)  # fmt: skip
def test_exactly_what_may_leave_a_window_without_a_pixel_is_refused(
    size: int, kernel: int, stride: int, dilation: int, before: int, after: int, ceil_mode: bool
) -> None:
    """Once padding is less than a window reaches."""
    reach = (kernel - 1) * dilation + 1
    pad, x = (min(before, reach - 1), min(after, reach - 1)), np.zeros((1, 1, size, 1))
    count = oracles.count_windows(size, kernel, stride, pad, ceil_mode, dilation)
    seen = [sum(0 <= o * stride + i * dilation - pad[0] < size for i in range(kernel)) for o in range(count)]
    arguments = ((kernel, 1), (stride, 1), (pad, (0, 0)), ceil_mode, (dilation, 1))
    if not seen:
        with pytest.raises(ValueError, match="expected the kernel to fit"):
            maxpool2d.forward(x, *arguments)
    elif all(seen):
        assert maxpool2d.forward(x, *arguments)[0].shape == (1, 1, count, 1)
    else:
        with pytest.raises(ValueError, match="a window of nothing but padding"):
            maxpool2d.forward(x, *arguments)


# ==== errors ====


def call(lib: Lib, shape: Any = (1, 2, 6, 6), *args: Any, dtype: str = "float64") -> Any:
    return maxpool2d.forward(lib.asarray(np.zeros(shape), dtype), *args)


@pytest.mark.parametrize("shape", [(6, 6), (2, 6, 6), (1, 1, 2, 6, 6)])
def test_x_of_another_rank_is_refused(lib: Lib, shape: Any) -> None:
    with pytest.raises(ValueError, match=message("maxpool2d", got=f"x of shape {shape}", expected="(N, C, H, W)")):
        call(lib, shape, 2)


@pytest.mark.parametrize("kernel", [0, -1, (0, 2), (2, -3), (1, 2, 3), 2.0, "2", None])
def test_a_kernel_that_is_none_is_refused(lib: Lib, kernel: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message("maxpool2d", got="kernel")):
        call(lib, (1, 2, 6, 6), kernel)


@pytest.mark.parametrize("stride", [0, -1, (1, 0), (-2, 1), (1, 2, 3), 1.0])
def test_a_stride_that_is_none_is_refused(lib: Lib, stride: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message("maxpool2d", got="stride")):
        call(lib, (1, 2, 6, 6), 2, stride)


@pytest.mark.parametrize("padding", [-1, (1, -1), "FULL", 0.5, ((0, -1), (0, 0))])
def test_a_padding_that_is_none_is_refused(lib: Lib, padding: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message("maxpool2d", got="padding")):
        call(lib, (1, 2, 6, 6), 2, 2, padding)


@pytest.mark.parametrize("padding", [2, (2, 0), ((0, 0), (0, 2))])
def test_padding_as_large_as_the_kernel_is_refused(lib: Lib, padding: Any) -> None:
    """A window of nothing but padding has no maximum."""
    with pytest.raises(ValueError, match=message("maxpool2d", got="padding", expected="less padding than kernel")):
        call(lib, (1, 2, 6, 6), 2, 2, padding)


@pytest.mark.parametrize("dilation", [0, -1, (1, 0), (1, 2, 3), 1.0, None])
def test_a_dilation_that_is_none_is_refused(lib: Lib, dilation: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message("maxpool2d", got="dilation")):
        call(lib, (1, 2, 6, 6), 2, 2, 0, False, dilation)


@pytest.mark.parametrize(
    ("size", "padding", "dilation"), [((6, 6), 3, 2), ((6, 6), (0, 4), 3), ((2, 6), (1, 0), 3), ((6, 1), (0, 1), 2)]
)
def test_padding_that_may_hide_the_image_from_a_dilated_window_is_refused(
    lib: Lib, size: Any, padding: Any, dilation: int
) -> None:
    """As much as a window reaches, or an image that falls into a gap."""
    pattern = message("maxpool2d", got=f"and dilation ({dilation}, {dilation})", expected="less padding than kernel")
    with pytest.raises(ValueError, match=pattern):
        call(lib, (1, 2, *size), 2, 1, padding, False, dilation)


def test_a_window_larger_than_the_padded_input_is_refused(lib: Lib) -> None:
    with pytest.raises(ValueError, match=message("maxpool2d", got="kernel (9, 2)", expected="fit")):
        call(lib, (1, 2, 6, 6), (9, 2), 1, (1, 0))
    with pytest.raises(ValueError, match=message("maxpool2d", got="dilation (1, 6)", expected="fit")):
        call(lib, (1, 2, 6, 6), 2, 1, 0, False, (1, 6))


@pytest.mark.parametrize(("kernel", "stride"), [(7, 1), (8, 2), (13, 7)])
def test_a_window_that_overhangs_by_a_stride_is_refused_in_ceil_mode_too(lib: Lib, kernel: int, stride: int) -> None:
    with pytest.raises(ValueError, match=message("maxpool2d", got=f"kernel ({kernel}, {kernel})", expected="fit")):
        call(lib, (1, 2, 6, 6), kernel, stride, 0, True)


@pytest.mark.parametrize("dtype", ["bool", "complex128"])
def test_numbers_without_an_order_are_refused(lib: Lib, dtype: str) -> None:
    with pytest.raises(TypeError, match=message("maxpool2d", got=dtype, expected="floating or an integer")):
        call(lib, (1, 2, 6, 6), 2, dtype=dtype)


@pytest.mark.parametrize("shape", [(1, 2, 3, 4), (1, 1, 3, 3), (2, 2, 3, 3), (1, 2, 9), (18,)])
def test_a_dy_of_another_shape_is_refused(lib: Lib, shape: Any) -> None:
    _, cache = call(lib, (1, 2, 6, 6), 2)
    with pytest.raises(ValueError, match=message("maxpool2d", got=f"dy of shape {shape}", expected="(1, 2, 3, 3)")):
        maxpool2d.backward(lib.asarray(np.zeros(shape)), cache)


def test_a_window_with_nan_gives_nan_and_loses_no_gradient(lib: Lib) -> None:
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    x[0, 0, 0, 1] = x[0, 0, 3, 3] = np.nan
    y, cache = maxpool2d.forward(lib.asarray(x), 2)
    np.testing.assert_array_equal(lib.to_numpy(y)[0, 0], [[np.nan, 7.0], [13.0, np.nan]])
    dx = lib.to_numpy(maxpool2d.backward(lib.asarray(np.array([[[[1.0, 2.0], [3.0, 4.0]]]])), cache))[0, 0]
    assert [dx[:2, :2].sum(), dx[:2, 2:].sum(), dx[2:, :2].sum(), dx[2:, 2:].sum()] == [1.0, 2.0, 3.0, 4.0]


def test_among_several_nan_the_last_is_said_to_have_won(lib: Lib, torch: ModuleType) -> None:
    """As PyTorch says; of equal numbers, minus infinity too, it is the first."""
    x = np.full((1, 2, 4, 4), -np.inf)
    x[0, 0, 0, 1] = x[0, 0, 1, 0] = x[0, 1, 3, 3] = np.nan
    x[0, 1, 2, 2:] = 9.0
    _, cache = maxpool2d.forward(lib.asarray(x), 2)
    expected = torch.nn.functional.max_pool2d(torch.tensor(x), 2, return_indices=True)[1].numpy()
    assert expected[0, :, 0, 0].tolist() == [4, 0]
    assert expected[0, 1, 1, 1] == 15
    lib.assert_equal(maxpool2d.argmax(cache), expected, dtype="int64")


def test_to_ask_for_the_winners_changes_nothing(lib: Lib, rng: np.random.Generator) -> None:
    case = POOLS["padding, ceil"]
    x = lib.asarray(draw(rng, case))
    y, cache = maxpool2d.forward(x, *case[1:])
    before = lib.to_numpy(y)
    first = maxpool2d.argmax(cache)
    lib.assert_native(first)
    lib.assert_equal(maxpool2d.argmax(cache), lib.to_numpy(first))
    lib.assert_equal(y, before)
    dy = rng.standard_normal(before.shape)
    lib.assert_close(
        maxpool2d.backward(lib.asarray(dy), cache), oracles.maxpool2d_gradient(lib.to_numpy(x), dy, *case.explicit)
    )
