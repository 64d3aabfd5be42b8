"""Who takes part in a comparison of training times, all behind the same three methods.

Each contender gets the same images, the same first weights, the same batches in the same order, and the same optimiser:
SGD with Nesterov momentum at a constant learning rate. What each of them imports, it imports when it is made.
"""

# ruff: noqa: D102 - the protocol says what the three methods mean.

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

MOMENTUM, LEARNING_RATE = 0.9, 0.01


class Task(NamedTuple):
    """What everybody trains on, and from where."""

    images: np.ndarray  # uint8 (N, 1, 28, 28)
    labels: np.ndarray  # int64 (N,)
    parameters: dict[str, np.ndarray]  # first weights by PyTorch's names
    threads: int

    @property
    def mean(self) -> float:
        """Mean of the pixels, 0 to 255."""
        return float(self.images.mean())

    @property
    def std(self) -> float:
        """Standard deviation of the pixels."""
        return float(self.images.std())


class Unavailable(Exception):  # noqa: N818 - no error: somebody who is not there is left out
    """A contender that cannot take part on this machine; the message says why."""


class Contender(Protocol):
    """Somebody who trains LeNet-5."""

    def about(self) -> dict[str, Any]:
        """Versions, precision, device, for the record."""

    def prepare(self, batch_size: int) -> None:
        """Start anew from the first weights. Never timed."""

    def train(self, order: np.ndarray) -> float:
        """Train on the images at `order`, batch by batch; return their mean loss once everything is done."""


class Textbook:
    """The algorithm of the textbooks."""

    def __init__(self, task: Task) -> None:
        self.task, self.mean, self.std = task, task.mean, task.std

    def about(self) -> dict[str, Any]:
        return {"numpy": np.__version__, "precision": "float64"}

    def prepare(self, batch_size: int) -> None:
        from bench.textbook import TextbookLeNet5

        self.batch_size = batch_size
        self.model = TextbookLeNet5(parameters=self.task.parameters, momentum=MOMENTUM, nesterov=True)

    def train(self, order: np.ndarray) -> float:
        total = 0.0
        for start in range(0, len(order), self.batch_size):
            which = order[start : start + self.batch_size]
            x = (self.task.images[which] - self.mean) / self.std
            total += self.model.step(x, self.task.labels[which], LEARNING_RATE) * len(which)
        return total / len(order)


class Xlenet:
    """xlenet on one of its backends, by the steps of its own training loop.

    On CuPy the kernels and the CUDA graph can be left out. A process has one setting of these: see `bench.worker`.
    """

    def __init__(self, task: Task, backend: str, *, kernels: bool = True, graph: bool = True) -> None:
        from xlenet.backend import resolve_backend, use_backend, use_threads
        from xlenet.errors import BackendError

        try:
            self.backend = resolve_backend(backend)
        except BackendError as error:
            raise Unavailable(str(error)) from error
        self.task, self.mean, self.std = task, task.mean, task.std
        self.use_backend, self.graph = use_backend, graph
        self._stack = contextlib.ExitStack()  # for as long as the process lives
        if self.backend.xp.__name__ == "cupy":
            _switch(kernels)
        else:
            self._stack.enter_context(use_threads(task.threads))
        self.kernels = kernels

    def about(self) -> dict[str, Any]:
        import xlenet

        found = {"xlenet": xlenet.__version__, "precision": "float32"}
        xp = self.backend.xp
        found[xp.__name__] = xp.__version__
        if xp.__name__ == "cupy":
            found["precision"] = "float32, no TF32"
            found |= {"kernels": "on" if self.kernels else "off", "cuda_graph": "on" if self.graph else "off"}
            found["gpu"] = xp.cuda.runtime.getDeviceProperties(self.backend.device or 0)["name"].decode()
            found["cuda"] = xp.cuda.runtime.runtimeGetVersion()
        return found

    def prepare(self, batch_size: int) -> None:
        from xlenet import SGD, LeNet5, SoftmaxCrossEntropy
        from xlenet.data.images import Images, Normalization
        from xlenet.meter import Meter
        from xlenet.steps import Party, choose_way

        self.batch_size = batch_size
        os.environ["XLENET_GRAPH"] = "on" if self.graph else "off"
        with self.use_backend(self.backend):
            normalization = Normalization((self.mean,), (self.std,))
            images = Images(self.task.images, self.task.labels, normalization)
            model = LeNet5(rng=0)
            model.load_state_dict(model.state_dict() | self.task.parameters)
            optimizer = SGD(model, momentum=MOMENTUM, nesterov=True)
            self.party = Party(model, SoftmaxCrossEntropy(), optimizer, images, Meter(images.x))
            self.way = choose_way(self.party, batch_size)

    def train(self, order: np.ndarray) -> float:
        from xlenet.steps import train_epoch

        rates = [LEARNING_RATE] * -(-len(order) // self.batch_size)
        self.party.meter.reset()
        for _ in train_epoch(self.party, self.way, order, self.batch_size, rates):
            pass
        return self.party.meter.read()[0]


def _switch(kernels: bool) -> None:
    """Turn the kernels on or off, also where they have been asked for before."""
    from xlenet.backend import seam

    os.environ["XLENET_KERNELS"] = "on" if kernels else "off"
    for remembered in (seam.kernels_on, seam._kernel):
        remembered.cache_clear()


class Torch:
    """PyTorch: eager, compiled, or with the whole step as a CUDA graph."""

    def __init__(self, task: Task, device: str, mode: str = "eager") -> None:
        try:
            import torch
        except ImportError as error:
            raise Unavailable(f"PyTorch is not installed ({error}); pip install torch") from error
        if device == "cuda" and not torch.cuda.is_available():
            raise Unavailable("this PyTorch sees no CUDA device")
        self.task, self.device, self.mode = task, device, mode

    def about(self) -> dict[str, Any]:
        from bench.torch_lenet import about

        return about(self.device, self.task.threads, self.mode)

    def prepare(self, batch_size: int) -> None:
        from bench.torch_lenet import MODES

        task, self.batch_size = self.task, batch_size
        self.run = MODES[self.mode](
            task.images, task.labels, task.mean, task.std, task.parameters,
            device=self.device, momentum=MOMENTUM, nesterov=True,
        )  # fmt: skip

    def train(self, order: np.ndarray) -> float:
        return self.run.train(order, self.batch_size, LEARNING_RATE)


CONTENDERS: dict[str, Callable[[Task], Contender]] = {
    "textbook": Textbook,
    "numpy": lambda task: Xlenet(task, "numpy"),
    "torch": lambda task: Torch(task, "cpu"),
    "cupy-plain": lambda task: Xlenet(task, "cupy", kernels=False, graph=False),
    "cupy-kernels": lambda task: Xlenet(task, "cupy", graph=False),
    "cupy": lambda task: Xlenet(task, "cupy"),
    "torch-cuda": lambda task: Torch(task, "cuda"),
    "torch-cuda-compile": lambda task: Torch(task, "cuda", "compile"),
    "torch-cuda-graph": lambda task: Torch(task, "cuda", "graph"),
}

# How a reader knows them.
TITLES = {
    "textbook": "textbook algorithm",
    "numpy": "xlenet on NumPy",
    "torch": "PyTorch, CPU",
    "cupy-plain": "xlenet on CuPy, plain",
    "cupy-kernels": "xlenet, kernels",
    "cupy": "xlenet, kernels and graph",
    "torch-cuda": "PyTorch, GPU",
    "torch-cuda-compile": "PyTorch, compiled",
    "torch-cuda-graph": "PyTorch, CUDA graph",
}

# Each is compared with PyTorch on the same device, as most people run it.
PEERS = {name: "torch-cuda" if "cu" in name else "torch" for name in CONTENDERS}
