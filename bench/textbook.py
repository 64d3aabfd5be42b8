"""LeNet-5 with batch normalisation the way a course teaches it: the yardstick that the library's speed is told against.

Written from the formulas, for reading rather than for speed, and needing only NumPy: float64, arrays in (N, C, H, W)
order, img2col by a double loop over output positions, max-pooling with a mask made by repeating the maxima, and
fresh arrays at every step. Nothing is slowed down on purpose. It shares no code with xlenet, which makes it an
independent oracle as well: same weights and same batch must give the same loss and the same gradients.

    model = TextbookLeNet5(seed=0)
    loss = model.step(x, y, lr=0.05)     # x (N, 1, 28, 28) float64, y (N,) integers in 0 ... 9
    digits = model.predict(x)            # (N,) integers
"""

# ruff: noqa: D102 - every layer has the same two methods, forward and backward, and the formulas are their meaning.

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray
Parameters = dict[str, Array]

# Name, shape. The names are the ones PyTorch gives, so that one set of initial weights serves everybody.
SHAPES: dict[str, tuple[int, ...]] = {
    "conv1.weight": (6, 1, 5, 5), "conv1.bias": (6,), "bn1.weight": (6,), "bn1.bias": (6,),
    "conv2.weight": (16, 6, 5, 5), "conv2.bias": (16,), "bn2.weight": (16,), "bn2.bias": (16,),
    "conv3.weight": (120, 16, 5, 5), "conv3.bias": (120,),
    "fc4.weight": (84, 120), "fc4.bias": (84,),
    "fc5.weight": (10, 84), "fc5.bias": (10,),
}  # fmt: skip


def initial_parameters(seed: int) -> Parameters:
    """Weights drawn from a normal distribution of variance 1 / fan_in, biases 0, batch norm scale 1 and shift 0."""
    rng = np.random.default_rng(seed)
    parameters: Parameters = {}
    for name, shape in SHAPES.items():
        if len(shape) > 1:
            fan_in = int(np.prod(shape[1:]))
            parameters[name] = rng.normal(0.0, fan_in**-0.5, shape)
        else:
            parameters[name] = np.ones(shape) if name in ("bn1.weight", "bn2.weight") else np.zeros(shape)
    return parameters


def img2col(x: Array, kernel: int, stride: int = 1) -> Array:
    """Every window of x (N, C, H, W) as one row: (N*OH*OW, C*K*K), rows n-major."""
    n, c, h, w = x.shape
    oh, ow = (h - kernel) // stride + 1, (w - kernel) // stride + 1
    cols = np.zeros((n, oh, ow, c * kernel * kernel))
    for i in range(oh):
        for j in range(ow):
            top, left = i * stride, j * stride
            cols[:, i, j, :] = x[:, :, top : top + kernel, left : left + kernel].reshape(n, -1)
    return cols.reshape(n * oh * ow, -1)


def col2img(cols: Array, shape: tuple[int, ...], kernel: int, stride: int = 1) -> Array:
    """Add every row of cols back to the window that it was taken from; `shape` is the image's (N, C, H, W)."""
    n, c, h, w = shape
    oh, ow = (h - kernel) // stride + 1, (w - kernel) // stride + 1
    cols = cols.reshape(n, oh, ow, c, kernel, kernel)
    x = np.zeros(shape)
    for i in range(oh):
        for j in range(ow):
            top, left = i * stride, j * stride
            x[:, :, top : top + kernel, left : left + kernel] += cols[:, i, j]
    return x


class Convolution:
    """Cross-correlation with a square kernel, `padding` zeros on every side: img2col, then one matrix product."""

    def __init__(self, weight: Array, bias: Array, stride: int = 1, padding: int = 0) -> None:
        self.params = {"weight": weight, "bias": bias}
        self.grads: Parameters = {}
        self.kernel, self.stride, self.padding = weight.shape[2], stride, padding

    def forward(self, x: Array, training: bool) -> Array:
        f, k, s, p = len(self.params["weight"]), self.kernel, self.stride, self.padding
        x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        self.shape = n, _, h, w = x.shape
        self.cols = img2col(x, k, s)
        y = self.cols @ self.params["weight"].reshape(f, -1).T + self.params["bias"]  # (N*OH*OW, F)
        return np.ascontiguousarray(y.reshape(n, (h - k) // s + 1, (w - k) // s + 1, f).transpose(0, 3, 1, 2))

    def backward(self, dy: Array) -> Array:
        weight, p = self.params["weight"], self.padding
        dy = dy.transpose(0, 2, 3, 1).reshape(-1, len(weight))  # (N*OH*OW, F)
        self.grads = {"weight": (dy.T @ self.cols).reshape(weight.shape), "bias": dy.sum(axis=0)}
        dx = col2img(dy @ weight.reshape(len(weight), -1), self.shape, self.kernel, self.stride)
        return dx[:, :, p : dx.shape[2] - p, p : dx.shape[3] - p]


class MaxPooling:
    """The maximum of every window. Equal maxima of one window share its gradient in equal parts."""

    def __init__(self, kernel: int = 2, stride: int = 2) -> None:
        self.params: Parameters = {}
        self.grads: Parameters = {}
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Array, training: bool) -> Array:
        k, s = self.kernel, self.stride
        self.shape = n, c, h, w = x.shape
        windows = img2col(x, k, s).reshape(-1, k * k)  # (N*OH*OW*C, K*K)
        maxima = windows.max(axis=1)
        self.mask = windows == np.repeat(maxima, k * k).reshape(windows.shape)
        return np.ascontiguousarray(maxima.reshape(n, (h - k) // s + 1, (w - k) // s + 1, c).transpose(0, 3, 1, 2))

    def backward(self, dy: Array) -> Array:
        n, _, oh, ow = dy.shape
        share = dy.transpose(0, 2, 3, 1).reshape(-1) / self.mask.sum(axis=1)
        dwindows = np.repeat(share, self.kernel**2).reshape(self.mask.shape) * self.mask
        return col2img(dwindows.reshape(n * oh * ow, -1), self.shape, self.kernel, self.stride)


class BatchNormalisation:
    """Every channel shifted and scaled to mean 0 and variance 1 over the batch, then to mean beta and scale gamma."""

    def __init__(self, gamma: Array, beta: Array, decay: float = 0.9, eps: float = 1e-5) -> None:
        self.params = {"weight": gamma, "bias": beta}
        self.grads: Parameters = {}
        self.decay, self.eps = decay, eps
        self.running_mean = np.zeros((1, len(gamma), 1, 1))
        self.running_var = np.ones((1, len(gamma), 1, 1))

    def forward(self, x: Array, training: bool) -> Array:
        gamma, beta = (self.params[name].reshape(1, -1, 1, 1) for name in ("weight", "bias"))
        if not training:
            return gamma * (x - self.running_mean) / np.sqrt(self.running_var + self.eps) + beta
        mean = x.mean(axis=(0, 2, 3), keepdims=True)
        var = x.var(axis=(0, 2, 3), keepdims=True)
        n = x.size // x.shape[1]
        self.running_mean = self.decay * self.running_mean + (1 - self.decay) * mean
        self.running_var = self.decay * self.running_var + (1 - self.decay) * var * n / (n - 1)
        self.std = np.sqrt(var + self.eps)
        self.x_hat = (x - mean) / self.std
        return gamma * self.x_hat + beta

    def backward(self, dy: Array) -> Array:
        axes = (0, 2, 3)
        self.grads = {"weight": (dy * self.x_hat).sum(axis=axes), "bias": dy.sum(axis=axes)}
        dx_hat = dy * self.params["weight"].reshape(1, -1, 1, 1)
        mean = dx_hat.mean(axis=axes, keepdims=True)
        projection = (dx_hat * self.x_hat).mean(axis=axes, keepdims=True)
        return (dx_hat - mean - self.x_hat * projection) / self.std


class Relu:
    """The positive part."""

    def __init__(self) -> None:
        self.params: Parameters = {}
        self.grads: Parameters = {}

    def forward(self, x: Array, training: bool) -> Array:
        self.positive = x > 0
        return x * self.positive

    def backward(self, dy: Array) -> Array:
        return dy * self.positive


class FullyConnected:
    """y = x W^T + b over flattened images."""

    def __init__(self, weight: Array, bias: Array) -> None:
        self.params = {"weight": weight, "bias": bias}
        self.grads: Parameters = {}

    def forward(self, x: Array, training: bool) -> Array:
        self.shape = x.shape
        self.x = x.reshape(len(x), -1)
        return self.x @ self.params["weight"].T + self.params["bias"]

    def backward(self, dy: Array) -> Array:
        self.grads = {"weight": dy.T @ self.x, "bias": dy.sum(axis=0)}
        return (dy @ self.params["weight"]).reshape(self.shape)


def softmax_cross_entropy(logits: Array, y: Array) -> tuple[float, Array]:
    """The mean over the batch of -log softmax(logits)[y], and its gradient by the logits."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = np.arange(len(y))
    dlogits = np.exp(log_p)
    dlogits[rows, y] -= 1
    return float(-log_p[rows, y].mean()), dlogits / len(y)


class TextbookLeNet5:
    """The network, its loss and stochastic gradient descent with momentum.

    Args:
        seed: draws the initial weights.
        parameters: initial weights by name (`SHAPES`) in place of drawn ones; they are copied to float64.
        momentum: the weight of the old velocity.
        nesterov: take the gradient's step from where the velocity leads.
    """

    def __init__(
        self, seed: int = 0, parameters: Parameters | None = None, momentum: float = 0.9, nesterov: bool = False
    ) -> None:
        given = parameters or initial_parameters(seed)
        p = {name: np.array(given[name], dtype=np.float64) for name in SHAPES}
        self.momentum, self.nesterov = momentum, nesterov
        self.layers: dict[str, Any] = {
            "conv1": Convolution(p["conv1.weight"], p["conv1.bias"], padding=2),
            "pool1": MaxPooling(),
            "bn1": BatchNormalisation(p["bn1.weight"], p["bn1.bias"]),
            "relu1": Relu(),
            "conv2": Convolution(p["conv2.weight"], p["conv2.bias"]),
            "pool2": MaxPooling(),
            "bn2": BatchNormalisation(p["bn2.weight"], p["bn2.bias"]),
            "relu2": Relu(),
            "conv3": Convolution(p["conv3.weight"], p["conv3.bias"]),
            "fc4": FullyConnected(p["fc4.weight"], p["fc4.bias"]),
            "relu4": Relu(),
            "fc5": FullyConnected(p["fc5.weight"], p["fc5.bias"]),
        }
        self.velocity = {name: np.zeros(shape) for name, shape in SHAPES.items()}

    def forward(self, x: Array, training: bool) -> Array:
        for layer in self.layers.values():
            x = layer.forward(x, training)
        return x

    def loss_and_gradients(self, x: Array, y: Array) -> tuple[float, Parameters]:
        loss, dy = softmax_cross_entropy(self.forward(x, training=True), y)
        for layer in reversed(self.layers.values()):
            dy = layer.backward(dy)
        return loss, {f"{name}.{key}": g for name, layer in self.layers.items() for key, g in layer.grads.items()}

    def step(self, x: Array, y: Array, lr: float) -> float:
        """Train on one batch; return its loss before the update."""
        loss, gradients = self.loss_and_gradients(x, y)
        for full_name, gradient in gradients.items():
            layer, key = full_name.split(".")
            velocity = self.momentum * self.velocity[full_name] + gradient
            self.velocity[full_name] = velocity
            direction = gradient + self.momentum * velocity if self.nesterov else velocity
            self.layers[layer].params[key] -= lr * direction
        return loss

    def predict(self, x: Array) -> Array:
        """The most likely class of each image, by the running statistics of batch normalisation."""
        return self.forward(x, training=False).argmax(axis=1)
