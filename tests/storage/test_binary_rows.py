"""COPY's binary form, packed piece by piece."""

from __future__ import annotations

import struct

import pytest

import storage.binary_rows
from storage.binary_rows import BinaryRows, ReadingColumns

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
ROW_BYTES = 2 + 4 * 8 + 4 * 4 + 3 * 4 + 4 + 4 + 2


def columns(count: int) -> ReadingColumns:
    return ReadingColumns(
        observed_at_us=[946_684_800_000_000 + place for place in range(count)],
        values=[place + 0.5 for place in range(count)],
        received_at_us=[946_684_800_000_000] * count,
        metric_ids=[7] * count,
        tenant_ids=[1] * count,
        qualities=[192] * count,
    )


def pieces(count: int) -> list[bytes]:
    rows = BinaryRows(columns(count), first_seq=1000)
    return list(iter(lambda: rows.read(8192), b""))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 9])
def test_pieces_join_to_header_every_row_and_trailer(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.binary_rows, "_PIECE_ROWS", 2)
    whole = b"".join(pieces(count))
    assert whole.startswith(HEADER)
    assert whole.endswith(b"\xff\xff")
    body = whole[len(HEADER) : -2]
    assert len(body) == count * ROW_BYTES
    for place in range(count):
        row = body[place * ROW_BYTES : (place + 1) * ROW_BYTES]
        fields, observed_at, value, received_at, seq, metric_id, tenant_id, quality = struct.unpack(
            ">h4xq4xd4xq4xq4xi4xi4xh", row
        )
        assert (fields, observed_at, value, received_at) == (7, place, place + 0.5, 0)
        assert (seq, metric_id, tenant_id, quality) == (1000 + place, 7, 1, 192)


def test_a_small_batch_is_one_piece() -> None:
    assert len(pieces(200)) == 1
