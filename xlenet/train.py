"""Train LeNet-5 from the command line: ``python -m xlenet.train --help``."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .backend import debugging, to_host, unused_gpu, use_backend, use_threads
from .backend.choice import memory_in_use
from .backend.gpu import in_a_line
from .commands import BELOW_EXPECTED, check_extras, chosen_backend, run_command
from .console import Console, DownloadBar, complain, few, interruptible
from .data import Dataset, load
from .data.location import is_offline
from .data.registry import NAMES
from .errors import DataNotFoundError, DivergedError, shown
from .experiment import Experiment, UsageError, augmentation, complete, configuration, make_experiment
from .options import training_options
from .recipes import RECIPES, STRENGTHS
from .runs import RunFolder, new_run_folder, titled
from .schedules import SCHEDULES
from .snapshot_format import check_place
from .snapshots import Snapshot, Snapshots, load_snapshot, restore
from .training import BATCH_SIZE, Epoch, Position, Progress, best_epoch, check_finite, fit

_FOLLOW = {"batch_size", "lr", "train_size", "weight_decay"}  # from others, where nobody has said them
_MAY_DIFFER = {"backend", "recipe", "threads", "versions"}  # between a run and the one that goes on with it
# What a version without augmentation did, and did not write down.
_UNKNOWN_BEFORE = {name: RECIPES["default"][name] for name in STRENGTHS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done, 2 usage, 3 backend not available, 4 data missing or corrupt, 5 cannot write, 6 diverged, 7 accuracy below
    --expect, 130 interrupted, 143 terminated (both after saving).
    """
    return run_command(training_options(), arguments, _train, out_of_memory=_out_of_memory)


def _out_of_memory(error: Exception, options: argparse.Namespace) -> str:
    backend = chosen_backend(options.backend)
    size = options.batch_size or BATCH_SIZE
    return (
        f"train: got no memory for batches of {size} ({in_a_line(error)}{memory_in_use(backend)}); expected a step "
        f"that fits in; try {f'--batch-size {size // 2}' if size > 1 else '--backend numpy'}"
    )


# ==== one run ====


def _train(options: argparse.Namespace) -> int:
    check_extras("training", "matplotlib", "safetensors.numpy", "threadpoolctl", "tqdm")
    options.threads = min(options.threads, os.cpu_count() or 1)  # more would only wait for each other
    backend = chosen_backend(options.backend)
    with use_backend(backend), use_threads(options.threads):
        dataset = _load(options)
        complete(options, dataset)
        experiment = make_experiment(dataset, options)
        config = configuration(options, backend, dataset)
        snapshot = _snapshot(options, config, len(experiment.train))
        if snapshot is not None:
            restore(snapshot, experiment.model, experiment.optimizer)  # before anything in the folder is touched
        run = _run_folder(options, config, snapshot)
        console = Console(options.epochs * len(experiment.train), options.epochs, quiet=options.quiet)
        console.say(_what(experiment, config, run))
        if options.resume is not None:
            console.say(_where(snapshot, len(experiment.train), options.batch_size))
        if hint := unused_gpu(options.backend):
            console.say(hint)
        # The same images under another name go on as what they were called at first: the same bytes.
        named = dataset.name if snapshot is None else str(snapshot.config.get("data", dataset.name))
        about = config["model"] | {
            "normalization": experiment.train.normalization._asdict(),
            "data": named,
            "data_digest": config["data_digest"],
        }
        with contextlib.closing(console), _showing_the_way(run):
            interrupted = _learn(options, experiment, run, console, config, about, snapshot)
        run.save_model(experiment.model, about)
        if interrupted:
            done = f"{len(run.history)} of {options.epochs} epochs"
            out = shlex.quote(str(run.path))
            complain(f"interrupted after {done}; the model so far is in {run.path}; --resume --out {out} goes on")
            return interrupted
        accuracy = run.history[-1].test_accuracy
        left_out = run.draw(experiment.model, experiment.test, dataset.class_names, titled(dataset.name))
        if left_out:
            complain(f"note: left out: {left_out}")
        for line in _results(run, len(experiment.test)):
            console.say(line)
    if options.expect is not None and accuracy < options.expect:
        complain(
            f"error: --expect: got a test accuracy of {accuracy:.4f}; expected at least {options.expect:g}; train "
            "longer, or ask for less"
        )
        return BELOW_EXPECTED
    return 0


def _learn(
    options: argparse.Namespace,
    experiment: Experiment,
    run: RunFolder,
    console: Console,
    config: dict[str, Any],
    about: dict[str, Any],
    snapshot: Snapshot | None,
) -> int:
    """Train, show and record each epoch; return 0, or the exit code of the signal that has ended it."""
    model, optimizer, train, validation, test = experiment
    position = Position() if snapshot is None else snapshot.position
    best = None if snapshot is None else snapshot.best
    history, latest = list(position.history), None

    def save(position: Position) -> None:
        run.snapshots.save(model, optimizer, position, config, best)

    def save_amid(progress: Progress) -> None:
        check_finite(progress, optimizer)  # a snapshot is worth going on from
        sums = tuple(to_host(progress.meter.sums).tolist())
        save(Position(progress.epoch, progress.step, sums, progress.seconds, tuple(history)))

    def save_best() -> None:
        chosen = best_epoch(history)
        if best is not None and chosen is not None:
            run.save_best(best, about | {"epoch": chosen.epoch, "validation_accuracy": chosen.validation_accuracy})

    def finish_step(progress: Progress) -> None:
        nonlocal latest
        latest = progress
        console.step(progress)
        if options.checkpoint_every and optimizer.steps % options.checkpoint_every == 0:
            save_amid(progress)

    def finish_epoch(epoch: Epoch) -> None:
        nonlocal best
        history.append(epoch)
        if best_epoch(history) is epoch:
            best = {name: to_host(array) for name, array in model.state_dict().items()}
        # First: who goes on from here writes the same files and lines again.
        save(Position(epoch.epoch + 1, history=tuple(history)))
        save_best()
        run.add_epoch(epoch)
        console.epoch(epoch, len(train))

    save_best()
    if snapshot is not None and not run.snapshots.files():  # of another folder: --resume must find it in this one, too
        save(position)
    with interruptible() as stopped:
        fit(
            model,
            train,
            optimizer=optimizer,
            test=test,
            validation=validation,
            epochs=options.epochs,
            batch_size=options.batch_size,
            lr=options.lr,
            schedule=SCHEDULES[options.schedule],
            augmentation=augmentation(options),
            seed=options.seed,
            on_step=finish_step,
            on_epoch=finish_epoch,
            should_stop=lambda: bool(stopped()),
            start=position,
        )
        if stopped() and latest is not None and latest.epoch > len(history):
            save_amid(latest)
        return stopped()


# ==== what it says ====


def _what(experiment: Experiment, config: dict[str, Any], run: RunFolder) -> str:
    held_out = "" if experiment.validation is None else f" + {len(experiment.validation):,} held out"
    return (
        f"xlenet {__version__} on {config['backend']}: LeNet-5 ({experiment.model.size:,} parameters), "
        f"{config['data']} ({len(experiment.train):,}{held_out} + {len(experiment.test):,} images{_classes(config)}), "
        f"{_count(config['epochs'], 'epoch')}{_recipe(config)}, results in {run.path}"
    )


def _recipe(config: dict[str, Any]) -> str:
    return "" if config["recipe"] == "default" else f", recipe {config['recipe']}"


def _classes(config: dict[str, Any]) -> str:
    """Return what is learnt out of data of one's own: a folder too high, or too deep, shows here."""
    names = config["model"]["class_names"]
    return "" if config["data"] in NAMES else f", {len(names):,} classes: {few(names)}"


def _where(snapshot: Snapshot | None, images: int, batch_size: int) -> str:
    if snapshot is None:
        return "nothing to resume yet: beginning"
    return f"going on in epoch {snapshot.position.epoch}, step {snapshot.position.step} of {-(-images // batch_size)}"


def _results(run: RunFolder, images: int) -> Iterator[str]:
    yield (f"test accuracy {run.history[-1].test_accuracy:.2%} on {images:,} images; model and pictures in {run.path}")
    best = best_epoch(run.history)
    if best is not None:
        yield (
            f"best on the images held out: epoch {best.epoch}, {best.validation_accuracy:.2%} of them and "
            f"{best.test_accuracy:.2%} of the test images; best.safetensors"
        )


@contextlib.contextmanager
def _showing_the_way(run: RunFolder) -> Iterator[None]:
    """Where training diverges, say how to find out in which layer."""
    try:
        yield
    except DivergedError as error:
        if debugging():
            raise
        out = shlex.quote(str(run.path))
        raise DivergedError(f"{error}; XLENET_DEBUG=1 with --resume --out {out} shows in which layer") from error


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


# ==== what it begins with ====


def _snapshot(options: argparse.Namespace, config: dict[str, Any], images: int) -> Snapshot | None:
    """Return what --resume asks for, having checked that it is of the same run."""
    if options.resume is None:
        return None
    if options.resume is True:
        if options.out is None:
            raise UsageError("--resume: got no file and no --out; expected one of them: a run's folder, or a snapshot")
        snapshot = Snapshots(Path(options.out) / "snapshots").newest()
    else:
        snapshot = load_snapshot(options.resume)
    if snapshot is not None:
        _check_same_run(json.loads(json.dumps(config)), _UNKNOWN_BEFORE | snapshot.config)
        steps = -(-images // options.batch_size)
        check_place(snapshot.position, snapshot.steps, options.epochs, steps)
    return snapshot


def _check_same_run(here: dict[str, Any], there: dict[str, Any]) -> None:
    """Check that all that decides a run is in a snapshot's configuration as it is here."""
    names = (here.keys() | there.keys()) - _MAY_DIFFER
    if here.get("data_digest") == there.get("data_digest"):
        names.discard("data")  # the same images, whatever they are called now
    for name in sorted(names, key=lambda name: (name in _FOLLOW, name)):
        mine, theirs = here.get(name), there.get(name)
        if mine != theirs:
            other = [recipe for recipe in RECIPES if recipe == there.get("recipe") != here["recipe"]]
            raise UsageError(
                f"--resume: got {name} {mine!r}, and the snapshot has {shown(theirs)}; expected the same run; give it "
                "the options it began with" + "".join(f", --recipe {recipe}" for recipe in other)
            )


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


def _load(options: argparse.Namespace) -> Dataset:
    try:
        bar = DownloadBar(quiet=options.quiet)
        return load(
            options.data or "mnist", options.data_dir, progress=bar, note=lambda line: complain(f"note: {line}")
        )
    except DataNotFoundError:
        if options.data is not None:
            raise
    why = "not on disk, and XLENET_OFFLINE is set" if is_offline() else "neither on disk nor reachable"
    complain(f"note: MNIST is {why}; training on generated digits instead (--data mnist insists)")
    return load("generated")


if __name__ == "__main__":
    sys.exit(main())
