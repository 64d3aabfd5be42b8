"""What NumPy has of its own, against the portable functions that it stands in for."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import xlenet
from tests.functional.cases import WINDOWS, Window, each_window, pair
from tests.functional.operations import OPERATIONS, Operation, operations_where
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet.backend import batch_last, seam, swappables
from xlenet.functional import (
    batchnorm_relu,
    conv2d,
    conv2d_rows,
    conv_pool,
    linear_relu,
    maxpool2d,
    softmax_cross_entropy,
)
from xlenet.functional.windows import Windows, windows_over
from xlenet.kernels import numpy_kernels, numpy_rows
from xlenet.meter import Meter
from xlenet.workspace import Workspace

KERNELS: tuple[str, ...] = tuple(numpy_kernels.__all__)
EXACT = {"rtol": 1e-12, "atol": 1e-12}

each_kernel = pytest.mark.parametrize("name", KERNELS)


def forget() -> None:
    """Let the seam look again which kernels there are and whether they are wanted."""
    seam.kernels_on.cache_clear()
    seam._kernel.cache_clear()


@contextlib.contextmanager
def kernels_off() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLENET_KERNELS", "off")
        forget()
        try:
            yield
        finally:
            patch.undo()
            forget()


@pytest.fixture(autouse=True)
def kernels_are_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("XLENET_KERNELS", raising=False)
    forget()
    yield
    forget()


def read_only(*arrays: np.ndarray) -> list[np.ndarray]:
    for array in arrays:
        array.flags.writeable = False
    return list(arrays)


def is_batch_last(array: np.ndarray) -> bool:
    return bool(batch_last(array).flags.c_contiguous)


# ==== names ====


def test_every_kernel_stands_in_for_a_swappable_function() -> None:
    """By its name: one with a mistake in it would never be called, and nobody would notice."""
    for module in pkgutil.walk_packages(xlenet.__path__, "xlenet."):
        if ".kernels." not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert set(KERNELS) <= set(swappables)
    names = {name for name in vars(numpy_kernels) if name.isidentifier()}  # pytest puts in others, that are none
    public = {name for name in names if not name.startswith("_") and name != "annotations"}
    assert public == set(KERNELS)


@each_kernel
def test_a_kernel_takes_what_its_twin_takes(name: str) -> None:
    kernel, portable = getattr(numpy_kernels, name), swappables[name].portable
    mine, other = (
        [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()] for f in (kernel, portable)
    )
    assert mine == other


# ==== one call of each ====


def rows_of(rng: np.random.Generator, case: Window) -> tuple[np.ndarray, np.ndarray, Windows, np.ndarray, np.ndarray]:
    """x, weight, windows, the unfolded rows, and a dy (OH, F, OW*N)."""
    x = rng.standard_normal(case.x_shape)
    windows = windows_over(case.x_shape[2:], case.kernel, case.stride, case.padding)
    weight = rng.standard_normal((3, case.x_shape[1], *windows.kernel))
    rows = conv2d_rows.unfold_width.portable(x, windows, None)  # type: ignore[attr-defined]
    dy = rng.standard_normal((windows.out[0], 3, windows.out[1] * case.x_shape[0]))
    return *read_only(x, weight), windows, *read_only(rows, dy)  # type: ignore[return-value]


def conv_pool_arrays(rng: np.random.Generator, n: int = 3) -> list[np.ndarray]:
    return read_only(*(rng.standard_normal(shape) for shape in ((n, 2, 7, 6), (4, 2, 3, 2), (4,))))


def _call_multiply(rng: np.random.Generator) -> None:
    _, weight, windows, rows, dy = rows_of(rng, WINDOWS["plain"])
    conv2d_rows.multiply(weight, rows, windows, np.empty(dy.shape))


def _call_unfold(rng: np.random.Generator) -> None:
    x, _, windows, _, _ = rows_of(rng, WINDOWS["plain"])
    conv2d_rows.unfold_width(x, windows, None)


def _call_rows_gradient(rng: np.random.Generator) -> None:
    _, weight, windows, rows, dy = rows_of(rng, WINDOWS["padding int"])
    conv2d_rows.rows_gradient(dy, rows.shape, weight, windows, None)


def _call_weight_gradient(rng: np.random.Generator) -> None:
    _, _, windows, rows, dy = rows_of(rng, WINDOWS["plain"])
    conv2d_rows.weight_gradient(dy.transpose(0, 2, 1), rows, windows)


def _call_conv_pool(rng: np.random.Generator) -> None:
    y, cache = conv_pool.forward(*conv_pool_arrays(rng))
    conv_pool.backward(y, cache)


def _call_batchnorm(rng: np.random.Generator) -> None:
    y, cache = batchnorm_relu.forward_training(rng.standard_normal((4, 2)), np.ones(2), np.ones(2))
    batchnorm_relu.backward_training(y, cache)


def _call_loss(rng: np.random.Generator) -> None:
    _, cache = softmax_cross_entropy.forward(rng.standard_normal((4, 3)), np.array([0, 1, 2, 0]), labels_checked=True)
    softmax_cross_entropy.backward(1.0, cache)


def _call_maxpool(rng: np.random.Generator) -> None:
    y, cache = maxpool2d.forward(rng.standard_normal((2, 2, 4, 4)), 2)
    maxpool2d.backward(y, cache)


def _call_linear(rng: np.random.Generator) -> None:
    y, cache = linear_relu.forward(rng.standard_normal((3, 2)), rng.standard_normal((4, 2)))
    linear_relu.backward(np.ones(y.shape), cache)


def _call_tally(rng: np.random.Generator) -> None:
    Meter(np.zeros(1)).add(np.array(1.0), rng.standard_normal((3, 2)), np.array([0, 1, 1]))


CALLS: dict[str, Callable[[np.random.Generator], None]] = {
    "batchnorm_relu_backward_training": _call_batchnorm,
    "batchnorm_relu_forward_training": _call_batchnorm,
    "conv2d_rows_multiply": _call_multiply,
    "conv2d_rows_rows_gradient": _call_rows_gradient,
    "conv2d_rows_unfold_width": _call_unfold,
    "conv2d_rows_weight_gradient": _call_weight_gradient,
    "conv_pool_backward": _call_conv_pool,
    "conv_pool_forward": _call_conv_pool,
    "conv_pool_infer": lambda rng: conv_pool.infer(*conv_pool_arrays(rng)),
    "linear_relu_backward": _call_linear,
    "linear_relu_forward": _call_linear,
    "maxpool2d_backward": _call_maxpool,
    "meter_tally": _call_tally,
    "softmax_cross_entropy_backward": _call_loss,
    "softmax_cross_entropy_forward": _call_loss,
}


def watch(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Let kernels write down that they were called, and whether they did the work."""
    called: list[tuple[str, bool]] = []

    def spy(name: str, kernel: Any) -> Any:
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = kernel(*args, **kwargs)
            called.append((name, result is not NotImplemented))
            return result

        return watched

    for name in KERNELS:
        monkeypatch.setattr(numpy_kernels, name, spy(name, getattr(numpy_kernels, name)))
    forget()
    return called


@each_kernel
def test_a_kernel_is_really_called(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, name: str) -> None:
    called = watch(monkeypatch)
    CALLS[name](rng)
    assert (name, True) in called
    called.clear()
    with kernels_off():
        CALLS[name](rng)
    assert not called


def test_a_network_calls_them_all(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    called = watch(monkeypatch)
    model, loss = xlenet.LeNet5(rng=0), xlenet.SoftmaxCrossEntropy()
    x, labels = rng.standard_normal((4, 1, 28, 28)).astype(np.float32), np.array([0, 1, 2, 3])
    logits = model(x)
    value = loss.forward(logits, labels, labels_checked=True)
    model.backward(loss.backward())
    Meter(x).add(value, logits, labels)
    model.infer(x)
    assert {name for name, worked in called if worked} == set(KERNELS) - {"maxpool2d_backward"}
    assert all(worked for _, worked in called), "none of them is asked in vain"


# ==== the parts of a convolution ====

geometries = st.tuples(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9),  # N, C, H, W
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3),  # kernel, stride
    *(st.integers(0, 3) for _ in range(4)),
)  # fmt: skip


def check_parts(case: Window, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, weight, windows, rows, dy = rows_of(rng, case)
    with kernels_off():
        y = np.full(dy.shape, np.nan)
        conv2d_rows.multiply(weight, rows, windows, y)
        dweight = conv2d_rows.weight_gradient(dy.transpose(0, 2, 1), rows, windows)
        drows = conv2d_rows.rows_gradient(dy, rows.shape, weight, windows, None)

    unfolded = numpy_kernels.conv2d_rows_unfold_width(x, windows, None)
    np.testing.assert_array_equal(unfolded, rows)
    assert unfolded.flags.c_contiguous
    assert unfolded.flags.writeable
    assert not np.shares_memory(unfolded, x)

    result = np.full(dy.shape, np.nan)
    assert numpy_kernels.conv2d_rows_multiply(weight, rows, windows, result) is None
    np.testing.assert_allclose(result, y, **EXACT)

    result = numpy_kernels.conv2d_rows_weight_gradient(dy.transpose(0, 2, 1), rows, windows)
    np.testing.assert_allclose(result, dweight, **EXACT)

    result = numpy_kernels.conv2d_rows_rows_gradient(dy, rows.shape, weight, windows, None)
    if result is NotImplemented:
        top, bottom = windows.padding[0]
        assert windows.stride[0] != 1 or rows.shape[0] - top - bottom > windows.out[0]
    else:
        inside = slice(windows.padding[0][0], windows.padding[0][0] + windows.size[0])  # nobody reads the padding
        assert result.shape == drows.shape
        np.testing.assert_allclose(result[inside], drows[inside], **EXACT)


@each_window
def test_the_parts_of_a_convolution_are_those_of_the_portable_one(case: Window) -> None:
    check_parts(case, 3)


@given(geometries, st.integers(0, 2**32 - 1))
def test_the_parts_of_a_convolution_of_any_geometry(geometry: tuple[int, ...], seed: int) -> None:
    n, c, h, w, kh, kw, sh, sw, top, bottom, left, right = geometry
    case = Window((n, c, h, w), (kh, kw), (sh, sw), ((top, bottom), (left, right)))
    assume(min(case.out_size) > 0)
    check_parts(case, seed)


@pytest.mark.parametrize("columns", [1, 63, 64, 383, 384, 385, 390, 391, 397, 768, 800, 1151, 1152, 1900, 2 * 953])
def test_products_with_any_number_of_columns(rng: np.random.Generator, columns: int) -> None:
    """Some are cut into blocks, and some, as prime numbers, cannot be."""
    case = Window((columns, 2, 4, 2), 2, (1, 2))
    check_parts(case, 5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("padding", [0, 1])
def test_windows_of_an_image_in_any_memory_order(
    numpy_lib: Lib, rng: np.random.Generator, layout: str, padding: int
) -> None:
    x = LAYOUTS[layout](numpy_lib, rng.standard_normal((3, 2, 5, 6)))
    windows = windows_over((5, 6), (3, 2), (1, 2), padding)
    expected = conv2d_rows.unfold_width.portable(x, windows, None)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(numpy_kernels.conv2d_rows_unfold_width(x, windows, None), expected)


@pytest.mark.parametrize(("size", "kernel"), [(12, 3), (6, 5), (5, 5), (9, 4), (4, 1), (3, 2)])
def test_no_product_is_computed_in_vain(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, size: int, kernel: int
) -> None:
    """Each row of results meets each row of the kernel once, and nothing meets the zeros around."""
    products = []
    monkeypatch.setattr(numpy_rows, "product", lambda a, b, out: products.append(b.shape[0] * b.shape[1]))
    _, weight, windows, rows, dy = rows_of(rng, Window((2, 1, size, size), kernel, 1))
    assert numpy_kernels.conv2d_rows_rows_gradient(dy, rows.shape, weight, windows, None) is not NotImplemented
    assert sum(products) == windows.out[0] * kernel * weight.shape[0]


def test_rows_that_do_not_follow_one_another_are_left_to_the_portable_function(rng: np.random.Generator) -> None:
    _, weight, windows, rows, dy = rows_of(rng, Window((2, 1, 8, 8), 2, 2))
    assert numpy_kernels.conv2d_rows_rows_gradient(dy, rows.shape, weight, windows, None) is NotImplemented


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("filters", [1, 3])
def test_strides_of_a_single_row_or_column_say_nothing(rng: np.random.Generator, n: int, filters: int) -> None:
    """NumPy leaves them at whatever they were, and calls the array contiguous all the same."""
    _, _, windows, rows, _ = rows_of(rng, Window((n, 1, 5, 1), (2, 1)))
    weight = rng.standard_normal((filters, 1, 2, 1))
    dy = rng.standard_normal((filters, windows.out[0], n)).transpose(1, 0, 2)
    expected = conv2d_rows.rows_gradient.portable(dy, rows.shape, weight, windows, None)  # type: ignore[attr-defined]
    actual = numpy_kernels.conv2d_rows_rows_gradient(dy, rows.shape, weight, windows, None)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_a_meter_of_odd_things_is_left_to_the_portable_function() -> None:
    sums, logits, labels = np.zeros(3), np.eye(3), np.arange(3)
    assert numpy_kernels.meter_tally(sums, np.array([0.5]), logits, labels) is NotImplemented
    meter = Meter(np.zeros(1))
    meter.add(np.array([0.5]), logits, labels)
    assert meter.read() == (0.5, 1.0, 1)


# ==== whole operations, with kernels and without ====


def has_kernel(op: Operation) -> bool:
    return op.bare_backward.__module__ in {swappables[name].__module__ for name in KERNELS}


each_swapped_operation = operations_where(has_kernel)


def test_the_operations_with_kernels_are_found() -> None:
    found = {op.bare_backward.__module__.rpartition(".")[2] for op in OPERATIONS.values() if has_kernel(op)}
    assert found == {"batchnorm_relu", "conv2d_rows", "conv_pool", "linear_relu", "maxpool2d", "softmax_cross_entropy"}


def computed(op: Operation, arrays: list[Any], dy: Any, work: Workspace | None = None) -> list[Any]:
    y, cache = op.forward(*arrays, work=work)
    return [y, *op.gradients(dy, cache, work=work)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
@each_swapped_operation
def test_an_operation_gives_the_same_with_kernels_as_without(
    numpy_lib: Lib, rng: np.random.Generator, op: Operation, layout: str, dtype: str
) -> None:
    first, *rest = op.draw(rng, dtype).values()
    arrays = [LAYOUTS[layout](numpy_lib, first), *read_only(*rest)]
    y, _ = op.forward(*arrays)
    dy = numpy_lib.asarray(op.draw_dy(rng, numpy_lib, y, dtype))
    if y.ndim:
        dy = LAYOUTS[layout](numpy_lib, dy)
    results = computed(op, arrays, dy)
    with kernels_off():
        expected = computed(op, arrays, dy)
    close = EXACT if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-5}
    for result, wanted in zip(results, expected, strict=True):
        assert (result.dtype, result.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(result, wanted, **close)


@operations_where(lambda op: has_kernel(op) and (not op.constants or "labels_checked" in op.options))
def test_results_lie_in_memory_as_the_next_operation_likes_them(
    numpy_lib: Lib, rng: np.random.Generator, op: Operation
) -> None:
    """With the batch innermost, as what they were given."""
    first, *rest = op.draw(rng).values()
    arrays = [LAYOUTS["batch_last"](numpy_lib, first), *rest]
    y, cache = op.forward(*arrays)
    dx = op.gradients(op.draw_dy(rng, numpy_lib, y), cache)[0]
    assert is_batch_last(dx)
    if y.ndim:
        assert is_batch_last(y)


@pytest.mark.parametrize("lent", [False, True])
@each_swapped_operation
def test_two_results_held_at_once_share_no_memory(
    numpy_lib: Lib, rng: np.random.Generator, op: Operation, lent: bool
) -> None:
    work = Workspace() if lent else None
    arrays = read_only(*op.draw(rng).values())
    y, _ = op.forward(*arrays)
    dy = np.asarray(op.draw_dy(rng, numpy_lib, y))
    dy.flags.writeable = False
    results = [*computed(op, arrays, dy, work), *computed(op, arrays, dy, work)]
    if not lent and op.bare_backward is conv_pool.backward:
        results += [conv_pool.infer(*arrays, **op.options) for _ in range(2)]
    for k, result in enumerate(results):
        for other in [*arrays, dy, *results[:k]]:
            assert not np.shares_memory(result, other)
        assert isinstance(result, np.generic) or result.flags.writeable


@pytest.mark.parametrize("n", [64, 130])
def test_forward_and_backward_in_a_workspace_leave_each_other_alone(rng: np.random.Generator, n: int) -> None:
    """Two operations in a step, one in front of the other as in a network, and steps of different lengths."""
    work = Workspace()
    first, second = conv_pool_arrays(rng, n)[1:], read_only(rng.standard_normal((3, 4, 2, 2)), rng.standard_normal(3))

    def step(x: np.ndarray, dy: np.ndarray, work: Workspace | None) -> list[np.ndarray]:
        y, of_first = conv_pool.forward(x, *first, 1, 1, work=work)
        z, of_second = conv_pool.forward(y, *second, work=work)
        dz, *of_parameters = conv_pool.backward(dy, of_second, work=work)
        return [y, z, dz, *of_parameters, *conv_pool.backward(dz, of_first, work=work)]

    for size in (n // 2, n, n // 3, n):
        x = rng.standard_normal((size, 2, 7, 6))
        dy = rng.standard_normal((size, 3, 1, 1))
        results = step(x, dy, work)
        with kernels_off():
            expected = step(x, dy, None)
        for result, wanted in zip(results, expected, strict=True):
            np.testing.assert_allclose(result, wanted, rtol=1e-11, atol=1e-11)
        work.end_step()


def test_what_lies_between_the_two_is_kept_for_a_part_of_the_batch_only(rng: np.random.Generator) -> None:
    """The memory that ten parts take beside their results is that of one part."""

    def beside(n: int) -> tuple[int, int]:
        of_forward, of_backward = Workspace(), Workspace()
        y, cache = conv_pool.forward(*conv_pool_arrays(rng, n), 1, 1, work=of_forward)
        dx = conv_pool.backward(np.ones(y.shape), cache, work=of_backward)[0]
        (there, _), (back,) = of_forward._pieces.values(), of_backward._pieces.values()
        return there.needed - y.size, back.needed - dx.size

    for one, ten in zip(beside(64), beside(640), strict=True):
        assert 0 < ten < 1.1 * one


def test_infer_remembers_no_winners(rng: np.random.Generator) -> None:
    """It asks for no truth values at all."""
    work = Workspace()
    conv_pool.infer(*conv_pool_arrays(rng), work=work)
    assert [str(np.dtype(key[2])) for key in work._pieces] == ["float64"]


def test_the_loss_has_no_axes_and_is_an_array(rng: np.random.Generator) -> None:
    loss, _ = numpy_kernels.softmax_cross_entropy_forward(
        np.zeros((2, 3), np.float32), np.array([0, 1]), labels_checked=True
    )
    assert (type(loss), loss.shape, loss.dtype) == (np.ndarray, (), np.float32)


# ==== what kernels leave to the portable functions ====


@pytest.mark.parametrize(
    "options",
    [
        {"pool_kernel": 3, "pool_stride": 2},
        {"pool_kernel": 2, "pool_stride": (2, 1)},
        {"pool_kernel": 1, "pool_stride": 2},
        {"pool_kernel": 2, "ceil_mode": True, "padding": ((0, 0), (1, 1))},
        {"pool_kernel": 3, "pool_padding": 1, "pool_stride": 3},
        {"pool_kernel": 2, "pool_padding": ((0, 1), (0, 0))},
    ],
    ids=str,
)
def test_pooling_that_does_not_tile_is_left_to_the_portable_function(
    rng: np.random.Generator, options: dict[str, Any]
) -> None:
    arrays = conv_pool_arrays(rng)
    assert numpy_kernels.conv_pool_forward(*arrays, **options) is NotImplemented
    assert numpy_kernels.conv_pool_infer(*arrays, **options) is NotImplemented
    y, cache = conv_pool.forward(*arrays, **options)
    assert isinstance(cache, conv_pool.Cache)
    assert numpy_kernels.conv_pool_backward(y, cache) is NotImplemented


@pytest.mark.parametrize("options", [{"dilation": (2, 1)}, {"groups": 2}, {"groups": 2, "dilation": 2}], ids=str)
def test_dilation_and_groups_never_reach_the_parts_of_a_convolution_by_rows(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, options: dict[str, Any]
) -> None:
    called = watch(monkeypatch)
    x, weight = rng.standard_normal((3, 2, 7, 6)), rng.standard_normal((4, 2 // options.get("groups", 1), 2, 2))
    y, cache = conv2d_rows.forward(x, weight, **options)
    conv2d_rows.backward(y, cache)
    assert isinstance(cache, conv2d.Cache)
    assert not called


def test_ceil_mode_without_an_overhang_is_taken(rng: np.random.Generator) -> None:
    arrays = conv_pool_arrays(rng)  # (7, 6) by (3, 2): (5, 5), with padding (6, 6)
    options = {"padding": ((1, 0), (1, 0)), "ceil_mode": True}
    assert numpy_kernels.conv_pool_forward(*arrays, **options) is not NotImplemented


def test_filters_that_see_the_whole_image_are_left_to_the_portable_function(rng: np.random.Generator) -> None:
    arrays = read_only(rng.standard_normal((3, 2, 3, 2)), rng.standard_normal((4, 2, 3, 2)))
    assert numpy_kernels.conv_pool_forward(*arrays, pool_kernel=1) is NotImplemented


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (3, {"stride": 2}),
        (2, {"padding": 1}),
        (2, {"ceil_mode": True}),
        (1, {"stride": 2}),
        (2, {"stride": (2, 1)}),
        (2, {"dilation": (1, 2)}),
    ],
    ids=str,
)
def test_the_way_back_through_a_pooling_that_does_not_tile_is_left(
    rng: np.random.Generator, kernel: int, options: dict[str, Any]
) -> None:
    y, cache = maxpool2d.forward(rng.standard_normal((2, 2, 5, 5)), kernel, **options)
    assert numpy_kernels.maxpool2d_backward(y, cache) is NotImplemented
    assert maxpool2d.backward(y, cache).shape == (2, 2, 5, 5)


@pytest.mark.parametrize(
    ("labels", "checked"),
    [
        (np.array([0, 1], np.int32), True),
        (np.array([0, 1], np.uint8), True),
        (np.array([0, 1]), False),
        (np.array([0, 1], ">i8"), True),
    ],
    ids=str,
)
def test_labels_that_are_unchecked_or_no_int64_are_left(labels: np.ndarray, checked: bool) -> None:
    logits = np.zeros((2, 3))
    taken = labels.dtype == np.int64 and checked
    result = numpy_kernels.softmax_cross_entropy_forward(logits, labels, labels_checked=checked)
    assert (result is not NotImplemented) == taken
    loss, cache = softmax_cross_entropy.forward(logits, labels, labels_checked=checked)
    np.testing.assert_allclose(loss, np.log(3.0))
    if not taken:
        assert isinstance(cache, softmax_cross_entropy.Cache)
        assert numpy_kernels.softmax_cross_entropy_backward(1.0, cache) is NotImplemented


@pytest.mark.parametrize(
    "options",
    [
        {"weight": np.array([1.0, 2.0, 4.0])},
        {"ignore_index": 1},
        {"ignore_index": -1},
        {"ignore_index": 0},
        {"reduction": "sum"},
        {"reduction": "none"},
        {"reduction": "other"},
    ],
    ids=str,
)
def test_a_loss_that_is_no_plain_mean_is_left(rng: np.random.Generator, options: dict[str, Any]) -> None:
    """No option is passed over in silence."""
    logits, labels = rng.standard_normal((4, 3)), np.array([0, 1, 1, 2])
    assert numpy_kernels.softmax_cross_entropy_forward(logits, labels, labels_checked=True, **options) is NotImplemented
    dloss = np.ones(4) if options.get("reduction") == "none" else 2.0
    check_same_outcome(
        there_and_back(
            softmax_cross_entropy.forward,
            softmax_cross_entropy.backward,
            logits,
            labels,
            labels_checked=True,
            dy=dloss,
            **options,
        )
    )


def test_labels_at_each_place_are_left(rng: np.random.Generator) -> None:
    logits, labels = rng.standard_normal((4, 3, 2)), np.zeros((4, 2), np.int64)
    assert numpy_kernels.softmax_cross_entropy_forward(logits, labels, labels_checked=True) is NotImplemented


def test_a_cache_of_the_portable_function_goes_back_by_the_portable_way(rng: np.random.Generator) -> None:
    """Kernels ask the cache whose it is: it may have been made while they were off."""
    x, one = rng.standard_normal((4, 2)), np.ones(2)
    with kernels_off():
        y, of_norm = batchnorm_relu.forward_training(x, one, one)
        p, of_pool = conv_pool.forward(*conv_pool_arrays(rng))
        _, of_loss = softmax_cross_entropy.forward(x, np.array([0, 1, 0, 1]), labels_checked=True)
        expected = [
            *batchnorm_relu.backward_training(y, of_norm),
            *conv_pool.backward(p, of_pool),
            softmax_cross_entropy.backward(0.5, of_loss),
        ]
    results = [
        *batchnorm_relu.backward_training(y, of_norm),
        *conv_pool.backward(p, of_pool),
        softmax_cross_entropy.backward(0.5, of_loss),
    ]
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, wanted, **EXACT)


# ==== hostile arguments: the same result, or the same words ====


def outcome(function: Callable[[], Any]) -> Any:
    try:
        result = function()
    except (TypeError, ValueError) as error:
        return type(error), str(error)
    return [part for part in result if part is not None] if isinstance(result, tuple) else [result]


def check_same_outcome(function: Callable[[], Any]) -> None:
    mine = outcome(function)
    with kernels_off():
        other = outcome(function)
    if isinstance(other, tuple) or isinstance(mine, tuple):
        assert mine == other
    else:
        for result, wanted in zip(mine, other, strict=True):
            assert (result.dtype, result.shape) == (wanted.dtype, wanted.shape)
            np.testing.assert_allclose(result, wanted, **EXACT)


def zeros(*shape: int, dtype: Any = "float64") -> np.ndarray:
    return np.zeros(shape, dtype)


def there_and_back(forward: Any, backward: Any, *arrays: Any, dy: Any = None, **options: Any) -> Callable[[], Any]:
    def call() -> Any:
        y, cache = forward(*arrays, **options)
        return (y, *backward(np.ones_like(y) if dy is None else dy, cache))

    return call


HOSTILE: dict[str, Callable[[], Any]] = {
    **{
        f"conv_pool {label}": there_and_back(conv_pool.forward, conv_pool.backward, *arrays, **options)
        for label, (arrays, options) in {
            "empty batch": ((zeros(0, 2, 6, 6), zeros(3, 2, 3, 3)), {}),
            "no channels": ((zeros(2, 0, 6, 6), zeros(3, 0, 3, 3)), {}),
            "no rows": ((zeros(2, 1, 0, 6), zeros(3, 1, 3, 3)), {}),
            "no filters": ((zeros(2, 1, 6, 6), zeros(0, 1, 3, 3)), {}),
            "one filter, one channel": ((zeros(2, 1, 6, 6) + 1, zeros(1, 1, 3, 3) + 1), {}),
            "one of everything": ((zeros(1, 1, 1, 1) + 1, zeros(1, 1, 1, 1) + 1, zeros(1) + 1), {"pool_kernel": 1}),
            "one of everything, padded": (
                (zeros(1, 1, 1, 1) + 1, zeros(1, 1, 1, 1) + 1, zeros(1) + 1), {"padding": 1}
            ),
            "huge stride": ((zeros(2, 1, 6, 6) + 1, zeros(3, 1, 3, 3) + 1), {"stride": 1000, "pool_kernel": 1}),
            "huge stride, too few left": ((zeros(2, 1, 6, 6), zeros(3, 1, 3, 3)), {"stride": 1000}),
            "huge padding": ((zeros(1, 1, 2, 2) + 1, zeros(1, 1, 2, 2) + 1), {"padding": 9}),
            "bias of another length": ((zeros(2, 1, 6, 6), zeros(3, 1, 3, 3), zeros(4)), {}),
            "bias of one": ((zeros(2, 1, 6, 6), zeros(3, 1, 3, 3), zeros(1)), {}),
            "bias of another type": ((zeros(2, 1, 6, 6), zeros(3, 1, 3, 3), zeros(3, dtype="float32")), {}),
            "channels that differ": ((zeros(2, 2, 6, 6), zeros(3, 1, 3, 3)), {}),
            "x of three axes": ((zeros(2, 6, 6), zeros(3, 2, 3, 3)), {}),
            "whole numbers": ((zeros(2, 1, 6, 6, dtype=int), zeros(3, 1, 3, 3, dtype=int)), {}),
            "half precision": ((zeros(2, 1, 6, 6, dtype="f2"), zeros(3, 1, 3, 3, dtype="f2")), {}),
            "other byte order": ((zeros(2, 1, 6, 6, dtype=">f8"), zeros(3, 1, 3, 3, dtype=">f8")), {}),
            "a list": (([[[[1.0]]]], zeros(1, 1, 1, 1)), {}),
            "a weight that is a list": ((zeros(1, 1, 2, 2), [[[[1.0]]]]), {}),
            "broadcast images": ((np.broadcast_to(np.eye(6, 5), (3, 2, 6, 5)), zeros(3, 2, 3, 3) + 1), {}),
            "a matrix's subclass": ((zeros(1, 1, 4, 4).view(np.ma.MaskedArray), zeros(1, 1, 2, 2)), {}),
            "dy of another shape": ((zeros(2, 1, 6, 6), zeros(3, 1, 3, 3)), {"dy": zeros(2, 3, 2, 1)}),
            "dy of another type": ((zeros(2, 1, 6, 6), zeros(3, 1, 3, 3)), {"dy": zeros(2, 3, 2, 2, dtype="f4")}),
            "dy that is a list": ((zeros(2, 1, 6, 6), zeros(3, 1, 3, 3)), {"dy": [1.0]}),
            "dy broadcast": ((zeros(2, 1, 6, 6) + 1, zeros(3, 1, 3, 3)), {"dy": np.broadcast_to(2.0, (2, 3, 2, 2))}),
        }.items()
    },
    **{
        f"batchnorm_relu {label}": there_and_back(
            batchnorm_relu.forward_training, batchnorm_relu.backward_training, *arrays, **options
        )
        for label, (arrays, options) in {
            "empty batch": ((zeros(0, 2), zeros(2), zeros(2)), {}),
            "no channels": ((zeros(2, 0), zeros(0), zeros(0)), {}),
            "one value": ((zeros(1, 2), zeros(2), zeros(2)), {}),
            "one channel": ((np.arange(4.0).reshape(4, 1), zeros(1) + 1, zeros(1)), {}),
            "three axes": ((zeros(2, 2, 2), zeros(2), zeros(2)), {}),
            "constant": ((zeros(3, 2) + 5, zeros(2) + 1, zeros(2) + 1), {}),
            "weight of another length": ((zeros(3, 2), zeros(3), zeros(2)), {}),
            "bias of another type": ((zeros(3, 2), zeros(2), zeros(2, dtype="f4")), {}),
            "negative eps": ((zeros(3, 2), zeros(2), zeros(2)), {"eps": -1.0}),
            "eps that is NaN": ((zeros(3, 2), zeros(2), zeros(2)), {"eps": float("nan")}),
            "dy of another shape": ((np.eye(3), zeros(3), zeros(3)), {"dy": zeros(2, 3)}),
            "dy of another type": ((np.eye(3), zeros(3), zeros(3)), {"dy": zeros(3, 3, dtype="f4")}),
            "dy that is a list": ((np.eye(3), zeros(3), zeros(3)), {"dy": [1.0]}),
            "a list": (([[1.0], [2.0]], zeros(1), zeros(1)), {}),
        }.items()
    },
    **{
        f"softmax_cross_entropy {label}": (
            lambda logits=logits, labels=labels, dloss=dloss: (
                lambda there: (there[0], softmax_cross_entropy.backward(dloss, there[1]))
            )(softmax_cross_entropy.forward(logits, labels, labels_checked=True))
        )
        for label, (logits, labels, dloss) in {
            "empty batch": (zeros(0, 3), zeros(0, dtype=int), 1.0),
            "no classes": (zeros(2, 0), zeros(2, dtype=int), 1.0),
            "one class": (zeros(2, 1), zeros(2, dtype=int), 1.0),
            "one of everything": (zeros(1, 1), zeros(1, dtype=int), 3),
            "list of labels": (zeros(2, 3), [0, 1], 1.0),
            "list of logits": ([[1.0, 2.0]], zeros(1, dtype=int), 1.0),
            "labels one-hot": (zeros(2, 3), zeros(2, 3, dtype=int), 1.0),
            "floating labels": (zeros(2, 3), zeros(2), 1.0),
            "labels without axes": (zeros(1, 3), np.array(0), 1.0),
            "half precision": (zeros(2, 3, dtype="f2"), zeros(2, dtype=int), 1.0),
            "three axes": (zeros(2, 3, 1), zeros(2, dtype=int), 1.0),
            "a label at each place": (np.arange(12.0).reshape(2, 3, 2), np.array([[0, 1], [2, 0]]), 1.0),
            "one axis": (zeros(3), zeros(3, dtype=int), 1.0),
            "dloss of an axis": (zeros(2, 3), zeros(2, dtype=int), np.ones(1)),
            "dloss of two axes": (zeros(2, 2), zeros(2, dtype=int), np.ones((2, 2))),
            "dloss NumPy's": (zeros(2, 3, dtype="f4"), zeros(2, dtype=int), np.float64(0.5)),
            "dloss without axes": (zeros(2, 3), zeros(2, dtype=int), np.array(0.5)),
            "dloss of zero": (np.arange(6.0).reshape(2, 3), zeros(2, dtype=int), 0),
            "dloss below zero": (np.arange(6.0).reshape(2, 3), zeros(2, dtype=int), -2.5),
            "a ruled-out class": (np.array([[0.0, -np.inf], [1.0, 2.0]]), zeros(2, dtype=int), 1.0),
            "a large score": (np.array([[1e300, 0.0], [-1e300, 2.0]]), zeros(2, dtype=int), 1.0),
            "NaN": (np.array([[np.nan, 0.0], [1.0, 2.0]]), zeros(2, dtype=int), 1.0),
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("call", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_strange_gives_the_same_result_or_is_refused_in_the_same_words(call: Callable[[], Any]) -> None:
    check_same_outcome(call)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "uint8", "int64", ">f4"])
@pytest.mark.parametrize("kernel", [(2, 2), (1, 1), (3, 2), (1, 4)])
def test_the_way_back_through_a_pooling_of_any_type(rng: np.random.Generator, kernel: Any, dtype: str) -> None:
    x = rng.integers(0, 4, (3, 2, 7, 6)).astype(dtype)
    check_same_outcome(lambda: maxpool2d.backward(np.ones_like((there := maxpool2d.forward(x, kernel))[0]), there[1]))


@given(geometries, st.tuples(st.integers(1, 3), st.integers(1, 3)), st.booleans(), st.integers(0, 2**32 - 1))
def test_any_geometry_gives_the_same_result_or_is_refused_in_the_same_words(
    geometry: tuple[int, ...], pool_kernel: tuple[int, int], ties: bool, seed: int
) -> None:
    n, c, h, w, kh, kw, sh, sw, top, bottom, left, right = geometry
    rng = np.random.default_rng(seed)
    shapes = ((n, c, h, w), (2, c, kh, kw), (2,))
    arrays = [rng.integers(-2, 3, s).astype(float) if ties else rng.standard_normal(s) for s in shapes]
    options = {"stride": (sh, sw), "padding": ((top, bottom), (left, right)), "pool_kernel": pool_kernel}
    check_same_outcome(there_and_back(conv_pool.forward, conv_pool.backward, *arrays, **options))


def test_where_kernels_are_off_nothing_of_theirs_is_left_behind() -> None:
    x = np.zeros((2, 1, 4, 4))
    with kernels_off():
        _, cache = conv_pool.forward(x, np.zeros((1, 1, 3, 3)))
        assert isinstance(cache, conv_pool.Cache)
        _, of_linear = linear_relu.forward(np.zeros((2, 3)), np.zeros((1, 3)))
        assert isinstance(of_linear, linear_relu.Cache)
    _, cache = conv_pool.forward(x, np.zeros((1, 1, 3, 3)))
    assert not isinstance(cache, conv_pool.Cache)
    assert pair(conv2d_rows.forward(x, np.zeros((1, 1, 3, 3)))[1].windows.kernel) == (3, 3)
    assert conv2d.forward(x, np.zeros((1, 1, 3, 3)))[0].shape == (2, 1, 2, 2)
