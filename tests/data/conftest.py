from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.data.fakes import FakeMirror, serving


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMirror]:
    """A mirror on this machine, reached without the proxy that the environment may name."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        yield server
