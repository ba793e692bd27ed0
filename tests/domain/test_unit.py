"""Units: one spelling each, and conversions that are right to the last digit a float can hold."""

import math
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.unit import MAX_UNIT_CHARS, UnitMismatch, canonical, converter, dimension
from domain.unit_table import TABLE

ALL_SYMBOLS = sorted(symbol for rows in TABLE.values() for symbol, _, _ in rows)


def conversion(source: str, target: str) -> Callable[[float], float]:
    convert = converter(source, target)
    assert convert is not None, f"{source} and {target} are the same unit"
    return convert


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("C", "°C"),
        ("°C", "°C"),
        ("degC", "°C"),
        ("DEGC", "°C"),
        ("deg C", "°C"),
        ("° C", "°C"),
        ("celsius", "°C"),
        ("degrees Celsius", "°C"),
        ("\N{DEGREE CELSIUS}", "°C"),
        ("\N{MASCULINE ORDINAL INDICATOR}C", "°C"),
        ("\N{KELVIN SIGN}", "K"),
        ("F", "°F"),
        ("\N{MICRO SIGN}m", "\N{GREEK SMALL LETTER MU}m"),
        ("\N{GREEK SMALL LETTER MU}m", "\N{GREEK SMALL LETTER MU}m"),
        ("um", "\N{GREEK SMALL LETTER MU}m"),
        ("m3/h", "m³/h"),
        ("m^3/h", "m³/h"),
        ("m**3/h", "m³/h"),
        ("m3 / h", "m³/h"),
        ("m³/hr", "m³/h"),
        ("Nm3/min", "Nm³/min"),
        ("Nm", "N·m"),
        ("N m", "N·m"),
        ("N*m", "N·m"),
        ("kpa", "kPa"),
        ("KPA", "kPa"),
        ("bar g", "bar(g)"),
        ("barg", "bar(g)"),
        ("BAR(G)", "bar(g)"),
        ("PSI", "psi"),
        ("mbar", "mbar"),
        ("MBAR", "mbar"),
        ("inH2O", "inH₂O"),
        ("l/min", "L/min"),
        ("GPM", "gal/min"),
        ("m/s2", "m/s²"),
        ("mm/sec", "mm/s"),
        ("Amps", "A"),
        ("Volt", "V"),
        ("\N{OHM SIGN}", "Ω"),
        ("KW", "kW"),
        ("kwh", "kWh"),
        ("kW h", "kWh"),
        ("KVAR", "kvar"),
        ("RPM", "rpm"),
        ("1/min", "rpm"),
        ("hours", "h"),
        ("percent", "%"),
        ("% RH", "%RH"),
        ("ratio", "1"),
        ("  kPa\t", "kPa"),
    ],
)
def test_every_spelling_in_the_field_has_one_canonical_form(spelling: str, expected: str) -> None:
    assert canonical(spelling) == expected


@pytest.mark.parametrize(
    ("left", "right"),
    [("mW", "MW"), ("mA", "MA"), ("nm", "Nm"), ("mV", "MV"), ("K", "k"), ("h", "H"), ("A", "a")],
)
def test_case_is_never_folded_where_it_carries_meaning(left: str, right: str) -> None:
    assert canonical(left) != canonical(right)


def test_a_word_that_means_the_same_in_any_case_is_no_other_units_symbol() -> None:
    folded_symbols = {symbol.casefold(): symbol for symbol in ALL_SYMBOLS}
    for rows in TABLE.values():
        for symbol, _, others in rows:
            for word in others.partition("|")[2].split():
                assert folded_symbols.get(word.casefold(), symbol) == symbol


def test_an_unknown_unit_is_kept_trimmed_and_composed() -> None:
    assert canonical("  CO2 e\N{COMBINING ACUTE ACCENT}q ") == "CO2 \N{LATIN SMALL LETTER E WITH ACUTE}q"
    assert dimension("furlong") is None


def test_no_unit_is_not_the_dimensionless_unit() -> None:
    assert canonical("   ") == ""
    with pytest.raises(UnitMismatch):
        converter("%", "")


def test_a_text_too_long_for_a_unit_is_kept_without_looking_it_up() -> None:
    text = " " * MAX_UNIT_CHARS + "kpa"
    assert canonical(text) == "kpa"


@given(st.text(max_size=2 * MAX_UNIT_CHARS))
def test_canonical_never_fails_and_is_stable(text: str) -> None:
    once = canonical(text)
    assert canonical(once) == once


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (0.0, "°C", "K", 273.15),
        (273.15, "K", "°C", 0.0),
        (212.0, "°F", "°C", 100.0),
        (-40.0, "degC", "degF", -40.0),
        (410.0, "kPa", "bar", 4.1),
        (4.5, "bar", "kPa", 450.0),
        (7.0, "bar(g)", "kPa(g)", 700.0),
        (120.0, "mbar", "Pa", 12_000.0),
        (1.0, "MPa", "bar", 10.0),
        (120.0, "m³/h", "L/s", 100 / 3),
        (2.0, "mL/h", "L/h", 0.002),
        (1.6, "mm/s", "m/s", 0.0016),
        (36.0, "km/h", "m/s", 10.0),
        (2.0, "g", "m/s²", 19.6133),
        (38.0, "A", "mA", 38_000.0),
        (21.0, "kW", "MW", 0.021),
        (1.0, "kWh", "MJ", 3.6),
        (50.0, "Hz", "kHz", 0.05),
        (90.0, "min", "h", 1.5),
        (62.0, "%", "1", 0.62),
        (1.0, "in", "mm", 25.4),
    ],
)
def test_conversions_are_exact_where_a_float_allows(
    value: float, source: str, target: str, expected: float
) -> None:
    assert conversion(source, target)(value) == expected


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        # NIST Special Publication 811 (2008), appendix B.8, to the digits printed there.
        (1.0, "psi", "kPa", 6.894757),
        (1.0, "gal/min", "L/s", 0.06309020),
        (1.0, "ft³/min", "L/s", 0.4719474),
        (1.0, "hp", "W", 745.6999),
        (1.0, "lbf·ft", "N·m", 1.355818),
        (1.0, "mmHg", "Pa", 133.3224),
        (1.0, "rpm", "rad/s", 0.1047198),
        (1.0, "BTU", "kWh", 2.930711e-4),
    ],
)
def test_conversions_agree_with_published_factors(
    value: float, source: str, target: str, expected: float
) -> None:
    assert conversion(source, target)(value) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("Hz", "rpm"),
        ("kW", "kvar"),
        ("kW", "kVA"),
        ("N·m", "J"),
        ("bar", "bar(g)"),
        ("bar(a)", "bar(g)"),
        ("m³/h", "Nm³/h"),
        ("%", "%RH"),
        ("°C", "bar"),
        ("furlong", "m"),
        ("furlong", "fathom"),
        ("", "°C"),
    ],
)
def test_quantities_that_must_not_be_mixed_are_refused_by_name(source: str, target: str) -> None:
    with pytest.raises(UnitMismatch) as caught:
        converter(source, target)
    assert (caught.value.source, caught.value.target) == (source, target)
    assert repr(target) in str(caught.value)


@pytest.mark.parametrize(("source", "target"), [("degC", "°C"), ("furlong", " furlong"), ("", "")])
def test_the_same_unit_needs_no_conversion(source: str, target: str) -> None:
    assert converter(source, target) is None


@pytest.mark.parametrize("rows", TABLE.values(), ids=TABLE.keys())
def test_there_and_back_returns_the_value(rows: tuple[tuple[str, object, str], ...]) -> None:
    symbols = [symbol for symbol, _, _ in rows]
    for source in symbols:
        for target in symbols:
            if source != target:
                there, back = conversion(source, target), conversion(target, source)
                assert math.isclose(back(there(123.456)), 123.456, rel_tol=1e-12)


def test_a_mismatch_survives_pickling() -> None:
    mismatch: UnitMismatch = pickle.loads(pickle.dumps(UnitMismatch("bar", "°C")))
    assert (mismatch.source, mismatch.target, mismatch.title) == (
        "bar",
        "°C",
        "The unit of the value cannot be converted to the unit of the metric.",
    )
