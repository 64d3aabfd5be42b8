"""What shape a layer's result has, worked out without computing it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..functional import maxpool2d
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

Shape = tuple[int, ...]  # without the batch


def output_shape(layer: Layer, shape: Shape) -> Shape:
    """Return the shape that `layer`, one of xlenet's own, makes of x of `shape`, both without the batch.

    Raises:
        ValueError: it does not take such an x.

    Example:
        >>> output_shape(MaxPool2D(2), (6, 28, 28))
        (6, 14, 14)
    """
    return _RULES[type(layer)](layer, shape)


def is_known(layer: Layer) -> bool:
    """Whether `output_shape` knows the layer: its very type, since a derived one may compute something else."""
    return type(layer) in _RULES


def flat(operation: str, shape: Shape, target: Shape) -> Shape:
    """Return `target` with its -1, if any, replaced by what makes it hold as many numbers as `shape`.

    Example:
        >>> flat("Reshape", (4, 2, 2), (2, -1))
        (2, 8)
    """
    numbers, known = math.prod(shape), math.prod(size for size in target if size != -1)
    if -1 in target and known and numbers % known == 0:
        target = tuple(numbers // known if size == -1 else size for size in target)
    if target.count(-1) or math.prod(target) != numbers:
        raise ValueError(f"{operation}: got shape {target} for {shape}; expected {numbers} numbers; choose another one")
    return target


def _same(layer: Layer, shape: Shape) -> Shape:
    return shape


def _images(layer: Layer, shape: Shape, channels: int | None = None) -> None:
    if len(shape) != 3 or channels not in (None, shape[0]):
        wanted = "(C, H, W)" if channels is None else f"({channels}, H, W)"
        raise ValueError(f"{type(layer).__name__}: got x of {shape} each; expected {wanted}; look at the layer before")


def _convolved(layer: Any, shape: Shape) -> Shape:
    _images(layer, shape, layer.in_channels)
    return layer.out_channels, *windows_of(layer, shape).out


def _pooled(layer: Any, shape: Shape) -> Shape:
    _images(layer, shape)
    return shape[0], *windows_of(layer, shape).out


def windows_of(layer: Any, shape: Shape) -> Any:
    """Return where the windows of a convolution or a pooling lie over images of `shape` (C, H, W)."""
    size, ceil_mode = (shape[1], shape[2]), getattr(layer, "ceil_mode", False)
    if isinstance(layer, MaxPool2D):  # which takes no window of padding alone
        return maxpool2d.windows_of(size, layer.kernel, layer.stride, layer.padding, ceil_mode, layer.dilation)
    return windows_over(
        size, layer.kernel, layer.stride, layer.padding, layer.dilation, ceil_mode=ceil_mode,
        operation=type(layer).__name__,
    )  # fmt: skip


def _averaged(layer: Layer, shape: Shape) -> Shape:
    _images(layer, shape)
    return shape[0], 1, 1


def _multiplied(layer: Any, shape: Shape) -> Shape:
    if shape != (layer.in_features,):
        raise ValueError(f"Linear: got x of {shape} each; expected ({layer.in_features},); look at the layer before")
    return (layer.out_features,)


def _normalised(layer: Any, shape: Shape) -> Shape:
    if len(shape) not in (1, 3) or shape[0] != layer.channels:
        raise ValueError(
            f"BatchNorm: got x of {shape} each; expected {layer.channels} channels; look at the layer before"
        )
    return shape


def _permuted(layer: Any, shape: Shape) -> Shape:
    if len(layer.axes) != len(shape) + 1:
        raise ValueError(f"Permute: got axes {layer.axes} for x of {shape} each; expected one for each; name them all")
    return tuple(shape[axis - 1] for axis in layer.axes[1:])


def _softened(layer: Any, shape: Shape) -> Shape:
    if not -len(shape) <= layer.axis <= len(shape) or layer.axis == 0:
        raise ValueError(
            f"{type(layer).__name__}: got axis {layer.axis} for x of {shape} each; expected one behind the batch; "
            "choose another one"
        )
    return shape


_RULES: dict[type[Layer], Callable[[Any, Shape], Shape]] = {
    AvgPool2D: _pooled,
    BatchNorm: _normalised,
    Conv2D: _convolved,
    Dropout: _same,
    Flatten: lambda layer, shape: (math.prod(shape),),
    GlobalAvgPool2D: _averaged,
    Linear: _multiplied,
    LogSoftmax: _softened,
    MaxPool2D: _pooled,
    Permute: _permuted,
    ReLU: _same,
    Reshape: lambda layer, shape: flat("Reshape", shape, layer.shape),
    Sigmoid: _same,
    Softmax: _softened,
    Tanh: _same,
}
