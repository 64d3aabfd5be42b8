"""Softmax and cross-entropy for NumPy: with the classes along the first axis, as they lie in memory, and few calls."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..backend import Array
from ..checks import check_floating, check_shape
from ..functional.targets import check_number
from ..workspace import Workspace


class Cache(NamedTuple):
    """What backward reads."""

    probabilities: Array  # (K, N)
    labels: Array  # (N,)


def forward(
    logits: Array,
    labels: Array,
    *,
    weight: Array | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    labels_checked: bool = False,
    work: Workspace | None = None,
) -> Any:
    """See `softmax_cross_entropy.forward`; only for a plain mean over labels that have been checked."""
    if not labels_checked or type(labels) is not np.ndarray or labels.dtype != np.int64:
        return NotImplemented
    if weight is not None or ignore_index is not None or reduction != "mean":
        return NotImplemented
    check_floating("softmax_cross_entropy", logits=logits)
    if logits.ndim != 2 or 0 in logits.shape:
        return NotImplemented
    n = logits.shape[0]
    check_shape("softmax_cross_entropy", "labels", labels, (n,), "one class number for each row of logits, not one-hot")
    scores = logits.T
    shifted = scores - np.maximum.reduce(scores, axis=0)
    right = shifted[labels, np.arange(n)]
    exponentials = np.exp(shifted, out=shifted)
    total = np.add.reduce(exponentials, axis=0)
    loss = np.asarray(np.add.reduce(np.log(total) - right) / n, scores.dtype)
    exponentials /= total
    return loss, Cache(exponentials, labels)


def tally(sums: Array, loss: Array, logits: Array, labels: Array) -> Any:
    """See `xlenet.meter.tally`: single numbers instead of arrays of one."""
    if type(logits) is not np.ndarray or np.ndim(loss):
        return NotImplemented
    sums[0] += loss * len(labels)
    sums[1] += np.count_nonzero(logits.argmax(axis=1) == labels)
    sums[2] += np.isfinite(sums[0])
    return None


def backward(dloss: Any, cache: Any, *, work: Workspace | None = None) -> Any:
    """See `softmax_cross_entropy.backward`."""
    if not isinstance(cache, Cache):
        return NotImplemented
    check_number("softmax_cross_entropy", dloss, "mean", cache.probabilities)
    probabilities, labels = cache
    n = len(labels)
    share = float(dloss) / n  # a NumPy float64 would make everything float64
    dlogits = probabilities.copy()
    dlogits[labels, np.arange(n)] -= 1.0  # before the product: near 1 it would round off what is left
    dlogits *= share
    return dlogits.T
