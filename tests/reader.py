"""A network that reads digits, trained in two seconds on generated ones: for tests of what is done with it."""

from __future__ import annotations

from functools import cache

import numpy as np

from xlenet import SGD, LeNet5, use_backend
from xlenet.data import Dataset, Images, generated_digits
from xlenet.trained import Trained
from xlenet.training import fit

DIGITS = tuple("0123456789")


@cache
def digits() -> Dataset:
    return generated_digits(n_train=6_000, n_test=1_000)


@cache
def reader() -> Trained:
    """On NumPy; about 93 % right on the test images."""
    data = digits()
    with use_backend("numpy"):
        model = LeNet5(rng=0)
        train = Images(data.x_train, data.y_train)
        fit(model, train, optimizer=SGD(model, nesterov=True), epochs=2, batch_size=64, lr=0.05)
    return Trained(model.eval(), train.normalization, DIGITS, (1, 28, 28), "LeNet-5", "generated")


def accuracy(trained: Trained, images: np.ndarray, labels: np.ndarray) -> float:
    return float((trained.probabilities(images).argmax(axis=1) == labels).mean())
