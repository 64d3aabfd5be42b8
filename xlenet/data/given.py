"""What a user hands to the training loop, arrays of whatever library, as a data set beside the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, backend_of, default_backend, read, use_backend
from ..checks import read_real
from .dataset import Dataset
from .examples import Examples, Labelled
from .images import Images, Normalization


def as_labelled(
    operation: str,
    names: tuple[str, str],
    x: Any,
    y: Any,
    *,
    beside: Array | None,
    dtype: str,
    normalization: Normalization | None = None,
) -> Labelled:
    """Return `x` and its labels `y` as a data set, having checked them; one that is ready already as it is.

    Args:
        operation: whose errors they are.
        names: of `x` and `y` in these errors.
        x: uint8 (N, C, H, W), or floating numbers (N, ...): arrays of NumPy or CuPy, or of another library on the host,
            such as PyTorch's. Or `Images` or `Examples`.
        y: labels (N,) or (N, 1), integers from 0 up; None beside a data set.
        beside: an array in whose library, and on whose device, the data set is to be; None is the default backend.
        dtype: of the batches.
        normalization: of bytes; None measures these.

    Raises:
        TypeError, ValueError: they are anything else.
    """
    name_x, name_y = names
    if isinstance(x, Images | Examples):
        if y is not None:
            raise TypeError(
                f"{operation}: got {name_y} beside {name_x}, a data set; expected the labels that it has; leave "
                f"{name_y} out"
            )
        return x
    host, labels = read_numbers(operation, name_x, x), _read_labels(operation, name_x, name_y, x, y)
    if labels.shape != host.shape[:1]:
        one_hot = labels.ndim == 2 and labels.shape[0] == len(host)
        raise ValueError(
            f"{operation}: got {name_y} of shape {labels.shape} for {name_x} of shape {host.shape}; expected "
            f"({len(host)},), a label for each; {'take the argmax of one-hot rows' if one_hot else 'reshape it'}"
        )
    _check_finite(operation, name_x, host, dtype)
    return _placed(host, labels, beside, dtype, normalization)


def as_unlabelled(
    operation: str, name: str, x: Any, *, beside: Array | None, dtype: str, normalization: Normalization | None
) -> Labelled:
    """Do what `as_labelled` does where nobody knows the labels, or will ask for them."""
    if isinstance(x, Images | Examples):
        return x
    host = read_numbers(operation, name, x)
    _check_finite(operation, name, host, dtype)
    return _placed(host, np.zeros(len(host), np.int64), beside, dtype, normalization)


def read_numbers(operation: str, name: str, x: Any) -> Any:
    """Return `x` on the host, having checked that it is bytes (N, C, H, W) or floating numbers (N, ...)."""
    if isinstance(x, Dataset):
        raise TypeError(
            f"{operation}: got {name}, a Dataset of two parts; expected one of them; pass its x_train and y_train, and "
            "test=(x_test, y_test)"
        )
    host = read_real(operation, name, x)
    if host.dtype != np.uint8 and host.dtype.kind != "f":
        raise TypeError(
            f"{operation}: got {name} {host.dtype}; expected pixels of 0 to 255 as uint8, or floating numbers; cast it"
        )
    wanted = "(N, C, H, W)" if host.dtype == np.uint8 else "(N, ...)"
    if (host.ndim != 4 if host.dtype == np.uint8 else host.ndim < 2) or host.size == 0:
        raise ValueError(
            f"{operation}: got {name} {host.dtype} of shape {host.shape}; expected {wanted}, none of them 0; reshape "
            "it: grey images, for example, with x[:, None]"
        )
    return host


def _check_finite(operation: str, name: str, host: Any, dtype: str) -> None:
    """Check that floating numbers are finite, in the type of the batches too."""
    with np.errstate(over="ignore", invalid="ignore"):
        ends = np.array([host.min(), host.max()]).astype(dtype)  # NaN if there is one
    if not np.isfinite(ends).all():
        raise ValueError(
            f"{operation}: got {name} with numbers that are not finite as {dtype}; expected finite ones; leave such "
            "examples out, or put something in their place"
        )


def _read_labels(operation: str, name_x: str, name_y: str, x: Any, y: Any) -> Any:
    if y is None:
        raise TypeError(
            f"{operation}: got {name_y} None; expected a label for each of {name_x}; pass both, or a data set such as "
            "Images(x, y)"
        )
    labels = _read_any(operation, name_y, y)
    if labels.dtype.kind == "b":
        labels = labels.astype(np.uint8)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{operation}: got {name_y} {labels.dtype}; expected integers, the number of each example's class from 0 "
            f"up; {_made_labels(labels)}"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:  # as Keras has them
        labels = labels[:, 0]
    if labels.size and int(labels.min()) < 0:
        raise ValueError(
            f"{operation}: got {name_y} with a label {int(labels.min())}; expected 0 or more; number the classes from 0"
        )
    return labels


def _read_any(operation: str, name: str, y: Any) -> Any:
    """Return `y` on the host, of whatever type: texts and truth values are told apart from what is no array."""
    try:
        host = read(y)
    except (TypeError, RuntimeError):
        return read_real(operation, name, y)  # which says what is wrong
    return host


def _made_labels(labels: Any) -> str:
    """Return what to do with labels that are no integers, or with what are no labels."""
    if labels.dtype.kind in "USO":
        return "number the classes: names, y = numpy.unique(y, return_inverse=True)"
    if labels.ndim == 2 and labels.shape[1] > 1:
        return "take the argmax of one-hot rows"
    if labels.dtype.kind == "f" and bool((labels == np.rint(labels)).all()):
        return "cast them, with y.astype(int)"
    return "this trains classifiers, so put numbers of classes in the place of measured ones"


def _placed(
    host: Any, labels: Any, beside: Array | None, dtype: str, normalization: Normalization | None
) -> Images | Examples:
    with use_backend(default_backend() if beside is None else backend_of(beside)):
        if host.dtype == np.uint8:
            return Images(host, labels, normalization, dtype=dtype)
        return Examples(host, labels, dtype=dtype)
