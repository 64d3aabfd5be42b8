"""The one shape in which every data set of the library comes."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from ..backend import Array
from ..checks import integer

_SPLIT_SEED = (0, 2)  # a stream of its own: the order of the epochs has the first one


class Dataset(NamedTuple):
    """Images and labels of one data set, split into a training and a test part, in host memory (NumPy).

    Attributes:
        name: Name of the data set, for example `"mnist"`.
        x_train: Training images, uint8, (N, C, H, W), C-contiguous, 0 to 255. May be read-only.
        y_train: Training labels, int64, (N,), each 0 to `len(class_names) - 1`. May be read-only.
        x_test: Test images, laid out as `x_train`.
        y_test: Test labels, laid out as `y_train`.
        class_names: Name of each class; the label is the index.
        held_out: Whether the test part was taken out of the images because there was none.

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
    held_out: bool = False

    def digest(self) -> str:
        """Return a text that another data set, or one with a single pixel changed, does not have.

        Example:
            >>> x, y = np.zeros((2, 1, 4, 4), np.uint8), np.array([0, 1])
            >>> Dataset("tiny", x, y, x, y, ("no", "yes")).digest() == Dataset("tiny", x + 1, y, x, y, ("",)).digest()
            False
        """
        sums = hashlib.blake2b(digest_size=16)
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            sums.update(f"{array.shape} {array.dtype.str}".encode())
            sums.update(np.ascontiguousarray(array).data)
        return f"blake2b:{sums.hexdigest()}"


def hold_out(count: int, held: int) -> tuple[Array, Array]:
    """Choose `held` of `count` images to be held out of training: at random, and the same ones for every seed, so that
    what is chosen by them can be compared.

    Returns:
        The positions of those that stay and of those held out, each in rising order, int64.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: there are not so many images, or none would stay.

    Example:
        >>> stay, out = hold_out(10, 3)
        >>> len(stay), len(out), sorted([*stay.tolist(), *out.tolist()]) == list(range(10))
        (7, 3, True)
    """
    count, held = integer("hold_out", "count", count, 1), integer("hold_out", "held", held, 0)
    if held >= count:
        raise ValueError(f"hold_out: got held {held} of {count} images; expected fewer; some must stay to learn from")
    order = np.random.default_rng(_SPLIT_SEED).permutation(count)
    return np.sort(order[held:]), np.sort(order[:held])
