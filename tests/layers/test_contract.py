"""What is true of every layer: what it remembers, what it writes to, and what it leaves alone."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.gradcheck import check_gradients
from tests.layers.cases import Case, each_layer, each_layer_with_arrays
from tests.libraries import Lib
from tests.networks import gradients, parameters
from xlenet import SGD, BatchNorm, Conv2D, Layer, Linear, SoftmaxCrossEntropy
from xlenet.functional import batchnorm, conv2d, conv2d_rows, softmax_cross_entropy


def draw_dy(rng: np.random.Generator, lib: Lib, y: Any, dtype: str = "float64") -> Any:
    return lib.asarray(rng.standard_normal(lib.to_numpy(y).shape), dtype)


def everything(lib: Lib, layer: Layer) -> dict[str, np.ndarray]:
    """Host copies of all that outlives a batch."""
    return {name: lib.to_numpy(array) for name, array in layer.state_dict().items()}


# ==== the mathematics, through the layer ====


@each_layer
@pytest.mark.parametrize("training", [True, False])
def test_gradients_by_random_projection(lib: Lib, rng: np.random.Generator, case: Case, training: bool) -> None:
    layer = case.make(lib)
    layer.train() if training else layer.eval()
    names = [name for name, _ in layer.named_parameters()]
    start = everything(lib, layer)

    def forward(x: Any, *values: Any) -> Any:
        state = start | {name: lib.to_numpy(value) for name, value in zip(names, values, strict=True)}
        layer.load_state_dict(state)
        layer._count_from(0)  # a layer that draws, draws the same each time
        return layer.forward(x), None

    def backward(dy: Any, _: Any) -> dict[str, Any]:
        dx = layer.backward(dy)
        held = {name: value for name, value in gradients(lib, layer).items() if np.abs(value).max() > 1e-10}
        # Batch normalisation takes out what the bias before it adds. Of that 0 a difference shows only rounding.
        left_out = {name.rpartition(".conv.")[2] for name in set(names) - set(held)}
        assert left_out <= ({"bias", "conv.bias"} if training and "bn: " in repr(layer) else set())
        return {"x": dx} | {name: lib.asarray(value) for name, value in held.items()}

    inputs = {"x": rng.standard_normal(case.shape)} | {name: start[name] for name in names}
    check_gradients(lib, repr(layer), forward, backward, inputs, rng)


@each_layer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_library_the_device_and_the_type_are_kept(
    lib: Lib, rng: np.random.Generator, case: Case, dtype: str
) -> None:
    layer = case.make(lib, dtype)
    x = case.draw(rng, lib, dtype)
    y = layer.forward(x)
    dx = layer.backward(draw_dy(rng, lib, y, dtype))
    arrays = [y, dx, layer.infer(x)]
    for _, leaf in layer.leaves():
        saved = [array for name, array in leaf.buffers.items() if name not in leaf._transient]
        arrays += [*leaf.params.values(), *leaf.grads.values(), *saved]
    for array in arrays:
        lib.assert_native(array)
        assert lib.dtype_name(array) == dtype
    assert dx.shape == x.shape


@each_layer
def test_calling_a_layer_is_forward(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    x = case.draw(rng, lib)
    expected = lib.to_numpy(case.make(lib).forward(x))
    layer = case.make(lib)
    y = layer(x)
    lib.assert_equal(y, expected)
    assert layer.backward(draw_dy(rng, lib, y)).shape == x.shape


@pytest.mark.parametrize("lowering", ["img2col", "rows"])
def test_the_lowering_that_was_asked_for_computes(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, lowering: str
) -> None:
    """Their results are equal: only a look at who was called tells them apart."""
    called = []

    def spied(name: str, function: Any) -> Any:
        def spy(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return function(*args, **kwargs)

        return spy

    for name, module in (("img2col", conv2d), ("rows", conv2d_rows)):
        monkeypatch.setattr(module, "forward", spied(name, module.forward))
        monkeypatch.setattr(module, "backward", spied(name, module.backward))
    layer = Conv2D(2, 3, 2, lowering=lowering, dtype="float64")
    layer.backward(layer.forward(rng.standard_normal((2, 2, 4, 4))))
    assert called == [lowering, lowering]


# ==== what is remembered ====


@each_layer
def test_backward_wants_a_forward(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    layer = case.make(lib)
    dy = draw_dy(rng, lib, layer.infer(case.draw(rng, lib)))
    pattern = rf"^{type(layer).__name__}: got backward without a forward before it; expected forward first; call"
    with pytest.raises(RuntimeError, match=pattern):
        layer.backward(dy)
    layer.forward(case.draw(rng, lib))
    layer.backward(dy)
    with pytest.raises(RuntimeError, match=pattern):
        layer.backward(dy)


@each_layer
def test_backward_can_be_called_again_after_a_mistake_in_dy(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    x = case.draw(rng, lib)
    layer, other = case.make(lib), case.make(lib)
    dy = draw_dy(rng, lib, layer.forward(x))
    wrong = lib.asarray(np.zeros((7, 7, 7)))
    with pytest.raises((ValueError, TypeError)):
        layer.backward(wrong)
    other.forward(x)
    lib.assert_equal(layer.backward(dy), lib.to_numpy(other.backward(dy)))


@each_layer
def test_the_last_forward_is_the_one_that_counts(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    first, second = case.draw(rng, lib), case.draw(rng, lib)
    layer, other = case.make(lib), case.make(lib)
    layer.forward(first)
    dy = draw_dy(rng, lib, layer.forward(second))
    other._count_from(1)
    other.forward(second)
    lib.assert_equal(layer.backward(dy), lib.to_numpy(other.backward(dy)))
    assert_same(gradients(lib, layer), gradients(lib, other))


@each_layer
def test_forget_lets_go(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    layer = case.make(lib)
    dy = draw_dy(rng, lib, layer.forward(case.draw(rng, lib)))
    layer.forget()
    with pytest.raises(RuntimeError, match="without a forward"):
        layer.backward(dy)


@each_layer
def test_infer_follows_the_rules_of_evaluation_in_either_mode(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    layer = case.make(lib)
    layer.forward(case.draw(rng, lib))  # moves running statistics, where there are any
    x = case.draw(rng, lib)
    inferred = lib.to_numpy(layer.infer(x))
    assert layer.training
    lib.assert_equal(layer.eval().infer(x), inferred)
    lib.assert_equal(layer.forward(x), inferred)
    assert not layer.training


@each_layer
def test_infer_stores_nothing(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    """Neither instead of a forward nor on top of one, and no statistics."""
    x, other_x = case.draw(rng, lib), case.draw(rng, lib)
    layer, other = case.make(lib), case.make(lib)
    layer.infer(x)
    with pytest.raises(RuntimeError, match="without a forward"):
        layer.backward(x)
    dy = draw_dy(rng, lib, layer.forward(x))
    other.forward(x)
    before = everything(lib, layer)
    layer.infer(other_x)
    assert_same(everything(lib, layer), before)
    lib.assert_equal(layer.backward(dy), lib.to_numpy(other.backward(dy)))
    assert_same(gradients(lib, layer), gradients(lib, other))


@each_layer
def test_infer_in_many_threads_leaves_a_forward_alone(numpy_lib: Lib, rng: np.random.Generator, case: Case) -> None:
    lib = numpy_lib
    layer, other = case.make(lib), case.make(lib)
    inputs = [case.draw(rng, lib) for _ in range(4)]
    x = case.draw(rng, lib)
    dy = draw_dy(rng, lib, layer.forward(x))
    other.forward(x)
    expected = [lib.to_numpy(layer.infer(one)) for one in inputs]
    wrong: list[int] = []
    barrier = threading.Barrier(len(inputs) + 1, timeout=30)

    def infer_again_and_again(k: int) -> None:
        barrier.wait()
        wrong.extend(k for _ in range(20) if not np.array_equal(layer.infer(inputs[k]), expected[k]))

    threads = [threading.Thread(target=infer_again_and_again, args=(k,)) for k in range(len(inputs))]
    for thread in threads:
        thread.start()
    barrier.wait()
    dx = layer.backward(dy)
    for thread in threads:
        thread.join()
    assert not wrong
    lib.assert_equal(dx, lib.to_numpy(other.backward(dy)))
    assert_same(gradients(lib, layer), gradients(lib, other))


# ==== what is written to ====


@each_layer
def test_inputs_are_never_written_to(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    layer = case.make(lib)
    x = case.draw(rng, lib)
    before = lib.to_numpy(x)
    y = layer.forward(x)
    dy = draw_dy(rng, lib, y)
    dy_before = lib.to_numpy(dy)
    layer.backward(dy)
    layer.infer(x)
    lib.assert_equal(x, before)
    lib.assert_equal(dy, dy_before)


@each_layer
def test_two_results_of_one_layer_do_not_alias(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    layer = case.make(lib)
    first = layer.forward(case.draw(rng, lib))
    first_dx = layer.backward(draw_dy(rng, lib, first))
    kept = lib.to_numpy(first), lib.to_numpy(first_dx)
    second = layer.forward(case.draw(rng, lib))
    second_dx = layer.backward(draw_dy(rng, lib, second))
    lib.assert_equal(first, kept[0])
    lib.assert_equal(first_dx, kept[1])
    if lib.name == "numpy":
        assert not np.shares_memory(first, second)
        assert not np.shares_memory(first_dx, second_dx)


@each_layer
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_two_results_held_at_once_are_those_of_single_calls(
    lib: Lib, rng: np.random.Generator, case: Case, training: bool
) -> None:
    """The pure core keeps its contract: without a workspace no memory is used twice, whatever is held."""
    layer, other = case.make(lib), case.make(lib)
    for one in (layer, other):
        one.train() if training else one.eval()
    inputs = [case.draw(rng, lib) for _ in range(2)]
    results = [call(x) for call in (layer, layer.infer) for x in inputs]
    dy = draw_dy(rng, lib, results[1])
    results.append(layer.backward(dy))
    for k, call in enumerate([other, other.infer]):
        for x, result in zip(inputs, results[2 * k : 2 * k + 2], strict=True):
            lib.assert_equal(result, lib.to_numpy(call(x)))
    lib.assert_equal(results[-1], lib.to_numpy(other.backward(dy)))
    if lib.name == "numpy" and not case.gives_views:
        for k, result in enumerate(results):
            assert not any(np.shares_memory(result, held) for held in [*inputs, dy, *results[:k]])


@each_layer_with_arrays
def test_gradients_are_assigned_and_not_added_up(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    layer = case.make(lib)
    x = case.draw(rng, lib)
    dy = draw_dy(rng, lib, layer.forward(x))
    layer.backward(dy)
    first = gradients(lib, layer)
    assert any(np.any(value != 0) for value in first.values())
    layer.forward(x)
    layer.backward(dy)
    assert_same(gradients(lib, layer), first)


@each_layer_with_arrays
def test_no_array_is_exchanged_in_training(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    """An optimiser and a CUDA graph hold on to them: everything is written in place."""
    layer = case.make(lib)

    def all_arrays() -> list[Any]:
        return [
            array
            for _, leaf in layer.leaves()
            for arrays in (leaf.params, leaf.grads, leaf.buffers)
            for array in arrays.values()
        ]

    held = all_arrays()
    addresses = [a.ctypes.data for a in held] if lib.name == "numpy" else []
    for mode in (layer.train, layer.eval, layer.train):
        mode()
        layer.backward(draw_dy(rng, lib, layer.forward(case.draw(rng, lib))))
    layer.load_state_dict(layer.state_dict())
    assert all(now is before for now, before in zip(all_arrays(), held, strict=True))
    if lib.name == "numpy":
        assert [a.ctypes.data for a in all_arrays()] == addresses


@each_layer_with_arrays
def test_forward_and_backward_leave_parameters_alone(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    layer = case.make(lib)
    before = parameters(lib, layer)
    layer.backward(draw_dy(rng, lib, layer.forward(case.draw(rng, lib))))
    assert_same(parameters(lib, layer), before)


@each_layer_with_arrays
def test_gradients_begin_as_zeros_of_the_parameters_shapes(lib: Lib, case: Case) -> None:
    layer = case.make(lib)
    expected = {name: np.zeros(value.shape) for name, value in parameters(lib, layer).items()}
    assert_same(gradients(lib, layer), expected)


# ==== need_dx, and freezing ====


@each_layer
def test_without_need_dx_the_gradients_are_the_same(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    layer, other = case.make(lib), case.make(lib)
    x = case.draw(rng, lib)
    dy = draw_dy(rng, lib, layer.forward(x))
    other.forward(x)
    other.backward(dy)
    assert layer.backward(dy, need_dx=False) is None
    assert_same(gradients(lib, layer), gradients(lib, other))
    with pytest.raises(RuntimeError, match="without a forward"):
        layer.backward(dy)


@each_layer_with_arrays
def test_a_frozen_layer_has_no_gradients_but_passes_dx_on(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    layer, other = case.make(lib, requires_grad=False), case.make(lib)
    assert_same(parameters(lib, layer), parameters(lib, other))
    assert not layer.learns
    assert other.learns
    x = case.draw(rng, lib)
    dy = draw_dy(rng, lib, other.forward(x))
    lib.assert_equal(layer.forward(x), lib.to_numpy(other.forward(x)))
    lib.assert_equal(layer.backward(dy), lib.to_numpy(other.backward(dy)))
    assert gradients(lib, layer) == {}


@each_layer_with_arrays
def test_a_layer_can_be_frozen_and_thawed_later(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    layer, other = case.make(lib), case.make(lib)
    x = case.draw(rng, lib)
    dy = draw_dy(rng, lib, layer.forward(x))
    layer.backward(dy)
    layer.requires_grad = False
    assert layer.requires_grad is False
    assert not layer.learns
    layer.forward(x)
    lib.assert_close(layer.backward(dy), lib.to_numpy(_backward(other, x, dy)))
    assert gradients(lib, layer) == {}
    layer.requires_grad = True
    assert layer.learns
    assert all(not value.any() for value in gradients(lib, layer).values())
    layer.forward(x)
    layer.backward(dy)
    assert_close(gradients(lib, layer), gradients(lib, other))


def _backward(layer: Layer, x: Any, dy: Any) -> Any:
    layer.forward(x)
    return layer.backward(dy)


# ==== modes ====


@each_layer
def test_modes_are_set_and_told(numpy_lib: Lib, case: Case) -> None:
    layer = case.make(numpy_lib)
    assert layer.training
    assert layer.eval() is layer
    assert not layer.training
    assert not any(leaf.training for _, leaf in layer.leaves())
    assert layer.train() is layer
    assert layer.training
    assert all(leaf.training for _, leaf in layer.leaves())


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(actual) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


def assert_close(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(actual) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-10, atol=1e-12, err_msg=name)


def test_a_layer_of_another_library_says_how_to_move_it(numpy_lib: Lib, device_lib: Lib) -> None:
    layer = Conv2D(1, 2, 3)
    x = device_lib.asarray(np.zeros((1, 1, 4, 4)), "float32")
    pattern = (
        rf"Conv2D: got x of {device_lib.name} and weight of numpy; expected one library; .*\.to\('{device_lib.name}'\)"
    )
    for call in (layer, layer.infer):
        with pytest.raises(TypeError, match=pattern):
            call(x)


def test_a_cache_may_be_none() -> None:
    class Negative(Layer):
        def _forward(self, x: Any, work: Any) -> tuple[Any, None]:
            return -x, None

        def _backward(self, dy: Any, cache: None, need_dx: bool, work: Any) -> Any:
            return -dy

    layer = Negative()
    layer(np.ones(2))
    np.testing.assert_array_equal(layer.backward(np.ones(2)), [-1.0, -1.0])
    with pytest.raises(RuntimeError, match="Negative: got backward without a forward"):
        layer.backward(np.ones(2))


def test_a_gradient_of_another_shape_than_its_parameter_is_refused() -> None:
    layer = Conv2D(1, 2, 3)
    with pytest.raises(ValueError, match=r"Conv2D: got dbias of shape \(\); expected \(2,\)"):
        layer._set_gradients(bias=np.float32(1.0))


def test_layers_losses_and_optimisers_work_on_the_device_of_their_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy computes on the current GPU, wherever the arrays lie: here the switch is watched, with NumPy's arrays."""
    inside: list[Any] = []

    @contextlib.contextmanager
    def switch(like: Any) -> Iterator[None]:
        inside.append(like)
        yield
        inside.pop()

    class Watched(Layer):
        def _forward(self, x: Any, work: Any) -> tuple[Any, Any]:
            assert inside == [x]
            return x, x

        def _backward(self, dy: Any, cache: Any, need_dx: bool, work: Any) -> Any:
            assert inside == [dy]
            return dy

    class WatchedOptimizer(SGD):
        def _update(self, gradient: Any, lr: float) -> None:
            assert inside == [self.params]

    for module in ("checks", "losses", "optim"):  # layers ask `checks`
        monkeypatch.setattr(f"xlenet.{module}.on_device_of", switch)
    layer, x = Watched(), np.ones((1, 2))
    layer.backward(layer(x))
    layer.infer(x)
    WatchedOptimizer(Linear(2, 2)).step(lr=0.1)
    norm = BatchNorm(2)
    monkeypatch.setattr("xlenet.layers.norm.on_device_of", switch)
    monkeypatch.setattr(
        batchnorm, "update_running", lambda *a: [a[0]] == inside or pytest.fail("statistics on another device")
    )
    norm(np.ones((2, 2), np.float32))
    for name in ("forward", "backward"):
        real = getattr(softmax_cross_entropy, name)
        monkeypatch.setattr(
            softmax_cross_entropy, name, lambda *a, real=real, **k: inside[0] is not None and real(*a, **k)
        )
    loss = SoftmaxCrossEntropy()
    loss(x, np.array([0]))
    loss.backward()
    assert not inside
