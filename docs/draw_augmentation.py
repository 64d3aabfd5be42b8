"""Draws docs/images/augmentation.png: what ``--recipe best`` makes of MNIST's digits, distortion by distortion.

    python docs/draw_augmentation.py [--data-dir DIR]

One digit of each class; a row has one kind of distortion alone, at the recipe's strength, and the last rows have all.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))

from xlenet.data import Augmentation, augment, load  # noqa: E402 - after the line above
from xlenet.recipes import RECIPES  # noqa: E402

PATH = _ROOT / "docs" / "images" / "augmentation.png"
UNITS = {"rotation": "°", "shift": " px", "scale": "", "shear": "°", "elastic": " px"}
SIDE, LABEL = 0.72, 1.75  # inches


def main() -> int:
    """Draw the picture and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", metavar="DIR", help="folder of MNIST (default: as python -m xlenet.train)")
    digits = one_of_each(load("mnist", parser.parse_args().data_dir))
    rows = list(distorted(digits))
    figure = Figure(figsize=(LABEL + len(digits) * SIDE, len(rows) * SIDE), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    left = LABEL / figure.get_figwidth()
    for number, (name, images) in enumerate(rows):
        bottom, height = 1 - (number + 1) / len(rows), 1 / len(rows)
        axes = figure.add_axes((left, bottom, 1 - left, height))
        axes.imshow(np.concatenate(list(images[:, 0]), axis=1), cmap="gray_r", vmin=0, vmax=1, aspect="auto")
        axes.set_axis_off()
        figure.text(0.02, bottom + height / 2, name, va="center", fontsize=11, color="#1A1A1A")
    PATH.parent.mkdir(exist_ok=True)
    figure.savefig(PATH, metadata={"Software": None})
    print(PATH.relative_to(_ROOT))
    return 0


def one_of_each(mnist: Any) -> Any:
    """Return the first image of each class, (10, 1, 28, 28), 0 to 1."""
    first = [int(np.argmax(mnist.y_train == label)) for label in range(len(mnist.class_names))]
    return mnist.x_train[first].astype(np.float32) / 255


def distorted(digits: Any) -> Any:
    """Yield the name of each row and its images."""
    recipe = RECIPES["best"]
    strengths = {name: float(recipe[name]) for name in UNITS}
    yield "as it is", digits
    for name, strength in strengths.items():
        if strength:
            yield f"{name} {strength:g}{UNITS[name]}", augment(digits, Augmentation(**{name: strength}), step=1)
    for step in range(3):
        yield "all of them" if step == 0 else "", augment(digits, Augmentation(**strengths), step=step)


if __name__ == "__main__":
    sys.exit(main())
