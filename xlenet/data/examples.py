"""Labelled examples of any shape where training needs them: on the device, as the floating numbers that they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, batch_first, batch_last, namespace_of, to_device
from ..checks import check_dtype
from ..workspace import Workspace, new
from .host import on_host
from .images import Images, positions_or_part


class Examples:
    """Labelled examples of any shape, kept as floating numbers in the default backend; a batch is a part of them.

    For whatever is not bytes: images that are scaled already, rows of a table, sequences. What `Images` does beyond
    this is to keep bytes, and to normalise them. A data set of one's own is a class derived from one of the two that
    overrides `batch`.

    Args:
        x: examples (N, ...), of floating point, on the host.
        y: labels (N,), integers from 0 up, on the host.
        dtype: "float32" or "float64"; None keeps float64, and makes float32 of every other type.

    Raises:
        TypeError: examples that are not of floating point, or labels that are not integers.
        ValueError: shapes that do not go together, nothing there, or numbers that are not finite.

    Example:
        >>> rows = Examples(np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]), np.array([0, 1, 1]))
        >>> rows.batch(np.array([2, 0]))
        (array([[4., 5.],
               [0., 1.]]), array([1, 0]))
    """

    def __init__(self, x: Any, y: Any, *, dtype: Any = None) -> None:
        x, y = on_host("Examples", "x", x), on_host("Examples", "y", y)
        if x.dtype.kind != "f" or not np.issubdtype(y.dtype, np.integer):
            raise TypeError(
                f"Examples: got x {x.dtype} and y {y.dtype}; expected floating point and integers; cast x, or make "
                "Images of pixels of 0 to 255"
            )
        if x.ndim < 2 or y.shape != x.shape[:1] or x.size == 0:
            raise ValueError(
                f"Examples: got x {x.shape} and y {y.shape}; expected (N, ...) and (N,), not empty; reshape them"
            )
        if int(y.min()) < 0:
            raise ValueError(f"Examples: got a label {int(y.min())}; expected 0 or more; number the classes from 0")
        if dtype is None:
            dtype = "float64" if x.dtype == np.float64 else "float32"
        self.dtype = check_dtype("Examples", dtype)
        with np.errstate(over="ignore"):
            x = x.astype(self.dtype)
        if not np.isfinite(x).all():
            raise ValueError(
                f"Examples: got x with numbers that are not finite as {self.dtype}; expected finite ones; leave such "
                "examples out, or put something in their place"
            )
        self.classes = int(y.max()) + 1
        self.x = to_device(np.ascontiguousarray(x))
        self.y = to_device(y.astype(np.int64))

    def __len__(self) -> int:
        return int(self.y.shape[0])

    def batch(self, which: slice | Array, work: Workspace | None = None) -> tuple[Array, Array]:
        """Return the examples and labels at `which`, a slice or an array of positions: x (N, ...) with N innermost in
        memory.

        Raises:
            TypeError, ValueError: `which` is neither, or asks for an example that is not there. (A GPU does not notice
                such a position in an array, and gives another example.)
        """
        which = positions_or_part("Examples", which, self)
        if isinstance(which, slice):
            return _moved(self.x[which, ...], work), self.y[which]
        xp = namespace_of(self.x)
        try:
            x = xp.take(self.x, which, axis=0)
        except IndexError as error:  # a GPU does not say, and takes another example
            raise ValueError(
                f"Examples: got which with a position beyond {len(self)} examples ({error}); expected 0 to "
                f"{len(self) - 1}; ask for others"
            ) from None
        return _moved(x, work), xp.take(self.y, which, axis=0)


# What training goes through.
Labelled = Images | Examples


def _moved(x: Array, work: Workspace | None) -> Array:
    """Return a copy of `x` with its first axis innermost in memory."""
    n, *rest = x.shape
    copied = new((*rest, n), like=x, work=work)
    copied[...] = batch_last(x)
    return batch_first(copied)
