"""Devices out of service: their alerts are hidden, evaluated all the same, and shown as they are later."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alerting.timers import run_timers
from storage.pool import SystemDatabase
from tests.alerting.plant import Line, assert_journal_amounts_to_the_row, at, new_line
from tests.application import Application
from tests.people import Client, Plants

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]
REASON = {"reason": "bearing is being changed"}


@pytest.fixture
def line(system_database: SystemDatabase, plants: Plants) -> Line:
    return new_line(system_database, plants.plant_a)


@pytest.fixture
def oskar(client: SignedIn) -> Client:
    return client("oskar")


def test_the_alerts_of_a_device_go_with_it_and_come_back_as_they_are(
    line: Line, oskar: Client, application: Application
) -> None:
    line.raised(0)
    oskar.post(f"alerts/{line.alert_id}/acknowledge", json={"comment": "seen"})
    application.announced.clear()
    device = oskar.post(f"devices/{line.device_id}/out-of-service", json=REASON).get_json()
    assert device["out_of_service_reason"] == REASON["reason"]
    assert device["out_of_service_by"] == "oskar@plant-a.example"
    assert line.state == "out_of_service"
    line.cleared(60)
    line.raised(120, "critical")
    assert line.state == "out_of_service"
    device = oskar.post(f"devices/{line.device_id}/in-service").get_json()
    assert device["out_of_service_at"] is None
    assert line.state == "unacknowledged"
    kinds = ["raised", "acknowledged", "out_of_service", "cleared", "raised", "in_service"]
    assert line.kinds() == kinds
    assert [change.event["kind"] for change in application.announced] == ["out_of_service", "in_service"]
    assert_journal_amounts_to_the_row([line])


def test_what_is_new_on_a_device_out_of_service_is_hidden_from_the_start(line: Line, oskar: Client) -> None:
    oskar.post(f"devices/{line.device_id}/out-of-service", json=REASON)
    (change,) = line.raised(0)
    assert change.alert["state"] == "out_of_service"


def test_a_command_that_was_given_before_changes_nothing(
    line: Line, oskar: Client, system_database: SystemDatabase
) -> None:
    line.raised(0)
    path = f"devices/{line.device_id}"
    first = oskar.post(f"{path}/out-of-service", json=REASON).get_json()
    assert oskar.post(f"{path}/out-of-service", json={"reason": "again"}).get_json() == first
    for _ in range(2):
        assert oskar.post(f"{path}/in-service").status_code == 200
    assert line.kinds() == ["raised", "out_of_service", "in_service"]
    with system_database.transaction() as cursor:
        cursor.execute(
            "SELECT action FROM audit_logs WHERE target = %s ORDER BY audit_id", (f"device/{line.device_id}",)
        )
        assert cursor.fetchall() == [("device.out_of_service",), ("device.in_service",)]


def test_an_alert_that_was_raised_at_the_same_moment_follows_its_device(line: Line, oskar: Client) -> None:
    """A transaction that began before the command does not see it; the timers put that right."""
    line.raised(0)
    for out_at, state in ((at(10), "out_of_service"), (None, "unacknowledged")):
        with line.database.transaction() as cursor:
            cursor.execute(
                "UPDATE devices SET out_of_service_at = %s WHERE device_key = %s", (out_at, line.device_key)
            )
        with line.database.transaction() as cursor:
            run_timers(cursor, now=at(30))
        assert line.state == state
    assert_journal_amounts_to_the_row([line])


def test_who_may_not_operate_and_who_is_elsewhere_cannot(line: Line, client: SignedIn) -> None:
    line.raised(0)
    for verb, body in (("out-of-service", REASON), ("in-service", None)):
        assert client("vera").post(f"devices/{line.device_id}/{verb}", json=body).status_code == 403
        headers = {"X-Request-ID": "same"}
        real = client("mallory").post(f"devices/{line.device_id}/{verb}", json=body, headers=headers)
        none = client("mallory").post(f"devices/P-none/{verb}", json=body, headers=headers)
        assert real.status_code == 404
        assert real.get_data(as_text=True).replace(line.device_id, "P-none") == none.get_data(as_text=True)
    assert line.kinds() == ["raised"]


@pytest.mark.parametrize("body", [None, {}, {"reason": " "}, {"reason": 7}, {"reason": "r", "until": 5}])
def test_a_reason_is_needed(line: Line, oskar: Client, body: object) -> None:
    assert oskar.post(f"devices/{line.device_id}/out-of-service", json=body).status_code in {400, 415}
