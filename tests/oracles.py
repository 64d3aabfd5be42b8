"""What each operation means, as slow loops over float64 NumPy arrays.

Nothing here imports xlenet, and nothing here is clever: an oracle is right because it can be read.
`pads` is always ((top, bottom), (left, right)); `kernel`, `stride` and `dilation` are (vertical, horizontal).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray
Pair = tuple[int, int]
Pads = tuple[Pair, Pair]


def same_pads(size: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Pads:
    """TensorFlow's SAME and ONNX's SAME_UPPER: out = ceil(in / stride), the odd row or column at the end."""
    pads = []
    for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        out = -(-n // s)
        total = max((out - 1) * s + (k - 1) * d + 1 - n, 0)
        pads.append((total // 2, total - total // 2))
    return (pads[0], pads[1])


def count_windows(n: int, k: int, s: int, pad: Pair, ceil_mode: bool = False, d: int = 1) -> int:
    """How many windows fit: counted one by one. In ceil_mode the last one may overhang, as in PyTorch."""
    begin, end = pad
    count = 0
    while count * s + (k - 1) * d < begin + n + end:  # the last pixel that the window sees
        count += 1
    covered = (count - 1) * s + (k - 1) * d + 1 >= begin + n + end
    starts_before_the_end_of_the_input = count * s < begin + n
    return count + 1 if ceil_mode and not covered and starts_before_the_end_of_the_input else count


def out_size(
    size: Pair, kernel: Pair, stride: Pair, pads: Pads, ceil_mode: bool = False, dilation: Pair = (1, 1)
) -> Pair:
    return (
        count_windows(size[0], kernel[0], stride[0], pads[0], ceil_mode, dilation[0]),
        count_windows(size[1], kernel[1], stride[1], pads[1], ceil_mode, dilation[1]),
    )


def _window(
    oh: int, ow: int, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair
) -> Iterator[tuple[int, int, int, int]]:
    """Each (i, j, row, column): the place in the window and the place in the input, which may lie outside of it."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            row, column = oh * stride[0] + i * dilation[0], ow * stride[1] + j * dilation[1]
            yield i, j, row - pads[0][0], column - pads[1][0]


def img2col(x: Array, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair = (1, 1)) -> Array:
    n, c, h, w = x.shape
    oh, ow = out_size((h, w), kernel, stride, pads, dilation=dilation)
    cols = np.zeros((n * oh * ow, c * kernel[0] * kernel[1]), x.dtype)
    for b, p, q in np.ndindex(n, oh, ow):
        for i, j, row, column in _window(p, q, kernel, stride, pads, dilation):
            if 0 <= row < h and 0 <= column < w:
                for ch in range(c):
                    cols[(b * oh + p) * ow + q, (ch * kernel[0] + i) * kernel[1] + j] = x[b, ch, row, column]
    return cols


def col2img(
    cols: Array, x_shape: tuple[int, int, int, int], kernel: Pair, stride: Pair, pads: Pads, dilation: Pair = (1, 1)
) -> Array:
    n, c, h, w = x_shape
    oh, ow = out_size((h, w), kernel, stride, pads, dilation=dilation)
    x = np.zeros(x_shape, cols.dtype)
    for b, p, q in np.ndindex(n, oh, ow):
        for i, j, row, column in _window(p, q, kernel, stride, pads, dilation):
            if 0 <= row < h and 0 <= column < w:
                for ch in range(c):
                    x[b, ch, row, column] += cols[(b * oh + p) * ow + q, (ch * kernel[0] + i) * kernel[1] + j]
    return x


def _shares(f: int, c: int, groups: int) -> Iterator[tuple[slice, slice]]:
    """The filters of each group, and the channels that they see."""
    for g in range(groups):
        yield slice(g * f // groups, (g + 1) * f // groups), slice(g * c // groups, (g + 1) * c // groups)


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    pads: Pads,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    n, c, h, w = x.shape
    f, _, kh, kw = weight.shape
    oh, ow = out_size((h, w), (kh, kw), stride, pads, dilation=dilation)
    y = np.zeros((n, f, oh, ow))
    for p, q in np.ndindex(oh, ow):
        for i, j, row, column in _window(p, q, (kh, kw), stride, pads, dilation):
            if 0 <= row < h and 0 <= column < w:
                for some, seen in _shares(f, c, groups):
                    y[:, some, p, q] += x[:, seen, row, column] @ weight[some, :, i, j].T  # (n, f) += (n, c) @ (c, f)
    return y if bias is None else y + bias.reshape(1, f, 1, 1)


def conv2d_gradients(
    x: Array, weight: Array, dy: Array, stride: Pair, pads: Pads, dilation: Pair = (1, 1), groups: int = 1
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias of sum(y * dy): nothing is divided by the batch."""
    _, c, h, w = x.shape
    f, _, kh, kw = weight.shape
    dx, dweight, dbias = np.zeros(x.shape), np.zeros(weight.shape), np.zeros(f)
    for p, q in np.ndindex(*dy.shape[2:]):
        for image in dy:
            dbias += image[:, p, q]
        for i, j, row, column in _window(p, q, (kh, kw), stride, pads, dilation):
            if 0 <= row < h and 0 <= column < w:
                for some, seen in _shares(f, c, groups):
                    dx[:, seen, row, column] += dy[:, some, p, q] @ weight[some, :, i, j]  # (n, c) += (n, f) @ (f, c)
                    dweight[some, :, i, j] += dy[:, some, p, q].T @ x[:, seen, row, column]  # (f, c) += (f, n) @ (n, c)
    return dx, dweight, dbias


def maxpool2d(
    x: Array, kernel: Pair, stride: Pair, pads: Pads, ceil_mode: bool = False, dilation: Pair = (1, 1)
) -> tuple[Array, Array]:
    """The maxima, and where each was first met in row-major order: (n, c, oh, ow, 2). Padding never wins."""
    n, c, h, w = x.shape
    oh, ow = out_size((h, w), kernel, stride, pads, ceil_mode, dilation)
    y = np.zeros((n, c, oh, ow), x.dtype)
    winners = np.zeros((n, c, oh, ow, 2), int)
    for b, ch, p, q in np.ndindex(n, c, oh, ow):
        best = None
        for _, _, row, column in _window(p, q, kernel, stride, pads, dilation):
            inside = 0 <= row < h and 0 <= column < w
            if inside and (best is None or x[b, ch, row, column] > best):
                best = x[b, ch, row, column]
                winners[b, ch, p, q] = row, column
        assert best is not None, "a window with nothing but padding has no maximum: choose another case"
        y[b, ch, p, q] = best
    return y, winners


def maxpool2d_gradient(
    x: Array, dy: Array, kernel: Pair, stride: Pair, pads: Pads, ceil_mode: bool = False, dilation: Pair = (1, 1)
) -> Array:
    _, winners = maxpool2d(x, kernel, stride, pads, ceil_mode, dilation)
    dx = np.zeros(x.shape)
    for b, ch, p, q in np.ndindex(*dy.shape):
        row, column = winners[b, ch, p, q]
        dx[b, ch, row, column] += dy[b, ch, p, q]
    return dx


def window_places(
    size: Pair, kernel: Pair, stride: Pair, pads: Pads, ceil_mode: bool = False, dilation: Pair = (1, 1)
) -> dict[Pair, tuple[list[Pair], int]]:
    """For each window the pixels that it sees, and how many places of it lie in the image or its padding."""
    found = {}
    for p, q in np.ndindex(*out_size(size, kernel, stride, pads, ceil_mode, dilation)):
        pixels, counted = [], 0
        for _, _, row, column in _window(p, q, kernel, stride, pads, dilation):
            if 0 <= row < size[0] and 0 <= column < size[1]:
                pixels.append((row, column))
            if row < size[0] + pads[0][1] and column < size[1] + pads[1][1]:
                counted += 1
        found[p, q] = pixels, counted
    return found


def avgpool2d(
    x: Array, kernel: Pair, stride: Pair, pads: Pads, ceil_mode: bool, count_include_pad: bool, dilation: Pair = (1, 1)
) -> Array:
    """Exactly rounded sums, divided by how many numbers count."""
    places = window_places(x.shape[2:], kernel, stride, pads, ceil_mode, dilation)
    y = np.zeros((*x.shape[:2], *(1 + max(index[axis] for index in places) for axis in (0, 1))))
    for (p, q), (pixels, counted) in places.items():
        for b, ch in np.ndindex(*x.shape[:2]):
            total = math.fsum(x[b, ch, row, column] for row, column in pixels)
            y[b, ch, p, q] = total / (counted if count_include_pad else len(pixels))
    return y


def avgpool2d_gradient(
    x_shape: tuple[int, ...], dy: Array, kernel: Pair, stride: Pair, pads: Pads, ceil_mode: bool,
    count_include_pad: bool, dilation: Pair = (1, 1),
) -> Array:  # fmt: skip
    dx = np.zeros(x_shape)
    for (p, q), (pixels, counted) in window_places(x_shape[2:], kernel, stride, pads, ceil_mode, dilation).items():
        for row, column in pixels:
            dx[:, :, row, column] += dy[:, :, p, q] / (counted if count_include_pad else len(pixels))
    return dx


def sigmoid(x: Array) -> Array:
    def of_one(v: float) -> float:
        return 1 / (1 + math.exp(-v)) if v > -700 else math.exp(v)

    return np.array([of_one(float(v)) for v in x.ravel()]).reshape(x.shape)


def lowbias32(v: int) -> int:
    """C. Wellons, Prospecting for Hash Functions (2018), with whole numbers of any length cut to 32 bits."""
    v ^= v >> 16
    v = v * 0x7FEB352D % 2**32
    v ^= v >> 15
    v = v * 0x846CA68B % 2**32
    return v ^ v >> 16


def random_bits(count: int, seed: int, step: int) -> list[int]:
    """The 32 bits of each index below `count`, one after the other."""
    low = lowbias32((seed + 0x9E3779B9) % 2**32)
    high = lowbias32((seed // 2**32 + low) % 2**32)
    first = lowbias32(step % 2**32 ^ low)
    second = lowbias32((first + high) % 2**32)
    return [lowbias32((lowbias32(i ^ first) + second) % 2**32) for i in range(count)]


def dropout_factor(shape: tuple[int, ...], p: float, seed: int, step: int) -> Array:
    """By what each number is multiplied: 0, or 1 / (1 - p). One number after the other, in row-major order."""
    drawn = random_bits(math.prod(shape), seed, step)
    return np.array([1 / (1 - p) if bits >= int(p * 2**32) else 0 for bits in drawn]).reshape(shape)


class Distortion:
    """How one image is distorted, by its 104 numbers from -1 to below 1."""

    def __init__(self, numbers: list[float], size: Pair, by: tuple[float, float, float, float, float]) -> None:
        rotation, shift, scale, shear, elastic = by
        angle = math.radians(numbers[0] * rotation)
        rotated = np.array(
            [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
        )  # of (down, across)
        sheared = np.array([[1, 0], [numbers[3] * math.tan(math.radians(shear)), 1]])
        scaled = np.diag([1 / (1 + numbers[1] * scale), 1 / (1 + numbers[2] * scale)])
        self.matrix = scaled @ rotated @ sheared
        self.shift = np.array(numbers[4:6]) * shift
        self.bends = np.array(numbers[6:]).reshape(7, 2, 7) * elastic  # (row of the net, down or across, column)
        self.size, self.middle = size, (np.array(size) - 1) / 2

    def position(self, row: int, column: int) -> Array:
        """Where in the image a pixel of the result takes its value from."""
        position = self.matrix @ (np.array([row, column]) - self.middle) + self.middle + self.shift
        down, across = net_weights(row, self.size[0]), net_weights(column, self.size[1])
        for j, k in np.ndindex(7, 7):
            position = position + down[j] * across[k] * self.bends[j, :, k]
        return position


def distortions(
    shape: tuple[int, int, int, int], seed: int, step: int, by: tuple[float, float, float, float, float]
) -> list[Distortion]:
    """How each image of a batch is distorted."""
    drawn = [(bits // 2**8) / 2**23 - 1 for bits in random_bits(shape[0] * 104, seed, step)]
    return [Distortion(drawn[b * 104 : (b + 1) * 104], (shape[2], shape[3]), by) for b in range(shape[0])]


def net_weights(pixel: int, size: int) -> list[float]:
    """How much each of 7 control points counts for a pixel. The second lies at the first one, the sixth at the last."""
    place = 4 * pixel / (size - 1) if size > 1 else 0
    return [b_spline(place - (k - 3), 3) for k in range(7)]


def b_spline(t: float, degree: int) -> float:
    """The B-spline with knots 0, 1, ..., degree + 1, by Cox and de Boor."""
    if degree == 0:
        return 1.0 if 0 <= t < 1 else 0.0
    return (t * b_spline(t, degree - 1) + (degree + 1 - t) * b_spline(t - 1, degree - 1)) / degree


def distort(
    x: Array, seed: int, step: int, by: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
) -> Array:
    """Pixel by pixel, bilinear; beyond its edges an image goes on as its nearest pixel."""
    y = np.zeros(x.shape)
    for image, result, how in zip(x, y, distortions(x.shape, seed, step, by), strict=True):
        for row, column in np.ndindex(*x.shape[2:]):
            result[:, row, column] = bilinear(image.astype(float), *how.position(row, column))
    return y


def bilinear(image: Array, down: float, across: float) -> Array:
    """The value of each channel between four pixels."""
    _, h, w = image.shape
    top, left = math.floor(down), math.floor(across)
    total = np.zeros(image.shape[0])
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        weight = (1 - abs(down - row)) * (1 - abs(across - column))
        total += weight * image[:, min(max(row, 0), h - 1), min(max(column, 0), w - 1)]
    return total


def channel_values(x: Array) -> list[Array]:
    """The values that share a mean: one flat array for each channel, of (N, C) or (N, C, H, W)."""
    return [np.asarray(x[:, ch], np.float64).ravel() for ch in range(x.shape[1])]


def mean_and_variance(x: Array) -> tuple[Array, Array]:
    """Exactly rounded sums, the variance about the mean and biased (divided by n)."""
    means, variances = [], []
    for values in channel_values(x):
        mean = math.fsum(values) / values.size
        means.append(mean)
        variances.append(math.fsum((values - mean) ** 2) / values.size)
    return np.array(means), np.array(variances)


def batchnorm(x: Array, weight: Array, bias: Array, mean: Array, var: Array, eps: float) -> Array:
    y = np.zeros(x.shape)
    for ch in range(x.shape[1]):
        y[:, ch] = (x[:, ch] - mean[ch]) / math.sqrt(var[ch] + eps) * weight[ch] + bias[ch]
    return y


def batchnorm_training_gradients(x: Array, weight: Array, dy: Array, eps: float) -> tuple[Array, Array, Array]:
    """By the whole Jacobian of each channel: d xhat_i / d x_j = (delta_ij - 1/n - xhat_i xhat_j / n) / sigma."""
    means, variances = mean_and_variance(x)
    dx, dweight, dbias = np.zeros(x.shape), np.zeros(weight.shape), np.zeros(weight.shape)
    for ch, (values, g) in enumerate(zip(channel_values(x), channel_values(dy), strict=True)):
        sigma = math.sqrt(variances[ch] + eps)
        xhat = (values - means[ch]) / sigma
        n = values.size
        jacobian = (np.eye(n) - 1 / n - np.outer(xhat, xhat) / n) / sigma
        dx[:, ch] = (weight[ch] * (jacobian.T @ g)).reshape(dx[:, ch].shape)
        dweight[ch] = math.fsum(g * xhat)
        dbias[ch] = math.fsum(g)
    return dx, dweight, dbias


def batchnorm_evaluation_gradients(
    x: Array, weight: Array, dy: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """The statistics are constants: dx is dy times one number for each channel."""
    dx, dweight, dbias = np.zeros(x.shape), np.zeros(weight.shape), np.zeros(weight.shape)
    for ch, (values, g) in enumerate(zip(channel_values(x), channel_values(dy), strict=True)):
        sigma = math.sqrt(var[ch] + eps)
        dx[:, ch] = dy[:, ch] * (weight[ch] / sigma)
        dweight[ch] = math.fsum(g * (values - mean[ch]) / sigma)
        dbias[ch] = math.fsum(g)
    return dx, dweight, dbias


def linear(x: Array, weight: Array, bias: Array | None) -> Array:
    y = np.zeros((x.shape[0], weight.shape[0]))
    for n, o in np.ndindex(*y.shape):
        y[n, o] = math.fsum(x[n] * weight[o]) + (0.0 if bias is None else bias[o])
    return y


def linear_gradients(x: Array, weight: Array, dy: Array) -> tuple[Array, Array, Array]:
    dx, dweight, dbias = np.zeros(x.shape), np.zeros(weight.shape), np.zeros(weight.shape[0])
    for n, o in np.ndindex(*dy.shape):
        dx[n] += dy[n, o] * weight[o]
        dweight[o] += dy[n, o] * x[n]
        dbias[o] += dy[n, o]
    return dx, dweight, dbias


def softmax_cross_entropy(logits: Array, labels: Array) -> float:
    """The mean over the batch of log(sum(exp(z))) - z[label], with the largest logit taken out first."""
    losses = []
    for row, label in zip(logits, labels, strict=True):
        top = max(float(z) for z in row)
        losses.append(top + math.log(math.fsum(math.exp(float(z) - top) for z in row)) - float(row[label]))
    return math.fsum(losses) / len(losses)


def softmax_cross_entropy_gradient(logits: Array, labels: Array) -> Array:
    dlogits = np.zeros(logits.shape)
    for n, (row, label) in enumerate(zip(logits, labels, strict=True)):
        top = max(float(z) for z in row)
        exps = [math.exp(float(z) - top) for z in row]
        for k, e in enumerate(exps):
            dlogits[n, k] = (e / math.fsum(exps) - (k == label)) / len(labels)
    return dlogits


def lines(shape: tuple[int, ...], axis: int) -> Iterator[tuple[int | slice, ...]]:
    """An index for each line of numbers along `axis`."""
    for index in np.ndindex(*(1 if i == axis % len(shape) else n for i, n in enumerate(shape))):
        yield tuple(slice(None) if i == axis % len(shape) else j for i, j in enumerate(index))


def softmax(x: Array, axis: int) -> Array:
    y = np.zeros(x.shape)
    for line in lines(x.shape, axis):
        top = max(float(v) for v in x[line])
        exps = [math.exp(float(v) - top) for v in x[line]]
        y[line] = [e / math.fsum(exps) for e in exps]
    return y


def softmax_gradient(x: Array, dy: Array, axis: int) -> Array:
    """By the whole Jacobian of each line: d y_i / d x_j = y_i (delta_ij - y_j)."""
    dx, y = np.zeros(x.shape), softmax(x, axis)
    for line in lines(x.shape, axis):
        for j in range(len(y[line])):
            dx[line][j] = math.fsum(
                g * p * ((i == j) - y[line][j]) for i, (g, p) in enumerate(zip(dy[line], y[line], strict=True))
            )
    return dx


def log_softmax(x: Array, axis: int) -> Array:
    y = np.zeros(x.shape)
    for line in lines(x.shape, axis):
        top = max(float(v) for v in x[line])
        total = math.fsum(math.exp(float(v) - top) for v in x[line])
        y[line] = [float(v) - top - math.log(total) for v in x[line]]
    return y


def log_softmax_gradient(x: Array, dy: Array, axis: int) -> Array:
    """By the whole Jacobian of each line: d y_i / d x_j = delta_ij - softmax_j."""
    dx, p = np.zeros(x.shape), softmax(x, axis)
    for line in lines(x.shape, axis):
        for j in range(len(p[line])):
            dx[line][j] = math.fsum(g * ((i == j) - p[line][j]) for i, g in enumerate(dy[line]))
    return dx


def weight_of(label: int, weight: Array | None, ignore_index: int | None) -> float:
    """How much a sample with this label counts."""
    if label == ignore_index:
        return 0.0
    return 1.0 if weight is None else float(weight[label])


def nll_loss(
    log_p: Array, labels: Array, weight: Array | None, ignore_index: int | None, reduction: str
) -> float | Array:
    """-log p of the right class by its weight, for the sample at each place: one by one, added up, or on average."""
    losses, weights = np.zeros(labels.shape), []
    for n, *place in np.ndindex(*labels.shape):
        label = int(labels[n, *place])
        weights.append(weight_of(label, weight, ignore_index))
        if weights[-1]:
            losses[n, *place] = -weights[-1] * log_p[n, label, *place]
    if reduction == "none":
        return losses
    return math.fsum(losses.ravel()) / (math.fsum(weights) if reduction == "mean" else 1)


def nll_loss_gradient(
    log_p: Array, labels: Array, weight: Array | None, ignore_index: int | None, reduction: str, dloss: Any
) -> Array:
    gradient = np.zeros(log_p.shape)
    total = math.fsum(weight_of(int(label), weight, ignore_index) for label in labels.ravel())
    for n, *place in np.ndindex(*labels.shape):
        label = int(labels[n, *place])
        if label != ignore_index:
            here = dloss[n, *place] if reduction == "none" else dloss / total if reduction == "mean" else dloss
            gradient[n, label, *place] = -weight_of(label, weight, ignore_index) * here
    return gradient
