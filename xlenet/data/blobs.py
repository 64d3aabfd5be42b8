"""Which pixels hang together."""

from __future__ import annotations

import numpy as np

from ..backend import Array


def blobs(there: Array) -> tuple[Array, int]:
    """Give each group of neighbours, diagonal ones included, a number.

    Args:
        there: (H, W), bool.

    Returns:
        The group of each pixel, int64 (H, W), -1 where none is; and how many groups there are.

    Example:
        >>> blobs(np.array([[1, 0, 0, 1], [0, 1, 0, 1]], bool))
        (array([[ 0, -1, -1,  1],
               [-1,  0, -1,  1]]), 2)
    """
    # Each pixel takes the least number of its neighbours, and then that number's own, until nothing changes: the
    # second halves the way to go each time, so that a long stroke does not take a round for each pixel of it.
    h, w = there.shape
    own = np.arange(h * w).reshape(h, w)
    nobody = h * w
    group = np.where(there, own, nobody)
    while True:
        wide = np.pad(group, 1, constant_values=nobody)
        least = np.minimum.reduce([wide[i : i + h, j : j + w] for i in range(3) for j in range(3)])
        least = np.where(there, least, nobody)
        roots = np.append(own.ravel(), nobody)
        # The number that a group had takes the least that any of its pixels has found.
        np.minimum.at(roots, group.ravel(), least.ravel())
        after = roots[roots[least]]
        if np.array_equal(after, group):
            break
        group = after
    names, numbers = np.unique(group[there], return_inverse=True)
    labels = np.full((h, w), -1)
    labels[there] = numbers.ravel()
    return labels, len(names)
