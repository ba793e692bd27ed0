"""A thread that takes turns outlives what a turn raises, and can be woken and stopped while it waits."""

from __future__ import annotations

import threading

from fleet.turns import TurnsThread
from observability import Heartbeats
from tests.polling import until


def test_a_turn_that_fails_is_followed_by_another() -> None:
    turns: list[int] = []
    woken = threading.Event()

    def turn() -> float:
        turns.append(len(turns))
        if len(turns) == 1:
            raise RuntimeError("the first one fails")
        woken.set()
        return 3600.0

    thread = TurnsThread("turns of a test", turn, heartbeats=Heartbeats(), turn_limit_s=60.0)
    thread.start()
    until(lambda: bool(turns), what="the first turn")
    thread.wake()
    assert woken.wait(10)
    assert thread.stop(timeout_s=5)


def test_it_ends_at_once_while_it_waits_for_an_hour_and_leaves_no_heartbeat() -> None:
    taken = threading.Event()
    heartbeats = Heartbeats()

    def turn() -> float:
        taken.set()
        return 3600.0

    thread = TurnsThread("turns of a test", turn, heartbeats=heartbeats, turn_limit_s=60.0)
    thread.start()
    assert taken.wait(10)
    assert thread.stop(timeout_s=5)
    assert heartbeats.report() == []
