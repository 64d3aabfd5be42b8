"""The architecture: who may import whom, where array libraries are named, and what ``import xlenet`` does not do."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import xlenet

PACKAGE = Path(xlenet.__file__).parent

# Imports go down, or sideways on one floor. A folder's floor is that of every module in it.
FLOORS = {
    "errors": 0,
    "backend": 0,
    "init": 0,
    "files": 0,
    "strictjson": 0,
    "workspace": 0,
    "checks": 1,
    "functional": 1,
    "kernels": 1,
    "layers": 2,
    "losses": 2,
    "optim": 2,
    "schedules": 2,
    "models": 3,
    "data": 3,
    "testing": 3,
    "interop": 4,
    "meter": 4,
    "metrics": 4,
    "steps": 4,
    "training": 4,
    "checkpoint": 4,
    "safetensors_header": 4,
    "snapshot_format": 4,
    "plotting": 4,
    "gallery": 4,
    "inside": 4,
    "records": 4,
    "runs": 4,
    "smoke": 4,
    "snapshots": 4,
    "trained": 4,
    "pictures": 4,
    "commands": 5,
    "console": 5,
    "diagnosis": 5,
    "doctor": 5,
    "evaluate": 5,
    "experiment": 5,
    "export": 5,
    "options": 5,
    "plot": 5,
    "predict": 5,
    "recipes": 5,
    "train": 5,
}
LIBRARIES = {"numpy", "cupy", "array_api_strict"}
OPTIONAL = {
    "PIL", "cupy", "array_api_strict", "matplotlib", "tqdm", "safetensors", "threadpoolctl", "onnx", "torch", "jax",
}  # fmt: skip


@cache
def sources() -> dict[str, ast.Module]:
    """Every module of the package, parsed, by its name below the package; the package itself is the empty name."""
    trees = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return trees


def floor(module: str) -> int:
    return FLOORS[module.partition(".")[0]]


def imported(module: str, tree: ast.AST) -> Iterator[str]:
    """The full names of what the nodes of `tree` import; a name taken out of a package may be one of its modules."""
    is_package = (PACKAGE / module.replace(".", "/") / "__init__.py").is_file()
    here = ["xlenet", *module.split(".")] if module else ["xlenet"]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = node.level - is_package
            base = [*here[: len(here) - up], *(node.module or "").split(".")] if node.level else [node.module or ""]
            start = ".".join(part for part in base if part)
            for alias in node.names:
                inner = f"{start}.{alias.name}".removeprefix("xlenet.")
                yield f"{start}.{alias.name}" if start.startswith("xlenet") and inner in sources() else start


def ours(module: str, tree: ast.AST) -> set[str]:
    """Which modules of the package `tree` imports, by their names below it."""
    names = (name for name in imported(module, tree) if name.partition(".")[0] == "xlenet")
    return {name.partition(".")[2] for name in names}


def test_every_module_has_a_floor() -> None:
    """A new module is put on one on purpose; an old one is taken off the list when it goes."""
    assert {name.partition(".")[0] for name in sources() if name} == set(FLOORS)


def test_imports_are_understood() -> None:
    """The walk itself: of relative and absolute imports, of modules and of names, in modules and in packages."""
    text = """
    import os.path
    import xlenet.data.idx
    from .. import init
    from ..backend import Array
    from .base import Layer
    from xlenet.functional import conv2d
    def later():
        from xlenet import Conv2D
    """
    tree = ast.parse(textwrap.dedent(text))
    assert ours("layers.conv", tree) == {"data.idx", "init", "backend", "layers.base", "functional.conv2d", ""}
    assert ours("layers", ast.parse("from .conv import Conv2D\nfrom ..backend import Array")) == {
        "layers.conv",
        "backend",
    }
    assert ours("", ast.parse("from . import errors\nfrom .layers import Layer")) == {"errors", "layers"}
    assert len(sources()) > 20
    assert "backend" in ours("layers.conv", sources()["layers.conv"])
    assert "training" in ours("train", sources()["train"])


@pytest.mark.parametrize("module", [name for name in sources() if name])
def test_imports_go_down(module: str) -> None:
    for other in ours(module, sources()[module]):
        if other:
            assert floor(other) <= floor(module), f"{module} (floor {floor(module)}) imports {other} ({floor(other)})"
        else:
            # The package's own names (its version) are for those who sit on top of all of it.
            assert floor(module) == 5, f"{module} imports the package itself"


def test_imports_make_no_circle() -> None:
    """Of modules as they are loaded: what stands inside a function or behind TYPE_CHECKING comes later or never."""
    loaded = {}
    for name, tree in sources().items():
        body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        # "from .base import x" in a package's own module is no import of that package.
        loaded[name] = ours(name, ast.Module(body=body, type_ignores=[])) - {name}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' -> '.join([*path, name])}"
        if name in done:
            return
        for other in sorted(loaded[name] - {""}):
            visit(other, (*path, name))
        done.add(name)

    for name in sorted(loaded):
        visit(name, ())


# ==== array libraries ====

# Where NumPy is a tool of the host, and not one of the libraries that may compute.
HOST_WORK = ("backend", "init", "data", "kernels", "testing")


@pytest.mark.parametrize("module", [name for name in sources() if name])
def test_numpy_is_imported_only_where_the_host_computes(module: str) -> None:
    used = {name.partition(".")[0] for name in imported(module, sources()[module])} & LIBRARIES
    allowed = module.partition(".")[0] in HOST_WORK or floor(module) >= 4
    assert used <= ({"numpy"} if allowed else set())


# `testing.plugin` runs a test on each of them, by its name.
KNOW_THE_LIBRARIES = ("backend", "testing.plugin")


@pytest.mark.parametrize("module", [name for name in sources() if name and not name.startswith(KNOW_THE_LIBRARIES)])
def test_only_backend_knows_which_libraries_there_are(module: str) -> None:
    """Neither by a test of `xp` nor by a name in a string. (Docstrings and help texts may speak of them.)"""
    for node in ast.walk(sources()[module]):
        if isinstance(node, ast.Compare):
            sides = {ast.unparse(side) for side in (node.left, *node.comparators)}
            assert not any(side == "xp" or side.startswith("xp.__") for side in sides), ast.unparse(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert node.value not in LIBRARIES - {"numpy"}, f"{module}, line {node.lineno}"
        if isinstance(node, ast.Attribute):
            assert node.attr != "import_module", f"{module}, line {node.lineno}"
        if isinstance(node, ast.Name):
            assert node.id not in ("cupy", "array_api_strict", "__import__"), f"{module}, line {node.lineno}"


@pytest.mark.parametrize("module", [name for name in sources() if name])
def test_numpys_words_for_the_host_stay_on_the_host(module: str) -> None:
    """`np.` on floors 1 to 3 would tie the mathematics to one library, however it was imported. (A kernel is tied to
    one on purpose, and prepares its launches on the host.)
    """
    if floor(module) in (1, 2, 3) and module.partition(".")[0] not in HOST_WORK:
        names = {node.id for node in ast.walk(sources()[module]) if isinstance(node, ast.Name)}
        assert not names & {"np", "numpy"}


@pytest.mark.parametrize("module", [name for name in sources() if name])
def test_the_environment_is_read_where_it_is_documented(module: str) -> None:
    reads = {
        node.attr
        for node in ast.walk(sources()[module])
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    assert not reads or module in (
        "backend.choice",
        "backend.debug",
        "backend.gpu",
        "backend.graph",
        "backend.report",
        "backend.seam",
        "data.location",
        "testing.plugin",
    )


@pytest.mark.parametrize("module", [name for name in sources() if name and not name.startswith("kernels")])
def test_nobody_but_the_seam_loads_kernels(module: str) -> None:
    """And it does so by name, when the first array of their library comes along."""
    assert not any(name.startswith("kernels") for name in ours(module, sources()[module]))


@pytest.mark.parametrize("module", [name for name in sources() if name])
def test_what_is_optional_is_imported_when_it_is_needed(module: str) -> None:
    at_once = [node for node in sources()[module].body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name.partition(".")[0] for name in imported(module, ast.Module(body=at_once, type_ignores=[]))}
    assert not names & OPTIONAL


# ==== what an import does ====

PROBE = """
import json, os, sys

import numpy  # with everything that it needs, so that what follows is of xlenet's doing

read, opened, started = [], [], []

class Environment(type(os.environ)):
    def __getitem__(self, key):
        read.append(key)
        return super().__getitem__(key)

    def get(self, key, default=None):
        read.append(key)
        return super().get(key, default)

    def __contains__(self, key):
        read.append(key)
        return super().__contains__(key)

    def __iter__(self):
        read.append("all of it")
        return super().__iter__()

os.environ.__class__ = Environment

def listen(event, arguments):
    if event == "open":
        opened.append(str(arguments[0]))
    elif event.partition(".")[0] in ("subprocess", "socket", "shutil", "tempfile") or event in (
        "os.mkdir", "os.remove", "os.rename", "os.putenv", "os.system", "os.fork", "os.chmod", "os.truncate"
    ):
        started.append(event)

before = set(sys.modules)
sys.addaudithook(listen)
import xlenet
read_on_import, opened_on_import = list(read), list(opened)
loaded = sorted(set(sys.modules) - before)

# The probe itself: each of these must leave a trace, or an empty list would prove nothing.
xlenet.default_namespace()
open(os.devnull).close()
print(json.dumps({
    "read": read_on_import,
    "opened": opened_on_import,
    "started": started,
    "loaded": loaded,
    "proof": [read[len(read_on_import):], opened[len(opened_on_import):]],
}))
"""


@pytest.fixture(scope="module")
def after_import() -> dict[str, list[str]]:
    """What ``import xlenet`` did in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", PROBE],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_the_probe_sees_what_it_is_there_to_see(after_import: dict[str, list[str]]) -> None:
    read, opened = after_import["proof"]
    assert "XLENET_BACKEND" in read
    assert len(opened) == 1
    assert "xlenet.layers.conv" in after_import["loaded"]


def test_an_import_reads_no_environment_variable(after_import: dict[str, list[str]]) -> None:
    assert after_import["read"] == []


def test_an_import_touches_no_file_but_code(after_import: dict[str, list[str]]) -> None:
    assert [path for path in after_import["opened"] if not path.endswith((".py", ".pyc", ".so", ".pyd"))] == []


def test_an_import_starts_nothing(after_import: dict[str, list[str]]) -> None:
    assert after_import["started"] == []


def test_an_import_loads_nothing_that_is_optional_or_slow(after_import: dict[str, list[str]]) -> None:
    loaded = {name.partition(".")[0] for name in after_import["loaded"]}
    assert not loaded & (OPTIONAL | {"urllib", "ssl", "http", "asyncio", "socket", "argparse", "hypothesis"})
    below = {name.removeprefix("xlenet.").partition(".")[0] for name in after_import["loaded"] if "xlenet." in name}
    assert not below & {"data", "kernels", "plotting", "testing", "training", "checkpoint", "runs", "console", "train"}


# ==== what is public ====

WITH_PUBLIC_NAMES = [name for name, tree in sources().items() if (PACKAGE / name.replace(".", "/")).is_dir()]


@pytest.mark.parametrize("name", WITH_PUBLIC_NAMES, ids=lambda name: name or "xlenet")
def test_what_a_package_offers_is_what_it_imports(name: str) -> None:
    """`__all__` holds every public name that the file brings in, each once, and each is there."""
    module = importlib.import_module(f"xlenet.{name}" if name else "xlenet")
    helpers = {"annotations", "os", "Callable", "Sequence", "TYPE_CHECKING", "SOURCES"}  # what data.load needs
    helpers |= {"check_callable", "check_path", "integer"}
    brought_in = {
        alias.asname or alias.name
        for node in sources()[name].body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    defined = {node.name for node in sources()[name].body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    offered = list(module.__all__)
    assert len(offered) == len(set(offered))
    assert set(offered) == {n for n in brought_in | defined if not n.startswith("_")} - helpers
    for one in offered:
        assert hasattr(module, one)


def test_everything_public_says_what_it_is() -> None:
    for name in xlenet.__all__:
        value = getattr(xlenet, name)
        assert (value.__doc__ or "").strip(), name
        assert isinstance(value, ModuleType) or value.__module__.startswith("xlenet."), name


def test_a_star_brings_the_public_names_and_no_others() -> None:
    names: dict[str, object] = {}
    exec("from xlenet import *", names)
    assert set(names) - {"__builtins__"} == set(xlenet.__all__)
