"""Memory that is used again in every training step.

Fresh arrays of some megabytes come from the operating system page by page, in every step, and the page faults cost more
than the arithmetic (docs/decisions/0002-workspace.md has the figures).
"""

from __future__ import annotations

import math
from typing import Any

from .backend import Array, batch_first, empty, namespace_of


class Workspace:
    """Lends arrays until the step ends, then lends the same memory again in the same order.

    The steps of one training run ask for the same arrays one after another, so the k-th request of a type gets the k-th
    buffer of that type; a smaller request (a short last batch) gets a part of it. Whatever was computed with a
    workspace is overwritten after `end_step`: only a training loop, which lets go of everything first, may own one.

    Example:
        >>> import numpy as np
        >>> work = Workspace()
        >>> first = work.empty((2, 3), like=np.zeros(1))
        >>> work.end_step()
        >>> np.shares_memory(first, work.empty((2, 3), like=np.zeros(1)))
        True
    """

    def __init__(self) -> None:
        self._buffers: dict[Any, list[Array]] = {}
        self._used: dict[Any, int] = {}

    def empty(self, shape: tuple[int, ...], *, like: Array, dtype: Any = None) -> Array:
        """Lend an uninitialised C-contiguous array, as `xlenet.backend.empty` would make it."""
        key = (type(like), like.device, dtype or like.dtype)
        buffers, k = self._buffers.setdefault(key, []), self._used.get(key, 0)
        size = math.prod(shape)
        if k == len(buffers):
            buffers.append(empty((size,), like=like, dtype=dtype))
        elif buffers[k].shape[0] < size:
            buffers[k] = empty((size,), like=like, dtype=dtype)
        self._used[key] = k + 1
        return namespace_of(like).reshape(buffers[k][:size], shape)

    def end_step(self) -> None:
        """Take back everything lent."""
        self._used.clear()


def new(shape: tuple[int, ...], *, like: Array, work: Workspace | None, dtype: Any = None) -> Array:
    """Return an uninitialised C-contiguous array: lent by `work`, or the caller's own without one."""
    return empty(shape, like=like, dtype=dtype) if work is None else work.empty(shape, like=like, dtype=dtype)


def out_for(x: Array, work: Workspace | None, dtype: Any = None) -> Array | None:
    """Return where an element-wise result as large as `x` shall go: a batch-last loan, or None: the library chooses."""
    if work is None:
        return None
    if x.ndim == 0:  # a single number has no batch, and nothing to save
        return None
    n, *rest = x.shape
    return batch_first(work.empty((*rest, n), like=x, dtype=dtype))
