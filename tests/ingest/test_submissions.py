"""Readings handed in over HTTP: judged one by one, answered after the commit."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest

from domain.errors import Unavailable
from ingest.pipeline import NotReplayable
from ingest.submission import Offer, Outcome
from tests.ingest.conftest import StationFactory
from tests.ingest.station import PLANT, Letter, Station, new_device, now_us
from tests.people import Plants

pytestmark = pytest.mark.services


def _offer(device: str, value: object, **changed: Any) -> Offer:
    given: dict[str, Any] = {"metric": "p", "ts": now_us() / 1000, "quality": None, "unit": None} | changed
    return Offer(device_id=device, value=value, **given)


def test_readings_are_counted_after_the_commit(station: Station, plants: Plants) -> None:
    device, now_ms = new_device(), now_us() // 1000
    offers = [_offer(device, value, ts=now_ms + value) for value in range(3)]
    assert station.submit(plants.plant_a, offers) == Outcome(accepted=3, duplicates=0, rejected=[])
    assert station.submit(plants.plant_a, offers) == Outcome(accepted=0, duplicates=3, rejected=[])
    assert station.values(device) == [0, 1, 2]


def test_what_is_rejected_is_named_by_its_place_and_kept_as_a_dead_letter(
    station: Station, plants: Plants
) -> None:
    device, now_ms = new_device(), now_us() // 1000
    outcome = station.submit(
        plants.plant_a,
        [
            _offer(device, 1.0, ts=now_ms),
            _offer(device, "warm"),
            _offer(device, 2.0, ts=now_ms),
            _offer(device, 1.0, ts=now_ms),
            _offer(device, 3.0, ts="yesterday"),
        ],
    )
    assert (outcome.accepted, outcome.duplicates) == (1, 1)
    assert [(item.index, item.reason) for item in outcome.rejected] == [
        (1, "wrong_type"),
        (2, "conflict"),
        (4, "invalid_timestamp"),
    ]
    assert sorted(station.reasons(device)) == ["conflict", "invalid_timestamp", "wrong_type"]
    assert {letter.source for letter in station.letters(device)} == {"http"}


@pytest.mark.parametrize(
    ("offer", "reason"),
    [
        ({"value": math.nan}, "not_finite"),
        ({"value": -math.inf}, "not_finite"),
        ({"value": 10**400}, "not_finite"),
        ({"value": [1]}, "wrong_type"),
        ({"value": None}, "null_value"),
        ({"metric": "a\0b"}, "invalid_metric_name"),
        ({"metric": " p"}, "invalid_metric_name"),
        ({"metric": ""}, "invalid_metric_name"),
        ({"metric": "x" * 65}, "invalid_metric_name"),
        ({"unit": "\0"}, "invalid_unit"),
        ({"quality": "fine"}, "invalid_quality"),
        ({"quality": ["good"]}, "invalid_quality"),
        ({"ts": 10**400}, "invalid_timestamp"),
        ({"ts": True}, "invalid_timestamp"),
        ({"ts": 0}, "too_old"),
        ({"ts": 10**13}, "too_far_in_future"),
        ({"device_id": "P\0"}, "invalid_device_id"),
        ({"device_id": "\ud800"}, "invalid_device_id"),
        ({"device_id": "P 101"}, "invalid_device_id"),
        ({"device_id": ".."}, "invalid_device_id"),
        ({"device_id": ""}, "invalid_device_id"),
        ({"device_id": "P" * 65}, "invalid_device_id"),
    ],
)
def test_a_hostile_reading_is_rejected_and_harms_nothing(
    station: Station, plants: Plants, offer: dict[str, Any], reason: str
) -> None:
    device = new_device()
    hostile = _offer(**{"device": offer.pop("device_id", device), "value": 1.0} | offer)
    outcome = station.submit(plants.plant_a, [_offer(device, 1), hostile, _offer(device, 2, metric="q")])
    assert outcome.accepted == 2
    assert [(item.index, item.reason) for item in outcome.rejected] == [(1, reason)]


def test_history_needs_a_backfill_which_makes_its_partitions(station: Station, plants: Plants) -> None:
    device, old_ms = new_device(), 1_577_880_000_000  # 2020-01-01T12:00:00Z
    offers = [_offer(device, 1, ts=old_ms), _offer(device, 2, ts="2020-01-02T12:00:00Z")]
    assert [item.reason for item in station.submit(plants.plant_a, offers).rejected] == ["too_old"] * 2
    assert station.submit(plants.plant_a, offers, is_backfill=True).accepted == 2
    with station.database.transaction() as cursor:
        cursor.execute("SELECT to_regclass('telemetry_20200101'), count(*) FROM telemetry_default")
        partition, strays = cursor.fetchone() or (None, None)
    assert partition == "telemetry_20200101"
    assert strays == 0 or station.values(device) == [1, 2]


def test_a_backfill_is_not_ahead_of_the_clock_and_marks_nobody_online(
    station: Station, plants: Plants
) -> None:
    device = new_device()
    station.register(plants.plant_a, device, p="")
    ahead = _offer(device, 1, ts=now_us() / 1000 + 3_600_000)
    outcome = station.submit(plants.plant_a, [ahead, _offer(device, 2)], is_backfill=True)
    assert [item.reason for item in outcome.rejected] == ["too_far_in_future"]
    assert station.device_status(device) == ("unknown", None)


def test_a_full_buffer_refuses_requests_at_once(make_station: StationFactory, plants: Plants) -> None:
    station = make_station(max_items=1)
    assert station.writer.stop(timeout_s=5)
    station.pipeline.accept([station.message(new_device(), {"p": 1})])
    with pytest.raises(Unavailable, match="faster"):
        station.submit(plants.plant_a, [_offer(new_device(), 1)])


# Replay --------------------------------------------------------------------------------------------


def _replay(station: Station, plants: Plants, letter: Letter) -> Outcome:
    return station.pipeline.replay(plants.plant_a, PLANT, topic=letter.topic, payload=letter.payload)


def test_a_dead_letter_of_a_message_is_replayed_whatever_its_age(station: Station, plants: Plants) -> None:
    device, old_ms = new_device(), 1_577_880_000_000
    payload = orjson.dumps({"ts": old_ms, "values": {"p": 1}, "quality": "bad"})
    station.send(device, payload)
    (letter,) = station.letters(device)
    assert (letter.reason, letter.payload) == ("too_old", payload)
    assert _replay(station, plants, letter).accepted == 1
    assert [(row.observed_at_us, row.quality) for row in station.rows(device)] == [(old_ms * 1000, 0)]


def test_of_several_readings_in_a_message_each_is_kept_and_replayed_by_itself(
    station: Station, plants: Plants
) -> None:
    device, old_ms = new_device(), 1_577_880_000_000
    record = {"values": {"p": 1, "q": 2}, "quality": {"q": "bad"}, "unit": {"p": "bar"}}
    station.send(device, [{"ts": old_ms + place, **record} for place in range(3)])
    letters = station.letters(device)
    assert len(letters) == 6
    assert max(letter.payload_bytes for letter in letters) < 200
    assert all(_replay(station, plants, letter).accepted == 1 for letter in letters)
    rows = station.rows(device)
    assert {(row.metric, row.observed_at_us // 1000 - old_ms, row.value, row.quality) for row in rows} == {
        (metric, place, value, quality)
        for metric, value, quality in (("p", 1, 192), ("q", 2, 0))
        for place in range(3)
    }
    assert station.metric_kinds(device) == {"p": ("bar", "gauge"), "q": ("", "gauge")}


def test_a_message_full_of_wrong_values_costs_about_its_own_size(station: Station) -> None:
    device = new_device()
    payload = orjson.dumps({f"m{place}": "x" * 50 for place in range(900)})
    for _ in range(2):
        station.send(device, payload)
    letters = station.letters(device)
    assert len(letters) == 900
    assert {letter.occurrences for letter in letters} == {2}
    assert sum(letter.payload_bytes for letter in letters) < 5 * len(payload)


def test_a_refused_reading_without_a_time_keeps_its_arrival(station: Station) -> None:
    device, at_us = new_device(), now_us() - 3_600_000_000
    station.send(device, {"p": 1, "q": None}, received_at_us=at_us)
    (letter,) = station.letters(device)
    assert orjson.loads(letter.payload)["ts"] == at_us / 1000


def test_a_value_too_deep_to_be_written_again_is_refused_all_the_same(station: Station) -> None:
    device = new_device()
    station.send(device, b'{"p":' + b"[" * 1000 + b"]" * 1000 + b',"q":1}')
    assert station.reasons(device) == ["wrong_type"]
    assert station.values(device) == [1]


def test_a_dead_letter_of_one_reading_is_replayed(station: Station, plants: Plants) -> None:
    device, now_ms = new_device(), now_us() // 1000
    station.submit(plants.plant_a, [_offer(device, 1, ts=now_ms, unit="nonsense\0")])
    (letter,) = station.letters(device)
    repaired = orjson.loads(letter.payload) | {"unit": "bar"}
    outcome = station.pipeline.replay(
        plants.plant_a, PLANT, topic=letter.topic, payload=orjson.dumps(repaired)
    )
    assert outcome.accepted == 1


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("iiot/v1/plant-a/P-1/telemetry", b'{"p": 1}'),
        ("iiot/v1/plant-a/P-1/telemetry", b'{"p": '),
        ("iiot/v1/plant-a/P-1/status", b'{"status": "online"}'),
        ("iiot/v1/plant-a/P-1/odd", b'{"ts": 1, "p": 1}'),
        ("reading", b'{"device_id": "P-1"}'),
        ("reading", b"[]"),
        ("reading", b""),
    ],
)
def test_what_holds_no_timed_readings_cannot_be_replayed(
    station: Station, plants: Plants, topic: str, payload: bytes
) -> None:
    with pytest.raises(NotReplayable):
        station.pipeline.replay(plants.plant_a, PLANT, topic=topic, payload=payload)
