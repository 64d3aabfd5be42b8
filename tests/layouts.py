"""The same numbers in other memory: shapes and values say nothing about strides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.libraries import Lib


def contiguous(lib: Lib, values: np.ndarray) -> Any:
    return lib.asarray(values)


def fortran(lib: Lib, values: np.ndarray) -> Any:
    """The first axis innermost."""
    return lib.xp.permute_dims(lib.asarray(values.T), tuple(reversed(range(values.ndim))))


def batch_last(lib: Lib, values: np.ndarray) -> Any:
    """(N, C, H, W) to look at, (C, H, W, N) in memory."""
    n = values.ndim
    return lib.xp.permute_dims(lib.asarray(np.moveaxis(values, 0, -1)), (n - 1, *range(n - 1)))


def channels_last(lib: Lib, values: np.ndarray) -> Any:
    """(N, C, H, W) to look at, (N, H, W, C) in memory. A matrix has no such order: it stays as it is."""
    n = values.ndim
    if n < 3:
        return lib.asarray(values)
    return lib.xp.permute_dims(lib.asarray(np.moveaxis(values, 1, -1)), (0, n - 1, *range(1, n - 1)))


def gaps(lib: Lib, values: np.ndarray) -> Any:
    """Every second element along each axis of something larger, with poison in between."""
    poison = np.nan if np.issubdtype(values.dtype, np.floating) else 99
    larger = np.full([2 * size for size in values.shape], poison, values.dtype)
    every_second = (slice(None, None, 2),) * values.ndim
    larger[every_second] = values
    return lib.asarray(larger)[every_second]


def backwards(lib: Lib, values: np.ndarray) -> Any:
    """Negative strides along every axis."""
    flipped = (slice(None, None, -1),) * values.ndim
    return lib.asarray(values[flipped])[flipped]


def crop(lib: Lib, values: np.ndarray) -> Any:
    """The middle of something larger: unit stride along the last axis, and a wrong guess reads poison."""
    poison = np.nan if np.issubdtype(values.dtype, np.floating) else 99
    larger = np.pad(values, 1, constant_values=poison)
    return lib.asarray(larger)[(slice(1, -1),) * values.ndim]


LAYOUTS: dict[str, Callable[[Lib, np.ndarray], Any]] = {
    "contiguous": contiguous,
    "fortran": fortran,
    "batch_last": batch_last,
    "channels_last": channels_last,
    "gaps": gaps,
    "backwards": backwards,
    "crop": crop,
}
