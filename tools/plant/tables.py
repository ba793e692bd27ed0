"""The tables of docs/demo-plant.md, from the catalogue: `python -m tools.plant.tables` prints them."""

from tools.plant.model.catalogue import DEVICES, DeviceSpec, MetricSpec
from tools.plant.model.episodes import FAULTS, FaultSpec


def metrics_table() -> str:
    """Return every metric of every device type, one row each."""
    groups: dict[tuple[MetricSpec, ...], list[DeviceSpec]] = {}
    for device in DEVICES:
        groups.setdefault(device.metrics, []).append(device)
    lines = [
        "| devices | metric | unit | kind | band | resolution | reported |",
        "|---|---|---|---|---|---|---|",
    ]
    for metrics, devices in groups.items():
        ids = ", ".join(device.device_id for device in devices)
        lines += [_metric_row(ids if place == 0 else "", metric) for place, metric in enumerate(metrics)]
    return "\n".join(lines)


def faults_table() -> str:
    """Return every fault, one row each."""
    lines = ["| fault | starts at | what happens | takes | on request |", "|---|---|---|---|---|"]
    lines += [
        f"| {spec.fault} | {spec.asset} | {spec.title} | {_duration(spec.duration_s)} | {_on_request(spec)} |"
        for spec in FAULTS.values()
    ]
    return "\n".join(lines)


def _metric_row(ids: str, metric: MetricSpec) -> str:
    band = f"{metric.low:,.15g} to {metric.high:,.15g}"
    if metric.modulus is not None:
        band += ", then from 0 again"
    reported = f"every {metric.every_s} s" if metric.every_s > 1 else "every second"
    if metric.deadband is not None:
        reported = f"on a change of {metric.deadband:g}, else every minute"
    cells = (ids, metric.name, metric.unit, metric.kind, band, f"{metric.resolution:g}", reported)
    return f"| {' | '.join(cells)} |"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 7200 else f"{seconds / 3600:g} h"


def _on_request(spec: FaultSpec) -> str:
    return _duration(round(spec.duration_s / spec.live_speed)) if spec.live_speed != 1 else ""


if __name__ == "__main__":
    print(metrics_table(), faults_table(), sep="\n\n")
