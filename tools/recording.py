"""Reads recorded sensor data: a CSV file as rows of times and numbers; what is left out is counted."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

_DELIMITERS = ";\t,|"
_TIME_COLUMNS = ("datetime", "timestamp", "time", "date", "ts", "observed_at")
# Numbers above this are milliseconds since 1970, below it seconds.
_MILLISECONDS_FROM = 100_000_000_000


class RecordingRefused(Exception):
    """The file cannot be replayed."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A column of the file and the metric it becomes.

    Attributes:
        column: Name of the column.
        metric: Name of the metric.
        unit: Its unit; empty: none is sent.
    """

    column: str
    metric: str
    unit: str = ""


@dataclass(slots=True)
class Skipped:
    """What could not be published, and how much of it.

    Attributes:
        empty_cells: Cells without content.
        bad_cells: Cells that are no finite number.
        bad_times: Rows whose time cannot be read.
        repeated_times: Rows whose time an earlier row had; the first one stays.
        empty_rows: Rows in which no cell is a number.
    """

    empty_cells: int = 0
    bad_cells: int = 0
    bad_times: int = 0
    repeated_times: int = 0
    empty_rows: int = 0

    def described(self) -> str:
        """Return the counts that are not zero, as words; empty where nothing was skipped."""
        counts = {
            "empty cells": self.empty_cells,
            "cells that are no number": self.bad_cells,
            "rows without a readable time": self.bad_times,
            "rows with the time of an earlier row": self.repeated_times,
            "rows without any number": self.empty_rows,
        }
        return ", ".join(f"{count} {words}" for words, count in counts.items() if count)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its time in milliseconds since 1970, and its numbers by metric."""

    ts_ms: int
    values: Mapping[str, float]


@dataclass(slots=True)
class Recording:
    """A CSV file with its layout.

    Attributes:
        path: The file.
        delimiter: What separates its columns.
        time_column: The column that holds the time; without an offset it is UTC.
        channels: The columns to replay.
        skipped: What `rows` has left out so far.
    """

    path: Path
    delimiter: str
    time_column: str
    channels: tuple[Channel, ...]
    skipped: Skipped = field(default_factory=Skipped)

    def rows(self) -> Iterator[Row]:
        """Yield the rows in the order of the file; each call counts what it leaves out anew.

        Raises:
            RecordingRefused: The file is not UTF-8 or no CSV.
        """
        self.skipped = Skipped()
        seen: set[int] = set()
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as stream:
                for cells in csv.DictReader(stream, delimiter=self.delimiter):
                    row = self._row(cells, seen)
                    if row is not None:
                        yield row
        except (UnicodeDecodeError, csv.Error) as error:
            raise RecordingRefused(f"{self.path}: {error}") from error

    def _row(self, cells: Mapping[str, str | None], seen: set[int]) -> Row | None:
        try:
            ts_ms = time_ms(cells.get(self.time_column) or "")
        except ValueError:
            self.skipped.bad_times += 1
            return None
        if ts_ms in seen:
            self.skipped.repeated_times += 1
            return None
        values = {}
        for channel in self.channels:
            text = (cells.get(channel.column) or "").strip()
            number = _number(text)
            if number is not None:
                values[channel.metric] = number
            elif text:
                self.skipped.bad_cells += 1
            else:
                self.skipped.empty_cells += 1
        if not values:
            self.skipped.empty_rows += 1
            return None
        seen.add(ts_ms)
        return Row(ts_ms, values)


def time_ms(text: str) -> int:
    """Return a time in milliseconds since 1970; text without an offset is UTC.

    Raises:
        ValueError: It is neither a date and time nor a number of seconds or milliseconds.
    """
    text = text.strip()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        number = float(text)
        if not math.isfinite(number):
            raise
        return round(number) if abs(number) >= _MILLISECONDS_FROM else round(number * 1000)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def open_recording(
    path: Path,
    *,
    delimiter: str = "auto",
    time_column: str | None = None,
    channels: Sequence[Channel] = (),
    left_out: Sequence[str] = (),
) -> Recording:
    """Look at a file's first line and return it with its layout.

    Args:
        path: The file.
        delimiter: What separates columns; `auto` chooses what the first line has most of.
        time_column: The column of the time; None finds one by its name.
        channels: The columns to replay; none given: every other column, under its name in snake_case.
        left_out: Columns that are then not replayed.

    Raises:
        RecordingRefused: The file cannot be read, or lacks a column that is asked for.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordingRefused(f"{path} cannot be read: {error}") from error
    if delimiter == "auto":
        delimiter = max(_DELIMITERS, key=first.count)
    header = next(csv.reader([first], delimiter=delimiter), [])
    if time_column is None:
        time_column = next((name for name in header if name.strip().lower() in _TIME_COLUMNS), None)
    if time_column is None or time_column not in header:
        raise RecordingRefused(f"{path} has no column for the time; name it with --time-column: {header}")
    missing = [channel.column for channel in channels if channel.column not in header]
    if missing:
        raise RecordingRefused(f"{path} has no column {', '.join(missing)}; it has {', '.join(header)}")
    if not channels:
        channels = [
            Channel(name, metric_name(name)) for name in header if name not in (time_column, *left_out)
        ]
    names = [channel.metric for channel in channels]
    if not names or len(set(names)) < len(names):
        raise RecordingRefused(f"{path}: the columns need distinct metric names, got {', '.join(names)}")
    return Recording(path, delimiter, time_column, tuple(channels))


def metric_name(column: str) -> str:
    """Return a column's name in snake_case: `Volume Flow RateRMS` is `volume_flow_rate_rms`."""
    letters: list[str] = []
    for place, letter in enumerate(column.strip()):
        before = column[place - 1] if place else ""
        if letter.isupper() and (before.islower() or before.isdigit()):
            letters.append("_")
        letters.append(letter.lower() if letter.isascii() and letter.isalnum() else "_")
    return "_".join(part for part in "".join(letters).split("_") if part)[:64] or "value"


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
