"""Alert events on their way to people: everybody of the plant who may read alerts, nobody else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from domain.transition import AlertChange
from tests.api.sockets import PLANT_A, PLANT_B, Client, Plant, wait_until

pytestmark = pytest.mark.services

AT = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
READER = frozenset({"telemetry:read", "alerts:read"})


def _change(number: int, tenant_id: int = PLANT_A) -> AlertChange:
    alert = {"alert_id": "a", "state": "unacknowledged", "raised_at": AT}
    return AlertChange(tenant_id, "P-101", alert, {"alert_event_id": number, "kind": "raised"})


def _heard(client: Client) -> list[dict[str, Any]]:
    return [data for event, data in client.events if event == "alert"]


def _numbers(client: Client) -> list[int]:
    return [data["event"]["alert_event_id"] for data in _heard(client)]


@pytest.fixture
def plant_of_readers(running: Plant) -> Plant:
    for name in ("vera", "mallory"):
        running.tokens.change(f"token-{name}", permissions=READER)
    return running


def test_every_alert_event_arrives_in_order_without_subscribing(plant_of_readers: Plant) -> None:
    vera = plant_of_readers.client("token-vera")
    plant_of_readers.realtime.alerts_changed([_change(1), _change(2)])
    plant_of_readers.realtime.alerts_changed([_change(3)])
    wait_until(lambda: len(_heard(vera)) == 3)
    assert _numbers(vera) == [1, 2, 3]
    assert [data["seq"] for data in _heard(vera)] == [1, 2, 3]
    assert _heard(vera)[0]["alert"]["raised_at"] == "2026-03-02T06:00:00Z"


def test_a_neighbour_hears_of_the_own_plant_only(plant_of_readers: Plant) -> None:
    vera, mallory = plant_of_readers.client("token-vera"), plant_of_readers.client("token-mallory")
    plant_of_readers.realtime.alerts_changed([_change(1), _change(2, PLANT_B), _change(3)])
    wait_until(lambda: len(_heard(vera)) == 2 and _heard(mallory))
    assert (_numbers(vera), _numbers(mallory)) == ([1, 3], [2])


def test_who_may_not_read_alerts_hears_of_none(plant_of_readers: Plant) -> None:
    vera, oskar = plant_of_readers.client("token-vera"), plant_of_readers.client("token-oskar")
    plant_of_readers.realtime.alerts_changed([_change(1)])
    wait_until(lambda: _heard(vera))
    assert _heard(oskar) == []


def test_a_right_that_is_taken_away_ends_it_and_one_that_is_given_begins_it(plant_of_readers: Plant) -> None:
    vera, oskar = plant_of_readers.client("token-vera"), plant_of_readers.client("token-oskar")
    plant_of_readers.tokens.change("token-vera", permissions=frozenset({"telemetry:read"}))
    plant_of_readers.tokens.change("token-oskar", permissions=READER)
    plant_of_readers.realtime.check_rights()
    plant_of_readers.realtime.alerts_changed([_change(1)])
    wait_until(lambda: _heard(oskar))
    assert _heard(vera) == []


def test_a_subscriber_who_lets_go_of_everything_still_hears_of_alerts(plant_of_readers: Plant) -> None:
    vera = plant_of_readers.client("token-vera")
    vera.subscribe("*")
    vera.call("unsubscribe", {"devices": ["*"]})
    plant_of_readers.realtime.alerts_changed([_change(1)])
    wait_until(lambda: _heard(vera))
