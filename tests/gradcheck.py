"""The public gradient checker, on the library that a test runs on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.libraries import Lib
from tests.networks import on
from xlenet import testing


def check_gradients(
    lib: Lib,
    name: str,
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], Mapping[str, Any]],
    inputs: Mapping[str, np.ndarray],
    rng: np.random.Generator,
) -> float:
    """See `xlenet.testing.check_gradients`; what comes back must belong to `lib`."""

    def forward_there(*arrays: Any) -> tuple[Any, Any]:
        y, cache = forward(*arrays)
        lib.assert_native(y)
        return y, cache

    def backward_there(dy: Any, cache: Any) -> Mapping[str, Any]:
        gradients = backward(dy, cache)
        for gradient in gradients.values():
            lib.assert_native(gradient)
        return gradients

    with on(lib):
        return testing.check_gradients(name, forward_there, backward_there, inputs, rng=rng)
