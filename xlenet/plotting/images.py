"""Images as a picture shows them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array
from ..data.host import on_host


def checked_images(operation: str, images: Array, axes: str = "(N, C, H, W)") -> Any:
    """Return `images` of bytes or of numbers from 0 to 1, having checked that they are that.

    Raises:
        TypeError: they are not on the host, or not uint8 nor floating.
        ValueError: another shape, or pixels that are not finite.
    """
    name = "image" if axes == "(C, H, W)" else "images"
    pixels = on_host(operation, name, images)
    if pixels.dtype != np.uint8 and pixels.dtype.kind != "f":
        raise TypeError(f"{operation}: got {name} {pixels.dtype}; expected uint8 or floating; cast them")
    if pixels.ndim != axes.count(",") + 1 or 0 in pixels.shape:
        raise ValueError(
            f"{operation}: got {name} of shape {pixels.shape}; expected {axes}, none of them 0; reshape, and leave "
            "empty ones out"
        )
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError(f"{operation}: got {name} with pixels that are not finite; expected finite ones; mend them")
    return pixels


def as_picture(image: Array) -> Any:
    """Return one image (C, H, W) as something to look at, from 0 to 1: (H, W, 3) for three channels, else (H, W), the
    mean of the channels. Bytes are taken as they are; of numbers the least is black and the largest white.

    Example:
        >>> as_picture(np.full((1, 2, 2), 51, np.uint8))[0, 0]
        np.float64(0.2)
    """
    if image.dtype == np.uint8:
        pixels = image / 255.0
    else:
        low, high = float(image.min()), float(image.max())
        pixels = (image.astype(np.float64) - low) / ((high - low) or 1.0)
    return pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels.mean(axis=0)
