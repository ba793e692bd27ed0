"""The promise of the cache while readers, writers and outages race each other."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from cache import LatestCache
from domain.reading import LatestValue
from tests.cache.support import PUMP, TENANT, Database, Process, Server, latest, store, wait_until

pytestmark = pytest.mark.services


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
