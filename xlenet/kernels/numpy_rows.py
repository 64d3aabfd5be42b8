"""The parts of `xlenet.functional.conv2d_rows`, for NumPy: few calls, and products of the size that BLAS is quick at.

NumPy can show overlapping parts of an array as an array. So all that the rows of results see is one array of matrices
without a copy, and a single call multiplies them all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, put
from ..functional.conv2d_rows import as_filters, as_matrix
from ..functional.windows import Windows, pad
from ..workspace import Workspace, new

# Products (F, K) @ (K, columns) run up to 1.5 times as fast where a block of columns stays in the cache: see
# docs/performance.md.
_COLUMNS = 384


def unfold_width(x: Array, windows: Windows, work: Workspace | None) -> Array:
    """See `conv2d_rows.unfold_width`."""
    n, c = x.shape[:2]
    x = np.transpose(pad(x, windows.padding, work), (2, 1, 3, 0))  # (H, C, W, N)
    rows = new((x.shape[0], c, windows.kernel[1], windows.out[1], n), like=x, work=work)
    sh, sc, sw, sn = x.strides
    rows[...] = np.lib.stride_tricks.as_strided(
        x, rows.shape, (sh, sc, sw, sw * windows.stride[1], sn), writeable=False
    )
    return rows


def matrices(rows: Array, first: int, count: int, step: int, height: int) -> Array:
    """View the matrices (count, height*K, columns) that lie in rows (H, K, columns) from row `first` on.

    `rows` lie in one piece. (Their own strides say nothing where K or the columns are a single one.)
    """
    _, k, columns = rows.shape
    line = columns * rows.itemsize
    strides = (step * k * line, line, rows.itemsize)
    return np.ndarray((count, height * k, columns), rows.dtype, rows, first * k * line, strides)


def flat(rows: Array) -> Array:
    """(H, C, KW, OW, N) -> (H, C*KW, OW*N)."""
    h, c, kw, ow, n = rows.shape
    return rows.reshape(h, c * kw, ow * n)


def multiply(weight: Array, rows: Array, windows: Windows, y: Array) -> None:
    """See `conv2d_rows.multiply`."""
    seen = matrices(flat(rows), 0, windows.out[0], windows.stride[0], windows.kernel[0])
    product(as_matrix(weight), seen, y)


def product(a: Array, b: Array, out: Array) -> None:
    """Fill out (B, F, M) with a (F, K) @ b (B, K, M), some of the M columns at a time."""
    m = b.shape[2]
    blocks = next((k for k in range(-(-m // _COLUMNS), m // 64 + 1) if m % k == 0), 1)
    if blocks == 1:
        np.matmul(a, b, out=out)
        return
    columns = m // blocks
    b = b.reshape(*b.shape[:2], blocks, columns).transpose(0, 2, 1, 3)
    np.matmul(a, b, out=out.reshape(*out.shape[:2], blocks, columns).transpose(0, 2, 1, 3))


def weight_gradient(dy: Array, rows: Array, windows: Windows) -> Array:
    """See `conv2d_rows.weight_gradient`."""
    _, c, kw, _, _ = rows.shape
    seen = matrices(flat(rows), 0, windows.out[0], windows.stride[0], windows.kernel[0])
    return as_filters(np.matmul(seen, dy).sum(axis=0), c, windows.kernel[0], kw)


def rows_gradient(dy: Array, shape: tuple[int, ...], weight: Array, windows: Windows, work: Workspace | None) -> Any:
    """See `conv2d_rows.rows_gradient`: here all rows of the kernel in one product, W' @ dy[h - KH + 1 : h + 1].

    In the middle these are rows of dy that lie one behind the other, and one call does them all; near the edges there
    are fewer, and each has a call of its own. Rows of padding are not computed: nobody reads them.
    """
    (h, c, kw, *_), (oh, f, m), kh, (top, bottom) = shape, dy.shape, windows.kernel[0], windows.padding[0]
    if windows.stride[0] != 1:
        return NotImplemented
    if not dy.flags.c_contiguous:
        dy = put(dy, new(dy.shape, like=dy, work=work))
    turned = weight[:, :, ::-1, :].transpose(1, 3, 2, 0).reshape(c * kw, kh * f)
    drows = new((h, c * kw, m), like=dy, work=work)
    middle = range(max(top, kh - 1), min(h - bottom, oh))
    if middle:
        product(turned, matrices(dy, middle[0] - kh + 1, len(middle), 1, kh), drows[middle[0] : middle[-1] + 1])
    for row in (row for row in range(top, h - bottom) if row not in middle):
        before = row - kh + 1  # where the window would begin
        first, last = max(before, 0), min(row + 1, oh)
        filters = turned[:, (first - before) * f : (last - before) * f]
        product(filters, matrices(dy, first, 1, 1, last - first), drows[row : row + 1])
    return drows.reshape(shape)
