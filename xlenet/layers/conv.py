"""Convolution layer."""

from __future__ import annotations

import math
from typing import Any

from .. import init
from ..backend import Array
from ..checks import check_dtype, integer, pair, switch
from ..functional import conv2d, conv2d_rows
from ..functional.windows import Padding, Pair, resolve_padding
from ..workspace import Workspace
from .base import Layer

_LOWERINGS: dict[str, Any] = {"img2col": conv2d, "rows": conv2d_rows}


class Conv2D(Layer):
    """Convolve images (N, C, H, W) with learned filters: (N, F, OH, OW). See `xlenet.functional.conv2d`.

    Args:
        in_channels: C.
        out_channels: F, the number of filters.
        kernel: KH = KW, or (KH, KW).
        stride: step between windows, or (vertical, horizontal).
        padding: "SAME", "VALID", int, (vertical, horizontal) or ((top, bottom), (left, right)).
        dilation: step between the pixels that a filter sees, or (vertical, horizontal).
        groups: G, a divisor of C and F: each of G shares of the filters sees its own share of the channels, and the
            weight is (F, C/G, KH, KW).
        bias: whether each filter adds a number of its own.
        requires_grad: False freezes the layer.
        lowering: how the convolution becomes matrix products: "img2col" copies all windows into a matrix; "rows" gives
            the same numbers, within rounding, from SH / KH of the memory (`xlenet.functional.conv2d_rows`). With
            dilation or groups both copy all windows.
        rng: generator or seed of the first weights (`xlenet.init.he_normal`).
        dtype: "float32" or "float64".

    Example:
        >>> import numpy as np
        >>> conv = Conv2D(1, 6, 5, padding="SAME", rng=0)
        >>> y = conv(np.zeros((2, 1, 28, 28), np.float32))
        >>> y.shape, conv.backward(y).shape, conv.grads["weight"].shape
        ((2, 6, 28, 28), (2, 1, 28, 28), (6, 1, 5, 5))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        *,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        requires_grad: bool = True,
        lowering: str = "rows",
        rng: init.Seed = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(requires_grad=requires_grad)
        self.kernel = pair("Conv2D", "kernel", kernel, 1)
        self.stride = pair("Conv2D", "stride", stride, 1)
        resolve_padding(padding, self.kernel, self.kernel, self.stride, "Conv2D")  # says now what is wrong with it
        self.padding = padding
        self.dilation = pair("Conv2D", "dilation", dilation, 1)
        self.groups = integer("Conv2D", "groups", groups, 1)
        self.in_channels = integer("Conv2D", "in_channels", in_channels, 1)
        self.out_channels = integer("Conv2D", "out_channels", out_channels, 1)
        conv2d.check_groups("Conv2D", self.groups, self.in_channels, "channels")
        conv2d.check_groups("Conv2D", self.groups, self.out_channels, "filters")
        if not isinstance(lowering, str) or lowering not in _LOWERINGS:
            raise ValueError(f"Conv2D: got lowering {lowering!r}; expected 'img2col' or 'rows'; choose one of these")
        self.lowering = lowering
        dtype, with_bias = check_dtype("Conv2D", dtype), switch("Conv2D", "bias", bias)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel)
        self._add_parameter("weight", init.he_normal(shape, init.generator(rng), dtype))
        if with_bias:
            self._add_parameter("bias", init.zeros((self.out_channels,), dtype))

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, Any]:
        weight, bias, conv = self.params["weight"], self.params.get("bias"), _LOWERINGS[self.lowering]
        y, cache = conv.forward(x, weight, bias, self.stride, self.padding, self.dilation, self.groups, work=work)
        return y, cache

    def _backward(self, dy: Array, cache: Any, need_dx: bool, work: Workspace | None) -> Array | None:
        conv = _LOWERINGS[self.lowering]
        out = self._gradients("weight", "bias")
        dx, dweight, dbias = conv.backward(
            dy, cache, need_dx=need_dx, need_dweight=self.requires_grad, out=out, work=work
        )
        self._set_gradients(weight=dweight, bias=dbias)
        return dx

    def _operations(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return 2 * math.prod(y_shape) * self.in_channels // self.groups * math.prod(self.kernel)

    def _describe(self) -> str:
        sizes = f"{self.in_channels}, {self.out_channels}, {self.kernel}"
        dilation = "" if self.dilation == (1, 1) else f", dilation={self.dilation}"
        groups = "" if self.groups == 1 else f", groups={self.groups}"
        bias = "" if "bias" in self.params else ", bias=False"
        lowering = "" if self.lowering == "rows" else f", lowering={self.lowering!r}"
        return f"{sizes}, stride={self.stride}, padding={self.padding!r}{dilation}{groups}{bias}{lowering}"
