"""Runs repeat bit for bit on one machine and one library."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xlenet
from tests.layers.cases import Case, each_layer
from tests.libraries import Lib
from tests.networks import gradients, on
from xlenet import SGD, Adam, LeNet5, use_threads
from xlenet.data import Images
from xlenet.training import evaluate, fit

CUDA = sorted((Path(xlenet.__file__).parent / "kernels" / "cuda").glob("*.cu*"))


def run(lib: Lib, kind: Any, threads: int) -> dict[str, bytes]:
    """A short run of LeNet-5 whose batches are of more than one part; the bytes of all that is left."""
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 256, (300, 1, 28, 28), np.uint8), rng.integers(0, 10, 300)
    several = use_threads(threads) if threads > 1 else contextlib.nullcontext()
    with on(lib), several:
        model, images = LeNet5(rng=0), Images(x, y)
        optimizer = kind(model)
        history = fit(model, images, optimizer=optimizer, test=images, epochs=1, batch_size=160, lr=0.01)
        tested = evaluate(model, images, batch_size=70)
    arrays = model.state_dict() | optimizer.state_dict()
    left = {name: lib.to_numpy(array).tobytes() for name, array in arrays.items()}
    return left | {"history": repr([epoch[:6] for epoch in history]).encode(), "tested": tested.predictions.tobytes()}


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_run_repeats_bit_for_bit(lib: Lib, kind: Any) -> None:
    assert run(lib, kind, 1) == run(lib, kind, 1)


def test_a_run_on_several_threads_repeats_bit_for_bit(numpy_lib: Lib) -> None:
    first = run(numpy_lib, SGD, 2)
    assert all(run(numpy_lib, SGD, 2) == first for _ in range(3))
    assert run(numpy_lib, SGD, 3) == first


@each_layer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_layer_repeats_bit_for_bit(lib: Lib, case: Case, dtype: str) -> None:
    def once() -> list[bytes]:
        rng = np.random.default_rng(4)
        layer = case.make(lib, dtype)
        y = layer.forward(case.draw(rng, lib, dtype))
        dx = layer.backward(lib.asarray(rng.standard_normal(tuple(y.shape)), dtype))
        arrays = [lib.to_numpy(a) for a in (y, dx, layer.infer(case.draw(rng, lib, dtype)))]
        arrays += [*gradients(lib, layer).values(), *map(lib.to_numpy, layer.state_dict().values())]
        return [array.tobytes() for array in arrays]

    assert once() == once()


# Where an atomic is allowed, each with its reason: it may count whole numbers, whose sum is the same in any order.
WHOLE_NUMBERS: dict[str, int] = {}


def test_no_kernel_adds_up_in_an_order_of_chance() -> None:
    """Atomics add in the order in which threads happen to come; sums of floats depend on it."""
    assert len(CUDA) >= 5
    for path in CUDA:
        source = re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        found = re.findall(r"\batomic\w*|\bred\.\w+|__nv_atomic\w*|cuda::atomic\w*", source)
        assert len(found) == WHOLE_NUMBERS.get(path.name, 0), f"{path.name}: {found}"


def test_no_array_library_is_asked_to_scatter() -> None:
    """The same in CuPy's own kernels: what adds at positions uses atomics."""
    for path in Path(xlenet.__file__).parent.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"\b(scatter_add|add\.at|index_add)\b", source), path.name
