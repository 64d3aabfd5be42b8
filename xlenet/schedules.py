"""How the learning rate changes over a run: functions from progress, 0 to 1, to a factor of the peak rate."""

from __future__ import annotations

import math
from collections.abc import Callable

from .checks import number


def constant(progress: float) -> float:
    """Keep the rate as it is.

    Example:
        >>> constant(0.7)
        1.0
    """
    number("constant", "progress", progress, 0.0, 1.0, closed=True)
    return 1.0


def cosine(progress: float) -> float:
    """Fall from 1 to 0 along half a cosine.

    Example:
        >>> [round(cosine(p), 3) for p in (0.0, 0.5, 1.0)]
        [1.0, 0.5, 0.0]

    References:
        I. Loshchilov, F. Hutter, SGDR (2016), https://arxiv.org/abs/1608.03983
    """
    progress = number("cosine", "progress", progress, 0.0, 1.0, closed=True)
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def one_cycle(progress: float, *, warmup: float = 0.2, start: float = 0.1) -> float:
    """Rise from `start` to 1 in the first `warmup` of the run, then fall to 0 along half a cosine.

    Example:
        >>> [round(one_cycle(p), 3) for p in (0.0, 0.1, 0.2, 0.6, 1.0)]
        [0.1, 0.55, 1.0, 0.5, 0.0]

    References:
        L. Smith, N. Topin, Super-Convergence (2017), https://arxiv.org/abs/1708.07120
    """
    progress = number("one_cycle", "progress", progress, 0.0, 1.0, closed=True)
    warmup, start = number("one_cycle", "warmup", warmup, 0.0, 1.0), number("one_cycle", "start", start, 0.0)
    if progress < warmup:
        return start + (1.0 - start) * progress / warmup
    return cosine((progress - warmup) / (1.0 - warmup))


SCHEDULES: dict[str, Callable[[float], float]] = {"constant": constant, "cosine": cosine, "one-cycle": one_cycle}
