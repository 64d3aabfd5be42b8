"""A trained network as a file holds it: ready to be asked, with what its pictures must look like."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .backend import Array, to_device
from .checkpoint import load_model
from .checks import check_path
from .data import Normalization
from .data.host import on_host
from .errors import DataError, DataNotFoundError, shown
from .layers import Layer, Permute, Sequential, Softmax
from .models import LeNet5
from .training import predict

_MOST_CLASSES, _MOST_CHANNELS, _MOST_LETTERS = 100_000, 1_000, 200
_MOST_NUMBERS = 1 << 22  # in one image that an ONNX file asks for
# Mean and standard deviation of MNIST's training images, as they are given everywhere, in pixels of 0 to 255.
_MNIST = 0.1307 * 255.0, 0.3081 * 255.0
_DIGITS = "mnist", "generated"
BEST = "best.safetensors"  # of a run: what did best on the images held out


class Trained(NamedTuple):
    """A network and what it was trained on.

    Attributes:
        model: gives logits (N, K); in evaluation mode, in the default backend.
        normalization: mean and standard deviation of each channel of its training images, in pixels of 0 to 255.
        class_names: name of each class.
        image_shape: (C, H, W) of the images that it takes.
        title: what it is, in words.
        data: name of the data that it was trained on; None where the file does not say.
        data_digest: digest of these data, as from `xlenet.data.Dataset.digest`; None where the file does not say.
    """

    model: Layer
    normalization: Normalization
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    title: str
    data: str | None = None
    data_digest: str | None = None

    @property
    def reads_digits(self) -> bool:
        """Whether it wants its images as MNIST has them: grey, 28 x 28 (or 32 x 32), and trained on MNIST or generated
        digits; or, where the file does not say on what, with ten classes named 0 to 9.
        """
        grey_and_small = self.image_shape in ((1, 28, 28), (1, 32, 32))
        known = self.data in _DIGITS if self.data is not None else self.class_names == tuple("0123456789")
        return grey_and_small and known

    def probabilities(self, images: Array) -> Array:
        """Return how probable each class is for each image.

        Args:
            images: (N, C, H, W) of `image_shape`, uint8, host NumPy.

        Returns:
            (N, K), on the host; each row adds up to 1.

        Raises:
            TypeError: they are not uint8, or not on the host.
            ValueError: they have another shape, or there is none.
            DataError: the network makes numbers of them that are not finite.

        Example:
            >>> one = Trained(LeNet5(rng=0).eval(), Normalization((33.3,), (78.6,)), (), (1, 28, 28), "LeNet-5")
            >>> one.probabilities(np.zeros((2, 1, 28, 28), np.uint8)).shape
            (2, 10)
        """
        pixels = on_host("probabilities", "images", images)
        if pixels.dtype != np.uint8:
            raise TypeError(f"probabilities: got images {pixels.dtype}; expected uint8; pass pixels of 0 to 255")
        if pixels.ndim != 4 or pixels.shape[1:] != self.image_shape or not len(pixels):
            raise ValueError(
                f"probabilities: got images of shape {pixels.shape}; expected (N, {str(self.image_shape)[1:]}, N at "
                "least 1; scale them to that size"
            )
        with np.errstate(all="ignore"):  # it is said in words
            found = predict(self.model, pixels, normalization=self.normalization)
        if not np.isfinite(found).all():
            raise DataError(
                "probabilities: got numbers that are not finite from the network; expected finite ones; its weights or "
                "its normalization are out of all proportion: train it again"
            )
        return found

    def about(self) -> dict[str, Any]:
        """Return what a file must say of it besides its arrays, as JSON: for `save_model` and `export_onnx`."""
        told: dict[str, Any] = {
            "class_names": list(self.class_names),
            "normalization": {name: list(values) for name, values in self.normalization._asdict().items()},
        }
        told |= {name: said for name in ("data", "data_digest") if (said := getattr(self, name)) is not None}
        if isinstance(self.model, LeNet5):
            told |= {
                "architecture": "LeNet5",
                "image_size": self.image_shape[1],
                "channels": self.image_shape[0],
                "classes": len(self.class_names),
                "relu_after_conv3": "relu3" in self.model,
            }
        return told


def trained_file(path: str | os.PathLike[str]) -> Path:
    """Return the file that is meant: `path`, or, of the folder of a run, ``best.safetensors`` if there is one and else
    ``model.safetensors``.

    Raises:
        DataNotFoundError: the folder has neither.
    """
    check_path("load_trained", path)
    whole = Path(path)
    try:
        if not whole.is_dir():
            return whole
    except ValueError:  # no file can have such a name: whoever opens it says so
        return whole
    for name in (BEST, "model.safetensors"):
        if (whole / name).exists():
            return whole / name
    raise DataNotFoundError(
        f"load_trained: got {str(whole)!r}, a folder without best.safetensors or model.safetensors; expected the "
        "folder of a run that has come to its end; name it, or a model's file"
    )


def load_trained(path: str | os.PathLike[str]) -> Trained:
    """Return a trained network out of a file: what ``python -m xlenet.train`` has left, an ONNX file, or the weights of
    a LeNet-5 that another program has saved as safetensors.

    Nothing that the file says is believed before it has been compared with the arrays in it. Where it does not say how
    to normalise images, those of safetensors are taken for MNIST's (mean 0.1307, standard deviation 0.3081), and those
    of ONNX are scaled from 0 to 1; `Trained.title` tells. A `Softmax` at the end is left out: the model gives logits.

    Args:
        path: a file, of ONNX if its name ends in ``.onnx``; or the folder of a run: see `trained_file`.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is damaged, of another kind, or what it says does not fit its arrays.
        TypeError: `path` is none.
        MissingExtraError: it is an ONNX file, and onnx is not installed.

    Example:
        >>> import tempfile
        >>> from xlenet.checkpoint import save_arrays
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_arrays(folder + "/of_torch.safetensors", LeNet5(classes=3, rng=0).state_dict(), {})
        ...     trained = load_trained(folder + "/of_torch.safetensors")
        >>> trained.image_shape, trained.class_names
        ((1, 28, 28), ('0', '1', '2'))
    """
    file = trained_file(path)
    if file.suffix.lower() == ".onnx":
        return _of_onnx(file)
    return as_trained(*load_model(file), str(file))


def as_trained(state: Mapping[str, Any], about: Mapping[str, Any], file: str) -> Trained:
    """Return the network that arrays and words about them make, having compared them with each other.

    Args:
        state: host arrays by their names.
        about: what is said about them; empty where nothing is.
        file: where they are from, for messages.

    Raises:
        DataError: they are no trained network, or do not fit each other.

    Example:
        >>> as_trained(LeNet5(classes=3, rng=0).state_dict(), {}, "of_torch").class_names
        ('0', '1', '2')
    """
    try:
        return _of_about(state, about) if about else _of_shapes(state)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"load_trained: got {file!r}, a file of arrays that is no trained network ({_reason(error)}); "
            "expected a model that python -m xlenet.train has left, or the weights of such a LeNet-5; name its "
            "model.safetensors"
        ) from error


def _reason(error: Exception) -> str:
    return f"it says nothing of {error}" if isinstance(error, KeyError) else str(error)


def _dtype(model: Layer) -> str:
    """Return the type of numbers that a model takes, as NumPy calls it."""
    return next((str(array.dtype).rpartition(".")[2] for _, array in model.named_parameters()), "float32")


# ==== safetensors ====


def _of_about(state: Mapping[str, Any], about: Mapping[str, Any]) -> Trained:
    """A network with all that is said about it."""
    if about["architecture"] != "LeNet5":
        raise ValueError(f"the architecture is {shown(about['architecture'])}")
    classes = _whole("classes", about["classes"], _MOST_CLASSES)
    channels = _whole("channels", about["channels"], _MOST_CHANNELS)
    size, relu = about["image_size"], about["relu_after_conv3"]
    if type(size) is not int or type(relu) is not bool:
        raise ValueError(f"image_size {shown(size)}, relu_after_conv3 {shown(relu)}")
    if (channels, classes) != _sizes(state):
        raise ValueError(f"{channels} channels and {classes} classes, and its arrays have {_sizes(state)}")
    _check_variances(state)
    model = LeNet5(size, channels=channels, classes=classes, relu_after_conv3=relu, rng=0)
    model.load_state_dict(state).eval()
    normalization = _normalization(about["normalization"], channels)
    return Trained(
        model,
        normalization,
        _names(about, classes),
        (channels, size, size),
        "LeNet-5",
        _text(about, "data"),
        _text(about, "data_digest"),
    )


def _of_shapes(state: Mapping[str, Any]) -> Trained:
    """A network about which nothing is said: its sizes are those of its arrays, its images are taken for MNIST's."""
    channels, classes = _sizes(state)
    _check_variances(state)
    model = LeNet5(channels=channels, classes=classes, rng=0).load_state_dict(state).eval()
    mean, std = _MNIST
    title = "LeNet-5 (its file does not say how to normalise images: as MNIST, mean 0.1307, std 0.3081)"
    normalization = Normalization((mean,) * channels, (std,) * channels)
    return Trained(model, normalization, _names({}, classes), (channels, 28, 28), title)


def _sizes(state: Mapping[str, Any]) -> tuple[int, int]:
    """Return channels and classes by the arrays that are there: they need no more memory than the file has."""
    first, last = (state[name].shape for name in ("conv1.weight", "fc5.weight"))
    if len(first) != 4 or len(last) != 2:
        raise ValueError(f"conv1.weight of shape {shown(first)}, fc5.weight of shape {shown(last)}")
    return (
        _whole("channels in conv1.weight", first[1], _MOST_CHANNELS),
        _whole("classes in fc5.weight", last[0], _MOST_CLASSES),
    )


def _check_variances(state: Mapping[str, Any]) -> None:
    for name, array in state.items():
        if name.endswith("running_var") and array.size and not array.min() >= 0:
            raise ValueError(f"{shown(name)} has a variance of {array.min():g}")


# ==== ONNX ====


def _of_onnx(file: Path) -> Trained:
    from .interop import import_onnx

    model: Any = import_onnx(file)
    about: Any = model.about
    try:
        if not isinstance(about, dict):
            raise ValueError(f"{shown(about)} about it")
        network, shape = _channels_first(_without_softmax(model), tuple(model.input_shape))
        classes = _count_classes(network, shape)
        channels = shape[0]
        said = about.get("normalization")
        normalization = (
            _normalization(said, channels)
            if said is not None
            else Normalization((0.0,) * channels, (255.0,) * channels)
        )
        names = _names(about, classes)
        title = "LeNet-5 as ONNX" if about.get("architecture") == "LeNet5" else "an ONNX network"
        if said is None:
            title += " (its file does not say how to normalise images: from 0 to 1)"
        return Trained(network, normalization, names, shape, title, _text(about, "data"), _text(about, "data_digest"))
    except (KeyError, TypeError, ValueError, MemoryError) as error:
        raise DataError(
            f"load_trained: got {str(file)!r}, an ONNX file that is no classifier of images ({_reason(error)}); "
            "expected one that takes (N, C, H, W) and gives (N, K); choose another"
        ) from error


def _without_softmax(model: Any) -> Sequential:
    """Return the network without the Softmax at its end: losses, and `Trained.probabilities`, take logits."""
    names = list(model)
    if len(names) > 1 and isinstance(model[names[-1]], Softmax):
        return Sequential(**{name: model[name] for name in names[:-1]}).eval()
    network: Sequential = model
    return network


def _channels_first(model: Sequential, shape: tuple[int, ...]) -> tuple[Layer, tuple[int, int, int]]:
    """Return a network that takes (N, C, H, W), and (C, H, W)."""
    if len(shape) != 3 or not 0 < math.prod(shape) <= _MOST_NUMBERS:
        raise ValueError(f"it takes x of shape {shown(shape)} each")
    a, b, c = shape
    if a in (1, 3) or c not in (1, 3):
        return model, (a, b, c)
    return Sequential(channels_last=Permute((0, 2, 3, 1)), network=model).eval(), (c, a, b)


def _count_classes(model: Layer, shape: tuple[int, int, int]) -> int:
    with np.errstate(all="ignore"):
        logits = model.infer(to_device(np.zeros((1, *shape), _dtype(model))))
    if len(logits.shape) != 2 or logits.shape[0] != 1:
        raise ValueError(f"it makes {tuple(logits.shape)} of one image")
    if logits.shape[1] == 1:  # to be sure of it would be no answer
        raise ValueError("it gives one number for each image, and not one for each of two classes or more")
    return _whole("classes", int(logits.shape[1]), _MOST_CLASSES)


# ==== what strangers say ====


def _whole(name: str, value: Any, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{shown(value)} {name}")
    return value


def _names(about: Mapping[str, Any], classes: int) -> tuple[str, ...]:
    if "class_names" not in about:
        return tuple(str(label) for label in range(classes))
    names = about["class_names"]
    texts = isinstance(names, list) and all(isinstance(name, str) and len(name) <= _MOST_LETTERS for name in names)
    if not texts or len(names) != classes:
        raise ValueError(f"names of classes {shown(names)} for {classes} classes")
    return tuple(names)


def _text(about: Mapping[str, Any], name: str) -> str | None:
    """Return what is said about the data that a network was trained on."""
    said = about.get(name)
    if said is not None and not isinstance(said, str):
        raise ValueError(f"trained on {shown(said)}")
    return said


def _normalization(said: Any, channels: int) -> Normalization:
    if not isinstance(said, dict):
        raise ValueError(f"normalization {shown(said)}")
    mean, std = said["mean"], said["std"]
    for values in (mean, std):
        if not isinstance(values, list) or len(values) != channels or not all(map(_is_finite, values)):
            raise ValueError(f"normalization with {shown(values)} for {channels} channels")
    if not all(value > 0.0 for value in std):
        raise ValueError(f"normalization with a standard deviation of {shown(std)}")
    return Normalization(tuple(map(float, mean)), tuple(map(float, std)))


def _is_finite(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # a whole number that no float is near to
        return False
