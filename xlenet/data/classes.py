"""Labels of whatever kind as numbers from 0 up, and the names of the classes."""

from __future__ import annotations

import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..backend import Array
from ..errors import printable, shown
from .parts import UnfitError

_MOST_CLASSES = 10_000  # more are no classes, but numbers to be predicted
_LONGEST = 60  # letters of a name


def readable(name: str) -> str:
    r"""Return `name` without anything that a terminal or a picture could not show, and not too long.

    Example:
        >>> readable("a\x1b[2Jb"), readable("caf\udce9")
        ('a\\x1b[2Jb', 'caf\\udce9')
    """
    return printable(name, _LONGEST)


def in_order(names: Iterable[str]) -> list[str]:
    """Return names as people order them: numbers by their value, everything else by its letters.

    Example:
        >>> in_order(["10", "9", "1"]), in_order(["b", "10", "9"])
        (['1', '9', '10'], ['10', '9', 'b'])
    """
    names = list(names)
    if all(name.isdecimal() and len(name) < 19 for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return `names` as `readable` does; where that makes two the same, their numbers tell them apart.

    Example:
        >>> class_names(["cat", "dog"]), [name[-14:] for name in class_names(["x" * 70 + "1", "x" * 70 + "2"])]
        (('cat', 'dog'), ['xxxxxxx... (0)', 'xxxxxxx... (1)'])
    """
    short = [readable(name) for name in names]
    often = Counter(map(_alike, short))
    return tuple(
        name if often[_alike(name)] == 1 else f"{name.removesuffix('...')[: _LONGEST - 11]}... ({label})"
        for label, name in enumerate(short)
    )


def _alike(name: str) -> str:
    """Return the same text for names that people would take for one."""
    return unicodedata.normalize("NFC", name).strip().casefold()


def check_names(names: Sequence[str]) -> None:
    """Check that `names` are those of two classes or more, and that nobody would take two for the same.

    Raises:
        UnfitError: they are not.
    """
    if len(names) < 2:
        only = f"the one class {shown(names[0])}" if names else "no class"
        raise UnfitError(f"with {only}; expected two or more; there is nothing else to learn")
    if len(names) > _MOST_CLASSES:
        raise UnfitError(f"with {len(names):,} classes; expected at most {_MOST_CLASSES:,}; give numbers of classes")
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(_alike(name), name)
        if other is not name:
            raise UnfitError(
                f"with two classes {shown(other)} and {shown(name)}; expected names that differ in more than case and "
                "accents' spelling; rename one"
            )


def number_classes(
    y_train: Array, y_test: Array | None, counts: tuple[int, int]
) -> tuple[Array, Array | None, tuple[str, ...]]:
    """Return labels as numbers 0 ... K - 1, and the names of the K classes, which are those of the training part.

    Labels are integers of any type, truth values or texts, (N,) or (N, 1); or one-hot rows (N, K). Integers are
    numbered in their order and named by their values; texts in the order of `in_order`.

    Args:
        y_train: labels of the training part.
        y_test: those of the test part; None where there is none.
        counts: how many images there are of both.

    Raises:
        UnfitError: they are anything else, or a test label is none of the training part's.

    Example:
        >>> number_classes(np.array([5, 9, 5]), np.array([9]), (3, 1))
        (array([0, 1, 0]), array([1]), ('5', '9'))
        >>> number_classes(np.array(["no", "yes", "a"]), None, (3, 0))
        (array([1, 2, 0]), None, ('a', 'no', 'yes'))
    """
    train, width = _flat("y_train", y_train, counts[0])
    test, other = (None, width) if y_test is None else _flat("y_test", y_test, counts[1])
    if test is not None and (test.dtype.kind == "U") != (train.dtype.kind == "U"):
        raise UnfitError(
            "with texts in one of y_train and y_test, and numbers in the other; expected the same; convert"
        )
    if width != other:
        raise UnfitError(
            f"with y_train for {width or 'unnamed'} and y_test for {other or 'unnamed'} columns; expected one-hot rows "
            "of the same width, or none; convert one"
        )
    values: Any = np.arange(width) if width else np.unique(train)
    if values.dtype.kind == "U":
        values = np.array(in_order(values.tolist()))
    names = [str(value) for value in values.tolist()]
    check_names(names)
    numbers = None if test is None else _numbered("y_test", test, values)
    return _numbered("y_train", train, values), numbers, class_names(names)


def _flat(name: str, y: Array, count: int) -> tuple[Any, int]:
    """Return labels as (N,) integers or texts, and how wide they were if they were one-hot rows, else 0."""
    came, width = f"with {name} {y.dtype} of shape {y.shape} for {count:,} images", 0
    if y.ndim == 2 and y.shape[1] > 1 and len(y) == count and y.dtype.kind in "biuf":
        if not (((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all()):
            raise UnfitError(f"{came}, rows that are not one-hot; expected a single 1 in each; take their argmax")
        y, width = y.argmax(axis=1), y.shape[1]
    elif y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (count,):
        raise UnfitError(f"{came}; expected ({count},), a label for each image; reshape them, or give as many of both")
    if y.dtype.kind == "S":
        y = np.array([label.decode("utf-8", "backslashreplace") for label in y.tolist()])
    if y.dtype.kind == "U" and y.size and int(np.ascontiguousarray(y).view(np.uint32).max()) > sys.maxunicode:
        raise UnfitError(f"{came}, with letters that no text has; expected texts; fetch or save them again")
    if y.dtype.kind not in "biuU":
        raise UnfitError(f"{came}; expected integers or texts; convert them")
    return (y.astype(np.uint8) if y.dtype.kind == "b" else y), width


def _numbered(name: str, y: Any, values: Any) -> Array:
    if values.dtype.kind == "U":
        place = {value: number for number, value in enumerate(values.tolist())}
        found = np.array([place.get(label, -1) for label in y.tolist()], np.int64)
    else:
        found = np.minimum(np.searchsorted(values, y), len(values) - 1).astype(np.int64)
        found[values[found] != y] = -1
    if (found < 0).any():
        stranger = y[int(np.argmax(found < 0))]
        raise UnfitError(
            f"with the label {shown(stranger.item())} in {name}, which y_train has not; expected classes that there is "
            "something to learn of; leave it out"
        )
    return found
