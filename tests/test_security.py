"""Nothing in a file is ever executed: no module of the package has the means to do so."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.test_imports import sources

# What makes code or objects of bytes, runs a program, or goes around Python.
MODULES = {
    "pickle", "_pickle", "cPickle", "marshal", "shelve", "dbm", "copyreg", "dill", "cloudpickle", "joblib",
    "jsonpickle", "yaml", "ruamel", "subprocess", "runpy", "pty", "codeop", "ctypes", "cffi",
}  # fmt: skip
# What the package needs, and nothing else: who wants more adds it here, on purpose.
NEEDED = {
    "__future__", "argparse", "collections", "concurrent", "contextlib", "contextvars", "copy", "dataclasses",
    "difflib", "errno", "functools", "gc", "gzip", "hashlib", "http", "importlib", "io", "ipaddress", "itertools",
    "json", "logging", "math", "numbers", "operator", "os", "pathlib", "platform", "re", "reprlib", "secrets",
    "shlex", "shutil", "signal", "stat", "struct", "sys", "tempfile", "textwrap", "threading", "time", "types",
    "typing", "unicodedata", "urllib", "warnings", "zipfile", "zlib",
    "PIL", "numpy", "matplotlib", "pytest", "onnx", "safetensors", "threadpoolctl", "tqdm",
}  # fmt: skip
# Ways round a name.
ROUNDABOUT = {
    "__builtins__", "__globals__", "__subclasses__", "reload", "FunctionType", "CodeType", "dictConfig", "fileConfig",
    "get_type_hints", "npyio", "ctypeslib", "read_array", "create_subprocess_shell", "create_subprocess_exec",
}  # fmt: skip
FUNCTIONS = ROUNDABOUT | {
    "eval", "exec", "compile", "__import__", "breakpoint", "globals", "literal_eval", "import_module", "exec_module",
    "load_module", "system", "popen", "startfile", "fork", "forkpty", "posix_spawn", "posix_spawnp",
    *(f"{kind}{how}" for kind in ("exec", "spawn") for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
}  # fmt: skip
METHODS = {"eval", "exec", "compile"}  # harmless as such: Layer.eval, re.compile
LIBRARIES = {"np", "numpy", "xp", "cupy", "torch"}
# Their readers that may unpickle, or that believe what a file says about its size.
READERS = {"load", "loads", "loadtxt", "genfromtxt", "fromregex", "memmap", "DataSource", "open_memmap"}
JSON = {"load"}  # reads without a limit; loads is given what has been bounded
# Where one of them is meant, and why it cannot be reached by a file.
ALLOWED = {
    # Libraries by names that stand in backend/libraries.py; a misspelt one is refused before.
    ("backend.libraries", "import_module"),
    ("backend.choice", "import_module"),
    # The module of a library's kernels, by the library's name.
    ("backend.seam", "import_module"),
    # The doctor asks the NVIDIA driver, by its name in that file, where there is no CuPy to ask it.
    ("backend.driver", "ctypes"),
    # And tries the packages that the commands use, whose names stand there, too.
    ("backend.report", "import_module"),
    # Pillow's word for decoding the pixels of a picture whose size has been looked at.
    ("data.picture", "image.load"),
}


def banned(tree: ast.AST) -> Iterator[str]:
    """Names of what must not be there, wherever and however it is used."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] not in NEEDED)
            yield from (alias.name for alias in node.names if alias.name.startswith("numpy") and alias.asname != "np")
        elif isinstance(node, ast.ImportFrom) and not node.level:
            if (node.module or "").partition(".")[0] not in NEEDED or (node.module or "").startswith("numpy."):
                yield node.module or ""
            yield from (alias.name for alias in node.names if alias.name in FUNCTIONS | MODULES)
            yield from (alias.name for alias in node.names if node.module == "numpy" and alias.name in READERS)
            yield from (alias.name for alias in node.names if node.module == "json" and alias.name in JSON)
        elif isinstance(node, ast.Name) and node.id in FUNCTIONS:
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield from _attribute(node)
        elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "shell"):
            yield node.arg
        elif isinstance(node, ast.Constant) and node.value in MODULES | (FUNCTIONS - METHODS):  # for a getattr
            yield f"{node.value!r}"


def _attribute(node: ast.Attribute) -> Iterator[str]:
    of = node.value.id if isinstance(node.value, ast.Name) else ""
    if node.attr in FUNCTIONS - METHODS or (node.attr in METHODS and "builtins" in of):
        yield node.attr
    if (of != "json" and node.attr in READERS) or (of == "json" and node.attr in JSON):
        yield f"{of}.{node.attr}"


@pytest.mark.parametrize("module", list(sources()))
def test_no_module_can_execute_what_it_reads(module: str) -> None:
    found = {name for name in banned(sources()[module]) if (module, name) not in ALLOWED}
    assert found == set()


def test_what_is_allowed_is_used() -> None:
    """An exception that nobody needs is an open door."""
    used = {(module, name) for module, tree in sources().items() for name in banned(tree)}
    assert used == ALLOWED


PLANTED = [
    "import pickle", "import pickle as p", "from pickle import loads", "import marshal, json", "import shelve",
    "import dill", "from cloudpickle import load", "import yaml", "from yaml import safe_load", "import joblib",
    "import subprocess", "import ctypes.util", "from ctypes import cdll", "import runpy",
    "from importlib import import_module", "importlib.import_module(name)", "importlib.util.exec_module(m)",
    "eval(text)", "exec(text)", "compile(text, 'f', 'exec')", "__import__(name)", "builtins.eval(text)", "run = eval",
    "__builtins__.exec(text)", "breakpoint()", "ast.literal_eval(text)", "globals()[name]()", "os.system(text)",
    "from os import system", "os.popen(text)", "os.execv(p, a)", "os.spawnlp(m, f)", "os.posix_spawn(p, a, e)",
    "os.fork()", "np.load(path)", "np.load(path, allow_pickle=True)", "numpy.load(path)", "xp.load(path)",
    "torch.load(path)", "from numpy import load", "np.loadtxt(path)", "np.memmap(path)", "np.fromregex(path, r, d)",
    "json.load(file)", "from json import load", "read(path, allow_pickle=True)", "run(command, shell=True)",
    "getattr(os, 'system')(text)", "import builtins as b", "import numpy as n",
    "__builtins__['eval'](t)", "np.lib.npyio.load(p)", "from numpy.lib.npyio import load",
    "np.lib.format.read_array(f)", "self.xp.load(p)", "namespace_of(x).load(p)", "import code",
    "import timeit", "types.FunctionType(c, g)",
    "import multiprocessing", "logging.config.dictConfig(d)", "import pkgutil", "import pydoc", "import asyncio",
    "typing.get_type_hints(f)", "import zipimport", "import _ctypes", "np.ctypeslib.load_library(n, p)",
    "import tarfile", "importlib.reload(m)", "f.__globals__['os']", "object.__subclasses__()",
    "sys.modules['pickle']", "def f():\n    if x:\n        import pickle",
]  # fmt: skip


@pytest.mark.parametrize("code", PLANTED)
def test_the_walk_sees_what_it_should(code: str) -> None:
    assert list(banned(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    ["json.loads(text)", "np.frombuffer(data, dtype)", "os.replace(a, b)", "import gzip, hashlib, json, zlib",
     "re.compile(text)", "model.eval()", "np.fromfile(file)", "from .load import load", "'a pickle in a text'"],
)  # fmt: skip
def test_the_walk_leaves_alone_what_is_harmless(code: str) -> None:
    assert list(banned(ast.parse(code))) == []
