"""Payloads into records: the three forms, the forms of time, and a reason for everything else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.decode import (
    Record,
    Undecodable,
    decode_object,
    decode_telemetry,
    looks_like_seconds,
    timestamp_us,
)

NOON_MS = 1_767_268_800_000  # 2026-01-01T12:00:00Z
NOON_US = NOON_MS * 1000


def _reason(payload: bytes) -> str:
    with pytest.raises(Undecodable) as refused:
        decode_telemetry(payload)
    assert refused.value.detail
    return refused.value.reason


def _result(decode: Callable[[Any], Any], given_input: Any) -> Any:
    """What was decoded, or the reason why nothing was."""
    try:
        return decode(given_input)
    except Undecodable as refused:
        return refused.reason


# The three forms -----------------------------------------------------------------------------------


def test_a_plain_object_holds_values_without_a_time() -> None:
    assert decode_telemetry(b'{"temperature": 22.5, "running": true}') == [
        Record(None, {"temperature": 22.5, "running": True}, None, None)
    ]


def test_a_record_names_its_time_quality_and_unit() -> None:
    payload = b'{"ts": %d, "values": {"p": 4.1}, "quality": "bad", "unit": {"p": "bar"}}' % NOON_MS
    assert decode_telemetry(payload) == [Record(NOON_US, {"p": 4.1}, "bad", {"p": "bar"})]


def test_a_flat_record_may_name_its_time_too() -> None:
    assert decode_telemetry(b'{"ts": %d, "p": 1, "unit": "bar"}' % NOON_MS) == [
        Record(NOON_US, {"p": 1}, None, "bar")
    ]


def test_an_array_holds_records_of_either_form() -> None:
    payload = b'[{"p": 1}, {"ts": %d, "values": {"p": 2}}]' % NOON_MS
    assert decode_telemetry(payload) == [
        Record(None, {"p": 1}, None, None),
        Record(NOON_US, {"p": 2}, None, None),
    ]


def test_a_metric_may_be_called_values() -> None:
    assert decode_telemetry(b'{"values": 5}') == [Record(None, {"values": 5}, None, None)]


# Times ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ts", "expected_us"),
    [
        (NOON_MS, NOON_US),
        (float(NOON_MS), NOON_US),
        (NOON_MS + 0.125, NOON_US + 125),
        (0, 0),
        (-1, -1000),
        ("2026-01-01T12:00:00Z", NOON_US),
        ("2026-01-01T12:00:00.25Z", NOON_US + 250_000),
        ("2026-01-01T12:00:00.000001+00:00", NOON_US + 1),
        ("2026-01-01T13:30:00+01:30", NOON_US),
        ("2026-01-01t12:00:00z", NOON_US),
        ("2026-01-01 12:00:00Z", NOON_US),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
    ],
)
def test_a_time_is_milliseconds_or_rfc_3339(ts: Any, expected_us: int) -> None:
    assert timestamp_us(ts) == expected_us


@pytest.mark.parametrize(
    "ts",
    [
        "2026-01-01T12:00:00",  # no offset: whose noon?
        "2026-01-01",
        "12:00:00Z",
        "yesterday",
        "",
        "2026-13-01T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-01T12:00:00Z" + " " * 64,
        "0001-01-01T00:00:00+23:59",
        True,
        None,
        [NOON_MS],
        {"ms": NOON_MS},
        math.nan,
        math.inf,
        1e300,
        -1e306,
        1e306,
        2**63,
        -(2**63),
        253_402_300_800_000,
    ],
)
def test_what_is_no_time_is_refused(ts: Any) -> None:
    with pytest.raises(Undecodable) as refused:
        timestamp_us(ts)
    assert refused.value.reason == "invalid_timestamp"


@given(ts=st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none(), st.datetimes().map(str)))
def test_any_time_is_read_or_refused(ts: Any) -> None:
    observed_at_us = _result(timestamp_us, ts)
    assert (
        observed_at_us == "invalid_timestamp"
        or -62_135_596_800_000_000 <= observed_at_us <= 253_402_300_799_999_999
    )


@given(observed_at_us=st.integers(NOON_US - 10**15, NOON_US + 10**15))
def test_microseconds_survive_as_a_float_of_milliseconds(observed_at_us: int) -> None:
    assert timestamp_us(observed_at_us / 1000) == observed_at_us


def test_seconds_taken_for_milliseconds_are_suspected() -> None:
    assert looks_like_seconds(timestamp_us(NOON_MS // 1000))
    assert not looks_like_seconds(NOON_US)
    assert not looks_like_seconds(0)


# Refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty_payload"),
        (b" \n\t", "empty_payload"),
        (b'{"p": "\xff"}', "invalid_utf8"),
        (b"\xc0\xaf", "invalid_utf8"),
        (b'{"p": 1', "invalid_json"),
        (b'{"p": 1,}', "invalid_json"),
        (b'{"p": 1} {"p": 2}', "invalid_json"),
        (b'{"p": 1}\x00', "invalid_json"),
        (b'{"p": "\x00"}', "invalid_json"),
        (b'{"p": 1} // note', "invalid_json"),
        (b"{'p': 1}", "invalid_json"),
        (b"{p: 1}", "invalid_json"),
        (b'{"p": 01}', "invalid_json"),
        (b'{"p": +1}', "invalid_json"),
        (b'\xef\xbb\xbf{"p": 1}', "invalid_json"),
        (b'{"p": "\\ud800"}', "invalid_json"),
        (b"temperature=22.5", "invalid_json"),
        (b'{"p": NaN}', "not_finite"),
        (b'{"p": -Infinity}', "not_finite"),
        (b'{"p": 1e999}', "not_finite"),
        (b'{"p": 1%b}' % (b"0" * 5000), "not_finite"),
        (b"[" * 100_000, "too_deep"),
        (b'{"p":' * 100_000, "too_deep"),
        (b'{"p": %b%b, "p" : 1}' % (b"[" * 1000, b"]" * 1000), "too_deep"),
        (b"22.5", "wrong_shape"),
        (b"null", "wrong_shape"),
        (b'"text"', "wrong_shape"),
        (b"true", "wrong_shape"),
        (b"[1, 2]", "wrong_shape"),
        (b'[[{"p": 1}]]', "wrong_shape"),
        (b'{"ts": 1, "values": 5}', "wrong_shape"),
        (b'{"ts": 1, "values": null}', "wrong_shape"),
        (b"[]", "no_readings"),
        (b"{}", "no_readings"),
        (b'{"ts": 1}', "no_readings"),
        (b'{"ts": 1, "values": {}}', "no_readings"),
        (b'[{"p": 1}, {}]', "no_readings"),
        (b'{"ts": null, "p": 1}', "invalid_timestamp"),
        (b'{"ts": true, "p": 1}', "invalid_timestamp"),
        (b'{"ts": 1e306, "p": 1}', "invalid_timestamp"),
        (b'{"ts": 18446744073709551615, "p": 1}', "invalid_timestamp"),
        (b'{"ts": "2026-01-01T12:00:00", "p": 1}', "invalid_timestamp"),
    ],
)
def test_the_reason_says_what_is_wrong(payload: bytes, reason: str) -> None:
    assert _reason(payload) == reason


@pytest.mark.parametrize(
    "payload",
    [
        b'{"p": 1, "p": 2}',
        b'{"p":1,"p" :2}',
        b'{"p" :1,"p" :2}',
        b'{"p":1,"p"\n:2}',
        b'{"p":1,"p"\t:2}',
        b'{"p":1,"p"\r\n :2}',
        b'{"p":1,"\\u0070":2}',
        b'{"a":"\\":","p" :1,"p":2}',
        b'{"a":"x\\":y","p" :1,"p" :2}',
        b'[{"p":1},{"p":2,"p":3}]',
        b'{"ts":1,"ts" :2,"values":{"p":1}}',
        b'{"ts":1,"values":{"p":1,"p" :2}}',
        b'{"ts":1,"values":{"p":1},"values" :{"p":2}}',
        b'{"p":1,"unit":{"p":"bar","p" :"kPa"}}',
        b'{"p":{"q":{"r":1,"r":2}}}',
    ],
)
def test_a_key_that_stands_twice_is_found(payload: bytes) -> None:
    assert _reason(payload) == "duplicate_key"


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a":"\\":","p":1}',
        b'{"a" : "x\\" : y", "p" : 1}',
        b'[{"p" :1},{"p" :2}]',
        b'{"ts" :1,"values" :{"ts":1,"values":2}}',
        b'{"p":{"p":{"p":1}}}',
    ],
)
def test_odd_spelling_is_no_duplicate(payload: bytes) -> None:
    decode_telemetry(payload)


# Properties ----------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in ("ts", "values", "quality", "unit")
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
SPACE = st.sampled_from(["", " ", "\n", "\t", "\r\n  "])


@given(payload=st.binary())
@example(b'{"ts":1e306,"p":1}')
@example(b'{"ts":"\\ud83d\\ude00","p":1}')
def test_arbitrary_bytes_are_decoded_or_refused(payload: bytes) -> None:
    assert _result(decode_telemetry, payload)
    assert _result(decode_object, payload) is not None


@given(document=JSON, cut=st.integers(0, 40))
def test_arbitrary_json_whole_or_cut_is_decoded_or_refused(document: Any, cut: int) -> None:
    payload = json.dumps(document).encode()
    assert _result(decode_telemetry, payload[: len(payload) - cut])


@given(
    records=st.lists(
        st.tuples(
            st.none() | st.integers(0, 4 * 10**12),
            st.dictionaries(NAMES, NUMBERS, min_size=1, max_size=5),
            st.none() | st.sampled_from(["good", "bad"]),
            st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_was_written_is_read(
    records: list[tuple[int | None, dict[str, float], str | None, Any]],
) -> None:
    document = []
    for ts, values, quality, unit in records:
        given_parts = {"ts": ts, "quality": quality, "unit": unit}
        parts = {name: part for name, part in given_parts.items() if part is not None}
        document.append({**parts, "values": values} if ts is not None else {**values, **parts})
    expected = [Record(None if ts is None else ts * 1000, *rest) for ts, *rest in records]
    assert decode_telemetry(orjson.dumps(document)) == expected
    assert decode_telemetry(json.dumps(document, indent=1).encode()) == expected


@given(
    name=NAMES, other=NAMES, spaces=st.tuples(SPACE, SPACE, SPACE, SPACE), text=NAMES, is_nested=st.booleans()
)
def test_a_duplicate_is_found_however_it_is_spaced(
    name: str, other: str, spaces: tuple[str, str, str, str], text: str, is_nested: bool
) -> None:
    ends = '":'
    before, between, after, last = spaces
    key = json.dumps(name)
    # Another key, equal or not, and a text that may look like a key.
    decoy = f"{json.dumps('x' + other)}:{json.dumps(text + ends)}"
    members = f"{key}{before}:{between}1,{after}{key}{last}:2,{decoy}"
    payload = f'{{"ts":1,"values":{{{members}}}}}' if is_nested else f"{{{members}}}"
    assert _reason(payload.encode()) == "duplicate_key"


# Objects -------------------------------------------------------------------------------------------


def test_an_object_is_read_as_it_is() -> None:
    assert decode_object(b'{"status": "online", "since": {"a": [1]}}') == {
        "status": "online",
        "since": {"a": [1]},
    }


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"[]", "wrong_shape"),
        (b"online", "invalid_json"),
        (b"", "empty_payload"),
        (b'{"status":"online","status" :"offline"}', "duplicate_key"),
    ],
)
def test_what_is_no_object_is_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(Undecodable) as refused:
        decode_object(payload)
    assert refused.value.reason == reason
