"""Arrays of PyTorch and JAX go through layers and losses: the caller's type comes back, and no copy is made."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests import fake_cupy
from tests.interop.partners import PARTNERS, Partner, open_lender, pointer_of
from tests.layers.cases import CASES, Case
from tests.libraries import Lib, open_library, open_partner
from tests.networks import SMALL_SHAPE, on, small_network
from xlenet import (
    SGD,
    BatchNorm,
    Conv2D,
    Flatten,
    Layer,
    LeNet5,
    Linear,
    LogSoftmax,
    NLLLoss,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Workspace,
    functional,
    use_backend,
)
from xlenet.backend import foreign
from xlenet.errors import BackendError
from xlenet.interop import borrow, give_back
from xlenet.layers.base import _kept
from xlenet.training import train_step

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@pytest.fixture(params=PARTNERS)
def partner(request: pytest.FixtureRequest) -> Partner:
    """Each library whose arrays are borrowed, one after the other."""
    return open_lender(request.param)


def made(case: Case) -> Layer:
    """The layer in float32: JAX has no other type, as it comes."""
    return case.make(open_library("numpy"), dtype="float32")


def drawn(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


class Lender:
    """An array of nobody's library, that says where its memory is."""

    def __init__(self, host: Any, device: tuple[int, int] = (1, 0)) -> None:
        self.host, self.device = host, device

    def __dlpack__(self, **options: Any) -> Any:
        return self.host.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


# ==== layers ====


@each_case
def test_a_layer_gives_what_it_gives_for_numpy_in_the_callers_type(
    case: Case, partner: Partner, rng: np.random.Generator
) -> None:
    layer, twin = made(case), made(case)
    x = drawn(rng, *case.shape)
    theirs = partner.asarray(x)
    y, expected = layer(theirs), twin(x)
    np.testing.assert_array_equal(partner.to_numpy(y), expected)
    dy = drawn(rng, *expected.shape)
    gradient = partner.asarray(dy)
    dx = layer.backward(gradient)
    np.testing.assert_array_equal(partner.to_numpy(dx), twin.backward(dy))
    for name, grad in twin.grads.items():
        np.testing.assert_array_equal(layer.grads[name], grad)
    for name, array in (layer.params | layer.grads | layer.buffers).items():
        assert type(array) is np.ndarray, name
    np.testing.assert_array_equal(partner.to_numpy(layer.infer(theirs)), twin.infer(x))
    layer.forward(theirs)
    assert layer.backward(gradient, need_dx=False) is None
    np.testing.assert_array_equal(partner.to_numpy(theirs), x)  # what came in was never written to
    np.testing.assert_array_equal(partner.to_numpy(gradient), dy)


@each_case
@pytest.mark.parametrize("nested", [False, True], ids=["", "nested"])
def test_a_result_is_the_callers_own(case: Case, nested: bool, rng: np.random.Generator, torch: Any) -> None:
    """PyTorch's users write into results; what backward needs must not be there."""
    layer, twin = made(case), made(case)
    if nested:
        layer, twin = (Sequential(inner=Sequential(one=one), flatten=Flatten()) for one in (layer, twin))
    x = drawn(rng, *case.shape)
    y, expected = layer(torch.tensor(x)), twin(x)
    y.fill_(0.25)
    dy = drawn(rng, *expected.shape)
    dx = layer.backward(torch.tensor(dy))
    np.testing.assert_array_equal(dx.numpy(), twin.backward(dy))
    dx.fill_(0.25)
    layer.infer(torch.tensor(x)).fill_(0.25)
    np.testing.assert_array_equal(layer.infer(torch.tensor(x)).numpy(), twin.infer(x))


def test_a_layer_made_of_layers_by_somebody_else_is_looked_into(torch: Any) -> None:
    """Also where they lie in a list, and one of them knows the whole."""

    class Twice(Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = {"both": [ReLU(), ReLU()]}
            self.inner["both"][0].whole = self

        def _forward(self, x: Any, work: Any) -> Any:
            for layer in self.inner["both"]:
                x = layer.forward(x)
            return x, None

        def _backward(self, dy: Any, cache: Any, need_dx: bool, work: Any) -> Any:
            for layer in reversed(self.inner["both"]):
                dy = layer.backward(dy)
            return dy

    layer = Twice()
    layer(torch.tensor([-1.0, 2.0])).fill_(1.0)
    assert layer.backward(torch.tensor([5.0, 7.0])).tolist() == [0.0, 7.0]
    layer.forget()
    assert list(_kept(layer)) == []


def test_forward_and_backward_in_two_libraries(rng: np.random.Generator) -> None:
    """What comes back is of the call's own argument."""
    torch, jax = open_lender("torch"), open_lender("jax")
    x, dy = drawn(rng, 3, 4), drawn(rng, 3, 2)
    expected = (twin := Linear(4, 2, rng=0))(x), twin.backward(dy)
    makers = {"numpy": np.array, "torch": torch.asarray, "jax": jax.asarray}
    kinds = {"numpy": np.ndarray, "torch": torch.array_type, "jax": jax.array_type}
    for there, first in makers.items():
        for back, second in makers.items():
            layer = Linear(4, 2, rng=0)
            y, dx = layer(first(x)), layer.backward(second(dy))
            assert isinstance(y, kinds[there])
            assert isinstance(dx, kinds[back])
            np.testing.assert_array_equal(np.asarray(y), expected[0])
            np.testing.assert_array_equal(np.asarray(dx), expected[1])


def test_batch_statistics_are_followed_once(partner: Partner, rng: np.random.Generator) -> None:
    layer, twin = BatchNorm(3), BatchNorm(3)
    for _ in range(3):
        x = drawn(rng, 4, 3, 2, 5)
        layer(partner.asarray(x))
        twin(x)
        layer.infer(partner.asarray(x))
    assert not np.array_equal(twin.buffers["running_mean"], np.zeros(3))
    for name, value in twin.buffers.items():
        np.testing.assert_array_equal(layer.buffers[name], value)


def test_a_forward_of_ones_own_that_calls_ours_is_called_once(partner: Partner) -> None:
    class Doubled(ReLU):
        def forward(self, x: Any, *, work: Workspace | None = None) -> Any:
            return super().forward(2 * x, work=work)

        def backward(self, dy: Any, *, need_dx: bool = True, work: Workspace | None = None) -> Any:
            return super().backward(2 * dy, need_dx=need_dx, work=work)

        def infer(self, x: Any, *, work: Workspace | None = None) -> Any:
            return super().infer(2 * x, work=work)

    layer, x = Doubled(), partner.asarray([-1.0, 3.0])
    for y in (layer(x), layer.infer(x), layer.backward(x)):
        assert partner.to_numpy(y).tolist()[1] == 6.0


def test_several_threads_infer(partner: Partner, rng: np.random.Generator) -> None:
    model = LeNet5(rng=0)
    batches = [drawn(rng, 2, 1, 28, 28) for _ in range(16)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(model.infer, map(partner.asarray, batches)))
    for x, y in zip(batches, results, strict=True):
        np.testing.assert_array_equal(partner.to_numpy(y), model.infer(x))


def test_with_a_workspace(partner: Partner, rng: np.random.Generator) -> None:
    model, twin, work = small_network("float32"), small_network("float32"), Workspace()
    for _ in range(3):
        x = drawn(rng, *SMALL_SHAPE)
        y, expected = model.forward(partner.asarray(x), work=work), twin(x)
        np.testing.assert_array_equal(partner.to_numpy(y), expected)
        dx = model.backward(partner.asarray(expected), work=work)
        np.testing.assert_allclose(partner.to_numpy(dx), twin.backward(expected), rtol=1e-5, atol=1e-6)
        work.end_step()


# ==== memory ====


class Watching(Layer):
    """Knows where what it was given and what it made lie; makes it where JAX wants it: at a multiple of 64 bytes."""

    def _forward(self, x: Any, work: Any) -> tuple[Any, None]:
        room = np.empty(x.size + 16, x.dtype)
        start = -pointer_of(room) % 64 // x.itemsize
        y = room[start : start + x.size].reshape(x.shape)
        y[...] = x + 1
        self.pointers, self.strides = (pointer_of(x), pointer_of(y)), x.strides
        return y, None

    def _backward(self, dy: Any, cache: None, need_dx: bool, work: Any) -> Any:
        return self._forward(dy, work)[0]


def test_nothing_is_copied_on_the_way_in_nor_out(partner: Partner, rng: np.random.Generator) -> None:
    layer, x = Watching(), partner.asarray(drawn(rng, 5, 3))
    for call in (layer.forward, layer.infer, layer.backward):
        y = call(x)
        assert layer.pointers == (partner.pointer(x), partner.pointer(y))
        np.testing.assert_array_equal(partner.to_numpy(y), partner.to_numpy(x) + 1)
        if call == layer.infer:
            layer.forward(x)


def test_flatten_looks_at_the_callers_memory(partner: Partner, rng: np.random.Generator) -> None:
    layer, x = Flatten(), partner.asarray(drawn(rng, 2, 3, 4, 5))
    y, z = layer(x), layer.infer(x)
    dx = layer.backward(y)
    assert tuple(y.shape) == (2, 60)
    assert tuple(dx.shape) == (2, 3, 4, 5)
    assert partner.pointer(x) == partner.pointer(y) == partner.pointer(z) == partner.pointer(dx)


def test_a_result_outlives_what_it_is_a_view_of(partner: Partner) -> None:
    numbers = np.arange(100_000, dtype=np.float32)
    x = partner.asarray(numbers.reshape(1, 10, 100, 100))
    y = Flatten().infer(x)
    del x
    gc.collect()
    others = [partner.asarray(np.zeros(100_000, np.float32)) for _ in range(8)]
    np.testing.assert_array_equal(partner.to_numpy(y)[0], numbers)
    view = borrow(y)
    del y
    gc.collect()
    others += [partner.asarray(np.zeros(100_000, np.float32)) for _ in range(8)]
    np.testing.assert_array_equal(view[0], numbers)


def test_the_callers_memory_is_let_go(torch: Any) -> None:
    """Once backward is done, nothing of the library holds it."""
    layer, x = Linear(4, 2, rng=0), Namespaced(np.ones((3, 4), np.float32))
    memory = weakref.ref(x.host)
    y = layer(x)
    del x
    gc.collect()
    assert memory() is not None  # backward needs it
    layer.backward(y)
    gc.collect()
    assert memory() is None


LAYOUTS = {
    "channels last": lambda torch, x: x.to(memory_format=torch.channels_last),
    "turned": lambda torch, x: x.permute(3, 1, 2, 0).contiguous().permute(3, 1, 2, 0),
    "every other": lambda torch, x: x.repeat_interleave(2, dim=3)[..., ::2],
    "from the second on": lambda torch, x: torch.cat([x[:1], x])[1:],
    "expanded": lambda torch, x: x[:1].expand(3, -1, -1, -1),
}


@pytest.mark.parametrize("change", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_any_strides_are_taken_as_they_are(change: Any, rng: np.random.Generator, torch: Any) -> None:
    x = change(torch, torch.tensor(drawn(rng, 3, 2, 5, 6)))
    view = borrow(x)
    assert pointer_of(view) == x.data_ptr()
    assert view.strides == tuple(4 * stride for stride in x.stride())
    for layer in (Conv2D(2, 3, 3, rng=0), ReLU(), BatchNorm(2)):
        np.testing.assert_array_equal(layer(x).numpy(), layer(x.numpy()))


def test_strides_that_pytorch_dies_of_and_jax_refuses_are_copied(partner: Partner) -> None:
    host = np.arange(24.0, dtype=np.float32).reshape(4, 6)
    like = partner.asarray([0.0])
    for y in (host[::-1], host[:, ::-2], host[:, ::2], np.broadcast_to(host[0], (4, 6)), host.T, host[0, 0]):
        np.testing.assert_array_equal(partner.to_numpy(give_back(y, like=like)), y)
    assert partner.to_numpy(Flatten().infer(like)).shape == (1, 1)


def test_what_is_read_only_is_not_handed_out_for_writing(torch: Any) -> None:
    """NumPy says that it is; PyTorch can not keep to it, but has at least been told."""
    jax = open_lender("jax")
    host = np.zeros(64, np.float32)
    host.flags.writeable = False
    theirs = give_back(host, like=jax.asarray([0.0]))
    assert jax.pointer(theirs) != pointer_of(host)
    assert not borrow(jax.asarray([0.0])).flags.writeable


# ==== losses ====


@pytest.mark.parametrize("kind", [SoftmaxCrossEntropy, NLLLoss])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_loss_gives_what_it_gives_for_numpy(
    kind: Any, reduction: str, partner: Partner, rng: np.random.Generator
) -> None:
    x, labels = LogSoftmax()(drawn(rng, 6, 4)), np.array([0, 3, 1, 2, 2, 0])
    loss, twin = kind(reduction=reduction), kind(reduction=reduction)
    theirs = partner.asarray(labels)
    value, expected = loss(partner.asarray(x), theirs), twin(x, labels)
    assert tuple(value.shape) == expected.shape
    np.testing.assert_array_equal(partner.to_numpy(value), expected)
    dloss = drawn(rng, 6) if reduction == "none" else 1.0
    gradient = loss.backward(dloss if reduction != "none" else partner.asarray(dloss))
    np.testing.assert_array_equal(partner.to_numpy(gradient), twin.backward(dloss))


def test_a_loss_answers_in_the_type_of_its_scores(partner: Partner, rng: np.random.Generator) -> None:
    x, labels = drawn(rng, 2, 3), np.array([2, 0])
    theirs, loss = partner.asarray(x), SoftmaxCrossEntropy()
    for scores, wanted in ((x, np.ndarray), (theirs, partner.array_type), (x, np.ndarray)):
        for right in (labels, partner.asarray(labels)):
            value = loss(scores, right)
            assert isinstance(value, np.generic if scores is x else partner.array_type)
            assert isinstance(loss.backward(), wanted)
    loss(x, labels)
    assert isinstance(loss.backward(partner.asarray(np.float32(2.0))), partner.array_type)
    loss(theirs, labels)
    assert isinstance(loss.backward(np.float32(2.0)), np.ndarray)


def test_a_loss_is_copied_and_pickled_without_its_caller(partner: Partner) -> None:
    loss = SoftmaxCrossEntropy()
    loss(partner.asarray(np.zeros((1, 2), np.float32)), partner.asarray([1]))
    assert b"from_dlpack" not in pickle.dumps(loss)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        with pytest.raises(RuntimeError, match="forward first"):
            other.backward()
        assert isinstance(other(np.zeros((1, 2)), np.array([1])), np.float64)


# ==== training ====


def test_a_step_of_training_is_the_same(partner: Partner, rng: np.random.Generator) -> None:
    """To the bit with PyTorch. JAX copies gradients into another memory order, in which sums round differently."""
    within = {"rtol": 0.0, "atol": 0.0} if partner.name == "torch" else {"rtol": 1e-5, "atol": 1e-6}
    models = LeNet5(rng=0), LeNet5(rng=0)
    optimizers = [SGD(model) for model in models]
    loss = SoftmaxCrossEntropy()
    for _ in range(3):
        x, labels = drawn(rng, 8, 1, 28, 28), rng.integers(10, size=8).astype(np.int32)
        theirs = partner.asarray(x), partner.asarray(labels)
        value, logits = train_step(models[0], loss, optimizers[0], *theirs, 0.05)
        expected = train_step(models[1], loss, optimizers[1], x, labels, 0.05)
        np.testing.assert_allclose(partner.to_numpy(value), expected[0], **within)
        np.testing.assert_allclose(partner.to_numpy(logits), expected[1], **within)
    for name, array in models[1].state_dict().items():
        np.testing.assert_allclose(models[0].state_dict()[name], array, **within)


def test_a_loss_of_ones_own_gets_what_the_caller_works_with(torch: Any) -> None:
    class Squares:
        def forward(self, scores: Any, labels: Any, **options: Any) -> Any:
            self.scores = scores.clone().requires_grad_()
            self.value = torch.nn.functional.mse_loss(self.scores, labels)
            return self.value.detach()

        def backward(self, **options: Any) -> Any:
            self.value.backward()
            return self.scores.grad

    model, x, target = Linear(3, 2, rng=0), torch.ones(4, 3), torch.zeros(4, 2)
    optimizer = SGD(model, momentum=0.0, nesterov=False)
    values = [float(train_step(model, Squares(), optimizer, x, target, 0.3)[0]) for _ in range(30)]
    assert values[-1] < 0.01 * values[0]


def test_what_the_loss_refuses_moves_no_statistics(partner: Partner, rng: np.random.Generator) -> None:
    model = small_network("float32")
    before = model.state_dict()
    with pytest.raises(ValueError, match="labels from 7"):
        train_step(
            model,
            SoftmaxCrossEntropy(),
            SGD(model),
            partner.asarray(drawn(rng, *SMALL_SHAPE)),
            partner.asarray(np.full(5, 7)),
            0.1,
        )
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


# ==== what is refused ====


def test_a_gradient_is_not_lost(torch: Any) -> None:
    x, loss = torch.ones(2, 3, requires_grad=True), SoftmaxCrossEntropy()
    layer = Linear(3, 3, rng=0)
    for given in (x, torch.nn.Parameter(torch.ones(2, 3)), x * 2):
        for call in (layer, layer.infer, lambda t: loss(t, np.array([0, 1])), borrow):
            with pytest.raises(TypeError, match=r"requires_grad=True; expected .*; pass \w+\.detach\(\)"):
                call(given)
    layer(x.detach())
    with pytest.raises(TypeError, match=r"Linear: got dy, .* with requires_grad=True"):
        layer.backward(x)
    assert layer.backward(x.detach()).shape == (2, 3)


def test_a_derivative_that_goes_forward_is_not_lost(torch: Any) -> None:
    from torch.autograd import forward_ad

    x = torch.ones(2, 3)
    with forward_ad.dual_level():
        with warnings.catch_warnings():  # PyTorch warns of itself
            warnings.simplefilter("ignore")
            dual = forward_ad.make_dual(x, x)
        with pytest.raises(TypeError, match=r"ReLU: got x, .* with a forward-mode derivative; expected .*detach"):
            ReLU()(dual)
        assert ReLU()(x).shape == (2, 3)


@pytest.mark.parametrize("without", ["no_grad", "inference_mode"])
def test_where_pytorch_records_no_gradient_none_is_lost(torch: Any, without: str) -> None:
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    with getattr(torch, without)():
        y = ReLU()(x)
    assert y.tolist() == [0.0, 2.0]
    assert not y.requires_grad


def test_frozen_parameters_and_classes_of_ones_own_are_tensors(torch: Any) -> None:
    class Mine(torch.Tensor):
        pass

    for x in (torch.nn.Parameter(torch.ones(2), requires_grad=False), torch.ones(2).as_subclass(Mine)):
        y = ReLU()(x)
        assert isinstance(y, torch.Tensor)
        assert y.tolist() == [1.0, 1.0]


REFUSED = {
    "bfloat16": (lambda torch: torch.zeros(2, 3, dtype=torch.bfloat16), "bfloat16"),
    "float16": (lambda torch: torch.zeros(2, 3, dtype=torch.float16), "float16"),
    "float8": (lambda torch: torch.zeros(2, 3).to(torch.float8_e4m3fn), "float8_e4m3fn"),
    "int64": (lambda torch: torch.zeros(2, 3, dtype=torch.int64), "int64"),
    "complex64": (lambda torch: torch.zeros(2, 3, dtype=torch.complex64), "complex64"),
    "conjugated": (lambda torch: torch.zeros(2, 3, dtype=torch.complex64).conj(), "conjugate"),
    "sparse": (lambda torch: torch.zeros(2, 3).to_sparse(), "layout"),
    "without data": (lambda torch: torch.zeros(2, 3, device="meta"), "meta"),
    "float64": (lambda torch: torch.zeros(2, 3, dtype=torch.float64), "float64, weight float32"),
}


@pytest.mark.parametrize(("make", "word"), REFUSED.values(), ids=REFUSED.keys())
def test_what_layers_do_not_compute_with_is_told(torch: Any, make: Any, word: str) -> None:
    layer = Linear(3, 2, rng=0)
    for call in (layer, layer.infer):
        with pytest.raises(TypeError, match=rf"(?i)linear: got x.*{word}.*; expected .*; \w+"):
            call(make(torch))
    assert layer._cache is None


def test_bfloat16_of_jax_is_told() -> None:
    jax = open_lender("jax").module
    with pytest.raises(TypeError, match=r"ReLU: got x, .* of bfloat16 that cannot be lent .*; expected .*; convert"):
        ReLU()(jax.numpy.zeros(3, jax.numpy.bfloat16))


def test_what_is_being_traced_is_told(torch: Any) -> None:
    jax = open_lender("jax").module
    image, loss = jax.numpy.zeros((3, 4)), SoftmaxCrossEntropy()
    calls: list[Any] = [
        lambda: jax.jit(ReLU())(image),
        lambda: jax.grad(lambda x: ReLU()(x).sum())(image),
        lambda: jax.vmap(ReLU().infer)(image),
        lambda: jax.jit(lambda x: loss(x, np.array([0, 1, 2])))(image),
        lambda: jax.jit(borrow)(image),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"\w: got .*, .* is being traced .*; expected .*; let jax\.pure_callback"):
            call()
    with pytest.raises(TypeError, match=r"ReLU: got x, .*; expected .*; convert it first"):
        torch.func.vmap(ReLU())(torch.zeros(3, 4))
    with pytest.raises(TypeError, match="requires_grad"):
        torch.func.grad(lambda x: ReLU()(x).sum())(torch.zeros(3))


def test_a_sign_that_pytorch_has_yet_to_change_is_changed(torch: Any) -> None:
    """PyTorch lends such memory without a word about it."""
    x = torch.complex(torch.ones(3), torch.tensor([1.0, -2.0, 3.0])).conj().imag
    assert x.is_neg()
    assert borrow(x).tolist() == [-1.0, 2.0, -3.0]
    assert ReLU()(x).tolist() == [0.0, 2.0, 0.0]


def test_a_layer_that_lives_elsewhere_names_both(partner: Partner, device_lib: Lib) -> None:
    with on(device_lib):
        layer = Linear(3, 2, rng=0)
    with pytest.raises(TypeError, match=rf"Linear: got x of numpy and weight of {device_lib.name}; expected one libr"):
        layer(partner.asarray(np.zeros((2, 3), np.float32)))


def test_functions_stay_with_their_libraries_and_name_the_way(partner: Partner) -> None:
    x = partner.asarray(np.array([-1.0, 2.0], np.float32))
    with pytest.raises(TypeError, match=r"relu: got x, .*pass xlenet\.interop\.borrow\(x\), and .*interop\.give_back"):
        functional.relu.forward(x)
    y, cache = functional.relu.forward(borrow(x))
    assert partner.to_numpy(give_back(y, like=x)).tolist() == [0.0, 2.0]
    dx = give_back(functional.relu.backward(borrow(x), cache), like=x)
    assert partner.to_numpy(dx).tolist() == [0.0, 2.0]


def test_our_own_arrays_pass_as_they_are(lib: Lib) -> None:
    x = lib.asarray([1.0, 2.0])
    assert borrow(x) is x
    assert give_back(x, like=lib.asarray([0.0])) is x


def test_a_type_that_the_other_library_has_not(partner: Partner) -> None:
    with pytest.raises(TypeError, match=r"give_back: got y .* of shape \(2,\), which .* does not take .*; cast it"):
        give_back(np.array(["a", "b"]), like=partner.asarray([0.0]))


# ==== other lenders ====


class Namespaced(Lender):
    """One whose library is known."""

    def __array_namespace__(self) -> Any:
        return SimpleNamespace(from_dlpack=Namespaced)


def test_whoever_speaks_dlpack_gets_back_what_its_library_makes() -> None:
    y = ReLU()(Namespaced(np.array([-1.0, 2.0])))
    assert type(y) is Namespaced
    assert y.host.tolist() == [0.0, 2.0]


def test_without_a_way_back_nothing_has_changed() -> None:
    layer = BatchNorm(2)
    for call in (layer, layer.infer):
        with pytest.raises(TypeError, match=r"got like, .*Lender, whose library has no from_dlpack; .*borrow\(x\)"):
            call(Lender(np.ones((3, 2), np.float32)))
    assert layer._cache is None
    assert layer.buffers["running_mean"].tolist() == [0.0, 0.0]


def test_memory_of_another_kind_is_told() -> None:
    with pytest.raises(TypeError, match=r"ReLU: got x, .*memory of DLPack's kind 8.*NVIDIA GPU; convert it first"):
        ReLU()(Namespaced(np.ones(2), (8, 0)))


@pytest.mark.parametrize("memory", [2, 13])
def test_memory_of_a_gpu_is_cupys(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def resolve(name: str) -> Any:
        asked.append(name)
        return SimpleNamespace(xp=SimpleNamespace(from_dlpack=lambda x: x.host))

    monkeypatch.setattr(foreign, "resolve_backend", resolve)
    host = np.ones(2)
    assert borrow(Lender(host, (memory, 1))) is host
    assert asked == ["cupy"]
    assert borrow(Lender(host, (3, 0))).tolist() == [1.0, 1.0]  # pinned: of the host
    assert asked == ["cupy"]


def test_what_lies_on_a_gpu_is_computed_there(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in for CuPy; `test_on_a_gpu` is the real thing."""

    class OnGPU:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __dlpack__(self, **options: Any) -> Any:
            raise AssertionError("the host has no business here")

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

        def __array_namespace__(self) -> Any:
            return SimpleNamespace(from_dlpack=OnGPU)

    layer, x, labels = Linear(3, 2, rng=0), drawn(rng, 4, 3), np.array([0, 1, 1, 0])
    loss, twin = SoftmaxCrossEntropy(), SoftmaxCrossEntropy()
    with fake_cupy.installed() as cupy:
        monkeypatch.setattr(cupy, "from_dlpack", lambda lender: lender.array, raising=False)
        with use_backend("cupy"):
            there = Linear(3, 2, rng=0)
        theirs = OnGPU(cupy.asarray(x))
        y = there(theirs)
        value = loss(y, OnGPU(cupy.asarray(labels)))
        dx = there.backward(loss.backward())
        for got in (y, value, dx):
            assert type(got) is OnGPU
            assert type(got.array) is cupy.ndarray
        expected = layer(x)
        np.testing.assert_allclose(y.array.get(), expected, rtol=1e-5)
        np.testing.assert_allclose(value.array.get(), twin(expected, labels), rtol=1e-5)
        np.testing.assert_allclose(dx.array.get(), layer.backward(twin.backward()), rtol=1e-5, atol=1e-6)
        with pytest.raises(TypeError, match=r"Linear: got x of cupy and weight of numpy; .*\.to\('cupy'\)"):
            layer(theirs)
        with pytest.raises(TypeError, match=r"Linear: got x of numpy and weight of cupy; .*\.to\('numpy'\)"):
            there(Namespaced(x))


def test_cupy_that_cannot_be_used_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(name: str) -> Any:
        raise BackendError(f"backend {name}: got no GPU; expected one; buy one")

    monkeypatch.setattr(foreign, "resolve_backend", resolve)
    with pytest.raises(BackendError, match="buy one"):
        borrow(Lender(np.ones(2), (2, 0)))


def test_the_names_are_in_the_wheel(cupy_wheel: Any) -> None:
    for name in ("from_dlpack", "may_share_memory", "asarray", "array"):
        assert callable(getattr(cupy_wheel, name))
    assert {"__dlpack__", "__dlpack_device__", "strides"} <= set(dir(cupy_wheel.ndarray))


def test_on_a_gpu(rng: np.random.Generator, torch: Any) -> None:
    lib = open_library("cupy")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch is installed without CUDA")
    with on(lib):
        layer = Linear(3, 2, rng=0)
    twin, x = Linear(3, 2, rng=0), drawn(rng, 4, 3)
    y = layer(torch.tensor(x, device="cuda"))
    assert y.device.type == "cuda"
    np.testing.assert_allclose(y.cpu().numpy(), twin(x), rtol=1e-5, atol=1e-5)
    image = torch.ones(2, 3, 4, 5, device="cuda")
    assert Flatten()(image).data_ptr() == image.data_ptr()
    with pytest.raises(TypeError, match="got x of cupy and weight of numpy"):
        twin(torch.tensor(x, device="cuda"))
    with pytest.raises(TypeError, match="got x of numpy and weight of cupy"):
        layer(torch.tensor(x))


JAX_ON_A_GPU = """
import jax, numpy as np
from xlenet import Flatten, Linear, use_backend
try:
    gpu = jax.devices("cuda")[0]
except RuntimeError:
    print("no CUDA")
    raise SystemExit
with use_backend("cupy"):
    layer = Linear(3, 2, rng=0)
twin, x = Linear(3, 2, rng=0), np.random.default_rng(0).standard_normal((4, 3), np.float32)
theirs = jax.device_put(x, gpu)
y = layer(theirs)
dx = layer.backward(jax.numpy.ones_like(y))
for got, expected in ((y, twin(x)), (dx, twin.backward(np.ones((4, 2), np.float32)))):
    assert got.devices() == {gpu}
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-5, atol=1e-5)
image = jax.device_put(np.ones((2, 3, 4, 5), np.float32), gpu)
assert Flatten()(image).unsafe_buffer_pointer() == image.unsafe_buffer_pointer()
try:
    twin(theirs)
except TypeError as error:
    print(error)
"""


def test_jax_on_a_gpu() -> None:
    """In a process of its own: here, JAX has none."""
    open_library("cupy")
    open_partner("jax", "jax")
    mine = {"JAX_PLATFORMS": "cuda,cpu", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    done = subprocess.run(
        [sys.executable, "-c", JAX_ON_A_GPU], env=os.environ | mine, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if done.stdout.strip() == "no CUDA":
        pytest.skip("JAX is installed without CUDA")
    assert "Linear: got x of cupy and weight of numpy; expected one library" in done.stdout
