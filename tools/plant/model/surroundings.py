"""What all devices of the plant share at one time: the weather and how much production asks for."""

from collections.abc import Callable
from dataclasses import dataclass

from tools.plant.model.cycles import ambient_cycle, demand
from tools.plant.model.noise import NoiseSource

Columns = dict[str, list[float]]

# A device's physics: its readings at some times, before faults, quality and the sensor's digits.
DevicePhysics = Callable[[range, "Surroundings"], Columns]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Columns shared by all devices, one entry per time.

    Attributes:
        ambient: Outside temperature, °C.
        demand: Share of full production, 0 to 1.
    """

    ambient: list[float]
    demand: list[float]


class Site:
    """Weather and production of the plant."""

    def __init__(self, seed: int) -> None:
        """Draw from this seed."""
        self._weather = NoiseSource(seed, "weather", rho=0.998, fast_sigma=0.0)
        self._orders = NoiseSource(seed, "orders", rho=0.97, fast_sigma=0.1)
        self._times = range(0)
        self._columns = Surroundings([], [])

    def at(self, times: range) -> Surroundings:
        """Return the surroundings at these times."""
        if times != self._times:
            self._times, self._columns = (
                times,
                Surroundings(
                    ambient=[
                        cycle + 1.5 * weather
                        for cycle, weather in zip(
                            ambient_cycle(times), self._weather.column(times), strict=True
                        )
                    ],
                    demand=[
                        level * (1 + 0.02 * orders)
                        for level, orders in zip(demand(times), self._orders.column(times), strict=True)
                    ],
                ),
            )
        return self._columns
