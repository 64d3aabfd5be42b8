"""Arrays where the host computes: what a user passes as images, labels or counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import kind_of


def on_host(operation: str, name: str, values: Any) -> Any:
    """Return `values`, an array on the host or lists of numbers, as an array of NumPy."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # of another device, or rows that are not equally long
        raise TypeError(
            f"{operation}: got {name}, {kind_of(values)} that cannot be read ({error}); expected an array on the host; "
            "fetch it with xlenet.to_host"
        ) from None
