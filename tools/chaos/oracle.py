"""What must be true at the end: everything acknowledged is stored, once, as it was sent, and nothing else."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from storage.pool import Pool, PoolOptions
from tools.chaos.message import TIMED_METRIC, UNTIMED_METRIC, Stream, timed_value
from tools.chaos.publisher import Sent

Row = tuple[str, str, int, float]

_COUNT = "SELECT count(*) FROM telemetry"
_ROWS = """
SELECT d.device_id, m.name, (extract(epoch FROM t.observed_at) * 1000)::bigint, t.value
FROM telemetry t
JOIN metrics m ON m.tenant_id = t.tenant_id AND m.metric_id = t.metric_id
JOIN devices d ON d.tenant_id = m.tenant_id AND d.device_key = m.device_key
"""
_DEAD_LETTERS = "SELECT reason, sum(occurrences)::bigint FROM dead_letters GROUP BY reason"


class Store:
    """What PostgreSQL holds, read as the role that sees all tenants."""

    def __init__(self, url: str) -> None:
        options = PoolOptions(size=1, wait_s=5.0, connect_timeout_s=5, statement_timeout_s=120.0)
        self._pool = Pool(url, name="chaos", options=options)

    def count(self) -> int:
        """Return the number of stored readings."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_COUNT)
            row = cursor.fetchone()
            return int(row[0]) if row else 0

    def rows(self) -> list[Row]:
        """Return every stored reading as (device, metric, milliseconds since 1970, value)."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_ROWS)
            return cursor.fetchall()

    def dead_letters(self) -> dict[str, int]:
        """Return the number of dead letters by reason."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(_DEAD_LETTERS)
            return {str(reason): int(count) for reason, count in cursor.fetchall()}

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()


@dataclass(slots=True)
class Verdict:
    """The comparison of what was sent and what is stored.

    Attributes:
        sent: Messages sent at least once.
        acknowledged: Of these, messages that the broker has acknowledged.
        refused: Messages that the broker answered with a failure.
        sent_again: Messages sent more than once, because a connection broke before the answer.
        stored: Readings in the database.
        lost: Acknowledged, but not stored.
        duplicates: Readings without a time that are stored more often than they were sent.
        forged: Stored, but never sent like that: unknown, or with another value.
    """

    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    sent_again: int = 0
    stored: int = 0
    lost: int = 0
    duplicates: int = 0
    forged: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled or invented."""
        return not (self.lost or self.duplicates or self.forged)

    def as_dict(self) -> dict[str, int]:
        """Return it for JSON."""
        return asdict(self)


def judge(sent: Sequence[tuple[Stream, Sent]], rows: Iterable[Row]) -> Verdict:
    """Compare what publishers sent with what is stored.

    A message without a time that was sent again, because its first sending was not answered, may rightly be
    stored as often as it was sent: MQTT says "at least once" between a device and the broker.
    """
    verdict = Verdict()
    publisher_of = {device: place for place, (stream, _) in enumerate(sent) for device in stream.devices}
    timed: list[set[int]] = [set() for _ in sent]
    untimed: list[Counter[int]] = [Counter() for _ in sent]
    for device, metric, ts_ms, value in rows:
        verdict.stored += 1
        place = publisher_of.get(device)
        index = None if place is None else _index_of(*sent[place], (device, metric, ts_ms, value))
        if place is None or index is None:
            verdict.forged += 1
        elif metric == UNTIMED_METRIC:
            untimed[place][index] += 1
        else:
            timed[place].add(index)
    for place, (_, known) in enumerate(sent):
        acknowledged = known.acknowledged()
        verdict.sent += known.count
        verdict.acknowledged += len(acknowledged)
        verdict.refused += len(known.refused)
        verdict.sent_again += len(known.attempts)
        verdict.lost += len(acknowledged - timed[place] - untimed[place].keys())
        verdict.duplicates += sum(
            max(0, count - known.attempts.get(index, 1)) for index, count in untimed[place].items()
        )
    return verdict


def _index_of(stream: Stream, known: Sent, row: Row) -> int | None:
    """Return which message a row comes from, None when no message says that."""
    device, metric, ts_ms, value = row
    if metric not in (TIMED_METRIC, UNTIMED_METRIC):
        return None
    index = ts_ms - stream.base_ms if metric == TIMED_METRIC else int(value)
    if not 0 <= index < known.count or stream.device(index) != device:
        return None
    if stream.is_untimed(index) != (metric == UNTIMED_METRIC):
        return None
    expected = timed_value(index) if metric == TIMED_METRIC else float(index)
    return index if value == expected else None
