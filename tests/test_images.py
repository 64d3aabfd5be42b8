"""Labelled images on the device: bytes in, normalised batches out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.functional.messages import message
from tests.libraries import Lib
from tests.networks import on
from xlenet import Workspace
from xlenet.backend import batch_last
from xlenet.data.images import Images, Normalization


def draw(rng: np.random.Generator, n: int = 11, channels: int = 2) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(0, 256, (n, channels, 4, 3), np.uint8), rng.integers(0, 5, n)


def normalised(x: np.ndarray, normalization: Normalization) -> np.ndarray:
    """The formula, image by image and channel by channel."""
    out = np.zeros(x.shape)
    for image, channel in np.ndindex(x.shape[:2]):
        mean, std = normalization.mean[channel], normalization.std[channel]
        out[image, channel] = (x[image, channel].astype(np.float64) - mean) / std
    return out


# ==== normalisation ====


def test_mean_and_std_are_those_of_each_channel(rng: np.random.Generator) -> None:
    x, y = draw(rng)
    found = Images(x, y).normalization
    np.testing.assert_allclose(found.mean, x.mean(axis=(0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(found.std, x.std(axis=(0, 2, 3)), rtol=1e-13)
    assert all(type(number) is float for numbers in found for number in numbers), "they go into a file as JSON"


def test_batches_have_mean_0_and_variance_1_over_the_whole_set(lib: Lib, rng: np.random.Generator) -> None:
    x, y = draw(rng, 200)
    with on(lib):
        batch = lib.to_numpy(Images(x, y, dtype="float64").batch(slice(None))[0])
    np.testing.assert_allclose(batch.mean(axis=(0, 2, 3)), 0, atol=1e-13)
    np.testing.assert_allclose(batch.std(axis=(0, 2, 3)), 1, rtol=1e-13)


def test_a_test_set_takes_its_training_sets_numbers(lib: Lib, rng: np.random.Generator) -> None:
    x, y = draw(rng)
    with on(lib):
        train = Images(x, y)
        test = Images(x // 2, y, train.normalization, dtype="float64")
    assert test.normalization == train.normalization
    lib.assert_close(test.batch(slice(None))[0], normalised(x // 2, train.normalization), atol=1e-12)


def test_images_of_one_colour_are_no_division_by_zero() -> None:
    images = Images(np.full((3, 1, 2, 2), 9, np.uint8), np.zeros(3, int))
    assert images.normalization == Normalization((9.0,), (1.0,))
    assert not images.batch(slice(None))[0].any()


# ==== batches ====


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("lend", [False, True])
def test_a_batch_is_the_formula(lib: Lib, rng: np.random.Generator, dtype: str, rtol: float, lend: bool) -> None:
    x, y = draw(rng)
    with on(lib):
        images = Images(x, y, Normalization((100.0, 3.0), (50.0, 0.5)), dtype=dtype)
    order = rng.permutation(11)[:4]
    work = Workspace() if lend else None
    for which, picked in ((lib.asarray(order), order), (slice(3, 9), slice(3, 9)), (slice(9, 11), slice(9, 11))):
        batch, labels = images.batch(which, work)
        lib.assert_close(batch, normalised(x[picked], images.normalization), rtol=rtol, atol=rtol * 500, dtype=dtype)
        lib.assert_equal(labels, y[picked], dtype="int64")
        if work is not None:
            work.end_step()


def test_an_image_may_be_asked_for_twice(lib: Lib, rng: np.random.Generator) -> None:
    x, y = draw(rng)
    with on(lib):
        images = Images(x, y)
    batch = lib.to_numpy(images.batch(lib.asarray([3, 3, 10]))[0])
    np.testing.assert_array_equal(batch[0], batch[1])
    assert not np.array_equal(batch[0], batch[2])


@pytest.mark.parametrize("which", [slice(0, 4), np.array([5, 0, 7])])
def test_the_batch_is_innermost_in_memory(rng: np.random.Generator, which: Any) -> None:
    batch, _ = Images(*draw(rng)).batch(which)
    assert batch_last(batch).flags.c_contiguous


def test_a_batch_is_the_callers_own(rng: np.random.Generator) -> None:
    x, y = draw(rng)
    images = Images(x, y)
    first, _ = images.batch(slice(0, 3))
    kept = first.copy()
    second, _ = images.batch(slice(3, 6))
    assert not np.shares_memory(first, second)
    second[...] = 0
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(images.batch(slice(0, 3))[0], kept)


def test_images_live_as_bytes_where_the_default_says(lib: Lib, rng: np.random.Generator) -> None:
    x, y = draw(rng)
    with on(lib):
        images = Images(x, y.astype(np.uint8))
    lib.assert_equal(images.x, x, dtype="uint8")
    lib.assert_equal(images.y, y, dtype="int64")
    for array in images.batch(slice(0, 2)):
        lib.assert_native(array)


def test_read_only_and_strided_images_are_taken(lib: Lib, rng: np.random.Generator) -> None:
    x, y = draw(rng, 22)
    x.flags.writeable = y.flags.writeable = False
    with on(lib):
        images = Images(x[::2, :, :, ::-1], y[::2], dtype="float64")
    expected = normalised(x[::2, :, :, ::-1], images.normalization)
    lib.assert_close(images.batch(slice(None))[0], expected, atol=1e-12)
    if lib.name == "numpy":
        assert images.x.flags.c_contiguous, "an image is picked in one piece"


def test_length_and_classes(rng: np.random.Generator) -> None:
    x, _ = draw(rng, 4)
    images = Images(x, np.array([0, 6, 2, 6]))
    assert len(images) == 4
    assert images.classes == 7


# ==== mistakes ====


@pytest.mark.parametrize(
    ("x", "y", "error", "got", "expected"),
    [
        (np.zeros((2, 1, 3, 3), np.float32), [0, 1], TypeError, "x float32", "uint8"),
        (np.zeros((2, 1, 3, 3), np.int64), [0, 1], TypeError, "x int64", "uint8"),
        (np.zeros((2, 1, 3, 3), np.uint8), [0.0, 1.0], TypeError, "y float64", "integers"),
        (np.zeros((2, 1, 3, 3), np.uint8), [True, False], TypeError, "y bool", "integers"),
        (np.zeros((2, 3, 3), np.uint8), [0, 1], ValueError, "x (2, 3, 3)", "(N, C, H, W)"),
        (np.zeros((2, 9), np.uint8), [0, 1], ValueError, "x (2, 9)", "(N, C, H, W)"),
        (np.zeros((2, 1, 3, 3), np.uint8), [0, 1, 2], ValueError, "y (3,)", "(N,)"),
        (np.zeros((2, 1, 3, 3), np.uint8), [[0, 1], [1, 0]], ValueError, "y (2, 2)", "(N,)"),
        (np.zeros((2, 1, 3, 3), np.uint8), 1, ValueError, "y ()", "(N,)"),
        (np.zeros((0, 1, 3, 3), np.uint8), np.zeros(0, int), ValueError, "x (0, 1, 3, 3)", "not empty"),
        (np.zeros((2, 0, 3, 3), np.uint8), [0, 1], ValueError, "x (2, 0, 3, 3)", "not empty"),
        (np.zeros((2, 1, 3, 3), np.uint8), [0, -1], ValueError, "a label -1", "0 or more"),
    ],
)
def test_what_are_no_labelled_images_is_refused(
    x: Any, y: Any, error: type[Exception], got: str, expected: str
) -> None:
    with pytest.raises(error, match=message("Images", got=got, expected=expected)):
        Images(x, np.asarray(y))


@pytest.mark.parametrize("dtype", ["float16", "int32", "double precision"])
def test_another_type_is_refused(rng: np.random.Generator, dtype: str) -> None:
    with pytest.raises(ValueError, match=message("Images", got=f"dtype {dtype!r}", expected="'float32' or 'float64'")):
        Images(*draw(rng), dtype=dtype)


@pytest.mark.parametrize(
    "normalization",
    [Normalization((1.0,), (2.0,)), Normalization((1.0, 2.0), (3.0,)), Normalization((1.0, 2.0), (1.0, 0.0))],
)
def test_a_normalisation_that_does_not_fit_is_refused(rng: np.random.Generator, normalization: Normalization) -> None:
    """Of another number of channels it would be broadcast over them in silence, and 0 would divide."""
    with pytest.raises(ValueError, match=r"^Images: got .*normali[sz]ation.*; expected .*; .*\w"):
        Images(*draw(rng), normalization)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_type_may_be_the_librarys_own(lib: Lib, rng: np.random.Generator, dtype: str) -> None:
    x, y = draw(rng)
    with on(lib):
        images = Images(x, y, dtype=getattr(lib.xp, dtype))
    assert lib.dtype_name(images.batch(slice(None))[0]) == dtype
