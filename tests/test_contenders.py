"""What the contenders of the benchmark do beyond the plain ones: PyTorch's CUDA graph, and xlenet's on the stand-in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bench.contenders import CONTENDERS, PEERS, TITLES, Task
from bench.textbook import initial_parameters
from tests import fake_cupy
from tests.fake_cupy import counters

PARAMETERS = initial_parameters(seed=3)


def make_task(count: int = 50) -> Task:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
    return Task(images, rng.integers(0, 10, count), PARAMETERS, threads=1)


def test_everybody_has_a_title_and_a_peer() -> None:
    assert set(TITLES) == set(PEERS) == set(CONTENDERS)
    assert {name: peer for name, peer in PEERS.items() if peer == "torch"}.keys() == {"textbook", "numpy", "torch"}
    assert set(PEERS.values()) <= set(CONTENDERS)


# ==== PyTorch's graph, whose recording is played by a function ====


@pytest.fixture
def graphs(torch: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """PyTorch without a GPU, but with a `CUDAGraph` that calls what it should have recorded."""
    made: list[Any] = []

    class Stream:
        def wait_stream(self, other: Any) -> None:
            pass

    class Played:
        def __init__(self) -> None:
            self.replays = 0
            made.append(self)

        def replay(self) -> None:
            self.replays += 1
            self.run._next()

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Played)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: contextlib.nullcontext())
    return made


def test_the_graph_of_pytorch_leaves_no_trace_of_its_recording(torch: ModuleType, graphs: list[Any]) -> None:
    """Warming up and recording are steps, too: all that they change has to be put back."""
    from bench.torch_lenet import GraphedLeNet5, TorchLeNet5

    task = make_task()
    arguments = (task.images, task.labels, task.mean, task.std, task.parameters)
    eager, graphed = TorchLeNet5(*arguments), GraphedLeNet5(*arguments)
    record = graphed._record

    def watched(batch_size: int, lr: float) -> None:
        record(batch_size, lr)
        graphs[-1].run = graphed

    graphed._record = watched  # type: ignore[method-assign]
    for seed, count in enumerate((16, 50, 50, 7)):
        order = np.random.default_rng(seed).permutation(50)[:count]
        assert graphed.train(order, 16, 0.01) == pytest.approx(eager.train(order, 16, 0.01), rel=1e-6)
        assert float(graphed.right) == float(eager.right)
    assert [graph.replays for graph in graphs] == [1 + 3 + 3]
    for mine, other in zip(graphed.model.state_dict().values(), eager.model.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other)


# ==== xlenet on the stand-in ====


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    for name in ("XLENET_KERNELS", "XLENET_GRAPH"):
        monkeypatch.setenv(name, os.environ.get(name, "on"))  # a contender sets them: put them back
    monkeypatch.setattr(fake_cupy.settings, "cublas_can_be_captured", True)
    with fake_cupy.installed() as cupy:
        yield cupy


@pytest.mark.parametrize(("name", "replays"), [("cupy-plain", 0), ("cupy-graph-without-kernels", 2)])
def test_contenders_on_cupy_train_as_the_textbook_does(gpu: ModuleType, name: str, replays: int) -> None:
    from bench.contenders import Textbook, Xlenet

    task = make_task()
    contender = Xlenet(task, "cupy", kernels=False, graph=replays > 0)
    textbook = Textbook(task)
    for each in (textbook, contender):
        each.prepare(batch_size=16)
    order = np.random.default_rng(1).permutation(50)
    counters.reset()
    assert contender.train(order) == pytest.approx(textbook.train(order), rel=1e-3)
    assert counters.replays == replays
    assert contender.train(order[:32]) == pytest.approx(textbook.train(order[:32]), rel=1e-3), "fewer than an epoch"
    about = contender.about()
    assert (about["kernels"], about["cuda_graph"]) == ("off", "on" if replays else "off")


def test_kernels_can_be_turned_off_after_they_were_used(gpu: ModuleType) -> None:
    from bench.contenders import _switch
    from xlenet.backend import seam

    for on in (True, False, True):
        _switch(on)
        assert seam.kernels_on() is on
