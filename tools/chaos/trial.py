"""One chaos run from start to verdict. Everything happens on the main thread, in one loop."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from domain.errors import Unavailable
from settings import load_settings
from tools.bootstrap import PROJECT
from tools.chaos.message import Stream
from tools.chaos.oracle import Store, Verdict, judge
from tools.chaos.publisher import Assignment, load_sent
from tools.chaos.schedule import Event, Faults, Kind, schedule
from tools.chaos.services import Services, low_port
from tools.chaos.victim import Victim
from tools.services import environment
from tools.services.child import Child, ServiceError

PUBLISHERS = 2
DEVICES_EACH = 25
_TICK_S = 0.05
_FIRST_READY_S = 60.0
# No new row for so long means that nothing more will come.
_STEADY_S = 15.0
_PUBLISHERS_END_S = 90.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of; `drain_limit_s` bounds the wait for the last reading."""

    seed: int
    rate: float
    faults: Faults
    is_control: bool = False
    drain_limit_s: float = 180.0


@dataclass(slots=True)
class Trial:
    """Runs one plan in `folder`, telling of it through `announce`."""

    plan: Plan
    folder: Path
    environ: Mapping[str, str]
    announce: Callable[[str], object]
    services: Services = field(init=False)
    victim: Victim = field(init=False)
    given: dict[str, str] = field(init=False)
    has_database: bool = field(default=True, init=False)

    def run(self) -> dict[str, Any]:
        """Do everything; return the figures, `passed` among them.

        Raises:
            ServiceError: something did not start, so that nothing can be said.
        """
        shared = PROJECT / "var" / "vendor"
        vendor = shared if shared.exists() else self.folder / "vendor"
        self.services = Services(self.folder, vendor, self.announce)
        try:
            self._start()
            return self._measure()
        finally:
            if hasattr(self, "victim"):
                self.victim.stop()
            self.services.stop()

    def _start(self) -> None:
        urls = self.services.start()
        port = low_port()
        base = {**self.environ, "IIOT_ENV": "development"}
        self.given = environment.application_environment(base, urls, self.services.secrets, port)
        app = str(PROJECT / "app_advanced.py")
        log = self.folder / "log" / "platform.log"
        migration = Child("migrate", [sys.executable, app, "migrate"], PROJECT, self.given, log)
        migration.spawn()
        if migration.wait() != 0:
            raise ServiceError(f"`migrate` failed; {log}:\n{migration.log_tail()}")
        serve = [app, "serve"]
        wrong = ["-m", "tools.chaos.early_acknowledgement"]
        command = [sys.executable, *(wrong if self.plan.is_control else serve)]
        self.victim = Victim(command, self.given, port, log)
        self.victim.start()
        self._wait_for_session(log)

    def _wait_for_session(self, log: Path) -> None:
        """Wait until the platform has subscribed: the broker keeps messages from then on."""
        deadline = time.monotonic() + _FIRST_READY_S
        while b"mqtt_connected" not in log.read_bytes():
            if not self.victim.is_running or time.monotonic() > deadline:
                raise ServiceError(f"the platform does not start; {log}:\n{self.victim.child.log_tail()}")
            time.sleep(_TICK_S)

    def _measure(self) -> dict[str, Any]:
        publishers = [self._publisher(number) for number in range(PUBLISHERS)]
        for _, _, child in publishers:
            child.spawn()
        started = time.monotonic()
        events = schedule(self.plan.seed, self.plan.faults)
        done = self._hit_everything(events, started)
        self._await(publishers)
        published = time.monotonic()
        sent = [(stream, load_sent(result)) for stream, result, _ in publishers]
        store = Store(load_settings(self.given).system_database_url)
        drained_at = self._drain(store, sum(len(known.acknowledged()) for _, known in sent))
        verdict = judge(sent, store.rows())
        letters = store.dead_letters()
        store.close()
        return self._figures(
            verdict, letters, done, publish_s=published - started, drain_s=drained_at - published
        )

    def _publisher(self, number: int) -> tuple[Stream, Path, Child]:
        devices = [f"chaos-{number}-{place:02d}" for place in range(DEVICES_EACH)]
        stream = Stream(devices, base_ms=int(time.time() * 1000) - 3_600_000)
        result = self.folder / f"publisher-{number}.json"
        result.unlink(missing_ok=True)
        assignment = Assignment(
            url=self.services.broker.url(),
            client_id=f"chaos-publisher-{number}",
            topic="iiot/v1/default/{}/telemetry",
            devices=devices,
            base_ms=stream.base_ms,
            rate=self.plan.rate / PUBLISHERS,
            seconds=self.plan.faults.seconds,
            result=str(result),
        )
        command = [sys.executable, "-m", "tools.chaos.publisher", assignment.as_json()]
        log = self.folder / "log" / "publishers.log"
        return stream, result, Child(f"publisher {number}", command, PROJECT, self.given, log)

    def _hit_everything(self, events: list[Event], started: float) -> dict[Kind, int]:
        pending = list(events)
        done: dict[Kind, int] = {}
        while pending or time.monotonic() - started < self.plan.faults.seconds:
            elapsed = time.monotonic() - started
            if pending and pending[0].at_s <= elapsed:
                kind = pending[0].kind
                # A kill waits for its victim to be alive, or there would be fewer than were asked for.
                if kind != "kill platform" or self.victim.is_running:
                    pending.pop(0)
                    self.announce(f"{elapsed:6.1f} s  {kind}")
                    self._hit(kind)
                    done[kind] = done.get(kind, 0) + 1
            self.victim.tend(may_store=self.has_database)
            time.sleep(_TICK_S)
        return done

    def _hit(self, kind: Kind) -> None:
        actions: dict[Kind, Callable[[], object]] = {
            "kill platform": self.victim.kill,
            "stop PostgreSQL": lambda: self.services.stop_database(at_once=False),
            "stop PostgreSQL at once": lambda: self.services.stop_database(at_once=True),
            "start PostgreSQL": self.services.start_database,
            "restart broker": self.services.restart_broker,
            "kill broker": lambda: self.services.restart_broker(kill=True),
            "stop Redis": self.services.stop_redis,
            "start Redis": self.services.start_redis,
            "flush Redis": self.services.flush_redis,
        }
        actions[kind]()
        if "PostgreSQL" in kind:
            self.has_database = kind.startswith("start")

    def _await(self, publishers: list[tuple[Stream, Path, Child]]) -> None:
        deadline = time.monotonic() + _PUBLISHERS_END_S
        while any(child.is_running for _, _, child in publishers):
            if time.monotonic() > deadline:
                raise ServiceError("a publisher does not end")
            self.victim.tend(may_store=self.has_database)
            time.sleep(_TICK_S)
        for _, result, child in publishers:
            if child.exit_code != 0 or not result.exists():
                raise ServiceError(f"{child.name} failed; {child.log}:\n{child.log_tail()}")

    def _drain(self, store: Store, wanted: int) -> float:
        """Wait until no new row has come for a while; return when the last one came."""
        limit = time.monotonic() + self.plan.drain_limit_s
        count, changed_at = -1, time.monotonic()
        while time.monotonic() < limit:
            now = time.monotonic()
            try:
                new = store.count()
            except Unavailable:
                new = count
            if new != count:
                count, changed_at = new, now
            # Nothing is missing: what still comes would be too much, and comes soon.
            if now - changed_at > (_STEADY_S if count < wanted else _STEADY_S / 5):
                break
            self.victim.tend(may_store=True)
            time.sleep(_TICK_S * 4)
        return changed_at

    def _figures(
        self,
        verdict: Verdict,
        letters: dict[str, int],
        done: dict[Kind, int],
        *,
        publish_s: float,
        drain_s: float,
    ) -> dict[str, Any]:
        recoveries = sorted(self.victim.recoveries_s)
        return {
            "passed": verdict.is_clean and not letters,
            "seed": self.plan.seed,
            "control": self.plan.is_control,
            "rate_per_s": self.plan.rate,
            "published_s": round(publish_s, 1),
            **verdict.as_dict(),
            "dead_letters": letters,
            "hits": done,
            "drain_s": round(max(0.0, drain_s), 1),
            "recovery_s": {
                "count": len(recoveries),
                "median": round(recoveries[len(recoveries) // 2], 2) if recoveries else None,
                "longest": round(recoveries[-1], 2) if recoveries else None,
            },
            "resident_peak_mb": round(self.victim.peak_mb, 1),
            "unwanted_exits": self.victim.unwanted_exits,
        }
