"""Arrays of other libraries, taken and given back without a copy.

Which libraries these are is not known here. A foreign array is one that lends its memory by DLPack, as those of PyTorch
and JAX do, and the way back is the ``from_dlpack`` of the library that it came from, which its type names: whoever
holds such an array has imported that library.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..errors import BackendError
from .choice import resolve_backend
from .gpu import in_a_line
from .libraries import LIBRARIES, Array, kind_of, library_of, on_device_of

# Kinds of memory, by DLPack's numbers: the host's, pinned or not; a GPU's, or managed by its driver.
_ON_HOST, _ON_GPU = (1, 3), (2, 13)


def is_foreign(x: Any) -> bool:
    """Return whether `x` is an array of a library that layers do not compute with, but whose memory they can borrow.

    Example:
        >>> import numpy as np
        >>> is_foreign(np.zeros(2)), is_foreign([1.0])
        (False, False)
    """
    kind = type(x)
    return kind is not np.ndarray and _lends(kind)  # type: ignore[arg-type]  # mypy #14727


@functools.cache
def _lends(kind: type) -> bool:
    ours = issubclass(kind, np.ndarray | np.generic) or kind.__module__.partition(".")[0] in LIBRARIES
    return not ours and hasattr(kind, "__dlpack__")


def borrow(x: Any, *, operation: str = "borrow", name: str = "x") -> Array:
    """Return a view of another library's array, such as a tensor of PyTorch's or an array of JAX's: the same memory.

    What lies on the host is NumPy's then, and what lies on an NVIDIA GPU is CuPy's, on the same GPU, from where CuPy's
    current stream has waited for what the other library was asked for. The view keeps the memory alive.

    Args:
        x: an array of any library that speaks DLPack; one of NumPy or CuPy is returned as it is.
        operation: how an error begins.
        name: what an error calls `x`.

    Returns:
        A view with the shape, strides and type of `x`. It may be read-only: JAX's arrays never change. (Only a tensor
        that PyTorch has yet to change the sign of is copied.)

    Raises:
        TypeError: `x` is no array; a gradient is being recorded for it, which would be lost; it has a type that NumPy
            has not, such as bfloat16; or it is not numbers in memory: sparse, without data, or being traced by a
            compiler.
        BackendError: it lies on a GPU, and CuPy cannot be used here.

    Example:
        >>> import numpy as np
        >>> class OfAnotherLibrary:
        ...     def __init__(self, numbers):
        ...         self._numbers = numbers
        ...
        ...     def __dlpack__(self, **options):
        ...         return self._numbers.__dlpack__(**options)
        ...
        ...     def __dlpack_device__(self):
        ...         return self._numbers.__dlpack_device__()
        >>> numbers = np.arange(3.0)
        >>> view = borrow(OfAnotherLibrary(numbers))
        >>> view, np.shares_memory(view, numbers)
        (array([0., 1., 2.]), True)
    """
    if not is_foreign(x):
        _check_ours(operation, name, x, _OR_ANOTHER)
        return x
    if not hasattr(type(x), "__dlpack_device__"):  # as JAX's tracers: all that arrays have but a place
        raise TypeError(
            f"{operation}: got {name}, {kind_of(x)}, which is being traced and has no numbers yet; expected an array; "
            "let jax.pure_callback call the layer, as docs/interop.md does"
        )
    lender = _without_gradient(x, operation, name)
    try:
        lender = getattr(lender, "resolve_neg", lambda: lender)()  # PyTorch lends the wrong sign, and says nothing
        memory, _ = lender.__dlpack_device__()
        if memory in _ON_HOST:
            return np.from_dlpack(lender)
        if memory in _ON_GPU:
            return resolve_backend("cupy").xp.from_dlpack(lender)
        raise BufferError(f"memory of DLPack's kind {int(memory)}")
    except BackendError:
        raise
    except Exception as error:  # of the other library's own kind
        raise TypeError(
            f"{operation}: got {name}, {kind_of(x)} of {getattr(x, 'dtype', 'no type')} that cannot be lent "
            f"({in_a_line(error)}); expected dense numbers of a type that NumPy has, in the memory of the CPU or of an "
            "NVIDIA GPU; convert it first"
        ) from error


def _without_gradient(x: Any, operation: str, name: str) -> Any:
    """Return `x` as an array that no gradient is recorded for, having checked that none is lost by that."""
    libraries = _libraries(x)
    if any(_carries_derivative(library, x) for library in libraries):
        _refuse_to_lose("a forward-mode derivative", x, operation, name)
    if not getattr(x, "requires_grad", False):
        return x
    recording = [library.is_grad_enabled() for library in libraries if hasattr(library, "is_grad_enabled")]
    if any(recording) or not recording:
        _refuse_to_lose("requires_grad=True", x, operation, name)
    return x.detach()


def _carries_derivative(library: Any, x: Any) -> bool:
    forward_mode = getattr(getattr(library, "autograd", None), "forward_ad", None)
    return forward_mode is not None and forward_mode.unpack_dual(x).tangent is not None


def _refuse_to_lose(what: str, x: Any, operation: str, name: str) -> NoReturn:
    raise TypeError(
        f"{operation}: got {name}, {kind_of(x)} with {what}; expected one for which no gradient is recorded: it would "
        f"be lost; pass {name}.detach(), compute under torch.no_grad(), or make an autograd.Function of it, as "
        "docs/interop.md does"
    )


def give_back(y: Array, *, like: Any) -> Any:
    """Return an array of NumPy's or CuPy's as one of the library of `like`: the same memory, where that library takes
    it.

    Copied is what it does not take: PyTorch, negative strides; JAX, what does not begin at a multiple of 64 bytes, or
    has gaps. (And JAX without ``jax_enable_x64`` makes float32 of float64, as it does everywhere.)

    Args:
        y: stays where it is, on the host or on its GPU.
        like: an array of any library that speaks DLPack; where it is one of NumPy or CuPy, `y` is returned as it is.

    Raises:
        TypeError: `y` or `like` is no array, both are of NumPy and CuPy but not of the same, or the other library does
            not take arrays of this type.

    Example:
        >>> import numpy as np
        >>> y = np.zeros(2)
        >>> give_back(y, like=np.zeros(3)) is y
        True
    """
    _check_ours("give_back", "y", y)
    if not is_foreign(like):
        _check_ours("give_back", "like", like, _OR_ANOTHER)
        if library_of(y) is not library_of(like):
            raise TypeError(
                f"give_back: got y of {library_of(y).__name__} and like of {library_of(like).__name__}; expected one "
                "library; move y with xlenet.to_device(y, like=like) or xlenet.to_host(y)"
            )
        return y
    return hand_over(y, home_of(like), like)


_OR_ANOTHER = ", or of a library that speaks DLPack"


def _check_ours(operation: str, name: str, array: Any, other: str = "") -> None:
    try:
        library_of(array)
    except TypeError:
        raise TypeError(
            f"{operation}: got {name}, {kind_of(array)}; expected an array of NumPy or CuPy{other}; convert it first, "
            "for example with numpy.asarray"
        ) from None


def home_of(x: Any) -> Callable[[Array], Any]:
    """Return the function that makes arrays of the library of the foreign array `x` of others'."""
    for library in _libraries(x):
        if hasattr(library, "from_dlpack"):
            way: Callable[[Array], Any] = library.from_dlpack
            return way
    raise TypeError(
        f"give_back: got like, {kind_of(x)}, whose library has no from_dlpack; expected an array of one that has it; "
        "call the layer on xlenet.interop.borrow(x), which gives arrays of NumPy or CuPy"
    )


def _libraries(x: Any) -> list[Any]:
    """Return the modules that may be the library of `x`: what it says itself, else what its types were defined in."""
    if hasattr(type(x), "__array_namespace__"):
        return [x.__array_namespace__()]
    modules = (sys.modules.get(kind.__module__.partition(".")[0]) for kind in type(x).__mro__)
    return [module for module in modules if module is not None]


def hand_over(y: Array, home: Callable[[Array], Any], like: Any = None) -> Any:
    """Return `y` as an array of the library whose `home_of` this is; `like` is one that `y` may be a view of."""
    xp = library_of(y)
    y = xp.asarray(y)  # a number of NumPy's own has no memory to share
    with on_device_of(y):
        if any(stride < 0 for stride in y.strides):  # PyTorch ends the whole process at these
            y = xp.array(y, order="C")
        try:
            return home(y)
        except Exception:  # of the other library's own kind: read-only, or strides that it does not take
            y = _Unlocked.view(y) if _is_part_of(y, like) else xp.array(y, order="C")
        try:
            return home(y)
        except Exception as error:
            raise TypeError(
                f"give_back: got y {y.dtype} of shape {tuple(y.shape)}, which the other library does not take "
                f"({in_a_line(error)}); expected a type that both have; cast it first"
            ) from error


def share_memory(a: Array, b: Array) -> bool:
    """Return whether two arrays of one library may lie in the same memory.

    Example:
        >>> import numpy as np
        >>> x = np.zeros(4)
        >>> share_memory(x[1:], x[:2]), share_memory(x[2:], x[:2]), share_memory(x, x.copy())
        (True, False, False)
    """
    xp = library_of(a)
    return library_of(b) is xp and bool(getattr(xp, "may_share_memory", lambda *_: False)(a, b))


def _is_part_of(y: Array, like: Any) -> bool:
    """Return whether `y` is a read-only view of what `like` lent: its library may have back what is its own."""
    return type(y) is np.ndarray and not y.flags.writeable and like is not None and share_memory(y, borrow(like))


class _Unlocked:
    """The memory of a read-only array, for a library that asks for DLPack's older form, which cannot say so."""

    def __init__(self, array: Any) -> None:
        self._array = array  # kept alive
        interface = array.__array_interface__
        self.__array_interface__ = interface | {"data": (interface["data"][0], False)}

    @classmethod
    def view(cls, array: Any) -> Any:
        return np.asarray(cls(array))
