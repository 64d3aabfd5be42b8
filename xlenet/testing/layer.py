"""Everything that a layer promises, checked on a layer that somebody has just written."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, batch_first, library_of, on_device_of, to_device, to_host
from ..init import generator
from ..layers import Layer
from ..workspace import Workspace
from .gradients import KinkError, check_gradients

_POINTS = 5  # are drawn, where one after the other lies beside a kink
_ROUNDING = 1e-9  # of a result in float64, against its largest number


def check_layer(
    make: Layer | Callable[[], Layer],
    shape: tuple[int, ...],
    *,
    rng: Any = 0,
    rtol: float = 1e-6,
    draw: Callable[[np.random.Generator, tuple[int, ...]], Any] | None = None,
    random: bool = False,
) -> None:
    """Check a layer on the default backend: its gradients, and everything else that `xlenet.Layer` promises.

    In training mode and in evaluation mode: gradients by x and by every parameter against central differences in
    float64; float32 in, float32 out, on the library and the device of x; nothing but results is written to, no array is
    exchanged, gradients are assigned and not added up; a batch of another size in between changes nothing; any memory
    order of x and dy will do, and so will a workspace; `need_dx=False`, `requires_grad=False`, `infer`, `state_dict`.

    Args:
        make: makes the layer, such as its class; or a layer, which is copied. Its floating type does not matter.
        shape: of x, the batch first. Small: each gradient takes a few evaluations.
        rng: generator or seed of x, dy, and what is added to the parameters so that none of them is just 0 or 1.
        rtol: the largest relative error of a gradient.
        draw: gives x as an array of NumPy's, for a layer that does not take any numbers; None: standard normal.
        random: the layer draws random numbers in training: two calls are then compared in evaluation mode only.

    Raises:
        AssertionError: the layer breaks a promise; the message says which.

    Example:
        >>> from xlenet import Conv2D
        >>> check_layer(lambda: Conv2D(2, 3, (3, 2), padding="SAME", rng=0), (2, 2, 5, 4))
        >>> class Scale(Layer):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self._add_parameter("weight", np.ones(3))
        ...
        ...     def _forward(self, x, work):
        ...         return self.params["weight"] * x, x
        ...
        ...     def _backward(self, dy, cache, need_dx, work):
        ...         self._set_gradients(weight=-(dy * cache).sum(axis=0))
        ...         return self.params["weight"] * dy if need_dx else None
        >>> check_layer(Scale, (4, 3))   # doctest: +ELLIPSIS
        Traceback (most recent call last):
        AssertionError: Scale, training: got a wrong gradient of weight: analytic ...; look for a wrong sign in backward
    """
    rng = generator(rng)
    draw = draw or (lambda rng, shape: rng.standard_normal(shape))
    layer = copy.deepcopy(make) if isinstance(make, Layer) else make()
    if not isinstance(layer, Layer):
        raise TypeError(f"check_layer: got {make!r}; expected a Layer, or what makes one; pass its class, or a lambda")
    shape, larger = tuple(shape), (shape[0] + 1, *shape[1:])
    x, other_x = (np.asarray(draw(rng, one)) for one in (shape, larger))
    _settle(layer, (x, other_x), rng)
    for training in (True, False):
        name = f"{type(layer).__name__}, {'training' if training else 'evaluation'}"
        subject = _Subject(name, layer, training, x, other_x, rng)
        _check_types(subject)
        _check_what_is_written(subject)
        if not (random and training):
            _check_two_calls(subject)
            _check_memory(subject)
            _check_what_is_left_out(subject)
        _check_backward_wants_a_forward(subject)
        _check_gradients(subject, lambda: np.asarray(draw(rng, shape)), rtol)
    subject = _Subject(type(layer).__name__, layer, True, x, other_x, rng)
    _check_infer(subject)
    _check_state(subject, make)


# ==== the layer, and what it gives ====


class _Subject(NamedTuple):
    """A layer in one of its modes, which is copied for each use, and two batches for it."""

    name: str
    layer: Layer
    training: bool
    x: Any  # on the host, as is `other_x`, of one image more
    other_x: Any
    rng: np.random.Generator

    def fresh(self, dtype: str = "float64") -> Layer:
        layer = copy.deepcopy(self.layer)
        if dtype != "float64":
            _convert(layer, dtype)
        return layer.train() if self.training else layer.eval()

    def batch(self, dtype: str = "float64") -> Array:
        return to_device(self.x.astype(dtype))

    def draw_dy(self, y: Array) -> Array:
        return to_device(self.rng.standard_normal(tuple(y.shape)).astype(_type_name(y)))

    def fail(self, came: str, wanted: str, cure: str) -> AssertionError:
        return AssertionError(f"{self.name}: got {came}; expected {wanted}; {cure}")


class _Run(NamedTuple):
    """What a forward and a backward gave, on the host."""

    y: Any
    dx: Any  # None if it was not asked for
    grads: dict[str, Any]


def _run(subject: _Subject, layer: Layer, x: Array, dy: Array, doing: str = "", **options: Any) -> _Run:
    """Go forward and backward; a failure says what was being done."""
    try:
        y = layer.forward(x, work=options.get("work"))
        dx = layer.backward(dy, **options)
    except Exception as error:
        came = f"{type(error).__name__}: {error}"
        raise subject.fail(f"{came} {doing}".strip(), "a result", "see the traceback above") from error
    host = {key: _copied(array) for key, array in _gradients(layer).items()}
    return _Run(_copied(y), None if dx is None else _copied(dx), host)


def _settle(layer: Layer, batches: tuple[Any, Any], rng: np.random.Generator) -> None:
    """Make all arrays float64 and no parameter a round number, and let running statistics follow some batches."""
    _convert(layer, "float64")
    for _, parameter in layer.named_parameters():
        host = to_host(parameter)
        moved = np.where(host == 0.0, 0.3, 0.3 * host) * rng.uniform(-1.0, 1.0, host.shape)
        _assign(parameter, host + moved)
    layer.train()
    for x in batches:
        layer.forward(to_device(x.astype("float64")))
    layer.forget()


def _convert(layer: Layer, dtype: str) -> None:
    for _, leaf in layer.leaves():
        for arrays in (leaf.params, leaf.grads, leaf.buffers):
            for key, array in arrays.items():
                if _type_name(array).startswith("float"):
                    arrays[key] = to_device(to_host(array).astype(dtype), like=array)


def _assign(array: Array, host: Any) -> None:
    with on_device_of(array):
        array[...] = to_device(host.astype(_type_name(array)), like=array)


def _copied(array: Array) -> Any:
    return np.array(to_host(array))


def _type_name(array: Array) -> str:
    return str(array.dtype).rpartition(".")[2]


def _gradients(layer: Layer) -> dict[str, Array]:
    return {_full(prefix, key): array for prefix, leaf in layer.leaves() for key, array in leaf.grads.items()}


def _held(layer: Layer) -> dict[str, Array]:
    """All arrays of the layer: the one that is in each place."""
    return {
        f"{kind}[{_full(prefix, key)!r}]": array
        for prefix, leaf in layer.leaves()
        for kind in ("params", "grads", "buffers")
        for key, array in getattr(leaf, kind).items()
    }


def _full(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def _compare(subject: _Subject, got: _Run, wanted: _Run, when: str, cure: str) -> None:
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


# ==== the promises ====


def _check_types(subject: _Subject) -> None:
    for dtype in ("float64", "float32"):
        layer, x = subject.fresh(dtype), subject.batch(dtype)
        y = layer.forward(x)
        _check_kind(subject, "forward", y, x)
        dx = layer.backward(subject.draw_dy(y))
        if dx is None:
            raise subject.fail("None from backward", "dx", "return it where need_dx is True")
        _check_kind(subject, "backward", dx, x)
        if tuple(dx.shape) != tuple(x.shape):
            raise subject.fail(f"dx of shape {tuple(dx.shape)}", f"{tuple(x.shape)}", "it has the shape of x")
        _check_kind(subject, "infer", layer.infer(x), x)


def _check_kind(subject: _Subject, of: str, result: Array, x: Array) -> None:
    try:
        library = library_of(result)
    except TypeError:
        raise subject.fail(f"a {type(result).__name__} from {of}", "an array", f"return one from _{of}") from None
    if library is not library_of(x) or getattr(result, "device", x.device) != x.device:
        raise subject.fail(
            f"an array of {library.__name__} on {getattr(result, 'device', 'no device')} from {of}",
            f"{library_of(x).__name__} on {x.device}, where x is",
            "use xp = namespace_of(x), and xlenet.backend.zeros(shape, like=x) for a new array",
        )
    if result.dtype != x.dtype:
        raise subject.fail(
            f"{_type_name(result)} from {of} for {_type_name(x)}",
            "the type of x",
            "let no NumPy number of another type take part: float(value) has none",
        )


def _check_what_is_written(subject: _Subject) -> None:
    layer, x = subject.fresh(), subject.batch()
    before, held = _copied(x), _held(layer)
    parameters = {key: _copied(array) for key, array in layer.named_parameters()}
    y = layer.forward(x)
    dy = subject.draw_dy(y)
    dy_before = _copied(dy)
    layer.backward(dy)
    layer.infer(x)
    for what, now, then in (("x", x, before), ("dy", dy, dy_before)):
        if not np.array_equal(to_host(now), then):
            raise subject.fail(f"another {what} than was passed in", "it as it was", "write to new arrays only")
    for key, array in layer.named_parameters():
        if not np.array_equal(to_host(array), parameters[key]):
            raise subject.fail(f"another {key} after a forward and a backward", "it as it was", "optimisers change it")
    now = _held(layer)
    for place in held.keys() | now.keys():
        if now.get(place) is not held.get(place):
            raise subject.fail(
                f"another array in {place}",
                "the same one, written in place",
                "use _set_gradients, or array[...] = value: optimisers and CUDA graphs hold on to it",
            )
    for prefix, leaf in layer.leaves():
        missing = [_full(prefix, key) for key in leaf.params if leaf.requires_grad and key not in leaf.grads]
        if missing:
            raise subject.fail(f"no place in grads for {missing}", "one for each parameter", "use _add_parameter")


def _check_two_calls(subject: _Subject) -> None:
    """What one batch leaves behind, the next one does not see."""
    x, other_x = subject.batch(), to_device(subject.other_x.astype("float64"))
    layer, used = subject.fresh(), subject.fresh()
    dy = subject.draw_dy(layer.infer(x))
    first = _run(subject, layer, x, dy)
    again = _run(subject, layer, x, dy, "on the second call")
    _compare(subject, again, first, "after a second pass", "gradients are assigned, not added up; caches are made anew")
    _run(subject, used, other_x, subject.draw_dy(layer.infer(other_x)), "for a batch of another size")
    later = _run(subject, used, x, dy, "after a batch of another size")
    _compare(subject, later, first, "after a batch of another size", "keep nothing of a batch but the cache")
    y = layer.forward(x)
    kept = _copied(y)
    layer.forward(to_device(subject.x + 1.0))
    if not np.array_equal(to_host(y), kept):
        raise subject.fail("a result that changes with the next call", "it as it was", "return new arrays")
    skipped = subject.fresh()
    skipped.forward(other_x)
    newest = _run(subject, skipped, x, dy, "after a forward without a backward")
    _compare(subject, newest, first, "after a forward without a backward", "the last forward is the one that counts")


def _check_memory(subject: _Subject) -> None:
    """Shapes and numbers decide, not how they lie in memory, nor whose memory it is."""
    x = subject.batch()
    dy = subject.draw_dy(subject.fresh().infer(x))
    wanted = _run(subject, subject.fresh(), x, dy)
    for order, other_x in _orders(x):
        got = _run(subject, subject.fresh(), other_x, dy, f"for x {order}")
        _compare(subject, got, wanted, f"for x {order}", "rely on shapes, never on strides")
    for order, other_dy in _orders(dy):
        got = _run(subject, subject.fresh(), x, other_dy, f"for dy {order}")
        _compare(subject, got, wanted, f"for dy {order}", "rely on shapes, never on strides")
    work = Workspace()
    for _ in range(2):  # of which the second is lent the memory of the first
        got = _run(subject, subject.fresh(), x, dy, "with a workspace", work=work)
        _compare(subject, got, wanted, "with a workspace", "fill what new() gives before reading it")
        work.end_step()


def _orders(x: Array) -> Iterator[tuple[str, Array]]:
    """The same numbers in other memory."""
    host, permute_dims = to_host(x), library_of(x).permute_dims
    with on_device_of(x):
        if x.ndim > 1:
            yield "with the batch innermost", batch_first(to_device(np.moveaxis(host, 0, -1).copy(), like=x))
            backwards = tuple(reversed(range(x.ndim)))
            yield "with its axes in reverse", permute_dims(to_device(host.transpose().copy(), like=x), backwards)
        if x.ndim:
            gaps = np.full([2 * size for size in host.shape], np.nan, host.dtype)
            every_second = (slice(None, None, 2),) * x.ndim
            gaps[every_second] = host
            yield "with gaps between its numbers", to_device(gaps, like=x)[every_second]


def _check_what_is_left_out(subject: _Subject) -> None:
    x = subject.batch()
    dy = subject.draw_dy(subject.fresh().infer(x))
    wanted = _run(subject, subject.fresh(), x, dy)
    without = _run(subject, subject.fresh(), x, dy, "with need_dx=False", need_dx=False)
    if without.dx is not None:
        raise subject.fail("dx with need_dx=False", "None", "return dx if need_dx else None")
    _compare(subject, without, wanted, "with need_dx=False", "only dx depends on it")
    frozen = subject.fresh()
    frozen.requires_grad = False
    got = _run(subject, frozen, x, dy, "with requires_grad=False")
    if got.grads:
        raise subject.fail(f"grads {list(got.grads)} with requires_grad=False", "none", "use _set_gradients")
    _compare(subject, got, wanted, "with requires_grad=False", "a frozen layer passes dx on as before")


def _check_backward_wants_a_forward(subject: _Subject) -> None:
    layer, x = subject.fresh(), subject.batch()
    dy = subject.draw_dy(layer.infer(x))
    _check_refused(subject, layer, dy, "without a forward, after infer alone")
    layer.forward(x)
    layer.backward(dy)
    _check_refused(subject, layer, dy, "for a second time")


def _check_refused(subject: _Subject, layer: Layer, dy: Array, when: str) -> None:
    try:
        layer.backward(dy)
    except RuntimeError:
        return
    except Exception as error:
        came = f"{type(error).__name__} from backward {when}"
    else:
        came = f"a result from backward {when}"
    raise subject.fail(came, "a RuntimeError", "override _forward and _backward, which take and return the cache")


def _check_infer(subject: _Subject) -> None:
    """The rules of evaluation in either mode, and nothing is stored."""
    layer, x = subject.fresh(), subject.batch()
    wanted = _Run(_copied(subject.fresh().eval().forward(x)), None, {})
    before = {key: _copied(array) for key, array in layer.state_dict().items()}
    got = _Run(_copied(layer.infer(x)), None, {})
    _compare(subject, got, wanted, "from infer in training mode", "override _infer with the rules of evaluation")
    for key, array in layer.state_dict().items():
        if not np.array_equal(to_host(array), before[key]):
            raise subject.fail(f"another {key} after infer", "it as it was", "store nothing in _infer")
    layer.eval()
    dy = subject.draw_dy(layer.infer(x))
    wanted = _run(subject, layer, x, dy)
    layer.forward(x)
    layer.infer(to_device(subject.other_x.astype("float64")))
    got = _Run(wanted.y, _copied(layer.backward(dy)), {key: _copied(a) for key, a in _gradients(layer).items()})
    _compare(subject, got, wanted, "after an infer between forward and backward", "store nothing in _infer")


def _check_state(subject: _Subject, make: Layer | Callable[[], Layer]) -> None:
    """Parameters and buffers are all there is to know of a layer."""
    other = copy.deepcopy(make) if isinstance(make, Layer) else make()
    _convert(other, "float64")
    x = subject.batch()
    wanted = _Run(_copied(subject.fresh().infer(x)), None, {})
    try:
        other.load_state_dict(subject.layer.state_dict())
    except Exception as error:
        raise subject.fail(f"{type(error).__name__}: {error}", "state_dict to load into another one", "") from error
    got = _Run(_copied(other.infer(x)), None, {})
    _compare(subject, got, wanted, "from another one with the same state_dict", "keep arrays in params and buffers")


def _check_gradients(subject: _Subject, draw: Callable[[], Any], rtol: float) -> None:
    names = [key for key, _ in subject.layer.named_parameters()]
    values = {key: to_host(array) for key, array in subject.layer.named_parameters()}

    def forward(x: Array, *parameters: Array) -> tuple[Array, Layer]:
        layer = subject.fresh()  # each time the same, random numbers included
        for (_, parameter), value in zip(layer.named_parameters(), parameters, strict=True):
            _assign(parameter, to_host(value))
        return layer.forward(x), layer

    def backward(dy: Array, layer: Layer) -> dict[str, Array]:
        dx = layer.backward(dy)
        return {"x": dx} | _gradients(layer)

    for point in range(_POINTS):
        x = subject.x if point == 0 else draw()
        inputs = {"x": x.astype("float64")} | {key: values[key] for key in names}
        try:
            check_gradients(subject.name, forward, backward, inputs, rng=subject.rng, rtol=rtol)
            return
        except KinkError:
            if point == _POINTS - 1:
                raise
