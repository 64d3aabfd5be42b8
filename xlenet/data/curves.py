"""Smooth curves through the points of a pen path, as matrices: any number of digits is then one product."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from ..backend import Array
from .strokes import PATHS

_FINE = 200  # steps between two points of a path when its length is measured


class Ways(NamedTuple):
    """Every way of writing every digit, padded to one number of points K, so that mixed digits are one product.

    Attributes:
        first: Index of the first way of each digit, (10,).
        chance: Cumulative chance of each way of a digit, (10, most ways of one digit); padded with 2, never reached.
        points: The points of a path, x and y in per cent, (WAYS, K, 2).
        is_end: 1 where a stroke begins or ends, else 0, (WAYS, K).
        place: Weights of the points in the middle of each piece of the curve, (WAYS, PIECES, K).
        step: Weights of the points in the vector along each piece, (WAYS, PIECES, K).
    """

    first: Array
    chance: Array
    points: Array
    is_end: Array
    place: Array
    step: Array


@cache
def all_ways(pieces: int) -> Ways:
    """Return the matrices of all paths, each curve cut into `pieces` pieces of equal length. Made once.

    Example:
        >>> ways = all_ways(96)
        >>> middles = ways.place @ ways.points
        >>> middles.shape[1:]
        (96, 2)
    """
    parsed = [_parse(path) for digit in range(10) for _, path in PATHS[digit]]
    matrices = [_pieces(points, arcs, pieces) for points, arcs, _ in parsed]
    counts = np.array([len(PATHS[digit]) for digit in range(10)])
    return Ways(
        first=np.cumsum(counts) - counts,
        chance=_stack([np.cumsum([w for w, _ in PATHS[d]]) / sum(w for w, _ in PATHS[d]) for d in range(10)], 2.0),
        points=_stack([points for points, _, _ in parsed]),
        is_end=_stack([is_end for _, _, is_end in parsed]),
        place=_stack([place.T for place, _ in matrices]).transpose(0, 2, 1).copy(),
        step=_stack([step.T for _, step in matrices]).transpose(0, 2, 1).copy(),
    )


def _stack(arrays: list[Array], filling: float = 0.0) -> Array:
    """Stack arrays of different first lengths as float32; the missing rows are `filling`."""
    out = np.full((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), filling, np.float32)
    for row, array in zip(out, arrays, strict=True):
        row[: len(array)] = array
    return out


def _parse(path: str) -> tuple[Array, list[list[int]], Array]:
    """Return the points (K, 2), the smooth arcs as lists of point indices, and which points end a stroke (K,)."""
    points: list[list[float]] = []
    arcs: list[list[int]] = []
    is_end: list[int] = []
    for stroke in path.split("/"):
        words = stroke.split()
        arcs.append([])
        for word in words:
            arcs[-1].append(len(points))
            if word.endswith("*"):  # the next arc starts where this one stops
                arcs.append([len(points)])
            points.append([float(number) for number in word.rstrip("*").split(",")])
        is_end += [1] + [0] * (len(words) - 2) + [1]
    return np.array(points), arcs, np.array(is_end)


def _pieces(points: Array, arcs: list[list[int]], pieces: int) -> tuple[Array, Array]:
    """Cut the curves into pieces of equal length; return one path's `place` and `step`, (PIECES, K) each."""
    curves = [_catmull_rom(arc, len(points)) for arc in arcs]
    place = np.concatenate([value for value, _ in curves])
    step = np.concatenate([slope for _, slope in curves]) / _FINE
    length = np.linalg.norm(step @ points, axis=1)
    run = np.cumsum(length)
    middle = np.searchsorted(run, (np.arange(pieces) + 0.5) / pieces * run[-1])
    return place[middle], step[middle] * (run[-1] / pieces / length[middle])[:, None]


def _catmull_rom(arc: list[int], count: int) -> tuple[Array, Array]:
    """Return value and slope of the Catmull-Rom spline through the points `arc`, as weights of all `count` points.

    Beyond its two ends the arc is continued by mirroring, so that it is straight there.

    References:
        E. Catmull, R. Rom, "A class of local interpolating splines", Computer Aided Geometric Design, 1974.
    """
    inner = np.eye(count)[arc]
    knots = np.concatenate([2 * inner[:1] - inner[1:2], inner, 2 * inner[-1:] - inner[-2:-1]])
    t = ((np.arange(_FINE) + 0.5) / _FINE)[None, :, None]
    a, b, c, d = (knots[i : i + len(arc) - 1, None] for i in range(4))  # (intervals, 1, K)
    one, two, three = (c - a) / 2, a - 2.5 * b + 2 * c - d / 2, (d - a) / 2 + 1.5 * (b - c)
    value = b + t * (one + t * (two + t * three))
    slope = one + t * (2 * two + 3 * t * three)
    return value.reshape(-1, count), slope.reshape(-1, count)
