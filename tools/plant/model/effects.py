"""What a fault does to the readings of a device: overlays on the columns of a healthy plant."""

import math
from collections.abc import Callable

from tools.plant.model.episodes import Episode
from tools.plant.model.noise import jitter
from tools.plant.model.pumps import current_a, head_kpa
from tools.plant.model.surroundings import Columns
from tools.plant.model.tanks import HIGH_LEVEL_PERCENT

# Changes the columns in place; `positions` are those at which the effect is to be applied.
Effect = Callable[[Columns, range, range, Episode], None]

# A bearing that ran hot cools down with this time constant after the fault.
_COOLING_TAU_S = 600.0
# Vibration of a worn bearing at the end of its life, as a multiple of a good one's, minus one.
_WEAR_GROWTH = 6.0
_BUFFERED_PER_S = 35.0


def _span(times: range, start_s: int, stop_s: float) -> range:
    """Return the positions of the times in [start_s, stop_s)."""
    first = max(0, -((times.start - start_s) // times.step))
    if stop_s == math.inf:
        return range(first, len(times))
    return range(first, max(first, min(len(times), -((times.start - int(stop_s)) // times.step))))


def _bearing_wear(columns: Columns, times: range, positions: range, episode: Episode) -> None:
    for i in positions:
        time_s = times[i]
        growth = math.expm1(math.log(1 + _WEAR_GROWTH) * episode.progress(time_s))
        heat = 28.0 * growth / _WEAR_GROWTH
        if episode.is_active(time_s):
            columns["vibration"][i] += 1.6 * growth * (1 + 0.04 * jitter(1, time_s))
        else:
            heat *= math.exp(-(time_s - episode.end_s) / _COOLING_TAU_S)
        columns["bearing_de_temperature"][i] += heat
        columns["bearing_nde_temperature"][i] += 0.15 * heat


def _cavitation(columns: Columns, times: range, positions: range, episode: Episode) -> None:
    for i in positions:
        time_s = times[i]
        elapsed_s = time_s - episode.onset_s + 1
        depth = min(1.0, elapsed_s / 15)
        hunting = depth * (0.11 * math.sin(2 * math.pi * time_s / 4.3) + 0.04 * jitter(2, time_s))
        suction = max(2.0, columns["suction_pressure"][i] - 33.0 * depth)
        flow = columns["flow"][i] * (1 - 0.10 * depth + hunting)
        head = head_kpa(flow, columns["speed"][i] / 1480.0) * (1 - 0.12 * depth)
        # The current swings with the vapour in the impeller, then falls with the mass that is moved.
        draw = 1 - 0.14 * min(1.0, max(0, elapsed_s - 20) / 60) + 0.07 * depth * jitter(3, time_s)
        columns["suction_pressure"][i] = suction
        columns["flow"][i] = flow
        columns["discharge_pressure"][i] = suction + max(0.0, head)
        columns["power"][i] *= draw
        columns["motor_current"][i] *= draw
        columns["vibration"][i] += depth * (2.8 + 1.6 * jitter(4, time_s))
        columns["seal_leak"][i] += 1.5 * depth


def _dry_run(columns: Columns, times: range, positions: range, episode: Episode) -> None:
    ran_s = episode.end_s - episode.onset_s
    for i in positions:
        time_s = times[i]
        if not episode.is_active(time_s):
            cooling = math.exp(-(time_s - episode.end_s) / _COOLING_TAU_S)
            columns["bearing_de_temperature"][i] += 48.0 * (1 - math.exp(-ran_s / 150)) * cooling
            continue
        elapsed_s = time_s - episode.onset_s + 1
        depth = min(1.0, elapsed_s / 10)
        head = columns["discharge_pressure"][i] - columns["suction_pressure"][i]
        columns["suction_pressure"][i] = max(1.0, columns["suction_pressure"][i] - 38.0 * depth)
        columns["discharge_pressure"][i] = columns["suction_pressure"][i] + head * (1 - 0.85 * depth)
        columns["flow"][i] *= 1 - depth
        columns["power"][i] += depth * (min(7.0, columns["power"][i]) - columns["power"][i])
        columns["motor_current"][i] = current_a(columns["power"][i]) * (1 + 0.01 * jitter(5, time_s))
        columns["bearing_de_temperature"][i] += 48.0 * (1 - math.exp(-elapsed_s / 150))
        columns["vibration"][i] += 1.2 * depth
        columns["seal_leak"][i] += 6.0 * depth


def _filter_clogging(columns: Columns, times: range, positions: range, episode: Episode) -> None:
    for i in positions:
        progress = episode.progress(times[i])
        columns["filter_differential_pressure"][i] += 260.0 * progress
        columns["power"][i] *= 1 + 0.12 * progress
        columns["air_flow"][i] *= 1 - 0.03 * progress


def _drift(columns: Columns, times: range, positions: range, episode: Episode) -> None:
    hours = 24.0
    for i in positions:
        columns["oil_temperature"][i] *= 1 + 0.002 * hours * episode.progress(times[i])


def _broken_wire(columns: Columns, times: range, positions: range, _episode: Episode) -> None:
    for i in positions:
        # Once in five scans, and a scan is every fifth second.
        spike = jitter(6, times[i] // 5)
        if abs(spike) > 0.8:
            columns["return_temperature"][i] += 30.0 * spike if spike > 0 else 10.0 * spike


def _voltage_dip(columns: Columns, times: range, positions: range, episode: Episode) -> None:
    for i in positions:
        time_s = times[i]
        factor = 0.6 if time_s - episode.onset_s < 2 else 1.01
        columns["voltage"][i] *= factor
        for name in ("active_power", "reactive_power", "current"):
            columns[name][i] *= DIP_POWER_RATIO
        columns["demand"][i] *= 1 - (1 - DIP_POWER_RATIO) * min(1.0, (time_s - episode.onset_s) / 900)


# What is left of a meter's power while the machines stand.
DIP_POWER_RATIO = 0.55


def _valve_fails_closed(columns: Columns, _times: range, positions: range, _episode: Episode) -> None:
    for i in positions:
        columns["inlet_valve"][i] = 0.0


def _chatter(columns: Columns, times: range, positions: range, episode: Episode) -> None:
    for i in positions:
        time_s = times[i]
        share = min(1.0, (time_s - episode.onset_s) / 20)
        # Three seconds up, three down; the minute is part of it so that one-minute readings chatter too.
        is_up = share == 1.0 and (time_s // 3 + time_s // 60) % 2 == 1
        target = HIGH_LEVEL_PERCENT + (0.4 if is_up else -0.4)
        columns["level"][i] += (target - columns["level"][i]) * share
        columns["high_level_switch"][i] = float(is_up)


def _gateway_offline(columns: Columns, times: range, positions: range, episode: Episode) -> None:
    for i in positions:
        columns["status"][i] = 0.0
        columns["buffer_depth"][i] += _BUFFERED_PER_S * (times[i] - episode.onset_s)


# What each fault changes: the effect, the devices it reaches (None: the asset), and for how many
# seconds after its end it still shows.
_OVERLAYS: dict[str, tuple[tuple[Effect, tuple[str, ...] | None, float], ...]] = {
    "F1": ((_bearing_wear, None, 3600),),
    "F2": ((_cavitation, None, 0),),
    "F3": ((_dry_run, None, 3600),),
    "F4": ((_filter_clogging, None, 0),),
    "F6": ((_drift, None, 0),),
    "F7": ((_broken_wire, None, 0),),
    "F11": ((_gateway_offline, None, 0),),
    "F12": (
        (_voltage_dip, ("E-601", "E-602", "E-603"), 0),
        (_valve_fails_closed, ("T-401", "T-402"), 0),
    ),
    "F13": ((_chatter, None, 0),),
}


def apply(columns: Columns, device_id: str, times: range, episode: Episode) -> None:
    """Let an episode change a device's columns in place, where it reaches them."""
    for effect, reached, aftermath_s in _OVERLAYS.get(episode.fault, ()):
        if device_id in (reached or (episode.asset,)):
            effect(columns, times, _span(times, episode.onset_s, episode.end_s + aftermath_s), episode)
