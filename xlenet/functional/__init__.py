"""The mathematics: plain arrays in, plain arrays out, forward and backward in one file each.

Every operation is a module with the same two names, so that it reads aloud::

    y, cache = conv2d.forward(x, weight, bias, stride=1, padding="SAME")
    dx, dweight, dbias = conv2d.backward(dy, cache)

The letters, here and in every docstring: N images in the batch, C channels, H height, W width, F filters (output
channels), G groups of both, KH x KW the kernel, OH x OW the output, K classes. A gradient is named d + the name of what
it belongs to.

What holds for all of them: the library (NumPy or CuPy), the device and the floating type of the result are those of the
arguments; arguments are never written to; the result is the caller's own unless a `Workspace` is passed as ``work``.
A cache may refer to forward's arguments and to its result: do not overwrite them before backward has read it.
"""

from . import (
    avgpool2d,
    batchnorm,
    conv2d,
    conv2d_rows,
    dropout,
    linear,
    log_softmax,
    maxpool2d,
    nll_loss,
    relu,
    sigmoid,
    softmax,
    softmax_cross_entropy,
    tanh,
)
from .windows import col2img, img2col

__all__ = [
    "avgpool2d",
    "batchnorm",
    "col2img",
    "conv2d",
    "conv2d_rows",
    "dropout",
    "img2col",
    "linear",
    "log_softmax",
    "maxpool2d",
    "nll_loss",
    "relu",
    "sigmoid",
    "softmax",
    "softmax_cross_entropy",
    "tanh",
]
