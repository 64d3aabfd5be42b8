"""The training loop, as a library: `fit`, `train_step`, `evaluate`."""

from __future__ import annotations

import functools
import math
import operator
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from .backend import Array, library_of, namespace_of, swappable, synchronize, to_device, to_host, zeros
from .backend.graph import Graph, can_capture, capture, warn
from .backend.late import LateCopy
from .checks import integer
from .data import Images
from .errors import DivergedError
from .layers import Layer, Sequential
from .losses import SoftmaxCrossEntropy
from .optim import Optimizer
from .schedules import one_cycle
from .workspace import Workspace

# Streams of random numbers under one seed; parameters are drawn from the seed itself.
ORDER_STREAM = 1

_CHECK_EVERY = 100  # steps between two looks at whether the loss is still finite, where a look costs nothing


class Epoch(NamedTuple):
    """What is known after an epoch: a line of metrics.jsonl."""

    epoch: int  # from 1
    lr: float  # of the epoch's last step
    train_loss: float  # mean over the epoch, while the parameters were changing
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float  # training alone
    images_per_second: float


class Evaluation(NamedTuple):
    """How a model does on labelled images."""

    loss: float
    accuracy: float
    predictions: Any  # (N,), int64, on the host


class Meter:
    """Loss and accuracy so far in an epoch, added up on the device, so that a step never waits for the host.

    Example:
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


class Progress(NamedTuple):
    """Where a run is, for whoever shows it. `Meter.read` waits for the device, `Meter.peek` does not."""

    epoch: int
    step: int
    steps: int
    meter: Meter


def train_step(
    model: Layer,
    loss: SoftmaxCrossEntropy,
    optimizer: Optimizer,
    x: Array,
    labels: Array,
    lr: float,
    work: Workspace | None = None,
    *,
    labels_checked: bool = False,
) -> tuple[Array, Array]:
    """Learn from one batch: forward, backward, step.

    Args:
        model: in training mode.
        loss: what to make small.
        optimizer: made for `model`.
        x: (N, C, H, W).
        labels: (N,).
        lr: learning rate of this step.
        work: lends memory until the step ends; None allocates.
        labels_checked: True skips the check that labels are in range.

    Returns:
        The batch's loss before the step, an array of no axes, and its logits (N, K).

    Example:
        >>> from xlenet import LeNet5, SGD, SoftmaxCrossEntropy
        >>> model, loss = LeNet5(rng=0), SoftmaxCrossEntropy()
        >>> optimizer = SGD(model)
        >>> x, y = np.random.default_rng(0).standard_normal((2, 1, 28, 28), np.float32), np.array([3, 5])
        >>> values = [float(train_step(model, loss, optimizer, x, y, lr=0.01)[0]) for _ in range(20)]
        >>> values[-1] < 0.1 * values[0]
        True
    """
    value, logits = _backpropagate(model, loss, x, labels, work, labels_checked=labels_checked)
    optimizer.step(lr)
    return value, logits


def _backpropagate(
    model: Layer, loss: SoftmaxCrossEntropy, x: Array, labels: Array, work: Workspace | None, *, labels_checked: bool
) -> tuple[Array, Array]:
    logits = model.forward(x, work=work)
    value = loss.forward(logits, labels, labels_checked=labels_checked, work=work)
    model.backward(loss.backward(work=work), need_dx=False, work=work)
    return value, logits


@np.errstate(over="ignore", invalid="ignore")  # the meter finds a loss that is not finite, and says where
def fit(
    model: Layer,
    optimizer: Optimizer,
    train: Images,
    test: Images | None = None,
    *,
    epochs: int = 20,
    batch_size: int = 64,
    lr: float = 0.05,
    schedule: Callable[[float], float] = one_cycle,
    seed: int = 0,
    on_step: Callable[[Progress], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[Epoch]:
    """Train a classifier.

    On a GPU the step is recorded as a CUDA graph and replayed from then on; ``XLENET_GRAPH=off`` leaves that out.
    Layers, optimisers and images of a class of one's own are not recorded, because their Python may do something else
    in each step, unless the class has an attribute ``capturable = True``.

    Args:
        model: gives logits (N, K) for images.
        optimizer: made for `model`.
        train: what to learn from, in an order of each epoch's own; a short last batch counts by its own size.
        test: what to evaluate on after each epoch; None: nothing (the figures are NaN).
        epochs: how often to go through `train`.
        batch_size: images in a step.
        lr: peak learning rate.
        schedule: factor of `lr` by progress, 0 to 1; see `xlenet.schedules`.
        seed: of the order; the same on every backend.
        on_step: called after each step.
        on_epoch: called after each epoch.
        should_stop: asked after each step; True ends training there, in the middle of an epoch.

    Returns:
        A record for each finished epoch.

    Raises:
        DivergedError: the loss is not finite any more; the message names the step.
        ValueError: a number out of range.

    Example:
        >>> from xlenet import SGD, Flatten, Linear, Sequential
        >>> rng = np.random.default_rng(0)
        >>> y = rng.integers(2, size=100)
        >>> x = rng.integers(100, size=(100, 1, 4, 4), dtype=np.uint8)
        >>> x[y == 1] += 100                                                   # one class is lighter
        >>> model = Sequential(flatten=Flatten(), fc=Linear(16, 2, rng=0))
        >>> fit(model, SGD(model), Images(x, y), epochs=3, batch_size=32)[-1].train_accuracy
        1.0
    """
    epochs, batch_size = integer("fit", "epochs", epochs, 1), integer("fit", "batch_size", batch_size, 1)
    seed = integer("fit", "seed", seed, 0)
    if batch_size > len(train):
        raise ValueError(
            f"fit: got batch_size {batch_size} for {len(train)} images; expected no more than those; use a smaller one"
        )
    if not 0.0 < lr < math.inf:
        raise ValueError(f"fit: got lr {lr!r}; expected a number above 0; 0.05 is usual for SGD, 0.004 for Adam")
    if not optimizer.is_for(model):
        raise ValueError("fit: got an optimizer that was made for another model; expected one for this; make a new one")
    classes = model.infer(train.batch(slice(0, 1))[0]).shape[1]
    for name, images in (("train", train), ("test", test)):
        if images is not None:
            _check_labels("fit", name, images, classes)
    party = Party(model, SoftmaxCrossEntropy(), optimizer, train, Meter(train.x))
    way = choose_way(party, batch_size)
    history: list[Epoch] = []
    steps = -(-len(train) // batch_size)
    for epoch in range(1, epochs + 1):
        party.meter.reset()
        began = time.perf_counter()
        order = np.random.default_rng([seed, ORDER_STREAM, epoch]).permutation(len(train))
        rates = [lr * schedule(((epoch - 1) * steps + step) / (epochs * steps)) for step in range(steps)]
        for step in train_epoch(party, way, order, batch_size, rates):
            if on_step is not None:
                on_step(Progress(epoch, step, steps, party.meter))
            if should_stop is not None and should_stop():
                return history
            if step % _CHECK_EVERY == 0 and library_of(train.x).__name__ == "numpy":
                _check_finite(party.meter.read()[2], step, epoch, lr)
        seconds = time.perf_counter() - began
        train_loss, train_accuracy, finite = party.meter.read()
        _check_finite(finite, steps, epoch, lr)
        _check_parameters(optimizer, epoch, lr)
        tested = evaluate(model, test) if test is not None else Evaluation(math.nan, math.nan, None)
        if test is not None and not math.isfinite(tested.loss):
            raise _diverged("a test loss that is not finite", f"after epoch {epoch}", lr)
        history.append(
            Epoch(
                epoch,
                rates[-1],
                train_loss,
                train_accuracy,
                tested.loss,
                tested.accuracy,
                seconds,
                len(train) / seconds,
            )
        )
        if on_epoch is not None:
            on_epoch(history[-1])
    return history


def train_epoch(party: Party, way: Way, order: Any, batch_size: int, rates: list[float]) -> Iterator[int]:
    """Go once through the images at `order`, a batch for each of `rates`; give each step's number once it is asked for.

    The device may be some steps behind; it has caught up when the epoch is over, or given up in the middle.
    """
    party.model.train()
    way.begin(order, rates)
    try:
        for step, part in enumerate(_parts(len(order), batch_size), start=1):
            way.step(part)
            party.meter.images += part.stop - part.start
            yield step
    finally:
        synchronize(party.train.x)  # before anybody lets go of a graph that is being computed


# ==== two ways to do a step ====


class Party(NamedTuple):
    """Who takes part in every step of a run."""

    model: Layer
    loss: SoftmaxCrossEntropy
    optimizer: Optimizer
    train: Images
    meter: Meter


def _learn(party: Party, which: Array, work: Workspace, update: Callable[[], None]) -> None:
    """Do the step itself, which is the same everywhere: gather a batch, find the gradients, update, count."""
    x, labels = party.train.batch(which, work)
    value, logits = _backpropagate(party.model, party.loss, x, labels, work, labels_checked=True)
    update()
    tally(party.meter.sums, value, logits, labels)
    work.end_step()


class Way(Protocol):
    """A way to do the steps of an epoch, one after another."""

    def begin(self, order: Any, rates: list[float]) -> None:
        """Prepare an epoch: the order of its images, on the host, and the learning rate of each step."""

    def step(self, part: slice) -> None:
        """Do the next step, on the images at these places of the order."""


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
    """What a recording holds fast: the arrays that it works on, and all plain values of layers and optimiser.

    Asked in every step, so what there is to compare is looked up beforehand.
    """

    def __init__(self, party: Party) -> None:
        leaves = [leaf for _, leaf in party.model.leaves()]
        self._holders = [holder for leaf in leaves for holder in (leaf.params, leaf.grads, leaf.buffers)]
        self._holders.append(party.optimizer.slots)
        self._arrays = self._all_arrays()
        self._values = [_plain_values(owner) for owner in (*leaves, party.optimizer)]

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


def choose_way(party: Party, batch_size: int) -> Way:
    """Return how a run's steps are to be done: replayed where that is possible."""
    if not can_capture(party.train.x):
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


# ==== parts and checks ====


def _parts(count: int, size: int) -> Iterator[slice]:
    """Cut 0 ... count - 1 into parts of `size`; the last one may be shorter."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _check_labels(operation: str, name: str, images: Images, classes: int) -> None:
    """Ask once, on the host, what the loss would else have to ask the device in every step: are all labels in range?"""
    if images.classes > classes:
        raise ValueError(
            f"{operation}: got a label {images.classes - 1} in {name} and a model of {classes} classes; "
            f"expected labels 0 to {classes - 1}; make the model for {images.classes} classes"
        )


def _check_finite(finite: int, steps: int, epoch: int, lr: float) -> None:
    if finite < steps:
        raise _diverged("a loss that is not finite", f"in step {finite + 1} of epoch {epoch}", lr)


def _check_parameters(optimizer: Optimizer, epoch: int, lr: float) -> None:
    """A step too far in the wrong direction shows in the next step's loss; the last step of all has no next one."""
    xp = namespace_of(optimizer.params)
    if not bool(xp.isfinite(xp.sum(xp.abs(optimizer.params)))):
        raise _diverged("parameters that are not finite", f"after epoch {epoch}", lr)


def _diverged(what: str, when: str, lr: float) -> DivergedError:
    return DivergedError(
        f"fit: got {what} {when} (peak learning rate {lr:g}); expected finite numbers; "
        f"try a learning rate of {lr / 10:g}, or clip the gradient"
    )


@np.errstate(over="ignore", invalid="ignore")
def evaluate(model: Layer, images: Images, *, batch_size: int = 500) -> Evaluation:
    """Measure loss and accuracy by the rules of evaluation; the model is left as it is.

    Args:
        model: gives logits (N, K) for images.
        images: labelled images.
        batch_size: images at a time; only memory depends on it.

    Returns:
        Mean loss, accuracy, and the predicted class of each image.
    """
    batch_size = integer("evaluate", "batch_size", batch_size, 1)
    loss, meter, work, predictions = SoftmaxCrossEntropy(), Meter(images.x), Workspace(), []
    for part in _parts(len(images), batch_size):
        x, labels = images.batch(part, work)
        logits = model.infer(x, work=work)
        _check_labels("evaluate", "images", images, logits.shape[1])
        meter.add(loss.forward(logits, labels, labels_checked=True), logits, labels)
        predictions.append(namespace_of(logits).argmax(logits, axis=1))
        work.end_step()
    mean_loss, accuracy, _ = meter.read()  # the first time that anybody waits for the device
    return Evaluation(mean_loss, accuracy, np.concatenate([to_host(part) for part in predictions]))
