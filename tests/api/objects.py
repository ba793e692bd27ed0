"""Objects that routes are about: for each parameter that names one, how to make it in somebody's plant.

The access matrix and the tests of hostile input go over all routes; a route with a new parameter in its path
needs an entry in `MAKERS` here, and one in `BODIES` where the example of its body would not do.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from api.services import Services
from ingest.buffer import Message
from tests.people import Client
from tests.polling import until

Values = Mapping[str, str]
_numbers = itertools.count(1)


def fresh(prefix: str) -> str:
    """A name that nothing has yet."""
    return f"{prefix}-{next(_numbers)}"


def _made(client: Client, path: str, body: Mapping[str, Any]) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 201, f"{path}: {answer.get_data(as_text=True)}"
    return answer.get_json()


def _device(client: Client, _values: Values) -> str:
    metrics = [{"name": "flow", "unit": "m³/h"}, {"name": "pressure", "unit": "bar"}]
    body = {"device_id": fresh("pump"), "name": "Feed pump", "metrics": metrics}
    return str(_made(client, "devices", body)["device_id"])


def _dead_letter(client: Client, _values: Values) -> str:
    reading = {"device_id": fresh("broken"), "metric": "flow", "value": "hot"}
    client.post("telemetry", json={"readings": [reading]})
    letters = client.get(f"telemetry/dead-letters?device_id={reading['device_id']}").get_json()["items"]
    return str(letters[0]["dead_letter_id"])


def _alert(client: Client, values: Values) -> str:
    """An alert that a device raised itself."""
    device_id = _device(client, values)
    services: Services = client.app.extensions["services"]
    plant = client.get("auth/me").get_json()["user"]["tenant"]["slug"]
    topic = f"{services.settings.mqtt.topic_root}/{plant}/{device_id}/alerts"
    payload = b'{"severity": "high", "code": "E-17", "message": "Guard open"}'
    message = Message(
        epoch=0,
        mid=next(_numbers),
        topic=topic,
        payload=payload,
        is_redelivery=False,
        is_retained=False,
        received_at_us=time.time_ns() // 1000,
    )
    services.pipeline.accept([message])
    path = f"alerts?device_id={device_id}"
    until(lambda: client.get(path).get_json()["items"] != [], what="the device's alert")
    return str(client.get(path).get_json()["items"][0]["alert_id"])


def _command(client: Client, values: Values) -> str:
    """A command that waits, because nothing sends commands in these tests."""
    return str(_made(client, f"devices/{values['device_id']}/commands", {"name": "start"})["command_id"])


MAKERS: dict[str, Callable[[Client, Values], str]] = {
    "device_id": _device,
    "metric": lambda _client, _values: "flow",
    "dead_letter_id": _dead_letter,
    "alert_id": _alert,
    "command_id": _command,
}
"""Makes the object that a parameter names, given the values of the parameters before it."""

BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "POST /api/v1/auth/login": lambda: {"email": "nobody@plant-a.example", "password": "not the password"},
    "PUT /api/v1/auth/password": lambda: {
        "current_password": "not the password",
        "new_password": "never set",
    },
    "POST /api/v1/devices": lambda: {"device_id": fresh("new"), "name": "New pump"},
    "PUT /api/v1/devices/{device_id}": lambda: {"name": "Renamed pump"},
    "POST /api/v1/devices/{device_id}/commands": lambda: {"name": "start"},
    "POST /api/v1/telemetry": lambda: {
        "readings": [{"device_id": fresh("press"), "metric": "oil_temperature", "value": 61.5}]
    },
}
"""What is sent where the document's example would not do."""


def missing(value: str) -> str:
    """A name of the same kind that nothing has."""
    if value.isdigit():
        return "9000000000000000"
    is_uuid = len(value) == 36 and value.count("-") == 4
    return "00000000-0000-4000-8000-000000000000" if is_uuid else "missing-1"
