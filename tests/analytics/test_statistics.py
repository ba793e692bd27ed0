"""Statistics of one metric against certified numbers, numpy and pandas, and in all the corners."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from tests.analytics.nist import UNIVARIATE, Univariate, digits
from tests.analytics.record import START, Table, declare, rfc3339, send
from tests.people import Client

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]


def _ask(client: Client, device_id: str, metric: str = "flow", **query: Any) -> Any:
    answer = client.get(f"analytics/statistics/{device_id}/{metric}", query_string=query)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_json()


@pytest.mark.parametrize("reference", UNIVARIATE, ids=lambda reference: reference.name)
def test_constructed_sets_give_the_certified_digits(client: SignedIn, reference: Univariate) -> None:
    alice = client("alice")
    device_id = declare(alice, reference.name)
    send(alice, device_id, reference.values, step_s=1)
    found = _ask(alice, device_id)
    assert found["n"] == len(reference.values)
    assert digits(found["mean"], reference.mean) >= 13
    assert digits(found["stddev"], reference.stddev) >= reference.stddev_digits
    assert digits(found["lag1_autocorrelation"], reference.lag1) >= 8


def test_figures_of_irregular_readings_are_those_of_numpy(client: SignedIn, table: Table) -> None:
    alice = client("alice")
    device_id = declare(alice, "S-1", max_gap_s=900)
    random = np.random.default_rng(1)
    seconds = np.cumsum(random.exponential(60, 5000)).round(3)
    values = 20 + random.normal(0, 3, 5000)
    table.fill(device_id, [START + timedelta(seconds=second) for second in seconds], values.tolist())
    found = _ask(alice, device_id)
    quartiles = np.percentile(values, [25, 50, 75, 95])
    centred = values - values.mean()
    gaps = np.diff(seconds)
    covered = gaps <= 900
    wanted = {
        "mean": values.mean(),
        "median": quartiles[1],
        "stddev": values.std(ddof=1),
        "variance": values.var(ddof=1),
        "min": values.min(),
        "max": values.max(),
        "range": np.ptp(values),
        "cv_percent": 100 * values.std(ddof=1) / values.mean(),
        "iqr": quartiles[2] - quartiles[0],
        "lag1_autocorrelation": (centred[:-1] * centred[1:]).sum() / (centred**2).sum(),
        "time_weighted_mean": ((values[:-1] + values[1:]) / 2 * gaps)[covered].sum() / gaps[covered].sum(),
        "covered_s": gaps[covered].sum(),
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=1e-11)
    assert list(found["percentiles"].values()) == pytest.approx(quartiles, rel=1e-14)
    assert (found["n"], found["gaps"], found["unit"]) == (5000, int((~covered).sum()), "bar")
    lowest = START + timedelta(seconds=float(seconds[values.argmin()]))
    assert datetime.fromisoformat(found["min_at"]) == lowest
    assert found["first"] == {"ts": rfc3339(START + timedelta(seconds=float(seconds[0]))), "value": values[0]}


NOTHING = dict.fromkeys(
    ("mean", "median", "stddev", "variance", "min", "max", "range", "cv_percent", "iqr", "min_at", "first")
)


@pytest.mark.parametrize(
    ("values", "qualities", "wanted"),
    [
        ([], None, {"n": 0, "lag1_autocorrelation": None} | NOTHING),
        ([7.0, 8.0], ["bad", "bad"], {"n": 0} | NOTHING),
        (
            [7.0],
            None,
            {"n": 1, "mean": 7, "median": 7, "stddev": None, "variance": None, "range": 0, "iqr": 0}
            | {"cv_percent": None, "lag1_autocorrelation": None, "time_weighted_mean": None},
        ),
        (
            [7.0, 9.0],
            None,
            {"n": 2, "mean": 8, "variance": 2, "lag1_autocorrelation": -0.5, "time_weighted_mean": 8},
        ),
        (
            [0.3] * 5,
            None,
            {"n": 5, "mean": 0.3, "stddev": 0, "cv_percent": 0, "iqr": 0, "lag1_autocorrelation": None},
        ),
        ([-1.0, 1.0], None, {"mean": 0, "cv_percent": None}),
    ],
    ids=["none", "all bad", "one", "two", "constant", "mean zero"],
)
def test_a_figure_that_does_not_exist_is_null(
    client: SignedIn, values: list[float], qualities: list[str] | None, wanted: dict[str, Any]
) -> None:
    alice = client("alice")
    device_id = declare(alice, f"S-corner-{len(values)}-{values[:1]}-{qualities}".translate(_PLAIN))
    if values:
        send(alice, device_id, values, qualities=qualities)
    found = _ask(alice, device_id)
    assert {name: found[name] for name in wanted} == wanted


_PLAIN = str.maketrans("[]', ", "_____")


def test_quality_and_range_decide_what_counts(client: SignedIn) -> None:
    alice = client("alice")
    device_id = declare(alice, "S-2")
    times = send(alice, device_id, [1, 2, 3, 4], qualities=["good", "uncertain", "bad", "good"])
    assert _ask(alice, device_id)["mean"] == 2.5
    assert _ask(alice, device_id, min_quality="uncertain")["n"] == 3
    assert _ask(alice, device_id, min_quality="bad")["mean"] == 2.5
    # [start, stop): the reading at start counts, the one at stop does not.
    bounded = _ask(alice, device_id, min_quality="bad", start=rfc3339(times[1]), stop=rfc3339(times[3]))
    assert (bounded["n"], bounded["min"], bounded["max"]) == (2, 2, 3)


def test_values_beyond_double_precision_are_refused_in_words(client: SignedIn) -> None:
    alice = client("alice")
    device_id = declare(alice, "S-3")
    send(alice, device_id, [1e300, -1e300, 1e300])
    answer = alice.get(f"analytics/statistics/{device_id}/flow")
    assert answer.status_code == 422
    assert answer.get_json()["type"] == "urn:iiot:problem:figures-too-large"


@pytest.mark.parametrize(
    ("values", "modulus", "wanted"),
    [
        ([10, 12, 15], None, (5, 0, 0)),
        ([10, 12, 3, 5], None, (2 + 3 + 2, 1, 0)),
        ([9990, 9998, 4, 10], 10_000, (8 + 6 + 6, 0, 1)),
        ([100.0, 100.1, 100.0, 100.1, 100.2], None, (0.2, 0, 0)),
        ([100.0, 99.9], None, (0, 0, 0)),
        ([5], None, (None, 0, 0)),
    ],
    ids=["grows", "reset", "rollover", "jitter", "jitter at the end", "one reading"],
)
def test_a_counter_tells_resets_rollovers_and_jitter_apart(
    client: SignedIn, values: list[float], modulus: float | None, wanted: tuple[float | None, int, int]
) -> None:
    alice = client("alice")
    device_id = declare(alice, f"C-{len(values)}-{values[0]}-{values[-1]}", kind="counter", modulus=modulus)
    send(alice, device_id, values)
    counter = _ask(alice, device_id)["counter"]
    delta, resets, rollovers = wanted
    assert counter["delta"] == (None if delta is None else pytest.approx(delta, rel=1e-9))
    assert (counter["resets"], counter["rollovers"]) == (resets, rollovers)


def test_a_state_is_told_by_the_time_it_lasted(client: SignedIn) -> None:
    alice = client("alice")
    device_id = declare(alice, "S-4", kind="state", max_gap_s=3600)
    times = send(alice, device_id, [0, 1, 0, 1], seconds=[0, 600, 900, 10_000])
    states = {item["value"]: item["duration_s"] for item in _ask(alice, device_id)["states"]}
    # From 900 s on nothing was heard for longer than max_gap_s: nobody knows.
    assert states == {0: 600, 1: 300}
    inside = _ask(
        alice,
        device_id,
        start=rfc3339(times[0] + timedelta(seconds=300)),
        stop=rfc3339(times[1] + timedelta(seconds=200)),
    )
    assert {item["value"]: item["duration_s"] for item in inside["states"]} == {0: 300, 1: 200}


def test_days_are_those_of_the_site_also_when_clocks_change(client: SignedIn, table: Table) -> None:
    alice = client("alice")
    device_id = declare(alice, "S-5")
    start = datetime(2026, 3, 27, 23, tzinfo=UTC)
    times = [start + timedelta(minutes=10 * number) for number in range(6 * 24 * 3)]
    table.fill(device_id, times, [float(number) for number in range(len(times))])
    days = _ask(alice, device_id, by="day", timezone="Europe/Berlin")["days"]
    assert [(day["day"], day["hours"], day["n"]) for day in days] == [
        ("2026-03-28", 24, 144),
        ("2026-03-29", 23, 138),
        ("2026-03-30", 24, 144),
        ("2026-03-31", 24, 6),
    ]
    assert [day["mean"] for day in days[:2]] == [71.5, 212.5]
    october = [datetime(2026, 10, 24, 22, tzinfo=UTC) + timedelta(hours=number) for number in range(25)]
    table.fill(device_id, october, [1.0] * 25)
    days = _ask(alice, device_id, by="day", timezone="Europe/Berlin", start=rfc3339(october[0]))["days"]
    assert [(day["hours"], day["n"], day["stddev"]) for day in days] == [(25, 25, 0)]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"start": "2026-03-02T00:00:00Z", "stop": "2026-03-01T00:00:00Z"}, "/stop"),
        ({"start": "yesterday"}, "/start"),
        ({"min_quality": "superb"}, "/min_quality"),
        ({"by": "week"}, "/by"),
        ({"by": "day", "timezone": "Mars/Olympus"}, "/timezone"),
        ({"by": "day", "timezone": "../../etc/passwd"}, "/timezone"),
        ({"window": "5"}, "/window"),
    ],
)
def test_a_malformed_question_is_refused(client: SignedIn, query: dict[str, str], pointer: str) -> None:
    alice = client("alice")
    answer = alice.get("analytics/statistics/S-1/flow", query_string=query)
    assert answer.status_code == 400
    assert [item["pointer"] for item in answer.get_json()["errors"]] == [pointer]


def test_vera_may_look_and_mallory_finds_nothing(client: SignedIn, anybody: Client) -> None:
    device_id = declare(client("alice"), "S-6")
    for figures in ("statistics", "trends"):
        path = f"analytics/{figures}/{device_id}/flow"
        assert client("vera").get(path).status_code == 200
        assert anybody.get(path).status_code == 401
        headers = {"X-Request-ID": "the-same"}
        foreign = client("mallory").get(path, headers=headers)
        missing = client("mallory").get(path.replace(device_id, "S-nowhere"), headers=headers)
        assert foreign.status_code == missing.status_code == 404
        assert foreign.get_data() == missing.get_data().replace(b"S-nowhere", device_id.encode())
        assert client("alice").get(f"analytics/{figures}/{device_id}/pressure").status_code == 404
