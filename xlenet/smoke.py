"""Whether a backend computes what it should, and how quickly: LeNet-5 for two seconds."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import numpy as np

from .backend import Backend, default_backend, place, report, synchronize, to_host, use_backend, use_threads
from .data import Images
from .errors import XlenetError
from .layers import Layer
from .losses import SoftmaxCrossEntropy
from .models import LeNet5
from .optim import SGD
from .training import Progress, fit

# Loss and the gradients' norms of a step with the numbers of `_pattern`, computed in float64. Where nothing is random,
# every machine must find the same; PyTorch does, in tests/test_doctor.py.
KNOWN = {
    "loss": 3.095308059,
    "conv1.weight": 1.428844553,
    "bn1.weight": 0.259694021,
    "bn1.bias": 0.269712305,
    "conv2.weight": 2.274116775,
    "bn2.weight": 0.372818355,
    "bn2.bias": 0.38235234,
    "conv3.weight": 3.430536429,
    "conv3.bias": 0.302727471,
    "fc4.weight": 1.963722715,
    "fc4.bias": 0.200964305,
    "fc5.weight": 1.641638584,
    "fc5.bias": 0.201567527,
}
# Of float32, which is off by 1e-7 here; a product gone wrong is off by far more. TF32 keeps 10 bits of 23.
_TOLERANCE, _OF_TF32 = 1e-5, 1e-2

_BATCH, _IMAGES = 64, 6400
_WARM_UP, _SECONDS = 2, 1.0  # steps; of steps that count


class SmokeError(XlenetError, ArithmeticError):
    """A backend computes, and computes wrongly."""

    exit_code = 3


class Smoke(NamedTuple):
    """How a backend did.

    Attributes:
        error: the largest relative difference from what is known.
        images_per_second: of training steps of 64 images.
        steps: how many of them were timed.
    """

    error: float
    images_per_second: float
    steps: int


def smoke(backend: Backend) -> Smoke:
    """Train on `backend` for two seconds.

    Raises:
        SmokeError: its numbers are wrong.
    """
    with use_backend(backend):
        error = check_known()
        rate, steps = _rate()
    return Smoke(error, rate, steps)


def check_known(dtype: str = "float32") -> float:
    """Do a step whose result is known; return the largest relative difference from it.

    Raises:
        SmokeError: it is larger than rounding explains.
    """
    errors = {}
    for name, value in measured(dtype).items():
        difference = abs(value - KNOWN[name]) / abs(KNOWN[name])
        errors[name] = difference if math.isfinite(difference) else math.inf
    worst = max(errors, key=lambda name: errors[name])
    rounded = report.is_on_gpu(default_backend()) and report.tf32()["on"]
    tolerance = _OF_TF32 if rounded else _TOLERANCE
    if errors[worst] > tolerance:
        wrong = sum(error > tolerance for error in errors.values())
        raise SmokeError(
            f"smoke: got numbers that are wrong ({wrong} of {len(errors)}, most of all {worst}, by "
            f"{errors[worst]:.1e}); expected those of every machine, within {tolerance:g}; the library that "
            "multiplies matrices is broken: try another version of it, OPENBLAS_NUM_THREADS=1, or XLENET_KERNELS=off"
        )
    return errors[worst]


def measured(dtype: str) -> dict[str, float]:
    """Return the loss and the gradients' norms of a step in which nothing is random."""
    model = LeNet5(rng=0, dtype=dtype)
    _fill(model)
    backend = default_backend()
    x = place(_pattern((_BATCH, 1, 28, 28), 0, 2.0).astype(dtype), backend)
    labels = place(np.arange(_BATCH) % 10, backend)
    loss = SoftmaxCrossEntropy()
    found = {"loss": float(to_host(loss(model(x), labels)))}
    model.backward(loss.backward(), need_dx=False)
    for prefix, leaf in model.leaves():
        for name, gradient in leaf.grads.items():
            if f"{prefix}.{name}" not in ("conv1.bias", "conv2.bias"):  # zero, as batch normalisation takes them out
                found[f"{prefix}.{name}"] = float(np.linalg.norm(to_host(gradient).astype(np.float64)))
    return found


def _fill(model: Layer) -> None:
    """Give the parameters values that are the same everywhere, about as large as first values are."""
    state = {name: to_host(array) for name, array in model.state_dict().items()}
    for number, name in enumerate(dict(model.named_parameters()), start=1):
        shape, dtype = state[name].shape, state[name].dtype
        size = math.sqrt(6.0 / math.prod(shape[1:])) if len(shape) > 1 else 0.2
        offset = 1.0 if name.startswith("bn") and name.endswith("weight") else 0.0
        state[name] = (offset + _pattern(shape, number, size)).astype(dtype)
    model.load_state_dict(state)


def _pattern(shape: tuple[int, ...], number: int, size: float) -> Any:
    """Return numbers from -size to size that look random, out of whole numbers alone: exact on every machine."""
    k = np.arange(math.prod(shape), dtype=np.int64) + 7919 * number
    return (((k * k * 31 + k * 7) % 10007 / 5003.0 - 1.0) * size).reshape(shape)


def _rate() -> tuple[float, int]:
    """Return how many images a second the training loop goes through, and how many steps were timed."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (_IMAGES, 1, 28, 28), dtype=np.uint8)
    images = Images(pixels, np.arange(_IMAGES) % 10)
    model = LeNet5(rng=0)
    watch = _Watch(model)
    try:
        with use_threads(1):  # as training does
            _train(model, images, watch)
    except ImportError:  # without threadpoolctl BLAS keeps its threads
        _train(model, images, watch)
    return watch.steps * _BATCH / watch.seconds, watch.steps


def _train(model: LeNet5, images: Images, watch: _Watch) -> None:
    optimizer = SGD(model)
    over = watch.is_over
    fit(model, images, optimizer=optimizer, epochs=10_000, batch_size=_BATCH, lr=0.01, on_step=watch, should_stop=over)


class _Watch:
    """Times the steps behind the first ones, which make buffers and compile kernels."""

    def __init__(self, model: Layer) -> None:
        self._array = next(array for _, array in model.named_parameters())
        self._seen, self._began, self.steps, self.seconds = 0, 0.0, 0, 0.0

    def __call__(self, progress: Progress) -> None:
        self._seen += 1
        if self._seen == _WARM_UP:
            synchronize(self._array)
            self._began = time.perf_counter()

    def is_over(self) -> bool:
        """Whether enough steps were timed."""
        self.steps = self._seen - _WARM_UP
        if self.steps < 3 or time.perf_counter() - self._began < _SECONDS:
            return False
        synchronize(self._array)
        self.seconds = time.perf_counter() - self._began
        return True
