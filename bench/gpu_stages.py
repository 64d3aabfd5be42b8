"""The stages of `bench.gpu_check`, each run in a process of its own:

    python -m bench.gpu_stages NAME '{"backend": ..., "data_dir": ..., "quick": ...}' RESULT.json

What a stage finds out it writes at once, so that a stage that is killed has not been for nothing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # measure the checkout that this file lies in, whether it is installed or not


class Options(NamedTuple):
    """What the user has chosen."""

    backend: str = "cupy"
    data_dir: str | None = None
    quick: bool = False

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU to check."""
        return self.backend.startswith("cupy")


class Skip(Exception):  # noqa: N818 - no error
    """A stage that has nothing to do here; the message says why."""


class Failed(Exception):  # noqa: N818 - what came out is not what should have
    """A stage whose figures are not as they should be."""


class Figures:
    """What a stage has found out so far, in a file that is whole at any time."""

    def __init__(self, path: Path) -> None:
        self.path, self.found = path, dict[str, Any]()

    def add(self, **found: Any) -> None:
        """Add, or replace, and write."""
        self.found |= found
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.found), encoding="utf-8")
        part.replace(self.path)


def main(arguments: Sequence[str]) -> int:
    """Run one stage; its end is the last entry in its file."""
    name, options, path = arguments
    figures = Figures(Path(path))
    try:
        STAGES[name](Options(**json.loads(options)), figures)
    except Skip as reason:
        figures.add(status="skipped", reason=str(reason))
    except Failed as reason:
        figures.add(status="failed", reason=str(reason))
    except Exception as error:  # whatever it is, it goes into the record
        traceback.print_exc()
        figures.add(status="failed", reason=f"{type(error).__name__}: {error}")
    else:
        figures.add(status="ok")
    return 0


# ==== the machine ====


def machine(options: Options, figures: Figures) -> None:
    """Find out what there is: device, versions, rates."""
    from bench.machine import describe_machine

    figures.add(machine=describe_machine())
    if not options.on_gpu:
        raise Skip("needs a GPU")
    from bench import limits
    from bench.gpu_kernels import copy_speed
    from xlenet import use_backend

    with use_backend(options.backend) as xp:
        runtime = xp.cuda.runtime
        device = runtime.getDevice()
        figures.add(
            gpu=runtime.getDeviceProperties(device)["name"].decode(),
            cupy=xp.__version__,
            cuda_runtime=runtime.runtimeGetVersion(),
            cuda_driver=runtime.driverGetVersion(),
        )
        figures.add(peaks=limits.peaks_of(runtime, device)._asdict())
    figures.add(copied_bytes_per_second=copy_speed(options.backend))


# ==== is it right? ====


def parity(options: Options, figures: Figures) -> None:
    """Run the tests that ask the backend."""
    from bench import gpu_failures

    library = options.backend.partition(":")[0]
    wanted = f"({library} and not fake_cupy) or real_gpu" if options.on_gpu else "numpy"
    files = _test_files() if options.on_gpu else ["tests/test_training.py"]
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", gpu_failures.__name__]
    command += ["--tb=short", "-k", wanted]
    if options.on_gpu and importlib.util.find_spec("xdist") is not None:
        command += ["-n", str(min(12, os.cpu_count() or 1))]  # most of the time goes into compiling kernels
    command += files
    figures.add(command=" ".join(command[1:]), passed=0, skipped=0, failed=0, failures=[])
    environment = os.environ | {"XLENET_REQUIRE_BACKENDS": library, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        line = ""
        for line in process.stdout or ():
            _count(line, figures)
    figures.add(summary=line.strip("= \n"))
    if process.returncode:
        raise Failed(f"pytest ended with code {process.returncode}: {figures.found['summary']}")


def _test_files() -> list[str]:
    """Return all tests, those first that say most about a GPU: the time may not be enough for the rest."""
    first = [
        "kernels",
        "test_device_residency.py",
        "test_graph.py",
        "test_training.py",
        "test_models.py",
        "test_optim.py",
    ]
    folders = ["layers", "functional", "onnx", "interop", "gradients", "testing", "bad_input"]
    others = sorted(path.name for path in (_ROOT / "tests").glob("test_*.py") if path.name not in first)
    return [f"tests/{name}" for name in (*first, *others, *folders)]


def _count(line: str, figures: Figures) -> None:
    """Take a line of ``pytest -v`` into account; what is no test's end goes into the log."""
    from bench.gpu_failures import BEGINS

    found = figures.found
    _, begins, failure = line.partition(BEGINS)
    if begins:
        figures.add(failed=found["failed"] + 1, failures=[*found["failures"], json.loads(failure)][:100])
        return
    for word, key in ((" PASSED ", "passed"), (" SKIPPED ", "skipped")):
        if word in line and "::" in line:
            figures.add(**{key: found[key] + 1})
            return
    print(line, end="", flush=True)


class _Run(NamedTuple):
    """What a short training run has left behind."""

    history: list[Any]
    arrays: dict[str, Any]
    gradients: dict[str, Any]  # of the last step
    recordings: list[bool]  # whether each graph that was asked for could be recorded
    pool: list[int]  # bytes of the device's memory pool after each step


_BATCH = 64  # of the short runs
_BATCHES, _EPOCHS = 4.5, 4  # twenty steps, every fifth of which has half the images

# Of the numbers before the ReLUs, and of the distances of the two largest in a pooling window, the one nearest to zero
# is as a rule within 3e-6 of their spread. Where it is so near that rounding takes it to the other side, as it does in
# one first step of a hundred, a gradient changes by up to 1e-2 of its norm, and both are right. With this seed none is
# within 2e-5.
_CLEAR_SEED = 198


def random_images(seed: int, count: int) -> tuple[Any, Any]:
    """Return pixels (count, 1, 28, 28) and labels, both of which mean nothing."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 1, 28, 28), np.uint8), rng.integers(0, 10, count)


def short_run(
    backend: str,
    graph: bool,
    optimizer: str = "nesterov",
    *,
    epochs: int = _EPOCHS,
    batches: float = _BATCHES,
    seed: int = 0,
    dtype: str = "float32",
) -> _Run:
    """Train LeNet-5 on random images for a few steps, as a rule with a short last batch."""
    from xlenet import SGD, AdamW, LeNet5, steps, training, use_backend
    from xlenet.backend import to_host
    from xlenet.data.images import Images

    x, y = random_images(seed, int(_BATCH * batches))
    recordings, pool = list[bool](), list[int]()
    capture = steps.capture

    def watched(*args: Any, **options: Any) -> Any:
        found = capture(*args, **options)
        recordings.append(found is not None)
        return found

    before = os.environ.get("XLENET_GRAPH")
    os.environ["XLENET_GRAPH"] = "on" if graph else "off"
    steps.capture = watched
    try:
        with use_backend(backend) as xp:
            images, model = Images(x, y, dtype=dtype), LeNet5(rng=seed, dtype=dtype)
            kind = {"nesterov": lambda: SGD(model, nesterov=True, weight_decay=1e-4), "adamw": lambda: AdamW(model)}
            held = xp.get_default_memory_pool() if backend.startswith("cupy") else None
            history = training.fit(
                model, images, optimizer=kind[optimizer](), test=images, epochs=epochs, batch_size=_BATCH,
                lr=0.01 if optimizer == "nesterov" else 1e-3,
                on_step=lambda _: pool.append(held.total_bytes()) if held is not None else None,
            )  # fmt: skip
            arrays = {name: to_host(array) for name, array in model.state_dict().items()}
            gradients = {
                f"{prefix}.{name}": to_host(array)
                for prefix, leaf in model.leaves()
                for name, array in leaf.grads.items()
            }
    finally:
        steps.capture = capture
        os.environ.pop("XLENET_GRAPH")
        os.environ.update({} if before is None else {"XLENET_GRAPH": before})
    return _Run([epoch[:6] for epoch in history], arrays, gradients, recordings, pool)


def first_step(backend: str, optimizer: str = "nesterov") -> _Run:
    """Do a single step in float32, on images that no rounding puts on the other side of an edge."""
    return short_run(backend, True, optimizer, epochs=1, batches=1, seed=_CLEAR_SEED)


def equality(options: Options, figures: Figures) -> None:
    """Compare runs: the same twice, with a graph and without, on the GPU and on NumPy.

    With NumPy, what is compared is a first step in float32, twenty steps in float64, and the mean losses of twenty in
    float32. Parameters after these say nothing: one run in ten comes upon one of the edges of `_CLEAR_SEED` and is off
    by 1e-3 to 5e-2 from then on, also from a run on the same machine whose images were changed by 1e-7.
    """
    problems: list[str] = []

    def note(name: str, good: bool, **found: Any) -> None:
        figures.add(**{name: {"good": good} | found})
        if not good:
            problems.append(name)

    for kind in ("nesterov", "adamw"):
        first, again = (short_run(options.backend, True, kind) for _ in range(2))
        note(f"{kind}_twice_the_same_bits", _differing(first, again) == [], differing=_differing(first, again))
        if not options.on_gpu:
            continue
        note(f"{kind}_was_recorded", first.recordings == [True, True], recordings=first.recordings)
        plain = short_run(options.backend, False, kind)
        note(f"{kind}_with_a_graph_as_without", _differing(first, plain) == [], differing=_differing(first, plain))
        growth = first.pool[-1] - first.pool[11]  # after both sizes of batch have been recorded
        note(f"{kind}_pool_does_not_grow", growth == 0, bytes=growth)
        for name, found, tolerance in _differences_from_numpy(options.backend, kind, first):
            note(f"{kind}_{name}_as_numpy", found[0] < tolerance, relative_error=found[0], largest_at=found[1])
    if problems:
        raise Failed(f"not as it should be: {', '.join(problems)}")
    if not options.on_gpu:
        raise Skip("needs a GPU (two runs on NumPy were the same)")


def _differing(a: _Run, b: _Run) -> list[str]:
    """Return which arrays have other bits, and whether the figures of the epochs differ."""
    differing = [name for name, array in a.arrays.items() if array.tobytes() != b.arrays[name].tobytes()]
    return differing + (["history"] if a.history != b.history else [])


def _differences_from_numpy(backend: str, kind: str, run: _Run) -> Iterator[tuple[str, tuple[float, str], float]]:
    """Give what was compared, the largest relative difference with its place, and what it has to be below.

    Between ways to compute that are equally right the differences are below 2e-6, 1e-4 and, with AdamW, 3e-11.
    """
    step, expected = first_step(backend, kind), first_step("numpy", kind)
    yield "first_gradients", _distance(step.gradients, expected.gradients), 1e-4
    yield "first_step", _distance(step.arrays, expected.arrays), 1e-4
    yield "losses", _distance(_losses(run), _losses(short_run("numpy", True, kind))), 1e-3
    double, expected = (short_run(name, True, kind, dtype="float64") for name in (backend, "numpy"))
    yield "twenty_float64_steps", _distance(double.arrays, expected.arrays), 1e-9


def _losses(run: _Run) -> dict[str, Any]:
    return {f"epoch {epoch}": loss for epoch, _, loss, *_ in run.history}


def _distance(a: dict[str, Any], b: dict[str, Any]) -> tuple[float, str]:
    """Return the largest relative difference of an array in the Euclidean norm, and the name of that array."""
    import numpy as np

    # Biases in front of batch normalisation have no gradient but rounding.
    names = [name for name in b if name not in ("conv1.bias", "conv2.bias")]
    errors = [float(np.linalg.norm(a[n] - b[n]) / (np.linalg.norm(b[n]) + 1e-6)) for n in names]
    worst = int(np.argmax(errors))  # that of a NaN, where there is one
    return errors[worst], names[worst]


# ==== does it learn? ====


def training(options: Options, figures: Figures) -> None:
    """Train as a user would, to an accuracy."""
    data = ["--data", "mnist", "--data-dir", options.data_dir] if options.data_dir else ["--data", "generated"]
    epochs = 3 if options.quick else 20
    if not options.on_gpu:
        epochs, data = 1, [*data, "--train-size", "2000"]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "xlenet.train", "--backend", options.backend, "--epochs", str(epochs),
            "--out", folder, "--quiet", *data,
        ]  # fmt: skip
        began = time.perf_counter()
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
        figures.add(
            data="MNIST" if options.data_dir else "generated digits",
            epochs=epochs,
            seconds_of_the_command=time.perf_counter() - began,
        )
        if done.returncode:
            raise Failed(f"the command ended with code {done.returncode}: {done.stderr[-1000:]}")
        lines = (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    history = [json.loads(line) for line in lines]
    figures.add(
        test_accuracy=history[-1]["test_accuracy"],
        seconds_by_epoch=[round(epoch["seconds"], 4) for epoch in history],
        notes=done.stderr.strip()[-1000:],
        history=history,
    )
    wanted = 0.5 if not options.on_gpu else 0.985 if options.quick else 0.99
    if options.data_dir is None:
        wanted -= 0.04
    if not history[-1]["test_accuracy"] > wanted:
        raise Failed(f"test accuracy {history[-1]['test_accuracy']:.4f}; expected more than {wanted}")


# ==== how fast is it? ====


def first_steps(options: Options, figures: Figures) -> None:
    """Time the first steps of a run: compilation, recording, and then."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CUPY_CACHE_DIR"] = folder  # nothing is compiled yet, as on a user's machine on the first day
        for name in ("first_run", "second_run_of_the_process"):
            figures.add(**{name: _milliseconds_of_steps(options.backend)})
    if not options.on_gpu:
        raise Skip("needs a GPU (the figures are NumPy's)")


def _milliseconds_of_steps(backend: str) -> list[float]:
    import numpy as np

    from xlenet import SGD, LeNet5, use_backend
    from xlenet.backend import synchronize
    from xlenet.data.images import Images
    from xlenet.training import Progress, fit

    rng = np.random.default_rng(0)
    with use_backend(backend):
        images = Images(rng.integers(0, 256, (64 * 6, 1, 28, 28), np.uint8), rng.integers(0, 10, 64 * 6))
        model, times = LeNet5(rng=0), list[float]()

        def on_step(progress: Progress) -> None:
            synchronize(images.x)
            times.append(time.perf_counter())

        began = time.perf_counter()
        fit(model, images, optimizer=SGD(model, nesterov=True), epochs=1, on_step=on_step)
    return [round(1e3 * (b - a), 3) for a, b in zip([began, *times], times, strict=False)]


def kernels(options: Options, figures: Figures) -> None:
    """Time each part of the step and compare it with what is possible."""
    if not options.on_gpu:
        raise Skip("needs a GPU")
    from bench import limits
    from bench.gpu_kernels import measure

    for n in (64, 256, 1024):
        found = measure(n, options.backend)
        always = [part for part in found if part["part"] not in limits.OPTIONAL]
        figures.add(**{
            f"batch_{n}": found,
            f"batch_{n}_sum_microseconds": sum(part["microseconds"] for part in always),
            f"batch_{n}_limit_microseconds": sum(part["limit_microseconds"] for part in always),
        })  # fmt: skip
    alone = [part["part"] for part in figures.found["batch_64"] if not part["in_a_graph"]]
    if alone:
        raise Failed(f"these could not be recorded, so a step cannot either: {', '.join(alone)}")


CONTENDERS_ON_GPU = ("cupy-plain", "cupy-kernels", "cupy", "torch-cuda", "torch-cuda-graph")


def contenders(options: Options, figures: Figures) -> None:
    """Let everybody train in turns; the one that has to compile first comes last, in case its time runs out."""
    if not options.on_gpu:
        _compare(options, figures, ("numpy", "torch"), sizes=(64,), steps=3, turns=2)
        raise Skip("needs a GPU (the figures are of the processor)")
    turns = 3 if options.quick else 7
    _compare(options, figures, CONTENDERS_ON_GPU, sizes=(64, 256, 1024), steps=0, turns=turns)


def compiled(options: Options, figures: Figures) -> None:
    """The same for `torch.compile`, beside xlenet and PyTorch's graph again."""
    if not options.on_gpu:
        raise Skip("needs a GPU")
    names = ("cupy", "torch-cuda-graph", "torch-cuda-compile")
    _compare(options, figures, names, sizes=(64,) if options.quick else (64, 256, 1024), steps=0, turns=3)


def _compare(
    options: Options, figures: Figures, names: tuple[str, ...], *, sizes: tuple[int, ...], steps: int, turns: int
) -> None:
    from bench.comparison import EPOCH, Plan, start, stop
    from bench.epoch_time import write_task

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        task = Path(folder) / "task.npz"
        figures.add(data=write_task(task, options.data_dir))
        workers, absent = start(names, task, 1)
        try:
            figures.add(absent=absent, about={worker.name: worker.about for worker in workers}, results=[])
            if not workers:
                raise Failed(f"nobody can take part: {absent}")
            for size in sizes:
                # Whole batches: what a short last one costs, some would pay at its first time alone.
                plan = Plan(turns, steps or EPOCH // size, full=False)
                figures.add(results=[*figures.found["results"], *_measure(workers, size, plan)])
        finally:
            stop(workers)
    if absent and options.on_gpu:
        raise Failed(f"could not take part: {absent}")


def _measure(workers: Sequence[Any], size: int, plan: Any) -> list[dict[str, Any]]:
    """Let the workers take turns, as `bench.comparison.measure` does, and time what comes before: data to the device,
    compilation, recording, the first steps.
    """
    from bench.comparison import WARM_STEPS, check_same, summary, take_turn

    losses, starts, answers = dict[str, float](), dict[str, float](), dict[str, list[dict[str, Any]]]()
    for worker in workers:
        began = time.perf_counter()
        losses[worker.name] = worker.ask({"prepare": size, "alone": True})["first_loss"]
        worker.ask({"turn": 0, "batch_size": size, "warm": 1, "steps": WARM_STEPS})
        starts[worker.name], answers[worker.name] = time.perf_counter() - began, []
    check_same(losses, size)
    for turn in range(1, plan.turns + 1):
        for worker in workers:
            answers[worker.name].append(take_turn(worker, size, turn, plan))
    return [
        summary(name, size, losses[name], turns) | {"seconds_to_start": starts[name]} for name, turns in answers.items()
    ]


STAGES: dict[str, Callable[[Options, Figures], None]] = {
    "machine": machine,
    "equality": equality,
    "first_steps": first_steps,
    "kernels": kernels,
    "contenders": contenders,
    "training": training,
    "parity": parity,
    "compiled": compiled,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
