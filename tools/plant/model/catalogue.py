"""The 19 devices and 152 metrics of the Riverside Utilities plant, and how they report."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "state"]

# A register of six digits and one decimal, as on the front of an energy meter.
ENERGY_MODULUS_KWH = 1_000_000.0


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric of a device type.

    Attributes:
        name: Its name, snake_case.
        unit: Its unit, canonical spelling.
        kind: gauge, counter or state.
        low: The lowest value that a healthy or faulty plant can show.
        high: The highest.
        resolution: The step of the sensor's digits; every value is a multiple of it.
        every_s: How often the device scans it.
        deadband: None: every scan is reported. Otherwise a scan is reported only when it differs by
            at least this much from the last report, or HEARTBEAT_S after it (report by exception).
        modulus: The value at which a counter starts again from zero.
    """

    name: str
    unit: str
    kind: Kind
    low: float
    high: float
    resolution: float
    every_s: int
    deadband: float | None = None
    modulus: float | None = None


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device: what the registry should know about it.

    Attributes:
        device_id: Its identifier, such as `P-101`.
        name: What people call it.
        device_type: pump, compressor, motor, tank, chiller, energy_meter or gateway.
        location: Where it stands.
        parent_device_id: The gateway it reports through; None for a gateway.
        metrics: Its metrics, in the order of the data sheet.
    """

    device_id: str
    name: str
    device_type: str
    location: str
    parent_device_id: str | None
    metrics: tuple[MetricSpec, ...]


# A metric that reports by exception still reports this often.
HEARTBEAT_S = 60

PUMP = (
    MetricSpec("running", "bool", "state", 0, 1, 1, 1, deadband=1),
    MetricSpec("speed", "rpm", "gauge", 0, 1560, 1, 2),
    MetricSpec("suction_pressure", "kPa", "gauge", 0, 90, 0.1, 1),
    MetricSpec("discharge_pressure", "kPa", "gauge", 0, 600, 0.5, 1),
    MetricSpec("flow", "m³/h", "gauge", 0, 180, 0.1, 1),
    MetricSpec("motor_current", "A", "gauge", 0, 60, 0.1, 1),
    MetricSpec("power", "kW", "gauge", 0, 35, 0.1, 2),
    MetricSpec("bearing_de_temperature", "°C", "gauge", 0, 120, 0.1, 5),
    MetricSpec("bearing_nde_temperature", "°C", "gauge", 0, 120, 0.1, 5),
    MetricSpec("vibration", "mm/s", "gauge", 0, 20, 0.01, 1),
    MetricSpec("seal_leak", "mL/h", "gauge", 0, 20, 0.1, 10, deadband=0.2),
    MetricSpec("run_hours", "h", "counter", 0, 1_000_000, 0.01, 60),
)
COMPRESSOR = (
    MetricSpec("discharge_pressure", "bar", "gauge", 0, 10, 0.01, 1),
    MetricSpec("discharge_temperature", "°C", "gauge", 0, 120, 0.1, 5),
    MetricSpec("oil_temperature", "°C", "gauge", 0, 110, 0.1, 5),
    MetricSpec("load", "%", "gauge", 0, 100, 0.5, 5),
    MetricSpec("power", "kW", "gauge", 0, 110, 0.1, 1),
    MetricSpec("air_flow", "Nm³/min", "gauge", 0, 20, 0.01, 2),
    MetricSpec("dew_point", "°C", "gauge", -5, 20, 0.1, 10),
    MetricSpec("filter_differential_pressure", "mbar", "gauge", 0, 500, 1, 10),
    MetricSpec("vibration", "mm/s", "gauge", 0, 15, 0.01, 2),
    MetricSpec("run_hours", "h", "counter", 0, 1_000_000, 0.01, 60),
    MetricSpec("starts", "count", "counter", 0, 1_000_000, 1, 1, deadband=1),
)
MOTOR = (
    MetricSpec("running", "bool", "state", 0, 1, 1, 1, deadband=1),
    MetricSpec("current", "A", "gauge", 0, 250, 0.1, 1),
    MetricSpec("winding_temperature", "°C", "gauge", 0, 140, 0.5, 5),
    MetricSpec("vibration", "mm/s", "gauge", 0, 12, 0.01, 2),
    MetricSpec("speed", "rpm", "gauge", 0, 1560, 1, 2),
    MetricSpec("run_hours", "h", "counter", 0, 1_000_000, 0.01, 60),
)
TANK = (
    MetricSpec("level", "%", "gauge", 0, 100, 0.1, 1, deadband=0.2),
    MetricSpec("inlet_valve", "%", "gauge", 0, 100, 0.5, 2, deadband=1),
    MetricSpec("temperature", "°C", "gauge", 0, 45, 0.1, 10),
    MetricSpec("high_level_switch", "bool", "state", 0, 1, 1, 1, deadband=1),
)
CHILLER = (
    MetricSpec("supply_temperature", "°C", "gauge", 0, 30, 0.1, 5),
    MetricSpec("return_temperature", "°C", "gauge", 0, 60, 0.1, 5),
    MetricSpec("flow", "m³/h", "gauge", 0, 140, 0.1, 5),
    MetricSpec("power", "kW", "gauge", 0, 220, 0.1, 2),
    MetricSpec("condenser_temperature", "°C", "gauge", 0, 60, 0.1, 10),
    MetricSpec("cop", "1", "gauge", 0, 10, 0.01, 10),
    MetricSpec("differential_pressure", "kPa", "gauge", 0, 150, 0.1, 5),
    MetricSpec("status", "1", "state", 0, 2, 1, 1, deadband=1),
)


def _meter(*, volts: float, amps: float, kilowatts: float) -> tuple[MetricSpec, ...]:
    """Return the metrics of an energy meter with these full scales."""
    return (
        MetricSpec("voltage", "V", "gauge", 0, volts * 1.2, 0.1 if volts < 1000 else 1, 2),
        MetricSpec("current", "A", "gauge", 0, amps, 0.1, 2),
        MetricSpec("active_power", "kW", "gauge", 0, kilowatts, 0.1, 1),
        MetricSpec("reactive_power", "kvar", "gauge", 0, kilowatts, 0.1, 2),
        MetricSpec("power_factor", "1", "gauge", 0, 1, 0.001, 5),
        MetricSpec("frequency", "Hz", "gauge", 49, 51, 0.001, 2),
        MetricSpec("energy", "kWh", "counter", 0, ENERGY_MODULUS_KWH, 0.1, 10, modulus=ENERGY_MODULUS_KWH),
        MetricSpec("demand", "kW", "gauge", 0, kilowatts, 0.1, 60),
    )


GATEWAY = (
    MetricSpec("status", "1", "state", 0, 1, 1, 10, deadband=1),
    MetricSpec("buffer_depth", "count", "gauge", 0, 200_000, 1, 10, deadband=2),
    MetricSpec("clock_offset", "ms", "gauge", -500, 500, 1, 10),
)

DEVICES: tuple[DeviceSpec, ...] = (
    *(
        DeviceSpec(f"P-{number}", f"Process water pump {number}", "pump", "Pump house", "G-1", PUMP)
        for number in range(101, 106)
    ),
    *(
        DeviceSpec(
            f"C-{number}", f"Screw compressor {number}", "compressor", "Compressor room", "G-2", COMPRESSOR
        )
        for number in range(201, 203)
    ),
    DeviceSpec("M-301", "Cooling tower fan 301", "motor", "Cooling tower", "G-2", MOTOR),
    DeviceSpec("M-302", "Cooling tower fan 302", "motor", "Cooling tower", "G-2", MOTOR),
    DeviceSpec("M-303", "Ventilation fan 303", "motor", "Production hall", "G-2", MOTOR),
    DeviceSpec("M-304", "Conveyor motor 304", "motor", "Production hall", "G-2", MOTOR),
    DeviceSpec("T-401", "Raw water tank 401", "tank", "Tank farm", "G-1", TANK),
    DeviceSpec("T-402", "Process water tank 402", "tank", "Tank farm", "G-1", TANK),
    DeviceSpec("H-501", "Chiller 501", "chiller", "Chiller room", "G-2", CHILLER),
    DeviceSpec(
        "E-601", "Energy meter 601, process hall", "energy_meter", "Substation", "G-2",
        _meter(volts=400, amps=1500, kilowatts=900),
    ),
    DeviceSpec(
        "E-602", "Energy meter 602, 11 kV incomer", "energy_meter", "Substation", "G-2",
        _meter(volts=11_000, amps=700, kilowatts=12_000),
    ),
    DeviceSpec(
        "E-603", "Energy meter 603, utilities", "energy_meter", "Substation", "G-2",
        _meter(volts=400, amps=700, kilowatts=450),
    ),
    DeviceSpec("G-1", "Edge gateway 1, water", "gateway", "Pump house", None, GATEWAY),
    DeviceSpec("G-2", "Edge gateway 2, utilities", "gateway", "Substation", None, GATEWAY),
)  # fmt: skip

DEVICE_BY_ID = {device.device_id: device for device in DEVICES}


def children(gateway_id: str) -> tuple[DeviceSpec, ...]:
    """Return the devices that report through a gateway."""
    return tuple(device for device in DEVICES if device.parent_device_id == gateway_id)


def metrics() -> Iterator[tuple[DeviceSpec, MetricSpec]]:
    """Yield every (device, metric) of the plant, in the order of the catalogue."""
    for device in DEVICES:
        for metric in device.metrics:
            yield device, metric
