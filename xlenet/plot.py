"""Draw the pictures of training runs once more, or several runs over each other: ``python -m xlenet.plot --help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .backend.gpu import in_a_line
from .commands import run_command, say
from .console import complain
from .data import Dataset, Images, Normalization, hold_out, load
from .data.registry import NAMES
from .errors import DataError, DataNotFoundError, OutputError, XlenetError, shown
from .experiment import UsageError
from .gallery import CURVES, FILTERS, OF_IMAGES, draw_curves, draw_filters, draw_images
from .options import add_data_dir, path, whole
from .plotting import plot_comparison
from .plotting.comparison import MOST_RUNS
from .records import Record, differences, read_record
from .runs import titled
from .trained import BEST, Trained, as_trained, load_trained, trained_file

COMPARED = "compared.png"


def options_of_plot() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m xlenet.plot",
        description="Draw the pictures of a training run once more. Several runs are laid over each other, in one "
        "picture of their losses and accuracies.",
        epilog="exit codes: 0 done, 2 usage, 3 backend not available, 4 no run there, or damaged, 5 cannot write, "
        "130 interrupted",
    )
    add = parser.add_argument
    add("runs", nargs="+", type=path, metavar="RUN", help=f"folder of a run; up to {MOST_RUNS} are compared")
    add(
        "--out",
        type=path,
        metavar="DIR",
        help=f"where to (default: the run's folder; of several runs {COMPARED} in this one)",
    )
    add(
        "--data",
        type=path,
        metavar="NAME",
        help="the data set to test on, a name or a path as in training (default: the run's own)",
    )
    add_data_dir(parser)
    add("--image", type=whole(0), metavar="N", help="which test image goes through the layers (default: 0)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done, 2 usage, 3 backend not available, 4 no run there, or damaged, 5 cannot write, 130 interrupted.
    """
    return run_command(options_of_plot(), arguments, _draw, out_of_memory=_out_of_memory)


def _out_of_memory(error: Exception, options: argparse.Namespace) -> str:
    return f"plot: got no memory for it ({in_a_line(error)}); expected room; try XLENET_BACKEND=numpy"


def _draw(options: argparse.Namespace) -> int:
    if len(options.runs) > MOST_RUNS:
        raise UsageError(f"RUN: got {len(options.runs)} of them; expected at most {MOST_RUNS}; choose among them")
    records = [read_record(folder) for folder in options.runs]
    if len(records) > 1:
        given = [
            f"--{name}"
            for name in ("data", "data-dir", "image")
            if getattr(options, name.replace("-", "_")) is not None
        ]
        if given:
            raise UsageError(
                f"{', '.join(given)}: got it with {len(records)} runs, of which only the curves are compared; expected "
                "it with one; leave it out"
            )
        say(str(_compare(records, options)))
        return 0
    drawing = _draw_one(records[0], options)
    for picture in drawing.drawn:
        say(str(picture))
    for line in drawing.left_out:
        complain(f"left out: {line}")
    if drawing.failed is not None:
        raise drawing.failed
    return 0


# ==== several runs ====


def _compare(records: Sequence[Record], options: argparse.Namespace) -> Path:
    for record in records:
        if not record.history:
            raise DataError(
                f"run folder: got {str(record.path)!r}, where no epoch has ended yet; expected one at least; wait, or "
                "leave it out"
            )
    names = _names(records)
    titles = list(dict.fromkeys(_title(record.config) for record in records))
    title = titles[0] if len(titles) == 1 else "Runs compared"
    histories = dict(zip(names, (record.history for record in records), strict=True))
    notes = dict(zip(names, differences(records), strict=True))
    return plot_comparison(histories, _folder(options.out or ".") / COMPARED, title, notes=notes)


def _names(records: Sequence[Record]) -> list[str]:
    """Name each run after its folder; where that is not enough, by its whole path, and by a number at last."""
    for names in ([r.path.resolve().name for r in records], [str(r.path) for r in records]):
        if len(set(names)) == len(names):
            return names
    return [f"{record.path} ({k})" for k, record in enumerate(records, start=1)]


# ==== one run ====


class _Drawing(NamedTuple):
    """What could be drawn, what not and why, and the error if that was no fault of the run's being under way: something
    is damaged, or was asked for and cannot be had.
    """

    drawn: list[Path]
    left_out: list[str]
    failed: XlenetError | None = None


def _draw_one(record: Record, options: argparse.Namespace) -> _Drawing:
    folder, title = _folder(options.out or record.path), _title(record.config)
    drawn: list[Path] = []
    left_out: list[str] = []
    if record.history:
        drawn.append(draw_curves(folder, record.history, title))
    else:
        left_out.append(f"{CURVES}; no epoch has ended yet")
    dataset, why = _dataset(record, options)
    try:
        trained, of = _trained(record, dataset)
    except DataError as error:
        left_out.append(f"{FILTERS}, {', '.join(OF_IMAGES)}; the network cannot be read")
        return _Drawing(drawn, left_out, error)
    if trained is None:
        left_out.append(f"{FILTERS}, {', '.join(OF_IMAGES)}; there is neither a model nor a snapshot yet")
        return _Drawing(drawn, left_out, None if drawn else _nothing(record))
    title += of
    if of:
        complain(f"note: the network is that of {BEST}, which predict and evaluate take, too")
    filters = draw_filters(folder, trained.model, title)
    if filters is None:
        left_out.append(f"{FILTERS}; the network has no convolution")
    else:
        drawn.append(filters)
    image = options.image or 0
    why = why or _misfit(trained, dataset, image)
    if why or dataset is None:
        left_out.append(f"{', '.join(OF_IMAGES)}; {why}")
        return _Drawing(drawn, left_out, _unmet(options, why) or (None if drawn else _nothing(record)))
    test = Images(dataset.x_test, dataset.y_test, trained.normalization)
    of_images = draw_images(folder, trained.model, test, trained.class_names, title, image)
    drawn += of_images.paths
    if of_images.left_out:
        left_out.append(of_images.left_out)
        return _Drawing(drawn, left_out, _not_finite(record))
    return _Drawing(drawn, left_out)


def _unmet(options: argparse.Namespace, why: str) -> UsageError | None:
    """Return what to say of a wish that cannot be met; None where nobody wished for anything."""
    wishes = [
        f"--{name} {shown(getattr(options, name))}" for name in ("data", "image") if getattr(options, name) is not None
    ]
    if not wishes:
        return None
    return UsageError(
        f"{' '.join(wishes)}: got what cannot be drawn ({why}); expected data and an image that go with the network; "
        "choose others"
    )


def _not_finite(record: Record) -> DataError:
    return DataError(
        f"run folder: got {str(record.path)!r} with a network whose results are not finite; expected finite ones; its "
        "weights are out of all proportion: train it again"
    )


def _nothing(record: Record) -> DataError:
    return DataError(
        f"run folder: got {str(record.path)!r}, with nothing to draw; expected an epoch or a model; wait for the first "
        "epoch's end"
    )


def _folder(name: str | Path) -> Path:
    try:
        Path(name).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"--out: got {str(name)!r} ({getattr(error, 'strerror', None) or error}); expected a folder that can be "
            "written; choose another"
        ) from error
    return Path(name)


def _title(config: dict[str, Any]) -> str:
    data = config.get("data")
    return titled(data if isinstance(data, str) else "unknown data")


def load_data(name: str, data_dir: str | None) -> Dataset:
    """Return the data set `name` as it lies on the disk: pictures are no reason to download anything."""
    return load(name, data_dir, mirrors=[])


def _dataset(record: Record, options: argparse.Namespace) -> tuple[Dataset | None, str]:
    """Return the data set to look at, or why there is none. One that was asked for must be there."""
    try:
        if options.data is not None:
            return load_data(options.data, options.data_dir), ""
        dataset = load_data(_known(record.config.get("data")), options.data_dir)
    except (DataError, OutputError, ValueError, TypeError) as error:
        if options.data is not None:
            raise error if isinstance(error, XlenetError) else UsageError(f"--data: {error}") from error
        return None, f"the run's data are not to be had ({error}); --data or --data-dir names them"
    if record.config.get("data_digest") != dataset.digest():
        return (
            None,
            f"{shown(dataset.name)} has other images or labels than the run saw; --data takes it all the same",
        )
    return dataset, ""


def _known(name: Any) -> str:
    """Return the name of a data set that is known by one: a file does not say which paths of this machine are read."""
    if name not in NAMES:
        raise DataNotFoundError(f"it was {shown(name)}, data of somebody's own")
    return str(name)


def _misfit(trained: Trained, dataset: Dataset | None, image: int) -> str:
    """Return why the network cannot look at the data; nothing if it can."""
    if dataset is None:
        return ""
    shape, classes = tuple(dataset.x_test.shape[1:]), len(dataset.class_names)
    if shape != trained.image_shape or classes != len(trained.class_names):
        wanted = f"{trained.image_shape} of {len(trained.class_names)} classes"
        return f"the network takes images {wanted}, and {dataset.name} has {shape} of {classes}"
    if image >= len(dataset.x_test):
        return f"there is no test image {image} among {len(dataset.x_test):,}; --image chooses another"
    return ""


def _trained(record: Record, dataset: Dataset | None) -> tuple[Trained | None, str]:
    """Return the run's network, and what its pictures are called behind the run's title: that of best.safetensors if
    there is one, else the last; while the run is under way, that of its newest snapshot.
    """
    try:
        file = trained_file(record.path)
    except DataNotFoundError:
        return _of_snapshot(record, dataset), ""
    return load_trained(file), f" ({BEST})" if file.name == BEST else ""


def _of_snapshot(record: Record, dataset: Dataset | None) -> Trained | None:
    if record.snapshot is None:
        return None
    about = record.snapshot.config.get("model")
    if not isinstance(about, dict):
        raise DataError(
            f"run folder: got a snapshot in {str(record.path)!r} that does not say what network it is of; expected one "
            "of a run; name another folder"
        )
    measured = _normalization(record.snapshot.config, about, dataset)
    normalization = {name: list(values) for name, values in measured._asdict().items()}  # as a file has it
    return as_trained(record.snapshot.model, about | {"normalization": normalization}, str(record.path))


def _normalization(config: dict[str, Any], about: dict[str, Any], dataset: Dataset | None) -> Normalization:
    """Return mean and standard deviation of the images that the run learns from; without them, of none."""
    if dataset is None:
        channels = about.get("channels")
        count = channels if isinstance(channels, int) and 0 < channels <= 1000 else 1
        return Normalization((0.0,) * count, (1.0,) * count)
    size, held = config.get("train_size"), config.get("validation") or 0
    try:
        x: Any = dataset.x_train[:size]
        stay, _ = hold_out(len(x), held)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"run folder: got a snapshot with train_size {shown(size)} and validation {shown(held)} ({error}); "
            "expected numbers of images; name another run"
        ) from error
    x = x[stay] if held else x
    return Images(x, np.zeros(len(x), np.int64)).normalization


if __name__ == "__main__":
    sys.exit(main())
