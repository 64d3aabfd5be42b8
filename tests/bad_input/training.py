"""Wrong arguments for the training loop, and for what it saves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.bad_input.functional import labels_out_of_range, wrong_labels
from tests.bad_input.table import (
    BOTH_LIBRARIES,
    FOLDER,
    INF,
    NAN,
    Call,
    Row,
    Table,
    another,
    bad,
    exactly,
    made,
    no_arrays,
    numbers,
    of_type,
    whole_numbers,
)
from tests.libraries import Lib, open_library
from tests.networks import on
from xlenet import (
    SGD,
    Adam,
    BatchNorm,
    Conv2D,
    Flatten,
    LeNet5,
    Linear,
    NLLLoss,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    checkpoint,
    metrics,
    snapshots,
    training,
)
from xlenet.data import Augmentation, Images, Normalization, generated_digits
from xlenet.errors import DataError
from xlenet.schedules import constant

TABLE = Table()


def network(dtype: str = "float32") -> Sequential:
    """For images (N, 2, 4, 4) and three classes, with running statistics that could move too early."""
    return Sequential(
        bn=BatchNorm(2, dtype=dtype),
        relu=ReLU(),
        conv=Conv2D(2, 2, 3, rng=0, dtype=dtype),
        flatten=Flatten(),
        fc=Linear(8, 3, rng=1, dtype=dtype),
    )


def images(*shape: int, classes: int = 3, **options: Any) -> Images:
    """Labelled images of all classes."""
    pixels = np.arange(int(np.prod(shape))) % 251
    return Images(pixels.astype(np.uint8).reshape(shape), np.arange(shape[0]) % classes, **options)


def _party(lib: Lib) -> dict[str, Any]:
    model = network()
    return {"model": model, "optimizer": SGD(model)}


def other_model(kind: str) -> made:
    """An optimiser for another model."""
    return made(f"for {kind}", lambda lib, good: SGD(network() if kind == "another model" else Linear(2, 2)))


def exchanged(lib: Lib, good: Any) -> Any:
    """An optimiser whose place another one has taken."""
    layer = Linear(2, 2)
    first = SGD(layer)
    SGD(layer)
    return first


def parties(call: Call, *, none: bool = False) -> list[Row]:
    """Rows for model and optimiser; with `none`, one is made where None comes."""
    return [
        *(bad(call, "model", v, TypeError, (), "a Layer") for v in (None, 3, "lenet", LeNet5, {})),
        *(
            bad(call, "optimizer", v, TypeError, (), "an optimiser")
            for v in (None, 3, "sgd", SGD, {})
            if v is not None or not none
        ),
        bad(call, "optimizer", other_model("another model"), ValueError, "another model", "one for this"),
        bad(call, "optimizer", other_model("a layer"), ValueError, "another model", "one for this"),
    ]


# ==== a step ====


def _step(lib: Lib) -> dict[str, Any]:
    x = np.linspace(-1, 1, 64).reshape(2, 2, 4, 4)
    return _party(lib) | {
        "loss": SoftmaxCrossEntropy(),
        "x": lib.asarray(x, "float32"),
        "labels": lib.asarray([0, 2], "int64"),
        "lr": 0.1,
    }


call = Call(training.train_step, "train_step", _step)
TABLE.add(
    call,
    parties(call),
    [bad(call, "loss", v, TypeError, repr(v), "a loss") for v in (None, 3, "nll", SoftmaxCrossEntropy, NLLLoss)],
    [bad(call, "loss", v, TypeError, "namespace", "a loss") for v in (SimpleNamespace(forward=abs), SimpleNamespace(
        forward=abs, backward=1.0))],
    bad(call, "loss", SoftmaxCrossEntropy(reduction="none"), ValueError, "dloss 1.0", "(2,)", named="",
        says="softmax_cross_entropy", came="a loss for each image"),
    bad(call, "loss", SoftmaxCrossEntropy(weight=[1.0, 2.0]), ValueError, "weight of shape (2,)", "(3,)", named="",
        says="softmax_cross_entropy", came="weights for two classes"),
    no_arrays(call, "x", says="Sequential", borrower="Sequential"),
    [bad(call, "x", of_type(t), TypeError, t, "float32", says="batchnorm") for t in ("float64", "int64", "bool")],
    bad(call, "x", exactly(2, 3, 4, 4), ValueError, "weight of shape (2,)", "(3,)", named="", says="batchnorm"),
    bad(call, "x", exactly(2, 2, 5, 4), ValueError, "(2, 12)", "(OUT, 12)", says="linear", came="too high"),
    bad(call, "x", exactly(2, 2, 2, 4), ValueError, "kernel (3, 3)", "fit", named="", says="conv2d", came="too low"),
    bad(call, "x", exactly(3, 2, 4, 4), ValueError, "labels of shape (2,)", "(3,)", named="",
        says="softmax_cross_entropy", came="more than labels"),
    wrong_labels(call, says="softmax_cross_entropy", borrower="SoftmaxCrossEntropy"),
    labels_out_of_range(call, says="softmax_cross_entropy"),
    numbers(call, "lr", -0.1),
)  # fmt: skip

# ==== fit, evaluate, predict ====

PIXELS = (np.arange(7 * 32) % 251).astype(np.uint8).reshape(7, 2, 4, 4)
FLOATS = np.linspace(-1.0, 1.0, 7 * 32).reshape(PIXELS.shape)
LABELS = np.arange(7) % 3
NO_EXAMPLES = (None, 3, "mnist", (1, 2), PIXELS.tolist())


def _fit(lib: Lib) -> dict[str, Any]:
    train = images(7, 2, 4, 4)
    return _party(lib) | {
        "x": train,
        "y": None,
        "test": images(3, 2, 4, 4, normalization=train.normalization),
        "validation": images(3, 2, 4, 4, normalization=train.normalization),
        "epochs": 1,
        "batch_size": 4,
        "lr": 0.1,
        "schedule": constant,
        "augmentation": Augmentation(shift=1.0),
        "seed": 0,
        "on_step": None,
        "on_epoch": None,
        "should_stop": None,
        "start": None,
    }


def _fit_arrays(lib: Lib) -> dict[str, Any]:
    with on(lib):
        return _fit(lib) | {"x": PIXELS, "y": LABELS, "test": (PIXELS, LABELS), "validation": None}


def _fit_floats(lib: Lib) -> dict[str, Any]:
    x = lib.asarray(FLOATS)
    return _fit(lib) | {"x": x, "y": lib.asarray(LABELS), "test": (x, LABELS), "validation": None}


def of_images(*shape: int, **options: Any) -> made:
    """Images made on the library of the test."""
    return made(f"{shape} {options or ''}", lambda lib, good: images(*shape, **options))


def on_other_library(lib: Lib, good: Any) -> Any:
    with on(another(lib)):
        return images(7, 2, 4, 4)


def wrong_images(call: Call, argument: str) -> list[Row]:
    """Rows for images that the model does not take: of x a layer says so, of the others it is said which they are."""

    def told(layer: str) -> dict[str, Any]:
        return {"named": "", "says": layer} if argument == "x" else {}

    return [
        bad(call, argument, of_images(7, 3, 4, 4), ValueError, "(2,)", "(3,)", **told("batchnorm")),
        bad(call, argument, of_images(7, 1, 4, 4), ValueError, "(2,)", "(1,)", **told("batchnorm")),
        bad(call, argument, of_images(7, 2, 5, 4), ValueError, "(1, 12)", "(OUT, 12)", **told("linear")),
        bad(call, argument, of_images(7, 2, 2, 4), ValueError, "kernel", "fit", **told("conv2d")),
        bad(call, argument, of_images(7, 2, 4, 4, dtype="float64"), TypeError, "float64", "float32"),
        bad(call, argument, of_images(7, 2, 4, 4, classes=4), ValueError, "a label 3", "0 to 2"),
        bad(call, argument, made("on another library", on_other_library), TypeError, BOTH_LIBRARIES,
            "one library", **told("BatchNorm")),
    ]  # fmt: skip


def wrong_examples(call: Call, argument: str = "x") -> list[Row]:
    """Rows for what are no examples."""
    types = [("int64", "floating"), ("uint16", "floating"), ("complex128", "real"), ("bool", "real")]
    return [
        *(bad(call, argument, v, TypeError, (), "an array", came=repr(v)[:9]) for v in NO_EXAMPLES),
        bad(call, argument, generated_digits(1, 1), TypeError, "a Dataset", "one of them", came="a Dataset"),
        *(bad(call, argument, PIXELS.astype(t), TypeError, t, words, came=t) for t, words in types),
    ]


def wrong_answers(call: Call, argument: str = "y") -> list[Row]:
    """Rows for what are no labels of seven examples."""
    return [
        bad(call, argument, None, TypeError, "None", "a label for each"),
        *(bad(call, argument, v, TypeError, (), "an array", came=repr(v)) for v in (3, "0120120", LABELS.tolist())),
        bad(call, argument, LABELS + 0.5, TypeError, "float64", "integers", came="float64"),
        bad(call, argument, LABELS.astype("<U3"), TypeError, "<U3", "integers", came="texts"),
        bad(call, argument, LABELS + 0j, TypeError, "complex128", "integers", came="complex"),
        bad(call, argument, np.eye(7)[:, :3], TypeError, "float64", "integers", came="one-hot"),
        bad(call, argument, LABELS - 1, ValueError, "a label -1", "0 or more", came="negative"),
        bad(call, argument, LABELS + 1, ValueError, "a label 3", "0 to 2", named="", came="too large"),
        *(
            bad(call, argument, np.zeros(shape, int), ValueError, f"of shape {shape}", "(7,)", came=f"{shape}")
            for shape in [(), (6,), (8,), (7, 3), (0,), (1, 7)]
        ),
    ]


call = Call(training.fit, "fit", _fit)
TABLE.add(
    call,
    parties(call, none=True),
    bad(call, "model", made("without logits", lambda lib, good: ReLU()), ValueError, "optimizer", "one for this",
        named=""),
    wrong_images(call, "x"),
    wrong_images(call, "test"),
    wrong_images(call, "validation"),
    [
        bad(call, name, v, TypeError, (), "a pair of arrays", came=came)
        for name in ("test", "validation")
        for came, v in [("3", 3), ("a text", "mnist"), ("an array", PIXELS), ("one", (PIXELS,)), ("no pair", (1, 2, 3))]
    ],
    bad(call, "y", LABELS, TypeError, "y beside x", "the labels that it has", came="labels twice"),
    whole_numbers(call, "epochs", 0, -1),
    whole_numbers(call, "batch_size", 0, -1, may_be_none=True),
    bad(call, "batch_size", 8, ValueError, ("8", "7 examples"), "no more than those"),
    numbers(call, "lr", 0.0, -0.1, may_be_none=True),
    whole_numbers(call, "seed", -1),
    [
        bad(call, name, value, TypeError, (), "a function")
        for name in ("schedule", "on_step", "on_epoch", "should_stop")
        for value in ("cosine", 3, [])
    ],
    bad(call, "schedule", None, TypeError, "None", "a function"),
    [
        bad(call, "schedule", lambda progress, v=v: v, error, repr(v), "a finite number", came=f"gives {v!r}")
        for v, error in [(NAN, ValueError), (INF, ValueError), (-0.1, ValueError), ("1", TypeError), (None, TypeError)]
    ],
    [bad(call, "start", v, TypeError, (), "a Position") for v in (3, "last", {}, (1, 0))],
    [
        bad(call, "augmentation", v, TypeError, (), "an xlenet.data.Augmentation")
        for v in (0, False, 1.5, "elastic", {"shift": 1.0}, (10.0, 1.0), Augmentation)
    ],
)  # fmt: skip

call = Call(training.fit, "fit", _fit_arrays, label="bytes")
TABLE.add(
    call,
    wrong_examples(call),
    wrong_answers(call),
    bad(call, "x", PIXELS[:, 0], ValueError, "uint8 of shape (7, 4, 4)", "(N, C, H, W)", came="three axes"),
    bad(call, "x", PIXELS[:0], ValueError, "(0, 2, 4, 4)", "none of them 0", came="nothing"),
    bad(call, "test", (FLOATS, LABELS), TypeError, ("test[0]", "floating numbers", "x of bytes"), "the same of both",
        came="floats"),
    bad(call, "test", (PIXELS, LABELS[:6]), ValueError, ("test[1]", "(6,)"), "(7,)", came="labels missing"),
    bad(call, "test", (PIXELS, LABELS + 1), ValueError, "a label 3 in test", "0 to 2", came="a label too large"),
    bad(call, "validation", (PIXELS, None), TypeError, "validation[1] None", "a label for each", came="no labels"),
)  # fmt: skip

call = Call(training.fit, "fit", _fit_floats, label="floats")
TABLE.add(
    call,
    wrong_answers(call),
    bad(call, "x", made("one axis", lambda lib, good: lib.asarray(np.zeros(7))), ValueError, "(7,)", "(N, ...)"),
    bad(call, "x", np.where(FLOATS[3, 1, 1, 1] == FLOATS, NAN, FLOATS), ValueError, "x with numbers", "finite",
        came="NaN"),
    bad(call, "x", 1e300 * FLOATS, ValueError, "not finite as float32", "finite", came="too large"),
    bad(call, "test", (np.where(FLOATS[3, 1, 1, 1] == FLOATS, INF, FLOATS), LABELS), ValueError,
        "test[0] with numbers", "finite", came="infinite"),
    bad(call, "test", (PIXELS, LABELS), TypeError, ("test[0]", "bytes", "floating numbers"), "the same of both",
        came="bytes"),
)  # fmt: skip


def _fit_rows(lib: Lib) -> dict[str, Any]:
    model = Linear(32, 3, rng=0)
    given = {"model": model, "optimizer": SGD(model), "x": lib.asarray(FLOATS.reshape(7, 32)), "y": lib.asarray(LABELS)}
    return given | {"augmentation": Augmentation(plain_epochs=1), "epochs": 1, "batch_size": 4}


call = Call(training.fit, "fit", _fit_rows, label="rows")
TABLE.add(
    call,
    bad(call, "augmentation", Augmentation(rotation=5.0), ValueError, "(32,)", "images (C, H, W)", came="of rows"),
)


def _evaluate(lib: Lib) -> dict[str, Any]:
    return {"model": network(), "x": images(7, 2, 4, 4), "y": None, "normalization": None, "batch_size": 4}


NO_NORMALIZATIONS = (3, "mean", (1.0, 2.0), ((1.0,), (2.0,), (3.0,)))

for function, name in ((training.evaluate, "evaluate"), (training.predict, "predict")):
    learns = name == "evaluate"

    def ready(lib: Lib, learns: bool = learns) -> dict[str, Any]:
        given = _evaluate(lib)
        return given if learns else {k: v for k, v in given.items() if k != "y"}

    def of_bytes(lib: Lib, learns: bool = learns) -> dict[str, Any]:
        given = ready(lib, learns) | {"x": PIXELS, "normalization": images(7, 2, 4, 4).normalization}
        return given | {"y": LABELS} if learns else given

    call = Call(function, name, ready)
    TABLE.add(
        call,
        [bad(call, "model", v, TypeError, (), "a Layer") for v in (None, 3, "lenet", LeNet5)],
        bad(
            call, "model", made("without logits", lambda lib, good: ReLU()), ValueError, "(1, 2, 4, 4)", "logits (1, K)"
        ),
        [row for row in wrong_images(call, "x") if learns or "a label 3" not in row.got],
        whole_numbers(call, "batch_size", 0, -1),
        bad(
            call,
            "normalization",
            Normalization((1.0,), (1.0,)),
            TypeError,
            "beside x",
            "None",
            came="beside a data set",
        ),
        [] if learns else bad(call, "x", PIXELS, TypeError, "normalization None", "learnt from", came="bytes alone"),
    )
    call = Call(function, name, of_bytes, label="bytes")
    TABLE.add(
        call,
        bad(call, "x", FLOATS, TypeError, "normalization beside x", "None", came="floats"),
        [
            bad(call, "normalization", v, TypeError, repr(v), "a Normalization", says="Images")
            for v in NO_NORMALIZATIONS
        ],
        bad(call, "normalization", None, TypeError, "None", "learnt from"),
        wrong_answers(call) if learns else [],
    )
    call = Call(
        function,
        name,
        lambda lib, of_bytes=of_bytes: of_bytes(lib) | {"x": lib.asarray(FLOATS), "normalization": None},
        label="floats",
    )
    TABLE.add(
        call,
        wrong_examples(call),
        bad(call, "x", np.where(FLOATS[3, 1, 1, 1] == FLOATS, NAN, FLOATS), ValueError, "x with", "finite", came="NaN"),
    )


_EPOCH = training.Epoch(1, 0.1, 0.1, 0.9, 0.1, 0.9, 1.0, 1.0, 0.2, 0.98)
call = Call(training.best_epoch, "best_epoch", lambda lib: {"history": [_EPOCH]}, arrays=False)
_histories = (None, 3, "epochs", _EPOCH, [_EPOCH, None], [_EPOCH.record()], {1: _EPOCH}, iter([_EPOCH]))
TABLE.add(call, [bad(call, "history", v, TypeError, (), "a list of Epochs") for v in _histories])

# ==== figures ====

call = Call(
    metrics.confusion_matrix,
    "confusion_matrix",
    lambda lib: {"labels": np.array([0, 1]), "predictions": np.array([1, 1]), "classes": 2},
    arrays=False,
)
for _name in ("labels", "predictions"):
    TABLE.add(
        call,
        [
            bad(call, _name, v, error, _name, "integer arrays")
            for v, error in [
                (None, ValueError),
                ("01", ValueError),
                ([0.0, 1.0], ValueError),
                ([True, False], ValueError),
                ([0], ValueError),
                ([[0, 1]], ValueError),
                (np.array(0), ValueError),
                (np.array([0, NAN]), ValueError),
            ]
        ],
        bad(
            call,
            _name,
            made("on a device", lambda lib, good: open_library("array_api_strict").asarray(good)),
            TypeError,
            "array_api_strict",
            "on the host",
        ),
        [bad(call, _name, v, ValueError, _name.removesuffix("s"), "0 to 1", named="") for v in ([0, 2], [-1, 0])],
        bad(call, _name, [[0, 1], [0]], TypeError, "list", "on the host", came="ragged"),
    )
TABLE.add(call, whole_numbers(call, "classes", 0, -1))

# ==== files ====

PATHS: tuple[Any, ...] = (None, 3, 1.5, ["m"])


def paths(call: Call, argument: str = "path") -> list[Row]:
    """Rows for what is no path: 3 would be a file that is open already."""
    return [bad(call, argument, v, TypeError, repr(v), "a path") for v in PATHS]


def _saving(lib: Lib) -> dict[str, Any]:
    return {"path": FOLDER / "model.safetensors", "model": network(), "about": {"classes": 3}}


NO_ABOUT: tuple[tuple[Any, str], ...] = (
    (None, "None"),
    ([1], "[1]"),
    ("classes", "'classes'"),
    ({"x": np.zeros(2)}, "ndarray"),
    ({"x": {1, 2}}, "set"),
    ({(1, 2): 3}, "tuple"),
)

call = Call(checkpoint.save_model, "save_model", _saving)
TABLE.add(
    call,
    paths(call),
    [bad(call, "model", v, TypeError, (), "a Layer") for v in (None, 3, Linear, {})],
    [bad(call, "about", v, TypeError, got, "JSON") for v, got in NO_ABOUT],
)


def _loading(lib: Lib) -> dict[str, Any]:
    checkpoint.save_model(**_saving(lib))
    return {"path": FOLDER / "model.safetensors", "max_bytes": 10**6}


call = Call(checkpoint.load_model, "load_model", _loading, arrays=False)
TABLE.add(
    call,
    paths(call),
    whole_numbers(call, "max_bytes", -1),
    bad(call, "max_bytes", 10, DataError, "more than 10 bytes", "at most that", named=""),
)


def _snapshot(lib: Lib) -> dict[str, Any]:
    return _party(lib) | {
        "path": FOLDER / "snapshot.safetensors",
        "position": training.Position(epoch=2),
        "config": {"seed": 0},
    }


call = Call(snapshots.save_snapshot, "save_snapshot", _snapshot)
TABLE.add(
    call,
    paths(call),
    [bad(call, "model", v, TypeError, (), "a Layer") for v in (None, 3, Linear)],
    [bad(call, "optimizer", v, TypeError, (), "an optimiser") for v in (None, 3, SGD)],
    [bad(call, "position", v, TypeError, (), "a Position") for v in (None, 3, {}, (1, 0))],
    [bad(call, "config", v, TypeError, got, "JSON") for v, got in NO_ABOUT],
)


def _snapshot_there(lib: Lib) -> dict[str, Any]:
    snapshots.save_snapshot(**_snapshot(lib))
    return {"path": FOLDER / "snapshot.safetensors"}


call = Call(snapshots.load_snapshot, "load_snapshot", _snapshot_there, arrays=False)
TABLE.add(call, paths(call))


def _restoring(lib: Lib) -> dict[str, Any]:
    there = snapshots.load_snapshot(**_snapshot_there(lib))
    there = there._replace(model={name: array + 1 for name, array in there.model.items()})  # not what the model holds
    return _party(lib) | {"snapshot": there}


def _of_adam(lib: Lib, good: Any) -> Any:
    return good._replace(optimizer=Adam(network()).state_dict())


call = Call(snapshots.restore, "snapshot", _restoring)
TABLE.add(
    call,
    [bad(call, "snapshot", v, TypeError, (), "a Snapshot", says="restore") for v in (None, 3, "last", {}, (1, 0))],
    [bad(call, "model", v, TypeError, (), "a Layer", says="restore") for v in (None, 3, Linear)],
    [bad(call, "optimizer", v, TypeError, (), "an optimiser", says="restore") for v in (None, 3, SGD)],
    bad(call, "model", Linear(2, 2), DataError, "'bias' of the model", "float32 (2,)", named="", came="another model"),
    bad(
        call,
        "snapshot",
        made("of another optimiser", _of_adam),
        DataError,
        "'mean' of the optimizer",
        "nothing",
        named="",
    ),
    bad(
        call,
        "snapshot",
        made("of another model", lambda lib, good: good._replace(model={"weight": np.zeros(2)})),
        DataError,
        "'bn.bias' of the model",
        "float32 (2,)",
        named="",
    ),
)
