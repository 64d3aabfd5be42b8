"""The errors a user can catch. A wrong shape, type or value is Python's own `ValueError` or `TypeError`."""

from __future__ import annotations

import reprlib

_SHOWN = 80  # characters


class XlenetError(Exception):
    """Anything that xlenet itself gives up on. `exit_code` is what a command line ends with."""

    exit_code = 1


class MissingExtraError(XlenetError, ImportError):
    """An optional package is not installed; the message names the `pip install` that brings it."""

    exit_code = 2


class BackendError(XlenetError, RuntimeError):
    """The array library that was asked for cannot be used here; the message says why and what cures it."""

    exit_code = 3


class DataError(XlenetError, ValueError):
    """A data file is there but cannot be trusted: corrupt, truncated, larger than it may be, or of another shape."""

    exit_code = 4


class DataNotFoundError(DataError, FileNotFoundError):
    """The data are neither on disk nor reachable."""


class OutputError(XlenetError, OSError):
    """A result cannot be written: a full disk, a read-only folder, a file where a folder should be."""

    exit_code = 5


class DivergedError(XlenetError, ArithmeticError):
    """The loss stopped being a finite number; the message says at which step and what to try."""

    exit_code = 6


class NotFiniteError(DivergedError):
    """With ``XLENET_DEBUG=1``: numbers are not finite any more, and this is where they were first.

    Attributes:
        who: the layer (or the loss, or the optimiser) that computed them.
        what: what they are: ``output``, ``gradient by x``, ``gradient of weight`` ...
    """

    def __init__(self, who: object, what: str) -> None:
        self.who, self.what = who, what
        super().__init__(
            f"{type(who).__name__}: got numbers in its {what} that are not finite; expected finite ones; "
            "look at what goes in, and try a smaller learning rate"
        )


def shown(value: object) -> str:
    r"""Return `repr(value)`, cut to a line: for what a file says, which may be megabytes long, nested a thousand deep,
    or an instruction to the terminal.

    Example:
        >>> shown("a" * 1000), shown("\x1b[2J")
        ("'aaaaaaaaaaaaaa...aaaaaaaaaaaaaaa'", "'\\x1b[2J'")
    """
    return _short.repr(value)[:_SHOWN]


def printable(text: str, longest: int | None = None) -> str:
    r"""Return `text` with what no terminal or picture should be sent written as an escape sequence: for what a file, a
    name of one, or a server says.

    Args:
        text: by anybody.
        longest: characters; what is longer ends in three dots. None: however long.

    Example:
        >>> printable("a\x1b[2J\n") == r"a\x1b[2J\n"
        True
        >>> printable("two\nlines, and many more words", longest=20) == r"two\nlines, and m..."
        True
    """
    head = text if longest is None else text[: longest + 1]
    escaped = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in head)
    return escaped if longest is None or len(escaped) <= longest else f"{escaped[: longest - 3]}..."


_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother = 3, 35, 35
