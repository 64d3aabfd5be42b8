"""Pictures of digits become what MNIST's digits look like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.reader import accuracy, digits, reader
from tests.sheets import STROKES, as_bytes, black_on_white, drawn, photographed, rendered
from xlenet.data import as_mnist, load_mnist
from xlenet.data.blobs import blobs
from xlenet.data.handwriting import NoDigitError, as_is, steps
from xlenet.data.paper import filled, most_around, paper
from xlenet.data.thickness import stroke_width, thickened
from xlenet.errors import DataError

each_digit = pytest.mark.parametrize("digit", STROKES)


def far(a: Any, b: Any) -> float:
    """Mean difference of two images, in grey levels."""
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


# ==== what comes out ====


def check_like_mnist(image: Any, longest: int = 21) -> None:
    assert image.shape == (1, 28, 28)
    assert image.dtype == np.uint8
    assert image.max() == 255
    there = [np.flatnonzero((image[0] > 25).any(axis=axis)) for axis in (1, 0)]
    longer = max(int(axis[-1]) - int(axis[0]) + 1 for axis in there)
    assert 19 <= longer <= longest
    for axis in (0, 1):
        mass = image[0].astype(float).sum(axis=1 - axis)
        assert 13.4 <= (mass @ np.arange(28)) / mass.sum() <= 14.6


@each_digit
@pytest.mark.parametrize("width", [2, 5, 12, 25])
def test_a_drawn_digit_is_as_large_and_where_mnists_are(digit: str, width: int) -> None:
    check_like_mnist(as_mnist(black_on_white(drawn(digit, width, (640, 480), (350, 40, 200, 300)))))


@pytest.mark.parametrize("width", [2, 5, 12, 30])
def test_whatever_the_pen_strokes_are_as_thick_as_mnists_or_thicker(width: int) -> None:
    image = as_mnist(black_on_white(drawn("0", width, (400, 400), (50, 50, 300, 300)))) / 255.0
    assert 1.2 <= stroke_width(image[0]) <= max(2.6, 1.3 * width * 20 / 260)


@each_digit
def test_it_does_not_matter_where_it_stands_or_which_is_black(digit: str) -> None:
    ink = drawn(digit)
    expected = as_mnist(black_on_white(ink))
    np.testing.assert_array_equal(as_mnist(255 - black_on_white(ink)), expected)
    np.testing.assert_array_equal(as_mnist(black_on_white(np.pad(ink, ((70, 5), (0, 130))))), expected)


SAME: dict[str, Callable[[Any], Any]] = {
    "grey on grey": lambda grey: (100 + grey // 3).astype(np.uint8),
    "colours": lambda grey: np.stack([grey, grey // 2 + 60, 255 - (255 - grey) // 3], axis=-1).astype(np.uint8),
    "opaque": lambda grey: np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1),
    "black ink on glass": lambda grey: np.stack([0 * grey, 0 * grey, 0 * grey, 255 - grey], axis=-1),
    "white ink on glass": lambda grey: np.stack([0 * grey + 255, 0 * grey + 255, 0 * grey + 255, 255 - grey], axis=-1),
    "with a transparent corner": lambda grey: np.stack(
        [grey, grey, grey, np.where(np.add(*np.indices(grey.shape)) < 40, 0, 255).astype(np.uint8)], axis=-1
    ),
    "as a view": lambda grey: np.repeat(np.repeat(grey, 2, axis=0), 2, axis=1)[::2, ::2],
}


@pytest.mark.parametrize("how", SAME)
@each_digit
def test_the_same_ink_in_another_form(digit: str, how: str) -> None:
    grey = black_on_white(drawn(digit))
    grey.flags.writeable = False
    assert far(as_mnist(SAME[how](grey)), as_mnist(grey)) < 1.0


@pytest.mark.parametrize("times", [2, 5, 9])
def test_a_larger_picture_of_the_same_is_the_same(times: int) -> None:
    grey = black_on_white(drawn("4"))
    large = np.repeat(np.repeat(grey, times, axis=0), times, axis=1)
    assert far(as_mnist(large), as_mnist(grey)) < 3.0


def test_a_digit_of_nine_pixels_is_enlarged() -> None:
    sheet = np.full((30, 30), 255, np.uint8)
    sheet[8:17, 12:14] = 0
    check_like_mnist(as_mnist(sheet), longest=22)  # its edges are a pixel of the picture wide


def test_a_digit_that_touches_the_border_is_found() -> None:
    ink = drawn("7")
    touching = ink[np.ix_(np.flatnonzero(ink.any(axis=1)), range(ink.shape[1]))]
    assert far(as_mnist(black_on_white(touching)), as_mnist(black_on_white(ink))) < 2.0


# ==== paper ====


@each_digit
@pytest.mark.parametrize("shadow", [False, True], ids=["lamp", "shadow"])
def test_light_from_one_side_and_a_shadow_belong_to_the_paper(
    digit: str, shadow: bool, rng: np.random.Generator
) -> None:
    ink = drawn(digit, 20, (640, 480), (220, 90, 160, 260))
    assert far(as_mnist(photographed(ink, rng, shadow=shadow)), as_mnist(black_on_white(ink))) < 8.0


def test_light_ink_on_a_dark_board_in_uneven_light(rng: np.random.Generator) -> None:
    ink = drawn("4", 20, (640, 480), (220, 90, 160, 260))
    board = as_bytes(20.0 + 60.0 * np.indices(ink.shape)[1] / 640 + 150.0 * ink + rng.normal(0.0, 3.0, ink.shape))
    assert far(as_mnist(board), as_mnist(black_on_white(ink))) < 8.0


def test_dust_is_left_out_and_a_broken_stroke_is_not(rng: np.random.Generator) -> None:
    ink = drawn("1")
    expected = as_mnist(black_on_white(ink))
    dusty = ink.copy()
    for y, x in rng.integers(0, 190, (6, 2)):
        dusty[y, x] = 1.0
    dusty[5:9, 5:9] = 1.0
    np.testing.assert_array_equal(as_mnist(black_on_white(dusty)), expected)
    broken = ink.copy()
    broken[140:150] = 0.0
    assert far(as_mnist(black_on_white(broken)), expected) < 12.0


EMPTY = {
    "white": np.full((60, 40), 255, np.uint8),
    "black": np.zeros((60, 40), np.uint8),
    "one pixel": np.zeros((1, 1), np.uint8),
    "a short line": np.zeros((1, 700), np.uint8),
    "pale": as_bytes(200 - 10 * drawn("4")),
    "noise": np.random.default_rng(0).integers(0, 256, (100, 100), np.uint8),
    "transparent": np.zeros((9, 9, 4), np.uint8),
}


@pytest.mark.parametrize("name", EMPTY)
def test_a_picture_without_a_digit_is_said_to_be_one(name: str) -> None:
    with pytest.raises(
        NoDigitError, match=r"^as_mnist: got a picture on which nothing stands out .* stronger pen$"
    ) as told:
        as_mnist(EMPTY[name])
    assert ("grain" in str(told.value)) == (name == "noise")


@each_digit
@pytest.mark.parametrize(
    ("ink", "sheet"), [((40, 160, 40), (200, 60, 60)), ((60, 60, 220), (70, 100, 40)), ((255, 0, 0), (75, 75, 80))]
)
def test_a_pen_of_another_colour_and_as_bright_as_its_paper(digit: str, ink: Any, sheet: Any) -> None:
    strokes = drawn(digit)
    picture = as_bytes(strokes[..., None] * ink + (1.0 - strokes[..., None]) * sheet)
    assert far(as_mnist(picture), as_mnist(black_on_white(strokes))) < 2.0


@pytest.mark.parametrize("digit", "47")  # the others' middle lies between two pixels
def test_a_small_digit_on_a_large_sheet_is_looked_at_in_the_picture_itself(digit: str) -> None:
    sheet = np.zeros((3000, 3000))
    sheet[2100:2160, 300:345] = drawn(digit, 6, (45, 60), (8, 8, 29, 44))
    expected = as_mnist(black_on_white(sheet[2050:2210, 250:395]))
    assert far(as_mnist(black_on_white(sheet)), expected) < 1.0


def test_what_reaches_from_side_to_side_is_marked() -> None:
    ink = drawn("4")
    assert not steps(black_on_white(ink)).reaches
    ruled = ink.copy()
    ruled[200:203] = 1.0
    framed = ink.copy()
    framed[5:8, 5:-5] = framed[-8:-5, 5:-5] = framed[5:-5, 5:8] = framed[5:-5, -8:-5] = 1.0
    columns = ink.copy()
    columns[:, 110:113] = 1.0
    cut_off = ink[70:]
    for sheet in (ruled, framed, columns, cut_off):
        assert steps(black_on_white(sheet)).reaches


@pytest.mark.parametrize("shape", [(1, 3000), (20_000_000, 1), (2, 5000, 3)])
def test_a_line_is_refused_before_any_work(shape: tuple[int, ...]) -> None:
    line = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), shape, (0,) * len(shape))
    for prepare in (as_mnist, lambda picture: as_is(picture, (1, 28, 28))):
        with pytest.raises(DataError, match=r"got a picture of \d+ x \d+ pixels; expected .* 800 times"):
            prepare(line)


@pytest.mark.parametrize("colours", [(), (3,), (4,)])
def test_a_large_picture_takes_little_memory_beside_itself(colours: tuple[int, ...]) -> None:
    import tracemalloc

    picture = np.full((4000, 3000, *colours), 255, np.uint8)
    picture[1000:3000, 1400:1700, ...] = 0
    if colours == (4,):
        picture[..., 3] = 255
    tracemalloc.start()
    check_like_mnist(as_mnist(picture))
    as_is(picture, (3, 32, 32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000


@given(
    hnp.arrays(
        np.uint8,
        st.one_of(
            hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
            st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 4])),
        ),
    )
)
def test_any_picture_gives_an_image_or_none(picture: Any) -> None:
    before = picture.copy()
    try:
        image = as_mnist(picture)
    except NoDigitError:
        return
    assert image.shape == (1, 28, 28)
    assert image.max() > 0
    np.testing.assert_array_equal(picture, before)


# ==== measured ====


def test_an_image_of_mnist_stays_nearly_as_it_is(mnist_dir: Path) -> None:
    images = load_mnist(mnist_dir).x_test[:300, 0]
    distances = [far(as_mnist(image), image) for image in images]
    assert np.quantile(distances, 0.9) < 3.0  # the others are of a very thin pen, and thickened
    assert max(distances) < 25.0


def test_rendered_digits_are_read_as_well_as_the_images_themselves(
    rng: np.random.Generator, request: pytest.FixtureRequest
) -> None:
    """Of random size, inverted or not, off the centre of a larger sheet, as PNG or JPEG. Real digits where there are
    any, else generated ones; the network has seen the latter alone.
    """
    data = digits()
    images, labels = data.x_test[:200], data.y_test[:200]
    try:
        real = load_mnist(request.getfixturevalue("mnist_dir"))
        images, labels = real.x_test[:200], real.y_test[:200]
    except pytest.skip.Exception:
        pass
    seen = np.stack([as_mnist(rendered(image[0], rng)) for image in images])
    plain, after = (accuracy(reader(), pictures, labels) for pictures in (images, seen))
    assert plain > 0.85
    assert after > plain - 0.02


# ==== as it is ====


def test_a_picture_of_the_networks_size_is_left_alone(rng: np.random.Generator) -> None:
    colours = rng.integers(0, 256, (7, 5, 3), np.uint8)
    np.testing.assert_array_equal(as_is(colours, (3, 7, 5)), colours.transpose(2, 0, 1))
    np.testing.assert_array_equal(as_is(colours[..., 0], (1, 7, 5)), colours[None, ..., 0])


def test_a_larger_picture_is_averaged(rng: np.random.Generator) -> None:
    picture = rng.integers(0, 256, (12, 12), np.uint8)
    means = [[picture[3 * i : 3 * i + 3, 3 * j : 3 * j + 3].mean() for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(as_is(picture, (1, 4, 4))[0], means, atol=0.51)


def test_a_picture_that_is_no_square_gets_its_borders_colour_around_it() -> None:
    picture = np.zeros((4, 8, 3), np.uint8) + np.array([10, 20, 30], np.uint8)
    picture[1:3, 2:6] = 200
    image = as_is(picture, (3, 8, 8))
    np.testing.assert_array_equal(image[:, :2], np.broadcast_to([[[10]], [[20]], [[30]]], (3, 2, 8)))
    np.testing.assert_array_equal(image[:, 2:6], picture.transpose(2, 0, 1))


def test_as_is_asks_for_channels_that_pictures_have() -> None:
    with pytest.raises(ValueError, match=r"^as_is: got shape \(2, 8, 8\); expected 1 or 3 channels"):
        as_is(np.zeros((8, 8), np.uint8), (2, 8, 8))


# ==== the parts ====


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_blobs_are_what_a_flood_fills(there: Any) -> None:
    labels, count = blobs(there)
    expected, number = np.full(there.shape, -1), 0
    for start in zip(*np.nonzero(there), strict=True):
        if expected[start] >= 0:
            continue
        todo = [start]
        while todo:
            y, x = todo.pop()
            if 0 <= y < there.shape[0] and 0 <= x < there.shape[1] and there[y, x] and expected[y, x] < 0:
                expected[y, x] = number
                todo += [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        number += 1
    np.testing.assert_array_equal(labels, expected)
    assert count == number


def test_a_long_way_back_and_forth_is_one_blob() -> None:
    there = np.zeros((101, 101), bool)
    there[::2] = True
    there[1::4, -1] = there[3::4, 0] = True
    assert blobs(there)[1] == 1


@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.integers(0, 9)),
       st.integers(1, 9))  # fmt: skip
def test_the_most_around_each_pixel(grey: Any, width: int) -> None:
    reach = width // 2
    for (y, x), most in np.ndenumerate(most_around(grey, width)):
        around = grey[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        assert most == around.max()


def test_filling_takes_strokes_away_and_leaves_broad_areas() -> None:
    grey = np.full((40, 40), 200.0)
    grey[:, 25:] = 100.0
    sheet = grey.copy()
    grey[10:30, 8:12] = 20.0
    grey[10:30, 30:33] = 10.0
    np.testing.assert_array_equal(filled(grey, 9), sheet)


def test_paper_of_one_grey_is_one_number_and_a_slope_is_a_surface() -> None:
    grey = np.full((50, 50), 180.0)
    grey[10:40, 20:30] = 20.0
    assert paper(grey) == 180.0
    slope = 100.0 + 2.0 * np.indices((50, 50))[1]
    inked = slope.copy()
    inked[10:40, 20:25] -= 80.0
    np.testing.assert_allclose(paper(inked), slope, atol=6.0)


@pytest.mark.parametrize("width", [2, 5, 9])
@pytest.mark.parametrize("turned", [False, True])
def test_the_width_of_a_stroke(width: int, turned: bool) -> None:
    ink = drawn("1", width, (300, 300), (0, 0, 300, 300))
    assert stroke_width(ink.T if turned else ink) == pytest.approx(width, rel=0.45)
    assert stroke_width(thickened(ink, 4)) == pytest.approx(width + 4, rel=0.45)


def test_the_steps_can_be_looked_at() -> None:
    grey, ink, digit, (top, bottom, left, right), image, _ = steps(black_on_white(drawn("4")))
    assert grey.shape == ink.shape
    assert 0.0 <= ink.min() < ink.max() == 1.0
    assert digit[top:bottom, left:right].sum() == pytest.approx(digit.sum(), rel=0.01)
    np.testing.assert_array_equal(image, as_mnist(black_on_white(drawn("4"))))
