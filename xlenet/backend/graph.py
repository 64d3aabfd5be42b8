"""Work for a GPU, recorded once as a CUDA graph and then launched with a single call.

A training step of a small network is some thirty kernels of a few microseconds each; to launch them one by one takes
Python longer than the GPU needs to compute them. A graph holds them all, with their addresses and their numbers: what
shall differ from launch to launch must lie in the device's memory.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from .libraries import Array, library_of, on_device_of

_logger = logging.getLogger("xlenet")


def can_capture(like: Array) -> bool:
    """Return whether work on the device of `like` is to be recorded: on a GPU, and not with ``XLENET_GRAPH=off``.

    Example:
        >>> import numpy as np
        >>> can_capture(np.zeros(1))
        False
    """
    wanted = os.environ.get("XLENET_GRAPH", "on").strip().lower() not in ("off", "0", "no", "false")
    return wanted and library_of(like).__name__ == "cupy"


class Graph:
    """What a function asks of the GPU, to be asked again by `replay` without running the function.

    Whatever the function allocates comes from a pool of the graph's own: the graph writes there in every launch, so the
    memory stays the graph's even where Python has let go of the arrays. The other way round it ends with the graph, or
    with the failed attempt to record one: CuPy's arrays do not keep their pool, so whoever still holds one made by the
    function must let go of it then. Arrays from elsewhere are kept by the function, and so is the function, as long as
    the graph.

    Args:
        function: launches kernels and nothing else: it neither reads from the GPU nor copies to it, and decides nothing
            by what it reads. Recording runs its Python, but nothing is computed.
        like: an array on the GPU.

    Raises:
        Exception: whatever the function or the driver raises; nothing has been computed then.
    """

    def __init__(self, function: Callable[[], None], *, like: Array) -> None:
        cuda = library_of(like).cuda
        self._function, self._like, self._pool = function, like, cuda.MemoryPool()
        with on_device_of(like):
            stream = cuda.Stream(non_blocking=True)  # the default stream cannot be captured
            with stream, cuda.using_allocator(self._pool.malloc):
                self._graph = _record(function, stream)

    def replay(self) -> None:
        """Launch the recorded work on the current stream, behind all that was asked of it before; do not wait."""
        with on_device_of(self._like):
            self._graph.launch()


def _record(function: Callable[[], None], stream: Any) -> Any:
    with _no_garbage_collection():
        stream.begin_capture()
        try:
            function()
        except BaseException:
            with contextlib.suppress(Exception):  # the recording has to end, and has most likely been spoilt
                stream.end_capture()
            raise
        return stream.end_capture()


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Let nobody's old graph or memory be given back to the driver in the middle of a recording."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def capture(function: Callable[[], None], *, like: Array) -> Graph | None:
    """Return a `Graph` of `function`, or None where it cannot be recorded, with one line in the log that says why."""
    try:
        return Graph(function, like=like)
    except Exception as error:  # of the driver, of CuPy, or of a layer that reads from the GPU
        warn(f"{type(error).__name__}: {error}")
        return None


def warn(reason: str) -> None:
    """Tell in the log that steps are launched one kernel at a time, and why."""
    first = reason.partition("\n")[0]
    _logger.warning(
        "no CUDA graph of the training step (%s); going on without, which is slower; XLENET_GRAPH=off says no more",
        first,
    )
