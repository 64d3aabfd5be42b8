"""Average pooling: against loops, against differences, and where peers went wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests import oracles
from tests.functional.messages import message
from tests.functional.test_maxpool2d import POOLS, Pool
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet import Workspace
from xlenet.backend import batch_last
from xlenet.functional import avgpool2d

each_pool = pytest.mark.parametrize("case", POOLS.values(), ids=POOLS.keys())
counted_or_not = pytest.mark.parametrize("counted", [True, False], ids=["padding counts", "pixels alone"])


def forward(x: Any, case: Pool, counted: bool, work: Any = None) -> Any:
    _, kernel, stride, padding, ceil_mode, dilation = case
    return avgpool2d.forward(x, kernel, stride, padding, ceil_mode, counted, dilation, work=work)


def explicit(case: Pool, counted: bool) -> tuple[Any, ...]:
    """The same as the oracles take it."""
    kernel, stride, pads, ceil_mode, dilation = case.explicit
    return kernel, stride, pads, ceil_mode, counted, dilation


@counted_or_not
@each_pool
def test_forward_and_gradient_against_loops(lib: Lib, rng: np.random.Generator, case: Pool, counted: bool) -> None:
    x = rng.standard_normal(case.x_shape)
    y, cache = forward(lib.asarray(x), case, counted)
    expected = oracles.avgpool2d(x, *explicit(case, counted))
    lib.assert_close(y, expected, dtype="float64")
    dy = rng.standard_normal(expected.shape)
    dx = avgpool2d.backward(lib.asarray(dy), cache)
    lib.assert_close(dx, oracles.avgpool2d_gradient(x.shape, dy, *explicit(case, counted)), dtype="float64")


@counted_or_not
@each_pool
def test_any_memory_order_and_memory_that_is_lent(
    lib: Lib, rng: np.random.Generator, case: Pool, counted: bool
) -> None:
    x = rng.standard_normal(case.x_shape)
    expected = oracles.avgpool2d(x, *explicit(case, counted))
    dy = rng.standard_normal(expected.shape)
    wanted = oracles.avgpool2d_gradient(x.shape, dy, *explicit(case, counted))
    work = Workspace()
    for layout in LAYOUTS.values():
        y, cache = forward(layout(lib, x), case, counted, work)
        lib.assert_close(y, expected)
        lib.assert_close(avgpool2d.backward(layout(lib, dy), cache, work=work), wanted)
        work.end_step()


@each_pool
def test_the_batch_lies_innermost(numpy_lib: Lib, rng: np.random.Generator, case: Pool) -> None:
    y, cache = forward(LAYOUTS["batch_last"](numpy_lib, rng.standard_normal(case.x_shape)), case, True)
    for result in (y, avgpool2d.backward(np.ones(y.shape), cache)):
        assert batch_last(result).flags.c_contiguous


def test_numbers_that_float32_can_hold_are_rounded_once(lib: Lib) -> None:
    x = lib.asarray([[[[1.0, 2.0, 4.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]], "float32")
    lib.assert_equal(avgpool2d.forward(x, 3)[0], [[[[np.float32(7.0) / np.float32(9.0)]]]], dtype="float32")


def test_what_hangs_over_the_end_never_counts(lib: Lib) -> None:
    """PyTorch and ONNX: the padding counts, and what is behind it does not."""
    x, arguments = lib.asarray(np.ones((1, 1, 3, 3))), {"kernel": 3, "stride": 3, "padding": 1, "ceil_mode": True}
    counted, _ = avgpool2d.forward(x, **arguments)
    lib.assert_close(counted, [[[[4 / 9, 2 / 6], [2 / 6, 1 / 4]]]])
    pixels, _ = avgpool2d.forward(x, **arguments, count_include_pad=False)
    lib.assert_equal(pixels, np.ones((1, 1, 2, 2)))


def test_a_window_of_padding_alone_is_0_where_padding_counts(lib: Lib) -> None:
    x = lib.asarray(np.ones((1, 1, 2, 2)))
    y, cache = avgpool2d.forward(x, 2, 2, 2)
    lib.assert_equal(y, [[[[0, 0, 0], [0, 1, 0], [0, 0, 0]]]])
    lib.assert_equal(avgpool2d.backward(lib.asarray(np.ones((1, 1, 3, 3))), cache), np.full((1, 1, 2, 2), 0.25))
    with pytest.raises(ValueError, match=message("avgpool2d", got="padding", expected="a pixel in every window")):
        avgpool2d.forward(x, 2, 2, 2, count_include_pad=False)


_few = st.integers(1, 4)


@given(
    size=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    kernel=st.tuples(_few, _few),
    stride=st.tuples(_few, _few),
    sides=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    ceil_mode=st.booleans(),
    counted=st.booleans(),
)
def test_any_windows(
    size: Any, kernel: Any, stride: Any, sides: Any, dilation: Any, ceil_mode: bool, counted: bool
) -> None:
    """Whatever is not refused is what the loops say; and what is refused, has a reason."""
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    # With `ceil_mode` a window of end padding alone is left out, as in PyTorch, even if it fits.
    assume(not ceil_mode or all(after < r for (_, after), r in zip(sides, reach, strict=True)))
    x = np.arange(1.0, 1 + np.prod(size)).reshape(1, 1, *size)
    how = (kernel, stride, sides, ceil_mode, counted, dilation)
    places = oracles.window_places(size, kernel, stride, sides, ceil_mode, dilation)
    if not places or (not counted and not all(pixels for pixels, _ in places.values())):
        with pytest.raises(ValueError, match="avgpool2d: got"):
            avgpool2d.forward(x, *how)
        return
    y, cache = avgpool2d.forward(x, *how)
    np.testing.assert_allclose(y, oracles.avgpool2d(x, *how), rtol=1e-12)
    dx = avgpool2d.backward(y, cache)
    np.testing.assert_allclose(dx, oracles.avgpool2d_gradient(x.shape, y, *how), rtol=1e-12)
