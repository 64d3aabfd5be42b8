"""Paddings, output sizes, img2col and its adjoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.functional.cases import DILATED, WINDOWS, Window, each_window_dilated_or_not, pair
from tests.functional.messages import message
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet.functional.windows import col2img, img2col, out_size, resolve_padding, windows_over

# ==== padding ====


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (0, ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        (((1, 0), (2, 3)), ((1, 0), (2, 3))),
        ([[1, 0], [2, 3]], ((1, 0), (2, 3))),
        ("VALID", ((0, 0), (0, 0))),
    ],
)
def test_each_way_to_write_a_padding(padding: Any, expected: Any) -> None:
    assert resolve_padding(padding, (9, 9), (5, 5), (1, 1)) == expected


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        ((28, 28), (5, 5), (1, 1), ((2, 2), (2, 2))),  # LeNet-5's first convolution
        ((6, 6), (2, 4), (1, 1), ((0, 1), (1, 2))),  # even kernels: the extra row and column at the end
        ((7, 8), (3, 3), (2, 2), ((1, 1), (0, 1))),  # ceil(7 / 2) = 4 rows need 9, ceil(8 / 2) = 4 columns need 9
        ((5, 5), (1, 1), (2, 2), ((0, 0), (0, 0))),  # stride beyond the kernel: nothing to pad, never less than 0
        ((4, 10), (5, 2), (4, 3), ((0, 1), (0, 1))),  # 1 row needs 5; ceil(10 / 3) = 4 columns need 11
        ((3, 3), (4, 6), (2, 1), ((1, 2), (2, 3))),
    ],
)
def test_SAME_is_TensorFlows_and_ONNXs_SAME_UPPER(size: Any, kernel: Any, stride: Any, expected: Any) -> None:
    assert resolve_padding("SAME", size, kernel, stride) == expected


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9))
def test_SAME_gives_in_over_stride_rounded_up(n: int, k: int, s: int) -> None:
    ((top, bottom), _) = resolve_padding("SAME", (n, n), (k, k), (s, s))
    assert ((top, bottom), (top, bottom)) == oracles.same_pads((n, n), (k, k), (s, s))
    assert (n + top + bottom - k) // s + 1 == -(-n // s)
    assert bottom - top in (0, 1)


def test_SAME_is_resolved_for_each_axis_of_its_own() -> None:
    assert resolve_padding("SAME", (7, 4), (3, 2), (2, 1)) == ((1, 1), (0, 1))


@pytest.mark.parametrize(
    "padding", ["FULL", "", -1, (1, -1), ((0, 0), (-1, 0)), (1, 2, 3), ((1, 2), 3), 1.5, None, False]
)
def test_a_padding_that_is_none_is_refused(lib: Lib, padding: Any) -> None:
    x = lib.asarray(np.zeros((1, 1, 5, 5)))
    with pytest.raises((ValueError, TypeError), match=message("img2col", got="padding")):
        img2col(x, 2, 1, padding)


# ==== output size ====


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads", "floor", "ceil"),
    [
        ((28, 28), (2, 2), (2, 2), ((0, 0), (0, 0)), (14, 14), (14, 14)),
        ((5, 7), (2, 2), (2, 2), ((0, 0), (0, 0)), (2, 3), (3, 4)),
        ((7, 6), (3, 2), (2, 3), ((1, 1), (0, 0)), (4, 2), (4, 2)),
        ((3, 4), (1, 1), (2, 2), ((0, 0), (0, 0)), (2, 2), (2, 2)),  # an overhanging window past the input: dropped
        ((5, 5), (2, 2), (4, 4), ((1, 1), (0, 0)), (2, 1), (2, 2)),
        ((2, 2), (2, 2), (2, 2), ((1, 1), (1, 1)), (2, 2), (2, 2)),
        ((4, 4), (2, 2), (3, 3), ((1, 1), (1, 1)), (2, 2), (2, 2)),
    ],
)
def test_output_size_by_hand(size: Any, kernel: Any, stride: Any, pads: Any, floor: Any, ceil: Any) -> None:
    for axis in range(2):
        arguments = size[axis], kernel[axis], stride[axis], pads[axis]
        assert out_size(*arguments) == floor[axis]
        assert out_size(*arguments, ceil_mode=True) == ceil[axis]


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 5), st.integers(1, 6))
def test_dilated_SAME_gives_in_over_stride_rounded_up(n: int, k: int, s: int, d: int) -> None:
    windows = windows_over((n, n), k, s, "SAME", d)
    assert windows.padding == oracles.same_pads((n, n), (k, k), (s, s), (d, d))
    assert windows.out == (-(-n // s), -(-n // s))


def test_a_window_of_one_pixel_has_no_gaps() -> None:
    """Whatever was said: kernels for windows without gaps may take it."""
    assert windows_over((5, 6), 1, 1, 0, 3).dilation == (1, 1)
    assert windows_over((5, 6), (1, 2), 1, 0, 3).dilation == (1, 3)


@pytest.mark.parametrize(
    ("arguments", "covers", "inside", "side_by_side"),
    [
        (((4, 6), (4, 6), 1, 0), True, True, False),
        (((4, 6), 2, 2, 0), False, True, True),
        (((5, 7), 2, 2, 0), False, True, True),
        (((4, 6), 2, 1, 0), False, True, False),
        (((4, 6), 2, 2, 1), False, False, False),
        (((4, 6), 2, 2, 0, 2), False, True, False),  # each window sees pixels of the next
        (((4, 6), 1, 1, 0, 2), False, True, True),
    ],
)
def test_what_is_known_of_windows(arguments: Any, covers: bool, inside: bool, side_by_side: bool) -> None:
    windows = windows_over(*arguments)
    assert (windows.cover_the_image, windows.lie_inside, windows.lie_side_by_side) == (covers, inside, side_by_side)


def test_a_dilated_window_that_overhangs_does_not_lie_inside() -> None:
    floor, ceil = (windows_over((6, 6), 2, 2, 0, 2, ceil_mode=mode) for mode in (False, True))
    assert (floor.out, ceil.out) == ((2, 2), (3, 3))
    assert (floor.lie_inside, ceil.lie_inside) == (True, False)


# ==== img2col ====


def draw(rng: np.random.Generator, case: Window) -> np.ndarray:
    return rng.standard_normal(case.x_shape)


def test_img2col_of_a_picture_one_can_check_by_eye(lib: Lib) -> None:
    x = lib.asarray(np.arange(18.0).reshape(1, 2, 3, 3))
    expected = [
        [0, 1, 3, 4, 9, 10, 12, 13],
        [1, 2, 4, 5, 10, 11, 13, 14],
        [3, 4, 6, 7, 12, 13, 15, 16],
        [4, 5, 7, 8, 13, 14, 16, 17],
    ]
    lib.assert_equal(img2col(x, 2), expected)


def test_img2col_takes_the_window_of_each_output_position_at_stride_2(lib: Lib) -> None:
    x = lib.asarray(np.arange(25.0).reshape(1, 1, 5, 5))
    lib.assert_equal(img2col(x, 2, 2), [[0, 1, 5, 6], [2, 3, 7, 8], [10, 11, 15, 16], [12, 13, 17, 18]])


def test_img2col_rows_are_image_by_image(lib: Lib) -> None:
    x = lib.asarray(np.arange(8.0).reshape(2, 1, 2, 2))
    lib.assert_equal(img2col(x, 1), np.arange(8.0).reshape(8, 1))


@each_window_dilated_or_not
def test_img2col_against_loops(lib: Lib, rng: np.random.Generator, case: Window) -> None:
    x = draw(rng, case)
    cols = img2col(lib.asarray(x), case.kernel, case.stride, case.padding, case.dilation)
    lib.assert_equal(cols, oracles.img2col(x, *case.explicit, case.spread), dtype="float64")


@each_window_dilated_or_not
def test_col2img_against_loops(lib: Lib, rng: np.random.Generator, case: Window) -> None:
    cols = rng.standard_normal(oracles.img2col(draw(rng, case), *case.explicit, case.spread).shape)
    x = col2img(lib.asarray(cols), case.x_shape, case.kernel, case.stride, case.padding, case.dilation)
    lib.assert_close(x, oracles.col2img(cols, case.x_shape, *case.explicit, case.spread), dtype="float64")


@each_window_dilated_or_not
def test_col2img_is_the_adjoint_of_img2col(lib: Lib, rng: np.random.Generator, case: Window) -> None:
    x = draw(rng, case)
    cols = lib.to_numpy(img2col(lib.asarray(x), case.kernel, case.stride, case.padding, case.dilation))
    m = rng.standard_normal(cols.shape)
    back = lib.to_numpy(col2img(lib.asarray(m), case.x_shape, case.kernel, case.stride, case.padding, case.dilation))
    assert np.sum(cols * m) == pytest.approx(np.sum(x * back), rel=1e-12, abs=1e-12)


def test_col2img_of_ones_counts_the_windows_over_each_pixel(lib: Lib) -> None:
    counts = col2img(lib.asarray(np.ones((4, 4))), (1, 1, 3, 3), 2)
    lib.assert_equal(counts, [[[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]])


def test_col2img_cuts_the_padding_off(lib: Lib) -> None:
    counts = col2img(lib.asarray(np.ones((4, 4))), (1, 1, 2, 2), 2, 2, 1)
    lib.assert_equal(counts, np.ones((1, 1, 2, 2)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_type_is_kept(lib: Lib, dtype: str) -> None:
    cols = img2col(lib.asarray(np.ones((2, 1, 4, 4)), dtype), 3, 1, 1)
    assert lib.dtype_name(cols) == dtype
    assert lib.dtype_name(col2img(cols, (2, 1, 4, 4), 3, 1, 1)) == dtype


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64"])
def test_integer_images_have_windows_too(lib: Lib, rng: np.random.Generator, dtype: str) -> None:
    case = WINDOWS["not square at all"]
    x = rng.integers(1, 100, case.x_shape).astype(dtype)
    cols = img2col(lib.asarray(x), case.kernel, case.stride, case.padding, case.dilation)
    lib.assert_equal(cols, oracles.img2col(x, *case.explicit, case.spread), dtype=dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_order(lib: Lib, rng: np.random.Generator, layout: str) -> None:
    case = WINDOWS["not square at all"]
    x = draw(rng, case)
    expected = oracles.img2col(x, *case.explicit, case.spread)
    lib.assert_equal(img2col(LAYOUTS[layout](lib, x), case.kernel, case.stride, case.padding, case.dilation), expected)
    back = col2img(LAYOUTS[layout](lib, expected), case.x_shape, case.kernel, case.stride, case.padding, case.dilation)
    lib.assert_close(back, oracles.col2img(expected, case.x_shape, *case.explicit, case.spread))


@pytest.mark.parametrize(
    "case", [WINDOWS["plain"], WINDOWS["one by one"], WINDOWS["kernel is the input"], DILATED["dilated"]]
)
def test_the_result_is_the_callers_own(numpy_lib: Lib, rng: np.random.Generator, case: Window) -> None:
    """Even where no number moves and a view would do."""
    x = draw(rng, case)
    kept = x.copy()
    first, second = (img2col(x, case.kernel, case.stride, case.padding, case.dilation) for _ in range(2))
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, x)
    first[...] = 0
    np.testing.assert_array_equal(x, kept)
    cols = second.copy()
    back = col2img(cols, case.x_shape, case.kernel, case.stride, case.padding, case.dilation)
    assert not np.shares_memory(back, cols)
    np.testing.assert_array_equal(cols, second)


# ==== random configurations ====


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Any window that fits its padded input."""
    sides = [draw(st.tuples(st.integers(0, 2), st.integers(0, 2))) for _ in "vh"]
    size = [draw(st.integers(1, 7)) for _ in "vh"]
    kernel = tuple(draw(st.integers(1, min(4, n + sum(pad)))) for n, pad in zip(size, sides, strict=True))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.sampled_from([tuple(sides), "SAME"]))
    n, c = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    return Window((n, c, *size), kernel, stride, padding)


@st.composite
def dilated_windows(draw: st.DrawFn) -> Window:
    """Any window, and any dilation with which it still fits."""
    case = draw(windows())
    _, _, pads = case.explicit
    room = [n + sum(pad) for n, pad in zip(case.x_shape[2:], pads, strict=True)]
    most = [(n - 1) // (k - 1) if k > 1 else 9 for n, k in zip(room, pair(case.kernel), strict=True)]
    dilation = tuple(draw(st.integers(1, max(1, d))) for d in most)
    return case._replace(dilation=dilation)


@given(case=dilated_windows(), seed=st.integers(0, 2**32 - 1))
def test_random_windows(lib: Lib, case: Window, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = draw(rng, case)
    expected = oracles.img2col(x, *case.explicit, case.spread)
    cols = img2col(lib.asarray(x), case.kernel, case.stride, case.padding, case.dilation)
    lib.assert_equal(cols, expected)
    back = col2img(cols, case.x_shape, case.kernel, case.stride, case.padding, case.dilation)
    lib.assert_close(back, oracles.col2img(expected, case.x_shape, *case.explicit, case.spread))


# ==== errors ====


@pytest.mark.parametrize("shape", [(5, 5), (1, 5, 5), (1, 1, 1, 5, 5)])
def test_img2col_of_another_rank_is_refused(lib: Lib, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=message("img2col", got=str(shape), expected="(N, C, H, W)")):
        img2col(lib.asarray(np.zeros(shape)), 2)


@pytest.mark.parametrize("kernel", [0, -1, (0, 2), (2, -3), (1, 2, 3), 2.0, "2", True, None])
def test_a_kernel_that_is_none_is_refused(lib: Lib, kernel: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message("img2col", got="kernel")):
        img2col(lib.asarray(np.zeros((1, 1, 5, 5))), kernel)


@pytest.mark.parametrize("stride", [0, -1, (1, 0), (-2, 1), (1, 2, 3), 1.0, True])
def test_a_stride_that_is_none_is_refused(lib: Lib, stride: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message("img2col", got="stride")):
        img2col(lib.asarray(np.zeros((1, 1, 5, 5))), 2, stride)


@pytest.mark.parametrize("dilation", [0, -1, (1, 0), (-2, 1), (1, 2, 3), 1.0, True, None])
def test_a_dilation_that_is_none_is_refused(lib: Lib, dilation: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message("img2col", got="dilation")):
        img2col(lib.asarray(np.zeros((1, 1, 5, 5))), 2, 1, 0, dilation)


def test_a_window_that_is_too_large_with_its_gaps_is_refused(lib: Lib) -> None:
    with pytest.raises(ValueError, match=message("img2col", got="and dilation (1, 2)", expected="fit")):
        img2col(lib.asarray(np.zeros((1, 1, 4, 4))), 3, 1, 0, (1, 2))


@pytest.mark.parametrize(
    ("size", "kernel", "padding"), [((4, 5), (5, 5), 0), ((5, 4), (5, 5), 0), ((4, 4), (7, 3), ((1, 1), (0, 0)))]
)
def test_a_window_larger_than_the_padded_input_is_refused(lib: Lib, size: Any, kernel: Any, padding: Any) -> None:
    with pytest.raises(ValueError, match=message("img2col", got=f"kernel {kernel}", expected="fit")):
        img2col(lib.asarray(np.zeros((1, 1, *size))), kernel, 1, padding)


@pytest.mark.parametrize("shape", [(4, 5), (5, 4), (4, 4, 1), (16,)])
def test_col2img_of_a_matrix_of_another_shape_is_refused(lib: Lib, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=message("col2img", got=f"columns of shape {shape}", expected="(4, 4)")):
        col2img(lib.asarray(np.zeros(shape)), (1, 1, 3, 3), 2)


@pytest.mark.parametrize("x_shape", [(3, 3), (1, 3, 3), (1, 1, 1, 3, 3)])
def test_col2img_into_a_shape_of_another_rank_is_refused(lib: Lib, x_shape: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message("col2img", got="x_shape", expected="(N, C, H, W)")):
        col2img(lib.asarray(np.zeros((4, 4))), x_shape, 2)


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(TypeError, match=r"got [a-z]+, a builtins\.list; expected an array"):
        img2col([[[[1.0]]]], 1)
