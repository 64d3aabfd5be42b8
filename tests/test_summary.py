"""`Layer.summary`: counted by hand for LeNet-5, and by PyTorch for odd convolutions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.libraries import Lib
from tests.networks import on
from xlenet import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    LeNet5,
    Linear,
    LogSoftmax,
    MaxPool2D,
    Permute,
    ReLU,
    Reshape,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)

# Multiply-accumulates of one image, counted before the first line of the library was written.
MULTIPLY_ADDS = {"conv1": 117_600, "conv2": 240_000, "conv3": 48_000, "fc4": 10_080, "fc5": 840}


class Halved(Layer):
    """A layer of one's own, which says nothing of its operations."""

    def _forward(self, x: Any, work: Any) -> tuple[Any, None]:
        return 0.5 * x, None


def test_lenet_is_counted_as_by_hand(lib: Lib) -> None:
    with on(lib):
        table = LeNet5(rng=0).summary()
    rows = {row.name: row for row in table.rows}
    assert {name: rows[name].flops for name in MULTIPLY_ADDS} == {n: 2 * count for n, count in MULTIPLY_ADDS.items()}
    assert sum(MULTIPLY_ADDS.values()) == 416_520
    assert table.flops == 2 * 416_520 + 3 * (1176 + 400) + 84 + 3 * (1176 + 400)  # pools; BN and ReLU; relu4
    assert (table.parameters, table.parameter_bytes) == (61_750, 4 * 61_750)
    assert table.input_shape == (1, 28, 28)
    shapes = [(6, 28, 28), (6, 14, 14), (6, 14, 14), (6, 14, 14), (16, 10, 10), (16, 5, 5), (16, 5, 5), (16, 5, 5)]
    assert [row.shape for row in table.rows] == [*shapes, (120, 1, 1), (120,), (84,), (84,), (10,)]
    assert rows["conv1"].result_bytes == 4 * 6 * 28 * 28
    assert rows["conv1"].description == repr(LeNet5(rng=0)["conv1"])


def test_what_is_printed() -> None:
    model = Sequential(fc=Linear(3, 2000, rng=0), half=Halved(), last=Linear(2000, 1, bias=False, rng=0))
    assert str(model.summary()).splitlines() == [
        "Sequential for one sample (3,); a multiply-add is 2 FLOPs; 1 of 3 layers do not say theirs (-)",
        "",
        "layer  what it is  result   parameters   FLOPs  parameter bytes  result bytes",
        "-----------------------------------------------------------------------------",
        "fc     Linear      (2000,)       8,000  12,000           32,000         8,000",
        "half   Halved      (2000,)           0       -                0         8,000",
        "last   Linear      (1,)          2,000   4,000            8,000             4",
        "-----------------------------------------------------------------------------",
        "total                           10,000  16,000           40,000        16,004",
    ]
    assert repr(model.summary()) == str(model.summary())


CONVOLUTIONS = [
    {},
    {"stride": (2, 3), "padding": ((1, 2), (0, 1))},
    {"dilation": (2, 1), "padding": "SAME"},
    {"groups": 3},
    {"groups": 3, "stride": 2, "dilation": 2, "bias": False},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_convolutions_are_counted_as_pytorch_counts_them(torch: Any, options: dict[str, Any]) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    conv = Conv2D(6, 9, (3, 2), rng=0, **options)
    (row,) = conv.summary((6, 13, 17)).rows
    x = torch.zeros(1, 6, 13, 17)
    if options.get("padding") == "SAME":
        x = torch.nn.functional.pad(x, (0, 1, 2, 2))
    elif "padding" in options:
        x = torch.nn.functional.pad(x, (0, 1, 1, 2))
    stride, dilation, groups = options.get("stride", 1), options.get("dilation", 1), options.get("groups", 1)
    theirs = torch.nn.Conv2d(
        6, 9, (3, 2), stride=stride, dilation=dilation, groups=groups, bias=options.get("bias", True)
    )
    with FlopCounterMode(display=False) as counter:
        y = theirs(x)
    assert row.shape == tuple(y.shape[1:])
    assert row.flops == counter.get_total_flops()
    assert row.parameters == sum(p.numel() for p in theirs.parameters())


def test_a_whole_network_is_counted_as_pytorch_counts_it(torch: Any) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    nn = torch.nn
    ours = Sequential(c=Conv2D(3, 8, 3, 2, rng=0), f=Flatten(), fc=Linear(8 * 7 * 5, 11, rng=0))
    theirs = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.Flatten(), nn.Linear(8 * 7 * 5, 11))
    table = ours.summary((3, 15, 11))
    with FlopCounterMode(display=False) as counter:
        theirs(torch.zeros(1, 3, 15, 11))
    assert table.flops == counter.get_total_flops()
    assert table.parameters == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize(
    ("layer", "shape", "flops"),
    [
        (ReLU(), (3, 4, 5), 60),
        (Flatten(), (3, 4, 5), 0),
        (BatchNorm(3), (3, 4, 5), 120),
        (MaxPool2D(3, 1), (2, 5, 4), 2 * 3 * 2 * 8),
        (Softmax(), (7,), 35),
        (LogSoftmax(1), (7, 2), 70),
        (AvgPool2D(3, 1), (2, 5, 4), 2 * 3 * 2 * 9),
        (GlobalAvgPool2D(), (2, 5, 4), 40),
        (Tanh(), (3, 4), 12),
        (Sigmoid(), (3, 4), 12),
        (Dropout(), (3, 4), 0),
        (Reshape((2, 6)), (3, 4), 0),
        (Permute((0, 2, 1)), (3, 4), 0),
    ],
    ids=repr,
)
def test_layers_without_products(layer: Layer, shape: tuple[int, ...], flops: int) -> None:
    (row,) = layer.summary(shape).rows
    assert (row.flops, row.name, row.kind) == (flops, "", type(layer).__name__)


def test_what_is_inside_has_its_full_name() -> None:
    body = Sequential(conv=Conv2D(3, 4, 3, rng=0), deep=Sequential(relu=ReLU(), own=Halved()))
    table = Sequential(body=body, flatten=Flatten(), fc=Linear(4 * 4, 2, rng=0)).summary((3, 4, 4))
    assert [row.name for row in table.rows] == ["body.conv", "body.deep.relu", "body.deep.own", "flatten", "fc"]
    assert [row.flops for row in table.rows] == [2 * 27 * 16, 16, None, 0, 64]


def test_types_have_their_sizes(lib: Lib) -> None:
    with on(lib):
        (row,) = Linear(3, 2, dtype="float64", rng=0).summary().rows
    assert (row.parameter_bytes, row.result_bytes) == (64, 16)


def test_nothing_is_changed(lib: Lib) -> None:
    """Neither running statistics nor the mode, nor what the last forward remembered."""
    with on(lib):
        model = LeNet5(rng=0)
    x = lib.asarray(np.random.default_rng(0).standard_normal((4, 1, 28, 28)), "float32")
    y = model(x)
    before = {name: lib.to_numpy(array) for name, array in model.state_dict().items()}
    model.summary()
    after = {name: lib.to_numpy(array) for name, array in model.state_dict().items()}
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
    assert model.training
    model.backward(y)  # of the batch before


def test_a_frozen_layer_still_has_its_parameters() -> None:
    assert Linear(3, 2, requires_grad=False, rng=0).summary().parameters == 8


def test_the_only_shape_is_known() -> None:
    assert LeNet5(32, channels=3, classes=4, rng=0).summary().input_shape == (3, 32, 32)
    assert Sequential(a=Sequential(fc=Linear(5, 2, rng=0))).summary().input_shape == (5,)


def test_a_shape_with_the_batch_is_refused_in_words() -> None:
    model = Sequential(conv=Conv2D(3, 4, 3, rng=0))
    with pytest.raises(ValueError, match=r"^summary: got shape \(8, 3, 32, 32\); expected .*, without the batch, "):
        model.summary((8, 3, 32, 32))
    with pytest.raises(ValueError, match=r"^summary: got no shape, .*; expected .*, without the batch; pass it"):
        model.summary()
    with pytest.raises(ValueError, match=r"that LeNet5 takes; .* \(LeNet5: got x of shape \(1, 1, 27, 27\)"):
        LeNet5(rng=0).summary((1, 27, 27))


@pytest.mark.parametrize("shape", [(1, 10**9, 10**9), (1, 10**30, 3), (1, 0, 3), (1, -1, 3)])
def test_sizes_that_cannot_be_are_refused_in_words(shape: tuple[int, ...]) -> None:
    model = Sequential(conv=Conv2D(1, 4, 3, rng=0))
    with pytest.raises(ValueError, match=rf"^summary: got shape {re.escape(str(shape))}; expected .*; pass "):
        model.summary(shape)
    with pytest.raises(TypeError, match=r"^summary: got shape \(1, 2.5\); expected whole numbers"):
        model.summary((1, 2.5))  # type: ignore[arg-type]


def test_the_docs_show_the_table_as_it_is() -> None:
    page = Path(__file__).parent.parent / "docs" / "inspect.md"
    assert f"```\n{LeNet5(rng=0).summary()}\n```\n" in page.read_text(encoding="utf-8")
