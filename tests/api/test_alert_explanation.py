"""Why an alert was raised, as people are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from storage.pool import SystemDatabase
from tests.alerting.plant import new_line
from tests.people import Client, Plants

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]


def test_an_explanation_has_the_sentence_and_the_readings_until_then(
    system_database: SystemDatabase, plants: Plants, client: SignedIn
) -> None:
    line = new_line(system_database, plants.plant_a)
    newest = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    moments = [newest - timedelta(minutes=minutes) for minutes in (90, 10, 5, 0)]
    values = [70.0, 75.0, 79.0, 84.5]
    readings = [
        {"device_id": line.device_id, "metric": "bearing_temperature", "ts": at.isoformat(), "value": value}
        for at, value in zip(moments, values, strict=True)
    ]
    later = {**readings[-1], "ts": (newest + timedelta(seconds=1)).isoformat(), "value": 99.0}
    assert client("alice").post("telemetry", json={"readings": [*readings, later]}).status_code == 201
    with system_database.transaction() as cursor:
        cursor.execute("SELECT metric_id FROM metrics WHERE device_key = %s", (line.device_key,))
        ((metric_id,),) = cursor.fetchall()
    sentence = "Bearing hot: 84.5 is above 80"
    raised = line.transition("raised", 0, value=84.5, message=sentence, rule_version=3)
    line.play(replace(raised, metric_id=metric_id, observed_at=newest))
    found = client("vera").get(f"alerts/{line.alert_id}/explain").get_json()
    assert (found["summary"], found["rule_version"], found["value"]) == (sentence, 3, 84.5)
    assert [reading["value"] for reading in found["readings"]] == values[1:]
    assert {reading["quality"] for reading in found["readings"]} == {"good"}
    with system_database.transaction() as cursor:
        cursor.execute("SELECT set_config('app.tenant_id', %s, true)", (str(plants.plant_a),))
        cursor.execute(found["sql"], found["parameters"])
        again = [row[1] for row in cursor.fetchall()]
    assert again == values[:0:-1]


def test_what_no_metric_decided_has_no_readings_but_its_timers(
    system_database: SystemDatabase, plants: Plants, client: SignedIn
) -> None:
    line = new_line(system_database, plants.plant_a)
    line.raised(0, message="Guard open")
    body = {"duration_s": 60, "reason": "known"}
    shelved = client("oskar").post(f"alerts/{line.alert_id}/shelve", json=body).get_json()
    found = client("vera").get(f"alerts/{line.alert_id}/explain").get_json()
    assert (found["summary"], found["sql"], found["readings"]) == ("Guard open", None, [])
    assert found["timers"] == [{"name": "shelving_ends", "due_at": shelved["shelved_until"]}]
