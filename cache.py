"""Redis as a pure cache: it may vanish, hang or lose everything, and answers get slower, never wrong.

`RedisClient` turns every failure into `CacheUnavailable` and keeps a broken Redis away from everyone else;
`LatestCache` keeps the newest values of devices on top of it.

**Promise.** Once `advance` has returned for a commit, no `read` that starts later gives a value older than
that commit. Redis is never trusted for more than it can know; four mechanisms carry the promise:

1. *Incarnations.* A look-up that misses creates the entry (a hash) with a random incarnation id, and only
   then reads PostgreSQL. `fill` is refused unless the hash still carries that id, so the hash has existed
   without a break since before PostgreSQL was read. Whatever `advance` brought meanwhile is therefore still
   in it, and `fill` overwrites only older values: a slow reader cannot undo a newer commit, not even when
   the entry expired, was evicted, flushed or forgotten in between. `advance` never creates an entry.
2. *By observed_at.* Both scripts keep the value with the later `observed_at`, inside Redis, atomically.
   Late readings change nothing, and a command that Redis executes long after the client gave up is harmless.
3. *Generations.* Names of entries contain a random generation id that the scripts read from one key. Setting
   a new id makes everything cached unreachable at once. When that key is evicted or flushed, a new random id
   is made: absence can only lose entries, never revive them.
4. *Distrust.* After any failure nothing is sent for a while; then commits go to Redis again, then a new
   generation is set, and only then do look-ups use it (`_State`). A commit whose `advance` failed or was
   skipped thus precedes a new generation, and every entry of that generation was read after the commit.
   A process starts distrustful, so a predecessor killed between commit and `advance` leaves nothing behind.
   Each new connection compares the server's run id with that of the generation: a server that restarted
   with old data on disk, or a promoted replica, is distrusted before its first answer.

**Limits.** With several processes on one Redis the promise needs each of them to reach it: while one is cut
off alone, or is killed between commit and `advance`, the others may serve the older value until that process
is back, at most `latest_ttl_s` (an entry's life counts from its fill; `advance` does not prolong it). A proxy
that swaps the server behind an open connection hides the restart, and so does loading old data into a running
server (REPLICAOF, DEBUG RELOAD).
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from hashlib import sha1
from pathlib import Path
from typing import Any

import orjson
import redis
import redis.exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from domain.reading import LatestValue
from observability import Heartbeats, cache_requests, get_logger
from settings import RedisSettings

log = get_logger("cache")

_PROBE_INTERVAL_S = 1.0
_DISTRUST_MIN_S = 1.0
_DISTRUST_MAX_S = 5.0
_CALM_S = 10.0
_SCRIPTS = Path(__file__).parent / "cache_scripts"
_LEASE_S = 30
_FIELDS_PER_GROUP = 500
_GROUPS_PER_CALL = 1000


class CacheUnavailable(Exception):
    """Redis cannot be used at the moment."""


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What a Redis says about itself; `max_memory_bytes` is 0 where nothing bounds it."""

    version: str
    max_memory_bytes: int
    eviction_policy: str
    answer_s: float


def probe(settings: RedisSettings, *, timeout_s: float = 3.0) -> RedisFacts:
    """Look at the Redis of the settings over a connection of its own, for the doctor.

    Raises:
        CacheUnavailable: it cannot be reached, refuses the login or is no Redis; the text says which.
    """
    try:
        with redis.Redis.from_url(
            settings.url.get_secret_value(),
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        ) as server:
            server_part, memory_part = server.info("server"), server.info("memory")
            asked_at = time.monotonic()
            server.ping()
            return RedisFacts(
                version=str(server_part["redis_version"]),
                max_memory_bytes=int(memory_part["maxmemory"]),
                eviction_policy=str(memory_part["maxmemory_policy"]),
                answer_s=time.monotonic() - asked_at,
            )
    except (redis.exceptions.RedisError, OSError, KeyError, ValueError) as error:
        raise CacheUnavailable(str(error) or type(error).__name__) from error


class _State(Enum):
    AWAY = "nothing is sent"
    WARMING = "commits are sent, look-ups are not"
    TRUSTED = "all is sent"


class _Script:
    """A script of cache_scripts/, known to the server by its SHA-1. `KEYS[1]` is the generation's key."""

    def __init__(self, name: str) -> None:
        self.source = (_SCRIPTS / f"{name}.lua").read_text(encoding="utf-8")
        self.sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()


class RedisClient:
    """A pool of connections without retries, and the thread that decides when Redis may be used.

    Until `start()` and whenever Redis fails, every call raises `CacheUnavailable` at once; so a Redis that
    hangs costs a caller one timeout, and then nobody until the thread has found it well again (1-5 s later).
    """

    def __init__(self, settings: RedisSettings, *, heartbeats: Heartbeats, prefix: str = "iiot") -> None:
        self._settings = settings
        self._heartbeats = heartbeats
        self._generation_key = f"{{{prefix}:cache}}"
        self._pool = redis.ConnectionPool.from_url(
            settings.url.get_secret_value(),
            max_connections=settings.pool_size,
            socket_timeout=settings.timeout_s,
            socket_connect_timeout=settings.timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            redis_connect_func=self._greet,
        )
        self._command: Callable[..., Any] = redis.Redis(connection_pool=self._pool).execute_command
        self._lock = threading.Lock()
        self._state = _State.AWAY
        self._failures = 0
        self._run_id: str | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="cache-keeper", daemon=True)

    @property
    def is_healthy(self) -> bool:
        """Whether Redis is in use now."""
        return self._state is _State.TRUSTED

    def start(self) -> None:
        """Start looking for Redis; it is used as soon as it has been found and a new generation is set."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stop using Redis and close the connections."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        with self._lock:
            self._state = _State.AWAY
        self._pool.disconnect()

    def run(self, script: _Script, *arguments: str | bytes | int, carries_commit: bool = False) -> Any:
        """Run a script in one round trip.

        Args:
            script: The script.
            arguments: Its `ARGV`.
            carries_commit: True for what must reach Redis before look-ups may trust it again.

        Raises:
            CacheUnavailable: Redis is away, slow, full or answers nonsense.
        """
        state = self._state
        if state is _State.AWAY or (state is _State.WARMING and not carries_commit):
            raise CacheUnavailable
        try:
            return self._evaluate(script, arguments)
        except (redis.exceptions.RedisError, OSError, ValueError) as error:
            self.distrust(type(error).__name__)
            raise CacheUnavailable from error

    def distrust(self, cause: str) -> None:
        """Stop using Redis; everything in it will be forgotten before it is used again."""
        with self._lock:
            was_away = self._state is _State.AWAY
            self._state = _State.AWAY
            self._failures += 1
        if not was_away:
            log.warning("redis_distrusted", cause=cause)
            self._wake.set()

    def _evaluate(self, script: _Script, arguments: tuple[str | bytes | int, ...]) -> Any:
        try:
            return self._command("EVALSHA", script.sha, 1, self._generation_key, *arguments)
        except redis.exceptions.NoScriptError:
            return self._command("EVAL", script.source, 1, self._generation_key, *arguments)

    def _greet(self, connection: Any) -> None:
        """Log in, and refuse a server that is not the one whose generation is trusted."""
        connection.on_connect()
        connection.send_command("INFO", "server")
        run_id = _run_id_of(connection.read_response())
        expected = self._run_id
        if expected is not None and run_id != expected:
            raise redis.exceptions.ConnectionError("the server has restarted")

    def _keep(self) -> None:
        delay_s = _DISTRUST_MIN_S
        trusted_since: float | None = None
        while not self._stopping.is_set():
            self._heartbeats.beat("cache-keeper")
            self._wake.clear()
            if self._state is _State.TRUSTED:
                self._probe()
                self._wake.wait(_PROBE_INTERVAL_S)
                continue
            if trusted_since is not None:
                # It failed while in use. Coming back at once would let every caller pay its time-out again.
                was_calm = time.monotonic() - trusted_since > _CALM_S
                delay_s = _DISTRUST_MIN_S if was_calm else min(delay_s * 2, _DISTRUST_MAX_S)
                trusted_since = None
                self._stopping.wait(delay_s)
            elif self._regain():
                trusted_since = time.monotonic()
                log.info("redis_trusted")
            else:
                self._stopping.wait(delay_s)
                delay_s = min(delay_s * 2, _DISTRUST_MAX_S)
        self._heartbeats.forget("cache-keeper")

    def _probe(self) -> None:
        try:
            self._command("PING")
        except (redis.exceptions.RedisError, OSError) as error:
            self.distrust(type(error).__name__)

    def _regain(self) -> bool:
        """Let commits through, then set a new generation, then trust; False if anything fails meanwhile."""
        self._run_id = None
        try:
            with redis.Redis(connection_pool=self._pool, single_connection_client=True) as server:
                # One connection for both: it cannot outlive the server that it asks.
                self._run_id = str(server.info("server")["run_id"])
                with self._lock:
                    failures = self._failures
                    self._state = _State.WARMING
                server.set(self._generation_key, secrets.token_hex(8))
        except (redis.exceptions.RedisError, OSError, KeyError, ValueError) as error:
            self.distrust(type(error).__name__)
            return False
        with self._lock:
            if self._failures != failures or self._stopping.is_set():
                return False
            self._state = _State.TRUSTED
            return True


_READ, _FILL, _ADVANCE, _FORGET = map(
    _Script, ("read_latest", "fill_latest", "advance_latest", "forget_latest")
)


class LatestCache:
    """The newest value of each metric of a device, by `observed_at`. Thread-safe; never raises."""

    def __init__(self, client: RedisClient, *, ttl_s: int) -> None:
        self._client = client
        self._ttl_s = ttl_s
        self._leases = threading.local()

    def read(self, tenant_id: int, device_key: int) -> list[LatestValue] | None:
        """The device's newest values by name of metric, or None when PostgreSQL has to be asked.

        After None the same thread reads PostgreSQL and hands the result to `fill`.
        """
        self._leases.held = None
        entry = _entry(tenant_id, device_key)
        try:
            answer = self._client.run(_READ, entry, secrets.token_hex(8), _LEASE_S)
        except CacheUnavailable:
            cache_requests.labels("error").inc()
            return None
        if isinstance(answer, bytes):
            self._leases.held = (entry, answer)
            cache_requests.labels("miss").inc()
            return None
        try:
            values = _values_of(answer)
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            self._client.distrust(type(error).__name__)
            cache_requests.labels("error").inc()
            return None
        cache_requests.labels("hit").inc()
        return values

    def fill(self, tenant_id: int, device_key: int, values: Iterable[LatestValue]) -> None:
        """Offer all values of the device, read from PostgreSQL by this thread after `read` gave None.

        Refused in silence where that cannot be proven; newer values that arrived meanwhile stay.
        """
        entry = _entry(tenant_id, device_key)
        lease, self._leases.held = getattr(self._leases, "held", None), None
        if lease is None or lease[0] != entry:
            return
        fields: list[bytes] = []
        for value in values:
            fields += (_field(value.metric), _packed(value))
        try:
            self._client.run(_FILL, entry, lease[1], self._ttl_s, *fields)
        except CacheUnavailable:
            cache_requests.labels("error").inc()

    def advance(self, updates: Iterable[tuple[int, int, LatestValue]]) -> None:
        """Bring committed values (tenant_id, device_key, value) to the entries of devices that someone reads.

        Call it after the commit and before the commit is answered or broadcast. One round trip per batch.
        """
        try:
            for arguments in _calls(updates):
                self._client.run(_ADVANCE, *arguments, carries_commit=True)
        except CacheUnavailable:
            cache_requests.labels("error").inc()

    def forget(self, tenant_id: int, device_key: int) -> None:
        """Drop a device's entry, after a committed change of its registry (name, units, metrics)."""
        try:
            self._client.run(_FORGET, _entry(tenant_id, device_key), carries_commit=True)
        except CacheUnavailable:
            cache_requests.labels("error").inc()


def _calls(updates: Iterable[tuple[int, int, LatestValue]]) -> Iterator[list[str | bytes | int]]:
    """Arguments of as few `_ADVANCE` calls as the limits allow, with each metric's newest value only."""
    newest: dict[tuple[int, int], dict[str, LatestValue]] = {}
    for tenant_id, device_key, value in updates:
        metrics = newest.setdefault((tenant_id, device_key), {})
        held = metrics.get(value.metric)
        if held is None or held.observed_at_us <= value.observed_at_us:
            metrics[value.metric] = value
    arguments: list[str | bytes | int] = []
    groups = 0
    for (tenant_id, device_key), metrics in newest.items():
        values = list(metrics.values())
        for start in range(0, len(values), _FIELDS_PER_GROUP):
            group = values[start : start + _FIELDS_PER_GROUP]
            arguments += (_entry(tenant_id, device_key), len(group))
            arguments += [_field(value.metric) for value in group]
            arguments += [_packed(value) for value in group]
            groups += 1
            if groups % _GROUPS_PER_CALL == 0:
                yield arguments
                arguments = []
    if arguments:
        yield arguments


def _entry(tenant_id: int, device_key: int) -> str:
    return f"latest:{tenant_id}:{device_key}"


def _field(metric: str) -> bytes:
    return b"=" + metric.encode()


def _packed(value: LatestValue) -> bytes:
    """A JSON array that starts with `observed_at`, where the scripts look for it."""
    times = (value.observed_at_us, value.received_at_us)
    return orjson.dumps(
        (*times, float(value.value), value.quality, value.metric, value.unit, value.device_id)
    )


def _values_of(answer: list[bytes]) -> list[LatestValue]:
    values = []
    for name, packed in zip(answer[::2], answer[1::2], strict=True):
        if name.startswith(b"="):
            observed_at_us, received_at_us, value, quality, metric, unit, device_id = orjson.loads(packed)
            if not isinstance(value, float) or not isinstance(observed_at_us, int):
                raise TypeError("not a cached value")
            times = (observed_at_us, received_at_us)
            values.append(LatestValue(device_id, metric, unit, value, quality, *times))
    values.sort(key=lambda latest: latest.metric)
    return values


def _run_id_of(answer: bytes) -> str:
    for line in answer.splitlines():
        if line.startswith(b"run_id:"):
            return line[7:].decode()
    raise redis.exceptions.ConnectionError("the server does not tell its run id")
