"""How well pictures of digits are read: ``python -m bench.handwriting --model RUN`` from the checkout's root.

Real MNIST test digits, each enlarged to 40 to 400 pixels and put somewhere on a larger sheet: as a drawing (black on
white or white on black, PNG or JPEG of quality 75), under a lamp at one side, and with a shadow on the sheet besides,
both with a sensor's grain. ``--picture FILE`` draws the steps of one photograph.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.sheets import drawn, enlarged, photographed, rendered
from xlenet import __version__
from xlenet.data import as_mnist, load_mnist
from xlenet.data.handwriting import NoDigitError, Steps, steps
from xlenet.trained import Trained, load_trained

RESULTS = Path(__file__).parent / "results" / "handwriting.json"
WAYS: dict[str, Callable[[Any, np.random.Generator], Any]] = {
    "drawing": rendered,
    "lamp": lambda digit, rng: photographed(enlarged(digit, rng), rng),
    "shadow": lambda digit, rng: photographed(enlarged(digit, rng), rng, shadow=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--digits", type=int, default=1000)
    parser.add_argument("--picture")
    options = parser.parse_args()
    if options.picture:
        ink = drawn("4", 16, (640, 480), (220, 110, 150, 230))
        draw(steps(photographed(ink, np.random.default_rng(0), shadow=True)), options.picture)
        return
    trained, data = load_trained(options.model), load_mnist()
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(data.x_test), options.digits, replace=False)
    images, labels = data.x_test[chosen], data.y_test[chosen]
    record: dict[str, Any] = {
        "what": "accuracy on MNIST test digits, as they are and out of pictures of them",
        "model": trained.title + f" trained on {trained.data}",
        "digits": options.digits,
        "plain": accuracy(trained, images, labels),
        "versions": {"xlenet": __version__, "numpy": np.__version__},
    }
    for name, way in WAYS.items():
        seen = np.stack([prepared(way(image[0], rng)) for image in images])
        record[name] = accuracy(trained, seen, labels)
    RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))


def prepared(picture: Any) -> Any:
    try:
        return as_mnist(picture)
    except NoDigitError:  # counts as a mistake, most likely
        return np.zeros((1, 28, 28), np.uint8)


def accuracy(trained: Trained, images: Any, labels: Any) -> float:
    return float((trained.probabilities(images).argmax(axis=1) == labels).mean())


def draw(made: Steps, path: str) -> None:
    from matplotlib.patches import Rectangle

    from xlenet.plotting.figures import INK, VERMILLION, new_figure, save_figure

    high, gap, caption = 1.75, 0.08, 0.3  # inches
    panels = (
        ("the picture", made.grey, 255),
        ("what departs from its paper", made.ink, 1),
        ("the digit in its box", made.digit, 1),
        ("what the network sees", made.image[0], 255),
    )
    wide = [high * values.shape[1] / values.shape[0] for _, values, _ in panels]
    width, height = sum(wide) + gap * 5, high + caption + gap
    figure, left = new_figure(width, height), gap
    for (title, values, most), each in zip(panels, wide, strict=True):
        axes = figure.add_axes((left / width, gap / height, each / width, high / height))
        axes.imshow(values, cmap="gray", vmin=0, vmax=most, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(title, fontsize=9, color=INK)
        if values is made.digit:
            y, bottom, x, right = made.box
            axes.add_patch(Rectangle((x, y), right - x, bottom - y, fill=False, color=VERMILLION, linewidth=1.5))
        left += each + gap
    save_figure(figure, path)


if __name__ == "__main__":
    main()
