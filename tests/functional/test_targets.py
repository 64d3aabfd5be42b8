"""What both losses of a classifier can do besides a plain mean: weights, labels that do not count, labels at each place
of an image, and other ways to put many losses together.
"""

from __future__ import annotations

import itertools
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.functional.messages import message
from tests.layouts import LAYOUTS
from tests.libraries import Lib
from xlenet.functional import log_softmax, nll_loss, softmax_cross_entropy

TOLERANCE = {"float32": {"rtol": 2e-5, "atol": 1e-6}, "float64": {"rtol": 1e-12, "atol": 1e-13}}
SHAPES = [(6, 4), (1, 4), (5, 1), (3, 4, 5), (2, 4, 3, 2), (2, 3, 1, 2, 2)]
REDUCTIONS = ["mean", "sum", "none"]
SCORES = {"softmax_cross_entropy": "logits", "nll_loss": "log_probabilities"}

each_loss = pytest.mark.parametrize("loss", [softmax_cross_entropy, nll_loss], ids=list(SCORES))
each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
# An index that is no class, a class, and both kinds far away.
every_way = pytest.mark.parametrize(
    ("shape", "weighted", "ignore_index", "reduction"),
    list(itertools.product(SHAPES, [False, True], [None, -100, 0, 1 << 40], REDUCTIONS)),
)


def name_of(loss: ModuleType) -> str:
    return loss.__name__.rpartition(".")[2]


def draw(rng: np.random.Generator, shape: Any, ignore_index: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, labels of which some are to be ignored (but not all), and weights."""
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    if ignore_index is not None:
        labels[rng.random(labels.shape) < 0.3] = ignore_index
        labels.flat[0] = shape[1] - 1
    return 3 * rng.standard_normal(shape), labels, rng.uniform(0.1, 3.0, shape[1])


def draw_dloss(rng: np.random.Generator, labels: np.ndarray, reduction: str) -> np.ndarray:
    return np.asarray(rng.standard_normal(labels.shape if reduction == "none" else ()))


def expected_of(
    loss: ModuleType, scores: np.ndarray, labels: np.ndarray, dloss: Any, *options: Any
) -> tuple[Any, np.ndarray]:
    """Value and gradient by the oracles."""
    if loss is nll_loss:
        return oracles.nll_loss(scores, labels, *options), oracles.nll_loss_gradient(scores, labels, *options, dloss)
    log_p = oracles.log_softmax(scores, 1)
    by_log_p = oracles.nll_loss_gradient(log_p, labels, *options, dloss)
    return oracles.nll_loss(log_p, labels, *options), oracles.log_softmax_gradient(scores, by_log_p, 1)


# ==== against loops, and against PyTorch ====


@every_way
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_loss
def test_value_and_gradient_against_loops(
    lib: Lib,
    rng: np.random.Generator,
    loss: ModuleType,
    dtype: str,
    shape: Any,
    weighted: bool,
    ignore_index: int | None,
    reduction: str,
) -> None:
    scores, labels, weight = draw(rng, shape, ignore_index)
    if shape[1] == 1 and ignore_index == 0:
        labels[...] = ignore_index  # the only class there is: nothing counts
        reduction = reduction.replace("mean", "sum")
    scores, weight = scores.astype(dtype), weight.astype(dtype)
    dloss = draw_dloss(rng, labels, reduction).astype(dtype)
    options = weight if weighted else None, ignore_index, reduction
    value, gradient = expected_of(loss, scores, labels, dloss, *options)
    result, cache = loss.forward(
        lib.asarray(scores),
        lib.asarray(labels),
        weight=lib.asarray(weight) if weighted else None,
        ignore_index=ignore_index,
        reduction=reduction,
    )
    lib.assert_close(result, value, dtype=dtype, **TOLERANCE[dtype])
    lib.assert_close(loss.backward(lib.asarray(dloss), cache), gradient, dtype=dtype, **TOLERANCE[dtype])


@every_way
@each_loss
def test_as_pytorch_has_it(
    lib: Lib,
    torch: ModuleType,
    rng: np.random.Generator,
    loss: ModuleType,
    shape: Any,
    weighted: bool,
    ignore_index: int | None,
    reduction: str,
) -> None:
    scores, labels, weight = draw(rng, shape, ignore_index)
    dloss = draw_dloss(rng, labels, reduction)
    tensor = torch.tensor(scores, requires_grad=True)
    function = torch.nn.functional.nll_loss if loss is nll_loss else torch.nn.functional.cross_entropy
    theirs = function(
        tensor,
        torch.tensor(labels),
        weight=torch.tensor(weight) if weighted else None,
        reduction=reduction,
        ignore_index=-1000 if ignore_index is None else ignore_index,
    )
    theirs.backward(torch.tensor(dloss))
    nothing_counts = bool(np.all(labels == ignore_index))
    with np.errstate(invalid="ignore" if nothing_counts else "raise"):
        result, cache = loss.forward(
            lib.asarray(scores),
            lib.asarray(labels),
            weight=lib.asarray(weight) if weighted else None,
            ignore_index=ignore_index,
            reduction=reduction,
        )
    lib.assert_close(result, theirs.detach().numpy(), rtol=1e-11, atol=1e-12)
    lib.assert_close(loss.backward(lib.asarray(dloss), cache), tensor.grad.numpy(), rtol=1e-11, atol=1e-12)


@every_way
def test_log_softmax_and_nll_loss_are_softmax_cross_entropy(
    lib: Lib, rng: np.random.Generator, shape: Any, weighted: bool, ignore_index: int | None, reduction: str
) -> None:
    scores, labels, weight = draw(rng, shape, ignore_index)
    if np.all(labels == ignore_index):
        reduction = reduction.replace("mean", "sum")
    dloss = lib.asarray(draw_dloss(rng, labels, reduction))
    options: dict[str, Any] = {
        "weight": lib.asarray(weight) if weighted else None,
        "ignore_index": ignore_index,
        "reduction": reduction,
    }
    logits, labels = lib.asarray(scores), lib.asarray(labels)
    value, cache = softmax_cross_entropy.forward(logits, labels, **options)
    gradient = softmax_cross_entropy.backward(dloss, cache)
    log_p, of_softmax = log_softmax.forward(logits, 1)
    result, of_loss = nll_loss.forward(log_p, labels, **options)
    lib.assert_close(result, lib.to_numpy(value))
    lib.assert_close(log_softmax.backward(nll_loss.backward(dloss, of_loss), of_softmax), lib.to_numpy(gradient))


@pytest.mark.parametrize("layout", LAYOUTS)
@each_reduction
@each_loss
def test_any_memory_order(lib: Lib, rng: np.random.Generator, loss: ModuleType, reduction: str, layout: str) -> None:
    scores, labels, weight = draw(rng, (3, 4, 2, 5), -1)
    dloss, lay = draw_dloss(rng, labels, reduction), LAYOUTS[layout]
    value, gradient = expected_of(loss, scores, labels, dloss, weight, -1, reduction)
    result, cache = loss.forward(
        lay(lib, scores), lay(lib, labels), weight=lay(lib, weight), ignore_index=-1, reduction=reduction
    )
    lib.assert_close(result, value)
    lib.assert_close(loss.backward(lay(lib, dloss) if reduction == "none" else lib.asarray(dloss), cache), gradient)


# ==== labels that do not count ====


@pytest.mark.parametrize("ignore_index", [-1, 1, 7])
@each_reduction
@each_loss
def test_what_stands_beside_an_ignored_label_is_of_no_account(
    lib: Lib, rng: np.random.Generator, loss: ModuleType, reduction: str, ignore_index: int
) -> None:
    """Not even where it is no number."""
    scores, labels, _ = draw(rng, (4, 3), None)
    labels[:] = [0, ignore_index, 2, ignore_index]
    spoilt = scores.copy()
    spoilt[1], spoilt[3] = np.nan, [np.inf, -np.inf, np.inf]
    dloss, results = lib.asarray(draw_dloss(rng, labels, reduction)), []
    for array in (scores, spoilt):
        value, cache = loss.forward(
            lib.asarray(array), lib.asarray(labels), ignore_index=ignore_index, reduction=reduction
        )
        results.append((value, loss.backward(dloss, cache)))
    (value, gradient), (other_value, other_gradient) = results
    lib.assert_equal(other_value, lib.to_numpy(value))
    lib.assert_equal(other_gradient, lib.to_numpy(gradient))
    assert not lib.to_numpy(gradient)[[1, 3]].any()
    assert np.isfinite(lib.to_numpy(value)).all()


@pytest.mark.parametrize("weighted", [False, True])
@each_loss
def test_where_nothing_counts_the_mean_is_not_a_number_and_the_gradient_zero(
    lib: Lib, rng: np.random.Generator, loss: ModuleType, weighted: bool
) -> None:
    scores, labels = lib.asarray(rng.standard_normal((3, 2))), lib.asarray([-1, -1, -1])
    options = {"weight": lib.asarray([1.0, 2.0]) if weighted else None, "ignore_index": -1}
    with np.errstate(invalid="ignore"):
        value, cache = loss.forward(scores, labels, **options)
    lib.assert_equal(value, np.nan)
    lib.assert_equal(loss.backward(1.0, cache), np.zeros((3, 2)))
    for reduction, nothing in (("sum", 0.0), ("none", np.zeros(3))):
        lib.assert_equal(loss.forward(scores, labels, **options, reduction=reduction)[0], nothing)


def test_numpy_warns_of_a_mean_of_nothing() -> None:
    with pytest.warns(RuntimeWarning, match="invalid value"):
        nll_loss.forward(np.zeros((1, 2)), np.array([-1]), ignore_index=-1)


@each_loss
def test_a_class_of_no_weight_has_no_gradient_and_does_not_count(lib: Lib, loss: ModuleType) -> None:
    scores, labels = lib.asarray([[-1.0, -2.0], [-3.0, -4.0]]), lib.asarray([0, 1])
    value, cache = loss.forward(scores, labels, weight=lib.asarray([1.0, 0.0]))
    alone, _ = loss.forward(scores[:1, :], labels[:1])
    lib.assert_close(value, lib.to_numpy(alone))
    assert not lib.to_numpy(loss.backward(1.0, cache))[1].any()


@each_loss
def test_one_weight_for_all_changes_nothing_in_a_mean(lib: Lib, rng: np.random.Generator, loss: ModuleType) -> None:
    scores, labels = lib.asarray(rng.standard_normal((5, 3))), lib.asarray([0, 2, 1, 1, 0])
    plain, of_plain = loss.forward(scores, labels)
    value, cache = loss.forward(scores, labels, weight=lib.asarray([7.0, 7.0, 7.0]))
    lib.assert_close(value, lib.to_numpy(plain))
    lib.assert_close(loss.backward(1.0, cache), lib.to_numpy(loss.backward(1.0, of_plain)))


@each_loss
def test_a_wrong_label_that_nobody_checked_finds_no_weight(lib: Lib, loss: ModuleType) -> None:
    """As an index it would wrap round, or read somebody else's memory."""
    scores = lib.asarray(np.zeros((2, 3)))
    value, _ = loss.forward(
        scores, lib.asarray([3, -1]), weight=lib.asarray([1.0, 2.0, 4.0]), reduction="sum", labels_checked=True
    )
    lib.assert_equal(value, 0.0)


# ==== errors ====


@pytest.mark.parametrize("reduction", ["MEAN", "average", "", None, 1])
@pytest.mark.parametrize("checked", [True, False])
@each_loss
def test_another_reduction_is_refused(lib: Lib, loss: ModuleType, checked: bool, reduction: Any) -> None:
    refused = message(name_of(loss), got=f"reduction {reduction!r}", expected="'mean', 'sum' or 'none'")
    with pytest.raises(ValueError, match=refused):
        loss.forward(lib.asarray(np.zeros((2, 3))), lib.asarray([0, 1]), reduction=reduction, labels_checked=checked)


@pytest.mark.parametrize("shape", [(), (2,), (4,), (1,), (3, 1), (1, 3)])
@pytest.mark.parametrize("checked", [True, False])
@each_loss
def test_weights_of_another_shape_are_refused(lib: Lib, loss: ModuleType, checked: bool, shape: Any) -> None:
    with pytest.raises(ValueError, match=message(name_of(loss), got=f"weight of shape {shape}", expected="(3,)")):
        loss.forward(
            lib.asarray(np.zeros((2, 3))),
            lib.asarray([0, 1]),
            weight=lib.asarray(np.ones(shape)),
            labels_checked=checked,
        )


@pytest.mark.parametrize("dtype", ["float32", "int64"])
@each_loss
def test_weights_of_another_type_are_refused(lib: Lib, loss: ModuleType, dtype: str) -> None:
    refused = message(name_of(loss), got=f"{SCORES[name_of(loss)]} ", expected="all float32 or all float64")
    with pytest.raises(TypeError, match=refused):
        loss.forward(lib.asarray(np.zeros((2, 3))), lib.asarray([0, 1]), weight=lib.asarray([1, 1, 1], dtype))


@each_loss
def test_weights_of_another_library_are_refused(numpy_lib: Lib, device_lib: Lib, loss: ModuleType) -> None:
    with pytest.raises(TypeError, match=r"got \w+ of \w+ and weight of numpy; expected one library; .*to_device"):
        loss.forward(
            device_lib.asarray(np.zeros((2, 3))), device_lib.asarray([0, 1]), weight=numpy_lib.asarray(np.ones(3))
        )


@each_loss
def test_weights_that_are_a_list_are_refused(lib: Lib, loss: ModuleType) -> None:
    with pytest.raises(TypeError, match=r"got weight, a builtins\.list; expected an array"):
        loss.forward(lib.asarray(np.zeros((2, 3))), lib.asarray([0, 1]), weight=[1.0, 1.0, 1.0])


@pytest.mark.parametrize("ignore_index", [1.0, "1", True, [1]])
@pytest.mark.parametrize("checked", [True, False])
@each_loss
def test_an_index_that_is_no_whole_number_is_refused(
    lib: Lib, loss: ModuleType, checked: bool, ignore_index: Any
) -> None:
    refused = message(name_of(loss), got=f"ignore_index {ignore_index!r}", expected="a whole number")
    with pytest.raises(TypeError, match=refused):
        loss.forward(
            lib.asarray(np.zeros((2, 3))), lib.asarray([0, 1]), ignore_index=ignore_index, labels_checked=checked
        )


@pytest.mark.parametrize("labels", [[0, 3, 1], [0, -1, 1], [2, -100, 7], [-100, 3, 3]])
@each_loss
def test_a_label_out_of_range_is_refused_beside_one_that_is_ignored(
    lib: Lib, loss: ModuleType, labels: list[int]
) -> None:
    """The range that is named is of those that count."""
    counting = [label for label in labels if label != -100]
    refused = message(
        name_of(loss),
        got=f"labels from {min(counting)} to {max(counting)}",
        expected="0 to 2 or ignore_index -100",
    )
    with pytest.raises(ValueError, match=refused):
        loss.forward(lib.asarray(np.zeros((3, 3))), lib.asarray(labels), ignore_index=-100)
    with pytest.raises(ValueError, match=message(name_of(loss), got="labels from", expected="0 to 2")):
        loss.forward(lib.asarray(np.zeros((3, 3))), lib.asarray(labels))


@pytest.mark.parametrize("shape", [(2,), (2, 5), (2, 4, 6), (2, 4, 5, 1), (4, 5), (3, 4, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("checked", [True, False])
@each_loss
def test_labels_of_another_shape_are_refused(lib: Lib, loss: ModuleType, checked: bool, shape: Any) -> None:
    refused = message(name_of(loss), got=f"labels of shape {shape}", expected="(2, 4, 5)")
    with pytest.raises(ValueError, match=refused):
        loss.forward(lib.asarray(np.zeros((2, 3, 4, 5))), lib.asarray(np.zeros(shape, "int64")), labels_checked=checked)


@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (2, 0), (2, 3, 0), (2, 0, 4)])
@each_loss
def test_too_few_axes_and_empty_ones_are_refused(lib: Lib, loss: ModuleType, shape: Any) -> None:
    got = f"{SCORES[name_of(loss)]} of shape {shape}"
    with pytest.raises(ValueError, match=message(name_of(loss), got=got, expected="(N, K) or (N, K, ...)")):
        loss.forward(lib.asarray(np.zeros(shape)), lib.asarray([0, 1]))


# ==== what comes after the loss ====


@each_loss
def test_a_dloss_that_is_not_of_the_labels_shape_is_refused(lib: Lib, loss: ModuleType) -> None:
    _, cache = loss.forward(lib.asarray(np.zeros((2, 3, 4))), lib.asarray(np.zeros((2, 4), int)), reduction="none")
    for shape in ((), (2,), (4,), (1, 4), (2, 3, 4), (2, 1, 4)):
        refused = message(name_of(loss), got=f"dloss of shape {shape}", expected="(2, 4)")
        with pytest.raises(ValueError, match=refused):
            loss.backward(lib.asarray(np.ones(shape)), cache)


@each_loss
def test_a_plain_number_as_dloss_of_many_losses_is_refused(lib: Lib, loss: ModuleType) -> None:
    _, cache = loss.forward(lib.asarray(np.zeros((2, 3))), lib.asarray([0, 1]), reduction="none")
    with pytest.raises(ValueError, match=message(name_of(loss), got="dloss 1.0", expected="(2,)")):
        loss.backward(1.0, cache)


@each_loss
def test_a_dloss_of_another_type_or_library_is_refused(numpy_lib: Lib, device_lib: Lib, loss: ModuleType) -> None:
    _, cache = loss.forward(
        device_lib.asarray(np.zeros((2, 3)), "float32"), device_lib.asarray([0, 1]), reduction="none"
    )
    with pytest.raises(TypeError, match=message(name_of(loss), got="dloss", expected="float32")):
        loss.backward(device_lib.asarray([1.0, 1.0]), cache)
    with pytest.raises(TypeError, match=r"got dloss of numpy and x of \w+; expected one library"):
        loss.backward(numpy_lib.asarray([1.0, 1.0], "float32"), cache)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", [(2,), (1,), (2, 3), (1, 1)])
@each_loss
def test_a_dloss_of_one_loss_is_one_number(lib: Lib, loss: ModuleType, shape: Any, reduction: str) -> None:
    _, cache = loss.forward(lib.asarray(np.zeros((2, 3))), lib.asarray([0, 1]), reduction=reduction)
    refused = message(name_of(loss), got=f"dloss of shape {shape}", expected="()")
    with pytest.raises(ValueError, match=refused) as error:
        loss.backward(lib.asarray(np.ones(shape)), cache)
    assert f"already the {reduction} over the batch" in str(error.value)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@each_loss
def test_numpys_own_numbers_do_not_change_the_type(numpy_lib: Lib, loss: ModuleType, reduction: str) -> None:
    """numpy.float64 promotes float32 arrays where a Python float does not."""
    scores, labels = np.zeros((2, 3), np.float32), np.array([0, 1])
    for weight in (None, np.ones(3, np.float32)):
        _, cache = loss.forward(scores, labels, weight=weight, reduction=reduction)
        for dloss in (np.float64(0.5), np.array(0.5)):
            numpy_lib.assert_close(loss.backward(dloss, cache), loss.backward(0.5, cache), rtol=1e-6, dtype="float32")
