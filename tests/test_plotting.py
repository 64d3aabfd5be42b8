from __future__ import annotations

import itertools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from xlenet.errors import MissingExtraError, OutputError
from xlenet.metrics import confusion_matrix
from xlenet.plotting import digits, plot_confusion, plot_curves, plot_digits

DIGITS = tuple("0123456789")
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
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
    from matplotlib.text import Text

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
    assert {"97.0 %", "100.0 %", "99.8 %"} <= set(drawn.words())


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


@pytest.mark.parametrize(
    ("shape", "titles"), [((0, 28, 28), []), ((28, 28), ["a"]), ((2, 3, 28, 28), ["a", "b"]), ((2, 28, 28), ["a"])]
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
