"""Periodic jobs: one at a time, in one process, and a failure is counted and tried again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from observability import Heartbeats, job_failures, job_lag_seconds, job_seconds, job_skips
from scheduler import Job, Scheduler
from storage.locks import ping, try_lock
from storage.pool import Cursor, Pool, PoolOptions, SystemDatabase
from tests.polling import until

pytestmark = pytest.mark.services

OFTEN = timedelta(seconds=0.02)
Starter = Callable[..., Heartbeats]


@pytest.fixture
def start(system_database: SystemDatabase) -> Iterator[Starter]:
    """Starts schedulers with the jobs given."""
    with ExitStack() as stack:

        def start_jobs(*jobs: Job, database: SystemDatabase = system_database) -> Heartbeats:
            heartbeats = Heartbeats()
            scheduler = Scheduler(database, jobs=jobs, heartbeats=heartbeats)
            scheduler.start()
            stack.callback(scheduler.stop)
            return heartbeats

        yield start_jobs


def _failures(name: str) -> float:
    return float(job_failures.labels(name)._value.get())


def test_a_job_runs_at_once_and_then_again_inside_a_transaction(
    start: Starter, system_database: SystemDatabase
) -> None:
    runs = list[str]()

    def work(cursor: Cursor) -> None:
        cursor.execute("INSERT INTO tenants (slug, name) VALUES (%s, 'Job')", (f"job-{len(runs)}",))
        runs.append(threading.current_thread().name)

    start(Job("rows", OFTEN, work))
    until(lambda: len(runs) >= 3)
    with system_database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM tenants WHERE slug LIKE 'job-%'")
        row = cursor.fetchone()
    assert row is not None
    assert row[0] >= 2


def test_a_job_never_overlaps_itself(start: Starter) -> None:
    guard, runs, overlaps = threading.Lock(), list[int](), list[int]()

    def work(cursor: Cursor) -> None:
        if not guard.acquire(blocking=False):
            overlaps.append(1)
            return
        cursor.execute("SELECT pg_sleep(0.05)")
        runs.append(1)
        guard.release()

    start(Job("slow", OFTEN, work))
    until(lambda: len(runs) >= 4)
    assert not overlaps


def test_a_slow_job_does_not_hold_up_another(start: Starter) -> None:
    release, runs = threading.Event(), list[int]()

    def wait(cursor: Cursor) -> None:
        assert release.wait(timeout=20)

    start(Job("waiting", OFTEN, wait), Job("quick", OFTEN, lambda cursor: runs.append(1)))
    try:
        until(lambda: len(runs) >= 3)
    finally:
        release.set()


def test_a_run_that_another_process_is_doing_is_skipped_and_counted(
    start: Starter, system_database: SystemDatabase
) -> None:
    skipped, runs = job_skips.labels("shared"), list[int]()
    before = skipped._value.get()
    with system_database.transaction() as cursor:
        assert try_lock(cursor, "shared")
        heartbeats = start(Job("shared", OFTEN, lambda cursor: runs.append(1)))
        until(lambda: skipped._value.get() >= before + 2)
        assert not runs
        # The other process does the work: that is no failure of this one.
        assert [beat.is_alive for beat in heartbeats.report()] == [True]
    until(lambda: bool(runs))


def test_two_schedulers_never_do_the_same_job_at_once(start: Starter) -> None:
    guard, runs, overlaps = threading.Lock(), list[int](), list[int]()

    def work(cursor: Cursor) -> None:
        if not guard.acquire(blocking=False):
            overlaps.append(1)
            return
        cursor.execute("SELECT pg_sleep(0.01)")
        runs.append(1)
        guard.release()

    for _ in range(3):
        start(Job("everywhere", OFTEN, work))
    until(lambda: len(runs) >= 10)
    assert not overlaps


def test_a_job_that_fails_is_counted_rolled_back_and_tried_again(
    start: Starter, system_database: SystemDatabase
) -> None:
    runs, others = list[int](), list[int]()
    before = _failures("fragile")

    def work(cursor: Cursor) -> None:
        runs.append(1)
        cursor.execute("INSERT INTO tenants (slug, name) VALUES (%s, 'Job')", (f"fragile-{len(runs)}",))
        if len(runs) < 3:
            raise ZeroDivisionError("a mistake in the job")

    start(Job("fragile", OFTEN, work), Job("sound", OFTEN, lambda cursor: others.append(1)))
    until(lambda: len(runs) >= 4)
    until(lambda: len(others) >= 4)
    assert _failures("fragile") == before + 2
    with system_database.transaction() as cursor:
        cursor.execute("SELECT min(slug) FROM tenants WHERE slug LIKE 'fragile-%'")
        assert cursor.fetchone() == ("fragile-3",)


def test_a_job_shows_life_only_while_it_succeeds(start: Starter) -> None:
    is_broken, runs = threading.Event(), list[int]()
    is_broken.set()

    def work(cursor: Cursor) -> None:
        runs.append(1)
        if is_broken.is_set():
            raise ZeroDivisionError

    heartbeats = start(Job("moody", OFTEN, work))
    until(lambda: not heartbeats.report()[0].is_alive)
    is_broken.clear()
    until(lambda: heartbeats.report()[0].is_alive)
    assert heartbeats.report()[0].name == "job moody"


def test_while_postgresql_is_away_a_job_is_postponed(start: Starter) -> None:
    options = PoolOptions(size=1, wait_s=1.0, connect_timeout_s=1, statement_timeout_s=1.0)
    nowhere = SystemDatabase(Pool("postgresql://nobody@127.0.0.1:9/none", name="tests", options=options))
    before, runs = _failures("homeless"), list[int]()
    start(Job("homeless", OFTEN, lambda cursor: runs.append(1)), database=nowhere)
    until(lambda: _failures("homeless") >= before + 2)
    assert not runs


def test_runs_are_measured(start: Starter) -> None:
    runs: list[int] = []
    start(Job("measured", OFTEN, lambda cursor: runs.append(1)))
    until(lambda: len(runs) >= 3)
    assert job_seconds.labels("measured")._sum.get() > 0
    assert 0 <= job_lag_seconds.labels("measured")._value.get() < 10


def test_after_the_stop_no_run_starts_and_no_life_is_expected(system_database: SystemDatabase) -> None:
    runs: list[int] = []
    heartbeats = Heartbeats()
    scheduler = Scheduler(
        system_database, jobs=[Job("short", OFTEN, lambda cursor: runs.append(1))], heartbeats=heartbeats
    )
    scheduler.stop()
    scheduler.start()
    until(lambda: len(runs) >= 2)
    scheduler.stop()
    until(lambda: not any(thread.name.startswith("APScheduler") for thread in threading.enumerate()))
    assert heartbeats.report() == []


def test_the_database_answers_a_ping(system_database: SystemDatabase) -> None:
    with system_database.transaction() as cursor:
        ping(cursor)
