"""The table of faults is in step with the code: each line that is to be broken is there, and stays a line of Python."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.planted import FILES, FOLDERS, ROOT, copies, is_there, main, plant
from tests.planted_faults import FAULTS, Fault

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])


@each_fault
def test_what_a_fault_breaks_is_there_once(fault: Fault) -> None:
    assert is_there(fault, ROOT), f"{fault.file} has not {fault.right!r} exactly once: mend tests/planted_faults.py"


@each_fault
def test_what_is_broken_is_still_a_program_and_another_one(fault: Fault) -> None:
    text = (ROOT / "xlenet" / fault.file).read_text(encoding="utf-8")
    broken = text.replace(fault.right, fault.wrong)
    assert broken != text
    if fault.file.endswith(".py"):
        assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(text))


def test_names_are_told_apart_and_tests_are_there() -> None:
    assert [name for name, count in Counter(fault.name for fault in FAULTS).items() if count > 1] == []
    assert len(FAULTS) >= 50
    files = {word for fault in FAULTS for word in fault.tests.split() if word.startswith("tests/")}
    assert [file for file in sorted(files) if not (ROOT / file).exists()] == []


def test_a_line_that_is_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / "xlenet").mkdir()
    (tmp_path / "xlenet" / "a.py").write_text("x = 1\ny = 1\n", encoding="utf-8")
    for right, there in (("x = 1", True), ("x = 2", False), ("= 1", False)):
        assert is_there(Fault("", "a.py", right, "", ""), tmp_path) is there
    assert not is_there(Fault("", "b.py", "x = 1", "", ""), tmp_path)


def test_the_checkout_is_never_broken_and_the_copy_is() -> None:
    fault = FAULTS[0]
    before = (ROOT / "xlenet" / fault.file).read_bytes()
    with copies(1) as free:
        copy = free.get()
        plant(fault, copy)
        assert not is_there(fault, copy)
    assert (ROOT / "xlenet" / fault.file).read_bytes() == before


# ==== the command, on a library of one line ====

THRICE = Fault("thrice", "__init__.py", "2 * x", "3 * x", "tests/test_double.py")
SQUARED = THRICE._replace(name="squared", wrong="x * x")
HARMLESS = THRICE._replace(name="the other way round", wrong="x * 2")


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Fault]:
    """What is planted; the first test cannot tell 2 * 2 from 2 squared, and the other one can."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
    for name in FILES:
        (tmp_path / name).touch()
    for name, text in {
        "xlenet/__init__.py": "def double(x):\n    return 2 * x\n",
        "tests/test_double.py": "from xlenet import double\n\n\ndef test_it():\n    assert double(2) == 4\n",
        "tests/test_more.py": "from xlenet import double\n\n\ndef test_it():\n    assert double(5) == 10\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    planted: list[Fault] = []
    monkeypatch.setattr("tests.planted.ROOT", tmp_path)
    monkeypatch.setattr("tests.planted.ALL_TESTS", "tests")
    monkeypatch.setattr("tests.planted.FAULTS", planted)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return planted


def test_a_fault_is_noticed_and_a_harmless_change_survives(
    faults: list[Fault], capsys: pytest.CaptureFixture[str]
) -> None:
    faults += [THRICE, SQUARED, HARMLESS]
    assert main(["--jobs", "2"]) == 1
    printed = capsys.readouterr().out
    assert "3 faults planted, 2 noticed, 1 of them by others than their own tests" in printed
    assert "survived: ['the other way round']" in printed


def test_tests_that_fail_without_any_fault_show_nothing(
    tmp_path: Path, faults: list[Fault], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the fault's own tests nor all the others, which would notice whatever is planted."""
    faults.append(HARMLESS)
    for broken in ("tests/test_more.py", "tests/test_double.py"):
        (tmp_path / broken).write_text("def test_it():\n    assert False\n", encoding="utf-8")
        assert main([]) == 1
        printed = capsys.readouterr().out
        assert "without any fault: exit code 1 of tests" in printed
        assert "planted" not in printed


def test_a_part_of_the_table_can_be_asked_for(faults: list[Fault], capsys: pytest.CaptureFixture[str]) -> None:
    faults += [THRICE._replace(name=f"fault {k}") for k in range(7)]
    for arguments, numbers in (
        ([], range(7)), (["--every", "3"], (0, 3, 6)), (["--only", "Fault 4"], (4,)),
    ):  # fmt: skip
        assert main(["--list", *arguments]) == 0
        assert re.findall(r"fault (\d)", capsys.readouterr().out) == list(map(str, numbers))
    assert main(["--only", "fault 4"]) == 0
    assert "1 faults planted, 1 noticed, 0 of them" in capsys.readouterr().out
