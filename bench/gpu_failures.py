"""A plugin of pytest for `bench.gpu_stages`, which says at once which test has failed, and why:

    python -m pytest -p bench.gpu_failures

pytest itself says why at the end of a run, and a run that overruns its time has no end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

BEGINS = "FAILED, AND WHY: "  # JSON follows, to the end of the line
_ROOT = Path(__file__).resolve().parent.parent
_LINES, _LETTERS = 6, 600  # of a reason


def pytest_configure(config: pytest.Config) -> None:
    """Report where somebody reads: not in a worker process of pytest-xdist, which reports to the first one."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Failures(config.pluginmanager))


class _Failures:
    def __init__(self, plugins: pytest.PytestPluginManager) -> None:
        self._plugins = plugins

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._say(report)

    @pytest.hookimpl(trylast=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._say(report)

    def _say(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        terminal: Any = self._plugins.get_plugin("terminalreporter")  # not there yet in pytest_configure
        if report.failed:
            terminal.write_line(BEGINS + json.dumps({"test": report.nodeid, "reason": reason(report.longrepr)}))


def reason(failure: Any) -> str:
    """Return the first lines of what went wrong, with the place."""
    crash = getattr(failure, "reprcrash", None)
    if crash is None:
        lines = str(failure).splitlines()
        said = "\n".join([line for line in lines if line.startswith("E ")] or lines)
    else:
        path = Path(crash.path)
        place = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path.name
        said = f"{place}:{crash.lineno}: {crash.message}"
    return "\n".join([line for line in said.splitlines() if line.strip()][:_LINES])[:_LETTERS]
