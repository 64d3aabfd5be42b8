"""Measure a trained network on labelled images: ``python -m xlenet.evaluate --help``."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .backend import Array, use_backend
from .commands import BELOW_EXPECTED, check_output, chosen_backend, run_command, say
from .console import DownloadBar, complain, few
from .data import Dataset, Images, load
from .data.registry import NAMES
from .errors import DataError, printable
from .experiment import UsageError
from .metrics import confusion_matrix
from .options import add_backend, add_data_dir, add_model, number, path, whole
from .plotting import plot_confusion
from .trained import Trained, load_trained, trained_file
from .training import evaluate

_MOST_MISTAKES = 10  # kinds of them that are named
_MOST_CLASSES = 20  # whose recall is printed; --json has them all


def evaluation_options() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m xlenet.evaluate",
        description="Measure a trained network on the test images of a data set: loss, accuracy, its mistakes.",
        epilog="exit codes: 0 done, 2 usage (the data do not go with the model), 3 backend not available, 4 model or "
        "data missing or corrupt, 5 cannot write, 7 accuracy below --expect, 130 interrupted, 141 nobody reads the "
        "answer",
    )
    add = parser.add_argument
    add_model(parser)
    add("--data", type=path, metavar="DATA", help="as for python -m xlenet.train (default: what it was trained on)")
    add_data_dir(parser)
    add(
        "--batch-size",
        type=whole(1),
        default=500,
        metavar="N",
        help="images at a time: only memory and time (default: 500)",
    )
    add("--expect", type=number(0.0, below=1.0, closed=True), metavar="X", help="exit with 7 below this accuracy")
    add("--confusion", type=path, metavar="FILE", help="draw the confusion matrix to this PNG")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    add_backend(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: see ``--help``."""
    return run_command(evaluation_options(), arguments, _evaluate)


class Result(NamedTuple):
    """How a network did."""

    images: int
    loss: float
    accuracy: float
    confusion: Array  # (K, K), row = true class
    milliseconds: float  # an image

    @property
    def standard_error(self) -> float:
        """How far the accuracy would be off by chance, had others of the same kind been the test images."""
        return math.sqrt(self.accuracy * (1.0 - self.accuracy) / self.images)

    def recall(self, label: int) -> float | None:
        """Which share of a class was recognised; None where there is no image of it."""
        total = int(self.confusion[label].sum())
        return float(self.confusion[label, label]) / total if total else None

    def mistakes(self) -> list[tuple[int, int, int]]:
        """Return (true class, taken for, how often), the most frequent first."""
        wrong = self.confusion - np.diag(np.diagonal(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
        return [(*divmod(int(place), len(wrong)), int(wrong.flat[place])) for place in order]


def _evaluate(options: argparse.Namespace) -> int:
    check_output("--confusion", options.confusion)
    backend = chosen_backend(options.backend)
    with use_backend(backend):
        file = trained_file(options.model)
        trained = load_trained(file)
        name = options.data or _trained_on(trained)
        dataset = _load(name, trained, options)
        _check_shape(trained, dataset)
        dataset = _with_the_models_classes(trained, _all_or_a_part(trained, dataset))
        result = measure(trained, dataset, options.batch_size)
    where = f"{backend.name} {backend.xp.__version__}"
    names = tuple(printable(name) for name in trained.class_names)
    if options.json:
        say(json.dumps(_record(result, trained, str(file), dataset.name, where), indent=2))
    else:
        why = "" if options.data else ", the data that it was trained on"
        say(
            f"{trained.title}, {printable(str(file))}\n"
            f"{result.images:,} test images of {printable(dataset.name)}{why}; on {where}"
        )
        for line in _lines(result, names):
            say(line)
    below = options.expect is not None and result.accuracy < options.expect
    if below:
        complain(
            f"error: --expect: got an accuracy of {result.accuracy:.4f}; expected at least {options.expect:g}; train "
            "longer, or ask for less"
        )
    if options.confusion:
        title = f"{trained.title.partition(' (')[0]} on {printable(dataset.name)}"
        plot_confusion(result.confusion, names, options.confusion, title)
    return BELOW_EXPECTED if below else 0


def _load(name: str, trained: Trained, options: argparse.Namespace) -> Dataset:
    bar = DownloadBar(quiet=options.json) if importlib.util.find_spec("tqdm") else None  # NumPy alone will do
    _, high, wide = trained.image_shape
    size = high if high == wide else None  # images at a path are scaled to what the network takes
    return load(
        name, options.data_dir, progress=bar, image_size=size, note=lambda line: complain(f"note: {printable(line)}")
    )


def measure(trained: Trained, dataset: Dataset, batch_size: int = 500) -> Result:
    """Ask the network about all test images of a data set that fits it.

    Raises:
        DataError: what it makes of them is not finite.
    """
    images = Images(dataset.x_test, dataset.y_test, trained.normalization)
    with np.errstate(all="ignore"):  # it is said in words
        trained.model.infer(images.batch(slice(0, min(batch_size, len(images))))[0])  # whatever is done only once
        began = time.perf_counter()
        found = evaluate(trained.model, images, batch_size=batch_size)
        seconds = time.perf_counter() - began
    if not math.isfinite(found.loss):
        raise DataError(
            "evaluate: got a network whose results are not finite; expected finite ones; its weights are out of all "
            "proportion: train it again"
        )
    confusion = confusion_matrix(dataset.y_test, found.predictions, len(trained.class_names))
    return Result(len(images), found.loss, found.accuracy, confusion, 1000.0 * seconds / len(images))


def _trained_on(trained: Trained) -> str:
    if trained.data in NAMES:  # a file decides by name alone what is read: no path out of it is opened
        return str(trained.data)
    said = f"trained on {trained.data!r}" if trained.data else "that does not say on what it was trained"
    raise UsageError(
        f"evaluate: got a model {printable(said)}, and no --data; expected one of {', '.join(NAMES)}, or a path to "
        "images; give --data"
    )


def _check_shape(trained: Trained, dataset: Dataset) -> None:
    shape = dataset.x_test.shape[1:]
    if shape != trained.image_shape:
        raise UsageError(
            f"evaluate: got {printable(dataset.name)} with images {shape} for a model of images {trained.image_shape}; "
            "expected the same channels and size; give other --data or another --model"
        )


def _all_or_a_part(trained: Trained, dataset: Dataset) -> Dataset:
    """Return a data set that has no test part of its own with all its images as one, where none was learnt from."""
    if not dataset.held_out:
        return dataset
    if trained.data_digest is None or trained.data_digest == dataset.digest():
        perhaps = "has learnt" if trained.data_digest else "may have learnt"
        complain(f"note: only the images held out are measured: the model {perhaps} from the others")
        return dataset
    x, y = np.concatenate([dataset.x_train, dataset.x_test]), np.concatenate([dataset.y_train, dataset.y_test])
    complain(f"note: all {len(x):,} images are measured: these are not the data that the model has learnt from")
    return dataset._replace(x_test=x, y_test=y, held_out=False)


def _with_the_models_classes(trained: Trained, dataset: Dataset) -> Dataset:
    """Return a data set with labels as the model has them: classes of the same name are the same class."""
    mine, theirs = trained.class_names, dataset.class_names
    if theirs == mine:
        return dataset
    strangers = [name for name in theirs if name not in mine]
    if not strangers:
        if missing := [name for name in mine if name not in theirs]:
            complain(f"note: the data have no images of {few(missing)}")
        numbers = np.array([mine.index(name) for name in theirs], np.int64)
        return dataset._replace(y_test=numbers[dataset.y_test], class_names=mine)
    if len(theirs) != len(mine):
        raise UsageError(
            f"evaluate: got {printable(dataset.name)} of {len(theirs)} classes for a model of {len(mine)}, "
            f"{few(strangers)} not among them; expected as many, or classes of the model; give other --data or another "
            "--model"
        )
    if len(strangers) < len(theirs) and not all(name.isdecimal() for name in theirs):
        raise UsageError(
            f"evaluate: got {printable(dataset.name)} with classes that the model has not ({few(strangers)}), beside "
            f"others that it has; expected classes of the model; leave them out, or give another --model"
        )
    complain(
        f"note: the classes have other names: {few(mine)} in the model, {few(theirs)} in the data; the first is taken "
        "for the first, and so on"
    )
    return dataset


# ==== what it says ====


def _lines(result: Result, names: Sequence[str]) -> Iterator[str]:
    yield (
        f"accuracy {result.accuracy:.2%} ({_by_chance(result)}), loss {result.loss:.4f}, "
        f"{result.milliseconds:.3f} ms an image"
    )
    recalls = [(name, result.recall(label)) for label, name in enumerate(names)]
    told = sorted(recalls, key=lambda one: 2.0 if one[1] is None else one[1])[:_MOST_CLASSES]
    yield "recognised, of each class" + (
        f" (the worst {_MOST_CLASSES} of {len(names)}):" if len(told) < len(names) else ":"
    )
    width = max(len(name) for name in names)
    for name, recall in told if len(told) < len(names) else recalls:
        yield f"  {name:<{width}}  {'no images' if recall is None else f'{recall:7.2%}'}"
    mistakes = result.mistakes()
    yield "most frequent mistakes:" if mistakes else "no mistake"
    for true, taken, count in mistakes[:_MOST_MISTAKES]:
        of = int(result.confusion[true].sum())
        yield f"  {names[true]} taken for {names[taken]}: {count:,} of {of:,} ({count / of:.2%})"


def _by_chance(result: Result) -> str:
    """Return how far the accuracy may be off. Where all is right or all wrong, the standard error would be 0, and says
    nothing: then, with 95 % certainty, at most 3 / N are otherwise (the rule of three).
    """
    if 0.0 < result.accuracy < 1.0:
        return f"standard error {result.standard_error:.2%}"
    bound = min(3.0 / result.images, 1.0)
    return f"with 95% certainty {f'above {1.0 - bound:.2%}' if result.accuracy else f'below {bound:.2%}'}"


def _record(result: Result, trained: Trained, file: str, data: str, where: str) -> dict[str, Any]:
    names = trained.class_names
    return {
        "model": file,
        "title": trained.title,
        "data": data,
        "images": result.images,
        "loss": result.loss,
        "accuracy": result.accuracy,
        "standard_error": result.standard_error,
        "recall": [{"class": name, "recall": result.recall(label)} for label, name in enumerate(names)],
        "mistakes": [
            {"class": names[true], "taken_for": names[taken], "count": count}
            for true, taken, count in result.mistakes()[:100]
        ],
        "confusion": result.confusion.tolist() if len(names) <= 1000 else None,
        "milliseconds_per_image": result.milliseconds,
        "backend": where,
    }


if __name__ == "__main__":
    sys.exit(main())
