"""Training steps that are recorded once and replayed: to the last bit what they would have been without.

A stand-in for CuPy records and replays (`tests.fake_cupy`). Matrix products are let through there, so that most tests
need no kernels; those that run the kernels say so.
"""

from __future__ import annotations

import gc
import logging
import math
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests import fake_cupy
from tests.fake_cupy import counters
from tests.kernels.cuda_on_cpu import missing
from tests.libraries import Lib, skip_or_fail
from tests.networks import on
from xlenet import (
    SGD,
    Adam,
    AdamW,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    Linear,
    MaxPool2D,
    Permute,
    ReLU,
    Reshape,
    Sequential,
    Sigmoid,
    Tanh,
    steps,
)
from xlenet.backend.graph import Graph, can_capture, capture
from xlenet.backend.late import LateCopy
from xlenet.data import Augmentation, Examples, Images
from xlenet.errors import DivergedError
from xlenet.meter import Meter
from xlenet.training import Epoch, Progress, fit

CLASSES, COUNT, BATCH = 3, 26, 4  # six full batches and one of two


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lib]:
    """The stand-in for CuPy, without kernels."""
    monkeypatch.setenv("XLENET_KERNELS", "off")
    monkeypatch.setattr(fake_cupy.settings, "cublas_can_be_captured", True)
    with fake_cupy.installed() as cupy:
        yield Lib("cupy", cupy)


def network(dtype: str = "float32") -> Sequential:
    return Sequential(
        flatten=Flatten(),
        fc1=Linear(16, 8, rng=0, dtype=dtype),
        bn=BatchNorm(8, dtype=dtype),
        relu=ReLU(),
        fc2=Linear(8, CLASSES, rng=1, dtype=dtype),
    )


def images(count: int = COUNT, dtype: str = "float32") -> Images:
    rng = np.random.default_rng(4)
    return Images(rng.integers(0, 256, (count, 1, 4, 4), np.uint8), rng.integers(0, CLASSES, count), dtype=dtype)


def all_arrays(lib: Lib, model: Layer, optimizer: Any) -> dict[str, np.ndarray]:
    found = {name: lib.to_numpy(array) for name, array in model.state_dict().items()}
    return found | {name: lib.to_numpy(array) for name, array in optimizer.slots.items()}


def run(
    lib: Lib,
    graph: bool,
    make: Callable[[Layer], Any] = SGD,
    *,
    build: Callable[..., Sequential] = network,
    dtype: str = "float32",
    epochs: int = 3,
    **options: Any,
) -> tuple[list[Any], dict[str, np.ndarray], int]:
    """A run; its history without times, every array it has changed, and how many graphs were launched."""
    with pytest.MonkeyPatch.context() as patch, on(lib):
        patch.setenv("XLENET_GRAPH", "on" if graph else "off")
        model, train = build(dtype=dtype), images(dtype=dtype)
        optimizer = make(model)
        counters.reset()
        history = fit(
            model, train, optimizer=optimizer, test=train, epochs=epochs, batch_size=BATCH, **({"lr": 0.05} | options)
        )
        replays = counters.replays
        assert optimizer.steps == 7 * epochs
        return [epoch[:6] for epoch in history], all_arrays(lib, model, optimizer), replays


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(actual) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="xlenet")
    return caplog


# ==== with a graph as without ====


def test_floating_examples_with_a_graph_as_without(gpu: Lib) -> None:
    """A data set that is no bytes is recorded, too."""

    def trained(graph: bool) -> tuple[list[Any], dict[str, np.ndarray], int]:
        with pytest.MonkeyPatch.context() as patch, on(gpu):
            patch.setenv("XLENET_GRAPH", "on" if graph else "off")
            model, rng = network(), np.random.default_rng(4)
            optimizer = SGD(model)
            train = Examples(rng.standard_normal((COUNT, 16)), rng.integers(0, CLASSES, COUNT), dtype="float32")
            counters.reset()
            history = fit(model, train, optimizer=optimizer, epochs=3, batch_size=BATCH)
        return [epoch[:4] for epoch in history], all_arrays(gpu, model, optimizer), counters.replays

    history, arrays, replays = trained(True)
    expected, plain, none = trained(False)
    assert (history, none) == (expected, 0)
    assert replays > 10
    assert_same(arrays, plain)


OPTIMIZERS: dict[str, Callable[[Layer], Any]] = {
    "sgd": lambda model: SGD(model, momentum=0.0),
    "nesterov": lambda model: SGD(model, nesterov=True, weight_decay=0.01),
    "adam": lambda model: Adam(model, weight_decay=0.01),
    "adamw": lambda model: AdamW(model, weight_decay=0.1),
    "clip": lambda model: SGD(model, clip=0.1),
    "adam-clip": lambda model: Adam(model, clip=0.1),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_run_with_graphs_is_one_without_to_the_last_bit(
    gpu: Lib, log: pytest.LogCaptureFixture, make: Callable[[Layer], Any], dtype: str
) -> None:
    """Three epochs with their own orders and learning rates, a short last batch, an evaluation after each."""
    history, arrays, replays = run(gpu, False, make, dtype=dtype)
    assert replays == 0
    again, others, replays = run(gpu, True, make, dtype=dtype)
    assert replays == 17 + 2, "all steps of full size but the first, and all short ones but the first"
    assert again == history
    assert_same(others, arrays)
    assert not log.records


def varied_network(dtype: str) -> Sequential:
    """Every layer that LeNet-5 does without."""
    return Sequential(
        conv=Conv2D(1, 4, 3, padding=1, rng=0, dtype=dtype),
        tanh=Tanh(),
        drop1=Dropout(0.3, rng=3),
        pool=AvgPool2D(3, 2, 1, ceil_mode=True, count_include_pad=False),
        sigmoid=Sigmoid(),
        permute=Permute((0, 2, 3, 1)),
        reshape=Reshape((4, -1, 3)),
        mean=GlobalAvgPool2D(),
        flatten=Flatten(),
        drop2=Dropout(0.5, rng=4),
        fc=Linear(4, CLASSES, rng=1, dtype=dtype),
    )


DISTORTED = Augmentation(rotation=20, shift=1, scale=0.1, shear=10, elastic=0.5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options", [{"build": varied_network}, {"augmentation": DISTORTED}], ids=["dropped", "distorted"]
)
def test_what_is_drawn_is_another_in_each_replay(
    gpu: Lib, log: pytest.LogCaptureFixture, options: dict[str, Any], dtype: str
) -> None:
    """The step is counted on the device: as without a graph, and as on the host, whose numbers are the same."""
    history, arrays, replays = run(gpu, False, dtype=dtype, **options)
    assert replays == 0
    again, others, replays = run(gpu, True, dtype=dtype, **options)
    assert replays == 17 + 2
    assert again == history
    assert_same(others, arrays)
    on_host, _, _ = run(Lib("numpy", np), False, dtype=dtype, **options)
    np.testing.assert_allclose([e[2] for e in on_host], [e[2] for e in history], rtol=1e-4)
    assert not log.records


def test_a_replay_moves_the_step_of_each_dropout(gpu: Lib) -> None:
    with on(gpu):
        model, train = varied_network("float32"), images()
        optimizer, seen = SGD(model), []
        fit(
            model, train, optimizer=optimizer, epochs=2, batch_size=BATCH,
            on_step=lambda p: seen.append([int(gpu.to_numpy(model[n].buffers["step"])[0]) for n in ("drop1", "drop2")]),
        )  # fmt: skip
    assert seen == [[k, k] for k in range(1, 15)]


def test_frozen_layers_stay_as_they_are(gpu: Lib) -> None:
    def frozen(dtype: str) -> Sequential:
        model = network(dtype)
        model["fc1"].requires_grad = False
        return model

    history, arrays, _ = run(gpu, False, build=frozen)
    again, others, replays = run(gpu, True, build=frozen)
    assert replays == 19
    assert again == history
    assert_same(others, arrays)


def test_two_layers_and_nothing_else(gpu: Lib) -> None:
    def plain(dtype: str) -> Sequential:
        return Sequential(flatten=Flatten(), fc=Linear(16, CLASSES, rng=0, dtype=dtype))

    history, arrays, _ = run(gpu, False, build=plain)
    again, others, replays = run(gpu, True, build=plain)
    assert (again, replays) == (history, 19)
    assert_same(others, arrays)


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_run_too_short_for_a_second_short_batch(gpu: Lib, epochs: int) -> None:
    history, arrays, _ = run(gpu, False, epochs=epochs)
    again, others, replays = run(gpu, True, epochs=epochs)
    assert (again, replays) == (history, 5 if epochs == 1 else 12)
    assert_same(others, arrays)


def test_one_batch_is_all_there_is(gpu: Lib) -> None:
    with on(gpu):
        train, model = images(BATCH), network()
        optimizer = SGD(model)
    counters.reset()
    history = fit(model, train, optimizer=optimizer, epochs=4, batch_size=BATCH)
    assert (len(history), counters.replays) == (4, 3)


@pytest.mark.parametrize("make", [SGD, Adam], ids=["sgd", "adam"])
def test_the_kernels_themselves_can_be_recorded(log: pytest.LogCaptureFixture, make: Callable[[Layer], Any]) -> None:
    """The CUDA sources, compiled for the processor: no operation is left over that CuPy would refuse to record."""
    if missing():
        skip_or_fail("XLENET_REQUIRE_PARTNERS", "g++", missing())

    def small(dtype: str) -> Sequential:
        return Sequential(
            conv=Conv2D(1, 2, 3, rng=1, dtype=dtype), pool=MaxPool2D(2), bn=BatchNorm(2, dtype=dtype), relu=ReLU(),
            flatten=Flatten(), fc1=Linear(2, 4, rng=2, dtype=dtype), relu2=ReLU(),
            fc2=Linear(4, CLASSES, rng=3, dtype=dtype),
        )  # fmt: skip

    check_recorded_with_kernels(log, small, make, augmentation=Augmentation(rotation=20, elastic=0.5))


def test_groups_and_dilation_can_be_recorded(log: pytest.LogCaptureFixture) -> None:
    """Products of many pairs of matrices have a kernel too."""
    if missing():
        skip_or_fail("XLENET_REQUIRE_PARTNERS", "g++", missing())

    def small(dtype: str) -> Sequential:
        return Sequential(
            conv=Conv2D(1, 2, 2, rng=1, dtype=dtype),
            alone=Conv2D(2, 4, 2, padding="SAME", groups=2, rng=2, dtype=dtype),
            spread=Conv2D(4, 4, 2, dilation=2, groups=4, rng=3, dtype=dtype),
            flatten=Flatten(), fc=Linear(4, CLASSES, rng=4, dtype=dtype),
        )  # fmt: skip

    check_recorded_with_kernels(log, small, SGD)


def check_recorded_with_kernels(
    log: pytest.LogCaptureFixture, small: Callable[[str], Sequential], make: Callable[[Layer], Any], **options: Any
) -> None:
    with fake_cupy.installed() as cupy:
        lib = Lib("cupy", cupy)
        history, arrays, _ = run(lib, False, make, build=small, **options)
        again, others, replays = run(lib, True, make, build=small, **options)
    assert [record.getMessage() for record in log.records] == []
    assert (again, replays) == (history, 19)
    assert_same(others, arrays)


# ==== what a graph holds fast ====


def test_replays_allocate_nothing(gpu: Lib) -> None:
    pool = gpu.xp.get_default_memory_pool()
    sizes: list[tuple[int, int]] = []
    with on(gpu):
        train, model = images(40), network()
    fit(
        model, train, optimizer=SGD(model), epochs=1, batch_size=BATCH,
        on_step=lambda _: sizes.append((pool.used_bytes(), pool.total_bytes())),
    )  # fmt: skip
    assert len(sizes) == 10
    assert len(set(sizes[2:])) == 1


def test_nothing_is_left_when_a_run_is_over(gpu: Lib, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and not when the garbage collector comes by: it does not know how much memory a GPU has."""
    graphs: list[Any] = []

    def watched(*args: Any, **options: Any) -> Any:
        graph = capture(*args, **options)
        graphs.append(weakref.ref(graph))
        return graph

    monkeypatch.setattr(steps, "capture", watched)
    with on(gpu):
        train, model = images(), network()
        optimizer = SGD(model)
    pool = gpu.xp.get_default_memory_pool()
    used = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            fit(model, train, optimizer=optimizer, epochs=2, batch_size=BATCH)
            used.append(pool.used_bytes())
            assert [graph() for graph in graphs] == [None] * len(graphs)
    finally:
        gc.enable()
    assert len(set(used)) == 1
    assert len(graphs) == 6


def test_arrays_loaded_in_the_middle_are_seen(gpu: Lib) -> None:
    """`load_state_dict` writes into the arrays that the graph knows."""

    def with_loading(graph: bool) -> dict[str, np.ndarray]:
        with pytest.MonkeyPatch.context() as patch, on(gpu):
            patch.setenv("XLENET_GRAPH", "on" if graph else "off")
            train, model, other = images(), network(), network()
            optimizer = SGD(model)
            state = {name: gpu.to_numpy(array) for name, array in other.state_dict().items()}
            fit(
                model, train, optimizer=optimizer, epochs=2, batch_size=BATCH,
                on_step=lambda p: model.load_state_dict(state) if p.step == 4 else None,
            )  # fmt: skip
        return all_arrays(gpu, model, optimizer)

    assert_same(with_loading(True), with_loading(False))


CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "mode": lambda model, optimizer: model.eval(),
    "momentum": lambda model, optimizer: setattr(optimizer, "momentum", 0.5),
    "decay": lambda model, optimizer: setattr(model["bn"], "decay", 0.2),
    "slot": lambda model, optimizer: optimizer.slots.update(velocity=0.5 * optimizer.slots["velocity"]),
    "buffer": lambda model, optimizer: model["bn"].buffers.update(running_mean=model["bn"].buffers["running_mean"] + 1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_callback_changes_counts_from_the_next_step_on(gpu: Lib, change: Callable[[Any, Any], Any]) -> None:
    """A graph knows arrays by their addresses and numbers by heart: it has to be recorded anew."""

    def with_change(graph: bool) -> dict[str, np.ndarray]:
        with pytest.MonkeyPatch.context() as patch, on(gpu):
            patch.setenv("XLENET_GRAPH", "on" if graph else "off")
            train, model = images(), network()
            optimizer = SGD(model)
            counters.reset()
            fit(
                model, train, optimizer=optimizer, epochs=2, batch_size=BATCH,
                on_step=lambda p: change(model, optimizer) if (p.epoch, p.step) == (1, 4) else None,
            )  # fmt: skip
        assert counters.replays > 5 or not graph
        return all_arrays(gpu, model, optimizer)

    changed = with_change(True)
    assert_same(changed, with_change(False))
    _, plain, _ = run(gpu, True, epochs=2)
    assert any((changed[name] != value).any() for name, value in plain.items()), "the change does something"


def test_a_graph_that_is_out_of_date_is_let_go_of_when_the_device_is_done_with_it(gpu: Lib) -> None:
    with on(gpu):
        train, model = images(), network()
    waits = []

    def change(progress: Progress) -> None:
        waits.append(counters.waits)
        if progress.step in (3, 4):
            model["bn"].decay = 0.5

    fit(model, train, optimizer=SGD(model), epochs=1, batch_size=BATCH, on_step=change)
    assert np.diff(waits).tolist() == [0, 0, 1, 0, 0, 0]


def test_exchanged_parameters_are_an_error_as_without(gpu: Lib) -> None:
    with on(gpu):
        train, model = images(), network()
    optimizer = SGD(model)

    def exchange(progress: Progress) -> None:
        if progress.step == 4:
            SGD(model)

    with pytest.raises(RuntimeError, match="arrays were exchanged"):
        fit(model, train, optimizer=optimizer, epochs=1, batch_size=BATCH, on_step=exchange)
    assert optimizer.steps == 4


# ==== ends ====


def test_a_loss_that_is_not_finite_is_told_with_its_step(gpu: Lib) -> None:
    """At the epoch's end: to ask earlier would hold up the device."""

    class Poison:
        def __init__(self, model: Any) -> None:
            self.model = model

        def __call__(self, progress: Progress) -> None:
            if (progress.epoch, progress.step) == (2, 3):
                self.model["fc1"].params["weight"][...] = math.nan

    with on(gpu):
        train, model = images(), network()
    with pytest.raises(DivergedError, match="not finite in step 4 of epoch 2"):
        fit(model, train, optimizer=SGD(model), epochs=3, batch_size=BATCH, on_step=Poison(model))


def test_a_rate_far_too_large_is_found_at_its_step(gpu: Lib) -> None:
    messages = []
    for graph in (False, True):
        with pytest.raises(DivergedError) as caught:
            run(gpu, graph, lr=1e30)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_should_stop_stops_after_its_step(gpu: Lib) -> None:
    with on(gpu):
        train, model = images(), network()
    optimizer, seen, waits = SGD(model), list[int](), 0

    def should_stop() -> bool:
        nonlocal waits
        waits = counters.waits
        return len(seen) == 12

    history = fit(
        model, train, optimizer=optimizer, epochs=3, batch_size=BATCH, on_step=lambda p: seen.append(p.meter.images),
        should_stop=should_stop,
    )  # fmt: skip
    assert counters.waits == waits + 1, "the device has done all that it was asked for"
    assert [epoch.epoch for epoch in history] == [1]
    assert (optimizer.steps, seen[-5:]) == (12, [4, 8, 12, 16, 20])


def test_a_meter_in_the_middle_is_that_of_a_run_without(gpu: Lib) -> None:
    def read(graph: bool) -> list[Any]:
        with pytest.MonkeyPatch.context() as patch, on(gpu):
            patch.setenv("XLENET_GRAPH", "on" if graph else "off")
            train, model, seen = images(), network(), []
            fit(
                model,
                train,
                optimizer=SGD(model),
                epochs=2,
                batch_size=BATCH,
                on_step=lambda p: seen.append(p.meter.read()),
            )
        return seen

    assert read(True) == read(False)


# ==== going on without ====


class Scale(Layer):
    """A layer of one's own, which does the same in each step."""

    def _forward(self, x: Any, work: Any) -> Any:
        return x * 2.0, None

    def _backward(self, dy: Any, cache: Any, need_dx: bool, work: Any) -> Any:
        return dy * 2.0


class Capturable(Scale):
    capturable = True


class Peeking(Capturable):
    """Reads a number of the batch, which nobody can record."""

    def _forward(self, x: Any, work: Any) -> Any:
        return x * (2.0 if float(x[0, 0]) > -1e9 else 3.0), None


def with_layer(layer: type[Layer]) -> Callable[[str], Sequential]:
    return lambda dtype: Sequential(flatten=Flatten(), scale=layer(), fc=Linear(16, CLASSES, rng=0, dtype=dtype))


def test_layers_of_a_class_of_ones_own_are_not_recorded_unless_they_say_so(
    gpu: Lib, log: pytest.LogCaptureFixture
) -> None:
    history, arrays, _ = run(gpu, False, build=with_layer(Scale))
    assert not log.records, "XLENET_GRAPH=off wants no graph, so there is nothing to tell"
    again, others, replays = run(gpu, True, build=with_layer(Scale))
    assert (again, replays) == (history, 0)
    assert_same(others, arrays)
    (record,) = log.records
    assert "Scale is a class of your own" in record.getMessage()
    log.clear()
    again, others, replays = run(gpu, True, build=with_layer(Capturable))
    assert (again, replays) == (history, 19)
    assert_same(others, arrays)
    assert not log.records


def test_optimisers_and_images_of_ones_own_are_not_recorded(gpu: Lib, log: pytest.LogCaptureFixture) -> None:
    class Mine(SGD):
        def step(self, lr: float) -> None:
            super().step(2 * lr)

    class Flipped(Images):
        pass

    assert run(gpu, True, Mine)[2] == 0
    with on(gpu):
        data, model = images(), network()
        data.__class__ = Flipped
    counters.reset()
    fit(model, data, optimizer=SGD(model), epochs=1, batch_size=BATCH)
    assert counters.replays == 0
    assert [record.getMessage().split(" is a class")[0] for record in log.records] == [
        "no CUDA graph of the training step (Mine",
        "no CUDA graph of the training step (Flipped",
    ]


def test_a_step_that_cannot_be_recorded_goes_on_without_and_says_so_once(
    gpu: Lib, log: pytest.LogCaptureFixture
) -> None:
    history, arrays, _ = run(gpu, False, build=with_layer(Peeking))
    again, others, replays = run(gpu, True, build=with_layer(Peeking))
    assert (again, replays) == (history, 0)
    assert_same(others, arrays)
    (record,) = log.records
    assert record.levelname == "WARNING"
    assert "not permitted when stream is capturing" in record.getMessage()
    assert "XLENET_GRAPH=off" in record.getMessage()


def test_matrix_products_of_cupy_cannot_be_recorded(
    gpu: Lib, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, arrays, _ = run(gpu, False)
    monkeypatch.setattr(fake_cupy.settings, "cublas_can_be_captured", False)
    again, others, replays = run(gpu, True)
    assert (again, replays) == (history, 0)
    assert_same(others, arrays)
    assert [r.getMessage().count("cuBLAS") for r in log.records] == [1]


def test_ctrl_c_while_recording_goes_through(gpu: Lib) -> None:
    class Interrupted(Capturable):
        def _forward(self, x: Any, work: Any) -> Any:
            if gpu.xp.cuda.get_current_stream().is_capturing():
                raise KeyboardInterrupt
            return super()._forward(x, work)

    with pytest.raises(KeyboardInterrupt):
        run(gpu, True, build=with_layer(Interrupted))
    assert not gpu.xp.cuda.get_current_stream().is_capturing()


@pytest.mark.parametrize("value", ["off", "OFF", "0", "no", " false "])
def test_graphs_can_be_switched_off(gpu: Lib, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    x = gpu.asarray([1.0])
    assert can_capture(x)
    monkeypatch.setenv("XLENET_GRAPH", value)
    assert not can_capture(x)


def test_nothing_is_recorded_on_the_host(numpy_lib: Lib) -> None:
    assert not can_capture(np.zeros(1))


# ==== the graph itself ====


def test_a_graph_computes_nothing_until_it_is_replayed(gpu: Lib) -> None:
    x = gpu.asarray([1.0, 2.0])

    def double() -> None:
        nonlocal x
        x *= 2.0

    graph = Graph(double, like=x)
    gpu.assert_equal(x, [1, 2])
    graph.replay()
    graph.replay()
    gpu.assert_equal(x, [4, 8])


def test_a_graphs_memory_is_its_own(gpu: Lib) -> None:
    """Arrays made later, even of the same size, never lie where the graph writes."""
    xp, x = gpu.xp, gpu.asarray(np.ones(100))

    def through_a_temporary() -> None:
        y = x * 3.0
        x[...] = y - 1.0

    size = xp.get_default_memory_pool().total_bytes()
    graph = Graph(through_a_temporary, like=x)
    assert xp.get_default_memory_pool().total_bytes() == size, "free_all_blocks() would give it away"
    others = [xp.zeros(100) for _ in range(10)]
    graph.replay()
    gpu.assert_equal(x, np.full(100, 2.0))
    assert all((gpu.to_numpy(other) == 0).all() for other in others)


def test_a_graph_keeps_the_arrays_it_reads(gpu: Lib) -> None:
    x, y = gpu.asarray(np.zeros(100)), gpu.asarray(np.ones(100))
    graph = Graph(_adding(x, y), like=x)
    del y
    gc.collect()
    _ = [gpu.xp.zeros(100) for _ in range(10)]
    graph.replay()
    gpu.assert_equal(x, np.ones(100))


def _adding(x: Any, y: Any) -> Callable[[], None]:
    def add() -> None:
        x[...] = x + y

    return add


def test_nothing_is_collected_while_recording(gpu: Lib) -> None:
    x, seen = gpu.asarray([1.0]), list[bool]()
    Graph(lambda: seen.append(gc.isenabled()), like=x)
    assert (seen, gc.isenabled()) == ([False], True)


def test_a_failed_recording_is_ended(gpu: Lib, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = []

    class Watched(gpu.xp.cuda.Stream):  # type: ignore[name-defined,misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            streams.append(self)

    monkeypatch.setattr(gpu.xp.cuda, "Stream", Watched)
    x = gpu.asarray([1.0])
    for fails in (x.get, lambda: 1 / 0):
        with pytest.raises((RuntimeError, ZeroDivisionError)):
            Graph(fails, like=x)
    assert [stream.is_capturing() for stream in streams] == [False, False]
    assert gpu.xp.cuda.get_current_stream() == gpu.xp.cuda.Stream.null


def test_a_failure_is_told_in_one_line(gpu: Lib, log: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("first line\nsecond line")

    assert capture(fail, like=gpu.asarray([1.0])) is None
    (record,) = log.records
    assert "(ValueError: first line)" in record.getMessage()
    assert "\n" not in record.getMessage()


# ==== what the step looks up on the device ====


def test_advance_goes_through_an_epoch(lib: Lib) -> None:
    order, table = lib.asarray(np.arange(12) * 10, "int64"), lib.asarray(np.arange(8.0).reshape(4, 2))
    counter, positions = writable(lib, np.zeros(1, np.int64)), writable(lib, np.full(3, -1))
    scalars = writable(lib, np.zeros(2, np.float32))
    for step in range(4):
        steps.advance(counter, order, table, positions, scalars)
        lib.assert_equal(positions, np.arange(3 * step, 3 * step + 3) * 10, dtype="int64")
        lib.assert_equal(scalars, [2 * step, 2 * step + 1], dtype="float32")
        lib.assert_equal(counter, [step + 1])


def writable(lib: Lib, values: np.ndarray) -> Any:
    return values.copy() if lib.name == "numpy" else lib.asarray(values)


# ==== looking on without waiting ====


def test_a_peek_never_waits(gpu: Lib, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fake_cupy.streams import Event

    x = gpu.asarray([1.0, 2.0])
    late = LateCopy[str](x)
    counters.reset()
    assert late.newest("a") is None
    x += 1.0
    assert late.newest("b") == ([1.0, 2.0], "a")
    monkeypatch.setattr(Event, "slow", True)
    x += 1.0
    assert late.newest("c") == ([1.0, 2.0], "a"), "the copy asked for at b has not arrived"
    monkeypatch.setattr(Event, "slow", False)
    assert late.newest("d") == ([2.0, 3.0], "b")
    late.forget()
    assert late.newest("e") is None
    assert (counters.waits, counters.late_copies) == (0, 4)


def test_the_meter_can_be_peeked_at_in_every_step(gpu: Lib) -> None:
    seen: list[Any] = []
    with on(gpu):
        train, model = images(), network()
    (first, second) = fit(
        model, train, optimizer=SGD(model), epochs=2, batch_size=BATCH, on_step=lambda p: seen.append(p.meter.peek())
    )
    assert seen[0] is None
    assert seen[7] is None, "what was seen of an epoch is forgotten with it"
    assert [entry[2] for entry in seen[1:7]] == [1, 2, 3, 4, 5, 6]
    assert first.epoch < second.epoch


def test_on_the_host_a_peek_is_up_to_date(numpy_lib: Lib) -> None:
    meter = Meter(np.zeros(1))
    for n in (1, 2):
        meter.add(np.float64(0.5), np.zeros((4, 2)), np.zeros(4, np.int64))
        assert meter.peek() == meter.read() == (0.5, 1.0, n)
    meter.reset()
    assert meter.images == 0
    assert not meter.sums.any()


def test_epochs_are_recorded_as_ever(gpu: Lib) -> None:
    seen: list[Epoch] = []
    with on(gpu):
        train, model = images(), network()
    history = fit(model, train, optimizer=SGD(model), test=train, epochs=2, batch_size=BATCH, on_epoch=seen.append)
    assert history == seen
    assert all(type(value) in (int, float) for epoch in history for value in epoch.record().values())
