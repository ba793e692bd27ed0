"""The control desk: starts, lists and clears faults, keeps the label file, moves machines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.plant import labels
from tools.plant.model.episodes import FAULTS, Episode, episode
from tools.plant.model.plant import Plant

# A pump that stands can neither cavitate nor run dry, and its bearing wears no further.
_ENDED_BY_A_STOP = ("F1", "F2", "F3")


class ControlDesk:
    """Changes the plant on request and writes down what is wrong with it since when."""

    def __init__(self, plant: Plant, label_file: Path, clock: Callable[[], float]) -> None:
        """Control this plant; `clock` gives Unix seconds."""
        self._plant = plant
        self._label_file = label_file
        self._clock = clock

    def answer(self, request: object) -> dict[str, Any]:
        """Do what a request asks for and return the answer.

        A request is `{"fault": "F2", "speed": 1}`, `{"clear": "F2"}`, `{"clear": "all"}` or `{"list": true}`.
        The answer holds `ok`, and `error` where that is false.
        """
        try:
            return self._done(request)
        except OSError as error:
            return {"ok": False, "error": f"the label file cannot be written: {error}"}

    def _done(self, request: object) -> dict[str, Any]:
        match request:
            case {"fault": str() as fault, **rest}:
                return self._trigger(fault, rest.get("speed"))
            case {"clear": str() as fault}:
                return self._clear(fault)
            case {"list": _}:
                return {"ok": True, "faults": self._listed(), "active": self._active()}
            case _:
                return {"ok": False, "error": "expected an object with fault, clear or list"}

    def command(self, device_id: str, command: dict[str, Any]) -> dict[str, Any]:
        """Carry out a command to a device; `start` and `stop` move machines, all others only succeed."""
        name = command.get("name")
        if name in ("start", "stop"):
            now_s = int(self._clock())
            if not self._plant.command(device_id, is_running=name == "start", at_s=now_s):
                return {"status": "failed", "error": f"{device_id} cannot {name}"}
            if name == "stop":
                self._end(
                    now_s,
                    [
                        spell
                        for spell in self._plant.episodes
                        if spell.asset == device_id and spell.fault in _ENDED_BY_A_STOP
                    ],
                )
        return {"status": "succeeded"}

    def _trigger(self, fault: str, speed: object) -> dict[str, Any]:
        spec = FAULTS.get(fault)
        if spec is None:
            return {"ok": False, "error": f"there is no fault {fault}; known are {', '.join(FAULTS)}"}
        now_s = int(self._clock())
        if any(spell.fault == fault and spell.is_active(now_s) for spell in self._plant.episodes):
            return {"ok": False, "error": f"{fault} is already there; clear it first"}
        if speed is None:
            speed = spec.live_speed
        try:
            if not isinstance(speed, int | float):
                raise ValueError("the speed must be a number")
            started = episode(fault, now_s, speed=speed)
        except (ValueError, OverflowError) as error:
            return {"ok": False, "error": str(error)}
        self._keep((*self._plant.episodes, started))
        return {"ok": True, "started": labels.label(started)}

    def _clear(self, fault: str) -> dict[str, Any]:
        if fault != "all" and fault not in FAULTS:
            return {"ok": False, "error": f"there is no fault {fault}; known are {', '.join(FAULTS)}"}
        now_s = int(self._clock())
        ending = [
            spell
            for spell in self._plant.episodes
            if spell.is_active(now_s) and fault in ("all", spell.fault)
        ]
        self._end(now_s, ending)
        return {"ok": True, "cleared": [labels.label(spell.ended(now_s)) for spell in ending]}

    def _end(self, now_s: int, ending: list[Episode]) -> None:
        if any(spell.is_active(now_s) for spell in ending):
            self._keep(
                tuple(spell.ended(now_s) if spell in ending else spell for spell in self._plant.episodes)
            )

    def _keep(self, episodes: tuple[Episode, ...]) -> None:
        labels.write(self._label_file, episodes)
        self._plant.set_episodes(episodes)

    def _listed(self) -> list[dict[str, Any]]:
        return [
            {"fault": spec.fault, "asset": spec.asset, "title": spec.title, "speed": spec.live_speed}
            for spec in FAULTS.values()
        ]

    def _active(self) -> list[dict[str, Any]]:
        now_s = int(self._clock())
        return [labels.label(spell) for spell in self._plant.episodes if spell.is_active(now_s)]
