"""Fans and motors: inrush at every start, windings that warm up and cool down."""

from tools.plant.model.cycles import DAY_S, WEEK_S
from tools.plant.model.noise import NoiseSource
from tools.plant.model.running import ALWAYS, RunPlan, Schedule
from tools.plant.model.surroundings import Columns, Surroundings

INRUSH_FACTOR = 6.0
INRUSH_S = 3
_SPIN_UP_S, _COAST_DOWN_S = 4, 20
_HOUR_S = 3600

# Twenty seconds past the minute: a start is no reading of the one-minute history.
SCHEDULES: dict[str, Schedule] = {
    "M-301": Schedule(DAY_S, ((20, 11 * _HOUR_S + 50), (11 * _HOUR_S + 1820, DAY_S - 1240))),
    "M-302": ALWAYS,
    "M-303": Schedule(DAY_S, ((5 * _HOUR_S + 2720, 22 * _HOUR_S + 920),)),
    "M-304": Schedule(
        WEEK_S,
        tuple((day * DAY_S + 6 * _HOUR_S + 320, day * DAY_S + 21 * _HOUR_S + 2420) for day in range(5)),
    ),
}
_RATED_A = {"M-301": 28.0, "M-302": 27.0, "M-303": 22.0, "M-304": 16.0}


class Motor:
    """One motor and its sensors."""

    def __init__(self, seed: int, device_id: str) -> None:
        """Give the motor its own noise."""
        self.run = RunPlan(SCHEDULES[device_id])
        self._rated_a = _RATED_A[device_id]
        self._age_h = 2_600.0 + 1_910.0 * int(device_id[-1])

        def noise(name: str, rho: float = 0.9, fast_sigma: float = 0.5) -> NoiseSource:
            return NoiseSource(seed, f"{device_id}/{name}", rho=rho, fast_sigma=fast_sigma)

        self._torque, self._winding = noise("torque"), noise("winding", 0.97, 0.1)
        self._vibration = noise("vibration", 0.7, 0.8)

    def columns(self, times: range, around: Surroundings) -> Columns:
        """Return the readings of a healthy motor at these times."""
        run = self.run.columns(times)
        torque = [
            0.72 + 0.28 * wanted + 0.01 * noise
            for wanted, noise in zip(around.demand, self._torque.column(times), strict=True)
        ]
        speed = [
            (min(1.0, (age_s + 1) / _SPIN_UP_S) if running else max(0.0, 1.0 - age_s / _COAST_DOWN_S))
            for running, age_s in zip(run.running, run.age_s, strict=True)
        ]
        return {
            "running": run.running,
            "current": [
                running * self._rated_a * (INRUSH_FACTOR if age_s < INRUSH_S else share)
                for running, age_s, share in zip(run.running, run.age_s, torque, strict=True)
            ],
            "winding_temperature": [
                outside + heat * 55.0 * share * share + 0.4 * noise
                for outside, heat, share, noise in zip(
                    around.ambient, run.heat, torque, self._winding.column(times), strict=True
                )
            ],
            "vibration": [
                0.03 + 1.3 * ratio * ratio * (1 + 0.06 * noise)
                for ratio, noise in zip(speed, self._vibration.column(times), strict=True)
            ],
            "speed": [ratio * (1500.0 - 32.0 * share) for ratio, share in zip(speed, torque, strict=True)],
            "run_hours": [self._age_h + hours for hours in run.run_h],
        }
