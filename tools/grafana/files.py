"""Where the committed dashboards and provisioning files are."""

from pathlib import Path

HERE = Path(__file__).resolve().parents[2] / "grafana"
DASHBOARDS = HERE / "dashboards"
DATASOURCES = HERE / "provisioning" / "datasources" / "iiot.yaml"
