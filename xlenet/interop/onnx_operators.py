"""What each operator of ONNX becomes: a layer, nothing, or a part of the layer before or behind it.

What is wrong is a ValueError, whose text goes into the DataError of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..checks import integer
from ..errors import shown
from ..functional.conv2d import check_groups
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
from .onnx_chain import Chain, Node, Product, X
from .onnx_values import ANY, dtype_of, whole_numbers
from .shapes import Shape, flat, windows_of

# ==== convolution and what is like it ====


def _conv(chain: Chain, node: Node) -> None:
    weight, bias = node.constants(1, 2)
    if weight.ndim != 4 or len(chain.shape) != 3:
        raise ValueError(f"a convolution of {weight.ndim - 2} dimensions; images have two")
    out, share, *kernel = weight.shape
    if node.attributes.take("kernel_shape", tuple(kernel)) != tuple(kernel):
        raise ValueError(f"kernel_shape is another one than that of the weight, {tuple(kernel)}")
    groups = integer("Conv", "groups", node.attributes.take("group", 1), 1)
    check_groups("Conv", groups, out, "filters")
    if chain.shape[0] != share * groups:
        raise ValueError(f"got x of {chain.shape} each; expected ({share * groups}, H, W); look at the layer before")
    stride, dilation, padding = _windows(chain, node, tuple(kernel))
    windows = chain.windows(kernel, stride, padding, dilation)
    make = partial(Conv2D, share * groups, out, tuple(kernel), stride, padding, dilation=dilation, groups=groups)
    chain.multiply(node, Product(make, weight, bias), (out, *windows.out))


def _windows(chain: Chain, node: Node, kernel: Any) -> tuple[Any, Any, Any]:
    """Return stride, dilation and padding of windows over images; a Pad in front of them is part of their padding."""
    take, size = node.attributes.take, chain.padded[1:]
    stride, dilation = take("strides", (1, 1)), take("dilations", (1, 1))
    top, left, bottom, right = pads = take("pads", (0, 0, 0, 0))
    auto = take("auto_pad", "NOTSET")
    if auto != "NOTSET" and any(pads):
        raise ValueError(f"auto_pad {shown(auto)} and pads {pads}")
    if auto in ("SAME_UPPER", "VALID") and not any(chain.pads):
        return stride, dilation, auto.removesuffix("_UPPER")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        (top, bottom), (left, right) = windows_over((size[0], size[1]), kernel, stride, "SAME", dilation).padding
        if auto == "SAME_LOWER":  # what is odd goes to the top and the left
            top, left, bottom, right = bottom, right, top, left
    elif auto not in ("NOTSET", "VALID"):
        raise ValueError(f"auto_pad is {shown(auto)}")
    if min(pads) < 0:
        raise ValueError(f"pads are {shown(pads)}; expected none below 0")
    top, left, bottom, right = pads = tuple(map(sum, zip((top, left, bottom, right), chain.pads, strict=True)))
    return stride, dilation, top if len(set(pads)) == 1 else ((top, bottom), (left, right))


def _pool(chain: Chain, node: Node) -> dict[str, Any]:
    """Return the arguments of both poolings."""
    node.constants(0, 0)
    if len(chain.shape) != 3:
        raise ValueError(f"pooling of {len(chain.shape) - 1} dimensions; images have two")
    kernel = node.attributes.take("kernel_shape", ())
    if len(kernel) != 2:
        raise ValueError(f"attribute kernel_shape has {len(kernel)} numbers, not 2")
    stride, dilation, padding = _windows(chain, node, kernel)
    ceil_mode = bool(node.attributes.take("ceil_mode", 0)) and padding != "SAME"  # which fits anyway
    chain.windows(kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    return {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding, "ceil_mode": ceil_mode}


def _maxpool(chain: Chain, node: Node) -> None:
    node.attributes.take("storage_order", 0)  # of the second output, which nobody uses
    _pooled(chain, node, MaxPool2D(**_pool(chain, node)))


def _avgpool(chain: Chain, node: Node) -> None:
    count_include_pad = bool(node.attributes.take("count_include_pad", 0))
    how = _pool(chain, node)
    if any(chain.pads):  # zeros of a Pad are counted, those of the pooling itself as it says
        own = node.attributes.take("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or any(
            node.attributes.take("pads", (0,) * 4)
        )
        if how["ceil_mode"] or (own and not count_include_pad):
            raise ValueError("behind a Pad, with ceil_mode or padding of its own that does not count")
        chain.pads, count_include_pad = (0,) * 4, True
    _pooled(chain, node, AvgPool2D(**how, count_include_pad=count_include_pad))


def _pooled(chain: Chain, node: Node, layer: Layer) -> None:
    chain.append(node.label, layer, (chain.shape[0], *windows_of(layer, chain.shape).out))


def _global_average(chain: Chain, node: Node) -> None:
    node.constants(0, 0)
    if len(chain.shape) != 3:
        raise ValueError(f"pooling of {len(chain.shape) - 1} dimensions; images have two")
    chain.append(node.label, GlobalAvgPool2D(), (chain.shape[0], 1, 1))


def _mean(chain: Chain, node: Node) -> None:
    """Of whole channels, as some exporters write a global average. Up to opset 17 the axes are an attribute."""
    (given,) = node.constants(0, 1)
    named = whole_numbers(given) if given is not None else node.attributes.take("axes", ())
    node.attributes.take("noop_with_empty_axes", 0)
    if len(chain.shape) != 3 or sorted(map(chain.axis, named)) != [2, 3]:
        raise ValueError(f"over axes {shown(list(named))}; what there is, is the mean of whole channels, axes 2 and 3")
    chain.append(node.label, GlobalAvgPool2D(), (chain.shape[0], 1, 1))
    if not node.attributes.take("keepdims", 1):
        chain.append(f"{node.label}_flat", Flatten(), chain.shape[:1])


# ==== matrices, biases, normalisation ====


def _matmul(chain: Chain, node: Node) -> None:
    (weight,) = node.constants(1, 1)
    _linear(chain, node, weight, None)


def _gemm(chain: Chain, node: Node) -> None:
    weight, bias = node.constants(1, 2)
    take = node.attributes.take
    if take("transA", 0):
        raise ValueError("transA; the batch is the first axis")
    alpha, beta = take("alpha", 1.0), take("beta", 1.0)
    weight = weight.T if take("transB", 0) else weight
    with np.errstate(all="ignore"):  # the layer refuses what is not finite
        weight = weight if alpha == 1.0 else alpha * weight
        bias = bias if bias is None or beta == 1.0 else beta * bias
    _linear(chain, node, weight, bias)


def _linear(chain: Chain, node: Node, weight: Any, bias: Any) -> None:
    """Add a product with `weight` (IN, OUT)."""
    if weight.ndim != 2 or len(chain.shape) != 1:
        raise ValueError(f"a product of arrays of {len(chain.shape) + 1} and {weight.ndim} axes; a Linear has two")
    if chain.shape[0] != weight.shape[0]:
        raise ValueError(f"got x of {chain.shape} each; expected ({weight.shape[0]},); look at the layer before")
    chain.multiply(node, Product(partial(Linear, *weight.shape), weight.T, None), weight.shape[1:])
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
    behind = [layer for _, layer in chain.layers[-2:]]
    if behind and isinstance(behind[-1], Permute):  # channels last: look for where they come from
        axis = behind.pop().axes[axis]
    product = behind[-1] if behind else None
    if not isinstance(product, Product) or (axis != 1 and array.size > 1):
        return False
    count = len(product.weight)
    if array.size not in (1, count) or any(chain.pads):
        return False
    chain.pay(count * array.itemsize)
    bias = np.broadcast_to(chain.numbers(array).reshape(-1), (count,))
    with np.errstate(all="ignore"):  # the layer refuses what is not finite
        product.bias = bias if product.bias is None else product.bias + bias
    return True


def _batchnorm(chain: Chain, node: Node) -> None:
    weight, bias, mean, var = node.constants(4, 4)
    take = node.attributes.take
    if take("spatial", 1) != 1 or take("training_mode", 0):
        raise ValueError("spatial=0 or training_mode=1; one mean for each channel, in evaluation, is what there is")
    if weight.ndim != 1 or not (var >= 0).all():
        raise ValueError(f"weights of shape {weight.shape} and variances that must not be negative")
    if len(chain.shape) not in (1, 3) or chain.shape[0] != len(weight):
        raise ValueError(f"got x of {chain.shape} each; expected {len(weight)} channels; look at the layer before")
    layer = BatchNorm(len(weight), take("momentum", 0.9), take("epsilon", 1e-5), dtype=chain.dtype)
    state = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": var}
    chain.append(node.label, layer.load_state_dict({name: chain.numbers(array) for name, array in state.items()}))


# ==== shapes ====


def _reshape(chain: Chain, node: Node) -> None:
    (target,) = node.constants(1, 1)
    sizes, before = whole_numbers(target), (ANY, *chain.shape)
    if node.attributes.take("allowzero", 0) and 0 in sizes:
        raise ValueError("to a shape with allowzero, which leaves nothing")
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
        chain.append(label, Flatten() if len(target) == 1 else Reshape(target), target)


def _flatten(chain: Chain, node: Node) -> None:
    node.constants(0, 0)
    axis = chain.axis(node.attributes.take("axis", 1))
    if axis < 1 or math.prod(chain.shape[: axis - 1]) != 1:
        raise ValueError(f"at axis {axis}, which mixes the images of a batch")
    chain.append(node.label, Flatten(), (math.prod(chain.shape),))


def _transpose(chain: Chain, node: Node) -> None:
    """Transposes one after another are one, or nothing."""
    node.constants(0, 0)
    still = tuple(range(len(chain.shape) + 1))
    axes = node.attributes.take("perm", still[::-1])
    if axes[0] != 0 or tuple(sorted(axes)) != still:
        raise ValueError(f"by {shown(axes)}; the batch stays the first of {len(still)} axes")
    last = chain.layers[-1][1] if chain.layers else None
    if isinstance(last, Permute):
        before = tuple(last.axes.index(axis) for axis in still)
        chain.shape = tuple(chain.shape[axis - 1] for axis in before[1:])
        axes = tuple(last.axes[axis] for axis in axes)
        chain.layers.pop()
    if axes != still:
        chain.append(node.label, Permute(axes), tuple(chain.shape[axis - 1] for axis in axes[1:]))


def _squeeze(chain: Chain, node: Node) -> None:
    (given,) = node.constants(0, 1)
    named = whole_numbers(given) if given is not None else node.attributes.take("axes", ())
    if not named:
        raise ValueError("of all axes, the batch among them")
    axes = {chain.axis(axis) for axis in named}
    if 0 in axes or any(chain.shape[axis - 1] != 1 for axis in axes):
        raise ValueError(f"of axes {shown(sorted(axes))} of x of {chain.shape} each")
    _reshaped(chain, node.label, tuple(size for axis, size in enumerate(chain.shape, 1) if axis not in axes))


# ==== the rest ====


def _softmax(chain: Chain, node: Node, kind: type[Softmax | LogSoftmax]) -> None:
    node.constants(0, 0)
    axis = chain.axis(node.attributes.take("axis", -1 if chain.opset >= 13 else 1))
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
    node.attributes.take("seed", 0)
    ratio = node.attributes.take("ratio", 0.5)
    if given is not None:
        if given.size != 1:
            raise ValueError(f"{given.size} ratios")
        ratio = float(str(given.reshape(())))  # 0.4, and not 0.4000000059604645
    if ratio not in (0.0, 1.0):  # of all numbers there is none: in evaluation that is nothing, too
        chain.append(node.label, Dropout(ratio, rng=len(chain.layers)))  # each its own seed, the same every time


def _cast(chain: Chain, node: Node) -> None:
    node.constants(0, 0)
    if dtype_of(node.attributes.take("to", 0)) != chain.dtype:
        raise ValueError(f"of {chain.dtype} to another type")


def _pad(chain: Chain, node: Node) -> None:
    """Zeros around images, which the Conv or AveragePool behind them puts there. Up to opset 10 all is attributes."""
    given, number, axes = node.constants(0, 3)
    mode, value = node.attributes.take("mode", "constant"), node.attributes.take("value", 0.0)
    pads = node.attributes.take("pads", ()) if given is None else whole_numbers(given)
    if not any(pads):  # PyTorch writes these in front of poolings
        return
    named = range(4) if axes is None else [chain.axis(axis) for axis in whole_numbers(axes)]
    ends = dict(zip(named, zip(pads[: len(named)], pads[len(named) :], strict=True), strict=True))
    (top, bottom), (left, right) = ends.pop(2, (0, 0)), ends.pop(3, (0, 0))
    zeros = mode == "constant" and not value and (number is None or not number.any())
    if not zeros or len(chain.shape) != 3 or any(map(any, ends.values())) or min(pads) < 0:
        raise ValueError(f"by {shown(pads)}; only zeros around images are taken, into the Conv behind them")
    chain.pads = tuple(map(sum, zip(chain.pads, (top, left, bottom, right), strict=True)))


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
    "GlobalAveragePool": _global_average,
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
