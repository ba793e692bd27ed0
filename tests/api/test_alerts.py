"""Alerts over HTTP: what stands, what happened, and what people do about it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from storage.pool import SystemDatabase
from tests.alerting.plant import Line, assert_journal_amounts_to_the_row, at, new_line
from tests.application import Application
from tests.people import Client, Plants

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]
Commands = list[tuple[str, dict[str, Any] | None]]

COMMANDS: Commands = [
    ("acknowledge", {"comment": "seen"}),
    ("shelve", {"duration_s": 60, "reason": "known"}),
    ("unshelve", None),
    ("clear", None),
    ("comments", {"comment": "a spare part is ordered"}),
]


@pytest.fixture
def line(system_database: SystemDatabase, plants: Plants) -> Line:
    return new_line(system_database, plants.plant_a)


@pytest.fixture
def oskar(client: SignedIn) -> Client:
    return client("oskar")


def rfc(seconds: float) -> str:
    return at(seconds).isoformat().replace("+00:00", "Z")


# Reading ------------------------------------------------------------------------------------------


def test_an_alert_tells_what_people_need(line: Line, oskar: Client) -> None:
    line.raised(0, "high", value=84.2, message="Bearing hot: 84.2 °C")
    alert = oskar.get(f"alerts/{line.alert_id}").get_json()
    assert alert == {
        "alert_id": line.alert_id,
        "source": f"rule:{line.rule_id}",
        "rule_id": line.rule_id,
        "rule_name": "Bearing hot",
        "rule_version": 1,
        "device_id": line.device_id,
        "metric": None,
        "severity": "high",
        "state": "unacknowledged",
        "is_active": True,
        "condition_holds": True,
        "is_latched": False,
        "is_acknowledged": False,
        "acknowledged_by": None,
        "acknowledged_at": None,
        "acknowledge_comment": None,
        "acknowledged_event_id": None,
        "attention_event_id": alert["attention_event_id"],
        "shelved_until": None,
        "shelve_reason": None,
        "suppressed_by": None,
        "is_out_of_service": False,
        "occurrence": 1,
        "repeat_count": 0,
        "raised_at": "2026-03-02T06:00:00Z",
        "cleared_at": None,
        "realarm_at": None,
        "value": 84.2,
        "message": "Bearing hot: 84.2 °C",
    }


def test_what_was_announced_is_what_the_api_says(line: Line, oskar: Client, application: Application) -> None:
    line.raised(0)
    oskar.post(f"alerts/{line.alert_id}/acknowledge", json={"comment": "seen"})
    application.announced.clear()
    answer = oskar.post(f"alerts/{line.alert_id}/shelve", json={"duration_s": 60, "reason": "known"})
    (change,) = application.announced
    stored = oskar.get(f"alerts/{line.alert_id}").get_json()
    assert answer.get_json() == stored
    assert stored["acknowledged_by"] == "oskar@plant-a.example"
    assert {name: stored[name] for name in ("state", "acknowledged_by", "severity", "occurrence")} == {
        name: change.alert[name] for name in ("state", "acknowledged_by", "severity", "occurrence")
    }


def test_a_list_is_filtered_by_what_the_alerts_are(line: Line, oskar: Client) -> None:
    line.raised(0, "critical")
    device = f"device_id={line.device_id}"

    def found(query: str) -> list[str]:
        answer = oskar.get(f"alerts?{device}&{query}")
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return [item["alert_id"] for item in answer.get_json()["items"]]

    hits = ["state=unacknowledged", "severity=critical", f"rule_id={line.rule_id}", "is_active=true",
            f"start={rfc(0)}&stop={rfc(1)}"]  # fmt: skip
    misses = ["state=normal", "severity=low", f"rule_id={uuid4()}", "is_active=false",
              f"stop={rfc(0)}", f"start={rfc(1)}"]  # fmt: skip
    assert {query: found(query) for query in hits} == {query: [line.alert_id] for query in hits}
    assert {query: found(query) for query in misses} == {query: [] for query in misses}


def test_a_list_pages_from_the_last_raised_to_the_first(
    system_database: SystemDatabase, plants: Plants, oskar: Client
) -> None:
    first = new_line(system_database, plants.plant_a)
    lines = [first, *(new_line(system_database, plants.plant_a, rule_id=first.rule_id) for _ in range(4))]
    for number, line in enumerate(lines):
        line.raised(number // 2)
    seen: list[str] = []
    cursor = ""
    while True:
        page = oskar.get(f"alerts?rule_id={first.rule_id}&limit=2{cursor}").get_json()
        assert len(page["items"]) <= 2
        seen += [item["alert_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(seen) == len(set(seen)) == 5
    assert seen[0] == lines[4].alert_id
    assert set(seen[3:]) == {lines[0].alert_id, lines[1].alert_id}


@pytest.mark.parametrize(
    "query",
    ["state=angry", "severity=huge", "active=perhaps", "rule_id=7", "start=yesterday", "color=red",
     "cursor=x", "device_id=a/b", "limit=0"],
)  # fmt: skip
def test_a_filter_that_makes_no_sense_is_refused(oskar: Client, query: str) -> None:
    assert oskar.get(f"alerts?{query}").status_code == 400


def test_a_cursor_that_somebody_made_up_is_refused(oskar: Client) -> None:
    for key in (b'["alerts",1,"not an id"]', b'["alerts",9223372036854775807,"%s"]' % str(uuid4()).encode()):
        forged = base64.urlsafe_b64encode(key).decode().rstrip("=")
        assert oskar.get(f"alerts?cursor={quote(forged)}").status_code == 400


def test_the_journal_of_an_alert_is_in_its_order(line: Line, oskar: Client) -> None:
    line.raised(0, value=84.2)
    oskar.post(f"alerts/{line.alert_id}/acknowledge", json={"comment": "on my way"})
    line.cleared(30)
    page = oskar.get(f"alerts/{line.alert_id}/events?limit=2").get_json()
    assert [event["kind"] for event in page["items"]] == ["raised", "acknowledged"]
    assert page["items"][1]["actor"] == "oskar@plant-a.example"
    assert page["items"][1]["comment"] == "on my way"
    assert page["items"][1]["acknowledged_event_id"] == page["items"][0]["alert_event_id"]
    rest = oskar.get(f"alerts/{line.alert_id}/events?limit=2&cursor={page['next_cursor']}").get_json()
    assert ([event["kind"] for event in rest["items"]], rest["next_cursor"]) == (["cleared"], None)


def test_what_a_client_missed_is_what_came_after_the_event_it_knows(line: Line, oskar: Client) -> None:
    (raised,) = line.raised(0)
    line.cleared(5)
    line.raised(10)
    after = raised.event["alert_event_id"]
    missed = oskar.get(f"alerts/events?device_id={line.device_id}&after={after}").get_json()["items"]
    assert [(event["kind"], event["device_id"]) for event in missed] == [
        ("cleared", line.device_id),
        ("raised", line.device_id),
    ]
    query = f"alerts/events?device_id={line.device_id}&kind=raised&start={rfc(1)}&stop={rfc(11)}"
    assert len(oskar.get(query).get_json()["items"]) == 1


# Commands -----------------------------------------------------------------------------------------


def test_acknowledging_twice_is_acknowledging_once(line: Line, oskar: Client) -> None:
    line.raised(0)
    first = oskar.post(f"alerts/{line.alert_id}/acknowledge", json={"comment": "seen"})
    second = oskar.post(f"alerts/{line.alert_id}/acknowledge", json={"comment": "seen, again"})
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.get_json() == second.get_json()
    assert (first.get_json()["state"], first.get_json()["acknowledge_comment"]) == ("acknowledged", "seen")
    assert line.kinds() == ["raised", "acknowledged"]


def test_an_acknowledgement_needs_no_words(line: Line, oskar: Client) -> None:
    line.raised(0)
    assert oskar.post(f"alerts/{line.alert_id}/acknowledge").get_json()["is_acknowledged"] is True


def test_what_got_worse_since_somebody_looked_is_not_acknowledged(line: Line, oskar: Client) -> None:
    (raised,) = line.raised(0, "high")
    (worse,) = line.severity_changed(5, "critical")
    path = f"alerts/{line.alert_id}/acknowledge"
    late = oskar.post(path, json={"event": raised.event["alert_event_id"]})
    assert (late.status_code, late.get_json()["type"]) == (409, "urn:iiot:problem:newer-event")
    assert line.state == "unacknowledged"
    assert oskar.post(path, json={"event": worse.event["alert_event_id"]}).status_code == 200
    assert line.state == "acknowledged"


def test_unshelving_brings_back_the_earlier_acknowledgement(line: Line, oskar: Client) -> None:
    line.raised(0)
    path = f"alerts/{line.alert_id}"
    oskar.post(f"{path}/acknowledge", json={"comment": "seen"})
    shelved = oskar.post(f"{path}/shelve", json={"duration_s": 3600, "reason": "sensor is being changed"})
    assert (shelved.status_code, shelved.get_json()["state"]) == (200, "shelved")
    assert shelved.get_json()["shelve_reason"] == "sensor is being changed"
    unshelved = oskar.post(f"{path}/unshelve").get_json()
    assert (unshelved["state"], unshelved["acknowledge_comment"]) == ("acknowledged", "seen")
    assert oskar.post(f"{path}/unshelve").status_code == 200
    assert line.kinds() == ["raised", "acknowledged", "shelved", "unshelved"]
    assert_journal_amounts_to_the_row([line])


def test_the_same_shelving_sent_again_changes_nothing(line: Line, oskar: Client) -> None:
    line.raised(0)
    body = {"duration_s": 3600, "reason": "known"}
    first = oskar.post(f"alerts/{line.alert_id}/shelve", json=body).get_json()
    assert oskar.post(f"alerts/{line.alert_id}/shelve", json=body).get_json() == first
    assert line.kinds() == ["raised", "shelved"]


def test_nobody_shelves_for_longer_than_the_settings_allow(line: Line, oskar: Client) -> None:
    line.raised(0)
    answer = oskar.post(f"alerts/{line.alert_id}/shelve", json={"duration_s": 86_401, "reason": "for good"})
    assert (answer.status_code, answer.get_json()["detail"]) == (422, "at most 86400 s are allowed")


def test_an_alert_that_clears_by_itself_is_not_cleared_by_hand(line: Line, oskar: Client) -> None:
    line.raised(0)
    answer = oskar.post(f"alerts/{line.alert_id}/clear")
    assert (answer.status_code, answer.get_json()["type"]) == (409, "urn:iiot:problem:not-latched")


def test_a_comment_is_kept_in_the_journal_and_changes_nothing(line: Line, oskar: Client) -> None:
    line.raised(0)
    answer = oskar.post(f"alerts/{line.alert_id}/comments", json={"comment": "a spare part is ordered"})
    assert (answer.status_code, answer.get_json()["comment"]) == (201, "a spare part is ordered")
    assert (line.kinds(), line.state) == (["raised", "commented"], "unacknowledged")


def test_a_shift_acknowledges_many_alerts_at_once(
    system_database: SystemDatabase, plants: Plants, oskar: Client
) -> None:
    lines = [new_line(system_database, plants.plant_a) for _ in range(3)]
    for line in lines:
        line.raised(0)
    missing = str(uuid4())
    body = {"alert_ids": [*(line.alert_id for line in lines), missing], "comment": "power dip"}
    answer = oskar.post("alerts/acknowledge", json=body).get_json()
    assert {item["state"] for item in answer["items"]} == {"acknowledged"}
    assert (len(answer["items"]), answer["missing"]) == (3, [missing])


def test_every_command_leaves_an_entry_in_the_audit_log(
    line: Line, oskar: Client, system_database: SystemDatabase
) -> None:
    line.raised(0)
    for verb, body in COMMANDS:
        oskar.post(f"alerts/{line.alert_id}/{verb}", json=body)
        oskar.post(f"alerts/{line.alert_id}/acknowledge", json={})
    with system_database.transaction() as cursor:
        cursor.execute(
            "SELECT action, actor FROM audit_logs WHERE target = %s ORDER BY audit_id",
            (f"alert/{line.alert_id}",),
        )
        entries = cursor.fetchall()
    verbs = ["acknowledge", "shelve", "unshelve", "comment"]
    assert entries == [(f"alert.{verb}", "oskar@plant-a.example") for verb in verbs]


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("acknowledge", {"comment": 7}),
        ("acknowledge", {"comment": "x" * 2001}),
        ("acknowledge", {"event": 0}),
        ("acknowledge", {"who": "me"}),
        ("shelve", {"duration_s": 0, "reason": "r"}),
        ("shelve", {"duration_s": 60}),
        ("shelve", {"duration_s": 60, "reason": " "}),
        ("shelve", {"duration_s": "60", "reason": "r"}),
        ("unshelve", {"now": True}),
        ("clear", {"force": True}),
        ("comments", {"comment": ""}),
        ("comments", {}),
    ],
)
def test_a_malformed_command_is_refused(line: Line, oskar: Client, verb: str, body: dict[str, Any]) -> None:
    line.raised(0)
    assert oskar.post(f"alerts/{line.alert_id}/{verb}", json=body).status_code == 400
    assert line.kinds() == ["raised"]


def test_a_neighbour_sees_and_changes_nothing(line: Line, client: SignedIn) -> None:
    line.raised(0)
    mallory, missing = client("mallory"), str(uuid4())

    def same(method: str, path: str, body: dict[str, Any] | None) -> None:
        headers = {"X-Request-ID": "same"}
        real = mallory.open(method, path.format(line.alert_id), json=body, headers=headers)
        none = mallory.open(method, path.format(missing), json=body, headers=headers)
        assert real.status_code == 404
        assert real.get_data(as_text=True).replace(line.alert_id, missing) == none.get_data(as_text=True)

    same("GET", "alerts/{}", None)
    same("GET", "alerts/{}/events", None)
    same("GET", "alerts/{}/explain", None)
    for verb, body in COMMANDS:
        same("POST", f"alerts/{{}}/{verb}", body)
    assert mallory.get("alerts").get_json()["items"] == []
    assert mallory.get("alerts/events").get_json()["items"] == []
    bulk = mallory.post("alerts/acknowledge", json={"alert_ids": [line.alert_id]}).get_json()
    assert bulk == {"items": [], "missing": [line.alert_id]}
    assert line.kinds() == ["raised"]


def test_a_viewer_looks_and_changes_nothing(line: Line, client: SignedIn) -> None:
    line.raised(0)
    assert client("vera").get(f"alerts/{line.alert_id}").status_code == 200
    for verb, body in COMMANDS:
        assert client("vera").post(f"alerts/{line.alert_id}/{verb}", json=body).status_code == 403
    assert line.kinds() == ["raised"]


def test_an_id_that_is_none_is_like_a_missing_one(oskar: Client) -> None:
    assert oskar.get("alerts/7").status_code == 404
    assert oskar.post("alerts/7/acknowledge", json={}).status_code == 404
