"""The simulated plant: deterministic, plausible, and physical."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from functools import cache

import pytest

from domain.unit import canonical, dimension
from tools.plant.history import HISTORY_S, READINGS_PER_METRIC, device_history, past_episodes
from tools.plant.model.catalogue import DEVICE_BY_ID, DEVICES, children, metrics
from tools.plant.model.cycles import PLANT_EPOCH_S
from tools.plant.model.plant import Plant
from tools.plant.model.surroundings import Columns
from tools.services.broker_users import DEMO_DEVICES

STOP_S = PLANT_EPOCH_S + 1_000 * 86_400
WEEK = range(STOP_S - HISTORY_S, STOP_S, 60)


@cache
def week(device_id: str, *, with_faults: bool = False) -> Columns:
    return Plant(episodes=past_episodes(STOP_S) if with_faults else ()).columns(device_id, WEEK)


def test_the_plant_has_19_devices_and_152_metrics() -> None:
    assert len(DEVICES) == len(DEVICE_BY_ID) == 19
    assert len(list(metrics())) == 152
    assert Counter(device.device_type for device in DEVICES) == {
        "pump": 5,
        "compressor": 2,
        "motor": 4,
        "tank": 2,
        "chiller": 1,
        "energy_meter": 3,
        "gateway": 2,
    }


def test_the_broker_knows_every_device() -> None:
    assert sorted(device.device_id for device in DEVICES) == sorted(DEMO_DEVICES)


def test_every_device_but_a_gateway_reports_through_one() -> None:
    assert len(children("G-1")) + len(children("G-2")) == 17


def test_units_are_known_and_in_their_one_spelling() -> None:
    for device, metric in metrics():
        assert canonical(metric.unit) == metric.unit, (device.device_id, metric.name)
        assert dimension(metric.unit) is not None, (device.device_id, metric.name)


def test_the_same_seed_and_time_give_the_same_readings() -> None:
    for device in DEVICES:
        times = range(STOP_S - 86_400, STOP_S, 60)
        assert Plant().columns(device.device_id, times) == Plant().columns(device.device_id, times)


def test_another_seed_is_another_plant() -> None:
    times = range(STOP_S - 3600, STOP_S, 60)
    assert Plant(1).columns("P-103", times)["flow"] != Plant(2).columns("P-103", times)["flow"]


@pytest.mark.parametrize("device_id", [device.device_id for device in DEVICES])
def test_history_and_live_plant_read_the_same_on_whole_minutes(device_id: str) -> None:
    live = Plant(episodes=past_episodes(STOP_S))
    history = week(device_id, with_faults=True)
    for position in range(0, READINGS_PER_METRIC, 997):
        time_s = WEEK[position]
        now = live.columns(device_id, range(time_s, time_s + 1))
        assert {name: column[0] for name, column in now.items()} == {
            name: column[position] for name, column in history.items()
        }


def test_seconds_between_minutes_move_without_jumping() -> None:
    flow = Plant().columns("P-103", range(STOP_S, STOP_S + 600))["flow"]
    steps = [abs(after - before) for before, after in itertools.pairwise(flow)]
    assert len(set(flow)) > 30
    assert max(steps) < 4.0


@pytest.mark.parametrize("with_faults", [False, True])
def test_every_metric_stays_in_its_band_for_a_week(with_faults: bool) -> None:
    for device, metric in metrics():
        column = week(device.device_id, with_faults=with_faults)[metric.name]
        assert len(column) == READINGS_PER_METRIC
        assert metric.low <= min(column), (device.device_id, metric.name)
        assert max(column) <= metric.high, (device.device_id, metric.name)


def test_values_are_multiples_of_the_sensor_s_resolution() -> None:
    for device, metric in metrics():
        scale = round(1 / metric.resolution)
        for value in week(device.device_id)[metric.name][::501]:
            assert value == round(value * scale) / scale, (device.device_id, metric.name)


def test_a_healthy_pump_works_at_the_point_of_its_data_sheet() -> None:
    pump = week("P-103")
    expected = {
        "speed": (1480, 10),
        "suction_pressure": (45, 3),
        "discharge_pressure": (410, 10),
        "flow": (118, 5),
        "motor_current": (38, 2),
        "power": (21, 1),
        "bearing_de_temperature": (52, 3),
        "bearing_nde_temperature": (49, 3),
        "vibration": (1.6, 0.1),
        "seal_leak": (2, 0.3),
    }
    for name, (value, tolerance) in expected.items():
        assert statistics.fmean(pump[name]) == pytest.approx(value, abs=tolerance), name


def test_pump_head_falls_as_flow_rises() -> None:
    pump = week("P-103")
    head = [
        discharge - suction
        for discharge, suction in zip(pump["discharge_pressure"], pump["suction_pressure"], strict=True)
    ]
    same_speed = [
        (flow, rise)
        for flow, rise, speed in zip(pump["flow"], head, pump["speed"], strict=True)
        if abs(speed - 1476) <= 1
    ]
    assert statistics.correlation(*zip(*same_speed, strict=True)) < -0.6
    assert statistics.correlation(pump["power"], pump["motor_current"]) > 0.9


def test_duty_and_standby_pump_take_turns() -> None:
    duty, standby = week("P-101")["running"], week("P-102")["running"]
    assert all(one + other == 1.0 for one, other in zip(duty, standby, strict=True))
    changes = sum(before != after for before, after in itertools.pairwise(duty))
    assert changes == 7


def test_a_standing_pump_moves_nothing_and_cools_down() -> None:
    pump = week("P-101")
    standing = [i for i, running in enumerate(pump["running"]) if not running]
    settled = [i for i in standing if i >= 240 and all(not pump["running"][j] for j in range(i - 240, i))]
    assert settled
    assert all(pump["flow"][i] == pump["power"][i] == 0.0 for i in standing if i - 1 in set(standing))
    assert max(pump["bearing_de_temperature"][i] for i in settled) < 32.0


def test_noise_is_correlated_not_white() -> None:
    temperature = week("P-103")["bearing_de_temperature"]
    mean = statistics.fmean(temperature)
    lagged = sum((a - mean) * (b - mean) for a, b in itertools.pairwise(temperature))
    assert lagged / sum((a - mean) ** 2 for a in temperature) > 0.9


@pytest.mark.parametrize("with_faults", [False, True])
def test_counters_only_grow_until_they_roll_over(with_faults: bool) -> None:
    for device, metric in metrics():
        if metric.kind != "counter":
            continue
        column = week(device.device_id, with_faults=with_faults)[metric.name]
        falls = [(before, after) for before, after in itertools.pairwise(column) if after < before]
        if (device.device_id, metric.name) == ("E-602", "energy"):
            assert len(falls) == 1
            (before, after) = falls[0]
            assert before > 999_000
            assert after < 1_000
        else:
            assert falls == [], (device.device_id, metric.name)


def test_energy_is_the_integral_of_power() -> None:
    for device_id in ("E-601", "E-603"):
        meter = week(device_id)
        hours = sum(meter["active_power"]) / 60
        assert meter["energy"][-1] - meter["energy"][0] == pytest.approx(hours, rel=0.005)


def test_run_hours_are_the_time_it_ran() -> None:
    for device_id in ("P-101", "C-202", "M-304"):
        columns = week(device_id, with_faults=True)
        running = columns.get("running") or [float(load > 0) for load in columns["load"]]
        grown = columns["run_hours"][-1] - columns["run_hours"][0]
        assert grown == pytest.approx(sum(running) / 60, abs=0.25), device_id


def test_history_is_exactly_7_days_of_minutes_of_every_metric() -> None:
    plant = Plant()
    rows = 0
    for device in DEVICES:
        stops_s = {metric.name: STOP_S for metric in device.metrics}
        for batch in device_history(plant, device.device_id, stops_s):
            assert len(batch.observed_at_us) == len(batch.values) == 10_080
            assert batch.observed_at_us[0] == (STOP_S - 7 * 86_400) * 1_000_000
            assert batch.observed_at_us[-1] == (STOP_S - 60) * 1_000_000
            rows += len(batch.values)
    assert rows == 1_532_160


def test_the_faults_of_the_history_lie_inside_it_and_are_over() -> None:
    for stop_s in range(STOP_S, STOP_S + 14 * 86_400, 86_400 + 3_660):
        for spell in past_episodes(stop_s):
            assert stop_s - HISTORY_S < spell.onset_s < spell.end_s < stop_s, spell
