"""What a training run is made of: images, network and optimiser, from the options of the command line and the data."""

from __future__ import annotations

import argparse
import platform
from typing import Any, NamedTuple

import numpy as np

from . import __version__
from .backend import Backend
from .data import Augmentation, Dataset, Images, hold_out
from .errors import XlenetError
from .models import LeNet5
from .optim import SGD, Adam, AdamW, Optimizer
from .options import LEARNING_RATES, WEIGHT_DECAYS
from .recipes import RECIPES, STRENGTHS

# Options that decide nothing about the model, or that stand elsewhere in the configuration.
_NOT_OF_THE_RUN = (
    "data_dir", "out", "quiet", "expect", "relu_after_conv3", "resume", "checkpoint_every", "keep",
)  # fmt: skip


class UsageError(XlenetError):
    """The options of a command line do not go together, or not with the data."""

    exit_code = 2


class Experiment(NamedTuple):
    """What takes part in a run."""

    model: LeNet5
    optimizer: Optimizer
    train: Images
    validation: Images | None
    test: Images


def make_experiment(dataset: Dataset, options: argparse.Namespace) -> Experiment:
    """Return all that takes part, with first weights, in the default backend; `options` are complete."""
    model = _make_model(dataset, options)
    return Experiment(model, _make_optimizer(model, options), *_make_images(dataset, options))


def complete(options: argparse.Namespace, dataset: Dataset) -> None:
    """Fill in what follows from the data, from the recipe and from the optimiser, where nothing else was said.

    Raises:
        UsageError: the options do not go with the data.
    """
    here = len(dataset.x_train)
    if options.train_size is None:
        options.train_size = here
    if options.train_size > here:
        raise UsageError(f"--train-size: got {options.train_size}; expected at most {here}, which {dataset.name} has")
    left = options.train_size - (options.validation or 0)
    if left < 1:
        raise UsageError(
            f"--validation: got {options.validation}; expected fewer than the {options.train_size} images to train on"
        )
    recipe = RECIPES[options.recipe]
    if options.batch_size is None:
        options.batch_size = min(recipe["batch_size"], left)
    if options.batch_size > left:
        raise UsageError(f"--batch-size: got {options.batch_size}; expected at most {left}, the number of images")
    usual = LEARNING_RATES[recipe["optimizer"]]
    if LEARNING_RATES[options.optimizer or recipe["optimizer"]] != usual:  # the recipe's rates are for another kind
        rates = {"lr": LEARNING_RATES[options.optimizer], "weight_decay": WEIGHT_DECAYS[options.optimizer]}
        recipe = recipe | rates
    named_plain = options.plain_epochs
    for name, value in recipe.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.plain_epochs >= options.epochs and augmentation(options):
        if named_plain is not None:
            raise UsageError(
                f"--plain-epochs: got {named_plain} of {options.epochs}; expected fewer than there are epochs, where "
                "something is to be distorted"
            )
        options.plain_epochs = options.epochs - 1


def augmentation(options: argparse.Namespace) -> Augmentation:
    """Return how much the images are to be distorted; `options` are complete."""
    return Augmentation(**{name: getattr(options, name) for name in STRENGTHS})


def _make_images(dataset: Dataset, options: argparse.Namespace) -> tuple[Images, Images | None, Images]:
    x, y = dataset.x_train[: options.train_size], dataset.y_train[: options.train_size]
    validation = None
    if options.validation:
        stay, out = hold_out(len(x), options.validation)
        train = Images(x[stay], y[stay])
        validation = Images(x[out], y[out], train.normalization)
    else:
        train = Images(x, y)
    return train, validation, Images(dataset.x_test, dataset.y_test, train.normalization)


def _make_model(dataset: Dataset, options: argparse.Namespace) -> LeNet5:
    return LeNet5(
        dataset.x_train.shape[2],
        relu_after_conv3=options.relu_after_conv3,
        lowering=options.lowering,
        channels=dataset.x_train.shape[1],
        classes=len(dataset.class_names),
        rng=options.seed,
    )


def _make_optimizer(model: LeNet5, options: argparse.Namespace) -> Optimizer:
    if options.optimizer in ("sgd", "nesterov"):
        nesterov = options.optimizer == "nesterov"
        return SGD(
            model, momentum=options.momentum, nesterov=nesterov, weight_decay=options.weight_decay, clip=options.clip
        )
    kind = {"adam": Adam, "adamw": AdamW}[options.optimizer]
    return kind(model, weight_decay=options.weight_decay, clip=options.clip)


def configuration(options: argparse.Namespace, backend: Backend, dataset: Dataset) -> dict[str, Any]:
    """Return everything that decides how the run goes, and nothing of where its files lie."""
    chosen = {k: v for k, v in vars(options).items() if k not in _NOT_OF_THE_RUN}
    architecture = {
        "architecture": "LeNet5",
        "image_size": dataset.x_train.shape[2],
        "channels": dataset.x_train.shape[1],
        "classes": len(dataset.class_names),
        "class_names": list(dataset.class_names),
        "relu_after_conv3": options.relu_after_conv3,
    }
    return chosen | {
        "data": dataset.name,
        "data_digest": dataset.digest(),
        "backend": f"{backend.name} {backend.xp.__version__}",
        "model": architecture,
        "versions": {"xlenet": __version__, "numpy": np.__version__, "python": platform.python_version()},
    }
