"""Say what there is to compute with, whether it works, and what to install: ``python -m xlenet.doctor --help``."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from .commands import check_backend_name, run_command, say
from .diagnosis import Finding, examine
from .errors import BackendError

_NEEDED = ("backend", "smoke")  # what must work; anything else is only worth knowing


def options_of_doctor() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m xlenet.doctor",
        description="Say what there is to compute with on this machine, whether it works, and what to install.",
        epilog="exit codes: 0 the backend works, 2 usage, 3 it does not, 5 cannot write, 130 interrupted",
    )
    parser.add_argument("--backend", metavar="NAME", help="try this one: numpy, cupy, cupy:1 or auto")
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 the backend works, 2 usage, 3 it does not, 5 cannot write, 130 interrupted.
    """
    return run_command(options_of_doctor(), arguments, _look)


def _look(options: argparse.Namespace) -> int:
    check_backend_name(options.backend)
    with _quiet():
        findings = examine(options.backend)
    broken = [finding for finding in findings if finding.failed and finding.name in _NEEDED]
    code = BackendError.exit_code if broken else 0
    say(_as_json(findings, code) if options.json else _as_text(findings, broken))
    return code


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let nobody else write while we look: what the library would log is among the findings, and what packages print
    on import, is not for whoever reads our JSON.
    """
    logger = logging.getLogger("xlenet")
    before = logger.disabled
    logger.disabled = True
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.disabled = before


def _as_text(findings: Sequence[Finding], broken: Sequence[Finding]) -> str:
    width = max(len(finding.title) for finding in findings)
    lines = []
    for finding in findings:
        mark = "! " if finding.failed else "  "
        for number, line in enumerate(finding.lines):
            lines.append(f"{mark if number == 0 else '  '}{finding.title if number == 0 else '':{width}}  {line}")
    names = " and ".join(finding.title for finding in broken)
    lines += ["", f"does not work: {names}" if broken else "works"]
    return "\n".join(lines)


def _as_json(findings: Sequence[Finding], code: int) -> str:
    whole: dict[str, Any] = {"works": code == 0, "exit_code": code}
    whole |= {finding.name: finding.values for finding in findings}
    return json.dumps(_plain(whole), indent=2, ensure_ascii=True, allow_nan=False)


def _plain(value: Any) -> Any:
    """Return `value` as JSON has it: a number that is not finite is none there."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


if __name__ == "__main__":
    sys.exit(main())
