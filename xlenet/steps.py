"""The steps of an epoch, one after another: asked for by Python each time, or recorded once and replayed by a GPU."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from .backend import Array, debugging, namespace_of, swappable, synchronize, to_device, zeros
from .backend.graph import Graph, can_capture, capture, warn
from .data import Labelled
from .data.augmentation import Augmenter
from .layers import Layer, Sequential
from .losses import Loss
from .meter import Meter, tally
from .optim import Optimizer
from .workspace import Workspace


class Party(NamedTuple):
    """Who takes part in every step of a run."""

    model: Layer
    loss: Loss
    optimizer: Optimizer
    train: Labelled
    meter: Meter
    augmenter: Augmenter | None = None


class Way(Protocol):
    """A way to do the steps of an epoch, one after another."""

    def begin(self, order: Any, rates: list[float]) -> None:
        """Prepare an epoch: the order of its images, on the host, and the learning rate of each step."""

    def step(self, part: slice) -> None:
        """Do the next step, on the images at these places of the order."""


def train_epoch(
    party: Party, way: Way, order: Any, batch_size: int, rates: list[float], done: int = 0
) -> Iterator[int]:
    """Go once through the images at `order`, a batch for each of `rates`, but for the first `done` steps; give each
    step's number once it is asked for.

    The device may be some steps behind; it has caught up when the epoch is over, or given up in the middle.
    """
    party.model.train()
    order = order[done * batch_size :]
    way.begin(order, rates[done:])
    try:
        for step, part in enumerate(parts(len(order), batch_size), start=done + 1):
            way.step(part)
            party.meter.images += part.stop - part.start
            yield step
    finally:
        synchronize(party.train.x)  # before anybody lets go of a graph that is being computed


def parts(count: int, size: int) -> Iterator[slice]:
    """Cut 0 ... count - 1 into parts of `size`; the last one may be shorter."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def choose_way(party: Party, batch_size: int) -> Way:
    """Return how a run's steps are to be done: replayed where that is possible."""
    if debugging() or not can_capture(party.train.x):  # who looks at every number waits for the device
        return _Plain(party)
    own = next((kind for kind in _kinds(party) if not _is_capturable(kind)), None)
    if own is not None:
        warn(f"{own.__name__} is a class of your own; if it does the same in each step, let it say capturable = True")
        return _Plain(party)
    return _Replayed(party, batch_size)


def _kinds(party: Party) -> Iterator[type]:
    yield from (type(layer) for layer in _layers(party.model))
    yield from (type(party.optimizer), type(party.train))


def _layers(layer: Layer) -> Iterator[Layer]:
    yield layer
    if isinstance(layer, Sequential):
        for name in layer:
            yield from _layers(layer[name])


def _is_capturable(kind: type) -> bool:
    ours = __name__.partition(".")[0]
    return kind.__module__.partition(".")[0] == ours or bool(getattr(kind, "capturable", False))


# ==== what a step does ====


def backpropagate(
    model: Layer, loss: Loss, x: Array, labels: Array, work: Workspace | None, *, labels_checked: bool
) -> tuple[Array, Array]:
    """Go forward and backward; return the loss and the logits."""
    logits = model._propose(x, work)
    try:
        value = loss.forward(logits, labels, labels_checked=labels_checked, work=work)
        dlogits = loss.backward(work=work)
    except BaseException:
        model.forget()
        raise
    model._accept()  # only now: running statistics do not follow a batch that the loss refuses
    model.backward(dlogits, need_dx=False, work=work)
    return value, logits


def _learn(party: Party, which: Array, work: Workspace, update: Callable[[], None]) -> None:
    """Do the step itself, the same everywhere: gather a batch, distort it, find the gradients, update, count."""
    x, labels = party.train.batch(which, work)
    if party.augmenter is not None:
        x = party.augmenter(x, work)
    value, logits = backpropagate(party.model, party.loss, x, labels, work, labels_checked=True)
    update()
    tally(party.meter.sums, value, logits, labels)
    work.end_step()


# ==== two ways to do it ====


class _Plain:
    """Python asks for each operation of each step."""

    def __init__(self, party: Party) -> None:
        self._party, self._work = party, Workspace()

    def begin(self, order: Any, rates: list[float]) -> None:
        self._order, self._rates = to_device(order, like=self._party.train.x), iter(rates)

    def step(self, part: slice) -> None:
        update = functools.partial(self._party.optimizer.step, next(self._rates))
        _learn(self._party, self._order[part], self._work, update)


class _Replayed:
    """A GPU replays what it was asked for once: a graph for the full batches, and one for a short last batch."""

    def __init__(self, party: Party, batch_size: int) -> None:
        self._party, self._size = party, batch_size
        self._recorder, self._recordings = _Recorder(), dict[int, _Recording]()

    def begin(self, order: Any, rates: list[float]) -> None:
        done, optimizer = self._party.optimizer.steps, self._party.optimizer
        table = np.array([optimizer.scalars(rate, step) for step, rate in enumerate(rates, start=done + 1)])
        full, rest = divmod(len(order), self._size)
        if full:
            self._recording(self._size).begin(order[: full * self._size], table[:full])
        if rest:
            self._recording(rest).begin(order[full * self._size :], table[full:])

    def _recording(self, size: int) -> _Recording:
        if size not in self._recordings:
            steps = len(self._party.train) // size if size == self._size else 1
            self._recordings[size] = _Recording(self._party, size, steps, self._recorder)
        return self._recordings[size]

    def step(self, part: slice) -> None:
        self._party.optimizer.check()
        self._recordings[part.stop - part.start].step()
        self._party.optimizer.steps += 1


class _Recorder:
    """Records steps until one of them cannot be recorded: one line in the log is enough."""

    def __init__(self) -> None:
        self.failed = False

    def record(self, function: Callable[[], None], like: Array) -> Graph | None:
        """Return a graph of `function`, or None."""
        graph = capture(function, like=like)
        self.failed = graph is None
        return graph


class _OnDevice(NamedTuple):
    """What differs from step to step, on the device, at addresses that never change: the arguments of `advance`."""

    counter: Array
    order: Array
    table: Array
    positions: Array
    scalars: Array


def _learn_next(party: Party, given: _OnDevice, work: Workspace) -> None:
    """Do the step whose turn it is: what is recorded."""
    advance(*given)
    _learn(party, given.positions, work, functools.partial(party.optimizer.apply, given.scalars))


class _Recording:
    """The steps of one batch size.

    The first step is done as usual, which compiles the kernels and takes the workspace's memory; the second is recorded
    and then replayed, like all that follow.
    """

    def __init__(self, party: Party, size: int, steps: int, recorder: _Recorder) -> None:
        like, numbers = party.train.x, len(party.optimizer.scalars(1.0, 1))
        self._party, self._recorder, self._work = party, recorder, Workspace()
        self._given = _OnDevice(
            counter=zeros((1,), like=like, dtype="int64"),
            order=zeros((steps * size,), like=like, dtype="int64"),
            table=zeros((steps, numbers), like=like, dtype="float64"),
            positions=zeros((size,), like=like, dtype="int64"),
            scalars=zeros((numbers,), like=party.optimizer.params),
        )
        # Not a method of this object, so that no circle of references keeps the device's memory after a run.
        self._learn = functools.partial(_learn_next, party, self._given, self._work)
        self._graph: Graph | None = None
        self._baked: _Baked | None = None

    def begin(self, order: Any, table: Any) -> None:
        """Prepare an epoch: positions of its images, and the optimiser's numbers for each of its steps."""
        given = self._given
        given.counter[...] = 0
        given.order[: len(order)] = to_device(order, like=given.order)
        given.table[: len(table), :] = to_device(table, like=given.table)

    def step(self) -> None:
        """Do the next step."""
        if self._baked is None or not self._baked.is_so():
            if self._graph is not None:
                synchronize(self._given.order)  # the device may still be computing it
                self._work.let_go()  # its memory is the graph's, and ends with it
            self._graph = None
            self._learn()
            self._baked = _Baked(self._party)
            return
        if self._graph is None and not self._recorder.failed:
            self._graph = self._recorder.record(self._learn, self._given.order)
            if self._graph is None:  # what the attempt left behind, in memory that ended with it
                self._party.model.forget()
                self._work.let_go()
        if self._graph is not None:
            self._graph.replay()
        else:
            self._learn()


class _Baked:
    """What a recording holds fast: the arrays that it works on, and all plain values of layers,
    optimiser and augmenter.

    Asked in every step, so what there is to compare is looked up beforehand.
    """

    def __init__(self, party: Party) -> None:
        leaves = [leaf for _, leaf in party.model.leaves()]
        self._holders = [holder for leaf in leaves for holder in (leaf.params, leaf.grads, leaf.buffers)]
        self._holders.append(party.optimizer.slots)
        self._arrays = self._all_arrays()
        owners = (*leaves, party.optimizer, party.augmenter)
        self._values = [_plain_values(owner) for owner in owners if owner is not None]

    def _all_arrays(self) -> list[Array]:
        return [array for holder in self._holders for array in holder.values()]

    def is_so(self) -> bool:
        """Return whether nothing has been exchanged."""
        return (
            all(map(operator.is_, self._all_arrays(), self._arrays))
            and len(self._all_arrays()) == len(self._arrays)
            and all(get(attributes) == values for attributes, get, values in self._values)
        )


def _plain_values(owner: Any) -> tuple[dict[str, Any], Callable[[dict[str, Any]], Any], Any]:
    """Return where the attributes of `owner` are, how to get those that are plain, and what they are now."""
    attributes = vars(owner)
    names = [name for name, value in attributes.items() if name not in ("_cache", "steps") and _is_plain(value)]
    get = operator.itemgetter(*names)
    return attributes, get, get(attributes)


def _is_plain(value: Any) -> bool:
    """Return whether `value` is a number, a word, None, or a tuple of them."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


@swappable
def advance(counter: Array, order: Array, table: Array, positions: Array, scalars: Array) -> None:
    """Turn to the next step, in place: its images and its optimiser's numbers are looked up on the device.

    Args:
        counter: (1,), int64: steps done in this epoch, one more afterwards.
        order: positions of the images in the order of the epoch, int64, as many as all steps together need.
        table: the optimiser's numbers for each step, (STEPS, k), float64.
        positions: this step's part of `order`, (N,), int64.
        scalars: this step's row of `table`, (k,), in the type of the parameters.
    """
    xp, steps = namespace_of(counter, order, table, positions, scalars), table.shape[0]
    batches = xp.reshape(order, (steps, positions.shape[0]))
    positions[...] = xp.take(batches, counter, axis=0)[0, :]
    scalars[...] = xp.astype(xp.take(table, counter, axis=0)[0, :], scalars.dtype)
    counter += 1
