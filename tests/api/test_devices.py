"""The device registry over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.people import Client

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]


def _pump(device_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "device_id": device_id,
        "name": f"Pump {device_id}",
        "type": "pump",
        "location": "Hall 1",
        "metadata": {"maker": "Example", "serial": 9_007_199_254_740_993, "gain": 0.1},
        "metrics": [
            {"name": "temperature", "unit": "degC"},
            {"name": "energy", "unit": "kWh", "kind": "counter", "modulus": 1e6, "min": 0, "max_gap_s": 60},
        ],
    } | fields


def _create(client: Client, device_id: str, **fields: Any) -> dict[str, Any]:
    answer = client.post("devices", json=_pump(device_id, **fields))
    assert answer.status_code == 201, answer.get_data(as_text=True)
    return answer.get_json()  # type: ignore[no-any-return]


def test_a_device_is_added_read_and_listed(client: SignedIn) -> None:
    alice = client("alice")
    answer = alice.post("devices", json=_pump("P-1"))
    assert answer.status_code == 201
    assert answer.headers["Location"] == "/api/v1/devices/P-1"
    device = answer.get_json()
    created_at = datetime.fromisoformat(device["created_at"])
    assert device["created_at"].endswith("Z")
    assert abs((datetime.now(UTC) - created_at).total_seconds()) < 60
    assert device == {
        "device_id": "P-1",
        "name": "Pump P-1",
        "type": "pump",
        "location": "Hall 1",
        "metadata": {"maker": "Example", "serial": 9_007_199_254_740_993, "gain": 0.1},
        "parent_device_id": None,
        "status": "unknown",
        "last_seen": None,
        "created_at": device["created_at"],
        "metrics": [
            {
                "name": "energy",
                "unit": "kWh",
                "kind": "counter",
                "min": 0,
                "max": None,
                "modulus": 1000000,
                "max_gap_s": 60,
            },
            {
                "name": "temperature",
                "unit": "°C",
                "kind": "gauge",
                "min": None,
                "max": None,
                "modulus": None,
                "max_gap_s": None,
            },
        ],
        "out_of_service_at": None,
        "out_of_service_by": None,
        "out_of_service_reason": None,
    }
    assert list(device) == [
        "device_id",
        "name",
        "type",
        "location",
        "metadata",
        "parent_device_id",
        "status",
        "last_seen",
        "created_at",
        "metrics",
        "out_of_service_at",
        "out_of_service_by",
        "out_of_service_reason",
    ]
    assert alice.get("devices/P-1").get_json() == device
    assert device in alice.get("devices").get_json()["items"]


def test_a_minimal_device_has_only_an_id_and_a_name(client: SignedIn) -> None:
    answer = client("alice").post("devices", json={"device_id": "minimal", "name": "Minimal"})
    assert answer.status_code == 201
    assert answer.get_json()["metrics"] == []
    assert answer.get_json()["metadata"] == {}


@pytest.mark.parametrize("device_id", ["", ".", "..", "a/b", "a b", "x" * 65, "ä", "a\n", "+", "#"])
def test_a_device_needs_a_proper_id(client: SignedIn, device_id: str) -> None:
    answer = client("alice").post("devices", json=_pump(device_id))
    assert answer.status_code == 400
    assert [item["pointer"] for item in answer.get_json()["errors"]] == ["/device_id"]


@pytest.mark.parametrize(
    ("fields", "status_code", "pointer"),
    [
        ({"metrics": [{"name": "a"}, {"name": "a"}]}, 422, "/metrics/1/name"),
        ({"metrics": [{"name": "e\u0301"}, {"name": "\u00e9"}]}, 422, "/metrics/1/name"),
        ({"metrics": [{"name": "a", "min": 2, "max": 1}]}, 422, "/metrics/0/max"),
        ({"metrics": [{"name": "a", "modulus": 10}]}, 422, "/metrics/0/modulus"),
        ({"metrics": [{"name": "a", "unit": "u" * 40}]}, 422, "/metrics/0/unit"),
        ({"metrics": [{"name": "a", "kind": "text"}]}, 400, "/metrics/0/kind"),
        ({"metrics": [{"name": " a"}]}, 400, "/metrics/0/name"),
        ({"metrics": [{"name": "a", "max_gap_s": 0}]}, 400, "/metrics/0/max_gap_s"),
        ({"metadata": {"text": "x" * 20_000}}, 422, "/metadata"),
        ({"metadata": []}, 400, "/metadata"),
        ({"name": ""}, 400, "/name"),
        ({"name": "   "}, 400, "/name"),
        ({"name": "x" * 201}, 400, "/name"),
        ({"parent_device_id": "nowhere"}, 422, "/parent_device_id"),
    ],
)
def test_a_device_that_makes_no_sense_is_refused(
    client: SignedIn, fields: dict[str, Any], status_code: int, pointer: str
) -> None:
    answer = client("alice").post("devices", json=_pump("senseless", **fields))
    assert answer.status_code == status_code, answer.get_data(as_text=True)
    assert [item["pointer"] for item in answer.get_json()["errors"]] == [pointer]
    assert client("alice").get("devices/senseless").status_code == 404


def test_a_device_id_is_given_once_even_after_retirement(client: SignedIn) -> None:
    alice = client("alice")
    _create(alice, "once")
    assert alice.post("devices", json=_pump("once")).status_code == 409
    assert alice.delete("devices/once").status_code == 204
    assert alice.get("devices/once").status_code == 404
    assert alice.delete("devices/once").status_code == 404
    assert alice.put("devices/once", json={"name": "Back"}).status_code == 404
    assert "once" not in {item["device_id"] for item in alice.get("devices?limit=1000").get_json()["items"]}
    answer = alice.post("devices", json=_pump("once"))
    assert answer.status_code == 409
    assert answer.get_json()["detail"] == "once belongs to a retired device"


def test_of_many_who_add_the_same_device_at_once_one_succeeds(client: SignedIn) -> None:
    alice = client("alice")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: alice.post("devices", json=_pump("race")).status_code, range(8)))
    assert sorted(answers) == [201] + [409] * 7


def test_moving_and_retiring_devices_at_once_never_waits_in_a_circle(client: SignedIn) -> None:
    alice = client("alice")
    _create(alice, "root")
    for number in range(6):
        _create(alice, f"leaf-{number}", parent_device_id="root")

    def change(number: int) -> int:
        if number == 3:
            return alice.delete("devices/root").status_code
        moved = {"name": "Leaf", "parent_device_id": f"leaf-{(number + 1) % 6}"}
        return alice.put(f"devices/leaf-{number}", json=moved).status_code

    with ThreadPoolExecutor(6) as threads:
        assert set(threads.map(change, range(6))) <= {200, 204, 422}
    parents = {
        item["device_id"]: item["parent_device_id"]
        for item in alice.get("devices?name=leaf&limit=100").get_json()["items"]
    }
    for device_id in parents:
        above: str | None = device_id
        for _ in range(7):
            above = parents.get(above) if above else None
        assert above is None


def test_replacing_a_device_changes_what_is_said_and_keeps_metrics(client: SignedIn) -> None:
    alice = client("alice")
    before = _create(alice, "replaced")
    answer = alice.put(
        "devices/replaced",
        json={
            "name": "New name",
            "metrics": [{"name": "flow", "unit": "m^3/h"}, {"name": "energy", "unit": "MWh"}],
        },
    )
    assert answer.status_code == 200
    after = answer.get_json()
    assert (after["name"], after["type"], after["metadata"]) == ("New name", "", {})
    assert after["created_at"] == before["created_at"]
    metrics = {metric["name"]: (metric["unit"], metric["kind"]) for metric in after["metrics"]}
    assert metrics == {
        "energy": ("MWh", "gauge"),
        "flow": ("m³/h", "gauge"),
        "temperature": ("°C", "gauge"),
    }


@pytest.mark.parametrize("change", [{"unit": "bar"}, {"unit": "°C", "kind": "state"}])
def test_a_metric_with_readings_keeps_its_unit_and_kind(client: SignedIn, change: dict[str, Any]) -> None:
    alice = client("alice")
    device_id = f"measured-{len(change)}"
    _create(alice, device_id)
    reading = {"device_id": device_id, "metric": "temperature", "value": 20.5}
    assert alice.post("telemetry", json={"readings": [reading]}).status_code == 201
    answer = alice.put(
        f"devices/{device_id}", json={"name": "M", "metrics": [{"name": "temperature"} | change]}
    )
    assert answer.status_code == 409
    assert "temperature" in answer.get_json()["detail"]
    assert alice.get(f"devices/{device_id}").get_json()["name"] == f"Pump {device_id}"
    same_unit = {"name": "temperature", "unit": "celsius", "max": 90}
    answer = alice.put(f"devices/{device_id}", json={"name": "M", "metrics": [same_unit]})
    assert answer.status_code == 200


def test_devices_stand_below_each_other_but_never_in_a_circle(client: SignedIn) -> None:
    alice = client("alice")
    for device_id, parent in (("line", None), ("machine", "line"), ("motor", "machine")):
        _create(alice, device_id, parent_device_id=parent)
    assert alice.get("devices/motor").get_json()["parent_device_id"] == "machine"
    for parent in ("line", "machine", "motor"):
        answer = alice.put("devices/line", json={"name": "Line", "parent_device_id": parent})
        assert answer.status_code == 422
    assert alice.delete("devices/machine").status_code == 204
    assert alice.get("devices/motor").get_json()["parent_device_id"] is None


def test_a_list_is_filtered_and_paged_without_gaps(client: SignedIn) -> None:
    alice = client("alice")
    ids = [f"page-{number:02}" for number in range(7)]
    for device_id in ids:
        _create(alice, device_id, type="paged", name=f"Paged {device_id}")
    seen, cursor, pages = [], None, 0
    while True:
        query = {"type": "paged", "name": "PAGED", "status": "unknown", "limit": 3}
        body = alice.get("devices", query_string=query | ({"cursor": cursor} if cursor else {})).get_json()
        seen += [item["device_id"] for item in body["items"]]
        pages += 1
        cursor = body["next_cursor"]
        if cursor is None:
            break
    assert seen == ids
    assert pages == 3
    assert alice.get("devices?type=paged&status=online").get_json() == {"items": [], "next_cursor": None}


def test_a_device_has_at_most_a_thousand_metrics(client: SignedIn) -> None:
    alice = client("alice")
    first = [{"name": f"m{number}"} for number in range(600)]
    second = [{"name": f"n{number}"} for number in range(600)]
    _create(alice, "crowded", metrics=first)
    answer = alice.put("devices/crowded", json={"name": "Crowded", "metrics": second})
    assert answer.status_code == 422
    assert len(alice.get("devices/crowded").get_json()["metrics"]) == 600


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "devices/secret", None),
        ("PUT", "devices/secret", {"name": "Mine"}),
        ("DELETE", "devices/secret", None),
        ("GET", "devices/secret/latest", None),
        ("GET", "telemetry?device_id=secret&metric=temperature", None),
    ],
)
def test_a_foreign_device_looks_exactly_like_a_missing_one(
    client: SignedIn, method: str, path: str, body: dict[str, Any] | None
) -> None:
    alice, mallory = client("alice"), client("mallory")
    missing_path = path.replace("secret", "absent")
    alice.post("devices", json=_pump("secret"))
    headers = {"X-Request-ID": "the-same"}
    foreign = mallory.open(method, path, json=body, headers=headers)
    missing = mallory.open(method, missing_path, json=body, headers=headers)
    assert foreign.status_code == 404
    assert foreign.get_data() == missing.get_data().replace(b"absent", b"secret")
    assert dict(foreign.headers).keys() == dict(missing.headers).keys()
    assert alice.get("devices/secret").status_code == 200


def test_the_same_device_id_in_two_tenants_is_two_devices(client: SignedIn) -> None:
    alice, mallory = client("alice"), client("mallory")
    _create(alice, "twin", name="Ours")
    _create(mallory, "twin", name="Theirs")
    assert alice.get("devices/twin").get_json()["name"] == "Ours"
    assert mallory.delete("devices/twin").status_code == 204
    assert alice.get("devices/twin").status_code == 200


def test_a_foreign_device_cannot_become_a_parent(client: SignedIn) -> None:
    _create(client("alice"), "ours")
    answers = [
        client("mallory").post("devices", json=_pump("child", parent_device_id=parent))
        for parent in ("ours", "none")
    ]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert answers[0].get_json()["errors"] == answers[1].get_json()["errors"]


@pytest.mark.parametrize("device_id", ["%00", "a%00", "%F0%9F%92%A5", "x" * 300, "%2e%2e"])
def test_an_impossible_id_in_the_path_is_just_missing(client: SignedIn, device_id: str) -> None:
    for path in (f"devices/{device_id}", f"devices/{device_id}/latest"):
        assert client("alice").get(path).status_code == 404
    assert client("alice").delete(f"devices/{device_id}").status_code == 404
