"""Parts of a batch on several threads: the same bits, no warnings from nowhere, and an error that is not lost."""

from __future__ import annotations

import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import threadpoolctl

from xlenet import SGD, LeNet5
from xlenet.backend import in_parts, thread_count, use_threads
from xlenet.data.images import Images
from xlenet.training import evaluate, fit


def where(parts: int) -> list[tuple[int, int, str]]:
    """(part, thread, name of the thread) of each call, in the order of the parts."""
    seen: list[tuple[int, int, str]] = []
    in_parts(lambda part, thread: seen.append((part, thread, threading.current_thread().name)), parts)
    return sorted(seen)


def test_without_a_wish_the_caller_does_everything() -> None:
    assert thread_count() == 1
    me = threading.current_thread().name
    assert where(3) == [(0, 0, me), (1, 0, me), (2, 0, me)]


def test_parts_are_dealt_out_in_turn() -> None:
    with use_threads(2):
        seen = where(5)
    assert [thread for _, thread, _ in seen] == [0, 1, 0, 1, 0]
    names = [name for _, _, name in seen]
    assert len({names[0], names[2], names[4]}) == len({names[1], names[3]}) == 1
    assert names[0] != names[1]
    assert thread_count() == 1


@pytest.mark.parametrize("parts", [0, 1])
def test_no_thread_is_asked_for_nothing(parts: int) -> None:
    with use_threads(3):
        assert [thread for _, thread, _ in where(parts)] == [0] * parts


def test_blas_keeps_to_one_thread_meanwhile() -> None:
    def of_blas() -> set[int]:
        return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}

    before = of_blas()
    if not before:
        pytest.skip("threadpoolctl knows no BLAS here, so there is nothing to limit")
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        with use_threads(2):
            assert of_blas() == {1}
        assert of_blas() == {2}
    assert of_blas() == before


def test_it_is_over_after_an_error() -> None:
    with pytest.raises(KeyError), use_threads(2):
        raise KeyError
    assert thread_count() == 1
    with use_threads(2):
        assert thread_count() == 2


@pytest.mark.parametrize("bad", [0, 1, 2, 3])
def test_an_error_in_any_part_reaches_the_caller_after_the_others_have_finished(bad: int) -> None:
    done: list[int] = []

    def work(part: int, thread: int) -> None:
        if part == bad:
            raise ValueError(part)
        done.append(part)

    with use_threads(2):
        with pytest.raises(ValueError, match=str(bad)):
            in_parts(work, 4)
        assert set(done) >= {part for part in range(4) if part % 2 != bad % 2}
        assert where(2)


def test_the_callers_rules_for_floating_point_hold_on_every_thread() -> None:
    def divide(part: int, thread: int) -> None:
        np.ones(1) / np.zeros(1)

    with use_threads(2), np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        in_parts(divide, 4)
    with use_threads(2), np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        in_parts(divide, 4)


@pytest.mark.parametrize(("count", "kind"), [(0, ValueError), (-1, ValueError), (2.5, TypeError), ("2", TypeError)])
def test_a_count_below_one_is_refused(count: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="expected a whole number from 1 up"), use_threads(count):
        pass


def test_one_at_a_time() -> None:
    with use_threads(2):
        with pytest.raises(RuntimeError, match="leave the other first"), use_threads(2):
            pass
        assert thread_count() == 2


def train(count: int) -> tuple[dict[str, Any], Any]:
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 256, (333, 1, 28, 28), np.uint8), rng.integers(0, 10, 333))
    model = LeNet5(rng=0)
    with use_threads(count):
        fit(model, images, optimizer=SGD(model, nesterov=True), epochs=1, batch_size=200, lr=0.01)
        return model.state_dict(), evaluate(model, images)


def test_training_gives_the_same_bits_on_any_number_of_threads() -> None:
    """Batches of 200 and 133 images: three parts and two."""
    state, evaluation = train(1)
    for count in (2, 3, 5):
        other, again = train(count)
        for name, array in state.items():
            np.testing.assert_array_equal(other[name], array, err_msg=name)
        assert evaluation.loss == again.loss
        np.testing.assert_array_equal(evaluation.predictions, again.predictions)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("gone", [False, True])
def test_every_part_is_done_when_use_threads_is_left_meanwhile(
    monkeypatch: pytest.MonkeyPatch, threads: int, gone: bool
) -> None:
    """Who computes in a thread of his own finds no helpers, or some that take no more work."""
    helpers = ThreadPoolExecutor(1)
    helpers.shutdown()
    monkeypatch.setattr("xlenet.backend.threads._helpers", helpers if gone else None)
    monkeypatch.setattr("xlenet.backend.threads._count", 2)
    seen: list[tuple[int, int]] = []
    in_parts(lambda part, thread: seen.append((part, thread)), 5, threads)
    assert sorted(part for part, _ in seen) == [0, 1, 2, 3, 4]
    assert max(thread for _, thread in seen) < threads


def test_no_more_threads_than_the_caller_has_made_room_for() -> None:
    with use_threads(3):
        seen: list[int] = []
        in_parts(lambda part, thread: seen.append(thread), 6, 1)
    assert seen == [0] * 6


def test_without_threadpoolctl_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with pytest.raises(ImportError, match=r"use_threads: got 2 without threadpoolctl .*xlenet\[train\]"):
        use_threads(2).__enter__()
