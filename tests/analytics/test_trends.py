"""Trends against scipy and published data, and in all the corners."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.analytics.nist import ANSCOMBE_X, ANSCOMBE_Y, digits
from tests.analytics.record import START, Table, declare, rfc3339, send
from tests.people import Client

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]


def _ask(client: Client, device_id: str, **query: Any) -> Any:
    answer = client.get(f"analytics/trends/{device_id}/flow", query_string=query)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_json()


def test_anscombes_first_set_gives_its_published_line(client: SignedIn) -> None:
    alice = client("alice")
    device_id = declare(alice, "T-1")
    order = sorted(range(11), key=ANSCOMBE_X.__getitem__)
    minutes = [ANSCOMBE_X[place] for place in order]
    send(
        alice, device_id, [ANSCOMBE_Y[place] for place in order], seconds=[60 * minute for minute in minutes]
    )
    found = _ask(alice, device_id)
    assert digits(found["slope_per_min"], 0.5000909090909091) >= 14
    # Time counts from the first reading, which lies at x = 4.
    assert digits(found["intercept"], 3.000090909090909 + 4 * 0.5000909090909091) >= 13
    assert digits(found["r_squared"], 0.6665424595087749) >= 13
    assert digits(found["slope_stderr"], 0.1179055005956341) >= 13
    assert digits(found["residual_stddev"], 1.236603322726321) >= 13
    assert (found["direction"], found["n"], found["min"], found["max"]) == ("increasing", 11, 4.26, 10.84)


@pytest.mark.parametrize("count", [300, 20_000])
def test_few_and_many_readings_give_the_figures_of_scipy(client: SignedIn, table: Table, count: int) -> None:
    alice = client("alice")
    device_id = declare(alice, f"T-{count}")
    random = np.random.default_rng(count)
    seconds = np.sort(random.choice(10 * count, count, replace=False)).astype(float)
    values = 1013 - 0.0052 / 60 * seconds + random.normal(0, 0.4, count)
    table.fill(device_id, [START + timedelta(seconds=second) for second in seconds], values.tolist())
    found = _ask(alice, device_id)
    wanted = stats.linregress(seconds - seconds[0], values)
    assert found["slope_per_min"] == pytest.approx(wanted.slope * 60, rel=1e-10)
    assert found["intercept"] == pytest.approx(wanted.intercept, rel=1e-12)
    assert found["r_squared"] == pytest.approx(wanted.rvalue**2, rel=1e-10)
    assert found["slope_stderr"] == pytest.approx(wanted.stderr * 60, rel=1e-10)
    assert found["p_value"] == pytest.approx(wanted.pvalue, rel=1e-8, abs=1e-200)
    assert found["mean"] == pytest.approx(values.mean(), rel=1e-13)
    assert found["stddev"] == pytest.approx(values.std(ddof=1), rel=1e-11)
    assert found["direction"] == "decreasing"
    assert _ask(alice, device_id, threshold_per_min=0.01)["direction"] == "stable"


def test_a_robust_trend_shrugs_outliers_off_and_agrees_with_scipy(client: SignedIn) -> None:
    alice = client("alice")
    device_id = declare(alice, "T-2")
    random = np.random.default_rng(5)
    minutes = np.arange(120.0)
    values = (50 + 0.2 * minutes + random.normal(0, 1, 120)).round(2)
    values[-12:] = 0
    send(alice, device_id, values.tolist())
    found = _ask(alice, device_id, method="theil_sen")
    wanted = stats.theilslopes(values, minutes)
    assert found["slope_per_min"] == pytest.approx(wanted.slope, rel=1e-10)
    assert found["intercept"] == pytest.approx(wanted.intercept, rel=1e-10)
    assert (found["slope_ci_low"], found["slope_ci_high"]) == pytest.approx(
        (wanted.low_slope, wanted.high_slope), rel=1e-9
    )
    assert found["direction"] == "increasing"
    tau = stats.kendalltau(minutes, values, method="asymptotic")
    assert found["p_value"] == pytest.approx(tau.pvalue, rel=0.05)
    assert found["points_compared"] == 120


def test_neighbours_that_resemble_each_other_are_warned_of(client: SignedIn) -> None:
    alice = client("alice")
    device_id = declare(alice, "T-3")
    noise = np.random.default_rng(8).normal(0, 1, 500)
    values = [0.0]
    for step in noise[1:].tolist():
        values.append(0.9 * values[-1] + step)
    send(alice, device_id, values[100:])
    found = _ask(alice, device_id)
    assert found["direction"] != "stable"
    assert found["autocorrelation"]["lag1"] > 0.8
    assert found["autocorrelation"]["effective_n"] < 40
    assert "independent" in found["warning"]
    assert _ask(alice, device_id, autocorrelation="adjust")["direction"] == "stable"


@pytest.mark.parametrize("method", ["ols", "theil_sen"])
@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([], {"n": 0, "slope_per_min": None, "mean": None, "direction": "stable"}),
        ([5.0], {"n": 1, "slope_per_min": None, "mean": 5, "p_value": None, "direction": "stable"}),
        ([5.0, 7.0], {"n": 2, "slope_per_min": 2, "slope_stderr": None, "direction": "stable"}),
        ([0.1] * 9, {"n": 9, "slope_per_min": 0, "r_squared": None, "p_value": None, "direction": "stable"}),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], {"n": 6, "slope_per_min": 1, "direction": "increasing"}),
    ],
    ids=["none", "one", "two", "constant", "exact line"],
)
def test_corners_have_an_answer(
    client: SignedIn, values: list[float], wanted: dict[str, Any], method: str
) -> None:
    alice = client("alice")
    device_id = declare(alice, f"T-{method}-{len(values)}")
    if values:
        send(alice, device_id, values)
    found = _ask(alice, device_id, method=method)
    assert {name: found[name] for name in wanted} == wanted


def test_a_state_has_no_slope(client: SignedIn) -> None:
    alice = client("alice")
    device_id = declare(alice, "T-4", kind="state")
    answer = alice.get(f"analytics/trends/{device_id}/flow")
    assert answer.status_code == 422
    assert answer.get_json()["type"] == "urn:iiot:problem:state-has-no-slope"


def test_the_range_and_its_quality_bound_the_trend(client: SignedIn) -> None:
    alice = client("alice")
    device_id = declare(alice, "T-5")
    times = send(
        alice, device_id, [1, 2, 99, 3, 2, 1], qualities=["good", "good", "bad", "good", "good", "good"]
    )
    assert _ask(alice, device_id)["n"] == 5
    assert _ask(alice, device_id, start=rfc3339(times[3]))["slope_per_min"] == pytest.approx(-1)
    assert _ask(alice, device_id, stop=rfc3339(times[3]), min_quality="bad")["max"] == 99
