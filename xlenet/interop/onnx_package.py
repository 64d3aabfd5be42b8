"""The package `onnx`, when it is needed."""

from __future__ import annotations

import warnings
from typing import Any

from ..errors import MissingExtraError


def onnx_package(operation: str) -> Any:
    """Return the package `onnx`, or say which extra brings it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the packages that it needs: nobody here can mend them
            import onnx
    except ImportError as error:
        raise MissingExtraError(
            f'{operation}: got no usable onnx ({error}); expected it for such a file; pip install "xlenet[onnx]"'
        ) from error
    return onnx
