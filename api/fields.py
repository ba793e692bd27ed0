"""Field types that several routes share."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from domain.identifier import is_device_id
from domain.metric import metric_name

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A "+" that nobody escaped in a query arrives as a space before the offset.
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,9})?(?:([Zz])|([+ -])(\d\d:\d\d))", re.ASCII
)
# PostgreSQL, Python and every client agree on these years; offsets cannot push a moment outside.
_FIRST_YEAR, _LAST_YEAR = 1900, 9998


def parse_moment(text: object) -> datetime:
    """An RFC 3339 time with its offset, as aware UTC.

    Raises:
        ValueError: It is something else.
    """
    match = _RFC3339.fullmatch(text) if isinstance(text, str) and len(text) <= 40 else None
    if match is None:
        raise ValueError("must be a time like 2026-01-31T08:00:00Z")
    date, clock, fraction, _, sign, offset = match.groups()
    shift = "+00:00" if offset is None else ("+" if sign == " " else sign) + offset
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{(fraction or '')[:7]}{shift}")
    except ValueError:
        raise ValueError("is not a moment that exists") from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"must lie between the years {_FIRST_YEAR} and {_LAST_YEAR}")
    return moment.astimezone(UTC)


def moment_of_us(microseconds: int) -> datetime:
    """The moment that lies this many microseconds after 1970 UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def us_of_moment(moment: datetime) -> int:
    """Microseconds since 1970 UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _checked_device_id(text: str) -> str:
    if not is_device_id(text):
        raise ValueError("must be 1 to 64 of A-Z a-z 0-9 . _ - and neither . nor ..")
    return text


def _checked_metric_name(text: str) -> str:
    name = metric_name(text)
    if name is None:
        raise ValueError("must be 1 to 64 printable characters without a space at either end")
    return name


Moment = Annotated[datetime, BeforeValidator(parse_moment)]
DeviceId = Annotated[
    str,
    AfterValidator(_checked_device_id),
    Field(examples=["P-103"], json_schema_extra={"pattern": r"^[A-Za-z0-9._-]{1,64}$"}),
]
MetricName = Annotated[
    str,
    AfterValidator(_checked_metric_name),
    Field(examples=["flow"], json_schema_extra={"minLength": 1, "maxLength": 64}),
]
Limit = Annotated[int, Field(ge=1, le=1000, description="At most so many items.")]
CursorText = Annotated[
    str, Field(min_length=1, max_length=512, description="The `next_cursor` of the page before.")
]
Prefix = Annotated[str, Field(min_length=1, max_length=200)]
