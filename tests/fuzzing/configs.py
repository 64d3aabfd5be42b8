"""Configurations: the file in a run's folder, which says whether the folder may be emptied; the one in a snapshot."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from random import Random

from tests.fuzzing.checkpoints import pack
from tests.fuzzing.mutate import Broken, change_bytes, change_tree, refused, tree, write
from xlenet import train
from xlenet.errors import OutputError, XlenetError
from xlenet.runs import RunFolder

CONFIG = {
    "batch_size": 10, "clip": None, "epochs": 3, "lr": 0.05, "optimizer": "sgd", "quiet": False, "train_size": 100,
    "model": {"architecture": "LeNet5", "classes": 10}, "backend": "numpy 2.4.6", "threads": 1,
    "versions": {"numpy": "2.4.6", "python": "3.11.7", "xlenet": "0.1.0"}, "recipe": "default",
} | train._UNKNOWN_BEFORE  # fmt: skip


def make(rng: Random) -> tuple[bytes, bool]:
    sound, config = rng.random() < 0.02, tree(CONFIG)
    how = rng.random()
    if not sound and how < 0.8:
        change_tree(rng, config, rng.choice((1, 1, 1, 2, 3)))
    if rng.random() < 0.5:
        about = tree({"format": 1, "steps": 7, "position": {"step": 7, "sums": [1.0, 2.0, 7.0]}})
        about.append(["config", config])
        return pack(rng, {}, {"xlenet": write(about)}, sound or rng.random() < 0.9), sound
    text = write(config).encode()
    if not sound and how >= 0.6:
        text = change_bytes(rng, text, rng.choice((1, 1, 2, 3)))
    return text, sound


def check(path: Path, data: bytes, sound: bool) -> str:
    return in_a_snapshot(path, data, sound) if data[7:8] == b"\0" else in_a_folder(path, data, sound)


def in_a_folder(path: Path, data: bytes, sound: bool) -> str:
    """Whether the folder is a run's; if it is not, all in it stays."""
    folder = path.with_name("run")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    config, model = folder / "config.json", folder / "model.safetensors"
    config.write_bytes(data)
    model.write_bytes(b"a model")
    try:
        RunFolder(folder, {"seed": 0})
    except OutputError as error:
        if config.read_bytes() != data or model.read_bytes() != b"a model":
            raise Broken("a folder of somebody else's, changed") from error
        return refused(error, sound, folder)
    if not isinstance(json.loads(data)["versions"]["xlenet"], str) or model.exists():
        raise Broken("a folder of somebody else's, taken over; or an old model in a new run's folder")
    return "a run's folder"


def in_a_snapshot(path: Path, data: bytes, sound: bool) -> str:
    """Whether --resume goes on with it: only if all that decides the run is equal."""
    path.write_bytes(data)
    options = argparse.Namespace(resume=str(path), out=None, epochs=3, batch_size=10)
    try:
        snapshot = train._snapshot(options, CONFIG, CONFIG["train_size"])
    except XlenetError as error:
        return f"--resume: {refused(error, sound, path)}"
    if snapshot is None or snapshot.steps != 7:
        raise Broken(f"{snapshot}")
    shared, there = CONFIG.keys() - train._MAY_DIFFER, train._UNKNOWN_BEFORE | snapshot.config
    if differing := [name for name in shared if CONFIG[name] != there.get(name)]:
        raise Broken(f"goes on with another {differing}")
    return "--resume: goes on"
