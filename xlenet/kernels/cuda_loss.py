"""The loss with its gradient, and what the training loop counts, by CUDA kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, batch_first, empty
from ..functional.targets import check_number
from ..workspace import Workspace, new
from .cuda_launch import are_integers, are_real, launch, rounded_up, with_batch_last


class Cache(NamedTuple):
    """What backward reads."""

    dlogits: Array  # (N, K), for a gradient of 1 by the loss


def softmax_cross_entropy_forward(
    logits: Array,
    labels: Array,
    *,
    weight: Array | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    labels_checked: bool = False,
    work: Workspace | None = None,
) -> Any:
    """See `xlenet.functional.softmax_cross_entropy.forward`, of which this does the plain mean. The gradient is made
    along with the loss.
    """
    if not labels_checked or type(labels) is not type(logits) or not _fit(logits, labels):
        return NotImplemented
    if weight is not None or ignore_index is not None or reduction != "mean":
        return NotImplemented
    n, k = logits.shape
    dlogits, loss = new((k, n), like=logits, work=work), empty((), like=logits)
    columns = with_batch_last(logits, work)
    launch("loss", "softmax_cross_entropy", 1, _threads(n), columns, labels, loss, dlogits, n, k, like=logits)
    return loss, Cache(batch_first(dlogits))


def softmax_cross_entropy_backward(dloss: Any, cache: Any, *, work: Workspace | None = None) -> Array:
    """See `xlenet.functional.softmax_cross_entropy.backward`."""
    if not isinstance(cache, Cache):
        return NotImplemented
    check_number("softmax_cross_entropy", dloss, "mean", cache.dlogits)
    if isinstance(dloss, float | int) and dloss == 1:
        return cache.dlogits
    n, k = cache.dlogits.shape
    scaled = batch_first(new((k, n), like=cache.dlogits, work=work))
    scaled[...] = cache.dlogits
    scaled *= dloss
    return scaled


def meter_tally(sums: Array, loss: Array, logits: Array, labels: Array) -> Any:
    """See `xlenet.meter.tally`."""
    if not _fit(logits, labels) or not are_real(logits, loss) or loss.size != 1:
        return NotImplemented
    if sums.dtype != np.float64 or tuple(sums.shape) != (3,) or not sums.flags.c_contiguous:
        return NotImplemented
    n, k = logits.shape
    launch("loss", "tally", 1, _threads(n), sums, loss, with_batch_last(logits, None), labels, n, k, like=logits)
    return None


def _fit(logits: Array, labels: Array) -> bool:
    return are_real(logits) and logits.ndim == 2 and are_integers(labels) and tuple(labels.shape) == (logits.shape[0],)


def _threads(n: int) -> int:
    """One block does it all: as many threads as there are images, in whole warps."""
    return min(rounded_up(n, 32) * 32, 1024)
