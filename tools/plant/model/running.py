"""When a machine runs: a repeating schedule, overridden by faults, trips and commands."""

import math
from bisect import bisect_right
from dataclasses import dataclass

from tools.plant.model.cycles import DAY_S, PLANT_EPOCH_S, WEEK_S

# How far back a machine's temperature remembers that it ran; several thermal time constants.
_MEMORY_S = 6 * 3600
_THERMAL_TAU_S = 1_500.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Runs during the same intervals of every period since the plant's epoch.

    Attributes:
        period_s: Length of the period.
        intervals: When it runs in each period, as (start, stop) seconds, sorted and apart.
    """

    period_s: int
    intervals: tuple[tuple[int, int], ...]

    def is_on(self, time_s: int) -> bool:
        """Return whether the machine is scheduled to run."""
        second = (time_s - PLANT_EPOCH_S) % self.period_s
        return any(start <= second < stop for start, stop in self.intervals)

    def on_s(self, time_s: int) -> int:
        """Return the scheduled running time since the plant's epoch, in seconds."""
        periods, second = divmod(time_s - PLANT_EPOCH_S, self.period_s)
        whole = sum(stop - start for start, stop in self.intervals)
        return periods * whole + sum(
            min(second, stop) - start for start, stop in self.intervals if second > start
        )

    def starts(self, time_s: int) -> int:
        """Return the scheduled starts since the plant's epoch."""
        if self.intervals == ((0, self.period_s),):
            return 0
        periods, second = divmod(time_s - PLANT_EPOCH_S, self.period_s)
        return periods * len(self.intervals) + sum(second >= start for start, _ in self.intervals)

    def edges(self, start_s: int, stop_s: int) -> list[int]:
        """Return the times in [start_s, stop_s) at which the schedule may switch."""
        first = (start_s - PLANT_EPOCH_S) // self.period_s
        last = (stop_s - PLANT_EPOCH_S) // self.period_s
        times = (
            PLANT_EPOCH_S + period * self.period_s + edge
            for period in range(first, last + 1)
            for interval in self.intervals
            for edge in interval
        )
        return [time_s for time_s in times if start_s <= time_s < stop_s]


ALWAYS = Schedule(WEEK_S, ((0, WEEK_S),))


def duty_days(first: bool) -> Schedule:
    """Return one half of a duty/standby pair that changes over daily, a little after six."""
    change = 6 * 3600 + 20
    if first:
        return Schedule(2 * DAY_S, ((change, change + DAY_S),))
    return Schedule(2 * DAY_S, ((0, change), (change + DAY_S, 2 * DAY_S)))


@dataclass(frozen=True, slots=True)
class Override:
    """From start_s to stop_s (exclusive) the machine runs, or stands, whatever its schedule says."""

    start_s: int
    stop_s: int
    is_running: bool


@dataclass(frozen=True, slots=True)
class RunColumns:
    """What a machine did at each of some times.

    Attributes:
        running: 1.0 or 0.0.
        age_s: Seconds since it last started or stopped.
        heat: How warm it is between ambient (0) and steady operation (1).
        run_h: Running time since the plant's epoch, in hours.
        starts: Starts since the plant's epoch.
    """

    running: list[float]
    age_s: list[int]
    heat: list[float]
    run_h: list[float]
    starts: list[float]


class RunHistory:
    """A machine's starts and stops in a window of time; later overrides win over earlier ones."""

    def __init__(
        self, schedule: Schedule, overrides: tuple[Override, ...], *, start_s: int, stop_s: int
    ) -> None:
        """Work out the window [start_s, stop_s)."""
        self.start_s, self.stop_s = start_s, stop_s
        origin = min([start_s, *(override.start_s for override in overrides)]) - _MEMORY_S
        edges = {origin, *schedule.edges(origin, stop_s)}
        for override in overrides:
            edges.update((override.start_s, override.stop_s))
        self._times: list[int] = []
        self._running: list[bool] = []
        for edge in sorted(edge for edge in edges if origin <= edge < stop_s):
            is_running = _state(schedule, overrides, edge)
            if not self._running or is_running != self._running[-1]:
                self._times.append(edge)
                self._running.append(is_running)
        self._heat = [1.0 if self._running[0] else 0.0]
        self._run_s = [schedule.on_s(origin)]
        self._starts = [schedule.starts(origin)]
        for index in range(1, len(self._times)):
            lasted_s = self._times[index] - self._times[index - 1]
            was_running = self._running[index - 1]
            self._heat.append(_heat(self._heat[-1], was_running, lasted_s))
            self._run_s.append(self._run_s[-1] + lasted_s * was_running)
            self._starts.append(self._starts[-1] + (not was_running))

    def columns(self, times: range) -> RunColumns:
        """Return what the machine did at these times, all inside the window."""
        columns = RunColumns([], [], [], [], [])
        position = 0
        while position < len(times):
            time_s = times[position]
            index = bisect_right(self._times, time_s) - 1
            since, is_running = self._times[index], self._running[index]
            until = self._times[index + 1] if index + 1 < len(self._times) else self.stop_s
            stop = min(len(times), position + max(1, -((time_s - until) // times.step)))
            ages = [time_s - since for time_s in times[position:stop]]
            heat, run_s = self._heat[index], self._run_s[index]
            columns.running.extend([float(is_running)] * len(ages))
            columns.age_s.extend(ages)
            columns.starts.extend([float(self._starts[index])] * len(ages))
            columns.heat.extend([_heat(heat, is_running, age_s) for age_s in ages])
            columns.run_h.extend([(run_s + age_s * is_running) / 3600 for age_s in ages])
            position = stop
        return columns


def _state(schedule: Schedule, overrides: tuple[Override, ...], time_s: int) -> bool:
    for override in reversed(overrides):
        if override.start_s <= time_s < override.stop_s:
            return override.is_running
    return schedule.is_on(time_s)


def _heat(before: float, is_running: bool, lasted_s: int) -> float:
    target = 1.0 if is_running else 0.0
    return target + (before - target) * math.exp(-lasted_s / _THERMAL_TAU_S)


class RunPlan:
    """A machine's schedule and overrides, with the part of its history that is being asked for."""

    def __init__(self, schedule: Schedule) -> None:
        """Start without overrides."""
        self.schedule = schedule
        self._overrides: tuple[Override, ...] = ()
        self._history: RunHistory | None = None

    def override(self, overrides: tuple[Override, ...]) -> None:
        """Replace all overrides."""
        if overrides != self._overrides:
            self._overrides, self._history = overrides, None

    def columns(self, times: range) -> RunColumns:
        """Return what the machine did at these times."""
        history = self._history
        if history is None or times.start < history.start_s or times.stop > history.stop_s:
            history = self._history = RunHistory(
                self.schedule,
                self._overrides,
                start_s=times.start - 3600,
                stop_s=times.stop + _MEMORY_S,
            )
        return history.columns(times)
