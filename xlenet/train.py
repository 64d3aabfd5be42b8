"""Train LeNet-5 from the command line: ``python -m xlenet.train --help``."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__
from .backend import Backend, default_backend, resolve_backend, to_host, unused_gpu, use_backend, use_threads
from .backend.choice import memory_in_use
from .backend.gpu import in_a_line, is_out_of_memory
from .console import Console, DownloadBar, interruptible
from .data import Dataset, Images, load
from .data.location import is_offline
from .errors import DataNotFoundError, MissingExtraError, XlenetError
from .models import LeNet5
from .optim import SGD, Adam, AdamW, Optimizer
from .options import BATCH_SIZE, LEARNING_RATES, WEIGHT_DECAYS, training_options
from .runs import RunFolder, new_run_folder
from .schedules import SCHEDULES
from .snapshots import Snapshot, Snapshots, load_snapshot, restore
from .training import Epoch, Position, Progress, evaluate, fit

TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "generated": "generated digits"}
BELOW_EXPECTED = 7
INTERRUPTED = 130
# Options that decide nothing about the model, or that stand elsewhere in the configuration.
_NOT_OF_THE_RUN = (
    "data_dir", "out", "quiet", "expect", "relu_after_conv3", "resume", "checkpoint_every", "keep",
)  # fmt: skip
_MAY_DIFFER = {"backend", "threads", "versions"}  # between a run and the one that goes on with it


class _UsageError(XlenetError):
    exit_code = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done, 2 usage, 3 backend not available, 4 data missing or corrupt, 5 cannot write, 6 diverged, 7 accuracy below
    --expect, 130 interrupted, 143 terminated (both after saving).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    options = training_options().parse_args(arguments)
    try:
        _check_extras()
        return _train(options)
    except XlenetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"error: {_out_of_memory(error, options)}", file=sys.stderr)
        return _UsageError.exit_code


def _out_of_memory(error: Exception, options: argparse.Namespace) -> str:
    backend = resolve_backend(options.backend) if options.backend else default_backend()
    size = options.batch_size or BATCH_SIZE
    return (
        f"train: got no memory for batches of {size} ({in_a_line(error)}{memory_in_use(backend)}); expected a step "
        f"that fits in; try {f'--batch-size {size // 2}' if size > 1 else '--backend numpy'}"
    )


def _check_extras() -> None:
    wanted = ("matplotlib", "safetensors", "threadpoolctl", "tqdm")
    absent = [name for name in wanted if importlib.util.find_spec(name) is None]
    if absent:
        raise MissingExtraError(f'training needs {", ".join(absent)}, not installed here; pip install "xlenet[train]"')


# ==== one run ====


def _train(options: argparse.Namespace) -> int:
    if options.backend == "":
        raise _UsageError("--backend: got an empty text; expected numpy, cupy, cupy:<device number> or auto")
    options.threads = min(options.threads, os.cpu_count() or 1)  # more would only wait for each other
    backend = resolve_backend(options.backend) if options.backend else default_backend()
    with use_backend(backend), use_threads(options.threads):
        dataset = _load(options)
        _complete(options, dataset)
        train, test = _images(dataset, options)
        model = _model(dataset, options)
        config = _config(options, backend, dataset, train)
        snapshot = _snapshot(options, config)
        run = _run_folder(options, config, snapshot)
        console = Console(options.epochs * len(train), options.epochs, quiet=options.quiet)
        console.say(
            f"xlenet {__version__} on {config['backend']}: LeNet-5 ({model.size:,} parameters), "
            f"{dataset.name} ({len(train):,} + {len(test):,} images), {_count(options.epochs, 'epoch')}, "
            f"results in {run.path}"
        )
        if options.resume is not None:
            console.say(_where(snapshot, len(train), options.batch_size))
        if hint := unused_gpu(options.backend):
            console.say(hint)
        with contextlib.closing(console):
            interrupted = _learn(options, model, train, test, run, console, config, snapshot)
        run.save_model(model, config["model"] | {"normalization": train.normalization._asdict()})
        if interrupted:
            done = f"{len(run.history)} of {options.epochs} epochs"
            print(
                f"interrupted after {done}; the model so far is in {run.path}; --resume --out {run.path} goes on",
                file=sys.stderr,
            )
            return interrupted
        accuracy: float = run.history[-1]["test_accuracy"]
        title = f"LeNet-5 on {TITLES.get(dataset.name, dataset.name)}"
        run.draw(dataset.y_test, evaluate(model, test).predictions, dataset.class_names, title)
        console.say(
            f"test accuracy {accuracy:.2%} on {len(test):,} images; model, curves and confusion matrix in {run.path}"
        )
    if options.expect is not None and accuracy < options.expect:
        print(f"error: got a test accuracy of {accuracy:.4f}; expected at least {options.expect:g}", file=sys.stderr)
        return BELOW_EXPECTED
    return 0


def _learn(
    options: argparse.Namespace,
    model: LeNet5,
    train: Images,
    test: Images,
    run: RunFolder,
    console: Console,
    config: dict[str, Any],
    snapshot: Snapshot | None,
) -> int:
    """Train, show and record each epoch; return 0, or the exit code of the signal that has ended it."""
    optimizer, position = _optimizer(model, options), Position()
    if snapshot is not None:
        restore(snapshot, model, optimizer)
        position = snapshot.position
    history, latest = list(position.history), None

    def finish_step(progress: Progress) -> None:
        nonlocal latest
        latest = progress
        console.step(progress)
        if options.checkpoint_every and optimizer.steps % options.checkpoint_every == 0:
            save_amid(progress)

    def save_amid(progress: Progress) -> None:
        epoch, step, _, meter, seconds = progress
        sums = tuple(to_host(meter.sums).tolist())
        run.snapshots.save(model, optimizer, Position(epoch, step, sums, seconds, tuple(history)), config)

    def finish_epoch(epoch: Epoch) -> None:
        history.append(epoch)
        # First: who goes on from here writes the same lines again.
        run.snapshots.save(model, optimizer, Position(epoch.epoch + 1, history=tuple(history)), config)
        run.add_epoch(epoch)
        console.epoch(epoch, len(train))

    with interruptible() as stopped:
        fit(
            model,
            optimizer,
            train,
            test,
            epochs=options.epochs,
            batch_size=options.batch_size,
            lr=options.lr,
            schedule=SCHEDULES[options.schedule],
            seed=options.seed,
            on_step=finish_step,
            on_epoch=finish_epoch,
            should_stop=lambda: bool(stopped()),
            start=position,
        )
        if stopped() and latest is not None and latest.epoch > len(history):
            save_amid(latest)
        return stopped()


def _snapshot(options: argparse.Namespace, config: dict[str, Any]) -> Snapshot | None:
    """Return what --resume asks for, having checked that it is of the same run."""
    if options.resume is None:
        return None
    if options.resume is True:
        if options.out is None:
            raise _UsageError("--resume: got no file and no --out; expected one of them: a run's folder, or a snapshot")
        snapshot = Snapshots(Path(options.out) / "snapshots").newest()
    else:
        snapshot = load_snapshot(options.resume)
    if snapshot is not None:
        here = json.loads(json.dumps(config))
        for name in sorted((here.keys() | snapshot.config.keys()) - _MAY_DIFFER):
            mine, theirs = here.get(name), snapshot.config.get(name)
            if mine != theirs:
                raise _UsageError(
                    f"--resume: got {name} {mine!r}, and the snapshot has {theirs!r}; expected the same run; give it "
                    "the options it began with"
                )
    return snapshot


def _run_folder(options: argparse.Namespace, config: dict[str, Any], snapshot: Snapshot | None) -> RunFolder:
    if snapshot is None:
        return RunFolder(options.out or new_run_folder(), config, keep=options.keep)
    out = options.out
    if options.resume is not True:
        of_file = Path(options.resume).resolve().parent  # .../RUN/snapshots/FILE
        out = out or of_file.parent
    here = options.resume is True or of_file == (Path(out) / "snapshots").resolve()
    history, steps = snapshot.position.history, snapshot.steps if here else None
    return RunFolder(out, config, history=history, goes_on_at=steps, keep=options.keep)


def _where(snapshot: Snapshot | None, images: int, batch_size: int) -> str:
    if snapshot is None:
        return "nothing to resume yet: beginning"
    return f"going on in epoch {snapshot.position.epoch}, step {snapshot.position.step} of {-(-images // batch_size)}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def _load(options: argparse.Namespace) -> Dataset:
    try:
        return load(options.data or "mnist", options.data_dir, progress=DownloadBar(quiet=options.quiet))
    except DataNotFoundError:
        if options.data is not None:
            raise
    why = "not on disk, and XLENET_OFFLINE is set" if is_offline() else "neither on disk nor reachable"
    print(f"note: MNIST is {why}; training on generated digits instead (--data mnist insists)", file=sys.stderr)
    return load("generated")


def _complete(options: argparse.Namespace, dataset: Dataset) -> None:
    """Fill in what follows from the data and from the optimiser, where nothing else was said."""
    here = len(dataset.x_train)
    if options.train_size is None:
        options.train_size = here
    if options.train_size > here:
        raise _UsageError(f"--train-size: got {options.train_size}; expected at most {here}, which {dataset.name} has")
    if options.batch_size is None:
        options.batch_size = min(BATCH_SIZE, options.train_size)
    if options.batch_size > options.train_size:
        raise _UsageError(
            f"--batch-size: got {options.batch_size}; expected at most {options.train_size}, the number of images"
        )
    if options.lr is None:
        options.lr = LEARNING_RATES[options.optimizer]
    if options.weight_decay is None:
        options.weight_decay = WEIGHT_DECAYS[options.optimizer]


def _images(dataset: Dataset, options: argparse.Namespace) -> tuple[Images, Images]:
    train = Images(dataset.x_train[: options.train_size], dataset.y_train[: options.train_size])
    return train, Images(dataset.x_test, dataset.y_test, train.normalization)


def _model(dataset: Dataset, options: argparse.Namespace) -> LeNet5:
    return LeNet5(
        dataset.x_train.shape[2],
        relu_after_conv3=options.relu_after_conv3,
        lowering=options.lowering,
        channels=dataset.x_train.shape[1],
        classes=len(dataset.class_names),
        rng=options.seed,
    )


def _optimizer(model: LeNet5, options: argparse.Namespace) -> Optimizer:
    if options.optimizer in ("sgd", "nesterov"):
        nesterov = options.optimizer == "nesterov"
        return SGD(
            model, momentum=options.momentum, nesterov=nesterov, weight_decay=options.weight_decay, clip=options.clip
        )
    kind = {"adam": Adam, "adamw": AdamW}[options.optimizer]
    return kind(model, weight_decay=options.weight_decay, clip=options.clip)


def _config(options: argparse.Namespace, backend: Backend, dataset: Dataset, train: Images) -> dict[str, Any]:
    """Everything that decides how the run goes, and nothing of where its files lie."""
    chosen = {k: v for k, v in vars(options).items() if k not in _NOT_OF_THE_RUN}
    architecture = {
        "architecture": "LeNet5",
        "image_size": dataset.x_train.shape[2],
        "channels": dataset.x_train.shape[1],
        "classes": len(dataset.class_names),
        "relu_after_conv3": options.relu_after_conv3,
    }
    return chosen | {
        "data": dataset.name,
        "train_size": len(train),
        "backend": f"{backend.name} {backend.xp.__version__}",
        "model": architecture,
        "versions": {"xlenet": __version__, "numpy": np.__version__, "python": platform.python_version()},
    }


if __name__ == "__main__":
    sys.exit(main())
