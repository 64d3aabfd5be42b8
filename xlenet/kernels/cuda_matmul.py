"""The product of two matrices, by CUDA kernels that can be captured into a graph, as cuBLAS's cannot."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, empty
from .cuda_launch import ENOUGH_BLOCKS, MANY_BLOCKS, are_real, cut, is_small, launch, rounded_up

_SIDE = 16  # threads along both sides of a block: SIDE in the source
_SHORTEST = 256  # a part of the inner dimension


def matmul_matmul(a: Array, b: Array, *, out: Array | None = None) -> Any:
    """Return a @ b for matrices in any memory order."""
    if not are_real(a, b, out) or a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        return NotImplemented
    (m, k), n = a.shape, b.shape[1]
    if not is_small(m * n) or (out is not None and tuple(out.shape) != (m, n)):
        return NotImplemented
    out = empty((m, n), like=a) if out is None else out
    tile = _tile(m, n, k)
    blocks = _blocks(m, n, tile)
    part, splits = cut(k, min(MANY_BLOCKS // blocks, rounded_up(k, _SHORTEST)), _SIDE)
    layers = out if splits == 1 else empty((splits, m * n), like=a)
    steps = _steps(out) if splits == 1 else (np.int64(n), np.int64(1))
    launch(
        "matmul", "matmul", blocks * splits, _SIDE * _SIDE,
        a, b, layers, m, n, k, *_steps(a), *_steps(b), *steps, part, blocks,
        like=a, defines=(f"-DTILE={tile}",),
    )  # fmt: skip
    if splits > 1:
        launch(
            "matmul", "matmul_finish", rounded_up(m * n, 8), 256,
            layers, out, m, n, splits, *_steps(out),
            like=a, defines=(f"-DTILE={tile}",),
        )  # fmt: skip
    return out


def _tile(m: int, n: int, k: int) -> int:
    """Return how many numbers a thread makes, along both sides."""
    for tile in (4, 2):
        if _blocks(m, n, tile) >= ENOUGH_BLOCKS:
            return tile
    # The inner dimension makes up for few tiles, if it is long.
    return 2 if k >= 2 * _SHORTEST and max(m, n) > _SIDE else 1


def _blocks(m: int, n: int, tile: int) -> int:
    return rounded_up(m, _SIDE * tile) * rounded_up(n, _SIDE * tile)


def _steps(x: Array) -> tuple[Any, Any]:
    """Return the distances from row to row and from column to column, in numbers."""
    row, col = (np.int64(step // x.itemsize) for step in x.strides)
    return row, col
