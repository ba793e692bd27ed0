"""Correlation against certified numbers and scipy, however the readings find each other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.analytics.nist import (
    ANSCOMBE_X,
    ANSCOMBE_Y,
    NORRIS_INTERCEPT,
    NORRIS_R_SQUARED,
    NORRIS_SLOPE,
    NORRIS_X,
    NORRIS_Y,
    digits,
)
from tests.analytics.record import START, Table, declare, rfc3339, send
from tests.people import Client

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]


def _ask(client: Client, device_id: str, **query: Any) -> Any:
    given = {"metric_a": "flow", "metric_b": "pressure"} | query
    answer = client.get(f"analytics/correlation/{device_id}", query_string=given)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_json()


def _send_pairs(client: Client, device_id: str, a: list[float], b: list[float]) -> None:
    declare(client, device_id, "flow", "pressure")
    send(client, device_id, a, metric="flow")
    send(client, device_id, b, metric="pressure")


def test_norris_gives_its_certified_line(client: SignedIn) -> None:
    alice = client("alice")
    _send_pairs(alice, "C-norris", NORRIS_X, NORRIS_Y)
    found = _ask(alice, "C-norris")
    assert (found["n"], found["alignment"], found["strength"]) == (36, "exact", "strong")
    assert digits(found["slope"], NORRIS_SLOPE) >= 12
    assert digits(found["intercept"], NORRIS_INTERCEPT) >= 11
    assert digits(found["r_squared"], NORRIS_R_SQUARED) >= 12
    assert digits(found["pearson_r"] ** 2, NORRIS_R_SQUARED) >= 12


def test_anscombes_first_set_gives_its_published_figures(client: SignedIn) -> None:
    alice = client("alice")
    _send_pairs(alice, "C-anscombe", [float(x) for x in ANSCOMBE_X], ANSCOMBE_Y)
    found = _ask(alice, "C-anscombe", confidence=0.9)
    assert digits(found["pearson_r"], 0.81642051634484) >= 13
    assert digits(found["covariance"], 5.501) >= 13
    assert digits(found["slope"], 0.5000909090909091) >= 13
    assert digits(found["intercept"], 3.000090909090909) >= 12
    assert digits(found["spearman_rho"], stats.spearmanr(ANSCOMBE_X, ANSCOMBE_Y).statistic) >= 13
    wanted = stats.pearsonr(ANSCOMBE_X, ANSCOMBE_Y).confidence_interval(0.9)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((wanted.low, wanted.high), rel=1e-12)
    assert digits(found["metric_a"]["mean"], 9) >= 15
    assert digits(found["metric_b"]["stddev"], 2.031568135925815) >= 13


@pytest.mark.parametrize("count", [700, 30_000])
def test_many_pairs_with_ties_give_the_figures_of_scipy(client: SignedIn, table: Table, count: int) -> None:
    alice = client("alice")
    device_id = declare(alice, f"C-{count}", "flow", "pressure")
    random = np.random.default_rng(count)
    flow = 1e4 + random.normal(0, 2, count).round(1)
    pressure = 5 - 0.3 * flow + random.normal(0, 1, count).round(1)
    times = [START + timedelta(seconds=2 * number) for number in range(count)]
    table.fill(device_id, times, flow.tolist())
    table.fill(device_id, times, pressure.tolist(), metric="pressure")
    found = _ask(alice, device_id)
    assert found["n"] == found["spearman_n"] == count
    assert found["pearson_r"] == pytest.approx(stats.pearsonr(flow, pressure).statistic, rel=1e-11)
    assert found["spearman_rho"] == pytest.approx(stats.spearmanr(flow, pressure).statistic, rel=1e-11)
    assert found["covariance"] == pytest.approx(np.cov(flow, pressure)[0, 1], rel=1e-11)
    assert found["slope"] == pytest.approx(stats.linregress(flow, pressure).slope, rel=1e-11)


def test_the_ranks_of_very_many_pairs_are_those_of_a_sample(client: SignedIn, table: Table) -> None:
    alice = client("alice")
    device_id = declare(alice, "C-many", "flow", "pressure")
    random = np.random.default_rng(3)
    flow = random.normal(0, 1, 210_000)
    pressure = flow + random.normal(0, 1, len(flow))
    times = [START + timedelta(seconds=number) for number in range(len(flow))]
    table.fill(device_id, times, flow.tolist())
    table.fill(device_id, times, pressure.tolist(), metric="pressure")
    found = _ask(alice, device_id)
    assert found["n"] == len(flow)
    assert 80_000 < found["spearman_n"] < 120_000
    assert found["spearman_rho"] == pytest.approx(stats.spearmanr(flow, pressure).statistic, abs=0.01)
    assert found["pearson_r"] == pytest.approx(stats.pearsonr(flow, pressure).statistic, rel=1e-10)


def _jittered(table: Table, client: Client, device_id: str) -> tuple[pd.Series[float], pd.Series[float]]:
    """Two metrics about once a minute, never at the same moment, with an hour without pressure."""
    declare(client, device_id, "flow", "pressure")
    random = np.random.default_rng(11)
    minutes = np.arange(600)
    flow_s = 60 * minutes + 5 + random.integers(-4_000, 4_000, 600) / 1000
    pressure_s = 60 * minutes + 7 + random.integers(-4_000, 4_000, 600) / 1000
    flow = np.sin(minutes / 30) + random.normal(0, 0.1, 600)
    pressure = 2 * np.sin(minutes / 30) + random.normal(0, 0.3, 600)
    there = (minutes < 300) | (minutes >= 360)
    stamps = [
        [START + timedelta(seconds=second) for second in seconds] for seconds in (flow_s, pressure_s[there])
    ]
    table.fill(device_id, stamps[0], flow.tolist())
    table.fill(device_id, stamps[1], pressure[there].tolist(), metric="pressure")
    return (
        pd.Series(flow, index=pd.DatetimeIndex(stamps[0])),
        pd.Series(pressure[there], index=pd.DatetimeIndex(stamps[1])),
    )


def test_readings_that_never_share_a_moment_meet_in_buckets(client: SignedIn, table: Table) -> None:
    alice = client("alice")
    flow, pressure = _jittered(table, alice, "C-bucket")
    found = _ask(alice, "C-bucket", bucket_s=300)
    means = pd.DataFrame({"a": flow.resample("300s").mean(), "b": pressure.resample("300s").mean()}).dropna()
    assert (found["alignment"], found["bucket_s"], found["n"]) == ("bucket", 300, len(means))
    assert found["pearson_r"] == pytest.approx(stats.pearsonr(means["a"], means["b"]).statistic, rel=1e-11)
    assert _ask(alice, "C-bucket", align="exact")["n"] == 0
    by_itself = _ask(alice, "C-bucket")
    assert by_itself["alignment"] == "bucket"
    assert by_itself["bucket_s"] == pytest.approx(60, abs=2)
    assert by_itself["pearson_r"] > 0.9


def test_a_reading_meets_what_the_other_metric_said_last(client: SignedIn, table: Table) -> None:
    alice = client("alice")
    flow, pressure = _jittered(table, alice, "C-as-of")
    found = _ask(alice, "C-as-of", align="as_of", max_age_s=120)
    joined = pd.merge_asof(
        flow.rename("a").to_frame(),
        pressure.rename("b").to_frame(),
        left_index=True,
        right_index=True,
        tolerance=pd.Timedelta("120s"),
    ).dropna()
    assert (found["n"], found["max_age_s"]) == (len(joined), 120)
    assert found["pearson_r"] == pytest.approx(stats.pearsonr(joined["a"], joined["b"]).statistic, rel=1e-11)
    assert found["spearman_rho"] == pytest.approx(
        stats.spearmanr(joined["a"], joined["b"]).statistic, rel=1e-11
    )


@pytest.mark.parametrize("align", ["exact", "bucket", "as_of"])
def test_a_lag_finds_an_effect_that_comes_later(client: SignedIn, align: str) -> None:
    alice = client("alice")
    device_id = f"C-lag-{align}"
    values = np.random.default_rng(4).normal(0, 1, 200).round(3)
    _send_pairs(alice, device_id, values.tolist(), np.concatenate([np.zeros(5), values[:-5]]).tolist())
    fresh = {"max_age_s": 30} if align == "as_of" else {}
    found = _ask(alice, device_id, align=align, lag_s=300, **fresh)
    assert (found["lag_s"], found["pearson_r"]) == (300, pytest.approx(1))
    assert abs(_ask(alice, device_id, align=align)["pearson_r"]) < 0.3


def test_a_metric_of_another_device_can_be_the_second(client: SignedIn) -> None:
    alice = client("alice")
    send(alice, declare(alice, "C-1", "flow"), [1, 2, 3, 4, 6], metric="flow")
    send(alice, declare(alice, "C-2", "pressure"), [4, 3, 2, 1, -1], metric="pressure")
    found = _ask(alice, "C-1", device_b="C-2")
    assert (found["metric_b"]["device_id"], found["pearson_r"]) == ("C-2", pytest.approx(-1))


def test_bad_readings_and_those_outside_the_range_pair_with_nothing(client: SignedIn) -> None:
    alice = client("alice")
    device_id = declare(alice, "C-3", "flow", "pressure")
    times = send(alice, device_id, [1, 2, 3, 4, 5, 6])
    send(
        alice,
        device_id,
        [1, 2, 9, 4, 5, 6],
        metric="pressure",
        qualities=["good", "good", "bad"] + ["good"] * 3,
    )
    assert _ask(alice, device_id)["n"] == 5
    assert _ask(alice, device_id, min_quality="bad")["n"] == 6
    assert _ask(alice, device_id, start=rfc3339(times[1]), stop=rfc3339(times[5]))["n"] == 3


@pytest.mark.parametrize("align", [None, "exact", "bucket", "as_of"])
@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        ([], [], {"n": 0, "pearson_r": None, "covariance": None, "strength": None, "slope": None}),
        ([1.0], [], {"n": 0, "pearson_r": None, "spearman_rho": None}),
        ([1.0], [2.0], {"n": 1, "pearson_r": None, "covariance": None, "slope": None, "ci_low": None}),
        (
            [1.0, 2.0],
            [2.0, 1.0],
            {"n": 2, "pearson_r": pytest.approx(-1), "covariance": -0.5, "ci_low": None, "slope": -1},
        ),
        (
            [0.1] * 6,
            [1.0, 2.0, 3.0, 1.0, 2.0, 3.0],
            {
                "n": 6,
                "pearson_r": None,
                "spearman_rho": None,
                "covariance": 0,
                "slope": None,
                "strength": None,
            },
        ),
        (
            [1.0, 2.0, 3.0, 1.0, 2.0, 3.0],
            [0.1] * 6,
            {"n": 6, "pearson_r": None, "spearman_rho": None, "covariance": 0, "slope": 0, "r_squared": None},
        ),
    ],
    ids=["none", "one side", "one", "two", "constant first", "constant second"],
)
def test_corners_have_an_answer(
    client: SignedIn, a: list[float], b: list[float], wanted: dict[str, Any], align: str | None
) -> None:
    alice = client("alice")
    device_id = f"C-{align}-{len(a)}-{len(b)}-{sum(a) > 1}"
    declare(alice, device_id, "flow", "pressure")
    for metric, values in (("flow", a), ("pressure", b)):
        if values:
            send(alice, device_id, values, metric=metric)
    found = _ask(alice, device_id, **({} if align is None else {"align": align}))
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    "query",
    [
        {"metric_a": ""},
        {"align": "nearest"},
        {"confidence": 0.999},
        {"confidence": "nan"},
        {"lag_s": "inf"},
        {"bucket_s": 0},
        {"bucket_s": 60, "align": "exact"},
        {"max_age_s": 60, "align": "bucket"},
        {"bucket_s": 60, "max_age_s": 60},
    ],
    ids=str,
)
def test_a_malformed_question_is_refused(client: SignedIn, query: dict[str, Any]) -> None:
    given = {"metric_a": "flow", "metric_b": "pressure"} | query
    answer = client("alice").get("analytics/correlation/C-3", query_string=given)
    assert answer.status_code == 400


def test_a_question_about_one_metric_is_refused(client: SignedIn) -> None:
    answer = client("alice").get("analytics/correlation/C-3?metric_a=flow")
    assert answer.status_code == 400


def test_mallory_finds_nothing(client: SignedIn) -> None:
    alice, mallory = client("alice"), client("mallory")
    declare(alice, "C-4", "flow", "pressure")
    query = {"metric_a": "flow", "metric_b": "pressure"}
    assert client("vera").get("analytics/correlation/C-4", query_string=query).status_code == 200
    headers = {"X-Request-ID": "the-same"}
    foreign = mallory.get("analytics/correlation/C-4", query_string=query, headers=headers)
    missing = mallory.get("analytics/correlation/C-9", query_string=query, headers=headers)
    assert foreign.status_code == missing.status_code == 404
    assert foreign.get_data() == missing.get_data().replace(b"C-9", b"C-4")
    declare(mallory, "M-1", "flow")
    crossed = mallory.get("analytics/correlation/M-1", query_string=query | {"device_b": "C-4"})
    assert crossed.status_code == 404
