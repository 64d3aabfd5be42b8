"""The time of each part of a training step on a GPU, beside the least that it could take.

Each part is launched many times in one CUDA graph between two events, so that Python's share does not count; where it
cannot be recorded (without a kernel of its own), it is launched one by one, and the record says so.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from bench import limits
from xlenet import SGD, Workspace, use_backend
from xlenet.backend import copy, empty_batch_last, to_device, zeros
from xlenet.backend.graph import Graph
from xlenet.data.distort import distort, spline
from xlenet.data.images import Images, Normalization
from xlenet.functional import batchnorm_relu, conv2d_rows, conv_pool, linear, linear_relu, softmax_cross_entropy
from xlenet.layers import Linear
from xlenet.meter import tally
from xlenet.steps import advance

_IN_A_GRAPH, _REPLAYS, _EAGER = 20, 30, 50


class Part(NamedTuple):
    """A part of the step, ready to be run."""

    name: str
    run: Callable[[], Any]


def parts(n: int, seed: int = 0) -> Iterator[Part]:
    """Go over the parts of a step on `n` images, on the current backend, by the names of `bench.limits.step`.

    They work on random numbers of the right shapes, each for itself, and take their memory from a workspace each.
    """
    rng = np.random.default_rng(seed)
    like = to_device(np.zeros(1, np.float32))

    def draw(*shape: int) -> Any:
        array = empty_batch_last(shape, like=like) if len(shape) > 1 else zeros(shape, like=like)
        array[...] = to_device(rng.standard_normal(shape).astype(np.float32))
        return array

    def weight(*shape: int) -> Any:
        return to_device((0.1 * rng.standard_normal(shape)).astype(np.float32))

    def lent(name: str, function: Callable[..., Any], *args: Any, **options: Any) -> Part:
        work = Workspace()

        def run() -> None:
            function(*args, **options, work=work)
            work.end_step()

        return Part(name, run)

    def both(
        name: str, module: Any, forward: str, args: tuple[Any, ...], dy: Any, grads: tuple[Any, ...], **options: Any
    ) -> Iterator[Part]:
        """A forward pass and the backward pass that belongs to it."""
        backward = forward.replace("forward", "backward")
        _, cache = getattr(module, forward)(*args)
        yield lent(name, getattr(module, forward), *args)
        yield lent(f"{name}_backward", getattr(module, backward), dy, cache, out=grads, **options)

    labels = to_device(rng.integers(0, 10, n))
    images = Images(
        rng.integers(0, 256, (n, 1, 28, 28), np.uint8), rng.integers(0, 10, n), Normalization((33.0,), (78.0,))
    )
    which = to_device(rng.permutation(n))
    yield lent("gather", lambda work: images.batch(which, work))
    side, step = to_device(spline(28).astype(np.float32)), zeros((1,), like=like, dtype="int64")
    yield lent("distort", distort, draw(n, 1, 28, 28), side, side, step, (10.0, 1.0, 0.1, 5.0, 1.0), 7)
    w, b = weight(6, 1, 5, 5), weight(6)
    grads = (copy(w), copy(b))
    yield from both(
        "conv1_pool", conv_pool, "forward", (draw(n, 1, 28, 28), w, b, 1, "SAME", 2), draw(n, 6, 14, 14), grads,
        need_dx=False,
    )  # fmt: skip
    yield from both(
        "bn1_relu", batchnorm_relu, "forward_training", (draw(n, 6, 14, 14), weight(6), weight(6)),
        draw(n, 6, 14, 14), (weight(6), weight(6)),
    )  # fmt: skip
    w, b = weight(16, 6, 5, 5), weight(16)
    grads = (copy(w), copy(b))
    yield from both("conv2_pool", conv_pool, "forward", (draw(n, 6, 14, 14), w, b, 1, 0, 2), draw(n, 16, 5, 5), grads)
    yield from both(
        "bn2_relu", batchnorm_relu, "forward_training", (draw(n, 16, 5, 5), weight(16), weight(16)),
        draw(n, 16, 5, 5), (weight(16), weight(16)),
    )  # fmt: skip
    w, b = weight(120, 16, 5, 5), weight(120)
    grads = (copy(w), copy(b))
    yield from both("conv3", conv2d_rows, "forward", (draw(n, 16, 5, 5), w, b), draw(n, 120, 1, 1), grads)
    w, b = weight(84, 120), weight(84)
    grads = (copy(w), copy(b))
    yield from both("fc4_relu", linear_relu, "forward", (draw(n, 120), w, b), draw(n, 84), grads)
    w, b = weight(10, 84), weight(10)
    grads = (copy(w), copy(b))
    yield from both("fc5", linear, "forward", (draw(n, 84), w, b), draw(n, 10), grads)
    logits, loss = draw(n, 10), to_device(np.array(1.0, np.float32))
    yield lent("loss", _loss, logits, labels)
    yield Part("sgd", _sgd(like))
    sums = zeros((3,), like=like, dtype="float64")
    yield Part("tally", lambda: tally(sums, loss, logits, labels))
    counter, positions = zeros((1,), like=like, dtype="int64"), zeros((n,), like=like, dtype="int64")
    order, table = zeros((n * 2048,), like=like, dtype="int64"), zeros((2048, 1), like=like, dtype="float64")
    scalars = zeros((1,), like=like)
    yield Part("advance", lambda: advance(counter, order, table, positions, scalars))


def _loss(logits: Any, labels: Any, work: Workspace) -> None:
    _, cache = softmax_cross_entropy.forward(logits, labels, labels_checked=True, work=work)
    softmax_cross_entropy.backward(1.0, cache, work=work)


def _sgd(like: Any) -> Callable[[], None]:
    """As many parameters as LeNet-5 has, in one matrix."""
    optimizer = SGD(Linear(limits.PARAMETERS - 1, 1, rng=0), momentum=0.9, nesterov=True)
    scalars = zeros((1,), like=like)
    return lambda: optimizer.apply(scalars)


# ==== their times ====


def measure(n: int, backend: str = "cupy") -> list[dict[str, Any]]:
    """Return the time of each part on `n` images, in microseconds, beside its limit."""
    with use_backend(backend) as xp:
        work, peaks = limits.step(n), limits.peaks_of(xp.cuda.runtime, xp.cuda.runtime.getDevice())
        return [_record(part, work[part.name], peaks, xp) for part in parts(n)]


def _record(part: Part, work: limits.Work, peaks: limits.Peaks, xp: Any) -> dict[str, Any]:
    part.run()
    part.run()  # compiled, and its workspace as large as it will be
    seconds, recorded = _seconds(part.run, xp)
    return {
        "part": part.name,
        "microseconds": 1e6 * seconds,
        "in_a_graph": recorded,
        "limit_microseconds": 1e6 * work.seconds(peaks),
        "tflops_per_second": work.flops / seconds / 1e12,
        "of_peak_arithmetic": work.flops / seconds / peaks.flops,
        "gigabytes_per_second": work.bytes / seconds / 1e9,
        "of_peak_memory": work.bytes / seconds / peaks.bytes,
    }


def _seconds(run: Callable[[], Any], xp: Any) -> tuple[float, bool]:
    def many() -> None:
        for _ in range(_IN_A_GRAPH):
            run()

    try:
        graph = Graph(many, like=xp.zeros(1))
    except Exception:  # matrix products of CuPy's own, say
        return statistics.median(_between_events(run, _EAGER, xp)), False
    graph.replay()
    return statistics.median(_between_events(graph.replay, _REPLAYS, xp)) / _IN_A_GRAPH, True


def _between_events(run: Callable[[], Any], times: int, xp: Any) -> list[float]:
    """Seconds of each of so many runs, by the device's own clock."""
    seconds = []
    for _ in range(times):
        first, last = xp.cuda.Event(), xp.cuda.Event()
        first.record()
        run()
        last.record()
        last.synchronize()
        seconds.append(1e-3 * xp.cuda.get_elapsed_time(first, last))
    return seconds


def copy_speed(backend: str = "cupy", megabytes: int = 1024) -> float:
    """Return the bytes per second that a large copy in the device's memory reads and writes."""
    with use_backend(backend) as xp:
        a, b = xp.ones(megabytes * 2**18, dtype=xp.float32), xp.zeros(megabytes * 2**18, dtype=xp.float32)
        xp.copyto(b, a)
        seconds = statistics.median(_between_events(lambda: xp.copyto(b, a), 10, xp))
        return 2 * a.nbytes / seconds
