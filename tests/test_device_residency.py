"""Between the first step of an epoch and the last one nothing crosses between host and device, and nobody waits.

On the stand-in for CuPy each crossing is counted. On a real GPU the proof is that the step can be recorded: the driver
refuses to record a copy that somebody waits for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests import fake_cupy
from tests.fake_cupy import counters
from tests.libraries import Lib, open_library
from tests.networks import on
from xlenet import SGD, Adam, LeNet5, console, steps, training
from xlenet.console import Console
from xlenet.data.images import Images
from xlenet.training import Progress, evaluate, fit


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lib]:
    """The stand-in for CuPy, without kernels: NumPy is quicker than their emulation."""
    monkeypatch.setenv("XLENET_KERNELS", "off")
    monkeypatch.setattr(fake_cupy.settings, "cublas_can_be_captured", True)
    with fake_cupy.installed() as cupy:
        yield Lib("cupy", cupy)


def digits(lib: Lib, count: int) -> tuple[Images, LeNet5]:
    rng = np.random.default_rng(0)
    with on(lib):
        images = Images(rng.integers(0, 256, (count, 1, 28, 28), np.uint8), rng.integers(0, 10, count))
        return images, LeNet5(rng=0)


def crossings() -> tuple[int, int, int]:
    return counters.waits, counters.uploads, counters.downloads


@pytest.mark.parametrize("graph", ["on", "off"])
@pytest.mark.parametrize("make", [SGD, Adam, lambda model: SGD(model, clip=1.0)], ids=["sgd", "adam", "clip"])
def test_nothing_crosses_inside_an_epoch(gpu: Lib, monkeypatch: pytest.MonkeyPatch, graph: str, make: Any) -> None:
    monkeypatch.setenv("XLENET_GRAPH", graph)
    monkeypatch.setattr(training, "_CHECK_EVERY", 2)
    images, model = digits(gpu, 4 * 6 + 3)
    seen: dict[int, list[tuple[int, int, int]]] = {1: [], 2: [], 3: []}
    fit(
        model, images, optimizer=make(model), epochs=3, batch_size=4,
        on_step=lambda progress: seen[progress.epoch].append(crossings()),
    )  # fmt: skip
    for epoch, counts in seen.items():
        assert len(counts) == 7
        assert len(set(counts)) == 1, f"epoch {epoch}: {counts}"
    assert (counters.replays > 0) == (graph == "on")
    between = np.subtract(seen[3][0], seen[2][0]).tolist()
    assert between[0] <= 3, "an epoch's end waits for its last step, its figures and the look at the parameters"
    assert between[2] <= 2


def test_the_progress_bar_waits_for_nothing(gpu: Lib, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(console, "_REFRESH", 0.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    images, model = digits(gpu, 24)
    shown = Console(24, 1)
    shown._bar.mininterval = 0.0
    seen: list[tuple[int, int, int]] = []

    def on_step(progress: Progress) -> None:
        shown.step(progress)
        seen.append(crossings())

    fit(model, images, optimizer=SGD(model), epochs=1, batch_size=4, on_step=on_step)
    shown.close()
    assert len(set(seen)) == 1
    assert counters.late_copies == 6
    assert "loss" in sys.stderr.getvalue()  # type: ignore[attr-defined]


def test_a_look_at_the_meter_would_be_noticed(gpu: Lib) -> None:
    """The count means something."""
    images, model = digits(gpu, 12)
    seen: list[int] = []

    def look(progress: Progress) -> None:
        progress.meter.read()
        seen.append(counters.waits)

    fit(model, images, optimizer=SGD(model), epochs=1, batch_size=4, on_step=look)
    assert len(set(seen)) == 3


def test_an_evaluation_asks_the_device_at_its_end(gpu: Lib, monkeypatch: pytest.MonkeyPatch) -> None:
    images, model = digits(gpu, 20)
    seen: list[tuple[int, int, int]] = []
    batch = Images.batch

    def watched(self: Images, which: Any, work: Any = None) -> Any:
        seen.append(crossings())
        return batch(self, which, work)

    monkeypatch.setattr(Images, "batch", watched)
    evaluate(model, images, batch_size=4)
    assert len(seen) == 1 + 5, "the first image of all shows whether the model takes them"
    assert len(set(seen)) == 1
    assert counters.waits - seen[0][0] == 1 + 5, "the figures, and each batch's predictions"


def test_on_a_real_gpu_the_step_is_recorded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """With the kernels, every optimiser, and a short last batch."""
    lib = open_library("cupy")
    caplog.set_level(logging.WARNING, logger="xlenet")
    recorded = []

    def record(*args: Any, **options: Any) -> Any:
        recorded.append(capture(*args, **options))
        return recorded[-1]

    capture = steps.capture
    monkeypatch.setattr(steps, "capture", record)
    for make in (SGD, Adam, lambda model: SGD(model, nesterov=True, weight_decay=1e-4, clip=1.0)):
        images, model = digits(lib, 64 * 4 + 9)
        fit(model, images, optimizer=make(model), test=images, epochs=3, batch_size=64)
    assert not caplog.records
    assert len(recorded) == 6
    assert None not in recorded
