"""Readings in over HTTP, one metric over time out, and the newest values."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import pytest

from api.history import windows
from storage.pool import SystemDatabase
from tests.people import Client

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]
NOW = datetime.now(UTC).replace(microsecond=0)


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _reading(device_id: str, value: object, *, ago: timedelta = timedelta(), **fields: Any) -> dict[str, Any]:
    return {
        "device_id": device_id,
        "metric": "flow",
        "value": value,
        "ts": _rfc3339(NOW - ago),
        "unit": "m3/h",
    } | fields


def _device(client: Client, device_id: str) -> str:
    body = {"device_id": device_id, "name": device_id, "metrics": [{"name": "flow", "unit": "m3/h"}]}
    assert client.post("devices", json=body).status_code == 201
    return device_id


def _send(client: Client, *readings: dict[str, Any]) -> Any:
    return client.post("telemetry", json={"readings": list(readings)})


def _history(client: Client, device_id: str, **query: Any) -> Any:
    return client.get("telemetry", query_string={"device_id": device_id, "metric": "flow"} | query)


def _pages(client: Client, device_id: str, **query: Any) -> list[list[float]]:
    pages: list[list[float]] = []
    cursor = None
    while True:
        body = _history(client, device_id, **query, **({"cursor": cursor} if cursor else {})).get_json()
        pages.append([item["value"] for item in body["items"]])
        cursor = body["next_cursor"]
        if cursor is None:
            return pages


def test_a_reading_is_stored_once_and_read_back(client: SignedIn) -> None:
    alice = client("alice")
    device_id = _device(alice, "F-1")
    reading = _reading(device_id, 0.1, quality="uncertain")
    assert _send(alice, reading).status_code == 201
    again = _send(alice, reading)
    assert again.get_json() == {"accepted": 0, "duplicates": 1, "rejected": []}
    body = _history(alice, device_id).get_json()
    received_at = body["items"][0]["received_at"]
    assert body == {
        "items": [
            {
                "device_id": device_id,
                "metric": "flow",
                "ts": _rfc3339(NOW),
                "value": 0.1,
                "quality": "uncertain",
                "unit": "m³/h",
                "received_at": received_at,
            }
        ],
        "next_cursor": None,
    }


def test_rejected_readings_are_told_apart_and_kept(client: SignedIn) -> None:
    alice = client("alice")
    device_id = _device(alice, "F-2")
    answer = _send(
        alice,
        _reading(device_id, 1.5),
        _reading(device_id, "warm", ago=timedelta(minutes=1)),
        _reading(device_id, 2.5, ago=timedelta(days=30)),
    )
    assert answer.status_code == 201
    body = answer.get_json()
    assert (body["accepted"], body["duplicates"]) == (1, 0)
    assert [item["index"] for item in body["rejected"]] == [1, 2]
    assert [item["reason"] for item in body["rejected"]][1] == "too_old"
    letters = alice.get("telemetry/dead-letters", query_string={"device_id": device_id}).get_json()
    assert {item["reason"] for item in letters["items"]} == {item["reason"] for item in body["rejected"]}


def test_when_everything_is_rejected_the_answer_is_a_problem(client: SignedIn) -> None:
    answer = _send(client("alice"), _reading(_device(client("alice"), "F-3"), None))
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert [item["index"] for item in answer.get_json()["rejected"]] == [0]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/readings"),
        ({"readings": []}, "/readings"),
        ({"readings": {}}, "/readings"),
        ({"readings": [5]}, "/readings/0"),
        ({"readings": [{"device_id": "a", "metric": "b"}]}, "/readings/0/value"),
        ({"readings": [{"device_id": 1, "metric": "b", "value": 1}]}, "/readings/0/device_id"),
        ({"readings": [{"device_id": "a", "metric": "b", "value": 1, "tenant": "x"}]}, "/readings/0/tenant"),
        ({"readings": [{"device_id": "a", "metric": "b", "value": 1}] * 10_001}, "/readings"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_body_of_another_shape_is_refused_whole(client: SignedIn, body: Any, pointer: str) -> None:
    answer = client("alice").post("telemetry", json=body)
    assert answer.status_code == 400
    assert [item["pointer"] for item in answer.get_json()["errors"]] == [pointer]


def test_history_of_any_age_needs_backfill(client: SignedIn) -> None:
    alice = client("alice")
    device_id = _device(alice, "F-4")
    old = _reading(device_id, 7, ago=timedelta(days=90))
    assert _send(alice, old).status_code == 422
    answer = alice.post("telemetry?backfill=true", json={"readings": [old]})
    assert answer.status_code == 201, answer.get_data(as_text=True)
    assert [item["value"] for item in _history(alice, device_id).get_json()["items"]] == [7]
    assert alice.post("telemetry?backfil=true", json={"readings": [old]}).status_code == 400


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("spacing", [timedelta(seconds=1), timedelta(hours=7), timedelta(days=3)])
def test_pages_follow_each_other_without_gap_or_repeat(
    client: SignedIn, order: str, spacing: timedelta
) -> None:
    alice = client("alice")
    device_id = _device(alice, f"F-{order}-{int(spacing.total_seconds())}")
    readings = [_reading(device_id, number, ago=number * spacing) for number in range(10)]
    answer = alice.post("telemetry?backfill=true", json={"readings": readings})
    assert answer.get_json()["accepted"] == 10
    newest_first = [float(number) for number in range(10)]
    wanted = newest_first if order == "desc" else newest_first[::-1]
    pages = _pages(alice, device_id, order=order, limit=4)
    assert [len(page) for page in pages] == [4, 4, 2]
    assert list(chain(*pages)) == wanted
    # [start, stop): the reading at start belongs to it, the one at stop does not.
    start, stop = _rfc3339(NOW - 6 * spacing), _rfc3339(NOW - 2 * spacing)
    inside = [value for value in wanted if 2 < value <= 6]
    pages = _pages(alice, device_id, order=order, limit=2, start=start, stop=stop)
    assert list(chain(*pages)) == inside


def test_a_page_that_ends_with_the_last_reading_has_no_next_one(client: SignedIn) -> None:
    alice = client("alice")
    device_id = _device(alice, "F-5")
    _send(alice, *[_reading(device_id, number, ago=timedelta(seconds=number)) for number in range(4)])
    assert _pages(alice, device_id, limit=2) == [[0, 1], [2, 3]]


def test_an_empty_range_is_refused_and_times_may_have_any_offset(client: SignedIn) -> None:
    alice = client("alice")
    device_id = _device(alice, "F-6")
    _send(alice, _reading(device_id, 1))
    at_offset = NOW.astimezone(tz=None).isoformat()
    assert _history(alice, device_id, start=at_offset, stop=at_offset).status_code == 400
    in_nepal = (NOW + timedelta(hours=5, minutes=45)).replace(tzinfo=None).isoformat()
    unescaped = f"telemetry?device_id={device_id}&metric=flow&start={in_nepal}+05:45"
    assert len(alice.get(unescaped).get_json()["items"]) == 1


def test_history_outlives_the_device_and_unknown_metrics_are_missing(client: SignedIn) -> None:
    alice = client("alice")
    device_id = _device(alice, "F-7")
    _send(alice, _reading(device_id, 1))
    assert alice.delete(f"devices/{device_id}").status_code == 204
    assert len(_history(alice, device_id).get_json()["items"]) == 1
    assert _history(alice, device_id, metric="pressure").status_code == 404
    assert alice.get(f"devices/{device_id}/latest").status_code == 404
    assert _send(alice, _reading(device_id, 2, ago=timedelta(seconds=1))).status_code == 422


def test_latest_is_by_observed_at_not_by_arrival(client: SignedIn) -> None:
    alice = client("alice")
    device_id = _device(alice, "F-8")
    _send(alice, _reading(device_id, 2, quality="bad"))
    _send(alice, _reading(device_id, 1, ago=timedelta(minutes=5)))
    body = alice.get(f"devices/{device_id}/latest").get_json()
    assert body == {
        "device_id": device_id,
        "values": [
            {
                "metric": "flow",
                "unit": "m³/h",
                "value": 2,
                "quality": "bad",
                "observed_at": _rfc3339(NOW),
                "received_at": body["values"][0]["received_at"],
            }
        ],
    }


def test_latest_of_all_devices_is_paged_and_only_the_own_tenants(client: SignedIn) -> None:
    alice, mallory = client("alice"), client("mallory")
    _send(mallory, _reading(_device(mallory, "M-1"), 1))
    for number in range(3):
        _send(alice, _reading(_device(alice, f"L-{number}"), number))
    body = alice.get("latest?limit=2").get_json()
    seen = [(item["device_id"], item["metric"]) for item in body["items"]]
    while body["next_cursor"] is not None:
        body = alice.get("latest", query_string={"limit": 2, "cursor": body["next_cursor"]}).get_json()
        seen += [(item["device_id"], item["metric"]) for item in body["items"]]
    assert len(seen) == len(set(seen))
    assert {("L-0", "flow"), ("L-1", "flow"), ("L-2", "flow")} <= set(seen)
    assert ("M-1", "flow") not in seen
    assert [item["device_id"] for item in mallory.get("latest").get_json()["items"]] == ["M-1"]


def test_mallory_writes_into_the_own_plant_only(client: SignedIn) -> None:
    alice, mallory = client("alice"), client("mallory")
    device_id = _device(alice, "F-9")
    _send(alice, _reading(device_id, 1))
    _send(mallory, _reading(device_id, 666))
    assert [item["value"] for item in _history(alice, device_id).get_json()["items"]] == [1]


def test_dead_letters_are_filtered_paged_and_shown_as_they_came(
    client: SignedIn, system_database: SystemDatabase, plants: Any
) -> None:
    alice, mallory = client("alice"), client("mallory")
    with system_database.transaction() as cursor:
        for number, payload in enumerate((b"\xffraw", "größer".encode(), b"{")):
            cursor.execute(
                "INSERT INTO dead_letters (tenant_id, source, topic, device_id, reason, detail, payload,"
                " payload_bytes, fingerprint, received_at, last_received_at)"
                " VALUES (%s, 'mqtt', 'iiot/v1/plant-a/D-1/telemetry', 'D-1', 'bad_json', 'no JSON', %s, %s,"
                " sha256(%s), now(), now())",
                (plants.plant_a, payload, len(payload) + (number == 2), payload),
            )
    body = alice.get("telemetry/dead-letters?reason=bad_json&device_id=D-1").get_json()
    shown = [(item["payload"], item["payload_encoding"]) for item in body["items"]]
    assert shown == [("{", "utf-8"), ("größer", "utf-8"), ("/3Jhdw==", "base64")]
    first = alice.get("telemetry/dead-letters?reason=bad_json&limit=2").get_json()
    rest = alice.get(
        f"telemetry/dead-letters?reason=bad_json&limit=2&cursor={first['next_cursor']}"
    ).get_json()
    assert first["items"] + rest["items"] == body["items"]
    assert mallory.get("telemetry/dead-letters?reason=bad_json").get_json()["items"] == []
    number = body["items"][0]["dead_letter_id"]
    assert alice.post(f"telemetry/dead-letters/{number}/replay").status_code == 422
    headers = {"X-Request-ID": "the-same"}
    foreign = mallory.post(f"telemetry/dead-letters/{number}/replay", headers=headers)
    missing = mallory.post("telemetry/dead-letters/99999999/replay", headers=headers)
    assert foreign.status_code == missing.status_code == 404
    assert foreign.get_data() == missing.get_data().replace(b"99999999", str(number).encode())
    assert alice.post(f"telemetry/dead-letters/{2**70}/replay").status_code == 404


def test_a_dead_letter_is_replayed_once_its_cause_is_gone(client: SignedIn) -> None:
    alice = client("alice")
    body = {"device_id": "F-10", "name": "F-10", "metrics": [{"name": "flow", "unit": "bar"}]}
    assert alice.post("devices", json=body).status_code == 201
    assert _send(alice, _reading("F-10", 5)).status_code == 422
    (letter,) = alice.get("telemetry/dead-letters?device_id=F-10").get_json()["items"]
    replay = f"telemetry/dead-letters/{letter['dead_letter_id']}/replay"
    answer = alice.post(replay)
    assert answer.status_code == 422
    assert [item["reason"] for item in answer.get_json()["rejected"]] == [letter["reason"]]
    body = {"name": "F-10", "metrics": [{"name": "flow", "unit": "m3/h"}]}
    assert alice.put("devices/F-10", json=body).status_code == 200
    answer = alice.post(replay)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert answer.get_json() == {"accepted": 1, "duplicates": 0, "rejected": []}
    assert [item["value"] for item in _history(alice, "F-10").get_json()["items"]] == [5]
    (letter,) = alice.get("telemetry/dead-letters?device_id=F-10").get_json()["items"]
    assert letter["replayed_at"] is not None
    assert alice.post(replay).status_code == 409


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("start", "stop", "order", "wanted"),
    [
        (None, None, "desc", [(-1, 0), (-8, 0), (None, None)]),
        (None, -3, "desc", [(-4, -3), (-11, -3), (None, -3)]),
        (-5, None, "desc", [(-1, 0), (-5, None)]),
        (-0.5, None, "desc", [(-0.5, None)]),
        (-20, None, "asc", [(-20, -19), (-20, -12), (-20, None)]),
        (-20, -15, "asc", [(-20, -19), (-20, -15)]),
        (None, None, "asc", [(None, None)]),
    ],
)
def test_windows_widen_from_the_end_where_the_order_begins(
    start: float | None, stop: float | None, order: Any, wanted: list[tuple[float | None, float | None]]
) -> None:
    beginning, end = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)

    def moment(days: float | None, otherwise: datetime) -> datetime:
        return otherwise if days is None else NOW + days * DAY

    found = list(windows(moment(start, beginning), moment(stop, end), order=order, newest=NOW))
    assert found == [(moment(begin, beginning), moment(until, end)) for begin, until in wanted]
