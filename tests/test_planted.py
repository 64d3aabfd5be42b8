"""The table of faults is in step with the code: each line that is to be broken is there, and stays a line of Python."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.planted import ROOT, copies, is_there, main, plant
from tests.planted_faults import FAULTS, Fault

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])


@each_fault
def test_what_a_fault_breaks_is_there_once(fault: Fault) -> None:
    assert is_there(fault), f"{fault.file} does not hold {fault.right!r} exactly once: mend tests/planted_faults.py"


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


def test_a_fault_is_noticed_and_a_harmless_change_survives(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.planted.ALL_TESTS", "tests/test_schedules.py")
    rising = next(fault for fault in FAULTS if fault.name == "a cosine that rises")
    harmless = rising._replace(name="a cosine's half", wrong="(1.0 / 2.0) * (1.0 + math.cos")
    monkeypatch.setattr("tests.planted.FAULTS", [rising, harmless])
    assert main(["--only", "a cosine"]) == 1
    printed = capsys.readouterr().out
    assert "2 faults planted, 1 noticed" in printed
    assert 'survived: ["a cosine\'s half"]' in printed
    assert main(["--only", "a cosine that"]) == 0
