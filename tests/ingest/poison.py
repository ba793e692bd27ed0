"""Forty classes of poison: what a device may send that is no reading, and the reason that it gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Poison:
    """One class of poison.

    Attributes:
        name: What is wrong.
        payload: The bytes, given the present time in milliseconds.
        reason: The reason code of its dead letter.
        metric: The metric of its dead letter, for a reading among others.
        kind: The end of its topic.
        tenant: Whom the topic names; None is the plant of the test.
        device: The device in the topic; None is a device of its own.
        is_retained: Whether the broker keeps it and delivers it as retained.
        is_strict: Whether it is poison only where devices have to be registered.
    """

    name: str
    payload: Callable[[int], bytes]
    reason: str
    metric: str | None = None
    kind: str = "telemetry"
    tenant: str | None = None
    device: str | None = None
    is_retained: bool = False
    is_strict: bool = False


def _bytes(payload: bytes) -> Callable[[int], bytes]:
    return lambda now_ms: payload


def _values(**values: object) -> Callable[[int], bytes]:
    return lambda now_ms: orjson.dumps({"ts": now_ms, "values": values})


def _named(name: str) -> Callable[[int], bytes]:
    return lambda now_ms: orjson.dumps({"ts": now_ms, "values": {name: 1}})


def _with(**fields: object) -> Callable[[int], bytes]:
    return lambda now_ms: orjson.dumps({"ts": now_ms, "values": {"p": 1}} | fields)


def _at(ts: Callable[[int], object]) -> Callable[[int], bytes]:
    return lambda now_ms: orjson.dumps({"ts": ts(now_ms), "values": {"p": 1}})


# The registered metrics of the test's device "registered": gauge `p` in bar, gauge `t` without a unit.
REGISTERED = "registered"
RETIRED = "retired"

POISON = [
    # Bytes that are no JSON.
    Poison("bad UTF-8", _bytes(b'{"p": "\xff\xfe"}'), "invalid_utf8"),
    Poison("empty", _bytes(b""), "empty_payload"),
    Poison("white space", _bytes(b" \r\n\t "), "empty_payload"),
    Poison("truncated JSON", _bytes(b'{"ts": 1700000000000, "values": {"p": 1'), "invalid_json"),
    Poison("trailing comma", _bytes(b'{"p": 1,}'), "invalid_json"),
    Poison("comment", _bytes(b'{"p": 1} // bar'), "invalid_json"),
    Poison("byte order mark", _bytes(b'\xef\xbb\xbf{"p": 1}'), "invalid_json"),
    Poison("raw NUL", _bytes(b'{"p": "\x00"}'), "invalid_json"),
    Poison("lone surrogate", _bytes(b'{"\\ud800": 1}'), "invalid_json"),
    Poison("bare text", _bytes(b"temperature=22.5;pressure=4.1"), "invalid_json"),
    Poison("two documents", _bytes(b'{"p": 1}\n{"p": 2}'), "invalid_json"),
    # JSON of another shape.
    Poison("empty array", _bytes(b"[]"), "no_readings"),
    Poison("empty object", _bytes(b"{}"), "no_readings"),
    Poison("a time without values", _bytes(b'{"ts": 1700000000000}'), "no_readings"),
    Poison("scalar", _bytes(b"22.5"), "wrong_shape"),
    Poison("array of numbers", _bytes(b"[22.5, 4.1]"), "wrong_shape"),
    Poison("depth 100,000", _bytes(b"[" * 100_000), "too_deep"),
    Poison("deep objects", _bytes(b'{"p":' * 20_000 + b"1" + b"}" * 20_000), "too_deep"),
    Poison("duplicate keys", _bytes(b'{"p": 1, "p" : 2}'), "duplicate_key"),
    Poison("above the size limit", _bytes(b'{"p": "' + b"x" * 240_000 + b'"}'), "too_large"),
    Poison("too many readings", _values(**{f"m{i}": i for i in range(1001)}), "too_many_readings"),
    # Values that are no numbers.
    Poison("NaN", _bytes(b'{"p": NaN}'), "not_finite"),
    Poison("Infinity", _bytes(b'{"p": -Infinity}'), "not_finite"),
    Poison("1e999", _bytes(b'{"p": 1e999}'), "not_finite"),
    Poison("10^5000", _bytes(b'{"p": 1' + b"0" * 5000 + b"}"), "not_finite"),
    Poison("string value", _values(p="22.5"), "wrong_type", "p"),
    Poison("object value", _values(p={"v": 1}), "wrong_type", "p"),
    Poison("array value", _values(p=[1]), "wrong_type", "p"),
    Poison("true for a gauge", _values(t=True), "wrong_type", "t", device=REGISTERED),
    Poison("null value", _values(p=None), "null_value", "p"),
    # Names.
    Poison("NUL in a name", _named("a\0b"), "invalid_metric_name", "a\ufffdb"),
    Poison("long name", _named("x" * 65), "invalid_metric_name", "x" * 65),
    Poison("control character in a name", _named("a\x1bb"), "invalid_metric_name", "a\x1bb"),
    Poison("space around a name", _named(" p "), "invalid_metric_name", " p "),
    Poison("too many metrics", _values(**{f"n{i}": i for i in range(51)}), "too_many_metrics", "n50"),
    # Units and quality.
    Poison("unit mismatch", _with(unit="°C"), "unit_mismatch", "p", device=REGISTERED),
    Poison("unknown unit", _with(unit="smoots"), "unit_mismatch", "p", device=REGISTERED),
    Poison("unit of a wrong type", _with(unit=5), "invalid_unit", "p"),
    Poison("NUL in a unit", _with(unit="\0"), "invalid_unit", "p"),
    Poison(
        "overflow in the metric's unit",
        lambda now_ms: orjson.dumps({"ts": now_ms, "values": {"p": 1.7e308}, "unit": "MPa"}),
        "not_finite",
        "p",
        device=REGISTERED,
    ),
    Poison("quality word", _with(quality="perfect"), "invalid_quality", "p"),
    Poison("quality of a wrong type", _with(quality=192), "invalid_quality", "p"),
    # Times.
    Poison("ts of a wrong type", _with(ts=[1]), "invalid_timestamp"),
    Poison("ts null", _with(ts=None), "invalid_timestamp"),
    Poison("ts NaN", _bytes(b'{"ts": NaN, "values": {"p": 1}}'), "not_finite"),
    Poison("ts huge", _with(ts=1e306), "invalid_timestamp"),
    Poison("ts negative", _with(ts=-1), "too_old", "p"),
    Poison("ts in seconds", _at(lambda now_ms: now_ms // 1000), "too_old", "p"),
    Poison("ts in the future", _at(lambda now_ms: now_ms + DAY_MS), "too_far_in_future", "p"),
    Poison("ts too old", _at(lambda now_ms: now_ms - 30 * DAY_MS), "too_old", "p"),
    Poison("ts without an offset", _with(ts="2026-01-01T12:00:00"), "invalid_timestamp"),
    Poison("ts is no date", _with(ts="2026-02-30T12:00:00Z"), "invalid_timestamp"),
    Poison(
        "conflict",
        lambda now_ms: orjson.dumps([{"ts": now_ms, "values": {"p": 1}}, {"ts": now_ms, "values": {"p": 2}}]),
        "conflict",
        "p",
    ),
    # Topics and devices.
    Poison("retained without a time", _bytes(b'{"p": 1}'), "retained_without_time", is_retained=True),
    Poison("retained delete", _bytes(b""), "empty_payload", is_retained=False),
    Poison("unknown tenant", _values(p=1), "unknown_tenant", tenant="plant-z"),
    Poison("invalid device id", _values(p=1), "invalid_device_id", device="P 101!"),
    Poison("device id of another script", _values(p=1), "invalid_device_id", device="насос"),
    Poison("retired device", _values(p=1), "device_retired", device=RETIRED),
    Poison("topic of nobody", _values(p=1), "unknown_topic", kind="odd"),
    Poison("bad status", _bytes(b'{"status": "asleep"}'), "invalid_status", kind="status"),
    Poison("status that is no object", _bytes(b'"online"'), "wrong_shape", kind="status"),
    Poison("NUL in an alert", _bytes(b'{"text": "\\u0000"}'), "nul_character", kind="alerts"),
    Poison("unknown device", _values(p=1), "unknown_device", is_strict=True),
    Poison("unknown metric", _values(x=1), "unknown_metric", "x", device=REGISTERED, is_strict=True),
]
