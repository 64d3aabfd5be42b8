"""`--data FOLDER` of IDX files: torchvision's, Keras's, EMNIST's, and anybody's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.own import bars, idx_bytes, idx_files
from xlenet.data import load
from xlenet.errors import DataError

X, Y = bars(30)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("place", "name"),
    [("", "mine"), ("raw", "mine"), ("MNIST/raw", "mnist"), ("FashionMNIST/raw", "fashion-mnist"),
     ("fashion-mnist", "fashion-mnist"), ("KMNIST/raw", "KMNIST")],
)  # fmt: skip
def test_where_others_put_them(tmp_path: Path, place: str, name: str, packed: bool) -> None:
    folder = tmp_path / "mine"
    idx_files(folder / place, X, Y, packed=packed)
    found = load(folder)
    assert found.name == name
    np.testing.assert_array_equal(found.x_train[:, 0], X)
    np.testing.assert_array_equal(found.y_train, Y)
    np.testing.assert_array_equal(found.x_test[:, 0], X[:9])
    boots = ("T-shirt/top", "Trouser", "Pullover")
    assert found.class_names == (boots if name == "fashion-mnist" else ("0", "1", "2"))


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
    assert load(tmp_path / "FashionMNIST").name == "fashion-mnist"


def test_kerass_folder_with_two_of_them(tmp_path: Path) -> None:
    idx_files(tmp_path / "fashion-mnist", X, Y, packed=True)
    np.savez(tmp_path / "mnist.npz", x_train=X, y_train=Y, x_test=X[:9], y_test=Y[:9])
    with pytest.raises(DataError, match=r"several data sets.*mnist\.npz"):
        load(tmp_path)
    assert load(tmp_path / "mnist.npz").class_names == ("0", "1", "2")
    assert load(tmp_path / "fashion-mnist").class_names[0] == "T-shirt/top"


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
    with pytest.raises(DataError, match="without a file of labels beside it"):
        load(images)
    labels.write_bytes(kept)
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"^read_idx: got '.*train-images-idx3-ubyte', which cannot be used"):
        load(tmp_path)
