"""Networks put together from the layers."""

from __future__ import annotations

from typing import Any

from . import init
from .backend import Array
from .checks import integer, number, switch
from .layers import BatchNorm, Conv2D, Flatten, Layer, Linear, MaxPool2D, ReLU, Sequential
from .workspace import Workspace


class LeNet5(Sequential):
    """LeNet-5 with max-pooling, batch normalisation and ReLU.

    ===============  ====================  ===================
    layer            what it is            result, 28x28 input
    ===============  ====================  ===================
    conv1            6 filters 5x5, SAME   (N, 6, 28, 28)
    pool1 bn1 relu1                        (N, 6, 14, 14)
    conv2            16 filters 5x5        (N, 16, 10, 10)
    pool2 bn2 relu2                        (N, 16, 5, 5)
    conv3            120 filters 5x5       (N, 120, 1, 1)
    flatten                                (N, 120)
    fc4 relu4        120 -> 84             (N, 84)
    fc5              84 -> classes         (N, classes)
    ===============  ====================  ===================

    With one input channel and ten classes it has 61,750 parameters.

    Args:
        image_size: 28, or 32; 32x32 images carry the border themselves, so conv1 is then VALID.
        relu_after_conv3: whether a ReLU follows conv3.
        channels: input channels, 1 for grey images.
        classes: K.
        bn_decay: `decay` of the batch normalisations.
        lowering: of the convolutions, "rows" or "img2col"; see `Conv2D`.
        rng: generator or seed of the first weights.
        dtype: "float32" or "float64".

    Raises:
        ValueError: another image size.

    Example:
        >>> import numpy as np
        >>> model = LeNet5(rng=0)
        >>> model(np.zeros((4, 1, 28, 28), np.float32)).shape, model.size
        ((4, 10), 61750)

    References:
        Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-Based Learning Applied to Document Recognition (1998).
    """

    def __init__(
        self,
        image_size: int = 28,
        *,
        relu_after_conv3: bool = False,
        channels: int = 1,
        classes: int = 10,
        bn_decay: float = 0.9,
        lowering: str = "rows",
        rng: init.Seed = None,
        dtype: Any = "float32",
    ) -> None:
        channels, classes = integer("LeNet5", "channels", channels, 1), integer("LeNet5", "classes", classes, 1)
        bn_decay = number("LeNet5", "bn_decay", bn_decay, 0.0, 1.0, closed=True)
        relu_after_conv3 = switch("LeNet5", "relu_after_conv3", relu_after_conv3)
        if not isinstance(image_size, int) or image_size not in (28, 32):
            raise ValueError(f"LeNet5: got image_size {image_size!r}; expected 28 or 32; resize or pad the images")
        rng = init.generator(rng)

        def conv(c: int, f: int, padding: str = "VALID") -> Conv2D:
            return Conv2D(c, f, kernel=5, padding=padding, lowering=lowering, rng=rng, dtype=dtype)

        after_conv3: dict[str, Layer] = {"relu3": ReLU()} if relu_after_conv3 else {}
        super().__init__(
            conv1=conv(channels, 6, "SAME" if image_size == 28 else "VALID"),
            pool1=MaxPool2D(2),
            bn1=BatchNorm(6, decay=bn_decay, dtype=dtype),
            relu1=ReLU(),
            conv2=conv(6, 16),
            pool2=MaxPool2D(2),
            bn2=BatchNorm(16, decay=bn_decay, dtype=dtype),
            relu2=ReLU(),
            conv3=conv(16, 120),
            **after_conv3,
            flatten=Flatten(),
            fc4=Linear(120, 84, rng=rng, dtype=dtype),
            relu4=ReLU(),
            fc5=Linear(84, classes, rng=rng, dtype=dtype),
        )
        self.image_size, self.channels = image_size, channels

    def _forward(self, x: Array, work: Workspace | None) -> tuple[Array, bool]:
        self._check_size(x)
        return super()._forward(x, work)

    def _infer(self, x: Array, work: Workspace | None) -> Array:
        self._check_size(x)
        return super()._infer(x, work)

    def _input_shape(self) -> tuple[int, ...]:
        return (self.channels, self.image_size, self.image_size)

    def _check_size(self, x: Array) -> None:
        size = self.image_size
        if tuple(x.shape[2:]) != (size, size):
            raise ValueError(
                f"LeNet5: got x of shape {tuple(x.shape)}; expected (N, C, {size}, {size}); "
                "resize the images, or make the model with image_size=28 or 32"
            )
