"""PyTorch and JAX on the CPU, as tests use them: host NumPy arrays in, host NumPy arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from tests.libraries import open_partner

PARTNERS = ("torch", "jax")


@dataclass(frozen=True)
class Partner:
    """A library whose arrays layers borrow."""

    name: str
    module: ModuleType

    @property
    def array_type(self) -> type:
        return self.module.Tensor if self.name == "torch" else self.module.Array

    def asarray(self, values: Any) -> Any:
        """A copy of `values`, in memory of the library's own."""
        host = np.array(values)
        return self.module.tensor(host) if self.name == "torch" else self.module.numpy.array(host, copy=True)

    def to_numpy(self, x: Any) -> np.ndarray:
        """A host copy of `x`, which must be this library's."""
        assert isinstance(x, self.array_type), type(x)
        return np.array(x.numpy() if self.name == "torch" else x)

    def pointer(self, x: Any) -> int:
        """Where the first number of `x` lies."""
        assert isinstance(x, self.array_type), type(x)
        return x.data_ptr() if self.name == "torch" else x.unsafe_buffer_pointer()


def open_lender(name: str) -> Partner:
    """Give the partner `name`, or skip the test that asked."""
    module = open_partner(name, name)
    if name == "torch":
        module.set_num_threads(1)
    return Partner(name, module)


def pointer_of(x: np.ndarray) -> int:
    """Where the first number of a NumPy array lies."""
    return x.__array_interface__["data"][0]
