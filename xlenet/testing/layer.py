"""Everything that a layer promises, checked on a layer that somebody has just written."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backend import Array, batch_first, library_of, on_device_of, to_device, to_host
from ..checks import check_callable, integer, number
from ..init import generator
from ..layers import Layer
from ..workspace import Workspace
from .gradients import KinkError, check_gradients
from .subject import (
    Run,
    Subject,
    assign,
    compare,
    convert,
    copied,
    full_name,
    gradients_of,
    held_arrays,
    run,
    settle,
    type_name,
)

_POINTS = 5  # are drawn, where one after the other lies beside a kink


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
        random: the layer draws random numbers in training, others in each step, as `Dropout` does: two calls are then
            compared in evaluation mode only. What it draws must be a copy's, too: gradients are taken on copies.

    Raises:
        AssertionError: the layer breaks a promise; the message says which.
        TypeError, ValueError: an argument is of another kind.

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
    if not isinstance(shape, tuple | list) or not shape:
        raise TypeError(f"check_layer: got shape {shape!r}; expected that of a batch, such as (4, 3); pass a tuple")
    shape = tuple(integer("check_layer", "shape", size, 1) for size in shape)
    rng, rtol = generator(rng), number("check_layer", "rtol", rtol, 0.0, above=True)
    if draw is not None:
        check_callable("check_layer", "draw", draw)
    draw = draw or (lambda rng, shape: rng.standard_normal(shape))
    layer = _made(make)
    larger = (shape[0] + 1, *shape[1:])
    x, other_x = (np.asarray(draw(rng, one)) for one in (shape, larger))
    settle(layer, (x, other_x), rng)
    for training in (True, False):
        name = f"{type(layer).__name__}, {'training' if training else 'evaluation'}"
        subject = Subject(name, layer, training, x, other_x, rng)
        _check_types(subject)
        _check_what_is_written(subject)
        if not (random and training):
            _check_two_calls(subject)
            _check_memory(subject)
            _check_what_is_left_out(subject)
        _check_backward_wants_a_forward(subject)
        _check_gradients(subject, lambda: np.asarray(draw(rng, shape)), rtol)
    subject = Subject(type(layer).__name__, layer, True, x, other_x, rng)
    _check_infer(subject)
    _check_state(subject, make)


def _made(make: Any) -> Layer:
    made = copy.deepcopy(make) if isinstance(make, Layer) else make() if callable(make) else None
    if not isinstance(made, Layer):
        raise TypeError(
            f"check_layer: got make {make!r}; expected a Layer, or what makes one; pass its class, or a lambda"
        )
    return made


def _check_types(subject: Subject) -> None:
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


def _check_kind(subject: Subject, of: str, result: Array, x: Array) -> None:
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
            f"{type_name(result)} from {of} for {type_name(x)}",
            "the type of x",
            "let no NumPy number of another type take part: float(value) has none",
        )


def _check_what_is_written(subject: Subject) -> None:
    layer, x = subject.fresh(), subject.batch()
    before, held = copied(x), held_arrays(layer)
    parameters = {key: copied(array) for key, array in layer.named_parameters()}
    y = layer.forward(x)
    dy = subject.draw_dy(y)
    dy_before = copied(dy)
    layer.backward(dy)
    layer.infer(x)
    for what, now, then in (("x", x, before), ("dy", dy, dy_before)):
        if not np.array_equal(to_host(now), then):
            raise subject.fail(f"another {what} than was passed in", "it as it was", "write to new arrays only")
    for key, array in layer.named_parameters():
        if not np.array_equal(to_host(array), parameters[key]):
            raise subject.fail(f"another {key} after a forward and a backward", "it as it was", "optimisers change it")
    now = held_arrays(layer)
    for place in held.keys() | now.keys():
        if now.get(place) is not held.get(place):
            raise subject.fail(
                f"another array in {place}",
                "the same one, written in place",
                "use _set_gradients, or array[...] = value: optimisers and CUDA graphs hold on to it",
            )
    for prefix, leaf in layer.leaves():
        missing = [full_name(prefix, key) for key in leaf.params if leaf.requires_grad and key not in leaf.grads]
        if missing:
            raise subject.fail(f"no place in grads for {missing}", "one for each parameter", "use _add_parameter")


def _check_two_calls(subject: Subject) -> None:
    """What one batch leaves behind, the next one does not see."""
    x, other_x = subject.batch(), to_device(subject.other_x.astype("float64"))
    layer, used = subject.fresh(), subject.fresh()
    dy = subject.draw_dy(layer.infer(x))
    first = run(subject, layer, x, dy)
    again = run(subject, layer, x, dy, "on the second call")
    compare(subject, again, first, "after a second pass", "gradients are assigned, not added up; caches are made anew")
    run(subject, used, other_x, subject.draw_dy(layer.infer(other_x)), "for a batch of another size")
    later = run(subject, used, x, dy, "after a batch of another size")
    compare(subject, later, first, "after a batch of another size", "keep nothing of a batch but the cache")
    y = layer.forward(x)
    kept = copied(y)
    layer.forward(to_device(subject.other_x[1:].astype("float64")))  # as many, and other ones
    if not np.array_equal(to_host(y), kept):
        raise subject.fail("a result that changes with the next call", "it as it was", "return new arrays")
    skipped = subject.fresh()
    skipped.forward(other_x)
    newest = run(subject, skipped, x, dy, "after a forward without a backward")
    compare(subject, newest, first, "after a forward without a backward", "the last forward is the one that counts")


def _check_memory(subject: Subject) -> None:
    """Shapes and numbers decide, not how they lie in memory, nor whose memory it is."""
    x = subject.batch()
    dy = subject.draw_dy(subject.fresh().infer(x))
    wanted = run(subject, subject.fresh(), x, dy)
    for order, other_x in _orders(x):
        got = run(subject, subject.fresh(), other_x, dy, f"for x {order}")
        compare(subject, got, wanted, f"for x {order}", "rely on shapes, never on strides")
    for order, other_dy in _orders(dy):
        got = run(subject, subject.fresh(), x, other_dy, f"for dy {order}")
        compare(subject, got, wanted, f"for dy {order}", "rely on shapes, never on strides")
    work = Workspace()
    for _ in range(2):  # of which the second is lent the memory of the first
        got = run(subject, subject.fresh(), x, dy, "with a workspace", work=work)
        compare(subject, got, wanted, "with a workspace", "fill what new() gives before reading it")
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


def _check_what_is_left_out(subject: Subject) -> None:
    x = subject.batch()
    dy = subject.draw_dy(subject.fresh().infer(x))
    wanted = run(subject, subject.fresh(), x, dy)
    without = run(subject, subject.fresh(), x, dy, "with need_dx=False", need_dx=False)
    if without.dx is not None:
        raise subject.fail("dx with need_dx=False", "None", "return dx if need_dx else None")
    compare(subject, without, wanted, "with need_dx=False", "only dx depends on it")
    frozen = subject.fresh()
    frozen.requires_grad = False
    got = run(subject, frozen, x, dy, "with requires_grad=False")
    if got.grads:
        raise subject.fail(f"grads {list(got.grads)} with requires_grad=False", "none", "use _set_gradients")
    compare(subject, got, wanted, "with requires_grad=False", "a frozen layer passes dx on as before")


def _check_backward_wants_a_forward(subject: Subject) -> None:
    layer, x = subject.fresh(), subject.batch()
    dy = subject.draw_dy(layer.infer(x))
    _check_refused(subject, layer, dy, "without a forward, after infer alone")
    layer.forward(x)
    layer.backward(dy)
    _check_refused(subject, layer, dy, "for a second time")


def _check_refused(subject: Subject, layer: Layer, dy: Array, when: str) -> None:
    try:
        layer.backward(dy)
    except RuntimeError:
        return
    except Exception as error:
        came = f"{type(error).__name__} from backward {when}"
    else:
        came = f"a result from backward {when}"
    raise subject.fail(came, "a RuntimeError", "override _forward and _backward, which take and return the cache")


def _check_infer(subject: Subject) -> None:
    """The rules of evaluation in either mode, and nothing is stored."""
    layer, x = subject.fresh(), subject.batch()
    wanted = Run(copied(subject.fresh().eval().forward(x)), None, {})
    before = {key: copied(array) for key, array in layer.state_dict().items()}
    got = Run(copied(layer.infer(x)), None, {})
    compare(subject, got, wanted, "from infer in training mode", "override _infer with the rules of evaluation")
    for key, array in layer.state_dict().items():
        if not np.array_equal(to_host(array), before[key]):
            raise subject.fail(f"another {key} after infer", "it as it was", "store nothing in _infer")
    layer.eval()
    dy = subject.draw_dy(layer.infer(x))
    wanted = run(subject, layer, x, dy)
    layer.forward(x)
    layer.infer(to_device(subject.other_x.astype("float64")))
    got = Run(wanted.y, copied(layer.backward(dy)), {key: copied(a) for key, a in gradients_of(layer).items()})
    compare(subject, got, wanted, "after an infer between forward and backward", "store nothing in _infer")


def _check_state(subject: Subject, make: Layer | Callable[[], Layer]) -> None:
    """Parameters and buffers are all there is to know of a layer."""
    other = _made(make)
    convert(other, "float64")
    x = subject.batch()
    wanted = Run(copied(subject.fresh().infer(x)), None, {})
    try:
        other.load_state_dict(subject.layer.state_dict())
    except Exception as error:
        raise subject.fail(f"{type(error).__name__}: {error}", "state_dict to load into another one", "") from error
    got = Run(copied(other.infer(x)), None, {})
    compare(subject, got, wanted, "from another one with the same state_dict", "keep arrays in params and buffers")


def _check_gradients(subject: Subject, draw: Callable[[], Any], rtol: float) -> None:
    names = [key for key, _ in subject.layer.named_parameters()]
    values = {key: to_host(array) for key, array in subject.layer.named_parameters()}

    def forward(x: Array, *parameters: Array) -> tuple[Array, Layer]:
        layer = subject.fresh()  # each time the same, random numbers included
        for (_, parameter), value in zip(layer.named_parameters(), parameters, strict=True):
            assign(parameter, to_host(value))
        return layer.forward(x), layer

    def backward(dy: Array, layer: Layer) -> dict[str, Array]:
        dx = layer.backward(dy)
        return {"x": dx} | gradients_of(layer)

    for point in range(_POINTS):
        x = subject.x if point == 0 else draw()
        inputs = {"x": x.astype("float64")} | {key: values[key] for key in names}
        try:
            check_gradients(subject.name, forward, backward, inputs, rng=subject.rng, rtol=rtol)
            return
        except KinkError:
            if point == _POINTS - 1:
                raise
