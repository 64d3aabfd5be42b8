"""Models in files: equal weights are equal bytes, PyTorch reads them, and a damaged file is told in words."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.fakes import memory_below
from tests.fuzzing.checkpoints import TYPES
from tests.libraries import Lib
from tests.networks import lenet_in_torch, on, small_network
from xlenet import Layer, LeNet5, Linear, errors, files
from xlenet.checkpoint import load_model, save_model
from xlenet.safetensors_header import read_header
from xlenet.strictjson import parse_json

ABOUT = {"architecture": "LeNet5", "classes": 10, "normalization": {"mean": [33.3], "std": [78.5]}, "name": "größer"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(actual) == set(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


# ==== there and back ====


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_saved_is_loaded(lib: Lib, path: Path, rng: np.random.Generator, dtype: str) -> None:
    with on(lib):
        model, fresh = small_network(dtype), small_network(dtype)
    for _, array in model.named_parameters():
        array += lib.asarray(rng.standard_normal(array.shape), dtype)
    save_model(path, model, ABOUT)
    state, about = load_model(path)
    assert about == ABOUT
    assert_same(state, {name: lib.to_numpy(array) for name, array in model.state_dict().items()})
    fresh.load_state_dict(state)
    assert_same({name: lib.to_numpy(array) for name, array in fresh.state_dict().items()}, state)


def test_nothing_needs_to_be_said_about_a_model(path: Path) -> None:
    save_model(str(path), Linear(2, 3), {})
    assert load_model(str(path))[1] == {}


@pytest.mark.parametrize(
    "spoil", [np.asfortranarray, lambda a: np.flip(np.flip(a).copy()), lambda a: np.repeat(a, 2, axis=0)[::2]]
)
def test_arrays_in_any_memory_order_are_saved_by_value(path: Path, spoil: Any) -> None:
    """safetensors itself writes other numbers for these, and says nothing."""
    layer = Linear(3, 4, rng=0)
    expected = {name: np.array(array) for name, array in layer.state_dict().items()}
    layer.params = {name: spoil(array) for name, array in layer.params.items()}
    save_model(path, layer, {})
    assert_same(load_model(path)[0], expected)


class Transposed(Layer):
    """A layer of someone else's whose state is not in C order."""

    def state_dict(self) -> dict[str, Any]:
        return {"weight": np.arange(6.0).reshape(2, 3).T, "bias": np.arange(8.0)[::2]}


def test_a_state_in_any_memory_order_is_saved_by_value(path: Path) -> None:
    save_model(path, Transposed(), {})
    assert_same(load_model(path)[0], {k: np.array(v) for k, v in Transposed().state_dict().items()})


# ==== equal bytes ====


def test_equal_weights_are_equal_bytes(lib: Lib, tmp_path: Path) -> None:
    """Also with the arrays elsewhere in memory and what is said of the model in another order."""
    with on(lib):
        first, second = LeNet5(rng=0), LeNet5(rng=0)
    second.load_state_dict(dict(reversed(first.state_dict().items())))
    save_model(tmp_path / "a", first, ABOUT)
    save_model(tmp_path / "b", second, dict(reversed(ABOUT.items())))
    save_model(tmp_path / "c", LeNet5(rng=0), ABOUT)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_other_weights_or_words_are_other_bytes(tmp_path: Path) -> None:
    model = Linear(2, 3, rng=0)
    save_model(tmp_path / "a", model, ABOUT)
    save_model(tmp_path / "b", model, ABOUT | {"classes": 11})
    model.params["bias"][0] = np.float32(1e-30)
    save_model(tmp_path / "c", model, ABOUT)
    assert len({(tmp_path / name).read_bytes() for name in "abc"}) == 3


def test_names_and_layouts_are_pytorchs(path: Path) -> None:
    save_model(path, LeNet5(rng=0), ABOUT)
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header.pop("__metadata__")
    assert {name: entry["shape"] for name, entry in header.items()} == {
        "conv1.weight": [6, 1, 5, 5],
        "conv1.bias": [6],
        "bn1.weight": [6],
        "bn1.bias": [6],
        "bn1.running_mean": [6],
        "bn1.running_var": [6],
        "conv2.weight": [16, 6, 5, 5],
        "conv2.bias": [16],
        "bn2.weight": [16],
        "bn2.bias": [16],
        "bn2.running_mean": [16],
        "bn2.running_var": [16],
        "conv3.weight": [120, 16, 5, 5],
        "conv3.bias": [120],
        "fc4.weight": [84, 120],
        "fc4.bias": [84],
        "fc5.weight": [10, 84],
        "fc5.bias": [10],
    }
    assert {entry["dtype"] for entry in header.values()} == {"F32"}
    assert [json.loads(value) for value in metadata.values()] == [ABOUT]


@pytest.mark.parametrize("relu_after_conv3", [False, True])
def test_pytorch_loads_it_and_gives_the_same_logits(
    path: Path, rng: np.random.Generator, torch: Any, relu_after_conv3: bool
) -> None:
    model = LeNet5(rng=0, relu_after_conv3=relu_after_conv3)
    model(rng.standard_normal((16, 1, 28, 28), np.float32))  # statistics that are not their first values
    save_model(path, model, ABOUT)
    module = lenet_in_torch(torch, load_model(path)[0], relu_after_conv3=relu_after_conv3).eval()
    x = rng.standard_normal((8, 1, 28, 28), np.float32)
    with torch.no_grad():
        theirs = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(model.infer(x), theirs, rtol=1e-5, atol=1e-5)


def test_a_file_of_pytorchs_is_loaded(path: Path, torch: Any) -> None:
    """With its count of batches, which nobody here needs, and without a word about the model."""
    from safetensors.torch import save_file  # it loads torch, which not everyone has

    module = lenet_in_torch(torch, LeNet5(rng=7).state_dict())
    save_file(module.state_dict(), path)
    state, about = load_model(path)
    assert about == {}
    assert "bn1.num_batches_tracked" in state
    model = LeNet5(rng=0).load_state_dict(state)
    assert_same(dict(model.state_dict()), dict(LeNet5(rng=7).state_dict()))


# ==== hostile files ====


def saved() -> bytes:
    import safetensors.numpy

    return safetensors.numpy.save({"weight": np.ones((2, 3), np.float32)}, metadata={"xlenet": "{}"})


def with_header(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


HOSTILE = {
    "empty": lambda: b"",
    "seven bytes": lambda: b"\0" * 7,
    "eight zeros": lambda: bytes(8),
    "garbage": lambda: bytes(range(256)) * 20,
    "text": lambda: b"this is a text and no model\n" * 10,
    "a zip": lambda: b"PK\x03\x04" + bytes(500),
    "cut in the header": lambda: saved()[:20],
    "cut in the numbers": lambda: saved()[:-4],
    "bytes too many": lambda: saved() + b"\0\0\0\0",
    "a header of all memory": lambda: (2**63 - 1).to_bytes(8, "little") + saved()[8:],
    "a header of 2**64 - 1": lambda: b"\xff" * 8 + saved()[8:],
    "a header of 1 GB": lambda: (10**9).to_bytes(8, "little") + saved()[8:],
    "a header that is no JSON": lambda: with_header(b"{weight: 1}"),
    "a header that is a list": lambda: with_header([1, 2]),
    "a header not in UTF-8": lambda: with_header(b'{"\xff\xfe": 1}'),
    "numbers outside the file": lambda: with_header({"w": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}),
    "a shape that lies": lambda: with_header({"w": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}, bytes(4)),
    "a huge shape": lambda: with_header(
        {"w": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "an unknown type": lambda: with_header({"w": {"dtype": "F7", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "a header of 9 MiB that is in the file": lambda: with_header(
        b'{"__metadata__": {"a": "' + b"x" * (9 << 20) + b'"}}'
    ),
    "objects without end": lambda: with_header(b'{"a": [' + b"{}," * 40_000 + b"{}]}"),
    "values without end": lambda: with_header(b'{"a": [' + b"[]," * 500_000 + b"[]]}"),
    "about that is no JSON": lambda: with_header({"__metadata__": {"xlenet": "{no"}}),
    "about that is a list": lambda: with_header({"__metadata__": {"xlenet": "[1, 2]"}}),
    "about that is a number": lambda: with_header({"__metadata__": {"xlenet": "7"}}),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_model_is_told_as_such(path: Path, make: Any) -> None:
    path.write_bytes(make())
    with pytest.raises(
        errors.DataError, match=r"(?s)^load_model: got .*model\.safetensors.*; expected .*; .*\w"
    ) as caught:
        load_model(path)
    assert not isinstance(caught.value, errors.DataNotFoundError)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("start", [4, 12])
def test_arrays_that_overlap_or_leave_a_gap_are_refused_by_the_header_alone(start: int) -> None:
    entries = {"a": (0, 8), "b": (start, start + 8)}
    header = {name: {"dtype": "F32", "shape": [2], "data_offsets": places} for name, places in entries.items()}
    whole = with_header(header, bytes(start + 8))
    with pytest.raises(ValueError, match=f"numbers of 'b' from byte {start} and not from 8 on"):
        read_header(io.BytesIO(whole), len(whole))


def test_every_cut_of_a_file_is_noticed(path: Path) -> None:
    whole = saved()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(errors.DataError, match="load_model"):
            load_model(path)


def test_what_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    for missing in (tmp_path / "no such file", tmp_path / "no such folder" / "model"):
        with pytest.raises(errors.DataNotFoundError, match=r"^load_model: got .*no such.*; expected .*; .*\w"):
            load_model(missing)
    with pytest.raises(errors.DataError, match="load_model: got"):
        load_model(tmp_path)  # a folder


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_read_as_the_package_reads_it(path: Path, rng: np.random.Generator, kind: str) -> None:
    import safetensors.numpy

    array = rng.integers(0, 2, (3, 4)).astype(TYPES[kind])
    path.write_bytes(safetensors.numpy.save({"a": array, "empty": array[:0]}))
    state, about = load_model(path)
    assert about == {}
    assert_same(state, {"a": array, "empty": array[:0]})
    for value in state.values():
        assert value.dtype.isnative
        assert value.flags.writeable


def test_a_type_that_numpy_has_not_is_named(path: Path, torch: Any) -> None:
    from safetensors.torch import save_file  # it loads torch, which not everyone has

    save_file({"w": torch.ones(2, dtype=torch.bfloat16)}, path)
    with pytest.raises(errors.DataError, match=r"'w' of type 'BF16', which is none of F64, F32, F16"):
        load_model(path)


def test_a_file_larger_than_allowed_is_refused_unread(path: Path) -> None:
    whole = saved()
    path.write_bytes(whole)
    load_model(path, max_bytes=len(whole))
    with pytest.raises(errors.DataError, match=rf"load_model: got .*a file of more than {len(whole) - 1} bytes"):
        load_model(path, max_bytes=len(whole) - 1)


@pytest.mark.skipif(os.name != "posix", reason="sparse files are made otherwise on Windows")
@pytest.mark.parametrize("length", [0, 100, 2**20, 2**40])
def test_nothing_is_read_but_the_header_before_it_fits_the_file(path: Path, length: int) -> None:
    with path.open("wb") as file:
        file.write(length.to_bytes(8, "little") + b"{" + b" " * 99)
        file.truncate(1 << 30)
    with memory_below(4 << 20), pytest.raises(errors.DataError, match="load_model"):
        load_model(path)


@pytest.mark.parametrize("left", [4, -4, -30])
def test_a_file_that_changes_while_it_is_read_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    whole, fstat = saved(), os.fstat
    path.write_bytes(whole)

    def then_cut(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        os.truncate(path, left % len(whole))
        return status

    monkeypatch.setattr(files.os, "fstat", then_cut)
    with pytest.raises(errors.DataError, match=r"^load_model: got "):
        load_model(path)


def test_memory_is_the_files_and_little_more(path: Path) -> None:
    save_model(path, Linear(1000, 1000, rng=0), {})
    with memory_below(int(1.1 * path.stat().st_size)):
        load_model(path)


def test_what_cannot_be_loaded_again_is_not_saved(path: Path) -> None:
    save_model(path, Linear(2, 2, rng=0), {})
    before = path.read_bytes()
    with pytest.raises(errors.OutputError, match=r"save: got .* of 9,\d+,\d+ bytes; expected at most 8,388,608"):
        save_model(path, Linear(2, 2, rng=0), {"note": "n" * 9_000_000})
    assert path.read_bytes() == before


def test_numbers_that_are_none_may_be_said_about_a_model(path: Path) -> None:
    """JSON has no NaN; Python writes it, and so may the user."""
    save_model(path, Linear(2, 2, rng=0), {"loss": float("nan")})
    assert str(load_model(path)[1]) == "{'loss': nan}"


# ==== writing ====


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    for place in (tmp_path / "no such folder" / "model", tmp_path):
        with pytest.raises(errors.OutputError) as caught:
            save_model(place, Linear(2, 2), {})
        assert caught.value.exit_code == 5
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole_or_not_at_all(path: Path) -> None:
    save_model(path, Linear(2, 2, rng=0), {})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_model(path, Linear(2, 2, rng=1), {"not JSON": {1, 2}})
    assert path.read_bytes() == before
    save_model(path, Linear(2, 2, rng=1), {})
    assert path.read_bytes() != before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_missing_package_is_told_with_its_cure_and_not_needed_for_loading(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = saved()
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(errors.MissingExtraError, match=r'safetensors.*pip install "xlenet\[train\]"'):
        save_model(path, Linear(2, 2), {})
    assert not path.exists()
    path.write_bytes(whole)
    assert_same(load_model(path)[0], {"weight": np.ones((2, 3), np.float32)})


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_what_is_nested_deeply_is_refused_by_every_python(opening: str, closing: str) -> None:
    """Some give up at a thousand levels, some at ten thousand, and none of them says how deep it reads."""
    levels = len(opening.replace('"a":', ""))
    for count, fits in ((100 // levels, True), (100 // levels + 1, False), (5000, False)):
        text = (opening * count + "1" + closing * count).encode()
        if fits:
            assert parse_json(text)
        else:
            with pytest.raises(ValueError, match="nested more than 100 levels deep"):
                parse_json(text)


@pytest.mark.parametrize("name", ["objects without end", "values without end"])
def test_what_would_take_long_is_refused_soon(path: Path, name: str) -> None:
    path.write_bytes(HOSTILE[name]())
    began = time.process_time()
    with pytest.raises(errors.DataError, match=r"more than [\d,]+ (objects|values)"):
        load_model(path)
    assert time.process_time() - began < 0.5
