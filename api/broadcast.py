"""Live readings on their way to browsers: gathered per device, sent a few times a second.

Broadcast is lossy by design: PostgreSQL is the truth, and sequence numbers tell a client that it missed
something. Only rooms with listeners cost anything.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from domain.reading import Quality, StoredReadings
from domain.transition import AlertChange
from observability import Heartbeats, broadcast_readings, broadcast_thinned, get_logger

log = get_logger("broadcast")

HEARTBEAT = "broadcast"
ALL_DEVICES = "*"

# Readings of one device that may wait for the next emit; of more, only the newest per metric go out.
_MAX_WAITING = 500
# Alert events that may wait for the next emit; of more, the oldest go, and the numbers tell.
_MAX_ALERTS_WAITING = 5000
_WORDS = {int(quality): quality.word for quality in Quality}

Reading = tuple[str, int, float, int]
Emit = Callable[[str, dict[str, Any], list[str]], None]


def room_of(tenant_id: int, device_id: str) -> str:
    """The room of a device's listeners; of a tenant's for `ALL_DEVICES`."""
    return f"{tenant_id}:{device_id}"


def alert_room(tenant_id: int) -> str:
    """The room of those who hear of a tenant's alerts."""
    return f"alerts:{tenant_id}"


class Audience:
    """How many listeners every room has. Thread-safe."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def join(self, room: str) -> None:
        """One listener more."""
        with self._lock:
            self._counts[room] = self._counts.get(room, 0) + 1

    def leave(self, room: str) -> None:
        """One listener less."""
        with self._lock:
            left = self._counts.get(room, 0) - 1
            if left > 0:
                self._counts[room] = left
            else:
                self._counts.pop(room, None)

    def is_listening(self, tenant_id: int, device_id: str) -> bool:
        """Whether anyone wants the device's readings."""
        counts = self._counts
        return bool(counts) and (
            room_of(tenant_id, device_id) in counts or room_of(tenant_id, ALL_DEVICES) in counts
        )

    def hears_alerts(self, tenant_id: int) -> bool:
        """Whether anyone wants the tenant's alerts."""
        return alert_room(tenant_id) in self._counts


@dataclass(slots=True)
class _Waiting:
    """What waits for the next emit of one device."""

    due_at: float
    readings: list[Reading] = field(default_factory=list)


class Broadcaster:
    """Owns the thread that emits. `publish` and `device_changed` return at once."""

    def __init__(
        self,
        audience: Audience,
        *,
        emit: Emit,
        interval_s: float,
        heartbeats: Heartbeats,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._audience = audience
        self._emit = emit
        self._interval_s = interval_s
        self._heartbeats = heartbeats
        self._clock = clock
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._waiting: dict[tuple[int, str], _Waiting] = {}
        self._changes: dict[tuple[int, str], tuple[str, int]] = {}
        self._alerts: deque[tuple[int, int, AlertChange]] = deque(maxlen=_MAX_ALERTS_WAITING)
        self._alert_sequence: dict[int, int] = {}
        self._emitted_at: dict[tuple[int, str], float] = {}
        self._sequence: dict[tuple[int, str], int] = {}
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="broadcast", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End the thread; what waits is dropped, for clients re-sync."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def publish(self, batch: list[StoredReadings]) -> None:
        """Take committed readings."""
        with self._lock:
            for stored in batch:
                key = (stored.tenant_id, stored.device_id)
                waiting = self._waiting.get(key)
                if waiting is None:
                    due_at = self._emitted_at.get(key, 0.0) + self._interval_s
                    waiting = self._waiting[key] = _Waiting(due_at)
                waiting.readings += stored.readings
                if len(waiting.readings) > _MAX_WAITING:
                    kept = _newest_per_metric(waiting.readings)
                    broadcast_thinned.inc(len(waiting.readings) - len(kept))
                    waiting.readings = kept
        self._wake.set()

    def device_changed(self, tenant_id: int, device_id: str, status: str, last_seen_us: int) -> None:
        """Take the newest status of a device."""
        with self._lock:
            self._changes[(tenant_id, device_id)] = (status, last_seen_us)
        self._wake.set()

    def alerts_changed(self, changes: Sequence[AlertChange]) -> None:
        """Take committed alert events, each of which goes out."""
        with self._lock:
            for change in changes:
                tenant_id = change.tenant_id
                if self._audience.hears_alerts(tenant_id):
                    sequence = self._alert_sequence.get(tenant_id, 0) + 1
                    self._alert_sequence[tenant_id] = sequence
                    self._alerts.append((tenant_id, sequence, change))
        self._wake.set()

    def emit_due(self) -> float:
        """Emit what is due; return for how many seconds nothing more is."""
        now = self._clock()
        with self._lock:
            changes, self._changes = self._changes, {}
            alerts = list(self._alerts)
            self._alerts.clear()
            due = [(key, waiting.readings) for key, waiting in self._waiting.items() if waiting.due_at <= now]
            for key, _ in due:
                del self._waiting[key]
                self._emitted_at[key] = now
            next_at = min((waiting.due_at for waiting in self._waiting.values()), default=now + 5.0)
        for tenant_id, sequence, alert in alerts:
            told = {"seq": sequence, "alert": alert.alert, "event": alert.event}
            self._emit("alert", told, [alert_room(tenant_id)])
        for key, readings in due:
            self._emit_readings(key, readings)
        for (tenant_id, device_id), (status, last_seen_us) in changes.items():
            self._emit_change(tenant_id, device_id, status, last_seen_us)
        return max(0.0, next_at - now)

    def _run(self) -> None:
        while not self._stopping:
            self._heartbeats.beat(HEARTBEAT)
            self._wake.clear()
            try:
                wait_s = self.emit_due()
            except Exception:  # One broken client must not end the broadcast for all.
                log.exception("broadcast_failed")
                wait_s = self._interval_s
            self._wake.wait(wait_s)
        self._heartbeats.forget(HEARTBEAT)

    def _emit_readings(self, key: tuple[int, str], readings: list[Reading]) -> None:
        tenant_id, device_id = key
        if not self._audience.is_listening(tenant_id, device_id):
            return
        sequence = self._sequence.get(key, 0) + 1
        self._sequence[key] = sequence
        broadcast_readings.inc(len(readings))
        update = {
            "device_id": device_id,
            "seq": sequence,
            "readings": [
                {
                    "device_id": device_id,
                    "metric": metric,
                    "ts": rfc3339(observed_at_us),
                    "value": value,
                    "quality": _WORDS[quality],
                }
                for metric, observed_at_us, value, quality in readings
            ],
        }
        self._emit("telemetry_update", update, _rooms(tenant_id, device_id))

    def _emit_change(self, tenant_id: int, device_id: str, status: str, last_seen_us: int) -> None:
        if self._audience.is_listening(tenant_id, device_id):
            last_seen = rfc3339(last_seen_us) if last_seen_us else None
            change = {"device_id": device_id, "status": status, "last_seen": last_seen}
            self._emit("device_update", change, _rooms(tenant_id, device_id))


def rfc3339(at_us: int) -> str:
    """A time in microseconds since 1970 as RFC 3339 in UTC, to the millisecond."""
    seconds, rest_us = divmod(at_us, 1_000_000)
    return f"{_whole_second(seconds)}.{rest_us // 1000:03d}Z"


@lru_cache(maxsize=256)
def _whole_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _rooms(tenant_id: int, device_id: str) -> list[str]:
    return [room_of(tenant_id, device_id), room_of(tenant_id, ALL_DEVICES)]


def _newest_per_metric(readings: list[Reading]) -> list[Reading]:
    newest: dict[str, Reading] = {}
    for reading in readings:
        known = newest.get(reading[0])
        if known is None or reading[1] >= known[1]:
            newest[reading[0]] = reading
    return list(newest.values())
