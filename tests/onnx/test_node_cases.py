"""The node tests of ONNX, and what PyTorch has written as ONNX, with these layers on every library."""

from __future__ import annotations

import pytest

from tests.libraries import Lib, open_partner
from tests.onnx.cases import LEFT_OUT, NODE, PYTORCH, TRAINING
from tests.onnx.harness import Case, load_cases, run

OPERATORS = frozenset(NODE)


def names_of(table: dict[str, list[str]]) -> list[str]:
    """The names of all cases in `table`."""
    return [name for names in table.values() for name in names]


@pytest.fixture(scope="session")
def cases() -> dict[str, Case]:
    """Every case made of the operators that are here, by its name."""
    open_partner("onnx", "onnx")
    return load_cases(OPERATORS)


@pytest.mark.parametrize("name", names_of(NODE) + names_of(PYTORCH))
def test_a_case_comes_out_as_stored(lib: Lib, cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    assert case.data_sets
    for inputs, expected in case.data_sets:
        results = run(lib, case, inputs)
        assert len(results) == len(expected) > 0
        for result, wanted in zip(results, expected, strict=True):
            lib.assert_close(result, wanted, rtol=case.rtol, atol=case.atol, dtype=str(wanted.dtype))


def test_no_case_has_disappeared(cases: dict[str, Case]) -> None:
    """A release of `onnx` may bring new ones; those in the tables are of release 1.23."""
    assert {*names_of(NODE), *names_of(PYTORCH), *LEFT_OUT, *TRAINING} <= set(cases)


def test_the_counts() -> None:
    """Of 154 node cases 136 are run, and 12 have not two dimensions; PyTorch has made 32 such cases."""
    assert {operator: len(names) for operator, names in NODE.items()} == {
        "Conv": 6,
        "MaxPool": 14,
        "AveragePool": 13,
        "GlobalAveragePool": 2,
        "Sigmoid": 2,
        "Tanh": 2,
        "Dropout": 6,
        "BatchNormalization": 4,
        "Gemm": 11,
        "Relu": 1,
        "Softmax": 7,
        "LogSoftmax": 7,
        "SoftmaxCrossEntropyLoss": 34,
        "NegativeLogLikelihoodLoss": 18,
        "Flatten": 9,
    }
    assert len(names_of(NODE)) == 136
    assert len(names_of(PYTORCH)) == 32
    assert len(LEFT_OUT) == 15
    assert len({*names_of(NODE), *names_of(PYTORCH), *LEFT_OUT, *TRAINING}) == 189


def test_what_is_left_out_has_another_number_of_dimensions(cases: dict[str, Case]) -> None:
    assert all(LEFT_OUT.values())
    assert not any(cases[name].is_two_dimensional for name in LEFT_OUT)
    assert all(cases[name].is_two_dimensional for name in (*names_of(NODE), *names_of(PYTORCH)))
