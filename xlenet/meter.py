"""Loss and accuracy so far in an epoch, counted where the arrays are."""

from __future__ import annotations

from .backend import Array, namespace_of, swappable, to_device, to_host, zeros
from .backend.late import LateCopy


class Meter:
    """Loss and accuracy so far in an epoch, added up on the device, so that a step never waits for the host.

    Example:
        >>> import numpy as np
        >>> meter = Meter(np.zeros(1))
        >>> meter.add(np.array(0.5), np.array([[1.0, 2.0], [1.0, 2.0]]), np.array([1, 0]))
        >>> meter.read()
        (0.5, 0.5, 1)
    """

    def __init__(self, like: Array) -> None:
        # Loss, right answers, and steps before the first whose loss was not finite.
        self.sums = zeros((3,), like=like, dtype="float64")
        self.images = 0
        self._late = LateCopy[int](self.sums)

    def reset(self) -> None:
        """Begin anew, in the same memory."""
        self.sums[...] = 0.0
        self.images = 0
        self._late.forget()

    def resume(self, sums: tuple[float, ...], images: int) -> None:
        """Go on from where another meter was: its `sums` and `images`."""
        self.sums[...] = to_device(sums, like=self.sums)
        self.images = images
        self._late.forget()

    def add(self, loss: Array, logits: Array, labels: Array) -> None:
        """Take a batch into account, by its own size."""
        self.images += labels.shape[0]
        tally(self.sums, loss, logits, labels)

    def read(self) -> tuple[float, float, int]:
        """Return mean loss, accuracy, and how many steps came before a loss not finite. Waits for the device."""
        return _means(to_host(self.sums).tolist(), self.images)

    def peek(self) -> tuple[float, float, int] | None:
        """Return what `read` would have returned a moment ago, without waiting for the device: None if nothing has
        arrived yet.
        """
        arrived = self._late.newest(self.images)
        return None if arrived is None else _means(*arrived)


def _means(sums: list[float], images: int) -> tuple[float, float, int]:
    loss, right, finite = sums
    return loss / images, right / images, int(finite)


@swappable
def tally(sums: Array, loss: Array, logits: Array, labels: Array) -> None:
    """Add a batch to the sums of a `Meter`, in place."""
    xp = namespace_of(logits)
    total, right, finite = sums[0:1], sums[1:2], sums[2:3]
    total += loss * labels.shape[0]
    right += xp.sum(xp.astype(xp.argmax(logits, axis=1) == labels, xp.float64))
    finite += xp.astype(xp.isfinite(total), xp.float64)  # a sum once infinite or NaN stays so
