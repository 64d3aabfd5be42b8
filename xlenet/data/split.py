"""A test part for data that have none, always the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array
from .parts import UnfitError

# Streams of their own; see `hold_out`.
_SPLIT_SEED, _ORDER_SEED = (0, 3), (0, 4)


def hold_out_fifth(labels: Array) -> tuple[Array, Array]:
    """Choose a fifth of each class at random, and the same ones for every seed; of a class of two to seven one.

    Returns:
        The positions of those that stay and of those held out, each in rising order, int64.

    Raises:
        UnfitError: no class has two examples.

    Example:
        >>> stay, out = hold_out_fifth(np.repeat([0, 1, 2], [10, 5, 1]))
        >>> len(stay), len(out), np.repeat([0, 1, 2], [10, 5, 1])[out]
        (13, 3, array([0, 0, 1]))
    """
    rng = np.random.default_rng(_SPLIT_SEED)
    order = np.argsort(labels, kind="stable")
    classes = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    held = [rng.permutation(places)[: max(1, round(len(places) / 5))] for places in classes if len(places) > 1]
    if not held:
        raise UnfitError("without a test part and with one image in each class; expected two or more; add images")
    out: Any = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), out), out


def told_of_fifth(labels: Array, out: Array) -> str:
    """Return the words for a test part that nobody has given, the positions `out` of `labels`.

    Example:
        >>> labels = np.repeat([0, 1, 2], [10, 2, 1])
        >>> told_of_fifth(labels, hold_out_fifth(labels)[1]).partition(", are")[0]
        'no test part here: 3 of 13 images, a fifth of each class but at least one (none of 1 class of a single image)'
    """
    counts = np.unique(labels, return_counts=True)[1]
    alone = int((counts == 1).sum())
    small = " but at least one" if ((counts > 1) & (counts < 5)).any() else ""
    none = f" (none of {alone:,} {'class' if alone == 1 else 'classes'} of a single image)" if alone else ""
    return (
        f"no test part here: {len(out):,} of {len(labels):,} images, a fifth of each class{small}{none}, are held out "
        "as one, always the same"
    )


def mixed_order(count: int) -> Array:
    """Return the numbers 0 ... `count` - 1 in an order at random, and always the same one.

    Images out of folders come class by class, and the first thousand of them shall not be one class.
    """
    return np.random.default_rng(_ORDER_SEED).permutation(count)
