"""``python -m xlenet.export``: a network for other programs, and the code it ends with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.reader import digits, reader
from tests.test_trained import needs_onnx
from xlenet import export
from xlenet.checkpoint import load_model, save_model
from xlenet.trained import load_trained


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(tmp_path / "model.safetensors", reader().model, reader().about())
    return tmp_path


def call(*arguments: object) -> int:
    try:
        return export.main([str(argument) for argument in arguments])
    except SystemExit as ending:
        return int(ending.code or 0)


@pytest.mark.parametrize("name", ["out.onnx", "out.safetensors", "OUT.ONNX"])
def test_what_is_written_is_the_network(
    name: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name.lower().endswith("onnx"):
        needs_onnx()
    out = tmp_path / name
    assert call("--model", model, out) == 0
    assert f"written to {out} ({out.stat().st_size:,} bytes)" in capsys.readouterr().out
    found = load_trained(out)
    assert found[1:4] == reader()[1:4]
    assert found.data == "generated"
    images = digits().x_test[:10]
    np.testing.assert_allclose(found.probabilities(images), reader().probabilities(images), atol=1e-5)


def test_there_and_back_again_the_arrays_are_the_same(model: Path, tmp_path: Path) -> None:
    assert call("--model", model, tmp_path / "out.safetensors") == 0
    before, about = load_model(model / "model.safetensors")
    after, about_after = load_model(tmp_path / "out.safetensors")
    assert about_after == about
    assert {name: array.tobytes() for name, array in after.items()} == {
        name: array.tobytes() for name, array in before.items()
    }


def test_weights_of_an_onnx_network_as_safetensors(model: Path, tmp_path: Path) -> None:
    needs_onnx()
    assert call("--model", model, tmp_path / "there.onnx") == 0
    assert call("--model", tmp_path / "there.onnx", tmp_path / "back.safetensors") == 0
    state, about = load_model(tmp_path / "back.safetensors")
    assert about["data"] == "generated"
    for name, array in reader().model.state_dict().items():
        np.testing.assert_array_equal(state[name], array)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["out.onnx"], 2, "--model"),
        (["--model", "RUN"], 2, "OUT"),
        (["--model", "RUN", "out.txt"], 2, "expected a name that ends in .onnx or .safetensors"),
        (["--model", "RUN", ""], 2, "empty text"),
        (["--model", "absent", "out.safetensors"], 4, "which does not exist"),
        (["--model", "RUN", "RUN/model.safetensors"], 2, "twice; expected another file"),
        (["--model", "RUN", "RUN/absent/out.safetensors"], 5, "cannot be written"),
    ],
)
def test_a_mistake_is_told_in_words(
    arguments: list[str], code: int, said: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (model / "model.safetensors").read_bytes()
    assert call(*(argument.replace("RUN", str(model)) for argument in arguments)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert (model / "model.safetensors").read_bytes() == before
