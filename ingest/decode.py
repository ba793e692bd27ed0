"""Decode payloads: ThingsBoard-shaped JSON in its three forms, strictly.

Pure functions: bytes in, records out. What cannot be a record raises `Undecodable` with a reason code; what
can, but holds values that are no readings, is judged value by value in `ingest.batch`.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import orjson

from ingest.refusal import Refused

# Times outside these bounds are not times: PostgreSQL and datetime could not even say them back.
_MIN_US = -62_135_596_800_000_000
_MAX_US = 253_402_300_799_999_999
# A number of seconds since 1970 for any day between 2001 and 2100, taken as milliseconds, is in early 1970.
_SECONDS_SUSPECTED = range(1_000_000_000, 4_102_444_800)

# A colon after white space: a key that is not followed by `":`.
_GAPS = (b" :", b"\t:", b"\n:", b"\r:")

# The escape for U+0000, which jsonb cannot hold; not an escaped backslash before "u0000".
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

_RESERVED = ("ts", "quality", "unit")


class Undecodable(Refused):
    """A payload, or a part of one, that cannot be read."""


class Record(NamedTuple):
    """Values that share one time: microseconds since 1970 UTC, or None where the payload names none."""

    observed_at_us: int | None
    values: dict[str, Any]
    quality: Any
    unit: Any


def decode_telemetry(payload: bytes) -> list[Record]:
    """Read `{"metric": value}`, `{"ts": ..., "values": {...}}`, or an array of these.

    Raises:
        Undecodable: empty, not UTF-8, not JSON, wrong shape, duplicate keys, or a time that is none.
    """
    document = _parse(payload)
    if document.__class__ is dict:
        document = [document]
    elif document.__class__ is not list:
        raise Undecodable(
            "wrong_shape", f"a telemetry payload is an object or an array, not {_kind(document)}"
        )
    elif not document:
        raise Undecodable("no_readings", "the array is empty")
    _check_keys(payload, _telemetry_key_count(document))
    return [_record(item) for item in document]


def decode_object(payload: bytes) -> dict[str, Any]:
    """Read a JSON object, as status, alert and command response messages are.

    Raises:
        Undecodable: as `decode_telemetry`.
    """
    document = _parse(payload)
    if document.__class__ is not dict:
        raise Undecodable("wrong_shape", f"the payload is an object, not {_kind(document)}")
    _check_keys(payload, len(document))
    return dict(document)


def decode_storable_object(payload: bytes) -> dict[str, Any]:
    """The same for what is kept as jsonb.

    Raises:
        Undecodable: as `decode_object`, and for the character U+0000.
    """
    document = decode_object(payload)
    if _NUL.search(payload):
        raise Undecodable("nul_character", "the payload holds the character U+0000")
    return document


def timestamp_us(ts: Any) -> int:
    """Read `ts`: milliseconds since 1970 as a number, or RFC 3339 text with an offset.

    Returns microseconds since 1970 UTC.

    Raises:
        Undecodable: it is neither.
    """
    observed_at_us: int
    if ts.__class__ is int:
        observed_at_us = ts * 1000
    elif ts.__class__ is float and math.isfinite(ts * 1000):
        observed_at_us = round(ts * 1000)
    elif ts.__class__ is str:
        parsed = _parse_rfc3339(ts) if len(ts) <= 64 else None
        if parsed is None:
            raise Undecodable(
                "invalid_timestamp", f"ts {ts[:64]!r} is not RFC 3339 with an offset, such as ...Z"
            )
        observed_at_us = parsed
    elif ts.__class__ is float:
        raise Undecodable("invalid_timestamp", f"ts {ts!r} is no time")
    else:
        raise Undecodable(
            "invalid_timestamp", f"ts is a number of milliseconds or RFC 3339 text, not {_kind(ts)}"
        )
    if not _MIN_US <= observed_at_us <= _MAX_US:
        raise Undecodable("invalid_timestamp", "ts is outside the years 1 to 9999")
    return observed_at_us


def looks_like_seconds(observed_at_us: int) -> bool:
    """Whether a refused old time was probably sent in seconds instead of milliseconds."""
    return observed_at_us // 1000 in _SECONDS_SUSPECTED


def _record(item: Any) -> Record:
    if item.__class__ is not dict:
        raise Undecodable("wrong_shape", f"a record is an object, not {_kind(item)}")
    values = item.get("values")
    if values.__class__ is not dict:
        if "values" in item and "ts" in item:
            raise Undecodable("wrong_shape", f"values is an object, not {_kind(values)}")
        values = {name: value for name, value in item.items() if name not in _RESERVED}
    if not values:
        raise Undecodable("no_readings", "the record holds no values")
    ts = item.get("ts")
    if ts is None and "ts" in item:
        raise Undecodable("invalid_timestamp", "ts is null; leave it out to use the time of arrival")
    return Record(None if ts is None else timestamp_us(ts), values, item.get("quality"), item.get("unit"))


@lru_cache(maxsize=4096)
def _parse_rfc3339(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text.upper())  # RFC 3339 allows a small t and z
        if moment.tzinfo is None or len(text) < 17:
            return None
        since_1970 = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return (since_1970.days * 86_400 + since_1970.seconds) * 1_000_000 + since_1970.microseconds


def _parse(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        _explain(payload, error)


def _check_keys(payload: bytes, expected: int) -> None:
    """Refuse duplicate keys, which the parser passes over.

    In JSON as it is usually written every key is followed by `":`. Where that count is not what the decoded
    shape has, or white space before a colon could hide a key from it, the text is looked at closely.
    """
    if payload.count(b'":') != expected or any(gap in payload for gap in _GAPS):
        _refuse_duplicate_keys(payload)


def _telemetry_key_count(document: list[Any]) -> int:
    """Keys of records and of the objects directly inside them; anything deeper is looked at closely."""
    count = 0
    for item in document:
        if item.__class__ is dict:
            count += len(item)
            for name in ("values", "quality", "unit"):
                inner = item.get(name)
                if inner.__class__ is dict:
                    count += len(inner)
    return count


def _refuse_duplicate_keys(payload: bytes) -> None:
    def check(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) != len(pairs):
            name = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise Undecodable("duplicate_key", f"the key {name[:64]!r} stands twice in one object")

    try:
        json.loads(payload, object_pairs_hook=check, parse_int=float)
    except (RecursionError, ValueError) as error:
        raise Undecodable("too_deep", "the JSON is nested too deeply") from error


def _explain(payload: bytes, error: orjson.JSONDecodeError) -> NoReturn:
    if not payload.strip():
        raise Undecodable("empty_payload", "the payload is empty") from None
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise Undecodable("invalid_utf8", f"the payload is not UTF-8 at byte {problem.start}") from None
    if "depth limit" in str(error):
        raise Undecodable("too_deep", "the JSON is nested more than 1,024 levels deep") from None
    if "infinity" in str(error):
        raise Undecodable("not_finite", "a number is too large for double precision") from None
    if _has_python_constant(text):
        raise Undecodable("not_finite", "NaN and Infinity are not JSON and not values") from None
    raise Undecodable("invalid_json", str(error)[:200]) from None


def _has_python_constant(text: str) -> bool:
    """Whether the text would be JSON if NaN and Infinity were."""
    found: list[str] = []
    try:
        json.loads(text, parse_constant=found.append, parse_int=float)
    except (ValueError, RecursionError):
        return False
    return bool(found)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return names.get(value.__class__, "a number")
