"""Energy meters: power follows the shifts, the register is its integral and rolls over."""

import math
from dataclasses import dataclass

from tools.plant.model.catalogue import ENERGY_MODULUS_KWH
from tools.plant.model.cycles import PLANT_EPOCH_S, WEEK_DEMAND_H, WEEK_S, demand, demand_integral_h
from tools.plant.model.noise import NoiseSource
from tools.plant.model.surroundings import Columns, Surroundings

_WEEK_H = WEEK_S / 3600


@dataclass(frozen=True, slots=True)
class _Feeder:
    """What hangs on a meter: power is base + swing x demand."""

    volts: float
    base_kw: float
    swing_kw: float
    power_factor: float
    register_kwh: float


def _weekly_million(base_share: float) -> tuple[float, float]:
    """Return base and swing that make exactly one turn of the register a week."""
    base_kw = base_share * ENERGY_MODULUS_KWH / _WEEK_H
    return base_kw, (ENERGY_MODULUS_KWH - base_kw * _WEEK_H) / WEEK_DEMAND_H


_INCOMER_BASE_KW, _INCOMER_SWING_KW = _weekly_million(0.35)
_FEEDERS = {
    "E-601": _Feeder(400.0, 140.0, 300.0, 0.91, 412_305.0),
    "E-602": _Feeder(11_000.0, _INCOMER_BASE_KW, _INCOMER_SWING_KW, 0.94, 655_000.0),
    "E-603": _Feeder(400.0, 70.0, 120.0, 0.88, 87_640.0),
}
# Demand is the mean power of the last quarter of an hour.
_DEMAND_WINDOW_S = 900


class Meter:
    """One energy meter."""

    def __init__(self, seed: int, device_id: str) -> None:
        """Give the meter its own noise."""
        self._feeder = _FEEDERS[device_id]
        self._power = NoiseSource(seed, f"{device_id}/power", rho=0.9, fast_sigma=0.4)
        self._factor = NoiseSource(seed, f"{device_id}/factor", rho=0.95, fast_sigma=0.2)
        self._voltage = NoiseSource(seed, f"{device_id}/voltage", rho=0.9, fast_sigma=0.4)
        # The grid's frequency is the same on every meter.
        self._frequency = NoiseSource(seed, "grid/frequency", rho=0.85, fast_sigma=0.3)

    def columns(self, times: range, around: Surroundings) -> Columns:
        """Return the readings of a healthy meter at these times."""
        feeder = self._feeder
        voltage = [
            feeder.volts * (1.008 - 0.012 * wanted + 0.0025 * noise)
            for wanted, noise in zip(around.demand, self._voltage.column(times), strict=True)
        ]
        power = [
            (feeder.base_kw + feeder.swing_kw * wanted) * (1 + 0.012 * noise)
            for wanted, noise in zip(demand(times), self._power.column(times), strict=True)
        ]
        factor = [min(0.99, feeder.power_factor + 0.006 * noise) for noise in self._factor.column(times)]
        return {
            "voltage": voltage,
            "current": [
                kilowatts * 1000 / (math.sqrt(3) * volts * cosine)
                for kilowatts, volts, cosine in zip(power, voltage, factor, strict=True)
            ],
            "active_power": power,
            "reactive_power": [
                kilowatts * math.sqrt(1 - cosine * cosine) / cosine
                for kilowatts, cosine in zip(power, factor, strict=True)
            ],
            "power_factor": factor,
            "frequency": [50.0 + 0.012 * noise for noise in self._frequency.column(times)],
            "energy": [feeder.register_kwh + self.energy_kwh(time_s) for time_s in times],
            "demand": [
                (self.energy_kwh(time_s) - self.energy_kwh(time_s - _DEMAND_WINDOW_S))
                * 3600
                / _DEMAND_WINDOW_S
                for time_s in times
            ],
        }

    def energy_kwh(self, time_s: int) -> float:
        """Return the energy since the plant's epoch: the exact integral of the power without noise."""
        feeder = self._feeder
        hours = (time_s - PLANT_EPOCH_S) / 3600
        return feeder.base_kw * hours + feeder.swing_kw * demand_integral_h(time_s)
