"""Layers that only look at the same numbers in another shape."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..backend import Array, namespace_of
from ..checks import check_axes, check_gradient, check_library, integer
from ..workspace import Workspace
from .base import Layer


class _Cache(NamedTuple):
    """What backward reads."""

    y: Array
    x_shape: tuple[int, ...]


class Flatten(Layer):
    """(N, C, H, W) -> (N, C*H*W), as a fully connected layer wants it.

    Example:
        >>> import numpy as np
        >>> Flatten()(np.zeros((2, 120, 1, 1))).shape
        (2, 120)
    """

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, _Cache]:
        check_axes("Flatten", "(N) or (N, ...)", x=x)
        y = namespace_of(x).reshape(x, (x.shape[0], -1))
        return y, _Cache(y, tuple(x.shape))

    def _backward(self, dy: Array, cache: _Cache, need_dx: bool, work: Workspace | None) -> Array | None:
        xp = check_gradient("Flatten", dy, cache.y.shape, cache.y)
        return xp.reshape(dy, cache.x_shape) if need_dx else None

    def _operations(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return 0


class Reshape(Layer):
    """`(N, ...) -> (N, *shape)`: the numbers of each image in the same order, row by row, in another shape.

    Args:
        shape: of an image, without the batch; one of its sizes may be -1, and is then what is left.

    Raises:
        TypeError, ValueError: `shape` is no such tuple.

    Example:
        >>> import numpy as np
        >>> Reshape((1, -1, 28))(np.zeros((2, 784))).shape
        (2, 1, 28, 28)
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = _whole_numbers("Reshape", "shape", shape, "(C, H, W)")
        if any(size < 1 and size != -1 for size in self.shape) or self.shape.count(-1) > 1:
            raise ValueError(
                f"Reshape: got shape {shape!r}; expected sizes from 1 up, one of which may be -1; leave the batch out"
            )

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, _Cache]:
        check_axes("Reshape", "(N) or (N, ...)", x=x)
        given, wanted = math.prod(x.shape[1:]), math.prod(self.shape)
        if given != wanted if wanted > 0 else given % wanted:
            raise ValueError(
                f"Reshape: got x of shape {tuple(x.shape)}, with {given} numbers for each image; expected as many as "
                f"{self.shape} has; give another shape"
            )
        y = namespace_of(x).reshape(x, (x.shape[0], *self.shape))
        return y, _Cache(y, tuple(x.shape))

    def _backward(self, dy: Array, cache: _Cache, need_dx: bool, work: Workspace | None) -> Array | None:
        xp = check_gradient("Reshape", dy, cache.y.shape, cache.y)
        return xp.reshape(dy, cache.x_shape) if need_dx else None

    def _operations(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return 0

    def _describe(self) -> str:
        return f"{self.shape}"


class Permute(Layer):
    """Put the axes in another order: a view, of which axis i is axis ``axes[i]`` of x.

    Args:
        axes: all of them, the batch's included, which stays the first: (0, 3, 1, 2) makes (N, C, H, W) of (N, H, W, C).

    Raises:
        TypeError, ValueError: `axes` is no such tuple.

    Example:
        >>> import numpy as np
        >>> Permute((0, 3, 1, 2))(np.zeros((2, 28, 28, 3))).shape
        (2, 3, 28, 28)
    """

    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = _whole_numbers("Permute", "axes", axes, "(0, 3, 1, 2)")
        if sorted(self.axes) != list(range(len(self.axes))) or self.axes[:1] != (0,):
            raise ValueError(
                f"Permute: got axes {axes!r}; expected each of them once, and 0, the batch, first; pass for example "
                "(0, 3, 1, 2)"
            )

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, Array]:
        xp = check_library("Permute", x=x)
        if x.ndim != len(self.axes):
            raise ValueError(
                f"Permute: got x of shape {tuple(x.shape)}; expected {len(self.axes)} axes; give an order of as many"
            )
        y = xp.permute_dims(x, self.axes)
        return y, y

    def _backward(self, dy: Array, cache: Array, need_dx: bool, work: Workspace | None) -> Array | None:
        xp = check_gradient("Permute", dy, cache.shape, cache)
        back = tuple(sorted(range(len(self.axes)), key=self.axes.__getitem__))
        return xp.permute_dims(dy, back) if need_dx else None

    def _operations(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return 0

    def _describe(self) -> str:
        return f"{self.axes}"


def _whole_numbers(operation: str, name: str, values: Any, such_as: str) -> tuple[int, ...]:
    if not isinstance(values, tuple | list):
        raise TypeError(
            f"{operation}: got {name} {values!r}; expected a tuple of whole numbers, such as {such_as}; pass one"
        )
    return tuple(integer(operation, name, value) for value in values)
