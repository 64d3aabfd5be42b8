"""The fixture `xp` in a project of somebody else's, which knows nothing but its name."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
STRICT = importlib.util.find_spec("array_api_strict") is not None

LAYER = """
import numpy as np

from xlenet import Layer, namespace_of

class Scale(Layer):
    def __init__(self):
        super().__init__()
        self._add_parameter("weight", np.ones(3))

    def _forward(self, x, work):
        return self.params["weight"] * x, x

    def _backward(self, dy, cache, need_dx, work):
        self._set_gradients(weight=namespace_of(dy).sum(dy * cache, axis=0))
        return self.params["weight"] * dy if need_dx else None
"""

THREE_LINES = """
from xlenet.testing import check_layer
def test_scale(xp):
    check_layer(Scale, (4, 3))
"""


def pytest_in(folder: Path, text: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run pytest on a file with `text`, in a process and a project of its own; its exit code and what it printed."""
    (folder / "test_scale.py").write_text(LAYER + textwrap.dedent(text), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-rs", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "XLENET_REQUIRE_BACKENDS": ""}
        | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_three_lines_test_a_layer_on_every_backend(tmp_path: Path) -> None:
    code, printed = pytest_in(tmp_path, THREE_LINES, "-p", "xlenet.testing.plugin", CUDA_VISIBLE_DEVICES="")
    assert code == 0, printed
    assert "test_scale[numpy] PASSED" in printed
    assert f"test_scale[array_api_strict] {'PASSED' if STRICT else 'SKIPPED'}" in printed
    assert "test_scale[cupy] SKIPPED" in printed
    assert "backend cupy: got " in printed  # the reason, with what cures it


def test_a_line_in_a_conftest_will_do(tmp_path: Path) -> None:
    """And twice is no more than once, as where the plugin has been installed, too."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = "xlenet.testing.plugin"\n', encoding="utf-8")
    for arguments in ([], ["-p", "xlenet.testing.plugin"]):
        code, printed = pytest_in(tmp_path, THREE_LINES, "-k", "numpy", *arguments)
        assert code == 0, printed
        assert "1 passed" in printed


def test_a_backend_that_is_required_fails(tmp_path: Path) -> None:
    code, printed = pytest_in(
        tmp_path, THREE_LINES, "-p", "xlenet.testing.plugin", CUDA_VISIBLE_DEVICES="", XLENET_REQUIRE_BACKENDS="cupy"
    )
    assert code == 1, printed
    assert "XLENET_REQUIRE_BACKENDS asks for cupy: backend cupy: got " in printed
    assert f"{1 + STRICT} passed" in printed


def test_layers_and_arrays_are_made_on_the_backend_of_the_test_and_of_no_other(tmp_path: Path) -> None:
    text = """
    import xlenet
    from xlenet import Linear, default_namespace, to_device

    def test_inside(xp):
        assert default_namespace() is xp
        assert namespace_of(Linear(3, 2).params["weight"]) is xp
        assert namespace_of(to_device(np.zeros(2))) is xp

    def test_behind():
        assert default_namespace() is np
    """
    code, printed = pytest_in(tmp_path, text, "-p", "xlenet.testing.plugin")
    assert code == 0, printed
    assert printed.count("PASSED") >= 2 + STRICT


def test_a_fixture_of_the_projects_own_comes_first(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import pytest\n@pytest.fixture\ndef xp():\n    return 'mine'\n", encoding="utf-8"
    )
    code, printed = pytest_in(tmp_path, "def test_it(xp):\n    assert xp == 'mine'", "-p", "xlenet.testing.plugin")
    assert code == 0, printed


def test_a_wrong_layer_fails_on_each_backend(tmp_path: Path) -> None:
    wrong = "Scale._infer = lambda self, x, work: x\n" + THREE_LINES
    code, printed = pytest_in(tmp_path, wrong, "-p", "xlenet.testing.plugin", CUDA_VISIBLE_DEVICES="")
    assert code == 1, printed
    assert f"{1 + STRICT} failed, {2 - STRICT} skipped" in printed
    assert "Scale: got a y that is off by" in printed


def test_whoever_uses_the_checker_alone_needs_no_pytest() -> None:
    text = "import sys, xlenet.testing; assert 'pytest' not in sys.modules, 'pytest'"
    subprocess.run([sys.executable, "-c", text], cwd=ROOT, check=True, timeout=60)


def test_pytest_finds_the_plugin_by_the_name_of_its_module() -> None:
    """One name for both ways to ask for it, so that it is registered once."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {"xlenet.testing.plugin": "xlenet.testing.plugin"}
