"""What rules decide becomes alerts: raised once, cleared once, coming back as the same alert, never lost."""

from __future__ import annotations

import time
from contextlib import closing

import psycopg2
import pytest

from alerting.lifecycle import apply
from storage.pool import AppDatabase, SystemDatabase
from tests.alerting.plant import Line, assert_journal_amounts_to_the_row, at, new_line
from tests.people import Plants

pytestmark = pytest.mark.services


@pytest.fixture
def line(system_database: SystemDatabase, plants: Plants) -> Line:
    return new_line(system_database, plants.plant_a)


def test_a_raised_alert_is_active_and_unacknowledged(line: Line) -> None:
    (change,) = line.raised(0, value=84.2)
    assert (change.alert["state"], change.alert["is_active"]) == ("unacknowledged", True)
    assert (change.alert["raised_at"], change.alert["value"]) == (at(0), 84.2)
    assert (change.device_id, change.event["kind"]) == (line.device_id, "raised")
    assert (change.alert["rule_name"], change.alert["repeat_count"]) == ("Bearing hot", 0)
    assert line.state == "unacknowledged"


def test_an_alert_that_clears_unseen_still_wants_to_be_acknowledged(line: Line) -> None:
    line.raised(0)
    (change,) = line.cleared(30)
    assert change.alert["state"] == "returned_unacknowledged"
    assert (change.alert["raised_at"], change.alert["cleared_at"]) == (at(0), at(30))


def test_an_alert_that_comes_back_is_a_new_occurrence_of_the_same_alert(line: Line) -> None:
    line.raised(0)
    line.cleared(30)
    (change,) = line.raised(60)
    assert (change.alert["repeat_count"], change.event["occurrence"]) == (1, 2)
    assert (change.alert["raised_at"], change.alert["cleared_at"]) == (at(60), None)
    assert line.kinds() == ["raised", "cleared", "raised"]
    assert len({change.alert["alert_id"] for change in line.changes}) == 1


def test_after_a_quiet_of_the_flap_window_the_repeats_are_counted_anew(line: Line) -> None:
    line.raised(0)
    line.cleared(30)
    line.raised(60)
    line.cleared(90)
    (change,) = line.raised(90 + 3601)
    assert (change.alert["repeat_count"], change.event["occurrence"]) == (0, 3)


def test_a_transition_that_is_heard_again_changes_nothing(line: Line) -> None:
    raised, cleared = line.transition("raised", 0), line.transition("cleared", 30)
    line.play(raised, cleared)
    assert line.play(raised) == []
    assert line.play(raised, cleared, raised) == []
    assert line.kinds() == ["raised", "cleared"]


def test_what_is_active_is_not_raised_twice_and_what_is_cleared_not_cleared_twice(line: Line) -> None:
    assert line.cleared(-1) == []
    line.raised(0)
    assert line.raised(1) == []
    line.cleared(2)
    assert line.cleared(3) == []


def test_an_alert_that_gets_worse_keeps_its_occurrence(line: Line) -> None:
    line.raised(0, "high")
    (change,) = line.severity_changed(10, "critical")
    assert (change.alert["severity"], change.alert["raised_at"]) == ("critical", at(0))
    assert line.severity_changed(11, "critical") == []
    assert line.kinds() == ["raised", "severity_changed"]


def test_several_devices_in_one_batch_keep_their_order(
    system_database: SystemDatabase, plants: Plants
) -> None:
    first = new_line(system_database, plants.plant_a)
    lines = [first, *(new_line(system_database, plants.plant_a, rule_id=first.rule_id) for _ in range(3))]
    batch = [
        line.transition(kind, second) for second, kind in ((0, "raised"), (5, "cleared")) for line in lines
    ]
    changes = first.play(*batch)
    assert [change.event["kind"] for change in changes] == ["raised"] * 4 + ["cleared"] * 4
    assert [change.device_id for change in changes[:4]] == [line.device_id for line in lines]
    assert_journal_amounts_to_the_row(lines)


def test_a_thousand_transitions_are_a_few_statements_and_a_moment(
    system_database: SystemDatabase, plants: Plants
) -> None:
    lines = [new_line(system_database, plants.plant_a)]
    lines += [new_line(system_database, plants.plant_a, rule_id=lines[0].rule_id) for _ in range(999)]
    for second, kind in ((0, "raised"), (10, "cleared"), (20, "raised")):
        batch = [line.transition(kind, second) for line in lines]
        with system_database.transaction() as cursor:
            started = time.perf_counter()
            changes = apply(cursor, batch, now=at(second))
            spent_s = time.perf_counter() - started
        assert len(changes) == 1000
        # 0.15 s on the slowest machine it was measured on.
        assert spent_s < 1.5


def test_the_journal_amounts_to_the_row(line: Line) -> None:
    line.raised(0, "medium", value=81.0)
    line.severity_changed(5, "critical")
    line.cleared(9)
    line.raised(12, "high")
    assert_journal_amounts_to_the_row([line])


def test_nobody_can_change_or_take_away_what_the_journal_says(
    line: Line, owner_url: str, system_database: SystemDatabase, app_database: AppDatabase
) -> None:
    line.raised(0)
    for statement in (
        "UPDATE alert_events SET message = 'never happened'",
        "DELETE FROM alert_events",
        "TRUNCATE alert_events CASCADE",
    ):
        with (
            closing(psycopg2.connect(owner_url)) as owner,
            owner.cursor() as cursor,
            pytest.raises(psycopg2.IntegrityError, match="append-only"),
        ):
            cursor.execute(statement)
        with pytest.raises(psycopg2.errors.InsufficientPrivilege), system_database.transaction() as cursor:
            cursor.execute(statement)
        with (
            pytest.raises(psycopg2.errors.InsufficientPrivilege),
            app_database.tenant(line.tenant_id) as cursor,
        ):
            cursor.execute(statement)
