"""Keyset paging: the cursor is the last key of a page, opaque to the caller."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

import orjson

from api.bodies import MalformedQuery
from domain.errors import FieldError

DEFAULT_LIMIT = 100

Key = str | int
Row = TypeVar("Row")

_MAX_INTEGER = 2**63


def encode_cursor(kind: str, *key: Key) -> str:
    """The cursor that continues after the key; `kind` keeps cursors of other lists out."""
    return base64.urlsafe_b64encode(orjson.dumps([kind, *key])).decode().rstrip("=")


def decode_cursor(cursor: str, kind: str, *types: type[Key]) -> tuple[Key, ...]:
    """The key inside a cursor.

    Raises:
        MalformedQuery: It is not a cursor that `encode_cursor` made for this kind of list.
    """
    try:
        parts = orjson.loads(
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        )
    except (binascii.Error, ValueError):
        raise _bad_cursor() from None
    if not isinstance(parts, list) or len(parts) != len(types) + 1 or parts[0] != kind:
        raise _bad_cursor()
    key = tuple(parts[1:])
    if not all(type(part) is wanted and _is_sane(part) for part, wanted in zip(key, types, strict=True)):
        raise _bad_cursor()
    return key


def page(
    rows: Sequence[Row], limit: int, next_cursor: Callable[[Row], str]
) -> tuple[Sequence[Row], str | None]:
    """One page out of up to `limit + 1` rows, and the cursor of the next one where there is more."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], next_cursor(rows[limit - 1])


def _is_sane(part: Key) -> bool:
    return "\x00" not in part if isinstance(part, str) else -_MAX_INTEGER <= part < _MAX_INTEGER


def _bad_cursor() -> MalformedQuery:
    return MalformedQuery(errors=[FieldError("/cursor", "is not a cursor of this list")])
