"""Screw compressors: pressure saws between load and unload, the share of load follows the demand for air."""

import math

from tools.plant.model.cycles import DAY_S
from tools.plant.model.noise import NoiseSource
from tools.plant.model.running import ALWAYS, RunPlan, Schedule
from tools.plant.model.surroundings import Columns, Surroundings

_LOADED_KW, _UNLOADED_KW = 68.0, 34.0
_UNLOAD_BAR, _LOAD_BAR = 7.2, 6.8
_FULL_AIR_NM3MIN = 15.3
_BLEED_TAU_S = 240.0

# The second machine stands at night.
SCHEDULES: dict[str, Schedule] = {
    "C-201": ALWAYS,
    "C-202": Schedule(DAY_S, ((5 * 3600 + 1820, 22 * 3600 + 1805),)),
}
_CYCLE_S = {"C-201": 48, "C-202": 64}


class Compressor:
    """One compressor and its sensors."""

    def __init__(self, seed: int, device_id: str) -> None:
        """Give the compressor its own noise."""
        self.run = RunPlan(SCHEDULES[device_id])
        self._cycle_s = _CYCLE_S[device_id]
        self._age_h = 11_200.0 if device_id == "C-201" else 7_450.0
        self._age_starts = 2_310.0 if device_id == "C-201" else 1_480.0

        def noise(name: str, rho: float = 0.9, fast_sigma: float = 0.4) -> NoiseSource:
            return NoiseSource(seed, f"{device_id}/{name}", rho=rho, fast_sigma=fast_sigma)

        self._demand, self._pressure, self._power = noise("load", 0.95, 0.2), noise("bar"), noise("kw")
        self._hot, self._oil = noise("discharge", 0.97, 0.2), noise("oil", 0.98, 0.1)
        self._dew, self._filter = noise("dew", 0.98, 0.1), noise("filter", 0.95, 0.3)
        self._vibration = noise("vibration", 0.7, 0.8)

    def columns(self, times: range, around: Surroundings) -> Columns:
        """Return the readings of a healthy compressor at these times."""
        run = self.run.columns(times)
        load = [
            running * min(98.0, max(8.0, 20.0 + 50.0 * wanted + 1.5 * noise))
            for running, wanted, noise in zip(
                run.running, around.demand, self._demand.column(times), strict=True
            )
        ]
        saw = [(time_s % self._cycle_s) / self._cycle_s for time_s in times]
        pressure = [
            _pressure_bar(running, age_s, phase, share / 100) + 0.012 * noise
            for running, age_s, phase, share, noise in zip(
                run.running, run.age_s, saw, load, self._pressure.column(times), strict=True
            )
        ]
        power = [
            (_LOADED_KW if phase < share / 100 else _UNLOADED_KW) + 0.6 * noise if running else 0.0
            for running, phase, share, noise in zip(
                run.running, saw, load, self._power.column(times), strict=True
            )
        ]
        discharge_c, oil_c = (
            [
                outside + heat * (rise + 0.1 * (share - 62.0)) + 0.5 * noise
                for outside, heat, share, noise in zip(
                    around.ambient, run.heat, load, source.column(times), strict=True
                )
            ]
            for rise, source in ((66.0, self._hot), (53.0, self._oil))
        )
        return {
            "discharge_pressure": [max(0.0, bar) for bar in pressure],
            "discharge_temperature": discharge_c,
            "oil_temperature": oil_c,
            "load": load,
            "power": power,
            "air_flow": [_FULL_AIR_NM3MIN * share / 100 for share in load],
            "dew_point": [
                3.0 + 0.04 * (outside - 18.0) + 0.15 * noise
                for outside, noise in zip(around.ambient, self._dew.column(times), strict=True)
            ],
            "filter_differential_pressure": [
                max(0.0, running * (120.0 + 0.6 * (share - 62.0) + 2.0 * noise))
                for running, share, noise in zip(run.running, load, self._filter.column(times), strict=True)
            ],
            "vibration": [
                0.05 + running * (2.05 + 0.1 * noise)
                for running, noise in zip(run.running, self._vibration.column(times), strict=True)
            ],
            "run_hours": [self._age_h + hours for hours in run.run_h],
            "starts": [self._age_starts + count for count in run.starts],
        }


def _pressure_bar(running: float, age_s: int, phase: float, share: float) -> float:
    """Return the receiver pressure: up while loaded, down while unloaded, bled away when stopped."""
    if not running:
        return (_LOAD_BAR + _UNLOAD_BAR) / 2 * math.exp(-age_s / _BLEED_TAU_S)
    rise = phase / share if phase < share else (1.0 - phase) / (1.0 - share)
    settled = 1.0 - math.exp(-(age_s + 1) / 20.0)
    return (_LOAD_BAR + (_UNLOAD_BAR - _LOAD_BAR) * rise) * settled
