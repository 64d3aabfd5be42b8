"""The form every error has: `<operation>: got <what came>; expected <what is wanted>; <what to do>`."""

from __future__ import annotations

import re


def message(operation: str, *, got: str = "", expected: str = "") -> str:
    """A pattern for `pytest.raises(match=...)`: who complains, what came and what was wanted, each in its place.

    Args:
        operation: The name before the colon.
        got: Text (not a pattern) that stands in the part that says what came.
        expected: The same for the part that says what is wanted.
    """
    return (
        rf"(?s)^{re.escape(operation)}: got [^;]*{re.escape(got)}[^;]*"
        rf"; expected [^;]*{re.escape(expected)}[^;]*; .*\w"
    )
