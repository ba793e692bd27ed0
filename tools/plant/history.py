"""Seven days of one-minute history: generated column by column, loaded once, metric by metric."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from analytics_sql import statement
from domain.reading import Quality
from storage.binary_rows import ReadingColumns
from storage.ingest import copy_readings, day_of
from storage.pool import SystemDatabase
from storage.telemetry import ensure_partitions
from tools.plant.model.catalogue import DEVICES
from tools.plant.model.episodes import Episode, episode
from tools.plant.model.plant import Plant
from tools.plant.model.pumps import SCHEDULES
from tools.plant.model.running import Schedule

_SQL = Path(__file__).parent / "history.sql"

STEP_S = 60
HISTORY_S = 7 * 86_400
READINGS_PER_METRIC = HISTORY_S // STEP_S
_RECEIVED_AFTER_US = 1_000_000
_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class HistoryBatch:
    """All history of one metric.

    Attributes:
        device_id: The device.
        metric_name: The metric.
        observed_at_us: Times in microseconds since 1970, ascending.
        values: One value per time.
    """

    device_id: str
    metric_name: str
    observed_at_us: list[int]
    values: list[float]


def past_episodes(stop_s: int) -> tuple[Episode, ...]:
    """Return the faults of the seven days before `stop_s`; all are over by then."""

    def before(days: float, fault: str, speed: float = 1.0) -> Episode:
        return episode(fault, stop_s - round(days * 86_400) // STEP_S * STEP_S, speed=speed)

    duty = _latest_duty(SCHEDULES["P-102"], stop_s - 2 * 86_400, 4 * _HOUR_S)
    dry = _latest_duty(SCHEDULES["P-104"], stop_s - 3 * 86_400, _HOUR_S)
    return (
        before(6.14, "F2", speed=0.4),
        before(5.6, "F12"),
        before(5.25, "F5"),
        before(4.6, "F4"),
        before(4.07, "F2", speed=0.6),
        episode("F3", dry, speed=0.5),
        before(3.1, "F6"),
        # The start and its inrush fall on a whole minute: one reading stands out, and must not matter.
        episode("F15", stop_s - round(2.8 * 86_400) // STEP_S * STEP_S - 10),
        episode("F1", duty),
        before(1.21, "F2", speed=0.5),
        before(1.08, "F13", speed=0.25),
    )


def _latest_duty(schedule: Schedule, latest_s: int, lasting_s: int) -> int:
    """Return the last whole hour from which a pump is on duty for that long."""
    onset_s = latest_s // _HOUR_S * _HOUR_S
    while schedule.on_s(onset_s + lasting_s) - schedule.on_s(onset_s) < lasting_s:
        onset_s -= _HOUR_S
    return onset_s


def device_history(
    plant: Plant, device_id: str, stops_s: dict[str, int], *, seconds: int = HISTORY_S
) -> Iterator[HistoryBatch]:
    """Yield the history of a device's metrics.

    Args:
        plant: What to record.
        device_id: The device.
        stops_s: For each wanted metric, the whole minute before which its history ends.
        seconds: How far back it reaches.
    """
    for stop_s in sorted(set(stops_s.values())):
        times = range(stop_s - seconds, stop_s, STEP_S)
        columns = plant.columns(device_id, times)
        observed_at_us = [time_s * 1_000_000 for time_s in times]
        for metric_name, metric_stop_s in stops_s.items():
            if metric_stop_s == stop_s:
                yield HistoryBatch(device_id, metric_name, observed_at_us, columns[metric_name])


@dataclass(frozen=True, slots=True)
class _Missing:
    """A metric without history."""

    name: str
    metric_id: int
    stop_s: int


class HistoryLoader:
    """Loads what is missing of the history of one tenant's demo devices."""

    def __init__(self, database: SystemDatabase, tenant_id: int, *, started_s: int) -> None:
        """Load into this database.

        Args:
            database: The system role's way in.
            tenant_id: Whose devices.
            started_s: Unix time from which the live plant publishes; history ends before.
        """
        self._database = database
        self._tenant_id = tenant_id
        self._start_minute_s = started_s // STEP_S * STEP_S
        self._missing: dict[str, list[_Missing]] = {}

    def plan(self) -> int:
        """Find out what is missing and return the number of readings to load.

        A metric whose first reading is younger than seven days gets the seven days before that reading.
        One transaction loads all of a device, so a metric has all of its history or none.
        """
        with self._database.transaction() as cursor:
            cursor.execute(statement(_SQL, "first_readings"), {"tenant_id": self._tenant_id})
            rows = cursor.fetchall()
        ours = {(device.device_id, metric.name) for device in DEVICES for metric in device.metrics}
        self._missing = {}
        for device_id, name, metric_id, first_us in rows:
            if (device_id, name) not in ours:
                continue
            stop_s = self._start_minute_s
            if first_us is not None:
                stop_s = min(stop_s, first_us // 1_000_000 // STEP_S * STEP_S)
            if first_us is None or stop_s > self._start_minute_s - HISTORY_S:
                self._missing.setdefault(device_id, []).append(_Missing(name, metric_id, stop_s))
        return READINGS_PER_METRIC * sum(map(len, self._missing.values()))

    def load(
        self, plant: Plant, stop: threading.Event, *, on_progress: Callable[[int], object] = lambda _: None
    ) -> int:
        """Load what `plan` found and return how many readings were loaded.

        Args:
            plant: What to record; used by no other thread meanwhile.
            stop: When set, ends after the device that is being loaded.
            on_progress: Gets the number of readings of each metric as it is stored.

        Raises:
            DatabaseUnavailable: PostgreSQL went away; the next start goes on where this one ended.
        """
        loaded = 0
        for device_id, missing in self._missing.items():
            if stop.is_set():
                break
            loaded += self._load_device(plant, device_id, missing, on_progress)
        return loaded

    def _load_device(
        self, plant: Plant, device_id: str, missing: list[_Missing], on_progress: Callable[[int], object]
    ) -> int:
        metric_ids = {metric.name: metric.metric_id for metric in missing}
        stops_s = {metric.name: metric.stop_s for metric in missing}
        self._make_partitions(stops_s.values())
        loaded = 0
        with self._database.transaction() as cursor:
            for batch in device_history(plant, device_id, stops_s):
                rows = len(batch.values)
                columns = ReadingColumns(
                    observed_at_us=batch.observed_at_us,
                    values=batch.values,
                    received_at_us=[at_us + _RECEIVED_AFTER_US for at_us in batch.observed_at_us],
                    metric_ids=[metric_ids[batch.metric_name]] * rows,
                    tenant_ids=[self._tenant_id] * rows,
                    qualities=[int(Quality.GOOD)] * rows,
                )
                copy_readings(cursor, columns)
                loaded += rows
                on_progress(rows)
        return loaded

    def _make_partitions(self, stops_s: Iterable[int]) -> None:
        first_s, last_s = min(stops_s) - HISTORY_S, max(stops_s)
        with self._database.transaction() as cursor:
            ensure_partitions(cursor, day_of(first_s * 1_000_000), day_of(last_s * 1_000_000))
