"""What all command lines share: their beginning, and their ending in words and an exit code."""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import sys
from collections.abc import Callable, Sequence

from .backend import Backend, default_backend, resolve_backend
from .backend.choice import memory_in_use
from .backend.gpu import in_a_line, is_out_of_memory
from .backend.report import why_broken
from .console import complain
from .errors import MissingExtraError, OutputError, XlenetError, printable
from .experiment import UsageError
from .plotting.figures import new_figure

BELOW_EXPECTED = 7
INTERRUPTED = 130
READER_GONE = 141  # what a shell shows of a program that SIGPIPE has ended

Work = Callable[[argparse.Namespace], int]


def run_command(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    work: Work,
    *,
    out_of_memory: Callable[[Exception, argparse.Namespace], str] | None = None,
) -> int:
    """Do `work` with the options in `arguments` and return the exit code; no mistake of a user's shows a traceback.

    Args:
        parser: reads the options; what it does not understand ends the program with 2, as ever.
        arguments: None takes the program's own.
        work: what to do; returns an exit code.
        out_of_memory: what to say where there was no memory for it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    options = parser.parse_args(arguments)
    try:
        return work(options)
    except XlenetError as error:
        complain(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # such as "| head", which has read enough
        _forget_stdout()
        return READER_GONE
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        complain(f"error: {(out_of_memory or _no_memory)(error, options)}")
        return UsageError.exit_code


def _no_memory(error: Exception, options: argparse.Namespace) -> str:
    backend = chosen_backend(getattr(options, "backend", None))
    used = f"{in_a_line(error)}{memory_in_use(backend)}"
    return f"got no memory for it ({used}); expected room for a batch; try a smaller --batch-size or --backend numpy"


def _forget_stdout() -> None:
    """At the end of the program Python would try again to write what is still to be written, and complain."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (for the rest of the process)


def say(text: str) -> None:
    """Print what a command answers.

    Raises:
        OutputError: it cannot be written.
        BrokenPipeError: whoever read it has gone.
    """
    if sys.stdout is None:  # closed before the program began
        raise OutputError("standard output: got it closed; expected to be able to write to it; leave it open")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _forget_stdout()
        raise OutputError(
            f"standard output: got {error.strerror or error}; expected to be able to write to it; make room"
        ) from error


def check_output(option: str, path: str | None) -> None:
    """Check that an option's picture can be written: before the work, as far as that can be told without writing it.

    Raises:
        OutputError: its folder is not there, or is none of ours.
        MissingExtraError: Matplotlib, which draws it, cannot be used.
    """
    if path is None:
        return
    folder = os.path.dirname(path) or "."
    if "\0" in path or not os.path.isdir(folder) or not os.access(folder, os.W_OK) or os.path.isdir(path):
        raise OutputError(
            f"{option}: got {printable(path)!r}; expected the name of a file, in a folder that is there and can be "
            "written; choose another"
        )
    check_extras(option, "matplotlib")


def check_extras(what: str, *packages: str, extra: str = "train") -> None:
    """Say what is not installed or does not import, and how to mend it: before the work, and not after it.

    Raises:
        MissingExtraError: it is so with one of `packages`, which are names of modules.
        OutputError: Matplotlib finds no folder to keep its settings in.
    """
    absent = [name for name in packages if importlib.util.find_spec(name.partition(".")[0]) is None]
    if absent:
        names = ", ".join(name.partition(".")[0] for name in absent)
        raise MissingExtraError(
            f'{what}: got no {names}, not installed here; expected it; pip install "xlenet[{extra}]"'
        )
    for name in packages:
        if name == "matplotlib":  # which wants a folder for itself, besides
            new_figure(1.0, 1.0)
        elif why := why_broken(name):
            package = name.partition(".")[0].replace("PIL", "pillow")
            raise MissingExtraError(
                f"{what}: got a {package} that does not import ({why}); expected one that does; "
                f"pip install --force-reinstall {package}"
            )


def chosen_backend(name: str | None) -> Backend:
    """Return the backend of that name, as in ``--backend``; None is the default one.

    Raises:
        UsageError: an empty name, most likely a shell variable that is not set.
        BackendError: it is not there, or unknown.
    """
    check_backend_name(name)
    return resolve_backend(name) if name else default_backend()


def check_backend_name(name: str | None) -> None:
    """Check what came with ``--backend`` as far as that goes without looking for it.

    Raises:
        UsageError: an empty name, most likely a shell variable that is not set.
    """
    if name == "":
        raise UsageError(
            "--backend: got an empty text; expected numpy, cupy, cupy:<device number> or auto; name one, or leave the "
            "option out"
        )
