"""The promise of the cache, against a real server that is stopped, flushed, frozen and restored."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cache import LatestCache
from tests.cache.support import PUMP, TENANT, Database, Process, Server, latest, load, look_ups, store

pytestmark = pytest.mark.services


def test_values_come_back_as_they_were_filled_in(cache: LatestCache) -> None:
    values = [latest("current", 5, 0.1 + 0.2), latest("temperature", 3, -1e-300)]
    hits, misses = look_ups("hit"), look_ups("miss")
    assert cache.read(TENANT, PUMP) is None
    cache.fill(TENANT, PUMP, values)
    assert cache.read(TENANT, PUMP) == values
    assert (look_ups("hit") - hits, look_ups("miss") - misses) == (1, 1)


def test_a_device_without_values_is_remembered_too(cache: LatestCache) -> None:
    assert cache.read(TENANT, PUMP) is None
    cache.fill(TENANT, PUMP, [])
    assert cache.read(TENANT, PUMP) == []


def test_tenants_and_devices_do_not_see_each_other(cache: LatestCache) -> None:
    assert cache.read(TENANT, PUMP) is None
    cache.fill(TENANT, PUMP, [latest("temperature", 1)])
    assert cache.read(2, PUMP) is None
    assert cache.read(TENANT, 77) is None


def test_a_commit_is_seen_by_the_next_look_up(cache: LatestCache) -> None:
    database = Database()
    store(cache, database, latest("temperature", 1))
    load(cache, database)
    store(cache, database, latest("temperature", 2), latest("pressure", 2))
    assert cache.read(TENANT, PUMP) == [latest("pressure", 2), latest("temperature", 2)]


def test_a_late_reading_changes_nothing(cache: LatestCache) -> None:
    database = Database()
    store(cache, database, latest("temperature", 10))
    load(cache, database)
    store(cache, database, latest("temperature", 4))
    assert cache.read(TENANT, PUMP) == [latest("temperature", 10)]


def test_the_newest_of_a_batch_wins_whatever_its_order(cache: LatestCache) -> None:
    database = Database()
    load(cache, database)
    store(cache, database, *(latest("temperature", second) for second in (3, 9, 5)))
    assert cache.read(TENANT, PUMP) == [latest("temperature", 9)]


def test_a_device_that_nobody_reads_takes_no_memory(cache: LatestCache, server: Server) -> None:
    cache.advance([(TENANT, PUMP, latest("temperature", 1))])
    assert server.keys("*latest*") == []


def test_a_slow_reader_does_not_undo_a_newer_commit(cache: LatestCache) -> None:
    database = Database()
    database.commit(latest("temperature", 1))
    assert cache.read(TENANT, PUMP) is None
    seen = database.latest()
    store(cache, database, latest("temperature", 2))
    cache.fill(TENANT, PUMP, seen)
    assert cache.read(TENANT, PUMP) == [latest("temperature", 2)]


@pytest.mark.parametrize("pattern", ["*", "*latest*", "{iiot:cache}"], ids=["flush", "expiry", "eviction"])
def test_a_slow_reader_is_refused_when_redis_forgot_the_commit(
    cache: LatestCache, server: Server, pattern: str
) -> None:
    database = Database()
    database.commit(latest("temperature", 1))
    assert cache.read(TENANT, PUMP) is None
    seen = database.latest()
    store(cache, database, latest("temperature", 2))
    assert server.delete(pattern) > 0
    cache.fill(TENANT, PUMP, seen)
    assert load(cache, database) == [latest("temperature", 2)]
    assert cache.read(TENANT, PUMP) == [latest("temperature", 2)]


def test_values_that_were_not_read_after_a_miss_are_not_taken(cache: LatestCache) -> None:
    cache.fill(TENANT, PUMP, [latest("temperature", 1)])
    assert cache.read(TENANT, PUMP) is None


def test_a_forgotten_device_is_read_anew_and_refuses_readers_from_before(cache: LatestCache) -> None:
    assert cache.read(TENANT, PUMP) is None
    cache.forget(TENANT, PUMP)
    cache.fill(TENANT, PUMP, [latest("temperature", 1)])
    assert cache.read(TENANT, PUMP) is None


def test_scripts_that_the_server_lost_are_sent_again(
    cache: LatestCache, process: Process, server: Server
) -> None:
    database = Database()
    with server.admin() as admin:
        admin.script_flush()
    store(cache, database, latest("temperature", 1))
    load(cache, database)
    assert cache.read(TENANT, PUMP) == [latest("temperature", 1)]
    assert process.client.is_healthy


def test_another_process_sees_the_commit(start_process: Callable[[], Process]) -> None:
    ours, theirs = start_process().cache, start_process().cache
    database = Database()
    store(ours, database, latest("temperature", 1))
    load(theirs, database)
    store(ours, database, latest("temperature", 2))
    assert theirs.read(TENANT, PUMP) == [latest("temperature", 2)]


def test_a_process_killed_between_commit_and_advance_leaves_nothing_behind(
    start_process: Callable[[], Process],
) -> None:
    killed = start_process().cache
    database = Database()
    store(killed, database, latest("temperature", 1))
    load(killed, database)
    database.commit(latest("temperature", 2))
    assert load(start_process().cache, database) == [latest("temperature", 2)]


@pytest.mark.parametrize("packed", [b"not JSON", b"[1]", b'[1,2,"x",192,"m","u","d"]'])
def test_nonsense_in_redis_is_a_miss_and_is_thrown_away(
    cache: LatestCache, process: Process, server: Server, packed: bytes
) -> None:
    database = Database()
    store(cache, database, latest("temperature", 1))
    load(cache, database)
    (key,) = server.keys("*latest*")
    with server.admin() as admin:
        admin.hset(key.decode(), "=temperature", packed)
    assert cache.read(TENANT, PUMP) is None
    process.wait_until_healthy()
    assert load(cache, database) == [latest("temperature", 1)]
    assert cache.read(TENANT, PUMP) == [latest("temperature", 1)]


def test_redis_away_is_a_miss_and_costs_nothing(cache: LatestCache, process: Process, server: Server) -> None:
    database = Database()
    load(cache, database)
    server.kill()
    store(cache, database, latest("temperature", 1))
    assert not process.client.is_healthy
    started = time.monotonic()
    for second in range(2, 200):
        store(cache, database, latest("temperature", second))
        assert load(cache, database) == [latest("temperature", second)]
    assert time.monotonic() - started < 0.25
    server.start()
    process.wait_until_healthy()
    load(cache, database)
    assert cache.read(TENANT, PUMP) == [latest("temperature", 199)]


@pytest.mark.parametrize("is_noticed", [False, True], ids=["unnoticed restart", "noticed outage"])
def test_old_data_on_disk_is_never_served(
    cache: LatestCache, process: Process, server: Server, is_noticed: bool
) -> None:
    database = Database()
    store(cache, database, latest("temperature", 1))
    load(cache, database)
    with server.admin() as admin:
        admin.save()
    store(cache, database, latest("temperature", 2))
    assert cache.read(TENANT, PUMP) == [latest("temperature", 2)]
    # Where nobody looks during the outage, the client only meets a new server behind a broken connection.
    process.client._probe = lambda: None  # type: ignore[method-assign]
    server.kill()
    if is_noticed:
        store(cache, database, latest("temperature", 3))
    server.start()
    assert server.keys("*latest*"), "the positive control: the old entry is back"
    assert cache.read(TENANT, PUMP) is None
    process.wait_until_healthy()
    assert load(cache, database) == database.latest()
    assert cache.read(TENANT, PUMP) == database.latest()


def test_a_frozen_redis_costs_one_timeout_and_leaves_nothing_stale(
    cache: LatestCache, process: Process, server: Server
) -> None:
    database = Database()
    store(cache, database, latest("temperature", 1))
    load(cache, database)
    server.freeze()
    try:
        started = time.monotonic()
        for second in range(2, 100):
            store(cache, database, latest("temperature", second))
            assert load(cache, database) == [latest("temperature", second)]
        assert time.monotonic() - started < 1.0
    finally:
        server.thaw()
    assert load(cache, database) == [latest("temperature", 99)]
    process.wait_until_healthy()
    assert load(cache, database) == [latest("temperature", 99)]
    assert cache.read(TENANT, PUMP) == [latest("temperature", 99)]
