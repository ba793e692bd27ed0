"""Latest values come from Redis where it has them, and from PostgreSQL where it has not."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cache import LatestCache, RedisClient
from observability import Heartbeats
from settings import Settings
from storage.pool import AppDatabase, SystemDatabase
from tests.application import running_application
from tests.people import Client, Plants, sign_in

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def cached(redis_url: str, settings: Settings) -> Iterator[LatestCache]:
    client = RedisClient(settings.redis, heartbeats=Heartbeats(), prefix=f"test-{secrets.token_hex(4)}")
    client.start()
    yield LatestCache(client, ttl_s=60)
    client.stop(timeout_s=5)


@pytest.fixture(scope="module")
def alice(
    settings: Settings,
    app_database: AppDatabase,
    system_database: SystemDatabase,
    plants: Plants,
    cached: LatestCache,
) -> Iterator[Client]:
    with running_application(settings, app_database, system_database, latest=cached) as running:
        yield sign_in(running.app, "alice")


@pytest.fixture(scope="module")
def store_behind_the_cache(system_database: SystemDatabase) -> Callable[[float], None]:
    """Changes what PostgreSQL holds, so that an answer tells where it comes from."""

    def store(value: float) -> None:
        with system_database.transaction() as cursor:
            cursor.execute("UPDATE latest_values SET value = %s", (value,))

    return store


def _send(alice: Client, value: float, ts: str) -> None:
    reading: dict[str, Any] = {"device_id": "C-1", "metric": "level", "value": value, "ts": ts}
    answer = alice.post("telemetry?backfill=true", json={"readings": [reading]})
    assert answer.status_code == 201, answer.get_data(as_text=True)


def _latest(alice: Client) -> list[float]:
    return [item["value"] for item in alice.get("devices/C-1/latest").get_json()["values"]]


def test_latest_values_are_cached_and_follow_new_readings(
    alice: Client, store_behind_the_cache: Callable[[float], None]
) -> None:
    body = {"device_id": "C-1", "name": "C-1", "metrics": [{"name": "level", "unit": "%"}]}
    assert alice.post("devices", json=body).status_code == 201
    assert _latest(alice) == []
    _send(alice, 1, "2026-01-01T00:00:00Z")
    assert _latest(alice) == [1]
    store_behind_the_cache(99)
    assert _latest(alice) == [1]
    _send(alice, 2, "2026-01-01T00:00:01Z")
    assert _latest(alice) == [2]


def test_without_an_entry_postgresql_answers(
    alice: Client,
    cached: LatestCache,
    app_database: AppDatabase,
    plants: Plants,
    store_behind_the_cache: Callable[[float], None],
) -> None:
    store_behind_the_cache(42)
    ((device_key,),) = app_database.read(plants.plant_a, "SELECT device_key FROM devices", {})
    cached.forget(plants.plant_a, device_key)
    assert _latest(alice) == [42]


def test_a_retired_device_is_gone_although_its_values_are_cached(alice: Client) -> None:
    assert alice.get("devices/C-1/latest").status_code == 200
    assert alice.delete("devices/C-1").status_code == 204
    assert alice.get("devices/C-1/latest").status_code == 404
