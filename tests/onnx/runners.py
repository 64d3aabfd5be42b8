"""ONNX's operators in terms of these layers. What ONNX says in another way is translated; the work is xlenet's."""

from __future__ import annotations

import math
from typing import Any

from tests.libraries import Lib
from xlenet import Dropout, Flatten, GlobalAvgPool2D
from xlenet.functional import avgpool2d, batchnorm, conv2d_rows, linear, maxpool2d, relu, sigmoid, tanh


def conv(lib: Lib, attributes: dict[str, Any], inputs: list[Any], wanted: int) -> list[Any]:
    x, weight, *rest = inputs
    bias = rest[0] if rest else None
    kernel = tuple(attributes.get("kernel_shape", weight.shape[2:]))
    assert kernel == tuple(weight.shape[2:])
    stride, dilation = pair_of(attributes, "strides"), pair_of(attributes, "dilations")
    padding = padding_of(attributes, x.shape[2:], kernel, stride, dilation)
    return [conv2d_rows.forward(x, weight, bias, stride, padding, dilation, attributes.get("group", 1))[0]]


def max_pool(lib: Lib, attributes: dict[str, Any], inputs: list[Any], wanted: int) -> list[Any]:
    """ONNX counts positions through the whole tensor, row by row or, with `storage_order`, column by column."""
    (x,) = inputs
    kernel = tuple(attributes["kernel_shape"])
    stride, dilation = pair_of(attributes, "strides"), pair_of(attributes, "dilations")
    padding = padding_of(attributes, x.shape[2:], kernel, stride, dilation)
    y, cache = maxpool2d.forward(x, kernel, stride, padding, bool(attributes.get("ceil_mode", 0)), dilation)
    if wanted == 1:
        return [y]
    n, c, h, w = x.shape
    position = maxpool2d.argmax(cache)
    if attributes.get("storage_order", 0):
        position = position % w * h + position // w
    planes = lib.asarray([[[[(i * c + j) * h * w]] for j in range(c)] for i in range(n)], "int64")
    return [y, position + planes]


def average_pool(lib: Lib, attributes: dict[str, Any], inputs: list[Any], wanted: int) -> list[Any]:
    (x,) = inputs
    kernel = tuple(attributes["kernel_shape"])
    stride, dilation = pair_of(attributes, "strides"), pair_of(attributes, "dilations")
    padding = padding_of(attributes, x.shape[2:], kernel, stride, dilation)
    ceil_mode, counted = (bool(attributes.get(name, 0)) for name in ("ceil_mode", "count_include_pad"))
    return [avgpool2d.forward(x, kernel, stride, padding, ceil_mode, counted, dilation)[0]]


def global_average_pool(lib: Lib, attributes: dict[str, Any], inputs: list[Any], wanted: int) -> list[Any]:
    return [GlobalAvgPool2D()(inputs[0])]


def drop_out(lib: Lib, attributes: dict[str, Any], inputs: list[Any], wanted: int) -> list[Any]:
    """In inference: x as it is, and a mask that says so."""
    y = Dropout().to(lib.name if lib.device is None else f"{lib.name}:1").infer(inputs[0])
    return [y] if wanted == 1 else [y, y == y]


def batch_normalization(lib: Lib, attributes: dict[str, Any], inputs: list[Any], wanted: int) -> list[Any]:
    x, weight, bias, mean, var = inputs
    eps = attributes.get("epsilon", 1e-5)
    if not attributes.get("training_mode", 0):
        return [batchnorm.forward_evaluation(x, weight, bias, mean, var, eps)[0]]
    y, cache = batchnorm.forward_training(x, weight, bias, eps)
    # ONNX lets the running variance follow the biased one, these layers and PyTorch the unbiased one.
    biased = cache._replace(var=cache.var * ((cache.m - 1) / cache.m))
    running = [lib.xp.asarray(statistic, copy=True) for statistic in (mean, var)]
    batchnorm.update_running(*running, biased, attributes.get("momentum", 0.9))
    return [y, *running]


def gemm(lib: Lib, attributes: dict[str, Any], inputs: list[Any], wanted: int) -> list[Any]:
    """alpha * A @ B + beta * C: a fully connected layer, whose bias may here differ from row to row."""
    a, b, *rest = inputs
    xp = lib.xp
    x = a.T if attributes.get("transA", 0) else a
    weight = attributes.get("alpha", 1.0) * (b if attributes.get("transB", 0) else b.T)
    if not rest:
        return [linear.forward(x, weight)[0]]
    bias = attributes.get("beta", 1.0) * rest[0]
    if math.prod(bias.shape[:-1]) > 1:
        return [linear.forward(x, weight)[0] + bias]
    return [linear.forward(x, weight, xp.broadcast_to(xp.reshape(bias, (-1,)), (weight.shape[0],)))[0]]


def rectify(lib: Lib, attributes: dict[str, Any], inputs: list[Any], wanted: int) -> list[Any]:
    return [relu.forward(inputs[0])[0]]


def squeeze(lib: Lib, attributes: dict[str, Any], inputs: list[Any], wanted: int) -> list[Any]:
    return [tanh.forward(inputs[0])[0]]


def squash(lib: Lib, attributes: dict[str, Any], inputs: list[Any], wanted: int) -> list[Any]:
    return [sigmoid.forward(inputs[0])[0]]


def flatten(lib: Lib, attributes: dict[str, Any], inputs: list[Any], wanted: int) -> list[Any]:
    """The layer takes the first axis for the batch; ONNX says how many axes are."""
    (x,) = inputs
    axis = attributes.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    batch = math.prod(x.shape[:axis])
    return [Flatten()(lib.xp.reshape(x, (batch, *x.shape[axis:])))]


def pair_of(attributes: dict[str, Any], name: str) -> tuple[int, int]:
    vertical, horizontal = attributes.get(name, (1, 1))
    return vertical, horizontal


def padding_of(attributes: dict[str, Any], size: Any, kernel: Any, stride: Any, dilation: Any) -> Any:
    """SAME_LOWER has the odd row and column at the start, which these layers can only be told in numbers."""
    auto_pad = attributes.get("auto_pad", b"NOTSET").decode()
    if auto_pad == "NOTSET":
        top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
        return (top, bottom), (left, right)
    if auto_pad != "SAME_LOWER":
        return {"SAME_UPPER": "SAME", "VALID": "VALID"}[auto_pad]
    sides = []
    for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        sides.append((total - total // 2, total // 2))
    return tuple(sides)


RUNNERS = {
    "Conv": conv,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "Dropout": drop_out,
    "Sigmoid": squash,
    "Tanh": squeeze,
    "BatchNormalization": batch_normalization,
    "Gemm": gemm,
    "Relu": rectify,
    "Flatten": flatten,
}
