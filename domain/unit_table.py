"""The table of units behind `domain.unit`: sizes are exact, from the definitions of the SI and the yard."""

import math
from fractions import Fraction

_INCH_M = Fraction("0.0254")
_FOOT_M = 12 * _INCH_M
_GALLON_M3 = 231 * _INCH_M**3
_POUND_KG = Fraction("0.45359237")
_GRAVITY_M_S2 = Fraction("9.80665")
_POUND_FORCE_N = _POUND_KG * _GRAVITY_M_S2
_PSI_PA = _POUND_FORCE_N / _INCH_M**2
_HORSEPOWER_W = 550 * _FOOT_M * _POUND_FORCE_N
_BTU_J = Fraction("1055.05585262")
_TURN_RAD = 2 * Fraction(math.pi)

# Dimension to rows. A row is the symbol, its size in the base unit (the one of size 1), and its
# other spellings. Spellings are compared letter by letter, because case tells mW from MW; those
# after "|" are words or abbreviations that mean the same in any case.
TABLE: dict[str, tuple[tuple[str, Fraction | int | str, str], ...]] = {
    "temperature": (
        ("K", 1, "| kelvin degK"),
        ("°C", 1, "C | °c degC deg_C deg·C celsius centigrade degrees·celsius"),
        ("°F", Fraction(5, 9), "F | °f degF deg_F deg·F fahrenheit degrees·fahrenheit"),
    ),
    "pressure": (
        ("Pa", 1, "| pascal"),
        ("hPa", 100, "| hpa hectopascal"),
        ("kPa", 1000, "| kpa kilopascal"),
        ("MPa", 10**6, "Mpa MPA | megapascal"),
        ("mbar", 100, "| mbar millibar"),
        ("bar", 10**5, "| bar bars"),
        ("psi", _PSI_PA, "| psi lbf/in² lb/in²"),
        ("atm", 101325, "| atm"),
        ("mmHg", Fraction("133.322387415"), "| mmhg"),
        ("mmH₂O", _GRAVITY_M_S2, "| mmh2o mmwc"),
        ("inH₂O", Fraction("249.08891"), "| inh2o inwc"),
    ),
    "gauge pressure": (
        ("Pa(g)", 1, "| pag pa(g)"),
        ("kPa(g)", 1000, "| kpag kpa(g) kpa·g kpa_g"),
        ("MPa(g)", 10**6, "MPag"),
        ("mbar(g)", 100, "| mbarg mbar(g) mbar·g mbar_g"),
        ("bar(g)", 10**5, "| barg bar(g) bar·g bar_g"),
        ("psi(g)", _PSI_PA, "| psig psi(g) psi·g"),
    ),
    "absolute pressure": (
        ("Pa(a)", 1, "| paa pa(a)"),
        ("kPa(a)", 1000, "| kpaa kpa(a) kpa·a kpa_a"),
        ("MPa(a)", 10**6, "MPaa"),
        ("mbar(a)", 100, "| mbara mbar(a) mbar·a mbar_a"),
        ("bar(a)", 10**5, "| bara bar(a) bar·a bar_a"),
        ("psi(a)", _PSI_PA, "| psia psi(a) psi·a"),
    ),
    "volume flow": (
        ("m³/s", 1, "cms | cbm/s"),
        ("m³/min", Fraction(1, 60), "| cbm/min"),
        ("m³/h", Fraction(1, 3600), "m³/hr cmh | m³/hour cbm/h"),
        ("L/s", Fraction(1, 1000), "| l/s lps l/sec"),
        ("L/min", Fraction(1, 60_000), "| l/min lpm"),
        ("L/h", Fraction(1, 3_600_000), "| l/h l/hr lph"),
        ("mL/min", Fraction(1, 60_000_000), "ml/min"),
        ("mL/h", Fraction(1, 3_600_000_000), "ml/h ml/hr"),
        ("gal/min", _GALLON_M3 / 60, "| gpm usgpm gal/min"),
        ("ft³/min", _FOOT_M**3 / 60, "| cfm"),
    ),
    "normal volume flow": (
        ("Nm³/s", 1, ""),
        ("Nm³/min", Fraction(1, 60), "| nm³/min"),
        ("Nm³/h", Fraction(1, 3600), "Nm³/hr | nm³/h"),
        ("NL/min", Fraction(1, 60_000), "Nl/min"),
    ),
    "mass flow": (
        ("kg/s", 1, "| kg/s kg/sec"),
        ("kg/min", Fraction(1, 60), "| kg/min"),
        ("kg/h", Fraction(1, 3600), "| kg/h kg/hr"),
        ("t/h", Fraction(1000, 3600), "| t/h t/hr tph"),
    ),
    "length": (
        ("m", 1, "| meter metre meters metres"),
        ("km", 1000, "| km kilometer kilometre"),
        ("cm", Fraction(1, 100), "| cm centimeter centimetre"),
        ("mm", Fraction(1, 1000), "| millimeter millimetre"),
        ("μm", Fraction(1, 10**6), "um | micron microns micrometer micrometre"),
        ("nm", Fraction(1, 10**9), ""),
        ("in", _INCH_M, "| in inch inches"),
        ("ft", _FOOT_M, "| ft foot feet"),
        ("mil", _INCH_M / 1000, "| mil mils thou"),
    ),
    "area": (("m²", 1, "| sqm"), ("cm²", Fraction(1, 10**4), ""), ("mm²", Fraction(1, 10**6), "")),
    "volume": (
        ("m³", 1, "| cbm"),
        ("L", Fraction(1, 1000), "l | liter litre liters litres"),
        ("mL", Fraction(1, 10**6), "ml cm³ | milliliter millilitre"),
        ("hL", Fraction(1, 10), "hl"),
        ("gal", _GALLON_M3, "| gal gallon gallons"),
        ("ft³", _FOOT_M**3, ""),
    ),
    "normal volume": (("Nm³", 1, ""), ("NL", Fraction(1, 1000), "Nl")),
    "velocity": (
        ("m/s", 1, "| m/sec"),
        ("mm/s", Fraction(1, 1000), "mm/sec"),
        ("m/min", Fraction(1, 60), ""),
        ("km/h", Fraction(1000, 3600), "| km/h kmh kph km/hr"),
        ("in/s", _INCH_M, "| in/s ips in/sec"),
        ("ft/min", _FOOT_M / 60, "| ft/min fpm"),
    ),
    "acceleration": (
        ("m/s²", 1, "m/s/s"),
        ("mm/s²", Fraction(1, 1000), ""),
        ("g", _GRAVITY_M_S2, "g0 gₙ"),
    ),
    "mass": (
        ("kg", 1, "| kg kilogram kilograms"),
        ("gram", Fraction(1, 1000), "| gram grams"),
        ("t", 1000, "| tonne tonnes"),
        ("lb", _POUND_KG, "| lb lbs pound pounds"),
    ),
    "force": (
        ("N", 1, "| newton newtons"),
        ("kN", 1000, "| kilonewton"),
        ("lbf", _POUND_FORCE_N, "| lbf"),
    ),
    "torque": (
        ("N·m", 1, "Nm N-m | newton·meter newton·metre"),
        ("kN·m", 1000, "kNm"),
        ("lbf·ft", _POUND_FORCE_N * _FOOT_M, "| ft·lbf ft·lb ft-lb ftlb lb·ft lb-ft lbft"),
    ),
    "current": (
        ("A", 1, "| amp amps ampere amperes"),
        ("mA", Fraction(1, 1000), "| milliamp milliampere"),
        ("μA", Fraction(1, 10**6), "uA"),
        ("kA", 1000, "KA | kiloampere"),
    ),
    "voltage": (
        ("V", 1, "| v volt volts"),
        ("mV", Fraction(1, 1000), "| millivolt"),
        ("kV", 1000, "| kv kilovolt"),
    ),
    "resistance": (
        ("Ω", 1, "| ohm ohms"),
        ("mΩ", Fraction(1, 1000), "mOhm"),
        ("kΩ", 1000, "| kohm kω"),
        ("MΩ", 10**6, "MOhm"),
    ),
    "conductivity": (
        ("S/m", 1, ""),
        ("mS/cm", Fraction(1, 10), ""),
        ("μS/cm", Fraction(1, 10**4), "uS/cm"),
    ),
    "active power": (
        ("W", 1, "| w watt watts"),
        ("mW", Fraction(1, 1000), "| milliwatt"),
        ("kW", 1000, "| kw kilowatt kilowatts"),
        ("MW", 10**6, "| megawatt megawatts"),
        ("hp", _HORSEPOWER_W, "| hp horsepower"),
    ),
    "reactive power": (
        ("var", 1, "| var vars"),
        ("kvar", 1000, "| kvar kvars"),
        ("Mvar", 10**6, "MVAr MVAR"),
    ),
    "apparent power": (("VA", 1, "| va"), ("kVA", 1000, "| kva"), ("MVA", 10**6, "")),
    "energy": (
        ("J", 1, "| joule joules"),
        ("kJ", 1000, "| kj kilojoule"),
        ("MJ", 10**6, "| megajoule"),
        ("GJ", 10**9, "| gj gigajoule"),
        ("Wh", 3600, "W·h | wh watthour"),
        ("kWh", 3_600_000, "kW·h | kwh kilowatthour"),
        ("MWh", 3_600_000_000, "MW·h | megawatthour"),
        ("GWh", 3_600_000_000_000, "| gwh gigawatthour"),
        ("BTU", _BTU_J, "| btu"),
    ),
    "reactive energy": (("varh", 1, "| varh"), ("kvarh", 1000, "| kvarh"), ("Mvarh", 10**6, "MVArh")),
    "apparent energy": (("VAh", 1, "| vah"), ("kVAh", 1000, "| kvah")),
    "charge": (("Ah", 1, "A·h | ah"), ("mAh", Fraction(1, 1000), "mA·h | mah")),
    "frequency": (
        ("Hz", 1, "| hz hertz"),
        ("kHz", 1000, "| khz kilohertz"),
        ("MHz", 10**6, "| megahertz"),
    ),
    "rotational speed": (
        ("rpm", 1, "r/min 1/min min⁻¹ min-1 | rpm rev/min"),
        ("rad/s", 60 / _TURN_RAD, "| rad/s rad/sec"),
    ),
    "angle": (("rad", 1, "| radian radians"), ("°", _TURN_RAD / 360, "| deg degree degrees")),
    "time": (
        ("s", 1, "| sec secs second seconds"),
        ("ns", Fraction(1, 10**9), "| nanosecond nanoseconds"),
        ("μs", Fraction(1, 10**6), "us | usec microsecond microseconds"),
        ("ms", Fraction(1, 1000), "| msec millisecond milliseconds"),
        ("min", 60, "| min mins minute minutes"),
        ("h", 3600, "hr hrs | hour hours"),
        ("d", 86400, "| day days"),
    ),
    "ratio": (
        ("1", 1, "- | ratio unitless dimensionless"),
        ("%", Fraction(1, 100), "| percent pct"),
        ("‰", Fraction(1, 1000), "| permille"),
        ("ppm", Fraction(1, 10**6), "| ppm"),
        ("ppb", Fraction(1, 10**9), "| ppb"),
    ),
    "relative humidity": (("%RH", 1, "| %rh rh %r.h."),),
    "mass concentration": (
        ("kg/m³", 1, "g/L g/l"),
        ("g/cm³", 1000, "g/mL g/ml kg/L kg/l"),
        ("mg/L", Fraction(1, 1000), "mg/l g/m³"),
        ("mg/m³", Fraction(1, 10**6), ""),
        ("μg/m³", Fraction(1, 10**9), "ug/m³"),
    ),
    "dynamic viscosity": (("Pa·s", 1, ""), ("mPa·s", Fraction(1, 1000), "cP")),
    "kinematic viscosity": (("m²/s", 1, ""), ("mm²/s", Fraction(1, 10**6), "cSt")),
    "acidity": (("pH", 1, "| ph"),),
    "turbidity": (("NTU", 1, "| ntu"),),
    "illuminance": (("lx", 1, "| lx lux"),),
    "sound level": (("dB", 1, "| db decibel"),),
    "sound level, A-weighted": (("dB(A)", 1, "| dba db(a)"),),
    "signal level": (("dBm", 1, "| dbm"),),
    "count": (("count", 1, "| count counts pcs pieces"),),
    "switch": (("bool", 1, "| bool boolean on/off"),),
}
OFFSETS = {"°C": Fraction("273.15"), "°F": Fraction("459.67") * Fraction(5, 9)}
