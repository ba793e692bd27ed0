"""What time alone does to alerts, on a clock that is passed in."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerting import journal
from alerting.timers import run_timers
from domain.alert_decision import Overlays, Policy, Signal, acknowledge, hear, shelve
from domain.audit import Actor
from domain.transition import AlertChange, Severity, TransitionKind
from storage.alert_journal import lock_by_id
from storage.pool import SystemDatabase
from tests.alerting.plant import Line, assert_journal_amounts_to_the_row, at, new_line
from tests.people import Plants

pytestmark = pytest.mark.services


@pytest.fixture
def line(system_database: SystemDatabase, plants: Plants) -> Line:
    return new_line(system_database, plants.plant_a)


def look(line: Line, at_s: float) -> list[AlertChange]:
    """Let the timers look at the clock; what they did to the line's alert."""
    with line.database.transaction() as cursor:
        changes = run_timers(cursor, now=at(at_s))
    return [change for change in changes if change.alert["alert_id"] == line.alert_id]


def shelved(line: Line, at_s: float, duration_s: float) -> None:
    oskar = Actor(line.tenant_id, "oskar@plant-a.example")
    with line.database.transaction() as cursor:
        (alert,) = lock_by_id(cursor, [line.alert_id])
        until = at(at_s) + timedelta(seconds=duration_s)
        event = shelve(alert.facts, oskar, at=at(at_s), until=until, reason="known")
        assert event is not None
        journal.write(cursor, [(alert, event)], now=at(at_s))


def acknowledged(line: Line, at_s: float) -> None:
    oskar = Actor(line.tenant_id, "oskar@plant-a.example")
    with line.database.transaction() as cursor:
        (alert,) = lock_by_id(cursor, [line.alert_id])
        event = acknowledge(alert.facts, oskar, at=at(at_s), comment="seen", event_id=None)
        assert event is not None
        journal.write(cursor, [(alert, event)], now=at(at_s))


def raised_with_realarm(line: Line, at_s: float, after_s: float) -> None:
    """Raise as a rule does that wants to be heard again."""
    line.raised(at_s - 1)
    line.cleared(at_s - 0.5)
    with line.database.transaction() as cursor:
        (alert,) = lock_by_id(cursor, [line.alert_id])
        signal = Signal(
            tenant_id=line.tenant_id,
            source=alert.source,
            kind=TransitionKind.RAISED,
            severity=Severity.HIGH,
            observed_at=at(at_s),
            message="hot",
        )
        event = hear(alert.facts, signal, Policy(realarm_after_s=after_s), Overlays())
        assert event is not None
        journal.write(cursor, [(alert, event)], now=at(at_s))


def test_a_shelved_alert_returns_by_itself_when_its_time_is_over(line: Line) -> None:
    line.raised(0)
    shelved(line, 10, duration_s=600)
    assert look(line, 609.9) == []
    assert line.state == "shelved"
    (change,) = look(line, 640)
    assert (change.alert["state"], change.event["actor"]) == ("unacknowledged", "system")
    assert change.event["observed_at"] == at(610)
    assert look(line, 700) == []
    assert_journal_amounts_to_the_row([line])


def test_it_returns_as_acknowledged_as_it_was(line: Line) -> None:
    line.raised(0)
    acknowledged(line, 5)
    shelved(line, 10, duration_s=600)
    (change,) = look(line, 610)
    assert (change.alert["state"], change.alert["acknowledge_comment"]) == ("acknowledged", "seen")


def test_what_cleared_and_came_back_meanwhile_appears_as_it_is(line: Line) -> None:
    line.raised(0)
    acknowledged(line, 5)
    shelved(line, 10, duration_s=600)
    line.cleared(100)
    line.raised(200)
    assert line.state == "shelved"
    (change,) = look(line, 610)
    assert change.alert["state"] == "unacknowledged"


def test_a_standing_alert_asks_again_at_the_time_it_was_due(line: Line) -> None:
    raised_with_realarm(line, 0, after_s=900)
    acknowledged(line, 100)
    assert look(line, 999) == []
    (change,) = look(line, 1030)
    assert (change.event["kind"], change.event["observed_at"]) == ("realarmed", at(1000))
    assert (change.alert["state"], change.alert["realarm_at"]) == ("unacknowledged", at(1900))
    assert look(line, 1899) == []
    assert [change.event["kind"] for change in look(line, 1900)] == ["realarmed"]
    assert_journal_amounts_to_the_row([line])


def test_a_cleared_alert_never_asks_again(line: Line) -> None:
    raised_with_realarm(line, 0, after_s=900)
    line.cleared(10)
    assert look(line, 5000) == []


def test_a_shelved_alert_asks_again_only_after_it_returned(line: Line) -> None:
    raised_with_realarm(line, 0, after_s=900)
    shelved(line, 10, duration_s=3600)
    assert look(line, 3000) == []
    assert [change.event["kind"] for change in look(line, 3700)] == ["unshelved"]
    assert [change.event["kind"] for change in look(line, 4510)] == ["realarmed"]


def test_timers_that_slept_through_both_ends_do_both_once(line: Line) -> None:
    raised_with_realarm(line, 0, after_s=900)
    shelved(line, 10, duration_s=600)
    changes = look(line, 4000)
    assert [(change.event["kind"], change.event["observed_at"]) for change in changes] == [
        ("unshelved", at(610)),
        ("realarmed", at(610 + 3 * 900)),
    ]
    assert_journal_amounts_to_the_row([line])


def test_an_alert_below_a_device_that_is_down_appears_when_the_device_is_up(
    system_database: SystemDatabase, plants: Plants
) -> None:
    cabinet = new_line(system_database, plants.plant_a)
    pump = new_line(system_database, plants.plant_a, parent=cabinet)
    cabinet.raised(0, "high")
    (change,) = pump.raised(1, "medium")
    assert change.alert["suppressed_by"] == f"device:{cabinet.device_id}"
    assert look(pump, 30) == []
    cabinet.cleared(60)
    (change,) = look(pump, 65)
    assert (change.event["kind"], change.alert["state"]) == ("unsuppressed", "unacknowledged")
    assert_journal_amounts_to_the_row([pump, cabinet])
