"""What every layer has in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from ..backend import (
    Array,
    Backend,
    all_finite,
    as_backend,
    as_finite,
    borrow,
    copy,
    debugging,
    default_backend,
    hand_over,
    home_of,
    is_foreign,
    library_of,
    namespace_of,
    on_device_of,
    place,
    share_memory,
    to_device,
    to_host,
    zeros,
)
from ..checks import check_kind, check_shape, on_device, read_real, switch
from ..errors import NotFiniteError, shown
from ..workspace import Workspace
from .summary import Summary, summarise


class Layer:
    """A step of a network: `forward` and `backward`, and the arrays that outlive a batch.

    A layer of one's own overrides `_forward` and `_backward` (and `_infer`, where evaluation has rules of its own),
    adds parameters with `_add_parameter`, and hands their gradients to `_set_gradients`.

    Example:
        >>> import numpy as np
        >>> class Scale(Layer):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self._add_parameter("weight", np.full(1, 3.0))
        ...
        ...     def _forward(self, x, work):
        ...         return self.params["weight"] * x, x
        ...
        ...     def _backward(self, dy, cache, need_dx, work):
        ...         self._set_gradients(weight=(dy * cache).sum(keepdims=True))
        ...         return self.params["weight"] * dy if need_dx else None
        >>> scale = Scale()
        >>> scale(np.array([1.0, 2.0])), scale.backward(np.array([1.0, 1.0])), scale.grads["weight"]
        (array([3., 6.]), array([3., 3.]), array([3.]))

    Attributes:
        params: what training changes, by PyTorch's names: ``weight``, ``bias``.
        grads: the gradients of the last backward, by the same names. Assigned by each backward, not added up, and
            written in place: an array of `params`, `grads` or `buffers` is never exchanged for another one in training.
        buffers: what is not optimised: ``running_mean``, ``running_var``, which are saved; and ``step`` of `Dropout`,
            which is not.
        training: True after `train`, False after `eval`.
    """

    _transient: frozenset[str] = frozenset()  # names of buffers that files do without

    def __init__(self, *, requires_grad: bool = True) -> None:
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
        self.training = True
        self._requires_grad = switch(type(self).__name__, "requires_grad", requires_grad)
        self._cache: tuple[Any] | None = None  # of the last forward; a cache may itself be None

    # ==== what is computed ====

    # An array of another library, such as a tensor of PyTorch's, is borrowed for a call, and the result given back as
    # one of that library: see `xlenet.interop`. What is between, and what is remembered, is of NumPy or CuPy.

    def __call__(self, x: Array) -> Array:
        """Do what `forward` does."""
        return self.forward(x)

    def forward(self, x: Array, *, work: Workspace | None = None) -> Array:
        """Return the layer's result by the rules of its mode, and remember what `backward` needs.

        Args:
            x: of NumPy, CuPy, or another library that speaks DLPack; the result is of the same. Do not change it in
                place before `backward`, which may need it; nor a result of NumPy or CuPy. (A result of another library
                has memory of its own, or is a view of x.)
            work: lends memory until the step ends; None allocates.

        Raises:
            TypeError, ValueError: x is not what the layer takes. Parameters, gradients and buffers are as before then.
        """
        y = self._remember(x, work)
        self._settle()
        return y

    def _propose(self, x: Array, work: Workspace | None) -> Array:
        """Do what `forward` does, but for what could not be taken back if something behind it fails: see `_accept`."""
        return self._remember(x, work) if self._goes_our_way else self.forward(x, work=work)

    def _accept(self) -> None:
        """Do the rest of what `forward` does."""
        if self._goes_our_way:
            self._settle()

    @property
    def _goes_our_way(self) -> bool:
        """Whether `forward` is the one above: another one, of a class or put on an object, settles for itself."""
        return getattr(self.forward, "__func__", None) is Layer.forward

    def _remember(self, x: Array, work: Workspace | None) -> Array:
        if is_foreign(x):
            view, home = borrow(x, operation=type(self).__name__), home_of(x)
            return hand_over(self._apart(self._remember(view, work), view), home, x)
        with on_device(type(self).__name__, "x", x):
            self._check_library(x)
            y, cache = self._forward(x, work)
        if debugging():
            self._check_finite(input=x, output=y)
        self._cache = (cache,)
        return y

    def _apart(self, y: Array, x: Array) -> Array:
        """Return `y` where its owner may write to it: as it is if it shares no memory with what is remembered, or is a
        view of the caller's own `x`; else a copy.
        """
        with on_device_of(y):
            return y if share_memory(y, x) or not any(share_memory(y, kept) for kept in _kept(self)) else copy(y)

    def _settle(self) -> None:
        """Let buffers follow the last forward."""

    def _count_from(self, steps: int) -> None:
        """Begin a run of training, or go on with one, in which so many steps are done."""

    def backward(self, dy: Array, *, need_dx: bool = True, work: Workspace | None = None) -> Array | None:
        """Return the gradient by the x of the last `forward`, and put those by the parameters into `grads`.

        Args:
            dy: gradient of the loss by forward's result, of its shape.
            need_dx: False skips the gradient by x, where nobody below needs it, and returns None.
            work: lends memory until the step ends; None allocates.

        Raises:
            RuntimeError: there was no forward since the last backward.
        """
        if self._cache is None:
            raise RuntimeError(
                f"{type(self).__name__}: got backward without a forward before it; expected forward first; "
                "call the layer on x"
            )
        if is_foreign(dy):
            view, home = borrow(dy, operation=type(self).__name__, name="dy"), home_of(dy)
            dx = Layer.backward(self, view, need_dx=need_dx, work=work)
            return None if dx is None else hand_over(dx, home, dy)
        with on_device(type(self).__name__, "dy", dy):
            dx = self._backward(dy, self._cache[0], need_dx, work)
        self._cache = None  # only now: after a mistake in dy, backward can be called again
        if debugging():
            grads = {f"gradient of {name}": grad for name, grad in self._computes.grads.items()}
            self._check_finite(**{"gradient from behind": dy}, **grads, **{"gradient by x": dx})
        return dx

    def forget(self) -> None:
        """Let go of what the last `forward` remembered for a `backward` that will not come."""
        for _, leaf in self.leaves():
            leaf._cache = None
        self._cache = None

    def infer(self, x: Array, *, work: Workspace | None = None) -> Array:
        """Return the result by the rules of evaluation, whatever the mode; store nothing. Safe in several threads."""
        if is_foreign(x):
            view, home = borrow(x, operation=type(self).__name__), home_of(x)
            return hand_over(Layer.infer(self, view, work=work), home, x)
        with on_device(type(self).__name__, "x", x):
            self._check_library(x)
            return self._infer(x, work)

    def _check_library(self, x: Array) -> None:
        mine = self.params or self.buffers
        if not mine:
            return
        name, array = next(iter(mine.items()))  # a layer's arrays are of one library
        here, there = namespace_of(x), library_of(array)
        if here is not there:
            raise TypeError(
                f"{type(self).__name__}: got x of {here.__name__} and {name} of {there.__name__}; expected one "
                f"library; move the layer with .to({here.__name__!r}), or x with xlenet.to_device"
            )

    @property
    def _computes(self) -> Layer:
        """Who is named where numbers are not finite."""
        return self

    def _check_finite(self, **arrays: Array | None) -> None:
        for what, array in arrays.items():
            if array is not None and not all_finite(array):
                raise NotFiniteError(self._computes, what)

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, Any]:
        raise NotImplementedError

    def _backward(self, dy: Array, cache: Any, need_dx: bool, work: Workspace | None) -> Array | None:
        raise NotImplementedError

    def _infer(self, x: Array, work: Workspace | None) -> Array:
        return self._forward(x, work)[0]

    # ==== modes ====

    def train(self) -> Self:
        """Follow the rules of training from now on (`BatchNorm` uses each batch's statistics)."""
        return self._set_mode(True)

    def eval(self) -> Self:
        """Follow the rules of evaluation from now on (`BatchNorm` uses its running statistics)."""
        return self._set_mode(False)

    def _set_mode(self, training: bool) -> Self:
        self.training = training
        return self

    # ==== parameters ====

    def _add_parameter(self, name: str, host: Any) -> None:
        self.params[name] = place(host, default_backend())
        if self.requires_grad:
            self.grads[name] = zeros(host.shape, like=self.params[name])

    def _gradients(self, *names: str) -> tuple[Any, ...] | None:
        """Return where the gradients `names` belong, for a backward that can write them there; None if frozen."""
        return tuple(self.grads.get(name) for name in names) if self.grads else None

    def _set_gradients(self, **gradients: Array | None) -> None:
        for name, value in gradients.items():
            if value is not None and name in self.grads and value is not self.grads[name]:
                check_shape(type(self).__name__, f"d{name}", value, self.grads[name].shape, f"the shape of {name}")
                self.grads[name][...] = value

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Go over the layers that hold arrays, with their full names: this one, or those inside a `Sequential`."""
        yield prefix, self

    @property
    def requires_grad(self) -> bool:
        """Whether the layer learns; False freezes it: `grads` is empty, and backward computes no gradients for its
        parameters.

        Can be changed, for a whole `Sequential` at once; make optimisers afterwards.
        """
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        value = self._requires_grad = switch(type(self).__name__, "requires_grad", value)
        for _, leaf in self.leaves():
            leaf._requires_grad = value
            leaf.grads.clear()
            if value:
                leaf.grads.update({name: zeros(p.shape, like=p) for name, p in leaf.params.items()})

    @property
    def learns(self) -> bool:
        """Whether backward has gradients to compute for parameters here."""
        return any(leaf.grads for _, leaf in self.leaves())

    def named_parameters(self) -> Iterator[tuple[str, Array]]:
        """Go over the parameters with their full names, such as ``conv1.weight``, in the order of the layers."""
        for prefix, layer in self.leaves():
            for name, array in layer.params.items():
                yield _join(prefix, name), array

    @property
    def size(self) -> int:
        """How many numbers training can change, frozen ones included."""
        return sum(array.size for _, array in self.named_parameters())

    # ==== what it is made of ====

    def summary(self, shape: tuple[int, ...] | None = None) -> Summary:
        """Return a table of the layers: result, parameters, operations and bytes of each, for one sample.

        Counted by the rules of evaluation, for a batch of one of zeros that goes through; nothing is changed. A
        multiply-add counts as 2 operations, a bias as none (the sum begins with it), and whatever else is done to a
        number as 1, a function such as the exponential as well.

        Args:
            shape: of one sample, without the batch, such as (C, H, W); None where the network takes no other, as
                LeNet5 does, or one that begins with a Linear.

        Returns:
            What `print` shows as a table, and a program reads by its `rows`.

        Raises:
            TypeError: `shape` is no tuple of whole numbers.
            ValueError: none was given and it is needed, or the network does not take such samples.

        Example:
            >>> from xlenet import LeNet5
            >>> table = LeNet5(rng=0).summary()
            >>> table.parameters, [(row.name, row.flops) for row in table.rows][:2]
            (61750, [('conv1', 235200), ('pool1', 3528)])
        """
        return summarise(self, shape)

    def _operations(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int | None:
        """Return how many operations one sample takes, of shapes without the batch; None: nobody knows."""
        return None

    def _input_shape(self) -> tuple[int, ...] | None:
        """Return the only shape of a sample that the layer takes, without the batch; None: it takes several."""
        return None

    def _inner(self) -> Mapping[str, Layer]:
        """Return the layers that it is made of, each working on the result of the one before it; none for most."""
        return {}

    # ==== saving, loading, moving ====

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers by their full names, in PyTorch's names and layouts.

        Example:
            >>> from xlenet import Linear
            >>> {name: array.shape for name, array in Linear(3, 2).state_dict().items()}
            {'weight': (2, 3), 'bias': (2,)}
        """
        return {name: copy(array) for name, array in self._arrays()}

    def load_state_dict(self, state: Mapping[str, Array]) -> Self:
        """Overwrite all parameters and buffers, in place, with the arrays of `state`: NumPy's, CuPy's, or PyTorch's.

        They may be of another type of real numbers. PyTorch's ``num_batches_tracked`` is passed over.

        Raises:
            TypeError: `state` is no mapping, or something in it is no array of real numbers.
            ValueError: a name is missing or unknown, a shape differs, or a number is not finite. Nothing has been
                changed then, in both cases.
        """
        self._put(self._prepared(state))
        return self

    def _prepared(self, state: Mapping[str, Array]) -> dict[str, Array]:
        """Return the arrays of `state` beside those they are for, so that nothing can go wrong any more: see `_put`."""
        mine = dict(self._arrays())
        check_kind("load_state_dict", "state", state, Mapping, "a mapping from names to arrays")
        given = {n: array for n, array in state.items() if str(n).rpartition(".")[2] != "num_batches_tracked"}
        missing, unknown = sorted(mine.keys() - given.keys()), sorted(given.keys() - mine.keys(), key=str)
        if missing or unknown:
            raise ValueError(
                f"load_state_dict: got names without {missing or 'none missing'} and with unknown "
                f"{shown(unknown) if unknown else 'none'}; expected {list(mine)}; load it into the model it was saved "
                "from"
            )
        return {name: _ready(name, given[name], array) for name, array in mine.items()}

    def _put(self, ready: Mapping[str, Array]) -> None:
        for name, array in self._arrays():
            with on_device_of(array):
                array[...] = ready[name]

    def _arrays(self) -> Iterator[tuple[str, Array]]:
        for prefix, layer in self.leaves():
            for name, array in (layer.params | layer.buffers).items():
                if name not in layer._transient:
                    yield _join(prefix, name), array

    def to(self, backend: str | Backend) -> Self:
        """Move all arrays to another library or device, such as ``"cupy"``; make optimisers afterwards."""
        backend = as_backend(backend)
        self.forget()
        for _, layer in self.leaves():
            for arrays in (layer.params, layer.grads, layer.buffers):
                for name, array in arrays.items():
                    arrays[name] = place(to_host(array), backend)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # What belongs to one batch is neither copied nor pickled.
        return self.__dict__ | {"_cache": None}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._describe()})"

    def _describe(self) -> str:
        return ""


def _kept(layer: Layer) -> Iterator[Array]:
    """Go over the arrays that a layer remembers of a forward, in it and in the layers that it is made of."""
    todo: list[Any] = [layer]
    seen: set[int] = set()
    while todo:
        value = todo.pop()
        if isinstance(value, Layer):
            if id(value) not in seen:
                seen.add(id(value))
                todo += [part for name, part in vars(value).items() if name not in _LASTING]
        elif isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, tuple | list):
            todo += value
        elif type(value) is not int and hasattr(value, "dtype"):
            yield value


_LASTING = ("params", "grads", "buffers", "training", "_requires_grad")  # belong to no batch


def _ready(name: str, given: Any, mine: Array) -> Array:
    """Return `given` beside `mine`, so that nothing can go wrong any more when it is put into it."""
    if getattr(given, "requires_grad", False):  # a parameter of PyTorch's: only its numbers are asked for
        given = given.detach()
    host = read_real("load_state_dict", name, given)
    numbers = as_finite("load_state_dict", name, host, str(mine.dtype).rpartition(".")[2])
    check_shape("load_state_dict", name, numbers, mine.shape, "build the model with the sizes it was saved with")
    return to_device(numbers, like=mine)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
