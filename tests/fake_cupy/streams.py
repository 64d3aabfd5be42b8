"""Streams that execute at once, except while they are captured: then they write down what they were asked for."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

from tests.fake_cupy.state import CUDARuntimeError, counters

Operation = Callable[[], None]

_numbers = itertools.count(16)


class Graph:
    """What was written down, to be done again and again on the same memory."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("currently this class cannot be initiated by the user: capture a stream")

    @classmethod
    def _of(cls, operations: list[Operation]) -> Graph:
        graph = cls.__new__(cls)
        graph._operations = operations
        return graph

    _operations: list[Operation]

    def launch(self, stream: Stream | None = None) -> None:
        stream = stream or get_current_stream()
        if stream.is_capturing():
            raise NotImplementedError("the stand-in captures no graph inside a graph")
        counters.replays += 1
        for operation in self._operations:
            operation()

    def upload(self, stream: Stream | None = None) -> None:
        pass


class Stream:
    """A queue of one."""

    null: Stream

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: Any = None
    ) -> None:
        self.ptr = 0 if null else next(_numbers)
        self.device_id = -1 if null else 0
        self.is_non_blocking = non_blocking
        self._recorded: list[Operation] | None = None
        self._spoilt = False
        self._late: list[Operation] = []

    def __enter__(self) -> Stream:
        _stack.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        _stack.pop()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return self.ptr

    def use(self) -> Stream:
        _stack[-1] = self
        return self

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr in (0, 1):
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self._recorded is not None:
            raise CUDARuntimeError("cudaErrorIllegalState: the stream is being captured already")
        self._recorded, self._spoilt = [], False

    def end_capture(self) -> Graph:
        recorded, self._recorded = self._recorded, None
        if recorded is None:
            raise CUDARuntimeError("cudaErrorIllegalState: end_capture without begin_capture")
        if self._spoilt:
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture"
            )
        return Graph._of(recorded)

    def is_capturing(self) -> bool:
        return self._recorded is not None

    def synchronize(self) -> None:
        wait_for(self)

    @property
    def done(self) -> bool:
        return not self._late

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        pass

    def _deliver(self) -> None:
        late, self._late = self._late, []
        for copy in late:
            copy()


Stream.null = Stream(null=True)
_stack = [Stream.null]


def get_current_stream(device_id: int = -1) -> Stream:
    return _stack[-1]


def capturing() -> bool:
    return get_current_stream().is_capturing()


def enqueue(operation: Operation) -> None:
    """Do it now, or write it down for the graph."""
    stream = get_current_stream()
    if stream._recorded is None:
        counters.operations += 1
        operation()
    else:
        stream._recorded.append(operation)


def refuse_in_capture(what: str) -> None:
    """What the driver does not allow spoils the whole capture."""
    stream = get_current_stream()
    if stream.is_capturing():
        stream._spoilt = True
        raise CUDARuntimeError(
            f"cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing ({what})"
        )


def wait_for(stream: Stream | None = None) -> None:
    """The host waits."""
    refuse_in_capture("the host waits")
    counters.waits += 1
    (stream or get_current_stream())._deliver()


class Event:
    """A mark in a stream. What was copied before it arrives when somebody finds it `done`, and not before."""

    slow = False  # a test may let no event be done

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.ptr, self._stream, self._at = next(_numbers), get_current_stream(), 0.0

    def record(self, stream: Stream | None = None) -> None:
        self._stream, self._at = stream or get_current_stream(), time.perf_counter()

    @property
    def done(self) -> bool:
        if Event.slow:
            return False
        self._stream._deliver()
        return True

    def synchronize(self) -> None:
        wait_for(self._stream)


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    return 1e3 * (end_event._at - start_event._at)
