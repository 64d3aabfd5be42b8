"""What a command line shows of a run, and how it listens to Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

from .errors import printable
from .training import Epoch, Progress

_REFRESH = 0.25  # seconds between two looks at loss and accuracy


class Console:
    """Lines on standard output, and below them, on a terminal, a bar over the whole run.

    Args:
        images: how many images the run goes through, all epochs together.
        epochs: how many epochs.
        quiet: True shows nothing.
    """

    def __init__(self, images: int, epochs: int, *, quiet: bool = False) -> None:
        from tqdm import tqdm

        self._epochs, self._quiet, self._seen, self._looked = epochs, quiet, 0, time.monotonic()
        self._bar = tqdm(
            total=images,
            unit=" images",
            unit_scale=True,
            leave=False,
            dynamic_ncols=True,
            disable=_no_bar(quiet),
            bar_format="{desc} {percentage:3.0f}%|{bar:10}| {remaining} left, {rate_noinv_fmt}{postfix}",
        )

    def say(self, line: str) -> None:
        """Print a line above the bar. A reader who has gone, or a full disk behind a log, does not stop the run."""
        if self._quiet:
            return
        self._bar.clear()
        try:
            print(line, flush=True)
        except OSError as error:
            self._quiet = True
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (for the rest of the process)
            complain(f"note: standard output cannot be written ({error.strerror}); going on without")
        self._bar.refresh()

    def step(self, progress: Progress) -> None:
        """Move the bar, a few times a second: loss and accuracy of this epoch, images per second, time left."""
        now = time.monotonic()
        if self._bar.disable or now - self._looked < _REFRESH:
            return
        self._looked = now
        self._bar.set_description_str(f"epoch {progress.epoch}/{self._epochs}", refresh=False)
        seen = progress.meter.peek()  # a GPU is not waited for: it tells a little later
        if seen is not None:
            self._bar.set_postfix_str(f"loss {seen[0]:.4f}, {seen[1]:.2%}", refresh=False)
        self._bar.update(self._seen + progress.meter.images - self._bar.n)

    def epoch(self, epoch: Epoch, images: int) -> None:
        """Print the figures of an epoch, which went through so many images."""
        self._seen += images
        self.say(epoch_line(epoch, self._epochs))

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


def complain(line: str) -> None:
    """Print a line on standard error. Where that cannot be written (the terminal is gone, the disk behind a log is
    full, a signal came in the middle of another line), the run is worth more than the line.
    """
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        print(line, file=sys.stderr, flush=True)


def few(names: Sequence[str]) -> str:
    """Return the first of some names of classes, for a line.

    Example:
        >>> few(["ant", "bee"]), few("abcd")
        ('ant, bee', 'a, b, c, ...')
    """
    return ", ".join(printable(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")


def _no_bar(quiet: bool) -> bool | None:
    """Whether to show no bar at all; None: only on a terminal, never in a log file."""
    return True if quiet or sys.stderr is None else None


def epoch_line(epoch: Epoch, epochs: int) -> str:
    """Return an epoch's figures in one line.

    Example:
        >>> epoch_line(Epoch(1, 0.05, 0.2, 0.95, 0.06, 0.981, 5.0, 12000.0), epochs=20)
        'epoch  1/20  train loss 0.2000  95.00%  test loss 0.0600  98.10%  5.0 s  12,000 images/s'
    """
    width, held_out = len(str(epochs)), ""
    if epoch.validation_loss is not None:
        held_out = f"validation loss {epoch.validation_loss:.4f}  {epoch.validation_accuracy:.2%}  "
    return (
        f"epoch {epoch.epoch:>{width}}/{epochs}  train loss {epoch.train_loss:.4f}  {epoch.train_accuracy:.2%}  "
        f"{held_out}test loss {epoch.test_loss:.4f}  {epoch.test_accuracy:.2%}  {epoch.seconds:.1f} s  "
        f"{epoch.images_per_second:,.0f} images/s"
    )


class DownloadBar:
    """A bar for each file that is fetched, on a terminal. Called as `xlenet.data.load` calls its ``progress``.

    Args:
        quiet: True shows nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet, self._bars = quiet, dict[str, Any]()

    def __call__(self, name: str, received: int, total: int | None) -> None:
        """Move the bar of the file `name`."""
        from tqdm import tqdm

        if name not in self._bars:
            self._bars[name] = tqdm(desc=name, unit="B", unit_scale=True, leave=False, disable=_no_bar(self._quiet))
        bar = self._bars[name]
        bar.total = total
        bar.update(received - bar.n)
        if received == total:
            bar.close()


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], int]]:
    """Let Ctrl-C and SIGTERM finish the step that is under way: give a function that says which one came, as the exit
    code of whoever it ends: 130, 143, or 0 for none.

    A second Ctrl-C interrupts at once, as ever.
    """
    came = 0

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = 128 + number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        what = "stopping after this step"
        complain(f"\n{what}; once more Ctrl-C stops at once" if number == signal.SIGINT else what)

    if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread
        yield lambda: 0
        return
    before = {number: signal.signal(number, press) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
