"""Takes the time of several contenders in turns, and puts the turns together."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
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


def measure(workers: Sequence[Worker], batch_size: int, plan: Plan) -> list[dict[str, Any]]:
    """Let the workers take turns; return a result for each, compared with PyTorch on the same device."""
    first_losses = {worker.name: worker.ask({"prepare": batch_size})["first_loss"] for worker in workers}
    _check_same(first_losses, batch_size)
    answers: dict[str, list[dict[str, Any]]] = {worker.name: [] for worker in workers}
    for turn in range(1, plan.turns + 1):
        for worker in workers:
            time.sleep(REST)
            steps = plan.steps_of(worker.name, batch_size)
            question = {"turn": turn, "warm": min(WARM_STEPS, steps), "steps": steps}
            answers[worker.name].append(worker.ask(question))
    results = [_summary(name, batch_size, first_losses[name], turns) for name, turns in answers.items()]
    medians = {result["contender"]: result["seconds_per_epoch"]["median"] for result in results}
    for result in results:
        peer = medians.get(PEERS[result["contender"]])
        result["ratio_to_pytorch"] = None if peer is None else medians[result["contender"]] / peer
    return results


def _check_same(first_losses: dict[str, float], batch_size: int) -> None:
    """Refuse to compare contenders that do not train the same network on the same batch from the same weights."""
    lowest = min(first_losses.values())
    if not all(loss <= lowest * (1 + SAME_LOSS) for loss in first_losses.values()):  # NaN is not, either
        raise WorkerError(
            f"batch size {batch_size}: the first losses differ: {first_losses}; expected the same network"
        )


def _summary(name: str, batch_size: int, first_loss: float, turns: list[dict[str, Any]]) -> dict[str, Any]:
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
