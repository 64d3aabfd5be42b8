"""How bright the pixels of a picture are, whatever it is made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array
from ..errors import DataError
from .host import on_host

_BRIGHT = 127.5
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # how bright red, green and blue are to an eye (ITU-R BT.601)


def check_picture(operation: str, picture: Any) -> Array:
    """Return `picture`, having checked that it is one; errors are those of `operation`."""
    array = on_host(operation, "picture", picture)
    if array.dtype != np.uint8:
        raise TypeError(f"{operation}: got picture {array.dtype}; expected uint8; scale it to 0 to 255 and cast it")
    if array.ndim not in (2, 3) or not array.size or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ValueError(
            f"{operation}: got picture of shape {array.shape}; expected (H, W), (H, W, 3) or (H, W, 4), not empty; "
            "put the channels last"
        )
    checked: Array = array
    return checked


def in_grey(picture: Array) -> Array:
    """Return how bright each pixel of a picture is, (H, W), float32, 0 to 255."""
    if picture.ndim == 2:
        return picture.astype(np.float32)
    grey = picture[..., :3].astype(np.float32) @ _LUMA
    if picture.shape[2] == 3:
        return grey
    alpha = picture[..., 3].astype(np.float32) / 255.0
    return grey * alpha + _behind(grey, alpha) * (1.0 - alpha)


def in_colours(picture: Array) -> Array:
    """Return red, green and blue, (3, H, W), float32."""
    if picture.ndim == 2:
        return np.repeat(picture[None].astype(np.float32), 3, axis=0)
    colours = picture[..., :3].astype(np.float32).transpose(2, 0, 1)
    if picture.shape[2] == 3:
        return colours
    alpha = picture[..., 3].astype(np.float32) / 255.0
    return colours * alpha + _behind(picture[..., :3].astype(np.float32) @ _LUMA, alpha) * (1.0 - alpha)


def _behind(grey: Array, alpha: Array) -> float:
    """Return the grey behind what is transparent. Where most of the picture is, what can be seen is the ink, and the
    sheet behind it is white or black, whichever is further away. Else what can be seen has a sheet of its own.
    """
    visible = grey[alpha > 0.5]
    if not visible.size:
        return 255.0
    usual = float(np.median(visible))
    if 2 * visible.size > grey.size:
        return usual
    return 255.0 if usual < _BRIGHT else 0.0


def reduced(picture: Array, most: int) -> Array:
    """Return means of squares of pixels, float32, so that no side is longer than `most`, without a copy of the picture.

    Args:
        picture: (H, W) or (H, W, channels), of any type.
        most: pixels; a picture whose longer side is more than so many times the other stays longer.

    Example:
        >>> reduced(np.arange(16, dtype=np.uint8).reshape(4, 4), 2).tolist()
        [[2.5, 4.5], [10.5, 12.5]]
    """
    k = min(-(-max(picture.shape[:2]) // most), min(picture.shape[:2]))
    if k == 1:
        return picture.astype(np.float32)
    h, w = (size - size % k for size in picture.shape[:2])
    total = np.zeros((h // k, w // k, *picture.shape[2:]), np.float32)
    for i in range(k):
        for j in range(k):
            total += picture[i:h:k, j:w:k]
    return total / np.float32(k * k)


def check_proportions(operation: str, picture: Array, most: int) -> None:
    """Check that no side of a picture is more than `most` times as long as the other.

    Raises:
        DataError: it is a line.
    """
    h, w = picture.shape[:2]
    if max(h, w) > most * min(h, w):
        raise DataError(
            f"{operation}: got a picture of {w} x {h} pixels; expected no side more than {most} times as long as the "
            "other; cut out what matters"
        )
