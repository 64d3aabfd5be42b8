"""Images distorted by chance, by a CUDA kernel: one for all that the portable function does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import Array, batch_first
from ..functional.hashing import seed_words
from ..workspace import Workspace, new
from .cuda_launch import are_integers, are_real, launch, rounded_up, with_batch_last

_THREADS, _IMAGES, _POINTS = 256, 32, 7  # THREADS, IMAGES and POINTS in the source


def distort_distort(
    x: Array,
    rows: Array,
    columns: Array,
    step: Array,
    by: tuple[float, float, float, float, float],
    seed: int,
    *,
    work: Workspace | None = None,
) -> Any:
    """See `xlenet.data.distort.distort`."""
    if not are_real(x, rows, columns) or not are_integers(step) or x.ndim != 4:
        return NotImplemented
    n, c, h, w = x.shape
    if (rows.shape, columns.shape, step.shape) != ((h, _POINTS), (w, _POINTS), (1,)):
        return NotImplemented
    if not all(array.flags.c_contiguous for array in (rows, columns)):
        return NotImplemented
    rotation, shift, scale, shear, elastic = by
    y = new((c, h, w, n), like=x, work=work)
    launch(
        "distort", "distort", rounded_up(n, _IMAGES) * h, _THREADS,
        with_batch_last(x, work), rows, columns, step, y, n, c, h, w,
        math.radians(rotation), float(shift), float(scale), math.tan(math.radians(shear)), float(elastic),
        *(np.uint32(word) for word in seed_words("distort", seed)),
        like=x,
    )  # fmt: skip
    return batch_first(y)
