"""Images distorted by chance: pixel by pixel against a slow loop, against PyTorch, and by what must be so."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.functional.messages import message
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet import Workspace
from xlenet.backend import batch_last
from xlenet.data import distort as module
from xlenet.data.distort import DRAWN, distort, points, spline

SHAPES = [(3, 1, 5, 7), (1, 2, 6, 4), (2, 3, 1, 5), (4, 1, 7, 1), (2, 2, 1, 1), (1, 1, 2, 3), (2, 1, 13, 28)]
STRENGTHS = {
    "rotation": (180.0, 0.0, 0.0, 0.0, 0.0),
    "shift": (0.0, 2.5, 0.0, 0.0, 0.0),
    "scale": (0.0, 0.0, 0.6, 0.0, 0.0),
    "shear": (0.0, 0.0, 0.0, 60.0, 0.0),
    "elastic": (0.0, 0.0, 0.0, 0.0, 2.0),
    "all": (40.0, 2.0, 0.3, 20.0, 1.5),
}
NOTHING = (0.0, 0.0, 0.0, 0.0, 0.0)
AT_MOST = {"float32": 2e-5, "float64": 1e-12}  # of rounding, where pixels are about 1
FAR = 5.0  # deviations: by chance alone one in two million is further off, and nothing is left to chance here


def distorted(lib: Lib, x: Any, by: tuple[float, ...], seed: int = 0, step: int = 0, **options: Any) -> Any:
    """What `distort` makes of x, which is the library's own."""
    weights = (lib.asarray(spline(size), lib.dtype_name(x)) for size in x.shape[2:])
    return distort(x, *weights, lib.asarray([step], "int64"), by, seed, **options)


# ==== pixel by pixel ====


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_pixel_against_a_slow_loop(
    lib: Lib, rng: np.random.Generator, shape: Any, strength: str, dtype: str
) -> None:
    x = rng.standard_normal(shape).astype(dtype)
    expected = oracles.distort(x, 7, 3, STRENGTHS[strength])
    y = distorted(lib, lib.asarray(x), STRENGTHS[strength], 7, 3)
    lib.assert_close(y, expected, rtol=0, atol=AT_MOST[dtype] * max(shape), dtype=dtype)


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (2**32, 1), (2**63 - 1, 2**31), (2**64 - 1, 2**40 + 5)])
def test_each_seed_and_step_against_a_slow_loop(lib: Lib, rng: np.random.Generator, seed: int, step: int) -> None:
    x = rng.standard_normal((3, 1, 4, 6))
    expected = oracles.distort(x, seed, step, STRENGTHS["all"])
    lib.assert_close(distorted(lib, lib.asarray(x), STRENGTHS["all"], seed, step), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("lent", [False, True], ids=["own memory", "lent memory"])
def test_any_memory_order_is_distorted_to_the_same_bits(
    lib: Lib, rng: np.random.Generator, layout: str, lent: bool
) -> None:
    x, work = rng.standard_normal((3, 2, 4, 5)), Workspace() if lent else None
    expected = lib.to_numpy(distorted(lib, lib.asarray(x), STRENGTHS["all"], 9, 3))
    for _ in range(2):
        lib.assert_equal(distorted(lib, LAYOUTS[layout](lib, x), STRENGTHS["all"], 9, 3, work=work), expected)
        if work is not None:
            work.end_step()


@pytest.mark.parametrize("lent", [False, True], ids=["own memory", "lent memory"])
def test_the_batch_lies_innermost_in_the_result(numpy_lib: Lib, rng: np.random.Generator, lent: bool) -> None:
    x = numpy_lib.asarray(rng.standard_normal((3, 2, 4, 5)))
    y = distorted(numpy_lib, x, STRENGTHS["all"], work=Workspace() if lent else None)
    assert batch_last(y).flags.c_contiguous


def test_a_result_is_its_own(lib: Lib, rng: np.random.Generator) -> None:
    """Not even a batch that is left as it was is the memory of what came in, which is lent for other things later."""
    x = np.moveaxis(np.array(rng.standard_normal((2, 4, 5, 3))), -1, 0)
    given = LAYOUTS["batch_last"](lib, x)
    y = distorted(lib, given, NOTHING)
    y[...] = 0
    lib.assert_equal(given, x)


def test_a_result_keeps_its_memory_until_the_step_ends(lib: Lib, rng: np.random.Generator) -> None:
    """Lent memory, too: what comes after it in the step is lent other memory."""
    x, work = lib.asarray(rng.standard_normal((3, 2, 4, 5))), Workspace()
    results = [distorted(lib, x, STRENGTHS["all"], step=step, work=work) for step in range(3)]
    for step, y in enumerate(results):
        lib.assert_equal(y, lib.to_numpy(distorted(lib, x, STRENGTHS["all"], step=step)))


# ==== against PyTorch ====


@pytest.mark.parametrize("strength", [name for name in STRENGTHS if name != "elastic"])
@pytest.mark.parametrize("shape", [(4, 2, 6, 9), (1, 1, 28, 28), (7, 3, 8, 5)], ids=str)
def test_without_bending_it_is_a_grid_of_pytorch(
    lib: Lib, torch: ModuleType, rng: np.random.Generator, shape: tuple[int, int, int, int], strength: str
) -> None:
    x, by = rng.standard_normal(shape), (*STRENGTHS[strength][:4], 0.0)
    half = (np.array(shape[2:]) - 1) / 2  # PyTorch's unit: an image goes from -1 to 1
    theta = [
        np.column_stack([how.matrix * half[None, :] / half[:, None], how.shift / half])[::-1][:, [1, 0, 2]]
        for how in oracles.distortions(shape, 5, 2, by)
    ]
    functional = torch.nn.functional
    grid = functional.affine_grid(torch.tensor(np.array(theta)), list(shape), align_corners=True)
    theirs = functional.grid_sample(torch.tensor(x), grid, padding_mode="border", align_corners=True)
    lib.assert_close(distorted(lib, lib.asarray(x), by, 5, 2), theirs.numpy(), rtol=1e-9, atol=1e-11)


# ==== by numbers that are chosen ====

ANGLE, DOWN_SCALE, ACROSS_SCALE, LEAN, DOWN, ACROSS = range(6)


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch, lib: Lib) -> Any:
    """Choose what is drawn: `draw({ANGLE: 0.5})`."""

    def choose(numbers: dict[int, float]) -> None:
        def chosen(n: int, *_: Any, like: Any, **__: Any) -> Any:
            drawn = np.zeros((DRAWN, n))
            for number, value in numbers.items():
                drawn[number] = value
            return lib.xp.asarray(drawn, dtype=like.dtype, **({} if lib.device is None else {"device": lib.device}))

        monkeypatch.setattr(module, "_drawn", chosen)

    return choose


def by_hand(lib: Lib, x: np.ndarray, by: tuple[float, ...]) -> np.ndarray:
    """What the portable function makes of x: a kernel draws for itself."""
    weights = (lib.asarray(spline(size), str(x.dtype)) for size in x.shape[2:])
    return lib.to_numpy(distort.portable(lib.asarray(x), *weights, lib.asarray([0], "int64"), by, 0))


@pytest.mark.parametrize(("down", "across"), [(1, 0), (0, 2), (-2, 1), (3, -3), (40, 0)])
def test_a_shift_by_whole_pixels_moves_pixels(
    lib: Lib, rng: np.random.Generator, draw: Any, down: int, across: int
) -> None:
    """A positive number shows what lies further down and right: the image moves up and left, and its edge stays."""
    x = rng.standard_normal((2, 2, 5, 6))
    rows, columns = (np.clip(np.arange(size) + by, 0, size - 1) for size, by in ((5, down), (6, across)))
    draw({DOWN: down / 64, ACROSS: across / 64})
    np.testing.assert_allclose(by_hand(lib, x, (0.0, 64.0, 0.0, 0.0, 0.0)), x[:, :, rows][..., columns], atol=1e-12)


@pytest.mark.parametrize("turns", [-2, -1, 1])
def test_a_quarter_of_a_turn_is_that_of_numpy(lib: Lib, rng: np.random.Generator, draw: Any, turns: int) -> None:
    x = rng.standard_normal((2, 1, 6, 6))
    draw({ANGLE: turns / 2})
    np.testing.assert_allclose(
        by_hand(lib, x, (180.0, 0.0, 0.0, 0.0, 0.0)), np.rot90(x, turns, axes=(2, 3)), atol=1e-12
    )


@pytest.mark.parametrize("lean", [-1, 1])
def test_a_shear_of_45_degrees_moves_each_row_by_its_height(
    lib: Lib, rng: np.random.Generator, draw: Any, lean: int
) -> None:
    x = rng.standard_normal((1, 1, 5, 7))
    draw({LEAN: lean})
    expected = [[x[0, 0, row, min(max(column + lean * (row - 2), 0), 6)] for column in range(7)] for row in range(5)]
    np.testing.assert_allclose(by_hand(lib, x, (0.0, 0.0, 0.0, 45.0, 0.0)), [[expected]], atol=1e-12)


@pytest.mark.parametrize("axis", [0, 1])
def test_an_image_of_twice_its_size_shows_its_middle(lib: Lib, draw: Any, axis: int) -> None:
    """Height and width each on its own; and by a quarter of it less, its edges come in."""
    ramp = np.arange(9.0)[None, None, :, None] + np.zeros((1, 1, 9, 5))
    x = np.ascontiguousarray(ramp if axis == 0 else ramp.swapaxes(2, 3))
    for share, expected in ((0.75, 4 + (np.arange(9) - 4) / 1.75), (-0.5, np.clip(2 * np.arange(9.0) - 4, 0, 8))):
        draw({DOWN_SCALE + axis: share / 0.75})
        y = by_hand(lib, x, (0.0, 0.0, 0.75, 0.0, 0.0))
        np.testing.assert_allclose(np.moveaxis(y[0, 0], axis, 0), expected[:, None] + np.zeros(5), atol=1e-12)


def test_a_control_point_moves_the_image_around_itself_alone(lib: Lib, draw: Any) -> None:
    """The middle one, to the right: two thirds of it, and two thirds of that, where it lies; nothing two cells away."""
    x = np.arange(17.0) + np.zeros((1, 1, 17, 1))
    draw({6 + (3 * 2 + 1) * 7 + 3: 0.5})
    moved = by_hand(lib, x, (0.0, 0.0, 0.0, 0.0, 1.0))[0, 0] - x[0, 0]
    assert moved[8, 8] == pytest.approx(0.5 * (2 / 3) ** 2)
    assert [moved[8, 4], moved[4, 8]] == pytest.approx([0.5 * (2 / 3) * (1 / 6)] * 2)
    assert np.abs(moved[[0, -1]]).max() < 1e-12
    assert np.abs(moved[:, [0, -1]]).max() < 1e-12


# ==== what must be so ====


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_with_no_strength_images_stay(lib: Lib, rng: np.random.Generator, shape: Any, dtype: str) -> None:
    x = rng.standard_normal(shape).astype(dtype)
    y = distorted(lib, lib.asarray(x), NOTHING)
    lib.assert_close(y, x, rtol=0, atol=AT_MOST[dtype] * max(shape), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("by", [STRENGTHS["all"], (180.0, 500.0, 0.99, 89.0, 100.0)], ids=["a little", "far away"])
def test_an_even_image_stays_to_the_last_bit(lib: Lib, by: Any, dtype: str) -> None:
    """However far its edges are left behind."""
    x = np.full((40, 2, 6, 5), 0.3, dtype)
    lib.assert_equal(distorted(lib, lib.asarray(x), by), x, dtype=dtype)


def test_nothing_is_invented(lib: Lib, rng: np.random.Generator) -> None:
    """Each pixel lies between pixels of its own image and channel."""
    x = rng.standard_normal((20, 2, 7, 6))
    y = lib.to_numpy(distorted(lib, lib.asarray(x), STRENGTHS["all"]))
    low, high = x.min(axis=(2, 3), keepdims=True), x.max(axis=(2, 3), keepdims=True)
    assert np.all(y >= low - 1e-12)
    assert np.all(y <= high + 1e-12)


def test_a_pixel_is_a_mean_of_its_neighbours_so_distorting_is_linear(lib: Lib, rng: np.random.Generator) -> None:
    x, other = rng.standard_normal((2, 5, 1, 6, 7))
    both = distorted(lib, lib.asarray(2 * x - other), STRENGTHS["all"])
    one, two = (lib.to_numpy(distorted(lib, lib.asarray(a), STRENGTHS["all"])) for a in (x, other))
    lib.assert_close(both, 2 * one - two)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 13, 28, 29, 257])
def test_the_net_follows_a_straight_line(size: int, dtype: str) -> None:
    """Else an image would be bent that is only to be turned."""
    weights = spline(size)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-15)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights @ points(size), np.arange(size) - (size - 1) / 2, atol=1e-13 * size)
    expected = [oracles.net_weights(pixel, size) for pixel in range(size)]
    np.testing.assert_allclose(weights, expected, atol=1e-15)


def test_the_same_seed_and_step_give_the_same_bits_and_others_others(lib: Lib, rng: np.random.Generator) -> None:
    x = lib.asarray(rng.standard_normal((2, 1, 6, 5)))
    first = lib.to_numpy(distorted(lib, x, STRENGTHS["all"], 1, 2))
    lib.assert_equal(distorted(lib, x, STRENGTHS["all"], 1, 2), first)
    for seed, step in ((1, 3), (2, 2), (2, 1), (1 + 2**32, 2), (1, 2 + 2**31)):
        other = lib.to_numpy(distorted(lib, x, STRENGTHS["all"], seed, step))
        assert np.abs(other - first).max(axis=(1, 2, 3)).min() > 1e-3


def test_each_image_of_a_batch_has_its_own_and_keeps_it_in_a_shorter_batch(lib: Lib, rng: np.random.Generator) -> None:
    x = np.repeat(rng.standard_normal((1, 1, 6, 5)), 7, axis=0)
    y = lib.to_numpy(distorted(lib, lib.asarray(x), STRENGTHS["all"]))
    assert len({image.tobytes() for image in y}) == 7
    lib.assert_close(distorted(lib, lib.asarray(x[:4]), STRENGTHS["all"]), y[:4])


def test_the_step_is_read_where_it_lies_and_left_alone(numpy_lib: Lib, rng: np.random.Generator) -> None:
    """A recorded call reads the array, and not the number that was in it."""
    x, step, weights = rng.standard_normal((2, 1, 5, 5)), np.array([3]), spline(5)
    first = distort(x, weights, weights, step, STRENGTHS["all"], 1)
    step += 1
    second = distort(x, weights, weights, step, STRENGTHS["all"], 1)
    numpy_lib.assert_equal(first, distorted(numpy_lib, x, STRENGTHS["all"], 1, 3))
    numpy_lib.assert_equal(second, distorted(numpy_lib, x, STRENGTHS["all"], 1, 4))
    assert list(step) == [4]


def test_a_step_of_another_shape_or_type_is_refused(lib: Lib) -> None:
    x, weights = lib.asarray(np.ones((2, 1, 5, 5))), lib.asarray(spline(5))
    for step in ([1, 2], [1.0]):
        with pytest.raises(TypeError, match=message("distort", got="step", expected="(1,)")):
            distort(x, weights, weights, lib.asarray(step), NOTHING, 0)


# ==== as a crowd ====


@pytest.fixture(scope="module")
def crowd() -> np.ndarray:
    """The numbers of 20,000 images, (104, 20000)."""
    return module._drawn(20_000, np.array([11]), 5, like=np.zeros(1), work=None)


def test_numbers_are_drawn_evenly_from_minus_1_to_below_1(crowd: np.ndarray) -> None:
    assert crowd.shape == (DRAWN, 20_000)
    assert crowd.min() >= -1
    assert crowd.max() < 1
    assert crowd.min() < -1 + 1e-4
    assert crowd.max() > 1 - 1e-4
    for power in range(1, 5):
        mean, spread = (0.0 if k % 2 else 1 / (k + 1) for k in (power, 2 * power))
        assert abs((crowd**power).mean() - mean) < FAR * math.sqrt((spread - mean**2) / crowd.size)
    counts = np.histogram(crowd, 256, (-1, 1))[0]
    chi2 = float(((counts - crowd.size / 256) ** 2).sum() / (crowd.size / 256))
    assert abs(chi2 - 255) < FAR * math.sqrt(2 * 255)


def test_the_numbers_of_an_image_do_not_know_of_each_other(crowd: np.ndarray) -> None:
    of_each_other = np.corrcoef(crowd) - np.eye(DRAWN)
    assert np.abs(of_each_other).max() < (FAR + 0.5) / math.sqrt(crowd.shape[1])  # of 5,356 pairs
    for lag in (1, 2, 32, 64, 104):
        assert abs((crowd[:, :-lag] * crowd[:, lag:]).mean()) < FAR / 3 / math.sqrt(crowd.size)


def test_steps_and_seeds_do_not_know_of_each_other(crowd: np.ndarray) -> None:
    for seed, step in ((5, 12), (5, 10), (6, 11), (11, 5), (5 + 2**32, 11)):
        other = module._drawn(20_000, np.array([step]), seed, like=np.zeros(1), work=None)
        assert abs((crowd * other).mean()) < FAR / 3 / math.sqrt(crowd.size)


def test_both_types_draw_the_same_numbers(lib: Lib) -> None:
    step = lib.asarray([3], "int64")
    single, double = (
        lib.to_numpy(module._drawn(50, step, 8, like=lib.asarray([0.0], t), work=None)) for t in ("float32", "float64")
    )
    np.testing.assert_array_equal(single, double)


def test_bending_moves_an_image_nowhere_on_the_whole_and_everywhere_by_as_much(numpy_lib: Lib) -> None:
    """By its standard deviation at the corners of cells: half of that of a control point, in each direction."""
    n, size = 2000, 33
    ramp = np.arange(float(size)) + np.zeros((1, 1, size, 1))
    x = np.concatenate([np.broadcast_to(a, (n, 1, size, size)) for a in (ramp, ramp.swapaxes(2, 3))], axis=1)
    moved = (distorted(numpy_lib, x, (0.0, 0.0, 0.0, 0.0, 1.5)) - x)[:, :, 8:-8:8, 8:-8:8]  # the inner corners
    deviation = 1.5 / math.sqrt(3) / 2
    assert np.abs(moved.mean(axis=0)).max() < FAR * deviation / math.sqrt(n)
    np.testing.assert_allclose(moved.std(axis=0), deviation, rtol=FAR / math.sqrt(2 * n))
