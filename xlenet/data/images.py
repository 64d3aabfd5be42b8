"""Labelled images where training needs them: on the device, as bytes, turned into normalised batches as they are asked
for.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, batch_first, batch_last, namespace_of, swappable, to_device
from ..checks import check_dtype, check_library
from ..workspace import Workspace, new
from .host import on_host

_PART = 1000  # images


class Normalization(NamedTuple):
    """Mean and standard deviation of the pixels of each channel, 0 to 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Images:
    """Labelled images, kept as uint8 in the default backend; a batch comes out as (pixel - mean) / std, in floating
    point.

    Args:
        x: images (N, C, H, W), uint8, on the host.
        y: labels (N,), integers, on the host.
        normalization: mean and std of each channel; None computes them of these images. A test set takes its training
            set's.
        dtype: "float32" or "float64".

    Raises:
        TypeError: images that are not uint8, or labels that are not integers.
        ValueError: shapes that do not go together, or nothing there.

    Example:
        >>> images = Images(np.full((3, 1, 2, 2), 7, np.uint8), np.array([0, 1, 2]), Normalization((5.0,), (2.0,)))
        >>> x, labels = images.batch(slice(0, 2))
        >>> x.shape, float(x[0, 0, 0, 0]), labels
        ((2, 1, 2, 2), 1.0, array([0, 1]))
    """

    def __init__(self, x: Any, y: Any, normalization: Normalization | None = None, *, dtype: Any = "float32") -> None:
        x, y = on_host("Images", "x", x), on_host("Images", "y", y)
        if x.dtype != np.uint8 or not np.issubdtype(y.dtype, np.integer):
            raise TypeError(
                f"Images: got x {_type_of(x)} and y {_type_of(y)}; expected uint8 and integers; pass pixels of 0 to 255"
            )
        if x.ndim != 4 or y.shape != x.shape[:1] or x.size == 0:
            raise ValueError(
                f"Images: got x {x.shape} and y {y.shape}; expected (N, C, H, W) and (N,), not empty; reshape them"
            )
        if int(y.min()) < 0:
            raise ValueError(f"Images: got a label {int(y.min())}; expected 0 or more; number the classes from 0")
        self.normalization = _measure(x) if normalization is None else _checked(normalization, x.shape[1])
        self.classes = int(y.max()) + 1
        self.dtype = check_dtype("Images", dtype)
        self.x = to_device(np.ascontiguousarray(x))
        self.y = to_device(y.astype(np.int64))
        scale = 1.0 / np.array(self.normalization.std)
        self._scale = to_device(scale.astype(self.dtype)[:, None, None, None])
        self._shift = to_device((-np.array(self.normalization.mean) * scale).astype(self.dtype)[:, None, None, None])

    def __len__(self) -> int:
        return int(self.y.shape[0])

    def batch(self, which: slice | Array, work: Workspace | None = None) -> tuple[Array, Array]:
        """Return the images and labels at `which`, a slice or an array of positions: x (N, C, H, W) with N innermost
        in memory.

        Raises:
            TypeError, ValueError: `which` is neither, or asks for an image that is not there. (A GPU does not notice
                such a position in an array, and gives another image.)
        """
        which = positions_or_part("Images", which, self)
        if isinstance(which, slice):
            return normalise(self.x[which, ...], self._scale, self._shift, self.dtype, work=work), self.y[which]
        try:
            x = gather(self.x, which, self._scale, self._shift, self.dtype, work=work)
        except IndexError as error:  # a GPU does not say, and takes another image
            raise ValueError(
                f"Images: got which with a position beyond {len(self)} images ({error}); expected 0 to "
                f"{len(self) - 1}; ask for others"
            ) from None
        return x, namespace_of(self.y).take(self.y, which, axis=0)


def positions_or_part(operation: str, which: Any, data: Any) -> Any:
    """Return what is asked of `data`, having checked it: positions as they are, or a slice of what is there."""
    if isinstance(which, slice):
        return _part(operation, which, len(data))
    xp = check_library(operation, which=which, x=data.x)
    if which.ndim != 1 or which.dtype not in (xp.int64, xp.int32) or not which.shape[0]:
        raise TypeError(
            f"{operation}: got which of shape {tuple(which.shape)}, {which.dtype}; expected positions (N,), int64, at "
            "least one, or a slice; pass one of them"
        )
    return which


def _part(operation: str, which: slice, count: int) -> slice:
    """Return a slice of what is there, and not of nothing."""
    what = operation.lower()
    try:
        start, stop, step = which.indices(count)
    except TypeError:
        raise TypeError(f"{operation}: got which {which}; expected whole numbers in a slice; pass them") from None
    if not range(start, stop, step):
        raise ValueError(
            f"{operation}: got which {which} of {count} {what}; expected at least one of them; ask for others"
        )
    return slice(start, stop, step) if step > 0 else which


@swappable
def gather(x: Array, which: Array, scale: Array, shift: Array, dtype: Any, *, work: Workspace | None = None) -> Array:
    """Return the images at the positions `which` as `normalise` does.

    Args:
        x: pixels (TOTAL, C, H, W), uint8.
        which: positions (N,), int64.
        scale: of each channel, (C, 1, 1, 1).
        shift: of each channel, (C, 1, 1, 1).
        dtype: of the result.
        work: lends memory until the step ends; None allocates.

    Example:
        >>> pixels, one = np.arange(6, dtype=np.uint8).reshape(3, 1, 1, 2), np.ones((1, 1, 1, 1))
        >>> gather(pixels, np.array([2, 0]), 10 * one, one, "float64").reshape(2, 2)
        array([[41., 51.],
               [ 1., 11.]])
    """
    return normalise(namespace_of(x).take(x, which, axis=0), scale, shift, dtype, work=work)


def normalise(pixels: Array, scale: Array, shift: Array, dtype: Any, *, work: Workspace | None = None) -> Array:
    """Return pixels * scale + shift, (N, C, H, W) with N innermost in memory."""
    n, c, h, w = pixels.shape
    x = new((c, h, w, n), like=pixels, work=work, dtype=dtype)
    x[...] = namespace_of(x).astype(batch_last(pixels), x.dtype)
    x *= scale
    x += shift
    return batch_first(x)


def _type_of(values: Any) -> str:
    """Return the type of `values`, and that there is NaN among them: most often the cause, and else the next error."""
    broken = values.dtype.kind in "fc" and bool(np.isnan(values).any())
    return f"{values.dtype} with NaN" if broken else str(values.dtype)


def _checked(normalization: Normalization, channels: int) -> Normalization:
    try:
        mean, std = (tuple(float(value) for value in values) for values in normalization)
    except (TypeError, ValueError):
        raise TypeError(
            f"Images: got normalization {normalization!r}; expected a Normalization: two tuples of numbers, mean and "
            "std, as long as there are channels; take the training set's"
        ) from None
    fits = len(mean) == len(std) == channels and all(map(math.isfinite, mean)) and all(0.0 < s < math.inf for s in std)
    if not fits:
        raise ValueError(
            f"Images: got normalization {tuple(normalization)} for {channels} channels; expected a finite mean and a "
            "std above 0 for each; take the training set's"
        )
    return Normalization(mean, std)


def _measure(x: Any) -> Normalization:
    """Mean and std of each channel, exactly, from how often each of the 256 values occurs."""
    values = np.arange(256.0)
    means, stds = [], []
    for channel in range(x.shape[1]):
        # Some images at a time: bincount makes a copy of eight bytes a pixel.
        parts = (x[start : start + _PART, channel] for start in range(0, len(x), _PART))
        counts: Any = sum(np.bincount(part.ravel(), minlength=256) for part in parts)
        mean = float(counts @ values / counts.sum())
        means.append(mean)
        # Images of one colour have no spread; they are left as they are.
        stds.append(float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum())) or 1.0)
    return Normalization(tuple(means), tuple(stds))
