"""Snapshots: loaded, put into a model and its optimiser, and gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.fuzzing.checkpoints import compare, pack
from tests.fuzzing.mutate import Broken, change_tree, refused, same, tree, write
from xlenet import SGD, Adam, Flatten, Linear, Sequential
from xlenet.checkpoint import load_arrays
from xlenet.data import Images
from xlenet.errors import DataError, DivergedError
from xlenet.snapshot_format import About, check_place, write_about
from xlenet.snapshots import load_snapshot, restore
from xlenet.training import fit

EPOCHS, STEPS, BATCH = 4, 5, 2
IMAGES = Images(np.arange(40, dtype=np.uint8).reshape(10, 1, 2, 2), np.arange(10) % 3)
MODELS = [Sequential(flatten=Flatten(), fc=Linear(4, 3, rng=0)) for _ in range(2)]
OPTIMIZERS = [SGD(MODELS[0]), Adam(MODELS[1])]
EPOCH_FIGURES = {"lr": 0.1, "train_loss": 2.0, "train_accuracy": 0.5, "test_loss": 2.5, "test_accuracy": 0.25,
                 "seconds": 1.5, "images_per_second": 100.0}  # fmt: skip


def make(rng: Random) -> tuple[bytes, bool]:
    sound, arrays = rng.random() < 0.02, {}
    which = rng.randrange(2)
    state = {f"model.{name}": array for name, array in MODELS[which].state_dict().items()}
    state |= {f"optimizer.{name}": array for name, array in OPTIMIZERS[which].state_dict().items()}
    for name, array in state.items():
        numbers = [rng.random() for _ in range(array.size)]
        kind = "F32"
        if not sound and rng.random() < 0.03:
            numbers[0] = rng.choice((float("nan"), float("inf"), -1.0, 1e300, 1e38))
            kind = rng.choice(("F32", "F32", "F64"))
        with np.errstate(over="ignore"):
            arrays[name] = kind, array.shape, np.array(numbers).astype("<f4" if kind == "F32" else "<f8").tobytes()
    if not sound and rng.random() < 0.1:
        change_names(rng, arrays)
    about = tree(about_a_run(rng))
    if not sound and rng.random() < 0.8:
        change_tree(rng, about, rng.choice((1, 1, 1, 2, 3)))
        return pack(rng, arrays, {"xlenet": write(about)}, sound=rng.random() < 0.9), False
    return pack(rng, arrays, {"xlenet": write(about)}, sound), sound


def change_names(rng: Random, arrays: dict[str, Any]) -> None:
    name = rng.choice(list(arrays))
    kept = arrays[name] if rng.random() < 0.3 else arrays.pop(name)
    if rng.random() < 0.7:
        arrays[rng.choice(("model.a", "optimizer.a", "best.a", "\x1b[2J", "model." * 500))] = kept


def about_a_run(rng: Random) -> dict[str, Any]:
    epoch, step = rng.randint(1, EPOCHS), rng.randrange(STEPS)
    history = [{"epoch": number, **EPOCH_FIGURES} for number in range(1, epoch)]
    position = {"epoch": epoch, "step": step, "sums": [1.5, 2.0, float(step)], "seconds": 0.5, "history": history}
    config = {"lr": 0.1, "train_size": 10, "model": {"classes": 3}, "clip": None, "relu_after_conv3": False}
    return {"format": 1, "steps": (epoch - 1) * STEPS + step, "position": position, "config": config}


def check(path: Path, data: bytes, sound: bool) -> str:
    path.write_bytes(data)
    try:
        snapshot = load_snapshot(path)
    except DataError as error:
        return refused(error, sound, path)
    state, about = load_arrays(path)
    compare(data, state)
    again = json.loads(json.dumps(write_about(About(*snapshot[2:5]))))
    again["position"] = {name: value for name, value in again["position"].items() if name in about["position"]}
    if not same(again, about):
        raise Broken(f"{again}, in the file {about}")
    which = int("optimizer.mean" in state)
    model, optimizer = MODELS[which], OPTIMIZERS[which]
    before = contents(model, optimizer)
    try:
        restore(snapshot, model, optimizer)
    except DataError as error:
        if contents(model, optimizer) != before:
            raise Broken("a model or an optimiser changed by what it has refused") from error
        return f"loaded; not restored: {refused(error, sound, path)}"
    mine = {f"model.{name}": array for name, array in model.state_dict().items()}
    mine |= {f"optimizer.{name}": array for name, array in optimizer.state_dict().items()}
    if {name: array.tobytes() for name, array in mine.items()} != {k: v.tobytes() for k, v in state.items()}:
        raise Broken("a model and an optimiser that are not what the file says")
    try:
        check_place(snapshot.position, optimizer.steps, EPOCHS, STEPS)
    except DataError as error:
        return f"restored; of another run: {refused(error, sound, path)}"
    if len(data) % 16:
        return "restored"
    try:
        history = fit(model, IMAGES, optimizer=optimizer, epochs=EPOCHS, batch_size=BATCH, start=snapshot.position)
    except DivergedError as error:
        return f"restored; {refused(error, sound, path)}"
    if [epoch.epoch for epoch in history] != list(range(1, EPOCHS + 1)):
        raise Broken(f"the history {history}")
    return "restored and gone on with"


def contents(model: Sequential, optimizer: SGD | Adam) -> list[bytes]:
    return [array.tobytes() for array in (*model.state_dict().values(), *optimizer.slots.values())]
