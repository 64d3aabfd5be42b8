"""`--data FOLDER` of IDX files: torchvision's, Keras's, EMNIST's, and anybody's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.data.own import bars, idx_bytes, idx_files, picture_folder
from xlenet.data import load
from xlenet.data.registry import FASHION_MNIST, SOURCES
from xlenet.errors import DataError

X, Y = bars(30)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("place", "name"),
    [("", "mine"), ("raw", "mine"), ("MNIST/raw", "MNIST/"), ("FashionMNIST/raw", "FashionMNIST/"),
     ("fashion-mnist", "fashion-mnist/"), ("mnist", "mnist/"), ("KMNIST/raw", "KMNIST")],
)  # fmt: skip
def test_where_others_put_them(tmp_path: Path, place: str, name: str, packed: bool) -> None:
    folder = tmp_path / "mine"
    idx_files(folder / place, X, Y, packed=packed)
    found = load(folder)
    assert found.name == name
    np.testing.assert_array_equal(found.x_train[:, 0], X)
    np.testing.assert_array_equal(found.y_train, Y)
    np.testing.assert_array_equal(found.x_test[:, 0], X[:9])
    assert found.class_names == ("0", "1", "2")


@pytest.mark.parametrize("packed", [False, True])
def test_a_known_data_set_is_known_by_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    """Whatever its folder is called; and with a single pixel changed it is somebody's own, even in its own folder."""
    arrays = (X, Y.astype(np.uint8), X[:9], Y[:9].astype(np.uint8))
    files = [
        file._replace(shape=array.shape, digest=f"md5:{hashlib.md5(idx_bytes(array)).hexdigest()}", packed_digest="")
        for file, array in zip(FASHION_MNIST.files, arrays, strict=True)
    ]
    boots = FASHION_MNIST._replace(files=tuple(files), class_names=("boot", "shoe", "shirt"))
    monkeypatch.setitem(SOURCES, "fashion-mnist", boots)
    changed = X.copy()
    changed[29, 0, 0] ^= 1
    for place, x, name in [
        ("mine", X, "fashion-mnist"),
        ("fashion-mnist", X, "fashion-mnist"),
        ("FashionMNIST/raw", changed, "FashionMNIST/"),
        ("fashion-mnist", changed, "fashion-mnist/"),
    ]:
        idx_files(tmp_path / name / place, x, Y, packed=packed)
        found = load(tmp_path / name / place)
        assert (found.name, found.class_names) == (
            name, boots.class_names if name == "fashion-mnist" else ("0", "1", "2")
        )  # fmt: skip


@pytest.mark.parametrize("prefix", ["mnist-", "generated-", "Fashion-MNIST-"])
def test_a_prefix_makes_no_known_data_set(tmp_path: Path, prefix: str) -> None:
    idx_files(tmp_path, X, Y, prefix=prefix)
    assert load(tmp_path).name == f"{prefix.rstrip('-')}/"


def test_folders_and_files_beside_are_left_out_in_words(tmp_path: Path) -> None:
    picture_folder(tmp_path)
    np.savez(tmp_path / "mine.npz", x_train=X, y_train=Y)
    notes: list[str] = []
    load(tmp_path, note=notes.append)
    assert notes[0] == "mine.npz is left out, beside folders of images"
    (tmp_path / "mine.npz").unlink()
    notes.clear()
    idx_files(tmp_path / "raw", X, Y)
    load(tmp_path, note=notes.append)
    assert notes == ["a, b, c are left out, beside IDX files"]


def test_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    idx_files(tmp_path / "mine", X, Y)
    monkeypatch.chdir(tmp_path / "mine")
    assert load(".").name == "mine"
    assert load("train-images-idx3-ubyte").name == "mine"
    monkeypatch.chdir(tmp_path)
    assert load("mine/").name == "mine"


def test_a_plain_file_comes_before_its_gz(tmp_path: Path) -> None:
    idx_files(tmp_path, X, Y)
    for path in list(tmp_path.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(b"damaged")
    assert len(load(tmp_path).x_train) == 30


def test_other_names_of_the_test_part_and_none(tmp_path: Path) -> None:
    idx_files(tmp_path / "a", X, Y, test="test")
    assert len(load(tmp_path / "a").x_test) == 9
    idx_files(tmp_path / "b", X, Y, test="")
    notes: list[str] = []
    assert len(load(tmp_path / "b", note=notes.append).x_test) == 6
    assert notes[0].startswith("no test part here: 6 of 30")


def test_emnist_is_set_upright_and_has_its_letters(tmp_path: Path) -> None:
    idx_files(tmp_path, X, Y + 1, prefix="emnist-letters-", test="test", packed=True)
    (tmp_path / "emnist-letters-mapping.txt").write_text("1 65 97\n2 66 98\n3 67 99\n")
    found = load(tmp_path)
    assert (found.name, found.class_names) == ("emnist-letters", ("A", "B", "C"))
    np.testing.assert_array_equal(found.x_train[:, 0], X.swapaxes(1, 2))


def test_capitals_and_small_letters_are_told_apart(tmp_path: Path) -> None:
    idx_files(tmp_path, X, Y, prefix="emnist-byclass-", test="test")
    (tmp_path / "emnist-byclass-mapping.txt").write_text("0 65\n1 97\n2 66\n")
    assert load(tmp_path).class_names == ("A (0)", "a (1)", "B (2)")


def test_several_in_one_folder_are_named_by_a_file(tmp_path: Path) -> None:
    for prefix in ("emnist-digits-", "emnist-letters-"):
        idx_files(tmp_path, X, Y, prefix=prefix, test="test")
    with pytest.raises(DataError, match=r"several data sets; expected one; name one of '.*emnist-digits-train-images"):
        load(tmp_path)
    assert load(tmp_path / "emnist-letters-train-images-idx3-ubyte").name == "emnist-letters"


def test_torchvisions_root_with_two_of_them(tmp_path: Path) -> None:
    for name in ("MNIST", "FashionMNIST"):
        idx_files(tmp_path / name / "raw", X, Y)
    with pytest.raises(DataError, match="several data sets"):
        load(tmp_path)
    assert load(tmp_path / "FashionMNIST").name == "FashionMNIST/"


def test_kerass_folder_with_two_of_them(tmp_path: Path) -> None:
    idx_files(tmp_path / "fashion-mnist", X, Y, packed=True)
    np.savez(tmp_path / "mnist.npz", x_train=X, y_train=Y, x_test=X[:9], y_test=Y[:9])
    with pytest.raises(DataError, match=r"several data sets.*mnist\.npz"):
        load(tmp_path)
    assert load(tmp_path / "mnist.npz").class_names == ("0", "1", "2")
    assert len(load(tmp_path / "fashion-mnist").x_test) == 9


def test_colour_and_other_sizes(tmp_path: Path) -> None:
    x, y = bars(30, 16, channels=3)
    idx_files(tmp_path, x, y)
    for path in list(tmp_path.glob("*images-idx3*")):
        path.rename(path.with_name(path.name.replace("idx3", "idx4")))
    assert load(tmp_path).x_train.shape == (30, 3, 28, 28)


def test_labels_that_are_missing_and_a_file_that_is_damaged(tmp_path: Path) -> None:
    idx_files(tmp_path, X, Y)
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
    kept = labels.read_bytes()
    labels.write_bytes(idx_bytes(Y[:20].astype(np.uint8)))
    with pytest.raises(DataError, match=r"with y_train uint8 of shape \(20,\) for 30 images"):
        load(tmp_path)
    labels.unlink()
    for path in (images, tmp_path):
        with pytest.raises(DataError, match="without a file of labels beside it; expected train-labels-idx1-ubyte"):
            load(path)
    labels.write_bytes(kept)
    for name, other in [
        ("t10k-labels-idx1-ubyte", "t10k-images-idx3-ubyte"),
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    ]:
        path = tmp_path / name
        path.rename(tmp_path / "aside")
        with pytest.raises(DataError, match=f"with '{other}' alone of the test part; expected its images and its lab"):
            load(tmp_path)
        (tmp_path / "aside").rename(path)
    for path in (labels, tmp_path / "t10k-images-idx3-ubyte"):
        with pytest.raises(DataError, match="one of several IDX files; expected the one of the training images"):
            load(path)
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"^read_idx: got '.*train-images-idx3-ubyte', which cannot be used"):
        load(tmp_path)
