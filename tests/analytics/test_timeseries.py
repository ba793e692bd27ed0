"""One metric over time against pandas: frames across pages, gaps, buckets and outlines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.analytics.record import START, Table, declare, rfc3339, send
from tests.people import Client

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]


def _ask(client: Client, device_id: str, **query: Any) -> Any:
    answer = client.get(f"analytics/timeseries/{device_id}/flow", query_string=query)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_json()


def _all(client: Client, device_id: str, **query: Any) -> list[dict[str, Any]]:
    body = _ask(client, device_id, **query)
    points = list(body["points"])
    while body["next_cursor"] is not None:
        body = _ask(client, device_id, **query, cursor=body["next_cursor"])
        points += body["points"]
    return points


@pytest.fixture(scope="module")
def irregular(client: SignedIn, table: Table) -> tuple[str, pd.Series[float]]:
    """Two hundred readings at random times, one of them huge, with a gap; and the same for pandas."""
    device_id = declare(client("alice"), "TS-1", max_gap_s=300)
    random = np.random.default_rng(2)
    seconds = np.cumsum(random.integers(1, 90, 200)).astype(float)
    seconds[120:] += 1000
    values = random.normal(50, 5, 200)
    values[60] = 1e12
    times = [START + timedelta(seconds=second) for second in seconds]
    table.fill(device_id, times, values.tolist())
    return device_id, pd.Series(values, index=pd.DatetimeIndex(times))


@pytest.mark.parametrize("limit", [7, 1000])
@pytest.mark.parametrize("window", [1, 5, 50])
def test_frames_of_points_reach_over_the_edges_of_pages(
    client: SignedIn, irregular: tuple[str, pd.Series[float]], window: int, limit: int
) -> None:
    device_id, series = irregular
    points = _all(client("alice"), device_id, window=window, limit=limit)
    # Frame by frame: a running sum, as pandas has it, would keep traces of the huge value.
    wanted = [series.iloc[max(0, place - window + 1) : place + 1].mean() for place in range(200)]
    assert [point["moving_average"] for point in points] == pytest.approx(wanted, rel=1e-12)
    assert [datetime.fromisoformat(point["ts"]) for point in points] == list(series.index)


@pytest.mark.parametrize("limit", [7, 1000])
@pytest.mark.parametrize("window_s", [60, 600])
def test_frames_of_time_reach_over_the_edges_of_pages_and_forget_exactly(
    client: SignedIn, irregular: tuple[str, pd.Series[float]], window_s: int, limit: int
) -> None:
    device_id, series = irregular
    points = _all(client("alice"), device_id, window_s=window_s, limit=limit)
    reach = timedelta(seconds=window_s)
    wanted = [
        series[(series.index > moment - reach) & (series.index <= moment)].mean() for moment in series.index
    ]
    assert [point["moving_average"] for point in points] == pytest.approx(wanted, rel=1e-12)


def test_rates_and_gaps_are_told_and_no_rate_crosses_a_gap(
    client: SignedIn, irregular: tuple[str, pd.Series[float]]
) -> None:
    device_id, series = irregular
    points = _all(client("alice"), device_id, limit=33)
    elapsed = np.diff(series.index.astype("int64")) / 1e9 if series.index.unit == "ns" else None
    seconds = np.diff([moment.timestamp() for moment in series.index]) if elapsed is None else elapsed
    rates = np.diff(series.to_numpy()) / seconds * 60
    for place, point in enumerate(points):
        if place in {0, 120}:
            assert point["rate_of_change_per_min"] is None
        else:
            assert point["rate_of_change_per_min"] == pytest.approx(rates[place - 1], rel=1e-9)
        assert point["gap_before"] == (place == 120)


def test_the_range_bounds_readings_and_frames(
    client: SignedIn, irregular: tuple[str, pd.Series[float]]
) -> None:
    device_id, series = irregular
    start, stop = series.index[10].to_pydatetime(), series.index[20].to_pydatetime()
    body = _ask(client("alice"), device_id, start=rfc3339(start), stop=rfc3339(stop), window=3)
    assert len(body["points"]) == 10
    assert body["points"][0]["moving_average"] == pytest.approx(series.iloc[10], rel=1e-12)
    assert body["points"][0]["rate_of_change_per_min"] is None
    assert (body["unit"], body["window"], body["next_cursor"]) == ("bar", 3, None)


def test_the_average_is_over_five_points_unless_asked_otherwise(client: SignedIn) -> None:
    alice = client("alice")
    device_id = declare(alice, "TS-2")
    send(alice, device_id, [1, 2, 3, 4, 5, 6], qualities=["good"] * 5 + ["uncertain"])
    averages = [point["moving_average"] for point in _ask(alice, device_id)["points"]]
    assert averages == [1, 1.5, 2, 2.5, 3]
    assert _ask(alice, device_id, min_quality="bad")["points"][-1]["moving_average"] == 4


@pytest.mark.parametrize("limit", [4, 1000])
def test_buckets_are_those_of_pandas_with_empty_ones_as_null_rows(
    client: SignedIn, irregular: tuple[str, pd.Series[float]], limit: int
) -> None:
    device_id, series = irregular
    points = _all(client("alice"), device_id, bucket_s=300, window=3, limit=limit)
    resampled = series.resample("300s")
    counts, means = resampled.count(), resampled.mean()
    assert [point["n"] for point in points] == counts.tolist()
    assert 0 in counts.tolist()
    assert [datetime.fromisoformat(point["ts"]) for point in points] == list(counts.index)
    averages = [means.iloc[max(0, place - 2) : place + 1].mean() for place in range(len(means))]
    for point, mean, average in zip(points, means, averages, strict=True):
        assert point["value"] == (None if np.isnan(mean) else pytest.approx(mean, rel=1e-12))
        assert point["moving_average"] == (None if np.isnan(average) else pytest.approx(average, rel=1e-12))
    after_gap = [place for place, point in enumerate(points) if point["gap_before"]]
    assert after_gap == [
        place for place in range(1, len(counts)) if counts.iloc[place] and not counts.iloc[place - 1]
    ]


@pytest.mark.parametrize("count", [3000, 30_000])
def test_an_outline_keeps_peaks_ends_and_gaps(client: SignedIn, table: Table, count: int) -> None:
    alice = client("alice")
    device_id = declare(alice, f"TS-{count}", max_gap_s=60)
    values = np.sin(np.arange(count) / 500)
    values[count // 3], values[count // 2] = 40, -40
    times = [START + timedelta(seconds=number + 3600 * (number > 2000)) for number in range(count)]
    table.fill(device_id, times, values.tolist())
    body = _ask(alice, device_id, lttb=100)
    shown = [point["value"] for point in body["points"]]
    assert len(shown) == 100
    assert {40, -40, values[0], values[-1]} <= set(shown)
    assert body["gaps"] == [{"start": rfc3339(times[2000]), "stop": rfc3339(times[2001])}]
    assert body["next_cursor"] is None


def test_a_counter_never_falls_and_a_state_has_no_rate(client: SignedIn) -> None:
    alice = client("alice")
    counter = declare(alice, "TS-3", kind="counter", modulus=1000)
    send(alice, counter, [980, 995, 10, 20])
    assert [point["rate_of_change_per_min"] for point in _ask(alice, counter)["points"]] == [None, 15, 15, 10]
    state = declare(alice, "TS-4", kind="state")
    send(alice, state, [0, 1])
    assert [point["rate_of_change_per_min"] for point in _ask(alice, state)["points"]] == [None, None]


@pytest.mark.parametrize("query", [{}, {"window_s": 60}, {"bucket_s": 60}, {"lttb": 10}])
def test_no_reading_is_no_point(client: SignedIn, query: dict[str, int]) -> None:
    alice = client("alice")
    name = "_".join(query) or "plain"
    device_id = declare(alice, f"TS-none-{name}")
    assert _ask(alice, device_id, **query)["points"] == []
    send(alice, device_id, [5])
    (point,) = _ask(alice, device_id, **query)["points"]
    assert (point["value"], point["rate_of_change_per_min"], point["gap_before"]) == (5, None, False)


@pytest.mark.parametrize(
    "query",
    [
        {"window": 0},
        {"window": 1001},
        {"window": "five"},
        {"window": 5, "window_s": 60},
        {"window_s": 0},
        {"window_s": "nan"},
        {"bucket_s": 0},
        {"lttb": 2},
        {"lttb": 10, "bucket_s": 60},
        {"cursor": "nonsense"},
        {"limit": 1001},
        {"start": "2026-03-02T00:00:00Z", "stop": "2026-03-02T00:00:00Z"},
    ],
    ids=str,
)
def test_a_malformed_question_is_refused(client: SignedIn, query: dict[str, Any]) -> None:
    answer = client("alice").get("analytics/timeseries/TS-1/flow", query_string=query)
    assert answer.status_code == 400


def test_mallory_finds_nothing(client: SignedIn) -> None:
    declare(client("alice"), "TS-5")
    assert client("vera").get("analytics/timeseries/TS-5/flow").status_code == 200
    headers = {"X-Request-ID": "the-same"}
    foreign = client("mallory").get("analytics/timeseries/TS-5/flow", headers=headers)
    missing = client("mallory").get("analytics/timeseries/TS-6/flow", headers=headers)
    assert foreign.status_code == missing.status_code == 404
    assert foreign.get_data() == missing.get_data().replace(b"TS-6", b"TS-5")
