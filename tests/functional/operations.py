"""Every operation with arguments to call it: what is true of all of them is tested over this table."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tests.libraries import Lib
from xlenet import to_device
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
)


@dataclass(frozen=True)
class Operation:
    """One operation at one point.

    Attributes:
        name: How forward's errors begin.
        shapes: The floating arguments, in forward's order, by name.
        bare_forward: The library's function.
        bare_backward: The library's way back.
        options: What forward takes beside arrays.
        constants: Integer arguments behind the floating ones: labels, which make a loss of an operation.
        weights: Floating arguments that are passed by keyword and have no gradient.
        positive: Names of arguments that must be above zero.
        name_behind: How backward's errors begin, where it is another part of the operation that notices them.
    """

    name: str
    shapes: dict[str, tuple[int, ...]]
    bare_forward: Callable[..., tuple[Any, Any]]
    bare_backward: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, list[Any]] = field(default_factory=dict)
    weights: dict[str, list[float]] = field(default_factory=dict)
    positive: tuple[str, ...] = ()
    name_behind: str = ""

    @property
    def backward_name(self) -> str:
        """How backward's errors begin."""
        return self.name_behind or self.name

    @property
    def backward_options(self) -> list[str]:
        """The keywords of backward."""
        return [
            name
            for name, parameter in inspect.signature(self.bare_backward).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        ]

    @property
    def is_loss(self) -> bool:
        """Whether labels are asked for; what comes back is then called dloss and may be a plain number."""
        return bool(self.constants)

    @property
    def arguments(self) -> list[str]:
        """The names of forward's arrays."""
        return [*self.shapes, *self.constants]

    def shorten(self, arrays: dict[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
        """The same arrays with a batch of `n`."""
        batched = {self.arguments[0], *self.constants}
        return {name: values[:n] if name in batched else values for name, values in arrays.items()}

    def draw(self, rng: np.random.Generator, dtype: str = "float64") -> dict[str, np.ndarray]:
        """Host arrays for forward, in its order."""
        drawn = {}
        for name, shape in self.shapes.items():
            values = rng.standard_normal(shape)
            drawn[name] = (np.abs(values) + 0.5 if name in self.positive else values).astype(dtype)
        return drawn | {name: np.array(values) for name, values in self.constants.items()}

    def forward(self, *arrays: Any, **more: Any) -> tuple[Any, Any]:
        """Call forward at this point, with `more` keywords."""
        first = (*arrays, *more.values())[0]
        return self.bare_forward(*arrays, **(self.options | self._weights_beside(first) | more))

    def _weights_beside(self, x: Any) -> dict[str, Any]:
        if not hasattr(x, "dtype"):  # no array: there is nothing beside it
            return {}
        dtype = str(x.dtype).rpartition(".")[2]
        return {name: to_device(np.array(values, dtype), like=x) for name, values in self.weights.items()}

    def gradients(self, dy: Any, cache: Any, **more: Any) -> list[Any]:
        """Call backward, with `more` keywords; what it returns as a list."""
        result = self.bare_backward(dy, cache, **more)
        return list(result) if isinstance(result, tuple) else [result]

    def draw_dy(self, rng: np.random.Generator, lib: Lib, y: Any, dtype: str = "float64") -> np.ndarray:
        return np.asarray(rng.standard_normal(lib.to_numpy(y).shape)).astype(dtype)


_norm4 = {"x": (3, 2, 4, 5), "weight": (2,), "bias": (2,)}
_norm2 = {"x": (5, 3), "weight": (3,), "bias": (3,)}
_statistics4 = _norm4 | {"running_mean": (2,), "running_var": (2,)}

_filters = {"weight": (4, 2, 3, 2), "bias": (4,)}
_conv_pool = (conv_pool.forward, conv_pool.backward)
_linear_relu = (linear_relu.forward, linear_relu.backward)
_normalised = (batchnorm_relu.forward_training, batchnorm_relu.backward_training)
_training = (batchnorm.forward_training, batchnorm.backward_training)
_evaluation = (batchnorm.forward_evaluation, batchnorm.backward_evaluation)
_cross_entropy = (softmax_cross_entropy.forward, softmax_cross_entropy.backward)
_likelihood = (nll_loss.forward, nll_loss.backward)
_places = {"labels": [[[0, -1], [2, 3]], [[1, 1], [-1, -1]], [[3, 0], [2, -1]]]}
_some_ignored = {"ignore_index": -1}

OPERATIONS = {
    "conv2d": Operation(
        "conv2d",
        {"x": (3, 2, 5, 6), "weight": (4, 2, 3, 2), "bias": (4,)},
        conv2d.forward,
        conv2d.backward,
        {"stride": (2, 1), "padding": "SAME"},
    ),
    "conv2d by rows": Operation(
        "conv2d",
        {"x": (3, 2, 5, 6), "weight": (4, 2, 3, 2), "bias": (4,)},
        conv2d_rows.forward,
        conv2d_rows.backward,
        {"stride": (2, 1), "padding": "SAME"},
    ),
    "conv2d by rows without padding": Operation(
        "conv2d", {"x": (3, 2, 5, 6), "weight": (4, 2, 3, 2), "bias": (4,)}, conv2d_rows.forward, conv2d_rows.backward
    ),
    "conv2d by rows one by one": Operation(
        "conv2d", {"x": (3, 3, 4, 4), "weight": (2, 3, 1, 1), "bias": (2,)}, conv2d_rows.forward, conv2d_rows.backward
    ),
    "conv2d without padding": Operation(
        "conv2d", {"x": (3, 2, 5, 6), "weight": (4, 2, 3, 2), "bias": (4,)}, conv2d.forward, conv2d.backward
    ),
    "conv2d one by one": Operation(
        "conv2d", {"x": (3, 3, 4, 4), "weight": (2, 3, 1, 1), "bias": (2,)}, conv2d.forward, conv2d.backward
    ),
    "conv2d with dilation": Operation(
        "conv2d",
        {"x": (3, 2, 7, 6), "weight": (4, 2, 3, 2), "bias": (4,)},
        conv2d.forward,
        conv2d.backward,
        {"stride": (2, 1), "padding": "SAME", "dilation": (2, 3)},
    ),
    "conv2d in groups": Operation(
        "conv2d",
        {"x": (3, 4, 5, 6), "weight": (6, 2, 3, 2), "bias": (6,)},
        conv2d.forward,
        conv2d.backward,
        {"groups": 2},
    ),
    "conv2d of each channel alone, with dilation": Operation(
        "conv2d",
        {"x": (3, 3, 7, 6), "weight": (6, 1, 3, 2), "bias": (6,)},
        conv2d.forward,
        conv2d.backward,
        {"padding": 1, "dilation": 2, "groups": 3},
    ),
    "conv2d by rows in groups": Operation(
        "conv2d",
        {"x": (3, 4, 5, 6), "weight": (4, 1, 3, 2), "bias": (4,)},
        conv2d_rows.forward,
        conv2d_rows.backward,
        {"stride": (1, 2), "dilation": (2, 1), "groups": 4},
    ),
    "maxpool2d with dilation": Operation(
        "maxpool2d",
        {"x": (3, 2, 6, 7)},
        maxpool2d.forward,
        maxpool2d.backward,
        {"kernel": 2, "padding": 1, "dilation": (2, 3)},
    ),
    "maxpool2d": Operation(
        "maxpool2d",
        {"x": (3, 2, 6, 7)},
        maxpool2d.forward,
        maxpool2d.backward,
        {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 0), "ceil_mode": True},
    ),
    "maxpool2d one by one": Operation(
        "maxpool2d", {"x": (3, 2, 4, 4)}, maxpool2d.forward, maxpool2d.backward, {"kernel": 1}
    ),
    "avgpool2d": Operation(
        "avgpool2d",
        {"x": (3, 2, 6, 7)},
        avgpool2d.forward,
        avgpool2d.backward,
        {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 0), "ceil_mode": True},
    ),
    "avgpool2d of pixels alone": Operation(
        "avgpool2d",
        {"x": (3, 2, 6, 7)},
        avgpool2d.forward,
        avgpool2d.backward,
        {"kernel": 3, "stride": 2, "padding": ((1, 0), (2, 1)), "count_include_pad": False},
    ),
    "avgpool2d side by side": Operation(
        "avgpool2d", {"x": (3, 2, 5, 6)}, avgpool2d.forward, avgpool2d.backward, {"kernel": 2}
    ),
    "avgpool2d of whole images": Operation(
        "avgpool2d", {"x": (3, 2, 4, 5)}, avgpool2d.forward, avgpool2d.backward, {"kernel": (4, 5)}
    ),
    "avgpool2d with dilation": Operation(
        "avgpool2d",
        {"x": (3, 2, 6, 7)},
        avgpool2d.forward,
        avgpool2d.backward,
        {"kernel": 2, "stride": 1, "padding": 1, "dilation": (2, 3)},
    ),
    "batchnorm in training": Operation("batchnorm", _norm4, *_training),
    "batchnorm in training, 2-D": Operation("batchnorm", _norm2, *_training),
    "batchnorm in evaluation": Operation("batchnorm", _statistics4, *_evaluation, positive=("running_var",)),
    "linear": Operation("linear", {"x": (5, 3), "weight": (4, 3), "bias": (4,)}, linear.forward, linear.backward),
    "relu": Operation("relu", {"x": (3, 2, 4, 5)}, relu.forward, relu.backward),
    "tanh": Operation("tanh", {"x": (3, 2, 4, 5)}, tanh.forward, tanh.backward),
    "sigmoid": Operation("sigmoid", {"x": (3, 2, 4, 5)}, sigmoid.forward, sigmoid.backward),
    "dropout": Operation(
        "dropout", {"x": (3, 2, 4, 5)}, dropout.forward, dropout.backward, {"p": 0.3, "seed": 5, "step": 2}
    ),
    "dropout of nothing": Operation("dropout", {"x": (5, 3)}, dropout.forward, dropout.backward, {"p": 0.0}),
    "conv_pool": Operation("conv2d", {"x": (3, 2, 6, 5), **_filters}, *_conv_pool, name_behind="conv_pool"),
    "conv_pool with a row and a column left over": Operation(
        "conv2d",
        {"x": (3, 2, 7, 6), **_filters},
        *_conv_pool,
        {"padding": ((1, 0), (0, 1)), "pool_kernel": (3, 4)},
        name_behind="conv_pool",
    ),
    "conv_pool with windows that overlap": Operation(
        "conv2d",
        {"x": (3, 2, 7, 6), **_filters},
        *_conv_pool,
        {"pool_kernel": 3, "pool_stride": (1, 2)},
        name_behind="conv_pool",
    ),
    "conv_pool with strides and padding": Operation(
        "conv2d",
        {"x": (3, 2, 9, 8), **_filters},
        *_conv_pool,
        {"stride": 2, "padding": "SAME"},
        name_behind="conv_pool",
    ),
    "conv_pool with padding of either kind": Operation(
        "conv2d",
        {"x": (3, 2, 5, 6), **_filters},
        *_conv_pool,
        {"padding": 1, "pool_kernel": 3, "pool_stride": 2, "pool_padding": (1, 0), "ceil_mode": True},
        name_behind="conv_pool",
    ),
    "conv_pool of a large batch": Operation(
        "conv2d",
        {"x": (98, 1, 5, 5), "weight": (2, 1, 2, 2), "bias": (2,)},
        *_conv_pool,
        name_behind="conv_pool",
    ),
    "conv_pool of a large batch with a row left over": Operation(
        "conv2d",
        {"x": (163, 1, 5, 4), "weight": (2, 1, 3, 3), "bias": (2,)},
        *_conv_pool,
        {"padding": ((1, 1), (0, 1))},
        name_behind="conv_pool",
    ),
    "conv_pool whose filters see the whole image": Operation(
        "conv2d",
        {"x": (3, 2, 3, 2), **_filters},
        *_conv_pool,
        {"pool_kernel": 1},
        name_behind="conv_pool",
    ),
    "linear_relu": Operation(
        "linear", {"x": (5, 3), "weight": (4, 3), "bias": (4,)}, *_linear_relu, name_behind="relu"
    ),
    "batchnorm_relu": Operation("batchnorm", _norm4, *_normalised, name_behind="relu"),
    "batchnorm_relu, 2-D": Operation("batchnorm", _norm2, *_normalised, {"eps": 1e-2}, name_behind="relu"),
    "softmax_cross_entropy": Operation(
        "softmax_cross_entropy",
        {"logits": (4, 3)},
        softmax_cross_entropy.forward,
        softmax_cross_entropy.backward,
        constants={"labels": [0, 2, 2, 1]},
    ),
    "softmax_cross_entropy with labels checked": Operation(
        "softmax_cross_entropy",
        {"logits": (4, 3)},
        softmax_cross_entropy.forward,
        softmax_cross_entropy.backward,
        {"labels_checked": True},
        constants={"labels": [0, 2, 2, 1]},
    ),
    "softmax_cross_entropy by weights": Operation(
        "softmax_cross_entropy",
        {"logits": (4, 3)},
        *_cross_entropy,
        constants={"labels": [0, 2, 2, 1]},
        weights={"weight": [0.5, 2.0, 1.5]},
    ),
    "softmax_cross_entropy added up": Operation(
        "softmax_cross_entropy",
        {"logits": (4, 3)},
        *_cross_entropy,
        {"ignore_index": 2, "reduction": "sum"},
        constants={"labels": [0, 2, 2, 1]},
    ),
    "softmax_cross_entropy at each place": Operation(
        "softmax_cross_entropy", {"logits": (3, 4, 2, 2)}, *_cross_entropy, _some_ignored, constants=_places
    ),
    "softmax_cross_entropy at each place, one by one": Operation(
        "softmax_cross_entropy",
        {"logits": (3, 4, 2, 2)},
        *_cross_entropy,
        {**_some_ignored, "reduction": "none"},
        constants=_places,
        weights={"weight": [0.5, 2.0, 1.5, 0.25]},
    ),
    "nll_loss": Operation("nll_loss", {"log_probabilities": (4, 3)}, *_likelihood, constants={"labels": [0, 2, 2, 1]}),
    "nll_loss at each place": Operation(
        "nll_loss",
        {"log_probabilities": (3, 4, 2, 2)},
        *_likelihood,
        _some_ignored,
        constants=_places,
        weights={"weight": [0.5, 2.0, 1.5, 0.25]},
    ),
    "nll_loss at each place, one by one": Operation(
        "nll_loss",
        {"log_probabilities": (3, 4, 2, 2)},
        *_likelihood,
        {**_some_ignored, "reduction": "none"},
        constants=_places,
    ),
    "softmax": Operation("softmax", {"x": (4, 3)}, softmax.forward, softmax.backward),
    "softmax of channels": Operation("softmax", {"x": (3, 2, 4, 5)}, softmax.forward, softmax.backward, {"axis": 1}),
    "log_softmax": Operation("log_softmax", {"x": (4, 3)}, log_softmax.forward, log_softmax.backward),
    "log_softmax of channels": Operation(
        "log_softmax", {"x": (3, 2, 4, 5)}, log_softmax.forward, log_softmax.backward, {"axis": -3}
    ),
}


def operations_where(wanted: Callable[[Operation], bool]) -> pytest.MarkDecorator:
    """Parametrise over those operations for which `wanted` is true."""
    found = {label: op for label, op in OPERATIONS.items() if wanted(op)}
    return pytest.mark.parametrize("op", found.values(), ids=found.keys())


each_operation = operations_where(lambda op: True)


def each_argument(*, of: Callable[[Operation], list[str]]) -> pytest.MarkDecorator:
    """Parametrise over (operation, the name of an argument), where `of` lists the names that matter."""
    found = [pytest.param(op, name, id=f"{label}-{name}") for label, op in OPERATIONS.items() for name in of(op)]
    return pytest.mark.parametrize(("op", "name"), found)
