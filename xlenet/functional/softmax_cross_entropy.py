"""Softmax and cross-entropy in one: the loss of a classifier, from its raw scores.

loss = mean over the batch of (log sum_k exp(z_k) - z_label)        dlogits = (softmax(z) - one_hot(label)) / N

Together they are stable where softmax followed by a logarithm is not: the largest score is subtracted first, and no
logarithm of a rounded-off zero is ever taken.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..backend import Array, into, namespace_of, swappable
from ..checks import check_cache
from ..workspace import Workspace, new_batch_last
from .targets import Samples, find_targets, reduced, spread


class Cache(NamedTuple):
    """What backward reads."""

    probabilities: Array  # (N, K, ...)
    one_hot: Array  # (N, K, ...), bool; nothing where a label is ignored
    samples: Samples


@swappable
def forward(
    logits: Array,
    labels: Array,
    *,
    weight: Array | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    labels_checked: bool = False,
    work: Workspace | None = None,
) -> tuple[Array, Cache]:
    """Return how badly the scores `logits` predict `labels`.

    Args:
        logits: scores before softmax, (N, K) or (N, K, ...) for a label at each place, float32 or float64.
        labels: the right classes, integers 0 ... K - 1, (N,) or (N, ...).
        weight: how much a sample of each class counts, (K,), of the type of logits; None: all alike.
        ignore_index: samples with this label, any integer, do not count: their loss and their gradient are 0,
            whatever stands in their logits. None: all count.
        reduction: "mean" over the samples, by their weights: sum of weight * loss, divided by the sum of the weights of
            those that count; "sum" of weight * loss; or "none", which gives weight * loss of each sample.
        labels_checked: True skips the check that labels are in range, for which a GPU would have to be waited for.
        work: lends memory until the step ends; None allocates.

    Returns:
        The loss in nats, an array of no axes, or of the shape of labels if reduction is "none"; and the cache for
        `backward`. The mean over samples none of which counts is 0 / 0 = NaN, as in PyTorch (NumPy warns of it), and
        its gradient is 0.

    Raises:
        TypeError: logits are not floating, labels not integer, or arrays of two libraries or types.
        ValueError: shapes that do not go together, a label out of range, or another reduction.

    Example:
        >>> import numpy as np
        >>> loss, cache = forward(np.array([[1e4, 0.0]]), np.array([1]))
        >>> float(loss)
        10000.0
        >>> logits, labels = np.zeros((3, 2)), np.array([0, 1, -1])
        >>> forward(logits, labels, weight=np.array([1.0, 2.0]), ignore_index=-1, reduction="none")[0]
        array([0.69314718, 1.38629436, 0.        ])

    References:
        P. Blanchard, D. J. Higham, N. J. Higham, Accurately computing the log-sum-exp and softmax functions (2021),
        https://doi.org/10.1093/imanum/draa038
    """
    one_hot, samples = find_targets(
        "softmax_cross_entropy", "logits", logits, labels, weight, ignore_index, reduction, labels_checked
    )
    xp = namespace_of(logits)
    if ignore_index is not None:  # whatever stands there, be it NaN
        logits = xp.where(xp.any(one_hot, axis=1, keepdims=True), logits, xp.zeros_like(logits))
    shifted = into(
        new_batch_last(logits.shape, like=logits, work=work), xp.subtract, logits, xp.max(logits, axis=1, keepdims=True)
    )
    # A sum and not a product with one_hot: 0 * -inf of a score of -inf would be NaN.
    right = xp.sum(xp.where(one_hot, shifted, xp.zeros_like(shifted)), axis=1)
    exponentials = into(shifted, xp.exp, shifted)
    total = xp.sum(exponentials, axis=1)
    loss = reduced(xp.log(total) - right, samples)
    exponentials /= total[:, None, ...]
    return loss, Cache(exponentials, one_hot, samples)


@swappable
def backward(dloss: Any, cache: Cache, *, work: Workspace | None = None) -> Array:
    """Return the gradient by logits; labels have none.

    Args:
        dloss: gradient of whatever comes after by the loss: one number (1.0 if nothing comes after), or an array of the
            shape of labels if the reduction was "none".
        cache: what `forward` returned.
        work: as in `forward`.

    Returns:
        dlogits of the shape of logits: a mean over the batch is divided by N (or by the sum of the weights) here, and
        nowhere else in the network.

    Example:
        >>> import numpy as np
        >>> loss, cache = forward(np.zeros((1, 2)), np.array([1]))
        >>> backward(1.0, cache)
        array([[ 0.5, -0.5]])
    """
    check_cache("softmax_cross_entropy", cache, Cache)
    probabilities, one_hot, samples = cache
    xp = namespace_of(probabilities)
    portion = spread("softmax_cross_entropy", dloss, samples, probabilities)
    hits = xp.astype(one_hot, probabilities.dtype)
    dlogits = into(new_batch_last(probabilities.shape, like=probabilities, work=work), xp.subtract, probabilities, hits)
    dlogits *= portion
    return dlogits
