"""What a meter reads is what one would count by hand, over batches of different sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.libraries import Lib
from xlenet.backend import zeros
from xlenet.meter import Meter, tally

# Two batches, of three images and of one: scores, labels, and the batch's mean loss.
BATCHES = [
    (np.array([[0.0, 2.0, 1.0], [3.0, 1.0, 3.0], [0.0, 1.0, 5.0]]), np.array([1, 2, 2]), 0.5),
    (np.array([[9.0, 0.0, 0.0]]), np.array([0]), 4.5),
]

each_tally = pytest.mark.parametrize("count", [tally, tally.portable], ids=["swappable", "portable"])


def counted(lib: Lib, count: Callable[..., Any], losses: list[float]) -> list[float]:
    sums = zeros((3,), like=lib.asarray([0.0]), dtype="float64")
    for (logits, labels, _), loss in zip(BATCHES, losses, strict=True):
        count(sums, lib.asarray(loss, "float32"), lib.asarray(logits, "float32"), lib.asarray(labels))
    return list(lib.to_numpy(sums).tolist())


@each_tally
def test_each_image_counts_alike_in_whichever_batch(lib: Lib, count: Callable[..., Any]) -> None:
    """The second image's two best scores are equal: the first of them is the answer, and it is wrong."""
    assert counted(lib, count, [0.5, 4.5]) == [3 * 0.5 + 1 * 4.5, 3.0, 2.0]


@each_tally
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_steps_are_counted_up_to_the_first_whose_loss_is_not_finite(
    lib: Lib, count: Callable[..., Any], bad: float
) -> None:
    assert counted(lib, count, [bad, 4.5])[2] == 0.0
    assert counted(lib, count, [0.5, bad])[2] == 1.0


def test_a_meter_reads_means_over_images_and_begins_anew(lib: Lib) -> None:
    meter = Meter(lib.asarray([0.0]))
    for _ in range(2):
        for logits, labels, loss in BATCHES:
            meter.add(lib.asarray(loss, "float32"), lib.asarray(logits, "float32"), lib.asarray(labels))
        assert meter.read() == (6.0 / 4, 3.0 / 4, 2)
        meter.reset()


def test_a_meter_goes_on_from_where_another_was(lib: Lib) -> None:
    first, second = Meter(lib.asarray([0.0])), Meter(lib.asarray([0.0]))
    (logits, labels, loss), (more, more_labels, more_loss) = BATCHES
    first.add(lib.asarray(loss, "float32"), lib.asarray(logits, "float32"), lib.asarray(labels))
    second.resume(tuple(lib.to_numpy(first.sums).tolist()), first.images)
    second.add(lib.asarray(more_loss, "float32"), lib.asarray(more, "float32"), lib.asarray(more_labels))
    assert second.read() == (6.0 / 4, 3.0 / 4, 2)
