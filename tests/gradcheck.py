"""A gradient is right when it predicts how the output moves: one random projection per input, in float64.

For f with Jacobian J, a direction v of the input and a weighting u of the output, <u, J v> is measured by a central
difference (two evaluations of f) and <J^T u, v> comes from one call of backward. The cost does not grow with the size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.libraries import Lib

STEP = 1e-6
RTOL = 1e-6  # a central difference in float64 with this step is good to about 1e-9; a wrong gradient is off by 1e-2


def check_gradients(
    lib: Lib,
    name: str,
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], Mapping[str, Any]],
    inputs: Mapping[str, np.ndarray],
    rng: np.random.Generator,
) -> None:
    """Compare backward with central differences: for each gradient that it names, and then for all of them at once.

    Args:
        lib: Where the operation runs; differences and products are taken on the host.
        name: The operation, for the message.
        forward: Takes the arrays of `inputs` as positional arguments; gives (y, cache).
        backward: Takes (dy, cache); gives the gradients by the names of `inputs`, those it has.
        inputs: The point, float64, away from kinks and ties.
        rng: Draws u and v.
    """
    y, cache = forward(*(lib.asarray(value) for value in inputs.values()))
    u = rng.standard_normal(lib.to_numpy(y).shape)
    gradients = {key: lib.to_numpy(value) for key, value in backward(lib.asarray(u), cache).items()}
    assert gradients, f"{name}: backward names no gradient to check"
    directions = {key: rng.standard_normal(inputs[key].shape) for key in gradients}
    for key in gradients:
        _compare(lib, name, forward, inputs, u, gradients, {key: directions[key]})
    _compare(lib, name, forward, inputs, u, gradients, directions)


def _compare(
    lib: Lib,
    name: str,
    forward: Callable[..., tuple[Any, Any]],
    inputs: Mapping[str, np.ndarray],
    u: np.ndarray,
    gradients: Mapping[str, np.ndarray],
    directions: Mapping[str, np.ndarray],
) -> None:
    def projected(step: float) -> float:
        moved = (value + step * directions[key] if key in directions else value for key, value in inputs.items())
        return float(np.sum(u * lib.to_numpy(forward(*(lib.asarray(value) for value in moved))[0])))

    numeric = (projected(STEP) - projected(-STEP)) / (2 * STEP)
    products = [gradients[key] * v for key, v in directions.items()]
    analytic = sum(float(np.sum(product)) for product in products)
    # Terms of either sign may cancel: the error is judged against the size of what was added up.
    scale = sum(float(np.linalg.norm(product)) for product in products) + abs(numeric)
    assert abs(analytic - numeric) <= RTOL * scale + 1e-10, (
        f"{name}: gradient of {', '.join(directions)} is wrong: analytic {analytic!r}, numeric {numeric!r}"
    )
