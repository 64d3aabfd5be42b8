"""A gradient is right when it predicts how the result moves: one random projection for each input, in float64.

For f with Jacobian J, a direction v of the input and a weighting u of the result, <u, J v> is measured by a central
difference (two evaluations of f) and <J^T u, v> comes from one call of backward. The cost does not grow with the size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, to_device, to_host
from ..checks import check_callable, check_kind, number
from ..init import generator

STEP = 1e-5  # a central difference in float64 with this step is good to about 1e-9; a wrong gradient is off by 1e-2
# Of a result's 16 digits the step leaves 11, and a few of these are rounded: 1e-9 next to a result of 1 counts as 0.
_ROUNDING = 1e-3
DIRECTIONS = 5  # of an input are tried, where one after the other crosses a kink


class KinkError(AssertionError):
    """The result bends so sharply near this point that differences say nothing about its gradient."""


class _Difference(NamedTuple):
    """What backward predicts, and what was measured."""

    analytic: float
    numeric: float
    size: float  # of what was added up, since terms of either sign may cancel; with room for rounding
    bend: float  # how far the slopes on the two sides are apart: what a kink may do to `numeric`

    @property
    def error(self) -> float:
        return abs(self.analytic - self.numeric)


def check_gradients(
    name: str,
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], Mapping[str, Any]],
    inputs: Mapping[str, Any],
    *,
    rng: Any = 0,
    rtol: float = 1e-6,
) -> float:
    """Compare backward with central differences: for each gradient that it names, and then for all of them at once.

    Args:
        name: of what is checked, for the message.
        forward: takes the arrays of `inputs` as positional arguments, of the default backend; gives (y, cache).
        backward: takes (dy, cache); gives the gradients by the names of `inputs`, those it has.
        inputs: the point, float64 arrays of NumPy's, the batch first, away from kinks and ties.
        rng: generator or seed of the directions.
        rtol: the largest error, against the size of the terms that were added up.

    Returns:
        The largest error found, against that size.

    Raises:
        AssertionError: a gradient is wrong; the message gives the analytic and the numeric value.
        TypeError, ValueError: an argument is of another kind.

    Example:
        >>> from xlenet.functional import linear
        >>> def backward(dy, cache):
        ...     return dict(zip(("x", "weight"), linear.backward(dy, cache)))
        >>> draw = np.random.default_rng(0).standard_normal
        >>> check_gradients("linear", linear.forward, backward, {"x": draw((4, 3)), "weight": draw((2, 3))}) < 1e-6
        True

    References:
        The idea is that of autograd's ``check_vjp``, https://github.com/HIPS/autograd
    """
    rng, rtol = generator(rng), number("check_gradients", "rtol", rtol, 0.0, above=True)
    check_callable("check_gradients", "forward", forward)
    check_callable("check_gradients", "backward", backward)
    check_kind("check_gradients", "inputs", inputs, Mapping, "a mapping from names to arrays")
    y, cache = forward(*map(_placed, inputs.values()))
    u = rng.standard_normal(to_host(y).shape)
    gradients = {key: to_host(value) for key, value in backward(_placed(u), cache).items()}
    if not gradients:
        raise AssertionError(f"{name}: got no gradient from backward; expected one at least; name what it computes")
    for key, gradient in gradients.items():
        if gradient.shape != inputs[key].shape:
            raise AssertionError(
                f"{name}: got a gradient of {key} of shape {gradient.shape}; expected {inputs[key].shape}; "
                f"it has the shape of {key}"
            )
    together = [(key,) for key in gradients] + ([tuple(gradients)] if len(gradients) > 1 else [])
    return max(_check(name, forward, inputs, u, gradients, keys, rng, rtol) for keys in together)


def _placed(host: Any) -> Array:
    """A new array of the default backend; NumPy's is read-only, so that whoever writes to an input fails."""
    host = np.array(host, np.float64)
    host.flags.writeable = False
    return to_device(host)


def _check(
    name: str,
    forward: Callable[..., tuple[Any, Any]],
    inputs: Mapping[str, Any],
    u: Any,
    gradients: Mapping[str, Any],
    keys: tuple[str, ...],
    rng: np.random.Generator,
    rtol: float,
) -> float:
    """Compare along one direction; along others where a kink lies in the way, and only there."""
    for _ in range(DIRECTIONS):
        directions = {key: rng.standard_normal(inputs[key].shape) for key in keys}
        found = _difference(forward, inputs, u, gradients, directions)
        if found.error <= rtol * found.size:
            return found.error / found.size
        if not found.error <= found.bend:  # no kink explains it, or it is NaN
            raise AssertionError(_message(name, keys, found, inputs))
    raise KinkError(f"{_message(name, keys, found, inputs)}; or choose a point that is further from a kink")


def _difference(
    forward: Callable[..., tuple[Any, Any]],
    inputs: Mapping[str, Any],
    u: Any,
    gradients: Mapping[str, Any],
    directions: Mapping[str, Any],
) -> _Difference:
    def projected(step: float) -> Any:
        moved = (value + step * directions[key] if key in directions else value for key, value in inputs.items())
        return u * to_host(forward(*map(_placed, moved))[0])

    before, here, behind = projected(-STEP), projected(0.0), projected(STEP)
    numeric = float(np.sum(behind - before)) / (2.0 * STEP)
    products = [gradients[key] * v for key, v in directions.items()]
    analytic = sum(float(np.sum(product)) for product in products)
    bend = float(np.sum(np.abs(behind - 2.0 * here + before))) / STEP
    size = sum(float(np.linalg.norm(product)) for product in products) + abs(numeric)
    return _Difference(analytic, numeric, size + _ROUNDING * (1.0 + float(np.linalg.norm(here))), bend)


def _message(name: str, keys: tuple[str, ...], found: _Difference, inputs: Mapping[str, Any]) -> str:
    ratio = found.analytic / found.numeric if found.numeric else math.inf
    return (
        f"{name}: got a wrong gradient of {', '.join(keys)}: analytic {found.analytic:.9g}; expected numeric "
        f"{found.numeric:.9g} (ratio {ratio:.6g}); {_advice(keys, found, ratio, next(iter(inputs.values())))}"
    )


def _advice(keys: tuple[str, ...], found: _Difference, ratio: float, first: Any) -> str:
    """What to look for first, by the ratio of what came to what was expected."""
    n = first.shape[0] if first.ndim else 1
    if found.analytic == 0.0:
        return "it is 0: does backward compute it?"
    if math.isclose(ratio, -1.0, rel_tol=1e-4):
        return "look for a wrong sign in backward"
    if n > 1 and (math.isclose(ratio, 1.0 / n, rel_tol=1e-4) or math.isclose(ratio, n, rel_tol=1e-4)):
        return f"the factor is the batch size {n}: gradients are sums over the batch, and only a loss divides"
    return f"derive backward's {' and '.join(keys)} once more"
