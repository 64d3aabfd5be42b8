"""Trained networks: weights of a LeNet-5 and what is said about it, loaded and asked about an image."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.fuzzing.checkpoints import pack
from tests.fuzzing.mutate import Broken, change_tree, refused, same, tree, write
from xlenet import LeNet5
from xlenet.checkpoint import load_arrays
from xlenet.errors import DataError
from xlenet.trained import load_trained

MODEL = LeNet5(channels=2, classes=3, rng=0)
STATE = {name: (array.shape, array.tobytes()) for name, array in MODEL.state_dict().items()}
ABOUT = {
    "architecture": "LeNet5", "image_size": 28, "channels": 2, "classes": 3, "class_names": ["a", "b", "c"],
    "relu_after_conv3": False, "normalization": {"mean": [33.0, 1.0], "std": [78.5, 2.0]}, "data": "mine",
}  # fmt: skip


def make(rng: Random) -> tuple[bytes, bool]:
    sound = rng.random() < 0.05
    arrays: dict[str, Any] = {name: ("F32", shape, data) for name, (shape, data) in STATE.items()}
    about = tree(ABOUT)
    if not sound:
        how = rng.random()
        if how < 0.8:
            change_tree(rng, about, rng.choice((1, 1, 2, 3)))
        else:
            change_arrays(rng, arrays)
    metadata = {"xlenet": write(about)} if rng.random() < 0.9 else {}
    return pack(rng, arrays, metadata, sound or rng.random() < 0.9), sound


def change_arrays(rng: Random, arrays: dict[str, Any]) -> None:
    """Another shape with as many numbers, no numbers at all, numbers beyond bounds, or one array less."""
    name = rng.choice(list(arrays))
    kind, shape, data = arrays[name]
    match rng.randrange(5):
        case 0:
            arrays[name] = kind, (*shape[::-1],), data
        case 1:
            arrays[name] = kind, (*shape, 0), b""
        case 2:
            arrays[name] = kind, (len(data) // 4,), data
        case 3:
            worst = np.array([rng.choice((np.nan, np.inf, 3e38, -3e38))], "<f4").tobytes()
            arrays[name] = kind, shape, worst * (len(data) // 4)
        case 4:
            del arrays[name]


def check(path: Path, data: bytes, sound: bool) -> str:
    path.write_bytes(data)
    try:
        trained = load_trained(path)
    except DataError as error:
        return refused(error, sound, path)
    state, about = load_arrays(path)
    mine = trained.about()
    if differing := [name for name in mine.keys() & about.keys() if not same(floats(mine[name]), floats(about[name]))]:
        raise Broken(f"{differing} of {mine}, in the file {about}")
    if {name: array.astype("float32").tobytes() for name, array in trained.model.state_dict().items()} != {
        name: array.astype("float32").tobytes() for name, array in state.items() if "num_batches" not in name
    }:
        raise Broken("weights that are not those of the file")
    try:
        shares = trained.probabilities(np.full((1, *trained.image_shape), 200, np.uint8))
    except DataError as error:
        return f"loaded; asked: {refused(error, sound, path)}"
    if shares.shape != (1, len(trained.class_names)) or not np.isclose(shares.sum(), 1.0):
        raise Broken(f"probabilities {shares}")
    return "loaded and asked"


def floats(value: Any) -> Any:
    """The same, with 33.0 for 33 in a normalization."""
    if not isinstance(value, dict):
        return value
    return {name: list(map(float, numbers)) for name, numbers in value.items() if name in ("mean", "std")}
