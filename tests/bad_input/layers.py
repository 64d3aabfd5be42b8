"""Wrong arguments for layers, the loss and the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.bad_input.functional import (
    KERNELS,
    NO_REDUCTIONS,
    PADDINGS,
    labels_of,
    labels_out_of_range,
    wrong_labels,
    wrong_scores,
)
from tests.bad_input.table import (
    INF,
    NAN,
    Call,
    Row,
    Table,
    bad,
    empty_along,
    exactly,
    made,
    no_arrays,
    numbers,
    numpy_types,
    of_type,
    switches,
    whole_numbers,
    wrong_gradients,
    wrong_library,
    wrong_ranks,
    wrong_types,
)
from tests.libraries import Lib
from tests.networks import backend_name, small_network
from xlenet import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    LeNet5,
    Linear,
    LogSoftmax,
    MaxPool2D,
    NLLLoss,
    Permute,
    ReLU,
    Reshape,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    init,
)
from xlenet.errors import BackendError

TABLE = Table()


# ==== constructors ====


def made_of(says: str, kind: Callable[..., Any], **good: Any) -> Call:
    """A constructor with arguments that are right."""
    return Call(kind, says, lambda lib: dict(good), arrays=False)


def sizes(call: Call, argument: str) -> list[Row]:
    return [bad(call, argument, value, error, (), wanted) for value, error, wanted in KERNELS]


def dtypes(call: Call, says: str = "", *, may_be_none: bool = False) -> list[Row]:
    return [
        bad(call, "dtype", value, ValueError, (), "'float32' or 'float64'", says=says)
        for value in ("float16", "int8", "complex64", "", None, 32, np.float16, np.int64, object)
        if value is not None or not may_be_none
    ]


def generators(call: Call) -> list[Row]:
    """Rows for what is neither a generator nor a seed."""
    return [
        bad(call, "rng", value, error, repr(value), "numpy.random.Generator", says="generator")
        for value, error in [("0", TypeError), (1.5, TypeError), (NAN, TypeError), (-1, ValueError), ({}, TypeError)]
    ]


call = made_of("Conv2D", Conv2D, in_channels=2, out_channels=3, kernel=2, stride=1, padding=0, dilation=1, groups=1,
               bias=True, requires_grad=True, lowering="rows", rng=0, dtype="float32")  # fmt: skip
TABLE.add(
    call,
    whole_numbers(call, "in_channels", 0, -1),
    whole_numbers(call, "out_channels", 0, -1),
    sizes(call, "kernel"),
    sizes(call, "stride"),
    [bad(call, "padding", value, error, (), wanted) for value, error, wanted in PADDINGS],
    sizes(call, "dilation"),
    bad(call, "dilation", None, TypeError, "None", "whole number"),
    whole_numbers(call, "groups", 0, -1),
    bad(call, "groups", 3, ValueError, "for 2 channels", "a divisor of 2"),
    bad(call, "groups", 2, ValueError, "for 3 filters", "a divisor of 3"),
    switches(call, "bias", "requires_grad"),
    [bad(call, "lowering", v, ValueError, repr(v), "'img2col' or 'rows'") for v in ("row", None, 1, ["rows"])],
    generators(call),
    dtypes(call),
)
call = made_of("Linear", Linear, in_features=2, out_features=3, bias=True, requires_grad=True, rng=0, dtype="float32")
TABLE.add(
    call,
    whole_numbers(call, "in_features", 0, -1),
    whole_numbers(call, "out_features", 0, -1),
    switches(call, "bias", "requires_grad"),
    generators(call),
    dtypes(call),
)
call = made_of("BatchNorm", BatchNorm, channels=3, decay=0.9, eps=1e-5, requires_grad=True, dtype="float32")
TABLE.add(
    call,
    whole_numbers(call, "channels", 0, -1),
    numbers(call, "decay", -0.1, 1.1),
    numbers(call, "eps", -1e-5),
    switches(call, "requires_grad"),
    dtypes(call),
)
call = made_of("MaxPool2D", MaxPool2D, kernel=2, stride=None, padding=0, ceil_mode=False, dilation=1)
TABLE.add(
    call,
    sizes(call, "kernel"),
    sizes(call, "stride"),
    [bad(call, "padding", value, error, (), wanted) for value, error, wanted in PADDINGS],
    switches(call, "ceil_mode"),
    sizes(call, "dilation"),
    bad(call, "dilation", None, TypeError, "None", "whole number"),
)
call = made_of("AvgPool2D", AvgPool2D, kernel=2, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
               dilation=1)  # fmt: skip
TABLE.add(
    call,
    sizes(call, "kernel"),
    sizes(call, "stride"),
    [bad(call, "padding", value, error, (), wanted) for value, error, wanted in PADDINGS],
    switches(call, "ceil_mode", "count_include_pad"),
    sizes(call, "dilation"),
    bad(call, "dilation", None, TypeError, "None", "whole number"),
)
call = made_of("Dropout", Dropout, p=0.5, rng=0)
TABLE.add(call, numbers(call, "p", -0.1, 1.0, 2.0), generators(call))
call = made_of("Reshape", Reshape, shape=(3, -1))
TABLE.add(
    call,
    [bad(call, "shape", v, TypeError, repr(v), "a tuple of whole numbers") for v in (None, 3, "3", {3}, np.ones(2))],
    [bad(call, "shape", v, TypeError, repr(v[-1]), "whole number") for v in [(3, 1.5), (3, "1"), (3, True), [3, None]]],
    [bad(call, "shape", v, ValueError, repr(v), "from 1 up") for v in [(0, 3), (-1, -1), (3, -2), [-1, 2, -1]]],
)
call = made_of("Permute", Permute, axes=(0, 2, 1))
TABLE.add(
    call,
    [bad(call, "axes", v, TypeError, repr(v), "a tuple of whole numbers") for v in (None, 0, "012", {0, 1}, range(3))],
    [bad(call, "axes", v, TypeError, repr(v[-1]), "whole number") for v in [(0, 1.0), (0, "1"), (0, True), [0, None]]],
    [
        bad(call, "axes", v, ValueError, repr(v), ("each of them once", "0, the batch, first"))
        for v in [(), (1,), (1, 0), (0, 2), (0, 1, 1), (0, 1, -1), [0, 3, 1]]
    ],
)
for _kind in (Softmax, LogSoftmax):
    call = made_of(_kind.__name__, _kind, axis=-1)
    TABLE.add(call, whole_numbers(call, "axis"))
NO_WEIGHTS: tuple[Any, ...] = (
    2.0, "12", b"12", [], [1.0, -0.5], [NAN], [INF], [10**400], ["1", "2"], [True, False], [1j], [None], [[1.0]],
    {0: 1.0, 1: 2.0}, {1.0, 2.0}, np.array(2.0), np.ones((2, 2)), np.array([True]), np.array(["1"]),
)  # fmt: skip
for _kind in (SoftmaxCrossEntropy, NLLLoss):
    call = made_of(_kind.__name__, _kind, weight=[1.0, 2.0], ignore_index=-1, reduction="mean")
    TABLE.add(
        call,
        [bad(call, "weight", v, ValueError, repr(v), "a number from 0 up for each class") for v in NO_WEIGHTS],
        whole_numbers(call, "ignore_index", may_be_none=True),
        [bad(call, "reduction", v, ValueError, repr(v), "'mean', 'sum' or 'none'") for v in NO_REDUCTIONS],
    )
call = made_of("LeNet5", LeNet5, image_size=28, relu_after_conv3=False, channels=1, classes=2, bn_decay=0.9,
               lowering="rows", rng=0, dtype="float32")  # fmt: skip
TABLE.add(
    call,
    [bad(call, "image_size", v, ValueError, repr(v), "28 or 32") for v in (0, -28, 29, 28.0, "28", None, (28, 28))],
    switches(call, "relu_after_conv3"),
    whole_numbers(call, "channels", 0, -1),
    whole_numbers(call, "classes", 0, -1),
    numbers(call, "bn_decay", -0.1, 1.1),
    bad(call, "lowering", "row", ValueError, "'row'", "'img2col' or 'rows'", says="Conv2D"),
    generators(call),
    dtypes(call, says="Conv2D"),
)
call = made_of("Layer", Layer, requires_grad=True)
TABLE.add(call, switches(call, "requires_grad"))
_relu = ReLU()
call = made_of("Sequential", Sequential, first=Linear(2, 3), second=_relu)
TABLE.add(
    call,
    [bad(call, "second", v, TypeError, (), "a Layer") for v in (None, 3, "relu", Linear, [_relu], np.ones(2))],
    bad(call, "first", _relu, ValueError, "second", "none twice", came="the same layer twice"),
    bad(call, "first", Sequential(inner=_relu), ValueError, "second", "none twice", came="the same layer inside"),
)
call = Call(
    Sequential.__getitem__, "Sequential", lambda lib: {"self": Sequential(relu=_relu), "name": "relu"}, arrays=False
)
TABLE.add(call, [bad(call, "name", v, KeyError, repr(v), "'relu'") for v in ("rely", 0, None, ["relu"])])
call = made_of("generator", init.generator, rng=0)
TABLE.add(call, generators(call))

# ==== forward, infer, backward ====


def built(
    make: Callable[[], Layer], shape: tuple[int, ...], *, training: bool = True
) -> Callable[[Lib], dict[str, Any]]:
    """A layer that has learned from another batch, and the next batch."""

    def good(lib: Lib) -> dict[str, Any]:
        layer = make()
        x = lib.asarray(np.linspace(-1, 1, int(np.prod(shape))).reshape(shape), "float32")
        y = layer.forward(x)
        layer.backward(lib.asarray(np.ones(y.shape), "float32"))
        layer.train() if training else layer.eval()
        return {"self": layer, "x": x}

    return good


def forwards(says: str, make: Callable[[], Layer], shape: tuple[int, ...], label: str = "") -> list[Call]:
    """Both ways to ask for a layer's result, in both modes: they refuse the same."""
    label = label or says
    good = built(make, shape)
    return [
        Call(Layer.forward, says, good, label=label),
        Call(Layer.__call__, says, good, label=label),
        Call(Layer.infer, says, good, label=label),
        Call(Layer.forward, says, built(make, shape, training=False), label=f"{label}, eval"),
    ]


def backward_of(says: str, make: Callable[[], Layer], shape: tuple[int, ...], label: str = "") -> Call:
    """The way back from a forward that went well."""

    def good(lib: Lib) -> dict[str, Any]:
        arguments = built(make, shape)(lib)
        y = arguments["self"].forward(arguments.pop("x"))
        return arguments | {"dy": lib.asarray(np.ones(tuple(y.shape)), "float32")}

    return Call(Layer.backward, says, good, label=label or says)


def layer(
    says: str,
    make: Callable[[], Layer],
    shape: tuple[int, ...],
    y_shape: tuple[int, ...],
    rows: Callable[[Call], list[Row]],
    *,
    inside: str = "",
    behind: str = "",
    has_arrays: bool = True,
    label: str = "",
) -> None:
    """Add the rows of a layer.

    Args:
        says: its name.
        make: makes one.
        shape: of a right batch.
        y_shape: of its result.
        rows: rows for x, of shapes and types.
        inside: how the operation that it calls begins its messages.
        behind: the same for what the gradient comes to first.
        has_arrays: whether it has parameters, whose library x must be of.
    """
    for call in forwards(says, make, shape, label):
        TABLE.add(call, no_arrays(call, "x", borrower=says), rows(call))
        if has_arrays:
            TABLE.add(call, wrong_library(call, "x"))
    call = backward_of(says, make, shape, label)
    behind = behind or inside or says
    TABLE.add(
        call,
        no_arrays(call, "dy", borrower=says),
        wrong_library(call, "dy", says=behind),
        wrong_gradients(call, y_shape, says=behind),
        [bad(call, "dy", of_type(t), TypeError, t, "float32", says=behind) for t in ("float64", "int64", "bool")],
    )


def typed(call: Call, says: str) -> list[Row]:
    return [
        *wrong_types(call, "x", says=says),
        *numpy_types(call, "x", says=says),
        bad(call, "x", of_type("float64"), TypeError, "float64", "all float32", says=says),
    ]


def of_images(call: Call, says: str) -> list[Row]:
    """Rows for images (2, 3, 4, 5)."""
    return [
        *wrong_ranks(call, "x", "(N, C, H, W)", (), (3,), (3, 4, 5), (2, 3, 4, 5, 1), says=says),
        *empty_along(call, "x", 4, says=says),
    ]


def of_convolution(call: Call) -> list[Row]:
    return [
        *typed(call, "conv2d"),
        *of_images(call, "conv2d"),
        bad(call, "x", exactly(2, 4, 4, 5), ValueError, "(2, 4, 4, 5)", "(F, 4, KH, KW)", says="conv2d"),
        bad(call, "x", exactly(2, 3, 1, 5), ValueError, "kernel (2, 3)", "fit", named="", says="conv2d"),
    ]


def of_dropout(call: Call) -> str:
    """Who refuses x: the operation, or the layer where there is nothing to compute."""
    drops = call.function is not Layer.infer and "eval" not in call.label
    return "dropout" if drops else "Dropout"


for _lowering in ("rows", "img2col"):
    layer(
        "Conv2D",
        lambda lowering=_lowering: Conv2D(3, 2, (2, 3), lowering=lowering, rng=0),
        (2, 3, 4, 5),
        (2, 2, 3, 3),
        of_convolution,
        inside="conv2d",
        label=f"Conv2D by {_lowering}",
    )
layer(
    "MaxPool2D",
    lambda: MaxPool2D(2),
    (2, 3, 4, 5),
    (2, 3, 2, 2),
    lambda call: [
        *of_images(call, "maxpool2d"),
        bad(call, "x", of_type("bool"), TypeError, "bool", "a floating or an integer type", says="maxpool2d"),
        bad(call, "x", exactly(2, 3, 1, 5), ValueError, "kernel (2, 2)", "fit", named="", says="maxpool2d"),
    ],
    inside="maxpool2d",
    has_arrays=False,
)
layer(
    "BatchNorm",
    lambda: BatchNorm(3),
    (2, 3, 4, 5),
    (2, 3, 4, 5),
    lambda call: [
        *typed(call, "batchnorm"),
        *wrong_ranks(call, "x", "(N, C) or (N, C, H, W)", (), (3,), (2, 3, 4), (2, 3, 4, 5, 1), says="batchnorm"),
        *empty_along(call, "x", 4, says="batchnorm"),
        bad(call, "x", exactly(2, 4, 4, 5), ValueError, "weight of shape (3,)", "(4,)", named="", says="batchnorm"),
        bad(call, "x", exactly(2, 1, 4, 5), ValueError, "weight of shape (3,)", "(1,)", named="", says="batchnorm"),
    ],
    inside="batchnorm",
)
layer(
    "Linear",
    lambda: Linear(3, 4, rng=0),
    (2, 3),
    (2, 4),
    lambda call: [
        *typed(call, "linear"),
        *wrong_ranks(call, "x", "(N, IN)", (), (3,), (2, 3, 1), says="linear"),
        *empty_along(call, "x", 2, says="linear"),
        bad(call, "x", exactly(2, 4), ValueError, "(2, 4)", "(OUT, 4)", says="linear"),
    ],
    inside="linear",
)
layer(
    "AvgPool2D",
    lambda: AvgPool2D(2),
    (2, 3, 4, 5),
    (2, 3, 2, 2),
    lambda call: [
        *wrong_types(call, "x", says="avgpool2d"),
        *of_images(call, "avgpool2d"),
        bad(call, "x", exactly(2, 3, 1, 5), ValueError, "kernel (2, 2)", "fit", named="", says="avgpool2d"),
    ],
    inside="avgpool2d",
    has_arrays=False,
)
layer(
    "GlobalAvgPool2D",
    GlobalAvgPool2D,
    (2, 3, 4, 5),
    (2, 3, 1, 1),
    lambda call: [*wrong_types(call, "x"), *of_images(call, "GlobalAvgPool2D")],
    behind="avgpool2d",
    has_arrays=False,
)
layer(
    "Dropout",
    lambda: Dropout(0.5, rng=0),
    (2, 3),
    (2, 3),
    lambda call: [
        *wrong_types(call, "x", says=of_dropout(call)),
        *wrong_ranks(call, "x", "(N) or (N, ...)", (), says=of_dropout(call)),
        *empty_along(call, "x", 2, says=of_dropout(call)),
    ],
    behind="dropout",
)
layer(
    "Reshape",
    lambda: Reshape((4, -1)),
    (2, 3, 4, 5),
    (2, 4, 15),
    lambda call: [
        *wrong_ranks(call, "x", "(N, ...)", ()),
        *empty_along(call, "x", 4),
        bad(call, "x", exactly(2, 3, 5), ValueError, "15 numbers for each image", "(4, -1)"),
        bad(call, "x", exactly(2), ValueError, "1 numbers for each image", "(4, -1)"),
    ],
    has_arrays=False,
)
layer(
    "Permute",
    lambda: Permute((0, 2, 1)),
    (2, 3, 4),
    (2, 4, 3),
    lambda call: wrong_ranks(call, "x", "3 axes", (), (2, 3), (2, 3, 4, 5)),
    has_arrays=False,
)
for _kind, _says in ((ReLU, "relu"), (Tanh, "tanh"), (Sigmoid, "sigmoid")):
    layer(
        _kind.__name__,
        _kind,
        (2, 3),
        (2, 3),
        lambda call, says=_says: wrong_types(call, "x", says=says),
        inside=_says,
        has_arrays=False,
    )
for _kind, _says in ((Softmax, "softmax"), (LogSoftmax, "log_softmax")):
    layer(
        _kind.__name__,
        _kind,
        (2, 3),
        (2, 3),
        lambda call, says=_says: [
            *wrong_types(call, "x", says=says),
            *wrong_ranks(call, "x", "(N) or (N, ...)", (), says=says),
            *empty_along(call, "x", 2, says=says),
        ],
        inside=_says,
        has_arrays=False,
    )
    call = Call(Layer.forward, _says, built(lambda kind=_kind: kind(axis=2), (2, 3, 4)), label=f"{_says} of axis 2")
    TABLE.add(
        call,
        no_arrays(call, "x", says=_kind.__name__, borrower=_kind.__name__),
        bad(call, "x", exactly(2, 3), ValueError, "axis 2 for x of shape (2, 3)", "-2 to 1"),
    )
layer(
    "Flatten",
    Flatten,
    (2, 3, 4, 5),
    (2, 60),
    lambda call: [*wrong_ranks(call, "x", "(N, ...)", ()), *empty_along(call, "x", 4)],
    has_arrays=False,
)


def float32_network() -> Sequential:
    return small_network(dtype="float32")


layer(
    "Sequential",
    float32_network,
    (5, 2, 7, 6),
    (5, 3),
    lambda call: [*typed(call, "conv2d"), *of_images(call, "conv2d")],
    behind="linear",
    has_arrays=False,
)
layer(
    "LeNet5",
    lambda: LeNet5(rng=0),
    (2, 1, 28, 28),
    (2, 10),
    lambda call: [
        *typed(call, "conv2d"),
        *wrong_ranks(
            call, "x", "(N, C, 28, 28)", (), (3,), (1, 28, 28), (2, 1, 28, 28, 1), (2, 1, 32, 32), (2, 28, 28, 1)
        ),
        bad(call, "x", exactly(2, 3, 28, 28), ValueError, "(2, 3, 28, 28)", "(F, 3, KH, KW)", says="conv2d"),
        bad(call, "x", exactly(0, 1, 28, 28), ValueError, "(0, 1, 28, 28)", "none of them 0", says="conv2d"),
    ],
    behind="linear",
    has_arrays=False,
)

call = Call(Layer.forward, "batchnorm", built(lambda: BatchNorm(3), (4, 3)), label="BatchNorm of (N, C)")
TABLE.add(
    call,
    bad(call, "x", exactly(1, 3), ValueError, "one value per channel", "at least 2"),
    bad(call, "x", exactly(1, 3, 1, 1), ValueError, "one value per channel", "at least 2"),
)

# ==== state ====


def without(state: dict[Any, Any], name: str) -> dict[Any, Any]:
    return {key: value for key, value in state.items() if key != name}


def states(call: Call) -> list[Row]:
    """Rows for `load_state_dict` of the small network."""
    rows: list[tuple[str, Any, type[Exception], Any, str]] = [
        ("None", None, TypeError, "None", "a mapping"),
        ("a list", [1, 2], TypeError, "[1, 2]", "a mapping"),
        ("text", "conv.weight", TypeError, "'conv.weight'", "a mapping"),
        ("nothing", {}, ValueError, "bn.bias", "conv.weight"),
    ]
    found = [bad(call, "state", v, e, got, wanted, came=came, named="") for came, v, e, got, wanted in rows]
    spoilt: list[tuple[str, Callable[[dict[Any, Any]], Any], type[Exception], str, str]] = [
        ("a name less", lambda s: without(s, "bn.running_var"), ValueError, "bn.running_var", "conv.weight"),
        ("a name more", lambda s: s | {"bn.momentum": s["bn.bias"]}, ValueError, "bn.momentum", "conv.weight"),
        ("a name that is a number", lambda s: s | {3: s["bn.bias"]}, ValueError, "3", "conv.weight"),
    ]
    bias: list[tuple[str, Any, type[Exception], str, str]] = [
        ("a list", [0.0, 0.0, 0.0], TypeError, "fc.bias, a builtins.list", "an array"),
        ("None", None, TypeError, "fc.bias, None", "an array"),
        ("complex", np.zeros(3, complex), TypeError, "fc.bias complex128", "real numbers"),
        ("text", np.array(["a", "b", "c"]), TypeError, "fc.bias <U1", "real numbers"),
        ("objects", np.array([None] * 3), TypeError, "fc.bias object", "real numbers"),
        ("too long", np.zeros(4), ValueError, "fc.bias of shape (4,)", "(3,)"),
        ("broadcastable", np.zeros(1), ValueError, "fc.bias of shape (1,)", "(3,)"),
        ("a single number", np.zeros(()), ValueError, "fc.bias of shape ()", "(3,)"),
    ]
    for came, value, error, got, wanted in bias:
        spoilt.append((came, lambda s, value=value: s | {"fc.bias": value}, error, got, wanted))
    for came, change, error, got, wanted in spoilt:
        value = made(came, lambda lib, good, change=change: change(dict(good)))
        found.append(bad(call, "state", value, error, got, wanted, named=""))
    return found


def _loading(lib: Lib) -> dict[str, Any]:
    arguments = built(float32_network, (5, 2, 7, 6))(lib)
    return {"self": arguments["self"], "state": {name: a + 1 for name, a in arguments["self"].state_dict().items()}}


call = Call(Layer.summary, "summary", lambda lib: {"self": LeNet5(rng=0), "shape": (1, 28, 28)})
TABLE.add(
    call,
    [bad(call, "shape", v, TypeError, repr(v), "without the batch") for v in (3, "CHW", (), {}, 2.5)],
    [bad(call, "shape", v, TypeError, repr(v), "whole numbers") for v in ((1, 28.0, 28), (None,), ("1", "28", "28"))],
    [bad(call, "shape", v, ValueError, repr(v), "from 1 up") for v in ((0, 28, 28), (-1, 28, 28))],
    [bad(call, "shape", v, ValueError, repr(v), "without the batch") for v in ((4, 1, 28, 28), (1, 27, 27), (28, 28))],
)
call = Call(Layer.load_state_dict, "load_state_dict", _loading)
TABLE.add(call, states(call))
call = Call(
    Layer.to,
    "backend",
    lambda lib: {"self": built(float32_network, (5, 2, 7, 6))(lib)["self"], "backend": backend_name(lib)},
)
TABLE.add(
    call,
    [bad(call, "backend", v, TypeError, repr(v), "a name", named="") for v in (None, 3, ["numpy"], np.float32)],
    [bad(call, "backend", v, BackendError, repr(v), "numpy", named="") for v in ("", "nunpy", "numpy:1", "cupy:x")],
)
call = Call(
    Layer.requires_grad.fset,
    "Sequential",
    lambda lib: {"self": built(float32_network, (5, 2, 7, 6))(lib)["self"], "value": True},
    positional=("self", "value"),
    label="requires_grad",
)
TABLE.add(
    call, [bad(call, "value", v, TypeError, repr(v), "True or False", named="requires_grad") for v in ("no", None, 2)]
)

# ==== the losses ====


def _loss(kind: type[Any], scores: str, **options: Any) -> Callable[[Lib], dict[str, Any]]:
    """A loss that remembers another batch, and the next batch."""

    def good(lib: Lib) -> dict[str, Any]:
        loss = kind(**options)
        x = lib.asarray([[-1.0, -2.0, -3.0], [0.0, -1.0, 0.0]], "float32")
        loss.forward(x, lib.asarray([1, 1], "int64"))
        return {"self": loss, scores: x, "labels": lib.asarray([0, 2], "int64")}

    return good


for _kind, _says, _scores in (
    (SoftmaxCrossEntropy, "softmax_cross_entropy", "logits"),
    (NLLLoss, "nll_loss", "log_probabilities"),
):
    for _function in (_kind.forward, _kind.__call__):
        call = Call(_function, _says, _loss(_kind, _scores))
        TABLE.add(
            call,
            no_arrays(call, _scores, says=_kind.__name__, borrower=_kind.__name__),
            wrong_scores(call, _scores),
            wrong_labels(call, borrower=_kind.__name__),
            labels_out_of_range(call),
        )
    call = Call(_kind.forward, _says, _loss(_kind, _scores, weight=[1.0, 2.0, 3.0], ignore_index=-1), label="options")
    TABLE.add(
        call,
        no_arrays(call, _scores, says=_kind.__name__, borrower=_kind.__name__),
        no_arrays(call, "labels", borrower=_kind.__name__),
        bad(call, _scores, exactly(2, 4), ValueError, "(3,)", "(4,)", named="weight"),
        bad(call, "labels", labels_of(-2, -1), ValueError, "from -2 to -2", "0 to 2 or ignore_index -1"),
    )
    for _reduction in ("mean", "none"):
        _good = _loss(_kind, _scores, reduction=_reduction)
        call = Call(
            _kind.backward,
            _says,
            lambda lib, good=_good, shape=(2,) if _reduction == "none" else (): (
                {"self": good(lib)["self"], "dloss": lib.asarray(np.ones(shape), "float32")}
            ),
            label=_reduction,
        )
        shape = (2,) if _reduction == "none" else ()
        error, wanted = (ValueError, "(2,)") if shape else (TypeError, "an array")
        TABLE.add(
            call,
            [bad(call, "dloss", v, error, (), wanted) for v in ("1", None, [1.0], 1j)],
            [bad(call, "dloss", exactly(*s), ValueError, f"{s}", f"{shape}") for s in [(1,), (2, 1), (3,)]],
            wrong_library(call, "dloss"),
        )
