"""What ``python -m xlenet.train`` can be told, and what several command lines can."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable

from .optim import SGD, Adam, AdamW
from .recipes import RECIPES
from .schedules import SCHEDULES
from .training import WEIGHT_DECAY

# Peak learning rates that suit, where none is given.
LEARNING_RATES = {"sgd": SGD.usual_lr, "nesterov": SGD.usual_lr, "adam": Adam.usual_lr, "adamw": AdamW.usual_lr}
WEIGHT_DECAYS = {"sgd": WEIGHT_DECAY, "nesterov": WEIGHT_DECAY, "adam": 0.0, "adamw": 0.01}


def training_options() -> argparse.ArgumentParser:
    """Return the parser of the training command."""
    rate, share, positive = number(0.0), number(0.0, below=1.0), number(0.0, above=True)
    parser = argparse.ArgumentParser(
        prog="python -m xlenet.train",
        description="Train LeNet-5 with batch normalisation; leave model, figures and pictures in a folder.",
        epilog="exit codes: 0 done, 2 usage, 3 backend not available, 4 data missing or corrupt, 5 cannot write, "
        "6 diverged, 7 accuracy below --expect, 130 interrupted, 143 terminated (both after saving)",
    )
    add = parser.add_argument
    add(
        "--data",
        type=path,
        metavar="DATA",
        help="mnist, fashion-mnist, generated, FILE.npz (x_train, y_train, x_test, y_test), or a FOLDER: of a folder "
        "of images for each class, or of IDX files (default: mnist, else generated)",
    )
    add_data_dir(parser)
    add(
        "--recipe",
        choices=list(RECIPES),
        default="default",
        help="settings that were chosen together, but for those that are named besides: default; fast: the most "
        "accuracy in one epoch; best: in 20, from distorted images (docs/accuracy.md)",
    )
    add("--epochs", type=whole(1), metavar="N", help=_by_recipe("epochs"))
    add("--batch-size", type=whole(1), metavar="N", help=_by_recipe("batch_size"))
    add("--train-size", type=whole(1), metavar="N", help="train on the first N images only")
    add(
        "--validation",
        type=whole(1),
        metavar="N",
        help="hold N of them out, drawn at random and always the same, and keep the model that does best on these",
    )
    add("--optimizer", choices=list(LEARNING_RATES), help=_by_recipe("optimizer"))
    add("--momentum", type=share, metavar="X", help=f"of sgd and nesterov ({_by_recipe('momentum')})")
    add("--lr", type=positive, metavar="X", help=f"peak learning rate ({_by_optimizer('lr', LEARNING_RATES)})")
    add("--schedule", choices=list(SCHEDULES), help=_by_recipe("schedule"))
    add(
        "--weight-decay",
        type=rate,
        metavar="X",
        help=f"of weights alone ({_by_optimizer('weight_decay', WEIGHT_DECAYS)})",
    )
    _add_augmentation(parser)
    add("--clip", type=positive, metavar="X", help="largest norm of the gradient (default: any)")
    add("--lowering", choices=["rows", "img2col"], default="rows", help="of the convolutions (default: rows)")
    add("--relu-after-conv3", action="store_true", help="put a ReLU between conv3 and fc4")
    add("--seed", type=whole(0), default=0, metavar="N", help="of first weights, order and distortion (default: 0)")
    add_backend(parser)
    add(
        "--threads",
        type=whole(1),
        default=1,
        metavar="N",
        help="on the CPU, each with a part of the batch: helps from batch size 128 on (default: 1)",
    )
    add("--out", type=path, metavar="DIR", help="default: runs/<time>")
    add(
        "--resume",
        nargs="?",
        const=True,
        type=path,
        metavar="FILE",
        help="go on from this snapshot, or from the newest in --out (where there is none, begin)",
    )
    add("--checkpoint-every", type=whole(1), metavar="N", help="a snapshot every N steps, not only after each epoch")
    add("--keep", type=whole(1), default=3, metavar="K", help="how many snapshots to keep (default: 3)")
    add("--expect", type=number(0.0, below=1.0, closed=True), metavar="X", help="exit with 7 below this test accuracy")
    add("--quiet", action="store_true", help="print nothing but warnings and errors")
    return parser


def _add_augmentation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group(
        "training images, each distorted by chance in another way in every epoch"
    ).add_argument
    right_angle, half_turn, pixels = (
        number(0.0, below=90.0),
        number(0.0, below=180.0, closed=True),
        number(0.0, below=1e6),
    )
    of = "up to so many"
    add("--rotation", type=half_turn, metavar="X", help=f"{of} degrees ({_by_recipe('rotation')})")
    add("--shift", type=pixels, metavar="X", help=f"{of} pixels ({_by_recipe('shift')})")
    add("--scale", type=number(0.0, below=1.0), metavar="X", help=f"up to this share ({_by_recipe('scale')})")
    add("--shear", type=right_angle, metavar="X", help=f"{of} degrees ({_by_recipe('shear')})")
    add("--elastic", type=pixels, metavar="X", help=f"control points by {of} pixels ({_by_recipe('elastic')})")
    add("--plain-epochs", type=whole(0), metavar="N", help=f"last epochs without ({_by_recipe('plain_epochs')})")


def _by_recipe(name: str) -> str:
    """Return what an option is by default, and what other recipes make of it."""
    usual = RECIPES["default"][name]
    others = (f"{_text(recipe[name])} with {key}" for key, recipe in RECIPES.items() if recipe[name] != usual)
    return ", ".join((f"default: {_text(usual)}", *others))


def _by_optimizer(name: str, values: dict[str, float]) -> str:
    """Return what an option is by default for each optimiser, and what recipes make of it for theirs and its kin."""

    def of(optimizer: str, value: float) -> str:
        rate = LEARNING_RATES[optimizer]
        recipes = {key: r[name] for key, r in RECIPES.items() if LEARNING_RATES[r["optimizer"]] == rate}
        others = ", ".join(f"{_text(other)} with {key}" for key, other in recipes.items() if other != value)
        return f"{_text(value)} for {optimizer}" + (f" ({others})" if others else "")

    return "default: " + ", ".join(of(*pair) for pair in values.items())


def _text(value: float | int | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add ``--backend``, which all command lines that compute have."""
    parser.add_argument(
        "--backend", metavar="NAME", help="numpy, cupy, cupy:1 or auto (default: XLENET_BACKEND, else numpy)"
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``, which all command lines that use a trained network have."""
    words = "a model, .safetensors or .onnx; or the folder of a run"
    parser.add_argument("--model", type=path, required=True, metavar="FILE", help=words)


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add ``--data-dir``, which all command lines that load data sets have."""
    words = "folder of mnist and fashion-mnist (default: XLENET_DATA_DIR, else the cache folder)"
    parser.add_argument("--data-dir", type=path, metavar="DIR", help=words)


def path(text: str) -> str:
    """Read a path; ``~`` is the user's home folder. An empty one is most likely a shell variable that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("got an empty text; expected a path")
    return os.path.expanduser(text)


def whole(at_least: int) -> Callable[[str], int]:
    """Return a function that reads a whole number of at least `at_least`.

    Example:
        >>> whole(1)("20")
        20
    """

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = at_least - 1
        if value < at_least:
            raise argparse.ArgumentTypeError(f"got {text!r}; expected a whole number from {at_least} up")
        return value

    return read


def number(low: float, *, below: float = math.inf, above: bool = False, closed: bool = False) -> Callable[[str], float]:
    """Return a function that reads a number from `low` (or above it) to below `below` (or up to it, if `closed`).

    Example:
        >>> number(0.0, below=1.0)("0.9")
        0.9
    """
    wanted = f"a number {'above' if above else 'from'} {low:g}"
    wanted += f" {'up to' if closed else 'to below'} {below:g}" if below < math.inf else ""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        fits = (low < value if above else low <= value) and (value <= below if closed else value < below)
        if not fits:
            raise argparse.ArgumentTypeError(f"got {text!r}; expected {wanted}")
        return value

    return read
