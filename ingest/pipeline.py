"""The way in for every protocol: hand over messages, or submit readings and wait for the commit."""

from __future__ import annotations

import time
from collections.abc import Sequence

import orjson

from domain.errors import PlatformError, RuleBroken, Unavailable
from ingest.buffer import Buffer, Item, Submission
from ingest.decode import Undecodable, decode_telemetry, timestamp_us
from ingest.letters import READING_TOPIC
from ingest.registry import Registry
from ingest.submission import Offer, Outcome
from ingest.topics import TopicLayout
from storage import ingest as sql
from storage.pool import SystemDatabase
from storage.telemetry import ensure_partitions

# Every day of history is a partition; a request with absurd times must not make thousands of them.
_BACKFILL_DAYS = 400


class NotReplayable(RuleBroken):
    """This dead letter cannot be replayed."""


class Pipeline:
    """What the edges see of ingest."""

    def __init__(
        self,
        database: SystemDatabase,
        *,
        buffer: Buffer,
        registry: Registry,
        layout: TopicLayout,
        commit_wait_s: float,
    ) -> None:
        self._database = database
        self._buffer = buffer
        self._registry = registry
        self._layout = layout
        self._commit_wait_s = commit_wait_s

    @property
    def is_full(self) -> bool:
        """Whether the buffer is full; an edge that can wait at its source then stops reading."""
        return self._buffer.is_full

    def accept(self, items: Sequence[Item]) -> None:
        """Hand over messages. Returns at once; each is acknowledged after it was committed."""
        self._buffer.put(items)

    def device_changed(self, tenant_id: int, device_id: str) -> None:
        """Have the device and its metrics read again before its next reading."""
        self._registry.forget(tenant_id, device_id)

    def submit(
        self, tenant_id: int, tenant_slug: str, offers: list[Offer], *, is_backfill: bool = False
    ) -> Outcome:
        """Store readings and wait for the commit.

        Raises:
            Unavailable: the buffer is full, PostgreSQL is away, or the commit took too long; what was sent
                may still be stored, and sending it again is harmless.
            PlatformError: the readings were refused as a whole.
        """
        if self._buffer.is_full:
            raise Unavailable("readings arrive faster than they can be stored", retry_after_s=2)
        if is_backfill:
            self._make_partitions(offers)
        submission = Submission(
            tenant_id, tenant_slug, offers, received_at_us=time.time_ns() // 1000, is_backfill=is_backfill
        )
        self._buffer.put([submission])
        if not submission.done.wait(self._commit_wait_s):
            submission.is_abandoned = True
            raise Unavailable("the readings could not be stored in time", retry_after_s=5)
        if submission.outcome is not None:
            return submission.outcome
        if isinstance(submission.error, PlatformError):
            raise submission.error
        raise Unavailable("the readings could not be stored", retry_after_s=5)

    def replay(self, tenant_id: int, tenant_slug: str, *, topic: str, payload: bytes) -> Outcome:
        """Submit what a dead letter holds once more, whatever its age.

        Raises:
            NotReplayable: it holds no readings.
            Unavailable: as `submit`.
        """
        return self.submit(tenant_id, tenant_slug, self._offers(topic, payload), is_backfill=True)

    def _offers(self, topic: str, payload: bytes) -> list[Offer]:
        try:
            if topic == READING_TOPIC:
                return [Offer(**orjson.loads(payload))]
            parsed = self._layout.parse(topic)
            if parsed is None or parsed.kind != "telemetry":
                raise NotReplayable("only telemetry can be replayed")
            records = decode_telemetry(payload)
        except Undecodable as problem:
            raise NotReplayable(f"the payload is still undecodable: {problem.detail}") from None
        except (orjson.JSONDecodeError, TypeError):
            raise NotReplayable("the stored reading is incomplete") from None
        if any(record.observed_at_us is None for record in records):
            raise NotReplayable("the message names no time, so that its readings would get today's")
        return [
            Offer(
                device_id=parsed.device,
                metric=name,
                ts=record.observed_at_us / 1000 if record.observed_at_us is not None else None,
                value=value,
                quality=record.quality.get(name) if isinstance(record.quality, dict) else record.quality,
                unit=record.unit.get(name) if isinstance(record.unit, dict) else record.unit,
            )
            for record in records
            for name, value in record.values.items()
        ]

    def _make_partitions(self, offers: list[Offer]) -> None:
        """Make partitions for readings older than the lateness window before they arrive."""
        newest_us = time.time_ns() // 1000
        days = set()
        for offer in offers:
            try:
                observed_at_us = newest_us if offer.ts is None else timestamp_us(offer.ts)
            except Undecodable:
                continue
            if observed_at_us <= newest_us:
                days.add(sql.day_of(observed_at_us))
        if len(days) > _BACKFILL_DAYS:
            raise RuleBroken(f"one backfill covers at most {_BACKFILL_DAYS} days; send it in parts")
        with self._database.transaction() as cursor:
            for day in sorted(days):
                ensure_partitions(cursor, day, day)
