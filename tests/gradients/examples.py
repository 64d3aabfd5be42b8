"""Configurations of every layer, drawn by Hypothesis: what goes in, what an oracle says comes out, and no kink near.

A new option of a layer is one more line in its strategy, and in its oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from tests import oracles
from tests.functional.cases import Window, pads_of
from xlenet import (
    BatchNorm,
    Conv2D,
    Flatten,
    Layer,
    Linear,
    MaxPool2D,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
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


@st.composite
def _windows(draw: st.DrawFn, pooling: bool = False) -> Window:
    """A batch of images and how a window slides over it. Padding of a pooling is less than its kernel."""
    kernel, stride = (draw(st.integers(1, 4)), draw(st.integers(1, 4))), (draw(_few), draw(_few))
    n, c = draw(_few), draw(_few)
    if draw(st.integers(0, 7)) == 0:
        return Window((n, c, *kernel), kernel, stride, 0)
    most = [k - 1 if pooling else 2 for k in kernel]
    sides = [(draw(st.integers(0, m)), draw(st.integers(0, m))) for m in most]
    same_on_both = tuple(side[0] for side in sides)
    padding = draw(st.sampled_from(["SAME", "VALID", min(same_on_both), same_on_both, tuple(sides)]))
    begin = [0, 0] if isinstance(padding, str) else [sum(side) for side in pads_of(padding, kernel, kernel, stride)]
    # "SAME" fits over any image.
    least = [1 if padding == "SAME" else max(1, k - p) for k, p in zip(kernel, begin, strict=True)]
    h, w = (draw(st.integers(low, k + 5)) for low, k in zip(least, kernel, strict=True))
    return Window((n, c, h, w), kernel, stride, padding)


def _traits(case: Window) -> list[str]:
    pads = case.explicit[2]
    has = {
        "stride": case.stride != (1, 1),
        "padding": pads != ((0, 0), (0, 0)),
        "uneven padding": pads[0][0] != pads[0][1] or pads[1][0] != pads[1][1],
        "kernel = input": case.x_shape[2:] == case.kernel,
        "kernel not square": case.kernel[0] != case.kernel[1],
    }
    return [name for name, true in has.items() if true]


def _overlap(kernel: Any, stride: Any) -> list[str]:
    return ["overlap"] if any(k > s for k, s in zip(kernel, stride, strict=True)) else []


def _away_from_0(z: np.ndarray) -> np.ndarray:
    assume(float(np.abs(z).min()) > MARGIN)
    return z


def _one_winner(z: np.ndarray, kernel: Any, stride: Any, pads: oracles.Pads, ceil_mode: bool) -> np.ndarray:
    """Return z, where in each window the largest number is larger than the next by a margin."""
    (oh, ow), (h, w) = oracles.out_size(z.shape[2:], kernel, stride, pads, ceil_mode), z.shape[2:]
    (top, _), (left, _) = pads
    bottom, right = (
        max(0, (oh - 1) * stride[0] + kernel[0] - top - h),
        max(0, (ow - 1) * stride[1] + kernel[1] - left - w),
    )
    padded = np.pad(z, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=-np.inf)
    seen = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))[:, :, :: stride[0], :: stride[1]]
    values = np.sort(seen[:, :, :oh, :ow].reshape(*z.shape[:2], oh, ow, -1), axis=-1)
    if values.shape[-1] > 1:
        assume(float((values[..., -1] - values[..., -2]).min()) > MARGIN)
    return z


# ==== layers ====


def _conv_state(rng: np.random.Generator, case: Window, filters: int, bias: bool) -> dict[str, np.ndarray]:
    state = {"weight": rng.standard_normal((filters, case.x_shape[1], *case.kernel))}
    return state | ({"bias": rng.standard_normal(filters)} if bias else {})


@st.composite
def _conv(draw: st.DrawFn, lowering: str) -> Example:
    case, filters, bias, rng = draw(_windows()), draw(st.integers(1, 4)), draw(st.booleans()), draw(_seeds)
    x, state = rng.standard_normal(case.x_shape), _conv_state(rng, case, filters, bias)

    def make() -> Layer:
        return Conv2D(
            case.x_shape[1],
            filters,
            case.kernel,
            case.stride,
            case.padding,
            bias=bias,
            lowering=lowering,
            dtype="float64",
        )

    expected = oracles.conv2d(x, state["weight"], state.get("bias"), *case.explicit[1:])
    return _of_layer(make, x, expected, state, *_traits(case))


@st.composite
def _pool(draw: st.DrawFn) -> Example:
    case, ceil_mode, rng = draw(_windows(pooling=True)), draw(st.booleans()), draw(_seeds)
    x = _grid(rng, case.x_shape)
    expected, _ = oracles.maxpool2d(x, *case.explicit, ceil_mode)
    traits = [*_traits(case), *(["ceil_mode"] if ceil_mode else [])]
    traits += _overlap(case.kernel, case.stride)
    return _of_layer(lambda: MaxPool2D(case.kernel, case.stride, case.padding, ceil_mode), x, expected, {}, *traits)


@st.composite
def _conv_pool(draw: st.DrawFn) -> Example:
    case, filters, bias, rng = draw(_windows()), draw(_few), draw(st.booleans()), draw(_seeds)
    kernel = tuple(draw(st.integers(1, min(3, size))) for size in case.out_size)
    stride = draw(st.sampled_from([kernel, (draw(_few), draw(_few))]))
    pads = draw(st.sampled_from([((0, 0), (0, 0)), tuple((draw(st.integers(0, k - 1)), k - 1) for k in kernel)]))
    ceil_mode = draw(st.booleans())
    x, state = rng.standard_normal(case.x_shape), _conv_state(rng, case, filters, bias)

    def make() -> Layer:
        conv = Conv2D(case.x_shape[1], filters, case.kernel, case.stride, case.padding, bias=bias, dtype="float64")
        return Sequential(conv=conv, pool=MaxPool2D(kernel, stride, pads, ceil_mode))

    z = oracles.conv2d(x, state["weight"], state.get("bias"), *case.explicit[1:])
    expected, _ = oracles.maxpool2d(_one_winner(z, kernel, stride, pads, ceil_mode), kernel, stride, pads, ceil_mode)
    traits = [*_traits(case), *(["ceil_mode"] if ceil_mode else []), *_overlap(kernel, stride)]
    return _of_layer(make, x, expected, {f"conv.{name}": value for name, value in state.items()}, *traits)


_norm_shapes = st.one_of(
    st.tuples(_few, _few, st.integers(1, 5), st.integers(1, 5)), st.tuples(st.integers(1, 6), _few)
)


@st.composite
def _norm(draw: st.DrawFn, training: bool, relu: bool = False) -> Example:
    shape, eps, rng = draw(_norm_shapes), draw(st.sampled_from([1e-5, 1e-3, 0.1])), draw(_seeds)
    x, c = rng.standard_normal(shape) + rng.uniform(-3, 3), shape[1]
    mean, var = oracles.mean_and_variance(x)
    if training:  # of two numbers, or of numbers that are nearly the same, hardly more than rounding comes back
        assume(x.size > 2 * c and float(var.min()) > 0.05)
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
def _loss(draw: st.DrawFn, checked: bool) -> Example:
    n, k, rng = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(_seeds)
    logits = rng.standard_normal((n, k)) * draw(st.sampled_from([1.0, 5.0]))
    labels = rng.integers(k, size=n)

    def forward(logits: Any) -> tuple[Any, SoftmaxCrossEntropy]:
        loss = SoftmaxCrossEntropy()
        return loss.forward(logits, to_device(labels, like=logits), labels_checked=checked), loss

    def backward(dloss: Any, loss: SoftmaxCrossEntropy) -> dict[str, Any]:
        return {"logits": loss.backward(dloss)}

    expected = np.array(oracles.softmax_cross_entropy(logits, labels))
    traits = frozenset(["batch 1"] if n == 1 else [])
    return Example(f"SoftmaxCrossEntropy on {logits.shape}", forward, backward, {"logits": logits}, expected, traits)


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
    "Flatten": _elementwise(Flatten, lambda x: x.reshape(len(x), -1)),
    "SoftmaxCrossEntropy": _loss(checked=False),
    "SoftmaxCrossEntropy, labels checked": _loss(checked=True),
}
