"""The device registry: adding, changing and retiring devices and their metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from domain.errors import Conflict, FieldError, NotFound, RuleBroken
from domain.identifier import is_device_id
from domain.metric import MetricKind
from domain.unit import MAX_UNIT_CHARS, canonical
from storage import devices
from storage.pool import AppDatabase, Cursor
from storage.remembered import Remembered

MAX_METADATA_BYTES = 16_384


class DeviceMissing(NotFound):
    """There is no such device."""


class DeviceIdTaken(Conflict):
    """The device_id is in use or was used before."""


class MetricHasReadings(Conflict):
    """The unit and the kind of a metric that has readings cannot change."""


class DeviceRefused(RuleBroken):
    """The device breaks a rule."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric as it is declared; `unit` in any spelling.

    Attributes:
        min: Lowest value that makes sense, in `unit`.
        max: Highest value that makes sense, in `unit`.
        modulus: For a counter that rolls over: the value at which it starts from 0 again.
        max_gap_s: Longest time between readings over which the value may be assumed to hold.
    """

    name: str
    unit: str = ""
    kind: MetricKind = MetricKind.GAUGE
    min: float | None = None
    max: float | None = None
    modulus: float | None = None
    max_gap_s: float | None = None


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """What people say about a device."""

    name: str
    type: str = ""
    location: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    parent_device_id: str | None = None
    metrics: Sequence[MetricSpec] = ()


class Registry:
    """The devices of all tenants; every call names the tenant it is for. Thread-safe."""

    def __init__(self, database: AppDatabase, *, metrics_per_device: int) -> None:
        self._database = database
        self._metrics_per_device = metrics_per_device
        self._keys: Remembered[tuple[int, str], int] = Remembered()

    def create(self, tenant_id: int, device_id: str, spec: DeviceSpec) -> devices.Device:
        """Add a device.

        Raises:
            DeviceIdTaken: The device_id belongs to another device, in use or retired.
            DeviceRefused: A metric or the parent breaks a rule.
        """
        metrics_json = _metrics_json(spec.metrics)
        with self._database.tenant(tenant_id) as cursor:
            if spec.parent_device_id is not None:
                devices.lock_device_tree(cursor)
            row = _row(cursor, spec, moving=None)
            key = devices.create_device(cursor, device_id, row)
            if key is None:
                was_retired = devices.is_retired(cursor, device_id)
                raise DeviceIdTaken(
                    f"{device_id} {'belongs to a retired device' if was_retired else 'exists already'}"
                )
            self._put_metrics(cursor, key, metrics_json)
        return self.find(tenant_id, device_id)

    def replace(self, tenant_id: int, device_id: str, spec: DeviceSpec) -> devices.Device:
        """Replace what is said about a device; metrics are added or changed, never removed.

        Raises:
            DeviceMissing: There is no such device in use.
            MetricHasReadings: The unit or kind of a metric with readings would change.
            DeviceRefused: A metric or the parent breaks a rule.
        """
        metrics_json = _metrics_json(spec.metrics)
        with self._database.tenant(tenant_id) as cursor:
            # Before the device's own lock, as `retire` does: in this order nobody waits in a circle.
            if spec.parent_device_id is not None:
                devices.lock_device_tree(cursor)
            key = _locked(cursor, device_id)
            devices.update_device(cursor, key, _row(cursor, spec, moving=key))
            if spec.metrics:
                changed = devices.metrics_that_would_change_meaning(cursor, key, metrics_json)
                if changed:
                    raise MetricHasReadings(f"these metrics have readings: {', '.join(changed[:10])}")
                self._put_metrics(cursor, key, metrics_json)
        return self.find(tenant_id, device_id)

    def retire(self, tenant_id: int, device_id: str) -> None:
        """Take a device out of use; history and device_id stay taken.

        Raises:
            DeviceMissing: There is no such device in use.
        """
        with self._database.tenant(tenant_id) as cursor:
            devices.lock_device_tree(cursor)
            devices.retire_device(cursor, _locked(cursor, device_id))
        self._keys.forget((tenant_id, device_id))

    def key(self, tenant_id: int, device_id: str) -> int:
        """The number of a device in use; a retirement elsewhere may go unnoticed for 5 s.

        Raises:
            DeviceMissing: There is no such device in use.
        """
        key = self._keys.get((tenant_id, device_id))
        if key is None:
            asked_at = self._keys.now()
            key = (
                devices.device_key(self._database, tenant_id, device_id) if is_device_id(device_id) else None
            )
            if key is None:
                raise DeviceMissing
            self._keys.put((tenant_id, device_id), key, asked_at=asked_at)
        return key

    def find(self, tenant_id: int, device_id: str) -> devices.Device:
        """One device in use.

        Raises:
            DeviceMissing: There is no such device in use.
        """
        found = devices.find_device(self._database, tenant_id, device_id) if is_device_id(device_id) else None
        if found is None:
            raise DeviceMissing
        return found

    def _put_metrics(self, cursor: Cursor, device_key: int, metrics_json: str) -> None:
        if devices.put_metrics(cursor, device_key, metrics_json) > self._metrics_per_device:
            raise DeviceRefused(
                errors=[FieldError("/metrics", f"a device has at most {self._metrics_per_device} metrics")]
            )


def _locked(cursor: Cursor, device_id: str) -> int:
    key = devices.lock_device(cursor, device_id) if is_device_id(device_id) else None
    if key is None:
        raise DeviceMissing
    return key


def _row(cursor: Cursor, spec: DeviceSpec, *, moving: int | None) -> devices.DeviceRow:
    """The row to store; `moving` is the key of the device that gets the parent, None for a new one."""
    metadata = orjson.dumps(spec.metadata)
    if len(metadata) > MAX_METADATA_BYTES:
        raise DeviceRefused(errors=[FieldError("/metadata", f"is larger than {MAX_METADATA_BYTES} bytes")])
    return devices.DeviceRow(
        name=spec.name,
        type=spec.type,
        location=spec.location,
        metadata_json=metadata.decode(),
        parent_device_key=_parent_key(cursor, spec.parent_device_id, moving),
    )


def _parent_key(cursor: Cursor, parent_device_id: str | None, moving: int | None) -> int | None:
    if parent_device_id is None:
        return None
    key = devices.key_of_device(cursor, parent_device_id)
    if key is None:
        raise DeviceRefused(errors=[FieldError("/parent_device_id", "names no device")])
    if moving is not None and devices.is_below(cursor, lower_key=key, device_key=moving):
        raise DeviceRefused(errors=[FieldError("/parent_device_id", "is the device itself or lies below it")])
    return key


def _metrics_json(metrics: Sequence[MetricSpec]) -> str:
    """The metrics as JSON with units in their one spelling.

    Raises:
        DeviceRefused: Metrics contradict each other or themselves.
    """
    wrong: list[FieldError] = []
    seen: set[str] = set()
    for index, metric in enumerate(metrics):
        wrong += _contradictions(index, metric)
        if metric.name in seen:
            wrong.append(FieldError(f"/metrics/{index}/name", "stands twice"))
        seen.add(metric.name)
    if wrong:
        raise DeviceRefused(errors=wrong)
    return orjson.dumps([asdict(metric) | {"unit": canonical(metric.unit)} for metric in metrics]).decode()


def _contradictions(index: int, metric: MetricSpec) -> list[FieldError]:
    wrong = []
    if len(canonical(metric.unit)) > MAX_UNIT_CHARS:
        wrong.append(FieldError(f"/metrics/{index}/unit", f"has more than {MAX_UNIT_CHARS} characters"))
    if metric.min is not None and metric.max is not None and metric.min > metric.max:
        wrong.append(FieldError(f"/metrics/{index}/max", "is below min"))
    if metric.modulus is not None and metric.kind is not MetricKind.COUNTER:
        wrong.append(FieldError(f"/metrics/{index}/modulus", "makes sense for a counter only"))
    return wrong
