"""The hash behind whatever is drawn in a step: its words, its keys, and its bits, against whole numbers of Python.

What follows for the numbers that are dropped, and for images that are distorted, is tested with these.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.functional.messages import message
from tests.libraries import Lib, open_library
from xlenet.backend import zeros
from xlenet.functional.hashing import hash_in_place, keys, seed_words

SEEDS = [0, 1, 2**31, 2**32 - 1, 2**32, 2**63 + 5, 2**64 - 1]
STEPS = [0, 1, 7, 2**31, 2**32 - 1]
WORD = 2**32


def bits(lib: Lib, indices: np.ndarray, seed: int, step: Any) -> np.ndarray:
    """The bits of these indices."""
    x = lib.asarray([0.0])
    hashed = zeros(indices.shape, like=x, dtype="uint32")
    hashed[...] = lib.asarray(indices, "uint32")
    hash_in_place(hashed, zeros(indices.shape, like=x, dtype="uint32"), keys("it", seed, step, x=x, xp=lib.xp), lib.xp)
    return lib.to_numpy(hashed)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("seed", SEEDS)
def test_bits_against_whole_numbers(lib: Lib, seed: int, step: int) -> None:
    expected = np.array(oracles.random_bits(60, seed, step))
    for given in (step, lib.asarray([step], "int64")):
        np.testing.assert_array_equal(bits(lib, np.arange(60), seed, given), expected)
    np.testing.assert_array_equal(bits(lib, np.arange(60).reshape(3, 20).T, seed, step), expected.reshape(3, 20).T)


def test_the_largest_index_has_its_bits(lib: Lib) -> None:
    """No sum in between may need more than 32 bits."""
    first, second = (int(lib.to_numpy(k)[0]) for k in keys("it", 3, 4, x=lib.asarray([0.0]), xp=lib.xp))
    for index in (WORD - 1, WORD - 2, 2**31):
        expected = oracles.lowbias32((oracles.lowbias32(index ^ first) + second) % WORD)
        assert bits(lib, np.array([index]), 3, 4).tolist() == [expected]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "uint32"])
def test_a_step_of_any_whole_type(lib: Lib, dtype: str) -> None:
    found = bits(lib, np.arange(5), 2, lib.asarray([200], dtype))
    assert found.tolist() == oracles.random_bits(5, 2, 200)


def test_steps_go_round_behind_32_bits(lib: Lib) -> None:
    """Which nobody reaches; it is no error, on the host as on the device."""
    for step in (3, 3 + WORD, 3 + 5 * WORD):
        for given in (step, lib.asarray([step], "int64")):
            assert bits(lib, np.arange(4), 1, given).tolist() == oracles.random_bits(4, 1, 3)


def test_the_step_is_left_as_it_was(lib: Lib) -> None:
    step = zeros((1,), like=lib.asarray([0.0]), dtype="uint32")
    keys("it", 1, step, x=step, xp=lib.xp)
    assert lib.to_numpy(step).tolist() == [0]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_words_of_a_seed_are_whole_numbers_of_32_bits(seed: int) -> None:
    low, high = seed_words("it", seed)
    assert (type(low), type(high)) == (int, int)
    assert 0 < low < WORD
    assert 0 < high < WORD
    assert low == oracles.lowbias32((seed + 0x9E3779B9) % WORD)
    assert high == oracles.lowbias32((seed // WORD + low) % WORD)


def test_no_two_seeds_have_both_words_alike() -> None:
    """As many as there are, they could not: each word is a bijection of its part."""
    seeds = [*range(3000), *(k << 32 for k in range(3000)), *(1 << k for k in range(64))]
    assert len({seed_words("it", seed) for seed in seeds}) == len(set(seeds))


@pytest.mark.parametrize(
    ("seed", "error", "expected"),
    [(-1, ValueError, "at least 0"), (2**64, ValueError, "below 2^64"), (1.5, TypeError, "whole number"),
     (True, TypeError, "whole number"), (None, TypeError, "whole number")],
)  # fmt: skip
def test_a_seed_that_is_none_is_refused(seed: Any, error: type[Exception], expected: str) -> None:
    with pytest.raises(error, match=message("it", got=f"seed {seed}", expected=expected)):
        seed_words("it", seed)


@pytest.mark.parametrize("step", [[1, 2], [], [[1]], [1.0], [True]], ids=str)
def test_an_array_that_is_no_step_is_refused(lib: Lib, step: Any) -> None:
    with pytest.raises(TypeError, match=message("it", got="step ", expected="whole numbers, (1,)")):
        keys("it", 0, lib.asarray(step), x=lib.asarray([0.0]), xp=lib.xp)


@pytest.mark.parametrize(
    ("step", "error", "expected"),
    [(-1, ValueError, "at least 0"), (0.5, TypeError, "whole number"), ("1", TypeError, "whole number")],
)
def test_a_number_that_is_no_step_is_refused(lib: Lib, step: Any, error: type[Exception], expected: str) -> None:
    with pytest.raises(error, match=message("it", got=f"step {step!r}", expected=expected)):
        keys("it", 0, step, x=lib.asarray([0.0]), xp=lib.xp)


def test_a_step_of_another_library_is_refused(device_lib: Lib) -> None:
    with pytest.raises(TypeError, match=message("it", got="step of numpy", expected="one library")):
        keys("it", 0, open_library("numpy").asarray([1]), x=device_lib.asarray([0.0]), xp=device_lib.xp)


def test_each_bit_of_an_index_turns_over_half_of_the_bits(numpy_lib: Lib) -> None:
    """And which half is left to chance: each of 32 bits by each of 24, in 4,000 indices."""
    indices = np.random.default_rng(1).integers(0, WORD, 4000)
    before = bits(numpy_lib, indices, 6, 2)
    for bit in range(32):
        turned = before ^ bits(numpy_lib, indices ^ (1 << bit), 6, 2)
        shares = np.unpackbits(turned.view(np.uint8).reshape(-1, 4), axis=1).mean(axis=0)
        assert np.abs(shares - 0.5).max() < 5.5 * 0.5 / np.sqrt(4000)


def test_no_two_indices_have_the_same_bits(numpy_lib: Lib) -> None:
    assert len(np.unique(bits(numpy_lib, np.arange(300_000), 6, 2))) == 300_000
