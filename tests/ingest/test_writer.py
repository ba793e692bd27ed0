"""What the writer stores: each reading once, the newest by its own time, in the metric's unit."""

from __future__ import annotations

import pytest

from domain.reading import Quality
from storage.pool import SystemDatabase
from tests.ingest.conftest import StationFactory
from tests.ingest.station import Station, new_device, now_us
from tests.people import Plants

pytestmark = pytest.mark.services


def _at(ms: int, **values: object) -> dict[str, object]:
    return {"ts": ms, "values": values}


@pytest.fixture
def now_ms() -> int:
    return now_us() // 1000


def test_a_reading_is_stored_with_both_times_and_good_quality(station: Station, now_ms: int) -> None:
    device = new_device()
    station.send(device, _at(now_ms - 500, pressure=4.1))
    (row,) = station.rows(device)
    assert (row.metric, row.observed_at_us, row.value) == ("pressure", (now_ms - 500) * 1000, 4.1)
    assert row.quality == Quality.GOOD


def test_a_redelivered_reading_is_stored_once(station: Station, now_ms: int) -> None:
    device = new_device()
    message = station.message(device, _at(now_ms, pressure=4.1))
    again = station.message(device, _at(now_ms, pressure=4.1), mid=message.mid, is_redelivery=True)
    station.deliver(message)
    station.deliver(again)
    station.deliver(message, again)
    assert station.values(device) == [4.1]
    assert station.letters(device) == []
    assert station.acknowledged.count((1, message.mid)) == 4


def test_another_value_for_the_same_time_is_a_conflict_and_the_first_stays(
    station: Station, now_ms: int
) -> None:
    device = new_device()
    station.send(device, _at(now_ms, pressure=4.1))
    for _ in range(2):
        station.send(device, _at(now_ms, pressure=5.2))
    assert station.values(device) == [4.1]
    assert station.newest(device)["pressure"] == (now_ms * 1000, 4.1)
    (letter,) = station.letters(device)
    assert (letter.reason, letter.metric, letter.occurrences) == ("conflict", "pressure", 2)
    assert b"5.2" in letter.payload


def test_duplicates_and_conflicts_inside_one_batch_are_told_apart(station: Station, now_ms: int) -> None:
    device = new_device()
    documents = [_at(now_ms, pressure=value) for value in (4.1, 4.1, 5.2, 4.1)]
    station.send(device, *documents, _at(now_ms + 1, pressure=4.1))
    assert station.values(device) == [4.1, 4.1]
    assert station.reasons(device) == ["conflict"]


def test_a_batch_with_old_and_new_readings_stores_the_new_ones(station: Station, now_ms: int) -> None:
    device = new_device()
    station.send(device, *(_at(now_ms + i, p=i, q=-i) for i in range(50)))
    station.send(device, *(_at(now_ms + i, p=i, q=-i) for i in range(25, 75)))
    assert len(station.rows(device)) == 150
    assert station.letters(device) == []


def test_latest_is_by_observed_at_never_by_arrival(station: Station, now_ms: int) -> None:
    device = new_device()
    station.send(device, _at(now_ms, p=2), _at(now_ms - 1000, p=1))
    station.send(device, _at(now_ms - 2000, p=0))
    assert station.values(device) == [2, 1, 0]
    assert station.newest(device) == {"p": (now_ms * 1000, 2)}
    station.send(device, _at(now_ms + 1, p=3))
    assert station.newest(device) == {"p": ((now_ms + 1) * 1000, 3)}
    assert [value.value for _, _, value in station.ears.latest if value.device_id == device] == [2, 3]


def test_readings_are_numbered_in_the_order_of_storing(station: Station, now_ms: int) -> None:
    device = new_device()
    station.send(device, _at(now_ms + 2, p=0), _at(now_ms + 1, p=1))
    station.send(device, _at(now_ms, p=2))
    rows = station.rows(device)
    assert [row.value for row in rows] == [0, 1, 2]
    assert rows[0].ingest_seq + 1 == rows[1].ingest_seq
    assert rows[1].ingest_seq < rows[2].ingest_seq


@pytest.mark.parametrize(
    ("quality", "code"),
    [("good", 192), ("uncertain", 64), ("bad", 0), ({"p": "bad"}, 0), ({"q": "bad"}, 192)],
)
def test_quality_is_kept(station: Station, now_ms: int, quality: object, code: int) -> None:
    device = new_device()
    station.send(device, {"ts": now_ms, "values": {"p": 1.5}, "quality": quality})
    assert [row.quality for row in station.rows(device)] == [code]


def test_a_value_in_another_unit_is_converted(station: Station, plants: Plants, now_ms: int) -> None:
    device = new_device()
    station.register(plants.plant_a, device, pressure="bar", temperature="°C")
    station.send(
        device,
        {"ts": now_ms, "values": {"pressure": 410}, "unit": "kPa"},
        {"ts": now_ms + 1, "values": {"pressure": 4.1}, "unit": {"pressure": "bar"}},
        {"ts": now_ms + 2, "values": {"temperature": 212}, "unit": {"temperature": "degF"}},
        {"ts": now_ms + 3, "values": {"temperature": 22.5}, "unit": "degC"},
        {"ts": now_ms + 4, "values": {"temperature": 23.5}},
    )
    assert station.values(device) == [4.1, 4.1, 100.0, 22.5, 23.5]
    assert station.letters(device) == []


def test_a_value_that_overflows_in_the_metrics_unit_is_refused(
    station: Station, plants: Plants, now_ms: int
) -> None:
    device = new_device()
    station.register(plants.plant_a, device, pressure="Pa")
    station.send(device, {"ts": now_ms, "values": {"pressure": 1.7e308}, "unit": "MPa"})
    assert station.reasons(device) == ["not_finite"]


def test_good_values_beside_wrong_ones_are_stored(station: Station, now_ms: int) -> None:
    device = new_device()
    station.send(device, _at(now_ms, p=1, text="warm", nothing=None, q=2))
    assert station.values(device) == [1, 2]
    assert sorted((letter.reason, letter.metric) for letter in station.letters(device)) == [
        ("null_value", "nothing"),
        ("wrong_type", "text"),
    ]


def test_a_true_or_false_metric_becomes_a_state(station: Station, now_ms: int) -> None:
    device = new_device()
    station.send(
        device, _at(now_ms, running=True), _at(now_ms + 1, running=False), _at(now_ms + 2, running=1)
    )
    assert station.values(device) == [1, 0, 1]
    assert station.metric_kinds(device) == {"running": ("", "state")}


def test_names_that_look_alike_are_one_metric(station: Station, now_ms: int) -> None:
    device = new_device()
    for later_ms, name in enumerate(("Temp\u00e9rature", "Tempe\u0301rature"), start=1):
        station.send(device, {"ts": now_ms + later_ms, "values": {name: later_ms}})
    assert {row.metric for row in station.rows(device)} == {"Temp\u00e9rature"}
    assert station.values(device) == [1, 2]


def test_a_registered_unit_comes_from_the_first_reading(station: Station, now_ms: int) -> None:
    device = new_device()
    station.send(device, {"ts": now_ms, "values": {"p": 1, "t": 2}, "unit": {"p": "bar", "t": "degC"}})
    assert station.metric_kinds(device) == {"p": ("bar", "gauge"), "t": ("°C", "gauge")}


@pytest.mark.parametrize(
    "unit", ["\0", "a\0b", "b\nar", False, {"p": {}}, "\u0958" * 20, "\u200b", "x" * 33, 5, ["bar"]]
)
def test_a_unit_that_cannot_be_stored_is_refused(station: Station, now_ms: int, unit: object) -> None:
    device = new_device()
    station.send(device, {"ts": now_ms, "values": {"p": 1}, "unit": unit})
    station.send(device, {"ts": now_ms + 1, "values": {"q": 1}})
    assert station.reasons(device) == ["invalid_unit"]
    assert station.values(device) == [1]


def test_an_unknown_unit_names_a_new_metric_but_never_meets_a_known_one(
    station: Station, plants: Plants, now_ms: int
) -> None:
    device = new_device()
    station.register(plants.plant_a, device, pressure="bar")
    station.send(device, {"ts": now_ms, "values": {"pressure": 1, "grade": 2}, "unit": "smoots"})
    assert station.reasons(device) == ["unit_mismatch"]
    assert station.metric_kinds(device)["grade"] == ("smoots", "gauge")


def test_listeners_hear_of_what_was_stored_and_of_nothing_else(station: Station, now_ms: int) -> None:
    device = new_device()
    station.send(device, _at(now_ms, p=1))
    station.send(device, _at(now_ms, p=1), _at(now_ms, p=9), _at(now_ms + 1, p=2))
    heard = [
        reading for told in station.ears.readings if told.device_id == device for reading in told.readings
    ]
    assert heard == [("p", now_ms * 1000, 1.0, 192), ("p", (now_ms + 1) * 1000, 2.0, 192)]


def test_a_time_outside_the_window_is_refused(make_station: StationFactory) -> None:
    station = make_station(future_limit_s=60.0, lateness_s=3600.0)
    device, now = new_device(), now_us()
    for offset_s in (59, -3599, 61, -3601):
        station.send(device, _at(now // 1000 + offset_s * 1000, p=offset_s), received_at_us=now)
    station.send(device, _at(now // 1_000_000, p=1), received_at_us=now)
    assert station.values(device) == [59, -3599]
    assert station.reasons(device) == ["too_far_in_future", "too_old", "too_old"]
    assert "looks like seconds" in station.letters(device)[-1].detail


def test_of_a_message_above_the_limit_the_beginning_is_kept(station: Station) -> None:
    device = new_device()
    station.send(device, b'{"p": "' + b"x" * 5_000_000 + b'"}')
    (letter,) = station.letters(device)
    assert (letter.reason, letter.payload_bytes) == ("too_large", 5_000_009)
    assert len(letter.payload) == station.limits.message_bytes


def test_a_heartbeat_is_shown_while_the_writer_runs(make_station: StationFactory) -> None:
    station = make_station()
    station.send(new_device(), {"p": 1})
    assert [beat.name for beat in station.heartbeats.report()] == ["ingest writer"]
    assert station.writer.stop(timeout_s=5)
    assert station.heartbeats.report() == []


def test_what_is_in_the_buffer_is_stored_before_the_writer_ends(
    system_database: SystemDatabase, plants: Plants, now_ms: int
) -> None:
    station, device = Station(system_database, linger_s=0.5), new_device()
    station.pipeline.accept([station.message(device, _at(now_ms + i, p=i)) for i in range(6000)])
    station.writer.start()
    assert station.writer.stop(timeout_s=15)
    assert len(station.rows(device)) == len(station.acknowledged) == 6000
