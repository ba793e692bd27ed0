"""Devices and their metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg2.extensions import cursor as Cursor

from analytics_sql import statement
from storage.pool import AppDatabase

_SQL = Path(__file__).parent / "sql" / "devices.sql"


@dataclass(frozen=True, slots=True)
class Device:
    """A device in use; `metadata_json` and `metrics_json` are JSON texts, ready to be sent on."""

    device_id: str
    name: str
    type: str
    location: str
    metadata_json: str
    parent_device_id: str | None
    status: str
    last_seen: datetime | None
    created_at: datetime
    metrics_json: str
    out_of_service_at: datetime | None
    out_of_service_by: str | None
    out_of_service_reason: str | None


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """What people say about a device, with its parent found."""

    name: str
    type: str
    location: str
    metadata_json: str
    parent_device_key: int | None


def list_devices(
    database: AppDatabase,
    tenant_id: int,
    *,
    type: str | None,  # noqa: A002 - the field's name everywhere
    status: str | None,
    name_prefix: str | None,
    after: str | None,
    limit: int,
) -> list[Device]:
    """Devices in use by device_id, after the one given."""
    params = {
        "device_id": None,
        "type": type,
        "status": status,
        "name_prefix": name_prefix,
        "after": after,
        "limit": limit,
    }
    return [Device(*row) for row in database.read(tenant_id, statement(_SQL, "devices"), params)]


def find_device(database: AppDatabase, tenant_id: int, device_id: str) -> Device | None:
    """One device in use."""
    params = {
        "device_id": device_id,
        "type": None,
        "status": None,
        "name_prefix": None,
        "after": None,
        "limit": 1,
    }
    rows = database.read(tenant_id, statement(_SQL, "devices"), params)
    return Device(*rows[0]) if rows else None


def device_key(database: AppDatabase, tenant_id: int, device_id: str) -> int | None:
    """The number of a device in use."""
    rows = database.read(tenant_id, statement(_SQL, "device_key"), {"device_id": device_id})
    return int(rows[0][0]) if rows else None


def existing_device_ids(database: AppDatabase, tenant_id: int, device_ids: Sequence[str]) -> set[str]:
    """Of these ids, those of devices in use."""
    params = {"device_ids": list(device_ids)}
    rows = database.read(tenant_id, statement(_SQL, "existing_device_ids"), params)
    return {device_id for (device_id,) in rows}


def lock_device(cursor: Cursor, device_id: str) -> int | None:
    """The number of a device in use, locked until the end of the transaction."""
    return _integer(cursor, "lock_device", device_id=device_id)


def key_of_device(cursor: Cursor, device_id: str) -> int | None:
    """The number of a device in use, inside a transaction."""
    return _integer(cursor, "device_key", device_id=device_id)


def take_out_of_service(cursor: Cursor, device_id: str, *, at: datetime, by: str, reason: str) -> int | None:
    """Take a device in use out of service; its number, or None where it is out already or there is none."""
    return _integer(cursor, "take_out_of_service", device_id=device_id, at=at, by=by, reason=reason)


def return_to_service(cursor: Cursor, device_id: str) -> int | None:
    """Put it back; its number, or None where it is in service already or there is none."""
    return _integer(cursor, "return_to_service", device_id=device_id)


def lock_device_tree(cursor: Cursor) -> None:
    """Wait until no other transaction moves devices of the tenant below each other."""
    _run(cursor, "lock_device_tree")


def is_below(cursor: Cursor, *, lower_key: int, device_key: int) -> bool:
    """Whether `device_key` is `lower_key` or lies anywhere above it."""
    _run(cursor, "is_below", lower_key=lower_key, device_key=device_key)
    return cursor.fetchone() == (True,)


def create_device(cursor: Cursor, device_id: str, row: DeviceRow) -> int | None:
    """Add a device; return its number, or None where the device_id was used before."""
    return _integer(cursor, "create_device", device_id=device_id, **_params(row))


def is_retired(cursor: Cursor, device_id: str) -> bool:
    """Whether the device_id belongs to a device that was retired."""
    _run(cursor, "is_retired", device_id=device_id)
    return cursor.fetchone() == (True,)


def update_device(cursor: Cursor, device_key: int, row: DeviceRow) -> None:
    """Replace what people say about a device."""
    _run(cursor, "update_device", device_key=device_key, **_params(row))


def retire_device(cursor: Cursor, device_key: int) -> None:
    """Take a device out of use; devices below it stand on their own."""
    _run(cursor, "lift_children", device_key=device_key)
    _run(cursor, "retire_device", device_key=device_key)


def metrics_that_would_change_meaning(cursor: Cursor, device_key: int, metrics_json: str) -> list[str]:
    """Metrics with readings whose unit or kind the JSON list of metrics would change."""
    _run(cursor, "metrics_that_would_change_meaning", device_key=device_key, metrics=metrics_json)
    return [name for (name,) in cursor.fetchall()]


def put_metrics(cursor: Cursor, device_key: int, metrics_json: str) -> int:
    """Add or change the metrics of the JSON list; return how many the device has then."""
    _run(cursor, "put_metrics", device_key=device_key, metrics=metrics_json)
    return _integer(cursor, "count_metrics", device_key=device_key) or 0


def _params(row: DeviceRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "type": row.type,
        "location": row.location,
        "metadata": row.metadata_json,
        "parent_device_key": row.parent_device_key,
    }


def _integer(cursor: Cursor, name: str, /, **params: Any) -> int | None:
    _run(cursor, name, **params)
    row = cursor.fetchone()
    return None if row is None else int(row[0])


def _run(cursor: Cursor, name: str, /, **params: Any) -> None:
    cursor.execute(statement(_SQL, name), params)
