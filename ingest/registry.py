"""What the writer knows about devices and metrics, so that a reading costs no query."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from domain.metric import MetricKind

_ABSENCE_IS_REMEMBERED_S = 5.0
_MAX_ABSENT = 10_000
# Arrivals are microseconds apart; one that is much earlier than the last says that the clock was set back.
_CLOCK_WAS_SET_BACK_US = 1_000_000


@dataclass(frozen=True, slots=True)
class MetricRef:
    """A metric as the writer needs it."""

    metric_id: int
    name: str
    unit: str
    kind: MetricKind


@dataclass(slots=True)
class DeviceRef:
    """A device with its metrics by name. Only the writer thread changes it."""

    tenant_id: int
    device_key: int
    device_id: str
    is_retired: bool
    status: str
    metrics: dict[str, MetricRef] = field(default_factory=dict)
    # What the database knows as last_seen, in microseconds since 1970; written at most every few seconds.
    last_seen_us: int = 0


class Registry:
    """Devices by (tenant slug, device id). Used by the writer thread; `forget` may come from any thread."""

    def __init__(self) -> None:
        self._devices: dict[tuple[str, str], DeviceRef] = {}
        self._absent: dict[tuple[str, str], float] = {}
        # Slugs never change, so a known one stays known.
        self.tenants: dict[str, int] = {}
        self._arrivals: dict[int, int] = {}
        self._lock = threading.Lock()
        self._stale: set[tuple[int, str]] = set()

    def get(self, tenant_slug: str, device_id: str) -> DeviceRef | None:
        """The device, if it was loaded before."""
        return self._devices.get((tenant_slug, device_id))

    def put(self, tenant_slug: str, device: DeviceRef) -> None:
        """Remember a device that was loaded or registered."""
        self._devices[(tenant_slug, device.device_id)] = device
        self._absent.pop((tenant_slug, device.device_id), None)

    def is_known_absent(self, tenant_slug: str, device_id: str = "") -> bool:
        """Whether the database was asked for the device, or the tenant, a moment ago and had none."""
        until = self._absent.get((tenant_slug, device_id))
        return until is not None and time.monotonic() < until

    def put_absent(self, tenant_slug: str, device_id: str = "") -> None:
        """Remember for a moment that there is no such device, or no such tenant."""
        if len(self._absent) >= _MAX_ABSENT:
            self._absent.clear()
        self._absent[(tenant_slug, device_id)] = time.monotonic() + _ABSENCE_IS_REMEMBERED_S

    def forget(self, tenant_id: int, device_id: str) -> None:
        """Have the device loaded again before its next reading, because someone changed it."""
        with self._lock:
            self._stale.add((tenant_id, device_id))

    def arrival_us(self, device_key: int, received_at_us: int) -> int:
        """The time for a record that names none: its arrival, or just after the device's last such record.

        What is read in one piece has one time of arrival, but each record is a reading of its own.
        """
        previous_us = self._arrivals.get(device_key, 0)
        is_clash = 0 <= previous_us - received_at_us < _CLOCK_WAS_SET_BACK_US
        self._arrivals[device_key] = previous_us + 1 if is_clash else received_at_us
        return self._arrivals[device_key]

    def drop_stale(self) -> None:
        """Drop what was changed since; the writer calls this before each batch."""
        if not self._stale:
            return
        with self._lock:
            stale, self._stale = self._stale, set()
        for key, device in list(self._devices.items()):
            if (device.tenant_id, device.device_id) in stale:
                del self._devices[key]
        self._absent.clear()

    def clear(self) -> None:
        """Forget everything, after a transaction that registered devices was rolled back."""
        self._devices.clear()
        self._absent.clear()
