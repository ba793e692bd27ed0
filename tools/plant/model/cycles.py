"""What repeats in the plant: the day's temperature, the week's shifts, and their integrals."""

import math
from itertools import accumulate

# Monday 2024-01-01 00:00 UTC: counters count from here, weeks start here. The plant lives in UTC.
PLANT_EPOCH_S = 1_704_067_200
DAY_S = 86_400
WEEK_S = 7 * DAY_S
MINUTES_PER_WEEK = WEEK_S // 60

_RAMP_H = 0.5
# Hour of the day at which a shift starts, and the demand from then on, as a share of full production.
_WEEKDAY = ((0.0, 0.60), (6.0, 1.00), (14.0, 0.92), (22.0, 0.60))
_WEEKEND = ((0.0, 0.55), (8.0, 0.62), (20.0, 0.55))


def _demand_at(hour: float, weekday: int) -> float:
    plan = _WEEKDAY if weekday < 5 else _WEEKEND
    before = _WEEKDAY[-1][1] if 0 < weekday < 6 else _WEEKEND[-1][1]
    value = before
    for start_h, level in plan:
        if hour < start_h:
            break
        share = min(1.0, (hour - start_h) / _RAMP_H)
        value = before + (level - before) * share
        before = level
    return value


def _weekly(function_of_minute: list[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return a table of one week by minutes, and its running sum."""
    return tuple(function_of_minute), tuple(accumulate(function_of_minute, initial=0.0))


_DEMAND, _DEMAND_SUM = _weekly(
    [_demand_at((minute % 1440) / 60, minute // 1440) for minute in range(MINUTES_PER_WEEK)]
)
_AMBIENT = tuple(18.0 + 6.0 * math.sin(2 * math.pi * (minute - 540) / 1440) for minute in range(1440))


def demand(times: range) -> list[float]:
    """Return how much of full production the shifts ask for (0 to 1)."""
    table, size = _DEMAND, MINUTES_PER_WEEK
    return [table[(time_s - PLANT_EPOCH_S) // 60 % size] for time_s in times]


def ambient_cycle(times: range) -> list[float]:
    """Return the daily course of the outside temperature in °C, without weather."""
    table = _AMBIENT
    return [table[time_s // 60 % 1440] for time_s in times]


def demand_integral_h(time_s: int) -> float:
    """Return the integral of the demand since the plant's epoch, in hours of full production."""
    week, second = divmod(time_s - PLANT_EPOCH_S, WEEK_S)
    minute, rest = divmod(second, 60)
    minutes = week * _DEMAND_SUM[-1] + _DEMAND_SUM[minute] + _DEMAND[minute] * rest / 60
    return minutes / 60


WEEK_DEMAND_H = _DEMAND_SUM[-1] / 60
