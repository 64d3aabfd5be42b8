"""Numbers of the device on the host, a little late, so that nobody waits for them."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np

from .libraries import Array, library_of, on_device_of
from .memory import to_host

T = TypeVar("T")


class LateCopy(Generic[T]):
    """Copies of a small array to the host that never make the host wait: `newest` gives the last one that has arrived.

    Args:
        source: an array that changes, on any device.

    Example:
        >>> late = LateCopy[int](np.array([1.0, 2.0]))
        >>> late.newest(7)      # in the host's own memory nothing is late
        ([1.0, 2.0], 7)
    """

    def __init__(self, source: Array) -> None:
        self._source = source
        self._buffer: Any = None  # page-locked: the GPU writes to it by itself
        self._event: Any = None
        self._under_way: tuple[T] | None = None
        self._arrived: tuple[list[float], T] | None = None

    def newest(self, note: T) -> tuple[list[float], T] | None:
        """Ask for a copy, if none is under way, and return the last one that has arrived, with the note that was given
        when it was asked for; None before the first.
        """
        if library_of(self._source).__name__ != "cupy":
            return to_host(self._source).tolist(), note
        with on_device_of(self._source):
            if self._under_way is not None and self._event.done:
                self._arrived, self._under_way = (self._buffer.tolist(), self._under_way[0]), None
            if self._under_way is None:
                self._start()
                self._under_way = (note,)
        return self._arrived

    def forget(self) -> None:
        """Let what was asked for so far never arrive, because the array begins anew."""
        self._under_way = self._arrived = None

    def _start(self) -> None:
        cuda, source = library_of(self._source).cuda, self._source
        if self._buffer is None:
            memory = cuda.alloc_pinned_memory(source.nbytes)
            self._buffer = np.frombuffer(memory, source.dtype, source.size).reshape(source.shape)
            self._event = cuda.Event(disable_timing=True)
        source.get(out=self._buffer, blocking=False)
        self._event.record()
