"""How thick a pen's strokes are, and how a thin pen's are made thicker."""

from __future__ import annotations

import math

import numpy as np

from ..backend import Array
from .paper import most_around


def stroke_width(ink: Array) -> float:
    """Return about how wide the strokes are, in pixels.

    A stroke of width w and length l has an area of w * l and an outline of 2 * l. The outline in steps along rows and
    columns is 4 / pi times as long, on average over all directions.

    Args:
        ink: how much there is, (H, W), 0 to 1.

    Example:
        >>> sheet = np.zeros((40, 40))
        >>> sheet[10:30, 18:22] = 1
        >>> 3.0 < stroke_width(sheet) < 5.0  # 4 wide, 20 long
        True
    """
    there = np.pad(ink, 1) >= 0.5
    steps = int((there[1:] != there[:-1]).sum()) + int((there[:, 1:] != there[:, :-1]).sum())
    return 2.0 * float(ink.sum()) / (math.pi / 4.0 * (steps or 1))


def thickened(ink: Array, by: int) -> Array:
    """Return strokes that are about `by` pixels wider; the sheet is larger by as much on each side.

    Example:
        >>> sheet = np.zeros((5, 5))
        >>> sheet[2] = 1
        >>> thickened(sheet, 2)[:, 4].astype(int).tolist()
        [0, 0, 0, 1, 1, 1, 0, 0, 0]
    """
    return most_around(np.pad(ink, by), by + 1)
