"""The same network, loss and optimiser in PyTorch, as its users would write it: the peer in the benchmarks.

Float32 throughout (TF32 is switched off, which PyTorch would otherwise use for convolutions on a GPU). The images stay
on the device as float32, normalised beforehand, so that a step only gathers its batch: the quickest way that PyTorch
has, and a little less work per step than xlenet has with its bytes.

Three modes: eager, as most people train; compiled by `torch.compile`, which also puts forward and backward into CUDA
graphs; and the whole step, from the choice of the batch to the optimiser, as one CUDA graph, which is the quickest that
is known for a network so small.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn


def build(parameters: dict[str, np.ndarray] | None = None) -> nn.Sequential:
    """LeNet-5 with batch normalisation; `parameters` by PyTorch's names replace the first weights."""
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(1, 6, 5, padding=2),
        "pool1": nn.MaxPool2d(2),
        "bn1": nn.BatchNorm2d(6),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(6, 16, 5),
        "pool2": nn.MaxPool2d(2),
        "bn2": nn.BatchNorm2d(16),
        "relu2": nn.ReLU(),
        "conv3": nn.Conv2d(16, 120, 5),
        "flatten": nn.Flatten(),
        "fc4": nn.Linear(120, 84),
        "relu4": nn.ReLU(),
        "fc5": nn.Linear(84, 10),
    }
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    if parameters is not None:
        state = {name: torch.tensor(value, dtype=torch.float32) for name, value in parameters.items()}
        unknown = model.load_state_dict(state, strict=False).unexpected_keys  # what is missing: running statistics
        if unknown:
            raise ValueError(f"build: got parameters {unknown}; expected PyTorch's names; rename them")
    return model


class TorchLeNet5:
    """A training run in PyTorch: images that stay on the device, network, SGD with momentum.

    Args:
        images: uint8 (N, 1, 28, 28), on the host.
        labels: integers (N,).
        mean, std: of the pixels, 0 to 255.
        parameters: first weights by PyTorch's names.
        device: "cpu" or "cuda".
        momentum: the weight of the old velocity.
        nesterov: look ahead along the velocity.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        mean: float,
        std: float,
        parameters: dict[str, np.ndarray] | None = None,
        *,
        device: str = "cpu",
        momentum: float = 0.9,
        nesterov: bool = True,
    ) -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True  # the sizes never change: let cuDNN try its algorithms once
        self.device = torch.device(device)
        self.images = torch.tensor(images).to(self.device, torch.float32).sub_(mean).div_(std)
        self.labels = torch.tensor(labels, dtype=torch.int64).to(self.device)
        self.model = build(parameters).to(self.device)
        # One kernel for all parameters, on a GPU; the default is a few.
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=1.0, momentum=momentum, nesterov=nesterov, fused=device == "cuda" or None
        )

    def train(self, order: np.ndarray, batch_size: int, lr: float) -> float:
        """Train on the images at `order`, batch by batch; return their mean loss. Waits for the device at the end."""
        self.model.train()
        self.optimizer.param_groups[0]["lr"] = lr
        positions = torch.from_numpy(np.ascontiguousarray(order)).to(self.device)
        # Loss and right answers so far: added up on the device, as xlenet does.
        self.total = torch.zeros((), dtype=torch.float64, device=self.device)
        self.right = torch.zeros((), dtype=torch.float64, device=self.device)
        self.run_epoch(positions, batch_size)
        return float(self.total) / len(order)  # float() waits

    def run_epoch(self, positions: torch.Tensor, batch_size: int) -> None:
        """Do all steps, one after another."""
        for which in positions.split(batch_size):
            self.learn(which)

    def learn(self, which: torch.Tensor) -> None:
        """Do one step, on the images at `which`, and count it."""
        x, y = self.images.index_select(0, which), self.labels.index_select(0, which)
        loss, logits = self.step(x, y)
        self.total += loss * len(which)
        self.right += (logits.argmax(dim=1) == y).sum()

    def step(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Train on one batch; return its loss before the update, and its logits."""
        self.optimizer.zero_grad()
        loss, logits = self.forward(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), logits.detach()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss and the logits."""
        logits = self.model(x)
        return nn.functional.cross_entropy(logits, y), logits


class CompiledLeNet5(TorchLeNet5):
    """Forward and backward by `torch.compile`, replayed as CUDA graphs; the optimiser's one kernel beside them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._compiled = torch.compile(super().forward, mode="reduce-overhead", dynamic=False)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss and the logits, in memory that the next step overwrites."""
        torch.compiler.cudagraph_mark_step_begin()
        loss, logits = self._compiled(x, y)
        return loss, logits


class GraphedLeNet5(TorchLeNet5):
    """The whole step as one CUDA graph, which looks up on the device which images are next."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._recorded: tuple[int, float] | None = None  # batch size and learning rate: both are part of the graph
        self._counter = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._sums = torch.zeros(2, dtype=torch.float64, device=self.device)

    def run_epoch(self, positions: torch.Tensor, batch_size: int) -> None:
        """Replay the full batches; a short last one goes the usual way."""
        full = len(positions) // batch_size
        self._sums.zero_()
        self.total, self.right = self._sums[0], self._sums[1]  # views: the graph adds to them
        if full:
            self._record(batch_size, self.optimizer.param_groups[0]["lr"])
            self._batches[:full] = positions[: full * batch_size].view(full, batch_size)
            self._counter.zero_()
            for _ in range(full):
                self._graph.replay()
        if len(positions) > full * batch_size:
            self.learn(positions[full * batch_size :])

    def _next(self) -> None:
        """Do the next step: what is recorded."""
        self.learn(self._batches.index_select(0, self._counter)[0])
        self._counter += 1

    def _record(self, batch_size: int, lr: float) -> None:
        if self._recorded == (batch_size, lr):
            return
        self._recorded = (batch_size, lr)
        steps = max(len(self.labels) // batch_size, 4)
        self._batches = torch.zeros((steps, batch_size), dtype=torch.int64, device=self.device)
        before = [tensor.clone() for tensor in self._state()]
        known = len(before)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries make their handles and choose their algorithms before the recording
            for _ in range(3):
                self._next()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(self._graph):
            self._next()
        # As if nothing had happened. A velocity that was not there before starts as zeros, which is the same.
        for i, tensor in enumerate(self._state()):
            if i < known:
                tensor.copy_(before[i])
            else:
                tensor.zero_()
        self._sums.zero_()

    def _state(self) -> list[torch.Tensor]:
        """Everything that a step changes, the velocities last."""
        kept = [tensor.data for tensor in (*self.model.parameters(), *self.model.buffers())]
        return kept + [s["momentum_buffer"] for s in self.optimizer.state.values() if "momentum_buffer" in s]


MODES: dict[str, type[TorchLeNet5]] = {"eager": TorchLeNet5, "compile": CompiledLeNet5, "graph": GraphedLeNet5}


def about(device: str, threads: int, mode: str = "eager") -> dict[str, Any]:
    """Versions and settings, for the record."""
    found: dict[str, Any] = {"torch": torch.__version__, "mode": mode, "precision": "float32, no TF32"}
    if device == "cuda":
        found |= {
            "gpu": torch.cuda.get_device_name(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "cudnn_benchmark": True,
        }
    else:
        torch.set_num_threads(threads)
        found["threads"] = torch.get_num_threads()
    return found
