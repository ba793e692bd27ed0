"""Devices in the stream: who is registered by a reading, who is refused, who is online, what they say."""

from __future__ import annotations

import pytest

from ingest.submission import Offer
from storage.pool import SystemDatabase
from tests.ingest.conftest import StationFactory
from tests.ingest.station import Station, new_device, now_us
from tests.people import Plants

pytestmark = pytest.mark.services


def _execute(database: SystemDatabase, statement: str, *values: object) -> None:
    with database.transaction() as cursor:
        cursor.execute(statement, values)


# Registration --------------------------------------------------------------------------------------


def test_the_first_reading_registers_device_and_metrics(station: Station) -> None:
    device = new_device()
    station.send(device, {"p": 1, "running": True, "text": "no reading"})
    assert station.metric_kinds(device) == {"p": ("", "gauge"), "running": ("", "state")}


def test_in_production_only_what_is_registered_is_stored(strict_station: Station, plants: Plants) -> None:
    device, stranger = new_device(), new_device()
    strict_station.register(plants.plant_a, device, p="bar")
    strict_station.send(device, {"p": 1, "q": 2})
    strict_station.send(stranger, {"p": 1})
    assert strict_station.values(device) == [1]
    assert strict_station.reasons(device) == ["unknown_metric"]
    assert strict_station.reasons(stranger) == ["unknown_device"]
    assert strict_station.metric_kinds(device) == {"p": ("bar", "gauge")}


def test_a_device_that_is_registered_later_is_known_after_the_change_is_told(
    strict_station: Station, plants: Plants
) -> None:
    device = new_device()
    strict_station.send(device, {"p": 1})
    strict_station.register(plants.plant_a, device, p="")
    strict_station.send(device, {"p": 2})  # its absence is still remembered
    strict_station.pipeline.device_changed(plants.plant_a, device)
    strict_station.send(device, {"p": 3})
    assert strict_station.values(device) == [3]
    assert strict_station.reasons(device) == ["unknown_device"] * 2


def test_a_metric_whose_unit_changes_is_judged_by_the_new_one(
    station: Station, plants: Plants, system_database: SystemDatabase
) -> None:
    device, now_ms = new_device(), now_us() // 1000
    station.register(plants.plant_a, device, p="bar")
    station.send(device, {"ts": now_ms, "values": {"p": 100}, "unit": "kPa"})
    _execute(
        system_database,
        "UPDATE metrics SET unit = 'kPa' FROM devices d WHERE d.device_key = metrics.device_key"
        " AND d.device_id = %s",
        device,
    )
    station.pipeline.device_changed(plants.plant_a, device)
    station.send(device, {"ts": now_ms + 1, "values": {"p": 100}, "unit": "kPa"})
    assert station.values(device) == [1, 100]


def test_a_retired_device_is_refused_by_name(
    station: Station, plants: Plants, system_database: SystemDatabase
) -> None:
    device = new_device()
    station.send(device, {"p": 1})
    _execute(system_database, "UPDATE devices SET retired_at = now() WHERE device_id = %s", device)
    station.pipeline.device_changed(plants.plant_a, device)
    station.send(device, {"p": 2})
    station.send(device, {"status": "online"}, kind="status")
    assert station.values(device) == [1]
    assert station.reasons(device) == ["device_retired"] * 2


def test_a_device_of_another_plant_is_another_device(
    make_station: StationFactory, station: Station, plants: Plants
) -> None:
    device, other = new_device(), make_station(plant="plant-b")
    station.send(device, {"p": 1})
    other.send(device, {"p": 2})
    with station.database.transaction() as cursor:
        cursor.execute("SELECT tenant_id FROM devices WHERE device_id = %s ORDER BY 1", (device,))
        assert cursor.fetchall() == [(plants.plant_a,), (plants.plant_b,)]


def test_the_number_of_metrics_is_limited(make_station: StationFactory) -> None:
    station, device = make_station(metrics_per_device=5), new_device()
    station.send(device, {f"m{i}": i for i in range(4)})
    station.send(device, {"m0": 0, "m4": 4, "m5": 5})
    assert len(station.metric_kinds(device)) == 5
    assert station.values(device) == [0, 1, 2, 3, 0, 4]
    assert station.reasons(device) == ["too_many_metrics"]


def test_metrics_of_a_batch_that_failed_are_registered_again(
    station: Station, owner_url: str, plants: Plants
) -> None:
    # A message id beyond `integer` is what PostgreSQL refuses here; the batch is rolled back once.
    device, now_ms = new_device(), now_us() // 1000
    refused = station.message(new_device(), {"p": 1}, mid=2**40)
    station.deliver(station.message(device, {"ts": now_ms, "values": {"p": 1}}), refused)
    station.send(device, {"ts": now_ms + 1, "values": {"p": 2}})
    assert station.values(device) == [1, 2]


# Status --------------------------------------------------------------------------------------------


def test_a_device_is_online_from_its_first_reading_and_offline_by_its_last_will(station: Station) -> None:
    device, at = new_device(), now_us()
    station.send(device, {"p": 1}, received_at_us=at)
    assert station.device_status(device) == ("online", at)
    station.send(device, {"status": "offline"}, kind="status", received_at_us=at + 1_000_000)
    assert station.device_status(device)[0] == "offline"
    station.send(device, {"p": 2}, received_at_us=at + 2_000_000)
    assert station.device_status(device) == ("online", at + 2_000_000)
    told = [status for _, name, status, _ in station.ears.statuses if name == device]
    assert told == ["online", "offline", "online"]


@pytest.mark.parametrize(("first", "second"), [("offline", "online"), ("online", "offline")])
def test_of_two_statuses_in_one_batch_the_later_holds(station: Station, first: str, second: str) -> None:
    device = new_device()
    station.send(device, {"status": first}, {"status": second, "firmware": "1.2"}, kind="status")
    assert station.device_status(device)[0] == second


def test_a_reading_after_the_last_will_in_one_batch_means_online(station: Station) -> None:
    device, now_ms = new_device(), now_us() // 1000
    station.send(device, {"p": 1})
    station.deliver(
        station.message(device, {"status": "offline"}, kind="status"),
        station.message(device, {"ts": now_ms, "values": {"p": 2}}),
    )
    assert station.device_status(device)[0] == "online"


def test_last_seen_moves_every_few_seconds_not_with_every_message(station: Station) -> None:
    device, at = new_device(), now_us()
    for later_s in (0, 4, 9, 11, 15):
        station.send(device, {"p": later_s}, received_at_us=at + later_s * 1_000_000)
    assert station.device_status(device) == ("online", at + 11_000_000)


def test_readings_of_the_past_do_not_move_last_seen_back(station: Station, plants: Plants) -> None:
    device, at = new_device(), now_us()
    station.send(device, {"p": 1}, received_at_us=at)
    station.send(device, {"status": "online"}, kind="status", received_at_us=at - 60_000_000)
    assert station.device_status(device) == ("online", at)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"status": "asleep"}, "invalid_status"),
        ({"status": ["online"]}, "invalid_status"),
        ({"state": "online"}, "invalid_status"),
        (["online"], "wrong_shape"),
        (b"online", "invalid_json"),
        (b"", "empty_payload"),
    ],
)
def test_what_is_no_status_is_refused(station: Station, document: object, reason: str) -> None:
    device = new_device()
    station.send(device, document, kind="status")
    assert station.reasons(device) == [reason]


# Events --------------------------------------------------------------------------------------------


def _events(station: Station, device: str) -> list[tuple[str, str, object]]:
    with station.database.transaction() as cursor:
        cursor.execute(
            "SELECT e.kind, e.subject, e.payload FROM device_events e JOIN devices d USING (device_key)"
            " WHERE d.device_id = %s ORDER BY device_event_id",
            (device,),
        )
        return [(kind, subject, payload) for kind, subject, payload in cursor.fetchall()]


LEAK = {"severity": "high", "message": "leak at the seal"}
LEAK_MS = now_us() // 1000


def test_alerts_and_answers_of_a_device_are_kept_once(station: Station) -> None:
    device = new_device()
    for _ in range(2):
        station.send(device, LEAK | {"ts": LEAK_MS}, kind="alerts")
        station.send(device, {"ok": True}, kind="commands/42/response")
    assert _events(station, device) == [
        ("alert", "", LEAK | {"ts": LEAK_MS}),
        ("command_response", "42", {"ok": True}),
    ]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b'{"text": "\\u0000"}', "nul_character"),
        ([1, 2], "wrong_shape"),
        (b"{", "invalid_json"),
        (b'{"a": 1, "a" : 2}', "duplicate_key"),
        (b'{"a": 1e999}', "not_finite"),
    ],
)
def test_an_event_that_cannot_be_kept_is_refused(station: Station, document: object, reason: str) -> None:
    device = new_device()
    station.send(device, document, kind="alerts")
    assert station.reasons(device) == [reason]
    assert _events(station, device) == []


def test_a_backslash_before_u0000_is_no_nul(station: Station) -> None:
    device = new_device()
    station.send(device, {"path": "C:\\u0000"}, kind="commands/1/response")
    assert _events(station, device) == [("command_response", "1", {"path": "C:\\u0000"})]


def test_a_deep_or_large_event_is_kept(station: Station) -> None:
    device = new_device()
    deep = b'{"a":' * 500 + b"1" + b"}" * 500
    numbers = {"numbers": [2**63, -(2**63), 1.5e308, 5e-324]}
    station.send(device, deep, numbers, kind="commands/1/response")
    assert len(_events(station, device)) == 2


# Rejected topics -----------------------------------------------------------------------------------


def test_a_tenant_that_does_not_exist_leaves_letters_to_the_platform(make_station: StationFactory) -> None:
    for slug in ("plant-z", "plant a", "plant\0", "\ufffd"):
        station, device = make_station(plant=slug), new_device()
        station.send(device, {"p": 1})
        (letter,) = station.letters(device)
        assert (letter.tenant_id, letter.reason) == (None, "unknown_tenant")


def test_an_unknown_tenant_is_the_same_for_requests_and_messages(
    make_station: StationFactory, plants: Plants
) -> None:
    station, device = make_station(plant="plant-b"), new_device()
    station.submit(plants.plant_b, [Offer(device, "p", None, 1.0, None, None)])
    assert station.values(device) == [1]
