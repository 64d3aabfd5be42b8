"""A layer made of layers: order, names, and who is asked for which gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.functional.messages import message
from tests.libraries import Lib
from tests.networks import SMALL_SHAPE, gradients, on, small_network
from xlenet import (
    BatchNorm,
    Conv2D,
    Flatten,
    Layer,
    Linear,
    MaxPool2D,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Workspace,
)
from xlenet.functional import conv2d, conv2d_rows, linear
from xlenet.steps import backpropagate


class Spy(Layer):
    """Passes everything on, and writes down what it was asked. With `learns` it has a parameter."""

    def __init__(self, name: str, log: list[Any], *, learns: bool = False) -> None:
        super().__init__()
        self.name, self.log = name, log
        if learns:
            self._add_parameter("weight", np.ones(1))

    def _forward(self, x: Any, work: Workspace | None) -> tuple[Any, Any]:
        self.log.append(("forward", self.name, work))
        return x + 1.0, self.name

    def _backward(self, dy: Any, cache: Any, need_dx: bool, work: Workspace | None) -> Any:
        assert cache == self.name
        self.log.append(("backward", self.name, need_dx, work))
        return dy * 2.0 if need_dx else None

    def _infer(self, x: Any, work: Workspace | None) -> Any:
        self.log.append(("infer", self.name, work))
        return x + 1.0


def spies(log: list[Any], *learning: str) -> Sequential:
    return Sequential(**{name: Spy(name, log, learns=name in learning) for name in "abcd"})


def backward_calls(log: list[Any]) -> list[tuple[str, bool]]:
    return [(entry[1], entry[2]) for entry in log if entry[0] == "backward"]


# ==== order ====


def test_forward_goes_one_way_and_backward_the_other() -> None:
    log: list[Any] = []
    model, work = spies(log, "a"), Workspace()
    assert model.forward(np.zeros(2), work=work).tolist() == [4.0, 4.0]
    assert model.backward(np.ones(2), work=work).tolist() == [16.0, 16.0]
    assert model.infer(np.zeros(2), work=work).tolist() == [4.0, 4.0]
    assert [(entry[0], entry[1]) for entry in log] == [
        *(("forward", name) for name in "abcd"),
        *(("backward", name) for name in "dcba"),
        *(("infer", name) for name in "abcd"),
    ]
    assert all(entry[-1] is work for entry in log), "the workspace is handed on"


def test_who_wants_dx_gets_it_whoever_learns() -> None:
    for learning in ("", "c", "abcd"):
        log: list[Any] = []
        model = spies(log, *learning)
        model.forward(np.zeros(2))
        assert model.backward(np.ones(2)).tolist() == [16.0, 16.0]
        assert backward_calls(log) == [(name, True) for name in "dcba"]


# ==== stopping early ====


@pytest.mark.parametrize(
    ("learning", "calls"),
    [
        ("abcd", [("d", True), ("c", True), ("b", True), ("a", False)]),
        ("bd", [("d", True), ("c", True), ("b", False)]),
        ("c", [("d", True), ("c", False)]),
        ("d", [("d", False)]),
        ("", []),
    ],
)
def test_backward_stops_at_the_lowest_layer_that_learns(learning: str, calls: list[tuple[str, bool]]) -> None:
    log: list[Any] = []
    model = spies(log, *learning)
    model.forward(np.zeros(2))
    assert model.backward(np.ones(2), need_dx=False) is None
    assert backward_calls(log) == calls


def test_the_layers_below_forget_their_forward_all_the_same() -> None:
    """Else they would hold on to a batch's memory, and a second backward would find half of one."""
    model = spies([], "c")
    model.forward(np.zeros(2))
    model.backward(np.ones(2), need_dx=False)
    for name in model:
        with pytest.raises(RuntimeError, match="without a forward"):
            model[name].backward(np.ones(2))
    with pytest.raises(RuntimeError, match="without a forward"):
        model.backward(np.ones(2))


def test_a_frozen_body_is_not_gone_through() -> None:
    """A Sequential inside another one learns when something in it does."""
    log: list[Any] = []
    body, head = spies(log, "b", "d"), Sequential(e=Spy("e", log, learns=True))
    model = Sequential(body=body, head=head)
    model.forward(np.zeros(2))
    model.backward(np.ones(2), need_dx=False)
    assert backward_calls(log) == [("e", True), ("d", True), ("c", True), ("b", False)]

    log.clear()
    body.requires_grad = False
    assert not body.learns
    assert model.learns
    model.forward(np.zeros(2))
    model.backward(np.ones(2), need_dx=False)
    assert backward_calls(log) == [("e", False)]


@pytest.mark.parametrize(("lowering", "name"), [("img2col", "conv2d"), ("rows", "conv2d_rows")])
def test_a_frozen_convolution_multiplies_once_less(
    numpy_lib: Lib, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, lowering: str, name: str
) -> None:
    """What is not needed is not computed: neither dW of the frozen layer, nor dx of the lowest one that learns."""
    asked: list[tuple[str, bool, bool]] = []
    for module in (conv2d, conv2d_rows, linear):

        def backward(dy: Any, cache: Any, original: Any = module.backward, **options: Any) -> Any:
            asked.append((original.__module__.rpartition(".")[2], options["need_dx"], options["need_dweight"]))
            result = original(dy, cache, **options)
            assert (result[0] is not None, result[1] is not None) == asked[-1][1:]
            return result

        monkeypatch.setattr(module, "backward", backward)
    with on(numpy_lib):
        model = Sequential(
            conv=Conv2D(2, 3, 3, lowering=lowering, requires_grad=False),
            bn=BatchNorm(3, requires_grad=False),
            flatten=Flatten(),
            fc=Linear(60, 3),
        )
    x = numpy_lib.asarray(rng.standard_normal(SMALL_SHAPE), "float32")
    y = model(x)
    dy = numpy_lib.asarray(rng.standard_normal(y.shape), "float32")
    model.backward(dy, need_dx=False)
    assert asked == [("linear", False, True)]
    asked.clear()
    model(x)
    model.backward(dy)
    assert asked == [("linear", True, True), (name, True, False)]


def test_a_frozen_layer_in_the_middle_hands_dx_down(lib: Lib, rng: np.random.Generator) -> None:
    with on(lib):
        model, whole = small_network(), small_network()
        model["bn"].requires_grad = False
    x = lib.asarray(rng.standard_normal(SMALL_SHAPE))
    dy = lib.asarray(rng.standard_normal(lib.to_numpy(whole(x)).shape))
    model(x)
    model.backward(dy, need_dx=False)
    whole.backward(dy, need_dx=False)
    expected = {name: value for name, value in gradients(lib, whole).items() if not name.startswith("bn.")}
    actual = gradients(lib, model)
    assert list(actual) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value)


# ==== names ====


def test_names_are_the_keywords_joined_by_dots() -> None:
    model = Sequential(
        body=Sequential(conv=Conv2D(1, 2, 3), bn=BatchNorm(2), relu=ReLU()), head=Linear(2, 3, bias=False)
    )
    assert [name for name, _ in model.named_parameters()] == [
        "body.conv.weight",
        "body.conv.bias",
        "body.bn.weight",
        "body.bn.bias",
        "head.weight",
    ]
    assert list(model.state_dict()) == [
        "body.conv.weight",
        "body.conv.bias",
        "body.bn.weight",
        "body.bn.bias",
        "body.bn.running_mean",
        "body.bn.running_var",
        "head.weight",
    ]
    assert [name for name, _ in model.leaves()] == ["body.conv", "body.bn", "body.relu", "head"]
    assert model.size == 2 * 9 + 2 + 2 + 2 + 6


def test_layers_are_found_by_name_and_in_order() -> None:
    model = small_network()
    assert list(model) == ["conv", "pool", "bn", "relu", "flatten", "fc"]
    assert len(model) == 6
    assert isinstance(model["pool"], MaxPool2D)
    with pytest.raises(KeyError):
        model["no such layer"]


# ==== mistakes ====


def test_one_instance_in_two_places_is_refused() -> None:
    """It could remember only one of its two forwards."""
    relu, inner = ReLU(), Sequential(relu=ReLU(), flatten=Flatten())
    pattern = message("Sequential", got="['a', 'b']", expected="none twice")
    for layers in (
        {"a": relu, "b": relu},
        {"a": inner, "b": inner},
        {"a": inner, "b": inner["relu"]},
        {"a": Sequential(deep=Sequential(relu=relu)), "b": Sequential(relu=relu)},
    ):
        with pytest.raises(ValueError, match=pattern):
            Sequential(**layers)
    assert len(Sequential(a=ReLU(), b=ReLU())) == 2


def test_no_layer_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match=message("Sequential", got="[]", expected="at least one layer")):
        Sequential()


@pytest.mark.parametrize("value", [ReLU, np.ones(3), None, "relu", abs])
def test_what_is_no_layer_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=message("Sequential", got="act=", expected="a Layer")):
        Sequential(fc=Linear(2, 2), act=value)


def test_a_mistake_in_the_middle_is_told_by_who_noticed_it(lib: Lib) -> None:
    with on(lib):
        model = Sequential(flatten=Flatten(), fc=Linear(5, 2))
    with pytest.raises(ValueError, match=message("linear", got="(2, 5)", expected="(OUT, 6)")):
        model(lib.asarray(np.ones((2, 1, 2, 3)), "float32"))


def test_a_layer_must_say_what_it_computes() -> None:
    with pytest.raises(NotImplementedError):
        Layer()(np.ones(1))


def test_a_forward_of_ones_own_is_called_and_statistics_move_once(numpy_lib: Lib) -> None:
    """Who overrides `forward` instead of `_forward` is not passed by, inside a Sequential or in a training step."""

    class Counted(BatchNorm):
        calls = 0

        def forward(self, x: Any, *, work: Any = None) -> Any:
            self.calls += 1
            return super().forward(x, work=work)

    x = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    alone, counted = BatchNorm(3), Counted(3)
    alone(x)
    model = Sequential(bn=counted, fc=Linear(3, 2, rng=0))
    backpropagate(model, SoftmaxCrossEntropy(), x, np.array([0, 1] * 3), None, labels_checked=False)
    assert counted.calls == 1
    for name, wanted in alone.buffers.items():
        np.testing.assert_array_equal(counted.buffers[name], wanted)


def test_a_forward_that_was_put_on_a_layer_is_called_and_statistics_move_once(numpy_lib: Lib) -> None:
    """As hooks and stand-ins do it."""
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    alone, watched, seen = BatchNorm(3), BatchNorm(3), []
    alone(x)

    def forward(x: Any, *, work: Any = None) -> Any:
        seen.append(x.shape)
        return Layer.forward(watched, x, work=work)

    watched.forward = forward  # type: ignore[method-assign]
    Sequential(bn=watched, fc=Linear(3, 2, rng=0))(x)
    assert seen == [(6, 3)]
    for name, wanted in alone.buffers.items():
        np.testing.assert_array_equal(watched.buffers[name], wanted)
