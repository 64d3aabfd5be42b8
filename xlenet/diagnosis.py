"""What the doctor looks at. Each finding stands by itself: one that fails says why, and the others go on."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import __version__
from .backend import Backend, as_backend, report
from .backend.gpu import in_a_line, readable
from .data import default_data_dir
from .data.found import find
from .data.location import is_offline
from .data.registry import SOURCES
from .errors import XlenetError
from .smoke import smoke


class Finding(NamedTuple):
    """Something that was looked at.

    Attributes:
        name: its name in JSON.
        title: its name for people.
        lines: what was found, in words.
        values: the same for programs.
        failed: whether it could not be found out, or is not as it should be.
    """

    name: str
    title: str
    lines: list[str]
    values: dict[str, Any]
    failed: bool = False


Findings = tuple[list[str], dict[str, Any]]  # words, and values


def examine(argument: str | None) -> list[Finding]:
    """Look at everything.

    Args:
        argument: the backend that was asked for; None leaves the choice to `use_backend` and the environment.
    """
    backend: list[Backend] = []  # known once its finding has been made
    looks: list[tuple[str, str, Callable[[], Findings]]] = [
        ("versions", "versions", _versions),
        ("backend", "backend", lambda: _backend(argument, backend)),
        ("gpu", "GPU", lambda: _gpu(backend)),
        ("cupy_packages", "CuPy", _cupy_packages),
        ("blas", "BLAS", _blas),
        ("tf32", "TF32", _tf32),
        ("data", "data", _data),
        ("install", "install", lambda: _install(backend)),
        ("smoke", "smoke step", lambda: _smoke(backend)),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that do not fit each other: it is said below, and in words
        return [_look(*look) for look in looks]


def _look(name: str, title: str, function: Callable[[], Findings]) -> Finding:
    try:
        lines, values = function()
        return Finding(name, title, lines, values, failed=values.get("works") is False or bool(values.get("broken")))
    except (Exception, SystemExit) as error:  # whatever it is: the doctor is asked where things are broken
        words = str(error) if isinstance(error, XlenetError) else in_a_line(error)
        return Finding(name, title, [words], {"error": words}, failed=True)


# ==== each finding ====


def _versions() -> Findings:
    about = report.processor()
    packages = report.versions()
    there = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    absent = ", ".join(name for name, version in packages.items() if not version)
    python = platform.python_version()
    cores = f"{about['usable']} of {about['cores']} cores"
    lines = [
        f"xlenet {__version__}, Python {python}, NumPy {np.__version__}; {about['os']} {about['machine']}, {cores}",
        f"optional: {there or 'none'}" + (f"; not installed: {absent}" if absent else ""),
    ]
    broken = report.broken()
    lines += [f"broken: {name}, which does not import ({why})" for name, why in broken.items()]
    values = {"xlenet": __version__, "python": python, "numpy": np.__version__, "packages": packages, "broken": broken}
    return lines, values | about


def _backend(argument: str | None, found: list[Backend]) -> Findings:
    asked, why = report.choice(argument)
    values: dict[str, Any] = {"asked": getattr(asked, "name", asked), "why": why, "works": False}
    try:
        backend = as_backend(asked)
    except XlenetError as error:
        return [f"{error} ({why})"], values | {"error": str(error)}
    found.append(backend)
    values |= {"name": backend.name, "version": backend.xp.__version__, "works": True}
    lines = [f"{backend.name} {backend.xp.__version__} works; {why}"]
    if asked == "auto" and not report.is_on_gpu(backend):
        values["no_gpu"] = report.why_no_gpu()
        lines.append(f"auto took it because: {values['no_gpu']}")
    return lines, values


def _driver(found: list[Backend]) -> report.Driver | None:
    """Return what the driver says of itself; where its library is hidden, what CuPy knows, if that works."""
    driver = report.find_driver()
    if driver is None and found and report.is_on_gpu(found[0]):
        return report.driver_seen_by(found[0])
    return driver


def _gpu(found: list[Backend]) -> Findings:
    driver = _driver(found)
    values: dict[str, Any] = {"driver": None, "devices": []}
    if driver is None:
        lines = ["no NVIDIA driver"]
    else:
        said = f"driver {driver.release}" if driver.release else "a driver"
        names = ", ".join(driver.devices) or "no GPU visible"
        lines = [f"{names}; {said} for CUDA up to {readable(driver.cuda)}"]
        values = {
            "driver": {"cuda": readable(driver.cuda), "release": driver.release or None},
            "devices": list(driver.devices),
        }
    if found and report.is_on_gpu(found[0]):
        state = report.gpu_state(found[0])
        gibibyte = 2.0**30
        lines += [
            f"in use: {state['name']} (number {state['device']}, compute capability {state['compute_capability']}), "
            f"CUDA {state['runtime_cuda']} with a driver for {state['driver_cuda']}",
            f"memory: {state['memory_total'] / gibibyte:.1f} GiB, {state['memory_free'] / gibibyte:.1f} GiB free; "
            f"CuPy's pool holds {state['pool_held']:,} bytes, of which {state['pool_used']:,} are used",
        ]
        values["in_use"] = state
    return lines, values


def _cupy_packages() -> Findings:
    packages, conflict = report.cupy_packages(), report.conflict()
    named = ", ".join(f"{name} {version}" for name, version in packages.items())
    values = {"installed": packages, "conflict": conflict or None}
    if conflict:
        return [f"two or more, which overwrite each other's files: {named}", conflict.rpartition("; ")[2]], values
    return [named or "not installed"], values


def _blas() -> Findings:
    found = report.blas()
    lines = [f"NumPy was built with {found['name']} {found['version']}"]
    if found["loaded"] is None:
        lines.append("threads: not known without threadpoolctl")
    lines += [
        f"loaded: {pool['internal_api']} {pool['version']}, {_counted(pool['num_threads'], 'thread')}"
        for pool in found["loaded"] or []
    ]
    named = ", ".join(f"{name}={value}" for name, value in found["variables"].items())
    lines.append(f"variables: {named or 'none of OMP_, OPENBLAS_, MKL_NUM_THREADS ... is set'}")
    return lines, found


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _tf32() -> Findings:
    found = report.tf32()
    named = ", ".join(f"{name}={value}" for name, value in found["variables"].items())
    state = "on: products on a GPU may be rounded to TF32" if found["on"] else "off: float32 is float32, on a GPU, too"
    return [f"{state} ({named or 'neither CUPY_TF32 nor NVIDIA_TF32_OVERRIDE is set'})"], found


def _data() -> Findings:
    folder = default_data_dir()
    lines, sets = [], {}
    for name in SOURCES:
        found = find(name, folder)
        looked = ", ".join(map(str, found.looked))
        if found.folder is not None:
            lines.append(f"{name}: in {found.folder}, every byte right")
        else:
            lines.append(f"{name}: {found.damage or f'not found; looked in {looked}'}")
        sets[name] = {
            "folder": None if found.folder is None else str(found.folder),
            "looked": [str(place) for place in found.looked],
            "error": found.damage or None,
        }
    lines.append("generated: always there")
    if is_offline():
        lines.append("XLENET_OFFLINE is set: nothing is downloaded")
    return lines, {"data_dir": str(folder), "offline": is_offline(), "sets": sets}


def _install(found: list[Backend]) -> Findings:
    try:
        driver = _driver(found)
    except OSError:  # said where the GPU is
        driver = None
    advice = report.advice(driver)
    state = f"missing here: {', '.join(advice.missing)}" if advice.missing else "nothing is missing here"
    lines = [f"{state} ({advice.why}); what brings all that training wants:", f"    {advice.command}"]
    return lines, {"command": advice.command, "why": advice.why, "missing": list(advice.missing)}


def _smoke(found: list[Backend]) -> Findings:
    if not found:
        raise XlenetError("not tried: the backend does not work")
    done = smoke(found[0])
    rate = f"{done.images_per_second:,.0f} images per second in {done.steps} training steps of 64"
    values = {"works": True, "largest_error": done.error, "images_per_second": done.images_per_second}
    return [f"LeNet-5 on {found[0].name}: loss and gradients are right (within {done.error:.0e}); {rate}"], values
