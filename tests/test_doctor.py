"""``python -m xlenet.doctor``: what it says of machines that are whole, bare or broken, and that it always says it."""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import fake_cupy
from xlenet import __version__, backend, diagnosis, doctor, smoke, use_backend
from xlenet.backend import driver, gpu, report
from xlenet.data import found, registry
from xlenet.data.datafile import DataFile
from xlenet.errors import BackendError

ROOT = Path(__file__).parent.parent
find_library = driver._library

PIP = report._pip()

NAMES = ["versions", "backend", "gpu", "cupy_packages", "blas", "tf32", "data", "install", "smoke"]


@pytest.fixture(autouse=True)
def clean_slate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No settings of the caller's, no data, no driver, and steps that take no time."""
    for name in ("XLENET_BACKEND", "CUPY_TF32", "NVIDIA_TF32_OVERRIDE", "XLENET_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XLENET_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(driver, "_library", lambda name: None)
    monkeypatch.setattr(smoke, "_SECONDS", 0.02)
    backend.resolve_backend.cache_clear()
    yield
    backend.resolve_backend.cache_clear()


def call(*arguments: str) -> int:
    try:
        return doctor.main(arguments)
    except SystemExit as ending:
        return int(ending.code or 0)


def diagnosed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """What it says in JSON, of which there must be one object and nothing else."""
    assert call("--json", *arguments) == code
    said = capsys.readouterr()
    assert said.err == ""
    values: dict[str, Any] = json.loads(said.out)
    assert list(values) == ["works", "exit_code", *NAMES]
    assert (values["works"], values["exit_code"]) == (code == 0, code)
    return values


# ==== a machine without a GPU ====


def test_everything_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert call() == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert said.err == ""
    titles = [line[2:14].strip() for line in lines[:-2] if line[2:14].strip()]
    assert titles == ["versions", "backend", "GPU", "CuPy", "BLAS", "TF32", "data", "install", "smoke step"]
    assert lines[-1] == "works"
    assert f"xlenet {__version__}" in lines[0]
    assert not any(line.startswith("!") for line in lines)


def test_everything_is_said_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    values = diagnosed(capsys)
    assert values["versions"]["numpy"] == np.__version__
    assert values["versions"]["packages"]["threadpoolctl"] == metadata.version("threadpoolctl")
    assert values["backend"]["name"] == "numpy"
    assert values["gpu"] == {"driver": None, "devices": []}
    assert {pool["internal_api"] for pool in values["blas"]["loaded"]}
    assert values["tf32"] == {"on": False, "variables": {}}
    assert values["smoke"]["largest_error"] < 1e-4
    assert values["smoke"]["images_per_second"] > 10


@pytest.mark.parametrize(
    ("arguments", "variable", "inside", "name", "why"),
    [
        ((), None, False, "numpy", "the default"),
        ((), "numpy", False, "numpy", "XLENET_BACKEND says so"),
        ((), "nonsense", True, "array_api_strict", "use_backend says so"),
        (("--backend", "numpy"), "nonsense", True, "numpy", "--backend says so"),
    ],
)
def test_who_has_chosen_the_backend(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    variable: str | None,
    inside: bool,
    name: str,
    why: str,
) -> None:
    if variable:
        monkeypatch.setenv("XLENET_BACKEND", variable)
    if inside:
        pytest.importorskip("array_api_strict")
        with use_backend("array_api_strict"):
            values = diagnosed(capsys, *arguments)
    else:
        values = diagnosed(capsys, *arguments)
    assert values["backend"]["name"] == name
    assert values["backend"]["why"].startswith(why)


@pytest.mark.parametrize("name", ["cupi", "cupy:x", "numpy:3"])
def test_a_backend_that_does_not_work_ends_with_3_and_the_rest_is_said(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    values = diagnosed(capsys, "--backend", name, code=3)
    assert values["backend"]["works"] is False
    assert f"got '{name}'" in values["backend"]["error"]
    assert values["smoke"] == {"error": "not tried: the backend does not work"}
    assert values["blas"]["name"]
    assert call("--backend", name) == 3
    assert "does not work: backend and smoke step" in capsys.readouterr().out


def test_an_empty_backend_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--backend", "") == 2
    assert "--backend: got an empty text" in capsys.readouterr().err
    assert call("--nonsense") == 2


def test_auto_says_why_it_takes_numpy(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    values = diagnosed(capsys, "--backend", "auto")
    assert values["backend"]["name"] == "numpy"
    assert values["backend"]["no_gpu"].startswith("backend cupy: got ")
    assert logging.getLogger("xlenet").disabled is False


# ==== a machine with one ====


@pytest.fixture
def on_stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XLENET_KERNELS", "off")
    monkeypatch.setattr(fake_cupy.settings, "cublas_can_be_captured", True)
    monkeypatch.setattr(gpu, "installed", lambda: {"cupy-cuda13x": "14.2.0"})
    with fake_cupy.installed():
        yield


@pytest.mark.usefixtures("on_stand_in")
def test_a_gpu_is_described_and_computes(capsys: pytest.CaptureFixture[str]) -> None:
    values = diagnosed(capsys, "--backend", "cupy")
    state = values["gpu"]["in_use"]
    assert (state["name"], state["compute_capability"]) == ("stand-in", "9.0")
    assert (state["driver_cuda"], state["runtime_cuda"]) == ("13.0", "13.0")
    assert state["memory_total"] == state["memory_free"] == 2**30
    assert 0 <= state["pool_used"] <= state["pool_held"]
    assert values["install"]["command"] == f"{PIP} install -e '{ROOT}[train,cuda13]'"
    assert values["install"]["missing"] == []
    assert values["smoke"]["largest_error"] < 1e-4


class FakeCUDA:
    """libcuda and libnvidia-ml, as far as they are asked."""

    def __init__(self, cuda: int, *names: str, release: str = "", fails: str = "") -> None:
        self.cuda, self.names, self.release, self.fails = cuda, names, release, fails

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "fails"):
            return lambda *_: 999
        return object.__getattribute__(self, name)

    def cuInit(self, flags: int) -> int:
        return 0 if self.names else 100

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = self.cuda
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self.names)
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:
        device._obj.value = 10 + number
        return 0

    def cuDeviceGetName(self, name: Any, room: int, device: Any) -> int:
        name.value = self.names[device.value - 10].encode()
        return 0

    def nvmlInit_v2(self) -> int:
        return 0 if self.release else 12

    def nvmlSystemGetDriverVersion(self, text: Any, room: int) -> int:
        text.value = self.release.encode()
        return 0

    def nvmlShutdown(self) -> int:
        return 0


H100 = "NVIDIA H100 80GB HBM3"


def machine(monkeypatch: pytest.MonkeyPatch, found: FakeCUDA | None, *packages: str) -> None:
    monkeypatch.setattr(driver, "_library", lambda name: found)
    monkeypatch.setattr(gpu, "installed", lambda: dict.fromkeys(packages, "14.2.0"))


@pytest.mark.parametrize(
    ("driver", "packages", "extras", "uninstalls", "why"),
    [
        (None, (), "train", "", "no NVIDIA driver"),
        (FakeCUDA(13000), (), "train", "", "an NVIDIA driver that finds no GPU"),
        (FakeCUDA(11080, "Tesla K80"), (), "train", "", "too old for CuPy: update the driver"),
        (FakeCUDA(12040, H100), (), "train,cuda12", "", "CUDA 12.4"),
        (FakeCUDA(13000, H100), (), "train,cuda13", "", "CUDA 13.0"),
        (FakeCUDA(14020, H100), (), "train,cuda13", "", "CUDA 14.2"),
        (FakeCUDA(12040, H100), ("cupy-cuda12x",), "train,cuda12", "", "CUDA 12.4"),
        (FakeCUDA(12040, H100), ("cupy-cuda13x",), "train,cuda12", "cupy-cuda13x", "CUDA 12.4"),
        (FakeCUDA(13000, H100), ("cupy", "cupy-cuda13x"), "train,cuda13", "cupy cupy-cuda13x", "CUDA 13.0"),
    ],
)
def test_the_install_command_suits_the_machine(
    monkeypatch: pytest.MonkeyPatch,
    driver: FakeCUDA | None,
    packages: tuple[str, ...],
    extras: str,
    uninstalls: str,
    why: str,
) -> None:
    machine(monkeypatch, driver, *packages)
    advice = report.advice(report.find_driver())
    removed = f"{PIP} uninstall -y {uninstalls} && " if uninstalls else ""
    assert advice.command == f"{removed}{PIP} install -e '{ROOT}[{extras}]'"
    assert why in advice.why
    wheel = f"cupy-{extras.partition(',')[2]}x"
    assert (wheel in advice.missing) == ("cuda" in extras and packages != (wheel,))


def test_outside_of_a_checkout_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(report, "__file__", str(tmp_path / "site-packages" / "xlenet" / "backend" / "report.py"))
    assert report.advice(None).command == f'{PIP} install "xlenet[train]"'


@pytest.mark.skipif(sys.platform == "win32", reason="quotes of a POSIX shell")
def test_the_install_command_is_for_this_python_and_for_a_shell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = tmp_path / "a $HOME b"
    (here / "xlenet" / "backend").mkdir(parents=True)
    (here / "pyproject.toml").touch()
    monkeypatch.setattr(report, "__file__", str(here / "xlenet" / "backend" / "report.py"))
    for path in (here / "pip", here / "python", tmp_path / "pip"):
        path.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(here / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shlex.split(report.advice(None).command) == [
        str(here / "python"), "-m", "pip", "install", "-e", f"{here}[train]"
    ]  # fmt: skip
    monkeypatch.setenv("PATH", str(here))
    assert report.advice(None).command == f"pip install -e '{here}[train]'"


BROKEN = {
    "matplotlib": "raise RuntimeError('wrong\\nABI')", "threadpoolctl": "raise ImportError('wrong ABI')",
    "tqdm": "import sys; sys.exit(3)", "PIL": "import numpy.absent",
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_package_that_does_not_import_is_told(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / f"{name}.py").write_text(f"print('hello')\n{BROKEN[name]}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for module in [one for one in sys.modules if one.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    known = "pillow" if name == "PIL" else name
    assert call("--json") == 0
    assert list(json.loads(capsys.readouterr().out)["versions"]["broken"]) == [known]
    assert call() == 0
    said = capsys.readouterr().out
    assert said.startswith("! versions")
    assert f"broken: {known}, which does not import (" in said


def test_a_cupy_that_ends_the_program_does_not_end_the_doctor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "cupy.py").write_text("import sys\nsys.exit(3)\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(gpu, "installed", dict)
    assert "SystemExit: 3" in diagnosed(capsys, "--backend", "cupy", code=3)["backend"]["error"]
    assert diagnosed(capsys, "--backend", "auto")["backend"]["name"] == "numpy"


def test_without_a_driver_it_comes_before_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(gpu, "installed", dict)
    values = diagnosed(capsys, "--backend", "cupy", code=3)
    assert values["backend"]["error"].startswith("backend cupy: got no NVIDIA driver, and no such package installed;")
    assert "pip" not in values["backend"]["error"]
    backend.resolve_backend.cache_clear()
    machine(monkeypatch, FakeCUDA(12080, H100))
    error = diagnosed(capsys, "--backend", "cupy", code=3)["backend"]["error"]
    assert error.startswith("backend cupy: got no such package installed;")
    assert "pip install" in error


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_version", lambda name: None if name == "tqdm" else "1.0")
    assert report.advice(None).missing == ("tqdm",)


def test_a_driver_is_described_without_cupy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, FakeCUDA(12080, H100, "NVIDIA L4", release="570.86.15"))
    values = diagnosed(capsys)
    assert values["gpu"] == {"driver": {"cuda": "12.8", "release": "570.86.15"}, "devices": [H100, "NVIDIA L4"]}
    assert call() == 0
    assert f"{H100}, NVIDIA L4; driver 570.86.15 for CUDA up to 12.8" in capsys.readouterr().out


@pytest.mark.parametrize("function", ["cuDriverGetVersion", "cuDeviceGet", "cuDeviceGetName"])
def test_a_driver_that_does_not_answer_spoils_one_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], function: str
) -> None:
    machine(monkeypatch, FakeCUDA(12080, H100, fails=function))
    values = diagnosed(capsys)
    assert values["gpu"] == {"error": f"OSError: {function} answers with error 999"}
    assert values["install"]["command"] == f"{PIP} install -e '{ROOT}[train]'"


def test_a_library_that_is_not_there_is_none() -> None:
    assert find_library("no-such-library.so.7") is None


def test_two_cupys_are_told_with_the_cure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    machine(monkeypatch, FakeCUDA(13000, H100), "cupy-cuda12x", "cupy-cuda13x")
    values = diagnosed(capsys)
    assert "cupy-cuda12x 14.2.0 and cupy-cuda13x 14.2.0, which overwrite" in values["cupy_packages"]["conflict"]
    assert call() == 0
    said = capsys.readouterr().out
    assert (
        "CuPy        two or more, which overwrite each other's files: cupy-cuda12x 14.2.0, cupy-cuda13x 14.2.0" in said
    )
    assert "pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install" in said
    assert diagnosed(capsys, "--backend", "cupy", code=3)["backend"]["works"] is False


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({}, False), ({"CUPY_TF32": "0"}, False), ({"CUPY_TF32": "1"}, True), ({"NVIDIA_TF32_OVERRIDE": "1"}, True),
        ({"CUPY_TF32": "1", "NVIDIA_TF32_OVERRIDE": "0"}, False), ({"NVIDIA_TF32_OVERRIDE": "0"}, False),
    ],
)  # fmt: skip
def test_tf32(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], on: bool) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert report.tf32() == {"on": on, "variables": variables}


# ==== data ====

TINY = tuple(DataFile(file.name, (1,), "md5:0") for file in registry.MNIST.files)


def test_data_that_are_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    values = diagnosed(capsys)["data"]
    assert values["data_dir"] == str(folder)
    places = [str(folder / "mnist"), str(folder / "MNIST" / "raw"), str(folder)]
    assert values["sets"]["mnist"] == {"folder": None, "looked": places, "error": None}
    assert not folder.exists()
    call()
    assert f"mnist: not found; looked in {', '.join(places)}" in capsys.readouterr().out


def test_damaged_data_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "data" / "mnist" / "train-images-idx3-ubyte"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nothing")
    values = diagnosed(capsys)["data"]["sets"]["mnist"]
    assert values["folder"] is None
    assert str(path) in values["error"]


def test_real_mnist_is_found_where_it_lies(mnist_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "MNIST").mkdir()
    (tmp_path / "MNIST" / "raw").symlink_to(mnist_dir)
    assert found.find("mnist", tmp_path).folder == tmp_path / "MNIST" / "raw"
    assert found.find("fashion-mnist", tmp_path).folder is None
    assert found.find("mnist", mnist_dir).folder == mnist_dir
    assert found.find("fashion-mnist", mnist_dir).folder is None, "its files have the same names"


def test_a_user_without_a_home_is_no_reason_to_stop(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XLENET_DATA_DIR")
    monkeypatch.setattr(Path, "home", nowhere)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert "no home folder" in diagnosed(capsys)["data"]["error"]


# ==== it never crashes ====


@pytest.mark.parametrize(
    "error", [ValueError("a"), MemoryError(), OSError(5, "b"), BackendError("c"), ImportError("d")]
)
@pytest.mark.parametrize(
    "function", ["versions", "cupy_packages", "blas", "tf32", "find_driver", "advice", "processor"]
)
def test_whatever_fails_spoils_only_its_own_finding(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, function: str, error: Exception
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(report, function, fail)
    monkeypatch.setattr(diagnosis, "find", fail)
    monkeypatch.setattr(diagnosis, "smoke", lambda _: smoke.Smoke(0.0, 1.0, 3))
    values = diagnosed(capsys)
    failed = {name for name in NAMES if set(values[name]) == {"error"}}
    spoiled = {"find_driver": {"gpu"}, "advice": {"install"}, "processor": {"versions"}}.get(function, {function})
    if function == "find_driver" and not isinstance(error, OSError):
        spoiled = {"gpu", "install"}
    assert failed == spoiled | {"data"}
    assert call() == 0


def test_packages_that_print_and_warn_do_not_spoil_the_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy() -> dict[str, Any]:
        sys.stdout.write("hello")
        warnings.warn("two CuPys", stacklevel=1)
        return {"on": float("nan"), "variables": {}, "what": object(), "array": np.float32(1)}

    monkeypatch.setattr(report, "tf32", noisy)
    assert diagnosed(capsys)["tf32"]["on"] is None


@pytest.mark.parametrize(
    ("error", "code", "words"), [(BrokenPipeError(), 141, ""), (OSError(28, "No space left"), 5, "No space left")]
)
def test_an_answer_that_cannot_be_written_ends_as_that_of_any_command(
    error: OSError, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(*_: Any, **options: Any) -> None:
        if "file" not in options:
            raise error
        write(*_, **options)

    write = print
    monkeypatch.setattr("builtins.print", gone)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    assert call() == code
    sys.stdout.close()  # what it was exchanged for
    said = capsys.readouterr().err
    assert words in said
    assert bool(said) == bool(words)


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", interrupted)
    assert call() == 130
    assert capsys.readouterr().err == "interrupted\n"


BARE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from importlib import metadata
version = metadata.version
def without(name):
    if name != "numpy":
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = without
import runpy
sys.argv = ["doctor", *{arguments}]
runpy.run_module("xlenet.doctor", run_name="__main__")
"""


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--json", "--backend", "cupy"]], ids=str)
def test_numpy_is_all_that_it_needs(arguments: list[str]) -> None:
    names = {"cupy", "matplotlib", "tqdm", "safetensors", "threadpoolctl", "PIL", "onnx", "array_api_strict", "torch"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BARE.format(names=names, arguments=arguments)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("XLENET_")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == (3 if "cupy" in arguments else 0)
    if "--json" not in arguments:
        assert "not installed: matplotlib" in done.stdout
        assert "missing here: matplotlib, pillow, safetensors, threadpoolctl, tqdm" in done.stdout
        return
    values = json.loads(done.stdout)
    assert values["blas"]["loaded"] is None
    assert not any(values["versions"]["packages"].values())
    assert set(values["backend"]) >= {"asked", "why", "works"}


# ==== the smoke step ====


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_known_step_is_known_to_every_library(lib: Any, dtype: str) -> None:
    name = lib.name if lib.name != "array_api_strict" else "array_api_strict:1"
    with use_backend(name):
        assert smoke.check_known(dtype) < (1e-5 if dtype == "float32" else 1e-7)


def test_the_known_step_is_pytorchs(torch: Any) -> None:
    """The numbers that broken machines are measured by are not our own."""
    nn = torch.nn
    model = nn.Sequential()
    for name, layer in {
        "conv1": nn.Conv2d(1, 6, 5, padding=2), "pool1": nn.MaxPool2d(2), "bn1": nn.BatchNorm2d(6), "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(6, 16, 5), "pool2": nn.MaxPool2d(2), "bn2": nn.BatchNorm2d(16), "relu2": nn.ReLU(),
        "conv3": nn.Conv2d(16, 120, 5), "flatten": nn.Flatten(), "fc4": nn.Linear(120, 84), "relu4": nn.ReLU(),
        "fc5": nn.Linear(84, 10),
    }.items():  # fmt: skip
        model.add_module(name, layer)
    model.double()
    with torch.no_grad():
        for number, (name, parameter) in enumerate(model.named_parameters(), start=1):
            shape = tuple(parameter.shape)
            size = (6.0 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.2
            offset = 1.0 if name in ("bn1.weight", "bn2.weight") else 0.0
            parameter.copy_(torch.from_numpy(offset + smoke._pattern(shape, number, size)))
    x = torch.from_numpy(smoke._pattern((64, 1, 28, 28), 0, 2.0))
    loss = nn.functional.cross_entropy(model(x), torch.arange(64) % 10)
    loss.backward()
    theirs = {name: float(p.grad.norm()) for name, p in model.named_parameters()} | {"loss": loss.item()}
    for name, known in smoke.KNOWN.items():
        assert theirs[name] == pytest.approx(known, rel=1e-7), name
    assert set(theirs) - set(smoke.KNOWN) == {"conv1.bias", "conv2.bias"}


def test_tf32_on_a_gpu_may_be_further_off(monkeypatch: pytest.MonkeyPatch) -> None:
    off = {name: value * (1.0 + 5e-4) for name, value in smoke.KNOWN.items()}
    monkeypatch.setattr(smoke, "measured", lambda _: off)
    monkeypatch.setattr(report, "is_on_gpu", lambda _: True)
    with pytest.raises(smoke.SmokeError, match="within 1e-05"):
        smoke.check_known()
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert smoke.check_known() == pytest.approx(5e-4)
    monkeypatch.setattr(report, "is_on_gpu", lambda _: False)
    with pytest.raises(smoke.SmokeError, match="within 1e-05"):
        smoke.check_known()


def _wrong(right: Any, change: Any) -> Any:
    def product(*arguments: Any, **options: Any) -> Any:
        y = right(*arguments, **options)
        y[...] = change(y)
        return y

    return product


@pytest.mark.parametrize(
    "change", [lambda y: y * 1.01, lambda y: y * np.nan, np.zeros_like, lambda y: np.roll(y, 1)],
    ids=["scaled", "nan", "zero", "shifted"],
)  # fmt: skip
def test_a_broken_product_shows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    """As of an OpenBLAS that computes wrongly."""
    monkeypatch.setattr(np, "matmul", _wrong(np.matmul, change))
    with np.errstate(all="ignore"):
        values = diagnosed(capsys, code=3)
    assert values["backend"]["works"] is True
    assert values["smoke"]["error"].startswith("smoke: got numbers that are wrong (")


def test_images_per_second_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(np.arange(0.0, 1000.0, 0.25))
    monkeypatch.setattr(smoke, "time", types.SimpleNamespace(perf_counter=lambda: float(next(now))))
    monkeypatch.setattr(smoke, "_SECONDS", 2.0)
    rate, steps = smoke._rate()
    # The clock goes on with each look: one when it begins, one a step from the third on, one at the end.
    assert steps == 10
    assert rate == pytest.approx(64 * 10 / 2.25)
