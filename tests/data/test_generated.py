"""Generated digits: the same for the same seed, laid out like MNIST's, and one class can be told from another."""

import numpy as np
import pytest

from xlenet.data.curves import all_ways
from xlenet.data.generated import BOX, CENTRE, CHUNK, generated_digits
from xlenet.data.strokes import PATHS

N_TRAIN, N_TEST = 2 * CHUNK + 500, CHUNK + 250


@pytest.fixture(scope="module")
def digits():
    return generated_digits(N_TRAIN, N_TEST, seed=3)


@pytest.fixture(scope="module")
def ink(digits):
    """The training images as floats from 0 to 1, (N, 28, 28)."""
    return digits.x_train[:, 0] / 255.0


def nearest_mean_accuracy(digits, labels):
    """Accuracy on the test part of the simplest classifier there is: the nearest of the class means under `labels`."""
    train, test = (x.reshape(len(x), -1) / 255.0 for x in (digits.x_train, digits.x_test))
    means = np.stack([train[labels == c].mean(axis=0) for c in range(10)])
    nearest = (test @ means.T - (means**2).sum(axis=1) / 2).argmax(axis=1)
    return (nearest == digits.y_test).mean()


# ==== the data set ====


def test_shapes_types_and_names(digits):
    assert digits.name == "generated"
    assert digits.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    for x, y, n in ((digits.x_train, digits.y_train, N_TRAIN), (digits.x_test, digits.y_test, N_TEST)):
        assert (x.shape, x.dtype, x.flags.c_contiguous) == ((n, 1, 28, 28), np.uint8, True)
        assert (y.shape, y.dtype) == ((n,), np.int64)


def test_every_class_is_present_about_equally_often(digits):
    for y in (digits.y_train, digits.y_test):
        counts = np.bincount(y, minlength=10)
        assert len(counts) == 10
        assert counts.min() > 0.06 * len(y)
        assert counts.max() < 0.14 * len(y)


def test_classes_differ_and_labels_belong_to_their_images(digits):
    accuracy = nearest_mean_accuracy(digits, digits.y_train)
    shuffled = nearest_mean_accuracy(digits, np.roll(digits.y_train, 1))
    assert accuracy > 0.6
    assert shuffled < 0.25


def test_no_two_images_are_equal(digits):
    both = np.concatenate([digits.x_train, digits.x_test]).reshape(N_TRAIN + N_TEST, -1)
    assert len(np.unique(both, axis=0)) == len(both)


# ==== the seed ====


def test_one_seed_gives_the_same_bytes_again(digits):
    again = generated_digits(N_TRAIN, N_TEST, seed=3)
    for first, second in zip(digits[1:5], again[1:5], strict=True):
        np.testing.assert_array_equal(first, second)


def test_another_seed_gives_other_images_and_labels(digits):
    other = generated_digits(CHUNK, 1, seed=4)
    assert (other.x_train != digits.x_train[:CHUNK]).any(axis=(1, 2, 3)).all()
    assert (other.y_train != digits.y_train[:CHUNK]).any()


def test_the_test_part_is_not_a_copy_of_the_training_part(digits):
    assert (digits.x_test[:CHUNK] != digits.x_train[:CHUNK]).any(axis=(1, 2, 3)).all()
    assert (digits.y_test[:CHUNK] != digits.y_train[:CHUNK]).any()


@pytest.mark.parametrize("n", [1, CHUNK - 1, CHUNK, CHUNK + 1])
def test_fewer_images_are_the_first_ones_of_more(digits, n):
    few = generated_digits(n, n, seed=3)
    for part, whole in zip(few[1:5], digits[1:5], strict=True):
        np.testing.assert_array_equal(part, whole[:n])


# ==== the images ====


def test_strokes_are_black_and_white_with_a_grey_edge(digits):
    assert digits.x_train.min() == 0
    assert digits.x_train.max() == 255
    assert (digits.x_train == 0).mean() > 0.7
    assert 0.02 < (digits.x_train > 250).mean() < 0.15
    assert digits.x_train.max(axis=(1, 2, 3)).min() > 128  # none is blank or pale


def test_the_centre_of_mass_is_the_centre_of_the_image(ink):
    mass = ink.sum(axis=(1, 2))
    index = np.arange(28)
    for profile in (ink.sum(axis=1), ink.sum(axis=2)):  # over x, over y
        centre = profile @ index / mass
        assert abs(centre.mean() - CENTRE) < 0.1
        assert np.quantile(np.abs(centre - CENTRE), 0.98) < 1.0  # strokes that cross count once in ink, twice in mass


def test_the_longer_side_fills_the_box(ink):
    inked = ink > 0.5
    sides = np.stack([inked.any(axis=1).sum(axis=1), inked.any(axis=2).sum(axis=1)])
    longer = sides.max(axis=0)
    assert BOX - 1 <= np.median(longer) <= BOX
    assert longer.min() >= BOX - 3
    assert longer.max() <= BOX + 3
    assert sides.min(axis=0).mean() < 0.85 * BOX  # proportions are kept: no digit is stretched into a square


def test_ink_stays_within_the_frame(ink):
    inner = ink[:, 1:-1, 1:-1].sum(axis=(1, 2))
    at_the_rim = ink.sum(axis=(1, 2)) - inner
    assert (at_the_rim > 0.02 * inner).mean() < 0.01


def test_pens_differ_in_width(digits, ink):
    mass = ink[digits.y_train == 0].sum(axis=(1, 2))  # of one class, whose strokes are about equally long
    assert np.quantile(mass, 0.95) > 2.0 * np.quantile(mass, 0.05)


def test_digits_look_like_what_their_labels_say(digits, ink):
    zero, one, six, nine = (ink[digits.y_train == c].mean(axis=0) for c in (0, 1, 6, 9))
    assert zero[13:15, 13:15].mean() < 0.2 < 0.6 < one[13:15, 13:15].mean()  # a ring, a bar
    assert one[14].sum() < 0.5 * one[:, 14].sum()  # and the bar is upright
    rows = np.arange(28)
    third_moments = [m.sum(axis=1) @ (rows - CENTRE) ** 3 for m in (six, nine)]
    assert third_moments[0] < 0 < third_moments[1]  # the tail of a six points up, that of a nine down


def test_writing_leans_to_the_right(digits, ink):
    offset = np.arange(28) - CENTRE
    for c in (1, 7):
        mean = ink[digits.y_train == c].mean(axis=0)
        assert offset @ mean @ offset < 0  # what is higher up is further to the right


# ==== the curves ====


def test_curves_run_through_every_point_of_their_path():
    ways = all_ways(2000)  # so fine that the first and the last piece are at the ends
    paths = [path for digit in range(10) for _, path in PATHS[digit]]
    for place, points, path in zip(ways.place, ways.points, paths, strict=True):
        curve = place @ points
        written = [[float(v) for v in word.rstrip("*").split(",")] for word in path.replace("/", " ").split()]
        for point in written:  # every point lies on the curve
            assert np.linalg.norm(curve - np.array(point), axis=1).min() < 0.5, (path, point)


def test_pieces_have_equal_lengths_and_add_up_to_the_curve():
    ways = all_ways(96)
    lengths = np.linalg.norm(ways.step @ ways.points, axis=2)
    np.testing.assert_allclose(lengths, lengths.mean(axis=1, keepdims=True).repeat(96, axis=1), rtol=1e-3)
    one = [path for _, path in PATHS[1]].index("50,0 50,35 50,68 50,100")
    assert lengths[ways.first[1] + one].sum() == pytest.approx(100.0, abs=0.5)


def test_a_star_makes_a_corner_and_nothing_else_does():
    def sharpest_turn(digit, path):
        number = ways.first[digit] + [text for _, text in PATHS[digit]].index(path)
        direction = ways.step[number] @ ways.points[number]
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        return np.degrees(np.arccos((direction[1:] * direction[:-1]).sum(axis=1).clip(-1, 1)).max())

    ways = all_ways(2000)
    assert sharpest_turn(7, "0,8 42,4 84,4* 58,48 34,100") > 80
    assert sharpest_turn(0, "48,0 15,18 0,55 14,90 45,100 76,82 86,42 72,8 44,1") < 5


# ==== wrong arguments ====


@pytest.mark.parametrize(
    ("arguments", "came", "least"),
    [
        ({"n_train": 0}, "n_train 0", 1),
        ({"n_train": -5}, "n_train -5", 1),
        ({"n_test": 0}, "n_test 0", 1),
        ({"seed": -1}, "seed -1", 0),
    ],
)
def test_a_number_too_small_is_an_error(arguments, came, least):
    with pytest.raises(ValueError, match=f"generated_digits: got {came}; expected at least {least}; pass"):
        generated_digits(**{"n_train": 1, "n_test": 1, "seed": 0} | arguments)


@pytest.mark.parametrize("name", ["n_train", "n_test", "seed"])
def test_a_number_that_is_no_integer_is_an_error(name):
    with pytest.raises(TypeError, match=f"generated_digits: got {name} 1.5; expected a whole number"):
        generated_digits(**{"n_train": 1, "n_test": 1, "seed": 0} | {name: 1.5})
