"""What a question is about: a metric, a range, a quality; and how its readings are cut into slices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from domain.errors import NotFound, RuleBroken
from domain.moments import Moments
from domain.reading import Quality
from storage import series
from storage.pool import AppDatabase, Cursor, DataRejected
from storage.series import Edges, Scope, Series, Slice

BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)
END: Final = datetime(9999, 12, 31, tzinfo=UTC)
# As many slices keep sums exact and leave little to combine; up to as many readings stand alone.
SLICES: Final = 1000
_ALONE_S: Final = 1e-6
_OUT_OF_RANGE = "22003"


class SeriesMissing(NotFound):
    """There is no such device or metric."""


class FiguresTooLarge(RuleBroken):
    """The values are too large to compute with."""


@dataclass(frozen=True, slots=True)
class Question:
    """A range `[start, stop)` and the quality from which on readings count; without bounds, all of them."""

    start: datetime | None = None
    stop: datetime | None = None
    min_quality: Quality = Quality.GOOD

    def scope(self, metric_id: int) -> Scope:
        """The readings of a metric that it is about."""
        return Scope(metric_id, self.start or BEGINNING, self.stop or END, int(self.min_quality))


@dataclass(frozen=True, slots=True)
class Cut:
    """The readings of a scope as slices; x in seconds since `edges.first_at`, y above `edges.first_value`."""

    scope: Scope
    edges: Edges
    slices: list[Slice]

    @property
    def moments(self) -> list[Moments]:
        """The moments alone, oldest first."""
        return [part.moments for part in self.slices]


def find_series(database: AppDatabase, tenant_id: int, *, device_id: str, metric: str) -> Series:
    """The metric of this name; devices that were retired keep theirs.

    Raises:
        SeriesMissing: The tenant has no such device, or the device no such metric.
    """
    found = series.find_series(database, tenant_id, device_id=device_id, metric=metric)
    if found is None:
        raise SeriesMissing
    return found


def cut(cursor: Cursor, scope: Scope, *, slices: int = SLICES) -> Cut | None:
    """Read a scope into at most that many slices, one a reading where they are few; None where empty."""
    ends = series.edges(cursor, scope, enough=slices + 1)
    if ends is None:
        return None
    # Nearer bounds spare the planner all partitions outside of them.
    near = replace(scope, start=ends.first_at, stop=ends.last_at + timedelta(microseconds=1))
    span_s = (ends.last_at - ends.first_at).total_seconds()
    # A little wider, so that the last reading falls into the last slice and not behind it.
    width_s = _ALONE_S if ends.counted <= slices else span_s * (1 + 1e-9) / slices
    parts = series.moments_by_slice(
        cursor, near, origin=ends.first_at, base=ends.first_value, width_s=width_s
    )
    return Cut(near, ends, parts)


@contextmanager
def snapshot(database: AppDatabase, tenant_id: int) -> Iterator[Cursor]:
    """A transaction in which all figures of an answer are about the same readings.

    Raises:
        FiguresTooLarge: A sum or a square left the range of double precision.
    """
    try:
        with database.snapshot(tenant_id) as cursor:
            yield cursor
    except OverflowError:
        raise FiguresTooLarge("a sum or a square is beyond double precision") from None
    except DataRejected as error:
        if error.sqlstate != _OUT_OF_RANGE:
            raise
        raise FiguresTooLarge("a sum or a square is beyond double precision") from None
