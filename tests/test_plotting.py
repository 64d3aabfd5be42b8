from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from matplotlib.text import Text

from xlenet.errors import MissingExtraError, OutputError
from xlenet.metrics import confusion_matrix
from xlenet.plotting import (
    digits,
    fonts,
    plot_comparison,
    plot_confusion,
    plot_curves,
    plot_digits,
    plot_features,
    plot_filters,
    plot_mistakes,
)
from xlenet.plotting.figures import SIGNED, fitted, inches_of

DIGITS = tuple("0123456789")
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
HUNDRED = tuple(f"a long class name, {i}" for i in range(100))
LETTERS = tuple(f"letter {i}" for i in range(27))
PNG = b"\x89PNG\r\n\x1a\n"


def epoch(number, train_loss=0.1, train_accuracy=0.97, test_loss=0.05, test_accuracy=0.985):
    return {
        "epoch": number, "lr": 0.1, "train_loss": train_loss, "train_accuracy": train_accuracy,
        "test_loss": test_loss, "test_accuracy": test_accuracy, "seconds": 4.0, "images_per_second": 15000.0,
    }  # fmt: skip


def falling(epochs):
    return [epoch(e, 0.3 / e, 1 - 0.06 / e, 0.04 + 0.1 / e, 0.99 - 0.02 / e) for e in range(1, epochs + 1)]


def random_matrix(classes, seed=0, right=0.97, images=2000):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    guesses = np.where(rng.random(images) < right, labels, rng.integers(0, classes, images))
    return confusion_matrix(labels, guesses, classes)


class Drawn:
    """What was drawn: the last figure, and every text of it with the box that it covers."""

    def __init__(self):
        self.figure, self.texts = None, []

    def words(self):
        return [text for text, _ in self.texts]

    def assert_legible(self):
        """No text leaves the picture, and no two texts touch."""
        page = self.figure.bbox
        assert len(self.texts) > 2
        for text, box in self.texts:
            assert page.x0 <= box.x0 < box.x1 <= page.x1, f"{text!r} leaves the picture sideways"
            assert page.y0 <= box.y0 < box.y1 <= page.y1, f"{text!r} leaves the picture upwards or downwards"
        for (a, box_a), (b, box_b) in itertools.combinations(self.texts, 2):
            assert not box_a.overlaps(box_b), f"{a!r} touches {b!r}"


@pytest.fixture
def drawn(monkeypatch):
    seen, draw = Drawn(), Text.draw

    def record(text, renderer, *args, **kwargs):
        if text.get_text() and text.get_visible():
            if text.get_figure() is not seen.figure:
                seen.figure, seen.texts = text.get_figure(), []
            seen.texts.append((text.get_text(), text.get_window_extent(renderer)))
        return draw(text, renderer, *args, **kwargs)

    monkeypatch.setattr(Text, "draw", record)
    return seen


# ==== curves ====


def with_validation(history, shift=0.002):
    return [
        row | {"validation_loss": row["test_loss"] + shift, "validation_accuracy": row["test_accuracy"] - shift}
        for row in history
    ]


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("epochs", [1, 2, 3, 20, 137])
def test_curves_are_legible(tmp_path, drawn, epochs, validated):
    history = with_validation(falling(epochs)) if validated else falling(epochs)
    written = plot_curves(history, tmp_path / "curves.png", title="LeNet-5 on MNIST")
    assert written.read_bytes().startswith(PNG)
    drawn.assert_legible()


def test_images_held_out_have_a_curve_of_their_own(tmp_path, drawn):
    history = with_validation(falling(7))
    plot_curves(history, tmp_path / "curves.png")
    loss, accuracy = drawn.figure.axes
    assert list(loss.lines[1].get_ydata()) == [row["validation_loss"] for row in history]
    np.testing.assert_allclose(1 - accuracy.lines[1].get_ydata(), [row["validation_accuracy"] for row in history])
    assert "validation  98.51 %" in drawn.words()
    assert len({str(line._dash_pattern) for line in loss.lines}) == 3  # get_linestyle says "--" for all dashes
    with pytest.raises(ValueError, match="got an epoch without validation_accuracy, validation_loss"):
        plot_curves([*history, *falling(1)], tmp_path / "curves.png")


@pytest.mark.parametrize(
    ("first", "last"),
    [(0.1, 0.1), (0.2, 0.3), (0.4, 0.5), (0.6, 0.7), (0.78, 0.81), (0.1, 0.79), (0.0, 0.0), (0.0, 1.0), (0.8, 0.8),
     (0.9, 0.95), (1.0, 1.0), (0.1, 0.99)],
)  # fmt: skip
def test_accuracies_of_any_height_have_ticks_and_none_is_below_zero(tmp_path, drawn, first, last):
    history = [epoch(k, train_accuracy=value, test_accuracy=value) for k, value in enumerate((first, last), start=1)]
    plot_curves(history, tmp_path / "curves.png")
    axes = drawn.figure.axes[1]
    bottom, top = axes.get_ylim()
    assert 1.0 >= bottom > top >= 0.0
    assert bottom >= 1 - first
    assert top <= 1 - last
    ticks = axes.get_yticks()
    assert all(top <= tick <= bottom for tick in ticks)
    assert 3 <= len(ticks) <= 10
    assert axes.get_yscale() == ("linear" if last < 0.8 or first in (0.78, 0.8, 0.9) else "symlog")
    drawn.assert_legible()


@pytest.mark.parametrize("shift", [0.0, 1e-9, -0.5, 0.3])
def test_three_labels_in_one_place_are_pushed_apart(tmp_path, drawn, shift):
    same = [epoch(1, 0.05, 0.985, 0.05, 0.985), epoch(2, 0.05, 0.985, 0.05, 0.985)]
    plot_curves(with_validation(same, shift), tmp_path / "curves.png")
    drawn.assert_legible()


def test_curves_say_what_they_show(tmp_path, drawn):
    plot_curves(falling(20), tmp_path / "curves.png", title="LeNet-5 on MNIST")
    assert {
        "LeNet-5 on MNIST: 98.90 % test accuracy after epoch 20",
        "Loss (cross-entropy, nats)", "Accuracy (%)", "Epoch",
        "train  0.015", "test  0.045", "train  99.70 %", "test  98.90 %",
    } <= set(drawn.words())  # fmt: skip
    assert {"1", "5", "10", "15", "20"} <= set(drawn.words())


def test_curves_have_the_values_of_the_history(tmp_path, drawn):
    history = falling(7)
    plot_curves(history, tmp_path / "curves.png")
    loss, accuracy = drawn.figure.axes
    train, test = loss.lines
    assert list(train.get_xdata()) == [1, 2, 3, 4, 5, 6, 7]
    assert list(train.get_ydata()) == [row["train_loss"] for row in history]
    assert list(test.get_ydata()) == [row["test_loss"] for row in history]
    for line, key in zip(accuracy.lines, ("train_accuracy", "test_accuracy"), strict=True):
        np.testing.assert_allclose(1 - line.get_ydata(), [row[key] for row in history])
    assert loss.get_yscale() == "log"
    bottom, top = accuracy.get_ylim()
    assert bottom > top, "better is higher"


def test_a_loss_that_hardly_moves_gets_a_linear_axis_from_zero(tmp_path, drawn):
    plot_curves([epoch(e, train_loss=1.0 + 0.1 * e) | {"test_loss": 1.5} for e in (1, 2, 3)], tmp_path / "curves.png")
    loss = drawn.figure.axes[0]
    assert loss.get_yscale() == "linear"
    assert loss.get_ylim()[0] == 0.0


def test_train_and_test_can_be_told_apart_without_colour(tmp_path, drawn):
    plot_curves(falling(4), tmp_path / "curves.png")
    for axes in drawn.figure.axes:
        styles = {line.get_linestyle() for line in axes.lines}
        assert len(styles) == 2


@pytest.mark.parametrize("best", [1.0, 0.99995])
def test_perfect_accuracy_has_a_place_on_the_axis(tmp_path, drawn, best):
    plot_curves([epoch(1), epoch(2, train_accuracy=best, test_accuracy=0.99)], tmp_path / "curves.png")
    assert "100" in drawn.words()
    drawn.assert_legible()


losses = st.floats(min_value=0, allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1e-5, 0.02, 2.3])
accuracies = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.985, 0.9999, 1.0])
epochs_of_any_size = st.lists(st.tuples(losses, accuracies, losses, accuracies), min_size=1, max_size=4)


@given(epochs_of_any_size)
@settings(
    max_examples=12,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_finite_history_is_drawn_legibly(tmp_path, drawn, rows):  # no shrinking: each example draws a picture
    history = [epoch(number, *row) for number, row in enumerate(rows, start=1)]
    plot_curves(history, tmp_path / "curves.png")
    drawn.assert_legible()


@pytest.mark.parametrize("loss", [sys.float_info.max, sys.float_info.min, 5e-324, -1.0])
def test_a_loss_at_the_end_of_what_a_float_can_hold(tmp_path, drawn, loss):
    plot_curves([epoch(1), epoch(2, train_loss=loss), epoch(3, test_loss=loss)], tmp_path / "curves.png")
    drawn.assert_legible()


def test_values_that_are_not_finite_are_gaps(tmp_path, drawn):
    inf, nan = float("inf"), float("nan")
    plot_curves([epoch(1), epoch(2, inf, nan, nan, 0.9), epoch(3, nan, 0.1, inf, nan)], tmp_path / "curves.png")
    train = drawn.figure.axes[0].lines[0]
    assert np.isnan(train.get_ydata()).tolist() == [False, True, True]
    drawn.assert_legible()
    plot_curves([epoch(1, 0.1, 0.9, nan, nan)], tmp_path / "curves.png", title="Without a test set")
    drawn.assert_legible()
    assert "Without a test set, epoch 1" in drawn.words()
    plot_curves([epoch(1, nan, nan, nan, nan)], tmp_path / "curves.png")
    drawn.assert_legible()


@pytest.mark.parametrize(
    ("history", "words"),
    [([], "got no epoch"), ([epoch(1), {"epoch": 2, "train_loss": 0.1}], "without test_accuracy, test_loss")],
)
def test_a_history_that_cannot_be_drawn(tmp_path, history, words):
    with pytest.raises(ValueError, match=f"^plot_curves: .*{words}.*; expected .*; "):
        plot_curves(history, tmp_path / "curves.png")


# ==== confusion ====


@pytest.mark.parametrize(
    ("names", "right"),
    [(DIGITS, 0.99), (FASHION, 0.9), (("no", "yes"), 0.9), (("only",), 1.0), (DIGITS, 1.0), (LETTERS, 0.8)],
    ids=["digits", "fashion", "two", "one", "no-mistake", "twenty-seven"],
)
def test_confusion_is_legible(tmp_path, drawn, names, right):
    matrix = random_matrix(len(names), right=right)
    written = plot_confusion(matrix, names, tmp_path / "confusion.png", title="LeNet-5 on MNIST, test set")
    assert written.read_bytes().startswith(PNG)
    drawn.assert_legible()
    assert {*names, "True", "Predicted"} <= set(drawn.words())


@pytest.mark.parametrize("classes", [60, 300])
def test_many_classes_stay_a_page(tmp_path, drawn, classes):
    names = [f"class {i}" for i in range(classes)]
    plot_confusion(random_matrix(classes), names, tmp_path / "confusion.png")
    drawn.assert_legible()
    assert max(drawn.figure.get_size_inches()) < 30


def test_confusion_counts_are_in_their_cells(tmp_path, drawn):
    matrix = np.array([[970, 30, 0], [0, 2000, 0], [1, 0, 499]])
    plot_confusion(matrix, ["a", "b", "c"], tmp_path / "confusion.png", title="Three")
    axes = drawn.figure.axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts if text.get_text().isdecimal()}
    assert cells == {(column, row): str(matrix[row, column]) for row in range(3) for column in range(3)}
    assert "Three\n99.11 % right, 31 of 3,500 wrong" in drawn.words()
    assert {"97.0 %", "100.0 %", "99.80 %"} <= set(drawn.words())


def test_nearly_all_is_not_all(tmp_path, drawn):
    plot_confusion(np.array([[99_999, 20], [0, 10**7]]), ["a", "b"], tmp_path / "confusion.png")
    words = drawn.words()
    assert {"99.98 %", "100.0 %"} <= set(words)
    assert any("> 99.99 % right, 20 of 10,100,019 wrong" in word for word in words)
    drawn.assert_legible()


def test_confusion_colours_the_share_of_the_true_class(tmp_path, drawn):
    plot_confusion(np.array([[90, 10, 0], [10, 990, 0], [0, 0, 0]]), ["a", "b", "c"], tmp_path / "confusion.png")
    mistakes = drawn.figure.axes[0].images[0]
    np.testing.assert_allclose(mistakes.get_array().filled(0), [[0, 10, 0], [1, 0, 0], [0, 0, 0]])
    assert mistakes.get_clim() == (0, 10), "right answers must not stretch the scale"
    assert "no images" in drawn.words()


@pytest.mark.parametrize(
    ("matrix", "names"),
    [
        (np.zeros((2, 3), int), "ab"), (np.zeros(4, int), "ab"), (np.zeros((0, 0), int), ""),
        (np.ones((2, 2)), "ab"), (np.array([[1, -1], [0, 1]]), "ab"), (np.eye(2, dtype=int), "abc"),
    ],
)  # fmt: skip
def test_a_confusion_matrix_that_cannot_be_drawn(tmp_path, matrix, names):
    with pytest.raises(ValueError, match=r"^plot_confusion: got .*; expected .*; "):
        plot_confusion(matrix, list(names), tmp_path / "confusion.png")


# ==== digits ====


@pytest.mark.parametrize(("number", "titled"), [(1, True), (9, True), (10, False), (23, True)])
def test_digits_are_legible(tmp_path, drawn, rng, number, titled):
    images = rng.integers(0, 256, (number, 1, 28, 28), dtype=np.uint8)
    titles = [FASHION[i % 10] + "\ntaken for Ankle boot" * (i % 2) if titled else "" for i in range(number)]
    written = plot_digits(images, titles, tmp_path / "digits.png")
    assert written.read_bytes().startswith(PNG)
    assert drawn.words() == [title for title in titles if title]
    if number > 2 and titled:
        drawn.assert_legible()


def test_digits_show_the_pixels_they_were_given(tmp_path, monkeypatch, rng):
    figures = []
    monkeypatch.setattr(digits, "save_figure", lambda figure, path: figures.append(figure))
    images = rng.normal(size=(3, 5, 7)).astype(np.float32)
    plot_digits(images, ["a", "b", "c"], tmp_path / "digits.png")
    pictures = [axes.images[0] for axes in figures[0].axes]
    for picture, image in zip(pictures, images, strict=True):
        np.testing.assert_array_equal(picture.get_array(), image)
        assert picture.get_clim() == (float(images.min()), float(images.max())), "one scale for all"


def test_colours_are_drawn_as_they_are(tmp_path, monkeypatch, rng):
    figures = []
    monkeypatch.setattr(digits, "save_figure", lambda figure, path: figures.append(figure))
    images = rng.integers(0, 256, (2, 3, 5, 7), dtype=np.uint8)
    plot_digits(images, ["a", ""], tmp_path / "digits.png")
    for axes, image in zip(figures[0].axes, images, strict=True):
        np.testing.assert_allclose(axes.images[0].get_array(), image.transpose(1, 2, 0) / 255)


@pytest.mark.parametrize(
    ("shape", "titles"), [((0, 28, 28), []), ((28, 28), ["a"]), ((2, 2, 28, 28), ["a", "b"]), ((2, 28, 28), ["a"])]
)
def test_images_that_cannot_be_drawn(tmp_path, shape, titles):
    with pytest.raises(ValueError, match=r"^plot_digits: got images .*; expected .*; "):
        plot_digits(np.zeros(shape, np.uint8), titles, tmp_path / "digits.png")


# ==== all three ====

DRAWINGS = {
    "curves": lambda path: plot_curves(falling(5), path),
    "confusion": lambda path: plot_confusion(random_matrix(10), DIGITS, path),
    "digits": lambda path: plot_digits(np.zeros((3, 28, 28), np.uint8), DIGITS[:3], path),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_equal_input_gives_equal_bytes_from_any_thread(tmp_path, name):
    with ThreadPoolExecutor(3) as pool:
        written = list(pool.map(DRAWINGS[name], [tmp_path / f"{i}.png" for i in range(3)]))
    first, *others = [path.read_bytes() for path in written]
    assert all(other == first for other in others)
    assert b"tEXt" not in first, "no date and no version may come with the picture"


@pytest.mark.parametrize("name", DRAWINGS)
def test_where_matplotlib_is_missing_the_message_says_what_to_install(tmp_path, monkeypatch, name):
    for module in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r'pip install "xlenet\[train\]"'):
        DRAWINGS[name](tmp_path / "picture.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_folder_that_is_not_there_is_an_output_error(tmp_path, name):
    with pytest.raises(OutputError, match=r"absent.*picture\.png"):
        DRAWINGS[name](tmp_path / "absent" / "picture.png")


def test_neither_the_import_nor_a_picture_touches_global_state(tmp_path):
    program = """
import json, sys
import xlenet.plotting
before = "matplotlib" in sys.modules
import matplotlib
settings = lambda: {key: value for key, value in matplotlib.rcParams.copy().items() if key != "backend"}
before_settings = settings()
import numpy as np
xlenet.plotting.plot_confusion(np.eye(3, dtype=int), list("abc"), sys.argv[1])
pyplot = "matplotlib.pyplot" in sys.modules  # asked first: reading the setting "backend" loads it
print(json.dumps([before, pyplot, settings() == before_settings]))
"""
    command = [sys.executable, "-c", program, str(tmp_path / "confusion.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [False, False, True]


# ==== several runs ====


@pytest.mark.parametrize("runs", [2, 3, 6])
@pytest.mark.parametrize("note", ["", "lr 0.05", "a setting of many words, " * 60])
def test_comparison_is_legible(tmp_path, drawn, runs, note):
    histories = {f"run {k}": falling(5 + 8 * k) for k in range(runs)}
    notes = dict.fromkeys(histories, note)
    written = plot_comparison(histories, tmp_path / "compared.png", "LeNet-5 on MNIST", notes=notes)
    assert written.read_bytes().startswith(PNG)
    drawn.assert_legible()
    assert sum(word.startswith("run ") for word in drawn.words()) == runs


def test_runs_are_laid_over_each_other_and_can_be_told_apart(tmp_path, drawn):
    histories = {"a": falling(4), "b": falling(9), "c": falling(2)}
    plot_comparison(histories, tmp_path / "compared.png")
    loss, accuracy = drawn.figure.axes[:2]
    for (name, history), train, test, right in zip(
        histories.items(), loss.lines[::2], loss.lines[1::2], accuracy.lines[1::2], strict=True
    ):
        assert list(test.get_xdata()) == [row["epoch"] for row in history]
        assert list(train.get_ydata()) == [row["train_loss"] for row in history], name
        assert list(test.get_ydata()) == [row["test_loss"] for row in history], name
        np.testing.assert_allclose(1 - right.get_ydata(), [row["test_accuracy"] for row in history])
        assert train.get_linestyle() != test.get_linestyle()
    for what in ("get_color", "get_marker"):
        assert len({getattr(line, what)() for line in loss.lines}) == 3
    assert loss.get_xlim() == (1, 9)
    assert "b: 98.78 % test accuracy, test loss 0.0511, training loss 0.0333 after epoch 9" in drawn.words()


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_or_too_many_runs(tmp_path, count):
    with pytest.raises(ValueError, match=rf"^plot_comparison: got {count} histories; expected 2 to 6; "):
        plot_comparison({str(k): falling(2) for k in range(count)}, tmp_path / "compared.png")


# ==== filters ====


def pictures_of(drawn):
    return [image.get_array() for image in drawn.figure.axes[0].images]


@pytest.mark.parametrize(
    "shape", [(1, 1, 5, 5), (6, 1, 5, 5), (6, 3, 5, 5), (40, 2, 3, 7), (3, 20, 3, 3), (2, 1, 7, 1)]
)
def test_filters_are_legible(tmp_path, drawn, rng, shape):
    plot_filters(rng.standard_normal(shape).astype(np.float32), tmp_path / "filters.png", "conv1")
    drawn.assert_legible()
    count, channels = min(shape[0], 32), min(shape[1], 16)
    assert len(pictures_of(drawn)) == count * (channels + (channels == 3)) + 1  # the scale
    if shape[0] > 32:
        assert any("the first 32 of 40 filters" in word for word in drawn.words())


def test_one_filter_is_no_filters(tmp_path, drawn):
    plot_filters(np.ones((1, 1, 1, 1)), tmp_path / "filters.png")
    assert any(word.startswith("1 filter of 1 x 1, 1 channel;") for word in drawn.words())


def test_filters_have_one_scale_around_zero(tmp_path, drawn, rng):
    weight = rng.standard_normal((4, 1, 3, 3))
    weight[2, 0, 1, 1] = -7.0
    plot_filters(weight, tmp_path / "filters.png")
    *tiles, scale = drawn.figure.axes[0].images
    for tile, one in zip(tiles, weight, strict=True):
        np.testing.assert_array_equal(tile.get_array(), one[0])
        assert tile.get_clim() == (-7.0, 7.0)
        assert tile.get_cmap().name == SIGNED
    assert {"7", "0", "-7"} <= set(drawn.words())
    assert scale.get_array()[0] > 0 > scale.get_array()[-1], "the largest is on top"


def test_filters_of_three_channels_are_colours_too(tmp_path, drawn):
    weight = np.zeros((1, 3, 1, 1))
    weight[0, 0] = 2.0
    plot_filters(weight, tmp_path / "filters.png")
    np.testing.assert_allclose(pictures_of(drawn)[0], [[[1.0, 0.5, 0.5]]])
    assert {"in colour", "red", "green", "blue"} <= set(drawn.words())


# ==== layer by layer ====


def results(channels=6, classes=10, rng=None):
    rng = rng or np.random.default_rng(0)
    return {
        "body.convolution": rng.standard_normal((channels, 9, 9)), "pool": rng.standard_normal((channels, 3, 12)),
        "wide": rng.standard_normal((40, 2, 2)), "conv3": rng.standard_normal((120, 1, 1)),
        "fc": rng.standard_normal(classes), "relu": np.zeros(classes),
    }  # fmt: skip


@pytest.mark.parametrize("names", [DIGITS, ("no", "yes"), FASHION, HUNDRED], ids=len)
@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_legible(tmp_path, drawn, rng, names, channels):
    shares = rng.dirichlet(np.full(len(names), 0.3)).astype(np.float32)
    image = rng.integers(0, 256, (channels, 28, 28), dtype=np.uint8)
    layers = results(classes=len(names))
    plot_features(image, layers, shares, names, tmp_path / "features.png", "LeNet-5: image 3", label=1)
    drawn.assert_legible()
    words = drawn.words()
    assert {*layers, "image", "40 x 2 x 2", "120 x 1 x 1", "16 of 40"} <= set(words)
    assert f"predicted: {names[shares.argmax()]}" in " ".join(words)
    best = [names[k] for k in np.argsort(-shares, kind="stable")[:10]]
    assert [word for word in words if word in names][: len(best)] == best, "the most probable first"


def test_each_layer_has_its_maps_on_a_scale_of_its_own(tmp_path, drawn, rng):
    layers = results()
    image = rng.integers(0, 256, (1, 8, 8), dtype=np.uint8)
    plot_features(image, layers, np.full(10, 0.1), DIGITS, tmp_path / "features.png")
    first, *pictures = drawn.figure.axes[0].images
    np.testing.assert_allclose(first.get_array(), image[0] / 255)
    for values in layers.values():
        flat = values.ndim == 1 or values.shape[1:] == (1, 1)
        wanted = [values.reshape(1, -1)] if flat else list(values[:16])
        limit = np.abs(values).max() or 1.0
        for one in wanted:
            picture = pictures.pop(0)
            np.testing.assert_array_equal(picture.get_array(), one)
            assert picture.get_clim() == (-limit, limit)
    assert not pictures


@pytest.mark.parametrize(
    ("share", "words"), [(1.0, "100.0 %"), (0.99999, "> 99.99 %"), (0.5, "50.0 %"), (1e-9, "< 0.01 %"), (0.0, "0.0 %")]
)
def test_a_probability_is_never_rounded_to_certainty(tmp_path, drawn, share, words):
    plot_features(np.ones((1, 2, 2)), {}, np.array([share, 1 - share]), ("a", "b"), tmp_path / "f.png")
    assert words in drawn.words()


# ==== mistakes ====


def answered(images, wrong, classes, rng):
    labels = np.arange(images) % classes
    shares = np.full((images, classes), 0.1 / classes)
    said = labels.copy()
    said[:wrong] = (said[:wrong] + 1) % classes
    shares[np.arange(images), said] = np.linspace(0.5, 0.9, images)
    return labels, shares


@pytest.mark.parametrize("names", [DIGITS, ("no", "yes"), FASHION, HUNDRED], ids=len)
@pytest.mark.parametrize(("wrong", "channels"), [(0, 1), (1, 3), (7, 1), (50, 3)])
def test_mistakes_are_legible(tmp_path, drawn, rng, names, wrong, channels):
    labels, shares = answered(120, wrong, len(names), rng)
    images = rng.integers(0, 256, (120, channels, 12, 9), dtype=np.uint8)
    plot_mistakes(images, labels, shares, names, tmp_path / "mistakes.png", "A network")
    drawn.assert_legible()
    assert len(pictures_of(drawn)) == min(wrong or 30, 30)


def test_the_surest_mistakes_come_first(tmp_path, drawn, rng):
    images = rng.integers(0, 256, (4, 1, 3, 3), dtype=np.uint8)
    shares = np.array([[0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    plot_mistakes(images, np.array([1, 1, 0, 0]), shares, ("no", "yes"), tmp_path / "mistakes.png", most=2)
    for picture, k in zip(pictures_of(drawn), (2, 3), strict=True):
        np.testing.assert_allclose(picture, images[k, 0] / 255)
    assert drawn.words()[2:] == ["said yes (80.0 %)", "true no (20.0 %)", "said yes (70.0 %)", "true no (30.0 %)"]
    assert "3 mistakes among 4 images; the 2 surest" in drawn.words()


def test_where_nothing_is_wrong_the_least_sure_answers_are_shown(tmp_path, drawn, rng):
    images = rng.integers(0, 256, (3, 1, 3, 3), dtype=np.uint8)
    shares = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    plot_mistakes(images, np.array([0, 1, 1]), shares, ("no", "yes"), tmp_path / "mistakes.png")
    assert drawn.words()[1:] == [
        "no mistake among 3 images; the right answers that were least sure",
        "true yes (60.0 %)", "true yes (80.0 %)", "true no (90.0 %)",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["$\\frac$", "a$b$c", "two\nlines", "x" * 300])
def test_any_class_name_can_be_drawn(tmp_path, drawn, rng, name):
    """A $ is no mathematics, and a line break no second line."""
    names, images = (name, "other"), rng.integers(0, 256, (2, 1, 3, 3), dtype=np.uint8)
    shares = np.array([[0.9, 0.1], [0.6, 0.4]])
    plot_mistakes(images, np.array([0, 1]), shares, names, tmp_path / "mistakes.png", name)
    drawn.assert_legible()
    plot_features(images[0], results(classes=2), shares[0], names, tmp_path / "features.png", name, label=0)
    drawn.assert_legible()
    plot_confusion(np.eye(2, dtype=int), names, tmp_path / "confusion.png", name)
    drawn.assert_legible()
    plot_curves(falling(3), tmp_path / "curves.png", name)
    drawn.assert_legible()
    plot_comparison({name: falling(2), "b": falling(3)}, tmp_path / "compared.png", name, notes={name: name})
    drawn.assert_legible()


# ==== confusion_matrix ====


def test_confusion_matrix_counts_row_true_column_predicted():
    matrix = confusion_matrix(np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 2, 0]), classes=4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]
    assert matrix.dtype == np.int64


def test_confusion_matrix_takes_small_integers_and_no_images():
    labels = np.arange(200, dtype=np.uint8)
    assert (confusion_matrix(labels, labels, classes=200) == np.eye(200)).all(), "uint8 must not wrap"
    assert confusion_matrix(labels[:0], labels[:0], classes=2).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [([0, 1], [0]), ([[0]], [[0]]), ([0.0], [0]), ([0], [0.5]), ([0, 3], [0, 0]), ([0, 0], [0, -1])],
)
def test_confusion_matrix_refuses_what_is_no_class(labels, predictions):
    with pytest.raises(ValueError, match=r"^confusion_matrix: got .*; expected .*; "):
        confusion_matrix(np.array(labels), np.array(predictions), classes=3)


# ==== letters that Matplotlib's own font has not ====

ZOO = ("猫", "小型犬" * 20, "كلب", "🐈", "कुत्ता")


def draw_all(folder, rng, names, title):
    images, shares = rng.integers(0, 256, (2, 1, 3, 3), dtype=np.uint8), np.full((2, len(names)), 1 / len(names))
    yield plot_mistakes(images, np.array([0, 1]), shares, names, folder / "mistakes.png", title)
    yield plot_features(
        images[0], results(classes=len(names)), shares[0], names, folder / "features.png", title, label=0
    )
    yield plot_confusion(np.eye(len(names), dtype=int), names, folder / "confusion.png", title)
    yield plot_curves(falling(3), folder / "curves.png", title)
    yield plot_comparison({title: falling(2), "b": falling(3)}, folder / "c.png", title, notes={title: title * 9})


def test_letters_that_no_font_has_are_boxes_and_nothing_is_said(tmp_path, drawn, rng, caplog, monkeypatch):
    """A warning would be an error here."""
    monkeypatch.setattr(fonts, "FAMILIES", ("no such family",))
    for written in draw_all(tmp_path, rng, ZOO, "猫"):
        assert written.read_bytes().startswith(PNG)
        drawn.assert_legible()
    plot_digits(rng.integers(0, 256, (5, 9, 9), dtype=np.uint8), [name[:9] for name in ZOO], tmp_path / "digits.png")
    assert not caplog.records


@pytest.fixture
def wide_font(tmp_path, monkeypatch):
    """A font of one letter, a full black square as wide as high, that this machine has for the time of a test."""
    from matplotlib.font_manager import fontManager

    builder = pytest.importorskip("fontTools.fontBuilder").FontBuilder(1000, isTTF=True)
    pen = pytest.importorskip("fontTools.pens.ttGlyphPen").TTGlyphPen(None)
    for move, point in (
        (pen.moveTo, (0, 0)),
        (pen.lineTo, (0, 900)),
        (pen.lineTo, (1000, 900)),
        (pen.lineTo, (1000, 0)),
    ):
        move(point)
    pen.closePath()
    square = pen.glyph()
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({ord("猫"): "cat"})
    builder.setupGlyf({".notdef": square, "cat": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "cat": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Squares of a test", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900, usWinAscent=900, usWinDescent=100)
    builder.setupPost()
    builder.save(tmp_path / "squares.ttf")
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    fontManager.addfont(tmp_path / "squares.ttf")
    monkeypatch.setattr(fonts, "FAMILIES", ("no such family", "Squares of a test"))
    return "Squares of a test"


def test_a_font_that_has_the_letters_draws_them(tmp_path, drawn, rng, wide_font, caplog):
    families = set()
    names, title = ("猫" * 3, "cat"), "猫 and cat"
    for written in draw_all(tmp_path, rng, names, title):
        drawn.assert_legible()
        with_it = written.read_bytes()
        found = [text for text in drawn.figure.findobj(Text) if "猫" in text.get_text()]
        families |= {tuple(text.get_fontfamily()) for text in found}
        assert found
        fonts.FAMILIES, kept = (), fonts.FAMILIES
        again = {path.name: path.read_bytes() for path in draw_all(tmp_path, rng, names, title)}
        fonts.FAMILIES = kept
        assert len(again[written.name]) != len(with_it), "boxes"
    assert families == {("sans-serif", wide_font)}
    assert not caplog.records


def test_texts_of_usual_letters_are_left_alone(tmp_path, drawn, wide_font):
    plot_confusion(np.eye(2, dtype=int), ("cat", "dog"), tmp_path / "confusion.png")
    assert {tuple(text.get_fontfamily()) for text in drawn.figure.findobj(Text)} == {("sans-serif",)}


def test_wide_letters_are_as_wide_as_they_are(rng):
    assert 1.0 <= inches_of("猫", 72.0) <= 1.2
    assert fitted("猫" * 10, inches_of("猫" * 10, 9.0), 9.0) == "猫" * 10
    for words in ("猫" * 30, "a" * 30 + "猫" * 30, "a猫" * 15):
        short = fitted(words, 2.0, 9.0)
        assert 1.6 < inches_of(short, 9.0) <= 2.0
        head, tail = short.split("…")
        assert words.startswith(head)
        assert words.endswith(tail)


def test_a_dollar_above_a_digit_is_a_dollar(tmp_path, drawn):
    plot_digits(np.zeros((2, 5, 5), np.uint8), ["$x$", r"$\frac{"], tmp_path / "digits.png")
    assert drawn.words() == ["$x$", r"$\frac{"]
    assert not any(text.get_parse_math() for text in drawn.figure.findobj(Text) if "$" in text.get_text())


def test_runs_without_test_images_and_of_one_epoch_are_compared(tmp_path, drawn):
    untested = [row | {"test_loss": math.nan, "test_accuracy": math.nan} for row in falling(4)]
    plot_comparison({"untested": untested, "short": falling(1)}, tmp_path / "compared.png")
    words = drawn.words()
    assert any(word.startswith("untested: no test images, training loss ") for word in words)
    assert not any("nan" in word for word in words)
    loss = drawn.figure.axes[0]
    *_, train, test = loss.lines
    assert {line.get_fillstyle() for line in (train, test)} == {"none"}
    assert test.get_markersize() > loss.lines[1].get_markersize()
    assert test.get_zorder() > loss.lines[1].get_zorder()


@pytest.mark.parametrize("shape", [(1, 8, 32), (1, 32, 8), (1, 9, 9)])
def test_the_middle_of_an_image_is_beside_its_name(tmp_path, drawn, shape):
    plot_features(np.ones(shape), {"fc": np.ones(2)}, np.array([0.5, 0.5]), ["a", "b"], tmp_path / "features.png")
    *_, bottom, top = drawn.figure.axes[0].images[0].get_extent()
    (name,) = [text for text in drawn.figure.axes[0].texts if text.get_text() == "image"]
    assert (bottom + top) / 2 == pytest.approx(name.get_position()[1])
