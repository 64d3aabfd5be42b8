"""What does a network learn from digits that it was never shown? Train on generated digits alone, test on real MNIST.

    python bench/generated_digits.py [--data-dir DIR] [--epochs 5] [--seeds 0 1 2] [--out FILE]
    python bench/generated_digits.py --picture docs/images/generated.png      # only draws some of them

Prints the accuracy of the last epoch on real MNIST for each seed, and writes it as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

import numpy as np

from xlenet import SGD, LeNet5, __version__
from xlenet.data import Images, generated_digits, load
from xlenet.errors import XlenetError
from xlenet.plotting import plot_digits
from xlenet.training import fit


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="folder of MNIST (default: as python -m xlenet.train)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "generated_digits.json")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw some of the digits, a column for each class")
    options = parser.parse_args()
    if options.picture:
        _draw(options.picture)
        return 0
    try:
        mnist = load("mnist", options.data_dir)
    except XlenetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    drawn = generated_digits()
    train = Images(drawn.x_train, drawn.y_train)
    test = Images(mnist.x_test, mnist.y_test, train.normalization)
    accuracies = []
    for seed in options.seeds:
        model = LeNet5(rng=seed)
        optimizer = SGD(model, nesterov=True, weight_decay=5e-4)
        accuracies.append(
            fit(model, train, optimizer=optimizer, test=test, epochs=options.epochs, seed=seed)[-1].test_accuracy
        )
        print(f"seed {seed}: {accuracies[-1]:.2%} on real MNIST after {options.epochs} epochs", flush=True)
    record = {
        "what": "LeNet-5 trained on 60,000 generated digits, tested on the 10,000 test images of MNIST",
        "epochs": options.epochs,
        "test_accuracy": dict(zip(map(str, options.seeds), accuracies, strict=True)),
        "mean": statistics.mean(accuracies),
        "versions": {"xlenet": __version__, "numpy": np.__version__},
    }
    options.out.write_text(json.dumps(record, indent=2) + "\n")
    print(f"mean {record['mean']:.2%}; record in {options.out}")
    return 0


def _draw(path: Path, rows: int = 8) -> None:
    digits = generated_digits(n_train=2000, n_test=1)
    of_class = [np.flatnonzero(digits.y_train == label)[:rows] for label in range(10)]
    shown = np.stack(of_class, axis=1).ravel()
    plot_digits(digits.x_train[shown], [""] * len(shown), path)


if __name__ == "__main__":
    sys.exit(main())
