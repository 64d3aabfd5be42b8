"""What training makes small."""

from __future__ import annotations

from typing import Any

from .backend import Array, on_device_of
from .checks import on_device
from .functional import softmax_cross_entropy
from .workspace import Workspace


class SoftmaxCrossEntropy:
    """The loss of a classifier, from its raw scores. See `xlenet.functional.softmax_cross_entropy`.

    Example:
        >>> import numpy as np
        >>> loss = SoftmaxCrossEntropy()
        >>> round(float(loss(np.zeros((2, 10), np.float32), np.array([3, 7]))), 4)   # knows nothing: log(10)
        2.3026
        >>> loss.backward().shape
        (2, 10)
    """

    def __init__(self) -> None:
        self._cache: Any = None  # of the last forward; its first array lies where they all do

    def __call__(self, logits: Array, labels: Array) -> Array:
        """Do what `forward` does."""
        return self.forward(logits, labels)

    def forward(
        self, logits: Array, labels: Array, *, labels_checked: bool = False, work: Workspace | None = None
    ) -> Array:
        """Return the mean loss over the batch, an array of no axes, and remember what `backward` needs."""
        with on_device("SoftmaxCrossEntropy", "logits", logits):
            loss, self._cache = softmax_cross_entropy.forward(logits, labels, labels_checked=labels_checked, work=work)
        return loss

    def backward(self, dloss: float | Array = 1.0, *, work: Workspace | None = None) -> Array:
        """Return the gradient by the logits of the last forward, and forget them.

        Raises:
            RuntimeError: there was no forward since the last backward.
        """
        if self._cache is None:
            raise RuntimeError(
                "SoftmaxCrossEntropy: got backward without a forward before it; expected forward first; call the loss"
            )
        with on_device_of(self._cache[0]):
            dlogits = softmax_cross_entropy.backward(dloss, self._cache, work=work)
        self._cache = None  # only now: after a mistake in dloss, backward can be called again
        return dlogits
