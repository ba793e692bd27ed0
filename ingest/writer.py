"""The one thread that stores: takes batches from the buffer and commits each in one transaction.

After the commit, in this order: the cache learns the newest values, the broker gets its acknowledgements,
waiting HTTP requests get their outcome, listeners get the readings. While PostgreSQL is away nothing is
acknowledged: messages stay in hand and are tried again, waiting requests are told at once.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from alerting.lifecycle import apply_signals
from domain.errors import Unavailable
from domain.reading import LatestValue, StoredReadings
from domain.transition import AlertChange
from ingest.batch import Batch, Intake, newest_places
from ingest.buffer import Buffer, Item, Message, Submission
from ingest.refusal import Refused
from ingest.registry import DeviceRef
from ingest.submission import Outcome, Rejection
from observability import (
    Heartbeats,
    batch_failures,
    batch_seconds,
    get_logger,
    readings_duplicate,
    readings_rejected,
    readings_stored,
)
from storage import ingest as sql
from storage.pool import Cursor, DataRejected, SystemDatabase

log = get_logger("ingest")

HEARTBEAT = "ingest writer"
_RETRY_MIN_S = 0.2
_RETRY_MAX_S = 5.0
# After so many attempts a message on which the platform's own code fails counts as poison.
_ATTEMPTS = 3
_OWN_MISTAKES = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError)


class LatestSink(Protocol):
    """Where the newest values go after a commit."""

    def advance(self, updates: Iterable[tuple[int, int, LatestValue]]) -> None:
        """Take (tenant_id, device_key, value) triples that the database holds as newest."""


class Audience(Protocol):
    """Who hears of stored readings and of devices whose status changed. Must return at once."""

    def is_listening(self, tenant_id: int, device_id: str) -> bool:
        """Whether anyone wants this device's readings."""

    def publish(self, batch: list[StoredReadings]) -> None:
        """Take committed readings."""

    def device_changed(self, tenant_id: int, device_id: str, status: str, last_seen_us: int) -> None:
        """Take the new status of a device."""

    def alerts_changed(self, changes: Sequence[AlertChange]) -> None:
        """Take committed alert events."""


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """How batches are cut."""

    batch_messages: int
    batch_bytes: int
    linger_s: float


@dataclass(frozen=True, slots=True)
class Stored:
    """A committed batch: the rows that were not stored, those that are the newest of their metric, alerts."""

    batch: Batch
    items: list[Item]
    unstored: dict[int, float]
    advanced: list[int]
    alerts: list[AlertChange]


class Writer:
    """Owns the writer thread."""

    def __init__(
        self,
        database: SystemDatabase,
        *,
        buffer: Buffer,
        intake: Intake,
        options: WriterOptions,
        latest: LatestSink,
        audience: Audience,
        heartbeats: Heartbeats,
    ) -> None:
        self._database = database
        self._buffer = buffer
        self._intake = intake
        self._registry = intake.registry
        self._options = options
        self._latest = latest
        self._audience = audience
        self._heartbeats = heartbeats
        self._acknowledge: Callable[[Sequence[tuple[int, int]]], None] = lambda settled: None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._expect_repeats = False
        self._away_since: float | None = None

    def on_settled(self, acknowledge: Callable[[Sequence[tuple[int, int]]], None]) -> None:
        """Have `acknowledge` called with (epoch, message id) pairs after each commit. Must return at once."""
        self._acknowledge = acknowledge

    @property
    def database_away_s(self) -> float | None:
        """For how long batches have failed because PostgreSQL is away; None while they succeed."""
        since = self._away_since
        return None if since is None else time.monotonic() - since

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="ingest-writer", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Store what is in the buffer, then end; return whether that was done in time."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            return not self._thread.is_alive()
        return True

    def _run(self) -> None:
        while True:
            self._heartbeats.beat(HEARTBEAT)
            items = self._buffer.take(
                max_items=self._options.batch_messages,
                max_bytes=self._options.batch_bytes,
                wait_s=0.5,
                linger_s=0.0 if self._stopping.is_set() else self._options.linger_s,
            )
            if items:
                self._store_until_done(items)
            elif self._stopping.is_set():
                self._heartbeats.forget(HEARTBEAT)
                return

    def _store_until_done(self, items: list[Item]) -> None:
        """Store the items, however often it takes; give up only when told to stop.

        What fails for another reason than PostgreSQL's absence is halved until it stands alone; a message
        that cannot be stored becomes a dead letter.
        """
        delay_s = _RETRY_MIN_S
        failures = 0
        verdict: Refused | None = None
        while items:
            self._heartbeats.beat(HEARTBEAT)
            try:
                stored = self._store(items, verdict)
            except Unavailable as error:
                self._note_away(error)
                items = self._without_submissions(items, error)
            except Exception as error:  # noqa: BLE001 - no message may end the writer; it is logged below
                self._note_failure(error, items)
                if len(items) > 1:
                    middle = len(items) // 2
                    self._store_until_done(items[:middle])
                    self._store_until_done(items[middle:])
                    return
                items = self._without_submissions(items, error)
                failures += 1
                if verdict is None and (verdict := _verdict(error, failures)) is not None:
                    continue
            else:
                self._note_back()
                self._after_commit(stored)
                return
            if self._stopping.wait(delay_s * random.uniform(0.5, 1.0)):  # noqa: S311
                return
            delay_s = min(delay_s * 2, _RETRY_MAX_S)

    def _store(self, items: list[Item], verdict: Refused | None) -> Stored:
        """Store the items in one transaction; with a verdict the one message becomes a dead letter.

        Raises:
            Unavailable: PostgreSQL is away or too slow; nothing was stored.
            DataRejected: PostgreSQL refused a value; nothing was stored.
        """
        started = time.monotonic()
        self._registry.drop_stale()
        items = [item for item in items if not (isinstance(item, Submission) and item.is_abandoned)]
        try:
            with self._database.transaction() as cursor:
                batch = Batch(cursor, items, self._intake)
                if verdict is None:
                    batch.add_all()
                else:
                    batch.refuse_all(verdict)
                unstored = self._write(cursor, batch)
                advanced = self._advance(cursor, batch, unstored)
                if batch.statuses:
                    sql.mark_seen(
                        cursor, [(key, at, status) for key, (_, at, status) in batch.statuses.items()]
                    )
                alerts = apply_signals(cursor, batch.signals, now=datetime.now(UTC)) if batch.signals else []
                if batch.letters:
                    sql.add_dead_letters(cursor, batch.letters.all())
        except Exception:
            # Devices and metrics that the transaction registered do not exist.
            self._registry.clear()
            raise
        batch_seconds.observe(time.monotonic() - started)
        return Stored(batch, items, unstored, advanced, alerts)

    def _write(self, cursor: Cursor, batch: Batch) -> dict[int, float]:
        """Store the rows; return place -> stored value for those that were stored before or conflict."""
        if not len(batch.columns):
            return {}
        found = sql.store_readings(cursor, batch.columns, may_repeat=batch.may_repeat or self._expect_repeats)
        # Redelivery after a reconnect comes in runs: once one repeat was seen, more are likely.
        self._expect_repeats = bool(found)
        unstored = {item.place: item.stored_value for item in found}
        for place, stored_value in unstored.items():
            if stored_value != batch.columns.values[place]:
                batch.refuse_conflict(place, stored_value)
        return unstored

    def _advance(self, cursor: Cursor, batch: Batch, unstored: dict[int, float]) -> list[int]:
        """Move the newest values; return the places of the readings that are newest now."""
        places = newest_places(batch.columns, unstored)
        if not places:
            return []
        advanced = sql.advance_latest(cursor, batch.columns, places)
        return [place for place in places if batch.columns.metric_ids[place] in advanced]

    def _after_commit(self, stored: Stored) -> None:
        """Tell everyone. What fails here is logged: the batch is committed and must not be stored again."""
        batch, unstored = stored.batch, stored.unstored
        try:
            if stored.advanced:
                self._latest.advance(self._latest_updates(batch, stored.advanced))
        except Exception:  # The broker and the waiting requests need their answer all the same.
            log.exception("latest_values_not_passed_on")
        self._acknowledge([(item.epoch, item.mid) for item in stored.items if isinstance(item, Message)])
        readings_stored.inc(len(batch.columns) - len(unstored))
        if unstored:
            readings_duplicate.inc(
                sum(value == batch.columns.values[place] for place, value in unstored.items())
            )
        for letter in batch.letters.all():
            readings_rejected.labels(letter.reason).inc(letter.occurrences)
        self._answer_submissions(batch, unstored)
        try:
            if stored.alerts:
                self._audience.alerts_changed(stored.alerts)
            self._tell(batch, unstored)
        except Exception:  # The writer must outlive its listeners.
            log.exception("readings_not_passed_on")

    def _latest_updates(self, batch: Batch, places: list[int]) -> list[tuple[int, int, LatestValue]]:
        wanted = set(places)
        columns = batch.columns
        updates = []
        for span in batch.spans:
            device = span.device
            for place in wanted.intersection(range(span.start, span.stop)):
                metric = batch.metrics[place]
                value = LatestValue(
                    device_id=device.device_id,
                    metric=metric.name,
                    unit=metric.unit,
                    value=columns.values[place],
                    quality=columns.qualities[place],
                    observed_at_us=columns.observed_at_us[place],
                    received_at_us=columns.received_at_us[place],
                )
                updates.append((device.tenant_id, device.device_key, value))
        return updates

    def _answer_submissions(self, batch: Batch, unstored: dict[int, float]) -> None:
        for slots in batch.submissions:
            rejected = list(slots.rejected)
            duplicates = 0
            for index, place in slots.places:
                stored_value = unstored.get(place)
                if stored_value is None:
                    continue
                if stored_value == batch.columns.values[place]:
                    duplicates += 1
                else:
                    detail = f"the value {stored_value!r} is stored for the same time; it stays"
                    rejected.append(Rejection(index, "conflict", detail))
            accepted = len(slots.submission.offers) - duplicates - len(rejected)
            rejected.sort(key=lambda rejection: rejection.index)
            slots.submission.outcome = Outcome(accepted, duplicates, rejected)
            slots.submission.done.set()

    def _tell(self, batch: Batch, unstored: dict[int, float]) -> None:
        columns, metrics = batch.columns, batch.metrics
        told = []
        for span in batch.spans:
            device = span.device
            if not self._audience.is_listening(device.tenant_id, device.device_id):
                continue
            readings = [
                (
                    metrics[place].name,
                    columns.observed_at_us[place],
                    columns.values[place],
                    columns.qualities[place],
                )
                for place in range(span.start, span.stop)
                if place not in unstored
            ]
            if readings:
                told.append(StoredReadings(device.tenant_id, device.device_id, readings))
        if told:
            self._audience.publish(told)
        for device, at_us, status in batch.statuses.values():
            self._tell_status(device, at_us, status)

    def _tell_status(self, device: DeviceRef, at_us: int, status: str) -> None:
        device.last_seen_us = max(device.last_seen_us, at_us)
        device.status = status
        self._audience.device_changed(device.tenant_id, device.device_id, status, device.last_seen_us)

    def _note_back(self) -> None:
        if self._away_since is not None:
            log.info("database_back", away_s=round(self.database_away_s or 0, 1))
            self._away_since = None

    def _note_failure(self, error: Exception, items: list[Item]) -> None:
        if isinstance(error, DataRejected):
            batch_failures.labels("data_rejected").inc()
            log.warning("batch_refused", items=len(items), sqlstate=error.sqlstate)
        else:
            batch_failures.labels("unexpected").inc()
            log.error("batch_failed", items=len(items), exc_info=error if len(items) == 1 else None)

    def _note_away(self, error: Unavailable) -> None:
        batch_failures.labels("unavailable").inc()
        if self._away_since is None:
            self._away_since = time.monotonic()
            log.error("database_away", detail=error.detail)

    def _without_submissions(self, items: list[Item], error: Exception) -> list[Item]:
        """Tell waiting requests that it failed; keep what the broker would otherwise have to send again."""
        kept: list[Item] = []
        for item in items:
            if isinstance(item, Submission):
                item.error = error
                item.done.set()
            else:
                kept.append(item)
        return kept


def _verdict(error: Exception, failures: int) -> Refused | None:
    """Why a message that fails alone is given up, or None to try it again: the fault may pass."""
    if isinstance(error, DataRejected):
        detail = f"PostgreSQL refused it: {error.detail} (SQLSTATE {error.sqlstate})"
        return Refused("refused_by_database", detail)
    if failures >= _ATTEMPTS and isinstance(error, _OWN_MISTAKES):
        return Refused("internal_error", f"the platform fails on it: {error.__class__.__name__}")
    return None
