"""The files at the top of the repository: what they must not outgrow, and what must be the same in all of them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

import xlenet
from bench import install_size
from tests.libraries import open_partner

ROOT = Path(__file__).parent.parent
README, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "below"), [("README.md", 200), ("README.zh-CN.md", 200), ("CONTRIBUTING.md", 60)])
def test_what_is_to_be_read_first_is_short(name: str, below: int) -> None:
    assert len(text_of(ROOT / name).splitlines()) < below


def test_one_version_everywhere() -> None:
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    cited = re.search(r"^version: (.*)$", text_of(ROOT / "CITATION.cff"), re.MULTILINE)
    assert cited is not None
    assert project["version"] == xlenet.__version__ == cited[1].strip("\"'")
    assert f"## {xlenet.__version__}" in text_of(ROOT / "CHANGELOG.md")


def test_the_citation_file_can_be_read() -> None:
    """By the schema of CFF 1.2.0: these four are required, and nothing unknown may be there."""
    yaml = open_partner("yaml", "yaml")
    citation = yaml.safe_load(text_of(ROOT / "CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation.keys() <= {
        "cff-version",
        "message",
        "title",
        "authors",
        "type",
        "abstract",
        "version",
        "license",
        "keywords",
    }
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert all(author.keys() <= {"name", "family-names", "given-names", "orcid"} for author in citation["authors"])
    assert citation["license"] == tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]["license"]


# ==== two languages ====


def code_of(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def table_rows(text: str) -> list[list[str]]:
    """The figures and the code of each table row, which no translation changes."""
    rows = [line for line in without_code(text).splitlines() if line.startswith("|")]
    return [re.findall(r"`[^`]+`|\d[\d,.]*", row) for row in rows]


def heading_levels(text: str) -> list[str]:
    return re.findall(r"^(#+) ", without_code(text), re.MULTILINE)


def links(text: str) -> list[str]:
    found = re.findall(r"\]\(([^)]+)\)", without_code(text))
    return sorted(link for link in found if link not in ("README.md", "README.zh-CN.md"))


@pytest.mark.parametrize("same", [code_of, table_rows, heading_levels, links])
def test_both_readmes_say_the_same(same) -> None:  # type: ignore[no-untyped-def]
    assert same(text_of(README)) == same(text_of(CHINESE))


def test_figures_outside_tables_are_the_same_in_both() -> None:
    """Those with a unit or a decimal point; a small whole number may be a word in one of them."""
    figures = [
        sorted(re.findall(r"\d+\.\d+|\d[\d,]*(?= ?(?:MB|ms|%|s\b))", without_code(text_of(page)).replace("**", "")))
        for page in (README, CHINESE)
    ]
    assert figures[0] == figures[1]


def test_each_readme_leads_to_the_other() -> None:
    assert "(README.zh-CN.md)" in text_of(README).split("\n## ")[0]
    assert "(README.md)" in text_of(CHINESE).split("\n## ")[0]


# ==== what an installation takes ====


def test_the_size_of_an_installation_is_the_one_that_was_measured() -> None:
    record = json.loads(text_of(ROOT / "bench" / "results" / "install_size.json"))
    sizes = {name: found["mb"] for name, found in record["installed"].items()}
    assert sizes["xlenet"] < record["promise_mb"] == install_size.PROMISE
    base, torch = f"{sizes['xlenet']:.1f} MB", f"{sizes['torch, CPU']:.1f} MB"
    for readme in (README, CHINESE):
        assert base in text_of(readme)
        assert torch in text_of(readme)
    quickstart = text_of(ROOT / "docs" / "quickstart.md")
    assert all(f"{mb:.1f}" in quickstart for mb in sizes.values())


def test_what_lies_in_a_folder_is_counted(tmp_path: Path) -> None:
    for name, size in (("numpy/a.py", 1_500_000), ("numpy/deep/b.so", 500_000), ("six.py", 250_000)):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(size))
    (tmp_path / "numpy-2.4.dist-info").mkdir()
    found = install_size.measured(tmp_path)
    assert (found["mb"], found["files"]) == (2.2, 3)  # 2.25, rounded to even
    assert found["largest_mb"] == {"numpy": 2.0, "six.py": 0.2}
    assert found["packages"] == ["numpy-2.4"]


# ==== continuous integration ====


def test_the_workflow_asks_for_nothing_it_does_not_need() -> None:
    yaml = open_partner("yaml", "yaml")
    workflow = yaml.safe_load(text_of(ROOT / ".github" / "workflows" / "ci.yml"))
    assert workflow["permissions"] == {"contents": "read"}
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert [action for action in used if not re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", action)] == []
    assert all("permissions" not in job for job in workflow["jobs"].values())
    # Once, when somebody sets the label: a label that stays would let later pushes run on that machine.
    assert workflow["jobs"]["gpu"]["if"] == "github.event.action == 'labeled' && github.event.label.name == 'gpu'"
    assert workflow["jobs"]["gpu"]["env"]["XLENET_REQUIRE_BACKENDS"] == "cupy"


def test_the_workflow_tries_what_the_package_promises() -> None:
    yaml = open_partner("yaml", "yaml")
    matrix = yaml.safe_load(text_of(ROOT / ".github" / "workflows" / "ci.yml"))["jobs"]["tests"]["strategy"]["matrix"]
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    promised = {c.rpartition(" ")[2] for c in project["classifiers"] if re.search(r":: 3\.\d+$", c)}
    assert set(matrix["python"]) == promised
    oldest = next(d for d in project["dependencies"] if d.startswith("numpy")).partition(">=")[2]
    assert any(extra["numpy"] == f"{oldest}.*" for extra in matrix["include"])
