"""Networks of all layers, drawn at random, that fit together."""

from __future__ import annotations

from typing import Any

import numpy as np

from xlenet import (
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
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)


def randomise(model: Layer, rng: np.random.Generator) -> Layer:
    """Give every parameter and buffer numbers that show when they are exchanged."""
    state = {}
    for name, array in model.state_dict().items():
        low, high = (0.5, 2.0) if name.endswith("running_var") else (-1.0, 1.0)
        state[name] = rng.uniform(low, high, array.shape).astype(str(array.dtype).rpartition(".")[2])
    return model.load_state_dict(state)


def draw(rng: np.random.Generator, dtype: str = "float32") -> tuple[Sequential, tuple[int, ...]]:
    """A Sequential of up to eight random layers, and the shape of one x. Windows never lie in the padding alone."""
    c, h, w = (int(n) for n in rng.integers(1, (7, 13, 13)))
    shape: tuple[int, ...] = (c, h, w) if rng.random() < 0.8 else (c,)
    start, layers = shape, dict[str, Layer]()
    for number in range(int(rng.integers(1, 9))):
        layer = _one(rng, shape, dtype)
        try:
            shape = layer.infer(np.zeros((1, *shape), dtype)).shape[1:]
        except ValueError:  # a kernel that does not fit
            continue
        layers[f"step{number}"] = layer
    layers = layers or {"relu": ReLU()}
    inner = Sequential(**layers) if rng.random() < 0.2 else None
    model = Sequential(whole=inner) if inner is not None else Sequential(**layers)
    randomise(model, rng)
    return model, start


def _one(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Layer:
    pick = rng.choice
    plain: list[Any] = [ReLU, Tanh, Sigmoid, Dropout, Flatten]
    anywhere: list[Any] = [
        *(lambda kind=kind: kind() for kind in plain),
        lambda: pick([Softmax, LogSoftmax])(int(rng.integers(1, len(shape) + 1)) * int(pick([1, 1]))),
        lambda: Softmax(-1),
    ]
    if len(shape) in (1, 3):
        anywhere.append(lambda: BatchNorm(shape[0], eps=float(pick([1e-5, 1e-3])), dtype=dtype))
    if len(shape) == 1:
        anywhere += [lambda: Linear(shape[0], int(rng.integers(1, 9)), bool(pick([True, False])), dtype=dtype)] * 4
        if shape[0] % 2 == 0:
            anywhere += [lambda: Reshape((2, -1, 1)), lambda: Reshape((shape[0] // 2, 1, 2))]
    if len(shape) == 3:
        anywhere += [lambda: Permute((0, *(int(a) for a in rng.permutation(3) + 1))), GlobalAvgPool2D]
        anywhere += [lambda: _conv(rng, shape, dtype)] * 4 + [lambda: _pool(rng)] * 4
    layer: Layer = anywhere[int(rng.integers(len(anywhere)))]()
    return layer


def _windows(rng: np.random.Generator) -> dict[str, Any]:
    kernel = tuple(int(n) for n in rng.integers(1, 5, 2))
    padding = [
        0, "SAME", "VALID",
        tuple(int(rng.integers(k)) for k in kernel),
        tuple((int(rng.integers(k)), int(rng.integers(k))) for k in kernel),
    ][int(rng.integers(5))]  # fmt: skip
    return {"kernel": kernel, "stride": tuple(int(n) for n in rng.integers(1, 4, 2)), "padding": padding}


def _conv(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Layer:
    c = shape[0]
    groups = int(rng.choice([g for g in range(1, c + 1) if c % g == 0]))
    dilation = tuple(int(n) for n in rng.integers(1, 3, 2))
    return Conv2D(
        c, groups * int(rng.integers(1, 4)), **_windows(rng), dilation=dilation, groups=groups,
        bias=bool(rng.integers(2)), dtype=dtype,
    )  # fmt: skip


def _pool(rng: np.random.Generator) -> Layer:
    how = _windows(rng) | {"ceil_mode": bool(rng.integers(2))}
    if rng.integers(2):
        return MaxPool2D(**how, dilation=tuple(int(n) for n in rng.integers(1, 3, 2)))
    return AvgPool2D(**how, count_include_pad=bool(rng.integers(2)))
