"""What a device says and when: scans, report by exception, quality, duplicates, spoilt messages."""

import json
import math
import zlib
from dataclasses import dataclass
from typing import Any

from tools.plant.model.catalogue import DEVICES, HEARTBEAT_S, DeviceSpec, MetricSpec
from tools.plant.model.episodes import Episode
from tools.plant.model.noise import jitter
from tools.plant.model.plant import Plant

DUPLICATE_RATIO = 0.005
UNCERTAIN_RATIO = 0.002

_CLOCK_AHEAD_MS = 7 * 60_000
_CLOCK_BEHIND_MS = 3_600_000
_KPA_PER_BAR = 100.0
_PRESSURES_OF_F8 = ("suction_pressure", "discharge_pressure")
_METRIC_OF_F7 = "return_temperature"


@dataclass(frozen=True, slots=True)
class Report:
    """One message of a device.

    Attributes:
        payload: The message, as it goes into JSON.
        copies: How often it is published; a second copy is a duplicate as real devices send them.
    """

    payload: dict[str, Any]
    copies: int

    def encoded(self) -> bytes:
        """Return the message as JSON; a NaN of a broken sensor stays the token NaN."""
        return encoded(self.payload)


def encoded(payload: Any) -> bytes:
    """Return compact JSON in UTF-8."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


class Reporter:
    """One device's habits of reporting; keeps what it said last."""

    def __init__(self, plant: Plant, device: DeviceSpec) -> None:
        """Report this device of the plant; the first scan reports every metric."""
        self.device = device
        self._plant = plant
        self._key = zlib.crc32(device.device_id.encode())
        # Devices take their turns within the second.
        self.phase_ms = DEVICES.index(device) * 1000 // len(DEVICES)
        self._said: dict[str, tuple[int, float]] = {}

    def scan(self, time_s: int) -> Report | None:
        """Return what the device has to say at this second, None for nothing."""
        due = [
            (place, metric)
            for place, metric in enumerate(self.device.metrics)
            if metric.name not in self._said or (time_s + place) % metric.every_s == 0
        ]
        if not due:
            return None
        columns = self._plant.columns(self.device.device_id, range(time_s, time_s + 1))
        values = {
            metric.name: columns[metric.name][0]
            for _, metric in due
            if self._is_worth_saying(metric, time_s, columns[metric.name][0])
        }
        if not values:
            return None
        payload: dict[str, Any] = {"ts": time_s * 1000 + self.phase_ms, "values": values}
        uncertain = {
            metric.name: "uncertain"
            for place, metric in due
            if metric.name in values
            and metric.kind == "gauge"
            and jitter(self._key + 16 * place + 1, time_s) > 1 - 2 * UNCERTAIN_RATIO
        }
        if uncertain:
            payload["quality"] = uncertain
        for episode in self._plant.episodes:
            if episode.asset == self.device.device_id and episode.is_active(time_s):
                _distort(payload, episode, time_s)
        is_repeated = jitter(self._key, time_s) > 1 - 2 * DUPLICATE_RATIO
        return Report(payload, 2 if is_repeated else 1)

    def _is_worth_saying(self, metric: MetricSpec, time_s: int, value: float) -> bool:
        before = self._said.get(metric.name)
        if (
            before is not None
            and metric.deadband is not None
            and abs(value - before[1]) < metric.deadband
            and time_s - before[0] < HEARTBEAT_S
        ):
            return False
        self._said[metric.name] = (time_s, value)
        return True


def _distort(payload: dict[str, Any], episode: Episode, time_s: int) -> None:
    """Let an episode spoil the message rather than the process."""
    values = payload["values"]
    if episode.fault == "F7" and _METRIC_OF_F7 in values:
        kind = jitter(7, time_s)
        if kind > 0.6:
            values[_METRIC_OF_F7] = math.nan
        elif kind < 0:
            payload["quality"] = {**payload.get("quality", {}), _METRIC_OF_F7: "bad"}
    elif episode.fault == "F8":
        changed = [name for name in _PRESSURES_OF_F8 if name in values]
        for name in changed:
            values[name] = values[name] / _KPA_PER_BAR
        if changed:
            payload["unit"] = dict.fromkeys(changed, "bar")
    elif episode.fault == "F10":
        payload["ts"] += _CLOCK_AHEAD_MS if episode.progress(time_s) < 0.5 else -_CLOCK_BEHIND_MS
