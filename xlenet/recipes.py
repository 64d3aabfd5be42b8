"""Settings that were chosen together: what ``python -m xlenet.train --recipe`` knows by name.

docs/accuracy.md says how they were found, what they reach, and what did not help.
"""

from __future__ import annotations

from typing import Any

# The options that say how images are distorted.
STRENGTHS = ("rotation", "shift", "scale", "shear", "elastic", "plain_epochs")

# What the training command does where nothing else is said, by the names of its options.
_DEFAULT: dict[str, Any] = {
    "epochs": 20,
    "batch_size": 64,
    "optimizer": "nesterov",
    "momentum": 0.9,
    "lr": 0.05,
    "schedule": "one-cycle",
    "weight_decay": 5e-4,
    **dict.fromkeys(STRENGTHS, 0.0),
    "plain_epochs": 0,
}

RECIPES: dict[str, dict[str, Any]] = {
    "default": _DEFAULT,
    # The most accuracy in one pass over the images: more and larger steps, and more weight decay, since few are made.
    "fast": _DEFAULT | {"epochs": 1, "batch_size": 32, "lr": 0.08, "momentum": 0.85, "weight_decay": 1e-3},
    # The most accuracy in twenty: distorted images in all epochs but the last, in which batch normalisation gets to
    # know the images as they will come. Chosen on digits; clothes bear about two thirds of it.
    "best": _DEFAULT | {"rotation": 12.0, "shift": 1.0, "scale": 0.1, "shear": 8.0, "elastic": 2.0, "plain_epochs": 1},
}
