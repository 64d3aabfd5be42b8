"""Looking at every number while a network computes: for whoever wants to know where the first bad one came from."""

from __future__ import annotations

import functools
import os

from .libraries import Array, library_of, on_device_of


@functools.cache
def debugging() -> bool:
    """Return whether every layer is to look at what it computes: with ``XLENET_DEBUG=1``, which is asked for
    once: set it before the program starts. It makes training slow.
    """
    return os.environ.get("XLENET_DEBUG", "").strip().lower() in ("1", "on", "true", "yes")


def all_finite(x: Array) -> bool:
    """Return whether no number of `x` is infinite or NaN. Waits for the device.

    Example:
        >>> import numpy as np
        >>> all_finite(np.ones(2)), all_finite(np.array([1.0, np.nan]))
        (True, False)
    """
    xp = library_of(x)
    with on_device_of(x):
        return not xp.isdtype(x.dtype, "real floating") or bool(xp.all(xp.isfinite(x)))
