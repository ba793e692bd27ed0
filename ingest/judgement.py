"""What of a reading is accepted, and what it means: pure functions over what a payload may hold."""

from __future__ import annotations

import math
from typing import Any

from domain.metric import MetricKind
from domain.reading import QUALITY_OF_WORD, Quality
from domain.unit import MAX_UNIT_CHARS, UnitMismatch, canonical, converter
from ingest.refusal import Refused
from ingest.registry import MetricRef

_GOOD = int(Quality.GOOD)


def part_of(given: Any, name: str) -> Any:
    """The quality or unit of one metric: `given` holds for all metrics, or is an object by metric."""
    return given.get(name) if given.__class__ is dict else given


def number_of(value: Any) -> float:
    """The number that is stored for a value.

    Raises:
        Refused: it is none that double precision holds.
    """
    if value.__class__ is bool:
        return 1.0 if value else 0.0
    if value is None:
        raise Refused("null_value", "null is no value; leave the metric out, or send its quality as bad")
    if value.__class__ is not int and value.__class__ is not float:
        raise Refused("wrong_type", f"a value is a number, or true or false, not {value.__class__.__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Refused("not_finite", "the value is too large for double precision, or no number")
    return number


def quality_code(word: Any) -> int:
    """The code of a quality; good where none is given.

    Raises:
        Refused: it is none of the words.
    """
    if word is None:
        return _GOOD
    code = QUALITY_OF_WORD.get(word) if word.__class__ is str else None
    if code is None:
        raise Refused("invalid_quality", 'quality is "good", "uncertain" or "bad"')
    return int(code)


def unit_spelling(given: Any) -> str:
    """The one spelling of a unit; empty where none is given.

    Raises:
        Refused: it cannot be a unit.
    """
    if given is None:
        return ""
    if given.__class__ is str and len(given) <= MAX_UNIT_CHARS:
        symbol = canonical(given)
        if symbol.isprintable() and len(symbol) <= MAX_UNIT_CHARS:
            return symbol
    raise Refused("invalid_unit", f"a unit is printable text of at most {MAX_UNIT_CHARS} characters")


def value_in(metric: MetricRef, value: Any, number: float, *, unit: str) -> float:
    """The number in the unit of its metric; an empty `unit` is the metric's own.

    Raises:
        Refused: true or false for what is no state, another dimension, or too large there.
    """
    if value.__class__ is bool and metric.kind is not MetricKind.STATE:
        raise Refused(
            "wrong_type", f"true or false is no value for a {metric.kind.value}; declare it as a state"
        )
    if not unit or not metric.unit:
        return number
    try:
        convert = converter(unit, metric.unit)
    except UnitMismatch as mismatch:
        raise Refused("unit_mismatch", str(mismatch)) from None
    number = convert(number) if convert else number
    if not math.isfinite(number):
        raise Refused("not_finite", f"the value is too large in {metric.unit}")
    return number
