"""Each fault leaves its signature, and only where it is."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tools.plant import labels
from tools.plant.control_desk import ControlDesk
from tools.plant.model.catalogue import DEVICE_BY_ID, DEVICES
from tools.plant.model.cycles import PLANT_EPOCH_S
from tools.plant.model.episodes import DIP_DEVICES, FAULTS, Episode, episode
from tools.plant.model.plant import Plant
from tools.plant.model.surroundings import Columns
from tools.plant.reports import Reporter

# A Wednesday, ten o'clock: full production.
ONSET_S = PLANT_EPOCH_S + 142 * 7 * 86_400 + 2 * 86_400 + 10 * 3600


@cache
def shared_plant() -> Plant:
    """Drawing the noise of a day takes a while; episodes are what these tests change."""
    return Plant()


def readings(spell: Episode | None, device_id: str, *, start_s: int = 0, seconds: int = 300) -> Columns:
    plant = shared_plant()
    plant.set_episodes((spell,) if spell else ())
    return plant.columns(device_id, range(ONSET_S + start_s, ONSET_S + start_s + seconds))


def reports(spell: Episode, device_id: str, seconds: int) -> list[dict[str, object]]:
    reporter = Reporter(Plant(episodes=(spell,)), DEVICE_BY_ID[device_id])
    found = (reporter.scan(time_s) for time_s in range(ONSET_S, ONSET_S + seconds))
    return [report.payload for report in found if report is not None]


def test_there_are_the_15_faults_of_the_plant_book() -> None:
    assert list(FAULTS) == [f"F{number}" for number in range(1, 16)]
    assert all(spec.asset in DEVICE_BY_ID for spec in FAULTS.values())


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("F9", "F12")])
def test_a_fault_that_is_over_leaves_the_other_devices_alone(fault: str) -> None:
    spell = episode(fault, ONSET_S)
    for device in DEVICES:
        if device.device_id != spell.asset:
            assert readings(spell, device.device_id) == readings(None, device.device_id)


@pytest.mark.parametrize("fault", list(FAULTS))
def test_nothing_shows_before_the_onset(fault: str) -> None:
    spell = episode(fault, ONSET_S)
    for device in DEVICES:
        assert readings(spell, device.device_id, start_s=-60, seconds=60) == readings(
            None, device.device_id, start_s=-60, seconds=60
        )


def test_f1_vibration_grows_exponentially_and_the_bearing_follows() -> None:
    spell = episode("F1", ONSET_S, speed=60)
    columns = readings(spell, "P-102", seconds=240)
    quarters = [statistics.fmean(columns["vibration"][i : i + 20]) for i in (10, 90, 150, 220)]
    growth = [after - before for before, after in itertools.pairwise(quarters)]
    assert quarters[3] > 8.0
    assert growth == sorted(growth)
    temperature = columns["bearing_de_temperature"]
    assert temperature[-1] - temperature[0] > 20
    assert columns["bearing_nde_temperature"][-1] - columns["bearing_nde_temperature"][0] < 20


def test_f2_suction_falls_within_3_seconds_and_flow_hunts() -> None:
    spell, before = episode("F2", ONSET_S), readings(None, "P-103", seconds=120)
    during = readings(spell, "P-103", seconds=120)
    assert before["suction_pressure"][3] - during["suction_pressure"][3] > 6.0
    late = slice(20, 120)
    assert statistics.fmean(during["suction_pressure"][late]) < 15
    assert statistics.stdev(during["flow"][late]) > 8 * statistics.stdev(before["flow"][late])
    assert statistics.stdev(during["vibration"][late]) > 5 * statistics.stdev(before["vibration"][late])
    assert statistics.stdev(during["motor_current"][late]) > 5 * statistics.stdev(
        before["motor_current"][late]
    )
    assert statistics.fmean(during["motor_current"][90:]) < 0.92 * statistics.fmean(
        before["motor_current"][90:]
    )


def test_f3_no_flow_little_power_and_a_hot_bearing_that_cools_afterwards() -> None:
    spell = episode("F3", ONSET_S)
    columns = readings(spell, "P-104", seconds=900)
    assert max(columns["flow"][15:300]) == 0.0
    assert max(columns["power"][15:300]) < 8.0
    assert all(columns["running"][:300])
    temperature = columns["bearing_de_temperature"]
    assert temperature[299] - temperature[0] > 35
    assert max(b - a for a, b in itertools.pairwise(temperature[300:])) < 1.0
    assert temperature[299] - temperature[899] > 15


def test_f4_differential_pressure_and_power_per_air_volume_creep_up() -> None:
    spell = episode("F4", ONSET_S, speed=720)
    healthy, clogged = readings(None, "C-201"), readings(spell, "C-201")
    end = slice(250, 300)
    assert (
        statistics.fmean(clogged["filter_differential_pressure"][end])
        > statistics.fmean(healthy["filter_differential_pressure"][end]) + 200
    )

    def per_volume(columns: Columns) -> float:
        return statistics.fmean(columns["power"][end]) / statistics.fmean(columns["air_flow"][end])

    assert per_volume(clogged) > 1.1 * per_volume(healthy)


def test_f5_the_stuck_sensor_is_a_flat_line() -> None:
    spell = episode("F5", ONSET_S)
    stuck = readings(spell, "M-302", seconds=3600)["winding_temperature"]
    assert len(set(stuck)) == 1
    assert len(set(readings(None, "M-302", seconds=3600)["winding_temperature"])) > 3


def test_f6_the_drift_is_a_fifth_of_a_percent_an_hour() -> None:
    spell = episode("F6", ONSET_S)
    drifted = readings(spell, "C-202", start_s=10 * 3600 - 1, seconds=1)["oil_temperature"][0]
    healthy = readings(None, "C-202", start_s=10 * 3600 - 1, seconds=1)["oil_temperature"][0]
    assert drifted / healthy == pytest.approx(1.02, abs=0.002)


def test_f7_brings_spikes_nan_and_bad_quality() -> None:
    said = [
        report
        for report in reports(episode("F7", ONSET_S), "H-501", 300)
        if "return_temperature" in report["values"]  # type: ignore[operator]
    ]
    values = [report["values"]["return_temperature"] for report in said]  # type: ignore[index]
    assert any(math.isnan(value) for value in values)
    assert any(value > 30 for value in values)
    bad = [report for report in said if report.get("quality", {}).get("return_temperature") == "bad"]  # type: ignore[attr-defined]
    assert 10 < len(bad) < len(said)


def test_f8_says_bar_and_means_the_same_pressure() -> None:
    healthy = readings(None, "P-101")["discharge_pressure"]
    changed = [r for r in reports(episode("F8", ONSET_S), "P-101", 300) if "unit" in r]
    assert len(changed) == 300
    for place, report in enumerate(changed):
        assert report["unit"]["discharge_pressure"] == "bar"  # type: ignore[index]
        assert report["values"]["discharge_pressure"] * 100 == pytest.approx(healthy[place])  # type: ignore[index]


def test_f9_the_register_starts_again_and_goes_on_counting() -> None:
    spell = episode("F9", ONSET_S)
    before = readings(spell, "E-602", start_s=-60, seconds=60)["energy"]
    after = readings(spell, "E-602", seconds=600)["energy"]
    assert before[-1] > 1000
    assert after[0] == 0.0
    assert after == sorted(after)
    much_later = readings(spell, "E-602", start_s=3600, seconds=1)["energy"][0]
    power = readings(None, "E-602", seconds=3600)["active_power"]
    assert much_later == pytest.approx(statistics.fmean(power), rel=0.05)


def test_f10_the_clock_is_7_minutes_ahead_then_an_hour_behind() -> None:
    spell = episode("F10", ONSET_S)
    offsets = [
        (int(report["ts"]) // 1000 - (ONSET_S + second))  # type: ignore[call-overload]
        for second, report in enumerate(reports(spell, "M-303", 600))
    ]
    assert set(offsets[:300]) == {420}
    assert set(offsets[300:]) == {-3600}


def test_f12_14_devices_trip_within_20_seconds_and_come_back() -> None:
    spell = episode("F12", ONSET_S)
    assert len(DIP_DEVICES) == 14
    trips = [spell.dip_trip_s(device_id) - ONSET_S for device_id in DIP_DEVICES]
    assert trips == sorted(trips)
    assert 0 < trips[0] <= trips[-1] < 20
    for device_id, flat in (("P-103", "flow"), ("C-201", "load"), ("M-302", "current"), ("H-501", "power")):
        columns = readings(spell, device_id, seconds=600)
        assert max(columns[flat][40:280]) == 0.0
        assert columns[flat][-1] > 0.0
    voltage = readings(spell, "E-601")["voltage"]
    assert voltage[0] < 250
    assert voltage[5] > 380


def test_f13_the_switch_chatters_about_20_times_a_minute() -> None:
    switch = readings(episode("F13", ONSET_S), "T-401")["high_level_switch"]
    assert len(switch) == 300
    minute = switch[60:121]
    transitions = sum(before != after for before, after in itertools.pairwise(minute))
    assert 18 <= transitions <= 21


def test_f15_the_inrush_is_6_times_the_current_for_3_seconds() -> None:
    spell = episode("F15", ONSET_S)
    columns = readings(spell, "M-301", seconds=30)
    rated = readings(None, "M-301")["current"][0]
    assert columns["running"][:10] == [0.0] * 10
    assert [value > 5 * rated for value in columns["current"][8:15]] == [False] * 2 + [True] * 3 + [False] * 2


class TestControlDesk:
    @pytest.fixture
    def label_file(self, tmp_path: Path) -> Path:
        return tmp_path / "labels.jsonl"

    @pytest.fixture
    def plant(self) -> Plant:
        return Plant()

    @pytest.fixture
    def clock(self) -> list[float]:
        return [float(ONSET_S)]

    @pytest.fixture
    def desk(self, plant: Plant, label_file: Path, clock: list[float]) -> ControlDesk:
        return ControlDesk(plant, label_file, lambda: clock[0])

    def test_a_fault_is_labelled_with_onset_detectability_and_end(
        self, desk: ControlDesk, label_file: Path
    ) -> None:
        assert desk.answer({"fault": "F2"})["ok"]
        (line,) = label_file.read_text(encoding="utf-8").splitlines()
        label = json.loads(line)
        assert (label["fault"], label["asset"]) == ("F2", "P-103")
        assert label["onset"] < label["detectable_from"] < label["end"]

    def test_labels_are_read_back_as_they_were(
        self, desk: ControlDesk, plant: Plant, label_file: Path
    ) -> None:
        desk.answer({"fault": "F1", "speed": 10})
        desk.answer({"fault": "F12"})
        assert labels.read(label_file) == plant.episodes

    def test_the_same_fault_does_not_start_twice(self, desk: ControlDesk, plant: Plant) -> None:
        desk.answer({"fault": "F2"})
        assert not desk.answer({"fault": "F2"})["ok"]
        assert len(plant.episodes) == 1

    def test_a_cleared_fault_ends_now(self, desk: ControlDesk, plant: Plant, clock: list[float]) -> None:
        desk.answer({"fault": "F2"})
        clock[0] += 40
        assert desk.answer({"clear": "all"})["cleared"][0]["fault"] == "F2"
        assert plant.episodes[0].end_s == ONSET_S + 40
        assert desk.answer({"clear": "F2"})["cleared"] == []

    @pytest.mark.parametrize(
        "request_",
        [None, 7, {}, {"fault": 2}, {"fault": "F16"}, {"fault": "F1", "speed": 0}, {"clear": "X"}],
    )
    def test_nonsense_is_answered_not_done(self, desk: ControlDesk, plant: Plant, request_: object) -> None:
        answer = desk.answer(request_)
        assert not answer["ok"]
        assert answer["error"]
        assert plant.episodes == ()

    def test_a_dry_pump_that_is_stopped_stands_still(
        self, desk: ControlDesk, plant: Plant, clock: list[float]
    ) -> None:
        desk.answer({"fault": "F3"})
        clock[0] += 60
        assert desk.command("P-104", {"name": "stop"}) == {"status": "succeeded"}
        assert not plant.is_running("P-104", ONSET_S + 61)
        assert plant.episodes[0].end_s == ONSET_S + 60
        clock[0] += 60
        assert desk.command("P-104", {"name": "start"}) == {"status": "succeeded"}
        assert plant.is_running("P-104", ONSET_S + 121)

    def test_a_tank_cannot_be_stopped_and_other_commands_succeed(self, desk: ControlDesk) -> None:
        assert desk.command("T-401", {"name": "stop"})["status"] == "failed"
        assert desk.command("T-401", {"name": "identify"}) == {"status": "succeeded"}

    def test_run_hours_never_go_back_when_a_forced_run_ends(
        self, desk: ControlDesk, plant: Plant, clock: list[float]
    ) -> None:
        standing: Callable[[int], bool] = lambda time_s: not plant.is_running("P-102", time_s)  # noqa: E731
        if not standing(ONSET_S):
            clock[0] += 86_400
        onset_s = int(clock[0])
        assert standing(onset_s)
        desk.answer({"fault": "F1"})
        hours = plant.columns("P-102", range(onset_s, onset_s + 7200, 60))["run_hours"]
        assert hours == sorted(hours)
        assert hours[-1] - hours[0] == pytest.approx(240 / 3600, abs=0.02)


def test_a_damaged_label_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    labels.write(path, (episode("F2", ONSET_S),))
    path.write_text(path.read_text(encoding="utf-8") + "{}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2"):
        labels.read(path)
