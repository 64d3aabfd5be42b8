"""What feeds a training step without the host, by CUDA kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, batch_first
from ..workspace import Workspace, new
from .cuda_launch import are_integers, are_real, is_small, launch, rounded_up

_THREADS = 256
_TILE = 32  # images and pixels to a block: IMAGES and PIXELS in the source


def images_gather(
    x: Array, which: Any, scale: Array, shift: Array, dtype: Any, *, work: Workspace | None = None
) -> Any:
    """See `xlenet.data.images.gather`."""
    if not are_integers(which) or which.ndim != 1 or x.dtype != np.uint8 or not x.flags.c_contiguous:
        return NotImplemented
    (_, c, h, w), n, area = x.shape, which.shape[0], x.shape[2] * x.shape[3]
    size = c * area
    if not is_small(size * n) or not are_real(scale, shift) or not scale.size == shift.size == c:
        return NotImplemented
    if scale.dtype != np.dtype(dtype) or not scale.flags.c_contiguous or not shift.flags.c_contiguous:
        return NotImplemented
    out = new((c, h, w, n), like=scale, work=work)
    launch(
        "feed", "gather", rounded_up(n, _TILE) * rounded_up(size, _TILE), _THREADS,
        x, which, scale, shift, out, n, size, area,
        like=scale,
    )  # fmt: skip
    return batch_first(out)


def steps_advance(counter: Array, order: Array, table: Array, positions: Array, scalars: Array) -> Any:
    """See `xlenet.steps.advance`."""
    if not are_integers(counter, order, positions) or not are_real(table) or not are_real(scalars):
        return NotImplemented
    if table.dtype != np.float64 or not table.flags.c_contiguous or not scalars.flags.c_contiguous:
        return NotImplemented
    steps, width = table.shape
    if scalars.size != width:
        return NotImplemented
    batch = positions.size
    launch(
        "feed", "advance", 1, min(rounded_up(max(batch, width), 32) * 32, 1024),
        counter, order, table, positions, scalars, batch, order.size, steps, width,
        like=scalars,
    )  # fmt: skip
    return None
