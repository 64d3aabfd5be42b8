"""The one shape in which every data set of the library comes."""

from __future__ import annotations

from typing import NamedTuple

from ..backend import Array


class Dataset(NamedTuple):
    """Images and labels of one data set, split into a training and a test part, in host memory (NumPy).

    Attributes:
        name: Name of the data set, for example `"mnist"`.
        x_train: Training images, uint8, (N, C, H, W), C-contiguous, 0 to 255. May be read-only.
        y_train: Training labels, int64, (N,), each 0 to `len(class_names) - 1`. May be read-only.
        x_test: Test images, laid out as `x_train`.
        y_test: Test labels, laid out as `y_train`.
        class_names: Name of each class; the label is the index.

    Example:
        >>> import numpy as np
        >>> x, y = np.zeros((2, 1, 4, 4), np.uint8), np.array([0, 1])
        >>> Dataset("tiny", x, y, x[:1], y[:1], ("no", "yes")).class_names
        ('no', 'yes')
    """

    name: str
    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    class_names: tuple[str, ...]
