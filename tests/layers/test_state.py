"""Saving, loading, copying, moving: what a layer keeps, and that a mistake changes nothing."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from tests.layers.cases import Case, each_layer, each_layer_with_arrays
from tests.libraries import Lib, open_library
from tests.networks import SMALL_SHAPE, backend_name, on, small_network
from xlenet import SGD, BatchNorm, Conv2D, Layer, Linear, errors


def trained(lib: Lib, rng: np.random.Generator, case: Case) -> Layer:
    """A layer whose every array has left its first value."""
    layer = case.make(lib)
    x = case.draw(rng, lib)
    y = layer(x)
    layer.backward(lib.asarray(rng.standard_normal(lib.to_numpy(y).shape)))
    for _, leaf in layer.leaves():
        for array in leaf.params.values():
            array += 0.5
    return layer


def host_state(lib: Lib, layer: Layer) -> dict[str, np.ndarray]:
    return {name: lib.to_numpy(array) for name, array in layer.state_dict().items()}


def assert_same_state(lib: Lib, layer: Layer, expected: dict[str, np.ndarray]) -> None:
    actual = host_state(lib, layer)
    assert list(actual) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


# ==== state_dict ====


@each_layer_with_arrays
def test_a_state_goes_into_a_fresh_layer(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    layer, fresh = trained(lib, rng, case), case.make(lib)
    x = case.draw(rng, lib)
    assert not np.array_equal(lib.to_numpy(fresh.infer(x)), lib.to_numpy(layer.infer(x)))
    assert fresh.load_state_dict(layer.state_dict()) is fresh
    assert_same_state(lib, fresh, host_state(lib, layer))
    lib.assert_equal(fresh.infer(x), lib.to_numpy(layer.infer(x)))


@each_layer_with_arrays
def test_a_state_is_a_copy(lib: Lib, rng: np.random.Generator, case: Case) -> None:
    layer = trained(lib, rng, case)
    state = layer.state_dict()
    before = host_state(lib, layer)
    for array in state.values():
        lib.assert_native(array)
        array += 1.0
    assert_same_state(lib, layer, before)
    fresh = case.make(lib).load_state_dict(state)
    loaded = host_state(lib, fresh)
    for array in state.values():
        array += 1.0
    assert_same_state(lib, fresh, loaded)


def test_a_state_holds_buffers_and_frozen_parameters_but_no_gradients(numpy_lib: Lib) -> None:
    layer = BatchNorm(2, requires_grad=False)
    assert list(layer.state_dict()) == ["weight", "bias", "running_mean", "running_var"]


def test_loading_takes_arrays_of_any_library_and_type(lib: Lib, numpy_lib: Lib) -> None:
    weight, bias = np.arange(6.0).reshape(2, 3), np.array([7, 8])
    with on(lib):
        layer = Linear(3, 2, rng=0)
    held = layer.params["weight"]
    for source in (numpy_lib, lib):
        layer.load_state_dict({"weight": source.asarray(weight), "bias": source.asarray(bias)})
        assert layer.params["weight"] is held
        lib.assert_equal(layer.params["weight"], weight, dtype="float32")
        lib.assert_equal(layer.params["bias"], bias, dtype="float32")
        layer.params["weight"] *= 0.0


def test_a_transposed_array_is_loaded_by_value(lib: Lib, rng: np.random.Generator) -> None:
    weight = rng.standard_normal((3, 2)).T
    with on(lib):
        layer = Linear(3, 2, bias=False, dtype="float64")
    layer.load_state_dict({"weight": weight})
    lib.assert_equal(layer.params["weight"], weight)


def test_an_optimiser_sees_what_is_loaded(lib: Lib) -> None:
    """Its vector is what the layer's arrays are views of; loading must not part the two."""
    with on(lib):
        layer = Linear(2, 1, dtype="float64")
    optimizer = SGD(layer, momentum=0.0)
    layer.load_state_dict({"weight": np.array([[1.0, 2.0]]), "bias": np.array([3.0])})
    lib.assert_equal(optimizer.params, [1.0, 2.0, 3.0])
    layer.grads["bias"][...] = 1.0
    optimizer.step(1.0)
    lib.assert_equal(layer.params["bias"], [2.0])


def test_pytorchs_count_of_batches_is_passed_over(lib: Lib, rng: np.random.Generator) -> None:
    with on(lib):
        model = small_network()
    state: dict[str, Any] = host_state(lib, model)
    state["bn.num_batches_tracked"] = np.array(7)
    state["bn.running_mean"] = np.full(3, 5.0)
    model.load_state_dict(state)
    lib.assert_equal(model["bn"].buffers["running_mean"], np.full(3, 5.0))
    with on(lib):
        BatchNorm(3).load_state_dict(
            {name.removeprefix("bn."): value for name, value in state.items() if name.startswith("bn.")}
        )


def spoil(state: dict[str, Any], how: str) -> dict[str, Any]:
    if how == "missing":
        del state["bn.running_var"]
    elif how == "unknown":
        state["bn.momentum"] = np.zeros(3)
    elif how == "other names":
        return {f"module.{name}": value for name, value in state.items()}
    elif how == "empty":
        return {}
    elif how == "wrong shape":
        state["fc.bias"] = np.zeros(4)
    elif how == "transposed":
        state["fc.weight"] = state["fc.weight"].T
    elif how == "one axis more":
        state["fc.bias"] = state["fc.bias"][:, None]
    elif how == "broadcastable":
        state["fc.bias"] = np.zeros(1)
    elif how == "no array":
        state["fc.bias"] = [1.0, 2.0, 3.0]
    return state


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("missing", r"without \['bn.running_var'\]"),
        ("unknown", r"unknown \['bn.momentum'\]"),
        ("other names", r"unknown \['module.bn.bias'"),
        ("empty", r"without \['bn.bias'"),
        ("wrong shape", r"fc\.bias of shape \(4,\); expected \(3,\); "),
        ("transposed", r"fc\.weight of shape \(27, 3\); expected \(3, 27\); "),
        ("one axis more", r"fc\.bias of shape \(3, 1\); expected \(3,\); "),
        ("broadcastable", r"fc\.bias of shape \(1,\); expected \(3,\); "),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(lib: Lib, how: str, told: str) -> None:
    with on(lib):
        model = small_network()
    before = host_state(lib, model)
    state = spoil({name: value + 1.0 for name, value in before.items()}, how)
    with pytest.raises(ValueError, match=rf"^load_state_dict: got .*{told}"):
        model.load_state_dict(state)
    assert_same_state(lib, model, before)


def test_what_is_no_array_changes_nothing_either(lib: Lib) -> None:
    with on(lib):
        model = small_network()
    before = host_state(lib, model)
    state = spoil({name: value + 1.0 for name, value in before.items()}, "no array")
    with pytest.raises((TypeError, ValueError, AttributeError)):
        model.load_state_dict(state)
    assert_same_state(lib, model, before)


def test_a_list_among_arrays_changes_nothing_either(lib: Lib) -> None:
    with on(lib):
        layer = Linear(2, 2, dtype="float64")
    before = host_state(lib, layer)
    with pytest.raises(TypeError, match=r"got bias, a builtins\.list"):
        layer.load_state_dict({"weight": np.ones((2, 2)), "bias": [0.0, 0.0]})
    assert_same_state(lib, layer, before)


@pytest.mark.parametrize(
    "bias",
    [np.zeros(2, bool), np.zeros(2, complex), np.array(["1", "2"]), np.array([1.0, 2.0], object), np.zeros(2, "M8[s]")],
    ids=lambda array: str(array.dtype),
)
def test_what_is_no_real_number_is_not_cast(lib: Lib, bias: np.ndarray) -> None:
    with on(lib):
        layer = Linear(2, 2, dtype="float64")
    before = host_state(lib, layer)
    with pytest.raises(TypeError, match=r"^load_state_dict: got bias \S+; expected real numbers; \w"):
        layer.load_state_dict({"weight": np.ones((2, 2)), "bias": bias})
    assert_same_state(lib, layer, before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_a_number_that_is_not_finite_is_not_loaded(lib: Lib, value: float) -> None:
    """The last one only becomes so as a float32."""
    with on(lib):
        layer = Linear(2, 2)
    before = host_state(lib, layer)
    with pytest.raises(ValueError, match=r"^load_state_dict: got bias with numbers that are not finite as float32; "):
        layer.load_state_dict({"weight": np.ones((2, 2)), "bias": np.array([1.0, value])})
    assert_same_state(lib, layer, before)


def test_unknown_names_are_told_in_a_line(numpy_lib: Lib) -> None:
    layer = Linear(2, 2)
    state = layer.state_dict() | {f"\x1b[2J{k}" + "a" * 1000: np.zeros(1) for k in range(1000)}
    with pytest.raises(ValueError, match="with unknown") as caught:
        layer.load_state_dict(state)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_the_state_of_a_pytorch_module_is_loaded_as_it_is(lib: Lib, torch: Any) -> None:
    with on(lib):
        layer = Linear(3, 2, dtype="float64")
    module = torch.nn.Linear(3, 2).double()
    layer.load_state_dict(module.state_dict())
    for name, tensor in module.state_dict().items():
        lib.assert_equal(layer.params[name], tensor.numpy())


# ==== copies ====


@each_layer
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_is_equal_and_apart(numpy_lib: Lib, rng: np.random.Generator, case: Case, duplicate: Any) -> None:
    lib = numpy_lib
    layer = trained(lib, rng, case)
    layer.eval()
    other = duplicate(layer)
    assert type(other) is type(layer)
    assert repr(other) == repr(layer)
    assert other.training == layer.training
    assert_same_state(lib, other, host_state(lib, layer))
    x = case.draw(rng, lib)
    lib.assert_equal(other.infer(x), lib.to_numpy(layer.infer(x)))
    before = host_state(lib, layer)
    for _, leaf in other.leaves():
        for arrays in (leaf.params, leaf.grads, leaf.buffers):
            for array in arrays.values():
                array += 1
    assert_same_state(lib, layer, before)
    y = other.train()(x)
    assert other.backward(np.ones(y.shape)).shape == x.shape


def test_a_deep_copy_on_each_library(lib: Lib, rng: np.random.Generator) -> None:
    with on(lib):
        model = small_network()
    other = copy.deepcopy(model)
    before = host_state(lib, model)
    assert_same_state(lib, other, before)
    other["fc"].params["bias"] += 1.0
    assert_same_state(lib, model, before)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_batch_is_not_copied(numpy_lib: Lib, rng: np.random.Generator, duplicate: Any) -> None:
    """What belongs to one batch is neither in a copy nor lost by making one."""
    model = small_network()
    y = model(numpy_lib.asarray(rng.standard_normal(SMALL_SHAPE)))
    other = duplicate(model)
    for layer in (other, *(leaf for _, leaf in other.leaves())):
        with pytest.raises(RuntimeError, match="without a forward"):
            layer.backward(np.ones(y.shape))
    assert model.backward(np.ones(y.shape)).shape == SMALL_SHAPE


def test_a_pickle_is_small(numpy_lib: Lib, rng: np.random.Generator) -> None:
    model = small_network()
    before = len(pickle.dumps(model))
    model(numpy_lib.asarray(rng.standard_normal((500, *SMALL_SHAPE[1:]))))
    assert len(pickle.dumps(model)) == before


# ==== moving ====


@each_layer
def test_a_layer_moves_to_another_library_and_back(device_lib: Lib, rng: np.random.Generator, case: Case) -> None:
    numpy = open_library("numpy")
    layer = trained(numpy, rng, case)
    state, x = host_state(numpy, layer), case.draw(rng, numpy)
    expected = layer.infer(x)
    assert layer.to(backend_name(device_lib)) is layer
    for _, leaf in layer.leaves():
        for arrays in (leaf.params, leaf.grads, leaf.buffers):
            for name, array in arrays.items():
                device_lib.assert_native(array)
                assert device_lib.dtype_name(array) == "float64" or name in leaf._transient
    assert_same_state(device_lib, layer, state)
    there = device_lib.asarray(x)
    device_lib.assert_close(layer.infer(there), expected)
    dx = layer.backward(device_lib.asarray(np.ones(device_lib.to_numpy(layer(there)).shape)))
    assert dx.shape == x.shape
    assert_same_state(numpy, layer.eval().to("numpy").train(), host_state(numpy, layer))
    assert type(layer.infer(x)) is np.ndarray


def test_moving_forgets_the_batch(device_lib: Lib, rng: np.random.Generator) -> None:
    model = small_network()
    model(rng.standard_normal(SMALL_SHAPE))
    model.to(backend_name(device_lib))
    with pytest.raises(RuntimeError, match="without a forward"):
        model.backward(device_lib.asarray(np.ones((5, 3))))


def test_moving_to_what_is_not_there_leaves_everything_where_it_is(numpy_lib: Lib) -> None:
    layer = Linear(2, 2)
    with pytest.raises(errors.BackendError):
        layer.to("nunpy")
    numpy_lib.assert_native(layer.params["weight"])


def test_gradients_and_their_zeros_move_along(device_lib: Lib) -> None:
    layer = Conv2D(1, 1, 1, dtype="float64")
    layer.grads["weight"][...] = 3.0
    layer.to(backend_name(device_lib))
    device_lib.assert_equal(layer.grads["weight"], [[[[3.0]]]])
    device_lib.assert_equal(layer.grads["bias"], [0.0])
