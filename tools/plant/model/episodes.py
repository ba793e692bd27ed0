"""The fifteen scripted faults, and their occurrences in time."""

from dataclasses import dataclass, replace

from tools.plant.model.catalogue import DEVICES
from tools.plant.model.noise import DAY_S


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One kind of fault.

    Attributes:
        fault: Its identifier, F1 to F15.
        title: What happens, in a few words.
        asset: The device at which it starts.
        duration_s: How long it takes in a real plant.
        live_speed: How many times faster it runs when somebody waits for it.
        detectable_ratio: For a slow fault, the share of its duration after which it stands out of the noise.
        detectable_after_s: For a sudden fault, the seconds after which it does.
    """

    fault: str
    title: str
    asset: str
    duration_s: int
    live_speed: float = 1.0
    detectable_ratio: float | None = None
    detectable_after_s: int = 0


FAULTS = {
    spec.fault: spec
    for spec in (
        FaultSpec("F1", "bearing wear: vibration grows exponentially, the drive-end bearing follows", "P-102",
                  4 * 3600, live_speed=60, detectable_ratio=0.25),
        FaultSpec("F2", "cavitation: suction falls, flow hunts, vibration and current fluctuate", "P-103",
                  600, detectable_after_s=3),
        FaultSpec("F3", "dry run: no flow, little power, the drive-end bearing heats up", "P-104",
                  300, detectable_after_s=4),
        FaultSpec("F4", "filter clogging: differential pressure and power per air volume creep up", "C-201",
                  60 * 3600, live_speed=720, detectable_ratio=0.10),
        FaultSpec("F5", "stuck sensor: the winding temperature never changes", "M-302",
                  3 * 3600, live_speed=36, detectable_ratio=0.30),
        FaultSpec("F6", "sensor drift: the oil temperature reads 0.2 % more every hour", "C-202",
                  DAY_S, live_speed=288, detectable_ratio=0.50),
        FaultSpec("F7", "broken sensor wire: spikes, NaN and bad quality in the return temperature", "H-501",
                  300, detectable_after_s=30),
        FaultSpec("F8", "firmware update: pressures in bar instead of kPa", "P-101", 300),
        FaultSpec("F9", "meter exchanged: the energy register starts again from zero", "E-602", 60),
        FaultSpec("F10", "wrong clock: 7 min ahead, then 1 h behind", "M-303", 600, live_speed=5),
        FaultSpec("F11", "gateway offline, then everything it kept arrives at once", "G-1",
                  900, live_speed=15, detectable_after_s=15),
        FaultSpec("F12", "voltage dip: 14 devices trip within 20 s", "E-602", 300, live_speed=2),
        FaultSpec("F13", "chattering high-level switch", "T-401", 300, detectable_after_s=20),
        FaultSpec("F14", "spoof attempt: publishes as another device, the broker refuses", "P-105", 10),
        FaultSpec("F15", "motor start: six times the current for 3 s, which is no fault", "M-301",
                  30, detectable_after_s=10),
    )
}  # fmt: skip

# Trips one after the other, in this order; the tanks' inlet valves fail closed.
DIP_DEVICES = tuple(
    device.device_id
    for device in DEVICES
    if device.device_type in ("pump", "compressor", "motor", "chiller", "tank")
)
DIP_SPREAD_S = 20
DIP_RESTART_S = 3


@dataclass(frozen=True, slots=True)
class Episode:
    """One occurrence of a fault, over [onset_s, end_s) in Unix seconds.

    Attributes:
        fault: Identifier of the fault.
        asset: The device at which it starts.
        onset_s: When it starts.
        duration_s: How long it was meant to take; what grows, grows over this time.
        end_s: When it ended, or is due to end.
    """

    fault: str
    asset: str
    onset_s: int
    duration_s: int
    end_s: int

    def is_active(self, time_s: int) -> bool:
        """Return whether it lasts at this time."""
        return self.onset_s <= time_s < self.end_s

    def progress(self, time_s: int) -> float:
        """Return how far it has come, 0 to 1."""
        return min(1.0, (min(time_s, self.end_s) - self.onset_s) / self.duration_s)

    @property
    def detectable_from_s(self) -> int:
        """The time from which its signature stands out."""
        spec = FAULTS[self.fault]
        if spec.detectable_ratio is not None:
            return self.onset_s + round(spec.detectable_ratio * self.duration_s)
        return self.onset_s + spec.detectable_after_s

    def ended(self, time_s: int) -> "Episode":
        """Return it as ended at this time, unless it had ended before."""
        return replace(self, end_s=max(self.onset_s, min(self.end_s, time_s)))

    def dip_trip_s(self, device_id: str) -> int:
        """Return when a voltage dip trips this device."""
        position = DIP_DEVICES.index(device_id)
        return self.onset_s + 1 + position * (DIP_SPREAD_S - 1) // len(DIP_DEVICES)

    def dip_restart_s(self, device_id: str) -> int:
        """Return when this device runs again after a voltage dip."""
        return max(self.end_s, self.dip_trip_s(device_id) + 1) + DIP_RESTART_S * DIP_DEVICES.index(device_id)


def episode(fault: str, onset_s: int, *, speed: float = 1.0) -> Episode:
    """Return an occurrence of a fault that runs `speed` times faster than in a real plant.

    Raises:
        KeyError: There is no such fault.
        ValueError: The speed is not a positive number.
    """
    spec = FAULTS[fault]
    if not 0 < speed < float("inf"):
        raise ValueError(f"the speed must be a positive number, not {speed}")
    duration_s = max(1, round(spec.duration_s / speed))
    return Episode(fault, spec.asset, onset_s, duration_s, onset_s + duration_s)
