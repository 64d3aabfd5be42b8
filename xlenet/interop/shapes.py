"""Shapes of what goes from layer to layer, without the batch."""

from __future__ import annotations

import math
from typing import Any

from ..functional import maxpool2d
from ..functional.windows import windows_over
from ..layers import MaxPool2D

Shape = tuple[int, ...]  # without the batch


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


def windows_of(layer: Any, shape: Shape) -> Any:
    """Return where the windows of a convolution or a pooling lie over images of `shape` (C, H, W)."""
    size, ceil_mode = (shape[1], shape[2]), getattr(layer, "ceil_mode", False)
    if isinstance(layer, MaxPool2D):  # which takes no window of padding alone
        return maxpool2d.windows_of(size, layer.kernel, layer.stride, layer.padding, ceil_mode, layer.dilation)
    return windows_over(
        size, layer.kernel, layer.stride, layer.padding, layer.dilation, ceil_mode=ceil_mode,
        operation=type(layer).__name__,
    )  # fmt: skip
