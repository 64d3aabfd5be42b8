"""One contender in a process of its own: the number of threads is settled before any library is loaded, the process
stays warm from turn to turn, and it sleeps while others have theirs.

Parent and worker exchange lines of JSON over the worker's standard input and output. The worker answers each line:

    {"load": path, "name": ..., "threads": ...}    ->  {"about": {...}} or {"unavailable": reason}
    {"prepare": batch size, "alone": ...}          ->  {"first_loss": ...}
    {"turn": seed, "batch_size": ..., "warm": steps, "steps": steps}
                                                   ->  {"seconds": ..., "steps": ..., "images": ..., "loss": ...}

Every batch size has a network of its own, so that turns of several sizes can follow one another.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent

# Read by OpenBLAS, MKL, BLIS, Accelerate and OpenMP when they are loaded, and never again.
THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip

FIRST_BATCH = 0  # the seed of the order in which the comparison of first losses draws its batch


class WorkerError(Exception):
    """A worker failed or vanished; the message holds what it said."""


class Worker:
    """The parent's end: starts the process and asks it."""

    def __init__(self, name: str, task: Path, threads: int) -> None:
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
        path = [str(_ROOT), *filter(None, [environment.get("PYTHONPATH")])]
        self.name = name
        self._process: Any = subprocess.Popen(
            [sys.executable, "-m", "bench.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
            env=environment | {"PYTHONPATH": os.pathsep.join(path)},
        )  # fmt: skip
        try:
            answer = self.ask({"load": str(task), "name": name, "threads": threads})
        except BaseException:
            self.stop()
            raise
        self.about: dict[str, Any] = answer.get("about", {})
        self.unavailable: str | None = answer.get("unavailable")

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Send a line, wait for the answer."""
        line = ""
        with contextlib.suppress(OSError):  # a broken pipe: the process is gone, as the empty line then says
            print(json.dumps(question), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": f"ended with code {self._process.wait()}"}
        if "error" in answer:
            raise WorkerError(f"{self.name}: {answer['error']}")
        return answer

    def stop(self) -> None:
        """End the process; it holds nothing worth saving."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


# ==== the worker's end; numpy is imported only here, after the variables above were set ====


class _Session:
    """Answers the questions about one contender."""

    def __init__(self) -> None:
        self.contender: Any = None
        self.contenders: dict[int, Any] = {}  # by batch size
        self.images = 0

    def load(self, question: dict[str, Any]) -> dict[str, Any]:
        import numpy as np

        from bench.contenders import CONTENDERS, Task, Unavailable

        with np.load(question["load"]) as file:
            parameters = {name.removeprefix("parameter:"): file[name] for name in file if name.startswith("parameter:")}
            task = Task(file["images"], file["labels"], parameters, question["threads"])
        self.images = len(task.images)
        try:
            self.contender = CONTENDERS[question["name"]](task)
        except Unavailable as reason:
            return {"unavailable": str(reason)}
        threads = {variable: os.environ.get(variable) for variable in THREAD_VARIABLES}
        return {"about": self.contender.about() | {"thread_variables": threads}}

    def prepare(self, question: dict[str, Any]) -> dict[str, Any]:
        size = question["prepare"]
        if question.get("alone"):  # what other sizes took of a GPU's memory is given back
            self.contenders.clear()
        contender = self.contenders[size] = copy.copy(self.contender)
        contender.prepare(size)
        return {"first_loss": contender.train(self._order(FIRST_BATCH)[:size])}

    def turn(self, question: dict[str, Any]) -> dict[str, Any]:
        size, order = question["batch_size"], self._order(question["turn"])
        contender = self.contenders[size]
        contender.train(order[: question["warm"] * size])
        order = order[: question["steps"] * size]
        began = time.perf_counter()
        loss = contender.train(order)
        seconds = time.perf_counter() - began
        steps = -(-len(order) // size)
        return {"seconds": seconds, "steps": steps, "images": len(order), "loss": loss}

    def _order(self, seed: int) -> Any:
        import numpy as np

        return np.random.default_rng(seed).permutation(self.images)

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            return next(getattr(self, verb)(question) for verb in ("load", "prepare", "turn") if verb in question)
        except Exception as error:  # whatever it is, the parent has to hear of it
            return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Answer the parent's lines until it closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; the parent is the one to act
    # Standard output is for answers alone: what libraries print goes to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    session = _Session()
    with contextlib.suppress(BrokenPipeError):  # the parent is gone
        for line in sys.stdin:
            print(json.dumps(session.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
