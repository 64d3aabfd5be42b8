"""An array that no NumPy function reads: it wraps one, in memory of the stand-in's own."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.fake_cupy import memory
from tests.fake_cupy.state import CUDARuntimeError, counters, settings
from tests.fake_cupy.streams import capturing, enqueue, get_current_stream, refuse_in_capture, wait_for


class ndarray:  # noqa: N801 - as CuPy's
    """As `cupy.ndarray`, with what xlenet asks of one, and less forgiving."""

    __array_ufunc__ = None  # a NumPy array on the other side of an operator is a mistake
    __hash__ = None

    def __init__(
        self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: str = "C"
    ) -> None:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        made = _allocate(shape, np.dtype(dtype))
        self._a, self._memory = made._a, made._memory

    @classmethod
    def _of(cls, raw: np.ndarray, pointer: memory.MemoryPointer) -> ndarray:
        if pointer.block.gone:
            raise CUDARuntimeError("cudaErrorIllegalAddress: the array's memory pool is gone, and its memory with it")
        array = cls.__new__(cls)
        array._a, array._memory = raw, pointer
        return array

    _a: np.ndarray
    _memory: memory.MemoryPointer

    # ==== what it is ====

    shape = property(lambda self: self._a.shape)
    dtype = property(lambda self: self._a.dtype)
    strides = property(lambda self: self._a.strides)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    nbytes = property(lambda self: self._a.nbytes)
    itemsize = property(lambda self: self._a.itemsize)
    flags = property(lambda self: self._a.flags)
    T = property(lambda self: self._view(self._a.T))
    mT = property(lambda self: self._view(self._a.mT))  # noqa: N815
    data = property(lambda self: memory.MemoryPointer(self._memory.block, self._a.ctypes.data - self._start))
    _start = property(lambda self: self._memory.block.bytes.ctypes.data)

    @property
    def device(self) -> Any:
        from tests.fake_cupy.cuda import Device

        return Device(0)

    def __len__(self) -> int:
        return len(self._a)

    def __repr__(self) -> str:
        return f"<stand-in for a cupy.ndarray {self.shape} {self.dtype}>"

    def _view(self, raw: np.ndarray) -> ndarray:
        return ndarray._of(raw, self._memory)

    # ==== to the host ====

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    def get(self, stream: Any = None, order: str = "C", out: np.ndarray | None = None, blocking: bool = True) -> Any:
        refuse_in_capture("copy to the host")
        if blocking or out is None or not memory.is_pinned(out):
            wait_for(stream)
            counters.downloads += 1
            host = np.array(self._a, order=order)
            if out is None:
                return host
            out[...] = host
            return out
        counters.late_copies += 1
        snapshot = np.array(self._a)
        out.view(np.uint8).fill(0xFF)
        (stream or get_current_stream())._late.append(lambda: np.copyto(out, snapshot))
        return out

    def item(self, *args: int) -> Any:
        return self.get().item(*args)

    def tolist(self) -> Any:
        return self.get().tolist()

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __index__(self) -> int:
        return operator.index(self.get())

    def __reduce__(self) -> Any:
        from tests.fake_cupy.functions import asarray

        return asarray, (self.get(),)

    def __deepcopy__(self, memo: Any) -> ndarray:
        return self.copy()

    # ==== indexing ====

    def __getitem__(self, key: Any) -> ndarray:
        key, advanced = _raw_key(key)
        if advanced:
            return evaluate(lambda a: a[_checked(key, a.shape)], self)
        return self._view(self._a[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        key, advanced = _raw_key(key)
        if advanced:
            raise NotImplementedError("the stand-in assigns to slices only: a[i] = v with repeated i is undefined")
        target, value = self._a[key], raw_of(value)
        np.broadcast_to(value, target.shape)  # raises now, not at replay
        enqueue(lambda: _assign(target, value))

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def fill(self, value: Any) -> None:
        self[...] = value

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        refuse_in_capture("copy from the host")
        counters.uploads += 1
        np.copyto(self._a, arr)

    # ==== copies and shapes ====

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True
    ) -> ndarray:
        if not copy and self.dtype == np.dtype(dtype):
            return self
        return evaluate(lambda a: a.astype(dtype, order=order), self, keep_order=True)

    def copy(self, order: str = "C") -> ndarray:
        return evaluate(lambda a: a.copy(order), self, keep_order=True)

    def reshape(self, *shape: Any, order: str = "C") -> ndarray:
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        return _reshape(self, tuple(shape))

    def ravel(self, order: str = "C") -> ndarray:
        return _reshape(self, (-1,))

    def flatten(self, order: str = "C") -> ndarray:
        return _reshape(self, (-1,)).copy()

    def transpose(self, *axes: Any) -> ndarray:
        return self._view(self._a.transpose(*axes))

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return self._view(self._a.swapaxes(axis1, axis2))

    def squeeze(self, axis: Any = None) -> ndarray:
        return self._view(self._a.squeeze(axis))

    def view(self, dtype: Any = None) -> ndarray:
        return self._view(self._a if dtype is None else self._a.view(dtype))

    def take(self, indices: Any, axis: int | None = None, out: Any = None) -> ndarray:
        from tests.fake_cupy.functions import take

        return take(self, indices, axis, out)


ndarray.__module__ = "cupy"
ndarray.__qualname__ = "ndarray"


def _reduction(name: str) -> Callable[..., ndarray]:
    def reduce(self: ndarray, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return evaluate(getattr(np, name), self, out=out, axis=axis, keepdims=keepdims)

    return reduce


for _name in ("sum", "mean", "max", "min", "argmax", "argmin", "any", "all", "prod", "var", "std"):
    setattr(ndarray, _name, _reduction(_name))


def _operator(function: Callable[..., Any], *, swapped: bool = False) -> Callable[[ndarray, Any], Any]:
    def apply(self: ndarray, other: Any) -> Any:
        if not _is_operand(other):
            return NotImplemented
        return evaluate(function, *((other, self) if swapped else (self, other)))

    return apply


def _in_place(function: Callable[..., Any]) -> Callable[[ndarray, Any], Any]:
    def apply(self: ndarray, other: Any) -> Any:
        if not _is_operand(other):
            return NotImplemented
        return evaluate(function, self, other, out=self)

    return apply


_OPERATORS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "lshift": np.left_shift, "rshift": np.right_shift,
}  # fmt: skip
for _name, _function in _OPERATORS.items():
    setattr(ndarray, f"__{_name}__", _operator(_function))
    setattr(ndarray, f"__r{_name}__", _operator(_function, swapped=True))
    setattr(ndarray, f"__i{_name}__", _in_place(_function))
for _name, _function in {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _operator(_function))
ndarray.__hash__ = None
for _name, _function in {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}.items():
    setattr(ndarray, f"__{_name}__", lambda self, function=_function: evaluate(function, self))
ndarray.__matmul__ = lambda self, other: evaluate_blas(np.matmul, self, other)
ndarray.__rmatmul__ = lambda self, other: evaluate_blas(np.matmul, other, self)


# ==== how anything is computed ====


def raw_of(value: Any) -> Any:
    """What NumPy computes with: the wrapped array, or the number itself."""
    if isinstance(value, ndarray):
        return value._a
    if isinstance(value, list | tuple):
        return type(value)(raw_of(each) for each in value)
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return value


def _is_operand(value: Any) -> bool:
    return isinstance(value, ndarray | np.generic | int | float | complex)


def evaluate(
    function: Callable[..., Any], *args: Any, out: ndarray | None = None, keep_order: bool = False, **kwargs: Any
) -> ndarray:
    """Compute ``function(*args)`` into `out` or a new array, now or whenever the graph is launched.

    While capturing, NumPy computes once with whatever lies in the arguments: only shape and type of that are used.
    """
    raw = [raw_of(a) for a in args]
    into = None if out is None else out._a

    def compute() -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(function(*raw, **kwargs))

    if into is None:
        found = compute()
        result = _allocate(found.shape, found.dtype, like=found if keep_order else None)
        target = result._a
        if capturing():
            enqueue(lambda: _assign(target, compute()))
        else:
            enqueue(lambda: _assign(target, found))
        return result
    if capturing():
        _check_fits(compute(), into)
    enqueue(lambda: _assign(into, _check_fits(compute(), into)))
    return out


def evaluate_blas(function: Callable[..., Any], *args: Any, **kwargs: Any) -> ndarray:
    """What CuPy hands to cuBLAS, which it refuses to capture."""
    if capturing() and not settings.cublas_can_be_captured:
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    return evaluate(function, *args, **kwargs)


def _check_fits(found: np.ndarray, into: np.ndarray) -> np.ndarray:
    if found.shape != into.shape:
        raise ValueError(f"output array has shape {into.shape}, the result {found.shape}")
    if not np.can_cast(found.dtype, into.dtype, "same_kind"):
        raise TypeError(f"Cannot cast {found.dtype} to {into.dtype} by the rule 'same_kind'")
    return found


def _assign(target: np.ndarray, value: Any) -> None:
    with np.errstate(all="ignore"):
        np.copyto(target, value, casting="unsafe")


def _allocate(shape: tuple[int, ...], dtype: np.dtype, like: np.ndarray | None = None) -> ndarray:
    """C order, as CuPy's results have, or the memory order of `like`."""
    size = math.prod(shape)
    pointer = memory.alloc(max(size * dtype.itemsize, 1))
    flat = pointer.block.bytes[: size * dtype.itemsize].view(dtype)
    if like is None or size == 0:
        return ndarray._of(flat.reshape(shape), pointer)
    last = sum((n - 1) * stride for n, stride in zip(shape, like.strides, strict=True))
    assert min(like.strides, default=0) >= 0, "memory from its start on"
    assert last + dtype.itemsize == size * dtype.itemsize, "memory without gaps"
    return ndarray._of(np.lib.stride_tricks.as_strided(flat, shape, like.strides), pointer)


def _reshape(x: ndarray, shape: tuple[int, ...]) -> ndarray:
    """A view where the memory allows one, else a copy."""
    reshaped = x._a.reshape(shape)
    if np.shares_memory(reshaped, x._a) or x.size == 0:
        return x._view(reshaped)
    return evaluate(lambda a: a.reshape(shape), x)


def _raw_key(key: Any) -> tuple[tuple[Any, ...], bool]:
    """The key for NumPy, and whether it copies (integer arrays) or only looks (slices and numbers)."""
    parts = key if isinstance(key, tuple) else (key,)
    advanced = False
    for part in parts:
        if isinstance(part, ndarray):
            if part.dtype.kind not in "iu":
                raise NotImplementedError("the stand-in takes no masks: each would wait for the device")
            advanced = True
        elif not (part is None or part is Ellipsis or isinstance(part, slice | int | np.integer)):
            raise IndexError(f"the stand-in takes no {type(part).__name__} as an index")
    raw = tuple(raw_of(part) for part in parts)
    return (raw if any(part is Ellipsis for part in parts) else (*raw, Ellipsis)), advanced


def _checked(key: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Positions out of range wrap silently on a GPU: here they are an error. (While recording they are not known.)"""
    if any(part is None or part is Ellipsis for part in key[:-1]):
        raise NotImplementedError("the stand-in takes integer arrays with slices before and after them only")
    if not capturing():
        return key
    return tuple(part % shape[i] if isinstance(part, np.ndarray) else part for i, part in enumerate(key))
