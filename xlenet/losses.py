"""What training makes small."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from types import ModuleType
from typing import Any, Protocol

from .backend import (
    Array,
    all_finite,
    borrow,
    debugging,
    hand_over,
    home_of,
    is_foreign,
    library_of,
    on_device_of,
    to_device,
)
from .checks import integer, number, on_device, read_real
from .errors import NotFiniteError
from .functional import nll_loss, softmax_cross_entropy
from .functional.targets import check_reduction
from .workspace import Workspace


class Loss(Protocol):
    """What a step of training asks of a loss: one of your own needs no more."""

    def forward(
        self, scores: Array, labels: Array, /, *, labels_checked: bool = False, work: Workspace | None = None
    ) -> Array:
        """Return the loss, an array of no axes, and remember what `backward` needs."""

    def backward(self, *, work: Workspace | None = None) -> Array:
        """Return the gradient by the scores of the last forward."""


class _Loss:
    """What the losses of a classifier have in common: their options, and what backward needs of the last forward."""

    _scores: str  # what forward's first argument is called

    def __init__(
        self, weight: Sequence[float] | Array | None = None, ignore_index: int | None = None, reduction: str = "mean"
    ) -> None:
        name = type(self).__name__
        self.weight = None if weight is None else _weights(name, weight)
        self.ignore_index = None if ignore_index is None else integer(name, "ignore_index", ignore_index)
        self.reduction = check_reduction(name, reduction)
        self._beside: tuple[Any, Array] | None = None  # the weights as an array, and what it was made for
        self._cache: Any = None  # of the last forward; its first array lies where they all do
        self._home: Callable[[Array], Any] | None = None  # makes arrays of the scores' library, where it is another one

    def _forward(
        self, operation: ModuleType, scores: Array, labels: Array, labels_checked: bool, work: Workspace | None
    ) -> Array:
        if is_foreign(scores) or is_foreign(labels):
            return self._forward_of_others(operation, scores, labels, labels_checked, work)
        with on_device(type(self).__name__, self._scores, scores):
            loss, self._cache = operation.forward(
                scores, labels, labels_checked=labels_checked, work=work, **self._options(scores)
            )
        self._home = None
        if debugging() and not all_finite(loss):
            raise NotFiniteError(self, "output")
        return loss

    def _forward_of_others(
        self, operation: ModuleType, scores: Any, labels: Any, labels_checked: bool, work: Workspace | None
    ) -> Any:
        """Do what forward does with views of arrays of other libraries, such as PyTorch; the result is as `scores`."""
        name, home = type(self).__name__, home_of(scores) if is_foreign(scores) else None
        if is_foreign(scores):
            scores = borrow(scores, operation=name, name=self._scores)
        if is_foreign(labels):
            labels = borrow(labels, operation=name, name="labels")
        loss = self._forward(operation, scores, labels, labels_checked, work)
        self._home = home
        return loss if home is None else hand_over(loss, home)

    def _backward(self, operation: ModuleType, dloss: Any, work: Workspace | None) -> Array:
        if self._cache is None:
            raise RuntimeError(
                f"{type(self).__name__}: got backward without a forward before it; expected forward first; "
                "call the loss"
            )
        home = None if hasattr(dloss, "dtype") else self._home  # a number is of no library
        if is_foreign(dloss):
            dloss, home = borrow(dloss, operation=type(self).__name__, name="dloss"), home_of(dloss)
        with on_device_of(self._cache[0]):
            gradient = operation.backward(dloss, self._cache, work=work)
        self._cache = None  # only now: after a mistake in dloss, backward can be called again
        return gradient if home is None else hand_over(gradient, home)

    def _options(self, scores: Array) -> dict[str, Any]:
        """Return what forward is to be told besides: nothing as a rule, since each argument costs time on its way."""
        if self.weight is None and self.ignore_index is None and self.reduction == "mean":
            return {}
        weight = None if self.weight is None else self._weight_beside(scores)
        return {"weight": weight, "ignore_index": self.ignore_index, "reduction": self.reduction}

    def _weight_beside(self, scores: Array) -> Array:
        """Return the weights where `scores` are and of their type: moved there once, and not in every step."""
        xp = library_of(scores)
        kind = (self.weight, xp, scores.device, scores.dtype)
        if self._beside is None or self._beside[0] != kind:
            self._beside = kind, xp.astype(to_device(self.weight, like=scores), scores.dtype)
        return self._beside[1]

    def __getstate__(self) -> dict[str, Any]:
        # As with layers: what belongs to one batch, or to one device, is neither copied nor pickled.
        return self.__dict__ | {"_cache": None, "_beside": None, "_home": None}

    def __repr__(self) -> str:
        options = {"weight": self.weight, "ignore_index": self.ignore_index}
        shown = [f"{name}={value!r}" for name, value in options.items() if value is not None]
        shown += [] if self.reduction == "mean" else [f"reduction={self.reduction!r}"]
        return f"{type(self).__name__}({', '.join(shown)})"


def _weights(name: str, weight: Any) -> tuple[float, ...]:
    """Return `weight` as numbers of Python's, which belong to no library, device or type."""
    in_order = not isinstance(weight, Mapping | Set | bytes)
    try:
        given = read_real(name, "weight", weight).tolist() if hasattr(weight, "shape") else weight
        numbers = tuple(number(name, "weight", one, 0.0) for one in given)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not in_order:
        raise ValueError(
            f"{name}: got weight {weight!r}; expected a number from 0 up for each class; pass a sequence of K numbers"
        )
    return numbers


class SoftmaxCrossEntropy(_Loss):
    """The loss of a classifier, from its raw scores. See `xlenet.functional.softmax_cross_entropy`.

    Args:
        weight: how much a sample of each class counts, K numbers from 0 up; None: all alike.
        ignore_index: the label of samples that do not count; None: all count.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import numpy as np
        >>> loss = SoftmaxCrossEntropy()
        >>> round(float(loss(np.zeros((2, 10), np.float32), np.array([3, 7]))), 4)   # knows nothing: log(10)
        2.3026
        >>> loss.backward().shape
        (2, 10)
        >>> SoftmaxCrossEntropy(weight=[1, 3], ignore_index=-1)
        SoftmaxCrossEntropy(weight=(1.0, 3.0), ignore_index=-1)
    """

    _scores = "logits"

    def __call__(self, logits: Array, labels: Array) -> Array:
        """Do what `forward` does."""
        return self.forward(logits, labels)

    def forward(
        self, logits: Array, labels: Array, *, labels_checked: bool = False, work: Workspace | None = None
    ) -> Array:
        """Return the loss, an array of no axes unless the reduction is "none", and remember what `backward` needs."""
        return self._forward(softmax_cross_entropy, logits, labels, labels_checked, work)

    def backward(self, dloss: float | Array = 1.0, *, work: Workspace | None = None) -> Array:
        """Return the gradient by the logits of the last forward, as an array of their library, and forget them.

        Raises:
            RuntimeError: there was no forward since the last backward.
        """
        return self._backward(softmax_cross_entropy, dloss, work)


class NLLLoss(_Loss):
    """The loss of a classifier that ends with `xlenet.LogSoftmax`. See `xlenet.functional.nll_loss`.

    `SoftmaxCrossEntropy` does both in one, from raw scores.

    Args:
        weight: how much a sample of each class counts, K numbers from 0 up; None: all alike.
        ignore_index: the label of samples that do not count; None: all count.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import numpy as np
        >>> loss = NLLLoss(reduction="sum")
        >>> round(float(loss(np.log(np.array([[0.5, 0.5], [0.25, 0.75]])), np.array([1, 0]))), 4)   # log 2 + log 4
        2.0794
        >>> loss.backward()
        array([[ 0., -1.],
               [-1.,  0.]])
    """

    _scores = "log_probabilities"

    def __call__(self, log_probabilities: Array, labels: Array) -> Array:
        """Do what `forward` does."""
        return self.forward(log_probabilities, labels)

    def forward(
        self, log_probabilities: Array, labels: Array, *, labels_checked: bool = False, work: Workspace | None = None
    ) -> Array:
        """Return the loss, an array of no axes unless the reduction is "none", and remember what `backward` needs."""
        return self._forward(nll_loss, log_probabilities, labels, labels_checked, work)

    def backward(self, dloss: float | Array = 1.0, *, work: Workspace | None = None) -> Array:
        """Return the gradient by the log_probabilities of the last forward, and forget them: an array of their library.

        Raises:
            RuntimeError: there was no forward since the last backward.
        """
        return self._backward(nll_loss, dloss, work)
