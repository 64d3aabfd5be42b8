"""The same network, loss and optimiser in PyTorch, as its users would write it: the peer in the benchmarks.

Eager mode and float32 throughout (TF32 is switched off, which PyTorch would otherwise use for convolutions on a GPU).
The images stay on the device as float32, normalised beforehand, so that a step only gathers its batch: the quickest way
that PyTorch has, and a little less work per step than xlenet has with its bytes.
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
        self.device = torch.device(device)
        self.images = torch.tensor(images).to(self.device, torch.float32).sub_(mean).div_(std)
        self.labels = torch.tensor(labels, dtype=torch.int64).to(self.device)
        self.model = build(parameters).to(self.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0, momentum=momentum, nesterov=nesterov)

    def train(self, order: np.ndarray, batch_size: int, lr: float) -> float:
        """Train on the images at `order`, batch by batch; return their mean loss. Waits for the device at the end."""
        self.model.train()
        self.optimizer.param_groups[0]["lr"] = lr
        positions = torch.from_numpy(np.ascontiguousarray(order)).to(self.device)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        right = torch.zeros((), dtype=torch.float64, device=self.device)
        for which in positions.split(batch_size):
            x, y = self.images.index_select(0, which), self.labels.index_select(0, which)
            loss, logits = self.step(x, y)
            total += loss * len(which)
            right += (logits.argmax(dim=1) == y).sum()
        return float(total) / len(order)  # float() waits

    def step(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Train on one batch; return its loss before the update, and its logits."""
        self.optimizer.zero_grad()
        logits = self.model(x)
        loss = nn.functional.cross_entropy(logits, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), logits.detach()


def about(device: str, threads: int) -> dict[str, Any]:
    """Versions and settings, for the record."""
    found: dict[str, Any] = {"torch": torch.__version__, "mode": "eager", "precision": "float32, no TF32"}
    if device == "cuda":
        found |= {
            "gpu": torch.cuda.get_device_name(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    else:
        torch.set_num_threads(threads)
        found["threads"] = torch.get_num_threads()
    return found
