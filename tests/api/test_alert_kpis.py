"""The figures of alarm management, against a reckoning of their own and against examples worked by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from alerting import journal
from domain.alert import AlertEvent
from domain.alert_decision import acknowledge, serve, shelve, unshelve
from domain.audit import Actor
from storage.alert_journal import lock_by_id
from storage.pool import SystemDatabase
from tests.alerting.plant import T0, Line, at, journal_of, new_line
from tests.alerting.reckoning import figures, told
from tests.people import Client, Plants

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]
HOURS = 72
SEVERITIES = ("info", "low", "low", "medium", "high", "critical")


def rfc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def asked(client: Client, start: datetime, stop: datetime) -> dict[str, Any]:
    answer = client.get(f"alerts/kpis?start={rfc(start)}&stop={rfc(stop)}")
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found: dict[str, Any] = answer.get_json()
    return found


def command(line: Line, at_s: float, name: str) -> None:
    """Let somebody work with the alert of a line, as far as it can be done at the moment."""
    oskar = Actor(line.tenant_id, "oskar@plant-a.example")
    now = at(at_s)
    with line.database.transaction() as cursor:
        (alert,) = lock_by_id(cursor, [line.alert_id])
        facts, event = alert.facts, None
        if name == "acknowledge":
            event = acknowledge(facts, oskar, at=now, comment="", event_id=None)
        elif name == "shelve":
            event = shelve(facts, oskar, at=now, until=now + timedelta(hours=30), reason="known")
        elif name == "unshelve":
            event = unshelve(facts, oskar, at=now)
        else:
            event = serve(facts, oskar, at=now, is_out_of_service=name == "out", reason="")
        if event is not None:
            journal.write(cursor, [(alert, event)], now=now)


def shift(lines: list[Line], rng: random.Random) -> None:
    """Three days: quiet stretches, bursts of the whole plant, one valve that chatters, people who react."""
    clock, active = 0.0, set[int]()
    names = ["acknowledge"] * 12 + ["shelve", "out"] + ["unshelve", "in"] * 3
    known: set[int] = set()
    pace_s = 0.0
    while clock < HOURS * 3600:
        if rng.random() < 0.03:
            pace_s = rng.choice([8, 50, 400, 4000])
        clock += pace_s * rng.random()
        place = 0 if rng.random() < 0.2 else rng.randrange(len(lines))
        line = lines[place]
        if place in known and rng.random() < 0.35:
            command(line, clock, rng.choice(names))
        elif place in active:
            line.cleared(clock)
            active.remove(place)
        else:
            line.raised(clock, rng.choice(SEVERITIES))
            active.add(place)
            known.add(place)


@pytest.fixture(scope="module")
def lines(system_database: SystemDatabase, plants: Plants) -> list[Line]:
    lines = [new_line(system_database, plants.plant_a) for _ in range(14)]
    stuck = new_line(system_database, plants.plant_a)
    stuck.raised(600, "medium")
    shift(lines, random.Random(18))
    command(lines[1], HOURS * 3600 - 1, "shelve")
    return [*lines, stuck]


@pytest.mark.parametrize(
    ("start_h", "stop_h"), [(0, HOURS), (0, 1), (7.25, 31.5), (40, 66), (HOURS - 2, HOURS + 100), (-50, -10)]
)
def test_every_figure_is_that_of_an_independent_reckoning(
    lines: list[Line], client: SignedIn, start_h: float, stop_h: float
) -> None:
    journals: dict[tuple[str, str], list[AlertEvent]] = {
        (line.alert_id, f"rule:{line.rule_id}"): journal_of(line.database, line.alert_id) for line in lines
    }
    start, stop = at(start_h * 3600), at(stop_h * 3600)
    found, wanted = asked(client("vera"), start, stop), figures(told(journals), start, stop)
    ids = {alert_id for alert_id, _ in journals}

    def listed(name: str) -> set[str]:
        return {item["alert_id"] for item in found[name]} & ids

    assert found["raised"] == wanted["raised"]
    assert (found["per_hour"], found["per_day"]) == pytest.approx((wanted["per_hour"], wanted["per_day"]))
    for name in ("by_hour", "by_day"):
        assert [(moment(item["start"]), item["raised"]) for item in found[name]] == wanted[name]
    assert found["peak_10_min"]["raised"] == wanted["peak"]
    assert found["flood"]["time_s"] == pytest.approx(wanted["flood_s"], abs=1e-5)
    assert found["flood"]["periods"] == wanted["flood_periods"]
    top = [(item["source"], item["raised"], item["share"]) for item in found["top_sources"]]
    assert top == wanted["top"]
    assert found["top_sources_share"] == wanted["top_share"]
    assert {item["alert_id"]: item["bursts"] for item in found["chattering"]} == wanted["chattering"]
    assert found["fleeting"]["occurrences"] == wanted["fleeting"]
    assert {item["severity"]: item["raised"] for item in found["by_severity"]} == wanted["by_severity"]
    for name in ("to_acknowledge", "to_clear"):
        took = found[f"time_{name}_s"]
        assert (took["n"], took["median"], took["p95"]) == pytest.approx(wanted[name], abs=1e-5)
    assert found["standing"] == wanted["standing"]
    assert (listed("stale"), listed("shelved")) == (wanted["stale"], wanted["shelved"])


def test_the_three_days_have_something_of_everything(lines: list[Line], client: SignedIn) -> None:
    """Else the reckoning would compare nothing with nothing."""
    found = asked(client("vera"), T0, at(HOURS * 3600))
    assert lines
    assert found["flood"]["periods"] > 1
    assert min(found["raised"], found["time_to_acknowledge_s"]["n"], found["time_to_clear_s"]["n"]) > 50
    assert all(found[name] for name in ("chattering", "stale", "shelved", "standing"))
    assert found["fleeting"]["occurrences"] > 10


def test_ten_alerts_in_ten_minutes_are_a_flood_until_the_first_is_ten_minutes_old(
    system_database: SystemDatabase, plants: Plants, client: SignedIn
) -> None:
    day = 86_400 * 30
    for place in range(10):
        new_line(system_database, plants.plant_a).raised(day + place * 60)
    found = asked(client("vera"), at(day), at(day + 3600))
    assert found["flood"] == {"periods": 1, "time_s": 60.0, "ratio": pytest.approx(60 / 3600)}
    assert found["peak_10_min"] == {"raised": 10, "at": rfc(at(day + 540))}
    assert (found["per_hour"], found["top_sources_share"]) == (10.0, 1.0)


def test_a_plant_without_alerts_has_figures_without_values(client: SignedIn) -> None:
    found = client("mallory").get("alerts/kpis").get_json()
    assert (found["raised"], found["per_day"], found["flood"]["time_s"]) == (0, 0.0, 0.0)
    assert found["time_to_clear_s"] == {"n": 0, "median": None, "p95": None}
    assert (found["top_sources"], found["top_sources_share"], found["stale"]) == ([], None, [])
    assert moment(found["stop"]) - moment(found["start"]) == timedelta(days=7)


def test_a_neighbour_counts_nothing_of_plant_a(lines: list[Line], client: SignedIn) -> None:
    assert lines
    found = asked(client("mallory"), T0, at(HOURS * 3600))
    assert (found["raised"], found["standing"], found["by_hour"]) == (0, 0, [])


def test_each_target_names_its_source(client: SignedIn) -> None:
    for target in client("vera").get("alerts/kpis").get_json()["targets"]:
        assert target["at_most"] >= 0
        assert any(name in target["source"] for name in ("ISA-18.2", "EEMUA 191", "IEC 62682"))


@pytest.mark.parametrize(
    "query",
    ["start=yesterday", "start=2026-03-02T06:00:00Z&stop=2026-03-02T06:00:00Z",
     "start=2026-01-01T00:00:00Z&stop=2026-12-01T00:00:00Z", "device=P-101"],
)  # fmt: skip
def test_a_stretch_that_is_none_is_refused(client: SignedIn, query: str) -> None:
    assert client("vera").get(f"alerts/kpis?{query}").status_code == 400
