"""Pictures out of files: of every kind that Pillow decodes, the right way up, and damaged."""

from __future__ import annotations

import io
import os
import struct
import sys
import types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.libraries import skip_or_fail
from xlenet import pictures
from xlenet.data import picture as reader
from xlenet.errors import DataError, DataNotFoundError, MissingExtraError
from xlenet.pictures import each_picture, pictures_in, read_picture

GREY = np.add.outer(np.arange(6) * 20, np.arange(9) * 10).astype(np.uint8)  # (6, 9), nowhere symmetric
COLOURS = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decode(data: bytes) -> Any:
    return reader.decode(io.BytesIO(data), "picture", "read_picture")


def of(values: Any, mode: str | None = None) -> Image.Image:
    image = Image.fromarray(values)
    return image.convert(mode) if mode else image


# ==== kinds ====

KINDS: dict[str, tuple[Callable[[], bytes], Any, int]] = {
    "PNG": (lambda: encoded(of(GREY), "PNG"), GREY, 0),
    "PNG in colours": (lambda: encoded(of(COLOURS), "PNG"), COLOURS, 0),
    "interlaced": (lambda: encoded(of(COLOURS), "PNG", interlace=1), COLOURS, 0),
    "one bit": (lambda: encoded(of(GREY > 90), "PNG"), 255 * (GREY > 90), 0),
    "palette": (lambda: encoded(of(COLOURS).quantize(200), "PNG"), COLOURS, 12),
    "16 bits": (lambda: encoded(of(GREY.astype(np.uint16) * 257), "PNG"), GREY, 0),
    "16 bits, in between": (lambda: encoded(of(GREY.astype(np.uint16) * 257 + 100), "PNG"), GREY, 0),
    "16 bits, TIFF": (lambda: encoded(of(GREY.astype(np.uint16) * 257), "TIFF"), GREY, 0),
    "16 bits, high": (lambda: encoded(of(np.repeat(GREY, 400, 0).astype(np.uint16) * 257), "TIFF"),
                      np.repeat(GREY, 400, 0), 0),
    "32 bits": (lambda: encoded(of(GREY.astype(np.int32) * 257), "TIFF"), GREY, 0),
    "floating, to 1": (lambda: encoded(of((GREY / 255).astype(np.float32)), "TIFF"), GREY, 0),
    "floating, to 255": (lambda: encoded(of(GREY.astype(np.float32)), "TIFF"), GREY, 0),
    "JPEG": (lambda: encoded(of(GREY), "JPEG", quality=95), GREY, 10),
    "CMYK": (lambda: encoded(of(np.repeat(GREY[..., None], 3, 2), "CMYK"), "JPEG", quality=95),
             np.repeat(GREY[..., None], 3, 2), 12),
    "YCbCr": (lambda: encoded(of(COLOURS, "YCbCr"), "TIFF"), COLOURS, 4),
    "GIF": (lambda: encoded(of(GREY), "GIF"), GREY, 2),
    "BMP": (lambda: encoded(of(GREY), "BMP"), GREY, 0),
    "PPM": (lambda: encoded(of(COLOURS), "PPM"), COLOURS, 0),
    "WebP": (lambda: encoded(of(COLOURS), "WEBP", lossless=True), COLOURS, 0),
    "TGA": (lambda: encoded(of(COLOURS), "TGA"), COLOURS, 0),
}  # fmt: skip


def is_read_by_pillow(kind: str) -> bool:
    """Whether Pillow reads what it has written: before version 13 it does not know a TIFF of its own in YCbCr."""
    with Image.open(io.BytesIO(KINDS[kind][0]())) as image:
        return kind != "YCbCr" or image.mode == "YCbCr"


EACH_KIND = [
    pytest.param(kind, marks=pytest.mark.skipif(not is_read_by_pillow(kind), reason=f"this Pillow reads no {kind}"))
    for kind in KINDS
]


@pytest.mark.parametrize("kind", EACH_KIND)
def test_what_is_in_a_picture(kind: str, tmp_path: Path) -> None:
    make, expected, off = KINDS[kind]
    (tmp_path / "picture").write_bytes(make())
    picture = read_picture(tmp_path / "picture")
    assert picture.dtype == np.uint8
    values = picture.astype(int)
    if values.ndim == 3 and np.ndim(expected) == 2:  # grey in colours is grey all the same
        assert (values == values[..., :1]).all()
        values = values[..., 0]
    np.testing.assert_allclose(values, expected, atol=off)


ALPHA = np.dstack([COLOURS, 250 - GREY])
TRANSPARENT: dict[str, Callable[[], bytes]] = {
    "RGBA": lambda: encoded(of(ALPHA), "PNG"),
    "LA": lambda: encoded(of(ALPHA, "LA"), "PNG"),
    "a grey that stands for nothing": lambda: encoded(of(GREY), "PNG", transparency=0),
    "a colour that stands for nothing": lambda: encoded(of(COLOURS), "PNG", transparency=(0, 255, 0)),
    "a palette entry that does": lambda: encoded(of(GREY).quantize(50), "PNG", transparency=0),
    "GIF": lambda: encoded(of(GREY).quantize(50), "GIF", transparency=0),
}


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_what_is_transparent_is_told(kind: str) -> None:
    picture = decode(TRANSPARENT[kind]())
    assert picture.shape == (6, 9, 4)
    assert picture[..., 3].min() < picture[..., 3].max()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_the_camera_was_held(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turns: list[Callable[[Any], Any]] = [
        lambda a: a, lambda a: a[:, ::-1], lambda a: a[::-1, ::-1], lambda a: a[::-1], lambda a: a.T,
        lambda a: np.rot90(a, -1), lambda a: a[::-1, ::-1].T, lambda a: np.rot90(a, 1),
    ]  # fmt: skip
    np.testing.assert_array_equal(decode(encoded(of(GREY), "PNG", exif=exif)), turns[orientation - 1](GREY))


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [of(GREY), of(255 - GREY)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(decode(data)[..., 0].astype(int) if decode(data).ndim == 3
                               else decode(data).astype(int), GREY, atol=2)  # fmt: skip


# ==== damaged, hostile ====


def png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


SOUND = encoded(of(GREY), "PNG")
DAMAGED = {
    "empty": (b"", "no picture of a known kind"),
    "words": (b"hello", "no picture of a known kind"),
    "a web page": (b"<html></html>", "no picture of a known kind"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture of a known kind"),
    "cut in the header": (SOUND[:20], "Truncated"),
    "cut in the middle": (SOUND[:-30], "truncated"),
    "JPEG, cut": (encoded(of(COLOURS), "JPEG")[:-20], "truncated"),
    "JPEG, cut in the header": (encoded(of(COLOURS), "JPEG")[:-40], "load|truncated|no picture of a known kind"),
    "of 10^10 pixels": (png(100_000, 100_000), r"pixels|exceeds limit"),
    "of 10^8 pixels": (png(10_000, 10_000), r"10000 x 10000 pixels, of which 50,000,000 are the most"),
    "of no pixels": (png(0, 5), "."),
    "of damaged pixels": (png(100, 100, b"\0" * 50), "."),
    "a floating NaN": (encoded(of(np.full((2, 2), np.nan, np.float32)), "TIFF"), "NaN among them"),
    "beyond white": (encoded(of(np.full((2, 2), 1e9, np.float32)), "TIFF"), r"pixels of float32 from 1e\+09"),
    "negative": (encoded(of(np.full((2, 2), -5, np.int32)), "TIFF"), "pixels of int32 from -5 to -5, not 8 or 16 bits"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_picture_is_refused_in_words(case: str, tmp_path: Path) -> None:
    data, reason = DAMAGED[case]
    (tmp_path / "picture.png").write_bytes(data)
    with pytest.raises(DataError, match=rf"^read_picture: got '.*picture\.png' \(.*{reason}.*\); expected a picture"):
        read_picture(tmp_path / "picture.png")


def test_a_note_that_is_damaged_is_no_reason_to_refuse_the_picture(tmp_path: Path) -> None:
    """Neither of a picture that is asked about, nor of one to learn from."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(of(COLOURS), "PNG", exif=exif.tobytes()[:12])
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        with pytest.raises(Exception, match=r"buffer of 4 bytes"):
            ImageOps.exif_transpose(image)
    (tmp_path / "a.png").write_bytes(data)
    for read in (read_picture, reader.read_on_white):
        np.testing.assert_array_equal(read(tmp_path / "a.png"), COLOURS)


@pytest.mark.parametrize("kind", [*EACH_KIND, *TRANSPARENT])
def test_who_learns_sees_what_who_is_asked_sees(kind: str, tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(KINDS[kind][0]() if kind in KINDS else TRANSPARENT[kind]())
    asked, learnt = read_picture(tmp_path / "picture"), reader.read_on_white(tmp_path / "picture")
    assert reader.size_of_picture(tmp_path / "picture") == asked.shape[:2]
    if asked.shape[2:] == (4,):
        alpha = asked[..., 3:].astype(int)
        asked = np.rint((asked[..., :3] * alpha + 255 * (255 - alpha)) / 255).astype(int)
    if asked.ndim == 3 and learnt.ndim == 2:
        assert (asked == asked[..., :1]).all()
        asked = asked[..., 0]
    np.testing.assert_allclose(learnt.astype(int), asked, atol=1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_a_picture_to_learn_from_is_not_unpacked_larger_than_it_is_wanted(mode: str, tmp_path: Path) -> None:
    large = of(np.repeat(np.repeat(COLOURS, 100, 0), 100, 1)).convert(mode)  # 600 x 900
    large.save(tmp_path / "a.tif")
    found = reader.read_on_white(tmp_path / "a.tif", 10)
    assert found.shape[:2] == (55, 82)  # a whole 11 times smaller, and not below 80
    of(np.repeat(GREY, 1000, 0).astype(np.uint16) * 257).save(tmp_path / "deep.tif")
    assert len(reader.read_on_white(tmp_path / "deep.tif", 10)) == 80
    whole = reader.read_on_white(tmp_path / "a.tif")
    assert whole.shape[:2] == (600, 900)
    assert abs(found.mean() - whole.mean()) < 1


def test_a_large_picture_that_is_sound_is_read_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # Pillow would warn from here on, and refuse twice as many
    np.testing.assert_array_equal(decode(SOUND), GREY)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="which does not exist"):
        read_picture(tmp_path / "absent.png")
    with pytest.raises(DataError, match="no file can have such a name"):
        read_picture("a\0b")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DataError, match="a pipe or a device"):
            read_picture(tmp_path / "pipe")


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r'pip install "xlenet\[images\]"'):
        decode(SOUND)


# ==== folders, standard input ====


def test_pictures_of_a_folder_come_sorted(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", "notes.txt", ".hidden.png", "c.webp"):
        (tmp_path / name).write_bytes(SOUND)
    (tmp_path / "folder.png").mkdir()
    assert [Path(path).name for path in pictures_in(tmp_path)] == ["a.jpeg", "b.PNG", "c.webp"]


def test_a_folder_without_pictures_and_one_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="without a picture in it"):
        pictures_in(tmp_path)
    with pytest.raises(DataError, match="expected one that can be read"):
        pictures_in(tmp_path / "absent")


def test_what_is_wrong_with_one_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(SOUND)
    (tmp_path / "b.png").write_bytes(b"hello")
    (tmp_path / "empty").mkdir()
    paths = [str(tmp_path / "empty"), str(tmp_path), "a\0b", str(tmp_path / "a.png")]
    found = [(Path(path).name, type(picture).__name__) for path, picture in each_picture(paths)]
    assert found == [
        ("empty", "DataNotFoundError"), ("a.png", "ndarray"), ("b.png", "DataError"), ("a\0b", "DataError"),
        ("a.png", "ndarray"),
    ]  # fmt: skip


def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes | None) -> None:
    buffer = None if data is None else io.BytesIO(data)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=buffer) if buffer else None)


def test_a_picture_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(monkeypatch, SOUND)
    np.testing.assert_array_equal(read_picture("-"), GREY)


@pytest.mark.parametrize("data", [None, b"", b"too long"])
def test_nothing_or_too_much_on_standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes | None) -> None:
    monkeypatch.setattr(pictures, "MOST_BYTES", 7)
    standard_input(monkeypatch, data)
    with pytest.raises(DataError, match=r"got (nothing|more than 7 bytes) on standard input; expected a picture"):
        read_picture("-")


def test_pillow_is_there() -> None:
    """So that a run without it is told, and no test above passes for want of it."""
    if not hasattr(Image, "open"):
        skip_or_fail("XLENET_REQUIRE_PARTNERS", "pillow", "Pillow is not installed")
