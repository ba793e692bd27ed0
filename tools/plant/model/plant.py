"""The plant: every device's readings at any time, from a seed and a list of episodes."""

from collections.abc import Callable
from typing import Protocol

from tools.plant.model import effects
from tools.plant.model.catalogue import DEVICE_BY_ID, DEVICES, MetricSpec
from tools.plant.model.chiller import Chiller
from tools.plant.model.compressors import Compressor
from tools.plant.model.episodes import DIP_DEVICES, Episode
from tools.plant.model.gateways import Gateway
from tools.plant.model.meters import Meter
from tools.plant.model.motors import Motor
from tools.plant.model.pumps import Pump
from tools.plant.model.running import Override, RunPlan
from tools.plant.model.surroundings import Columns, Site, Surroundings
from tools.plant.model.tanks import Tank

DEFAULT_SEED = 20_240_101

# Later than any time the plant will see.
_NEVER_S = 2**40
# How long a pump or motor stands before the start that F15 shows.
_STOP_BEFORE_START_S = 10


class _Physics(Protocol):
    def columns(self, times: range, around: Surroundings, /) -> Columns: ...


_PHYSICS: dict[str, Callable[[int, str], _Physics]] = {
    "pump": Pump,
    "compressor": Compressor,
    "motor": Motor,
    "tank": Tank,
    "chiller": Chiller,
    "energy_meter": Meter,
    "gateway": Gateway,
}


class Plant:
    """The Riverside Utilities plant.

    The same seed, episodes and commands give the same readings at the same time, whether they are
    asked for second by second or a week at once.
    """

    def __init__(self, seed: int = DEFAULT_SEED, episodes: tuple[Episode, ...] = ()) -> None:
        """Build the plant with the episodes that have happened or are planned."""
        self._site = Site(seed)
        self._devices: dict[str, _Physics] = {
            device.device_id: _PHYSICS[device.device_type](seed, device.device_id) for device in DEVICES
        }
        self._episodes: tuple[Episode, ...] = ()
        self._commands: dict[str, tuple[Override, ...]] = {}
        self._stuck: dict[Episode, float] = {}
        self.set_episodes(episodes)

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """All episodes, in the order in which they were given."""
        return self._episodes

    def set_episodes(self, episodes: tuple[Episode, ...]) -> None:
        """Replace all episodes; those that are over still count, a register does not forget them."""
        self._episodes = episodes
        self._stuck.clear()
        self._refresh_overrides()

    def command(self, device_id: str, *, is_running: bool, at_s: int) -> bool:
        """Start or stop a machine from now on; return False for a device that cannot."""
        if not isinstance(getattr(self._devices[device_id], "run", None), RunPlan):
            return False
        earlier = tuple(
            Override(before.start_s, min(before.stop_s, at_s), before.is_running)
            for before in self._commands.get(device_id, ())
        )
        self._commands[device_id] = (*earlier, Override(at_s, _NEVER_S, is_running))
        self._refresh_overrides()
        return True

    def is_running(self, device_id: str, time_s: int) -> bool:
        """Return whether a machine runs; devices that are no machines always do."""
        run = getattr(self._devices[device_id], "run", None)
        if not isinstance(run, RunPlan):
            return True
        return bool(run.columns(range(time_s, time_s + 1)).running[0])

    def columns(self, device_id: str, times: range) -> Columns:
        """Return a device's readings: metric name to one value per time.

        Args:
            device_id: A device of the catalogue.
            times: Unix times in seconds; whole minutes in steps of minutes are computed fastest.
        """
        columns = self._devices[device_id].columns(times, self._site.at(times))
        for episode in self._episodes:
            effects.apply(columns, device_id, times, episode)
            if episode.fault == "F5" and episode.asset == device_id:
                self._freeze(columns["winding_temperature"], times, episode)
        if "energy" in columns:
            self._set_registers(device_id, columns["energy"], times)
        return {
            metric.name: _digits(columns[metric.name], metric) for metric in DEVICE_BY_ID[device_id].metrics
        }

    def _freeze(self, column: list[float], times: range, episode: Episode) -> None:
        value = self._stuck.get(episode)
        if value is None:
            onset = range(episode.onset_s, episode.onset_s + 1)
            healthy = self._devices[episode.asset].columns(onset, self._site.at(onset))
            value = self._stuck[episode] = healthy["winding_temperature"][0]
        for position, time_s in enumerate(times):
            if episode.is_active(time_s):
                column[position] = value

    def _set_registers(self, device_id: str, energy: list[float], times: range) -> None:
        """Let the register skip what was not drawn after voltage dips, and start again at exchanges."""
        meter = self._devices[device_id]
        if not isinstance(meter, Meter):
            return
        for episode in self._episodes:
            if episode.fault == "F12":
                before = meter.energy_kwh(episode.onset_s)
                for position, time_s in enumerate(times):
                    if time_s > episode.onset_s:
                        drawn = meter.energy_kwh(min(time_s, episode.end_s)) - before
                        energy[position] -= (1 - effects.DIP_POWER_RATIO) * drawn
        exchanges = [e.onset_s for e in self._episodes if e.fault == "F9" and e.asset == device_id]
        for onset_s in sorted(exchanges):
            start_kwh = meter.energy_kwh(onset_s)
            for position, time_s in enumerate(times):
                if time_s >= onset_s:
                    energy[position] = meter.energy_kwh(time_s) - start_kwh

    def _refresh_overrides(self) -> None:
        for device_id, device in self._devices.items():
            run = getattr(device, "run", None)
            if isinstance(run, RunPlan):
                overrides = [*self._commands.get(device_id, ()), *self._forced(device_id)]
                run.override(tuple(sorted(overrides, key=lambda override: override.start_s)))

    def _forced(self, device_id: str) -> list[Override]:
        """Return when episodes make a machine run or stand."""
        forced = []
        for episode in self._episodes:
            if episode.fault == "F12" and device_id in DIP_DEVICES:
                restart_s = episode.dip_restart_s(device_id)
                forced.append(Override(episode.dip_trip_s(device_id), restart_s, is_running=False))
            elif episode.asset != device_id:
                continue
            elif episode.fault in ("F1", "F2", "F3", "F4", "F6"):
                forced.append(Override(episode.onset_s, episode.end_s, is_running=True))
            elif episode.fault == "F15":
                start_s = min(episode.onset_s + _STOP_BEFORE_START_S, episode.end_s)
                forced.append(Override(episode.onset_s, start_s, is_running=False))
                forced.append(Override(start_s, episode.end_s, is_running=True))
        return forced


def _digits(column: list[float], metric: MetricSpec) -> list[float]:
    """Return what the sensor shows: multiples of its resolution, a register's turns taken off."""
    scale = round(1 / metric.resolution)
    if metric.modulus is not None:
        turn = round(metric.modulus * scale)
        return [int(value * scale) % turn / scale for value in column]
    if metric.kind == "counter":
        return [int(value * scale) / scale for value in column]
    return [round(value * scale) / scale for value in column]
