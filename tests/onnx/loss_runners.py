"""ONNX's operators around the loss of a classifier, in terms of xlenet's functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.libraries import Lib
from xlenet.functional import log_softmax, nll_loss, softmax, softmax_cross_entropy


def probabilities(lib: Lib, attributes: dict[str, Any], inputs: list[Any | None], wanted: int) -> list[Any]:
    return [softmax.forward(inputs[0], attributes.get("axis", -1))[0]]


def log_probabilities(lib: Lib, attributes: dict[str, Any], inputs: list[Any | None], wanted: int) -> list[Any]:
    return [log_softmax.forward(inputs[0], attributes.get("axis", -1))[0]]


def cross_entropy(lib: Lib, attributes: dict[str, Any], inputs: list[Any | None], wanted: int) -> list[Any]:
    logits, labels, *rest = inputs
    loss, _ = softmax_cross_entropy.forward(logits, labels, **options_of(attributes, rest))
    return [loss] if wanted == 1 else [loss, log_softmax.forward(logits, axis=1)[0]]


def likelihood(lib: Lib, attributes: dict[str, Any], inputs: list[Any | None], wanted: int) -> list[Any]:
    log_p, labels, *rest = inputs
    return [nll_loss.forward(log_p, labels, **options_of(attributes, rest))[0]]


def options_of(attributes: dict[str, Any], rest: list[Any | None]) -> dict[str, Any]:
    return {
        "weight": rest[0] if rest else None,
        "ignore_index": attributes.get("ignore_index"),
        "reduction": attributes.get("reduction", b"mean").decode(),
    }


RUNNERS: dict[str, Callable[[Lib, dict[str, Any], list[Any | None], int], list[Any]]] = {
    "Softmax": probabilities,
    "LogSoftmax": log_probabilities,
    "SoftmaxCrossEntropyLoss": cross_entropy,
    "NegativeLogLikelihoodLoss": likelihood,
}
