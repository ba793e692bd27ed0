"""Finds the devices and metrics that messages speak of, and registers those that may be new."""

from __future__ import annotations

from typing import Any

from domain.identifier import is_device_id, is_tenant_slug
from domain.metric import MetricKind, metric_name
from ingest.decode import Record
from ingest.judgement import part_of, unit_spelling
from ingest.limits import IngestLimits
from ingest.refusal import Refused
from ingest.registry import DeviceRef, MetricRef, Registry
from storage import ingest as sql
from storage.pool import Cursor


class Lookup:
    """Devices and metrics inside one transaction; asks the database only for what the registry lacks."""

    def __init__(self, cursor: Cursor, registry: Registry, limits: IngestLimits) -> None:
        self._cursor = cursor
        self._registry = registry
        self._limits = limits

    def tenant_id(self, slug: str) -> int | None:
        """The tenant that a topic names, or None."""
        if not is_tenant_slug(slug) or self._registry.is_known_absent(slug):
            return None
        tenant_id = self._registry.tenants.get(slug) or sql.tenant_by_slug(self._cursor, slug)
        if tenant_id is None:
            self._registry.put_absent(slug)
        else:
            self._registry.tenants[slug] = tenant_id
        return tenant_id

    def device(self, tenant_slug: str, device_id: str) -> DeviceRef:
        """The device that is spoken of.

        Raises:
            Refused: it is unknown or retired.
        """
        device = self._registry.get(tenant_slug, device_id) or self._load(tenant_slug, device_id)
        if device is None:
            raise Refused("unknown_device", f"no device {device_id!r} is registered")
        if device.is_retired:
            raise Refused("device_retired", f"the device {device_id!r} is retired")
        return device

    def _load(self, tenant_slug: str, device_id: str) -> DeviceRef | None:
        if self._registry.is_known_absent(tenant_slug, device_id):
            return None
        tenant_id = self.tenant_id(tenant_slug)
        if tenant_id is None:
            raise Refused("unknown_tenant", f"no tenant {tenant_slug!r} exists")
        if not is_device_id(device_id):
            raise Refused("invalid_device_id", "a device id has 1 to 64 of A-Z a-z 0-9 . _ -")
        row = sql.device_with_metrics(self._cursor, tenant_id, device_id)
        if row is None and self._limits.auto_register:
            sql.register_device(self._cursor, tenant_id, device_id)
            row = sql.device_with_metrics(self._cursor, tenant_id, device_id)
        if row is None:
            self._registry.put_absent(tenant_slug, device_id)
            return None
        metrics = {
            item.name: MetricRef(item.metric_id, item.name, item.unit, item.kind) for item in row.metrics
        }
        device = DeviceRef(
            tenant_id, row.device_key, device_id, row.is_retired, row.status, metrics, row.last_seen_us
        )
        self._registry.put(tenant_slug, device)
        return device

    def metric(self, device: DeviceRef, name: Any, *, value: Any, unit: str) -> MetricRef:
        """The metric of that name; a new one takes its unit and its kind from this reading.

        Raises:
            Refused: it is unknown, or may not be registered.
        """
        if name in device.metrics:
            return device.metrics[name]
        checked = metric_name(name)
        if checked is None:
            raise Refused("invalid_metric_name", "a metric name has 1 to 64 printable characters")
        known = device.metrics.get(checked)
        if known is not None:
            return known
        if not self._limits.auto_register:
            raise Refused("unknown_metric", f"the device has no metric {checked!r}; register it first")
        if len(device.metrics) >= self._limits.metrics_per_device:
            raise Refused(
                "too_many_metrics", f"the device has {self._limits.metrics_per_device} metrics already"
            )
        kind = MetricKind.STATE if value.__class__ is bool else MetricKind.GAUGE
        self._register(device, [(checked, unit, kind)])
        return device.metrics[checked]

    def register_ahead(self, device: DeviceRef, record: Record) -> None:
        """Register the new metrics of a record together; names and values that are wrong are judged later."""
        if not self._limits.auto_register:
            return
        new = []
        for name, value in record.values.items():
            if (
                name in device.metrics
                or value.__class__ not in (int, float, bool)
                or metric_name(name) != name
            ):
                continue
            try:
                unit = unit_spelling(part_of(record.unit, name))
            except Refused:
                continue
            new.append((name, unit, MetricKind.STATE if value.__class__ is bool else MetricKind.GAUGE))
        if new and len(device.metrics) + len(new) <= self._limits.metrics_per_device:
            self._register(device, new)

    def _register(self, device: DeviceRef, new: list[tuple[str, str, MetricKind]]) -> None:
        for row in sql.register_metrics(self._cursor, device.tenant_id, device.device_key, new):
            device.metrics[row.name] = MetricRef(row.metric_id, row.name, row.unit, row.kind)
