"""The node tests of ONNX, and what PyTorch has written as ONNX, with these layers on every library."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.libraries import Lib, open_partner
from tests.onnx.cases import LEFT_OUT, NODE, PYTORCH
from tests.onnx.harness import RUNNERS, Case, load_cases, run

OPERATORS = frozenset(NODE)


def names_of(table: dict[str, list[str]], operators: Iterable[str] = OPERATORS) -> list[str]:
    """The names of the cases of `operators`."""
    return [name for operator, names in table.items() if operator in operators for name in names]


@pytest.fixture(scope="session")
def cases() -> dict[str, Case]:
    """Every case made of the operators that are here, by its name."""
    open_partner("onnx", "onnx")
    return load_cases(OPERATORS)


@pytest.mark.parametrize("name", names_of(NODE, RUNNERS) + names_of(PYTORCH, RUNNERS))
def test_a_case_comes_out_as_stored(lib: Lib, cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    assert case.data_sets
    for inputs, expected in case.data_sets:
        results = run(lib, case, inputs)
        assert len(results) == len(expected) > 0
        for result, wanted in zip(results, expected, strict=True):
            lib.assert_close(result, wanted, rtol=case.rtol, atol=case.atol, dtype=str(wanted.dtype))


def test_no_case_has_disappeared_and_none_is_new(cases: dict[str, Case]) -> None:
    """What is left out is left out by name; a case that another release of `onnx` brings belongs into the table."""
    node = {name for name, case in cases.items() if case.kind == "node"}
    assert node == {*names_of(NODE), *LEFT_OUT}
    pytorch = {name for name, case in cases.items() if case.kind != "node" and case.is_two_dimensional}
    assert pytorch == set(names_of(PYTORCH))


def test_the_counts() -> None:
    """Of 116 node cases 111 have two dimensions; PyTorch has made 28 such cases."""
    assert {operator: len(names) for operator, names in NODE.items()} == {
        "Conv": 6,
        "MaxPool": 14,
        "BatchNormalization": 4,
        "Gemm": 11,
        "Relu": 1,
        "Softmax": 7,
        "LogSoftmax": 7,
        "SoftmaxCrossEntropyLoss": 34,
        "NegativeLogLikelihoodLoss": 18,
        "Flatten": 9,
    }
    assert len(names_of(NODE)) == 111
    assert len(names_of(PYTORCH)) == 28
    assert len(LEFT_OUT) == 5
    assert len({*names_of(NODE), *names_of(PYTORCH), *LEFT_OUT}) == 144


def test_what_is_left_out_has_another_number_of_dimensions(cases: dict[str, Case]) -> None:
    assert all(LEFT_OUT.values())
    assert {name for name, case in cases.items() if case.kind == "node" and not case.is_two_dimensional} == set(
        LEFT_OUT
    )
    of_pytorch = [case for case in cases.values() if case.kind != "node"]
    assert (len(of_pytorch), sum(case.is_two_dimensional for case in of_pytorch)) == (53, 28)
