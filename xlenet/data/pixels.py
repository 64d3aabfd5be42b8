"""Arrays of pixels, in whatever type and layout, as bytes (N, C, H, W)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backend import Array
from .parts import UnfitError

_PART = 1000  # images
_CHANNELS = (1, 3)


def as_bytes(pixels: Mapping[str, Array]) -> dict[str, Array]:
    """Return arrays of pixels, by their names, as uint8 of 0 to 255.

    One rule for all of them together: uint8 stay as they are; truth values become 0 and 255; other whole numbers must
    be from 0 to 255, and some above 1; floating numbers up to 1 are multiplied by 255, those up to 255 taken as they
    are, both rounded. What could be either (a largest value between 1 and 2) is refused, as is what is neither.

    Raises:
        UnfitError: the numbers are of another kind.

    Example:
        >>> as_bytes({"x": np.array([0.0, 0.5, 1.0])})["x"]
        array([  0, 128, 255], dtype=uint8)
    """
    types = {name: x.dtype for name, x in pixels.items()}
    if len({dtype.kind for dtype in types.values()}) > 1:
        came = " and ".join(f"{name} {dtype}" for name, dtype in types.items())
        raise UnfitError(f"with {came}; expected the same type of pixels in both; convert one of them")
    dtype = next(iter(types.values()))
    if all(dtype == np.uint8 for dtype in types.values()):
        return dict(pixels)
    if dtype.kind not in "biuf":
        raise UnfitError(f"with pixels of type {dtype}; expected numbers; save uint8 of 0 to 255")
    scale = 255.0 if dtype.kind == "b" else _scale(pixels, dtype)
    return {name: _converted(x, scale) for name, x in pixels.items()}


def _scale(pixels: Mapping[str, Array], dtype: Any) -> float:
    low = min(float(x.min()) for x in pixels.values())
    high = max(float(x.max()) for x in pixels.values())  # NaN if there is one
    came = f"with pixels of {dtype} from {low:g} to {high:g}"
    if math.isnan(low) or math.isnan(high):
        raise UnfitError(f"with pixels of {dtype}, NaN among them; expected 0 to 1, or 0 to 255; put numbers there")
    if low < 0.0 or high > 255.0:
        raise UnfitError(f"{came}; expected 0 to 1, or 0 to 255; undo what has normalised them, or save uint8")
    if dtype.kind == "f" and high <= 1.0:
        return 255.0
    if high < 2.0:
        wanted = "0 to 255, with some above 1" if dtype.kind != "f" else "0 to 1, or 0 to 255"
        raise UnfitError(f"{came}, which says not how bright the largest is; expected {wanted}; save uint8 of 0 to 255")
    return 1.0


def _converted(x: Array, scale: float) -> Array:
    result = np.empty(x.shape, np.uint8)
    for start in range(0, len(x), _PART):  # some at a time: a float64 copy is eight times as large
        part = x[start : start + _PART].astype(np.float64)
        result[start : start + _PART] = np.rint(part * scale)
    return result


def with_channels(name: str, x: Array) -> Array:
    """Return images (N, H, W), (N, C, H, W) or (N, H, W, C), of one or three channels, as (N, C, H, W).

    Raises:
        UnfitError: another shape, or one that could be either.

    Example:
        >>> with_channels("x", np.zeros((9, 28, 28))).shape, with_channels("x", np.zeros((9, 32, 32, 3))).shape
        ((9, 1, 28, 28), (9, 3, 32, 32))
    """
    wanted = "(N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3, none of them 0"
    if x.ndim not in (3, 4) or 0 in x.shape:
        raise UnfitError(f"with {name} of shape {x.shape}; expected images {wanted}; reshape them")
    if x.ndim == 3:
        return x[:, None]
    first, last = x.shape[1] in _CHANNELS, x.shape[3] in _CHANNELS
    if first == last:
        why = ", whose channels could be the second axis or the last" if first else ""
        raise UnfitError(f"with {name} of shape {x.shape}{why}; expected images {wanted}; reshape them")
    return x if first else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
