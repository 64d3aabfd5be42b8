"""Convolution by whatever lowering: against loops, against differences, and where peers went wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xlenet.functional.conv2d
from tests import oracles
from tests.functional.cases import DILATED, WINDOWS, Window, each_window_dilated_or_not
from tests.functional.messages import message
from tests.functional.test_windows import dilated_windows
from tests.gradcheck import check_gradients
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet.functional import conv2d, conv2d_rows
from xlenet.functional.windows import img2col
from xlenet.workspace import Workspace


@pytest.fixture(autouse=True, scope="module", params=[conv2d, conv2d_rows], ids=["img2col", "rows"])
def lowering(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run every test below with each of the modules in the place of the name `conv2d`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "conv2d", request.param)
        yield


TOLERANCE = {"float32": {"rtol": 1e-4, "atol": 1e-5}, "float64": {"rtol": 1e-11, "atol": 1e-12}}


def draw(
    rng: np.random.Generator, case: Window, filters: int = 3, groups: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, weight, bias."""
    kernel, _, _ = case.explicit
    weight = rng.standard_normal((filters, case.x_shape[1] // groups, *kernel))
    return rng.standard_normal(case.x_shape), weight, rng.standard_normal(filters)


def draw_dy(rng: np.random.Generator, case: Window, filters: int = 3) -> np.ndarray:
    return rng.standard_normal((case.x_shape[0], filters, *case.out_size))


# ==== against loops ====


def check_against_loops(
    lib: Lib, rng: np.random.Generator, case: Window, filters: int = 3, groups: int = 1, dtype: str = "float64"
) -> None:
    """Forward and all gradients, with and without a workspace."""
    x, weight, bias = (a.astype(dtype).astype(np.float64) for a in draw(rng, case, filters, groups))
    dy = draw_dy(rng, case, filters).astype(dtype).astype(np.float64)
    _, stride, pads = case.explicit
    expected_y = oracles.conv2d(x, weight, bias, stride, pads, case.spread, groups)
    expected = oracles.conv2d_gradients(x, weight, dy, stride, pads, case.spread, groups)
    options = (case.stride, case.padding, case.dilation, groups)
    for work in (None, Workspace()):
        y, cache = conv2d.forward(*(lib.asarray(a, dtype) for a in (x, weight, bias)), *options, work=work)
        lib.assert_close(y, expected_y, dtype=dtype, **TOLERANCE[dtype])
        gradients = conv2d.backward(lib.asarray(dy, dtype), cache, work=work)
        for actual, wanted in zip(gradients, expected, strict=True):
            lib.assert_close(actual, wanted, dtype=dtype, **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_window_dilated_or_not
def test_forward_and_gradients_against_loops(lib: Lib, rng: np.random.Generator, case: Window, dtype: str) -> None:
    check_against_loops(lib, rng, case, dtype=dtype)


GROUPS = {
    "two groups": (Window((2, 4, 5, 6), 3), 6, 2),
    "three groups, not square at all": (Window((2, 6, 7, 9), (3, 2), (2, 3), ((1, 0), (2, 1))), 3, 3),
    "each channel alone": (Window((2, 4, 6, 5), 3, 1, 1), 4, 4),
    "each channel alone, with three filters": (Window((3, 2, 5, 4), (2, 3), (1, 2), "SAME"), 6, 2),
    "one channel": (Window((2, 1, 4, 4), 2), 3, 1),
    "one image": (Window((1, 4, 4, 4), 2), 4, 2),
    "one by one": (Window((2, 4, 3, 4), 1), 6, 2),
    "kernel is the input": (Window((3, 4, 4, 5), (4, 5)), 6, 2),
    "dilated": (Window((2, 4, 8, 7), 3, 2, 1, (2, 1)), 4, 2),
    "each channel alone, dilated": (Window((2, 3, 7, 7), 2, 1, "SAME", 3), 3, 3),
    "many filters": (Window((2, 4, 4, 4), 3), 140, 2),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("case", "filters", "groups"), GROUPS.values(), ids=GROUPS.keys())
def test_groups_against_loops(
    lib: Lib, rng: np.random.Generator, case: Window, filters: int, groups: int, dtype: str
) -> None:
    check_against_loops(lib, rng, case, filters, groups, dtype)


def test_groups_are_convolutions_side_by_side(lib: Lib, rng: np.random.Generator) -> None:
    x, weight, bias = (rng.standard_normal(shape) for shape in [(2, 6, 5, 4), (4, 3, 2, 3), (4,)])
    y, _ = conv2d.forward(*map(lib.asarray, (x, weight, bias)), groups=2)
    for first, some in ((0, slice(0, 2)), (3, slice(2, 4))):
        alone, _ = conv2d.forward(*map(lib.asarray, (x[:, first : first + 3], weight[some], bias[some])))
        lib.assert_close(y[:, some, ...], lib.to_numpy(alone))


def test_dilation_is_a_kernel_with_zeros_between(lib: Lib, rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((2, 3, 9, 8)), rng.standard_normal((4, 3, 3, 2))
    spread = np.zeros((4, 3, 7, 3))
    spread[:, :, ::3, ::2] = weight
    y, _ = conv2d.forward(lib.asarray(x), lib.asarray(weight), None, 1, 1, (3, 2))
    lib.assert_close(y, lib.to_numpy(conv2d.forward(lib.asarray(x), lib.asarray(spread), None, 1, 1)[0]))


def test_hundreds_of_channels_alone_are_one_product(numpy_lib: Lib, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a loop over them."""
    products, matmul = [], xlenet.functional.conv2d.matmul

    def counted(*args: Any, **kwargs: Any) -> Any:
        products.append(1)
        return matmul(*args, **kwargs)

    monkeypatch.setattr(xlenet.functional.conv2d, "matmul", counted)
    y, cache = conv2d.forward(np.ones((1, 300, 4, 4)), np.ones((300, 1, 3, 3)), groups=300)
    numpy_lib.assert_equal(y, np.full((1, 300, 2, 2), 9.0))
    conv2d.backward(y, cache)
    assert len(products) == 3


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "padding"),
    [
        ((2, 1, 28, 28), (6, 1, 5, 5), "SAME"),
        ((2, 6, 14, 14), (16, 6, 5, 5), "VALID"),
        ((2, 16, 5, 5), (120, 16, 5, 5), "VALID"),
        ((1, 1, 32, 32), (6, 1, 5, 5), "VALID"),
    ],
    ids=["conv1", "conv2", "conv3", "conv1 of 32x32"],
)
def test_the_convolutions_of_LeNet5(
    lib: Lib, rng: np.random.Generator, x_shape: Any, w_shape: Any, padding: str
) -> None:
    case = Window(x_shape, w_shape[2:], 1, padding)
    x, weight, bias = draw(rng, case, w_shape[0])
    dy = draw_dy(rng, case, w_shape[0])
    _, stride, pads = case.explicit
    y, cache = conv2d.forward(*map(lib.asarray, (x, weight, bias)), padding=padding)
    lib.assert_close(y, oracles.conv2d(x, weight, bias, stride, pads))
    for actual, expected in zip(
        conv2d.backward(lib.asarray(dy), cache), oracles.conv2d_gradients(x, weight, dy, stride, pads), strict=True
    ):
        lib.assert_close(actual, expected)


def test_it_is_the_product_with_img2col(lib: Lib, rng: np.random.Generator) -> None:
    """The user's matrix and the lowering in use are one convolution."""
    case = WINDOWS["not square at all"]
    x, weight, _ = draw(rng, case)
    cols = lib.to_numpy(img2col(lib.asarray(x), case.kernel, case.stride, case.padding))
    rows = cols @ weight.reshape(weight.shape[0], -1).T
    expected = np.moveaxis(rows.reshape(case.x_shape[0], *case.out_size, -1), -1, 1)
    y, _ = conv2d.forward(lib.asarray(x), lib.asarray(weight), None, case.stride, case.padding)
    lib.assert_close(y, expected)


def test_the_kernel_is_not_flipped(lib: Lib) -> None:
    x = lib.asarray([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]])
    weight = lib.asarray([[[[1.0, 10.0], [100.0, 1000.0]]]])
    lib.assert_equal(conv2d.forward(x, weight)[0], [[[[5421.0, 6532.0], [8754.0, 9865.0]]]])


def test_many_channels_and_filters(lib: Lib, rng: np.random.Generator) -> None:
    case = Window((2, 11, 6, 5), (2, 3), (1, 2), ((1, 0), (0, 2)))
    x, weight, bias = draw(rng, case, filters=13)
    dy = draw_dy(rng, case, filters=13)
    _, stride, pads = case.explicit
    y, cache = conv2d.forward(*map(lib.asarray, (x, weight, bias)), case.stride, case.padding)
    lib.assert_close(y, oracles.conv2d(x, weight, bias, stride, pads))
    expected = oracles.conv2d_gradients(x, weight, dy, stride, pads)
    for actual, wanted in zip(conv2d.backward(lib.asarray(dy), cache), expected, strict=True):
        lib.assert_close(actual, wanted)


@pytest.mark.parametrize("n", [31, 32, 33, 65])
def test_batches_of_any_size(lib: Lib, rng: np.random.Generator, n: int) -> None:
    """Sizes around those at which an implementation may cut a batch into pieces."""
    case = Window((n, 1, 4, 3), 2, 1, "SAME")
    x, weight, bias = draw(rng, case, filters=2)
    dy = draw_dy(rng, case, filters=2)
    _, stride, pads = case.explicit
    y, cache = conv2d.forward(*map(lib.asarray, (x, weight, bias)), case.stride, case.padding)
    lib.assert_close(y, oracles.conv2d(x, weight, bias, stride, pads))
    expected = oracles.conv2d_gradients(x, weight, dy, stride, pads)
    for actual, wanted in zip(conv2d.backward(lib.asarray(dy), cache), expected, strict=True):
        lib.assert_close(actual, wanted)


# ==== against differences ====


@pytest.mark.parametrize(
    "name",
    [
        "not square at all",
        "stride beyond the kernel",
        "SAME even kernel, stride 3",
        "padding beyond the kernel",
        "dilated, not square at all",
    ],
)
@pytest.mark.parametrize("with_bias", [True, False])
def test_gradient_by_random_projection(lib: Lib, rng: np.random.Generator, name: str, with_bias: bool) -> None:
    case = (WINDOWS | DILATED)[name]
    x, weight, bias = draw(rng, case)
    inputs = {"x": x, "weight": weight} | ({"bias": bias} if with_bias else {})

    def forward(x: Any, weight: Any, bias: Any = None) -> tuple[Any, Any]:
        return conv2d.forward(x, weight, bias, case.stride, case.padding, case.dilation)

    def backward(dy: Any, cache: Any) -> dict[str, Any]:
        return dict(zip(inputs, conv2d.backward(dy, cache), strict=False))

    check_gradients(lib, f"conv2d, {name}", forward, backward, inputs, rng)


# ==== where peers went wrong ====


def test_dweight_and_dbias_are_not_divided_by_the_batch(lib: Lib, rng: np.random.Generator) -> None:
    """The same image twice is twice the gradient: the loss divides, once."""
    x, weight, dy = (rng.standard_normal(shape) for shape in [(1, 2, 5, 4), (3, 2, 2, 2), (1, 3, 4, 3)])
    bias = np.zeros(3)

    def gradients(copies: int) -> list[np.ndarray]:
        _, cache = conv2d.forward(lib.asarray(np.tile(x, (copies, 1, 1, 1))), lib.asarray(weight), lib.asarray(bias))
        _, dweight, dbias = conv2d.backward(lib.asarray(np.tile(dy, (copies, 1, 1, 1))), cache)
        return [lib.to_numpy(dweight), lib.to_numpy(dbias)]

    for once, thrice in zip(gradients(1), gradients(3), strict=True):
        np.testing.assert_allclose(thrice, 3 * once, rtol=1e-12)


def test_SAME_with_stride_1_keeps_the_size_even_for_even_kernels(lib: Lib, rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((2, 1, 5, 6)), rng.standard_normal((1, 1, 2, 4))
    y, _ = conv2d.forward(lib.asarray(x), lib.asarray(weight), padding="SAME")
    assert y.shape == (2, 1, 5, 6)
    # The extra row is at the bottom, the extra column at the right: pads ((0, 1), (1, 2)).
    lib.assert_close(y, oracles.conv2d(x, weight, None, (1, 1), ((0, 1), (1, 2))))


def test_SAME_with_stride_gives_in_over_stride_rounded_up(lib: Lib, rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((1, 1, 7, 10)), rng.standard_normal((1, 1, 3, 2))
    y, _ = conv2d.forward(lib.asarray(x), lib.asarray(weight), stride=(2, 3), padding="SAME")
    assert y.shape == (1, 1, 4, 4)
    lib.assert_close(y, oracles.conv2d(x, weight, None, (2, 3), ((1, 1), (0, 1))))


def test_pixels_that_no_window_covers_have_gradient_zero(lib: Lib, rng: np.random.Generator) -> None:
    """Stride 3 with a kernel of 2 reads rows and columns 0, 1, 3, 4 of 7: the others take no part."""
    x, weight = rng.standard_normal((2, 1, 7, 7)), rng.standard_normal((2, 1, 2, 2))
    y, cache = conv2d.forward(lib.asarray(x), lib.asarray(weight), stride=3)
    dx = lib.to_numpy(conv2d.backward(lib.asarray(np.ones(y.shape)), cache)[0])
    assert np.all(dx[:, :, [2, 5, 6]] == 0)
    assert np.all(dx[:, :, :, [2, 5, 6]] == 0)
    assert np.all(dx[:, :, [0, 1, 3, 4]][:, :, :, [0, 1, 3, 4]] != 0)


# ==== what is not asked for is not computed ====


@pytest.mark.parametrize("need_dx", [True, False])
@pytest.mark.parametrize("need_dweight", [True, False])
@pytest.mark.parametrize("with_bias", [True, False])
def test_only_the_gradients_asked_for(
    lib: Lib, rng: np.random.Generator, need_dx: bool, need_dweight: bool, with_bias: bool
) -> None:
    case = WINDOWS["not square at all"]
    x, weight, bias = draw(rng, case)
    dy = draw_dy(rng, case)
    _, stride, pads = case.explicit
    given_bias = lib.asarray(bias) if with_bias else None
    _, cache = conv2d.forward(lib.asarray(x), lib.asarray(weight), given_bias, case.stride, case.padding)
    gradients = conv2d.backward(lib.asarray(dy), cache, need_dx=need_dx, need_dweight=need_dweight)
    wanted = [need_dx, need_dweight, need_dweight and with_bias]
    expected = oracles.conv2d_gradients(x, weight, dy, stride, pads)
    assert [g is not None for g in gradients] == wanted
    for actual, value in zip(gradients, expected, strict=True):
        if actual is not None:
            lib.assert_close(actual, value)


# ==== memory ====


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_order(lib: Lib, rng: np.random.Generator, layout: str) -> None:
    case = WINDOWS["SAME stride 2"]._replace(x_shape=(3, 2, 7, 8))
    x, weight, bias = draw(rng, case)
    dy = draw_dy(rng, case)
    _, stride, pads = case.explicit
    lay = LAYOUTS[layout]
    y, cache = conv2d.forward(lay(lib, x), lay(lib, weight), lib.asarray(bias), case.stride, case.padding)
    lib.assert_close(y, oracles.conv2d(x, weight, bias, stride, pads))
    expected = oracles.conv2d_gradients(x, weight, dy, stride, pads)
    for actual, wanted in zip(conv2d.backward(lay(lib, dy), cache), expected, strict=True):
        lib.assert_close(actual, wanted)


def test_a_gradient_that_is_one_number_seen_everywhere(numpy_lib: Lib, rng: np.random.Generator) -> None:
    """`broadcast_to` gives strides of zero: what a mean's or a sum's backward hands over."""
    x, weight = rng.standard_normal((2, 2, 5, 5)), rng.standard_normal((3, 2, 3, 3))
    _, cache = conv2d.forward(x, weight)
    dy = np.broadcast_to(np.float64(0.5), (2, 3, 3, 3))
    expected = oracles.conv2d_gradients(x, weight, dy, (1, 1), ((0, 0), (0, 0)))
    for actual, wanted in zip(conv2d.backward(dy, cache)[:2], expected, strict=False):
        numpy_lib.assert_close(actual, wanted)


# ==== random configurations ====


@given(case=dilated_windows(), groups=st.integers(1, 3), each=st.integers(1, 2), seed=st.integers(0, 2**32 - 1))
def test_random_convolutions(lib: Lib, case: Window, groups: int, each: int, seed: int) -> None:
    n, c, *size = case.x_shape
    case = case._replace(x_shape=(n, c * groups, *size))
    check_against_loops(lib, np.random.default_rng(seed), case, each * groups, groups)


# ==== errors ====


def call(lib: Lib, x: Any = (2, 3, 6, 6), weight: Any = (4, 3, 3, 3), bias: Any = (4,), *args: Any) -> Any:
    return conv2d.forward(*(None if s is None else lib.asarray(np.zeros(s)) for s in (x, weight, bias)), *args)


@pytest.mark.parametrize("shape", [(6, 6), (3, 6, 6), (1, 2, 3, 6, 6)])
def test_x_of_another_rank_is_refused(lib: Lib, shape: Any) -> None:
    with pytest.raises(ValueError, match=message("conv2d", got=f"x of shape {shape}", expected="(N, C, H, W)")):
        call(lib, x=shape)


@pytest.mark.parametrize("shape", [(4, 3, 3), (3, 3), (4, 3, 3, 3, 1)])
def test_a_weight_of_another_rank_is_refused(lib: Lib, shape: Any) -> None:
    with pytest.raises(ValueError, match=message("conv2d", got=f"weight of shape {shape}", expected="(F, 3, KH, KW)")):
        call(lib, weight=shape)


def test_other_channels_than_the_weights_are_refused(lib: Lib) -> None:
    with pytest.raises(ValueError, match=message("conv2d", got="x of shape (2, 5, 6, 6)", expected="(F, 5, KH, KW)")):
        call(lib, x=(2, 5, 6, 6))


@pytest.mark.parametrize("shape", [(3,), (5,), (4, 1), (1, 4), ()])
def test_a_bias_of_another_shape_is_refused(lib: Lib, shape: Any) -> None:
    with pytest.raises(ValueError, match=message("conv2d", got=f"bias of shape {shape}", expected="(4,)")):
        call(lib, bias=shape)


@pytest.mark.parametrize("stride", [0, -1, (1, 0), (-2, 1), (1, 2, 3), 1.0])
def test_a_stride_that_is_none_is_refused(lib: Lib, stride: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message("conv2d", got="stride")):
        call(lib, (2, 3, 6, 6), (4, 3, 3, 3), (4,), stride)


@pytest.mark.parametrize("padding", [-1, (1, -1), "FULL", ((0, 0), (0, -2)), 0.5])
def test_a_padding_that_is_none_is_refused(lib: Lib, padding: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message("conv2d", got="padding")):
        call(lib, (2, 3, 6, 6), (4, 3, 3, 3), (4,), 1, padding)


@pytest.mark.parametrize("dilation", [0, -1, (1, 0), (1, 2, 3), 1.0, None])
def test_a_dilation_that_is_none_is_refused(lib: Lib, dilation: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message("conv2d", got="dilation")):
        call(lib, (2, 3, 6, 6), (4, 3, 3, 3), (4,), 1, 0, dilation)


@pytest.mark.parametrize("groups", [0, -1, 1.0, True, None, (1, 1)])
def test_groups_that_are_none_are_refused(lib: Lib, groups: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message("conv2d", got="groups")):
        call(lib, (2, 3, 6, 6), (4, 3, 3, 3), (4,), 1, 0, 1, groups)


def test_channels_that_groups_do_not_divide_are_refused(lib: Lib) -> None:
    with pytest.raises(ValueError, match=message("conv2d", got="groups 2 for 3 channels", expected="a divisor of 3")):
        call(lib, (2, 3, 6, 6), (4, 1, 3, 3), (4,), 1, 0, 1, 2)


def test_filters_that_groups_do_not_divide_are_refused(lib: Lib) -> None:
    with pytest.raises(ValueError, match=message("conv2d", got="groups 3 for 4 filters", expected="a divisor of 4")):
        call(lib, (2, 3, 6, 6), (4, 1, 3, 3), (4,), 1, 0, 1, 3)


@pytest.mark.parametrize("shape", [(6, 6, 3, 3), (6, 1, 3, 3), (6, 2, 3)])
def test_a_weight_of_other_channels_than_a_groups_is_refused(lib: Lib, shape: Any) -> None:
    pattern = message(
        "conv2d", got=f"weight of shape {shape} for x of shape (2, 6, 6, 6) and groups 3", expected="2, KH"
    )
    with pytest.raises(ValueError, match=pattern):
        call(lib, (2, 6, 6, 6), shape, None, 1, 0, 1, 3)


@pytest.mark.parametrize("kernel", [(0, 3), (3, 0)])
def test_a_weight_with_no_window_is_refused(lib: Lib, kernel: Any) -> None:
    shape = (4, 3, *kernel)
    with pytest.raises(ValueError, match=message("conv2d", got=f"weight of shape {shape}", expected="KH, KW")):
        call(lib, weight=shape)


def test_a_window_larger_than_the_padded_input_is_refused(lib: Lib) -> None:
    with pytest.raises(ValueError, match=message("conv2d", got="kernel (7, 3)", expected="fit")):
        call(lib, weight=(4, 3, 7, 3))
    with pytest.raises(ValueError, match=message("conv2d", got="dilation (3, 1)", expected="fit")):
        call(lib, (2, 3, 6, 6), (4, 3, 3, 3), (4,), 1, 0, (3, 1))


@pytest.mark.parametrize("shape", [(2, 4, 4, 5), (1, 4, 4, 4), (2, 3, 4, 4), (2, 4, 16), (4, 4)])
def test_a_dy_of_another_shape_is_refused(lib: Lib, shape: Any) -> None:
    _, cache = call(lib)
    with pytest.raises(ValueError, match=message("conv2d", got=f"dy of shape {shape}", expected="(2, 4, 4, 4)")):
        conv2d.backward(lib.asarray(np.zeros(shape)), cache)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("filters", [3, 70 * 3])
@pytest.mark.parametrize("gaps", [False, True], ids=["in one piece", "with gaps"])
def test_the_weight_gradient_is_written_where_it_belongs(
    lib: Lib, rng: np.random.Generator, filters: int, gaps: bool, groups: int
) -> None:
    case = Window((2, 3, 5, 5), 5)  # the kernel is the image
    x, weight, bias = (lib.asarray(a) for a in draw(rng, case, filters, groups))
    _, cache = conv2d.forward(x, weight, bias, groups=groups)
    dy = lib.asarray(draw_dy(rng, case, filters))
    _, expected, _ = conv2d.backward(dy, cache)
    c = 3 // groups
    place = lib.xp.asarray(lib.asarray(np.full((filters, c, 5, 10), 9.0)), copy=True)
    out = place[..., ::2] if gaps else lib.xp.asarray(place[..., :5], copy=True)
    dbias = lib.xp.asarray(lib.asarray(np.zeros(filters)), copy=True)
    _, dweight, _ = conv2d.backward(dy, cache, out=(out, dbias))
    assert dweight is out
    lib.assert_equal(out, lib.to_numpy(expected))
    if gaps:
        lib.assert_equal(place[..., 1::2], np.full((filters, c, 5, 5), 9.0))
