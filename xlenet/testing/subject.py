"""A layer under test: made ready, copied for each use, and compared with itself."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, on_device_of, to_device, to_host
from ..layers import Layer

_ROUNDING = 1e-9  # of a result in float64, against its largest number


class Subject(NamedTuple):
    """A layer in one of its modes, which is copied for each use, and two batches for it."""

    name: str
    layer: Layer
    training: bool
    x: Any  # on the host, as is `other_x`, of one image more
    other_x: Any
    rng: np.random.Generator

    def fresh(self, dtype: str = "float64") -> Layer:
        """Return a copy of the layer that nobody has used."""
        layer = copy.deepcopy(self.layer)
        if dtype != "float64":
            convert(layer, dtype)
        return layer.train() if self.training else layer.eval()

    def batch(self, dtype: str = "float64") -> Array:
        """Return x on the default backend, each time in memory of its own."""
        return to_device(self.x.astype(dtype))

    def draw_dy(self, y: Array) -> Array:
        """Return a gradient by the result `y`."""
        return to_device(self.rng.standard_normal(tuple(y.shape)).astype(type_name(y)))

    def fail(self, came: str, wanted: str, cure: str) -> AssertionError:
        """Return the error that says what came, what was wanted, and what to do."""
        return AssertionError(f"{self.name}: got {came}; expected {wanted}; {cure}")


class Run(NamedTuple):
    """What a forward and a backward gave, on the host."""

    y: Any
    dx: Any  # None if it was not asked for
    grads: dict[str, Any]


def run(subject: Subject, layer: Layer, x: Array, dy: Array, doing: str = "", **options: Any) -> Run:
    """Go forward and backward; a failure says what was being done."""
    try:
        y = layer.forward(x, work=options.get("work"))
        dx = layer.backward(dy, **options)
    except Exception as error:
        came = f"{type(error).__name__}: {error}"
        raise subject.fail(f"{came} {doing}".strip(), "a result", "see the traceback above") from error
    host = {key: copied(array) for key, array in gradients_of(layer).items()}
    return Run(copied(y), None if dx is None else copied(dx), host)


def settle(layer: Layer, batches: tuple[Any, Any], rng: np.random.Generator) -> None:
    """Make all arrays float64 and no parameter a round number, and let running statistics follow some batches."""
    convert(layer, "float64")
    for _, parameter in layer.named_parameters():
        host = to_host(parameter)
        moved = np.where(host == 0.0, 0.3, 0.3 * host) * rng.uniform(-1.0, 1.0, host.shape)
        assign(parameter, host + moved)
    layer.train()
    for x in batches:
        layer.forward(to_device(x.astype("float64")))
    layer.forget()


def convert(layer: Layer, dtype: str) -> None:
    """Exchange all floating arrays of the layer for those of another type."""
    for _, leaf in layer.leaves():
        for arrays in (leaf.params, leaf.grads, leaf.buffers):
            for key, array in arrays.items():
                if type_name(array).startswith("float"):
                    arrays[key] = to_device(to_host(array).astype(dtype), like=array)


def assign(array: Array, host: Any) -> None:
    """Write the numbers of a host array into `array`."""
    with on_device_of(array):
        array[...] = to_device(host.astype(type_name(array)), like=array)


def copied(array: Array) -> Any:
    """Return a host copy."""
    return np.array(to_host(array))


def type_name(array: Array) -> str:
    """Return the name of the array's type, such as "float32", in any library."""
    return str(array.dtype).rpartition(".")[2]


def gradients_of(layer: Layer) -> dict[str, Array]:
    """Return the gradients by the full names of their parameters."""
    return {full_name(prefix, key): array for prefix, leaf in layer.leaves() for key, array in leaf.grads.items()}


def held_arrays(layer: Layer) -> dict[str, Array]:
    """All arrays of the layer: the one that is in each place."""
    return {
        f"{kind}[{full_name(prefix, key)!r}]": array
        for prefix, leaf in layer.leaves()
        for kind in ("params", "grads", "buffers")
        for key, array in getattr(leaf, kind).items()
    }


def full_name(prefix: str, key: str) -> str:
    """Return the name of an array of a layer that may be inside a `Sequential`."""
    return f"{prefix}.{key}" if prefix else key


def compare(subject: Subject, got: Run, wanted: Run, when: str, cure: str) -> None:
    """Fail unless two runs gave the same, within rounding."""
    pairs = {"y": (got.y, wanted.y), "dx": (got.dx, wanted.dx)}
    pairs |= {f"gradient of {key}": (value, wanted.grads.get(key)) for key, value in got.grads.items()}
    for what, (one, other) in pairs.items():
        if one is None or other is None:
            continue
        if one.shape != other.shape:
            raise subject.fail(f"{what} of shape {one.shape} {when}", f"{other.shape}", cure)
        far = float(np.max(np.abs(one - other), initial=0.0))
        if not far <= _ROUNDING * max(1.0, float(np.max(np.abs(other), initial=0.0))):
            raise subject.fail(f"a {what} that is off by {far:.3g} {when}", "the same numbers", cure)
