"""How the devices report: rates, report by exception, duplicates, quality."""

from __future__ import annotations

import itertools
import json
import zlib
from functools import cache

from tools.plant.model.catalogue import DEVICE_BY_ID, DEVICES, HEARTBEAT_S
from tools.plant.model.cycles import PLANT_EPOCH_S
from tools.plant.model.plant import Plant
from tools.plant.reports import Report, Reporter

START_S = PLANT_EPOCH_S + 800 * 86_400 + 9 * 3600


@cache
def all_reports(seconds: int) -> list[Report]:
    plant = Plant()
    reporters = [Reporter(plant, device) for device in DEVICES]
    for reporter in reporters:
        reporter.scan(START_S - 1)
    found = (reporter.scan(START_S + second) for second in range(seconds) for reporter in reporters)
    return [report for report in found if report is not None]


def test_the_plant_sends_about_60_points_a_second() -> None:
    points = sum(len(report.payload["values"]) for report in all_reports(600))
    assert 55 <= points / 600 <= 65


def test_the_first_message_of_a_device_holds_all_its_metrics() -> None:
    plant = Plant()
    for device in DEVICES:
        report = Reporter(plant, device).scan(START_S)
        assert report is not None
        assert list(report.payload["values"]) == [metric.name for metric in device.metrics]


def test_some_messages_come_twice_and_some_values_are_uncertain() -> None:
    reports = all_reports(600)
    repeated = sum(report.copies == 2 for report in reports) / len(reports)
    assert 0.002 < repeated < 0.009
    uncertain = [report for report in reports if "quality" in report.payload]
    assert 0 < len(uncertain) < 0.03 * len(reports)
    assert {quality for report in uncertain for quality in report.payload["quality"].values()} == {
        "uncertain"
    }


def test_a_metric_by_exception_speaks_when_it_moves_and_once_a_minute() -> None:
    reporter = Reporter(Plant(), DEVICE_BY_ID["T-401"])
    said = []
    for second in range(600):
        report = reporter.scan(START_S + second)
        if report is not None and "level" in report.payload["values"]:
            said.append((second, report.payload["values"]["level"]))
    assert 10 <= len(said) < 300
    for (before_s, before), (after_s, after) in itertools.pairwise(said):
        assert abs(after - before) >= 0.2 or after_s - before_s >= HEARTBEAT_S
        assert after_s - before_s <= HEARTBEAT_S


def test_messages_are_the_same_every_time() -> None:
    def digest() -> int:
        reporter = Reporter(Plant(), DEVICE_BY_ID["P-103"])
        reports = (reporter.scan(START_S + second) for second in range(60))
        return zlib.crc32(b"".join(report.encoded() for report in reports if report is not None))

    assert digest() == digest()


def test_a_message_is_compact_json_with_time_and_values() -> None:
    report = Reporter(Plant(), DEVICE_BY_ID["P-103"]).scan(START_S)
    assert report is not None
    payload = json.loads(report.encoded())
    assert payload["ts"] // 1000 == START_S
    assert b", " not in report.encoded()
