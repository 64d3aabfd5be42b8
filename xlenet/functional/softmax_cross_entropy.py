"""Softmax and cross-entropy in one: the loss of a classifier, from its raw scores.

loss = mean over the batch of (log sum_k exp(z_k) - z_label)        dlogits = (softmax(z) - one_hot(label)) / N

Together they are stable where softmax followed by a logarithm is not: the largest score is subtracted first, and no
logarithm of a rounded-off zero is ever taken.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..backend import Array, arange, namespace_of, swappable
from ..checks import check_axes, check_cache, check_floating, check_library, check_shape
from ..workspace import Workspace


class Cache(NamedTuple):
    """What backward reads."""

    probabilities: Array  # (N, K)
    one_hot: Array  # (N, K), bool


@swappable
def forward(
    logits: Array, labels: Array, *, labels_checked: bool = False, work: Workspace | None = None
) -> tuple[Array, Cache]:
    """Return how badly the scores `logits` predict `labels`.

    Args:
        logits: scores before softmax, (N, K), float32 or float64.
        labels: the right classes, integers 0 ... K - 1, (N,).
        labels_checked: True skips the check that labels are in range, for which a GPU would have to be waited for.
        work: as everywhere; there is nothing here that is large enough to lend.

    Returns:
        The mean loss in nats, an array of no axes, and the cache for `backward`.

    Raises:
        TypeError: logits are not floating, labels not integer, or the two from different libraries.
        ValueError: shapes that do not go together, or a label out of range.

    Example:
        >>> import numpy as np
        >>> loss, cache = forward(np.array([[1e4, 0.0]]), np.array([1]))
        >>> float(loss)
        10000.0
    """
    check_floating("softmax_cross_entropy", logits=logits)
    check_axes("softmax_cross_entropy", "(N, K)", logits=logits)
    xp = check_library("softmax_cross_entropy", logits=logits, labels=labels)
    n, k = logits.shape
    labels = _checked(labels, n, k, labels_checked)
    one_hot = labels[:, None] == arange(k, like=logits)[None, :]
    shifted = logits - xp.max(logits, axis=1, keepdims=True)
    exponentials = xp.exp(shifted)
    total = xp.sum(exponentials, axis=1, keepdims=True)
    # A sum and not a product with one_hot: 0 * -inf of a score of -inf would be NaN.
    right = xp.sum(xp.where(one_hot, shifted, xp.zeros_like(shifted)), axis=1)
    loss = xp.mean(xp.log(total[:, 0]) - right)
    return loss, Cache(exponentials / total, one_hot)


def _checked(labels: Array, n: int, k: int, labels_checked: bool) -> Array:
    """Return labels as int64: any number of classes fits into it, and any library compares it with a Python int."""
    xp = namespace_of(labels)
    if not xp.isdtype(labels.dtype, "integral"):
        raise TypeError(
            f"softmax_cross_entropy: got labels {labels.dtype}; expected integers; cast with xp.astype(labels, "
            "xp.int64)"
        )
    check_shape("softmax_cross_entropy", "labels", labels, (n,), "one class number for each row of logits, not one-hot")
    labels = xp.astype(labels, xp.int64)
    if not labels_checked and bool(xp.any((labels < 0) | (labels >= k))):
        low, high = int(xp.min(labels)), int(xp.max(labels))
        raise ValueError(
            f"softmax_cross_entropy: got labels from {low} to {high}; expected 0 to {k - 1}; K is logits.shape[1]"
        )
    return labels


@swappable
def backward(dloss: Any, cache: Cache, *, work: Workspace | None = None) -> Array:
    """Return the gradient by logits; labels have none.

    Args:
        dloss: gradient of whatever comes after by the loss; 1.0 if nothing comes after.
        cache: what `forward` returned.
        work: as in `forward`.

    Returns:
        dlogits (N, K): the batch's mean is divided by N here, and nowhere else in the network.

    Example:
        >>> import numpy as np
        >>> loss, cache = forward(np.zeros((1, 2)), np.array([1]))
        >>> backward(1.0, cache)
        array([[ 0.5, -0.5]])
    """
    if not isinstance(dloss, int | float):
        check_floating("softmax_cross_entropy", dloss=dloss)  # a number, or an array of one
    if getattr(dloss, "shape", ()) != ():
        raise ValueError(
            f"softmax_cross_entropy: got dloss of shape {tuple(dloss.shape)}; expected (), one number; "
            "the loss is already the mean over the batch"
        )
    check_cache("softmax_cross_entropy", cache, Cache)
    probabilities, one_hot = cache
    xp = namespace_of(probabilities)
    if not isinstance(dloss, int | float):
        check_library("softmax_cross_entropy", dloss=dloss, logits=probabilities)
    dlogits = probabilities - xp.astype(one_hot, probabilities.dtype)
    dlogits *= dloss / probabilities.shape[0]
    return dlogits
