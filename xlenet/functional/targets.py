"""What the losses of a classifier have in common: which class is right, how much each sample counts, and what becomes
of the losses of all samples.

A sample is whatever has a label: an image, or a pixel of it. With s the share of a sample (the weight of its class; 0
if its label is ignored) and l its loss, the result is sum(s * l) / sum(s), or sum(s * l), or each s * l.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..backend import Array, arange, namespace_of, to_host
from ..checks import check_axes, check_floating, check_gradient, check_library, check_shape, integer

_MOST = 2**63 - 1  # of an int64


class Samples(NamedTuple):
    """How the losses of the samples become one, or stay many."""

    shape: tuple[int, ...]  # of the labels: (N, ...)
    share: Array | None  # how much each sample counts, (N, ...); None: all alike
    total: Any  # what a mean divides by: the sum of the shares
    reduction: str


def check_reduction(operation: str, reduction: Any) -> str:
    """Return `reduction`, having checked that it is one of the three there are."""
    if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
        raise ValueError(
            f"{operation}: got reduction {reduction!r}; expected 'mean', 'sum' or 'none'; pass one of these names"
        )
    return reduction


def find_targets(
    operation: str,
    name: str,
    scores: Array,
    labels: Array,
    weight: Array | None,
    ignore_index: int | None,
    reduction: str,
    labels_checked: bool,
) -> tuple[Array, Samples]:
    """Return which of `scores` belongs to the right class, as truth values, and how much each sample counts.

    Args:
        operation: how errors begin.
        name: what `scores` are called there.
        scores: (N, K) or (N, K, ...).
        labels: as the losses take them, like all that follows.
        weight: (K,), or None.
        ignore_index: the label that does not count, or None.
        reduction: "mean", "sum" or "none".
        labels_checked: True skips the check that labels are in range.
    """
    floating = {name: scores} if weight is None else {name: scores, "weight": weight}
    xp = check_floating(operation, **floating)
    check_axes(operation, "(N, K) or (N, K, ...)", **{name: scores})
    check_reduction(operation, reduction)
    k, *rest = scores.shape[1:]
    along = (k, *[1] * len(rest))  # the classes along the second axis
    if weight is not None:
        check_shape(operation, "weight", weight, (k,), "one number for each class")
    labels, counts = _checked(operation, name, scores, labels, ignore_index, labels_checked)
    one_hot, share = labels[:, None, ...] == xp.reshape(arange(k, like=scores), along), None
    if counts is not None:
        one_hot, share = one_hot & counts[:, None, ...], xp.astype(counts, scores.dtype)
    if weight is not None:  # by comparison, too: a wrong label finds nothing, where an index would wrap round
        weights = xp.reshape(weight, along)
        share = xp.sum(xp.where(one_hot, weights, xp.zeros_like(weights)), axis=1)
    total = math.prod(labels.shape) if share is None else xp.sum(share)
    return one_hot, Samples(tuple(labels.shape), share, total, reduction)


def _checked(
    operation: str, name: str, scores: Array, labels: Array, ignore_index: int | None, labels_checked: bool
) -> tuple[Array, Array | None]:
    """Return labels as int64 (any number of classes fits into it, and any library compares it with a Python int), and
    which of them count: None if all do.
    """
    xp = check_library(operation, **{name: scores, "labels": labels})
    if not xp.isdtype(labels.dtype, "integral"):
        raise TypeError(
            f"{operation}: got labels {labels.dtype}; expected integers; cast with xp.astype(labels, xp.int64)"
        )
    shape = (scores.shape[0], *scores.shape[2:])
    check_shape(operation, "labels", labels, shape, f"one class number for each row of {name}, not one-hot")
    if labels.dtype == xp.uint64 and not labels_checked and bool(xp.any(labels > _MOST)):
        raise ValueError(
            f"{operation}: got labels of uint64 up to {to_host(labels).max()}; expected 0 to {scores.shape[1] - 1}; a "
            "negative one has been wrapped round: use int64"
        )
    labels, k, counts = xp.astype(labels, xp.int64), scores.shape[1], None
    if ignore_index is not None:
        counts = labels != integer(operation, "ignore_index", ignore_index)
    if not labels_checked:
        wrong = (labels < 0) | (labels >= k)
        if bool(xp.any(wrong if counts is None else wrong & counts)):
            found = to_host(labels) if counts is None else to_host(labels)[to_host(counts)]
            raise ValueError(
                f"{operation}: got labels from {found.min()} to {found.max()}; expected 0 to {k - 1}"
                + ("" if ignore_index is None else f" or ignore_index {ignore_index}")
                + f"; K is {name}.shape[1], and ignore_index names the label that shall not count"
            )
    return labels, counts


def reduced(losses: Array, samples: Samples) -> Array:
    """Return the result: one number, or each of the `losses` (N, ...) times its share."""
    xp = namespace_of(losses)
    if samples.share is not None:
        losses = losses * samples.share
    if samples.reduction == "none":
        return losses
    summed = xp.sum(losses)
    return summed / samples.total if samples.reduction == "mean" else summed


def check_number(operation: str, dloss: Any, reduction: str, like: Array) -> None:
    """Check that the gradient by a single loss is a single number: anything else would broadcast, and weigh samples."""
    if not isinstance(dloss, int | float):
        check_floating(operation, dloss=dloss)
        check_library(operation, dloss=dloss, scores=like)
    if getattr(dloss, "shape", ()) != ():
        raise ValueError(
            f"{operation}: got dloss of shape {tuple(dloss.shape)}; expected (), one number; "
            f"the loss is already the {reduction} over the batch"
        )


def spread(operation: str, dloss: Any, samples: Samples, like: Array) -> Any:
    """Return the gradient by the loss of each sample, (N, 1, ...), or one number where it is the same for all.

    Args:
        operation: how errors begin.
        dloss: the gradient by the result.
        samples: what `find_targets` returned.
        like: an array of the library and the type of the scores.
    """
    if samples.reduction == "none":
        if not hasattr(dloss, "shape"):
            raise ValueError(
                f"{operation}: got dloss {dloss!r}; expected an array of shape {samples.shape}; "
                "pass one number for each loss: they were not added up"
            )
        check_gradient(operation, dloss, samples.shape, like, "dloss")
    else:
        check_number(operation, dloss, samples.reduction, like)
    share, total = samples.share, samples.total
    if share is None:
        portion = dloss / total if samples.reduction == "mean" else dloss
    else:
        xp = namespace_of(share)
        if samples.reduction == "mean":  # where nothing counts, nothing is to be changed: 0 / 1, and not 0 / 0
            share = share / xp.where(total != 0, total, xp.ones_like(total))
        portion = share * dloss
    return portion[:, None, ...] if getattr(portion, "shape", ()) else portion
