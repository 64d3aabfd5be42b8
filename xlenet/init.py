"""First values of parameters, drawn on the host so that one seed gives one start on every backend."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

Seed: TypeAlias = int | np.random.Generator | None  # None draws one


def generator(rng: Seed = None) -> np.random.Generator:
    """Return `rng` itself where it is a generator, else a new one with the seed `rng`; None draws a seed.

    Raises:
        TypeError, ValueError: `rng` is neither.

    Example:
        >>> generator(0).integers(10, size=3)
        array([8, 6, 5])
    """
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise (ValueError if isinstance(rng, int) else TypeError)(
            f"generator: got rng {rng!r}; expected a numpy.random.Generator, a seed (a whole number from 0 up), or "
            "None; pass one of them"
        ) from None


def he_normal(shape: tuple[int, ...], rng: np.random.Generator, dtype: str) -> Any:
    """Draw weights (OUT, IN, ...) that keep the variance of what passes through a ReLU: standard deviation sqrt(2 /
    fan_in).

    Drawn in float64 and then rounded, so that a float32 and a float64 model start from the same numbers.

    References:
        K. He, X. Zhang, S. Ren, J. Sun, Delving Deep into Rectifiers (2015), https://arxiv.org/abs/1502.01852
    """
    fan_in = math.prod(shape[1:])
    return (rng.standard_normal(shape) * math.sqrt(2.0 / fan_in)).astype(dtype)


def zeros(shape: tuple[int, ...], dtype: str) -> Any:
    """First values of biases."""
    return np.zeros(shape, dtype)


def ones(shape: tuple[int, ...], dtype: str) -> Any:
    """First values of a scale."""
    return np.ones(shape, dtype)
