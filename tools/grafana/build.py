"""Writes grafana/dashboards anew."""

import json

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tools.grafana import alerts, device_overview, platform_health, telemetry
from tools.grafana.files import DASHBOARDS

BUILDERS = {
    "device-overview.json": device_overview.build,
    "telemetry-visualization.json": telemetry.build,
    "alerts-and-rules.json": alerts.build,
    "platform-health.json": platform_health.build,
}


def texts() -> dict[str, str]:
    """Return the dashboards as JSON by file name."""
    return {
        name: json.dumps(build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
        for name, build in BUILDERS.items()
    }


def write() -> list[str]:
    """Write every file and return their names."""
    found = texts()
    for name, text in found.items():
        (DASHBOARDS / name).write_text(text, encoding="utf-8")
    return list(found)
