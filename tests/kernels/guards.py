"""Kernels that see nothing but their arguments: each array is moved between two walls, which are looked at after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_WALL = 4096  # bytes before and behind each array


def with_guards(call: Callable[..., None]) -> Callable[..., None]:
    """Wrap `Function.__call__`: what is read beside an array is NaN, and what is written there is an error."""

    def guarded(self: Any, grid: Any, block: Any, args: tuple[Any, ...], *rest: Any, **kwargs: Any) -> None:
        held = [Guarded(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
        call(self, grid, block, tuple(h.array if isinstance(h, Guarded) else h for h in held), *rest, **kwargs)
        for parameter, h in zip(self.parameters, held, strict=True):
            if isinstance(h, Guarded):
                h.take_back(f"{self.name}: {parameter.name}")

    return guarded


class Guarded:
    """A copy of the memory that an array spans, gaps included, between two walls."""

    def __init__(self, original: np.ndarray) -> None:
        low, high = np.lib.array_utils.byte_bounds(original)
        span = high - low
        self._original = _bytes_at(original, low, span)
        self._memory = np.full(_WALL + span + _WALL, 0xFF, np.uint8)
        self._inside = self._memory[_WALL : _WALL + span]
        self._inside[...] = self._original
        self._before = self._inside.copy()
        offset = _WALL + original.ctypes.data - low
        self.array = np.ndarray(original.shape, original.dtype, self._memory.data, offset, original.strides)
        self.array.flags.writeable = original.flags.writeable

    def take_back(self, name: str) -> None:
        """Bring what the kernel has written to where it belongs."""
        walls = (self._memory[:_WALL], self._memory[-_WALL:])
        assert all((wall == 0xFF).all() for wall in walls), f"{name}: written beside the array"
        changed = self._inside != self._before  # alone, as two arguments may be the same array
        if changed.any():
            self._original[changed] = self._inside[changed]


def _bytes_at(original: np.ndarray, low: int, span: int) -> np.ndarray:
    """The memory itself, as bytes."""
    backwards = low - original.ctypes.data
    base = np.lib.stride_tricks.as_strided(original.view(), shape=(), strides=())
    holder = _Interface(base, original.ctypes.data + backwards, span, original.flags.writeable)
    return np.asarray(holder)


class _Interface:
    def __init__(self, owner: np.ndarray, address: int, span: int, writeable: bool) -> None:
        self._owner = owner
        self.__array_interface__ = {
            "version": 3,
            "shape": (span,),
            "typestr": "|u1",
            "data": (address, not writeable),
        }
