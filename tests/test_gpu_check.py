"""The command for a borrowed GPU, as far as it can be checked without one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bench import gpu_check, gpu_kernels, gpu_stages, limits
from bench.gpu_stages import Failed, Figures, Options, short_run
from tests import fake_cupy
from xlenet import steps

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
    assert len(figures.found) == 10
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


def test_the_distance_of_two_runs() -> None:
    a = short_run("numpy", False, epochs=1)
    b = a._replace(arrays={name: array * np.float32(1.01) for name, array in a.arrays.items()})
    assert gpu_stages._distance(a.arrays, b.arrays) == pytest.approx(0.0099, rel=0.01)
    assert gpu_stages._differing(a, a) == []
    assert "fc5.weight" in gpu_stages._differing(a, b)


def test_tests_are_counted_as_they_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that something is known of those that came before an overrun."""
    figures = Figures(tmp_path / "result.json")
    figures.add(passed=0, skipped=0, failures=[])
    for line in (
        "tests/a.py::one PASSED [ 10%]\n", "tests/a.py::two FAILED [ 20%]\n", "tests/a.py::six SKIPPED (why) [ 30%]\n",
        "E   assert 1 == 2\n", "[gw3] [ 40%] PASSED tests/a.py::ten \n", "[gw3] [ 40%] FAILED tests/b.py::two \n",
    ):  # fmt: skip
        gpu_stages._count(line, figures)
    assert figures.found == {"passed": 2, "skipped": 1, "failures": ["tests/a.py::two", "tests/b.py::two"]}
    assert "assert 1 == 2" in capsys.readouterr().out


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


def test_all_stages_together_take_less_than_eight_minutes() -> None:
    assert gpu_check.BUDGETS.keys() == gpu_stages.STAGES.keys()
    assert sum(gpu_check.BUDGETS.values()) <= 480
