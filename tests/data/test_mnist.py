"""MNIST and its kin: found where they lie, fetched where they do not, and never used unchecked."""

import errno
import gzip
import hashlib
import os
import re
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.data import fakes
from tests.data.fakes import memory_below, serving, small_source
from xlenet import data, files
from xlenet.data import mnist, registry
from xlenet.data.datafile import DataFile
from xlenet.data.mnist import load_mnist
from xlenet.errors import DataError, DataNotFoundError, OutputError

SMALL = small_source()
BY_PACKAGE = small_source("boxed", seed=1, by_package=True)
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
NEVER = ()  # mirrors to ask


def put(folder, contents, suffix=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}{suffix}").write_bytes(content)


def serve(mirror, contents, folder=""):
    mirror.answers |= {f"{folder}/{name}.gz": content for name, content in contents.items()}


def load(folder, mirrors=NEVER, small=SMALL, **options):
    return load_mnist(folder, source=small.source, mirrors=mirrors, **{"timeout": 5.0} | options)


def assert_is(dataset, small):
    for x, y, part in ((dataset.x_train, dataset.y_train, "train"), (dataset.x_test, dataset.y_test, "t10k")):
        images, labels = small.arrays[f"{part}-images-idx3-ubyte"], small.arrays[f"{part}-labels-idx1-ubyte"]
        assert (x.dtype, y.dtype) == (np.uint8, np.int64)
        assert x.flags.c_contiguous
        np.testing.assert_array_equal(x, images[:, None], strict=True)
        np.testing.assert_array_equal(y, labels)
    assert (dataset.name, dataset.class_names) == (small.source.name, small.source.class_names)


def all_files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


DOWNLOADED = sorted(f"small/{name}.gz" for name in SMALL.packed)


# ==== where the files lie ====


@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("layout", [".", "small", "SMALL/raw"])
def test_files_are_found_in_each_layout(tmp_path, layout, suffix):
    put(tmp_path / layout, SMALL.packed if suffix else SMALL.plain, suffix)
    assert_is(load(tmp_path), SMALL)
    assert_is(load(str(tmp_path)), SMALL)


def test_files_may_lie_in_several_places(tmp_path):
    for place, name in zip([".", "small", "SMALL/raw", "."], SMALL.packed, strict=True):
        put(tmp_path / place, {name: SMALL.packed[name]})
    assert_is(load(tmp_path), SMALL)


def test_the_folder_of_the_name_comes_first(tmp_path):
    put(tmp_path / "small", SMALL.packed)
    put(tmp_path, dict.fromkeys(SMALL.packed, b"damaged"))
    assert_is(load(tmp_path), SMALL)


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_a_data_set_known_by_its_packages_is_found_packed_and_plain(tmp_path, suffix):
    put(tmp_path, BY_PACKAGE.packed if suffix else BY_PACKAGE.plain, suffix)
    assert_is(load(tmp_path, small=BY_PACKAGE), BY_PACKAGE)


def test_files_of_another_data_set_with_the_same_names_are_passed_over(tmp_path, mirror, monkeypatch):
    other = small_source("other", seed=2)
    put(tmp_path, other.packed)
    serve(mirror, SMALL.packed)
    monkeypatch.setattr(mnist, "SOURCES", {"small": SMALL.source, "other": other.source})
    assert_is(load(tmp_path, [mirror.url]), SMALL)
    assert_is(load(tmp_path, small=other), other)


def test_a_file_under_a_wrong_name_is_not_passed_over(tmp_path, monkeypatch):
    put(tmp_path, SMALL.packed | {IMAGES: SMALL.packed[LABELS]})
    monkeypatch.setattr(mnist, "SOURCES", {"small": SMALL.source})
    with pytest.raises(DataError, match="which is damaged or another file"):
        load(tmp_path)


def test_the_environment_is_asked_at_each_call(tmp_path, monkeypatch):
    put(tmp_path / "a", SMALL.packed)
    monkeypatch.setenv("XLENET_DATA_DIR", str(tmp_path / "a"))
    assert_is(load(None), SMALL)
    monkeypatch.setenv("XLENET_DATA_DIR", str(tmp_path / "b"))
    with pytest.raises(DataNotFoundError):
        load(None)


def test_an_argument_comes_before_the_environment(tmp_path, monkeypatch):
    put(tmp_path / "a", SMALL.packed)
    monkeypatch.setenv("XLENET_DATA_DIR", str(tmp_path / "b"))
    assert_is(load(tmp_path / "a"), SMALL)


def test_without_argument_and_environment_the_cache_folder_serves(tmp_path, monkeypatch):
    monkeypatch.delenv("XLENET_DATA_DIR", raising=False)
    for platform, variable in (("linux", "XDG_CACHE_HOME"), ("win32", "LOCALAPPDATA")):
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.setenv(variable, str(tmp_path / platform))
        assert data.default_data_dir() == tmp_path / platform / "xlenet"


@pytest.mark.parametrize("value", [None, "", "relative"])
@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", ".cache"),
        ("darwin", "XDG_CACHE_HOME", "Library/Caches"),
        ("win32", "LOCALAPPDATA", "AppData/Local"),
    ],
)
def test_the_cache_folder_of_each_platform(tmp_path, monkeypatch, platform, variable, expected, value):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("XLENET_DATA_DIR", "")
    if value is None:
        monkeypatch.delenv(variable, raising=False)
    else:
        monkeypatch.setenv(variable, value)
    assert data.default_data_dir() == tmp_path / expected / "xlenet"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for variable in ("XLENET_DATA_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DataNotFoundError, match="set XLENET_DATA_DIR"):
        data.default_data_dir()


# ==== fetching ====


@pytest.mark.parametrize("small", [SMALL, BY_PACKAGE], ids=["by content", "by package"])
def test_what_is_missing_is_fetched_once_and_kept_as_it_came(tmp_path, mirror, small):
    serve(mirror, small.packed, "/folder")
    assert_is(load(tmp_path / "new", [f"{mirror.url}/folder/"], small), small)
    place = tmp_path / "new" / small.source.name
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {
        f"{name}.gz": content for name, content in small.packed.items()
    }
    assert len(mirror.asked) == 4
    assert_is(load(tmp_path / "new", [mirror.url], small), small)
    assert len(mirror.asked) == 4


def test_only_the_missing_file_is_fetched(tmp_path, mirror):
    put(tmp_path, {name: content for name, content in SMALL.packed.items() if name != LABELS})
    serve(mirror, SMALL.packed)
    assert_is(load(tmp_path, [mirror.url]), SMALL)
    assert mirror.asked == [f"/{LABELS}.gz"]


def test_any_compression_of_the_right_content_will_do(tmp_path, mirror):
    serve(mirror, {name: gzip.compress(content, 1, mtime=7) for name, content in SMALL.plain.items()})
    assert_is(load(tmp_path, [mirror.url]), SMALL)


def test_a_mirror_that_unpacks_is_right_and_its_file_is_named_for_what_it_is(tmp_path, mirror):
    serve(mirror, SMALL.plain)
    assert_is(load(tmp_path, [mirror.url]), SMALL)
    assert all_files(tmp_path) == sorted(f"small/{name}" for name in SMALL.plain)


def test_progress_is_told(tmp_path, mirror):
    serve(mirror, SMALL.packed)
    told = []
    load(tmp_path, [mirror.url], progress=lambda *what: told.append(what))
    assert told == [(f"{name}.gz", len(content), len(content)) for name, content in SMALL.packed.items()]


def test_a_silent_mirror_is_waited_for_no_longer_than_asked(tmp_path, mirror):
    mirror.answers[f"/{IMAGES}.gz"] = fakes.silent
    start = time.monotonic()
    with pytest.raises(DataNotFoundError, match=r"no answer in 0\.1 s|timed out"):
        load(tmp_path, [mirror.url], timeout=0.1)
    assert time.monotonic() - start < 2


def test_nothing_is_printed(tmp_path, mirror, capfd):
    serve(mirror, SMALL.packed)
    load(tmp_path, [mirror.url])
    assert capfd.readouterr() == ("", "")


def flipped(content, at=-12):
    at %= len(content)
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


NOISE = fakes.idx_bytes(np.zeros((6, 5, 4), np.uint8))
WRONG_BYTES = {
    "nothing": b"",
    "a web page": b"<html>Please log in</html>",
    "cut short": SMALL.packed[IMAGES][:-20],
    "one bit": flipped(SMALL.packed[IMAGES]),
    "one bit of the content": gzip.compress(flipped(SMALL.plain[IMAGES])),
    "other images": gzip.compress(NOISE),
    "another file": SMALL.packed[LABELS],
    "one byte more": gzip.compress(SMALL.plain[IMAGES] + b"x"),
    "one byte less": gzip.compress(SMALL.plain[IMAGES][:-1]),
    "a bomb": gzip.compress(bytes(3_000_000)),
    "too large": bytes(10_000),
}


@pytest.mark.parametrize("case", WRONG_BYTES)
def test_a_mirror_with_wrong_bytes_is_passed_over(tmp_path, mirror, case):
    serve(mirror, SMALL.packed | {IMAGES: WRONG_BYTES[case]}, "/bad")
    serve(mirror, SMALL.packed, "/good")
    assert_is(load(tmp_path, [f"{mirror.url}/bad", f"{mirror.url}/good"]), SMALL)
    assert all_files(tmp_path) == DOWNLOADED
    assert (tmp_path / "small" / f"{IMAGES}.gz").read_bytes() == SMALL.packed[IMAGES]


@pytest.mark.parametrize("case", WRONG_BYTES)
def test_wrong_bytes_never_reach_the_disk(tmp_path, mirror, case):
    serve(mirror, SMALL.packed | {IMAGES: WRONG_BYTES[case]})
    with pytest.raises(DataNotFoundError):
        load(tmp_path, [mirror.url])
    assert all_files(tmp_path) == []


def test_from_the_network_only_sha256_is_trusted(tmp_path, mirror):
    serve(mirror, BY_PACKAGE.plain)
    with pytest.raises(DataNotFoundError, match=r"no SHA-256 is known; expected the \.gz file"):
        load(tmp_path, [mirror.url], BY_PACKAGE)
    serve(mirror, {name: gzip.compress(content, 1, mtime=7) for name, content in BY_PACKAGE.plain.items()})
    with pytest.raises(DataNotFoundError, match=r"got the \.gz file with sha256"):
        load(tmp_path, [mirror.url], BY_PACKAGE)
    assert all_files(tmp_path) == []


def test_unreachable_data_say_where_they_were_looked_for_and_what_cures_it(tmp_path, mirror):
    with serving() as second, pytest.raises(DataNotFoundError) as caught:
        load(tmp_path, [mirror.url, second.url])
    message = str(caught.value)
    for place in (tmp_path / "small", tmp_path / "SMALL" / "raw", tmp_path):
        assert str(place) in message
    for server in (mirror, second):
        assert f"{server.url}: got HTTP status 404" in message
        assert server.asked == [f"/{IMAGES}.gz"]  # and then it stops
    for cure in (IMAGES, "connect to the network", "data_dir", "--data-dir", "XLENET_DATA_DIR", "mirrors="):
        assert cure in message
    assert caught.value.exit_code == 4
    assert all_files(tmp_path) == []


def test_an_empty_list_of_mirrors_means_never_to_download(tmp_path, monkeypatch):
    monkeypatch.setattr("xlenet.data.download.fetch", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(DataNotFoundError, match="there was none to ask"):
        load(tmp_path, [])


def test_without_a_list_the_mirrors_of_the_data_set_are_asked(tmp_path, mirror):
    serve(mirror, SMALL.packed)
    source = SMALL.source._replace(mirrors=(mirror.url,))
    assert_is(load_mnist(tmp_path, source=source), SMALL)


@pytest.mark.parametrize(
    ("mirrors", "named"),
    [
        (["ftp://host/"], "'ftp://host/', which is no address of http or https"),
        (["file:///folder"], "'file:///folder', which is no address"),
        (["https://a/", "folder"], "'folder', which is no address"),
        (["https://a/", "http://a/"], "'http://a/', which is plain http to another machine"),
        (["http://192.168.0.1/"], "'http://192.168.0.1/', which is plain http to another machine"),
        (["https://me:secret@a/"], "'https://a/', which has a user name in it"),
    ],
)
def test_mirrors_are_https_or_on_this_machine(tmp_path, mirrors, named):
    pattern = rf"^load small: got the mirror {re.escape(named)}.*; expected a list of https addresses"
    with pytest.raises(ValueError, match=pattern):
        load(tmp_path, mirrors)


def test_a_lone_address_is_no_list_of_them(tmp_path):
    with pytest.raises(TypeError, match=r"^load_mnist: got mirrors 'https://a/'; expected a list of texts; "):
        load(tmp_path, "https://a/")


# ==== without a network ====

OFF = ["", "0", "off", "OFF", " no ", "false"]


@pytest.mark.parametrize("word", ["1", "true", "on", "YES", "2", "whatever"])
def test_offline_nothing_is_asked(tmp_path, monkeypatch, no_network, word):
    monkeypatch.setenv("XLENET_OFFLINE", word)
    for mirrors in (None, ["https://localhost/"], ["http://127.0.0.1:1/"]):
        with pytest.raises(DataNotFoundError) as caught:
            load(tmp_path, mirrors)
        assert str(caught.value) == (
            f"load small: got no {IMAGES} (nor .gz) in {tmp_path / 'small'}, {tmp_path / 'SMALL' / 'raw'}, {tmp_path}, "
            "and XLENET_OFFLINE is set, so that no mirror was asked; expected it in one of these folders; put the "
            "files there, name another folder with data_dir (--data-dir, XLENET_DATA_DIR), or unset XLENET_OFFLINE"
        )
    put(tmp_path, SMALL.packed)
    assert_is(load(tmp_path, None), SMALL)


@pytest.mark.parametrize("word", OFF)
def test_a_word_that_means_no_leaves_the_network_on(tmp_path, mirror, monkeypatch, word):
    monkeypatch.setenv("XLENET_OFFLINE", word)
    serve(mirror, SMALL.packed)
    assert_is(load(tmp_path, [mirror.url]), SMALL)


def test_the_guard_of_these_tests_sees_what_it_is_there_to_see(tmp_path, no_network):
    with pytest.raises(pytest.fail.Exception, match="the network was asked"):
        load(tmp_path, ["http://127.0.0.1:1/"])


# ==== files on disk that are not what they should be ====


@pytest.mark.parametrize("case", [case for case in WRONG_BYTES if case != "nothing"])
@pytest.mark.parametrize("suffix", [".gz", ""])
def test_a_wrong_file_on_disk_is_named_and_left_alone(tmp_path, mirror, case, suffix):
    serve(mirror, SMALL.packed)
    put(tmp_path / "small", {IMAGES: WRONG_BYTES[case]}, suffix)
    path = tmp_path / "small" / f"{IMAGES}{suffix}"
    with pytest.raises(DataError) as caught:
        load(tmp_path, [mirror.url])
    message = str(caught.value)
    assert not isinstance(caught.value, DataNotFoundError)
    assert repr(str(path)) in message
    assert message.count("got ") >= 2
    assert "expected" in message
    for cure in ("delete it", "data_dir", "--data-dir"):
        assert cure in message
    assert path.read_bytes() == WRONG_BYTES[case]
    assert mirror.asked == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"got 0 bytes; expected 136"),
        (SMALL.plain[IMAGES][:-1], r"got 135 bytes; expected 136"),
        (NOISE, rf"with sha256 {hashlib.sha256(NOISE).hexdigest()} \(136 bytes\); expected "),
        (SMALL.packed[IMAGES][:-20], r"damaged gzip data"),
        (gzip.compress(bytes(137), mtime=0), r"compressed data of more than 136 bytes"),
        (bytes(137), r"a file of more than 136 bytes"),
        (bytes(5000), r"a file of more than 4,233 bytes"),
    ],
    ids=["empty", "cut short", "other bytes", "gzip cut short", "gzip of too much", "too much", "far too much"],
)
def test_what_came_and_what_was_expected_is_said(tmp_path, content, message):
    put(tmp_path, {IMAGES: content}, "")
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_a_damaged_plain_file_of_a_data_set_known_by_its_packages_is_refused(tmp_path):
    put(tmp_path, BY_PACKAGE.plain | {LABELS: flipped(BY_PACKAGE.plain[LABELS], -1)}, "")
    with pytest.raises(DataError, match=f"{LABELS}.*with md5"):
        load(tmp_path, small=BY_PACKAGE)


def test_a_right_digest_does_not_make_an_idx_file(tmp_path):
    text = b"x" * 136
    file = DataFile(IMAGES, (6, 5, 4), f"sha256:{hashlib.sha256(text).hexdigest()}")
    source = SMALL.source._replace(files=(file, *SMALL.source.files[1:]))
    put(tmp_path, {IMAGES: text}, "")
    with pytest.raises(DataError, match="parse_idx: got a file that begins with 78 78 78 78"):
        load_mnist(tmp_path, source=source, mirrors=NEVER)


def test_a_bomb_on_disk_takes_little_memory(tmp_path):
    size = 1_000_000
    file = DataFile(IMAGES, (size,), f"sha256:{'0' * 64}")
    source = SMALL.source._replace(files=(file, *SMALL.source.files[1:]))
    put(tmp_path / "small", {IMAGES: gzip.compress(bytes(100_000_000), 1)})
    with memory_below(5 * size), pytest.raises(DataError, match="compressed data of more than 1,000,008 bytes"):
        load_mnist(tmp_path, source=source, mirrors=NEVER)


# ==== writing ====


def cannot_write(error):
    def fail(*_, **__):
        raise error

    return fail


NO_SPACE = OSError(errno.ENOSPC, "No space left on device")
READ_ONLY = PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize("error", [NO_SPACE, READ_ONLY], ids=["full", "read-only"])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_download_that_cannot_be_written_leaves_nothing(tmp_path, mirror, monkeypatch, call, error):
    serve(mirror, SMALL.packed)
    monkeypatch.setattr(files.os, call, cannot_write(error))
    with pytest.raises(OutputError, match=rf"{IMAGES}.*{error.strerror}.*--data-dir") as caught:
        load(tmp_path, [mirror.url])
    assert caught.value.exit_code == 5
    assert all_files(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path, mirror, monkeypatch):
    serve(mirror, SMALL.packed)
    monkeypatch.setattr(Path, "mkdir", cannot_write(READ_ONLY))
    with pytest.raises(OutputError, match="Permission denied"):
        load(tmp_path, [mirror.url])


@pytest.mark.skipif(os.name != "posix", reason="folder rights as POSIX has them")
def test_a_read_only_folder_is_an_output_error(tmp_path, mirror):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    serve(mirror, SMALL.packed)
    (tmp_path / "small").mkdir(mode=0o500)
    with pytest.raises(OutputError):
        load(tmp_path, [mirror.url])


def test_a_file_where_the_folder_should_be_is_an_output_error(tmp_path, mirror):
    serve(mirror, SMALL.packed)
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(OutputError):
        load(tmp_path / "data", [mirror.url])


def test_an_interrupt_while_writing_leaves_nothing(tmp_path, mirror, monkeypatch):
    serve(mirror, SMALL.packed)
    monkeypatch.setattr(files.os, "fsync", cannot_write(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path, [mirror.url])
    assert all_files(tmp_path) == []


def test_what_a_killed_run_has_left_is_cleared_away_and_what_another_writes_is_not(tmp_path, mirror):
    serve(mirror, SMALL.packed)
    folder = tmp_path / "small"
    put(folder, {".xlenet-0123456789abcdef": b"half", ".xlenet-fedcba9876543210": SMALL.packed[IMAGES]}, ".tmp")
    two_hours_ago = time.time() - 7200
    os.utime(folder / ".xlenet-0123456789abcdef.tmp", (two_hours_ago, two_hours_ago))
    assert_is(load(tmp_path, [mirror.url]), SMALL)
    assert all_files(tmp_path) == sorted([*DOWNLOADED, "small/.xlenet-fedcba9876543210.tmp"])


def test_several_runs_may_fetch_at_once(tmp_path, mirror):
    serve(mirror, SMALL.packed)
    start, loaded = threading.Barrier(4), []

    def run():
        start.wait(10)
        loaded.append(load(tmp_path, [mirror.url]))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(loaded) == 4
    for dataset in loaded:
        assert_is(dataset, SMALL)
    assert all_files(tmp_path) == DOWNLOADED


def test_a_file_that_another_run_has_put_there_and_holds_open_serves(tmp_path, mirror, monkeypatch):
    """Windows refuses to replace a file that is being read."""
    serve(mirror, SMALL.packed)

    def held_by_another(temporary, target):
        Path(target).write_bytes(Path(temporary).read_bytes())
        raise READ_ONLY

    monkeypatch.setattr(files.os, "replace", held_by_another)
    assert_is(load(tmp_path, [mirror.url]), SMALL)
    assert all_files(tmp_path) == DOWNLOADED


# ==== by name ====


def test_names_lead_to_their_data_sets(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(data, "load_mnist", lambda *args, **options: asked.append((args, options)))
    for name in ("mnist", "fashion-mnist"):
        data.load(name, tmp_path, mirrors=["https://a/"], timeout=1.5, progress=print)
    assert asked == [
        ((tmp_path,), {"source": source, "mirrors": ["https://a/"], "timeout": 1.5, "progress": print})
        for source in (registry.MNIST, registry.FASHION_MNIST)
    ]


def test_generated_digits_need_no_file(monkeypatch):
    monkeypatch.setattr(data, "generated_digits", lambda: "drawn")
    assert data.load("generated", "nowhere") == "drawn"


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(ValueError, match=r"load: got 'MNIST', neither .*; expected mnist, fashion-mnist, generated"):
        data.load("MNIST")


@pytest.mark.parametrize("source", registry.SOURCES.values(), ids=lambda source: source.name)
def test_the_registry_holds_together(source):
    assert [(file.name, file.shape) for file in source.files] == [
        ("train-images-idx3-ubyte", (60_000, 28, 28)),
        ("train-labels-idx1-ubyte", (60_000,)),
        ("t10k-images-idx3-ubyte", (10_000, 28, 28)),
        ("t10k-labels-idx1-ubyte", (10_000,)),
    ]
    assert [file.size for file in source.files] == [47_040_016, 60_008, 7_840_016, 10_008]
    for file in source.files:
        digests = [digest for digest in (file.digest, file.packed_digest) if digest]
        assert any(digest.startswith("sha256:") for digest in digests)  # or it could not be downloaded
        for digest in digests:
            algorithm, _, digits = digest.partition(":")
            assert len(bytes.fromhex(digits)) == hashlib.new(algorithm).digest_size
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in source.mirrors)
    assert len(set(source.class_names)) == 10


# ==== the real one ====


def test_real_mnist(mnist_dir):
    dataset = data.load("mnist", mnist_dir, mirrors=NEVER)
    assert dataset.name == "mnist"
    assert (dataset.x_train.shape, dataset.y_train.shape) == ((60_000, 1, 28, 28), (60_000,))
    assert (dataset.x_test.shape, dataset.y_test.shape) == ((10_000, 1, 28, 28), (10_000,))
    assert dataset.x_train.flags.c_contiguous
    # Facts about MNIST that were not taken from these files: its first labels, how many of each, its mean pixel.
    assert dataset.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(dataset.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert dataset.x_train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert dataset.class_names == tuple("0123456789")


def test_real_mnist_is_not_taken_for_fashion_mnist(mnist_dir):
    with pytest.raises(DataNotFoundError):
        data.load("fashion-mnist", mnist_dir, mirrors=NEVER)
