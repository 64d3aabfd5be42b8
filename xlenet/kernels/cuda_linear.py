"""Fully connected layers, with and without the ReLU behind them, by CUDA kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..backend import Array, batch_first
from ..checks import check_gradient
from ..workspace import Workspace, new
from .cuda_launch import (
    are_real,
    brought,
    group,
    is_small,
    launch,
    place_for,
    rounded_up,
    with_batch_last,
    without_gaps,
)

_THREADS = 256
_COLUMNS = 32  # of the batch, to a block
_ROWS = (8, 4, 2, 1)  # to a block that makes a product
_SIDE = 16  # of a block's part of dweight: SIDE in the source

Gradients = tuple[Array | None, Array | None, Array | None]
Out = tuple[Array, Array | None] | None


class Cache(NamedTuple):
    """What backward reads."""

    x: Array  # (IN, N)
    weight: Array  # (OUT, IN)
    y: Array  # (OUT, N)
    has_bias: bool
    relu: bool


def linear_forward(x: Array, weight: Array, bias: Array | None = None, *, work: Workspace | None = None) -> Any:
    """See `xlenet.functional.linear.forward`."""
    return _forward(x, weight, bias, False, work)


def linear_relu_forward(x: Array, weight: Array, bias: Array | None = None, *, work: Workspace | None = None) -> Any:
    """See `xlenet.functional.linear_relu.forward`."""
    return _forward(x, weight, bias, True, work)


def linear_backward(
    dy: Array,
    cache: Any,
    *,
    need_dx: bool = True,
    need_dweight: bool = True,
    out: Out = None,
    work: Workspace | None = None,
) -> Any:
    """See `xlenet.functional.linear.backward`."""
    if not isinstance(cache, Cache) or cache.relu:
        return NotImplemented
    return _backward("linear", dy, cache, need_dx, need_dweight, out, work)


def linear_relu_backward(
    dy: Array,
    cache: Any,
    *,
    need_dx: bool = True,
    need_dweight: bool = True,
    out: Out = None,
    work: Workspace | None = None,
) -> Any:
    """See `xlenet.functional.linear_relu.backward`."""
    if not isinstance(cache, Cache) or not cache.relu:
        return NotImplemented
    return _backward("relu", dy, cache, need_dx, need_dweight, out, work)


def _forward(x: Array, weight: Array, bias: Array | None, relu: bool, work: Workspace | None) -> Any:
    if not are_real(x, weight, or_none=bias) or x.ndim != 2 or weight.ndim != 2 or weight.shape[1] != x.shape[1]:
        return NotImplemented
    if not is_small(x.shape[0] * weight.shape[0]) or (bias is not None and bias.shape != weight.shape[:1]):
        return NotImplemented
    y, cache = forward(with_batch_last(x, work), without_gaps(weight, work), bias, relu, work)
    return batch_first(y), cache


def _backward(
    operation: str, dy: Array, cache: Cache, need_dx: bool, need_dweight: bool, out: Out, work: Workspace | None
) -> Any:
    check_gradient(operation, dy, (cache.y.shape[1], cache.y.shape[0]), cache.weight)
    dx, dweight, dbias = backward(with_batch_last(dy, work), cache, need_dx, need_dweight, out, work)
    return None if dx is None else batch_first(dx), dweight, dbias


# ==== in the kernels' own memory order: x (IN, N), y (OUT, N) ====


def forward(x: Array, weight: Array, bias: Array | None, relu: bool, work: Workspace | None) -> tuple[Array, Cache]:
    """Return y and the cache."""
    (in_, n), out = x.shape, weight.shape[0]
    y = new((out, n), like=x, work=work)
    tiles = rounded_up(n, _COLUMNS)
    g = group(out, tiles, _ROWS)
    launch(
        "linear", "linear_forward", rounded_up(out, g) * tiles, _THREADS,
        x, weight, weight if bias is None else without_gaps(bias, work), y, bias is not None, in_, out, n, relu,
        like=x, defines=("-DFORWARD", f"-DGROUP={g}"),
    )  # fmt: skip
    return y, Cache(x, weight, y, bias is not None, relu)


def backward(dy: Array, cache: Cache, need_dx: bool, need_dweight: bool, out: Out, work: Workspace | None) -> Gradients:
    """Return dx (IN, N), dweight and dbias, all of them by one launch."""
    x, weight, y, has_bias, relu = cache
    (in_, n), outputs = x.shape, weight.shape[0]
    if not (need_dx or need_dweight):
        return None, None, None
    dx = new(x.shape, like=x, work=work) if need_dx else None
    dweight, dbias = targets(weight, has_bias, out, work) if need_dweight else (None, None)
    weight_blocks = 0 if dweight is None else rounded_up(outputs, _SIDE) * rounded_up(in_, _SIDE)
    bias_blocks = 0 if dbias is None else rounded_up(outputs, _THREADS // 32)
    tiles = rounded_up(n, _COLUMNS)
    g = group(in_, tiles, _ROWS)
    launch(
        "linear", "linear_backward",
        weight_blocks + bias_blocks + (rounded_up(in_, g) * tiles if need_dx else 0), _THREADS,
        x, weight, dy, y, *(y if result is None else result for result in (dx, dweight, dbias)),
        weight_blocks, bias_blocks, in_, outputs, n, relu,
        like=x, defines=("-DBACKWARD", f"-DGROUP={g}"),
    )  # fmt: skip
    return dx, *brought_to(out, dweight, dbias)


def targets(
    weight: Array, has_bias: bool, out: tuple[Array | None, Array | None] | None, work: Workspace | None
) -> tuple[Array, Array | None]:
    """Return where kernels write dweight and dbias: what the caller gave where they can, else new arrays."""
    to_weight, to_bias = (None, None) if out is None else out
    dweight = place_for(to_weight, weight.shape, weight, work)
    return dweight, place_for(to_bias, weight.shape[:1], weight, work) if has_bias else None


def brought_to(out: Any, *results: Array | None) -> Any:
    """Return the results where the caller wants them; None is passed over."""
    if out is None:
        return results
    return tuple(r if r is None else brought(r, given) for r, given in zip(results, out, strict=True))
