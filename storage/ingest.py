"""What the ingest writer does in its transaction, one function a step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import psycopg2.errors
from psycopg2 import Binary
from psycopg2.extensions import cursor as Cursor

from analytics_sql import statement
from domain.metric import MetricKind
from storage.binary_rows import BinaryRows, ReadingColumns

_SQL = Path(__file__).parent / "sql" / "ingest.sql"
_COPY_TO_TELEMETRY = (
    "COPY telemetry (observed_at, value, received_at, ingest_seq, metric_id, tenant_id, quality)"
    " FROM STDIN (FORMAT binary)"
)
_COPY_TO_INCOMING = (
    "COPY incoming (observed_at, value, received_at, ingest_seq, metric_id, tenant_id, quality)"
    " FROM STDIN (FORMAT binary)"
)

SEQUENCE_SHIFT = 20
_EPOCH_DAY = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Unstored:
    """A reading of the batch, by its place, that was not stored, and the value that is stored instead."""

    place: int
    stored_value: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One thing that could not be stored."""

    tenant_id: int | None
    source: str
    topic: str
    device_id: str | None
    metric: str | None
    reason: str
    detail: str
    payload: bytes
    payload_bytes: int
    fingerprint: bytes
    received_at_us: int
    occurrences: int = 1


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric as the registry of the writer needs it."""

    metric_id: int
    name: str
    unit: str
    kind: MetricKind


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device with its metrics."""

    device_key: int
    is_retired: bool
    status: str
    last_seen_us: int
    metrics: list[MetricRow]


def store_readings(cursor: Cursor, columns: ReadingColumns, *, may_repeat: bool) -> list[Unstored]:
    """Store readings; return those whose key is stored already.

    Without `may_repeat` the rows go straight into the table, which is fastest; if that meets a stored key,
    or with `may_repeat`, they are staged and only what is new is stored.

    Raises:
        psycopg2.Error: translated by the pool's transaction.
    """
    cursor.execute(statement(_SQL, "next_batch" if may_repeat else "next_batch_straight"))
    first_seq = _only(cursor) << SEQUENCE_SHIFT
    if not may_repeat:
        try:
            cursor.copy_expert(_COPY_TO_TELEMETRY, BinaryRows(columns, first_seq))
        except psycopg2.errors.UniqueViolation:
            cursor.execute("ROLLBACK TO SAVEPOINT straight")
        else:
            return []
    cursor.execute(statement(_SQL, "create_incoming"))
    cursor.copy_expert(_COPY_TO_INCOMING, BinaryRows(columns, first_seq))
    cursor.execute(statement(_SQL, "store_incoming"))
    if cursor.rowcount == len(columns):
        return []
    cursor.execute(statement(_SQL, "unstored_incoming"))
    return [Unstored(seq - first_seq, value) for seq, value in cursor.fetchall()]


def copy_readings(cursor: Cursor, columns: ReadingColumns) -> None:
    """Store readings that are known to be new, as fast as the table takes them.

    Raises:
        psycopg2.Error: a key is stored already, or a value does not fit; nothing was stored.
    """
    cursor.execute(statement(_SQL, "next_batch"))
    cursor.copy_expert(_COPY_TO_TELEMETRY, BinaryRows(columns, _only(cursor) << SEQUENCE_SHIFT))


def advance_latest(cursor: Cursor, columns: ReadingColumns, places: Iterable[int]) -> set[int]:
    """Offer the readings at `places`, one a metric, as newest; return the metrics for which they are."""
    chosen = list(places)
    cursor.execute(
        statement(_SQL, "advance_latest"),
        {
            "metric_ids": _array(columns.metric_ids[place] for place in chosen),
            "tenant_ids": _array(columns.tenant_ids[place] for place in chosen),
            "observed_at_us": _array(columns.observed_at_us[place] for place in chosen),
            "observed_values": _array(columns.values[place] for place in chosen),
            "qualities": _array(columns.qualities[place] for place in chosen),
            "received_at_us": _array(columns.received_at_us[place] for place in chosen),
        },
    )
    return {metric_id for (metric_id,) in cursor.fetchall()}


def tenant_by_slug(cursor: Cursor, slug: str) -> int | None:
    """The tenant that a topic names, or None."""
    cursor.execute(statement(_SQL, "tenant_by_slug"), {"slug": slug})
    row = cursor.fetchone()
    return int(row[0]) if row else None


def device_with_metrics(cursor: Cursor, tenant_id: int, device_id: str) -> DeviceRow | None:
    """A device with its metrics, retired or not, or None."""
    cursor.execute(statement(_SQL, "device_with_metrics"), {"tenant_id": tenant_id, "device_id": device_id})
    rows = cursor.fetchall()
    if not rows:
        return None
    device_key, is_retired, status, last_seen_us = rows[0][:4]
    metrics = [
        MetricRow(metric_id, name, unit, MetricKind(kind))
        for *_, metric_id, name, unit, kind in rows
        if metric_id is not None
    ]
    return DeviceRow(device_key, is_retired, status, last_seen_us or 0, metrics)


def register_device(cursor: Cursor, tenant_id: int, device_id: str) -> None:
    """Add a device by its id, unless it exists."""
    cursor.execute(statement(_SQL, "register_device"), {"tenant_id": tenant_id, "device_id": device_id})


def register_metrics(
    cursor: Cursor, tenant_id: int, device_key: int, metrics: Sequence[tuple[str, str, MetricKind]]
) -> list[MetricRow]:
    """Add metrics given as (name, unit, kind), unless they exist; return them as they are stored."""
    cursor.execute(
        statement(_SQL, "register_metrics"),
        {
            "tenant_id": tenant_id,
            "device_key": device_key,
            "names": [name for name, _, _ in metrics],
            "units": [unit for _, unit, _ in metrics],
            "kinds": [kind.value for _, _, kind in metrics],
        },
    )
    return [
        MetricRow(metric_id, name, unit, MetricKind(kind))
        for metric_id, name, unit, kind in cursor.fetchall()
    ]


def mark_seen(cursor: Cursor, seen: Sequence[tuple[int, int, str]]) -> None:
    """Record (device_key, seen at in microseconds since 1970, status) for devices that spoke."""
    ordered = sorted(seen)
    cursor.execute(
        statement(_SQL, "mark_seen"),
        {
            "device_keys": [device_key for device_key, _, _ in ordered],
            "at_us": [at_us for _, at_us, _ in ordered],
            "statuses": [status for _, _, status in ordered],
        },
    )


def redelivered(
    cursor: Cursor, client_id: str, messages: Sequence[tuple[int, bytes]]
) -> set[tuple[int, bytes]]:
    """Of (message id, payload hash) pairs, those that were stored before."""
    cursor.execute(statement(_SQL, "redelivered"), _message_params(client_id, messages))
    return {(message_id, bytes(payload_hash)) for message_id, payload_hash in cursor.fetchall()}


def remember_messages(cursor: Cursor, client_id: str, messages: Sequence[tuple[int, bytes]]) -> None:
    """Remember (message id, payload hash) pairs, each id once, as stored."""
    cursor.execute(statement(_SQL, "remember_messages"), _message_params(client_id, messages))


def forget_messages(cursor: Cursor, client_id: str) -> None:
    """Forget all message ids of a session that the broker has lost."""
    cursor.execute(statement(_SQL, "forget_messages"), {"client_id": client_id})


def add_dead_letters(cursor: Cursor, letters: Sequence[DeadLetter]) -> None:
    """Store dead letters whose (tenant, fingerprint) are distinct; count those that are there already."""
    cursor.execute(
        statement(_SQL, "add_dead_letters"),
        {
            "tenant_ids": [letter.tenant_id for letter in letters],
            "sources": [letter.source for letter in letters],
            "topics": [letter.topic for letter in letters],
            "device_ids": [letter.device_id for letter in letters],
            "metrics": [letter.metric for letter in letters],
            "reasons": [letter.reason for letter in letters],
            "details": [letter.detail for letter in letters],
            "payloads": [Binary(letter.payload) for letter in letters],
            "payload_bytes": [letter.payload_bytes for letter in letters],
            "fingerprints": [Binary(letter.fingerprint) for letter in letters],
            "occurrences": [letter.occurrences for letter in letters],
            "received_at_us": [letter.received_at_us for letter in letters],
        },
    )


def add_device_event(
    cursor: Cursor,
    *,
    tenant_id: int,
    device_key: int,
    kind: str,
    subject: str,
    payload: str,
    fingerprint: bytes,
    received_at_us: int,
) -> None:
    """Store an alert of the device's own or its answer to a command; `payload` is JSON text."""
    cursor.execute(
        statement(_SQL, "add_device_event"),
        {
            "tenant_id": tenant_id,
            "device_key": device_key,
            "kind": kind,
            "subject": subject,
            "payload": payload,
            "fingerprint": Binary(fingerprint),
            "received_at_us": received_at_us,
        },
    )


def day_of(observed_at_us: int) -> date:
    """The UTC day of a time in microseconds since 1970."""
    return _EPOCH_DAY + timedelta(days=observed_at_us // 86_400_000_000)


def _array(items: Iterable[float]) -> str:
    """A PostgreSQL array literal of numbers; much faster than adapting a list element by element."""
    return "{" + ",".join(map(repr, items)) + "}"


def _message_params(client_id: str, messages: Sequence[tuple[int, bytes]]) -> dict[str, object]:
    return {
        "client_id": client_id,
        "message_ids": [message_id for message_id, _ in messages],
        "hashes": [Binary(payload_hash) for _, payload_hash in messages],
    }


def _only(cursor: Cursor) -> int:
    row = cursor.fetchone()
    if row is None:
        raise LookupError("the statement gave no row")
    return int(row[0])
