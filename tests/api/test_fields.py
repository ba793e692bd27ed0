"""Times and cursors in queries: exact or refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.bodies import MalformedQuery
from api.fields import moment_of_us, parse_moment, us_of_moment
from api.paging import decode_cursor, encode_cursor, page


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-01-31T08:00:00Z", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("2026-01-31t08:00:00z", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("2026-01-31 08:00:00Z", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("2026-01-31T08:00:00.5Z", datetime(2026, 1, 31, 8, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-31T08:00:00.123456789Z", datetime(2026, 1, 31, 8, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-01-31T13:45:00+05:45", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("2026-01-31T13:45:00 05:45", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("2026-01-31T00:30:00-07:30", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("2024-02-29T23:59:59-00:00", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_an_rfc3339_time_is_read_as_utc(text: str, wanted: datetime) -> None:
    moment = parse_moment(text)
    assert moment == wanted
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1700000000",
        "2026-01-31",
        "2026-01-31T08:00:00",
        "2026-01-31T08:00Z",
        "2026-1-31T08:00:00Z",
        "2026-02-30T08:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T08:00:60Z",
        "2026-01-31T08:00:00+25:00",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٦-01-31T08:00:00Z",
        "2026-01-31T08:00:00Z\n",
        5,
        None,
    ],
)
def test_anything_else_is_not_a_time(text: object) -> None:
    with pytest.raises(ValueError, match=r"must|moment"):
        parse_moment(text)


@given(st.integers(min_value=-(2**50), max_value=2**53))
def test_microseconds_survive_exactly(microseconds: int) -> None:
    assert us_of_moment(moment_of_us(microseconds)) == microseconds


@given(
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=64),
    st.integers(-(2**63), 2**63 - 1),
)
def test_a_cursor_gives_back_its_key(text: str, number: int) -> None:
    assert decode_cursor(encode_cursor("list", text, number), "list", str, int) == (text, number)


@given(st.text(max_size=100))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(MalformedQuery):
        decode_cursor(text, "list", str)


@pytest.mark.parametrize(
    "cursor",
    [
        encode_cursor("other", "a"),
        encode_cursor("list", 1),
        encode_cursor("list", "a", "b"),
        encode_cursor("list"),
        encode_cursor("list", "a\x00"),
    ],
)
def test_a_cursor_of_another_list_is_refused(cursor: str) -> None:
    with pytest.raises(MalformedQuery):
        decode_cursor(cursor, "list", str)


@pytest.mark.parametrize("number", [True, 2**63])
def test_a_cursor_holds_numbers_that_the_database_has(number: int) -> None:
    with pytest.raises(MalformedQuery):
        decode_cursor(encode_cursor("list", number), "list", int)


def test_a_page_ends_where_one_row_more_was_found() -> None:
    assert page([1, 2, 3], 2, str) == ([1, 2], "2")
    assert page([1, 2], 2, str) == ([1, 2], None)
    assert page([], 2, str) == ([], None)
