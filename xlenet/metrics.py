"""What a classifier got right and wrong, counted on the host."""

from __future__ import annotations

import numpy as np

from .backend import Array
from .checks import integer
from .data.host import on_host


def confusion_matrix(labels: Array, predictions: Array, classes: int) -> Array:
    """Count how often each class was taken for each.

    Args:
        labels: true classes (N,), integers from 0 to `classes` - 1, host NumPy.
        predictions: predicted classes (N,), likewise.
        classes: the number of classes C.

    Returns:
        int64 (C, C): row = true class, column = predicted class. Its diagonal counts the right answers.

    Raises:
        TypeError: they are not on the host, or `classes` is no whole number.
        ValueError: the two are not integers of one length, or one lies outside the classes.

    Example:
        >>> import numpy as np
        >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), classes=2)
        array([[1, 1],
               [0, 1]])
    """
    classes = integer("confusion_matrix", "classes", classes, 1)
    true, predicted = (
        on_host("confusion_matrix", name, a) for name, a in (("labels", labels), ("predictions", predictions))
    )
    integers = true.dtype.kind in "iu" and predicted.dtype.kind in "iu"
    if true.ndim != 1 or true.shape != predicted.shape or not integers:
        raise ValueError(
            f"confusion_matrix: got labels {true.shape} {true.dtype} and predictions {predicted.shape} "
            f"{predicted.dtype}; expected two integer arrays (N,); pass classes, not probabilities"
        )
    for name, values in (("label", true), ("prediction", predicted)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(
                f"confusion_matrix: got a {name} between {values.min()} and {values.max()}; expected 0 to "
                f"{classes - 1}; check `classes` and the data"
            )
    pairs = true.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
