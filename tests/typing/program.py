"""A user's program: what mypy says of it, it says of the public surface. `tests/test_typing.py` reads the comments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import reveal_type

import numpy as np

import xlenet
from xlenet import (
    SGD,
    Adam,
    BatchNorm,
    Conv2D,
    Flatten,
    Layer,
    LeNet5,
    Linear,
    MaxPool2D,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Workspace,
    namespace_of,
    to_host,
    use_backend,
)
from xlenet.checkpoint import load_model, save_model
from xlenet.data import Images, generated_digits, hold_out
from xlenet.errors import DataError, XlenetError
from xlenet.functional import conv2d, maxpool2d
from xlenet.schedules import one_cycle
from xlenet.training import Epoch, best_epoch, evaluate, fit, train_step


class Scale(Layer):
    """A layer of one's own."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._add_parameter("weight", np.full(1, factor))

    def _forward(self, x: xlenet.backend.Array, work: Workspace | None) -> tuple[xlenet.backend.Array, object]:
        return self.params["weight"] * x, x

    def _backward(
        self, dy: xlenet.backend.Array, cache: object, need_dx: bool, work: Workspace | None
    ) -> xlenet.backend.Array | None:
        return self.params["weight"] * dy if need_dx else None


def network() -> Sequential:
    return Sequential(
        conv=Conv2D(1, 4, kernel=3, padding="SAME", rng=0), norm=BatchNorm(4), relu=ReLU(),
        pool=MaxPool2D(2), flatten=Flatten(), fc=Linear(4 * 14 * 14, 10),
    )  # fmt: skip


def train() -> list[Epoch]:
    digits = generated_digits(n_train=64, n_test=32)
    images = Images(digits.x_train, digits.y_train)
    model = network()
    reveal_type(model.train())  # Sequential
    optimizer = SGD(model, nesterov=True)
    history = fit(model, images, optimizer=optimizer, epochs=1, batch_size=32, lr=0.01, schedule=one_cycle)
    reveal_type(history[0].test_accuracy)  # float
    best = best_epoch(history)
    reveal_type(best.epoch if best else 0)  # int
    reveal_type(evaluate(model, images).accuracy)  # float
    reveal_type(model.size)  # int
    return history


def names(model: Layer) -> Iterator[str]:
    for name, array in model.named_parameters():
        yield f"{name} {to_host(array).shape}"


def by_hand(path: str) -> None:
    x = np.zeros((2, 1, 28, 28), np.float32)
    with use_backend("numpy"):
        model, loss = LeNet5(rng=0), SoftmaxCrossEntropy()
    optimizer = Adam(model)
    train_step(model, loss, optimizer, x, np.array([1, 2]), lr=0.01)
    y, cache = conv2d.forward(x, np.ones((1, 1, 3, 3), np.float32), stride=2)
    reveal_type(cache)  # tuple
    pooled, pool_cache = maxpool2d.forward(y, 2)
    maxpool2d.backward(namespace_of(pooled).ones_like(pooled), pool_cache)
    reveal_type(hold_out(10, 3))  # tuple
    save_model(path, model, {})
    try:
        state, about = load_model(path, max_bytes=1_000_000)
    except DataError as error:
        reveal_type(error.exit_code)  # int
        raise
    reveal_type(LeNet5().load_state_dict(state))  # LeNet5
    assert issubclass(DataError, XlenetError), (about, list(names(model)), xlenet.__version__)
