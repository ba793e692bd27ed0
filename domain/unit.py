"""Units of measurement: one spelling for each, and linear conversion inside one dimension.

Quantities that share a physical dimension but must never be mixed up are dimensions of their own
here: active, reactive and apparent power; torque and energy; frequency and rotational speed; gauge,
absolute and unspecified pressure; flow at operating and at normal conditions. Letters with two
meanings are settled once: `g` is standard gravity (vibration), a gram is `gram`; `C` and `F` are
temperatures.
"""

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from domain.errors import RuleBroken
from domain.unit_table import OFFSETS, TABLE

MAX_UNIT_CHARS = 32

# The largest integer up to which every integer is a double.
_EXACT_INTEGER_LIMIT = 2**53


class UnitMismatch(RuleBroken):
    """The unit of the value cannot be converted to the unit of the metric."""

    def __init__(self, source: str, target: str) -> None:
        """Name both units, in their canonical spelling."""
        super().__init__(f"cannot convert {source or 'no unit'!r} to {target or 'no unit'!r}")
        self.source = source
        self.target = target

    def __reduce__(self) -> tuple[type["UnitMismatch"], tuple[str, str]]:
        """Keep both units through pickling."""
        return type(self), (self.source, self.target)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: `value in base unit = value * factor + offset`.

    Attributes:
        symbol: The canonical spelling.
        dimension: What it measures; conversion stays inside one dimension.
        factor: Size in the base unit of the dimension, exact.
        offset: Where its zero lies in the base unit, exact.
    """

    symbol: str
    dimension: str
    factor: Fraction
    offset: Fraction = Fraction(0)


def canonical(text: str) -> str:
    """Return the canonical spelling of a unit, such as `°C` for `degC`.

    An unknown unit stays as it is, without surrounding white space and in Unicode NFC. The empty
    text means "no unit declared"; it is not the dimensionless unit, which is `1`.
    """
    if len(text) > MAX_UNIT_CHARS:
        return unicodedata.normalize("NFC", text).strip()
    return _canonical(text)


def dimension(text: str) -> str | None:
    """Return what a unit measures, such as `temperature`, or None for an unknown unit."""
    unit = _UNITS.get(canonical(text))
    return unit.dimension if unit else None


def converter(source: str, target: str) -> Callable[[float], float] | None:
    """Return the function that converts a value from `source` to `target`.

    Returns:
        None where both are the same unit, known or not, so that the value stays untouched to the
        last bit. A converted value may overflow to infinity; the caller checks it.

    Raises:
        UnitMismatch: The units differ, and in dimension or by being unknown.
    """
    return _converter(canonical(source), canonical(target))


@lru_cache(maxsize=2048)
def _canonical(text: str) -> str:
    trimmed = unicodedata.normalize("NFC", text).strip()
    key = _lookup_key(trimmed)
    return _SPELLINGS.get(key) or _ANY_CASE.get(key.casefold()) or trimmed


@lru_cache(maxsize=2048)
def _converter(source: str, target: str) -> Callable[[float], float] | None:
    if source == target:
        return None
    from_unit, to_unit = _UNITS.get(source), _UNITS.get(target)
    if from_unit is None or to_unit is None or from_unit.dimension != to_unit.dimension:
        raise UnitMismatch(source, target)
    return _linear(
        factor=from_unit.factor / to_unit.factor,
        offset=(from_unit.offset - to_unit.offset) / to_unit.factor,
    )


def _linear(factor: Fraction, offset: Fraction) -> Callable[[float], float]:
    """Return `value * factor + offset` in the form that rounds least: 410 kPa is 4.1 bar."""
    if factor == 1:
        shift = float(offset)
        return lambda value: value + shift
    denominator = math.lcm(factor.denominator, offset.denominator)
    scale, shift_by = int(factor * denominator), int(offset * denominator)
    if max(abs(scale), abs(shift_by), denominator) >= _EXACT_INTEGER_LIMIT:
        slope, intercept = float(factor), float(offset)
        return lambda value: value * slope + intercept
    multiply, add, divide = float(scale), float(shift_by), float(denominator)
    if not add:
        return lambda value: value * multiply / divide
    return lambda value: (value * multiply + add) / divide


# Look-alikes that keyboards, PLC exports and data sheets use for the same sign.
_LOOK_ALIKES = str.maketrans(
    {
        "\N{MICRO SIGN}": "\N{GREEK SMALL LETTER MU}",
        "\N{MASCULINE ORDINAL INDICATOR}": "°",
        "\N{RING ABOVE}": "°",
        "\N{DEGREE CELSIUS}": "°C",
        "\N{DEGREE FAHRENHEIT}": "°F",
        "\N{DOT OPERATOR}": "·",
        "\N{BULLET OPERATOR}": "·",
        "\N{BULLET}": "·",
        "*": "·",
        "\N{FRACTION SLASH}": "/",
        "\N{DIVISION SLASH}": "/",
    }
)
_POWER = re.compile(r"(?<=[A-Za-z])(?:\^|··)?([23])(?![0-9A-Za-z])")
_SPACE = re.compile(r"\s*([/·()])\s*|(?<=[°%])\s+")
_PRODUCT = re.compile(r"(?<=[A-Za-z])\s+(?=[A-Za-z])")


def _lookup_key(trimmed: str) -> str:
    """Return the spelling under which a unit is looked up: `m^3 / h` is `m³/h`, `N m` is `N·m`."""
    key = _SPACE.sub(lambda match: match[1] or "", trimmed.translate(_LOOK_ALIKES))
    key = _PRODUCT.sub("·", key)
    return _POWER.sub(lambda match: "²" if match[1] == "2" else "³", key)


_UNITS: dict[str, Unit] = {}
_SPELLINGS: dict[str, str] = {}
_ANY_CASE: dict[str, str] = {}


def _register(spellings: dict[str, str], key: str, symbol: str) -> None:
    if spellings.setdefault(key, symbol) != symbol:
        raise ValueError(f"{key!r} would mean both {spellings[key]!r} and {symbol!r}")


for _dimension, _rows in TABLE.items():
    for _symbol, _size, _others in _rows:
        _UNITS[_symbol] = Unit(_symbol, _dimension, Fraction(_size), OFFSETS.get(_symbol, Fraction(0)))
        _exact, _, _words = _others.partition("|")
        for _key in (_symbol, *_exact.split()):
            _register(_SPELLINGS, _lookup_key(_key), _symbol)
        for _key in _words.split():
            _register(_ANY_CASE, _lookup_key(_key).casefold(), _symbol)
