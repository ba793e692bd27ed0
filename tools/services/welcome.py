"""What the user sees when everything runs, and how it is known that it runs."""

import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

READY_TIMEOUT_S = 3.0
PAYLOAD = '{"temperature": 22.5}'

# The platform is on this machine: a proxy of the environment must not be asked for it.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def is_ready(address: str) -> bool:
    """Tell whether the platform answers 200 on `/health/ready`."""
    try:
        with _direct.open(f"{address}/health/ready", timeout=READY_TIMEOUT_S) as answer:
            ready: bool = answer.status == 200
            return ready
    except (OSError, urllib.error.URLError):
        return False


def publish_lines(mqtt_url: str, tenant: str, *, with_password: bool) -> list[str]:
    """Return shell commands that publish a reading of a new device."""
    parts = urlsplit(mqtt_url)
    host, port = parts.hostname or "localhost", parts.port or (8883 if parts.scheme == "mqtts" else 1883)
    user = unquote(parts.username or "")
    password = unquote(parts.password or "") if with_password else "PASSWORD"
    topic = f"iiot/v1/{tenant}/my-device/telemetry"
    login = f" -u {user} -P '{password}'" if user else ""
    lines = [f"mosquitto_pub -h {host} -p {port}{login} -q 1 -t {topic} -m '{PAYLOAD}'"]
    if shutil.which("mosquitto_pub") is None:
        escaped = PAYLOAD.replace('"', '\\"')
        options = f"qos=1, hostname='{host}', port={port}"
        if user:
            options += f", auth={{'username': '{user}', 'password': '{password}'}}"
        call = f"from paho.mqtt.publish import single; single('{topic}', '{escaped}', {options})"
        lines.append(f'"{sys.executable}" -c "{call}"')
    return lines


def welcome(
    address: str, given: Mapping[str, str], folder: Path, elapsed_s: float, *, with_demo: bool, secret: bool
) -> str:
    """Return address, logins and the next step; passwords only where they were generated (not `secret`)."""
    login = given.get("IIOT_ADMIN_EMAIL", "the administrator that you made")
    if not secret:
        login += f"   {given['IIOT_ADMIN_PASSWORD']}   (kept in {folder / 'secrets.json'})"
    tenant = given.get("IIOT_TENANT") or "default"
    publish = publish_lines(given["MQTT_URL"], tenant, with_password=not secret)
    plant = "The demo plant is starting; the first time it loads 7 days of history.\n" if with_demo else ""
    lines = [
        "",
        f"Running, ready after {elapsed_s:.1f} s. {plant}".rstrip(),
        "",
        f"  Console   {address}/",
        f"  REST API  {address}/api/v1   (docs/api.md)",
        f"  Login     {login}",
        f"  Logs      {folder / 'log'}",
        "",
        "  Publish a reading of your own:"
        if len(publish) == 1
        else "  Publish a reading of your own (either line):",
        *(f"    {line}" for line in publish),
        "",
        "Ctrl-C stops everything.",
    ]
    return "\n".join(lines)
