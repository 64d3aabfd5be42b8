"""What each operator of ONNX becomes: a layer, nothing, or a bias of the layer before.

What is wrong is a ValueError, whose text goes into the DataError of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backend import to_host
from ..errors import shown
from ..functional.windows import windows_over
from ..layers import (
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
    Permute,
    ReLU,
    Reshape,
    Sigmoid,
    Softmax,
    Tanh,
)
from .onnx_values import ANY, Attributes, whole_numbers
from .shapes import Shape, flat, output_shape, windows_of

# What some bytes of a file may ask for: numbers of one x, its padding included, and pixels that a window
# sees or steps over.
MOST_NUMBERS, _MOST_SEEN = 1 << 28, 1 << 16

X = object()  # stands for what comes along the chain, between the constants among a node's inputs


class Node(NamedTuple):
    """An operator of the chain.

    Attributes:
        operator: its type.
        label: the name that its layer would like.
        inputs: `X` once, constants, and None for what is left out.
        attributes: to be asked for.
    """

    operator: str
    label: str
    inputs: list[Any]
    attributes: Attributes

    def constants(self, least: int, most: int) -> list[Any]:
        """Return the inputs behind the first one, which must be what comes along the chain, filled up with None."""
        if self.inputs[0] is not X:
            raise ValueError("its first input is a constant; the network's own values belong there")
        rest = self.inputs[1:]
        if not least <= len(rest) <= most or any(array is None for array in rest[:least]):
            raise ValueError(f"{len(rest)} inputs behind the first one")
        return rest + [None] * (most - len(rest))


class Chain:
    """The layers so far, and what comes out of the last one.

    Attributes:
        shape: of one x.
        batch: how many x the file was made for; None for any number.
        dtype: of all numbers.
        opset: version of the operators.
        layers: with the names that they would like.
    """

    def __init__(self, shape: Shape, batch: int | None, dtype: str, opset: int) -> None:
        self.shape, self.batch, self.dtype, self.opset = shape, batch, dtype, opset
        self.layers: list[tuple[str, Layer]] = []

    def append(self, label: str, layer: Layer) -> None:
        """Add a layer, which must take what comes out of the one before it."""
        if isinstance(layer, Conv2D | MaxPool2D | AvgPool2D):
            _check_size(layer, self.shape)
        self.shape = output_shape(layer, self.shape)
        if math.prod(self.shape) > MOST_NUMBERS:
            raise ValueError(f"its result has {math.prod(self.shape):,} numbers for each x, more than {MOST_NUMBERS:,}")
        self.layers.append((label, layer))

    def axis(self, axis: int) -> int:
        """Return an axis, counted from the batch, which is axis 0."""
        rank = len(self.shape) + 1
        if not -rank <= axis < rank:
            raise ValueError(f"axis {axis} of {rank}")
        return axis % rank

    def numbers(self, array: Any) -> Any:
        """Return a constant that goes into a layer."""
        if array.dtype != self.dtype:
            raise ValueError(f"{array.dtype} numbers beside {self.dtype} ones")
        return array


def _check_size(layer: Any, shape: Shape) -> None:
    if len(shape) == 3:  # what else it is, output_shape refuses
        windows = windows_of(layer, shape)
        padded = shape[0] * math.prod(n + sum(ends) for n, ends in zip(windows.size, windows.padding, strict=True))
        if padded > MOST_NUMBERS or max(math.prod(layer.kernel), *layer.stride) > _MOST_SEEN:
            raise ValueError(
                f"kernel {layer.kernel}, stride {layer.stride} and padding {windows.padding}, which no network has"
            )


# ==== convolution and what is like it ====


def _conv(chain: Chain, node: Node) -> None:
    weight, bias = node.constants(1, 2)
    if weight.ndim != 4 or len(chain.shape) != 3:
        raise ValueError(f"a convolution of {weight.ndim - 2} dimensions; images have two")
    kernel = weight.shape[2:]
    if node.attributes.wholes("kernel_shape", kernel) != kernel:
        raise ValueError(f"kernel_shape is another one than that of the weight, {kernel}")
    groups = node.attributes.whole("group", 1)
    stride, dilation, padding = _windows(chain, node, kernel)
    layer = Conv2D(
        weight.shape[1] * groups, weight.shape[0], kernel, stride, padding, dilation=dilation, groups=groups,
        bias=bias is not None, rng=0, dtype=chain.dtype,
    )  # fmt: skip
    chain.append(node.label, _filled(chain, layer, weight=weight, bias=bias))


def _filled(chain: Chain, layer: Layer, **arrays: Any) -> Layer:
    state = {name: chain.numbers(array) for name, array in arrays.items() if array is not None}
    return layer.load_state_dict(state)


def _windows(chain: Chain, node: Node, kernel: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Return stride, dilation and padding of windows over images."""
    take, (h, w) = node.attributes, chain.shape[1:]
    stride, dilation = take.wholes("strides", (1, 1), 2), take.wholes("dilations", (1, 1), 2)
    top, left, bottom, right = pads = take.wholes("pads", (0, 0, 0, 0), 4)
    auto = take.text("auto_pad", "NOTSET")
    if auto != "NOTSET" and any(pads):
        raise ValueError(f"auto_pad {shown(auto)} and pads {pads}")
    if auto in ("SAME_UPPER", "VALID"):
        return stride, dilation, auto.removesuffix("_UPPER")
    if auto == "SAME_LOWER":  # what is odd goes to the top and the left
        (top, bottom), (left, right) = windows_over((h, w), kernel, stride, "SAME", dilation).padding
        return stride, dilation, ((bottom, top), (right, left))
    if auto != "NOTSET":
        raise ValueError(f"auto_pad is {shown(auto)}")
    return stride, dilation, top if len(set(pads)) == 1 else ((top, bottom), (left, right))


def _pool(chain: Chain, node: Node) -> dict[str, Any]:
    """Return the arguments of both poolings."""
    node.constants(0, 0)
    if len(chain.shape) != 3:
        raise ValueError(f"pooling of {len(chain.shape) - 1} dimensions; images have two")
    kernel = node.attributes.wholes("kernel_shape", (), 2)
    stride, dilation, padding = _windows(chain, node, kernel)
    ceil_mode = bool(node.attributes.whole("ceil_mode")) and padding != "SAME"  # which fits anyway
    return {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding, "ceil_mode": ceil_mode}


def _maxpool(chain: Chain, node: Node) -> None:
    node.attributes.whole("storage_order")  # of the second output, which nobody uses
    chain.append(node.label, MaxPool2D(**_pool(chain, node)))


def _avgpool(chain: Chain, node: Node) -> None:
    count_include_pad = bool(node.attributes.whole("count_include_pad"))
    chain.append(node.label, AvgPool2D(**_pool(chain, node), count_include_pad=count_include_pad))


def _mean(chain: Chain, node: Node) -> None:
    """Of whole channels, as some exporters write a global average. Up to opset 17 the axes are an attribute."""
    (given,) = node.constants(0, 1)
    named = whole_numbers(given) if given is not None else node.attributes.wholes("axes", ())
    node.attributes.whole("noop_with_empty_axes")
    if len(chain.shape) != 3 or sorted(map(chain.axis, named)) != [2, 3]:
        raise ValueError(f"over axes {shown(list(named))}; what there is, is the mean of whole channels, axes 2 and 3")
    chain.append(node.label, GlobalAvgPool2D())
    if not node.attributes.whole("keepdims", 1):
        chain.append(f"{node.label}_flat", Flatten())


# ==== matrices, biases, normalisation ====


def _matmul(chain: Chain, node: Node) -> None:
    (weight,) = node.constants(1, 1)
    _linear(chain, node, weight, None)


def _gemm(chain: Chain, node: Node) -> None:
    weight, bias = node.constants(1, 2)
    take = node.attributes
    if take.whole("transA"):
        raise ValueError("transA; the batch is the first axis")
    alpha, beta = take.real("alpha", 1.0), take.real("beta", 1.0)
    weight = weight.T if take.whole("transB") else weight
    with np.errstate(all="ignore"):  # the layer refuses what is not finite
        weight = weight if alpha == 1.0 else alpha * weight
        bias = bias if bias is None or beta == 1.0 else beta * bias
    _linear(chain, node, weight, bias)


def _linear(chain: Chain, node: Node, weight: Any, bias: Any) -> None:
    """Add a product with `weight` (IN, OUT)."""
    if weight.ndim != 2 or len(chain.shape) != 1:
        raise ValueError(f"a product of arrays of {len(chain.shape) + 1} and {weight.ndim} axes; a Linear has two")
    layer = Linear(weight.shape[0], weight.shape[1], bias=False, rng=0, dtype=chain.dtype)
    chain.append(node.label, _filled(chain, layer, weight=weight.T))
    if bias is not None and not _joins_bias(chain, bias):
        raise ValueError(f"a bias of shape {bias.shape}, not ({weight.shape[1]},)")


def _add(chain: Chain, node: Node) -> None:
    constants = [array for array in node.inputs if array is not X]
    if len(constants) != 1 or constants[0] is None:
        raise ValueError("not one constant beside the network's own values")
    if not _joins_bias(chain, constants[0]):
        raise ValueError(
            f"a constant of shape {constants[0].shape} that is no bias of the Conv, Gemm or MatMul before it"
        )


def _joins_bias(chain: Chain, array: Any) -> bool:
    """Add `array` to the bias of the last layer, if it is a number for each channel or feature."""
    rank = len(chain.shape) + 1
    sizes = (1,) * (rank - array.ndim) + array.shape
    axis = next((i for i, size in enumerate(sizes) if size != 1), 1)
    if len(sizes) != rank or array.size != sizes[axis]:
        return False
    behind: list[Any] = [layer for _, layer in chain.layers]
    while behind and isinstance(behind[-1], Permute):  # channels last: look for where they come from
        axis = behind.pop().axes[axis]
    layer = behind[-1] if behind else None
    if not isinstance(layer, Conv2D | Linear) or (axis != 1 and array.size > 1):
        return False
    count = layer.params["weight"].shape[0]
    if array.size not in (1, count):
        return False
    bias = np.broadcast_to(chain.numbers(array).reshape(-1), (count,))
    before = layer.state_dict()
    if "bias" in before:
        with np.errstate(all="ignore"):  # the layer refuses what is not finite
            bias = to_host(before["bias"]) + bias
        layer.load_state_dict(before | {"bias": bias})
    else:
        layer._add_parameter("bias", bias.copy())
        layer.load_state_dict(before | {"bias": bias})  # which looks whether it is finite
    return True


def _batchnorm(chain: Chain, node: Node) -> None:
    weight, bias, mean, var = node.constants(4, 4)
    take = node.attributes
    if take.whole("spatial", 1) != 1 or take.whole("training_mode"):
        raise ValueError("spatial=0 or training_mode=1; one mean for each channel, in evaluation, is what there is")
    if weight.ndim != 1 or not (var >= 0).all():
        raise ValueError(f"weights of shape {weight.shape} and variances that must not be negative")
    layer = BatchNorm(len(weight), take.real("momentum", 0.9), take.real("epsilon", 1e-5), dtype=chain.dtype)
    chain.append(node.label, _filled(chain, layer, weight=weight, bias=bias, running_mean=mean, running_var=var))


# ==== shapes ====


def _reshape(chain: Chain, node: Node) -> None:
    (target,) = node.constants(1, 1)
    sizes, before = whole_numbers(target), (ANY, *chain.shape)
    if 0 in sizes and node.attributes.whole("allowzero"):
        raise ValueError("to a shape with allowzero, which leaves nothing")
    node.attributes.whole("allowzero")
    if sizes[len(before) :].count(0) or any(size < -1 for size in sizes[1:]):
        raise ValueError(f"to shape {shown(sizes)}")
    first, *rest = (before[i] if size == 0 else size for i, size in enumerate(sizes)) if sizes else (None,)
    # Each x stays what it is: either the batch is copied or left open, or it is the one that the file was made for.
    if not rest or (-1 in rest and first not in (ANY, chain.batch)):
        raise ValueError(f"to shape {shown(sizes)}, which mixes the images of a batch of {chain.batch or 'any size'}")
    _reshaped(chain, node.label, tuple(rest))


def _reshaped(chain: Chain, label: str, target: Shape) -> None:
    target = flat("Reshape", chain.shape, target)
    if target != chain.shape:
        chain.append(label, Flatten() if len(target) == 1 else Reshape(target))


def _flatten(chain: Chain, node: Node) -> None:
    node.constants(0, 0)
    axis = chain.axis(node.attributes.whole("axis", 1))
    if axis < 1 or math.prod(chain.shape[: axis - 1]) != 1:
        raise ValueError(f"at axis {axis}, which mixes the images of a batch")
    chain.append(node.label, Flatten())


def _transpose(chain: Chain, node: Node) -> None:
    node.constants(0, 0)
    axes = node.attributes.wholes("perm", tuple(reversed(range(len(chain.shape) + 1))))
    if axes[:1] != (0,) or sorted(axes) != list(range(len(chain.shape) + 1)):
        raise ValueError(f"by {shown(axes)}; the batch stays the first of {len(chain.shape) + 1} axes")
    if axes == tuple(range(len(axes))):
        return
    last = chain.layers[-1][1] if chain.layers else None
    if isinstance(last, Permute) and tuple(last.axes[axis] for axis in axes) == tuple(range(len(axes))):
        chain.layers.pop()  # there and back
        chain.shape = tuple(chain.shape[axis - 1] for axis in axes[1:])
    else:
        chain.append(node.label, Permute(axes))


def _squeeze(chain: Chain, node: Node) -> None:
    (given,) = node.constants(0, 1)
    named = whole_numbers(given) if given is not None else node.attributes.wholes("axes")
    if named is None:
        raise ValueError("of all axes, the batch among them")
    axes = {chain.axis(axis) for axis in named}
    if 0 in axes or any(chain.shape[axis - 1] != 1 for axis in axes):
        raise ValueError(f"of axes {shown(sorted(axes))} of x of {chain.shape} each")
    _reshaped(chain, node.label, tuple(size for axis, size in enumerate(chain.shape, 1) if axis not in axes))


# ==== the rest ====


def _softmax(chain: Chain, node: Node, kind: type[Softmax | LogSoftmax]) -> None:
    node.constants(0, 0)
    axis = chain.axis(node.attributes.whole("axis", -1 if chain.opset >= 13 else 1))
    if axis == 0:
        raise ValueError("over the batch")
    shape, behind = chain.shape, math.prod(chain.shape[axis:])
    if chain.opset >= 13 or behind == 1:
        chain.append(node.label, kind(axis))
        return
    # Up to opset 12 all axes from this one on are one.
    _reshaped(chain, f"{node.label}_flat", (*shape[: axis - 1], shape[axis - 1] * behind))
    chain.append(node.label, kind(-1))
    _reshaped(chain, f"{node.label}_back", shape)


def _dropout(chain: Chain, node: Node) -> None:
    given, training = node.constants(0, 2)
    if training is not None and training.any():
        raise ValueError("training_mode; in evaluation it does nothing")
    node.attributes.whole("seed")
    ratio = node.attributes.real("ratio", 0.5)
    if given is not None:
        if given.size != 1:
            raise ValueError(f"{given.size} ratios")
        ratio = float(str(given.reshape(())))  # 0.4, and not 0.4000000059604645
    if ratio:
        chain.append(node.label, Dropout(ratio, rng=len(chain.layers)))  # each its own seed, the same every time


def _cast(chain: Chain, node: Node) -> None:
    node.constants(0, 0)
    kind = {"float32": 1, "float64": 11}[chain.dtype]
    if node.attributes.whole("to") != kind:
        raise ValueError(f"of {chain.dtype} to another type")


def _pad(chain: Chain, node: Node) -> None:
    """Nothing: PyTorch writes paddings of nothing in front of poolings. Up to opset 10 all but x are attributes."""
    given, *_ = node.constants(0, 3)
    node.attributes.text("mode", "constant")
    node.attributes.real("value", 0.0)
    pads = node.attributes.wholes("pads", ()) if given is None else whole_numbers(given)
    if any(pads):
        raise ValueError(f"by {shown(pads)}; padding belongs into the Conv or the pooling behind it")


def _plain(kind: type[Layer]) -> Callable[[Chain, Node], None]:
    def add(chain: Chain, node: Node) -> None:
        node.constants(0, 0)
        chain.append(node.label, kind())

    return add


OPERATORS: dict[str, Callable[[Chain, Node], None]] = {
    "Add": _add,
    "AveragePool": _avgpool,
    "BatchNormalization": _batchnorm,
    "Cast": _cast,
    "Conv": _conv,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(GlobalAvgPool2D),
    "Identity": lambda chain, node: None,
    "LogSoftmax": lambda chain, node: _softmax(chain, node, LogSoftmax),
    "MatMul": _matmul,
    "MaxPool": _maxpool,
    "Pad": _pad,
    "ReduceMean": _mean,
    "Relu": _plain(ReLU),
    "Reshape": _reshape,
    "Sigmoid": _plain(Sigmoid),
    "Softmax": lambda chain, node: _softmax(chain, node, Softmax),
    "Squeeze": _squeeze,
    "Tanh": _plain(Tanh),
    "Transpose": _transpose,
}
