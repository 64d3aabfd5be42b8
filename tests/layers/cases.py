"""One of each layer, with an input for it: what is true of all of them is tested over this table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.libraries import Lib
from tests.networks import SMALL_SHAPE, on, small_network
from xlenet import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
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


@dataclass(frozen=True)
class Case:
    """A layer, and the shape of what goes in. Constructor arguments are awkward on purpose."""

    bare_make: Callable[..., Layer]
    shape: tuple[int, ...]
    has_arrays: bool = True
    gives_views: bool = False  # of x or dy, where there is nothing to compute
    draws: bool = False  # random numbers, others in each step of training

    def make(self, lib: Lib, dtype: str = "float64", **options: Any) -> Layer:
        """The layer on `lib`, the same numbers each time."""
        with on(lib):
            return self.bare_make(dtype=dtype, **options) if self.has_arrays else self.bare_make()

    def draw(self, rng: np.random.Generator, lib: Lib, dtype: str = "float64") -> Any:
        """An input on `lib`."""
        return lib.asarray(rng.standard_normal(self.shape), dtype)


CASES = {
    "Conv2D": Case(lambda **k: Conv2D(2, 4, (3, 2), stride=(2, 1), padding="SAME", rng=0, **k), (3, 2, 5, 6)),
    "Conv2D without bias": Case(lambda **k: Conv2D(2, 3, 2, bias=False, rng=0, **k), (2, 2, 4, 3)),
    "Conv2D by img2col": Case(
        lambda **k: Conv2D(2, 4, (3, 2), stride=(2, 1), padding="SAME", lowering="img2col", rng=0, **k), (3, 2, 5, 6)
    ),
    "Conv2D by rows": Case(
        lambda **k: Conv2D(2, 3, (2, 3), padding=((1, 0), (2, 1)), lowering="rows", rng=0, **k), (3, 2, 5, 6)
    ),
    "Conv2D with dilation": Case(
        lambda **k: Conv2D(2, 4, (3, 2), dilation=(2, 1), padding=1, rng=0, **k), (3, 2, 5, 6)
    ),
    "Conv2D in groups": Case(lambda **k: Conv2D(4, 6, (3, 2), stride=(2, 1), groups=2, rng=0, **k), (3, 4, 5, 6)),
    "Conv2D of each channel alone": Case(
        lambda **k: Conv2D(3, 3, 2, dilation=2, groups=3, bias=False, lowering="img2col", rng=0, **k), (3, 3, 5, 6)
    ),
    "BatchNorm": Case(lambda **k: BatchNorm(2, decay=0.7, eps=1e-3, **k), (3, 2, 4, 5)),
    "BatchNorm, 2-D": Case(lambda **k: BatchNorm(3, **k), (5, 3)),
    "Linear": Case(lambda **k: Linear(3, 4, rng=0, **k), (5, 3)),
    "Linear without bias": Case(lambda **k: Linear(3, 2, bias=False, rng=0, **k), (4, 3)),
    "MaxPool2D": Case(lambda: MaxPool2D((3, 2), stride=(2, 1), padding=(1, 0), ceil_mode=True), (3, 2, 6, 7), False),
    "MaxPool2D with dilation": Case(lambda: MaxPool2D(2, 1, (0, 1), dilation=(1, 2)), (3, 2, 4, 5), False),
    "AvgPool2D": Case(
        lambda: AvgPool2D((3, 2), (2, 1), (1, 0), ceil_mode=True, count_include_pad=False), (3, 2, 6, 7), False
    ),
    "GlobalAvgPool2D": Case(GlobalAvgPool2D, (3, 2, 4, 5), False),
    "Tanh": Case(Tanh, (3, 2, 4, 5), False),
    "Sigmoid": Case(Sigmoid, (3, 2, 4, 5), False),
    "Dropout": Case(lambda: Dropout(0.4, rng=0), (3, 2, 4, 5), False, gives_views=True, draws=True),
    "Dropout of nothing": Case(lambda: Dropout(0.0, rng=0), (5, 3), False, gives_views=True),
    "Reshape": Case(lambda: Reshape((4, -1, 2)), (3, 2, 4, 5), False, gives_views=True),
    "Permute": Case(lambda: Permute((0, 2, 3, 1)), (3, 2, 4, 5), False, gives_views=True),
    "ReLU": Case(ReLU, (3, 2, 4, 5), False),
    "Softmax": Case(Softmax, (3, 4), False),
    "Softmax of channels": Case(lambda: Softmax(axis=1), (3, 2, 4, 5), False),
    "LogSoftmax": Case(LogSoftmax, (3, 4), False),
    "LogSoftmax of channels": Case(lambda: LogSoftmax(axis=-3), (3, 2, 4, 5), False),
    "Flatten": Case(Flatten, (3, 2, 4, 5), False, gives_views=True),
    "Sequential": Case(small_network, SMALL_SHAPE),
    "Sequential of Sequentials": Case(
        lambda **k: Sequential(
            body=Sequential(conv=Conv2D(2, 3, 3, rng=1, **k), inner=Sequential(bn=BatchNorm(3, **k), relu=ReLU())),
            head=Sequential(flatten=Flatten(), fc=Linear(60, 2, rng=2, **k)),
        ),
        SMALL_SHAPE,
    ),
}


def cases_where(wanted: Callable[[Case], bool]) -> pytest.MarkDecorator:
    """Parametrise over those cases for which `wanted` is true."""
    found = {name: case for name, case in CASES.items() if wanted(case)}
    return pytest.mark.parametrize("case", found.values(), ids=found.keys())


each_layer = cases_where(lambda case: True)
each_layer_with_arrays = cases_where(lambda case: case.has_arrays)
