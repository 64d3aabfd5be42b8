"""Optimisers: from gradients to better parameters.

All parameters lie one behind the other in a single vector, and so do their gradients and each optimiser's own memory of
them: a step is a few operations on long vectors, whatever the number of layers. The layers keep views of these vectors.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping
from typing import Any

from .backend import (
    Array,
    as_finite,
    copy,
    debugging,
    namespace_of,
    on_device_of,
    put,
    swappable,
    to_device,
    zeros,
)
from .checks import check_kind, integer, number, read_real, switch
from .errors import NotFiniteError, shown
from .layers import Layer


class Optimizer:
    """What the optimisers have in common: the vectors, and what is done to the gradient before each step.

    Making one moves the model's parameters and gradients into vectors, so make it after `Layer.to`, and one per model.

    Args:
        model: a layer, usually a `Sequential`; frozen layers in it are left alone.
        weight_decay: how strongly weights are pulled to 0. Only weights with two or more axes: never biases, never the
            scale and shift of batch normalisation.
        clip: the largest norm that the whole gradient may have; a larger one is scaled down to it. None: any.

    Raises:
        ValueError: a number out of range, or a model with nothing to learn.

    Attributes:
        usual_lr: a peak learning rate that suits where nobody has said one.
    """

    usual_lr = 0.05

    def __init__(self, model: Layer, *, weight_decay: float = 0.0, clip: float | None = None) -> None:
        check_kind(type(self).__name__, "model", model, Layer, "a Layer")
        self.weight_decay = self._number("weight_decay", weight_decay)
        self.clip = None if clip is None else self._number("clip", clip, above=True)
        self._places = [(leaf, name) for _, leaf in model.leaves() for name in leaf.grads]
        if not self._places:
            raise ValueError(
                f"{type(self).__name__}: got a model with nothing to learn; expected a layer that is not frozen; "
                "unfreeze one"
            )
        self._places.sort(key=lambda place: place[0].params[place[1]].ndim < 2)  # those that decay first; else in order
        self._decayed = sum(leaf.params[name].size for leaf, name in self._places if leaf.params[name].ndim >= 2)
        self.slots: dict[str, Array] = {}
        self.steps = 0
        self._make_vectors()

    def _make_vectors(self) -> None:
        self.params = _move_into_vector([(leaf.params, name) for leaf, name in self._places])
        self.grads = _move_into_vector([(leaf.grads, name) for leaf, name in self._places])
        self._views = [(leaf.params[name], leaf.grads[name]) for leaf, name in self._places]
        # What is clipped: `grads` stay as backward left them.
        self._gradient = zeros(self.grads.shape, like=self.grads)

    def _number(self, name: str, value: Any, below: float = math.inf, *, above: bool = False) -> float:
        return number(type(self).__name__, name, value, 0.0, below, above=above)

    def is_for(self, model: Layer) -> bool:
        """Return whether the layers that this optimiser changes are all in `model`."""
        check_kind(type(self).__name__, "model", model, Layer, "a Layer")
        leaves = {id(leaf) for _, leaf in model.leaves()}
        return all(id(mine) in leaves for mine, _ in self._places)

    def __getstate__(self) -> dict[str, Any]:
        # A copied or unpickled view is an array of its own: the copy makes its vectors anew, of the copied layers.
        return {k: v for k, v in self.__dict__.items() if k not in ("params", "grads", "_views", "_gradient")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_vectors()

    def step(self, lr: float) -> None:
        """Change the parameters by the gradients of the last backward.

        Args:
            lr: learning rate, 0 or more.

        Raises:
            TypeError, ValueError: `lr` is no such number.
            RuntimeError: the model's arrays have been exchanged since, by `Layer.to` or by another optimiser.
        """
        self.check()
        scalars = self.scalars(self._number("lr", lr), self.steps + 1)
        self.steps += 1
        self.apply(scalars)
        if debugging() and not self.is_finite():
            raise NotFiniteError(self, "parameters after a step")

    def is_finite(self) -> bool:
        """Return whether all parameters and slots are finite. Waits for the device, once."""
        with on_device_of(self.params):
            xp = namespace_of(self.params)
            finite = [xp.all(xp.isfinite(vector)) for vector in (self.params, *self.slots.values())]
            return bool(functools.reduce(operator.and_, finite))

    def check(self) -> None:
        """Raise a RuntimeError if the model's arrays are no longer those that this optimiser was made for."""
        if any(
            leaf.params[name] is not p or leaf.grads.get(name) is not g
            for (leaf, name), (p, g) in zip(self._places, self._views, strict=True)
        ):
            raise RuntimeError(
                f"{type(self).__name__}: got a model whose arrays were exchanged (by .to(), requires_grad or a second "
                "optimiser); expected those it was made for; make a new optimiser"
            )

    def scalars(self, lr: float, step: int) -> tuple[float, ...]:
        """Return the numbers that change from step to step, for the `step`-th one, counted from 1."""
        return (lr,)

    def apply(self, scalars: Any) -> None:
        """Change the parameters; all that differs from step to step is in `scalars`.

        Args:
            scalars: what `scalars` returned, or the same numbers in an array on the parameters' device.
        """
        with on_device_of(self.params):
            gradient = self.grads
            if self.clip is not None:
                gradient = put(gradient, self._gradient)
                _clip(gradient, self.clip)
            self._update(gradient, scalars)

    def state_dict(self) -> dict[str, Array]:
        """Return copies of what the optimiser remembers from step to step; `steps` is the other half of it.

        Example:
            >>> from xlenet import SGD, Linear
            >>> {name: slot.shape for name, slot in SGD(Linear(3, 2)).state_dict().items()}
            {'velocity': (8,)}
        """
        return {name: copy(slot) for name, slot in self.slots.items()}

    def load_state_dict(self, state: Mapping[str, Array], steps: int) -> None:
        """Go on as another optimiser of the same kind would have, of an equal model.

        Args:
            state: what `state_dict` returned, or the same arrays on the host.
            steps: how many steps the other one had done.

        Raises:
            TypeError: `state` is no mapping, a slot no array of real numbers, or `steps` no whole number.
            ValueError: a slot is missing, unknown, of another length or type, or with a number that is not finite.
                Nothing has been changed then, in both cases.
        """
        self._put(*self._prepared(state, steps))

    def _prepared(self, state: Mapping[str, Array], steps: int) -> tuple[dict[str, Array], int]:
        """Return the arrays of `state` beside the slots, so that nothing can go wrong any more: see `_put`."""
        operation = type(self).__name__
        steps = integer(operation, "steps", steps, 0)
        check_kind(operation, "state", state, Mapping, "a mapping from names to arrays")
        arrays = {str(name): read_real(operation, shown(name), slot) for name, slot in state.items()}
        mine, given = _lengths_and_types(self.slots), _lengths_and_types(arrays)
        if mine != given:
            raise ValueError(
                f"{operation}: got slots {shown(given)}; expected {mine}; load what an optimiser of the same kind has "
                "saved for the same model"
            )
        ready = {
            name: to_device(as_finite(operation, name, array, str(array.dtype)), like=self.slots[name])
            for name, array in arrays.items()
        }
        return ready, steps

    def _put(self, ready: Mapping[str, Array], steps: int) -> None:
        for name, slot in self.slots.items():
            with on_device_of(slot):
                slot[...] = ready[name]
        self.steps = steps

    def _update(self, gradient: Array, scalars: Any) -> None:
        """Change `params`, and nothing else but `slots`."""
        raise NotImplementedError

    def _add_slot(self, name: str) -> Array:
        self.slots[name] = zeros(self.params.shape, like=self.params)
        return self.slots[name]


def _lengths_and_types(slots: Mapping[str, Array]) -> dict[str, tuple[Any, ...]]:
    return {name: (*slot.shape, str(slot.dtype).rpartition(".")[2]) for name, slot in slots.items()}


def _move_into_vector(places: list[tuple[dict[str, Array], str]]) -> Array:
    """Copy the arrays at `places` behind one another and put views of the copy in their places."""
    arrays = [holder[name] for holder, name in places]
    vector = zeros((sum(a.size for a in arrays),), like=arrays[0])
    start = 0
    with on_device_of(vector):
        xp = namespace_of(*arrays)
        for (holder, name), array in zip(places, arrays, strict=True):
            part = vector[start : start + array.size]
            part[...] = xp.reshape(array, (-1,))
            holder[name] = xp.reshape(part, array.shape)
            start += array.size
    return vector


def _clip(gradient: Array, largest: float) -> None:
    xp = namespace_of(gradient)
    norm = xp.sqrt(xp.sum(gradient * gradient))
    gradient *= largest / xp.maximum(norm, largest)  # no question to the device: 1 where the norm is small enough


class SGD(Optimizer):
    """Stochastic gradient descent with momentum: v = momentum * v + g;  p = p - lr * v.

    With Nesterov's momentum p moves by g + momentum * v instead. Weight decay is added to the gradient g. (The
    conventions of PyTorch.)

    Args:
        model: see `Optimizer`.
        momentum: how much of the last step's velocity stays, 0 to below 1.
        nesterov: look ahead along the velocity.
        weight_decay: see `Optimizer`.
        clip: see `Optimizer`.

    Example:
        >>> from xlenet import Linear
        >>> layer = Linear(2, 1, rng=0)
        >>> optimizer = SGD(layer, momentum=0.9)
        >>> layer.grads["bias"][...] = 1.0
        >>> optimizer.step(lr=0.5)
        >>> layer.params["bias"]
        array([-0.5], dtype=float32)

    References:
        I. Sutskever et al., On the importance of initialization and momentum in deep learning (2013).
    """

    def __init__(
        self,
        model: Layer,
        *,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        clip: float | None = None,
    ) -> None:
        momentum, nesterov = self._number("momentum", momentum, 1.0), switch("SGD", "nesterov", nesterov)
        super().__init__(model, weight_decay=weight_decay, clip=clip)
        self.momentum, self.nesterov = momentum, nesterov
        self._add_slot("velocity")

    def _update(self, gradient: Array, scalars: Any) -> None:
        velocity = self.slots["velocity"]
        sgd_update(
            self.params, velocity, gradient, scalars, self.momentum, self.nesterov, self.weight_decay, self._decayed
        )


class Adam(Optimizer):
    """Adam: each parameter's step is scaled by how large its gradients have been. Weight decay is added to the
    gradient.

    Args:
        model: see `Optimizer`.
        betas: how much stays of the running means of gradients and of their squares, each 0 to below 1.
        eps: added to the root of the mean square.
        weight_decay: see `Optimizer`.
        clip: see `Optimizer`.

    Example:
        >>> from xlenet import Linear
        >>> layer = Linear(2, 1, rng=0)
        >>> optimizer = Adam(layer)
        >>> layer.grads["bias"][...] = 100.0
        >>> optimizer.step(lr=0.01)
        >>> layer.params["bias"]       # the first step has length lr, however large the gradient
        array([-0.01], dtype=float32)

    References:
        D. Kingma, J. Ba, Adam (2014), https://arxiv.org/abs/1412.6980
    """

    usual_lr = 0.004
    _decoupled = False

    def __init__(
        self,
        model: Layer,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        clip: float | None = None,
    ) -> None:
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ValueError(
                f"{type(self).__name__}: got betas {betas!r}; expected a pair of numbers, each from 0 to below 1; "
                "(0.9, 0.999) is usual"
            )
        first, second = (self._number("betas", beta, 1.0) for beta in betas)
        eps = self._number("eps", eps)
        super().__init__(model, weight_decay=weight_decay, clip=clip)
        self.betas, self.eps = (first, second), eps
        self._add_slot("mean")
        self._add_slot("square")

    def scalars(self, lr: float, step: int) -> tuple[float, ...]:
        """Return the factors of mean and root, and the learning rate: both means start at 0 and are too small at first
        by what the factors make up for.
        """
        beta1, beta2 = self.betas
        return lr / (1.0 - beta1**step), 1.0 / math.sqrt(1.0 - beta2**step), lr

    def _update(self, gradient: Array, scalars: Any) -> None:
        mean, square = self.slots["mean"], self.slots["square"]
        adam_update(
            self.params, mean, square, gradient, scalars,
            self.betas, self.eps, self.weight_decay, self._decayed, self._decoupled,
        )  # fmt: skip


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: weights shrink by lr * weight_decay, however large their
    gradients are.

    Args:
        model, betas, eps, clip: see `Adam`.
        weight_decay: see `Optimizer`; 0.01 unless told otherwise.

    Example:
        >>> from xlenet import Linear
        >>> layer = Linear(2, 1, rng=0)
        >>> before = layer.params["weight"].copy()
        >>> AdamW(layer, weight_decay=0.5).step(lr=0.1)     # no gradient: nothing but decay
        >>> bool((abs(layer.params["weight"] - 0.95 * before) < 1e-6).all())
        True

    References:
        I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization (2017), https://arxiv.org/abs/1711.05101
    """

    _decoupled = True

    def __init__(
        self,
        model: Layer,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        clip: float | None = None,
    ) -> None:
        super().__init__(model, betas=betas, eps=eps, weight_decay=weight_decay, clip=clip)


# ==== the rules ====


@swappable
def sgd_update(
    params: Array,
    velocity: Array,
    grads: Array,
    scalars: Any,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    decayed: int,
) -> None:
    """Do a step of `SGD`, in place.

    Args:
        params: vector, changed.
        velocity: vector, changed.
        grads: vector.
        scalars: the learning rate, in a tuple or in an array of one number beside `params`.
        momentum: see `SGD`.
        nesterov: see `SGD`.
        weight_decay: see `SGD`.
        decayed: how many parameters, from the first on, decay.

    Example:
        >>> import numpy as np
        >>> params, velocity = np.ones(2), np.zeros(2)
        >>> sgd_update(params, velocity, np.ones(2), (0.5,), 0.9, False, 1.0, decayed=1)
        >>> params, velocity
        (array([0. , 0.5]), array([2., 1.]))
    """
    decay = weight_decay * params[:decayed] if weight_decay else None
    velocity *= momentum
    _add(velocity, grads, decay)
    direction = velocity * (momentum if nesterov else 1.0)
    if nesterov:
        _add(direction, grads, decay)
    direction *= scalars[0]
    params -= direction


def _add(vector: Array, grads: Array, decay: Array | None) -> None:
    """Add the gradient, to which the pull of weight decay on the first parameters belongs."""
    vector += grads
    if decay is not None:
        first = vector[: decay.shape[0]]
        first += decay


@swappable
def adam_update(
    params: Array,
    mean: Array,
    square: Array,
    grads: Array,
    scalars: Any,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decayed: int,
    decoupled: bool,
) -> None:
    """Do a step of `Adam`, or of `AdamW` if weight decay is `decoupled`, in place.

    Args:
        params: vector, changed.
        mean: of the gradients, vector, changed.
        square: mean of their squares, vector, changed.
        grads: vector.
        scalars: what `Adam.scalars` returns, in a tuple or in an array beside `params`.
        betas: see `Adam`.
        eps: see `Adam`.
        weight_decay: see `Adam`.
        decayed: how many parameters, from the first on, decay.
        decoupled: whether decay is apart from the gradient.

    Example:
        >>> import numpy as np
        >>> params, mean, square = np.ones(1), np.zeros(1), np.zeros(1)
        >>> adam_update(params, mean, square, np.ones(1), (0.1, 1.0, 0.01), (0.9, 0.99), 0.0, 0.0, 1, False)
        >>> params.round(6), mean.round(6), square.round(6)
        (array([0.9]), array([0.1]), array([0.01]))
    """
    xp, (beta1, beta2), first = namespace_of(params), betas, params[:decayed]
    if weight_decay and decoupled:
        first *= 1.0 - weight_decay * scalars[2]
    elif weight_decay:
        grads = copy(grads)
        pulled = grads[:decayed]
        pulled += weight_decay * first
    mean *= beta1
    mean += (1.0 - beta1) * grads
    square *= beta2
    square += (1.0 - beta2) * grads * grads
    root = xp.sqrt(square)
    root *= scalars[1]
    root += eps
    params -= scalars[0] * mean / root
