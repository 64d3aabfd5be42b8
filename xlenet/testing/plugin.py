"""The pytest fixture `xp`: a test that asks for it runs once on each array library.

Where xlenet is installed, pytest loads this by itself; elsewhere ``pytest -p xlenet.testing.plugin`` does, or the line
``pytest_plugins = "xlenet.testing.plugin"`` in a conftest.py.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from ..backend import resolve_backend, use_backend
from ..errors import BackendError

# The last one stands in for a GPU: NumPy cannot read its arrays, and what is not in the array API standard is an error.
BACKENDS = ("numpy", "cupy", "array_api_strict:1")


@pytest.fixture(params=BACKENDS, ids=lambda name: name.partition(":")[0])
def xp(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each array library in turn, as a module: layers made inside the test are made with it, and so are arrays that
    `xlenet.to_device` makes of NumPy's. (Those of ``xp.ones`` lie where the library puts them by itself, which for the
    stand-in is not where its layers are.)

    A library that cannot be used here is skipped with the reason, or fails the test where the environment variable
    ``XLENET_REQUIRE_BACKENDS`` (names with commas between them) asks for it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # somebody else's package, whose warnings on import are not the test's
            backend = resolve_backend(request.param)
    except BackendError as error:
        skip_or_fail("XLENET_REQUIRE_BACKENDS", request.param.partition(":")[0], str(error))
    with use_backend(backend) as module:
        yield module


def skip_or_fail(variable: str, name: str, reason: str) -> NoReturn:
    """Skip with `reason`, or fail with it where the environment variable `variable` asks for `name`."""
    if name in [asked_for.strip() for asked_for in os.environ.get(variable, "").split(",")]:
        pytest.fail(f"{variable} asks for {name}: {reason}", pytrace=False)
    pytest.skip(reason)
