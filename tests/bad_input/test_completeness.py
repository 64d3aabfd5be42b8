"""The tables know every public function: a new one fails here until it has rows."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import xlenet
from tests.bad_input.table import path_of
from tests.bad_input.test_bad_input import CALLS, ROWS
from xlenet import data, interop, plotting, testing

PACKAGES = ("functional", "layers")
MODULES = ("losses", "optim", "models", "schedules", "training", "metrics", "checkpoint", "snapshots", "init")

# What has no rows, and why.
EXEMPT = {
    "interop.onnx_import.OnnxModel": "made by import_onnx; its constructor is Sequential's",
    "functional.conv2d.convolve": "part of forward: its arguments have been checked",
    "functional.conv2d.check_forward": "is itself the check of forward",
    "functional.conv2d.check_groups": "is itself a check",
    "functional.targets.check_number": "is itself a check",
    "functional.targets.check_reduction": "is itself a check",
    "functional.targets.find_targets": "part of the losses' forward; its rows are theirs",
    "functional.targets.reduced": "part of the losses' forward",
    "functional.targets.spread": "part of the losses' backward; its rows are theirs",
    "functional.batchnorm.check_training": "is itself the check of forward_training",
    "functional.batchnorm.as_rows": "part of forward",
    "functional.maxpool2d.windows_of": "part of forward",
    "functional.matmul.matmul": "part of the convolutions",
    "functional.hashing.seed_words": "part of dropout and distort; tests/functional/test_hashing.py has its errors",
    "functional.hashing.keys": "the same",
    "functional.hashing.hash_in_place": "part of dropout and distort",
    "functional.windows.out_size": "part of windows_over, which checks",
    "functional.windows.resolve_padding": "part of windows_over; its rows are those of padding",
    "functional.windows.positions": "takes what windows_over returns",
    "functional.windows.seen_along": "part of positions",
    "functional.windows.unfold": "takes what windows_over returns, and forward's x",
    "functional.windows.fold": "the same",
    "functional.windows.pad": "the same",
    "functional.conv2d_rows.unfold_width": "part of forward and backward",
    "functional.conv2d_rows.multiply": "part of forward and backward",
    "functional.conv2d_rows.weight_gradient": "part of forward and backward",
    "functional.conv2d_rows.rows_gradient": "part of forward and backward",
    "functional.conv2d_rows.fold_width": "part of forward and backward",
    "functional.conv2d_rows.as_matrix": "part of forward and backward",
    "functional.conv2d_rows.as_filters": "part of forward and backward",
    "layers.base.Layer.leaves": "names that only appear in other names",
    "layers.sequential.Sequential.leaves": "names that only appear in other names",
    "layers.summary.summarise": "is Layer.summary, which has the rows",
    "layers.blocks.join_neighbours": "called by Sequential, which checks",
    "layers.activation.ReLU": "its constructor is Layer's",
    "layers.activation.Sigmoid": "its constructor is Layer's",
    "layers.activation.Tanh": "its constructor is Layer's",
    "layers.pool.GlobalAvgPool2D": "its constructor is Layer's",
    "layers.shape.Flatten": "its constructor is Layer's",
    "layers.blocks.Block": "made by Sequential",
    "layers.blocks.ConvPool": "made by Sequential",
    "layers.blocks.BatchNormReLU": "made by Sequential",
    "layers.blocks.LinearReLU": "made by Sequential",
    "layers.blocks.Block.joins": "called by Sequential",
    "layers.blocks.Block.leaves": "names that only appear in other names",
    "layers.blocks.ConvPool.joins": "called by Sequential",
    "losses.Loss": "a protocol: says what train_step asks of a loss",
    "losses.Loss.forward": "the same",
    "losses.Loss.backward": "the same",
    "training.check_finite": "part of fit, between two epochs",
    "optim.Optimizer": "made as SGD, Adam or AdamW",
    "optim.Optimizer.scalars": "called by step, which checks, and by the loop",
    "optim.Adam.scalars": "the same",
    "optim.Optimizer.apply": "takes what scalars returns, in each step of a graph",
    "optim.sgd_update": "the rule of a step on vectors that SGD owns",
    "optim.adam_update": "the rule of a step on vectors that Adam owns",
    "init.he_normal": "called by layers, which check",
    "init.zeros": "called by layers, which check",
    "init.ones": "called by layers, which check",
    "checkpoint.save_arrays": "part of save_model and save_snapshot, which check",
    "checkpoint.load_arrays": "part of load_model and load_snapshot",
    "checkpoint.read_arrays": "part of load_arrays, which opens the file",
    "snapshots.Snapshots": "belongs to a run's folder: the command line checks its numbers",
    "snapshots.Snapshots.save": "save_snapshot checks",
    "snapshots.Snapshots.forget_after": "belongs to a run's folder",
}


# Parameters without rows, and why.
UNTRIED = {
    "work": "a workspace is lent by the loop, and None by everybody else",
    "out": "where a layer wants its gradients; the layer has made it",
    "need_dx": "a switch within the library",
    "need_dweight": "the same",
    "labels_checked": "the same",
    "ceil_mode": "MaxPool2D and AvgPool2D check it",
    "count_include_pad": "AvgPool2D checks it",
    "operation": "how errors begin",
    "size": "of images whose shape has been checked",
    "name": "for messages",
    "random": "a switch of a test",
}
UNTRIED_OF = {
    "data.load": "hands what is of a download to load_mnist",
    "snapshots.save_snapshot": "best is another state_dict of the model",
}


def public_callables() -> Iterator[tuple[str, Any]]:
    """Every public function, class and method that takes an argument, by its full name."""
    modules = [importlib.import_module(f"xlenet.{name}") for name in MODULES]
    for package in PACKAGES:
        folder = importlib.import_module(f"xlenet.{package}")
        modules += [
            importlib.import_module(m.name) for m in pkgutil.iter_modules(folder.__path__, f"{folder.__name__}.")
        ]
    found = [value for module in modules for value in vars(module).values() if owner_of(value) == module.__name__]
    for holder in (xlenet, data, interop, plotting, testing):
        found += [getattr(holder, name) for name in holder.__all__]
    for value in found:
        if inspect.ismodule(value) or not callable(value) or value.__name__.startswith("_") or is_record(value):
            continue
        if takes_something(value):
            yield path_of(value), value
        if inspect.isclass(value):
            for name, method in vars(value).items():
                function = method.fset if isinstance(method, property) else getattr(method, "__func__", method)
                if inspect.isfunction(function) and takes_something(function) and is_public(name):
                    yield path_of(function), function


def owner_of(value: Any) -> str:
    return getattr(value, "__module__", "") if callable(value) else ""


def is_record(value: Any) -> bool:
    """A named tuple holds what others have checked."""
    return inspect.isclass(value) and issubclass(value, tuple)


def is_public(name: str) -> bool:
    return not name.startswith("_") or name in ("__call__", "__getitem__")


def takes_something(function: Any) -> bool:
    return any(name != "self" for name in inspect.signature(function).parameters)


def test_every_public_function_has_rows() -> None:
    known = {path for path, _ in public_callables()}
    with_rows = {row.call.path for row in ROWS}
    missing = sorted(known - with_rows - EXEMPT.keys())
    assert not missing, f"without rows in tests/bad_input: {missing}"
    assert len(known & with_rows) > 40


def test_every_call_has_rows_and_every_exemption_is_needed() -> None:
    rows = {row.call for row in ROWS}
    assert all(call in rows for call in CALLS)
    known = {path for path, _ in public_callables()}
    with_rows = {row.call.path for row in ROWS}
    assert not EXEMPT.keys() & with_rows
    unknown = sorted(EXEMPT.keys() - known)
    assert not unknown, f"exempt, but not there: {unknown}"


def test_every_parameter_has_rows() -> None:
    tried = {(row.call.path, row.argument) for row in ROWS}
    parameters = {
        (path, name)
        for path, function in {call.path: call.function for call in CALLS if call.path not in UNTRIED_OF}.items()
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self" and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    missing = sorted(f"{path}: {name}" for path, name in parameters - tried if name not in UNTRIED)
    assert not missing, f"parameters without rows in tests/bad_input: {missing}"


def test_every_argument_of_an_array_is_tried_with_what_is_none() -> None:
    """Each argument that is an array has a row with no array at all."""
    tried = {(row.call.path, row.argument) for row in ROWS if row.came in ("a list", "None", "[1.0]")}
    for call in CALLS:
        for name in ("x", "dy", "weight", "labels", "logits", "log_probabilities", "which", "columns", "like"):
            if call.arrays and name in inspect.signature(call.function).parameters:
                assert (call.path, name) in tried, f"{call}: no row for what is no array in place of {name}"
