"""The training loop, as a library: `fit`, `train_step`, `evaluate`, `predict`."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .backend import Array, kind_of, library_of, namespace_of, to_host
from .checks import check_callable, check_kind, integer, number
from .data import Augmentation, Images, Labelled, Normalization
from .data.augmentation import Augmenter, check_augmentation
from .data.given import as_labelled, as_unlabelled
from .errors import DivergedError, NotFiniteError
from .functional import softmax
from .layers import BatchNorm, Layer
from .losses import Loss, SoftmaxCrossEntropy
from .meter import Meter
from .optim import SGD, Optimizer
from .schedules import one_cycle
from .steps import Party, backpropagate, choose_way, parts, train_epoch
from .workspace import Workspace

# Streams of random numbers under one seed; parameters are drawn from the seed itself.
ORDER_STREAM = 1

# What suits most networks and data, and is not asked for.
BATCH_SIZE, WEIGHT_DECAY = 64, 5e-4

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
    validation_loss: float | None = None  # on images that are held out of training
    validation_accuracy: float | None = None

    def record(self) -> dict[str, Any]:
        """Return what is known by its names: a line of metrics.jsonl.

        Example:
            >>> list(Epoch(1, 0.05, 0.2, 0.95, 0.06, 0.981, 5.0, 12000.0).record())[-2:]
            ['seconds', 'images_per_second']
        """
        return {name: value for name, value in self._asdict().items() if value is not None}


class Evaluation(NamedTuple):
    """How a model does on labelled examples."""

    loss: float
    accuracy: float
    predictions: Any  # (N,), int64, on the host


class Progress(NamedTuple):
    """Where a run is, for whoever shows it. `Meter.read` waits for the device, `Meter.peek` does not."""

    epoch: int
    step: int
    steps: int
    meter: Meter
    seconds: float = 0.0  # of training in this epoch
    rates: Sequence[float] = ()  # learning rate of each of the epoch's steps
    lr: float = math.nan  # their peak in the whole run


class _Ready(NamedTuple):
    """What `fit` was asked to do, checked, and as it goes on with it."""

    train: Labelled
    test: Labelled | None
    validation: Labelled | None
    batch_size: int
    lr: float
    start: Position


class Position(NamedTuple):
    """Where a run stands: with the model and the optimiser, all that is needed to go on.

    Attributes:
        epoch: the one under way, from 1; the last one and one more when all is done.
        step: how many of its steps are done.
        sums: of the meter, for these steps.
        seconds: of training in this epoch.
        history: the epochs that are done.
    """

    epoch: int = 1
    step: int = 0
    sums: tuple[float, ...] = (0.0, 0.0, 0.0)
    seconds: float = 0.0
    history: tuple[Epoch, ...] = ()


def best_epoch(history: Sequence[Epoch]) -> Epoch | None:
    """Return the epoch with the highest accuracy on the validation images; of several the one with the lowest loss on
    them. None where nothing was held out: the test images choose nothing.

    Raises:
        TypeError: `history` is no list of epochs.

    Example:
        >>> epochs = [Epoch(n, 0.1, 0.1, 0.9, 0.1, 0.9, 1.0, 1.0, loss, 0.98) for n, loss in [(1, 0.3), (2, 0.2)]]
        >>> best_epoch(epochs).epoch
        2
    """
    if not isinstance(history, Sequence) or not all(isinstance(epoch, Epoch) for epoch in history):
        raise TypeError(f"best_epoch: got history {history!r}; expected a list of Epochs; pass what fit returned")
    measured = [epoch for epoch in history if epoch.validation_accuracy is not None]
    return max(measured, key=lambda epoch: (epoch.validation_accuracy, -(epoch.validation_loss or 0.0)), default=None)


def train_step(
    model: Layer,
    loss: Loss,
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
        loss: what to make small: one of `xlenet.losses`, or of your own with their `forward` and `backward`; it gives
            one number for the batch.
        optimizer: made for `model`.
        x: (N, C, H, W).
        labels: (N,).
        lr: learning rate of this step.
        work: lends memory until the step ends; None allocates.
        labels_checked: True skips the check that labels are in range.

    Returns:
        The batch's loss before the step, an array of no axes, and its logits (N, K).

    Raises:
        TypeError, ValueError: an argument does not fit. Model and optimiser are as before then.

    Example:
        >>> from xlenet import LeNet5, SGD, SoftmaxCrossEntropy
        >>> model, loss = LeNet5(rng=0), SoftmaxCrossEntropy()
        >>> optimizer = SGD(model)
        >>> x, y = np.random.default_rng(0).standard_normal((2, 1, 28, 28), np.float32), np.array([3, 5])
        >>> values = [float(train_step(model, loss, optimizer, x, y, lr=0.01)[0]) for _ in range(20)]
        >>> values[-1] < 0.1 * values[0]
        True
    """
    _check_party("train_step", model, optimizer)
    _check_objective("train_step", loss)
    lr = number("train_step", "lr", lr, 0.0)
    optimizer.check()
    value, logits = backpropagate(model, loss, x, labels, work, labels_checked=labels_checked)
    optimizer.step(lr)
    return value, logits


@np.errstate(over="ignore", invalid="ignore")  # the meter finds a loss that is not finite, and says where
def fit(
    model: Layer,
    x: Any,
    y: Any = None,
    *,
    optimizer: Optimizer | None = None,
    test: Any = None,
    validation: Any = None,
    epochs: int = 20,
    batch_size: int | None = None,
    lr: float | None = None,
    schedule: Callable[[float], float] = one_cycle,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    on_step: Callable[[Progress], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    start: Position | None = None,
) -> list[Epoch]:
    """Train a classifier.

    On a GPU the step is recorded as a CUDA graph and replayed from then on; ``XLENET_GRAPH=off`` leaves that out.
    Layers, optimisers and data sets of a class of one's own are not recorded, because their Python may do something
    else in each step, unless the class has an attribute ``capturable = True``.

    Args:
        model: gives logits (N, K) for a batch of examples. It is in training mode afterwards, whatever it was in
            before: call ``model.eval()`` to use it by the rules of evaluation (`evaluate` and `predict` do so
            themselves).
        x: what to learn from, in an order of each epoch's own: arrays of NumPy or CuPy, or of another library on the
            host, such as PyTorch's. uint8 (N, C, H, W) are pixels, kept as bytes and normalised, each channel by its
            mean and standard deviation in `x`; floating numbers (N, ...) are taken as they are, in the type of the
            model's parameters. Or a data set: `xlenet.data.Images` or `xlenet.data.Examples`.
        y: labels (N,) or (N, 1), integers from 0 up, or truth values; None beside a data set.
        optimizer: made for `model`; None makes ``SGD(model, nesterov=True, weight_decay=5e-4)``.
        test: what to evaluate on after each epoch: a pair (x, y) of the same kind, normalised as the training set is,
            or a data set; None: nothing (the figures are NaN).
        validation: examples held out of `x`, to choose by: what to evaluate on besides, given as `test` is. See
            `best_epoch`.
        epochs: how often to go through `x`.
        batch_size: examples in a step; None: 64, or all of them where they are fewer. A short last batch counts by its
            own size.
        lr: peak learning rate; None: what suits the optimiser, 0.05 for `SGD` and 0.004 for `Adam` and `AdamW`.
        schedule: factor of `lr` by progress, 0 to 1; see `xlenet.schedules`.
        augmentation: how much the images are distorted by chance, in another way in every epoch; None: not at all.
        seed: of the order, and of what distorts; the same on every backend.
        on_step: called after each step.
        on_epoch: called after each epoch.
        should_stop: asked after each step; True ends training there, in the middle of an epoch.
        start: where an earlier run with the same arguments stood, whose model and optimiser these are; None: at the
            beginning. See `xlenet.snapshots`.

    Returns:
        A record for each finished epoch, those of the earlier run included.

    Raises:
        DivergedError: the loss is not finite any more; the message names the step and its learning rate, and with
            ``XLENET_DEBUG=1`` in the environment the layer whose numbers were the first.
        TypeError, ValueError: an argument does not fit; nothing has been changed then. (`schedule` is asked for an
            epoch's factors when that begins.)

    Example:
        >>> from xlenet import Flatten, Linear, Sequential
        >>> rng = np.random.default_rng(0)
        >>> y = rng.integers(2, size=100)
        >>> x = rng.integers(100, size=(100, 1, 4, 4), dtype=np.uint8)
        >>> x[y == 1] += 100                                                   # one class is lighter
        >>> model = Sequential(flatten=Flatten(), fc=Linear(16, 2, rng=0))
        >>> fit(model, x[:80], y[:80], test=(x[80:], y[80:]), epochs=3, batch_size=32)[-1].test_accuracy
        1.0
    """
    check_kind("fit", "model", model, Layer, "a Layer")
    epochs, seed = integer("fit", "epochs", epochs, 1), integer("fit", "seed", seed, 0)
    check_callable("fit", "schedule", schedule)
    for name, function in (("on_step", on_step), ("on_epoch", on_epoch), ("should_stop", should_stop)):
        if function is not None:
            check_callable("fit", name, function)
    if optimizer is not None:
        _check_party("fit", model, optimizer)
        optimizer.check()
    ready = _ready(model, x, y, optimizer, test, validation, epochs, batch_size, lr, start)
    train, batch_size, start = ready.train, ready.batch_size, ready.start
    size = check_augmentation(augmentation, train, epochs)
    if optimizer is None:  # last: making one moves the model's parameters
        optimizer = SGD(model, nesterov=True, weight_decay=WEIGHT_DECAY)
    for _, leaf in model.leaves():
        leaf._count_from(optimizer.steps)
    augmenter = None
    if augmentation and size:
        augmenter = Augmenter(augmentation, size, optimizer.params, seed, optimizer.steps)
    party = Party(model, SoftmaxCrossEntropy(), optimizer, train, Meter(train.x), augmenter)
    way = choose_way(party, batch_size)
    history = list(start.history)
    steps = -(-len(train) // batch_size)
    for epoch in range(start.epoch, epochs + 1):
        done = start.step if epoch == start.epoch else 0
        if done:
            party.meter.resume(start.sums, min(done * batch_size, len(train)))
        else:
            party.meter.reset()
        began = time.perf_counter() - (start.seconds if done else 0.0)
        if augmenter is not None:
            augmenter.begin(epoch, epochs)
        order = np.random.default_rng([seed, ORDER_STREAM, epoch]).permutation(len(train))
        rates = _rates(schedule, ready.lr, epoch, epochs, steps)
        progress = Progress(epoch, done, steps, party.meter, 0.0, rates, ready.lr)
        try:
            for step in train_epoch(party, way, order, batch_size, rates, done):
                progress = Progress(epoch, step, steps, party.meter, time.perf_counter() - began, rates, ready.lr)
                if on_step is not None:
                    on_step(progress)
                if should_stop is not None and should_stop():
                    return history
                if step % _CHECK_EVERY == 0 and library_of(train.x).__name__ == "numpy":
                    _check_loss(progress)
        except NotFiniteError as error:
            raise _located(error, model, progress) from error
        history.append(_measured(party, ready, progress, time.perf_counter() - began))
        if on_epoch is not None:
            on_epoch(history[-1])
    return history


def _ready(
    model: Layer,
    x: Any,
    y: Any,
    optimizer: Optimizer | None,
    test: Any,
    validation: Any,
    epochs: int,
    batch_size: int | None,
    lr: float | None,
    start: Position | None,
) -> _Ready:
    """Check data, sizes and rates of `fit` against each other and the model, and fill in what was not said."""
    train = as_labelled("fit", ("x", "y"), x, y, **_beside(model))
    test, validation = (_part("fit", n, part, train, model) for n, part in (("test", test), ("validation", validation)))
    batch_size = min(BATCH_SIZE, len(train)) if batch_size is None else integer("fit", "batch_size", batch_size, 1)
    if batch_size > len(train):
        raise ValueError(
            f"fit: got batch_size {batch_size} for {len(train)} examples; expected no more than those; use a smaller "
            "one"
        )
    if lr is None:
        lr = (SGD if optimizer is None else type(optimizer)).usual_lr
    lr = number("fit", "lr", lr, 0.0, above=True)
    start = Position() if start is None else start
    _check_start(start, epochs, -(-len(train) // batch_size))
    for name, data in (("x", train), ("validation", validation), ("test", test)):
        if data is not None:
            _check_data("fit", name, data, model)
    _check_last_batch(model, train, batch_size)
    return _Ready(train, test, validation, batch_size, lr, start)


def _rates(schedule: Callable[[float], float], lr: float, epoch: int, epochs: int, steps: int) -> list[float]:
    """Return the learning rate of each step of an epoch."""
    factors = (schedule(((epoch - 1) * steps + step) / (epochs * steps)) for step in range(steps))
    return [lr * number("fit", "schedule's factor", factor, 0.0) for factor in factors]


def _measured(party: Party, ready: _Ready, progress: Progress, seconds: float) -> Epoch:
    """Return what is known after an epoch that took `seconds`."""
    train_loss, train_accuracy = check_finite(progress, party.optimizer)
    tested = _evaluated("test", party.model, ready.test, progress)
    validated = _evaluated("validation", party.model, ready.validation, progress)
    return Epoch(
        progress.epoch,
        progress.rates[-1],
        train_loss,
        train_accuracy,
        tested.loss if tested else math.nan,
        tested.accuracy if tested else math.nan,
        seconds,
        len(ready.train) / seconds,
        validated.loss if validated else None,
        validated.accuracy if validated else None,
    )


def _evaluated(name: str, model: Layer, data: Labelled | None, progress: Progress) -> Evaluation | None:
    if data is None:
        return None
    evaluation = evaluate(model, data)
    if not math.isfinite(evaluation.loss):
        raise _diverged(f"a {name} loss that is not finite", progress, progress.step)
    return evaluation


# ==== checks ====


def _check_party(operation: str, model: Layer, optimizer: Optimizer) -> None:
    check_kind(operation, "model", model, Layer, "a Layer")
    check_kind(operation, "optimizer", optimizer, Optimizer, "an optimiser, such as SGD")
    if not optimizer.is_for(model):
        raise ValueError(
            f"{operation}: got an optimizer that was made for another model; expected one for this; make a new one"
        )


def _check_start(start: Position, epochs: int, steps: int) -> None:
    """Check that a run of `epochs` epochs of `steps` steps can have stood there."""
    check_kind("fit", "start", start, Position, "a Position, or None")
    epoch, step = integer("fit", "start.epoch", start.epoch, 1), integer("fit", "start.step", start.step, 0)
    if epoch > epochs + (step == 0) or step > steps:
        raise ValueError(
            f"fit: got start in epoch {epoch}, step {step}; expected a place in {epochs} epochs of {steps} steps; give "
            "the earlier run's arguments"
        )
    number("fit", "start.seconds", start.seconds, 0.0)
    for value in start.sums:
        number("fit", "start.sums", value)
    if len(start.sums) != 3 or start.sums[2] != step:
        raise ValueError(
            f"fit: got start.sums {start.sums} for {step} steps; expected loss, right answers and steps with a finite "
            "loss; give what Meter.sums held there"
        )
    if not isinstance(start.history, tuple) or not all(isinstance(done, Epoch) for done in start.history):
        raise TypeError(
            f"fit: got start.history {start.history!r}; expected a tuple of Epochs; give those that are done"
        )


def _check_objective(operation: str, loss: Any) -> None:
    """Check that `loss` can do what a step asks of it; a class has its methods, too, but nothing to remember with."""
    if isinstance(loss, type) or not all(callable(getattr(loss, name, None)) for name in ("forward", "backward")):
        raise TypeError(
            f"{operation}: got loss {loss!r}; expected a loss with forward and backward; pass SoftmaxCrossEntropy(), "
            "for example"
        )


def _beside(model: Layer) -> dict[str, Any]:
    """Return where a data set for `model` belongs, and in which type its batches are to come."""
    array = next((array for _, array in model.named_parameters()), None)
    return {"beside": array, "dtype": "float32" if array is None else str(array.dtype).rpartition(".")[2]}


def _part(operation: str, name: str, part: Any, train: Labelled, model: Layer) -> Labelled | None:
    """Return a pair (x, y) as a data set that is normalised as `train` is; a data set, or None, as it is."""
    if part is None or isinstance(part, Labelled):
        return part
    if not isinstance(part, tuple | list) or len(part) != 2:
        raise TypeError(
            f"{operation}: got {name}, {kind_of(part)}; expected a pair of arrays (x, y), or a data set such as "
            "Images(x, y); pass one of them"
        )
    names = (f"{name}[0]", f"{name}[1]")
    normalization = train.normalization if isinstance(train, Images) else None
    data = as_labelled(operation, names, *part, **_beside(model), normalization=normalization)
    if isinstance(data, Images) != isinstance(train, Images):
        raise TypeError(
            f"{operation}: got {names[0]} of {_numbers_of(data)} beside x of {_numbers_of(train)}; expected the same "
            "of both, since what is measured on one is done to the other; convert one of them"
        )
    return data


def _numbers_of(data: Labelled) -> str:
    return "bytes" if isinstance(data, Images) else "floating numbers"


def _check_data(operation: str, name: str, data: Labelled, model: Layer) -> None:
    """Let the model look at one example: it says itself what is wrong with it, before anything has changed."""
    shape = _shape_of_logits(operation, name, data, model)
    if data.classes > shape[1]:  # asked once, on the host; the loss would else have to ask the device in every step
        raise ValueError(
            f"{operation}: got a label {data.classes - 1} in {name} and a model of {shape[1]} classes; "
            f"expected labels 0 to {shape[1] - 1}; make the model for {data.classes} classes"
        )


def _shape_of_logits(operation: str, name: str, data: Labelled, model: Layer) -> tuple[int, ...]:
    try:
        shape = tuple(model.infer(data.batch(slice(0, 1))[0]).shape)
    except (TypeError, ValueError) as error:
        told = _refused(error, operation, name, data, model)
        if told is None:
            raise
        raise told from error
    if len(shape) != 2:
        raise ValueError(
            f"{operation}: got a model that makes {shape} of one example of {name}; expected logits (1, K); end it "
            "with Flatten and Linear"
        )
    return shape


def _refused(error: Exception, operation: str, name: str, data: Labelled, model: Layer) -> Exception | None:
    """Say which examples a model does not take; None where its own words do: those are about x, of the right type."""
    wanted = _beside(model)["dtype"]
    if isinstance(error, TypeError) and data.dtype != wanted:
        return TypeError(
            f"{operation}: got {name}, a data set of {data.dtype} for a model of {wanted}; expected {wanted}; make it "
            f'with dtype="{wanted}"'
        )
    if name == "x":
        return None
    kind = TypeError if isinstance(error, TypeError) else ValueError
    return kind(
        f"{operation}: got {name} that the model does not take ({error}); expected examples such as those of x; "
        "reshape or convert them"
    )


def _check_last_batch(model: Layer, train: Labelled, batch_size: int) -> None:
    """Try a batch of a single example where there will be one: batch normalisation may have no statistics of it."""
    count = len(train)
    alone = count % batch_size == 1 or batch_size == 1
    if not alone or not any(isinstance(leaf, BatchNorm) for _, leaf in model.leaves()):
        return
    try:
        copy.deepcopy(model).train().forward(train.batch(slice(0, 1))[0])
    except ValueError as error:
        better = next((size for size in range(batch_size, 1, -1) if count % size != 1), count)
        advice = f"use batch_size={better}" if count > 1 else "train on more examples"
        raise ValueError(
            f"fit: got batch_size {batch_size} for {count} examples, which makes a batch of one ({error}); expected "
            f"two or more in each, for batch normalisation; {advice}"
        ) from error


def check_finite(progress: Progress, optimizer: Optimizer) -> tuple[float, float]:
    """Say so if the loss has not been finite in a step of this epoch, or a parameter is not now: a step too far in the
    wrong direction shows in the next step's loss alone. Waits for the device.

    Returns:
        Mean loss and accuracy so far in the epoch.

    Raises:
        DivergedError: with the step and its learning rate.
    """
    so_far = _check_loss(progress)
    if not optimizer.is_finite():
        raise _diverged("parameters that are not finite", progress, progress.step)
    return so_far


def _check_loss(progress: Progress) -> tuple[float, float]:
    loss, accuracy, finite = progress.meter.read()
    if finite < progress.step:
        raise _diverged("a loss that is not finite", progress, finite + 1)
    return loss, accuracy


def _located(error: NotFiniteError, model: Layer, progress: Progress) -> DivergedError:
    """Say which layer of `model` it was, and when: in the step behind the last one that was done."""
    kind = type(error.who).__name__
    name = next((name for name, leaf in model.leaves() if leaf is error.who), "")
    where = f"{name} ({kind})" if name else kind
    return _diverged(f"numbers that are not finite in {where}, its {error.what},", progress, progress.step + 1)


def _diverged(what: str, progress: Progress, step: int) -> DivergedError:
    rate, peak = progress.rates[step - 1], progress.lr
    return DivergedError(
        f"fit: got {what} in step {step} of epoch {progress.epoch} (learning rate {rate:.3g}, at its peak {peak:g}); "
        f"expected finite numbers; try a peak of {peak / 10:g}, or clip the gradient"
    )


@np.errstate(over="ignore", invalid="ignore")
def evaluate(
    model: Layer, x: Any, y: Any = None, *, normalization: Normalization | None = None, batch_size: int = 500
) -> Evaluation:
    """Measure loss and accuracy by the rules of evaluation; the model is left as it is.

    Args:
        model: gives logits (N, K) for a batch of examples.
        x: arrays or a data set, as for `fit`.
        y: labels; None beside a data set.
        normalization: of pixels as bytes: the training set's, ``Images(x_train, y_train).normalization``.
        batch_size: examples at a time; only memory depends on it.

    Returns:
        Mean loss, accuracy, and the predicted class of each example.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> from xlenet import Linear
        >>> model, x = Linear(2, 2, rng=0), np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> model.params["weight"][...] = x
        >>> evaluate(model, x, np.array([0, 0])).accuracy
        0.5
    """
    batch_size = integer("evaluate", "batch_size", batch_size, 1)
    check_kind("evaluate", "model", model, Layer, "a Layer")
    data = as_labelled("evaluate", ("x", "y"), x, y, **_beside(model), normalization=normalization)
    _check_normalization("evaluate", x, data, normalization)
    _check_data("evaluate", "x", data, model)
    loss, meter, work, predictions = SoftmaxCrossEntropy(), Meter(data.x), Workspace(), []
    for part in parts(len(data), batch_size):
        examples, labels = data.batch(part, work)
        logits = model.infer(examples, work=work)
        meter.add(loss.forward(logits, labels, labels_checked=True), logits, labels)
        predictions.append(namespace_of(logits).argmax(logits, axis=1))
        work.end_step()
    mean_loss, accuracy, _ = meter.read()  # the first time that anybody waits for the device
    return Evaluation(mean_loss, accuracy, np.concatenate([to_host(part) for part in predictions]))


@np.errstate(over="ignore", invalid="ignore")
def predict(model: Layer, x: Any, *, normalization: Normalization | None = None, batch_size: int = 500) -> Any:
    """Return how probable the model holds each class to be, by the rules of evaluation; the model is left as it is.

    Args:
        model: gives logits (N, K) for a batch of examples.
        x: arrays or a data set, as for `fit`.
        normalization: of pixels as bytes: the training set's, ``Images(x_train, y_train).normalization``.
        batch_size: examples at a time; only memory depends on it.

    Returns:
        Probabilities (N, K), on the host; each row adds up to 1, and its argmax is the predicted class.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> from xlenet import Linear
        >>> model, x = Linear(2, 2, rng=0), np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> model.params["weight"][...] = 10 * x
        >>> predict(model, x).round(2)
        array([[1., 0.],
               [0., 1.]], dtype=float32)
    """
    batch_size = integer("predict", "batch_size", batch_size, 1)
    check_kind("predict", "model", model, Layer, "a Layer")
    data = as_unlabelled("predict", "x", x, **_beside(model), normalization=normalization)
    _check_normalization("predict", x, data, normalization)
    _shape_of_logits("predict", "x", data, model)
    work, found = Workspace(), []
    for part in parts(len(data), batch_size):
        logits = model.infer(data.batch(part, work)[0], work=work)
        found.append(np.array(to_host(softmax.forward(logits)[0])))
        work.end_step()
    return np.concatenate(found)


def _check_normalization(operation: str, x: Any, data: Labelled, normalization: Normalization | None) -> None:
    """Bytes say nothing without the figures of the images that were learnt from; what is no bytes needs none. What `x`
    is tells the data set that was made of it: arrays of other libraries have types of other names.
    """
    is_bytes = isinstance(data, Images) and data is not x
    if is_bytes and normalization is None:
        raise TypeError(
            f"{operation}: got x of bytes and normalization None; expected that of the images that the model has "
            "learnt from; pass normalization=Images(x_train, y_train).normalization"
        )
    if not is_bytes and normalization is not None:
        raise TypeError(
            f"{operation}: got normalization beside x that is no array of bytes; expected None; leave it out"
        )
