"""`--data FILE.npz`: what is taken, by which rule, and what a hostile file can do."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.own import bars
from xlenet.data import load, parts
from xlenet.data.npz import read_npz
from xlenet.errors import DataError, DataNotFoundError

X, Y = bars(30)


def saved(folder: Path, name: str = "mine.npz", **arrays: Any) -> Path:
    path = folder / name
    np.savez_compressed(path, **({"x_train": X, "y_train": Y, "x_test": X[:9], "y_test": Y[:9]} | arrays))
    return path


# ==== pixels ====


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [("uint8", 1), ("int16", 1), ("uint16", 1), ("int64", 1), (">u4", 1), ("float32", 1), ("float64", 1 / 255),
     ("float32", 1 / 255), ("float16", 1), (">f4", 1 / 255)],
)  # fmt: skip
def test_pixels_of_any_type_are_the_same_bytes(tmp_path: Path, dtype: str, scale: float) -> None:
    x = (X * scale).astype(dtype)
    found = load(saved(tmp_path, x_train=x, x_test=x[:9]))
    np.testing.assert_array_equal(found.x_train, X[:, None])
    np.testing.assert_array_equal(found.x_test, X[:9, None])
    assert (found.x_train.dtype, found.y_train.dtype) == (np.uint8, np.int64)
    assert found.name == "mine.npz"
    assert found.class_names == ("0", "1", "2")


def test_truth_values_are_black_and_white(tmp_path: Path) -> None:
    x = X > 100
    np.testing.assert_array_equal(load(saved(tmp_path, x_train=x, x_test=x[:9])).x_train[:, 0], x * 255)


def test_both_parts_are_scaled_alike(tmp_path: Path) -> None:
    """A dark training part does not turn a scale of 0 to 255 into one of 0 to 1."""
    found = load(saved(tmp_path, x_train=(X > 100).astype("float32"), x_test=X[:9].astype("float32")))
    assert found.x_train.max() == 1
    np.testing.assert_array_equal(found.x_test[:, 0], X[:9])


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (X / 127.5 - 1.0, "from -1 to"),
        (X.astype("int16") - 1, "from -1 to"),
        (X * 2.0, "from 0 to 4"),
        (X / 255 * 1.5, "how bright"),
        ((X > 100).astype("int64"), "how bright"),
        (np.where(X.max() == X, np.nan, X), "NaN among them"),
        (np.where(X.max() == X, np.inf, X), "to inf"),
        (np.where(X.max() == X, np.inf, -np.inf), "from -inf to inf"),
        (X.astype("complex64"), "complex64"),
        (X.astype("<U4"), "<U4"),
    ],
)
def test_pixels_that_could_be_anything_are_refused(tmp_path: Path, x: Any, said: str) -> None:
    path = saved(tmp_path, x_train=x, x_test=x[:9])
    with pytest.raises(DataError, match=r"^load: got '.*mine\.npz', .*; expected .*; \w") as caught:
        load(path)
    assert said in str(caught.value)


# ==== shapes ====


@pytest.mark.parametrize("side", [28, 32])
@pytest.mark.parametrize("layout", ["grey", "grey last", "grey first", "colour last", "colour first"])
def test_channels_in_every_place(tmp_path: Path, side: int, layout: str) -> None:
    x, y = bars(30, side, channels=3 if "colour" in layout else 0)
    expected = x.transpose(0, 3, 1, 2) if "colour" in layout else x[:, None]
    given = {"grey": x, "grey last": x[..., None], "grey first": expected, "colour last": x, "colour first": expected}
    found = load(saved(tmp_path, x_train=given[layout], y_train=y, x_test=given[layout][:9], y_test=y[:9]))
    np.testing.assert_array_equal(found.x_train, expected)
    assert found.x_train.flags.c_contiguous


@pytest.mark.parametrize(
    "shape", [(30,), (30, 784), (30, 28, 28, 4), (30, 2, 28, 28), (30, 3, 28, 3), (30, 1, 28, 1), (30, 1, 28, 28, 3),
              (0, 28, 28), (30, 0, 28)]
)  # fmt: skip
def test_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = saved(tmp_path, x_train=np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match=r"with x_train of shape \([\d, ]*\).*; expected images"):
        load(path)


def test_other_sizes_become_what_lenet_takes(tmp_path: Path) -> None:
    """The nearer of 28 and 32; what is missing beside a shorter side is filled with the colour of the border."""
    notes: list[str] = []
    x = np.full((30, 20, 10), 9, np.uint8)
    x[:, 5:15, 2:8] = 250
    x[:, 0, 0], x[:, -1, -1] = 0, 255  # a corner is not the border
    found = load(saved(tmp_path, x_train=x, x_test=x[:9]), note=notes.append)
    assert found.x_train.shape == (30, 1, 28, 28)
    assert notes == ["images of 20 x 10 are scaled to 28 x 28, and padded with the colour of their borders"]
    assert (found.x_train[:, 0, :, :7] == 9).all()
    assert (found.x_train[:, 0, :, 21:] == 9).all()
    assert (found.x_train[:, 0, 10:18, 13:15] == 250).all()
    for side, wanted in [(8, 28), (29, 28), (30, 32), (64, 32)]:
        x = np.zeros((30, side, side), np.uint8)
        assert load(saved(tmp_path, x_train=x, x_test=x[:9])).x_train.shape[2:] == (wanted, wanted)
    assert load(saved(tmp_path), image_size=14).x_test.shape == (9, 1, 14, 14)


def test_scaling_down_takes_means(tmp_path: Path) -> None:
    """Antialiased: a chequered pattern becomes grey, and does not become black, or white, or waves."""
    x = np.broadcast_to((np.indices((128, 128)).sum(axis=0) % 2 * 200).astype(np.uint8), (30, 128, 128))
    found = load(saved(tmp_path, x_train=x, x_test=x[:9])).x_train
    assert abs(found.astype(int) - 100).max() <= 4


# ==== labels ====


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (Y.astype("uint8"), "012"),
        (Y.astype(">i2"), "012"),
        (Y.astype("uint64"), "012"),
        (Y[:, None], "012"),
        (np.eye(3)[Y], "012"),
        (np.eye(3, dtype=bool)[Y], "012"),
        (np.eye(4, dtype="uint8")[Y], "0123"),
        (Y + 1, "123"),
        (Y * 7 - 7, ("-7", "0", "7")),
        (np.array(["ant", "bee", "cat"])[Y], ("ant", "bee", "cat")),
        (np.array([b"ant", "bée".encode(), b"cat"])[Y], ("ant", "bée", "cat")),
        (np.array(["9", "10", "11"])[Y], ("9", "10", "11")),
        (np.array([["ant"], ["bee"], ["cat"]])[Y], ("ant", "bee", "cat")),
    ],
)
def test_labels_of_any_kind(tmp_path: Path, labels: Any, names: Any) -> None:
    found = load(saved(tmp_path, y_train=labels, y_test=labels[:9]))
    np.testing.assert_array_equal(found.y_train, Y)
    np.testing.assert_array_equal(found.y_test, Y[:9])
    assert found.class_names == tuple(names)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (Y + 0.5, "float64"),
        (Y.astype(float), "float64"),
        (Y[:29], "shape (29,)"),
        (np.zeros((30, 2)), "not one-hot"),
        (np.ones((30, 2), int), "not one-hot"),
        (np.zeros(30, int), "the one class '0'"),
        (np.where(Y == 0, "Cat", "cat"), "two classes 'Cat' and 'cat'"),
        (np.zeros((30, 1, 1), int), "shape (30, 1, 1)"),
        (Y[None], "shape (1, 30) for 30 images; expected (30,)"),
        (np.array([0x7FFFFFFF, 97, 98], np.uint32).view("<U1")[Y], "letters that no text has"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path: Path, labels: Any, said: str) -> None:
    path = saved(tmp_path, y_train=labels, y_test=labels[:9])
    with pytest.raises(DataError, match=r"^load: got '.*mine\.npz', with .*; expected .*; \w") as caught:
        load(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "said"),
    [(Y[:9] + 1, "the label 3 in y_test"), (Y[:9].astype(str), "texts in one"), (np.eye(3)[Y[:9]], "one-hot"),
     (Y[:9] - 1, "the label -1")],
)  # fmt: skip
def test_a_test_part_of_other_classes_is_refused(tmp_path: Path, labels: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load(saved(tmp_path, y_test=labels))


def test_long_names_are_told_apart(tmp_path: Path) -> None:
    """What is shown of them is the same, and their numbers stand behind it."""
    labels = np.array(["x" * 70 + "1", "x" * 70 + "2", "y"])[Y]
    names = load(saved(tmp_path, y_train=labels, y_test=labels[:9])).class_names
    assert names == ("x" * 49 + "... (0)", "x" * 49 + "... (1)", "y")


def test_ten_thousand_classes_at_most(tmp_path: Path) -> None:
    x = np.zeros((10_001, 1, 1), np.uint8)
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=x, y_train=np.arange(10_001))
    with pytest.raises(DataError, match="10,001 classes; expected at most 10,000"):
        load(path)


# ==== parts ====


def test_without_a_test_part_a_fifth_of_each_class_is_held_out(tmp_path: Path) -> None:
    notes: list[str] = []
    path = tmp_path / "mine.npz"
    labels = np.repeat([0, 1, 2], [20, 8, 2])
    x = np.arange(30, dtype=np.uint8)[:, None, None] * np.ones((28, 28), np.uint8)
    np.savez(path, x_train=x, y_train=labels)
    found, again = load(path, note=notes.append), load(path)
    assert np.bincount(found.y_test).tolist() == [4, 2, 1]
    assert np.bincount(found.y_train).tolist() == [16, 6, 1]
    both = np.concatenate([found.x_train, found.x_test])[:, 0, 0, 0]
    assert sorted(both) == list(range(30)), "each image is in one part"
    np.testing.assert_array_equal(labels[both], np.concatenate([found.y_train, found.y_test]))
    assert len(notes) == 1
    assert notes[0].startswith(
        "no test part here: 7 of 30 images, a fifth of each class but at least one, are held out"
    )
    assert found.held_out
    assert not load(saved(tmp_path)).held_out
    assert found.digest() == again.digest()


def test_a_class_of_one_image_is_learnt_and_not_tested(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=X[:8], y_train=np.array([0, 0, 0, 0, 2, 1, 1, 1]))
    notes: list[str] = []
    found = load(path, note=notes.append)
    assert "but at least one (none of 1 class of a single image), are held out" in notes[0]
    assert (found.y_train == 2).sum() == 1
    assert sorted(found.y_test.tolist()) == [0, 1]


def test_other_usual_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, train_images=X, train_labels=Y[:, None], test_images=X[:9], test_labels=Y[:9], val_images=X)
    notes: list[str] = []
    assert load(path, note=notes.append).digest() == load(saved(tmp_path)).digest()
    assert notes == [
        "'val_images' is left out, beside train_images, train_labels, test_images, test_labels",
    ]


@pytest.mark.parametrize(
    ("x_train", "x", "y"),
    [("x_train", "x_val", "y_val"), ("X_train", "X_valid", "y_valid"), ("x_train", "x_validation", "y_validation"),
     ("train_images", "val_images", "val_labels")],
)  # fmt: skip
def test_another_part_takes_the_place_of_the_test_part(tmp_path: Path, x_train: str, x: str, y: str) -> None:
    path = tmp_path / "mine.npz"
    y_train = "train_labels" if x_train == "train_images" else "y_train"
    np.savez(path, **{x_train: X, y_train: Y, x: X[:9], y: Y[:9]})
    notes: list[str] = []
    assert load(path, note=notes.append).digest() == load(saved(tmp_path)).digest()
    assert notes == [f"{x} and {y} are the test part"]


def test_arrays_that_are_left_out_are_named(tmp_path: Path) -> None:
    """A test part whose name is misspelt is not passed over in silence; nor is a second one."""
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=X, y_train=Y, x_tset=X, **{f"\x1b{n}": Y for n in range(5)})
    notes: list[str] = []
    load(path, note=notes.append)
    assert notes[0].endswith("'\\x1b3', ... are left out, beside x_train, y_train")
    assert notes[1].startswith("no test part here")
    np.savez(path, x_train=X, y_train=Y, x_tset=X, x_val=X, y_val=Y, x_test=X, y_test=Y)
    notes.clear()
    assert len(load(path, note=notes.append).x_test) == 30
    assert notes == ["'x_tset', 'x_val', 'y_val' are left out, beside x_train, y_train, x_test, y_test"]


def test_a_test_part_of_another_size_is_told(tmp_path: Path) -> None:
    notes: list[str] = []
    x = np.zeros((9, 32, 32), np.uint8)
    assert load(saved(tmp_path, x_test=x), note=notes.append).x_test.shape == (9, 1, 28, 28)
    assert notes == ["test images of 32 x 32 are scaled to 28 x 28"]


def test_small_images_do_not_grow_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions of single pixels are a file of some kilobytes, and would be gigabytes of images."""
    x = np.zeros((30, 1, 1), np.uint8)
    path = saved(tmp_path, x_train=x, x_test=x[:9])
    monkeypatch.setattr(parts, "MOST_BYTES", 39 * 28 * 28 - 1)
    with pytest.raises(DataError, match=r"with 39 images, 30,576 bytes as 28 x 28; expected at most 30,575; give"):
        load(path)
    assert load(path, image_size=27).x_test.shape == (9, 1, 27, 27)
    with pytest.raises(DataError, match="as 100000 x 100000"):
        load(path, image_size=100_000)


@pytest.mark.parametrize(
    ("names", "said"),
    [(["x", "y"], "there is 'x', 'y'"), ([], "there is nothing"), (["x_train"], "'x_train'"),
     (["x_train", "y_train", "x_test"], "alone")],
)  # fmt: skip
def test_arrays_that_are_missing(tmp_path: Path, names: list[str], said: str) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **{name: X if name[0] == "x" else Y for name in names})
    with pytest.raises(DataError, match=said):
        load(path)


def test_fortran_order(tmp_path: Path) -> None:
    np.testing.assert_array_equal(load(saved(tmp_path, x_train=np.asfortranarray(X))).x_train[:, 0], X)


# ==== hostile files ====


def npy(header: str | bytes, content: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(text)) + text + content


def header(shape: str = "(30, 28, 28)", descr: str = "'|u1'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"


def zipped(path: Path, x: bytes, packing: int = zipfile.ZIP_DEFLATED, name: str = "x_train.npy") -> Path:
    labels = io.BytesIO()
    np.save(labels, Y)
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr(name, x)
        archive.writestr("y_train.npy", labels.getvalue())
    return path


HOSTILE = {
    "objects": npy(header(descr="'|O'"), b"cos\nsystem\n(S'true'\ntR."),
    "a record": npy(header(descr="[('a', '|u1'), ('b', '|O')]"), bytes(23520)),
    "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "no header": b"",
    "half a header": npy(header())[:30],
    "no dict": npy("print('hello')\n"),
    "code": npy("{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (1,), }\n"),
    "nested deep": npy("(" * 5000 + ")" * 5000 + "\n"),
    "a long header": npy(" " * 20_000 + header(), bytes(23520)),
    "negative": npy(header("(-30, -28, 28)"), bytes(23520)),
    "hugely": npy(header("(4294967296, 4294967296, 4294967296)"), bytes(23520)),
    "hugely nothing": npy(header("(0, 99999999999999999999999, 9)")),
    "true": npy(header("(True, 30, 784)"), bytes(23520)),
    "a byte less": npy(header(), bytes(23519)),
    "a byte more": npy(header(), bytes(23521)),
    "no size": npy(header(descr="'|V0'")),
    "empty texts": npy(header(descr="'<U0'")),
    "version 3": npy(header(), bytes(23520), (3, 0)),
    "version 9": npy(header(), bytes(23520), (9, 0)),
    "dates": npy(header(descr="'<M8[s]'"), bytes(8 * 23520)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_arrays_are_refused_in_words(tmp_path: Path, case: str) -> None:
    path = zipped(tmp_path / "mine.npz", HOSTILE[case])
    with pytest.raises(DataError, match=r"^load: got '.*mine\.npz', .*; expected .*; \w") as caught:
        load(path)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_an_archive_in_other_packing_is_refused(tmp_path: Path) -> None:
    """bzip2 and LZMA are unpacked without any bound by Python's zip files."""
    for packing in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(DataError, match="packed in another way"):
            load(zipped(tmp_path / "mine.npz", npy(header(), bytes(23520)), packing))


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    """200 MB of zeros in 200 kB that the header does not speak of; or that it does, and nothing more."""
    bomb = zipped(tmp_path / "bomb.npz", npy(header(), bytes(200_000_000)))
    claim = zipped(tmp_path / "claim.npz", npy(header("(1000000, 28, 28)")))
    for path in (bomb, claim):
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match=r"claims|ends after"):
                load(path)
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


def test_a_member_that_lies_about_its_size(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / "mine.npz", npy(header(), bytes(23520))).read_bytes())
    for place in (data.find(b"PK\1\2") + 24, 22):  # in the table of contents, and before the member
        data[place : place + 4] = struct.pack("<I", 4_000_000_000)
    (tmp_path / "mine.npz").write_bytes(data)
    with pytest.raises(DataError, match=r"4,0\d\d,000,\d+ bytes"):
        load(tmp_path / "mine.npz")


def test_a_table_of_contents_without_end_is_not_read(tmp_path: Path) -> None:
    path = saved(tmp_path)
    data = bytearray(path.read_bytes())
    end = data.rfind(b"PK\5\6")
    data[end + 12 : end + 16] = struct.pack("<I", 1 << 30)
    path.write_bytes(data)
    with pytest.raises(DataError, match="expected the four arrays"):
        load(path)


def test_an_array_twice(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x_train.npy", npy(header(), bytes(23520)))
    with pytest.raises(DataError, match="'x_train' twice"):
        load(path)


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -30, -200])
def test_a_file_that_is_cut_short(tmp_path: Path, cut: int) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"damaged|no \.npz file|not a whole one"):
        load(path)


def test_a_bit_that_has_turned_is_noticed(tmp_path: Path) -> None:
    path = saved(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        load(path)


def test_nothing_there_and_a_folder_of_files(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="neither the name of a data set nor a file"):
        load(tmp_path / "none.npz")
    saved(tmp_path)
    assert load(tmp_path).name == "mine.npz", "the only one there"
    saved(tmp_path, "other.npz")
    with pytest.raises(DataError, match=r"several data sets; expected one; name one of '.*mine\.npz', '.*other\.npz'"):
        load(tmp_path)


def test_read_npz_gives_what_was_found(tmp_path: Path) -> None:
    parts = read_npz(saved(tmp_path))
    np.testing.assert_array_equal(parts.x_train, X)
    np.testing.assert_array_equal(parts.y_test, Y[:9])
