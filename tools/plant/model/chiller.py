"""The chiller: what it cools, what it draws, and the coefficient of performance that follows from both."""

from tools.plant.model.noise import NoiseSource
from tools.plant.model.running import ALWAYS, RunPlan
from tools.plant.model.surroundings import Columns, Surroundings

STATUS_STOPPED, STATUS_RUNNING, STATUS_FAULT = 0, 1, 2
# kW per (m³/h x K) of water.
_WATER_KW = 1.163


class Chiller:
    """The chiller and its sensors."""

    def __init__(self, seed: int, device_id: str) -> None:
        """Give the chiller its own noise."""
        self.run = RunPlan(ALWAYS)

        def noise(name: str, rho: float = 0.95, fast_sigma: float = 0.2) -> NoiseSource:
            return NoiseSource(seed, f"{device_id}/{name}", rho=rho, fast_sigma=fast_sigma)

        self._supply, self._load, self._flow = noise("supply", 0.8), noise("load"), noise("flow", 0.9)
        self._cop, self._condenser = noise("cop"), noise("condenser", 0.98, 0.1)

    def columns(self, times: range, around: Surroundings) -> Columns:
        """Return the readings of a healthy chiller at these times."""
        run = self.run.columns(times)
        supply = [
            6.5 + (1.0 - heat) * 9.0 + 0.12 * noise
            for heat, noise in zip(run.heat, self._supply.column(times), strict=True)
        ]
        spread = [
            running * max(0.8, 3.1 + 2.2 * wanted + 0.06 * (outside - 18.0) + 0.1 * noise)
            for running, wanted, outside, noise in zip(
                run.running, around.demand, around.ambient, self._load.column(times), strict=True
            )
        ]
        flow = [
            running * (84.0 + 0.5 * noise)
            for running, noise in zip(run.running, self._flow.column(times), strict=True)
        ]
        power = [
            running * rate * _WATER_KW * kelvin / (4.6 - 0.05 * (outside - 18.0) + 0.04 * noise)
            for running, rate, kelvin, outside, noise in zip(
                run.running, flow, spread, around.ambient, self._cop.column(times), strict=True
            )
        ]
        return {
            "supply_temperature": supply,
            "return_temperature": [cold + kelvin for cold, kelvin in zip(supply, spread, strict=True)],
            "flow": flow,
            "power": power,
            "condenser_temperature": [
                outside + 14.0 * heat + 0.3 * noise
                for outside, heat, noise in zip(
                    around.ambient, run.heat, self._condenser.column(times), strict=True
                )
            ],
            "cop": [
                rate * _WATER_KW * kelvin / kilowatts if kilowatts else 0.0
                for rate, kelvin, kilowatts in zip(flow, spread, power, strict=True)
            ],
            "differential_pressure": [62.0 * (rate / 84.0) ** 2 for rate in flow],
            "status": [STATUS_RUNNING if running else STATUS_FAULT for running in run.running],
        }
