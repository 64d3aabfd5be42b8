"""Memory as a GPU's pool hands it out: what was freed is soon somebody else's, and full of rubbish at once.

Fresh and freed memory is filled with bytes of ones: NaN as a float, -1 as a signed integer. A graph that reads an array
which nobody kept therefore computes with NaN, where a real one would compute with whatever came after. An array
whose pool is gone is an error: CuPy's arrays do not keep it, and it gives all its memory back to the driver.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.fake_cupy.state import CUDARuntimeError

_RUBBISH = 0xFF
_UNIT = 512  # bytes: CuPy's pool rounds up to them and aligns by them


class Block:
    """A piece of the device's memory."""

    def __init__(self, size: int) -> None:
        room = np.empty(size + _UNIT, np.uint8)
        start = -room.ctypes.data % _UNIT
        self.bytes = room[start : start + size]
        self.size = size
        self.gone = False
        self.spoil()

    def spoil(self) -> None:
        self.bytes.fill(_RUBBISH)


class _Shelf:
    """The blocks of a pool: those that nobody uses, by stream and size, and those in use. Outlives the pool."""

    def __init__(self) -> None:
        self.free: dict[tuple[int, int], list[Block]] = {}
        self.in_use: dict[int, Block] = {}

    def drop(self) -> None:
        for block in itertools.chain(*self.free.values()):
            block.spoil()
        self.free.clear()

    def drop_all(self) -> None:
        self.drop()
        for block in self.in_use.values():
            block.gone = True


class MemoryPointer:
    """Where an array's memory begins. The memory goes back when the last array that holds the pointer is gone."""

    def __init__(self, block: Block, offset: int = 0) -> None:
        self.block, self.ptr = block, block.bytes.ctypes.data + offset


def current_stream_ptr() -> int:
    from tests.fake_cupy.streams import get_current_stream

    return get_current_stream().ptr


class MemoryPool:
    """A pool that keeps what is freed and hands it out again, the newest first, to the same stream."""

    def __init__(self, allocator: Any = None) -> None:
        self._shelf, self._used, self._total = _Shelf(), 0, 0
        weakref.finalize(self, self._shelf.drop_all)

    def malloc(self, size: int) -> MemoryPointer:
        size = -(-size // _UNIT) * _UNIT
        key = (current_stream_ptr(), size)
        shelf = self._shelf.free.get(key)
        if shelf:
            block = shelf.pop()
        else:
            block = Block(size)
            self._total += size
        self._used += size
        self._shelf.in_use[id(block)] = block
        pointer = MemoryPointer(block)
        weakref.finalize(pointer, _take_back, weakref.ref(self), key, block)
        return pointer

    def used_bytes(self) -> int:
        return self._used

    def total_bytes(self) -> int:
        return self._total

    def free_bytes(self) -> int:
        return self._total - self._used

    def n_free_blocks(self) -> int:
        return sum(map(len, self._shelf.free.values()))

    def free_all_blocks(self, stream: Any = None) -> None:
        self._total = self._used
        self._shelf.drop()


def _take_back(pool: weakref.ref[MemoryPool], key: tuple[int, int], block: Block) -> None:
    block.spoil()
    home = pool()
    if home is not None:
        home._used -= block.size
        del home._shelf.in_use[id(block)]
        home._shelf.free.setdefault(key, []).append(block)


_default_pool = MemoryPool()
_local = threading.local()


def get_default_memory_pool() -> MemoryPool:
    return _default_pool


def get_allocator() -> Callable[[int], MemoryPointer]:
    return getattr(_local, "allocator", None) or _default_pool.malloc


def alloc(size: int) -> MemoryPointer:
    return get_allocator()(size)


@contextlib.contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> Iterator[None]:
    before = getattr(_local, "allocator", None)
    _local.allocator = allocator
    try:
        yield
    finally:
        _local.allocator = before


# ==== memory of the host that the device reaches by itself ====


class PinnedMemoryPointer(bytearray):
    """Page-locked memory of the host."""


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    return PinnedMemoryPointer(b"\xff" * size)


class PinnedMemoryPool:
    def __init__(self, allocator: Any = None) -> None:
        pass

    def malloc(self, size: int) -> PinnedMemoryPointer:
        return alloc_pinned_memory(size)


def is_pinned(host: np.ndarray) -> bool:
    base: Any = host
    while base is not None:
        if isinstance(base, PinnedMemoryPointer):
            return True
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    return False


def out_of_memory(size: int) -> CUDARuntimeError:
    return CUDARuntimeError(f"cudaErrorMemoryAllocation: out of memory ({size} bytes)")
