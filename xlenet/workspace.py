"""Memory that is used again in every training step.

Fresh arrays of some megabytes come from the operating system page by page, in every step, and the page faults cost more
than the arithmetic (docs/decisions/0002-workspace.md has the figures).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

from .backend import Array, batch_first, empty, kind_of, namespace_of

# Every array begins at a multiple of so many numbers: of 64 bytes at least, a line of the cache.
_ALIGNMENT = 64
# NumPy asks Linux for large pages from 4 MB on: a piece of more than 1 MB is made as large as that.
_MANY, _LARGE = 1 << 20, 1 << 22
# So many views are remembered at most: those of some batch sizes.
_VIEWS = 1024


class Workspace:
    """Lends arrays until the step ends, then lends the same memory again: where a step asks for the same as the one
    before it, the very same arrays, so leave their shape and flags as they are.

    All arrays of a type lie one behind the other in a single piece of memory, at least as large as a step has turned
    out to need: a few large pages of the operating system instead of thousands of small ones (NumPy asks Linux for them
    from 4 MB on). Whatever was computed with a workspace is overwritten after `end_step`: only a training loop, which
    lets go of everything first, may own one.

    Example:
        >>> import numpy as np
        >>> work = Workspace()
        >>> first = work.empty((2, 3), like=np.zeros(1))
        >>> work.end_step()
        >>> np.shares_memory(first, work.empty((2, 3), like=np.zeros(1)))
        True
    """

    def __init__(self) -> None:
        self._pieces: dict[Any, _Piece] = {}  # of each library, device and type
        self._helpers: list[Workspace] = []

    def empty(self, shape: tuple[int, ...], *, like: Array, dtype: Any = None) -> Array:
        """Lend an uninitialised C-contiguous array, as `xlenet.backend.empty` would make it.

        Raises:
            TypeError, ValueError: an argument does not fit; nothing has been lent then.
        """
        try:
            device = like.device
            key = (type(like), getattr(device, "id", device), dtype or like.dtype)  # CuPy's devices cannot be hashed
            piece = self._pieces.get(key)
            if piece is None:
                _check_loan(shape, like, dtype)
                piece = self._pieces[key] = _Piece(namespace_of(like).reshape)
            known = piece.views.get((piece.lent, shape))
        except (AttributeError, TypeError):
            _check_loan(shape, like, dtype)
            raise
        if known is None:
            return self._lend(piece, shape, like, dtype)
        view, piece.lent = known
        return view

    def _lend(self, piece: _Piece, shape: tuple[int, ...], like: Array, dtype: Any) -> Array:
        _check_loan(shape, like, dtype)
        size, start = math.prod(shape), piece.lent
        piece.lent = end = start + -(-size // _ALIGNMENT) * _ALIGNMENT
        piece.needed = max(piece.needed, end)
        if start == 0 and piece.room < piece.needed:  # nothing is lent: now it can be exchanged
            piece.room = _rounded_up(piece.needed, getattr(dtype or like.dtype, "itemsize", 1))
            piece.memory = empty((piece.room,), like=like, dtype=dtype)
            piece.views.clear()
        if end > piece.room:  # more than was ever lent: the next to begin asks again, and gets a larger piece
            piece.views.clear()
        if end > piece.room or size == 0:
            return empty(shape, like=like, dtype=dtype)
        if len(piece.views) == _VIEWS:
            piece.views.clear()
        view = piece.reshape(piece.memory[start : start + size], shape)
        piece.views[start, shape] = view, end
        return view

    @contextlib.contextmanager
    def scratch(self) -> Iterator[None]:
        """Take back at the end of a ``with`` block what was lent in it: memory that is still in the processor's cache
        goes to whoever asks next.

        Example:
            >>> import numpy as np
            >>> work = Workspace()
            >>> for _ in range(2):
            ...     with work.scratch():
            ...         first = work.empty((2, 3), like=np.zeros(1))
            ...     second = work.empty((2, 3), like=np.zeros(1))
            ...     work.end_step()
            >>> np.shares_memory(first, second)
            True
        """
        lent = {key: piece.lent for key, piece in self._pieces.items()}
        try:
            yield
        finally:
            for key, piece in self._pieces.items():
                piece.lent = lent.get(key, 0)

    def of_thread(self, thread: int) -> Workspace:
        """Return the workspace for the scratch memory of a thread, counted from 0; that of the first is this one."""
        if type(thread) is not int or thread < 0:
            raise (ValueError if type(thread) is int else TypeError)(
                f"Workspace: got thread {thread!r}; expected a whole number, at least 0; count threads from 0"
            )
        while len(self._helpers) < thread:
            self._helpers.append(Workspace())
        return self._helpers[thread - 1] if thread else self

    def end_step(self) -> None:
        """Take back everything lent."""
        for piece in self._pieces.values():
            piece.lent = 0

    def let_go(self) -> None:
        """Take back everything lent, and keep none of it: the next step begins with new memory."""
        self._pieces.clear()
        self._helpers.clear()


def _check_loan(shape: Any, like: Any, dtype: Any) -> None:
    """Say what is wrong with a loan that has not been asked for before."""
    try:
        namespace_of(like)
    except TypeError:
        raise TypeError(
            f"Workspace: got like, {kind_of(like)}; expected an array of NumPy or CuPy; pass one that lies where the "
            "memory shall"
        ) from None
    if not isinstance(shape, tuple) or not all(hasattr(size, "__index__") for size in shape):
        raise TypeError(f"Workspace: got shape {shape!r}; expected a tuple of whole numbers; pass an array's shape")
    if any(size < 0 for size in shape):
        raise ValueError(f"Workspace: got shape {shape!r}; expected sizes of 0 or more; pass an array's shape")
    if dtype is None:
        return
    try:
        empty((0,), like=like, dtype=dtype)
    except (AttributeError, TypeError, ValueError):
        raise TypeError(
            f"Workspace: got dtype {dtype!r}; expected a type of the library, by its name or as its own; pass one, or "
            "None for that of `like`"
        ) from None


def _rounded_up(numbers: int, itemsize: int) -> int:
    """Return how many numbers a piece shall have room for that needs room for so many."""
    return max(numbers, _LARGE // itemsize) if numbers * itemsize > _MANY else numbers


class _Piece:
    """The memory of one library, device and type, and how much of it is lent."""

    def __init__(self, reshape: Any) -> None:
        self.memory: Array = None
        self.room = 0  # how many numbers fit
        self.lent = 0  # how many are lent, from the start on
        self.needed = 0  # the most that were ever lent at once
        self.reshape = reshape
        # What was lent before, by its start and shape, and where it ends: a step asks for the same as the one before.
        self.views: dict[tuple[int, tuple[int, ...]], tuple[Array, int]] = {}


def new(shape: tuple[int, ...], *, like: Array, work: Workspace | None, dtype: Any = None) -> Array:
    """Return an uninitialised C-contiguous array: lent by `work`, or the caller's own without one."""
    return empty(shape, like=like, dtype=dtype) if work is None else work.empty(shape, like=like, dtype=dtype)


def new_batch_last(shape: tuple[int, ...], *, like: Array, work: Workspace | None) -> Array:
    """Return an uninitialised (N, ...) array with N innermost in memory, whoever lends it: sums then add up alike."""
    n, *rest = shape
    return batch_first(new((*rest, n), like=like, work=work))


def scratch(work: Workspace | None) -> contextlib.AbstractContextManager[None]:
    """Take back at the end of a ``with`` block what `work` lent in it; without one, nothing was lent."""
    return contextlib.nullcontext() if work is None else work.scratch()


def out_for(x: Array, work: Workspace | None, dtype: Any = None) -> Array | None:
    """Return where an element-wise result as large as `x` shall go: a batch-last loan, or None: the library chooses."""
    if work is None:
        return None
    if x.ndim == 0:  # a single number has no batch, and nothing to save
        return None
    n, *rest = x.shape
    return batch_first(work.empty((*rest, n), like=x, dtype=dtype))
