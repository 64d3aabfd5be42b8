"""`--data FOLDER` with a folder of images for each class: layouts, kinds of images, and what goes wrong."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.own import PIL, bars, picture_folder, save_picture
from xlenet.data import load
from xlenet.data.picture import read_on_white
from xlenet.errors import DataError, MissingExtraError


def refusal(path: Path) -> str:
    """The message with which the data set at `path` is refused."""
    with pytest.raises(DataError, match=r"(?s)^load: got '.*'.*; expected .*; \w") as caught:
        load(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


def sorted_images(x: np.ndarray) -> list[bytes]:
    return sorted(image.tobytes() for image in x)


# ==== layouts ====


@pytest.mark.parametrize("side", [28, 32])
def test_a_folder_for_each_class(tmp_path: Path, side: int) -> None:
    """Pixel for pixel; the test part is a fifth of each class, the training part is in no order."""
    x, y = picture_folder(tmp_path / "mine", side=side)
    notes: list[str] = []
    found, again = load(tmp_path / "mine", note=notes.append), load(tmp_path / "mine")
    assert (found.name, found.class_names) == ("mine", ("a", "b", "c"))
    assert (found.x_train.shape, found.x_test.shape) == ((24, 1, side, side), (6, 1, side, side))
    for label in range(3):
        parts = (found.x_train[found.y_train == label], found.x_test[found.y_test == label])
        assert (len(parts[0]), len(parts[1])) == (8, 2)
        assert sorted_images(np.concatenate(parts)[:, 0]) == sorted_images(x[y == label])
    assert notes == ["no test part here: 6 of 30 images, a fifth of each class, are held out as one, always the same"]
    assert found.digest() == again.digest()
    assert len(set(found.y_train[:8].tolist())) == 3, "the first images are not all of one class"


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [("train", "test", 0), ("train", "val", 1), ("train", "validation", 1), ("train", "valid", 1), ("Train", "Test", 0),
     ("Training", "Testing", 0), ("training", "testing", 0), ("TRAIN", "VALID", 1), ("training", "val", 1)],
)  # fmt: skip
def test_a_test_part_of_ones_own(tmp_path: Path, train: str, test: str, told: int) -> None:
    picture_folder(tmp_path / train, 30)
    x, _ = picture_folder(tmp_path / test, 9)
    notes: list[str] = []
    found = load(tmp_path, note=notes.append)
    assert (len(found.x_train), len(found.x_test)) == (30, 9)
    assert (found.class_names, found.held_out) == (("a", "b", "c"), False)
    assert sorted_images(found.x_test[:, 0]) == sorted_images(x)
    assert len(notes) == told


def test_both_a_test_part_and_a_validation_part(tmp_path: Path) -> None:
    for name, count in [("train", 30), ("test", 9), ("val", 6)]:
        picture_folder(tmp_path / name, count)
    notes: list[str] = []
    assert len(load(tmp_path, note=notes.append).x_test) == 9
    assert notes == ["val/ is left out, beside the parts for training and for testing"]


def test_folders_beside_the_parts_are_left_out(tmp_path: Path) -> None:
    """And a test part without classes, of which nobody knows the labels."""
    picture_folder(tmp_path / "train", 30)
    x, _ = bars(1)
    save_picture(tmp_path / "test" / "1.png", x[0])
    notes: list[str] = []
    found = load(tmp_path, note=notes.append)
    assert (found.class_names, len(found.x_test)) == (("a", "b", "c"), 6)
    assert notes[0] == "test/ is left out, beside the parts for training and for testing"
    picture_folder(tmp_path / "validation", 9)
    (tmp_path / "drafts").mkdir()
    notes.clear()
    assert len(load(tmp_path, note=notes.append).x_test) == 9
    assert [note.partition(" ")[0] for note in notes] == ["validation/", "drafts/", "test/"]


def test_folders_of_data_sets_are_no_classes(tmp_path: Path) -> None:
    """Or of parts with names of somebody's own: two classes would be learnt of them, with every figure right."""
    for name in ("learn", "judge"):
        picture_folder(tmp_path / name, 30)
    assert f"no image in the folders in it, but deeper, such as {os.path.join('judge', 'a', '000.png')!r}" in (
        refusal(tmp_path)
    )
    save_picture(tmp_path / "learn" / "1.png", bars(1)[0][0])
    assert load(tmp_path).class_names == ("judge", "learn"), "as folders in class folders are"


def test_classes_that_are_called_train_and_test(tmp_path: Path) -> None:
    """Without folders in them they are classes like any other."""
    x, _ = bars(10)
    for number, image in enumerate(x):
        save_picture(tmp_path / ("train" if number % 2 else "test") / f"{number}.png", image)
    assert load(tmp_path).class_names == ("test", "train")


def test_numbers_come_in_their_order_and_letters_in_theirs(tmp_path: Path) -> None:
    x, _ = bars(2)
    for names in (["9", "10", "100"], ["Zebra", "ant", "été"]):
        folder = tmp_path / names[0]
        for name in names:
            for image in x:
                save_picture(folder / name / f"{image.sum()}.png", image)
        assert load(folder).class_names == tuple(names)


def test_folders_in_class_folders_belong_to_the_class(tmp_path: Path) -> None:
    x, y = picture_folder(tmp_path, 30)
    (tmp_path / "a" / "more" / "yet more").mkdir(parents=True)
    save_picture(tmp_path / "a" / "more" / "yet more" / "1.png", x[0])
    assert (load(tmp_path).y_train == 0).sum() + (load(tmp_path).y_test == 0).sum() == (y == 0).sum() + 1


@pytest.mark.skipif(os.name == "nt", reason="Windows asks for rights before it makes a link")
def test_links(tmp_path: Path) -> None:
    """Links to images and to class folders are followed; those that lead round in circles do no harm."""
    folder = tmp_path / "mine"
    picture_folder(tmp_path / "elsewhere", 30)
    folder.mkdir()
    for name in "abc":
        (folder / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "a" / "loop").symlink_to(folder)
    (tmp_path / "elsewhere" / "a" / "nowhere.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "elsewhere" / "a" / "itself.png").symlink_to(tmp_path / "elsewhere" / "a" / "itself.png")
    (tmp_path / "elsewhere" / "a" / "link.png").symlink_to(tmp_path / "elsewhere" / "b" / "001.png")
    found = load(folder)
    assert len(found.x_train) + len(found.x_test) == 31


@pytest.mark.skipif(os.name == "nt", reason="Windows asks for rights before it makes a link")
def test_a_link_back_is_no_class(tmp_path: Path) -> None:
    """Else it would be a class of all images."""
    picture_folder(tmp_path / "mine", 30)
    (tmp_path / "mine" / "all").symlink_to(tmp_path / "mine")
    (tmp_path / "mine" / "above").symlink_to("..")
    assert load(tmp_path / "mine").class_names == ("a", "b", "c")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_image_and_nobody_waits_for_it(tmp_path: Path) -> None:
    picture_folder(tmp_path, 30)
    os.mkfifo(tmp_path / "a" / "pipe.png")
    assert len(load(tmp_path).x_train) == 24


# ==== kinds of images ====


@pytest.mark.parametrize(
    ("end", "options"),
    [(".png", {}), (".bmp", {}), (".gif", {}), (".pgm", {}), (".tif", {}), (".PNG", {}), (".webp", {"lossless": True}),
     ("", {"format": "PNG"}), (".jpg", {"format": "PNG"})],
)  # fmt: skip
def test_kinds_that_lose_nothing(tmp_path: Path, end: str, options: dict[str, Any]) -> None:
    """Told by what is in the file, and not by its name."""
    x, _ = picture_folder(tmp_path, 30, end, **options)
    found = load(tmp_path)
    assert sorted_images(np.concatenate([found.x_train, found.x_test])[:, 0]) == sorted_images(x)


GREY = np.arange(0, 240, 4, dtype=np.uint8).reshape(6, 10)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)


def picture(tmp_path: Path, image: Any, name: str = "one.png", **options: Any) -> np.ndarray:
    image.save(tmp_path / name, **options)
    return read_on_white(tmp_path / name)


def test_grey_stays_grey_and_colour_colour(tmp_path: Path) -> None:
    for image, expected in [
        (PIL.fromarray(GREY), GREY),
        (PIL.fromarray(COLOUR), COLOUR),
        (PIL.fromarray(np.repeat(GREY[..., None], 3, axis=-1)), GREY),  # grey that is saved as colour
        (PIL.fromarray(GREY).convert("P"), GREY),
        (PIL.fromarray(GREY > 100), np.where(GREY > 100, 255, 0)),
    ]:
        np.testing.assert_array_equal(picture(tmp_path, image), expected)


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = (GREY.astype(np.uint16) * 257) + 100
    np.testing.assert_array_equal(picture(tmp_path, PIL.fromarray(deep)), GREY)
    np.testing.assert_array_equal(picture(tmp_path, PIL.fromarray(deep), "one.tif"), GREY)
    white = np.full((3, 3), 65535, np.uint16)
    assert (picture(tmp_path, PIL.fromarray(white)) == 255).all()


def test_more_bits_than_sixteen_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not 8 or 16 bits"):
        picture(tmp_path, PIL.fromarray(GREY.astype(np.int32) * 10_000), "one.tif")


def test_floating_pixels_are_those_of_an_array(tmp_path: Path) -> None:
    grey = GREY.astype(np.float32)
    for deep in (grey, grey / 255):
        np.testing.assert_array_equal(picture(tmp_path, PIL.fromarray(deep), "one.tif"), GREY)
    for deep, words in ((grey * 3, "from 0 to 708"), (grey - 1, "from -1 to 235"), (grey / 150, "how bright")):
        with pytest.raises(DataError, match=words):
            picture(tmp_path, PIL.fromarray(deep), "one.tif")


def test_what_is_transparent_lies_on_white(tmp_path: Path) -> None:
    alpha = np.where(GREY < 100, 255, 0).astype(np.uint8)
    colour = picture(tmp_path, PIL.fromarray(np.dstack([COLOUR, alpha])))
    np.testing.assert_array_equal(colour, np.where(alpha[..., None] > 0, COLOUR, 255))
    grey = picture(tmp_path, PIL.fromarray(np.dstack([GREY, alpha])))
    np.testing.assert_array_equal(grey, np.where(alpha > 0, GREY, 255))
    half = np.dstack([np.zeros((2, 2, 3), np.uint8), np.full((2, 2), 128, np.uint8)])
    assert abs(picture(tmp_path, PIL.fromarray(half)).astype(int) - 127).max() <= 1
    palette = PIL.fromarray(GREY).convert("P")
    np.testing.assert_array_equal(picture(tmp_path, palette, transparency=0)[0, 0], 255)


def test_cmyk_and_an_animation(tmp_path: Path) -> None:
    found = picture(tmp_path, PIL.fromarray(COLOUR).convert("CMYK"), "one.jpg", quality=100)
    assert found.shape == (6, 10, 3)
    assert abs(found.astype(int) - COLOUR).mean() < 40
    frames = [PIL.fromarray(GREY), PIL.fromarray(255 - GREY)]
    np.testing.assert_array_equal(
        picture(tmp_path, frames[0], "one.gif", save_all=True, append_images=frames[1:]), GREY
    )


def test_a_picture_stands_as_the_camera_was_held(tmp_path: Path) -> None:
    exif = PIL.Exif()
    exif[0x0112] = 6
    found = picture(tmp_path, PIL.fromarray(COLOUR), "one.png", exif=exif)
    np.testing.assert_array_equal(found, np.rot90(COLOUR, -1))


def test_one_image_in_colour_gives_all_three_channels(tmp_path: Path) -> None:
    x, _ = picture_folder(tmp_path, 30)
    colour = np.dstack([x[0], x[1], x[2]])
    save_picture(tmp_path / "a" / "colour.png", colour)
    found = load(tmp_path)
    assert found.x_train.shape[1:] == found.x_test.shape[1:] == (3, 28, 28)
    everything = sorted_images(np.concatenate([found.x_train, found.x_test]).transpose(0, 2, 3, 1))
    assert everything == sorted_images(np.stack([colour, *(np.dstack([grey] * 3) for grey in x)]))


def test_photos_of_all_sizes_become_squares(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        h, w = rng.integers(40, 400, 2)
        image = np.full((h, w, 3), (200, 30, 40) if number % 2 else (20, 30, 240), np.uint8)
        save_picture(tmp_path / ("red" if number % 2 else "blue") / f"{number}.jpg", image, quality=90)
    notes: list[str] = []
    found = load(tmp_path, note=notes.append)
    assert found.x_train.shape[1:] == (3, 32, 32)
    assert notes[0].startswith("12 of 12 images are not 32 x 32: scaled to that, and padded")
    means = found.x_train.mean(axis=(2, 3))
    np.testing.assert_allclose(means[found.y_train == 1], [[200, 30, 40]] * (found.y_train == 1).sum(), atol=6)
    assert load(tmp_path, image_size=20).x_train.shape[1:] == (3, 20, 20)


# ==== what goes wrong ====


def test_files_of_other_kinds_are_left_out_and_counted(tmp_path: Path) -> None:
    picture_folder(tmp_path, 30)
    (tmp_path / "labels.csv").write_text("beside the folders, nobody looks")
    (tmp_path / "a" / "readme.txt").write_text("hello")
    (tmp_path / "b" / "drawing.svg").write_text("<svg/>")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (tmp_path / ".git").mkdir()
    notes: list[str] = []
    assert len(load(tmp_path, note=notes.append).x_train) == 24
    assert notes[0] == f"2 files are no images and are left out, the first of them {os.path.join('a', 'readme.txt')!r}"


def test_an_image_that_is_none(tmp_path: Path) -> None:
    picture_folder(tmp_path, 30)
    (tmp_path / "a" / "readme.txt").write_text("none")
    save_picture(tmp_path / "a" / "wide.png", bars(1, 40)[0][0])
    notes: list[str] = []
    load(tmp_path, note=notes.append)
    assert notes[1].startswith("1 of 31 images is not 28 x 28: scaled to that")
    assert notes[0] == f"1 file is no image and is left out: {os.path.join('a', 'readme.txt')!r}"
    (tmp_path / "a" / "empty.jpg").write_bytes(b"")
    assert "no picture of a known kind" in refusal(tmp_path)
    assert repr(str(tmp_path / "a" / "empty.jpg")) in refusal(tmp_path)


def test_all_damaged_images_are_told_at_once(tmp_path: Path) -> None:
    """Those without a header, and those that are cut behind it."""
    picture_folder(tmp_path, 30)
    for number in (0, 3):
        (tmp_path / "a" / f"{number:03}.png").write_bytes(b"")
    for number in (1, 4):
        path = tmp_path / "b" / f"{number:03}.png"
        path.write_bytes(path.read_bytes()[:-100])
    said = refusal(tmp_path)
    names = ", ".join(repr(os.path.join(*name)) for name in [("a", "000.png"), ("a", "003.png"), ("b", "001.png")])
    assert f"with 4 pictures that cannot be read, {names} ... (the first: load: got" in said
    for path in (tmp_path / "a").iterdir():
        path.write_bytes(b"")
    assert "with 12 pictures that cannot be read" in refusal(tmp_path), "though no image of a class is left"


@pytest.mark.parametrize("end", [".png", ".jpg", ".gif", ".bmp", ".tif"])
def test_a_truncated_image_is_told_by_its_name(tmp_path: Path, end: str) -> None:
    picture_folder(tmp_path, 30)
    x = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    path = save_picture(tmp_path / "a" / f"cut{end}", x)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert repr(str(path)) in refusal(tmp_path)


def test_a_decompression_bomb_is_refused_unread(tmp_path: Path) -> None:
    """A PNG of some bytes whose header speaks of four billion pixels."""
    picture_folder(tmp_path, 30)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for width, height in [(65_000, 65_000), (10_000, 10_000), (2**31 - 1, 1)]:
        header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        (tmp_path / "a" / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
        assert "pixels" in refusal(tmp_path)


def test_a_class_without_images(tmp_path: Path) -> None:
    picture_folder(tmp_path, 30)
    (tmp_path / "d").mkdir()
    assert f"no image in {str(tmp_path / 'd')!r}" in refusal(tmp_path)
    (tmp_path / "d" / "readme.txt").write_text("none")
    assert f"no image in {str(tmp_path / 'd')!r}" in refusal(tmp_path)


def test_a_single_class_and_none(tmp_path: Path) -> None:
    assert "with no folder in it" in refusal(tmp_path)
    save_picture(tmp_path / "a" / "1.png", GREY)
    assert "the one class 'a'" in refusal(tmp_path)
    assert "with no folder in it" in refusal(tmp_path / "a")


def test_a_single_image_in_each_class(tmp_path: Path) -> None:
    for name in "ab":
        save_picture(tmp_path / name / "1.png", GREY)
    assert "one image in each class" in refusal(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="file systems that tell Cat from cat")
def test_classes_that_nobody_could_tell_apart(tmp_path: Path) -> None:
    for names in [("Cat", "cat"), ("caf\u00e9", "cafe\u0301")]:
        folder = tmp_path / names[0]
        for name in names:
            save_picture(folder / name / "1.png", GREY)
        assert "two classes" in refusal(folder)


def test_a_class_of_the_test_part_alone(tmp_path: Path) -> None:
    picture_folder(tmp_path / "train", 30)
    picture_folder(tmp_path / "test", 9)
    save_picture(tmp_path / "test" / "dragon" / "1.png", GREY)
    assert "the class 'dragon' in test/ and not in train/" in refusal(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="file systems that take any byte")
def test_names_that_a_terminal_cannot_show(tmp_path: Path) -> None:
    names = [b"a\x1b[2Jb", b"caf\xe9", "\u202eevil".encode(), b"x" * 200]
    for name in names:
        for number in range(2):
            save_picture(tmp_path / os.fsdecode(name) / f"{number}.png", GREY)
        (tmp_path / os.fsdecode(name) / os.fsdecode(b"\x1b[31m\xff.txt")).write_text("no image")
    notes: list[str] = []
    found = load(tmp_path, note=notes.append)
    assert all(name.isprintable() and len(name) <= 60 for name in found.class_names)
    assert all(note.isprintable() for note in notes)
    assert set(found.class_names) == {"a\\x1b[2Jb", "caf\\udce9", "\\u202eevil", "x" * 57 + "..."}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="who may read everything cannot try this")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    picture_folder(tmp_path, 30)
    (tmp_path / "a").chmod(0)
    try:
        assert "check path and rights" in refusal(tmp_path)
    finally:
        (tmp_path / "a").chmod(0o700)


def test_without_pillow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture_folder(tmp_path, 30)
    for name in ("PIL", "PIL.Image"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r'pip install "xlenet\[images\]"'):
        load(tmp_path)
    np.savez(tmp_path / "mine.npz", x_train=np.zeros((9, 28, 28), np.uint8), y_train=np.arange(9) % 3)
    assert len(load(tmp_path / "mine.npz").x_test) == 3, "what needs no scaling needs no Pillow"
    np.savez(tmp_path / "mine.npz", x_train=np.zeros((9, 64, 64), np.uint8), y_train=np.arange(9) % 3)
    with pytest.raises(MissingExtraError, match=r"making 32 x 32 pixels of 64 x 64: got no usable Pillow"):
        load(tmp_path / "mine.npz")


def test_the_readers_are_loaded_when_they_are_needed() -> None:
    code = (
        "import sys; before = set(sys.modules); from xlenet.data import load; "  # Python's own start may load some
        "print([m for m in ('PIL', 'zipfile', 'xlenet.data.folder') if m in sys.modules.keys() - before])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
