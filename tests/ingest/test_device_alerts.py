"""Alerts that devices raise themselves live like those of rules, from the transaction they arrive in."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.buffer import Message
from tests.ingest.station import Station, new_device, now_us

pytestmark = pytest.mark.services

TRIP: dict[str, Any] = {"severity": "high", "code": "E-17", "message": "Guard open"}
CLEARED = {"status": "cleared", "code": "E-17"}


def _told(station: Station, device: str) -> list[tuple[str, str]]:
    """Kind of event and state of the alert, as they were announced after the commit."""
    return [
        (change.event["kind"], change.alert["state"])
        for change in station.ears.alerts
        if change.device_id == device
    ]


def test_a_device_raises_and_clears_its_alert(station: Station) -> None:
    device = new_device()
    station.send(device, TRIP, CLEARED, kind="alerts")
    assert _told(station, device) == [("raised", "unacknowledged"), ("cleared", "returned_unacknowledged")]
    alert = station.ears.alerts[-1].alert
    assert (alert["source"], alert["severity"], alert["message"]) == ("device:E-17", "high", "Guard open")
    assert (alert["rule_id"], alert["device_id"]) == (None, device)


def test_the_same_words_tomorrow_are_a_new_occurrence(station: Station) -> None:
    device = new_device()
    for _ in range(3):
        station.send(device, TRIP, CLEARED, kind="alerts")
    alert = station.ears.alerts[-1].alert
    assert (alert["occurrence"], alert["repeat_count"]) == (3, 2)
    assert (
        len({change.alert["alert_id"] for change in station.ears.alerts if change.device_id == device}) == 1
    )


def test_each_code_is_an_alert_of_its_own(station: Station) -> None:
    device = new_device()
    station.send(device, TRIP, TRIP | {"code": "E-18"}, {"severity": "low", "message": "m"}, kind="alerts")
    sources = {change.alert["source"] for change in station.ears.alerts if change.device_id == device}
    assert sources == {"device:E-17", "device:E-18", "device:"}


def test_raising_what_stands_with_another_severity_changes_its_severity(station: Station) -> None:
    device = new_device()
    station.send(device, TRIP, TRIP, TRIP | {"severity": "critical"}, kind="alerts")
    assert [kind for kind, _ in _told(station, device)] == ["raised", "severity_changed"]


def test_a_redelivered_alert_changes_nothing(station: Station) -> None:
    device = new_device()
    raised, cleared = (
        station.message(device, TRIP, kind="alerts"),
        station.message(device, CLEARED, kind="alerts"),
    )
    station.deliver(raised, cleared)
    station.deliver(*(_again(message) for message in (raised, cleared)))
    assert [kind for kind, _ in _told(station, device)] == ["raised", "cleared"]


def test_a_time_of_its_own_is_when_it_happened(station: Station) -> None:
    device, at_ms = new_device(), now_us() // 1000 - 60_000
    station.send(device, TRIP | {"ts": at_ms}, kind="alerts")
    (change,) = [change for change in station.ears.alerts if change.device_id == device]
    assert change.alert["raised_at"].timestamp() * 1000 == pytest.approx(at_ms)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"severity": "urgent"}, "invalid_alert"),
        ({"severity": None}, "invalid_alert"),
        ({"severity": ["high"]}, "invalid_alert"),
        ({"message": " "}, "invalid_alert"),
        ({"message": "x" * 1001}, "invalid_alert"),
        ({"code": 17}, "invalid_alert"),
        ({"code": "x" * 129}, "invalid_alert"),
        ({"key": "E-17"}, "invalid_alert"),
        ({"status": "open"}, "invalid_alert"),
        ({"status": {}}, "invalid_alert"),
        ({"value": "hot"}, "invalid_alert"),
        ({"value": True}, "invalid_alert"),
        ({"value": 10**400}, "not_finite"),
        ({"ts": "yesterday"}, "invalid_timestamp"),
        ({"ts": 4_000_000_000_000}, "too_far_in_future"),
        ({"ts": 1_000_000_000_000}, "too_old"),
    ],
)
def test_an_alert_that_cannot_be_understood_is_a_dead_letter(
    station: Station, changed: dict[str, Any], reason: str
) -> None:
    device = new_device()
    document = TRIP | changed
    payload: object = document
    if document.get("value") == 10**400:
        payload = b'{"severity": "high", "message": "m", "value": 1' + b"0" * 400 + b"}"
    station.send(device, payload, kind="alerts")
    assert station.reasons(device) == [reason]
    assert _told(station, device) == []


def test_bad_alerts_do_not_keep_good_ones_of_the_batch(station: Station) -> None:
    device = new_device()
    station.deliver(
        station.message(device, {"severity": "urgent"}, kind="alerts"),
        station.message(device, TRIP, kind="alerts"),
        station.message(device, {"pressure": 4.2}),
    )
    assert _told(station, device) == [("raised", "unacknowledged")]
    assert station.values(device) == [4.2]
    assert station.reasons(device) == ["invalid_alert"]


def _again(message: Message) -> Message:
    return Message(
        epoch=message.epoch + 1,
        mid=message.mid,
        topic=message.topic,
        payload=message.payload,
        is_redelivery=True,
        is_retained=False,
        received_at_us=now_us(),
    )
