"""A user's program passes ``mypy --strict``, and a wrong one does not: py.typed says that it may be asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.libraries import open_partner

HERE = Path(__file__).parent / "typing"


def said_of(program: str, tmp_path: Path) -> list[tuple[int, str]]:
    """The lines of `program` and what mypy says of each, reading xlenet as an installed package."""
    open_partner("mypy", "mypy")
    root = HERE.parent.parent
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "--cache-dir", str(tmp_path)]
    done = subprocess.run(
        [*command, "--hide-error-context", "--no-pretty", program],
        cwd=HERE, env=os.environ | {"MYPYPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr + done.stdout
    lines = [re.match(rf"{program}:(\d+): (.*)", line) for line in done.stdout.splitlines()]
    assert all(lines[:-1]), done.stdout  # of no other file
    return [(int(line[1]), line[2]) for line in lines if line]


def test_a_users_program_passes(tmp_path: Path) -> None:
    lines = (HERE / "program.py").read_text(encoding="utf-8").splitlines()
    revealed = {n: line.rpartition("# ")[2] for n, line in enumerate(lines, 1) if "reveal_type(" in line}
    said = said_of("program.py", tmp_path)
    assert [(n, what) for n, what in said if not what.startswith("note: Revealed type is")] == []
    types = {n: what.partition('"')[2].rstrip('"') for n, what in said}
    assert types.keys() == revealed.keys()
    for line, expected in revealed.items():
        short = re.sub(r"(?:\w+\.)+", "", types[line])
        assert short.startswith(expected), f"line {line}: {types[line]}"


def test_a_users_mistakes_are_found(tmp_path: Path) -> None:
    lines = (HERE / "mistakes.py").read_text(encoding="utf-8").splitlines()
    wanted = {(n, line.rpartition("# error: ")[2]) for n, line in enumerate(lines, 1) if "# error: " in line}
    found = {
        (n, re.search(r"\[([\w-]+)\]$", what)[1]) for n, what in said_of("mistakes.py", tmp_path) if "error" in what
    }  # type: ignore[index]
    assert found == wanted
