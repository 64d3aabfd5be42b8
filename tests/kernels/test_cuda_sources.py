"""What the kernels compute, against loops over float64 numbers, for sizes that fit badly.

Small whole numbers make every sum exact, whatever its order: then results are equal, not just close, and ties are real.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from tests import oracles
from tests.kernels.conftest import Machine
from xlenet.data.distort import spline
from xlenet.functional import conv2d, conv2d_rows, softmax_cross_entropy
from xlenet.functional.windows import windows_over
from xlenet.kernels.cuda_launch import group

REALS = ["float32", "float64"]


def close(actual: Any, expected: Any, dtype: str) -> None:
    """Within rounding of the largest number there is."""
    expected = np.asarray(expected)
    host = actual.get()
    assert host.dtype == dtype
    assert host.shape == expected.shape
    largest = np.abs(expected).max(initial=1e-30)
    np.testing.assert_allclose(host / largest, expected / largest, rtol=0, atol=1e-5 if dtype == "float32" else 1e-13)


def same(actual: Any, expected: Any) -> None:
    np.testing.assert_array_equal(actual.get(), np.asarray(expected))


def whole(rng: np.random.Generator, *shape: int, high: int = 4) -> np.ndarray:
    return rng.integers(-high, high + 1, shape).astype(np.float64)


# ==== convolution and pooling ====


class Case(NamedTuple):
    x: tuple[int, int, int, int]
    f: int
    kernel: Any
    stride: Any = 1
    padding: Any = 0
    pool: Any = 1
    pool_stride: Any = None
    layout: str = "batch_last"


CASES = {
    "one number": Case((1, 1, 1, 1), 1, 1),
    "lenet conv1": Case((5, 1, 28, 28), 6, 5, 1, "SAME", 2),
    "lenet conv2": Case((33, 6, 14, 14), 16, 5, 1, 0, 2),
    "all uneven": Case((3, 3, 9, 11), 4, (3, 2), (2, 1), ((1, 0), (2, 1)), (2, 3), (1, 2)),
    "pools with gaps": Case((2, 2, 11, 10), 7, 3, 1, "SAME", 2, 3, "with_gaps"),
    "strides with gaps": Case((65, 5, 7, 7), 6, 2, 3, 0, 1, None, "asarray"),
    "two sets of sums": Case((3, 2, 9, 9), 3, 7, 1, 2),
    "not in registers": Case((2, 2, 12, 13), 3, 9, 1, 1, 2),
    "a very large kernel": Case((2, 1, 50, 52), 2, 50, 1, 0, 1),
    "a large pool": Case((2, 1, 20, 20), 2, 3, 1, 0, 12, 5),
    "pool of all": Case((4, 2, 6, 6), 5, 3, 1, 1, 6),
    "more channels than are staged at once": Case((2, 60, 7, 8), 2, 7, 1, 2),
    "more filters than are staged at once": Case((2, 1, 7, 8), 101, 7, 1, 2),
    "many parts to add up": Case((130, 1, 8, 8), 1, 1),
    "kernel in the padding": Case((2, 1, 2, 2), 2, 2, 1, 3, 2),
}


@pytest.fixture(params=["small groups", "large groups"])
def enough_blocks(request: pytest.FixtureRequest, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many filters a thread takes depends on how much there is to do: here, whether there is enough of it."""
    enough = 1 if request.param == "large groups" else 10**9
    monkeypatch.setattr("xlenet.kernels.cuda_launch.ENOUGH_BLOCKS", enough)


@pytest.mark.usefixtures("enough_blocks")
@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("name", CASES)
def test_conv_pool(machine: Machine, rng: np.random.Generator, name: str, dtype: str) -> None:
    case = CASES[name]
    x, weight, bias = whole(rng, *case.x), whole(rng, case.f, case.x[1], *_pair(case.kernel)), whole(rng, case.f)
    windows = windows_over(case.x[2:], case.kernel, case.stride, case.padding)
    pool = windows_over(windows.out, case.pool, case.pool if case.pool_stride is None else case.pool_stride, 0)
    z = oracles.conv2d(x, weight, None, windows.stride, windows.padding)
    y, _ = oracles.maxpool2d(z, pool.kernel, pool.stride, pool.padding)
    dy = whole(rng, *y.shape)
    dz = oracles.maxpool2d_gradient(z, dy, pool.kernel, pool.stride, pool.padding)
    gradients = oracles.conv2d_gradients(x, weight, dz, windows.stride, windows.padding)

    k, place = machine.kernels, getattr(machine, case.layout)
    arguments = (case.stride, case.padding, case.pool, case.pool_stride)
    got, cache = k.conv_pool_forward(place(x, dtype), place(weight, dtype), place(bias, dtype), *arguments)
    same(got, y + bias[None, :, None, None])
    assert got.strides == machine.batch_last(y, dtype).strides
    for result, expected in zip(k.conv_pool_backward(place(dy, dtype), cache), gradients, strict=True):
        same(result, expected)
    assert k.conv_pool_infer(place(x, dtype), place(weight, dtype), None, *arguments).get().tolist() == y.tolist()


@pytest.mark.parametrize("name", ["all uneven", "not in registers"])
def test_conv_pool_gradients_on_demand(machine: Machine, rng: np.random.Generator, name: str) -> None:
    case, k = CASES[name], machine.kernels
    x, weight = (machine.asarray(whole(rng, *shape)) for shape in (case.x, (case.f, case.x[1], *_pair(case.kernel))))
    y, cache = k.conv_pool_forward(x, weight, None, case.stride, case.padding, case.pool, case.pool_stride)
    dy = machine.asarray(whole(rng, *y.shape))
    dx, dweight, dbias = k.conv_pool_backward(dy, cache)
    assert dbias is None
    only_dx, nothing, _ = k.conv_pool_backward(dy, cache, need_dweight=False)
    same(only_dx, dx.get())
    assert nothing is None
    vector = machine.asarray(np.full(dweight.size + 2, 5.0))
    target = vector[1:-1].reshape(dweight.shape)
    nothing, only_dweight, _ = k.conv_pool_backward(dy, cache, need_dx=False, out=(target, None))
    assert nothing is None
    assert only_dweight is target
    same(vector, [5.0, *dweight.get().ravel(), 5.0])
    assert k.conv_pool_backward(dy, cache, need_dx=False, need_dweight=False) == (None, None, None)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.pool == 1])
def test_conv2d_rows(machine: Machine, rng: np.random.Generator, name: str) -> None:
    case, k = CASES[name], machine.kernels
    x, weight, bias = whole(rng, *case.x), whole(rng, case.f, case.x[1], *_pair(case.kernel)), whole(rng, case.f)
    windows = windows_over(case.x[2:], case.kernel, case.stride, case.padding)
    y = oracles.conv2d(x, weight, bias, windows.stride, windows.padding)
    dy = whole(rng, *y.shape)
    on_device = (machine.asarray(a, "float32") for a in (x, weight, bias))
    got, cache = k.conv2d_rows_forward(*on_device, case.stride, case.padding)
    same(got, y)
    expected = oracles.conv2d_gradients(x, weight, dy, windows.stride, windows.padding)
    for result, right in zip(k.conv2d_rows_backward(machine.asarray(dy, "float32"), cache), expected, strict=True):
        same(result, right)


@pytest.mark.parametrize("n", [1, 33])
def test_conv2d_rows_with_a_kernel_as_large_as_the_image(machine: Machine, rng: np.random.Generator, n: int) -> None:
    k = machine.kernels
    x, weight, bias, dy = whole(rng, n, 3, 5, 4), whole(rng, 7, 3, 5, 4), whole(rng, 7), whole(rng, n, 7, 1, 1)
    got, cache = k.conv2d_rows_forward(*(machine.asarray(a) for a in (x, weight, bias)))
    assert type(cache).__name__ == "WholeImageCache"
    none = ((0, 0), (0, 0))
    same(got, oracles.conv2d(x, weight, bias, (1, 1), none))
    expected = oracles.conv2d_gradients(x, weight, dy, (1, 1), none)
    for result, right in zip(k.conv2d_rows_backward(machine.asarray(dy), cache), expected, strict=True):
        same(result, right)
    out = machine.asarray(np.zeros(weight.shape)), machine.asarray(np.zeros(7))
    dx, dweight, dbias = k.conv2d_rows_backward(machine.asarray(dy), cache, need_dx=False, out=out)
    assert (dx, dweight is out[0], dbias is out[1]) == (None, True, True)
    same(dweight, expected[1])


def test_the_first_of_equal_numbers_wins_and_nan_is_the_largest(machine: Machine) -> None:
    x = np.array([[1.0, 1.0, 2.0, 5.0], [1.0, 1.0, 5.0, np.nan]])[None, None]
    y, cache = machine.kernels.conv_pool_forward(machine.asarray(x), machine.asarray(np.ones((1, 1, 1, 1))))
    same(y, [[[[1.0, np.nan]]]])
    dx, _, _ = machine.kernels.conv_pool_backward(machine.asarray(np.ones((1, 1, 1, 2))), cache)
    same(dx, [[[[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]]])


@pytest.mark.parametrize(
    ("options", "channels"), [({"dilation": 2}, 4), ({"groups": 2}, 2), ({"groups": 4, "dilation": (1, 2)}, 1)], ids=str
)
@pytest.mark.parametrize("kernel", [(3, 2), (9, 8)])
def test_dilation_and_groups_are_left_to_the_portable_code(
    machine: Machine, rng: np.random.Generator, options: dict[str, Any], channels: int, kernel: Any
) -> None:
    """And come out right there, a kernel as large as the image too."""
    x, weight, bias = whole(rng, 3, 4, 9, 8), whole(rng, 8, channels, *kernel), whole(rng, 8)
    if kernel == (9, 8) and "dilation" in options:
        x = np.tile(x, (1, 1, 2, 2))  # else it does not fit
    arrays = [machine.asarray(a) for a in (x, weight, bias)]
    assert machine.kernels.conv2d_rows_forward(*arrays, **options) is NotImplemented
    y, cache = conv2d_rows.forward(*arrays, **options)
    assert isinstance(cache, conv2d.Cache)
    settings = (1, 1), ((0, 0), (0, 0)), _pair(options.get("dilation", 1)), options.get("groups", 1)
    same(y, oracles.conv2d(x, weight, bias, *settings))
    dy = whole(rng, *y.shape)
    expected = oracles.conv2d_gradients(x, weight, dy, *settings)
    for result, right in zip(conv2d_rows.backward(machine.asarray(dy), cache), expected, strict=True):
        same(result, right)


def test_pools_that_hang_over_are_left_to_the_portable_code(machine: Machine) -> None:
    x, weight = machine.asarray(np.ones((1, 1, 5, 5))), machine.asarray(np.ones((1, 1, 1, 1)))
    forward = machine.kernels.conv_pool_forward
    assert forward(x, weight, pool_padding=1) is NotImplemented
    assert forward(x, weight, ceil_mode=True) is NotImplemented
    assert forward(x, weight, pool_kernel=5, ceil_mode=True) is not NotImplemented  # nothing hangs over here
    assert machine.kernels.conv_pool_backward(x, object()) is NotImplemented


def _pair(size: Any) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)


# ==== what the portable code is to refuse ====

WRONG = {
    "of NumPy": lambda good: good.get(),
    "a list": lambda good: good.get().tolist(),
    "a text": lambda good: "text",
    "None": lambda good: None,
}


# What each takes first: square matrices or vectors.
TAKES = {
    "linear_forward": "square square one",
    "linear_relu_forward": "square square one",
    "batchnorm_forward_training": "square one one",
    "batchnorm_relu_forward_training": "square one one",
    "batchnorm_update_running": "one one",
    "matmul_matmul": "square square",
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(("name", "which"), [(name, i) for name, of in TAKES.items() for i in range(len(of.split()))])
def test_what_is_no_array_of_the_library_is_left_to_the_portable_code(
    machine: Machine, name: str, which: int, wrong: str
) -> None:
    """Which names the operation and the argument; a kernel would name neither."""
    made = {"one": machine.asarray(np.ones(2)), "square": machine.asarray(np.ones((2, 2)))}
    arrays = [made[kind] for kind in TAKES[name].split()]
    more: tuple[Any, ...] = ()
    if name == "batchnorm_update_running":
        more = machine.kernels.batchnorm_forward_training(made["square"], made["one"], made["one"])[1], 0.5
    arrays[which] = WRONG[wrong](arrays[which])
    without_bias = wrong == "None" and which == 2 and name.startswith("linear")
    assert (getattr(machine.kernels, name)(*arrays, *more) is NotImplemented) != without_bias


@pytest.mark.parametrize("place", ["in one piece", "with gaps", "with gaps everywhere", "turned"])
@pytest.mark.parametrize("name", ["linear", "linear_relu", "conv_pool", "conv2d_rows", "whole image", "batchnorm"])
def test_gradients_are_written_wherever_they_shall_go(
    machine: Machine, rng: np.random.Generator, name: str, place: str
) -> None:
    """Kernels write into memory in one piece only: what lies otherwise gets a copy, and nothing beside it changes."""
    k = machine.kernels
    sizes = {"conv_pool": (3, 2, 6, 6), "conv2d_rows": (3, 2, 6, 6), "whole image": (3, 2, 3, 2)}
    weights = {"conv_pool": (4, 2, 3, 2), "conv2d_rows": (4, 2, 3, 2), "whole image": (4, 2, 3, 2), "batchnorm": (5,)}
    x, weight = whole(rng, *sizes.get(name, (3, 5))), whole(rng, *weights.get(name, (4, 5)))
    prefix, way = ("conv2d_rows" if name == "whole image" else name), "_training" * (name == "batchnorm")
    forward, backward = (getattr(k, f"{prefix}_{one}{way}") for one in ("forward", "backward"))
    y, cache = forward(*(machine.asarray(a) for a in (x, weight, whole(rng, weight.shape[0]))))
    dy = machine.asarray(whole(rng, *y.shape))
    _, *expected = backward(dy, cache)
    wide = [machine.asarray(np.full([2 * size for size in a.shape], 9.0)) for a in expected]
    out = {
        "in one piece": lambda a, w: machine.asarray(np.zeros(a.shape)),
        "with gaps": lambda a, w: w[tuple(slice(size) for size in a.shape[:-1])][..., ::2],
        "with gaps everywhere": lambda a, w: w[tuple(slice(1, None, 2) for _ in a.shape)],
        "turned": lambda a, w: machine.asarray(np.zeros(a.shape[::-1])).transpose(tuple(range(a.ndim))[::-1]),
    }[place]
    places = tuple(out(a, w) for a, w in zip(expected, wide, strict=True))
    _, *results = backward(dy, cache, out=places)
    for result, given, right, whole_of in zip(results, places, expected, wide, strict=True):
        assert result is given
        same(result, right.get())
        given[...] = 9.0
        same(whole_of, np.full(whole_of.shape, 9.0))


# ==== fully connected ====


@pytest.mark.usefixtures("enough_blocks")
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize(
    ("n", "inputs", "outputs", "layout"),
    [(1, 1, 1, "asarray"), (64, 400, 120, "batch_last"), (65, 84, 10, "asarray"), (3, 259, 33, "with_gaps"),
     (300, 17, 19, "batch_last"), (600, 9, 300, "batch_last"), (1025, 40, 50, "batch_last")],
)  # fmt: skip
def test_linear(
    machine: Machine, rng: np.random.Generator, n: int, inputs: int, outputs: int, layout: str, dtype: str, relu: bool
) -> None:
    x, weight, bias = whole(rng, n, inputs), whole(rng, outputs, inputs), whole(rng, outputs)
    z, dy = x @ weight.T + bias, whole(rng, n, outputs)
    dz = dy * (z > 0) if relu else dy
    place, k = getattr(machine, layout), machine.kernels
    forward, backward = (getattr(k, f"linear{'_relu' * relu}_{way}") for way in ("forward", "backward"))
    got, cache = forward(place(x, dtype), place(weight, dtype), place(bias, dtype))
    same(got, np.maximum(z, 0) if relu else z)
    dx, dweight, dbias = backward(place(dy, dtype), cache)
    for result, expected in zip((dx, dweight, dbias), (dz @ weight, dz.T @ x, dz.sum(axis=0)), strict=True):
        same(result, expected)
    assert k.linear_backward(dy, object()) is NotImplemented
    other = k.linear_backward if relu else k.linear_relu_backward
    assert other(place(dy, dtype), cache) is NotImplemented


def test_linear_gradients_on_demand(machine: Machine, rng: np.random.Generator) -> None:
    k = machine.kernels
    x, weight, dy = (machine.asarray(whole(rng, *shape)) for shape in ((40, 20), (30, 20), (40, 30)))
    _, cache = k.linear_forward(x, weight)
    dx, dweight, dbias = k.linear_backward(dy, cache)
    assert dbias is None
    same(k.linear_backward(dy, cache, need_dweight=False)[0], dx.get())
    out = machine.asarray(np.zeros(601))[1:].reshape((30, 20))
    nothing, given, _ = k.linear_backward(dy, cache, need_dx=False, out=(out, None))
    assert (nothing, given is out) == (None, True)
    same(out, dweight.get())
    assert k.linear_backward(dy, cache, need_dx=False, need_dweight=False) == (None, None, None)


def test_relu_of_nan_is_nan(machine: Machine) -> None:
    y, _ = machine.kernels.linear_relu_forward(machine.asarray([[np.nan], [-1.0]]), machine.asarray([[1.0]]))
    same(y, [[np.nan], [0.0]])


@pytest.mark.parametrize(
    ("m", "k", "n"),
    [(1, 1, 1), (6, 2000, 25), (70, 33, 65), (17, 16, 16), (700, 20, 650), (200, 3, 300), (5, 900, 1), (2, 10_000, 3)],
)
@pytest.mark.parametrize("dtype", REALS)
def test_matmul(machine: Machine, rng: np.random.Generator, m: int, k: int, n: int, dtype: str) -> None:
    a, b = whole(rng, m, k), whole(rng, k, n)
    matmul = machine.kernels.matmul_matmul
    for left, right in (
        (machine.asarray(a, dtype), machine.asarray(b, dtype)),
        (machine.asarray(a.T, dtype).T, machine.asarray(b.T, dtype).T),
        (machine.with_gaps(a, dtype), machine.asarray(b[::-1, ::-1], dtype)[::-1, ::-1]),
    ):
        same(matmul(left, right), a @ b)
    out = machine.with_gaps(np.zeros((m, n)), dtype)
    assert matmul(machine.asarray(a, dtype), machine.asarray(b, dtype), out=out) is out
    same(out, a @ b)


@pytest.mark.parametrize(
    ("count", "m", "k", "n"),
    [(1, 3, 4, 5), (3, 70, 33, 65), (7, 1, 9, 300), (40, 9, 100, 1), (2, 3, 10_000, 2), (130, 2, 700, 17)],
)
@pytest.mark.parametrize("dtype", REALS)
def test_products_of_many_pairs(
    machine: Machine, rng: np.random.Generator, count: int, m: int, k: int, n: int, dtype: str
) -> None:
    a, b = whole(rng, count, m, k), whole(rng, count, k, n)
    matmul = machine.kernels.matmul_matmul
    for left, right in (
        (machine.asarray(a, dtype), machine.asarray(b, dtype)),
        (machine.asarray(a.transpose(2, 0, 1), dtype).transpose((1, 2, 0)), machine.asarray(b[::-1], dtype)[::-1]),
        (machine.with_gaps(a, dtype), machine.batch_last(b, dtype)),
    ):
        same(matmul(left, right), a @ b)
    out = machine.with_gaps(np.zeros((count, m, n)), dtype)
    assert matmul(machine.asarray(a, dtype), machine.asarray(b, dtype), out=out) is out
    same(out, a @ b)


def test_matmul_leaves_the_rest_to_others(machine: Machine) -> None:
    a, b = machine.asarray(np.ones((2, 3))), machine.asarray(np.ones((3, 2)))
    matmul = machine.kernels.matmul_matmul
    for shapes in (((2, 4, 3), (3, 3, 5)), ((2, 4, 3), (2, 4, 5)), ((2, 4, 3), (3, 5)), ((4, 3), (2, 3, 5))):
        assert matmul(*(machine.asarray(np.ones(shape)) for shape in shapes)) is NotImplemented
    many = machine.asarray(np.ones((1, 1, 4, 3))), machine.asarray(np.ones((1, 1, 3, 5)))
    assert matmul(*many) is NotImplemented
    pairs = machine.asarray(np.ones((2, 4, 3))), machine.asarray(np.ones((2, 3, 5)))
    assert matmul(*pairs, out=machine.asarray(np.ones((4, 5)))) is NotImplemented
    assert matmul(a, a) is NotImplemented
    assert matmul(a, machine.asarray(np.ones(3))) is NotImplemented
    assert matmul(a, machine.asarray(np.ones((3, 2), np.float32))) is NotImplemented
    assert matmul(a, b, out=machine.asarray(np.ones((3, 2)))) is NotImplemented


# ==== batch normalisation ====

SHAPES = [(6, 1), (65, 3), (3, 2, 5, 7), (64, 6, 14, 14), (40, 300), (700, 2, 9, 1)]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("shape", SHAPES)
def test_batchnorm(machine: Machine, rng: np.random.Generator, shape: tuple[int, ...], dtype: str, relu: bool) -> None:
    c, k = shape[1], machine.kernels
    x = rng.standard_normal(shape).astype(dtype)
    weight, bias = (rng.standard_normal(c).astype(dtype) for _ in range(2))
    dy = rng.standard_normal(shape).astype(dtype)
    mean, var = oracles.mean_and_variance(x)
    name = f"batchnorm{'_relu' * relu}"
    forward, backward = getattr(k, f"{name}_forward_training"), getattr(k, f"{name}_backward_training")
    place = machine.batch_last if len(shape) == 4 else machine.asarray
    y, cache = forward(place(x), machine.asarray(weight), machine.asarray(bias))
    z = oracles.batchnorm(x, weight, bias, mean, var, 1e-5)
    close(y, np.maximum(z, 0) if relu else z, dtype)
    close(cache.mean, mean, dtype)
    close(cache.var, var, dtype)
    masked = dy * (y.get() > 0) if relu else dy
    expected = _batchnorm_gradients(x, weight, masked, 1e-5)
    for result, right in zip(backward(machine.asarray(dy), cache), expected, strict=True):
        close(result, right, dtype)
    out = machine.asarray(np.zeros(c), dtype), machine.asarray(np.zeros(c), dtype)
    nothing, dweight, dbias = backward(machine.asarray(dy), cache, need_dx=False, out=out)
    assert (nothing, dweight is out[0], dbias is out[1]) == (None, True, True)
    close(dweight, expected[1], dtype)
    close(dbias, expected[2], dtype)
    assert backward(machine.asarray(dy), object()) is NotImplemented


def _batchnorm_gradients(x: np.ndarray, weight: np.ndarray, dy: np.ndarray, eps: float) -> tuple[np.ndarray, ...]:
    """By the formula; `oracles` has whole Jacobians, too large for most shapes here."""
    if x.size // x.shape[1] <= 100:
        return oracles.batchnorm_training_gradients(x, weight, dy, eps)
    x, dy = x.astype(np.float64), dy.astype(np.float64)
    axes = (0, *range(2, x.ndim))
    shape = tuple(-1 if axis == 1 else 1 for axis in range(x.ndim))
    std = np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    xhat = (x - x.mean(axis=axes, keepdims=True)) / std
    dweight, dbias = (dy * xhat).sum(axis=axes), dy.sum(axis=axes)
    m = x.size // x.shape[1]
    dx = weight.reshape(shape) / std * (dy - (dbias / m).reshape(shape) - xhat * (dweight / m).reshape(shape))
    return dx, dweight, dbias


def test_batchnorm_of_numbers_far_from_zero(machine: Machine, rng: np.random.Generator) -> None:
    # E[x^2] - E[x]^2 would leave nothing of this variance.
    x = (1000 + rng.standard_normal((64, 1, 20, 20))).astype(np.float32)
    mean, var = oracles.mean_and_variance(x)
    one = machine.asarray([1.0], "float32")
    _, cache = machine.kernels.batchnorm_forward_training(machine.batch_last(x), one, one)
    close(cache.mean, mean, "float32")
    close(cache.var, var, "float32")


def test_batchnorm_leaves_errors_to_the_portable_code(machine: Machine) -> None:
    forward, one = machine.kernels.batchnorm_forward_training, machine.asarray(np.ones(1))
    assert forward(machine.asarray(np.ones((1, 1))), one, one) is NotImplemented
    assert forward(machine.asarray(np.ones((4, 1))), one, machine.asarray(np.ones(2))) is NotImplemented
    for eps in (-1.0, float("inf"), float("nan"), True, "0.5"):
        assert forward(machine.asarray(np.ones((4, 1))), one, one, eps) is NotImplemented
    update, (_, cache) = machine.kernels.batchnorm_update_running, forward(machine.asarray(np.ones((4, 1))), one, one)
    for decay in (-0.1, 1.1, float("nan"), True, None, "0.5", [0.5]):
        assert update(one, one, cache, decay) is NotImplemented
    for cache in (None, object()):
        assert update(one, one, cache, 0.5) is NotImplemented


@pytest.mark.parametrize("dtype", REALS)
def test_running_statistics(machine: Machine, rng: np.random.Generator, dtype: str) -> None:
    x, c = rng.standard_normal((5, 300)).astype(dtype), 300
    one, running = machine.asarray(np.ones(c), dtype), [machine.asarray(np.full(c, v), dtype) for v in (2.0, 3.0)]
    _, cache = machine.kernels.batchnorm_forward_training(machine.asarray(x), one, one)
    machine.kernels.batchnorm_update_running(*running, cache, 0.75)
    x = x.astype(np.float64)
    close(running[0], 0.75 * 2 + 0.25 * x.mean(axis=0), dtype)
    close(running[1], 0.75 * 3 + 0.25 * x.var(axis=0, ddof=1), dtype)


# ==== loss, counting ====


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize(("n", "k"), [(1, 1), (64, 10), (65, 3), (1, 1000), (2500, 2)])
def test_softmax_cross_entropy(machine: Machine, rng: np.random.Generator, n: int, k: int, dtype: str) -> None:
    logits, labels = (5 * rng.standard_normal((n, k))).astype(dtype), rng.integers(0, k, n)
    kernels = machine.kernels
    loss, cache = kernels.softmax_cross_entropy_forward(
        machine.asarray(logits), machine.asarray(labels), labels_checked=True
    )
    close(loss, oracles.softmax_cross_entropy(logits, labels), dtype)
    expected = oracles.softmax_cross_entropy_gradient(logits, labels)
    close(kernels.softmax_cross_entropy_backward(1.0, cache), expected, dtype)
    close(kernels.softmax_cross_entropy_backward(-0.5, cache), -0.5 * expected, dtype)
    close(kernels.softmax_cross_entropy_backward(machine.asarray(3.0, dtype), cache), 3 * expected, dtype)
    with pytest.raises(ValueError, match=r"got dloss of shape \(2,\)"):
        kernels.softmax_cross_entropy_backward(machine.asarray([1.0, 1.0]), cache)


def test_softmax_of_extreme_scores(machine: Machine) -> None:
    logits = [[1e4, 0.0], [0.0, 1e4], [-np.inf, 0.0], [np.nan, 0.0]]
    for row, label, loss in zip(logits, [1, 1, 1, 0], [1e4, 0.0, 0.0, np.nan], strict=True):
        got, _ = machine.kernels.softmax_cross_entropy_forward(
            machine.asarray([row], "float32"), machine.asarray([label]), labels_checked=True
        )
        same(got, np.float32(loss))


def test_unchecked_or_odd_labels_are_left_to_the_portable_code(machine: Machine) -> None:
    forward, logits = machine.kernels.softmax_cross_entropy_forward, machine.asarray(np.ones((2, 3)))
    assert forward(logits, machine.asarray([0, 1])) is NotImplemented
    assert forward(logits, machine.asarray([0, 1], "int32"), labels_checked=True) is NotImplemented
    assert forward(logits, machine.asarray([0, 1, 2]), labels_checked=True) is NotImplemented


@pytest.mark.parametrize(
    "options",
    [
        {"weight": [1.0, 2.0, 4.0]},
        {"ignore_index": 1},
        {"ignore_index": 0},
        {"reduction": "sum"},
        {"reduction": "none"},
    ],
    ids=str,
)
def test_a_loss_that_is_no_plain_mean_is_left_to_the_portable_code(
    machine: Machine, rng: np.random.Generator, options: dict[str, Any]
) -> None:
    """No option is passed over in silence: through the seam the result is that on NumPy."""
    logits, labels = rng.standard_normal((4, 3)), np.array([0, 1, 1, 2])
    dloss = rng.standard_normal(4) if options.get("reduction") == "none" else 2.0
    expected, cache = softmax_cross_entropy.forward(logits, labels, **on_host(options))
    gradient = softmax_cross_entropy.backward(dloss, cache)
    there = {name: machine.asarray(value) if name == "weight" else value for name, value in options.items()}
    arrays = machine.asarray(logits), machine.asarray(labels)
    assert machine.kernels.softmax_cross_entropy_forward(*arrays, labels_checked=True, **there) is NotImplemented
    loss, cache = softmax_cross_entropy.forward(*arrays, labels_checked=True, **there)
    close(loss, expected, "float64")
    back = machine.asarray(dloss) if np.ndim(dloss) else dloss
    close(softmax_cross_entropy.backward(back, cache), gradient, "float64")


def on_host(options: dict[str, Any]) -> dict[str, Any]:
    return {name: np.array(value) if name == "weight" else value for name, value in options.items()}


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize(("n", "k"), [(1, 1), (64, 10), (1500, 4)])
def test_tally(machine: Machine, rng: np.random.Generator, n: int, k: int, dtype: str) -> None:
    logits, labels = whole(rng, n, k, high=2), rng.integers(0, k, n)  # many ties
    logits[n // 2, k // 2 :] = np.nan  # the first of them is the answer
    labels[n // 2] = k // 2
    sums = machine.asarray([1.0, 2.0, 3.0])
    arguments = machine.batch_last(logits, dtype), machine.asarray(labels)
    right = int((logits.argmax(axis=1) == labels).sum())
    machine.kernels.meter_tally(sums, machine.asarray(0.5, dtype), *arguments)
    same(sums, [1 + 0.5 * n, 2 + right, 4])
    machine.kernels.meter_tally(sums, machine.asarray(np.inf, dtype), *arguments)
    machine.kernels.meter_tally(sums, machine.asarray(-np.inf, dtype), *arguments)
    same(sums, [np.nan, 2 + 3 * right, 4])


# ==== optimisers ====


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_sgd(machine: Machine, rng: np.random.Generator, nesterov: bool, weight_decay: float, on_device: bool) -> None:
    params, velocity, grads = (rng.standard_normal(700) for _ in range(3))
    g = grads + weight_decay * np.where(np.arange(700) < 300, params, 0)
    v = 0.9 * velocity + g
    expected = params - 0.1 * (g + 0.9 * v if nesterov else v)
    arrays = [machine.asarray(a) for a in (params, velocity, grads)]
    scalars = machine.asarray([0.1]) if on_device else (0.1,)
    machine.kernels.optim_sgd_update(*arrays, scalars, 0.9, nesterov, weight_decay, 300)
    for got, right in zip(arrays, (expected, v, grads), strict=True):
        close(got, right, "float64")


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(machine: Machine, rng: np.random.Generator, decoupled: bool, on_device: bool) -> None:
    params, mean, square, grads = (rng.standard_normal(700) for _ in range(4))
    square = square**2
    scalars, decays = (0.2, 1.5, 0.1), np.arange(700) < 300
    p = params * np.where(decays, 1 - 0.1 * 0.5, 1) if decoupled else params
    g = grads if decoupled else grads + 0.5 * np.where(decays, params, 0)
    m, s = 0.8 * mean + 0.2 * g, 0.95 * square + 0.05 * g * g
    expected = p - 0.2 * m / (np.sqrt(s) * 1.5 + 1e-8)
    arrays = [machine.asarray(a) for a in (params, mean, square, grads)]
    given = machine.asarray(scalars) if on_device else scalars
    machine.kernels.optim_adam_update(*arrays, given, (0.8, 0.95), 1e-8, 0.5, 300, decoupled)
    for got, right in zip(arrays, (expected, m, s, grads), strict=True):
        close(got, right, "float64")


def test_without_weight_decay_infinite_parameters_stay_infinite(machine: Machine) -> None:
    arrays = [machine.asarray([value], "float32") for value in (np.inf, 0.0, 1.0)]
    machine.kernels.optim_sgd_update(*arrays, (0.1,), 0.0, False, 0.0, 1)
    same(arrays[0], [np.inf])


# ==== feeding ====


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize(("n", "shape"), [(1, (3, 1, 1, 1)), (64, (100, 1, 28, 28)), (65, (9, 3, 5, 7))])
def test_gather(
    machine: Machine, rng: np.random.Generator, n: int, shape: tuple[int, int, int, int], dtype: str
) -> None:
    x, which = rng.integers(0, 256, shape, dtype=np.uint8), rng.integers(0, shape[0], n)
    scale, shift = (rng.standard_normal((shape[1], 1, 1, 1)).astype(dtype) for _ in range(2))
    on_device = (machine.asarray(a) for a in (x, which, scale, shift))
    got = machine.kernels.images_gather(*on_device, dtype)
    close(got, x[which] * scale[:, 0].astype(float) + shift[:, 0], dtype)
    assert got.strides == machine.batch_last(np.empty(got.shape, dtype)).strides
    assert machine.kernels.images_gather(machine.asarray(x), slice(0, 1), None, None, dtype) is NotImplemented


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((1, 1, 1, 1), "batch_last"),
        ((32, 1, 3, 4), "batch_last"),
        ((33, 3, 4, 3), "asarray"),
        ((70, 1, 1, 6), "with_gaps"),
        ((3, 2, 7, 1), "asarray"),
        ((2, 1, 9, 28), "batch_last"),
    ],
    ids=str,
)
@pytest.mark.parametrize("by", [(180.0, 4.0, 0.5, 60.0, 3.0), (0.0,) * 5], ids=["distorted", "as it is"])
def test_distort(machine: Machine, rng: np.random.Generator, by: Any, shape: Any, layout: str, dtype: str) -> None:
    x, (h, w) = rng.standard_normal(shape).astype(dtype), shape[2:]
    seed, step = 2**63 + 2**33 + 5, 2**32 + 9
    sides = (machine.asarray(spline(size), dtype) for size in (h, w))
    got = machine.kernels.distort_distort(getattr(machine, layout)(x), *sides, machine.asarray([step]), by, seed)
    host = got.get()
    assert (host.dtype, got.strides) == (dtype, machine.batch_last(x, dtype).strides)
    atol = (5e-5 if dtype == "float32" else 1e-12) * max(
        h, w
    )  # of places: from one pixel to the next x changes by a few
    np.testing.assert_allclose(host, oracles.distort(x, seed, step, by), rtol=0, atol=atol)


def test_distort_leaves_the_rest_to_the_portable_code(machine: Machine, rng: np.random.Generator) -> None:
    put, by = machine.asarray, (10.0, 1.0, 0.1, 5.0, 1.0)
    x, rows, columns, step = put(rng.standard_normal((2, 1, 4, 5))), put(spline(4)), put(spline(5)), put([3])
    distort = machine.kernels.distort_distort
    assert distort(x, rows, columns, step, by, 7) is not NotImplemented
    for arguments in (
        (put(np.ones((2, 1, 4, 5), np.uint8)), rows, columns, step),
        (put(rng.standard_normal((2, 4, 5))), rows, columns, step),
        (put(np.ones((0, 1, 4, 5))), rows, columns, step),
        (x, put(spline(4), "float32"), columns, step),
        (x, rows, machine.with_gaps(spline(5)), step),
        (x, rows, columns, put([3], "int32")),
        (x, rows, columns, put([3, 4])),
        (x, columns, rows, step),
        (x, rows, columns, 3),
    ):
        assert distort(*arguments, by, 7) is NotImplemented


def test_advance(machine: Machine, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    order, table = rng.permutation(3 * 1100), rng.standard_normal((3, 2))
    counter, positions = machine.asarray([0]), machine.asarray(np.zeros(1100, np.int64))
    scalars = machine.asarray([0.0, 0.0], "float32")
    on_device = counter, machine.asarray(order), machine.asarray(table), positions, scalars
    for step in range(3):
        machine.change_order(monkeypatch, step + 2)
        machine.kernels.steps_advance(*on_device)
        same(counter, [step + 1])
        same(positions, order[step * 1100 : (step + 1) * 1100])
        same(scalars, table[step].astype(np.float32))
    machine.kernels.steps_advance(*on_device)  # past the end: nothing is read from where nothing is
    same(positions, order[2200:])


# ==== the same bits ====


def test_the_order_of_blocks_and_threads_changes_no_bit(
    machine: Machine, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = rng.standard_normal((33, 3, 14, 14)).astype(np.float32)
    weight, bias = rng.standard_normal((8, 3, 5, 5)).astype(np.float32), rng.standard_normal(8).astype(np.float32)
    matrix = rng.standard_normal((20, 8 * 25)).astype(np.float32)

    def results() -> list[bytes]:
        k, put = machine.kernels, machine.asarray
        y, conv = k.conv_pool_forward(put(x), put(weight), put(bias))
        z, norm = k.batchnorm_relu_forward_training(y, put(bias), put(bias))
        logits, flat = k.linear_forward(z.reshape((33, -1)), put(matrix))
        loss, of_loss = k.softmax_cross_entropy_forward(logits, put(np.arange(33) % 20), labels_checked=True)
        dz, dmatrix, _ = k.linear_backward(k.softmax_cross_entropy_backward(1.0, of_loss), flat)
        dy, *dnorm = k.batchnorm_relu_backward_training(dz.reshape(z.shape), norm)
        product = k.matmul_matmul(put(matrix), put(matrix).T)
        products = k.matmul_matmul(put(x[0]), put(x[1]))
        results = (y, z, loss, dmatrix, *dnorm, *k.conv_pool_backward(dy, conv), product, products)
        return [a.get().tobytes() for a in results]

    first = results()
    for seed in (1, 2, 3, 4):
        machine.change_order(monkeypatch, seed)
        assert results() == first


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 10, 16, 101])
def test_groups_waste_little(count: int) -> None:
    size = group(count, 1000, (6, 4, 3, 2, 1))
    assert -(-count // size) * size <= 1.25 * count
    assert group(count, 1, (6, 4, 3, 2, 1)) in (1, *range(1, count // 99 + 1))  # too little to do: a group for each
