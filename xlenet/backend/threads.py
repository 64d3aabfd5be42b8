"""Several threads on the CPU: each takes a part of the batch.

BLAS can split a product over threads of its own, but the products of a small network are too small for that: it gains
nothing, and beside another busy program it loses much. So BLAS keeps to one thread, and whole parts of the batch go to
threads (docs/performance.md has the figures).
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from ..errors import MissingExtraError

_helpers: ThreadPoolExecutor | None = None
_count = 1


@contextlib.contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Let kernels on the CPU work on `count` parts of a batch at once inside the ``with`` block, and BLAS on one
    thread.

    It holds for the whole process, since BLAS has one setting for all. Results do not depend on `count`, down to the
    last bit. A part is 64 images, so a batch of 64 uses one thread.

    Args:
        count: threads in all, at least 1. More than the machine's cores only wait for each other.

    Raises:
        MissingExtraError: threadpoolctl, which tells BLAS, is not installed or does not import: it comes with
            ``pip install "xlenet[train]"``.
        RuntimeError: inside another such block.
        TypeError, ValueError: no count, or one below 1.

    Example:
        >>> with use_threads(2):
        ...     thread_count()
        2
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        kind = ValueError if type(count) is int else TypeError
        raise kind(
            f"use_threads: got count {count!r}; expected a whole number from 1 up; the machine's number of cores is "
            "usual"
        )
    try:
        from threadpoolctl import threadpool_limits
    except (Exception, SystemExit) as error:  # not there, or broken
        raise MissingExtraError(
            f"use_threads: got {count} without threadpoolctl ({error}); expected it, since it tells BLAS to keep to "
            'one; pip install "xlenet[train]"'
        ) from error
    global _helpers, _count
    if _count > 1:
        raise RuntimeError(
            f"use_threads: got {count} inside use_threads({_count}); expected one; leave the other first"
        )
    # BLAS with threads of its own must never be called from several threads at once: OpenBLAS then computes wrongly.
    with threadpool_limits(1, user_api="blas"):
        if count == 1:
            yield
            return
        with ThreadPoolExecutor(count - 1, thread_name_prefix="xlenet") as _helpers:
            _count = count
            try:
                yield
            finally:
                _helpers, _count = None, 1


def thread_count() -> int:
    """Return how many parts of a batch are worked on at once."""
    return _count


def in_parts(work: Callable[[int, int], None], parts: int, threads: int | None = None) -> None:
    """Call ``work(part, thread)`` for each part, 0 ... parts - 1, on as many threads as there are to be.

    Which thread does what is fixed: thread t does the parts t, t + threads, ... one after another.

    Args:
        work: what is done with a part.
        parts: how many there are.
        threads: at most so many threads: what `thread_count` said when the caller made room for each of them. It may
            say something else by now, since another thread can enter or leave `use_threads` at any moment.
    """
    helpers = _helpers
    count = 1 if helpers is None else max(min(_count if threads is None else threads, parts), 1)

    def do(thread: int) -> None:
        for part in range(thread, parts, count):
            work(part, thread)

    if helpers is None or count == 1:
        do(0)
        return
    mine, others = [0], []
    for thread in range(1, count):
        try:
            # With the caller's context: which warnings NumPy gives is part of it.
            others.append(helpers.submit(contextvars.copy_context().run, do, thread))
        except RuntimeError:  # `use_threads` has been left meanwhile
            mine.append(thread)
    try:
        for thread in mine:
            do(thread)
    finally:
        errors = [other.exception() for other in others]  # waits: nobody may still write when we return
    for error in errors:
        if error is not None:
            raise error
