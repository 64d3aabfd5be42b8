"""The product of two matrices, or of pairs of them, by CUDA kernels that can be captured into a graph, as cuBLAS's
cannot.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, empty
from .cuda_launch import ENOUGH_BLOCKS, MANY_BLOCKS, are_real, cut, is_small, launch, rounded_up

_SIDE = 16  # threads along both sides of a block: SIDE in the source
_SHORTEST = 256  # a part of the inner dimension


def matmul_matmul(a: Array, b: Array, *, out: Array | None = None) -> Any:
    """Return a @ b for matrices, or for as many of them one way as the other, in any memory order."""
    if not are_real(a, b, or_none=out) or a.ndim not in (2, 3) or (*a.shape[:-2], a.shape[-1]) != b.shape[:-1]:
        return NotImplemented
    *pairs, m, k = a.shape
    n, count = b.shape[-1], a.size // (m * k)
    if not is_small(count * m * n) or (out is not None and tuple(out.shape) != (*pairs, m, n)):
        return NotImplemented
    out = empty((*pairs, m, n), like=a) if out is None else out
    tile = _tile(count, m, n, k)
    blocks = _blocks(m, n, tile)
    part, splits = cut(k, min(MANY_BLOCKS // (count * blocks), rounded_up(k, _SHORTEST)), _SIDE)
    layers = out if splits == 1 else empty((count, splits, m * n), like=a)
    steps = _steps(out) if splits == 1 else tuple(map(np.int64, (splits * m * n, n, 1)))
    launch(
        "matmul", "matmul", count * blocks * splits, _SIDE * _SIDE,
        a, b, layers, m, n, k, *_steps(a), *_steps(b), *steps, part, blocks, splits,
        like=a, defines=(f"-DTILE={tile}",),
    )  # fmt: skip
    if splits > 1:
        launch(
            "matmul", "matmul_finish", rounded_up(count * m * n, 8), 256,
            layers, out, count, m, n, splits, *_steps(out),
            like=a, defines=(f"-DTILE={tile}",),
        )  # fmt: skip
    return out


def _tile(count: int, m: int, n: int, k: int) -> int:
    """Return how many numbers a thread makes, along both sides."""
    for tile in (4, 2):
        if count * _blocks(m, n, tile) >= ENOUGH_BLOCKS:
            return tile
    # The inner dimension makes up for few tiles, if it is long.
    return 2 if k >= 2 * _SHORTEST and max(m, n) > _SIDE else 1


def _blocks(m: int, n: int, tile: int) -> int:
    return rounded_up(m, _SIDE * tile) * rounded_up(n, _SIDE * tile)


def _steps(x: Array) -> tuple[Any, ...]:
    """Return the distances from matrix to matrix, from row to row and from column to column, in numbers."""
    steps = x.strides if x.ndim == 3 else (0, *x.strides)
    return tuple(np.int64(step // x.itemsize) for step in steps)
