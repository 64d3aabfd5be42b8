"""Optimisers: each number of each parameter, step by step, against loops that can be read and against PyTorch."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.functional.messages import message
from tests.libraries import Lib
from tests.networks import SMALL_SHAPE, backend_name, gradients, on, parameters, small_network
from xlenet import SGD, Adam, AdamW, Layer, LeNet5, Linear, ReLU, Sequential, SoftmaxCrossEntropy, optim
from xlenet.optim import Optimizer
from xlenet.training import train_step

STEPS = 12
RATES = [0.1 / (1 + k) for k in range(STEPS)]  # a schedule: the rate is an argument of each step

Grads = list[dict[str, np.ndarray]]


def draw_gradients(rng: np.random.Generator, model: Layer) -> Grads:
    """Gradients for each step, of very different sizes from step to step."""
    return [
        {
            name: rng.standard_normal(array.shape) * 10.0 ** rng.integers(-2, 2)
            for name, array in model.named_parameters()
        }
        for _ in range(STEPS)
    ]


def set_gradients(lib: Lib, model: Layer, values: dict[str, np.ndarray]) -> None:
    for prefix, leaf in model.leaves():
        for name, array in leaf.grads.items():
            array[...] = lib.asarray(values[f"{prefix}.{name}"])


def take_steps(lib: Lib, model: Layer, optimizer: Optimizer, grads: Grads) -> dict[str, np.ndarray]:
    for values, lr in zip(grads, RATES, strict=True):
        set_gradients(lib, model, values)
        optimizer.step(lr)
    return parameters(lib, model)


# ==== one number at a time ====


def sgd_by_hand(p: float, grads: list[float], *, momentum: float, nesterov: bool, decay: float) -> float:
    v = 0.0
    for g, lr in zip(grads, RATES, strict=True):
        g = g + decay * p
        v = momentum * v + g
        p = p - lr * (g + momentum * v if nesterov else v)
    return p


def adam_by_hand(
    p: float, grads: list[float], *, betas: tuple[float, float], eps: float, decay: float, decoupled: bool
) -> float:
    m = s = 0.0
    for t, (g, lr) in enumerate(zip(grads, RATES, strict=True), start=1):
        if decoupled:
            p = p - lr * decay * p
        else:
            g = g + decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        s = betas[1] * s + (1 - betas[1]) * g * g
        p = p - lr * (m / (1 - betas[0] ** t)) / (math.sqrt(s / (1 - betas[1] ** t)) + eps)
    return p


def by_hand(
    start: dict[str, np.ndarray], grads: Grads, one: Callable[..., float], decay: float, **options: Any
) -> dict[str, np.ndarray]:
    """Every parameter, number by number. Only what has two axes or more decays."""
    expected = {}
    for name, values in start.items():
        expected[name] = np.zeros(values.shape)
        for place in np.ndindex(*values.shape):
            here = [float(step[name][place]) for step in grads]
            expected[name][place] = one(float(values[place]), here, decay=decay if values.ndim >= 2 else 0.0, **options)
    return expected


def assert_close(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray], rtol: float = 1e-12) -> None:
    assert list(actual) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=rtol, atol=1e-13, err_msg=name)


SGDS = [
    {"momentum": 0.0},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.0, "nesterov": False, "weight_decay": 0.1},
    {"momentum": 0.8, "weight_decay": 0.1},
    {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
]
ADAMS = [
    {},
    {"betas": (0.7, 0.9)},
    {"eps": 1e-2},
    {"weight_decay": 0.1},
    {"betas": (0.0, 0.5), "eps": 1e-3, "weight_decay": 0.3},
]


@pytest.mark.parametrize("options", SGDS, ids=str)
def test_sgd_by_hand(lib: Lib, rng: np.random.Generator, options: dict[str, Any]) -> None:
    with on(lib):
        model = small_network()
    start, grads = parameters(lib, model), draw_gradients(rng, model)
    expected = by_hand(
        start,
        grads,
        sgd_by_hand,
        options.get("weight_decay", 0.0),
        momentum=options["momentum"],
        nesterov=options.get("nesterov", False),
    )
    assert_close(take_steps(lib, model, SGD(model, **options), grads), expected)


@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.parametrize("options", ADAMS, ids=str)
def test_adam_and_adamw_by_hand(lib: Lib, rng: np.random.Generator, kind: type[Adam], options: dict[str, Any]) -> None:
    with on(lib):
        model = small_network()
    start, grads = parameters(lib, model), draw_gradients(rng, model)
    expected = by_hand(
        start,
        grads,
        adam_by_hand,
        options.get("weight_decay", 0.01 if kind is AdamW else 0.0),
        betas=options.get("betas", (0.9, 0.999)),
        eps=options.get("eps", 1e-8),
        decoupled=kind is AdamW,
    )
    assert_close(take_steps(lib, model, kind(model, **options), grads), expected)


def test_defaults() -> None:
    def defaults(optimizer: Optimizer) -> dict[str, Any]:
        return {name: getattr(optimizer, name) for name in ("weight_decay", "clip")}

    sgd, adam, adamw = SGD(Linear(2, 2)), Adam(Linear(2, 2)), AdamW(Linear(2, 2))
    for optimizer, decay in ((sgd, 0.0), (adam, 0.0), (adamw, 0.01)):
        assert defaults(optimizer) == {"weight_decay": decay, "clip": None}
    assert (sgd.momentum, sgd.nesterov) == (0.9, False)
    assert (adam.betas, adam.eps) == (adamw.betas, adamw.eps) == ((0.9, 0.999), 1e-8)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_a_step_leaves_the_gradients_as_backward_left_them(kind: type[Optimizer]) -> None:
    layer = Linear(3, 2, rng=0)
    options = {"nesterov": True} if kind is SGD else {}
    optimizer = kind(layer, weight_decay=0.5, clip=0.1, **options)
    layer.grads["weight"][...] = 7.0
    layer.grads["bias"][...] = -3.0
    optimizer.step(lr=0.1)
    assert (layer.grads["weight"] == 7.0).all()
    assert (layer.grads["bias"] == -3.0).all()


def test_an_optimizer_knows_its_model() -> None:
    model, other = Linear(2, 2), Linear(2, 2)
    assert SGD(model).is_for(model)
    assert not SGD(other).is_for(model)


# ==== PyTorch ====


def in_torch(torch: Any, start: dict[str, np.ndarray]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The parameters as PyTorch's, and its groups: weights, which decay, and the rest, which does not."""
    tensors = {name: torch.nn.Parameter(torch.from_numpy(value.copy())) for name, value in start.items()}
    weights = [t for t in tensors.values() if t.ndim >= 2]
    rest = [t for t in tensors.values() if t.ndim < 2]
    return tensors, [{"params": weights}, {"params": rest, "weight_decay": 0.0}]


def steps_in_torch(
    torch: Any, start: dict[str, np.ndarray], grads: Grads, kind: Any, options: dict[str, Any], clip: float | None
) -> dict[str, np.ndarray]:
    tensors, groups = in_torch(torch, start)
    optimizer = kind(groups, lr=1.0, **options)
    for values, lr in zip(grads, RATES, strict=True):
        for name, tensor in tensors.items():
            tensor.grad = torch.from_numpy(values[name].copy())
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(list(tensors.values()), clip)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("kind", "options"),
    [(SGD, o) for o in SGDS] + [(Adam, o) for o in ADAMS] + [(AdamW, o | {"weight_decay": 0.2}) for o in ADAMS],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_as_pytorch_has_it(
    lib: Lib, rng: np.random.Generator, torch: Any, kind: type[Optimizer], options: dict[str, Any]
) -> None:
    with on(lib):
        model = small_network()
    start, grads = parameters(lib, model), draw_gradients(rng, model)
    expected = steps_in_torch(torch, start, grads, getattr(torch.optim, kind.__name__), options, None)
    assert_close(take_steps(lib, model, kind(model, **options), grads), expected, rtol=1e-10)


def test_clipping_as_pytorch_has_it(lib: Lib, rng: np.random.Generator, torch: Any) -> None:
    """Some steps are clipped and some are not. (PyTorch adds 1e-6 to the norm.)"""
    with on(lib):
        model = small_network()
    start, grads = parameters(lib, model), draw_gradients(rng, model)
    norms = [math.sqrt(sum(float((g**2).sum()) for g in step.values())) for step in grads]
    clip = sorted(norms)[STEPS // 2]
    expected = steps_in_torch(torch, start, grads, torch.optim.SGD, {"momentum": 0.9}, clip)
    assert_close(take_steps(lib, model, SGD(model, momentum=0.9, clip=clip), grads), expected, rtol=1e-5)


# ==== weight decay ====


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_decay_leaves_biases_and_batch_normalisation_alone(lib: Lib, kind: type[Optimizer]) -> None:
    """Where there is no gradient, only decay moves anything."""
    with on(lib):
        model = small_network()
    model["bn"].params["bias"][...] = 3.0
    model["conv"].params["bias"][...] = 5.0
    before = parameters(lib, model)
    optimizer = kind(model, weight_decay=0.5)
    for _ in range(3):
        set_gradients(lib, model, {name: np.zeros(value.shape) for name, value in before.items()})
        optimizer.step(0.1)
    for name, value in parameters(lib, model).items():
        if name in ("conv.weight", "fc.weight"):
            assert np.all(value != before[name]), name
            if kind is not Adam:  # whose steps have a length of their own
                assert np.all(np.abs(value) < np.abs(before[name])), name
        else:
            np.testing.assert_array_equal(value, before[name], err_msg=name)


# ==== clipping ====


@pytest.mark.parametrize(("clip", "factor"), [(6.5, 0.5), (13.0, 1.0), (13.1, 1.0), (1e9, 1.0), (1e-3, 1e-3 / 13)])
def test_the_norm_is_that_of_the_whole_gradient(lib: Lib, clip: float, factor: float) -> None:
    """(3, 4) in one layer and 12 in another make 13."""
    with on(lib):
        model = Sequential(
            a=Linear(2, 1, bias=False, dtype="float64"), act=ReLU(), b=Linear(1, 1, bias=False, dtype="float64")
        )
    before = parameters(lib, model)
    optimizer = SGD(model, momentum=0.0, clip=clip)
    set_gradients(lib, model, {"a.weight": np.array([[3.0, -4.0]]), "b.weight": np.array([[12.0]])})
    optimizer.step(1.0)
    after = parameters(lib, model)
    np.testing.assert_allclose(before["a.weight"] - after["a.weight"], [[3 * factor, -4 * factor]], rtol=1e-12)
    np.testing.assert_allclose(before["b.weight"] - after["b.weight"], [[12 * factor]], rtol=1e-12)


def test_clipping_a_gradient_of_zero_is_no_division_by_zero(lib: Lib) -> None:
    with on(lib):
        model = Linear(2, 2)
    before = parameters(lib, model)
    SGD(model, clip=1.0).step(0.1)
    assert_close(parameters(lib, model), before)


def test_decay_is_not_clipped(lib: Lib) -> None:
    """The clip is on what the loss says; decay comes after it, as where PyTorch's users call the two in turn."""
    with on(lib):
        model = Linear(1, 1, bias=False, dtype="float64")
    model.params["weight"][...] = 100.0
    optimizer = SGD(model, momentum=0.0, weight_decay=0.5, clip=1.0)
    model.grads["weight"][...] = 7.0
    optimizer.step(1.0)
    lib.assert_close(model.params["weight"], [[100.0 - 1.0 - 50.0]])


# ==== vectors and views ====


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_making_an_optimiser_changes_no_number(lib: Lib, rng: np.random.Generator, kind: type[Optimizer]) -> None:
    with on(lib):
        model = small_network()
    x = lib.asarray(rng.standard_normal(SMALL_SHAPE))
    y = model(x)
    model.backward(lib.asarray(rng.standard_normal(lib.to_numpy(y).shape)))
    before = parameters(lib, model), gradients(lib, model), lib.to_numpy(model.infer(x))
    optimizer = kind(model)
    assert_close(parameters(lib, model), before[0], rtol=0)
    assert_close(gradients(lib, model), before[1], rtol=0)
    lib.assert_close(model.infer(x), before[2])
    for vector in (optimizer.params, optimizer.grads, *optimizer.slots.values()):
        lib.assert_native(vector)
        assert lib.dtype_name(vector) == "float64"
        assert vector.shape == (model.size,)


def test_layers_keep_views_of_the_vectors(lib: Lib, rng: np.random.Generator) -> None:
    """Whatever either side writes, the other one sees."""
    with on(lib):
        model = small_network()
    optimizer = SGD(model, momentum=0.0)
    optimizer.params[...] = 2.0
    optimizer.grads[...] = 3.0
    assert all((value == 2.0).all() for value in parameters(lib, model).values())
    assert all((value == 3.0).all() for value in gradients(lib, model).values())
    y = model(lib.asarray(rng.standard_normal(SMALL_SHAPE)))
    model.backward(lib.asarray(rng.standard_normal(lib.to_numpy(y).shape)))
    total = sum(float((value**2).sum()) for value in gradients(lib, model).values())
    assert float((lib.to_numpy(optimizer.grads) ** 2).sum()) == pytest.approx(total)


def test_no_array_is_exchanged_by_steps(lib: Lib) -> None:
    with on(lib):
        model = small_network()
    optimizer = Adam(model, weight_decay=0.1, clip=1.0)
    held = [*model.named_parameters(), *optimizer.slots.items()]
    vectors = optimizer.params, optimizer.grads
    for _ in range(3):
        optimizer.grads[...] = 0.5
        optimizer.step(0.1)
    assert all(
        now is before
        for (_, now), (_, before) in zip([*model.named_parameters(), *optimizer.slots.items()], held, strict=True)
    )
    assert optimizer.params is vectors[0]
    assert optimizer.grads is vectors[1]


def test_float32_stays_float32(lib: Lib) -> None:
    for kind in (SGD, Adam, AdamW):
        with on(lib):
            model = small_network("float32")
        optimizer = kind(model, weight_decay=0.1, clip=1.0)
        optimizer.grads[...] = 0.5
        optimizer.step(0.1)
        for array in (optimizer.params, optimizer.grads, *optimizer.slots.values(), model["fc"].params["weight"]):
            assert lib.dtype_name(array) == "float32"
            lib.assert_native(array)


# ==== the numbers of a step, apart from the step ====

STEPPERS: dict[str, Callable[[Layer], Optimizer]] = {
    "SGD": SGD,
    "SGD, Nesterov, decay": lambda model: SGD(model, nesterov=True, weight_decay=0.1, clip=0.7),
    "Adam": Adam,
    "Adam, decay": lambda model: Adam(model, weight_decay=0.1, betas=(0.5, 0.9)),
    "AdamW": lambda model: AdamW(model, weight_decay=0.3, clip=2.0),
}

each_stepper = pytest.mark.parametrize("make", STEPPERS.values(), ids=STEPPERS.keys())


@each_stepper
def test_a_step_is_apply_of_its_scalars(lib: Lib, rng: np.random.Generator, make: Any) -> None:
    """`apply` neither counts nor checks: whoever replays steps does that."""
    with on(lib):
        model, other = small_network(), small_network()
    optimizer, applied = make(model), make(other)
    for t, (values, lr) in enumerate(zip(draw_gradients(rng, model), RATES, strict=True), start=1):
        for one in (model, other):
            set_gradients(lib, one, values)
        optimizer.step(lr)
        applied.apply(applied.scalars(lr, t))
        assert (optimizer.steps, applied.steps) == (t, 0)
    for name, value in parameters(lib, model).items():
        np.testing.assert_array_equal(parameters(lib, other)[name], value, err_msg=name)
    for name, slot in optimizer.slots.items():
        lib.assert_equal(applied.slots[name], lib.to_numpy(slot))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_stepper
def test_scalars_may_lie_on_the_device(lib: Lib, rng: np.random.Generator, make: Any, dtype: str) -> None:
    """An array (k,) of the parameters' type does what the same numbers do: a graph reads them from there."""
    with on(lib):
        model, other = small_network(dtype), small_network(dtype)
    optimizer, by_array = make(model), make(other)
    for t, (values, lr) in enumerate(zip(draw_gradients(rng, model), RATES, strict=True), start=1):
        for one in (model, other):
            set_gradients(lib, one, {name: value.astype(dtype) for name, value in values.items()})
        scalars = optimizer.scalars(lr, t)
        optimizer.apply(scalars)
        by_array.apply(lib.asarray(np.array(scalars), dtype))
        for vector in (by_array.params, *by_array.slots.values()):
            lib.assert_native(vector)
            assert lib.dtype_name(vector) == dtype
    rtol = 1e-12 if dtype == "float64" else 1e-4
    for name, value in parameters(lib, model).items():
        np.testing.assert_allclose(parameters(lib, other)[name], value, rtol=rtol, atol=rtol / 10, err_msg=name)


@each_stepper
def test_scalars_are_as_many_floats_in_every_step(make: Any) -> None:
    optimizer = make(Linear(2, 2))
    rows = [optimizer.scalars(lr, t) for t, lr in enumerate(RATES, start=1)]
    assert len({len(row) for row in rows}) == 1
    assert all(type(number) is float for row in rows for number in row)
    assert np.array(rows).shape == (STEPS, len(rows[0]))
    assert optimizer.steps == 0


def test_the_scalars_of_adam_make_up_for_the_start_at_zero() -> None:
    mean, root, lr = Adam(Linear(2, 2), betas=(0.9, 0.99)).scalars(0.5, 3)
    assert (mean, root, lr) == pytest.approx((0.5 / (1 - 0.9**3), 1 / math.sqrt(1 - 0.99**3), 0.5))
    assert SGD(Linear(2, 2)).scalars(0.5, 3) == (0.5,)


@each_stepper
def test_nothing_but_parameters_and_slots_is_written_to(lib: Lib, rng: np.random.Generator, make: Any) -> None:
    """The gradients stay as they are, and all that is written is written in place."""
    with on(lib):
        model = small_network()
    optimizer = make(model)
    held = {"params": optimizer.params, "grads": optimizer.grads, **optimizer.slots}
    addresses = [array.ctypes.data for array in held.values()] if lib.name == "numpy" else []
    scalars = lib.asarray(np.array(optimizer.scalars(0.1, 1)))
    numbers = lib.to_numpy(scalars)
    for values in draw_gradients(rng, model)[:3]:
        set_gradients(lib, model, values)
        before = lib.to_numpy(optimizer.grads)
        assert optimizer.apply(scalars) is None
        lib.assert_equal(optimizer.grads, before)
        lib.assert_equal(scalars, numbers)
    now = {"params": optimizer.params, "grads": optimizer.grads, **optimizer.slots}
    assert all(now[name] is array for name, array in held.items())
    if lib.name == "numpy":
        assert [array.ctypes.data for array in now.values()] == addresses
    assert all(lib.to_numpy(slot).any() for slot in optimizer.slots.values())


def test_the_check_of_a_step_can_be_made_alone(lib: Lib) -> None:
    with on(lib):
        layer = Linear(3, 2)
    optimizer = SGD(layer)
    assert optimizer.check() is None
    layer.requires_grad = False
    with pytest.raises(RuntimeError, match=message("SGD", got="arrays were exchanged", expected="it was made for")):
        optimizer.check()
    with pytest.raises(RuntimeError, match="make a new optimiser"):
        optimizer.step(0.1)
    assert optimizer.steps == 0


@pytest.mark.parametrize("decayed", [0, 2, 5])
@pytest.mark.parametrize("nesterov", [False, True])
def test_the_rule_of_sgd_on_vectors(lib: Lib, rng: np.random.Generator, decayed: int, nesterov: bool) -> None:
    params, velocity, grads = rng.standard_normal((3, 5))
    given = [lib.xp.asarray(lib.asarray(v), copy=True) for v in (params, velocity, grads)]
    optim.sgd_update(*given, (0.5,), 0.8, nesterov, 0.1, decayed)
    g = grads + 0.1 * np.where(np.arange(5) < decayed, params, 0.0)
    v = 0.8 * velocity + g
    lib.assert_close(given[0], params - 0.5 * (g + 0.8 * v if nesterov else v))
    lib.assert_close(given[1], v)
    lib.assert_equal(given[2], grads)


@pytest.mark.parametrize("decayed", [0, 2, 5])
@pytest.mark.parametrize("decoupled", [False, True])
def test_the_rule_of_adam_on_vectors(lib: Lib, rng: np.random.Generator, decayed: int, decoupled: bool) -> None:
    params, mean, grads = rng.standard_normal((3, 5))
    square = rng.random(5)
    given = [lib.xp.asarray(lib.asarray(v), copy=True) for v in (params, mean, square, grads)]
    optim.adam_update(*given, (0.5, 1.25, 0.2), (0.9, 0.7), 1e-2, 0.1, decayed, decoupled)
    pulled = np.where(np.arange(5) < decayed, 0.1 * params, 0.0)
    g = grads if decoupled else grads + pulled
    m, s = 0.9 * mean + 0.1 * g, 0.7 * square + 0.3 * g * g
    p = params - 0.2 * pulled if decoupled else params
    lib.assert_close(given[0], p - 0.5 * m / (1.25 * np.sqrt(s) + 1e-2))
    lib.assert_close(given[1], m)
    lib.assert_close(given[2], s)
    lib.assert_equal(given[3], grads)


# ==== frozen layers, other models, exchanged arrays ====


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
@pytest.mark.parametrize("when", ["made frozen", "frozen later"])
def test_a_frozen_layer_is_left_alone(lib: Lib, rng: np.random.Generator, kind: type[Optimizer], when: str) -> None:
    """Neither its gradient, nor decay, nor momentum reaches it; and it is not moved into a vector."""
    with on(lib):
        model = small_network(requires_grad=False) if when == "made frozen" else small_network()
    if when == "made frozen":
        model["fc"].requires_grad = True
    else:
        for name in ("conv", "bn"):
            model[name].requires_grad = False
    frozen = {name: array for name, array in model.named_parameters() if not name.startswith("fc.")}
    before = parameters(lib, model)
    optimizer = kind(model, weight_decay=0.5)
    assert optimizer.params.shape == (3 * 27 + 3,)
    for _ in range(3):
        y = model(lib.asarray(rng.standard_normal(SMALL_SHAPE)))
        model.backward(lib.asarray(rng.standard_normal(lib.to_numpy(y).shape)), need_dx=False)
        optimizer.step(0.1)
    for name, array in model.named_parameters():
        if name in frozen:
            assert array is frozen[name]
            lib.assert_equal(array, before[name])
        else:
            assert not np.array_equal(lib.to_numpy(array), before[name])


def test_arrays_exchanged_by_to_are_noticed(device_lib: Lib) -> None:
    model = Linear(2, 2)
    optimizer = SGD(model)
    model.to(backend_name(device_lib))
    with pytest.raises(RuntimeError, match=message("SGD", got="arrays were exchanged", expected="those it was made")):
        optimizer.step(0.1)
    assert optimizer.steps == 0
    SGD(model).step(0.1)


@pytest.mark.parametrize("holder", ["params", "grads"])
def test_arrays_exchanged_by_hand_are_noticed(lib: Lib, holder: str) -> None:
    with on(lib):
        model = small_network()
    optimizer = SGD(model)
    arrays = getattr(model["fc"], holder)
    arrays["bias"] = arrays["bias"] + 0.0
    with pytest.raises(RuntimeError, match=message("SGD", got="arrays were exchanged", expected="those it was made")):
        optimizer.step(0.1)


def test_a_second_optimiser_takes_over(lib: Lib) -> None:
    with on(lib):
        model = small_network()
    first, second = SGD(model), Adam(model)
    with pytest.raises(RuntimeError, match=message("SGD", got="a second optimiser", expected="those it was made for")):
        first.step(0.1)
    before = parameters(lib, model)
    second.grads[...] = 1.0
    second.step(0.1)
    assert not np.array_equal(parameters(lib, model)["fc.weight"], before["fc.weight"])


@pytest.mark.parametrize("value", [True, False])
def test_freezing_and_thawing_under_an_optimiser_is_noticed(lib: Lib, value: bool) -> None:
    with on(lib):
        model = small_network()
    optimizer = AdamW(model)
    model["conv"].requires_grad = value
    with pytest.raises(RuntimeError, match=message("AdamW", got="requires_grad", expected="those it was made for")):
        optimizer.step(0.1)


def test_a_copy_of_a_model_is_out_of_the_optimisers_reach(lib: Lib) -> None:
    with on(lib):
        model = small_network()
    optimizer = SGD(model)
    other = copy.deepcopy(model)
    before = parameters(lib, other)
    optimizer.grads[...] = 1.0
    optimizer.step(0.1)
    assert_close(parameters(lib, other), before)
    SGD(other).step(0.1)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
@pytest.mark.parametrize("first", ["model", "optimizer"])
def test_a_copy_of_model_and_optimiser_goes_on_where_they_are(
    numpy_lib: Lib, rng: np.random.Generator, kind: type[Optimizer], duplicate: Any, first: str
) -> None:
    """Apart from them, and with all that the optimiser remembers."""
    model = small_network()
    optimizer = kind(model, weight_decay=0.01)
    grads = draw_gradients(rng, model)
    set_gradients(numpy_lib, model, grads[0])
    optimizer.step(0.1)
    before = parameters(numpy_lib, model)
    if first == "model":
        other, copied = duplicate((model, optimizer))
    else:
        copied, other = duplicate((optimizer, model))
    for values in grads[1:4]:
        set_gradients(numpy_lib, other, values)
        copied.step(0.1)
    assert_close(parameters(numpy_lib, model), before, rtol=0)
    for values in grads[1:4]:
        set_gradients(numpy_lib, model, values)
        optimizer.step(0.1)
    assert_close(parameters(numpy_lib, other), parameters(numpy_lib, model), rtol=0)
    assert copied.steps == optimizer.steps == 4


# ==== arguments ====


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("kind", "options", "got"),
    [
        (SGD, {"momentum": 1.0}, "momentum 1.0"),
        (SGD, {"momentum": -0.1}, "momentum -0.1"),
        (SGD, {"momentum": NAN}, "momentum nan"),
        (SGD, {"weight_decay": -1e-4}, "weight_decay -0.0001"),
        (SGD, {"weight_decay": INF}, "weight_decay inf"),
        (Adam, {"weight_decay": NAN}, "weight_decay nan"),
        (Adam, {"betas": (1.0, 0.9)}, "betas 1.0"),
        (Adam, {"betas": (0.9, -0.1)}, "betas -0.1"),
        (AdamW, {"betas": (0.9, 1.0)}, "betas 1.0"),
        (AdamW, {"eps": -1e-8}, "eps -1e-08"),
        (SGD, {"clip": 0.0}, "clip 0.0"),
        (SGD, {"clip": -1.0}, "clip -1.0"),
        (Adam, {"clip": INF}, "clip inf"),
        (AdamW, {"clip": NAN}, "clip nan"),
    ],
)
def test_a_number_out_of_range_is_refused(kind: type[Optimizer], options: dict[str, Any], got: str) -> None:
    with pytest.raises(ValueError, match=rf"^\w+: got {got}; expected .*; .*\w"):
        kind(Linear(2, 2), **options)


def test_a_refused_optimiser_leaves_the_model_to_the_one_before_it(lib: Lib) -> None:
    with on(lib):
        model = small_network()
    optimizer = SGD(model)
    for kind, options in ((SGD, {"momentum": 2.0}), (Adam, {"eps": -1.0}), (SGD, {"clip": -1.0})):
        with pytest.raises(ValueError, match="got"):
            kind(model, **options)
    optimizer.step(0.1)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_nothing_to_learn_is_refused(kind: type[Optimizer]) -> None:
    for model in (ReLU(), Linear(2, 2, requires_grad=False), Sequential(a=ReLU(), b=Linear(1, 1, requires_grad=False))):
        with pytest.raises(ValueError, match=message(kind.__name__, got="nothing to learn", expected="not frozen")):
            kind(model)


def test_steps_are_counted() -> None:
    optimizer = Adam(Linear(2, 2))
    for k in range(3):
        assert optimizer.steps == k
        optimizer.step(0.1)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_number_that_is_not_finite_is_seen_wherever_it_is(
    lib: Lib, kind: type[Optimizer], value: float
) -> None:
    with on(lib):
        optimizer = kind(Linear(2, 2))
    assert optimizer.is_finite()
    for vector in (optimizer.params, *optimizer.slots.values()):
        vector[-1] = value
        assert not optimizer.is_finite()
        vector[-1] = 0.0
    assert optimizer.is_finite()


def test_every_optimiser_is_tested_here() -> None:
    kinds = {
        name
        for name, value in vars(optim).items()
        if isinstance(value, type) and issubclass(value, Optimizer) and value is not Optimizer
    }
    assert kinds == {"SGD", "Adam", "AdamW"}


def test_lenet_learns_with_each_of_them(lib: Lib, rng: np.random.Generator) -> None:
    x = lib.asarray(rng.standard_normal((8, 1, 28, 28)), "float32")
    labels = lib.asarray(np.arange(8))
    for kind, options, lr in (
        (SGD, {"nesterov": True, "weight_decay": 5e-4, "clip": 5.0}, 0.02),
        (Adam, {"weight_decay": 5e-4}, 0.003),
        (AdamW, {"weight_decay": 0.01, "clip": 1.0}, 0.003),
    ):
        with on(lib):
            model, loss = LeNet5(rng=0), SoftmaxCrossEntropy()
        optimizer = kind(model, **options)
        losses = [float(lib.to_numpy(train_step(model, loss, optimizer, x, labels, lr)[0])) for _ in range(12)]
        assert losses[-1] < 0.2 * losses[0], kind.__name__
