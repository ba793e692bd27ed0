"""Live readings on their way to browsers: coalesced per device, numbered, thinned when they pile up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from api.broadcast import ALL_DEVICES, Audience, Broadcaster, rfc3339, room_of
from domain.reading import Quality, StoredReadings
from observability import Heartbeats

GOOD = int(Quality.GOOD)


@dataclass
class Line:
    """A broadcaster on a clock that the test moves, and what it emitted."""

    now: float = 100.0
    emitted: list[tuple[str, dict[str, Any], list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.audience = Audience()
        self.broadcaster = Broadcaster(
            self.audience,
            emit=lambda event, data, rooms: self.emitted.append((event, data, rooms)),
            interval_s=0.25,
            heartbeats=Heartbeats(),
            clock=lambda: self.now,
        )

    def readings(self, device_id: str, *values: float, tenant_id: int = 1) -> None:
        rows = [("flow", 1_000_000 * number, value, GOOD) for number, value in enumerate(values)]
        self.broadcaster.publish([StoredReadings(tenant_id, device_id, rows)])

    def at(self, now: float) -> list[tuple[str, list[float]]]:
        """Let the clock show `now`; what is emitted then, as (device, values)."""
        self.now = now
        self.emitted.clear()
        self.broadcaster.emit_due()
        return [
            (data["device_id"], [reading["value"] for reading in data["readings"]])
            for _, data, _ in self.emitted
        ]


@pytest.fixture
def line() -> Line:
    line = Line()
    line.audience.join(room_of(1, "P-101"))
    return line


def test_the_first_reading_of_a_quiet_device_goes_out_at_once(line: Line) -> None:
    line.readings("P-101", 1.0)
    assert line.at(100.0) == [("P-101", [1.0])]


def test_further_readings_wait_for_the_interval_and_go_out_together(line: Line) -> None:
    line.readings("P-101", 1.0)
    line.at(100.0)
    line.readings("P-101", 2.0)
    assert line.at(100.1) == []
    line.readings("P-101", 3.0)
    assert line.at(100.25) == [("P-101", [2.0, 3.0])]


def test_the_wait_until_the_next_emit_is_told(line: Line) -> None:
    line.readings("P-101", 1.0)
    line.at(100.0)
    line.readings("P-101", 2.0)
    line.now = 100.1
    assert line.broadcaster.emit_due() == pytest.approx(0.15)


def test_updates_of_a_device_are_numbered_without_a_gap(line: Line) -> None:
    numbers = []
    for step in range(4):
        line.readings("P-101", float(step))
        line.at(101.0 + step)
        numbers += [data["seq"] for _, data, _ in line.emitted]
    assert numbers == [1, 2, 3, 4]


def test_a_device_without_listeners_costs_no_number(line: Line) -> None:
    line.readings("P-102", 1.0)
    assert line.at(100.0) == []
    line.audience.join(room_of(1, "P-102"))
    line.readings("P-102", 2.0)
    line.at(101.0)
    assert line.emitted[0][1]["seq"] == 1


def test_more_readings_than_may_wait_leave_the_newest_of_each_metric(line: Line) -> None:
    line.readings("P-101", 0.0)
    line.at(100.0)
    line.readings("P-101", *map(float, range(600)))
    assert line.at(100.3) == [("P-101", [599.0])]


def test_one_emit_reaches_the_room_of_the_device_and_the_room_of_all(line: Line) -> None:
    line.readings("P-101", 1.0)
    line.at(100.0)
    assert line.emitted[0][2] == [room_of(1, "P-101"), room_of(1, ALL_DEVICES)]


def test_a_listener_of_another_tenant_is_no_listener(line: Line) -> None:
    assert line.audience.is_listening(1, "P-101")
    assert not line.audience.is_listening(2, "P-101")
    line.audience.join(room_of(2, ALL_DEVICES))
    assert line.audience.is_listening(2, "P-101")
    assert not line.audience.is_listening(1, "P-102")


def test_when_the_last_listener_leaves_nobody_listens(line: Line) -> None:
    line.audience.join(room_of(1, "P-101"))
    line.audience.leave(room_of(1, "P-101"))
    assert line.audience.is_listening(1, "P-101")
    line.audience.leave(room_of(1, "P-101"))
    assert not line.audience.is_listening(1, "P-101")


def test_of_several_status_changes_the_last_goes_out(line: Line) -> None:
    line.broadcaster.device_changed(1, "P-101", "online", 1_000_000)
    line.broadcaster.device_changed(1, "P-101", "offline", 2_500_000)
    line.broadcaster.emit_due()
    change = {"device_id": "P-101", "status": "offline", "last_seen": "1970-01-01T00:00:02.500Z"}
    assert [(event, data) for event, data, _ in line.emitted] == [("device_update", change)]


def test_a_reading_tells_its_time_in_utc_and_its_quality_in_a_word(line: Line) -> None:
    row = ("flow", 1_764_000_000_123_456, 22.5, int(Quality.UNCERTAIN))
    line.broadcaster.publish([StoredReadings(1, "P-101", [row])])
    line.at(100.0)
    assert line.emitted[0][1]["readings"] == [
        {
            "device_id": "P-101",
            "metric": "flow",
            "ts": "2025-11-24T16:00:00.123Z",
            "value": 22.5,
            "quality": "uncertain",
        }
    ]


@pytest.mark.parametrize(
    ("at_us", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"), (999, "1970-01-01T00:00:00.000Z")],
)
def test_times_are_cut_to_the_millisecond(at_us: int, text: str) -> None:
    assert rfc3339(at_us) == text
