"""The one table of periodic jobs: each runs one at a time, in one process, and says how late it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from domain.errors import Unavailable
from observability import Heartbeats, get_logger, job_failures, job_lag_seconds, job_seconds, job_skips
from storage.locks import try_lock
from storage.pool import Cursor, SystemDatabase
from storage.telemetry import adopt_strays, ensure_partitions

log = get_logger("scheduler")


AfterCommit = Callable[[], None]
"""Tells the world of what a job has committed; returns at once."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is done every `interval`, inside one system transaction that holds the job's lock.

    Attributes:
        work: May return what is to be done after the commit.
    """

    name: str
    interval: timedelta
    work: Callable[[Cursor], AfterCommit | None]

    @property
    def heartbeat(self) -> str:
        """The name under which the job shows life."""
        return f"job {self.name}"


def maintain_partitions(ahead: timedelta, lateness: timedelta) -> Callable[[Cursor], None]:
    """Work that keeps daily partitions ready from the lateness window to some days ahead."""

    def work(cursor: Cursor) -> None:
        today = datetime.now(UTC).date()
        made = ensure_partitions(cursor, today - lateness, today + ahead)
        moved = adopt_strays(cursor)
        if made or moved:
            log.info("partitions_made", made=made, made_for_strays=moved)

    return work


class Scheduler:
    """Owns APScheduler's threads."""

    def __init__(self, database: SystemDatabase, *, jobs: Sequence[Job], heartbeats: Heartbeats) -> None:
        self._database = database
        self._jobs = list(jobs)
        self._heartbeats = heartbeats
        self._scheduler: BackgroundScheduler | None = None

    def start(self) -> None:
        """Run every job at once and then at its interval."""
        scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(max_workers=2)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for job in self._jobs:
            scheduler.add_job(
                self._run,
                "interval",
                args=[job],
                id=job.name,
                seconds=job.interval.total_seconds(),
                next_run_time=datetime.now(UTC),
            )
            self._beat(job)
        scheduler.start()
        self._scheduler = scheduler

    def stop(self) -> None:
        """Start no further run; one that is under way ends with its transaction."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None
        for job in self._jobs:
            self._heartbeats.forget(job.heartbeat)

    def _run(self, job: Job) -> None:
        started = time.monotonic()
        if self._scheduler is not None and (entry := self._scheduler.get_job(job.name)) is not None:
            due = entry.next_run_time - job.interval if entry.next_run_time else datetime.now(UTC)
            job_lag_seconds.labels(job.name).set(max(0.0, (datetime.now(UTC) - due).total_seconds()))
        after_commit: AfterCommit | None = None
        try:
            with self._database.transaction() as cursor:
                if try_lock(cursor, job.name):
                    after_commit = job.work(cursor)
                else:
                    job_skips.labels(job.name).inc()
            if after_commit is not None:
                after_commit()
        except Unavailable as error:
            job_failures.labels(job.name).inc()
            log.warning("job_postponed", job=job.name, detail=error.detail)
        except Exception:  # A job that fails must not end the others; it is counted and tried again.
            job_failures.labels(job.name).inc()
            log.exception("job_failed", job=job.name)
        else:
            if self._scheduler is not None:  # else it was stopped meanwhile, and no further life is expected
                self._beat(job)
        job_seconds.labels(job.name).observe(time.monotonic() - started)

    def _beat(self, job: Job) -> None:
        self._heartbeats.beat(job.heartbeat, limit_s=3 * job.interval.total_seconds())
