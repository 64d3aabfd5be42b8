"""The benchmark itself: the textbook algorithm is right, everybody trains the same network, the record is whole.

The textbook algorithm shares no code with the library, so agreement with it says something about both.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import comparison, cpu_check, epoch_time, guard, memory, tables
from bench.comparison import Plan, check_same
from bench.contenders import CONTENDERS, MOMENTUM, Task, Unavailable
from bench.report import table
from bench.textbook import SHAPES, TextbookLeNet5, initial_parameters
from bench.worker import Worker, WorkerError
from tests.libraries import open_partner, skip_or_fail
from xlenet import SGD, LeNet5, SoftmaxCrossEntropy
from xlenet.training import train_step

ROOT = Path(__file__).resolve().parent.parent
PARAMETERS = initial_parameters(seed=3)


def batch(n=8, seed=0):
    """Bright strokes on a constant background: pooling windows full of equal values, as in MNIST."""
    rng = np.random.default_rng(seed)
    x = np.full((n, 1, 28, 28), -0.4)
    for image in x[:, 0]:
        for _ in range(6):
            row, column = rng.integers(4, 20, 2)
            image[row : row + 6, column : column + 3] = rng.normal(1.5, 0.5, (6, 3))
    return x, rng.integers(0, 10, n)


def xlenet_model(dtype="float64"):
    model = LeNet5(rng=0, dtype=dtype).train()
    model.load_state_dict(model.state_dict() | PARAMETERS)
    return model, SoftmaxCrossEntropy(), SGD(model, momentum=MOMENTUM, nesterov=True)


# ==== the textbook algorithm ====


def test_the_textbook_network_is_the_one_of_the_library():
    assert {name: array.shape for name, array in LeNet5(rng=0).named_parameters()} == SHAPES
    assert sum(array.size for array in PARAMETERS.values()) == 61_750


@pytest.mark.parametrize("name", SHAPES)
def test_textbook_gradients_by_finite_differences(rng, name):
    x, y = batch(4)
    gradient = TextbookLeNet5(parameters=PARAMETERS).loss_and_gradients(x, y)[1][name]
    direction, size = rng.normal(size=SHAPES[name]), 1e-6

    def loss_at(distance):
        moved = PARAMETERS | {name: PARAMETERS[name] + distance * direction}
        return TextbookLeNet5(parameters=moved).loss_and_gradients(x, y)[0]

    numeric = (loss_at(size) - loss_at(-size)) / (2 * size)
    assert (gradient * direction).sum() == pytest.approx(numeric, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_loss_and_gradients_of_the_library_are_the_textbook_ones(dtype):
    x, y = batch()
    loss, gradients = TextbookLeNet5(parameters=PARAMETERS).loss_and_gradients(x, y)
    model, criterion, _ = xlenet_model(dtype)
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    assert float(criterion(model(x.astype(dtype)), y)) == pytest.approx(loss, rel=tolerance)
    model.backward(criterion.backward(), need_dx=False)
    found = {f"{layer}.{name}": grad for layer, leaf in model.leaves() for name, grad in leaf.grads.items()}
    assert found.keys() == gradients.keys()
    largest = max(np.linalg.norm(gradient) for gradient in gradients.values())
    for name, gradient in gradients.items():
        # Biases in front of batch normalisation have no gradient but rounding, which no relative error can measure.
        scale = max(np.linalg.norm(gradient), 1e-3 * largest)
        assert np.linalg.norm(found[name] - gradient) <= tolerance * scale, name


def test_steps_of_the_library_are_the_textbook_ones():
    textbook = TextbookLeNet5(parameters=PARAMETERS, momentum=MOMENTUM, nesterov=True)
    model, criterion, optimizer = xlenet_model()
    for seed in range(6):
        x, y = batch(seed=seed)
        loss = textbook.step(x, y, lr=0.02)
        assert float(train_step(model, criterion, optimizer, x, y, 0.02)[0]) == pytest.approx(loss, rel=1e-8)
    for name in ("bn1", "bn2"):
        buffers, mine = model[name].buffers, textbook.layers[name]
        np.testing.assert_allclose(buffers["running_mean"], mine.running_mean.ravel(), rtol=1e-8)
        np.testing.assert_allclose(buffers["running_var"], mine.running_var.ravel(), rtol=1e-8)
    x, _ = batch(64, seed=99)
    assert (textbook.predict(x) == model.infer(x).argmax(axis=1)).all()


def test_the_textbook_algorithm_learns():
    model, (x, y) = TextbookLeNet5(seed=0), batch(16)
    losses = [model.step(x, y, lr=0.02) for _ in range(15)]
    assert losses[-1] < 0.2 * losses[0]


def test_steps_of_pytorch_are_the_textbook_ones(torch):
    from bench.torch_lenet import TorchLeNet5

    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 1, 28, 28), dtype=np.uint8), rng.integers(0, 10, 40)
    textbook = TextbookLeNet5(parameters=PARAMETERS, momentum=MOMENTUM, nesterov=True)
    peer = TorchLeNet5(images, labels, 100.0, 50.0, PARAMETERS, momentum=MOMENTUM, nesterov=True)
    for step in range(4):
        which = np.arange(10 * step, 10 * step + 10)
        loss = textbook.step((images[which] - 100.0) / 50.0, labels[which], lr=0.02)
        assert peer.train(which, batch_size=10, lr=0.02) == pytest.approx(loss, rel=1e-4)


# ==== the contenders ====


@pytest.fixture(params=CONTENDERS)
def contender_name(request):
    if request.param.startswith("torch"):
        open_partner("torch", "torch")
    return request.param


def test_every_contender_present_has_the_same_losses(contender_name, rng):
    images = rng.integers(0, 256, (50, 1, 28, 28), dtype=np.uint8)
    task = Task(images, rng.integers(0, 10, 50), PARAMETERS, threads=1)
    textbook = CONTENDERS["textbook"](task)
    try:
        contender = CONTENDERS[contender_name](task)
    except Unavailable as reason:
        skip_or_fail("XLENET_REQUIRE_BACKENDS", contender_name, str(reason))
    for each in (textbook, contender):
        each.prepare(batch_size=16)
    order = rng.permutation(50)  # the last batch is a short one
    first = textbook.train(order)
    assert contender.train(order) == pytest.approx(first, rel=1e-3)
    assert contender.train(order) < 0.99 * first, "training goes on where it was"
    contender.prepare(batch_size=16)
    assert contender.train(order) == pytest.approx(first, rel=1e-3), "prepare starts anew"
    assert contender.about()["precision"].startswith("float")


def test_without_pytorch_it_is_left_out_with_a_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    task = Task(np.zeros((1, 1, 28, 28), np.uint8), np.zeros(1, np.int64), PARAMETERS, threads=1)
    with pytest.raises(Unavailable, match=r"PyTorch is not installed .*; pip install torch"):
        CONTENDERS["torch"](task)


def test_different_networks_are_not_compared():
    check_same({"numpy": 2.3026, "torch": 2.3027}, batch_size=64)
    with pytest.raises(WorkerError, match="batch size 64: the first losses differ"):
        check_same({"numpy": 2.30, "torch": 2.31}, batch_size=64)
    with pytest.raises(WorkerError, match="the first losses differ"):
        check_same({"numpy": 2.30, "torch": float("nan")}, batch_size=64)


class Clock:
    """A worker that says who was asked."""

    def __init__(self, name, asked, seconds):
        self.name, self.asked, self.seconds = name, asked, seconds

    def ask(self, question):
        if "prepare" in question:
            return {"first_loss": 2.3}
        size, steps = question["batch_size"], question["steps"]
        self.asked.append((question["turn"], size, self.name))
        return {"seconds": self.seconds * steps, "steps": steps, "images": size * steps, "loss": 1.0}


def test_turns_of_all_sizes_and_contenders_are_interleaved(monkeypatch):
    monkeypatch.setattr(comparison, "REST", 0.0)
    asked = []
    workers = [Clock("numpy", asked, 1.0), Clock("torch", asked, 4.0)]
    plans = {8: Plan(2, steps=3, full=False), 16: Plan(1, steps=3, full=False)}
    rows = comparison.measure(workers, plans)
    both = ("numpy", "torch")
    assert asked == [(turn, size, who) for turn, size in ((1, 8), (1, 16), (2, 8)) for who in both]
    assert [(r["contender"], r["batch_size"], r["turns"], r["ratio_to_pytorch"]) for r in rows] == [
        ("numpy", 8, 2, 0.25), ("torch", 8, 2, 1.0), ("numpy", 16, 1, 0.25), ("torch", 16, 1, 1.0),
    ]  # fmt: skip
    assert rows[0]["seconds_per_epoch"]["median"] == 60_000 / 8


def test_a_plan_never_asks_for_more_than_an_epoch():
    assert Plan(turns=3, steps=50, full=False).steps_of("numpy", 64) == 50
    assert Plan(turns=3, steps=50, full=False).steps_of("textbook", 64) == 5
    assert Plan(turns=3, steps=5000, full=False).steps_of("numpy", 64) == 938
    assert Plan(turns=3, steps=1, full=True).steps_of("numpy", 64) == 938
    assert Plan(turns=3, steps=1, full=True).steps_of("textbook", 64) == 1


# ==== the command ====


def tiny_task(folder):
    rng = np.random.default_rng(0)
    parameters = {f"parameter:{name}": value for name, value in PARAMETERS.items()}
    images = rng.integers(0, 256, (40, 1, 28, 28), dtype=np.uint8)
    np.savez(folder / "task.npz", images=images, labels=rng.integers(0, 10, 40), **parameters)
    return folder / "task.npz"


def run_command(*arguments, **changes):
    environment = {k: v for k, v in os.environ.items() if k not in ("XLENET_DATA_DIR", "XLENET_BACKEND")} | changes
    command = [sys.executable, str(ROOT / "bench" / "epoch_time.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)


def test_the_whole_command(tmp_path):
    out = tmp_path / "new" / "results"
    done = run_command(
        "--only", "textbook", "numpy", "--epochs", 3, "--steps", 2, "--threads", 1, "--batch-size", 8, 5, "--out", out
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "textbook algorithm*" in done.stdout
    assert "3 times 2 steps, scaled to an epoch" in done.stdout
    record = json.loads((out / "epoch_time_cpu_1_thread.json").read_text(encoding="utf-8"))
    assert (out / "epoch_time_cpu_1_thread.png").read_bytes().startswith(b"\x89PNG")
    assert record["settings"]["threads"] == 1
    assert record["settings"]["data"].startswith("random images")
    assert record["machine"]["cpu"]
    assert record["machine"]["numpy"] == np.__version__
    assert record["contenders"]["textbook"].items() >= {"numpy": np.__version__, "precision": "float64"}.items()
    assert [(r["batch_size"], r["contender"]) for r in record["results"]] == [
        (8, "textbook"), (8, "numpy"), (5, "textbook"), (5, "numpy"),
    ]  # fmt: skip
    for result in record["results"]:
        steps = 1 if result["contender"] == "textbook" else 2
        assert (result["turns"], result["steps_per_turn"], result["scaled"]) == (3, steps, True)
        epoch, step = result["seconds_per_epoch"], result["ms_per_step"]
        assert 0 < epoch["q1"] <= epoch["median"] <= epoch["q3"]
        assert epoch["median"] == pytest.approx(step["median"] / 1e3 * 60_000 / result["batch_size"])
        assert result["images_per_second"] == pytest.approx(60_000 / epoch["median"])
        assert result["ratio_to_pytorch"] is None
    slow, quick = record["results"][:2]
    assert slow["first_loss"] == pytest.approx(quick["first_loss"], rel=1e-3)


def test_ratios_and_scaling_are_in_the_table():
    quartiles = {"q1": 4.0, "median": 5.0, "q3": 6.0}
    result = {
        "contender": "numpy", "batch_size": 64, "turns": 3, "steps_per_turn": 938, "scaled": False, "first_loss": 2.3,
        "ms_per_step": quartiles, "seconds_per_epoch": quartiles, "images_per_second": 12000.0,
        "ratio_to_pytorch": 0.72,
    }  # fmt: skip
    lines = table({"results": [result]}).splitlines()
    assert lines[2].split() == ["64", "xlenet", "on", "NumPy", "5.00", "5.00", "4.00-6.00", "12,000", "0.72"]
    assert len(lines) == 3, "nothing was scaled, so no note says so"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--epochs", "0"], 2, "expected a whole number from 1 up"),
        (["--only", "tensorflow"], 2, "invalid choice"),
        (["--data-dir", "absent"], 4, "--data-dir"),
        (["--out", str(Path(__file__) / "below")], 5, "choose another"),
    ],
)
def test_a_users_mistake_is_a_message_and_a_code(tmp_path, capsys, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    try:
        found = epoch_time.main(["--out", str(tmp_path), *arguments])
    except SystemExit as stop:  # argparse's own way
        found = stop.code
    assert found == code
    assert words in capsys.readouterr().err


def test_a_contender_that_was_asked_for_and_is_not_there(tmp_path, capsys, monkeypatch):
    class Stopped:
        name, stops = "numpy", 0

        def stop(self):
            self.stops += 1

    worker = Stopped()
    monkeypatch.setattr(epoch_time, "start", lambda names, task, threads: ([worker], {"cupy": "no such luck"}))
    assert epoch_time.main(["--only", "numpy", "cupy", "--out", str(tmp_path)]) == 3
    assert "got cupy, which is not available: no such luck" in capsys.readouterr().err
    assert worker.stops == 1


def test_real_mnist_is_used_where_it_is(tmp_path, mnist_dir):
    assert epoch_time.write_task(tmp_path / "task.npz", str(mnist_dir)) == "MNIST"
    with np.load(tmp_path / "task.npz") as file:
        assert file["images"].shape == (60_000, 1, 28, 28)
        assert file["labels"][:4].tolist() == [5, 0, 4, 1]


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no SIGINT to another process")
def test_ctrl_c_ends_it_with_130_and_no_traceback(tmp_path):
    command = [sys.executable, str(ROOT / "bench" / "epoch_time.py"), "--only", "textbook", "--epochs", "999"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "--out", str(tmp_path)], start_new_session=True, **pipes) as process:
        while "batch size" not in process.stdout.readline():
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_fails_or_vanishes_is_an_error_with_its_name(tmp_path):
    worker = Worker("textbook", tiny_task(tmp_path), threads=1)
    try:
        with pytest.raises(WorkerError, match=r"^textbook: KeyError: 4"):
            worker.ask({"turn": 1, "batch_size": 4, "warm": 1, "steps": 1})  # without a prepare before it
        assert worker.ask({"prepare": 4})["first_loss"] > 0
        worker._process.kill()
        with pytest.raises(WorkerError, match=r"^textbook: ended with code"):
            worker.ask({"prepare": 4})
    finally:
        worker.stop()


def test_a_worker_has_the_threads_it_was_given(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    worker = Worker("textbook", tiny_task(tmp_path), threads=3)
    worker.stop()
    assert set(worker.about["thread_variables"].values()) == {"3"}
    assert {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"} <= worker.about["thread_variables"].keys()


# ==== tables, promises, the guard ====


def test_the_tables_in_the_docs_are_those_of_the_records(capsys):
    assert tables.main(["--check"]) == 0, capsys.readouterr().out
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert {"machine", "promises", "epochs", "gpu"} <= set(re.findall(r"<!-- table: (\w+) -->", page))
    assert "| 1 | 64 |" in page


def test_a_table_that_is_not_its_records_is_found_and_mended(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: short -->\nwrong\n<!-- end -->\nbehind\n", encoding="utf-8")
    monkeypatch.setattr(tables, "PAGES", (page,))
    monkeypatch.setattr(tables, "_ROOT", tmp_path)
    assert tables.main(["--check"]) == 1
    assert "wrong" in page.read_text(encoding="utf-8")
    assert tables.main([]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- table: short -->\n\n| an epoch")
    assert text.endswith("\n\n<!-- end -->\nbehind\n")
    assert tables.main(["--check"]) == 0


def test_the_rows_of_the_gpus_table_make_up_its_sum():
    """Which is the one that `bench.gpu_stages` has found, and leaves out what only some runs have."""
    kernels = json.loads((tables.RESULTS / tables.GPU_RECORD).read_text(encoding="utf-8"))["stages"]["kernels"]
    cells = [line.strip("| ").split(" | ") for line in tables.TABLES["gpu"]().splitlines() if line.startswith("|")]
    found = {title: [float(figure) for figure in figures] for title, *figures in cells[2:]}
    assert list(found)[-2:] == ["**all 19**", "`distort`, where a run has it"]
    *parts, whole, _ = found.values()
    assert len(parts) == 6
    assert np.sum(parts, axis=0) == pytest.approx(whole, rel=0.02)
    sums = [kernels[f"batch_{n}_{what}_microseconds"] for n in (64, 256, 1024) for what in ("sum", "limit")]
    assert whole == pytest.approx(sums, rel=0.02)
    assert [first for first, *_ in parts[:5]] == sorted((first for first, *_ in parts[:5]), reverse=True)


def test_a_promise_not_kept_is_said():
    kept, broken = cpu_check.Promise("a", "s", 1.0, 1.0), cpu_check.Promise("b", "s", 1.0, 1.01)
    assert (kept.kept, broken.kept, cpu_check.Promise("c", "s", 1.0, float("nan")).kept) == (True, False, False)
    first, second, third = cpu_check.table([kept, broken]).splitlines()
    assert "NOT KEPT" not in first + second
    assert third.endswith("NOT KEPT")


def test_promises_come_from_the_rows_they_speak_of():
    seconds = {("numpy", 1): 3.0, ("torch", 1): 6.0, ("numpy", 2): 2.0, ("torch", 2): 2.5}
    rows = [
        {
            "contender": who,
            "threads": threads,
            "batch_size": size,
            "kind": kind,
            "seconds_per_epoch": {"median": value + size / 1024},
            # A turn that takes ten times as long says nothing about batch sizes.
            "seconds_per_epoch_by_turn": [10 * size, value + size / 1024],
        }
        for (who, threads), value in seconds.items()
        for size in cpu_check.SIZES
        for kind in ("epochs", "sizes")
    ]
    found = [promise.measured for promise in cpu_check._about_times(rows)]
    s = 64 / 1024
    ratios = [(3 + s) / (6 + s), (2 + s) / (2.5 + s), (2 + 2 * s) / (2.5 + 2 * s), (2 + s / 2) / (2.5 + s / 2)]
    assert found == pytest.approx([*ratios, 4 / (3 + 32 / 1024)])


def test_the_guard_compares_in_one_process(capsys, monkeypatch):
    monkeypatch.setattr(guard, "STEPS", {"textbook": 1, "numpy": 2})
    monkeypatch.setattr(guard, "LARGEST_SHARE", 1e9)
    assert guard.main(["--turns", "1", "--at-most", "1e9"]) == 0
    out, _ = capsys.readouterr()
    assert "of textbook algorithm's" in out
    assert "with distorted images" in out
    monkeypatch.setattr(guard, "LARGEST_SHARE", 0)
    assert guard.main(["--turns", "1", "--at-most", "1e9"]) == 1
    assert "too slow" in capsys.readouterr().err
    assert guard.main(["--turns", "1", "--at-most", "0"]) == 1
    assert "too slow" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="counts pages where Linux says how many there are")
def test_memory_is_measured_in_a_process_of_its_own(monkeypatch, capsys):
    monkeypatch.setattr(memory, "STEPS", 2)
    rng = np.random.default_rng(0)
    monkeypatch.setattr(
        memory, "_data", lambda folder: (rng.integers(0, 256, (320, 1, 28, 28), np.uint8), rng.integers(0, 10, 320))
    )
    monkeypatch.setattr(sys, "argv", ["memory", "xlenet"])
    assert memory.main() == 0
    found = json.loads(capsys.readouterr().out)
    assert 10 < found["peak_mb"] < 5000
    assert found["page_faults_per_step"] >= 0
