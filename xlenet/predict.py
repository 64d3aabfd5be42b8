"""Say what digits are on pictures: ``python -m xlenet.predict --help``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .backend import Array, use_backend
from .commands import check_extras, check_output, chosen_backend, run_command, say
from .console import complain
from .data.handwriting import as_is, steps
from .errors import DataError, printable
from .options import add_backend, add_model, path, whole
from .pictures import each_picture
from .plotting import plot_digits
from .trained import Trained, load_trained, trained_file

_TOGETHER = 100  # pictures that the network is asked about at once
_MOST_SHOWN = 200  # on a contact sheet
_LONGEST_TITLE = 14  # letters under a picture
_REACHES = (
    "what was found reaches the picture's border, or from side to side: ruled lines, a frame or a neighbour may be "
    "taken for the digit; --show draws what the network saw"
)


def prediction_options() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m xlenet.predict",
        description="Say what is on pictures, with probabilities. For a network that reads digits, the digit on each "
        "picture is found, centred and scaled as MNIST does.",
        epilog="exit codes: 0 done, 2 usage, 3 backend not available, 4 the model or a picture is missing or corrupt "
        "(the other pictures are answered all the same), 5 cannot write, 130 interrupted, 141 nobody reads the answers",
    )
    add = parser.add_argument
    add(
        "pictures",
        nargs="+",
        type=path,
        metavar="PICTURE",
        help="PNG, JPEG, ...; a folder of them; - is standard input",
    )
    add_model(parser)
    add("--top", type=whole(1), default=3, metavar="K", help="how many classes to name (default: 3)")
    add("--json", action="store_true", help="print one JSON list and nothing else")
    add("--show", type=path, metavar="FILE", help="draw what the network saw to this PNG")
    add(
        "--raw",
        "--as-is",
        action="store_true",
        help="only scale to the network's size: for pictures that are already like its training images (the default "
        "where these are not MNIST's or generated digits)",
    )
    add_backend(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: see ``--help``."""
    return run_command(prediction_options(), arguments, _predict)


class Answer(NamedTuple):
    """What became of one picture."""

    file: str
    image: Array | None  # as the network saw it, (C, H, W)
    probabilities: Any  # (K,)
    error: str
    note: str = ""  # what may be wrong with it


def _predict(options: argparse.Namespace) -> int:
    check_extras("reading pictures", "PIL.Image", extra="images")
    check_output("--show", options.show)
    with use_backend(chosen_backend(options.backend)):
        file = trained_file(options.model)
        trained = load_trained(file)
        digits = trained.reads_digits and not options.raw
        _check_channels(trained)
        if not options.json:
            how = "each digit centred and scaled as MNIST does" if digits else "pictures scaled as they are"
            of = f" trained on {printable(trained.data)}" if trained.data else ""
            say(f"{trained.title}{of}, {printable(str(file))}; {how}")
        answered, failed, records, shown = 0, 0, list[dict[str, Any]](), list[Answer]()
        for answer in answers(trained, options.pictures, digits=digits):
            failed += bool(answer.error)
            answered += not answer.error
            if answer.note:
                complain(f"note: {printable(answer.file)}: {answer.note}")
            if options.json:
                records.append(_record(answer, trained.class_names, options.top))
            elif answer.error:
                complain(f"error: {answer.error}")
            else:
                say(_line(answer, trained.class_names, options.top))
            if options.show and answer.image is not None and len(shown) < _MOST_SHOWN:
                shown.append(answer)
    if options.json:
        say(json.dumps(records, indent=2))
    if options.show:
        _draw(shown, answered, trained.class_names, options.show)
    return DataError.exit_code if failed else 0


def answers(trained: Trained, paths: Sequence[str], *, digits: bool) -> Iterator[Answer]:
    """Ask the network about pictures, some at a time, in their order; those in folders among them.

    Args:
        trained: the network.
        paths: files and folders.
        digits: True prepares them as `as_mnist` does, False as `as_is`.
    """
    waiting: list[Answer] = []
    for name, picture in each_picture(paths):
        waiting.append(_prepared(trained, name, picture, digits))
        if len(waiting) == _TOGETHER:
            yield from _asked(trained, waiting)
            waiting = []
    yield from _asked(trained, waiting)


def _prepared(trained: Trained, name: str, picture: Array | DataError, digits: bool) -> Answer:
    try:
        if isinstance(picture, DataError):
            raise picture
        if not digits:
            return Answer(name, as_is(picture, trained.image_shape), None, "")
        made = steps(picture)
        return Answer(name, _framed(made.image, trained), None, "", _REACHES if made.reaches else "")
    except DataError as error:
        message = str(error)
        return Answer(name, None, None, printable(message if repr(name) in message else f"{name!r}: {message}"))


def _framed(image: Array, trained: Trained) -> Array:
    """Return the image with a black frame around it, where the network wants 32 x 32."""
    frame = (trained.image_shape[1] - image.shape[1]) // 2
    return np.pad(image, ((0, 0), (frame, frame), (frame, frame)))


def _asked(trained: Trained, waiting: Sequence[Answer]) -> Iterator[Answer]:
    images = [answer.image for answer in waiting if answer.image is not None]
    probabilities = iter(trained.probabilities(np.stack(images)) if images else ())
    for answer in waiting:
        yield answer if answer.image is None else answer._replace(probabilities=next(probabilities))


def _check_channels(trained: Trained) -> None:
    if trained.image_shape[0] not in (1, 3):
        raise DataError(
            f"predict: got a model that takes images of {trained.image_shape[0]} channels; expected 1 or 3, which "
            "pictures have; choose another model"
        )


# ==== what it says ====


def _best(answer: Answer, names: Sequence[str], top: int) -> list[tuple[str, float]]:
    order = np.argsort(-answer.probabilities, kind="stable")[:top]
    return [(names[label], float(answer.probabilities[label])) for label in order]


def _line(answer: Answer, names: Sequence[str], top: int) -> str:
    """Return, for example, ``three.png: 3  99.87%   (8 0.11%, 5 0.01%)``."""
    (label, probability), *others = _best(answer, names, top)
    runners_up = ", ".join(f"{printable(name)} {share:.2%}" for name, share in others)
    behind = f"   ({runners_up})" if others else ""
    return f"{printable(answer.file)}: {printable(label)}  {probability:.2%}{behind}"


def _record(answer: Answer, names: Sequence[str], top: int) -> dict[str, Any]:
    if answer.error:
        return {"file": answer.file, "error": answer.error}
    best = _best(answer, names, top)
    label, probability = best[0]
    return {
        "file": answer.file,
        "label": label,
        "probability": probability,
        "top": [{"label": name, "probability": share} for name, share in best],
    } | ({"note": answer.note} if answer.note else {})


def _draw(shown: Sequence[Answer], answered: int, names: Sequence[str], file: str) -> None:
    if not shown:
        complain("note: --show: nothing is drawn, since no picture could be answered")
        return
    if len(shown) < answered:
        complain(f"note: --show: the first {len(shown)} of {answered:,} pictures are drawn")
    images = np.stack([answer.image for answer in shown if answer.image is not None])
    titles = []
    for answer in shown:
        ((label, probability),) = _best(answer, names, 1)
        titles.append(f"{_short(label)} {probability:.0%}")
    plot_digits(images, titles, file)


def _short(name: str) -> str:
    """Return a name that fits above a picture."""
    text = printable(name)
    return text if len(text) <= _LONGEST_TITLE else text[: _LONGEST_TITLE - 1] + "…"


if __name__ == "__main__":
    sys.exit(main())
