"""The ingest of a test: buffer, pipeline and writer thread on a real database, and what they tell others."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from domain.reading import LatestValue, StoredReadings
from domain.transition import AlertChange
from ingest.batch import Intake
from ingest.buffer import Buffer, Item, Message
from ingest.limits import IngestLimits
from ingest.pipeline import Pipeline
from ingest.registry import Registry
from ingest.submission import Offer, Outcome
from ingest.topics import TopicLayout
from ingest.writer import Writer, WriterOptions
from mqtt_client import MqttClient
from observability import Heartbeats
from storage.pool import Cursor, SystemDatabase
from tests.polling import until

PLANT = "plant-a"
LIMITS = {
    "auto_register": True,
    "future_limit_s": 600.0,
    "lateness_s": 7 * 86_400.0,
    "message_bytes": 65_536,
    "message_readings": 1000,
    "metrics_per_device": 50,
}


def now_us() -> int:
    return time.time_ns() // 1000


def new_device() -> str:
    """A device id that no other test uses."""
    return f"P-{secrets.token_hex(4)}"


@dataclass(slots=True)
class Ears:
    """Who hears of stored readings: keeps everything, or fails on request."""

    readings: list[StoredReadings] = field(default_factory=list)
    statuses: list[tuple[int, str, str, int]] = field(default_factory=list)
    latest: list[tuple[int, int, LatestValue]] = field(default_factory=list)
    alerts: list[AlertChange] = field(default_factory=list)
    breaks_with: Exception | None = None

    def is_listening(self, tenant_id: int, device_id: str) -> bool:
        return True

    def publish(self, batch: list[StoredReadings]) -> None:
        self._break()
        self.readings += batch

    def device_changed(self, tenant_id: int, device_id: str, status: str, last_seen_us: int) -> None:
        self.statuses.append((tenant_id, device_id, status, last_seen_us))

    def alerts_changed(self, changes: Sequence[AlertChange]) -> None:
        self._break()
        self.alerts += changes

    def advance(self, updates: Iterable[tuple[int, int, LatestValue]]) -> None:
        self._break()
        self.latest += updates

    def _break(self) -> None:
        if self.breaks_with is not None:
            raise self.breaks_with


@dataclass(frozen=True, slots=True)
class Row:
    """One stored reading."""

    metric: str
    observed_at_us: int
    value: float
    quality: int
    ingest_seq: int


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter."""

    tenant_id: int | None
    source: str
    topic: str
    device_id: str | None
    metric: str | None
    reason: str
    detail: str
    payload: bytes
    payload_bytes: int
    occurrences: int


class Station:
    """Buffer, pipeline and writer with what a test wants to see of them."""

    def __init__(
        self, database: SystemDatabase, *, plant: str = PLANT, root: str = "iiot/v1", **changed: Any
    ) -> None:
        options = {"max_items": 100_000, "max_bytes": 64_000_000, "commit_wait_s": 10.0, "linger_s": 0.0}
        options |= {name: changed.pop(name) for name in options.keys() & changed.keys()}
        self.database = database
        self.plant = plant
        self.client_id = str(changed.pop("client_id", f"test-{secrets.token_hex(4)}"))
        self.known: Registry = changed.pop("known", None) or Registry()
        self.limits = IngestLimits(**(LIMITS | changed))
        self.layout = TopicLayout(root)
        self.ears = Ears()
        self.acknowledged: list[tuple[int, int]] = []
        self.buffer = Buffer(max_items=int(options["max_items"]), max_bytes=int(options["max_bytes"]))
        self.heartbeats = Heartbeats()
        self.writer = Writer(
            database,
            buffer=self.buffer,
            intake=Intake(self.known, self.limits, self.layout, self.client_id),
            options=WriterOptions(batch_messages=5000, batch_bytes=4_000_000, linger_s=options["linger_s"]),
            latest=self.ears,
            audience=self.ears,
            heartbeats=self.heartbeats,
        )
        self.broker: MqttClient | None = None
        self.writer.on_settled(self._note_settled)
        self.pipeline = Pipeline(
            database,
            buffer=self.buffer,
            registry=self.known,
            layout=self.layout,
            commit_wait_s=options["commit_wait_s"],
        )
        self._mids = itertools.count(1)

    def _note_settled(self, settled: Sequence[tuple[int, int]]) -> None:
        self.acknowledged.extend(settled)
        if self.broker is not None:
            self.broker.acknowledge(settled)

    # What devices and requests do ------------------------------------------------------------------

    def message(
        self,
        device: str,
        document: object,
        *,
        kind: str = "telemetry",
        mid: int | None = None,
        epoch: int = 1,
        received_at_us: int | None = None,
        is_redelivery: bool = False,
        is_retained: bool = False,
    ) -> Message:
        """A message of a device; bytes are sent as they are, everything else as JSON."""
        return Message(
            epoch=epoch,
            mid=next(self._mids) if mid is None else mid,
            topic=f"{self.layout.root}/{self.plant}/{device}/{kind}",
            payload=document if isinstance(document, bytes) else orjson.dumps(document),
            is_redelivery=is_redelivery,
            is_retained=is_retained,
            received_at_us=now_us() if received_at_us is None else received_at_us,
        )

    def deliver(self, *items: Item) -> None:
        """Hand over items as one batch and wait until all messages among them are acknowledged."""
        expected = len(self.acknowledged) + sum(isinstance(item, Message) for item in items)
        self.pipeline.accept(items)
        until(lambda: len(self.acknowledged) >= expected, what=f"{expected} acknowledgements")

    def send(self, device: str, *documents: object, **options: Any) -> None:
        """Deliver one message per document, all in one batch."""
        self.deliver(*(self.message(device, document, **options) for document in documents))

    def submit(self, tenant_id: int, offers: Sequence[Offer], **options: Any) -> Outcome:
        return self.pipeline.submit(tenant_id, self.plant, list(offers), **options)

    # What the database holds -----------------------------------------------------------------------

    def rows(self, device: str) -> list[Row]:
        """The readings of a device in the order in which they were stored."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT m.name, (extract(epoch FROM t.observed_at) * 1000000)::bigint, t.value, t.quality,"
                " t.ingest_seq FROM telemetry t JOIN metrics m USING (metric_id)"
                " JOIN devices d ON d.device_key = m.device_key WHERE d.device_id = %s ORDER BY t.ingest_seq",
                (device,),
            )
            return [Row(*row) for row in cursor.fetchall()]

    def values(self, device: str) -> list[float]:
        return [row.value for row in self.rows(device)]

    def newest(self, device: str) -> dict[str, tuple[int, float]]:
        """The latest values of a device by metric, each with its time."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT m.name, (extract(epoch FROM l.observed_at) * 1000000)::bigint, l.value"
                " FROM latest_values l JOIN metrics m USING (metric_id)"
                " JOIN devices d ON d.device_key = m.device_key WHERE d.device_id = %s",
                (device,),
            )
            return {name: (observed_at_us, value) for name, observed_at_us, value in cursor.fetchall()}

    def letters(self, device: str) -> list[Letter]:
        """The dead letters of a device, oldest first."""
        return [letter for letter in self.all_letters() if letter.device_id == device]

    def all_letters(self) -> list[Letter]:
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT tenant_id, source, topic, device_id, metric, reason, detail, payload, payload_bytes,"
                " occurrences FROM dead_letters ORDER BY dead_letter_id"
            )
            rows = [list(row) for row in cursor.fetchall()]
        for row in rows:
            row[7] = bytes(row[7])
        return [Letter(*row) for row in rows]

    def reasons(self, device: str) -> list[str]:
        return [letter.reason for letter in self.letters(device)]

    def device_status(self, device: str) -> tuple[str, int | None]:
        """The status of a device and when it was last seen, in microseconds since 1970, if it ever was."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT status, (extract(epoch FROM last_seen) * 1000000)::bigint FROM devices"
                " WHERE device_id = %s",
                (device,),
            )
            status, last_seen_us = _only_row(cursor)
            return status, last_seen_us

    def metric_kinds(self, device: str) -> dict[str, tuple[str, str]]:
        """Unit and kind of a device's metrics by name."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT m.name, m.unit, m.kind FROM metrics m JOIN devices d USING (device_key)"
                " WHERE d.device_id = %s",
                (device,),
            )
            return {name: (unit, kind) for name, unit, kind in cursor.fetchall()}

    def register(self, tenant_id: int, device: str, **units: str) -> int:
        """Add a device with gauges of these units; return its key."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO devices (tenant_id, device_id, name) VALUES (%s, %s, %s) RETURNING device_key",
                (tenant_id, device, device),
            )
            (device_key,) = _only_row(cursor)
            for name, unit in units.items():
                cursor.execute(
                    "INSERT INTO metrics (tenant_id, device_key, name, unit) VALUES (%s, %s, %s, %s)",
                    (tenant_id, device_key, name, unit),
                )
        return int(device_key)


def _only_row(cursor: Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None
    return tuple(row)


@contextmanager
def running(station: Station) -> Iterator[Station]:
    """The station with its writer thread started; stopped at the end, whatever is left in the buffer."""
    station.writer.start()
    try:
        yield station
    finally:
        assert station.writer.stop(timeout_s=10)
