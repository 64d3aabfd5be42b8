"""Takes the time of several contenders in turns, and puts the turns together."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.contenders import PEERS
from bench.worker import Worker, WorkerError

EPOCH = 60_000  # images
WARM_STEPS = 3  # before each turn, untimed: caches are cold after the wait
REST = 0.1  # seconds before each turn, in which the idle threads of the one before stop spinning
SLOW = "textbook"
SLOW_FACTOR = 10  # so many times fewer steps for the slow one: its turn still takes longest
SAME_LOSS = 1e-3  # relative: one side may be float32 and the other float64


class Plan(NamedTuple):
    """How long a turn is, and how many there are."""

    turns: int
    steps: int
    full: bool

    def steps_of(self, name: str, batch_size: int) -> int:
        """Return the steps of one turn: never more than an epoch has."""
        epoch = -(-EPOCH // batch_size)
        if name == SLOW:
            return min(max(1, self.steps // SLOW_FACTOR), epoch)
        return epoch if self.full else min(self.steps, epoch)


def start(names: Sequence[str], task: Path, threads: int) -> tuple[list[Worker], dict[str, str]]:
    """Start a worker for each name; return those that can take part, and why the others cannot."""
    workers: list[Worker] = []
    absent: dict[str, str] = {}
    try:
        for name in names:
            worker = Worker(name, task, threads)
            if worker.unavailable is None:
                workers.append(worker)
            else:
                absent[name] = worker.unavailable
                worker.stop()
    except BaseException:
        stop(workers)
        raise
    return workers, absent


def stop(workers: Sequence[Worker]) -> None:
    """End all processes."""
    for worker in workers:
        worker.stop()


def measure(workers: Sequence[Worker], plans: Mapping[int, Plan]) -> list[dict[str, Any]]:
    """Let the workers take turns at every batch size; return a result for each worker and size.

    A turn of all workers at one size is followed by one at the next: sizes too are compared under the same conditions,
    and not one after another on a machine that others use.

    Args:
        workers: who takes part.
        plans: batch size -> how long its turns are, and how many there are.
    """
    first_losses = {size: prepare(workers, size) for size in plans}
    answers: dict[tuple[str, int], list[dict[str, Any]]] = {(w.name, size): [] for size in plans for w in workers}
    for turn in range(1, max(plan.turns for plan in plans.values()) + 1):
        for size, plan in plans.items():
            for worker in workers if turn <= plan.turns else ():
                answers[worker.name, size].append(take_turn(worker, size, turn, plan))
    results = [summary(name, size, first_losses[size][name], turns) for (name, size), turns in answers.items()]
    medians = {(r["contender"], r["batch_size"]): r["seconds_per_epoch"]["median"] for r in results}
    for (name, size), result in zip(answers, results, strict=True):
        peer = medians.get((PEERS[name], size))
        result["ratio_to_pytorch"] = None if peer is None else medians[name, size] / peer
    return results


def prepare(workers: Sequence[Worker], batch_size: int) -> dict[str, float]:
    """Let everybody begin anew at a batch size; return their first losses, which are the same."""
    losses = {worker.name: worker.ask({"prepare": batch_size})["first_loss"] for worker in workers}
    check_same(losses, batch_size)
    return losses


def take_turn(worker: Worker, batch_size: int, turn: int, plan: Plan) -> dict[str, Any]:
    """Let one worker do its steps, while all others sleep."""
    time.sleep(REST)
    steps = plan.steps_of(worker.name, batch_size)
    return worker.ask({"turn": turn, "batch_size": batch_size, "warm": min(WARM_STEPS, steps), "steps": steps})


def check_same(first_losses: dict[str, float], batch_size: int) -> None:
    """Refuse to compare contenders that do not train the same network on the same batch from the same weights."""
    lowest = min(first_losses.values())
    if not all(loss <= lowest * (1 + SAME_LOSS) for loss in first_losses.values()):  # NaN is not, either
        raise WorkerError(
            f"batch size {batch_size}: the first losses differ: {first_losses}; expected the same network"
        )


def summary(name: str, batch_size: int, first_loss: float, turns: list[dict[str, Any]]) -> dict[str, Any]:
    epochs = [EPOCH * turn["seconds"] / turn["images"] for turn in turns]
    return {
        "contender": name,
        "batch_size": batch_size,
        "turns": len(turns),
        "steps_per_turn": turns[0]["steps"],
        "scaled": turns[0]["images"] < EPOCH,
        "ms_per_step": _quartiles([1e3 * turn["seconds"] / turn["steps"] for turn in turns]),
        "seconds_per_epoch": _quartiles(epochs),
        "images_per_second": EPOCH / statistics.median(epochs),
        "seconds_per_epoch_by_turn": epochs,
        "first_loss": first_loss,
        "last_loss": turns[-1]["loss"],
    }


def _quartiles(values: list[float]) -> dict[str, float]:
    if len(values) == 1:
        return dict.fromkeys(("q1", "median", "q3"), values[0])
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return {"q1": q1, "median": median, "q3": q3}
