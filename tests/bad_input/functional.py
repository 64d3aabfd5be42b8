"""Wrong arguments for the mathematics."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from tests.bad_input.table import (
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
    whole_numbers,
    wrong_gradients,
    wrong_library,
    wrong_ranks,
    wrong_types,
)
from tests.libraries import Lib
from xlenet.functional import (
    avgpool2d,
    batchnorm,
    batchnorm_relu,
    conv2d,
    conv2d_rows,
    conv_pool,
    dropout,
    linear,
    linear_relu,
    log_softmax,
    maxpool2d,
    nll_loss,
    relu,
    sigmoid,
    softmax,
    softmax_cross_entropy,
    tanh,
    windows,
)

TABLE = Table()


def arrays_of(**shapes: tuple[int, ...]) -> Callable[[Lib], dict[str, Any]]:
    """Make float32 arrays of these shapes, whose numbers are all different and positive."""

    def make(lib: Lib) -> dict[str, Any]:
        return {
            name: lib.asarray(np.linspace(1, 2, max(int(np.prod(shape)), 1)).reshape(shape), "float32")
            for name, shape in shapes.items()
        }

    return make


def floating(call: Call, *names: str, says: str = "") -> list[Row]:
    """Rows for arguments that must be arrays of one library, all float32 or all float64."""
    rows = []
    for name in names:
        rows += no_arrays(call, name, says=says) if name != "bias" else no_arrays_but_none(call, name, says)
        rows += wrong_types(call, name, says=says) + numpy_types(call, name, says=says)
        if len(names) > 1:
            rows += wrong_library(call, name, says=says)
            rows.append(bad(call, name, of_type("float64"), TypeError, "float64", "all float32", says=says))
    return rows


def no_arrays_but_none(call: Call, name: str, says: str) -> list[Row]:
    return [row for row in no_arrays(call, name, says=says) if row.came != "None"]


def backward(forward: Call, function: Callable[..., Any], says: str, argument: str = "dy") -> Call:
    """The way back from `forward`, with a gradient of ones, and the rows that all of them have."""

    def good(lib: Lib) -> dict[str, Any]:
        y, cache = forward(forward.good(lib))
        return {argument: lib.asarray(np.ones(tuple(y.shape)), "float32"), "cache": cache}

    return Call(function, says, good, label=forward.label)


def add_backward(forward: Call, function: Callable[..., Any], shape: tuple[int, ...], says: str, whole: str) -> None:
    """Add the way back from `forward`, whose result has `shape`; errors are those of `says`, or of the `whole`."""
    call = backward(forward, function, says)
    TABLE.add(
        call,
        no_arrays(call, "dy"),
        wrong_library(call, "dy"),
        wrong_gradients(call, shape),
        [bad(call, "dy", of_type(t), TypeError, t, "float32") for t in ("float64", "int64", "complex128", "bool")],
        wrong_caches(call, whole),
    )


def wrong_caches(call: Call, says: str) -> list[Row]:
    """Rows for what is not the cache that forward returned."""
    caches = [(None, "None"), ((1, 2, 3), "tuple"), (made("another operation's", _another_cache), "Cache")]
    return [bad(call, "cache", v, TypeError, got, "forward returned", says=says) for v, got in caches]


def _another_cache(lib: Lib, good: Any) -> Any:
    x = lib.asarray(np.ones((2, 3)), "float32")
    return linear.Cache(x, x, False) if type(good).__module__.endswith(".relu") else relu.Cache(x)


# ==== windows ====

KERNELS: tuple[tuple[Any, type[Exception], str], ...] = (
    (0, ValueError, "at least 1"),
    (-1, ValueError, "at least 1"),
    (1.5, TypeError, "whole number"),
    (NAN, TypeError, "whole number"),
    (True, TypeError, "whole number"),
    ("3", TypeError, "whole number"),
    ((1, 2, 3), ValueError, "a pair"),
    ((), ValueError, "a pair"),
    ((2, 0), ValueError, "at least 1"),
    ((2, "2"), TypeError, "whole number"),
    (((1, 1), (1, 1)), TypeError, "whole number"),
)
PADDINGS: tuple[tuple[Any, type[Exception], str], ...] = (
    (-1, ValueError, "at least 0"),
    ((0, -1), ValueError, "at least 0"),
    (((0, 0), (0, -1)), ValueError, "at least 0"),
    (1.5, TypeError, "whole number"),
    (None, TypeError, "whole number"),
    (True, TypeError, "whole number"),
    ("sane", ValueError, "SAME"),
    ("", ValueError, "SAME"),
    ((1, 2, 3), ValueError, "a pair"),
    (((1, 1), (1, 1, 1)), ValueError, "a pair"),
    (((1, 1), 1), TypeError, "whole number"),
    (((1, 1), (1, "1")), TypeError, "whole number"),
)


def sizes(call: Call, argument: str, *, none: bool = False, named: str | None = None, says: str = "") -> list[Row]:
    """Rows for a kernel or a stride."""
    rows = [
        bad(call, argument, value, error, (), wanted, named=named, says=says, came=f"{value!r}")
        for value, error, wanted in KERNELS
    ]
    return (
        rows if none else [*rows, bad(call, argument, None, TypeError, "None", "whole number", named=named, says=says)]
    )


def paddings(call: Call, argument: str = "padding", *, says: str = "") -> list[Row]:
    """Rows for padding."""
    return [
        bad(call, argument, value, error, (), wanted, named="padding", says=says) for value, error, wanted in PADDINGS
    ]


def too_large(call: Call, argument: str, value: Any, *, says: str = "") -> Row:
    """A row for a kernel that does not fit."""
    return bad(call, argument, value, ValueError, (), "fit into the padded image", named="kernel", says=says)


img2col = TABLE.add(
    call := Call(
        windows.img2col,
        "img2col",
        lambda lib: arrays_of(x=(2, 3, 4, 5))(lib) | {"kernel": 2, "stride": 1, "padding": 0, "dilation": 1},
    ),
    no_arrays(call, "x"),
    bad(call, "x", of_type("bool"), TypeError, "bool", "numbers"),
    wrong_ranks(call, "x", "(N, C, H, W)", (), (4,), (3, 4, 5), (1, 2, 3, 4, 5)),
    empty_along(call, "x", 4),
    sizes(call, "kernel"),
    sizes(call, "stride"),
    sizes(call, "dilation"),
    paddings(call),
    too_large(call, "kernel", 6),
    too_large(call, "kernel", (2, 6)),
    too_large(call, "dilation", (1, 5)),
)
TABLE.add(
    call := Call(
        windows.col2img,
        "col2img",
        lambda lib: (
            arrays_of(columns=(24, 12))(lib)
            | {"x_shape": (2, 3, 4, 5), "kernel": 2, "stride": 1, "padding": 0, "dilation": 1}
        ),
    ),
    no_arrays(call, "columns"),
    bad(call, "columns", of_type("bool"), TypeError, "bool", "numbers"),
    wrong_gradients(call, (24, 12), argument="columns"),
    [
        bad(call, "x_shape", value, error, repr(value), "(N, C, H, W)")
        for value, error in [(None, ValueError), (24, ValueError), ("2345", ValueError), ((2, 3, 4), ValueError)]
    ],
    [
        bad(call, "x_shape", (2, 3, 4, size), error, repr(size), wanted)
        for size, error, wanted in [
            (0, ValueError, "at least 1"),
            (-1, ValueError, "at least 1"),
            (1.5, TypeError, "whole"),
        ]
    ],
    bad(call, "x_shape", (2, 3, 4, 6), ValueError, "of shape (24, 12)", "(30, 12)", named="columns", came="wider"),
    sizes(call, "kernel"),
    sizes(call, "stride"),
    sizes(call, "dilation"),
    paddings(call),
    too_large(call, "kernel", 6),
    too_large(call, "dilation", 4),
)
TABLE.add(
    call := Call(
        windows.windows_over,
        "conv",
        lambda lib: {"size": (4, 5), "kernel": 2, "stride": 1, "padding": 0, "dilation": 1, "operation": "conv"},
        arrays=False,
    ),
    sizes(call, "kernel"),
    sizes(call, "stride"),
    sizes(call, "dilation"),
    paddings(call),
    too_large(call, "kernel", 6),
    too_large(call, "dilation", 4),
)

# ==== convolution ====

_images = arrays_of(x=(2, 3, 5, 6), weight=(4, 3, 2, 3), bias=(4,))


def convolution(function: Callable[..., Any], **options: Any) -> Call:
    """A forward with images, filters and a bias, and the rows that all of them have."""
    call = Call(function, "conv2d", lambda lib: _images(lib) | {"stride": 1, "padding": 0} | options)
    return TABLE.add(
        call,
        floating(call, "x", "weight", "bias"),
        wrong_ranks(call, "x", "(N, C, H, W)", (), (3,), (3, 5, 6), (2, 3, 5, 6, 1)),
        empty_along(call, "x", 4),
        bad(call, "x", exactly(2, 4, 5, 6), ValueError, "(2, 4, 5, 6)", "(F, 4, KH, KW)"),
        bad(call, "x", exactly(2, 1, 5, 6), ValueError, "(2, 1, 5, 6)", "(F, 1, KH, KW)"),
        wrong_ranks(call, "weight", "(F, 3, KH, KW)", (), (4,), (3, 2, 3), (4, 3, 2, 3, 1), (3, 4, 2, 3), (4, 1, 2, 3)),
        empty_along(call, "weight", 4),
        wrong_gradients(call, (4,), argument="bias"),
        sizes(call, "stride"),
        paddings(call),
        too_large(call, "weight", exactly(4, 3, 6, 3)),
        too_large(call, "weight", exactly(4, 3, 2, 7)),
    )


_in_groups = arrays_of(x=(2, 4, 5, 6), weight=(6, 2, 2, 3))
for _module in (conv2d, conv2d_rows):
    call = convolution(_module.forward, dilation=1, groups=1)
    TABLE.add(
        call,
        sizes(call, "dilation"),
        too_large(call, "dilation", (5, 1)),
        whole_numbers(call, "groups", 0, -1),
        bad(call, "groups", 2, ValueError, "groups 2 for 3 channels", "a divisor of 3"),
        bad(call, "groups", 3, ValueError, ("(4, 3, 2, 3)", "groups 3"), "(F, 1, KH, KW)"),
    )
    add_backward(call, _module.backward, (2, 4, 4, 4), "conv2d", "conv2d")
    call = Call(_module.forward, "conv2d", lambda lib: _in_groups(lib) | {"groups": 2}, label="groups")
    TABLE.add(
        call,
        no_arrays(call, "x"),
        no_arrays(call, "weight"),
        bad(call, "weight", exactly(5, 2, 2, 3), ValueError, "for 5 filters", "a divisor of 5", named="groups 2"),
        wrong_ranks(call, "weight", "(F, 2, KH, KW)", (6, 4, 2, 3), (6, 1, 2, 3), (6, 2, 2)),
        bad(call, "x", exactly(2, 3, 5, 6), ValueError, "for 3 channels", "a divisor of 3", named="groups 2"),
        bad(call, "x", exactly(2, 6, 5, 6), ValueError, "(6, 2, 2, 3)", "(F, 3, KH, KW)"),
    )
    add_backward(call, _module.backward, (2, 6, 4, 4), "conv2d", "conv2d")

_pool = {"pool_kernel": 2, "pool_stride": None, "pool_padding": 0, "ceil_mode": False}
for _function in (conv_pool.forward, conv_pool.infer):
    call = convolution(_function, **_pool)
    TABLE.add(
        call,
        sizes(call, "pool_kernel", named="kernel", says="maxpool2d"),
        sizes(call, "pool_stride", none=True, named="stride", says="maxpool2d"),
        paddings(call, "pool_padding", says="maxpool2d"),
        too_large(call, "pool_kernel", 5, says="maxpool2d"),
        bad(call, "pool_padding", 2, ValueError, "padding", "less padding", named="", says="maxpool2d"),
    )
    if _function is conv_pool.forward:
        add_backward(call, conv_pool.backward, (2, 4, 2, 2), "conv_pool", "conv_pool")

# ==== pooling ====

TABLE.add(
    call := Call(
        maxpool2d.forward,
        "maxpool2d",
        lambda lib: (
            arrays_of(x=(2, 3, 5, 6))(lib)
            | {"kernel": 2, "stride": None, "padding": 0, "ceil_mode": False, "dilation": 1}
        ),
    ),
    no_arrays(call, "x"),
    [bad(call, "x", of_type(t), TypeError, t, "a floating or an integer type") for t in ("bool", "complex128")],
    wrong_ranks(call, "x", "(N, C, H, W)", (), (3,), (3, 5, 6), (2, 3, 5, 6, 1)),
    empty_along(call, "x", 4),
    sizes(call, "kernel"),
    sizes(call, "stride", none=True),
    sizes(call, "dilation"),
    paddings(call),
    too_large(call, "kernel", 6),
    too_large(call, "dilation", 5),
    bad(call, "padding", 2, ValueError, "kernel (2, 2)", "less padding"),
)
add_backward(call, maxpool2d.backward, (2, 3, 2, 3), "maxpool2d", "maxpool2d")
_forward = call
call = Call(maxpool2d.argmax, "maxpool2d", lambda lib: {"cache": _forward(_forward.good(lib))[1]})
TABLE.add(call, wrong_caches(call, "maxpool2d"))

TABLE.add(
    call := Call(
        avgpool2d.forward,
        "avgpool2d",
        lambda lib: (
            arrays_of(x=(2, 3, 5, 6))(lib)
            | {"kernel": 2, "stride": None, "padding": 0, "count_include_pad": False, "dilation": 1}
        ),
    ),
    floating(call, "x"),
    wrong_ranks(call, "x", "(N, C, H, W)", (), (3,), (3, 5, 6), (2, 3, 5, 6, 1)),
    empty_along(call, "x", 4),
    sizes(call, "kernel"),
    sizes(call, "stride", none=True),
    sizes(call, "dilation"),
    paddings(call),
    too_large(call, "kernel", 6),
    too_large(call, "dilation", 5),
    bad(call, "padding", 2, ValueError, "kernel (2, 2)", "a pixel in every window"),
    bad(call, "padding", ((0, 0), (0, 2)), ValueError, "kernel (2, 2)", "a pixel in every window"),
)
add_backward(call, avgpool2d.backward, (2, 3, 2, 3), "avgpool2d", "avgpool2d")

# ==== dropout ====

TABLE.add(
    call := Call(
        dropout.forward,
        "dropout",
        lambda lib: arrays_of(x=(2, 3))(lib) | {"p": 0.5, "seed": 1, "step": lib.asarray([3], "int64")},
    ),
    floating(call, "x"),
    wrong_ranks(call, "x", "(N) or (N, ...)", ()),
    empty_along(call, "x", 2),
    numbers(call, "p", -0.1, 1.0, 2.0),
    whole_numbers(call, "seed", -1),
    bad(call, "seed", 2**64, ValueError, str(2**64), "below 2^64"),
    whole_numbers(call, "step", -1),
    wrong_library(call, "step"),
    [bad(call, "step", of_type(t), TypeError, t, "whole numbers") for t in ("float32", "bool")],
    [bad(call, "step", exactly(*s), TypeError, f"of shape {s}", "(1,)") for s in [(), (2,), (1, 1), (0,)]],
)
add_backward(call, dropout.backward, (2, 3), "dropout", "dropout")

# ==== batch normalisation ====

_norm = arrays_of(x=(2, 3, 4, 5), weight=(3,), bias=(3,))
_statistics = arrays_of(running_mean=(3,), running_var=(3,))


def normalisation(function: Callable[..., Any], *more: str) -> Call:
    """A forward of batch normalisation, and the rows that all of them have."""
    call = Call(function, "batchnorm", lambda lib: _norm(lib) | (_statistics(lib) if more else {}) | {"eps": 1e-5})
    names = ("weight", "bias", *more)
    return TABLE.add(
        call,
        floating(call, "x", *names),
        bad(call, "bias", None, TypeError, "None", "(3,)"),
        wrong_ranks(call, "x", "(N, C) or (N, C, H, W)", (), (3,), (2, 3, 4), (2, 3, 4, 5, 1)),
        empty_along(call, "x", 4),
        bad(call, "x", exactly(2, 4, 4, 5), ValueError, "(3,)", "(4,)", named="weight"),
        [row for name in names for row in wrong_gradients(call, (3,), argument=name)],
        numbers(call, "eps", -1e-5),
    )


call = normalisation(batchnorm.forward_evaluation, "running_mean", "running_var")
add_backward(call, batchnorm.backward_evaluation, (2, 3, 4, 5), "batchnorm", "batchnorm")
for _module, _says in ((batchnorm, "batchnorm"), (batchnorm_relu, "relu")):
    call = normalisation(_module.forward_training)
    TABLE.add(
        call,
        bad(call, "x", exactly(1, 3), ValueError, "one value per channel", "at least 2"),
        bad(call, "x", exactly(1, 3, 1, 1), ValueError, "one value per channel", "at least 2"),
    )
    _whole = "batchnorm_relu" if _module is batchnorm_relu else "batchnorm"
    add_backward(call, _module.backward_training, (2, 3, 4, 5), _says, _whole)


def _running(lib: Lib) -> dict[str, Any]:
    _, cache = batchnorm.forward_training(**_norm(lib))
    # To be written to: not read-only, as the tests' arrays are.
    statistics = {name: lib.xp.asarray(array, copy=True) for name, array in _statistics(lib).items()}
    return statistics | {"cache": cache, "decay": 0.9}


call = Call(batchnorm.update_running, "batchnorm", _running)
TABLE.add(
    call,
    numbers(call, "decay", -0.1, 1.1),
    bad(call, "cache", None, TypeError, "None", "forward returned"),
    [row for name in ("running_mean", "running_var") for row in no_arrays(call, name)],
    [row for name in ("running_mean", "running_var") for row in wrong_library(call, name)],
    [row for name in ("running_mean", "running_var") for row in wrong_gradients(call, (3,), argument=name)],
)

# ==== fully connected, relu ====

_matrix = arrays_of(x=(2, 3), weight=(4, 3), bias=(4,))
for _module, _says in ((linear, "linear"), (linear_relu, "relu")):
    call = Call(_module.forward, "linear", _matrix)
    TABLE.add(
        call,
        floating(call, "x", "weight", "bias"),
        wrong_ranks(call, "x", "(N, IN)", (), (3,), (2, 3, 1), (2, 3, 1, 1)),
        empty_along(call, "x", 2),
        bad(call, "x", exactly(2, 4), ValueError, "(2, 4)", "(OUT, 4)"),
        wrong_ranks(call, "weight", "(OUT, 3)", (), (3,), (3, 4), (4, 1), (4, 3, 1)),
        empty_along(call, "weight", 2),
        wrong_gradients(call, (4,), argument="bias"),
    )
    add_backward(call, _module.backward, (2, 4), _says, "linear_relu" if _module is linear_relu else "linear")

for _module, _says in ((relu, "relu"), (tanh, "tanh"), (sigmoid, "sigmoid")):
    call = Call(_module.forward, _says, arrays_of(x=(2, 3)))
    TABLE.add(call, floating(call, "x"))
    add_backward(call, _module.backward, (2, 3), _says, _says)

# ==== softmax, alone ====

for _module, _says in ((softmax, "softmax"), (log_softmax, "log_softmax")):
    call = Call(_module.forward, _says, lambda lib: arrays_of(x=(2, 3))(lib) | {"axis": -1})
    TABLE.add(
        call,
        floating(call, "x"),
        wrong_ranks(call, "x", "(N) or (N, ...)", ()),
        empty_along(call, "x", 2),
        whole_numbers(call, "axis"),
        [bad(call, "axis", v, ValueError, (f"axis {v}", "(2, 3)"), "-2 to 1") for v in (2, -3, 10**9)],
    )
    add_backward(call, _module.backward, (2, 3), _says, _says)

# ==== the losses ====


def labels_of(*values: int) -> made:
    """Labels that are integers, as they must be."""
    return made(f"{values}", lambda lib, good: lib.asarray(list(values), "int64"))


def integers(*shape: int) -> made:
    """Zeros of a type that labels may have."""
    return made(f"shape {shape}", lambda lib, good: lib.asarray(np.zeros(shape), "int64"))


def wrong_labels(call: Call, says: str = "", borrower: str | None = None) -> list[Row]:
    """Rows for labels of two images and three classes."""
    return [
        *no_arrays(call, "labels", says=says, borrower=borrower),
        *wrong_library(call, "labels", says=says),
        *(
            bad(call, "labels", of_type(t), TypeError, t, "integers", says=says)
            for t in ("float32", "bool", "complex128")
        ),
        *(
            bad(call, "labels", integers(*s), ValueError, f"of shape {s}", "(2,)", says=says)
            for s in [(), (1,), (3,), (2, 1), (2, 3), (0,)]
        ),
    ]  # fmt: skip


def labels_out_of_range(call: Call, says: str = "") -> list[Row]:
    """Rows for labels of three classes that are none."""
    return [
        bad(call, "labels", labels_of(*values), ValueError, f"from {min(values)} to {max(values)}", "0 to 2", says=says)
        for values in [(0, 3), (-1, 2), (-(2**62), 2**62)]
    ]


def wrong_scores(call: Call, scores: str) -> list[Row]:
    """Rows for the scores of two images and three classes."""
    return [
        *wrong_library(call, scores),
        *wrong_types(call, scores),
        *wrong_ranks(call, scores, "(N, K) or (N, K, ...)", (), (3,)),
        *empty_along(call, scores, 2),
        bad(call, scores, exactly(1, 3), ValueError, "(2,)", "(1,)", named="labels"),
        bad(call, scores, exactly(2, 3, 1), ValueError, "(2,)", "(2, 1)", named="labels"),
    ]


NO_REDUCTIONS: tuple[Any, ...] = ("MEAN", "average", "", None, 1, ["mean"])


def loss(module: ModuleType, says: str, scores: str, *, checked: bool, reduction: str) -> None:
    """Add a loss of two images and three classes, forward and backward.

    Args:
        module: the operation.
        says: its name.
        scores: what its first argument is called.
        checked: whether labels have been checked already.
        reduction: what becomes of the losses.
    """

    def good(lib: Lib) -> dict[str, Any]:
        options = {"ignore_index": -100, "reduction": reduction, "labels_checked": checked}
        return arrays_of(**{scores: (2, 3), "weight": (3,)})(lib) | {"labels": lib.asarray([0, 2], "int64")} | options

    call = Call(module.forward, says, good, label="checked" if checked else reduction)
    TABLE.add(
        call,
        no_arrays(call, scores),
        wrong_scores(call, scores),
        numpy_types(call, scores),
        bad(call, scores, of_type("float64"), TypeError, "float64", "all float32"),
        wrong_labels(call),
        [] if checked else labels_out_of_range(call),
        [row for row in no_arrays(call, "weight") if row.came != "None"],
        wrong_library(call, "weight"),
        wrong_types(call, "weight"),
        bad(call, "weight", of_type("float64"), TypeError, "float64", "all float32"),
        wrong_gradients(call, (3,), argument="weight"),
        whole_numbers(call, "ignore_index", may_be_none=True),
        [bad(call, "reduction", v, ValueError, repr(v), "'mean', 'sum' or 'none'") for v in NO_REDUCTIONS],
    )
    call = backward(call, module.backward, says, "dloss")
    shape = (2,) if reduction == "none" else ()
    plain: tuple[Any, ...] = ("1", None, [1.0], 1j)
    TABLE.add(
        call,
        wrong_library(call, "dloss"),
        [
            bad(call, "dloss", exactly(*s), ValueError, f"{s}", f"{shape}")
            for s in [(), (1,), (2,), (2, 3)]
            if s != shape
        ],
        [bad(call, "dloss", of_type(t), TypeError, t, "float32") for t in ("int64", "bool")],
        bad(call, "dloss", of_type("float64"), TypeError, "float64", "float32") if reduction == "none" else [],
        [bad(call, "dloss", v, ValueError, repr(v), "(2,)") for v in (1.0, *plain)]
        if reduction == "none"
        else [bad(call, "dloss", v, TypeError, type(v).__name__.removesuffix("Type"), "an array") for v in plain],
        wrong_caches(call, says),
    )


for _module, _says, _scores in (
    (softmax_cross_entropy, "softmax_cross_entropy", "logits"),
    (nll_loss, "nll_loss", "log_probabilities"),
):
    loss(_module, _says, _scores, checked=True, reduction="mean")
    for _reduction in ("mean", "sum", "none"):
        loss(_module, _says, _scores, checked=False, reduction=_reduction)
