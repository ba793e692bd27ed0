"""Correlated noise that can be read at any second without stepping there.

A source is an AR(1) sequence on whole minutes, drawn a day at a time, and a faster AR(1) sequence
between them that is zero on every whole minute. History in steps of one minute and a live plant in
steps of one second therefore read the same values where their times meet.
"""

import random
from array import array
from itertools import accumulate

DAY_S = 86_400
MINUTES_PER_DAY = 1_440

# Over its last hour a day is bent towards the first value of the next, so that midnight does not jump.
_BLEND_MINUTES = 60
_FAST_RHO = 0.7
_KEPT_DAYS = 3


class NoiseSource:
    """Noise with mean 0 and standard deviation 1 on whole minutes."""

    def __init__(self, seed: int, name: str, *, rho: float = 0.9, fast_sigma: float = 0.5) -> None:
        """Describe the source.

        Args:
            seed: The plant's seed.
            name: What tells this source from all others.
            rho: Correlation of values one minute apart.
            fast_sigma: Standard deviation of the innovations of the part between whole minutes.
        """
        self._key = f"{seed}/{name}"
        self._rho = rho
        self._fast_sigma = fast_sigma
        self._days: dict[int, array[float]] = {}
        self._minute = -1
        self._seconds: list[float] = []

    def column(self, times: range) -> list[float]:
        """Return the noise at each of these Unix times in seconds."""
        if times.start % 60 == 0 and times.step % 60 == 0:
            return self._on_minutes(times)
        return [self._at(time_s) for time_s in times]

    def _on_minutes(self, times: range) -> list[float]:
        column: list[float] = []
        stride = times.step // 60
        time_s, remaining = times.start, len(times)
        while remaining > 0:
            day, second = divmod(time_s, DAY_S)
            part = self._day(day)[second // 60 : MINUTES_PER_DAY : stride][:remaining]
            column.extend(part)
            remaining -= len(part)
            time_s += len(part) * times.step
        return column

    def _at(self, time_s: int) -> float:
        day, second = divmod(time_s, DAY_S)
        minute, offset = divmod(second, 60)
        values = self._day(day)
        here = values[minute]
        return here + (values[minute + 1] - here) * offset / 60 + self._fast(time_s // 60)[offset]

    def _day(self, day: int) -> "array[float]":
        values = self._days.get(day)
        if values is None:
            while len(self._days) >= _KEPT_DAYS:
                del self._days[next(iter(self._days))]
            values = self._days[day] = self._drawn(day)
        return values

    def _drawn(self, day: int) -> "array[float]":
        gauss = random.Random(f"{self._key}/{day}").gauss
        rho, sigma = self._rho, (1 - self._rho**2) ** 0.5
        first = gauss(0.0, 1.0)
        innovations = [gauss(0.0, sigma) for _ in range(MINUTES_PER_DAY)]
        values = array("d", accumulate(innovations, lambda value, step: rho * value + step, initial=first))
        gap = random.Random(f"{self._key}/{day + 1}").gauss(0.0, 1.0) - values[MINUTES_PER_DAY]
        for step in range(1, _BLEND_MINUTES + 1):
            values[MINUTES_PER_DAY - _BLEND_MINUTES + step] += gap * step / _BLEND_MINUTES
        return values

    def _fast(self, minute: int) -> list[float]:
        if minute != self._minute:
            gauss = random.Random(f"{self._key}/m{minute}").gauss
            steps = [gauss(0.0, self._fast_sigma) for _ in range(59)]
            self._seconds = list(accumulate(steps, lambda value, step: _FAST_RHO * value + step, initial=0.0))
            self._minute = minute
        return self._seconds


def jitter(key: int, time_s: int) -> float:
    """Return a number in [-1, 1) that looks random and depends only on the key and the second."""
    bits = (time_s * 0x9E3779B1 + key * 0x85EBCA77) & 0xFFFFFFFF
    bits = ((bits ^ (bits >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    bits = ((bits ^ (bits >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return (bits ^ (bits >> 16)) / 0x80000000 - 1.0
