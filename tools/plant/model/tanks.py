"""Tanks: the level follows supply and demand, the inlet valve the level, the contents the weather."""

from dataclasses import dataclass

from tools.plant.model.noise import NoiseSource
from tools.plant.model.surroundings import Columns, Surroundings

HIGH_LEVEL_PERCENT = 90.0


@dataclass(frozen=True, slots=True)
class _Cycle:
    """A level that swings evenly between two limits."""

    period_s: int
    low: float
    high: float
    water_c: float


_CYCLES = {"T-401": _Cycle(10_800, 48.0, 74.0, 11.0), "T-402": _Cycle(7_500, 42.0, 68.0, 14.0)}


def level_cycle(device_id: str, times: range) -> list[float]:
    """Return a tank's level in %, without waves."""
    cycle = _CYCLES[device_id]
    period, swing = cycle.period_s, 2 * (cycle.high - cycle.low) / cycle.period_s
    half = period // 2
    return [cycle.low + swing * (half - abs(time_s % period - half)) for time_s in times]


def is_filling(device_id: str, times: range) -> list[bool]:
    """Return whether the level is on its way up."""
    period = _CYCLES[device_id].period_s
    return [time_s % period < period // 2 for time_s in times]


class Tank:
    """One tank and its sensors."""

    def __init__(self, seed: int, device_id: str) -> None:
        """Give the tank its own noise."""
        self._device_id = device_id
        self._waves = NoiseSource(seed, f"{device_id}/level", rho=0.8, fast_sigma=0.3)
        self._valve = NoiseSource(seed, f"{device_id}/valve", rho=0.9, fast_sigma=0.3)
        self._water = NoiseSource(seed, f"{device_id}/temperature", rho=0.99, fast_sigma=0.05)

    def columns(self, times: range, around: Surroundings) -> Columns:
        """Return the readings of a healthy tank at these times."""
        level = [
            height + 0.15 * noise
            for height, noise in zip(
                level_cycle(self._device_id, times), self._waves.column(times), strict=True
            )
        ]
        water_c = _CYCLES[self._device_id].water_c
        return {
            "level": level,
            "inlet_valve": [
                (62.0 if filling else 24.0) + 8.0 * (wanted - 0.8) + 1.2 * noise
                for filling, wanted, noise in zip(
                    is_filling(self._device_id, times),
                    around.demand,
                    self._valve.column(times),
                    strict=True,
                )
            ],
            "temperature": [
                water_c + 0.15 * (outside - 18.0) + 0.1 * noise
                for outside, noise in zip(around.ambient, self._water.column(times), strict=True)
            ],
            "high_level_switch": [float(height >= HIGH_LEVEL_PERCENT) for height in level],
        }
