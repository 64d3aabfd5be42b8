"""A data set of somebody's own on its way to be a `Dataset`: what a file held, before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import DataError

# Told in words while a data set is read: what was left out, held out, or resized.
Note = Callable[[str], None]

MOST_BYTES = 1 << 32  # of one data set, unpacked


def check_size(count: int, channels: int, side: int) -> None:
    """Check that `count` images of `side` x `side` are not too many, before they are made.

    Small ones may grow: a file of a hundred kilobytes holds millions of single pixels.

    Raises:
        UnfitError: they are.
    """
    size = count * channels * side * side
    if size > MOST_BYTES:
        raise UnfitError(
            f"with {count:,} images, {size:,} bytes as {side} x {side}; expected at most {MOST_BYTES:,}; give fewer"
        )


class UnfitError(DataError):
    """What is wrong with data, as the end of a sentence that begins with where they lie."""


class Parts(NamedTuple):
    """Pixels and labels as they were found, of whatever type; no test part is None."""

    x_train: Any
    y_train: Any
    x_test: Any = None
    y_test: Any = None
