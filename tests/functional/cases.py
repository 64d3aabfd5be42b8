"""Shapes that catch faults, shared by the tests of the operations that slide a window. Awkward ones by default."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests import oracles


def pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def pads_of(padding: Any, size: tuple[int, int], kernel: Any, stride: Any, dilation: Any = 1) -> oracles.Pads:
    """What a `padding` argument means, by the contract."""
    if padding == "SAME":
        return oracles.same_pads(size, pair(kernel), pair(stride), pair(dilation))
    if padding == "VALID":
        return ((0, 0), (0, 0))
    v, h = pair(padding)
    return (pair(v), pair(h))


class Window(NamedTuple):
    """An input shape and how a window slides over it."""

    x_shape: tuple[int, int, int, int]
    kernel: Any
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1

    @property
    def explicit(self) -> tuple[tuple[int, int], tuple[int, int], oracles.Pads]:
        """The kernel, stride and pads as the oracles take them."""
        pads = pads_of(self.padding, self.x_shape[2:], self.kernel, self.stride, self.dilation)
        return pair(self.kernel), pair(self.stride), pads

    @property
    def spread(self) -> tuple[int, int]:
        """The dilation as the oracles take it."""
        return pair(self.dilation)

    @property
    def out_size(self) -> tuple[int, int]:
        return oracles.out_size(self.x_shape[2:], *self.explicit, dilation=self.spread)


WINDOWS = {
    "plain": Window((2, 3, 5, 5), 3),
    "batch of one, one channel": Window((1, 1, 4, 4), 2),
    "one by one": Window((2, 2, 3, 4), 1),
    "one pixel": Window((2, 3, 1, 1), 1),
    "kernel is the input": Window((3, 2, 4, 5), (4, 5)),
    "not square at all": Window((2, 2, 7, 9), (3, 2), (2, 3), ((1, 0), (2, 1))),
    "tall kernel": Window((2, 1, 6, 4), (4, 1), (1, 2)),
    "wide kernel": Window((2, 1, 4, 6), (1, 4), (2, 1)),
    "stride does not divide": Window((2, 2, 8, 9), 3, 4),
    "stride beyond the kernel": Window((2, 2, 7, 8), 2, 3),
    "stride beyond the input": Window((2, 2, 3, 3), 2, 5),
    "windows side by side": Window((2, 2, 6, 4), 2, 2),
    "padding int": Window((2, 2, 4, 5), 3, 1, 2),
    "padding by direction": Window((2, 2, 4, 5), 3, 2, (1, 2)),
    "padding by side": Window((1, 2, 4, 4), 3, 1, ((0, 2), (1, 0))),
    "padding beyond the kernel": Window((2, 1, 3, 3), 2, 1, 3),
    "kernel beyond the input": Window((2, 2, 3, 2), 5, 1, ((1, 1), (2, 2))),
    "VALID": Window((2, 2, 6, 5), (3, 2), 1, "VALID"),
    "SAME odd kernel": Window((2, 1, 6, 7), 5, 1, "SAME"),
    "SAME even kernel": Window((2, 2, 5, 6), (2, 4), 1, "SAME"),
    "SAME stride 2": Window((2, 1, 7, 8), 3, 2, "SAME"),
    "SAME even kernel, stride 3": Window((1, 2, 8, 7), 4, (3, 2), "SAME"),
    "SAME stride beyond the kernel": Window((2, 1, 7, 5), 1, 2, "SAME"),
}

# Windows with gaps, which not every operation has.
DILATED = {
    "dilated": Window((2, 3, 6, 7), 3, dilation=2),
    "dilated, not square at all": Window((2, 2, 9, 8), (3, 2), (2, 3), ((1, 0), (2, 1)), (2, 3)),
    "dilated along one axis": Window((2, 2, 6, 5), (2, 3), 1, 1, (3, 1)),
    "dilated beyond the stride and the kernel": Window((1, 2, 9, 9), 2, 3, 0, 5),
    "dilated, stride of the dilation": Window((2, 1, 8, 9), 2, 2, 0, 2),
    "dilated, two pixels in the corners": Window((2, 2, 4, 5), 2, 1, 0, (3, 4)),
    "dilated, with gaps as large as the image": Window((2, 1, 2, 3), 2, 1, 3, (4, 5)),
    "dilated, more padding than image": Window((1, 2, 2, 2), 3, 2, ((3, 2), (4, 4)), 3),
    "dilated, a row of one": Window((2, 2, 4, 6), (1, 3), 1, 0, (7, 2)),
    "dilated, one by one": Window((2, 2, 3, 4), 1, 2, 0, 9),
    "dilated, SAME": Window((2, 2, 5, 6), 3, 1, "SAME", 2),
    "dilated, SAME even kernel, stride 2": Window((2, 1, 7, 8), (2, 4), 2, "SAME", (3, 2)),
}

each_window = pytest.mark.parametrize("case", WINDOWS.values(), ids=WINDOWS.keys())
each_window_dilated_or_not = pytest.mark.parametrize("case", (WINDOWS | DILATED).values(), ids=WINDOWS | DILATED)
