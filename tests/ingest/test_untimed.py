"""Readings without a time of their own: each is stored, and stored once, whatever is delivered twice."""

from __future__ import annotations

import random

import pytest

from ingest.buffer import Message, SessionLost
from tests.ingest.conftest import StationFactory
from tests.ingest.station import Station, new_device, now_us

pytestmark = pytest.mark.services


def _again(message: Message, *, epoch: int | None = None) -> Message:
    """The same message once more, as a broker delivers it after a reconnect."""
    return Message(
        epoch=message.epoch + 1 if epoch is None else epoch,
        mid=message.mid,
        topic=message.topic,
        payload=message.payload,
        is_redelivery=True,
        is_retained=False,
        received_at_us=now_us(),
    )


def test_identical_payloads_are_different_readings(station: Station) -> None:
    device, at = new_device(), now_us()
    # What is read from the socket in one piece carries one time of arrival.
    station.send(device, *[{"running": 1}] * 100, received_at_us=at)
    station.send(device, *[{"running": 1}] * 100, received_at_us=at)
    assert station.values(device) == [1] * 200
    assert station.letters(device) == []
    assert all(at <= row.observed_at_us < at + 1000 for row in station.rows(device))


def test_different_values_that_arrive_together_do_not_conflict(station: Station) -> None:
    device, at = new_device(), now_us()
    station.send(device, {"p": 1}, {"p": 2, "q": 7}, [{"p": 3}, {"p": 4}], received_at_us=at)
    assert [row.value for row in station.rows(device) if row.metric == "p"] == [1, 2, 3, 4]
    assert station.newest(device)["p"][1] == 4
    assert station.letters(device) == []


def test_values_of_one_message_share_one_time(station: Station) -> None:
    device = new_device()
    station.send(device, {"p": 1, "q": 2})
    (time_of_p, time_of_q) = [row.observed_at_us for row in station.rows(device)]
    assert time_of_p == time_of_q


def test_a_redelivery_after_the_commit_is_stored_once(station: Station) -> None:
    device = new_device()
    message = station.message(device, {"p": 1})
    station.deliver(message)
    for _ in range(3):
        station.deliver(_again(message))
    assert station.values(device) == [1]


def test_a_redelivery_that_overtakes_the_commit_is_stored_once(station: Station) -> None:
    device = new_device()
    messages = [station.message(device, {"p": i}) for i in range(10)]
    # The connection broke while they waited in the buffer: one batch holds both deliveries.
    station.deliver(*messages, *map(_again, messages), *(_again(message, epoch=3) for message in messages))
    assert station.values(device) == list(range(10))


def test_a_redelivery_before_any_commit_is_stored(station: Station) -> None:
    device = new_device()
    station.deliver(_again(station.message(device, {"p": 1})))
    assert station.values(device) == [1]


def test_a_redelivery_under_a_reused_id_is_told_by_its_payload(station: Station) -> None:
    device = new_device()
    station.send(device, {"p": 1}, mid=7)
    station.send(device, {"p": 2}, mid=7, is_redelivery=True)
    assert station.values(device) == [1, 2]


def test_a_new_message_under_a_reused_id_is_stored(station: Station) -> None:
    device = new_device()
    station.send(device, {"p": 1}, mid=8)
    station.send(device, {"p": 1}, mid=8)
    station.send(device, {"p": 1}, mid=8, is_redelivery=True)
    assert station.values(device) == [1, 1]


def test_a_lost_session_takes_the_meaning_of_message_ids_with_it(station: Station) -> None:
    device = new_device()
    message = station.message(device, {"p": 1})
    station.deliver(message)
    station.deliver(SessionLost(station.client_id), _again(message))
    assert station.values(device) == [1, 1]


def test_ids_of_the_lost_session_in_the_same_batch_mean_nothing_either(station: Station) -> None:
    device = new_device()
    message = station.message(device, {"p": 1})
    before = station.message(device, {"p": 0})
    station.deliver(before)
    station.deliver(_again(before), message, SessionLost(station.client_id), _again(message), _again(before))
    assert station.values(device) == [0, 1, 1, 0]


def test_another_client_has_ids_of_its_own(station: Station, make_station: StationFactory) -> None:
    device, other = new_device(), make_station()
    message = station.message(device, {"p": 1})
    station.deliver(message)
    other.deliver(_again(message))
    assert station.values(device) == [1, 1]


def test_what_was_stored_is_remembered_through_a_restart(make_station: StationFactory) -> None:
    device, first = new_device(), make_station()
    message = first.message(device, {"p": 1})
    first.deliver(message)
    assert first.writer.stop(timeout_s=5)
    second = make_station(client_id=first.client_id)
    second.deliver(_again(message))
    assert second.values(device) == [1]


def test_a_retained_message_needs_a_time(station: Station) -> None:
    device, now_ms = new_device(), now_us() // 1000
    station.send(device, {"p": 1}, {"ts": now_ms, "values": {"p": 2}}, is_retained=True)
    assert station.values(device) == [2]
    assert station.reasons(device) == ["retained_without_time"]


def test_as_many_are_stored_as_were_sent_however_often_acknowledgements_get_lost(station: Station) -> None:
    device, chance = new_device(), random.Random(20)
    sent, unconfirmed = 0, list[Message]()
    for epoch in range(1, 101):
        fresh = [station.message(device, {"running": 1}, epoch=epoch) for _ in range(100)]
        sent += len(fresh)
        station.deliver(*(_again(message, epoch=epoch) for message in unconfirmed), *fresh)
        # The connection breaks: only the first acknowledgements have reached the broker.
        in_flight = [*unconfirmed, *fresh]
        unconfirmed = in_flight[chance.randrange(len(in_flight)) :]
    assert len(station.rows(device)) == sent == 10_000
