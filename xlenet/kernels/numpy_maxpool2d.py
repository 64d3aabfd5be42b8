"""Backward of max-pooling for NumPy, for windows that lie side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, batch_first
from ..checks import check_gradient
from ..functional import maxpool2d
from ..functional.windows import positions
from ..workspace import Workspace, new


def backward(dy: Array, cache: Any, *, work: Workspace | None = None) -> Any:
    """See `maxpool2d.backward`: here nothing has to be added up, so each gradient is written to its winner and zeros
    beside it, and a product with truth values needs no copy of them as numbers.
    """
    if not isinstance(cache, maxpool2d.Cache):
        return NotImplemented
    x, y, windows = cache
    if not windows.lie_side_by_side:
        return NotImplemented
    check_gradient("maxpool2d", dy, y.shape, y)
    n, c, h, w = x.shape
    dx = batch_first(new((c, h, w, n), like=dy, work=work))
    if (h, w) != (windows.out[0] * windows.kernel[0], windows.out[1] * windows.kernel[1]):
        dx[...] = 0  # pixels that no window sees
    free = batch_first(new((c, *windows.out, n), like=y, work=work, dtype="bool"))  # whose winner has not been met yet
    wins = batch_first(new((c, *windows.out, n), like=y, work=work, dtype="bool"))
    free[...] = True
    for _, seen, pixels in positions(windows):
        np.less(x[pixels], y[seen], out=wins)
        np.greater(free, wins, out=wins)  # free, and not less: equal, or there is a NaN
        np.not_equal(free, wins, out=free)
        np.multiply(dy, wins, out=dx[pixels])
    return dx
