"""Making a layer: its first values, where they lie, how it shows itself, and which arguments it takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.functional.messages import message
from tests.layers.cases import Case, each_layer_with_arrays
from tests.libraries import Lib
from tests.networks import backend_name, on, parameters, small_network
from xlenet import (
    BatchNorm,
    Conv2D,
    Flatten,
    Layer,
    LeNet5,
    Linear,
    LogSoftmax,
    MaxPool2D,
    ReLU,
    Sequential,
    Softmax,
)
from xlenet.functional import conv2d, maxpool2d

# ==== first values ====


def test_one_seed_gives_one_start_on_every_library(lib: Lib, numpy_lib: Lib) -> None:
    for dtype in ("float32", "float64"):
        expected = parameters(numpy_lib, LeNet5(rng=3, dtype=dtype))
        with on(lib):
            actual = parameters(lib, LeNet5(rng=3, dtype=dtype))
        for name, value in expected.items():
            np.testing.assert_array_equal(actual[name], value, err_msg=name)


@pytest.mark.parametrize("make", [lambda **k: Conv2D(3, 4, 5, **k), lambda **k: Linear(3, 4, **k)])
def test_seeds_and_generators(make: Callable[..., Layer]) -> None:
    def weight(rng: Any) -> np.ndarray:
        return make(rng=rng).params["weight"]

    assert np.array_equal(weight(3), weight(3))
    assert np.array_equal(weight(3), weight(np.random.default_rng(3)))
    assert not np.array_equal(weight(3), weight(4))
    assert not np.array_equal(weight(None), weight(None))
    generator = np.random.default_rng(3)
    assert not np.array_equal(weight(generator), weight(generator)), "a generator moves on"


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (Conv2D(6, 50, (3, 5), rng=0, dtype="float64"), 90),
        (Linear(90, 60, rng=0, dtype="float64"), 90),
        (Conv2D(12, 100, 3, groups=4, rng=0, dtype="float64"), 27),
    ],
)
def test_weights_keep_the_variance_behind_a_relu(layer: Layer, fan_in: int) -> None:
    weight = layer.params["weight"]
    assert abs(weight.mean()) < 4 * math.sqrt(2 / fan_in / weight.size)
    assert weight.std() == pytest.approx(math.sqrt(2 / fan_in), rel=0.05)
    assert not layer.params["bias"].any()


def test_a_float32_layer_starts_from_the_rounded_numbers_of_a_float64_one() -> None:
    single, double = (parameters_of(LeNet5(rng=1, dtype=dtype)) for dtype in ("float32", "float64"))
    for name, value in double.items():
        assert single[name].dtype == np.float32
        assert value.dtype == np.float64
        np.testing.assert_array_equal(single[name], value.astype(np.float32))
    assert single["conv1.weight"].dtype == np.float32


def parameters_of(layer: Layer) -> dict[str, np.ndarray]:
    return dict(layer.named_parameters())


def test_batch_normalisation_starts_as_no_change(lib: Lib) -> None:
    with on(lib):
        layer = BatchNorm(3)
    for arrays, name, value in (
        (layer.params, "weight", 1.0),
        (layer.params, "bias", 0.0),
        (layer.buffers, "running_mean", 0.0),
        (layer.buffers, "running_var", 1.0),
    ):
        lib.assert_equal(arrays[name], np.full(3, value), dtype="float32")


# ==== where they lie ====


@each_layer_with_arrays
def test_arrays_are_made_where_the_default_says(lib: Lib, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment counts as much as a block does; float32 is the default type."""
    monkeypatch.delenv("XLENET_BACKEND", raising=False)
    with on(lib):
        inside = case.bare_make(dtype="float32")
    monkeypatch.setenv("XLENET_BACKEND", backend_name(lib))
    by_environment = case.bare_make(dtype="float32")
    for layer in (inside, by_environment):
        for _, leaf in layer.leaves():
            for arrays in (leaf.params, leaf.grads, leaf.buffers):
                for array in arrays.values():
                    lib.assert_native(array)
                    assert lib.dtype_name(array) == "float32"


@pytest.mark.parametrize("make", [lambda: Conv2D(1, 2, 3), lambda: Linear(3, 2), lambda: BatchNorm(2)])
def test_float32_is_the_default(numpy_lib: Lib, make: Callable[[], Layer]) -> None:
    layer = make()
    for arrays in (layer.params, layer.grads, layer.buffers):
        for array in arrays.values():
            assert array.dtype == np.float32


def test_shapes_and_names_are_pytorchs() -> None:
    def shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
        return {name: array.shape for name, array in layer.state_dict().items()}

    assert shapes(Conv2D(3, 4, (5, 6))) == {"weight": (4, 3, 5, 6), "bias": (4,)}
    assert shapes(Conv2D(3, 4, 5, bias=False)) == {"weight": (4, 3, 5, 5)}
    assert shapes(Conv2D(6, 4, 5, groups=2)) == {"weight": (4, 3, 5, 5), "bias": (4,)}
    assert shapes(Linear(3, 4)) == {"weight": (4, 3), "bias": (4,)}
    assert shapes(Linear(3, 4, False)) == {"weight": (4, 3)}
    assert shapes(BatchNorm(3)) == dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (3,))
    assert shapes(ReLU()) == shapes(Flatten()) == shapes(MaxPool2D(2)) == shapes(Softmax()) == {}


# ==== how a layer shows itself ====


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Conv2D(1, 6, 5, padding="SAME"), "Conv2D(1, 6, (5, 5), stride=(1, 1), padding='SAME')"),
        (
            Conv2D(1, 6, (5, 3), stride=2, padding=((0, 1), (2, 3)), bias=False),
            "Conv2D(1, 6, (5, 3), stride=(2, 2), padding=((0, 1), (2, 3)), bias=False)",
        ),
        (
            Conv2D(6, 4, 3, dilation=(1, 2), groups=2, bias=False, lowering="img2col"),
            "Conv2D(6, 4, (3, 3), stride=(1, 1), padding=0, dilation=(1, 2), groups=2, bias=False, lowering='img2col')",
        ),
        (Linear(120, 84), "Linear(120, 84)"),
        (Linear(120, 84, bias=False), "Linear(120, 84, bias=False)"),
        (BatchNorm(6, decay=0.99), "BatchNorm(6, decay=0.99, eps=1e-05)"),
        (MaxPool2D(2), "MaxPool2D((2, 2), stride=(2, 2), padding=0)"),
        (
            MaxPool2D((3, 2), stride=(1, 2), padding=1, ceil_mode=True),
            "MaxPool2D((3, 2), stride=(1, 2), padding=1, ceil_mode=True)",
        ),
        (MaxPool2D(2, dilation=3), "MaxPool2D((2, 2), stride=(2, 2), padding=0, dilation=(3, 3))"),
        (ReLU(), "ReLU()"),
        (Flatten(), "Flatten()"),
        (Softmax(), "Softmax(axis=-1)"),
        (LogSoftmax(axis=1), "LogSoftmax(axis=1)"),
        (Sequential(fc=Linear(2, 3), act=ReLU()), "Sequential(\n  fc: Linear(2, 3)\n  act: ReLU()\n)"),
    ],
)
def test_a_layer_shows_how_it_was_made(layer: Layer, text: str) -> None:
    assert repr(layer) == text


def test_a_layer_can_be_made_again_from_what_it_shows() -> None:
    for layer in (Conv2D(2, 3, (1, 2), padding=(1, 0)), Linear(2, 3), BatchNorm(2), MaxPool2D(3, 1, 1, True)):
        assert repr(eval(repr(layer))) == repr(layer)
    for layer in (Conv2D(4, 6, 3, dilation=2, groups=2), MaxPool2D(3, 1, 1, True, dilation=(1, 2))):
        assert repr(eval(repr(layer))) == repr(layer)
    for lowering in ("img2col", "rows"):
        assert eval(repr(Conv2D(2, 3, 1, lowering=lowering))).lowering == lowering


def test_a_network_shows_each_layer_by_name() -> None:
    lines = repr(LeNet5()).splitlines()
    assert lines[0] == "LeNet5("
    assert lines[1] == "  conv1: Conv2D(1, 6, (5, 5), stride=(1, 1), padding='SAME')"
    assert len(lines) == 13 + 2
    assert len(repr(small_network()).splitlines()) == 6 + 2


# ==== arguments ====


def test_both_lowerings_are_the_same_layer(lib: Lib, rng: np.random.Generator) -> None:
    """Same first values, same names in a file, same numbers within rounding. The one that needs less is the default."""
    assert Conv2D(1, 1, 1).lowering == "rows"
    with on(lib):
        layers = [
            Conv2D(2, 3, (3, 2), 2, "SAME", lowering=name, rng=0, dtype="float64") for name in ("img2col", "rows")
        ]
    x = lib.asarray(rng.standard_normal((4, 2, 7, 6)))
    first, second = (layer(x) for layer in layers)
    lib.assert_close(second, lib.to_numpy(first))
    dy = lib.asarray(rng.standard_normal(lib.to_numpy(first).shape))
    first, second = (layer.backward(dy) for layer in layers)
    lib.assert_close(second, lib.to_numpy(first))
    for name, value in layers[0].state_dict().items():
        lib.assert_equal(layers[1].state_dict()[name], lib.to_numpy(value))
        lib.assert_close(layers[1].grads[name], lib.to_numpy(layers[0].grads[name]))


@pytest.mark.parametrize("lowering", ["img2col", "rows"])
def test_every_setting_of_a_convolution_reaches_the_operation(
    lib: Lib, rng: np.random.Generator, lowering: str
) -> None:
    with on(lib):
        conv = Conv2D(
            4, 6, (3, 2), (1, 2), (1, 0), dilation=(2, 3), groups=2, lowering=lowering, rng=0, dtype="float64"
        )
    x = lib.asarray(rng.standard_normal((2, 4, 7, 9)))
    weight = conv.params["weight"]
    expected, cache = conv2d.forward(x, weight, None, (1, 2), (1, 0), (2, 3), 2)
    y = conv(x)
    lib.assert_close(y, lib.to_numpy(expected))
    lib.assert_close(conv.infer(x), lib.to_numpy(expected))
    dy = lib.asarray(rng.standard_normal(lib.to_numpy(y).shape))
    dx, dweight, _ = conv2d.backward(dy, cache)
    lib.assert_close(conv.backward(dy), lib.to_numpy(dx))
    lib.assert_close(conv.grads["weight"], lib.to_numpy(dweight))


def test_every_setting_of_a_pooling_reaches_the_operation(lib: Lib, rng: np.random.Generator) -> None:
    pool = MaxPool2D((3, 2), (1, 2), (1, 0), True, dilation=(2, 3))
    x = lib.asarray(rng.standard_normal((2, 4, 7, 9)))
    expected, cache = maxpool2d.forward(x, (3, 2), (1, 2), (1, 0), True, (2, 3))
    y = pool(x)
    lib.assert_equal(y, lib.to_numpy(expected))
    lib.assert_equal(pool.infer(x), lib.to_numpy(expected))
    dy = lib.asarray(rng.standard_normal(lib.to_numpy(y).shape))
    lib.assert_equal(pool.backward(dy), lib.to_numpy(maxpool2d.backward(dy, cache)))


def test_a_kernel_and_a_stride_may_be_a_number_or_a_pair() -> None:
    conv = Conv2D(1, 2, [3, 5], stride=2)
    assert (conv.kernel, conv.stride, conv.params["weight"].shape) == ((3, 5), (2, 2), (2, 1, 3, 5))
    assert Conv2D(1, 2, np.int64(3), (np.int32(1), 2)).kernel == (3, 3)
    assert MaxPool2D((3, 2)).stride == (3, 2)
    assert (Conv2D(1, 2, 3, dilation=2).dilation, MaxPool2D(3, dilation=[1, 2]).dilation) == ((2, 2), (1, 2))
    assert MaxPool2D(3, stride=(1, 2)).stride == (1, 2)


def test_softmax_goes_along_its_axis(lib: Lib, rng: np.random.Generator) -> None:
    """The last one where nothing is said."""
    x = rng.standard_normal((3, 4, 5))
    for axis in (None, 0, 1, -1):
        options = {} if axis is None else {"axis": axis}
        expected = oracles.softmax(x, -1 if axis is None else axis)
        lib.assert_close(Softmax(**options)(lib.asarray(x)), expected)
        lib.assert_close(LogSoftmax(**options).infer(lib.asarray(x)), np.log(expected))


@pytest.mark.parametrize(
    ("padding", "shape"),
    [
        ("SAME", (8, 9)),
        ("same", (8, 9)),
        ("VALID", (6, 5)),
        ("valid", (6, 5)),
        (0, (6, 5)),
        (1, (8, 7)),
        ((0, 1), (6, 7)),
        ([0, 1], (6, 7)),
        (((1, 0), (2, 2)), (7, 9)),
        ([[1, 0], [2, 2]], (7, 9)),
    ],
)
def test_padding_may_be_said_in_many_ways(padding: Any, shape: tuple[int, int]) -> None:
    x = np.zeros((1, 1, 8, 9), np.float32)
    conv = Conv2D(1, 1, (3, 5), padding=padding)
    assert conv(x).shape[2:] == shape
    assert conv.infer(x).shape[2:] == shape


WRONG: list[tuple[Callable[..., Layer], tuple[Any, ...], dict[str, Any], type[Exception], str, str]] = [
    (Conv2D, (0, 6, 5), {}, ValueError, "in_channels 0", "at least 1"),
    (Conv2D, (1, -6, 5), {}, ValueError, "out_channels -6", "at least 1"),
    (Conv2D, (1.0, 6, 5), {}, TypeError, "in_channels 1.0", "a whole number"),
    (Conv2D, (1, "6", 5), {}, TypeError, "out_channels '6'", "a whole number"),
    (Conv2D, (True, 6, 5), {}, TypeError, "in_channels True", "a whole number"),
    (Conv2D, (1, 6, 0), {}, ValueError, "kernel 0", "at least 1"),
    (Conv2D, (1, 6, (5, 0)), {}, ValueError, "kernel 0", "at least 1"),
    (Conv2D, (1, 6, (5, 5, 5)), {}, ValueError, "kernel (5, 5, 5)", "a pair"),
    (Conv2D, (1, 6, (5,)), {}, ValueError, "kernel (5,)", "a pair"),
    (Conv2D, (1, 6, 2.5), {}, TypeError, "kernel 2.5", "a whole number"),
    (Conv2D, (1, 6, None), {}, TypeError, "kernel None", "a whole number"),
    (Conv2D, (1, 6, 5), {"stride": 0}, ValueError, "stride 0", "at least 1"),
    (Conv2D, (1, 6, 5), {"stride": (1, -1)}, ValueError, "stride -1", "at least 1"),
    (Conv2D, (1, 6, 5), {"stride": None}, TypeError, "stride None", "a whole number"),
    (Conv2D, (1, 6, 5), {"padding": "FULL"}, ValueError, "padding 'FULL'", "'SAME', 'VALID'"),
    (Conv2D, (1, 6, 5), {"padding": -1}, ValueError, "padding -1", "at least 0"),
    (Conv2D, (1, 6, 5), {"padding": (1, 2, 3)}, ValueError, "padding (1, 2, 3)", "a pair"),
    (Conv2D, (1, 6, 5), {"padding": ((1, 2), (3, -4))}, ValueError, "padding -4", "at least 0"),
    (Conv2D, (1, 6, 5), {"padding": 0.5}, TypeError, "padding 0.5", "a whole number"),
    (Conv2D, (1, 6, 5), {"padding": None}, TypeError, "padding None", "a whole number"),
    (Conv2D, (1, 6, 5), {"dilation": 0}, ValueError, "dilation 0", "at least 1"),
    (Conv2D, (1, 6, 5), {"dilation": (1, 1, 1)}, ValueError, "dilation (1, 1, 1)", "a pair"),
    (Conv2D, (1, 6, 5), {"dilation": 1.5}, TypeError, "dilation 1.5", "a whole number"),
    (Conv2D, (4, 6, 5), {"groups": 0}, ValueError, "groups 0", "at least 1"),
    (Conv2D, (4, 6, 5), {"groups": (2, 2)}, TypeError, "groups (2, 2)", "a whole number"),
    (Conv2D, (4, 6, 5), {"groups": 3}, ValueError, "groups 3 for 4 channels", "a divisor of 4"),
    (Conv2D, (4, 6, 5), {"groups": 4}, ValueError, "groups 4 for 6 filters", "a divisor of 6"),
    (Conv2D, (1, 6, 5), {"lowering": "fft"}, ValueError, "lowering 'fft'", "'img2col' or 'rows'"),
    (Conv2D, (1, 6, 5), {"lowering": None}, ValueError, "lowering None", "'img2col' or 'rows'"),
    (Softmax, (), {"axis": 1.0}, TypeError, "axis 1.0", "a whole number"),
    (LogSoftmax, (None,), {}, TypeError, "axis None", "a whole number"),
    (Conv2D, (1, 6, 5), {"dtype": "float16"}, ValueError, "dtype 'float16'", "'float32' or 'float64'"),
    (Conv2D, (1, 6, 5), {"dtype": "int64"}, ValueError, "dtype 'int64'", "'float32' or 'float64'"),
    (MaxPool2D, (0,), {}, ValueError, "kernel 0", "at least 1"),
    (MaxPool2D, ("2",), {}, TypeError, "kernel '2'", "a whole number"),
    (MaxPool2D, (2,), {"stride": 0}, ValueError, "stride 0", "at least 1"),
    (MaxPool2D, (2,), {"padding": "full"}, ValueError, "padding 'full'", "'SAME', 'VALID'"),
    (MaxPool2D, (2,), {"padding": -1}, ValueError, "padding -1", "at least 0"),
    (MaxPool2D, (2,), {"dilation": 0}, ValueError, "dilation 0", "at least 1"),
    (MaxPool2D, (2,), {"dilation": "2"}, TypeError, "dilation '2'", "a whole number"),
    (BatchNorm, (0,), {}, ValueError, "channels 0", "at least 1"),
    (BatchNorm, (6.0,), {}, TypeError, "channels 6.0", "a whole number"),
    (BatchNorm, (6,), {"decay": 1.1}, ValueError, "decay 1.1", "from 0 up to 1"),
    (BatchNorm, (6,), {"decay": -0.1}, ValueError, "decay -0.1", "from 0 up to 1"),
    (BatchNorm, (6,), {"decay": math.nan}, ValueError, "decay nan", "from 0 up to 1"),
    (BatchNorm, (6,), {"eps": -1e-5}, ValueError, "eps -1e-05", "from 0 up"),
    (BatchNorm, (6,), {"eps": math.inf}, ValueError, "eps inf", "from 0 up"),
    (BatchNorm, (6,), {"dtype": "float16"}, ValueError, "dtype 'float16'", "'float32' or 'float64'"),
    (Linear, (0, 84), {}, ValueError, "in_features 0", "at least 1"),
    (Linear, (120, 0), {}, ValueError, "out_features 0", "at least 1"),
    (Linear, (120, 84.0), {}, TypeError, "out_features 84.0", "a whole number"),
    (Linear, (120, 84), {"dtype": "bfloat16"}, ValueError, "dtype 'bfloat16'", "'float32' or 'float64'"),
    (LeNet5, (30,), {}, ValueError, "image_size 30", "28 or 32"),
    (LeNet5, ("28",), {}, ValueError, "image_size '28'", "28 or 32"),
    (LeNet5, (), {"dtype": "half"}, ValueError, "dtype 'half'", "'float32' or 'float64'"),
]


@pytest.mark.parametrize(
    ("make", "arguments", "options", "error", "got", "expected"),
    WRONG,
    ids=[f"{w[0].__name__}-{w[4]}" for w in WRONG],
)
def test_a_wrong_argument_is_told_when_the_layer_is_made(
    make: Callable[..., Layer],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    error: type[Exception],
    got: str,
    expected: str,
) -> None:
    # LeNet-5 has its numbers checked by the layers that they are for.
    name = "Conv2D" if "dtype" in options and make is LeNet5 else make.__name__
    with pytest.raises(error, match=message(name, got=got, expected=expected)):
        make(*arguments, **options)


def test_options_have_to_be_named() -> None:
    """A sixth number would be taken for anything."""
    for make in (
        lambda: Conv2D(1, 6, 5, 1, 0, True),
        lambda: MaxPool2D(2, 2, 0, False, 1),
        lambda: BatchNorm(6, 0.9, 1e-5, True),
        lambda: Linear(2, 3, True, False),
        lambda: LeNet5(28, True),
    ):
        with pytest.raises(TypeError, match="positional"):
            make()
