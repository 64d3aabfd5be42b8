"""Negative log-likelihood: the loss of a classifier, from the logarithms of its probabilities.

loss = mean over the batch of -log p_label        dlog_probabilities = -one_hot(label) / N

Behind `log_softmax` it is what `softmax_cross_entropy` computes in one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..backend import Array, into, namespace_of
from ..checks import check_cache
from ..workspace import Workspace, new_batch_last
from .targets import Samples, find_targets, reduced, spread


class Cache(NamedTuple):
    """What backward reads."""

    hits: Array  # (N, K, ...): 1 at the right class, else 0; nothing where a label is ignored
    samples: Samples


def forward(
    log_probabilities: Array,
    labels: Array,
    *,
    weight: Array | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    labels_checked: bool = False,
    work: Workspace | None = None,
) -> tuple[Array, Cache]:
    """Return how badly `log_probabilities` predict `labels`.

    Args:
        log_probabilities: what `log_softmax` gives along axis 1, (N, K) or (N, K, ...), float32 or float64.
        labels: the right classes, integers 0 ... K - 1, (N,) or (N, ...).
        weight: how much a sample of each class counts, (K,), of the type of log_probabilities; None: all alike.
        ignore_index: samples with this label, any integer, do not count: their loss and their gradient are 0. None:
            all count.
        reduction: "mean", "sum" or "none", as in `softmax_cross_entropy.forward`.
        labels_checked: True skips the check that labels are in range, for which a GPU would have to be waited for.
        work: lends memory until the step ends; None allocates.

    Returns:
        The loss in nats, an array of no axes, or of the shape of labels if reduction is "none"; and the cache for
        `backward`. The mean over samples none of which counts is 0 / 0 = NaN, as in PyTorch (NumPy warns of it), and
        its gradient is 0.

    Raises:
        TypeError: log_probabilities are not floating, labels not integer, or arrays of two libraries or types.
        ValueError: shapes that do not go together, a label out of range, or another reduction.

    Example:
        >>> import numpy as np
        >>> loss, cache = forward(np.log(np.array([[0.5, 0.5], [0.25, 0.75]])), np.array([1, 0]))
        >>> round(float(loss), 4)   # (log 2 + log 4) / 2
        1.0397
    """
    one_hot, samples = find_targets(
        "nll_loss", "log_probabilities", log_probabilities, labels, weight, ignore_index, reduction, labels_checked
    )
    xp = namespace_of(log_probabilities)
    # A sum and not a product with one_hot: 0 * -inf of a class ruled out would be NaN.
    right = xp.sum(xp.where(one_hot, log_probabilities, xp.zeros_like(log_probabilities)), axis=1)
    return reduced(0.0 - right, samples), Cache(xp.astype(one_hot, log_probabilities.dtype), samples)


def backward(dloss: Any, cache: Cache, *, work: Workspace | None = None) -> Array:
    """Return the gradient by log_probabilities; labels have none.

    Args:
        dloss: gradient of whatever comes after by the loss: one number (1.0 if nothing comes after), or an array of the
            shape of labels if the reduction was "none".
        cache: what `forward` returned.
        work: as in `forward`.

    Returns:
        The gradient, of the shape of log_probabilities.

    Example:
        >>> import numpy as np
        >>> loss, cache = forward(np.log(np.array([[0.5, 0.5], [0.25, 0.75]])), np.array([1, 0]))
        >>> backward(1.0, cache)
        array([[ 0. , -0.5],
               [-0.5,  0. ]])
    """
    check_cache("nll_loss", cache, Cache)
    hits, samples = cache
    xp = namespace_of(hits)
    portion = spread("nll_loss", dloss, samples, hits)
    gradient = into(new_batch_last(hits.shape, like=hits, work=work), xp.subtract, 0.0, hits)
    gradient *= portion
    return gradient
