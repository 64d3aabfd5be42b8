"""A share of what ``python -m tests.gradients --examples 1000`` does: drawn configurations of every layer."""

from __future__ import annotations

import pytest

from tests.gradients.__main__ import main
from tests.gradients.checking import check_many
from tests.gradients.examples import EXAMPLES
from tests.libraries import Lib


@pytest.mark.parametrize("name", EXAMPLES)
def test_results_and_gradients_of_drawn_configurations(lib: Lib, name: str) -> None:
    count = 30 if lib.name == "numpy" else 5
    assert check_many(lib, name, count).examples >= count


def test_what_is_awkward_is_drawn(numpy_lib: Lib) -> None:
    traits = check_many(numpy_lib, "Conv2D by rows", 60).traits
    wanted = [
        "stride",
        "padding",
        "uneven padding",
        "kernel = input",
        "kernel not square",
        "not square",
        "batch 1",
        "dilation",
    ]
    assert all(traits[trait] >= 3 for trait in [*wanted, "groups"]), traits
    traits = check_many(numpy_lib, "MaxPool2D", 60).traits
    assert all(traits[trait] >= 3 for trait in [*wanted, "ceil_mode", "overlap"]), traits


def test_the_command_prints_a_line_a_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--examples", "3", "--only", "ReLU", "--backends", "numpy"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in printed if "examples" in line] == [n for n in EXAMPLES if "ReLU" in n]


def test_the_command_fails_where_a_gradient_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from xlenet.functional import relu

    right = relu.backward
    monkeypatch.setattr(relu, "backward", lambda dy, cache, work=None: 1.001 * right(dy, cache, work=work))
    assert main(["--examples", "3", "--only", "ReLU", "--backends", "numpy"]) == 1
    assert "got a wrong gradient of x" in capsys.readouterr().out
