"""Every kernel against its portable twin, on the same arrays, and a whole network with kernels against one without."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xlenet.data.images
import xlenet.optim
import xlenet.training  # noqa: F401 - all that is swappable
from tests.kernels.conftest import Machine
from xlenet import SGD, LeNet5, SoftmaxCrossEntropy, use_backend
from xlenet.backend import swappables
from xlenet.data.distort import spline
from xlenet.training import train_step
from xlenet.workspace import Workspace


def numbers(machine: Machine, rng: np.random.Generator, *shape: int) -> Any:
    return machine.asarray(rng.standard_normal(shape))


def forward_and_back(
    forward: str, backward: str, *shapes: tuple[int, ...]
) -> Callable[[Machine, np.random.Generator, bool], list[Any]]:
    """Call a pair of functions, with kernels or without."""

    def run(machine: Machine, rng: np.random.Generator, portable: bool) -> list[Any]:
        there, back = ((_portable if portable else _kernel)(machine, name) for name in (forward, backward))
        y, cache = there(*(numbers(machine, rng, *shape) for shape in shapes))
        return [y, *back(numbers(machine, rng, *y.shape), cache)]

    return run


def _portable(machine: Machine, name: str) -> Callable[..., Any]:
    return swappables[name].portable


def _kernel(machine: Machine, name: str) -> Callable[..., Any]:
    return getattr(machine.kernels, name)


def in_place(name: str, make: Callable[[Machine, np.random.Generator], tuple[Any, ...]]) -> Any:
    """Call a function that changes its arguments, and return these."""

    def run(machine: Machine, rng: np.random.Generator, portable: bool) -> list[Any]:
        arguments = make(machine, rng)
        assert (_portable if portable else _kernel)(machine, name)(*arguments) is None
        return [a for a in arguments if hasattr(a, "get")]

    return run


def _infer(machine: Machine, rng: np.random.Generator, portable: bool) -> list[Any]:
    function = (_portable if portable else _kernel)(machine, "conv_pool_infer")
    return [function(numbers(machine, rng, 3, 2, 9, 8), numbers(machine, rng, 4, 2, 3, 3), None, 1, "SAME", 3, 2)]


def _loss(machine: Machine, rng: np.random.Generator, portable: bool) -> list[Any]:
    get = _portable if portable else _kernel
    logits, labels = numbers(machine, rng, 9, 4), machine.asarray(rng.integers(0, 4, 9))
    loss, cache = get(machine, "softmax_cross_entropy_forward")(logits, labels, labels_checked=True)
    return [loss, get(machine, "softmax_cross_entropy_backward")(0.5, cache)]


def _gather(machine: Machine, rng: np.random.Generator, portable: bool) -> list[Any]:
    x, which = rng.integers(0, 256, (20, 2, 5, 5), np.uint8), rng.integers(0, 20, 7)
    scale, shift = (numbers(machine, rng, 2, 1, 1, 1) for _ in range(2))
    get = _portable if portable else _kernel
    return [get(machine, "images_gather")(machine.asarray(x), machine.asarray(which), scale, shift, "float64")]


def _distort(machine: Machine, rng: np.random.Generator, portable: bool) -> list[Any]:
    function = (_portable if portable else _kernel)(machine, "distort_distort")
    step = machine.asarray(np.array([7]))
    results = []
    for n, c, h, w in ((1, 1, 28, 28), (35, 3, 9, 12), (3, 1, 1, 5), (2, 2, 2, 1)):
        sides = (machine.asarray(spline(size)) for size in (h, w))
        by = (30.0, 2.0, 0.2, 15.0, 3.0)
        results.append(function(numbers(machine, rng, n, c, h, w), *sides, step, by, 2**40 + 3))
    return results


def _matmul(machine: Machine, rng: np.random.Generator, portable: bool) -> list[Any]:
    get = _portable if portable else _kernel
    shapes = (((5, 7), (7, 6)), ((3, 5, 7), (3, 7, 6)))
    return [get(machine, "matmul_matmul")(numbers(machine, rng, *a), numbers(machine, rng, *b)) for a, b in shapes]


def _running(machine: Machine, rng: np.random.Generator, portable: bool) -> list[Any]:
    x, one = numbers(machine, rng, 6, 3), machine.asarray(np.ones(3))
    get = _portable if portable else _kernel
    _, cache = get(machine, "batchnorm_forward_training")(x, one, one)
    mean, var = numbers(machine, rng, 3), numbers(machine, rng, 3)
    get(machine, "batchnorm_update_running")(mean, var, cache, 0.9)
    return [mean, var]


def _tally_arguments(machine: Machine, rng: np.random.Generator) -> tuple[Any, ...]:
    logits, labels = numbers(machine, rng, 40, 4), machine.asarray(rng.integers(0, 4, 40))
    return machine.asarray(np.zeros(3)), machine.asarray(0.25), logits, labels


def _advance_arguments(machine: Machine, rng: np.random.Generator) -> tuple[Any, ...]:
    order, table = machine.asarray(rng.permutation(12)), numbers(machine, rng, 3, 2)
    return machine.asarray([1]), order, table, machine.asarray(np.zeros(4, np.int64)), machine.asarray(np.zeros(2))


def _sgd_arguments(machine: Machine, rng: np.random.Generator) -> tuple[Any, ...]:
    return *(numbers(machine, rng, 50) for _ in range(3)), machine.asarray([0.1]), 0.9, True, 0.01, 30


def _adam_arguments(machine: Machine, rng: np.random.Generator) -> tuple[Any, ...]:
    params, mean, grads = (numbers(machine, rng, 50) for _ in range(3))
    square, scalars = machine.asarray(rng.random(50)), machine.asarray([0.1, 1.3, 0.05])
    return params, mean, square, grads, scalars, (0.9, 0.99), 1e-8, 0.01, 30, True


_CONV = ((3, 2, 9, 8), (5, 2, 3, 3), (5,))
_BATCHNORM = ((6, 3, 4, 5), (3,), (3,))
_LINEAR = ((40, 20), (30, 20), (30,))

# By the kernel's name; a backward goes with its forward.
CHECKS: dict[str, Any] = {
    "conv_pool_forward": forward_and_back("conv_pool_forward", "conv_pool_backward", *_CONV),
    "conv_pool_infer": _infer,
    "conv2d_rows_forward": forward_and_back("conv2d_rows_forward", "conv2d_rows_backward", *_CONV),
    "linear_forward": forward_and_back("linear_forward", "linear_backward", *_LINEAR),
    "linear_relu_forward": forward_and_back("linear_relu_forward", "linear_relu_backward", *_LINEAR),
    "batchnorm_forward_training": forward_and_back(
        "batchnorm_forward_training", "batchnorm_backward_training", *_BATCHNORM
    ),
    "batchnorm_relu_forward_training": forward_and_back(
        "batchnorm_relu_forward_training", "batchnorm_relu_backward_training", *_BATCHNORM
    ),
    "batchnorm_update_running": _running,
    "softmax_cross_entropy_forward": _loss,
    "meter_tally": in_place("meter_tally", _tally_arguments),
    "steps_advance": in_place("steps_advance", _advance_arguments),
    "optim_sgd_update": in_place("optim_sgd_update", _sgd_arguments),
    "optim_adam_update": in_place("optim_adam_update", _adam_arguments),
    "distort_distort": _distort,
    "images_gather": _gather,
    "matmul_matmul": _matmul,
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_kernel_gives_what_its_portable_twin_gives(machine: Machine, name: str) -> None:
    with_kernels, without = (CHECKS[name](machine, np.random.default_rng(3), portable) for portable in (False, True))
    assert len(with_kernels) == len(without)
    for mine, other in zip(with_kernels, without, strict=True):
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        np.testing.assert_allclose(mine.get(), other.get(), rtol=1e-9, atol=1e-12)


def test_every_kernel_is_of_a_swappable_function_and_checked() -> None:
    kernels = set(importlib.import_module("xlenet.kernels.cupy_kernels").__all__)
    assert kernels <= set(swappables)
    assert kernels == {*CHECKS, *(name.replace("forward", "backward") for name in CHECKS if "forward" in name)}


def _trained(rng: np.random.Generator, x: Any, labels: Any, steps: int) -> tuple[list[float], Any]:
    """Losses and parameters of a LeNet-5 after some steps in the current backend."""
    model, loss, work = LeNet5(rng=0, dtype="float64"), SoftmaxCrossEntropy(), Workspace()
    optimizer = SGD(model, nesterov=True, weight_decay=1e-3)
    losses = []
    for _ in range(steps):
        value, _ = train_step(model, loss, optimizer, x, labels, 0.05, work, labels_checked=True)
        losses.append(float(value))
        work.end_step()
    return losses, model.state_dict()


def test_lenet5_learns_the_same_as_on_numpy(machine: Machine, rng: np.random.Generator) -> None:
    x, labels = rng.standard_normal((9, 1, 28, 28)), rng.integers(0, 10, 9)
    expected, on_numpy = _trained(rng, x, labels, 3)
    with use_backend("cupy"):
        losses, on_device = _trained(rng, machine.asarray(x), machine.asarray(labels), 3)
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    for name, array in on_numpy.items():
        np.testing.assert_allclose(on_device[name].get(), array, rtol=1e-7, atol=1e-10, err_msg=name)


def test_a_kernel_that_does_not_compile_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from xlenet.errors import BackendError
    from xlenet.kernels import cuda_launch

    class Library:
        def RawModule(self, **options: Any) -> Any:
            raise RuntimeError("error: no such thing")

    with pytest.raises(
        BackendError, match=r"^kernel one: got RuntimeError while compiling matmul\.cu for GPU 0 .*KERNELS=off"
    ):
        cuda_launch._kernel("matmul", "one", ("-DREAL=float",), Library(), 0)
