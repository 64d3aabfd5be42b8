"""Neighbours that compute as one operation: what they give, and that nobody can tell."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.libraries import Lib
from tests.networks import backend_name, gradients, on, parameters
from xlenet import (
    SGD,
    Adam,
    BatchNorm,
    Conv2D,
    Flatten,
    Layer,
    LeNet5,
    Linear,
    MaxPool2D,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Workspace,
)
from xlenet.backend.seam import kernels_on
from xlenet.functional import batchnorm_relu, conv_pool, linear_relu
from xlenet.layers import blocks
from xlenet.layers.blocks import BatchNormReLU, Block, ConvPool, LinearReLU, join_neighbours
from xlenet.training import train_step

CLOSE = {"rtol": 1e-12, "atol": 1e-13}
SHAPE = (6, 2, 8, 7)


def network(dtype: str = "float64", **options: Any) -> Sequential:
    """Each kind of block, and something between them."""
    return Sequential(
        conv=Conv2D(2, 3, 3, padding="SAME", rng=1, dtype=dtype, **options),
        pool=MaxPool2D(2),
        bn=BatchNorm(3, decay=0.7, dtype=dtype, **options),
        relu=ReLU(),
        conv2=Conv2D(3, 4, 2, rng=2, dtype=dtype, **options),
        pool2=MaxPool2D((2, 2), stride=1),
        flatten=Flatten(),
        fc=Linear(8, 5, rng=3, dtype=dtype, **options),
        relu2=ReLU(),
        fc2=Linear(5, 3, rng=4, dtype=dtype, **options),
    )


PAIRS: dict[str, tuple[Callable[..., Sequential], tuple[int, ...]]] = {
    "ConvPool": (
        lambda **k: Sequential(a=Conv2D(2, 3, 3, rng=1, dtype="float64", **k), b=MaxPool2D(2)), (3, 2, 8, 7),
    ),
    "ConvPool without bias": (
        lambda **k: Sequential(a=Conv2D(2, 3, (2, 3), bias=False, rng=1, dtype="float64", **k), b=MaxPool2D(3, 2, 1)),
        (3, 2, 8, 7),
    ),
    "ConvPool with every setting": (
        lambda **k: Sequential(
            a=Conv2D(2, 3, (3, 2), stride=(1, 2), padding=((1, 0), (2, 1)), rng=1, dtype="float64", **k),
            b=MaxPool2D((2, 3), stride=(3, 2), padding=(0, 1), ceil_mode=True),
        ),
        (3, 2, 9, 10),
    ),
    "BatchNormReLU": (lambda **k: Sequential(a=BatchNorm(2, 0.7, 1e-3, dtype="float64", **k), b=ReLU()), (3, 2, 4, 3)),
    "BatchNormReLU, 2-D": (lambda **k: Sequential(a=BatchNorm(3, dtype="float64", **k), b=ReLU()), (5, 3)),
    "LinearReLU": (lambda **k: Sequential(a=Linear(4, 3, rng=2, dtype="float64", **k), b=ReLU()), (5, 4)),
    "LinearReLU without bias": (
        lambda **k: Sequential(a=Linear(4, 3, bias=False, rng=2, dtype="float64", **k), b=ReLU()), (5, 4),
    ),
    "all of them": (network, SHAPE),
}  # fmt: skip

each_pair = pytest.mark.parametrize(("make", "shape"), PAIRS.values(), ids=PAIRS.keys())


class OneByOne:
    """The same layers called one after the other."""

    def __init__(self, model: Sequential) -> None:
        self.layers = [model[name] for name in model]

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy: Any) -> Any:
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy

    def infer(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer.infer(x)
        return x


def assert_close(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(actual) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, err_msg=name, **CLOSE)


def buffers(lib: Lib, layer: Layer) -> dict[str, np.ndarray]:
    return {f"{p}.{n}": lib.to_numpy(a) for p, leaf in layer.leaves() for n, a in leaf.buffers.items()}


def draw(lib: Lib, rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return lib.asarray(rng.standard_normal(shape))


def kinds(*layers: Layer) -> list[str]:
    return [type(layer).__name__ for layer in join_neighbours(layers)]


# ==== who is joined ====


def test_the_pairs_that_compute_as_one() -> None:
    assert kinds(Conv2D(1, 2, 3), MaxPool2D(2)) == ["ConvPool"]
    assert kinds(BatchNorm(2), ReLU()) == ["BatchNormReLU"]
    assert kinds(Linear(2, 2), ReLU()) == ["LinearReLU"]
    assert set(blocks._BLOCKS) == {(Conv2D, MaxPool2D), (BatchNorm, ReLU), (Linear, ReLU)}


@pytest.mark.parametrize(
    "layers",
    [
        (Conv2D(4, 4, 3, groups=2), MaxPool2D(2)),
        (Conv2D(4, 4, 3, dilation=(1, 2)), MaxPool2D(2)),
        (Conv2D(4, 4, 3), MaxPool2D(2, dilation=(2, 1))),
        (Conv2D(4, 4, 3, lowering="img2col"), MaxPool2D(2)),
    ],
    ids=str,
)
def test_what_the_operation_of_both_lacks_is_not_joined(layers: tuple[Layer, Layer]) -> None:
    assert join_neighbours(layers) == list(layers)


def test_nothing_else_is_joined() -> None:
    make: dict[type[Layer], Callable[[], Layer]] = {
        Conv2D: lambda: Conv2D(1, 2, 3),
        MaxPool2D: lambda: MaxPool2D(2),
        BatchNorm: lambda: BatchNorm(2),
        ReLU: ReLU,
        Linear: lambda: Linear(2, 2),
        Flatten: Flatten,
    }
    joined = {(a, b) for a in make for b in make if len(join_neighbours([make[a](), make[b]()])) == 1}
    assert joined == {(Conv2D, MaxPool2D), (BatchNorm, ReLU), (Linear, ReLU)}
    assert join_neighbours([]) == []


def test_a_layer_belongs_to_one_pair_and_the_order_is_kept() -> None:
    layers = [Linear(2, 2), ReLU(), ReLU(), Linear(2, 2), Linear(2, 2), ReLU(), BatchNorm(2), Flatten(), ReLU()]
    joined = join_neighbours(layers)
    expected = ["LinearReLU", "ReLU", "Linear", "LinearReLU", "BatchNorm", "Flatten", "ReLU"]
    assert [type(layer).__name__ for layer in joined] == expected
    flat = [leaf for layer in joined for _, leaf in layer.leaves()]
    assert all(a is b for a, b in zip(flat, layers, strict=True))


def test_a_derived_class_is_left_alone() -> None:
    """It may compute something else."""

    class Leaky(ReLU):
        pass

    class Noisy(Linear):
        pass

    class Own(MaxPool2D):
        pass

    assert kinds(Linear(2, 2), Leaky()) == ["Linear", "Leaky"]
    assert kinds(Noisy(2, 2), ReLU()) == ["Noisy", "ReLU"]
    assert kinds(BatchNorm(2), Leaky()) == ["BatchNorm", "Leaky"]
    assert kinds(Conv2D(1, 2, 3), Own(2)) == ["Conv2D", "Own"]


def test_what_a_derived_class_computes_is_what_counts(rng: np.random.Generator) -> None:
    class Doubling(ReLU):
        def _forward(self, x: Any, work: Any) -> Any:
            y, cache = super()._forward(x, work)
            return 2 * y, cache

    fc, x = Linear(3, 2, rng=0, dtype="float64"), rng.standard_normal((4, 3))
    expected = 2 * np.maximum(x @ fc.params["weight"].T, 0)
    np.testing.assert_allclose(Sequential(fc=fc, act=Doubling())(x), expected)


def test_a_convolution_that_says_how_it_is_computed_is_left_alone() -> None:
    assert kinds(Conv2D(1, 2, 3, lowering="img2col"), MaxPool2D(2)) == ["Conv2D", "MaxPool2D"]
    assert kinds(Conv2D(1, 2, 3, lowering="rows"), MaxPool2D(2)) == ["ConvPool"]


def test_a_pair_in_two_sequentials_is_left_alone() -> None:
    model = Sequential(body=Sequential(conv=Conv2D(1, 2, 3)), pool=MaxPool2D(2))
    assert [type(step).__name__ for step in model._steps] == ["Sequential", "MaxPool2D"]
    inner = model["body"]
    assert [type(step).__name__ for step in inner._steps] == ["Conv2D"]  # type: ignore[attr-defined]
    nested = Sequential(flatten=Flatten(), head=Sequential(fc=Linear(4, 2), relu=ReLU()))
    assert [type(step).__name__ for step in nested["head"]._steps] == ["LinearReLU"]  # type: ignore[attr-defined]


def test_lenet5_is_made_of_blocks() -> None:
    steps = [type(step).__name__ for step in LeNet5()._steps]
    assert steps == ["ConvPool", "BatchNormReLU"] * 2 + ["Conv2D", "Flatten", "LinearReLU", "Linear"]


@pytest.mark.parametrize(
    ("name", "module", "functions"),
    [
        ("ConvPool", conv_pool, ["forward", "backward", "infer"]),
        ("BatchNormReLU", batchnorm_relu, ["forward_training", "backward_training"]),
        ("LinearReLU", linear_relu, ["forward", "backward", "forward"]),
    ],
)
def test_a_block_computes_by_the_operation_of_both(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, name: str, module: Any, functions: list[str]
) -> None:
    called: list[str] = []

    def spy(function: Any) -> Any:
        def watched(*args: Any, **kwargs: Any) -> Any:
            called.append(function.__name__)
            return function(*args, **kwargs)

        return watched

    for function in set(functions):
        monkeypatch.setattr(module, function, spy(getattr(module, function)))
    make, shape = PAIRS[name]
    model, x = make(), rng.standard_normal(shape)
    model.backward(model(x))
    model.infer(x)
    # Without its kernel, infer is forward without the cache.
    assert called == functions + ["forward"] * (name == "ConvPool" and not kernels_on())


# ==== the same as one by one ====


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@each_pair
def test_the_same_as_the_layers_one_by_one(
    lib: Lib, rng: np.random.Generator, make: Any, shape: Any, training: bool
) -> None:
    with on(lib):
        model, other = make(), make()
    one_by_one = OneByOne(other)
    for _ in range(2):  # a batch to move the running statistics first
        x = draw(lib, rng, shape)
        lib.assert_close(model.forward(x), lib.to_numpy(one_by_one.forward(x)), **CLOSE)
        model.train() if training else model.eval()
        other.train() if training else other.eval()
    y = one_by_one.forward(x)
    lib.assert_close(model.forward(x), lib.to_numpy(y), **CLOSE)
    dy = draw(lib, rng, y.shape)
    lib.assert_close(model.backward(dy), lib.to_numpy(one_by_one.backward(dy)), **CLOSE)
    assert_close(gradients(lib, model), gradients(lib, other))
    assert_close(buffers(lib, model), buffers(lib, other))
    lib.assert_close(model.infer(x), lib.to_numpy(one_by_one.infer(x)), **CLOSE)
    assert_close(buffers(lib, model), buffers(lib, other))
    assert_close(parameters(lib, model), parameters(lib, other))


@pytest.mark.parametrize("lent", [False, True])
@each_pair
def test_without_need_dx_the_gradients_are_the_same(
    lib: Lib, rng: np.random.Generator, make: Any, shape: Any, lent: bool
) -> None:
    with on(lib):
        model, other = make(), make()
    work = Workspace() if lent else None
    for _ in range(3):
        x = draw(lib, rng, shape)
        y = OneByOne(other).forward(x)
        lib.assert_close(model.forward(x, work=work), lib.to_numpy(y), **CLOSE)
        dy = draw(lib, rng, y.shape)
        assert model.backward(dy, need_dx=False, work=work) is None
        OneByOne(other).backward(dy)
        assert_close(gradients(lib, model), gradients(lib, other))
        if work is not None:
            work.end_step()


@pytest.mark.parametrize("frozen", [("a",), ("b",), ("a", "b")], ids=str)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", [name for name in PAIRS if name != "all of them"])
def test_a_frozen_layer_in_a_block(
    lib: Lib, rng: np.random.Generator, name: str, training: bool, when: str, frozen: tuple[str, ...]
) -> None:
    make, shape = PAIRS[name]
    with on(lib):
        made = make(requires_grad=False) if when == "before" and frozen[0] == "a" else make()
        other = make()
    models = [made, other]
    for model in models:
        model.train() if training else model.eval()
        for layer in frozen:
            model[layer].requires_grad = False
    x = draw(lib, rng, shape)
    y = OneByOne(other).forward(x)
    lib.assert_close(made.forward(x), lib.to_numpy(y), **CLOSE)
    dy = draw(lib, rng, y.shape)
    lib.assert_close(made.backward(dy), lib.to_numpy(OneByOne(other).backward(dy)), **CLOSE)
    assert_close(gradients(lib, made), gradients(lib, other))
    assert_close(buffers(lib, made), buffers(lib, other))
    assert made.learns == ("a" not in frozen)
    if not made.learns:
        assert gradients(lib, made) == {}
        made.forward(x)
        assert made.backward(dy, need_dx=False) is None


@each_pair
def test_frozen_and_thawed_after_construction(lib: Lib, rng: np.random.Generator, make: Any, shape: Any) -> None:
    with on(lib):
        model, other = make(), make()
    x = draw(lib, rng, shape)
    dy = draw(lib, rng, other.forward(x).shape)
    other.backward(dy)
    model.requires_grad = False
    lib.assert_equal(model.forward(x), lib.to_numpy(other.forward(x)))
    lib.assert_close(model.backward(dy), lib.to_numpy(other.backward(dy)), **CLOSE)
    assert gradients(lib, model) == {}
    model.requires_grad = True
    model.forward(x)
    model.backward(dy)
    assert_close(gradients(lib, model), gradients(lib, other))
    assert all(np.abs(value).max() > 0 for name, value in gradients(lib, model).items() if "bias" not in name)


def test_the_layers_of_a_frozen_block_in_the_middle(rng: np.random.Generator) -> None:
    """Below it there is still something that learns."""
    model, other = network(), network()
    for one in (model, other):
        one["bn"].requires_grad = one["fc"].requires_grad = False
    x = rng.standard_normal(SHAPE)
    y = model.forward(x)
    OneByOne(other).forward(x)
    assert model.backward(y, need_dx=False) is None
    OneByOne(other).backward(y)
    both = [{f"{p}.{n}": a for p, leaf in m.leaves() for n, a in leaf.grads.items()} for m in (model, other)]
    assert_close(*both)
    assert {name.partition(".")[0] for name in both[0]} == {"conv", "conv2", "fc2"}


@pytest.mark.parametrize("need_dx", [True, False])
@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize(
    ("name", "module", "function"),
    [
        ("ConvPool", conv_pool, "backward"),
        ("LinearReLU", linear_relu, "backward"),
        ("BatchNormReLU", batchnorm_relu, "backward_training"),
    ],
)
def test_nothing_is_computed_that_is_not_needed(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator,
    name: str, module: Any, function: str, learns: bool, need_dx: bool,
) -> None:  # fmt: skip
    make, shape = PAIRS[name]
    block = make(requires_grad=learns)._steps[0]
    original, asked = getattr(module, function), []

    def watched(*args: Any, **kwargs: Any) -> Any:
        asked.append(kwargs)
        return original(*args, **kwargs)

    monkeypatch.setattr(module, function, watched)
    y = block.forward(rng.standard_normal(shape))
    dx = block.backward(np.ones(y.shape), need_dx=need_dx)
    assert (dx is not None) == need_dx
    ((options,),) = [asked]
    assert options["need_dx"] == need_dx
    assert options.get("need_dweight", learns) == learns
    grads = block.first.grads
    if learns:
        assert all(mine is held for mine, held in zip(options["out"], grads.values(), strict=True)), "in place"
    else:
        assert options["out"] is None


# ==== modes ====


@pytest.mark.parametrize("first", [True, False], ids=["train", "eval"])
def test_backward_goes_by_the_mode_of_its_forward(lib: Lib, rng: np.random.Generator, first: bool) -> None:
    make, shape = PAIRS["BatchNormReLU"]
    with on(lib):
        model, other = make(), make()
    x = draw(lib, rng, shape)
    for one in (model, other):
        one.train() if first else one.eval()
    y = model.forward(x)
    OneByOne(other).forward(x)
    dy = draw(lib, rng, y.shape)
    model.eval() if first else model.train()
    lib.assert_close(model.backward(dy), lib.to_numpy(OneByOne(other).backward(dy)), **CLOSE)
    assert_close(gradients(lib, model), gradients(lib, other))


def test_the_mode_of_the_layer_itself_counts(rng: np.random.Generator) -> None:
    """A batch normalisation can be set to evaluation alone, as in fine-tuning."""
    model, x = PAIRS["BatchNormReLU"][0](), rng.standard_normal((3, 2, 4, 3))
    model["a"].eval()
    assert model.training
    before = model.state_dict()
    np.testing.assert_array_equal(model.forward(x), model.infer(x))
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_infer_in_training_leaves_the_statistics_alone(rng: np.random.Generator) -> None:
    model, x = network(), rng.standard_normal(SHAPE)
    model.forward(x)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    inferred = model.infer(x)
    np.testing.assert_allclose(inferred, OneByOne(model).infer(x), **CLOSE)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert not np.allclose(inferred, model.forward(x)), "in training it goes by the batch's statistics"


# ==== mistakes ====


@each_pair
def test_backward_wants_a_forward_and_survives_a_mistake_in_dy(
    lib: Lib, rng: np.random.Generator, make: Any, shape: Any
) -> None:
    with on(lib):
        model, other = make(), make()
    x = draw(lib, rng, shape)
    dy = draw(lib, rng, other.infer(x).shape)
    with pytest.raises(RuntimeError, match=r"^Sequential: got backward without a forward"):
        model.backward(dy)
    model.infer(x)
    with pytest.raises(RuntimeError, match=r"^Sequential: got backward without a forward"):
        model.backward(dy)
    for training in (True, False):
        for one in (model, other):
            one.train() if training else one.eval()
        other.forward(x)
        model.forward(x)
        for wrong in (np.zeros((7, 7, 7)), np.zeros((*dy.shape, 1))):
            with pytest.raises((ValueError, TypeError)):
                model.backward(lib.asarray(wrong))
        lib.assert_equal(model.backward(dy), lib.to_numpy(other.backward(dy)))
        assert_close(gradients(lib, model), gradients(lib, other))
        with pytest.raises(RuntimeError, match="without a forward"):
            model.backward(dy)


def test_the_layers_in_a_block_remember_nothing_of_it(rng: np.random.Generator) -> None:
    """Whoever calls one of them by itself needs a forward of its own."""
    model, x = network(), rng.standard_normal(SHAPE)
    y = model.forward(x)
    for name in ("conv", "pool", "bn", "relu", "fc", "relu2"):
        with pytest.raises(RuntimeError, match="without a forward"):
            model[name].backward(y)


def test_a_layer_called_by_itself_does_not_disturb_its_block(rng: np.random.Generator) -> None:
    model, other = network(), network()
    x = rng.standard_normal(SHAPE)
    y = model.forward(x)
    other.forward(x)
    model["conv"].forward(rng.standard_normal(SHAPE))
    model["fc"].forward(rng.standard_normal((6, 8)))
    np.testing.assert_array_equal(model.backward(y), other.backward(y))


def test_x_of_another_library_is_refused(numpy_lib: Lib, device_lib: Lib) -> None:
    for make, shape in PAIRS.values():
        model, x = make(), device_lib.asarray(np.zeros(shape))
        for call in (model.forward, model.infer):
            with pytest.raises(
                TypeError, match=rf"got x of {device_lib.name} and weight of numpy; expected one library"
            ):
                call(x)


# ==== what a Sequential shows ====


def test_nobody_sees_the_blocks() -> None:
    model = network()
    assert [name for name, _ in model.leaves()] == list(model)
    assert all(leaf is model[name] for name, leaf in model.leaves())
    assert "ConvPool" not in repr(model)
    assert "ReLU()" in repr(model)
    assert [line.partition(":")[0].strip() for line in repr(model).splitlines()[1:-1]] == list(model)
    assert not any(isinstance(model[name], Block) for name in model)
    names = [name for name, _ in model.named_parameters()]
    assert names == [f"{layer}.{kind}" for layer in ("conv", "bn", "conv2", "fc", "fc2") for kind in ("weight", "bias")]
    assert list(model.state_dict()) == [
        "conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var",
        "conv2.weight", "conv2.bias", "fc.weight", "fc.bias", "fc2.weight", "fc2.bias",
    ]  # fmt: skip
    assert model.size == sum(array.size for _, array in model.named_parameters())


def test_a_loaded_state_is_what_blocks_compute_with(lib: Lib, rng: np.random.Generator) -> None:
    with on(lib):
        model, other = network(), network()
    for _, leaf in other.leaves():
        for array in (*leaf.params.values(), *leaf.buffers.values()):
            array[...] = draw(lib, np.random.default_rng(7), array.shape) ** 2 + 0.1
    x = draw(lib, rng, SHAPE)
    before = lib.to_numpy(model.infer(x))
    model.load_state_dict(other.state_dict())
    lib.assert_equal(model.infer(x), lib.to_numpy(other.infer(x)))
    assert not np.array_equal(lib.to_numpy(model.infer(x)), before)


def test_settings_changed_later_are_followed(rng: np.random.Generator) -> None:
    """A block reads the settings of its layers when it computes."""
    model, other = network(), network()
    x = rng.standard_normal(SHAPE)
    for one in (model, other):
        one["bn"].eps, one["bn"].decay = 0.5, 0.25
        one["conv"].params["weight"][...] *= 2.0
    np.testing.assert_allclose(model.forward(x), OneByOne(other).forward(x), **CLOSE)
    np.testing.assert_allclose(model["bn"].buffers["running_var"], other["bn"].buffers["running_var"], **CLOSE)


# ==== copies ====


def by_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def assert_apart(copied: Sequential, original: Sequential) -> None:
    """The copy's blocks are made of the copy's layers, whose arrays are the ones that blocks use."""
    mine = {id(leaf) for _, leaf in copied.leaves()}
    assert mine.isdisjoint({id(leaf) for _, leaf in original.leaves()})
    steps = [leaf for step in copied._steps for _, leaf in step.leaves()]
    assert {id(leaf) for leaf in steps} == mine
    assert [type(s) for s in copied._steps] == [type(s) for s in original._steps]
    for (_, a), (_, b) in zip(copied.named_parameters(), original.named_parameters(), strict=True):
        assert a is not b
        assert not np.shares_memory(a, b)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("when", ["fresh", "after forward", "with an optimiser"])
def test_a_copy_trains_its_own_parameters(rng: np.random.Generator, duplicate: Any, when: str) -> None:
    model, x = network(), rng.standard_normal(SHAPE)
    if when == "after forward":
        model.forward(x)
    if when == "with an optimiser":
        SGD(model)
    copied = duplicate(model)
    assert_apart(copied, model)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    grads = {name: array.copy() for name, array in gradients_of(model).items()}
    expected = copied.infer(x)
    np.testing.assert_array_equal(expected, model.infer(x))

    labels = np.array([0, 1, 2, 0, 1, 2])
    loss, optimizer = SoftmaxCrossEntropy(), SGD(copied, momentum=0.9)
    losses = [float(train_step(copied, loss, optimizer, x, labels, 0.05, None)[0]) for _ in range(20)]
    assert losses[-1] < 0.9 * losses[0]
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    for name, array in gradients_of(model).items():
        np.testing.assert_array_equal(array, grads[name], err_msg=name)
    np.testing.assert_array_equal(model.infer(x), expected)
    for name, array in copied.state_dict().items():
        if name not in ("conv.bias",):  # what batch normalisation takes out again
            assert not np.array_equal(array, before[name]), f"{name} of the copy was not trained"
    # And the other way round: what the original learns does not reach the copy.
    trained = copied.infer(x)
    other = SGD(model, momentum=0.9)
    train_step(model, loss, other, x, labels, 0.05, None)
    np.testing.assert_array_equal(copied.infer(x), trained)
    assert not np.array_equal(model.infer(x), expected)


def gradients_of(model: Layer) -> dict[str, np.ndarray]:
    return {f"{p}.{n}": a for p, leaf in model.leaves() for n, a in leaf.grads.items()}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle], ids=["deepcopy", "pickle"])
def test_a_copy_of_model_and_optimiser_goes_the_same_way(rng: np.random.Generator, duplicate: Any) -> None:
    """Together they stay together: the copied optimiser moves the copied model."""
    x, labels = rng.standard_normal(SHAPE), np.array([0, 1, 2, 0, 1, 2])
    model, loss = network(), SoftmaxCrossEntropy()
    optimizer = Adam(model)
    train_step(model, loss, optimizer, x, labels, 0.01, None)
    copied, of_copy = duplicate((model, optimizer))
    assert_apart(copied, model)
    for _ in range(3):
        train_step(model, loss, optimizer, x, labels, 0.01, None)
    here = {name: array.copy() for name, array in model.state_dict().items()}
    for _ in range(3):
        train_step(copied, loss, of_copy, x, labels, 0.01, None)
    for name, array in copied.state_dict().items():
        np.testing.assert_allclose(array, here[name], err_msg=name, **CLOSE)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, here[name], err_msg=name)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle], ids=["deepcopy", "pickle"])
def test_the_copy_of_a_copy_and_of_a_nested_model(rng: np.random.Generator, duplicate: Any) -> None:
    model = Sequential(body=network(), head=Sequential(fc=Linear(3, 2, rng=9, dtype="float64"), relu=ReLU()))
    copied = duplicate(duplicate(model))
    x = rng.standard_normal(SHAPE)
    y = copied.forward(x)
    np.testing.assert_array_equal(y, model.forward(x))
    copied.backward(np.ones_like(y))
    assert any(array.any() for array in gradients_of(copied).values())
    assert not any(array.any() for array in gradients_of(model).values())
    inner = copied["body"]
    assert_apart(inner, model["body"])  # type: ignore[arg-type]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle], ids=["deepcopy", "pickle"])
def test_a_copy_remembers_no_batch(rng: np.random.Generator, duplicate: Any) -> None:
    model, x = network(), rng.standard_normal(SHAPE)
    y = model.forward(x)
    copied = duplicate(model)
    with pytest.raises(RuntimeError, match="without a forward"):
        copied.backward(y)
    for step in copied._steps:
        assert step._cache is None
    model.backward(y)


# ==== letting go ====


def large_arrays(value: Any) -> int:
    """How many arrays with a batch in them are reachable from the caches of a model's steps and layers."""
    found, todo, seen = 0, [value], set()
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray):
            found += 1
        elif isinstance(item, tuple | list):
            todo += item
        elif isinstance(item, dict):
            todo += item.values()
    return found


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@each_pair
def test_forget_lets_go_of_the_batch(rng: np.random.Generator, make: Any, shape: Any, training: bool) -> None:
    """`x` is remembered by nobody afterwards, nor is anything that was computed from it."""
    model = make()
    model.train() if training else model.eval()
    x = rng.standard_normal(shape)
    held = weakref.ref(x)
    y = model.forward(x)
    everybody = [*model._steps, *(leaf for _, leaf in model.leaves())]
    assert sum(large_arrays(one._cache) for one in everybody) > 0
    model.forget()
    del x, y
    gc.collect()
    assert all(one._cache is None for one in [model, *everybody])
    assert held() is None


def test_forget_reaches_into_nested_models(rng: np.random.Generator) -> None:
    model = Sequential(body=network(), head=Sequential(fc=Linear(3, 2, rng=9, dtype="float64"), relu=ReLU()))
    x = rng.standard_normal(SHAPE)
    held = weakref.ref(x)
    model.forward(x)
    del x
    model.forget()
    gc.collect()
    assert held() is None
    for part in (model, model["body"], model["head"]):
        assert all(step._cache is None for step in part._steps)  # type: ignore[attr-defined]


def test_backward_lets_go_of_the_batch(rng: np.random.Generator) -> None:
    """Of blocks below the lowest layer that learns as well, which are not called."""
    model = network()
    for name in ("conv", "bn", "conv2"):
        model[name].requires_grad = False
    x = rng.standard_normal(SHAPE)
    held = weakref.ref(x)
    y = model.forward(x)
    del x
    model.backward(np.ones(y.shape), need_dx=False)
    gc.collect()
    assert held() is None
    assert all(step._cache is None for step in model._steps)


# ==== moving ====


def test_a_model_with_blocks_moves(device_lib: Lib, numpy_lib: Lib, rng: np.random.Generator) -> None:
    x, dy = rng.standard_normal(SHAPE), rng.standard_normal((6, 3))
    model, other = network(), network()
    model.forward(x)
    assert model.to(backend_name(device_lib)) is model
    with pytest.raises(RuntimeError, match="without a forward"):
        model.backward(device_lib.asarray(dy))
    assert all(step._cache is None for step in model._steps)
    model.load_state_dict(other.state_dict())
    y = model.forward(device_lib.asarray(x))
    device_lib.assert_close(y, other.forward(x), **CLOSE)
    device_lib.assert_close(model.backward(device_lib.asarray(dy)), other.backward(dy), **CLOSE)
    assert_close(gradients(device_lib, model), gradients(numpy_lib, other))
    assert_close(buffers(device_lib, model), buffers(numpy_lib, other))
    model.to("numpy")
    np.testing.assert_allclose(model.infer(x), other.infer(x), **CLOSE)


# ==== results are the caller's own ====


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", [*PAIRS, "LeNet5"])
def test_two_results_held_at_once_are_those_of_single_calls(
    lib: Lib, rng: np.random.Generator, name: str, training: bool
) -> None:
    """Without a workspace nothing is computed into memory that somebody holds."""
    make, shape = PAIRS[name] if name != "LeNet5" else (lambda: LeNet5(rng=0, dtype="float64"), (3, 1, 28, 28))

    def fresh() -> Layer:
        with on(lib):
            model = make()
        return model.train() if training else model.eval()

    first, second = draw(lib, rng, shape), draw(lib, rng, shape)
    model = fresh()
    y1, y2, i1, i2 = model(first), model(second), model.infer(first), model.infer(second)
    dy = draw(lib, rng, y1.shape)
    dx2 = model.backward(dy)
    model(first)
    dx1 = model.backward(dy)
    other = fresh()
    lib.assert_equal(y1, lib.to_numpy(other(first)))
    lib.assert_equal(y2, lib.to_numpy(other(second)))
    lib.assert_equal(i1, lib.to_numpy(other.infer(first)))
    lib.assert_equal(i2, lib.to_numpy(other.infer(second)))
    lib.assert_equal(dx2, lib.to_numpy(other.backward(dy)))
    other(first)
    lib.assert_equal(dx1, lib.to_numpy(other.backward(dy)))
    if lib.name == "numpy":
        held = [y1, y2, i1, i2, dx1, dx2, first, second, dy]
        for k, result in enumerate(held):
            assert not any(np.shares_memory(result, one) for one in held[:k])
            assert not any(np.shares_memory(result, array) for _, array in model.named_parameters())
            for _, leaf in model.leaves():
                assert not any(np.shares_memory(result, array) for array in leaf.grads.values())


def test_a_block_knows_its_two_layers() -> None:
    conv, pool = Conv2D(1, 2, 3), MaxPool2D(2)
    block = ConvPool(conv, pool)
    assert [leaf for _, leaf in block.leaves()] == [conv, pool]
    assert block.learns
    conv.requires_grad = False
    assert not block.learns
    assert not LinearReLU(Linear(2, 2, requires_grad=False), ReLU()).learns
    assert BatchNormReLU(BatchNorm(2), ReLU()).learns


def test_an_array_of_another_library_is_refused_in_the_layers_name(device_lib: Lib) -> None:
    x = device_lib.asarray(np.zeros((2, 1, 6, 6), "float32"))
    model = Sequential(c=Conv2D(1, 2, 3, rng=0), p=MaxPool2D(2))
    for call in (model.forward, model.infer):
        with pytest.raises(TypeError, match=r"^Conv2D: got x of"):
            call(x)


@pytest.mark.parametrize(("layer", "name", "value"), [("conv", "dilation", (2, 2)), ("pool", "dilation", (2, 2))])
def test_a_layer_changed_behind_its_blocks_back_is_told(numpy_lib: Lib, layer: str, name: str, value: Any) -> None:
    model = Sequential(conv=Conv2D(1, 2, 3, rng=0), pool=MaxPool2D(2))
    setattr(model[layer], name, value)
    x = np.zeros((1, 1, 8, 8), np.float32)
    for call in (model, model.infer):
        with pytest.raises(RuntimeError, match="one of which has been changed; expected them as they were"):
            call(x)
