"""The checker finds what is wrong with a layer, says it in words, and finds nothing wrong with a right one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.layers.cases import Case, each_layer
from tests.libraries import Lib
from tests.networks import on
from xlenet import BatchNorm, Layer, MaxPool2D, ReLU, Sequential, namespace_of
from xlenet.testing import check_gradients, check_layer


class Scale(Layer):
    """Right: y = weight * x + bias, for each feature."""

    def __init__(self) -> None:
        super().__init__()
        self._add_parameter("weight", np.ones(3))
        self._add_parameter("bias", np.zeros(3))

    def _forward(self, x: Any, work: Any) -> tuple[Any, Any]:
        return self.params["weight"] * x + self.params["bias"], x

    def _backward(self, dy: Any, cache: Any, need_dx: bool, work: Any) -> Any:
        xp = namespace_of(dy)
        self._set_gradients(weight=xp.sum(dy * cache, axis=0), bias=xp.sum(dy, axis=0))
        return self.params["weight"] * dy if need_dx else None


def test_a_right_layer_passes(lib: Lib) -> None:
    with on(lib):
        check_layer(Scale, (4, 3))
        check_layer(Scale(), (1, 3), rng=3)


@each_layer
def test_all_layers_of_the_library_pass(lib: Lib, case: Case) -> None:
    with on(lib):
        check_layer(case.bare_make, case.shape, random=case.draws)


def test_the_layer_that_was_given_is_left_alone() -> None:
    layer = BatchNorm(3)
    before = layer.state_dict()
    check_layer(layer, (4, 3))
    assert all(np.array_equal(array, before[name]) for name, array in layer.state_dict().items())
    assert layer.training


# ==== kinks ====


def test_a_point_beside_a_kink_is_drawn_anew() -> None:
    drawn = []

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        drawn.append(shape)
        return np.zeros(shape) if len(drawn) == 1 else rng.standard_normal(shape)

    check_layer(ReLU, (3, 4), draw=draw)
    assert len(drawn) == 4  # one for each of the two batches, and one more in either mode


def test_a_gradient_is_not_taken_for_right_where_all_points_lie_beside_a_kink() -> None:
    with pytest.raises(AssertionError, match="or choose a point that is further from a kink"):
        check_layer(ReLU, (3, 4), draw=lambda rng, shape: np.zeros(shape))


def test_a_kink_does_not_hide_a_wrong_gradient() -> None:
    """One number of 40 lies on a kink, which explains an error of its own size and no larger one."""

    class Doubled(ReLU):
        def _backward(self, dy: Any, cache: Any, need_dx: bool, work: Any) -> Any:
            return 2.0 * super()._backward(dy, cache, True, work) if need_dx else None

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        x = rng.standard_normal(shape)
        x[0, 0] = 0.0
        return x

    check_layer(MaxPool2D(2), (2, 2, 4, 4))
    with pytest.raises(AssertionError, match=r"^Doubled, training: got a wrong gradient of x: (?!.*kink)"):
        check_layer(Doubled, (4, 10), draw=draw)


# ==== wrong layers ====


def _wrong(**methods: Any) -> type[Layer]:
    """`Scale` with some methods exchanged for wrong ones."""
    return type("Wrong", (Scale,), methods)


def _backward(gradients: Any, dx: Any = lambda layer, dy: layer.params["weight"] * dy) -> Any:
    """A `_backward` that sets `gradients(dy, x)`, and returns `dx(layer, dy)` where it is needed."""

    def backward(self: Layer, dy: Any, cache: Any, need_dx: bool, work: Any) -> Any:
        self._set_gradients(**gradients(dy, cache))
        return dx(self, dy) if need_dx else None

    return backward


def _right(dy: Any, x: Any) -> dict[str, Any]:
    return {"weight": (dy * x).sum(axis=0), "bias": dy.sum(axis=0)}


def _added_up(self: Layer, dy: Any, cache: Any, need_dx: bool, work: Any) -> Any:
    for name, value in _right(dy, cache).items():
        self.grads[name] += value
    return self.params["weight"] * dy if need_dx else None


def _exchanged(self: Layer, dy: Any, cache: Any, need_dx: bool, work: Any) -> Any:
    if self.requires_grad:
        self.grads.update(_right(dy, cache))
    return self.params["weight"] * dy if need_dx else None


def _written_to_x(self: Layer, x: Any, work: Any) -> tuple[Any, Any]:
    before = x.copy()
    x *= self.params["weight"]
    x += self.params["bias"]
    return x, before


def _written_to_dy(self: Layer, dy: Any, cache: Any, need_dx: bool, work: Any) -> Any:
    self._set_gradients(**_right(dy, cache))
    dy *= self.params["weight"]
    return dy if need_dx else None


def _in_float64(self: Layer, x: Any, work: Any) -> tuple[Any, Any]:
    return self.params["weight"] * x * np.float64(1.0) + self.params["bias"], x


def _remembered(self: Any, x: Any, work: Any) -> tuple[Any, Any]:
    self.first = getattr(self, "first", x)
    return self.params["weight"] * x + self.params["bias"], self.first


def _with_a_list(self: Layer, x: Any, work: Any) -> tuple[Any, Any]:
    return (self.params["weight"] * x + self.params["bias"]).tolist(), x


class _Counting(Scale):
    """Its statistics move in evaluation, too."""

    def __init__(self) -> None:
        super().__init__()
        self.buffers["seen"] = np.zeros(1)

    def _forward(self, x: Any, work: Any) -> tuple[Any, Any]:
        self.buffers["seen"] += 1.0
        return super()._forward(x, work)


class _Hidden(Scale):
    """An array of its own that no file will hold."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = np.random.default_rng().standard_normal(3)

    def _forward(self, x: Any, work: Any) -> tuple[Any, Any]:
        y, cache = super()._forward(x, work)
        return y + self.offset.astype(x.dtype), cache


class _AlwaysTraining(BatchNorm):
    """Forgets that evaluation has rules of its own."""

    def _infer(self, x: Any, work: Any) -> Any:
        return self._forward(x, work)[0]


class _WithoutAForward(Scale):
    def backward(self, dy: Any, *, need_dx: bool = True, work: Any = None) -> Any:
        return super().backward(dy, need_dx=need_dx, work=work) if self._cache else dy


class _Unlearned(Scale):
    def __init__(self) -> None:
        super().__init__()
        self.params["more"] = np.ones(3)


class _InOrder(Scale):
    """Takes it that numbers lie one behind the other."""

    def _forward(self, x: Any, work: Any) -> tuple[Any, Any]:
        return super()._forward(x.ravel(order="K").reshape(x.shape), work)


class _LentUnset(Scale):
    """Adds into memory that nobody has set to zero."""

    def _forward(self, x: Any, work: Any) -> tuple[Any, Any]:
        y = np.zeros(x.shape, x.dtype) if work is None else work.empty(x.shape, like=x)
        y += self.params["weight"] * x + self.params["bias"]
        return y, x


class _SameMemory(Scale):
    """Gives each result out of the same memory."""

    def _forward(self, x: Any, work: Any) -> tuple[Any, Any]:
        if getattr(self, "memory", np.zeros(0)).size < 64 or self.memory.dtype != x.dtype:
            self.memory = np.zeros(64, x.dtype)
        y = self.memory[: x.size].reshape(x.shape)
        y[...] = self.params["weight"] * x + self.params["bias"]
        return y, x


WRONG: dict[str, tuple[Any, str]] = {
    "a wrong sign": (
        _wrong(_backward=_backward(_right, lambda layer, dy: -layer.params["weight"] * dy)),
        r"^Wrong, training: got a wrong gradient of x: analytic (.*); expected numeric (.*) \(ratio -1\); .*sign",
    ),
    "a factor": (
        _wrong(_backward=_backward(lambda dy, x: {"weight": 0.5 * (dy * x).sum(axis=0), "bias": dy.sum(axis=0)})),
        r"gradient of weight: .*\(ratio 0\.5\)",
    ),
    "a bias without a gradient": (
        _wrong(_backward=_backward(lambda dy, x: {"weight": (dy * x).sum(axis=0)})),
        r"gradient of bias: analytic 0; expected .*; it is 0: does backward compute it\?",
    ),
    "divided by the batch": (
        _wrong(_backward=_backward(lambda dy, x: {"weight": (dy * x).mean(axis=0), "bias": dy.sum(axis=0)})),
        r"gradient of weight: .*\(ratio 0\.25\); the factor is the batch size 4: .* only a loss divides",
    ),
    "one element of many": (
        _wrong(
            _backward=_backward(
                lambda dy, x: {"weight": (dy * x).sum(axis=0) * [1.0, 1.0, 1.001], "bias": dy.sum(axis=0)}
            )
        ),
        "got a wrong gradient of weight",
    ),
    "gradients added up": (_wrong(_backward=_added_up), "assigned, not added up"),
    "arrays exchanged": (_wrong(_backward=_exchanged), r"another array in grads\['(weight|bias)'\]; .*in place"),
    "writes to x": (_wrong(_forward=_written_to_x), "got another x than was passed in; expected it as it was"),
    "writes to dy": (_wrong(_backward=_written_to_dy), "got another dy than was passed in"),
    "a wrong type": (_wrong(_forward=_in_float64), "got float64 from forward for float32; expected the type of x"),
    "a stale cache": (_wrong(_forward=_remembered), "(for|after) a batch of another size; "),
    "no array": (_wrong(_forward=_with_a_list), "got a list from forward; expected an array"),
    "dx of another shape": (
        _wrong(_backward=_backward(_right, lambda layer, dy: (layer.params["weight"] * dy)[:1])),
        r"got dx of shape \(1, 3\); expected \(4, 3\)",
    ),
    "need_dx is passed over": (
        _wrong(_backward=lambda self, dy, cache, need_dx, work: Scale._backward(self, dy, cache, True, work)),
        "got dx with need_dx=False; expected None",
    ),
    "need_dx means something else": (
        _wrong(
            _backward=lambda self, dy, x, need_dx, work: Scale._backward(self, dy, x, True, work) if need_dx else None
        ),
        r"gradient of (weight|bias) that is off by .* with need_dx=False",
    ),
    "no dx at all": (_wrong(_backward=_backward(_right, lambda layer, dy: None)), "got None from backward"),
    "frozen all the same": (
        _wrong(_backward=_added_up, requires_grad=property(lambda self: True, lambda self, value: None)),
        "with requires_grad=False|added up",
    ),
    "statistics move in infer": (_Counting, "got another seen after infer"),
    "evaluation by the rules of training": (
        lambda: _AlwaysTraining(3),
        "from infer in training mode|another running_(mean|var) after infer",
    ),
    "backward without a forward": (
        _WithoutAForward,
        "got a result from backward without a forward, after infer alone; expected a RuntimeError",
    ),
    "a parameter without a place for its gradient": (_Unlearned, r"no place in grads for \['more'\]"),
    "an array that is not saved": (_Hidden, "from another one with the same state_dict"),
    "another memory order": (_InOrder, "for x with (the batch innermost|its axes in reverse); .*never on strides"),
    "memory that was not set": (_LentUnset, "with a workspace; .*fill what new"),
    "a result that does not last": (_SameMemory, "changes with the next call|off by"),
}


@pytest.mark.parametrize(("make", "pattern"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_layer_fails_in_words(make: Any, pattern: str) -> None:
    with pytest.raises(AssertionError, match=pattern):
        check_layer(make, (4, 3))


def test_a_wrong_layer_inside_a_sequential_is_named_with_its_parameter() -> None:
    wrong = WRONG["a factor"][0]
    with pytest.raises(AssertionError, match=r"^Sequential, training: got a wrong gradient of scale\.weight: "):
        check_layer(lambda: Sequential(relu=ReLU(), scale=wrong()), (4, 3))


def test_numbers_left_on_the_host_are_told(device_lib: Lib) -> None:
    class Fetched(Scale):
        def _forward(self, x: Any, work: Any) -> tuple[Any, Any]:
            y, cache = super()._forward(x, work)
            return device_lib.to_numpy(y), cache

    with on(device_lib), pytest.raises(AssertionError, match=r"got an array of numpy on cpu from forward; expected "):
        check_layer(Fetched, (4, 3))


def test_what_makes_no_layer_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"^check_layer: got .*; expected a Layer, or what makes one"):
        check_layer(dict, (4, 3))  # type: ignore[arg-type]


# ==== layers that draw random numbers ====


class Dropout(Layer):
    """Numbers are left out in training; what is left is larger for it."""

    def __init__(self) -> None:
        super().__init__()
        self._rng = np.random.default_rng(0)

    def _forward(self, x: Any, work: Any) -> tuple[Any, Any]:
        kept = (self._rng.random(x.shape) < 0.5) * 2.0 if self.training else np.ones(x.shape)
        kept = kept.astype(x.dtype)
        return x * kept, kept

    def _infer(self, x: Any, work: Any) -> Any:
        return x

    def _backward(self, dy: Any, cache: Any, need_dx: bool, work: Any) -> Any:
        return dy * cache if need_dx else None


def test_a_layer_that_draws_random_numbers_can_say_so() -> None:
    check_layer(Dropout, (4, 3), random=True)
    with pytest.raises(AssertionError, match="after a second pass"):
        check_layer(Dropout, (4, 3))


def test_a_random_layer_is_not_excused_from_right_gradients() -> None:
    class Wrong(Dropout):
        def _backward(self, dy: Any, cache: Any, need_dx: bool, work: Any) -> Any:
            return dy if need_dx else None

    with pytest.raises(AssertionError, match="Wrong, training: got a wrong gradient of x"):
        check_layer(Wrong, (4, 3), random=True)


# ==== functions ====


def test_the_largest_error_is_returned() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4))

    def error(factor: float, rtol: float) -> float:
        return check_gradients(
            "square", lambda x: (x * x, x), lambda dy, x: {"x": factor * dy * x}, {"x": x}, rng=1, rtol=rtol
        )

    assert error(2.0, 1e-6) < 1e-8
    assert 1e-4 < error(2.002, 1e-2) < 2e-3


def test_a_gradient_of_another_shape_is_told() -> None:
    with pytest.raises(AssertionError, match=r"square: got a gradient of x of shape \(4,\); expected \(3, 4\)"):
        check_gradients("square", lambda x: (x * x, x), lambda dy, x: {"x": (dy * x)[0]}, {"x": np.ones((3, 4))})


def test_a_gradient_that_is_not_a_number_is_wrong() -> None:
    with pytest.raises(AssertionError, match="analytic nan"):
        check_gradients("nan", lambda x: (x, None), lambda dy, _: {"x": dy * np.nan}, {"x": np.ones((3, 4))})
