"""Configurations of every layer, drawn by Hypothesis: what goes in, what an oracle says comes out, and no kink near.

A new option of a layer is one more line in its strategy, and in its oracle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from tests import oracles
from tests.functional.cases import Window, pads_of
from xlenet import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
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
    to_device,
)
from xlenet.testing.gradients import STEP

# No input of a ReLU is nearer to 0, and no two candidates of a pooling window are nearer to each other. A difference
# moves them by a few dozen steps at most.
MARGIN = 100 * STEP


@dataclass(repr=False)
class Example:
    """One configuration.

    Attributes:
        text: What it is, for a message.
        forward: Takes the arrays of `inputs`; gives (y, cache).
        backward: Takes (dy, cache); gives the gradients by the names of `inputs`.
        inputs: Float64, on the host.
        expected: What an oracle says y is.
        traits: Which of the awkward things it has.
    """

    text: str
    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], dict[str, Any]]
    inputs: dict[str, np.ndarray]
    expected: np.ndarray
    traits: frozenset[str]

    def __repr__(self) -> str:
        return self.text


def _of_layer(
    make: Callable[[], Layer],
    x: np.ndarray,
    expected: np.ndarray,
    state: dict[str, np.ndarray],
    *traits: str,
    training: bool = True,
) -> Example:
    """The example of a layer with the arrays of `state`, of which the statistics are no inputs."""
    parameters = {name: value for name, value in state.items() if "running" not in name}

    def forward(x: Any, *values: Any) -> tuple[Any, Layer]:
        layer = make()
        layer.load_state_dict(state | dict(zip(parameters, values, strict=True)))
        return (layer.train() if training else layer.eval()).forward(x), layer

    def backward(dy: Any, layer: Layer) -> dict[str, Any]:
        found = {"x": layer.backward(dy)}
        for prefix, leaf in layer.leaves():
            found |= {f"{prefix}.{name}" if prefix else name: array for name, array in leaf.grads.items()}
        return found

    of_x = {
        "batch 1": x.shape[0] == 1,
        "one channel": x.shape[1] == 1,
        "not square": x.ndim == 4 and len({*x.shape[2:]}) > 1,
    }
    text = f"{make()!r} {'in training' if training else 'in evaluation'} on {x.shape}"
    return Example(
        text, forward, backward, {"x": x} | parameters, expected, frozenset([*traits, *(t for t in of_x if of_x[t])])
    )


# ==== what is drawn ====

_seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
_few = st.integers(1, 3)


def _grid(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """No two alike and none near 0: a tenth apart, in any order."""
    size = int(np.prod(shape))
    return (rng.permutation(size).reshape(shape) + 0.5 - size // 2) * 0.1


class _Geometry(NamedTuple):
    """How a window slides over images. To an oracle a dilated window is a larger one, with gaps."""

    kernel: tuple[int, int]
    dilation: tuple[int, int]
    window: Window  # as far as it reaches

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.window.x_shape

    @property
    def traits(self) -> list[str]:
        (_, stride, pads), kernel = self.window.explicit, self.kernel
        has = {
            "stride": stride != (1, 1),
            "padding": pads != ((0, 0), (0, 0)),
            "uneven padding": pads[0][0] != pads[0][1] or pads[1][0] != pads[1][1],
            "kernel = input": self.x_shape[2:] == kernel,
            "kernel not square": kernel[0] != kernel[1],
            "dilation": self.window.kernel != kernel,
        }
        return [name for name, true in has.items() if true]


_dilations = st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 3), (2, 2)])


@st.composite
def _geometries(draw: st.DrawFn, pooling: bool = False) -> _Geometry:
    """A batch of images and a window. Padding of a pooling is less than its kernel."""
    kernel, stride = (draw(st.integers(1, 4)), draw(st.integers(1, 4))), (draw(_few), draw(_few))
    n, c = draw(_few), draw(_few)
    if draw(st.integers(0, 7)) == 0:
        return _Geometry(kernel, (1, 1), Window((n, c, *kernel), kernel, stride, 0))
    dilation = draw(_dilations)
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    most = [k - 1 if pooling else 2 for k in kernel]
    sides = [(draw(st.integers(0, m)), draw(st.integers(0, m))) for m in most]
    same_on_both = tuple(side[0] for side in sides)
    padding = draw(st.sampled_from(["SAME", "VALID", min(same_on_both), same_on_both, tuple(sides)]))
    pads = [0, 0] if isinstance(padding, str) else [sum(side) for side in pads_of(padding, extent, extent, stride)]
    # "SAME" fits over any image.
    least = [1 if padding == "SAME" else max(1, e - p) for e, p in zip(extent, pads, strict=True)]
    h, w = (draw(st.integers(low, e + 5)) for low, e in zip(least, extent, strict=True))
    return _Geometry(kernel, dilation, Window((n, c, h, w), extent, stride, padding))


def _overlap(kernel: Any, stride: Any) -> list[str]:
    return ["overlap"] if any(k > s for k, s in zip(kernel, stride, strict=True)) else []


def _away_from_0(z: np.ndarray) -> np.ndarray:
    assume(float(np.abs(z).min()) > MARGIN)
    return z


def _pooled(z: np.ndarray, kernel: Any, dilation: Any, window: Window, ceil_mode: bool) -> np.ndarray:
    """The largest number of each window: larger than the next one by a margin, and not padding."""
    extent, stride, pads = window.explicit
    (oh, ow), (h, w) = oracles.out_size(z.shape[2:], extent, stride, pads, ceil_mode), z.shape[2:]
    ends = [
        max(0, (o - 1) * s + e - side[0] - size)
        for o, s, e, side, size in zip((oh, ow), stride, extent, pads, (h, w), strict=True)
    ]
    around = ((0, 0), (0, 0), (pads[0][0], ends[0]), (pads[1][0], ends[1]))
    padded = np.pad(z, around, constant_values=-np.inf)
    seen = np.lib.stride_tricks.sliding_window_view(padded, extent, axis=(2, 3))
    seen = seen[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]][:, :, :oh, :ow]
    values = np.sort(seen.reshape(*z.shape[:2], oh, ow, -1), axis=-1)
    assume(np.isfinite(values[..., -1]).all())
    if values.shape[-1] > 1:
        assume(float((values[..., -1] - values[..., -2]).min()) > MARGIN)
    assert seen.shape[-2:] == kernel
    return values[..., -1]


# ==== layers ====


@st.composite
def _filters(draw: st.DrawFn, case: _Geometry) -> tuple[dict[str, Any], dict[str, np.ndarray], np.ndarray]:
    """The options of a convolution, its arrays, and the weight by which a plain one does the same: with zeros for gaps
    and for the channels of other groups.
    """
    rng, c = draw(_seeds), case.x_shape[1]
    groups = draw(st.sampled_from([g for g in range(1, c + 1) if c % g == 0]))
    f = groups * draw(_few)
    weight = rng.standard_normal((f, c // groups, *case.kernel))
    plain = np.zeros((f, c, *case.window.kernel))
    for k in range(f):
        first = k // (f // groups) * (c // groups)
        plain[k, first : first + c // groups, :: case.dilation[0], :: case.dilation[1]] = weight[k]
    bias = {"bias": rng.standard_normal(f)} if draw(st.booleans()) else {}
    options = {"dilation": case.dilation, "groups": groups, "bias": bool(bias), "dtype": "float64"}
    return options, {"weight": weight} | bias, plain


def _conv2d(case: _Geometry, options: dict[str, Any], filters: int) -> Conv2D:
    return Conv2D(case.x_shape[1], filters, case.kernel, case.window.stride, case.window.padding, **options)


@st.composite
def _conv(draw: st.DrawFn, lowering: str) -> Example:
    case = draw(_geometries())
    (options, state, plain), x = draw(_filters(case)), draw(_seeds).standard_normal(case.x_shape)
    expected = oracles.conv2d(x, plain, state.get("bias"), *case.window.explicit[1:])
    traits = [*case.traits, *(["groups"] if options["groups"] > 1 else [])]
    return _of_layer(lambda: _conv2d(case, options | {"lowering": lowering}, len(plain)), x, expected, state, *traits)


@st.composite
def _pool(draw: st.DrawFn) -> Example:
    case, ceil_mode = draw(_geometries(pooling=True)), draw(st.booleans())
    x, stride, padding = _grid(draw(_seeds), case.x_shape), case.window.stride, case.window.padding
    traits = [*case.traits, *(["ceil_mode"] if ceil_mode else []), *_overlap(case.kernel, stride)]

    def make() -> Layer:
        return MaxPool2D(case.kernel, stride, padding, ceil_mode, dilation=case.dilation)

    return _of_layer(make, x, _pooled(x, case.kernel, case.dilation, case.window, ceil_mode), {}, *traits)


@st.composite
def _average(draw: st.DrawFn) -> Example:
    case, ceil_mode, counted = draw(_geometries(pooling=True)), draw(st.booleans()), draw(st.booleans())
    x, (_, stride, pads) = draw(_seeds).standard_normal(case.x_shape), case.window.explicit
    seen = oracles.window_places(case.x_shape[2:], case.kernel, stride, pads, ceil_mode, case.dilation)
    assume(counted or all(inside for inside, _ in seen.values()))
    traits = [*case.traits, *(["ceil_mode"] if ceil_mode else []), *_overlap(case.kernel, stride)]
    traits += ["padding counts"] if counted else []

    def make() -> Layer:
        more = {"ceil_mode": ceil_mode, "count_include_pad": counted, "dilation": case.dilation}
        return AvgPool2D(case.kernel, stride, case.window.padding, **more)

    expected = oracles.avgpool2d(x, case.kernel, stride, pads, ceil_mode, counted, case.dilation)
    return _of_layer(make, x, expected, {}, *traits)


@st.composite
def _conv_pool(draw: st.DrawFn) -> Example:
    case = draw(_geometries())
    (options, state, plain), x = draw(_filters(case)), draw(_seeds).standard_normal(case.x_shape)
    z = oracles.conv2d(x, plain, state.get("bias"), *case.window.explicit[1:])
    kernel = tuple(draw(st.integers(1, min(3, size))) for size in z.shape[2:])
    stride = draw(st.sampled_from([kernel, (draw(_few), draw(_few))]))
    pads = draw(st.sampled_from([((0, 0), (0, 0)), tuple((draw(st.integers(0, k - 1)), k - 1) for k in kernel)]))
    ceil_mode = draw(st.booleans())
    expected = _pooled(z, kernel, (1, 1), Window(z.shape, kernel, stride, pads), ceil_mode)

    def make() -> Layer:
        return Sequential(conv=_conv2d(case, options, len(plain)), pool=MaxPool2D(kernel, stride, pads, ceil_mode))

    traits = [*case.traits, *(["ceil_mode"] if ceil_mode else []), *_overlap(kernel, stride)]
    traits += ["groups"] if options["groups"] > 1 else []
    return _of_layer(make, x, expected, {f"conv.{name}": value for name, value in state.items()}, *traits)


_norm_shapes = st.one_of(
    st.tuples(_few, _few, st.integers(1, 5), st.integers(1, 5)), st.tuples(st.integers(1, 6), _few)
)


@st.composite
def _norm(draw: st.DrawFn, training: bool, relu: bool = False) -> Example:
    shape, eps, rng = draw(_norm_shapes), draw(st.sampled_from([1e-5, 1e-3, 0.1])), draw(_seeds)
    x, c = rng.standard_normal(shape) + rng.uniform(-3, 3), shape[1]
    mean, var = oracles.mean_and_variance(x)
    if training:  # of a few numbers, or of numbers that are nearly the same, hardly more than rounding comes back
        assume(x.size > 3 * c and float(var.min()) > 0.1)
    state = {
        "weight": rng.standard_normal(c),
        "bias": rng.standard_normal(c),
        "running_mean": rng.standard_normal(c),
        "running_var": rng.uniform(0.2, 3.0, c),
    }
    used = (mean, var) if training else (state["running_mean"], state["running_var"])
    z = oracles.batchnorm(x, state["weight"], state["bias"], *used, eps)

    def make() -> Layer:
        norm = BatchNorm(c, eps=eps, dtype="float64")
        return Sequential(bn=norm, relu=ReLU()) if relu else norm

    if relu:
        state = {f"bn.{name}": value for name, value in state.items()}
        z = np.maximum(_away_from_0(z), 0.0)
    return _of_layer(make, x, z, state, "2-D" if len(shape) == 2 else "4-D", training=training)


@st.composite
def _linear(draw: st.DrawFn, relu: bool = False) -> Example:
    n, inputs, outputs = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    bias, rng = draw(st.booleans()), draw(_seeds)
    x, state = rng.standard_normal((n, inputs)), {"weight": rng.standard_normal((outputs, inputs))}
    state |= {"bias": rng.standard_normal(outputs)} if bias else {}
    z = oracles.linear(x, state["weight"], state.get("bias"))

    def make() -> Layer:
        linear = Linear(inputs, outputs, bias, dtype="float64")
        return Sequential(fc=linear, relu=ReLU()) if relu else linear

    if relu:
        state = {f"fc.{name}": value for name, value in state.items()}
        z = np.maximum(_away_from_0(z), 0.0)
    return _of_layer(make, x, z, state)


_shapes = st.one_of(st.tuples(_few, _few, st.integers(1, 5), st.integers(1, 5)), st.tuples(st.integers(1, 6), _few))


@st.composite
def _elementwise(draw: st.DrawFn, make: Callable[[], Layer], oracle: Callable[[np.ndarray], np.ndarray]) -> Example:
    x = _grid(draw(_seeds), draw(_shapes))
    return _of_layer(make, x, oracle(x), {})


@st.composite
def _dropout(draw: st.DrawFn, training: bool) -> Example:
    """What is dropped is an oracle's to say."""
    x, seed, p = (
        draw(_seeds).standard_normal(draw(_shapes)),
        draw(st.integers(0, 2**32)),
        draw(st.sampled_from([0.1, 0.5, 0.9])),
    )
    expected = x * oracles.dropout_factor(x.shape, p, Dropout(p, rng=seed)._seed, 0) if training else x
    return _of_layer(lambda: Dropout(p, rng=seed), x, expected, {}, training=training)


@st.composite
def _global_average(draw: st.DrawFn) -> Example:
    x = draw(_seeds).standard_normal(draw(st.tuples(_few, _few, st.integers(1, 5), st.integers(1, 5))))
    expected = oracles.avgpool2d(x, x.shape[2:], (1, 1), ((0, 0), (0, 0)), False, True)
    return _of_layer(GlobalAvgPool2D, x, expected, {})


@st.composite
def _permute(draw: st.DrawFn) -> Example:
    x = _grid(draw(_seeds), draw(_shapes))
    axes = (0, *draw(st.permutations(range(1, x.ndim))))
    return _of_layer(lambda: Permute(axes), x, np.moveaxis(x, axes, range(x.ndim)), {})


@st.composite
def _softmax(draw: st.DrawFn, kind: type[Layer], oracle: Callable[[np.ndarray, int], np.ndarray]) -> Example:
    rng, shape = draw(_seeds), draw(_shapes)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    x = rng.standard_normal(shape) * draw(st.sampled_from([1.0, 5.0]))
    return _of_layer(lambda: kind(axis), x, oracle(x, axis), {})  # type: ignore[call-arg]


@st.composite
def _loss(draw: st.DrawFn, kind: type[Any], checked: bool = False) -> Example:
    """With labels at each place of an image, too."""
    n, k, rng = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(_seeds)
    place = draw(st.sampled_from([(), (), (2,), (3, 2)]))
    scores = rng.standard_normal((n, k, *place)) * draw(st.sampled_from([1.0, 5.0]))
    labels = rng.integers(k, size=(n, *place))
    options = {
        "weight": draw(st.sampled_from([None, tuple(rng.uniform(0.1, 2.0, k))])),
        "ignore_index": draw(st.sampled_from([None, -1, 0])),
        "reduction": draw(st.sampled_from(["mean", "mean", "sum", "none"])),
    }
    if options["ignore_index"] == -1:
        labels[rng.random(labels.shape) < 0.3] = -1
    assume(np.any(labels != options["ignore_index"]))  # of none there is no mean

    def forward(scores: Any) -> tuple[Any, Any]:
        loss = kind(**options)
        return loss.forward(scores, to_device(labels, like=scores), labels_checked=checked), loss

    def backward(dloss: Any, loss: Any) -> dict[str, Any]:
        return {"scores": loss.backward(dloss)}

    logarithms = scores if kind is NLLLoss else oracles.log_softmax(scores, 1)
    expected = np.asarray(oracles.nll_loss(logarithms, labels, *options.values()))
    has = {"batch 1": n == 1, "places": place} | {
        f"{name} {value}": True for name, value in options.items() if name != "weight"
    }
    has["weight"] = options["weight"] is not None
    traits = frozenset(name for name, true in has.items() if true)
    return Example(f"{kind(**options)!r} on {scores.shape}", forward, backward, {"scores": scores}, expected, traits)


EXAMPLES: dict[str, st.SearchStrategy[Example]] = {
    "Conv2D by rows": _conv("rows"),
    "Conv2D by img2col": _conv("img2col"),
    "MaxPool2D": _pool(),
    "Conv2D and MaxPool2D": _conv_pool(),
    "BatchNorm in training": _norm(True),
    "BatchNorm in evaluation": _norm(False),
    "BatchNorm and ReLU in training": _norm(True, relu=True),
    "BatchNorm and ReLU in evaluation": _norm(False, relu=True),
    "Linear": _linear(),
    "Linear and ReLU": _linear(relu=True),
    "ReLU": _elementwise(ReLU, lambda x: np.maximum(x, 0.0)),
    "AvgPool2D": _average(),
    "GlobalAvgPool2D": _global_average(),
    "Tanh": _elementwise(Tanh, lambda x: np.array([math.tanh(v) for v in x.ravel()]).reshape(x.shape)),
    "Sigmoid": _elementwise(Sigmoid, oracles.sigmoid),
    "Dropout in training": _dropout(True),
    "Dropout in evaluation": _dropout(False),
    "Reshape": _elementwise(lambda: Reshape((1, -1)), lambda x: x.reshape(len(x), 1, -1)),
    "Permute": _permute(),
    "Flatten": _elementwise(Flatten, lambda x: x.reshape(len(x), -1)),
    "Softmax": _softmax(Softmax, oracles.softmax),
    "LogSoftmax": _softmax(LogSoftmax, oracles.log_softmax),
    "NLLLoss": _loss(NLLLoss),
    "SoftmaxCrossEntropy": _loss(SoftmaxCrossEntropy),
    "SoftmaxCrossEntropy, labels checked": _loss(SoftmaxCrossEntropy, checked=True),
}
