"""What README and docs print is what happens."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests.libraries import open_partner

ROOT = Path(__file__).parent.parent
TOP = [ROOT / name for name in ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*TOP, *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts)]


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def needs(page: Path) -> list[str]:
    """The packages without which a page's blocks are skipped: a line <!-- needs: onnx, onnxruntime --> says so."""
    line = re.search(r"^<!-- needs: (.*) -->$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return line[1].split(", ") if line else []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_blocks_run_one_after_the_other(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for package in needs(page):
        open_partner(package, package)
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), names)
        # A comment behind a print says what it prints.
        printed = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
        assert capsys.readouterr().out.splitlines() == printed


def test_what_a_page_needs_is_read(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for text, packages in (
        ("# A\n\n<!-- needs: onnx, jax -->\n", ["onnx", "jax"]),
        ("<!-- needs: onnx -->\n# A\n", ["onnx"]),
        ("# A\n", []),
    ):
        page.write_text(text, encoding="utf-8")
        assert needs(page) == packages


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_has_exactly_the_two_commands_of_a_newcomer() -> None:
    train, test = blocks(ROOT / "README.md", "sh")
    for commands in (train, test):
        assert commands.startswith("python3 -m venv .venv\n")
    assert "-m xlenet.train" in train.splitlines()[-1]
    assert "-m pytest" in test.splitlines()[-1]


def test_the_gpu_is_spoken_of_only_where_a_record_exists() -> None:
    """Until a record of a GPU run is there, README and docs say so."""
    records = list((ROOT / "bench" / "results").glob("*gpu*.json"))
    words = {
        "README.md": "not yet run on a gpu",
        "README.zh-CN.md": "尚未在 gpu 上运行",
        "docs/backends.md": "not yet run on a gpu",
    }
    for name, not_yet in words.items():
        page = ROOT / name
        says_not_yet = not_yet in page.read_text(encoding="utf-8").lower()
        assert says_not_yet == (not records), page.name


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_tests_and_commands_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    modules = set(re.findall(r"python -m (xlenet[\w.]*\w)", text))
    assert {name for name in modules if importlib.util.find_spec(name) is None} == set()
    files = set(re.findall(r"\btests/[\w/.]+", text)) | set(re.findall(r"\bbench/[\w/]+\.py", text))
    files |= {f"{name.replace('.', '/')}" for name in re.findall(r"python -m (tests\.\w+)", text)}
    there = {name for name in files for end in ("", ".py") if (ROOT / f"{name.rstrip('.')}{end}").exists()}
    assert files - there == set()
