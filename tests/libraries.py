"""The array libraries that tests run on, each behind the same few methods, and the partners that some tests need."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from xlenet.testing import plugin

LIBRARIES = ("numpy", "cupy", "array_api_strict")

skip_reasons: set[str] = set()  # for the report: each is worth one line, whichever tests it kept from running


@dataclass(frozen=True)
class Lib:
    """An array library as tests use it: host NumPy arrays in, host NumPy arrays out.

    Attributes:
        name: The library's import name.
        xp: The library itself.
        device: Where its arrays live; None where the library has no `device=` argument that matters.
    """

    name: str
    xp: ModuleType
    device: Any = None

    def __repr__(self) -> str:
        return f"Lib({self.name})"

    def asarray(self, values: Any, dtype: str | None = None) -> Any:
        """A C-contiguous copy of `values`. NumPy's is read-only, so that whoever writes to an input fails."""
        host = np.array(values, dtype=dtype, order="C")
        if self.name == "array_api_strict":
            return self.xp.asarray(host, device=self.device)
        if self.name == "numpy":
            host.flags.writeable = False
            return host
        return self.xp.asarray(host)

    def to_numpy(self, x: Any) -> np.ndarray:
        """A host copy of `x`, which must belong to this library."""
        self.assert_native(x)
        if self.name == "cupy":
            return x.get()
        if self.name == "array_api_strict":
            return np.array(x.to_device(self.xp.Device("CPU_DEVICE")))
        return np.array(x)

    def assert_native(self, x: Any) -> None:
        """Fail unless `x` is an array of this library, on this library's test device."""
        if self.name == "numpy":
            # A reduction to a single number gives a NumPy scalar: it has a dtype and a shape, which is all one needs.
            native = type(x) is np.ndarray or (isinstance(x, np.generic) and x.shape == ())
        elif self.name == "cupy":
            native = isinstance(x, self.xp.ndarray)
        else:
            native = type(x) is type(self.xp.empty(0)) and x.device == self.device
        where = getattr(x, "device", "no device")
        assert native, f"expected an array of {self.name}, got {type(x).__module__}.{type(x).__name__} on {where}"

    def dtype_name(self, x: Any) -> str:
        """The name of the type of `x`, as in "float32", whichever library it is from."""
        return str(x.dtype).rpartition(".")[2]

    def assert_close(
        self, actual: Any, expected: Any, *, rtol: float = 1e-10, atol: float = 1e-11, dtype: str | None = None
    ) -> None:
        """Fail unless `actual` is this library's own, has the shape of `expected` (and `dtype`), and equals it."""
        host, wanted = self.to_numpy(actual), np.asarray(expected)
        assert host.shape == wanted.shape, f"shape {host.shape}, expected {wanted.shape}"
        if dtype is not None:
            assert self.dtype_name(actual) == dtype
        np.testing.assert_allclose(host, wanted, rtol=rtol, atol=atol)

    def assert_equal(self, actual: Any, expected: Any, *, dtype: str | None = None) -> None:
        """Fail unless `actual` equals `expected` exactly."""
        self.assert_close(actual, expected, rtol=0, atol=0, dtype=dtype)


def skip_or_fail(variable: str, name: str, reason: str) -> NoReturn:
    """Skip with `reason`, or fail with it where the environment variable `variable` asks for `name`."""
    skip_reasons.add(reason)
    plugin.skip_or_fail(variable, name, reason)


def import_quietly(name: str) -> ModuleType:
    """Import somebody else's package, whose warnings on import are not errors of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def open_library(name: str) -> Lib:
    """Give the library `name`, ready for use on this machine, or skip the test that asked."""
    missing = _MISSING[name]()
    if missing:
        skip_or_fail("XLENET_REQUIRE_BACKENDS", name, missing)
    xp = import_quietly(name)
    if name == "array_api_strict":
        # Neither masks nor shapes that depend on values: on a GPU each of them waits for the device.
        xp.set_array_api_strict_flags(boolean_indexing=False, data_dependent_shapes=False)
        return Lib(name, xp, xp.Device("device1"))
    return Lib(name, xp)


def _missing_cupy() -> str:
    try:
        cupy = import_quietly("cupy")
    except ImportError as error:
        return f"CuPy is not installed ({error})"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy is installed but no CUDA device: {error}"
    return "" if count else "CuPy is installed but no CUDA device: the driver lists none"


def _missing_strict() -> str:
    try:
        import_quietly("array_api_strict")
    except ImportError as error:
        return f"array-api-strict is not installed ({error})"
    return ""


_MISSING: dict[str, Callable[[], str]] = {
    "numpy": lambda: "",
    "cupy": _missing_cupy,
    "array_api_strict": _missing_strict,
}


def open_partner(name: str, module: str) -> ModuleType:
    """Give the optional package `module` under the partner name `name`, or skip the test that asked."""
    try:
        return import_quietly(module)
    except ImportError as error:
        skip_or_fail("XLENET_REQUIRE_PARTNERS", name, f"{name} is not installed ({error})")
