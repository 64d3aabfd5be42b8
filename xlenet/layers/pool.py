"""Pooling layers."""

from __future__ import annotations

import math

from ..backend import Array
from ..checks import check_arrays, pair, switch
from ..functional import avgpool2d, maxpool2d
from ..functional.windows import Padding, Pair, resolve_padding
from ..workspace import Workspace
from .base import Layer


class _Pool2D(Layer):
    """What windows have in common, whatever is made of them."""

    def __init__(self, kernel: Pair, stride: Pair | None, padding: Padding, ceil_mode: bool, dilation: Pair) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel = pair(name, "kernel", kernel, 1)
        self.stride = self.kernel if stride is None else pair(name, "stride", stride, 1)
        resolve_padding(padding, self.kernel, self.kernel, self.stride, name)  # says now what is wrong with it
        self.padding = padding
        self.ceil_mode = switch(name, "ceil_mode", ceil_mode)
        self.dilation = pair(name, "dilation", dilation, 1)

    def _describe(self) -> str:
        ceil_mode = ", ceil_mode=True" if self.ceil_mode else ""
        dilation = "" if self.dilation == (1, 1) else f", dilation={self.dilation}"
        return f"{self.kernel}, stride={self.stride}, padding={self.padding!r}{ceil_mode}{self._more()}{dilation}"

    def _more(self) -> str:
        """Return what else is to be said of it, beginning with a comma."""
        return ""


class MaxPool2D(_Pool2D):
    """Take the largest number of every window of (N, C, H, W): (N, C, OH, OW). See `xlenet.functional.maxpool2d`.

    Args:
        kernel: window KH = KW, or (KH, KW).
        stride: step between windows, or (vertical, horizontal); None means the kernel.
        padding: as in `Conv2D`, but with minus infinity.
        ceil_mode: let a last window hang over the end instead of leaving the rest of the image out.
        dilation: step between the pixels that a window sees, or (vertical, horizontal).

    Example:
        >>> import numpy as np
        >>> MaxPool2D(2)(np.zeros((2, 6, 28, 28), np.float32)).shape
        (2, 6, 14, 14)
    """

    def __init__(
        self,
        kernel: Pair,
        stride: Pair | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        *,
        dilation: Pair = 1,
    ) -> None:
        super().__init__(kernel, stride, padding, ceil_mode, dilation)

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, maxpool2d.Cache]:
        return maxpool2d.forward(x, self.kernel, self.stride, self.padding, self.ceil_mode, self.dilation, work=work)

    def _backward(self, dy: Array, cache: maxpool2d.Cache, need_dx: bool, work: Workspace | None) -> Array | None:
        return maxpool2d.backward(dy, cache, work=work) if need_dx else None

    def _operations(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return math.prod(y_shape) * (math.prod(self.kernel) - 1)  # comparisons


class AvgPool2D(_Pool2D):
    """Take the mean of every window of (N, C, H, W): (N, C, OH, OW). See `xlenet.functional.avgpool2d`.

    Args:
        kernel: window KH = KW, or (KH, KW).
        stride: step between windows, or (vertical, horizontal); None means the kernel.
        padding: zeros around the image, as in `Conv2D`.
        ceil_mode: let a last window hang over the end instead of leaving the rest of the image out.
        count_include_pad: whether the zeros of the padding count in the mean.
        dilation: step between the pixels that a window sees, or (vertical, horizontal).

    Example:
        >>> import numpy as np
        >>> AvgPool2D(2)(np.zeros((2, 6, 28, 28), np.float32)).shape
        (2, 6, 14, 14)
    """

    def __init__(
        self,
        kernel: Pair,
        stride: Pair | None = None,
        padding: Padding = 0,
        *,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        dilation: Pair = 1,
    ) -> None:
        super().__init__(kernel, stride, padding, ceil_mode, dilation)
        self.count_include_pad = switch("AvgPool2D", "count_include_pad", count_include_pad)

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, avgpool2d.Cache]:
        how = self.ceil_mode, self.count_include_pad, self.dilation
        return avgpool2d.forward(x, self.kernel, self.stride, self.padding, *how, work=work)

    def _backward(self, dy: Array, cache: avgpool2d.Cache, need_dx: bool, work: Workspace | None) -> Array | None:
        return avgpool2d.backward(dy, cache, work=work) if need_dx else None

    def _operations(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return math.prod(y_shape) * math.prod(self.kernel)  # additions, and a division

    def _more(self) -> str:
        return "" if self.count_include_pad else ", count_include_pad=False"


class GlobalAvgPool2D(Layer):
    """Take the mean of every channel of (N, C, H, W): (N, C, 1, 1), for images of any size.

    y[n, c] = sum of x[n, c] / (H * W), and dx[n, c, h, w] = dy[n, c] / (H * W).

    Example:
        >>> import numpy as np
        >>> GlobalAvgPool2D()(np.ones((2, 6, 7, 5), np.float32)).shape
        (2, 6, 1, 1)
    """

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, avgpool2d.Cache]:
        check_arrays("GlobalAvgPool2D", "(N, C, H, W)", x)
        return avgpool2d.forward(x, tuple(x.shape[2:]), work=work)

    def _backward(self, dy: Array, cache: avgpool2d.Cache, need_dx: bool, work: Workspace | None) -> Array | None:
        return avgpool2d.backward(dy, cache, work=work) if need_dx else None

    def _operations(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return math.prod(x_shape)  # additions, and a division
