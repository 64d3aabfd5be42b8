"""How much training images are distorted, and the one who does it, step by step."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..backend import Array, copy, on_device_of, to_device, zeros
from ..checks import check_axes, check_floating, check_kind, integer, number
from ..workspace import Workspace
from .distort import distort, spline
from .examples import Labelled

STREAM = 2  # of random numbers under a seed: the parameters come from the seed itself, the order of images from 1
_FAR = 1e6  # pixels: beyond any image, and within what float32 can tell apart


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How much each training image is distorted by chance, in another way in every epoch: none of it by default.

    Each number is the largest of what is drawn, evenly between it and its negative, for each image on its own.

    Attributes:
        rotation: degrees, 0 to 180.
        shift: pixels, down or up and right or left, 0 to below a million.
        scale: share by which height and width become larger or smaller, each on its own, 0 to below 1.
        shear: degrees, 0 to below 90; drawn evenly by its tangent: how far rows are moved against each other.
        elastic: pixels by which each of 7 x 7 control points is moved, on its own: bends the image; 0 to below a
            million.
        plain_epochs: so many of a run's last epochs have the images as they are, 0 or more.

    Raises:
        TypeError, ValueError: a number is of another kind, or out of range.

    Example:
        >>> Augmentation(rotation=10, shift=1.5)
        Augmentation(rotation=10.0, shift=1.5, scale=0.0, shear=0.0, elastic=0.0, plain_epochs=0)
    """

    rotation: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    plain_epochs: int = 0

    def __post_init__(self) -> None:
        def check(name: str, below: float, *, closed: bool = False) -> None:
            value = number("Augmentation", name, getattr(self, name), 0.0, below, closed=closed)
            object.__setattr__(self, name, value)  # frozen for everybody else

        check("rotation", 180.0, closed=True)
        check("shift", _FAR)
        check("scale", 1.0)
        check("shear", 90.0)
        check("elastic", _FAR)
        object.__setattr__(self, "plain_epochs", integer("Augmentation", "plain_epochs", self.plain_epochs, 0))

    @property
    def by(self) -> tuple[float, float, float, float, float]:
        """The largest of what is drawn, as `xlenet.data.distort.distort` takes it."""
        return self.rotation, self.shift, self.scale, self.shear, self.elastic

    def __bool__(self) -> bool:
        """Whether anything is distorted."""
        return any(self.by)


def check_augmentation(augmentation: Any, train: Labelled, epochs: int) -> tuple[int, int] | None:
    """Say what is wrong with an augmentation, or with what it is for; return height and width of the images to be
    distorted, or None where nothing is.
    """
    if augmentation is None:
        return None
    check_kind("fit", "augmentation", augmentation, Augmentation, "an xlenet.data.Augmentation, or None")
    if not augmentation:
        return None
    if augmentation.plain_epochs >= epochs:
        raise ValueError(
            f"fit: got plain_epochs {augmentation.plain_epochs} of {epochs} epochs; expected fewer, so that some are "
            "distorted; train longer, or leave the augmentation out"
        )
    shape = tuple(train.batch(slice(0, 1))[0].shape)  # a data set of one's own may make another one than it keeps
    if len(shape) != 4:
        raise ValueError(
            f"fit: got an augmentation for examples of shape {shape[1:]}; expected images (C, H, W); reshape them, or "
            "leave the augmentation out"
        )
    return shape[2:]


class Augmenter:
    """Distorts one batch of a run after another.

    Args:
        augmentation: how much.
        shape: height and width of the images.
        like: an array of their floating type, where they are.
        seed: of the run.
        steps: how many batches there have been.
    """

    def __init__(self, augmentation: Augmentation, shape: tuple[int, int], like: Array, seed: int, steps: int) -> None:
        dtype = str(like.dtype).rpartition(".")[2]
        self._augmentation = augmentation
        self._seed = int(np.random.default_rng([seed, STREAM]).integers(2**63))
        self._rows, self._columns = (to_device(spline(size).astype(dtype), like=like) for size in shape)
        self._step = zeros((1,), like=like, dtype="int64")
        with on_device_of(self._step):
            self._step[...] = steps & 0xFFFFFFFF  # as many bits as the hash reads
        self._is_on = True

    def begin(self, epoch: int, epochs: int) -> None:
        """Prepare an epoch, counted from 1."""
        self._is_on = epoch <= epochs - self._augmentation.plain_epochs

    def __call__(self, x: Array, work: Workspace | None) -> Array:
        """Return the next batch as it is to be learnt."""
        if not self._is_on:
            return x
        y = distort(x, self._rows, self._columns, self._step, self._augmentation.by, self._seed, work=work)
        with on_device_of(self._step):
            self._step += 1  # in place: a recorded step counts by itself
        return y


def augment(x: Array, augmentation: Augmentation, *, seed: int = 0, step: int = 0) -> Array:
    """Return the images distorted, each in its own way, as a run does with its batches: for a loop of one's own.

    Args:
        x: images (N, C, H, W), float32 or float64.
        augmentation: how much.
        seed: of what is drawn, 0 or more.
        step: another one for each batch, 0 or more.

    Returns:
        Images of the shape and type of x. What lies beyond the edges of an image is like its edge.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> x = np.zeros((2, 1, 28, 28), np.float32)
        >>> x[:, :, 10:18, 10:18] = 1.0
        >>> y = augment(x, Augmentation(rotation=20, elastic=2), seed=0, step=3)
        >>> y.shape, round(float(abs(y[0] - y[1]).max()), 1)
        ((2, 1, 28, 28), 1.0)
    """
    check_floating("augment", x=x)
    check_axes("augment", "(N, C, H, W)", x=x)
    check_kind("augment", "augmentation", augmentation, Augmentation, "an xlenet.data.Augmentation")
    seed, step = integer("augment", "seed", seed, 0), integer("augment", "step", step, 0)
    if not augmentation:
        return copy(x)
    return Augmenter(augmentation, x.shape[2:], x, seed, step)(x, None)
