"""From a CUDA source to a kernel that runs: read, compiled once, launched; and what all launches have in common."""

from __future__ import annotations

import functools
import importlib.resources
from typing import Any

import numpy as np

from ..backend import Array, batch_last, library_of, namespace_of, put
from ..backend.gpu import cannot_compute, is_out_of_memory, is_part_absent
from ..errors import BackendError
from ..workspace import Workspace, new

# The kernels index with ints, and round sizes up to whole blocks.
_LARGEST = 2**31 - 2**20

# What a launch aims at, where there is so much to do: some blocks for each multiprocessor of a large GPU.
ENOUGH_BLOCKS = 100
MANY_BLOCKS = 264


def launch(
    source: str, name: str, blocks: int, threads: int, *args: Any, like: Array, defines: tuple[str, ...] = ()
) -> None:
    """Run a kernel in the current stream.

    Args:
        source: the file in ``cuda/`` without its ending.
        name: the kernel in it.
        blocks: how many.
        threads: in each.
        *args: arrays, and numbers: an int is passed as a C int, a float as a REAL, a NumPy scalar as it is.
        like: an array that says what REAL is, and where to run.
        defines: more of the source's compile-time options.
    """
    real = like.dtype.type
    kernel = _kernel(source, name, (f"-DREAL={_C_NAMES[real]}", *defines), library_of(like), like.device.id)
    kernel((blocks,), (threads,), tuple(_as_c(arg, real) for arg in args))


_C_NAMES = {np.float32: "float", np.float64: "double"}


def _as_c(arg: Any, real: Any) -> Any:
    if isinstance(arg, np.generic):
        return arg
    if isinstance(arg, int):  # a bool too
        return np.int32(arg)
    return real(arg) if isinstance(arg, float) else arg


@functools.cache
def _kernel(source: str, name: str, options: tuple[str, ...], library: Any, device: int) -> Any:
    try:
        return _module(source, options, library, device).get_function(name)
    except Exception as error:  # of the compiler, of the driver, or of headers that are not there
        if is_out_of_memory(error):
            raise
        if is_part_absent(error):
            raise cannot_compute(library, f"cupy:{device}", error) from error
        raise BackendError(
            f"kernel {name}: got {type(error).__name__} while compiling {source}.cu for GPU {device} ({error}); "
            "expected CUDA's run-time compiler to take it; XLENET_KERNELS=off computes without kernels"
        ) from error


@functools.cache
def _module(source: str, options: tuple[str, ...], library: Any, device: int) -> Any:
    """Compile a source for the current GPU, `device`."""
    return library.RawModule(code=text_of(source), options=("-std=c++17", *options))


def text_of(source: str) -> str:
    """Return the text of a source with the common part in front, as it is compiled."""
    folder = importlib.resources.files(__package__) / "cuda"
    return "".join((folder / f"{part}.cu").read_text(encoding="utf-8") for part in ("common", source))


# ==== what kernels can take ====


def are_real(*arrays: Any, or_none: Any = None) -> bool:
    """Return whether `arrays` are arrays of one library, on the current GPU, and of one floating type that kernels are
    written for, none too large; `or_none` may also be None. Of what is anything else, the portable function says what
    is wrong with it.
    """
    given = arrays if or_none is None else (*arrays, or_none)
    if any(array is None for array in given):
        return False
    try:
        namespace_of(*given)
    except TypeError:
        return False
    return all(a.dtype in (np.float32, np.float64) and a.dtype == given[0].dtype and is_small(a.size) for a in given)


def are_integers(*arrays: Any) -> bool:
    """Return whether `arrays` are int64 and lie in memory without gaps."""
    return all(getattr(a, "dtype", None) == np.int64 and a.flags.c_contiguous and is_small(a.size) for a in arrays)


def is_within(value: Any, low: float, high: float) -> bool:
    """Return whether `value` is a number from `low` up to `high`: True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def is_small(size: int) -> bool:
    """Return whether so many numbers, but at least one, can be indexed."""
    return 0 < size <= _LARGEST


# ==== memory ====


def place_for(out: Array | None, shape: tuple[int, ...], like: Array, work: Workspace | None) -> Array:
    """Return where a kernel writes a result of `shape`: into `out` where it can, since kernels know no gaps."""
    if out is None or type(out) is not type(like) or not out.flags.c_contiguous:
        return new(shape, like=like, work=work)
    fits = out.dtype == like.dtype and tuple(out.shape) == tuple(shape)
    return out if fits else new(shape, like=like, work=work)


def brought(result: Array, out: Array | None) -> Array:
    """Return `out` with the `result` that `place_for` made room for, or the `result` where no `out` was given."""
    return result if result is out else put(result, out)


def with_batch_last(x: Array, work: Workspace | None) -> Array:
    """Return `x` (N, ...) as (..., N) without gaps: a view where it lies so, else a copy."""
    return without_gaps(batch_last(x), work)


def without_gaps(x: Array, work: Workspace | None = None) -> Array:
    """Return `x` C-contiguous: itself where it is."""
    if x.flags.c_contiguous:
        return x
    copied = new(x.shape, like=x, work=work)
    copied[...] = x
    return copied


# ==== sizes ====


def rounded_up(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


def cut(size: int, parts: int, unit: int) -> tuple[int, int]:
    """Cut `size` into about `parts`, each a multiple of `unit` but for the last: return their length and number."""
    length = rounded_up(size, unit * max(parts, 1)) * unit
    return length, rounded_up(size, length)


def group(count: int, blocks: int, sizes: tuple[int, ...]) -> int:
    """Return how many of `count` filters (or channels, or rows) a thread takes at a time: the cheapest of `sizes` that
    leaves enough to do for all multiprocessors, where each group costs `blocks` blocks; else 1.
    """

    def cost(size: int) -> int:
        # What a group reads is worth about as much as one more filter; the last group may be partly empty.
        return rounded_up(count, size) * (size + 1)

    enough = (size for size in sizes if rounded_up(count, size) * blocks >= ENOUGH_BLOCKS)
    return min(enough, key=cost, default=1)
