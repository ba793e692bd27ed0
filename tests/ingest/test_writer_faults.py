"""PostgreSQL refuses, stalls or is away: nothing is acknowledged early, lost, or stored twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
import pytest
from psycopg2.extensions import cursor as Cursor

from domain.errors import Unavailable
from ingest.buffer import SessionLost
from ingest.registry import DeviceRef, Registry
from ingest.submission import Offer
from settings import Settings
from storage.pool import DataRejected, Pool, PoolOptions, SystemDatabase
from tests.ingest.conftest import StationFactory
from tests.ingest.station import Station, new_device, now_us, running
from tests.people import Plants
from tests.polling import until
from tests.tcp_proxy import TcpProxy

pytestmark = pytest.mark.services

REFUSED_VALUE = 666
HICCUP_VALUE = 777

# Refuses one value for good; another one is answered by two failed statements before it is taken.
_TRIGGER = """
CREATE SEQUENCE hiccups;
GRANT USAGE ON hiccups TO iiot_system;
CREATE FUNCTION refuse_values() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.value = 666 THEN
        RAISE EXCEPTION 'no such value' USING ERRCODE = '22003';
    ELSIF NEW.value = 777 AND nextval('hiccups') < 3 THEN
        RAISE EXCEPTION 'busy' USING ERRCODE = '57014';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_values BEFORE INSERT ON telemetry FOR EACH ROW EXECUTE FUNCTION refuse_values();
"""


@contextmanager
def _owner(owner_url: str) -> Iterator[Cursor]:
    with closing(psycopg2.connect(owner_url)) as connection, connection, connection.cursor() as cursor:
        yield cursor


@pytest.fixture
def choosy_table(owner_url: str) -> Iterator[None]:
    """The telemetry table with a trigger that refuses some values."""
    with _owner(owner_url) as cursor:
        cursor.execute(_TRIGGER)
    yield
    with _owner(owner_url) as cursor:
        cursor.execute("DROP FUNCTION refuse_values CASCADE; DROP SEQUENCE hiccups")


@contextmanager
def _locked(owner_url: str, database: SystemDatabase) -> Iterator[None]:
    """Hold the telemetry table until the end of the block, which starts once a writer waits for it."""
    with _owner(owner_url) as cursor:
        cursor.execute("LOCK TABLE telemetry IN ACCESS EXCLUSIVE MODE")
        yield


def _wait_for_waiting_writer(database: SystemDatabase) -> None:
    def is_waiting() -> bool:
        with database.transaction() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
                " WHERE NOT granted AND d.datname = current_database()"
            )
            return cursor.fetchone() != (0,)

    until(is_waiting, what="a writer that waits for the lock")


def _offer(device: str, value: object, *, metric: str = "p", ts: object = None) -> Offer:
    return Offer(device, metric, now_us() / 1000 if ts is None else ts, value, None, None)


# Refused values ------------------------------------------------------------------------------------


def test_a_refused_value_is_found_and_everything_else_is_stored(station: Station, choosy_table: None) -> None:
    devices = [new_device() for _ in range(4)]
    messages = []
    for place in range(200):
        value = REFUSED_VALUE if place in (17, 118) else place
        # Untimed readings would be stored twice if any part of the batch were tried twice.
        messages.append(station.message(devices[place % 4], {"p": value}))
    station.deliver(*messages)
    stored = [value for device in devices for value in station.values(device)]
    assert sorted(stored) == [place for place in range(200) if place not in (17, 118)]
    letters = [letter for device in devices for letter in station.letters(device)]
    assert [letter.reason for letter in letters] == ["refused_by_database"] * 2
    assert "22003" in letters[0].detail
    ours = [message.mid for message in messages]
    assert sorted(mid for _, mid in station.acknowledged if mid in ours) == ours


def test_an_outage_while_halving_stores_and_acknowledges_nothing_twice(
    make_station: StationFactory, choosy_table: None
) -> None:
    station, device = make_station(), new_device()
    values = list(range(80))
    values[10], values[60] = REFUSED_VALUE, HICCUP_VALUE
    station.send(device, *({"p": value} for value in values))
    assert station.values(device) == [value for value in values if value != REFUSED_VALUE]
    assert len(station.acknowledged) == len(set(station.acknowledged)) == 80


def test_a_submission_is_not_blamed_for_a_message_beside_it(
    station: Station, plants: Plants, choosy_table: None
) -> None:
    device, refused = new_device(), new_device()
    station.send(refused, {"p": 1})
    station.pipeline.accept([station.message(refused, {"p": REFUSED_VALUE}) for _ in range(3)])
    assert station.submit(plants.plant_a, [_offer(device, 5)]).accepted == 1
    with pytest.raises(DataRejected):
        station.submit(plants.plant_a, [_offer(device, REFUSED_VALUE)])
    assert station.values(device) == [5]


class _FaultyRegistry(Registry):
    """Fails for one device, as a mistake in the platform's own code would."""

    def get(self, tenant_slug: str, device_id: str) -> DeviceRef | None:
        if device_id == "P-13":
            raise ZeroDivisionError("a mistake of ours")
        return super().get(tenant_slug, device_id)


def test_a_message_that_the_platform_fails_on_does_not_stall_the_others(
    system_database: SystemDatabase, plants: Plants
) -> None:
    station, device = Station(system_database, known=_FaultyRegistry()), new_device()
    with running(station):
        good = [station.message(device, {"p": value}) for value in range(20)]
        station.deliver(*good[:10], station.message("P-13", {"p": 1}), *good[10:])
        assert station.values(device) == list(range(20))
        (letter,) = station.letters("P-13")
        assert letter.reason == "internal_error"
        assert letter.tenant_id == plants.plant_a
        with pytest.raises(Unavailable):
            station.submit(plants.plant_a, [_offer("P-13", 1)])


# Listeners -----------------------------------------------------------------------------------------


def test_a_listener_that_fails_costs_neither_storage_nor_acknowledgement(
    make_station: StationFactory, plants: Plants
) -> None:
    station, device = make_station(), new_device()
    station.ears.breaks_with = RuntimeError("nobody can hear this")
    station.send(device, {"p": 1}, {"p": 2})
    assert station.submit(plants.plant_a, [_offer(device, 3)]).accepted == 1
    station.ears.breaks_with = None
    station.send(device, {"p": 4})
    assert station.values(device) == [1, 2, 3, 4]
    assert len(station.acknowledged) == 3


# A database that is slow ---------------------------------------------------------------------------


def test_nothing_is_acknowledged_while_the_table_is_locked(
    make_station: StationFactory, owner_url: str, system_database: SystemDatabase
) -> None:
    station, device = make_station(), new_device()
    station.send(device, {"p": 0})
    with _locked(owner_url, system_database):
        station.pipeline.accept([station.message(device, {"p": value}) for value in (1, 2)])
        _wait_for_waiting_writer(system_database)
        assert len(station.acknowledged) == 1
    until(lambda: len(station.acknowledged) == 3)
    assert station.values(device) == [0, 1, 2]


def test_a_request_that_nobody_waits_for_any_more_is_not_stored(
    make_station: StationFactory, owner_url: str, system_database: SystemDatabase, plants: Plants
) -> None:
    station, device = make_station(commit_wait_s=0.2), new_device()
    with _locked(owner_url, system_database):
        station.pipeline.accept([station.message(device, {"p": 0})])
        _wait_for_waiting_writer(system_database)
        with pytest.raises(Unavailable, match="in time"):
            station.submit(plants.plant_a, [_offer(device, 1)])
    until(lambda: len(station.acknowledged) == 1)
    assert station.submit(plants.plant_a, [_offer(device, 2)]).accepted == 1
    assert station.values(device) == [0, 2]


# A database that is away ---------------------------------------------------------------------------


@pytest.fixture
def fragile_station(settings: Settings, plants: Plants) -> Iterator[tuple[Station, TcpProxy]]:
    """Ingest that reaches PostgreSQL through a proxy which the test cuts."""
    with TcpProxy(settings.system_database_url) as proxy:
        options = PoolOptions(size=3, wait_s=2.0, connect_timeout_s=2, statement_timeout_s=5.0)
        database = SystemDatabase(Pool(proxy.url, name="tests-fragile", options=options))
        with running(Station(database)) as station:
            yield station, proxy
        database.close()


def test_while_postgresql_is_away_nothing_is_acknowledged_and_it_drains_by_itself(
    fragile_station: tuple[Station, TcpProxy], plants: Plants
) -> None:
    station, proxy = fragile_station
    device = new_device()
    station.send(device, {"p": 0})
    assert station.writer.database_away_s is None
    proxy.cut()
    station.pipeline.accept([station.message(device, {"p": value}) for value in range(1, 50)])
    until(lambda: station.writer.database_away_s is not None)
    station.pipeline.accept([SessionLost(station.client_id)])
    station.pipeline.accept([station.message(device, {"p": value}) for value in range(50, 100)])
    assert len(station.acknowledged) == 1
    proxy.mend()
    until(lambda: len(station.acknowledged) == 100)
    assert station.values(device) == list(range(100))
    assert station.writer.database_away_s is None


def test_a_request_is_told_at_once_that_postgresql_is_away(
    fragile_station: tuple[Station, TcpProxy], plants: Plants
) -> None:
    station, proxy = fragile_station
    device = new_device()
    station.send(device, {"p": 0})
    proxy.cut()
    with pytest.raises(Unavailable) as refused:
        station.submit(plants.plant_a, [_offer(device, 1)])
    assert refused.value.retry_after_s > 0
    assert "in time" not in refused.value.detail
    proxy.mend()
    until(lambda: _is_accepted(station, plants, _offer(device, 2)))
    assert station.values(device) == [0, 2]


def _is_accepted(station: Station, plants: Plants, offer: Offer) -> bool:
    try:
        return station.submit(plants.plant_a, [offer]).accepted == 1
    except Unavailable:
        return False


def test_killed_connections_lose_nothing_and_double_nothing(
    station: Station, system_database: SystemDatabase, owner_url: str
) -> None:
    device, is_over = new_device(), threading.Event()

    def kill_connections() -> None:
        with _owner(owner_url) as cursor:
            while not is_over.wait(0.02):
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE usename = 'iiot_system' AND datname = current_database()"
                )

    killer = threading.Thread(target=kill_connections)
    killer.start()
    try:
        sent = list(range(1000))
        before = len(station.acknowledged)
        for start in range(0, 1000, 20):
            station.pipeline.accept(
                [station.message(device, {"p": value}) for value in sent[start : start + 20]]
            )
            if start % 200 == 0:
                until(lambda: len(station.acknowledged) > before)
    finally:
        is_over.set()
        killer.join()
    until(lambda: len(station.acknowledged) == before + 1000)
    assert station.values(device) == sent


def test_the_writer_ends_in_time_while_postgresql_is_away(
    fragile_station: tuple[Station, TcpProxy],
) -> None:
    station, proxy = fragile_station
    device = new_device()
    station.send(device, {"p": 0})
    proxy.cut()
    station.pipeline.accept([station.message(device, {"p": value}) for value in range(1, 5)])
    until(lambda: station.writer.database_away_s is not None)
    assert station.writer.stop(timeout_s=5)
    assert len(station.acknowledged) == 1
