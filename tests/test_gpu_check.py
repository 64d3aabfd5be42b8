"""The command for a borrowed GPU, as far as it can be checked without one."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bench import gpu_check, gpu_failures, gpu_kernels, gpu_stages, limits
from bench.gpu_stages import Failed, Figures, Options, short_run
from tests import fake_cupy
from xlenet import SGD, AdamW, LeNet5, MaxPool2D, ReLU, SoftmaxCrossEntropy, steps
from xlenet.data import Images

# ==== what is possible ====


def test_the_work_of_a_step_is_that_of_the_network() -> None:
    """Counted by hand: multiplications and additions of an image, forward."""
    work = limits.step(10)
    forward = [work[name].flops for name in ("conv1_pool", "conv2_pool", "conv3", "fc4_relu", "fc5")]
    assert [flops / 20 for flops in forward] == [117_600, 240_000, 48_000, 10_080, 840]
    backward = [work[f"{name}_backward"].flops for name in ("conv1_pool", "conv2_pool", "conv3", "fc4_relu", "fc5")]
    assert [flops / 20 for flops in backward] == [117_600 / 4, 2 * 240_000 / 4, 2 * 48_000, 2 * 10_080, 2 * 840]
    assert work["distort"].flops / 10 == 784 * (2 * 4 * 2 + 3 * 3 + 2) + 28 * 7 * 2 * 4 * 2
    assert work["distort"].bytes == 4 * 10 * 784 * 2
    assert work.keys() > limits.OPTIONAL
    assert work["conv1_pool"].bytes == 4 * (10 * (784 + 6 * 14 * 14) + 6 * 26) + 10 * 6 * 14 * 14
    assert limits.Work(1e12, 1e9).seconds(limits.Peaks(1e12, 1e12, "")) == 1.0
    assert limits.Work(1e9, 2e12).seconds(limits.Peaks(1e12, 1e12, "")) == 2.0


class Runtime:
    """As much of CUDA's runtime as is asked for the rates of a GPU."""

    cudaDevAttrClockRate, cudaDevAttrMemoryClockRate = 13, 36  # noqa: N815
    cudaDevAttrMultiProcessorCount, cudaDevAttrGlobalMemoryBusWidth = 16, 37  # noqa: N815

    def __init__(self, name: str, attributes: dict[int, int]) -> None:
        self.name, self.attributes = name, attributes

    def getDeviceProperties(self, device: int) -> dict[str, Any]:
        return {"name": self.name.encode(), "major": 9, "minor": 0}

    def deviceGetAttribute(self, attribute: int, device: int) -> int:
        return self.attributes[attribute]


def test_rates_by_the_clocks_and_by_the_data_sheet() -> None:
    """An H200: 132 multiprocessors of 128 lanes at 1.98 GHz, 6144 bits at 3.2 GHz, twice a clock."""
    peaks = limits.peaks_of(Runtime("NVIDIA H200", {13: 1_980_000, 36: 3_201_000, 16: 132, 37: 6144}))
    assert peaks.flops == pytest.approx(66.9e12, rel=1e-3)
    assert peaks.bytes == pytest.approx(4.92e12, rel=1e-3)
    assert limits.peaks_of(Runtime("NVIDIA H200", {})) == (67e12, 4.8e12, "data sheet of H200")
    with pytest.raises(ValueError, match="got Abacus"):
        limits.peaks_of(Runtime("Abacus", {}))


# ==== stages, on the stand-in for CuPy ====


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("XLENET_KERNELS", "off")
    monkeypatch.setenv("XLENET_GRAPH", "on")  # a run sets it: put it back
    monkeypatch.setattr(fake_cupy.settings, "cublas_can_be_captured", True)
    monkeypatch.setattr(gpu_stages, "_BATCH", 6)
    with fake_cupy.installed() as cupy:
        yield cupy


def test_every_part_of_the_step_has_a_limit_and_a_time(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_IN_A_GRAPH", "_REPLAYS", "_EAGER"):
        monkeypatch.setattr(gpu_kernels, name, 2)
    found = gpu_kernels.measure(2)
    assert sorted(part["part"] for part in found) == sorted(limits.step(2))
    assert all(part["microseconds"] > 0 and part["in_a_graph"] for part in found)
    assert gpu_kernels.copy_speed(megabytes=1) > 0


def test_a_steps_sum_leaves_out_what_only_some_runs_have(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [{"part": name, "microseconds": 2.0, "limit_microseconds": 1.0, "in_a_graph": True} for name in
             limits.step(1)]  # fmt: skip
    monkeypatch.setattr(gpu_kernels, "measure", lambda n, backend: parts)
    figures = Figures(tmp_path / "result.json")
    gpu_stages.kernels(Options("cupy"), figures)
    assert figures.found["batch_64"] == parts
    assert figures.found["batch_64_sum_microseconds"] == 2 * (len(parts) - 1)
    assert figures.found["batch_64_limit_microseconds"] == len(parts) - 1


def test_runs_are_found_equal_and_recorded(gpu: ModuleType, tmp_path: Path) -> None:
    figures = Figures(tmp_path / "result.json")
    gpu_stages.equality(Options("cupy"), figures)
    assert [name for name, found in figures.found.items() if not found["good"]] == []
    assert len(figures.found) == 2 * 8
    assert json.loads((tmp_path / "result.json").read_text()) == figures.found


def test_runs_that_differ_are_found(gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advance = steps.advance
    calls = [0]

    def forgetful(counter: Any, *others: Any) -> None:
        calls[0] += 1
        advance(counter, *others)
        if calls[0] == 5:
            counter -= 1

    monkeypatch.setattr(steps, "advance", forgetful)
    with pytest.raises(Failed, match="not as it should be: nesterov_twice_the_same_bits"):
        gpu_stages.equality(Options("cupy"), Figures(tmp_path / "result.json"))


def test_a_run_without_a_graph_is_found(gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_cupy.settings, "cublas_can_be_captured", False)
    with pytest.raises(Failed, match="nesterov_was_recorded"):
        gpu_stages.equality(Options("cupy"), Figures(tmp_path / "result.json"))


@pytest.mark.parametrize(
    ("single", "double", "found"),
    [
        (
            3e-4,
            1e-6,
            {"nesterov": ["first_gradients", "first_step", "twenty_float64_steps"], "adamw": ["first_gradients"]},
        ),
        (1e-6, 1e-12, {}),
    ],
    ids=["wrong", "rounded"],
)
def test_what_differs_from_numpy_is_found(
    gpu: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    single: float,
    double: float,
    found: dict[str, Any],
) -> None:
    """On the device every gradient is larger by a factor, which AdamW makes the same steps of."""
    backward = SoftmaxCrossEntropy.backward

    def wrong(self: SoftmaxCrossEntropy, **options: Any) -> Any:
        gradient = backward(self, **options)
        if not isinstance(gradient, np.ndarray):
            gradient *= 1 + (single if gradient.dtype == np.float32 else double)
        return gradient

    monkeypatch.setattr(SoftmaxCrossEntropy, "backward", wrong)
    figures = Figures(tmp_path / "result.json")
    with contextlib.suppress(Failed):
        gpu_stages.equality(Options("cupy"), figures)
    expected = [f"{kind}_{name}_as_numpy" for kind, names in found.items() for name in names]
    assert [name for name, what in figures.found.items() if not what["good"]] == expected


def test_a_run_that_learns_less_is_found_by_its_losses(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An optimiser that does every step but the first by half, on the device and in float32."""
    for kind in (SGD, AdamW):

        def half(self: Any, lr: float, step: int, scalars: Any = kind.scalars) -> Any:
            on_device = not isinstance(self.params, np.ndarray) and self.params.dtype == np.float32
            return scalars(self, lr / 2 if on_device and step > 1 else lr, step)

        monkeypatch.setattr(kind, "scalars", half)
    with pytest.raises(Failed, match=r": nesterov_losses_as_numpy, adamw_losses_as_numpy$"):
        gpu_stages.equality(Options("cupy"), Figures(tmp_path / "result.json"))


def test_rounding_decides_nothing_in_the_first_step() -> None:
    """No number before a ReLU, and no two largest of a window, are closer than 2e-5 of their spread."""
    x, _ = gpu_stages.random_images(gpu_stages._CLEAR_SEED, gpu_stages._BATCH)
    model = LeNet5(rng=gpu_stages._CLEAR_SEED, dtype="float64")
    values, distances = Images(x, np.zeros(len(x), int), dtype="float64").batch(slice(len(x)))[0], {}
    for name in model:
        if isinstance(model[name], MaxPool2D):
            n, c, h, w = values.shape
            windows = values.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(-1, 4)
            second, first = np.sort(windows, axis=1)[:, 2:].T
            distances[name] = (first - second).min() / values.std()
        elif isinstance(model[name], ReLU):
            distances[name] = np.abs(values).min() / values.std()
        values = model[name](values)
    assert sorted(distances) == ["pool1", "pool2", "relu1", "relu2", "relu4"]
    assert min(distances.values()) > 2e-5
    step = gpu_stages.first_step("numpy")
    exact = short_run("numpy", False, epochs=1, batches=1, seed=gpu_stages._CLEAR_SEED, dtype="float64")
    assert gpu_stages._distance(step.gradients, exact.gradients)[0] < 1e-5


def test_the_distance_of_two_runs() -> None:
    a = short_run("numpy", False, epochs=1)
    b = a._replace(arrays={name: array * np.float32(1.01) for name, array in a.arrays.items()})
    assert gpu_stages._distance(a.arrays, b.arrays)[0] == pytest.approx(0.0099, rel=0.01)
    assert gpu_stages._distance(a.arrays, b.arrays | {"fc5.bias": a.arrays["fc5.bias"] * 1.1})[1] == "fc5.bias"
    assert gpu_stages._distance(a.arrays, b.arrays | {"fc4.bias": a.arrays["fc4.bias"] * np.nan})[1] == "fc4.bias"
    assert gpu_stages._differing(a, a) == []
    assert "fc5.weight" in gpu_stages._differing(a, b)


def test_tests_are_counted_as_they_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that something is known of those that came before an overrun."""
    figures = Figures(tmp_path / "result.json")
    figures.add(passed=0, skipped=0, failed=0, failures=[])
    failure = {"test": "tests/a.py::two[a b]", "reason": "tests/a.py:5: AssertionError: assert 1 == 2"}
    for line in (
        "tests/a.py::one PASSED [ 10%]\n", "tests/a.py::two[a b] FAILED [ 20%]\n",
        gpu_failures.BEGINS + json.dumps(failure) + "\n",
        "tests/a.py::six SKIPPED (why) [ 30%]\n", "E   assert 1 == 2\n", "[gw3] [ 40%] PASSED tests/a.py::ten \n",
    ):  # fmt: skip
        gpu_stages._count(line, figures)
    assert figures.found == {"passed": 2, "skipped": 1, "failed": 1, "failures": [failure]}
    assert "E   assert 1 == 2" in capsys.readouterr().out


FAILING = """\
import pytest

@pytest.mark.parametrize("x", [1, "a b"])
def test_x(x):
    assert x == 1

@pytest.fixture
def broken():
    raise OSError("no such\\nthing")

def test_y(broken):
    pass

def test_z():
    pytest.fail("in short", pytrace=False)
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_why_a_test_has_failed_is_said_as_it_ends(tmp_path: Path, workers: list[str]) -> None:
    if workers and importlib.util.find_spec("xdist") is None:
        pytest.skip("pytest-xdist is not installed")
    (tmp_path / "test_one.py").write_text(FAILING)
    (tmp_path / "test_two.py").write_text("import no_such_package\n")
    options = ["-v", "-p", "no:cacheprovider", "-p", "bench.gpu_failures", "--continue-on-collection-errors", *workers]
    root = Path(gpu_stages.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    figures = Figures(tmp_path / "result.json")
    figures.add(passed=0, skipped=0, failed=0, failures=[])
    for line in done.stdout.splitlines(keepends=True):
        gpu_stages._count(line, figures)
    assert (figures.found["passed"], figures.found["failed"]) == (1, 4), done.stdout
    reasons = {failure["test"]: failure["reason"] for failure in figures.found["failures"]}
    assert reasons["test_one.py::test_x[a b]"] == "test_one.py:5: AssertionError: assert 'a b' == 1"
    assert reasons["test_one.py::test_y"] == "test_one.py:9: OSError: no such\nthing"
    assert reasons["test_one.py::test_z"] == "test_one.py:15: Failed: in short"
    assert reasons["test_two.py"] == "E   ModuleNotFoundError: No module named 'no_such_package'"


def test_a_reason_is_cut_to_its_first_lines() -> None:
    assert gpu_failures.reason("\n\n".join("abcdefgh")) == "a\nb\nc\nd\ne\nf"
    assert len(gpu_failures.reason("a" * 5000)) == 600


def test_no_file_of_tests_is_forgotten() -> None:
    root = Path(gpu_stages.__file__).parent.parent
    assert all((root / name).exists() for name in gpu_stages._test_files())
    folders = {path.name for path in (root / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert {name.removeprefix("tests/") for name in gpu_stages._test_files()} >= folders - {"data", "fake_cupy"}
    assert len(gpu_stages._test_files()) == len(set(gpu_stages._test_files())) > 10


# ==== the command ====


def test_a_dry_run_says_what_needs_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results" / "record.json"
    code = gpu_check.main(["--backend", "numpy", "--out", str(out), "--only", "machine", "equality", "kernels"])
    record = json.loads(out.read_text(encoding="utf-8"))
    assert code == 3
    assert {name: stage["status"] for name, stage in record["stages"].items()} == {
        "machine": "skipped", "equality": "skipped", "kernels": "skipped",
    }  # fmt: skip
    assert all(stage["reason"].startswith("needs a GPU") for stage in record["stages"].values())
    assert record["stages"]["equality"]["adamw_twice_the_same_bits"]["good"]
    assert record["stages"]["machine"]["machine"]["cpu"]
    assert "kernels      skipped : needs a GPU" in capsys.readouterr().out


def test_a_stage_that_overruns_is_ended_and_what_it_found_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    found = gpu_check.run_stage("training", Options("numpy"), budget=0.3)
    assert found["status"] == "failed"
    assert found["reason"] == "overran its 0.3 s and was ended"
    assert found["seconds"] < 5
    found = gpu_check.run_stage("first_steps", Options("numpy"), budget=60)
    assert len(found["first_run"]) == 6
    assert found["status"] == "skipped"


def test_a_stage_that_fails_says_why(tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    assert gpu_check.main(["--backend", "cupy:99", "--out", str(out), "--only", "first_steps"]) == 1
    stage = json.loads(out.read_text(encoding="utf-8"))["stages"]["first_steps"]
    assert stage["status"] == "failed"
    assert stage["reason"].startswith("BackendError: backend cupy")
    assert "Traceback" in stage["log"]


def test_the_table_says_which_tests_failed() -> None:
    failures = [{"test": f"tests/a.py::test_{i}", "reason": f"tests/a.py:{i}: ValueError: no\nmore"} for i in range(30)]
    lines = gpu_check.table({"stages": {"parity": {"status": "failed", "failures": failures}}}).splitlines()
    assert lines[1] == "tests/a.py::test_0: tests/a.py:0: ValueError: no"
    assert len(lines) == 1 + 10


def test_all_stages_together_take_less_than_eight_minutes() -> None:
    assert gpu_check.BUDGETS.keys() == gpu_stages.STAGES.keys()
    assert sum(gpu_check.BUDGETS.values()) <= 480
