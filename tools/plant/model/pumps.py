"""Centrifugal pumps: speed, head, flow, power and current tied by a pump curve and a system curve."""

import math

from tools.plant.model.noise import NoiseSource
from tools.plant.model.running import ALWAYS, RunPlan, Schedule, duty_days
from tools.plant.model.surroundings import Columns, Surroundings
from tools.plant.model.tanks import level_cycle

NOMINAL_FLOW_M3H = 120.0
_SHUT_OFF_HEAD_KPA = 480.0
_STATIC_HEAD_KPA = 150.0
# kPa per (m³/h)²: the pump gives 365 kPa at 120 m³/h, and the pipes take it.
_PUMP_SLOPE = (_SHUT_OFF_HEAD_KPA - 365.0) / NOMINAL_FLOW_M3H**2
_SYSTEM_SLOPE = (365.0 - _STATIC_HEAD_KPA) / NOMINAL_FLOW_M3H**2
_BEST_EFFICIENCY = 0.66
_MOTOR_EFFICIENCY = 0.88
# √3 x 0.4 kV x cos φ 0.8: kW per A.
_KW_PER_AMPERE = math.sqrt(3) * 0.4 * 0.8
_SPIN_UP_S, _COAST_DOWN_S = 5, 12

SCHEDULES: dict[str, Schedule] = {
    "P-101": duty_days(first=True),
    "P-102": duty_days(first=False),
    "P-103": ALWAYS,
    "P-104": duty_days(first=False),
    "P-105": duty_days(first=True),
}


def head_kpa(flow_m3h: float, speed_ratio: float) -> float:
    """Return the pump curve: pressure rise at a flow and a share of the nominal speed."""
    return _SHUT_OFF_HEAD_KPA * speed_ratio**2 - _PUMP_SLOPE * flow_m3h**2


def operating_flow_m3h(speed_ratio: float, demand: float) -> float:
    """Return where pump and system curve meet; less demand is a more closed valve."""
    resistance = _SYSTEM_SLOPE * (1.0 + 0.35 * (1.0 - demand))
    square = (_SHUT_OFF_HEAD_KPA * speed_ratio**2 - _STATIC_HEAD_KPA) / (_PUMP_SLOPE + resistance)
    return math.sqrt(square) if square > 0 else 0.0


def power_kw(flow_m3h: float, head: float) -> float:
    """Return the electrical power for a flow against a head in kPa, with what turning alone takes."""
    off_best = flow_m3h / NOMINAL_FLOW_M3H - 1.0
    efficiency = _BEST_EFFICIENCY * (1.0 - 0.35 * off_best * off_best)
    return flow_m3h * head / 3600 / efficiency / _MOTOR_EFFICIENCY * 0.86 + 3.0


def current_a(power: float) -> float:
    """Return the motor current at a power in kW."""
    return power / _KW_PER_AMPERE


class Pump:
    """One pump and its sensors."""

    def __init__(self, seed: int, device_id: str) -> None:
        """Give the pump its own noise and its own small deviations from the data sheet."""
        self.run = RunPlan(SCHEDULES[device_id])
        number = int(device_id[-1])
        self._trim = 1.0 + 0.012 * (number - 3)
        self._age_h = 4_000.0 + 1_730.0 * number

        def noise(name: str, rho: float = 0.9, fast_sigma: float = 0.5) -> NoiseSource:
            return NoiseSource(seed, f"{device_id}/{name}", rho=rho, fast_sigma=fast_sigma)

        self._speed, self._flow, self._suction = noise("speed"), noise("flow"), noise("suction")
        self._vibration, self._seal = noise("vibration", 0.7, 0.8), noise("seal", 0.98, 0.1)
        self._drive_end, self._other_end = noise("de", 0.97, 0.1), noise("nde", 0.97, 0.1)
        self._current = noise("current", 0.6, 0.7)

    def columns(self, times: range, around: Surroundings) -> Columns:
        """Return the readings of a healthy pump at these times."""
        run = self.run.columns(times)
        # Affinity: a little less slip and speed when the water level and the load ask for less.
        ratio = [
            _speed_ratio(running, age_s) * (0.988 + 0.012 * wanted) * (1 + 0.0008 * noise)
            for running, age_s, wanted, noise in zip(
                run.running, run.age_s, around.demand, self._speed.column(times), strict=True
            )
        ]
        flow = [
            operating_flow_m3h(speed, wanted) * (1 + 0.006 * noise) * self._trim if speed else 0.0
            for speed, wanted, noise in zip(ratio, around.demand, self._flow.column(times), strict=True)
        ]
        head = [max(0.0, head_kpa(rate / self._trim, speed)) for rate, speed in zip(flow, ratio, strict=True)]
        suction = [
            45.0 + 0.2 * (level - 60.0) - 0.0006 * (rate * rate - 14_400.0) + 0.4 * noise
            for level, rate, noise in zip(
                level_cycle("T-401", times), flow, self._suction.column(times), strict=True
            )
        ]
        power = [
            power_kw(rate, rise) * min(1.0, speed * speed * speed) if speed else 0.0
            for rate, rise, speed in zip(flow, head, ratio, strict=True)
        ]
        current = [
            max(0.0, current_a(kilowatts) + 0.12 * noise) if kilowatts else 0.0
            for kilowatts, noise in zip(power, self._current.column(times), strict=True)
        ]
        vibration = [
            0.08 + (1.52 + 0.8 * (rate / NOMINAL_FLOW_M3H - 1) ** 2) * speed * speed * (1 + 0.05 * noise)
            for rate, speed, noise in zip(flow, ratio, self._vibration.column(times), strict=True)
        ]
        drive_end, other_end = (
            [
                outside + heat * (rise + 0.25 * (kilowatts - 21.0)) + 0.25 * noise
                for outside, heat, kilowatts, noise in zip(
                    around.ambient, run.heat, power, source.column(times), strict=True
                )
            ]
            for rise, source in ((33.0, self._drive_end), (30.0, self._other_end))
        )
        return {
            "running": run.running,
            "speed": [1480.0 * speed for speed in ratio],
            "suction_pressure": suction,
            "discharge_pressure": [low + rise for low, rise in zip(suction, head, strict=True)],
            "flow": flow,
            "motor_current": current,
            "power": power,
            "bearing_de_temperature": drive_end,
            "bearing_nde_temperature": other_end,
            "vibration": vibration,
            "seal_leak": [
                max(0.0, 0.3 + 1.7 * running + 0.25 * noise)
                for running, noise in zip(run.running, self._seal.column(times), strict=True)
            ],
            "run_hours": [self._age_h + hours for hours in run.run_h],
        }


def _speed_ratio(running: float, age_s: int) -> float:
    if running:
        return min(1.0, (age_s + 1) / _SPIN_UP_S)
    return max(0.0, 1.0 - age_s / _COAST_DOWN_S)
