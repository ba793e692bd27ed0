"""Edge gateways: what they hold back and how well their clock keeps."""

from tools.plant.model.noise import NoiseSource
from tools.plant.model.surroundings import Columns, Surroundings


class Gateway:
    """One edge gateway."""

    def __init__(self, seed: int, device_id: str) -> None:
        """Give the gateway its own noise."""
        self._buffer = NoiseSource(seed, f"{device_id}/buffer", rho=0.5, fast_sigma=0.5)
        self._clock = NoiseSource(seed, f"{device_id}/clock", rho=0.99, fast_sigma=0.05)

    def columns(self, times: range, _around: Surroundings) -> Columns:
        """Return the readings of a healthy gateway at these times."""
        return {
            "status": [1.0] * len(times),
            "buffer_depth": [max(0.0, 1.5 * noise) for noise in self._buffer.column(times)],
            "clock_offset": [4.0 + 6.0 * noise for noise in self._clock.column(times)],
        }
