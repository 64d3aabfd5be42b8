"""The files that somebody has thought of, or that `tests.fuzz` has found: each must be refused, or loaded, for ever.

A file is named after its kind, what must become of it, and what is the matter with it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import KINDS

# Those of ONNX are read where the package onnx is.
FILES = [path for path in sorted((Path(__file__).parent / "corpus").iterdir()) if path.name.partition("-")[0] in KINDS]


def test_there_is_a_corpus_of_each_kind() -> None:
    assert {path.name.partition("-")[0] for path in FILES} == set(KINDS)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_a_hostile_file_is_refused_in_words_and_an_odd_one_is_read(file: Path, tmp_path: Path) -> None:
    kind, expected, _ = file.name.split("-", 2)
    outcome = KINDS[kind].check(tmp_path / "file", file.read_bytes(), sound=False)
    assert ("Error" in outcome) == (expected == "refused"), outcome
