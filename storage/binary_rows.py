"""Readings in the binary form of COPY, packed piece by piece."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from struct import Struct

# One row: the number of fields, then each field as its length and its bytes.
_ROW = Struct(">6sq4sd4sq4sq4si4si4sh")
_FIRST = b"\x00\x07\x00\x00\x00\x08"
_EIGHT = b"\x00\x00\x00\x08"
_FOUR = b"\x00\x00\x00\x04"
_TWO = b"\x00\x00\x00\x02"
_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"
# Large, because each piece gives up the interpreter lock once, and a busy interpreter returns it late.
_PIECE_ROWS = 8000

# PostgreSQL counts time from 2000-01-01.
POSTGRES_EPOCH_US = 946_684_800_000_000


@dataclass(slots=True)
class ReadingColumns:
    """Readings as parallel lists; times in microseconds since 1970 UTC."""

    observed_at_us: list[int]
    values: list[float]
    received_at_us: list[int]
    metric_ids: list[int]
    tenant_ids: list[int]
    qualities: list[int]

    def __len__(self) -> int:
        return len(self.metric_ids)


class BinaryRows(io.RawIOBase):
    """What `copy_expert` reads: each `read` packs the next rows while PostgreSQL stores those before.

    The rows are numbered from `first_seq` on.
    """

    def __init__(self, columns: ReadingColumns, first_seq: int) -> None:
        self._pieces = _pieces(columns, first_seq)

    def read(self, size: int = -1, /) -> bytes:
        """Return the next piece, whatever its size; empty at the end."""
        return next(self._pieces, b"")


def _pieces(columns: ReadingColumns, first_seq: int) -> Iterator[bytes]:
    count = len(columns)
    for start in range(0, max(1, count), _PIECE_ROWS):
        # Header and trailer travel with the rows: a small batch is one piece.
        is_last = start + _PIECE_ROWS >= count
        rows = _packed(columns, slice(start, start + _PIECE_ROWS), first_seq + start)
        yield b"".join((b"" if start else _HEADER, *rows, _TRAILER if is_last else b""))


def _packed(columns: ReadingColumns, piece: slice, first_seq: int) -> Iterator[bytes]:
    return map(
        _ROW.pack,
        repeat(_FIRST),
        [time - POSTGRES_EPOCH_US for time in columns.observed_at_us[piece]],
        repeat(_EIGHT),
        columns.values[piece],
        repeat(_EIGHT),
        [time - POSTGRES_EPOCH_US for time in columns.received_at_us[piece]],
        repeat(_EIGHT),
        range(first_seq, first_seq + _PIECE_ROWS),
        repeat(_FOUR),
        columns.metric_ids[piece],
        repeat(_FOUR),
        columns.tenant_ids[piece],
        repeat(_TWO),
        columns.qualities[piece],
    )
