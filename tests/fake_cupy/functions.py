"""The functions of the module `cupy`, with CuPy's names and arguments, computed by NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.fake_cupy import memory
from tests.fake_cupy.array import _allocate, _assign, _is_operand, _reshape, evaluate, evaluate_blas, ndarray, raw_of
from tests.fake_cupy.state import counters
from tests.fake_cupy.streams import capturing, enqueue, refuse_in_capture

# ==== element by element ====

UFUNCS = [
    "abs", "absolute", "add", "bitwise_and", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil", "cos",
    "divide", "equal", "exp", "expm1", "floor", "floor_divide", "fmax", "fmin", "greater", "greater_equal", "invert",
    "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log10", "log1p", "log2", "logical_and", "logical_not",
    "logical_or", "logical_xor", "maximum", "minimum", "multiply", "negative", "not_equal", "positive", "power",
    "reciprocal", "remainder", "rint", "sign", "sin", "sqrt", "square", "subtract", "tanh", "true_divide",
]  # fmt: skip


def _ufunc(name: str) -> Callable[..., ndarray]:
    function = getattr(np, name)

    def call(*args: Any, out: Any = None, dtype: Any = None, casting: str = "same_kind") -> ndarray:
        if len(args) == function.nin + 1:
            *args, out = args
        if len(args) != function.nin or not all(_is_operand(a) for a in args):
            raise TypeError(f"Unsupported type {[type(a) for a in args]} for {name}")
        return evaluate(function, *args, out=_only(out), **({} if dtype is None else {"dtype": dtype}))

    call.__name__ = name
    return call


def _only(out: Any) -> Any:
    return out[0] if isinstance(out, tuple) else out


def where(condition: Any, x: Any = None, y: Any = None) -> ndarray:
    if x is None or y is None:
        raise NotImplementedError("the stand-in's where takes three arguments: the other would wait for the device")
    return evaluate(np.where, condition, x, y)


def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None) -> ndarray:
    return evaluate(np.clip, a, a_min, a_max, out=out)


# ==== along axes ====

REDUCTIONS = ["all", "amax", "amin", "any", "argmax", "argmin", "max", "mean", "min", "prod", "sum"]


def _reduction(name: str) -> Callable[..., ndarray]:
    function = getattr(np, name)

    def call(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        given = {} if dtype is None else {"dtype": dtype}
        return evaluate(function, _array(a), out=out, axis=axis, keepdims=keepdims, **given)

    def plain(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return call(a, axis, None, out, keepdims)

    return call if name in ("mean", "prod", "sum") else plain


def var(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: int = 0, keepdims: bool = False) -> ndarray:
    return evaluate(np.var, _array(a), out=out, axis=axis, ddof=ddof, keepdims=keepdims)


def std(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: int = 0, keepdims: bool = False) -> ndarray:
    return evaluate(np.std, _array(a), out=out, axis=axis, ddof=ddof, keepdims=keepdims)


def take(a: Any, indices: Any, axis: int | None = None, out: Any = None) -> ndarray:
    """Positions out of range are an error, where CuPy's wrap silently. (While recording they are not known yet.)"""

    def look_up(a: np.ndarray, indices: np.ndarray) -> np.ndarray:
        return np.take(a, indices, axis=axis, mode="wrap" if capturing() else "raise")

    return evaluate(look_up, _array(a), indices, out=out)


def _array(a: Any) -> ndarray:
    if not isinstance(a, ndarray):
        raise TypeError(f"Unsupported type {type(a)}")
    return a


# ==== products: cuBLAS ====


def matmul(x1: Any, x2: Any, out: Any = None) -> ndarray:
    return evaluate_blas(np.matmul, _array(x1), _array(x2), out=out)


def dot(a: Any, b: Any, out: Any = None) -> ndarray:
    return evaluate_blas(np.dot, _array(a), _array(b), out=out)


def tensordot(a: Any, b: Any, axes: Any = 2) -> ndarray:
    return evaluate_blas(np.tensordot, _array(a), _array(b), axes=axes)


# ==== new arrays ====


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(shape, dtype)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 1, dtype)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    made = ndarray(shape, np.asarray(fill_value).dtype if dtype is None else dtype)
    made[...] = fill_value
    return made


def empty_like(prototype: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    if shape is not None:
        return empty(shape, prototype.dtype if dtype is None else dtype)
    like = np.empty_like(prototype._a, dtype=dtype)
    return _allocate(like.shape, like.dtype, like=like)


def zeros_like(a: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    made = empty_like(a, dtype, shape=shape)
    made[...] = 0
    return made


def ones_like(a: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    made = empty_like(a, dtype, shape=shape)
    made[...] = 1
    return made


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    first, last = (0, start) if stop is None else (start, stop)
    return evaluate(lambda: np.arange(first, last, step, dtype=dtype))


def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, copy: bool | None = None, blocking: bool = False
) -> ndarray:
    if isinstance(a, ndarray):
        if copy:
            return a.astype(dtype or a.dtype, copy=True)
        return a if dtype is None or a.dtype == np.dtype(dtype) else a.astype(dtype)
    host = np.asarray(a, dtype=dtype)
    if host.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {host.dtype}")
    refuse_in_capture("copy from the host")
    counters.uploads += 1
    made = _allocate(host.shape, host.dtype, like=np.empty_like(host))  # without gaps, in the memory order of `host`
    np.copyto(made._a, host)
    return made


def array(obj: Any, dtype: Any = None, copy: bool = True, order: str = "K", *, blocking: bool = False) -> ndarray:
    made = asarray(obj, dtype)
    return made.copy() if made is obj and copy else made


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    a = asarray(a, dtype)
    return a if a.flags.c_contiguous else a.copy()


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> np.ndarray:
    return a.get(stream, order, out, blocking) if isinstance(a, ndarray) else np.asarray(a)


# ==== copies and shapes ====


def astype(x: Any, dtype: Any, /, *, copy: bool = True) -> ndarray:
    return _array(x).astype(dtype, copy=copy)


def copy(a: Any, order: str = "K") -> ndarray:
    return _array(a).copy(order)


def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    if where is not None:
        raise NotImplementedError("the stand-in's copyto takes no where=")
    target, value = dst._a, raw_of(src)
    enqueue(lambda: _assign(target, value))


def reshape(a: Any, newshape: Any, order: str = "C") -> ndarray:
    return _reshape(_array(a), newshape if isinstance(newshape, tuple) else (newshape,))


def _viewing(name: str) -> Callable[..., ndarray]:
    function = getattr(np, name)

    def call(a: Any, *args: Any, **kwargs: Any) -> ndarray:
        raw = function(_array(a)._a, *args, **kwargs)
        return a._view(raw)

    return call


VIEWS = ["broadcast_to", "expand_dims", "flip", "moveaxis", "permute_dims", "squeeze", "swapaxes", "transpose"]


def concatenate(tup: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> ndarray:
    raw = [raw_of(_array(a)) for a in tup]
    return evaluate(lambda: np.concatenate(raw, axis=axis), out=out)


def stack(tup: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> ndarray:
    raw = [raw_of(_array(a)) for a in tup]
    return evaluate(lambda: np.stack(raw, axis=axis), out=out)


def ravel(a: Any, order: str = "C") -> ndarray:
    return _reshape(_array(a), (-1,))


def shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    return np.shares_memory(a._a, b._a)


def may_share_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    return np.may_share_memory(a._a, b._a)


# ==== types ====

TYPES = [
    "bool_", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip
FROM_NUMPY = ["dtype", "iinfo", "finfo", "isdtype", "can_cast", "promote_types", "newaxis", "pi", "inf", "nan"]


def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    return np.result_type(*(raw_of(each) for each in arrays_and_dtypes))


def everything() -> dict[str, Any]:
    """The names of the module, without `cuda`."""
    named = [
        "arange", "array", "asarray", "ascontiguousarray", "asnumpy", "astype", "clip", "concatenate", "copy", "copyto",
        "dot", "empty", "empty_like", "full", "may_share_memory", "matmul", "ndarray", "ones", "ones_like", "ravel",
        "reshape", "result_type", "shares_memory", "stack", "std", "take", "tensordot", "var", "where", "zeros",
        "zeros_like",
    ]  # fmt: skip
    names = {name: globals()[name] for name in named}
    names |= {name: _ufunc(name) for name in UFUNCS} | {name: _reduction(name) for name in REDUCTIONS}
    names |= {name: _viewing(name) for name in VIEWS} | {name: getattr(np, name) for name in (*TYPES, *FROM_NUMPY)}
    names |= {"concat": concatenate, "bool": np.bool_, "get_default_memory_pool": memory.get_default_memory_pool}
    return names
