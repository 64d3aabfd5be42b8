"""What a terminal shows of a run: lines, and one bar below them."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from xlenet import console
from xlenet.console import Console, DownloadBar
from xlenet.meter import Meter
from xlenet.training import Epoch, Progress


class Terminal(io.StringIO):
    """Looks like a screen of 200 columns."""

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def on_a_terminal() -> Iterator[Terminal]:
    """A block in which lines and bar go to the same screen, and nothing waits for the clock."""
    screen = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        patch.setattr(console, "_REFRESH", 0.0)
        with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
            yield screen


def progress(epoch: int, step: int, images: int, right: int) -> Progress:
    meter = Meter(np.zeros(1))
    logits = np.zeros((images, 2))
    logits[:right, 1] = 1.0
    meter.add(np.float64(0.25), logits, np.ones(images, np.int64))
    return Progress(epoch, step, 4, meter)


EPOCH = Epoch(1, 0.05, 0.2, 0.95, 0.06, 0.981, 5.0, 12000.0)


def test_the_bar_shows_loss_accuracy_speed_and_time_left() -> None:
    with on_a_terminal() as terminal:
        shown = Console(1000, 2)
        shown._bar.mininterval = 0.0
        shown.step(progress(1, 1, 100, 75))
        text = terminal.getvalue().rpartition("\r")[2]
        assert re.search(r"epoch 1/2 +10%\|", text), text
        assert "loss 0.2500, 75.00%" in text
        assert re.search(r"\d\d:\d\d left, [\d.]+k? images/s", text), "time left, and speed"
        assert len(text) < 80, "it fits into a terminal of the usual width"
        shown.close()


def test_the_bar_goes_on_from_epoch_to_epoch() -> None:
    """It is one bar over the whole run, so that the time left is the run's."""
    with on_a_terminal():
        shown = Console(400, 2)
        shown.step(progress(1, 2, 100, 50))
        assert shown._bar.n == 100
        shown.step(progress(1, 4, 200, 50))
        shown.epoch(EPOCH, 200)
        shown.step(progress(2, 2, 100, 50))
        assert shown._bar.n == 300
        shown.close()


def test_lines_stand_above_the_bar() -> None:
    with on_a_terminal() as terminal:
        shown = Console(400, 2)
        shown.step(progress(1, 2, 100, 50))
        shown.epoch(EPOCH, 200)
        shown.close()
        wiped = re.sub(r"[^\n]*\r", "", terminal.getvalue())
        assert "epoch 1/2  train loss 0.2000  95.00%  test loss 0.0600  98.10%  5.0 s  12,000 images/s\n" in wiped
        assert "left" not in wiped, "the bar is taken away"


def test_the_device_is_asked_a_few_times_a_second_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with on_a_terminal():
        monkeypatch.setattr(console, "_REFRESH", 3600.0)
        shown = Console(400, 2)

        class Unread:
            def read(self) -> Any:
                pytest.fail("each look waits for the GPU")

        shown.step(Progress(1, 1, 4, Unread()))  # type: ignore[arg-type]
        shown.close()


@pytest.mark.parametrize("quiet", [True, False])
def test_a_file_gets_no_bar_and_the_device_is_not_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, quiet: bool
) -> None:
    monkeypatch.setattr(console, "_REFRESH", 0.0)
    shown = Console(400, 2, quiet=quiet)
    shown.step(Progress(1, 1, 4, None))  # type: ignore[arg-type]
    shown.say("a line")
    shown.close()
    captured = capsys.readouterr()
    assert captured.out == ("" if quiet else "a line\n")
    assert captured.err == ""


def test_quiet_is_quiet_on_a_terminal_too() -> None:
    with on_a_terminal() as terminal:
        shown = Console(400, 2, quiet=True)
        shown.step(Progress(1, 1, 4, None))  # type: ignore[arg-type]
        shown.epoch(EPOCH, 200)
        shown.close()
        DownloadBar(quiet=True)("file.gz", 10, 100)
        assert terminal.getvalue() == ""


def test_a_download_has_a_bar_of_bytes() -> None:
    with on_a_terminal() as terminal:
        bar = DownloadBar()
        bar("train-images.gz", 1_000, 9_000)
        bar._bars["train-images.gz"].mininterval = 0.0
        bar("train-images.gz", 5_000, 9_000)
        assert re.search(r"train-images\.gz: +56%\|", terminal.getvalue())
        bar("train-images.gz", 2_000, None)  # another mirror, from the start, that does not tell its size
        assert bar._bars["train-images.gz"].n == 2_000
        bar("train-images.gz", 9_000, 9_000)
        bar("train-labels.gz", 1, 9)
        assert bar._bars["train-images.gz"].disable
        assert not bar._bars["train-labels.gz"].disable
        bar("train-labels.gz", 9, 9)


def test_a_download_into_a_file_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    DownloadBar()("train-images.gz", 1_000, 9_000)
    assert capsys.readouterr() == ("", "")


def test_epochs_stand_below_one_another() -> None:
    lines = [console.epoch_line(EPOCH._replace(epoch=number), 100) for number in (1, 10, 100)]
    assert len({len(line) for line in lines}) == 1
    assert lines[1].startswith("epoch  10/100  ")
