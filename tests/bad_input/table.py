"""What a row of the tables is, and how it is tried.

A `Call` is a public function with arguments that are right. A `Row` spoils one of them: which argument, what comes
instead, what is raised, and what the message says came and was expected. To add rows for a new parameter, give the
`Call` its right value and add a line with `bad`; a new function needs a new `Call`, or the test of completeness fails.
"""

from __future__ import annotations

import atexit
import math
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.libraries import Lib, open_library, open_partner
from tests.networks import on
from xlenet.backend import Backend
from xlenet.backend.libraries import library_of

NAN, INF = math.nan, math.inf

# Where rows write files.
FOLDER = Path(tempfile.mkdtemp(prefix="xlenet-bad-input-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class Call:
    """A public function, and arguments that are right.

    Attributes:
        function: What is called, with all arguments by name; of a method, the function itself, and ``self`` by name.
        says: How its messages begin.
        good: Makes the right arguments on a library. What belongs to a state is among them.
        arrays: Whether the library matters; else NumPy alone will do.
        label: Tells it from other calls of the same function.
        positional: Arguments that have no name for the caller, in their order.
        dear: Whether the call with the right arguments takes too long to be made; tests of its own make it.
    """

    function: Callable[..., Any]
    says: str
    good: Callable[[Lib], dict[str, Any]]
    arrays: bool = True
    label: str = ""
    positional: tuple[str, ...] = ("self",)
    dear: bool = False

    @property
    def path(self) -> str:
        """The full name of the function, without the package's."""
        return path_of(self.function)

    def __str__(self) -> str:
        return f"{self.path}({self.label})" if self.label else self.path

    def __call__(self, arguments: Mapping[str, Any]) -> Any:
        first = [arguments[name] for name in self.positional if name in arguments]
        return self.function(*first, **{k: v for k, v in arguments.items() if k not in self.positional})


def path_of(function: Any) -> str:
    """The full name of a public function, without the package's."""
    return f"{function.__module__}.{function.__qualname__}".removeprefix("xlenet.")


@dataclass(frozen=True, eq=False)
class Row:
    """One argument that is wrong.

    Attributes:
        call: What is called.
        argument: Which argument is wrong.
        came: What is wrong with it, for the test's name.
        spoil: Makes the wrong value, from the library and the right value.
        error: What is raised, exactly.
        got: What the message must say came: the words in its first part, the argument's name among them.
        expected: What it must say was expected.
        says: How the message begins, where it is another part of the library that notices.
        unnoticed_on: Libraries that cannot tell, as is documented.
    """

    call: Call
    argument: str
    came: str
    spoil: Callable[[Lib, Any], Any]
    error: type[Exception]
    got: tuple[str, ...]
    expected: tuple[str, ...]
    says: str
    unnoticed_on: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.call}-{self.argument}-{self.came}"


def bad(
    call: Call,
    argument: str,
    value: Any,
    error: type[Exception],
    got: str | Iterable[str] = (),
    expected: str | Iterable[str] = (),
    *,
    came: str = "",
    named: str | None = None,
    says: str = "",
    unnoticed_on: tuple[str, ...] = (),
) -> Row:
    """A row; a `value` made by `made` depends on the library or on the right value, any other is passed as it is.

    Args:
        call: What is called.
        argument: Which argument is wrong.
        value: What comes instead.
        error: What is raised.
        got: Words of the message's first part; the argument's name is always one of them.
        expected: Words of its second part.
        came: What is wrong, for the test's name; the value itself unless it is made.
        named: How the message names the argument, where not as the signature does ("": not at all).
        says: How the message begins, where not as the call's do.
        unnoticed_on: Libraries that cannot tell, as is documented.
    """
    spoil = value.make if isinstance(value, made) else lambda lib, good: value
    name = argument if named is None else named
    words = ((name,) if name else ()) + ((got,) if isinstance(got, str) else tuple(got))
    wanted = (expected,) if isinstance(expected, str) else tuple(expected)
    told = came or (value.came if isinstance(value, made) else re.sub(r" at 0x\w+", "", repr(value)))
    return Row(call, argument, told, spoil, error, words, wanted, says or call.says, unnoticed_on)


@dataclass(frozen=True)
class made:  # noqa: N801 - reads as a word in the tables
    """A value that depends on the library, or on the right value in whose place it comes."""

    came: str
    make: Callable[[Lib, Any], Any]


# ==== wrong arrays ====


# Among a row's words: the names of the test's library and of the one that `another` gives.
BOTH_LIBRARIES = ("<this library>", "<another library>")


def name_of_another(lib: Lib) -> str:
    """The name of a library that is not `lib`."""
    return "numpy" if lib.name != "numpy" else "array_api_strict"


def another(lib: Lib) -> Lib:
    """A library that is not `lib`."""
    return open_library(name_of_another(lib))


def other_library(lib: Lib, good: Any) -> Any:
    """The same numbers in a library that is not `lib`."""
    return another(lib).asarray(lib.to_numpy(good))


def of_type(dtype: str) -> made:
    """The right numbers in another type."""
    return made(dtype, lambda lib, good: lib.asarray(lib.to_numpy(good).astype(dtype)))


def of_shape(name: str, change: Callable[[tuple[int, ...]], tuple[int, ...]]) -> made:
    """Zeros of the right type, and of a shape made from the right one."""
    return made(name, lambda lib, good: lib.asarray(np.zeros(change(tuple(good.shape))), lib.dtype_name(good)))


def exactly(*shape: int) -> made:
    """Zeros of the right type, and of this shape."""
    return of_shape(str(shape), lambda _: shape)


NO_ARRAYS = (
    (made("a list", lambda lib, good: lib.to_numpy(good).tolist() or [1.0]), ("a builtins.", "list")),
    (None, "None"),
    ("text", "builtins.str"),
    (made("a tensor of PyTorch", lambda lib, good: open_partner("torch", "torch").zeros(2)), "torch.Tensor"),
)


def no_arrays(
    call: Call, argument: str, *, says: str = "", named: str | None = None, borrower: str | None = None
) -> list[Row]:
    """Rows for what is no array. A `borrower` takes a tensor of PyTorch's, but not one with a gradient to lose."""
    rows = [bad(call, argument, value, TypeError, got, "an array", says=says, named=named) for value, got in NO_ARRAYS]
    if borrower is None:
        return rows
    got, expected = ("torch.Tensor", "requires_grad=True"), "no gradient"
    return [*rows[:-1], bad(call, argument, WITH_A_GRADIENT, TypeError, got, expected, says=borrower, named=named)]


WITH_A_GRADIENT = made(
    "a tensor with a gradient", lambda lib, good: open_partner("torch", "torch").zeros(2, requires_grad=True)
)


def wrong_library(call: Call, argument: str, *, says: str = "", named: str | None = None) -> list[Row]:
    """A row for an array of another library than that of the other arguments."""
    value = made("another library", other_library)
    return [bad(call, argument, value, TypeError, BOTH_LIBRARIES, "one library", says=says, named=named)]


def wrong_types(call: Call, argument: str, *, says: str = "", expected: str = "float32 or all float64") -> list[Row]:
    """Rows for types that layers do not compute in."""
    return [
        bad(call, argument, of_type(dtype), TypeError, dtype, expected, says=says)
        for dtype in ("int64", "complex128", "bool")
    ]


def numpy_types(call: Call, argument: str, *, says: str = "") -> list[Row]:
    """Rows for types that only NumPy has."""
    return [
        bad(call, argument, only_numpy(dtype), TypeError, (), "float64", says=says) for dtype in ("float16", "object")
    ]


def only_numpy(dtype: str) -> made:
    """The right numbers in a type that the strict library lacks; there, int32, which is as wrong."""

    def make(lib: Lib, good: Any) -> Any:
        host = lib.to_numpy(good)
        return lib.asarray(host.astype(dtype if lib.name == "numpy" else "int32"))

    return made(dtype, make)


def empty_along(call: Call, argument: str, rank: int, *, says: str = "") -> list[Row]:
    """Rows for nothing along each axis."""

    def nothing(axis: int) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
        return lambda shape: (*shape[:axis], 0, *shape[axis + 1 :])

    return [
        bad(call, argument, of_shape(f"empty along {axis}", nothing(axis)), ValueError, "of shape", says=says)
        for axis in range(rank)
    ]


def wrong_ranks(call: Call, argument: str, expected: str, *shapes: tuple[int, ...], says: str = "") -> list[Row]:
    """Rows for shapes with other numbers of axes."""
    return [
        bad(call, argument, exactly(*shape), ValueError, f"of shape {shape}", expected, says=says) for shape in shapes
    ]


def wrong_gradients(call: Call, shape: tuple[int, ...], *, argument: str = "dy", says: str = "") -> list[Row]:
    """Rows for a gradient that comes back in another shape than `shape`, such as one that would broadcast to it."""
    wrong = {
        (),
        (1,) * len(shape),
        (1, *shape[1:]),
        (*shape[:-1], 1),
        shape[1:],
        (*shape, 1),
        (1, *shape),
        (shape[0] + 1, *shape[1:]),
        (0, *shape[1:]),
        shape[::-1],
    } - {shape}
    return [bad(call, argument, exactly(*w), ValueError, f"of shape {w}", str(shape), says=says) for w in sorted(wrong)]


# ==== wrong numbers ====

NO_NUMBERS: tuple[Any, ...] = ("0.5", None, 1j, True, [0.5])
NOT_FINITE: tuple[Any, ...] = (NAN, INF, -INF, np.float64("nan"))
NO_WHOLE_NUMBERS: tuple[Any, ...] = ("3", None, 1.5, True, [1], NAN)


def numbers(
    call: Call, argument: str, *outside: float, says: str = "", named: str | None = None, may_be_none: bool = False
) -> list[Row]:
    """Rows for a hyper-parameter: no number, not finite, or one of those `outside` its range."""
    rows = [
        bad(call, argument, value, TypeError, repr(value), "a finite number", says=says, named=named)
        for value in NO_NUMBERS
        if value is not None or not may_be_none
    ]
    return rows + [
        bad(call, argument, value, ValueError, repr(value), "a finite number", says=says, named=named)
        for value in (*NOT_FINITE, *outside)
    ]


def whole_numbers(
    call: Call, argument: str, *outside: int, says: str = "", named: str | None = None, may_be_none: bool = False
) -> list[Row]:
    """Rows for a count: no whole number, or one of those `outside` its range."""
    rows = [
        bad(call, argument, value, TypeError, repr(value), "whole number", says=says, named=named)
        for value in NO_WHOLE_NUMBERS
        if value is not None or not may_be_none
    ]
    return rows + [
        bad(call, argument, value, ValueError, repr(value), "at least", says=says, named=named) for value in outside
    ]


def switches(call: Call, *arguments: str, says: str = "") -> list[Row]:
    """Rows for what is neither True nor False."""
    return [
        bad(call, argument, value, TypeError, repr(value), "True or False", says=says)
        for argument in arguments
        for value in ("no", None, 2, 0.5)
    ]


# ==== how a row is tried ====

_FORM = re.compile(r"(?s)(?P<says>.+?): got (?P<got>.+?); expected (?P<expected>.+?); (?P<do>.*\w.*)")


def try_rows(lib: Lib, rows: list[Row]) -> None:
    """Call with each wrong argument in turn: the error is the right one, and nothing has changed. The right arguments
    still work at the end.
    """
    call = rows[0].call
    rows = [row for row in rows if lib.name not in row.unnoticed_on]
    with on(lib):
        right = call.good(lib)
        before = frozen(right)
        problems = [f"{row}: {problem}" for row in rows if (problem := _problem(lib, row, right, before))]
        assert not problems, "\n".join(problems)
        if not call.dear:
            call(right)


def _problem(lib: Lib, row: Row, right: dict[str, Any], before: Any) -> str:
    """What is wrong with how `row` is answered; nothing if all is well."""
    wrong = right | {row.argument: row.spoil(lib, right.get(row.argument))}
    try:
        row.call(wrong)
    except Exception as error:
        problem = _problem_of(lib, row, error)
    else:
        problem = "was taken"
    return problem or ("something has changed" if frozen(right) != before else "")


def _problem_of(lib: Lib, row: Row, error: Exception) -> str:
    """What is wrong with `error` as an answer to `row`."""
    text = str(error.args[0]) if error.args else ""  # a KeyError prints itself in quotes
    parts = _FORM.fullmatch(text)
    if type(error) is not row.error or not parts or parts["says"] != row.says:
        return f"{type(error).__name__}: {text}"
    names = dict(zip(BOTH_LIBRARIES, (lib.name, name_of_another(lib)), strict=True))
    missing = [word for word in row.got if names.get(word, word) not in parts["got"]]
    missing += [word for word in row.expected if word not in parts["expected"]]
    return f"no {missing} in its place in: {text}" if missing else ""


def frozen(value: Any) -> Any:
    """Everything that `value` is made of, as something that can be compared later: arrays by their identity and bytes,
    objects of the library by all that they hold.
    """
    return tuple(_walk(value, set()))


def _walk(value: Any, seen: set[int]) -> Iterator[Any]:
    if isinstance(value, str | bytes | int | float | complex | type | None):
        yield value if value == value else "nan"
        return
    yield type(value).__name__, 0 if isinstance(value, tuple | list) else id(value)  # a list may be made for the walk
    if id(value) in seen:
        return
    seen.add(id(value))
    try:
        xp = library_of(value)
    except TypeError:
        pass
    else:
        yield str(value.dtype), tuple(value.shape), str(value.device)
        host = value.to_device(xp.Device("CPU_DEVICE")) if xp.__name__ == "array_api_strict" else value
        yield (host.get() if xp.__name__ == "cupy" else np.asarray(host)).tobytes()
        return
    if isinstance(value, Backend):
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _walk(item, seen)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _walk(item, seen)
    elif type(value).__module__.partition(".")[0] in ("xlenet", "tests") and hasattr(value, "__dict__"):
        yield from _walk(vars(value), seen)


@dataclass(frozen=True)
class Table:
    """The rows of one part of the library."""

    rows: list[Row] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def add(self, call: Call, *rows: Iterable[Row] | Row) -> Call:
        """Add a call, if it is new, and rows of it."""
        if call not in self.calls:
            self.calls.append(call)
        for group in rows:
            self.rows.extend([group] if isinstance(group, Row) else group)
        return call
