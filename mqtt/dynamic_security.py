"""Drives Mosquitto's dynamic-security plugin over `$CONTROL`: makes, shuts out and removes users of devices.

Each call opens a connection of its own, as the platform's user: calls are rare, and the platform's own
connection stays one that only carries readings and commands.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from domain.broker_user import BrokerUser, topics_of
from domain.errors import Unavailable
from mqtt.login import address, set_login
from settings import MqttSettings

_REQUESTS = "$CONTROL/dynamic-security/v1"
_RESPONSES = f"{_REQUESTS}/response"
_BATCH = 100
_EXPECTED = ("already exists", "not found")


class NoDynamicSecurity(Unavailable):
    """The broker has no dynamic-security plugin, or does not let the platform drive it."""


class DynamicSecurity:
    """The broker's users. Every method blocks until the broker has answered."""

    def __init__(self, settings: MqttSettings, *, timeout_s: float = 5.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        # Tells our users from those that somebody made by hand, or that belong to another platform.
        self._mark = f"made by {settings.client_id}"

    def users(self) -> dict[str, str | None]:
        """Our users by name with the credential that each was made with; None for one that is shut out.

        Raises:
            NoDynamicSecurity: nothing answers on `$CONTROL`.
            Unavailable: the broker cannot be reached or refuses us.
        """
        answer = self._ask([{"command": "listClients", "verbose": True, "count": -1, "offset": 0}])[0]
        return {
            client["username"]: None if client.get("disabled") else client.get("textdescription")
            for client in answer.get("data", {}).get("clients", [])
            if client.get("textname") == self._mark
        }

    def put(self, users: Sequence[BrokerUser]) -> None:
        """Make these users anew; whoever is connected as one of them is cut.

        Raises:
            NoDynamicSecurity: nothing answers on `$CONTROL`.
            Unavailable: the broker cannot be reached, or does not do what it was asked.
        """
        self._run([command for user in users for command in self._making(user)], per_batch=_BATCH * 4)

    def remove(self, usernames: Sequence[str]) -> None:
        """Remove users and cut their connections.

        Raises:
            NoDynamicSecurity: nothing answers on `$CONTROL`.
            Unavailable: as `put`.
        """
        commands = [
            command
            for username in usernames
            for command in (
                {"command": "deleteClient", "username": username},
                {"command": "deleteRole", "rolename": username},
            )
        ]
        self._run(commands, per_batch=_BATCH * 4)

    def _making(self, user: BrokerUser) -> list[dict[str, Any]]:
        role = {"rolename": user.username, "acls": self._rights(user.username)}
        client: dict[str, Any] = {
            "command": "createClient",
            "username": user.username,
            "textname": self._mark,
        }
        commands: list[dict[str, Any]] = [{"command": "deleteClient", "username": user.username}]
        if user.credential_id is None:
            return [*commands, client, {"command": "disableClient", "username": user.username}]
        return [
            *commands,
            {"command": "createRole", **role},
            {"command": "modifyRole", **role},
            {
                **client,
                "password": user.password,
                "textdescription": user.credential_id,
                "roles": [{"rolename": user.username}],
            },
        ]

    def _rights(self, username: str) -> list[dict[str, Any]]:
        topics = topics_of(self._settings.topic_root, username)
        pairs = [("publishClientSend", topic) for topic in topics.publish]
        pairs += [
            (kind, topic)
            for kind in ("publishClientReceive", "subscribePattern")
            for topic in topics.subscribe
        ]
        return [{"acltype": kind, "topic": topic, "allow": True, "priority": 0} for kind, topic in pairs]

    def _run(self, commands: Sequence[dict[str, Any]], *, per_batch: int) -> None:
        for start in range(0, len(commands), per_batch):
            for answer in self._ask(commands[start : start + per_batch]):
                error = str(answer.get("error", ""))
                if error and not error.lower().endswith(_EXPECTED):
                    raise Unavailable(
                        f"the broker refused {answer.get('command')}: {error}", retry_after_s=30
                    )

    def _ask(self, commands: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        try:
            return _Conversation(self._settings, self._timeout_s).ask(commands)
        except (OSError, ValueError) as error:
            raise Unavailable(f"the broker cannot be asked: {error}", retry_after_s=5) from error


class _Conversation:
    """One question and its answer, on the calling thread."""

    def __init__(self, settings: MqttSettings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._mark = secrets.token_hex(8)
        self._reason: ReasonCode | None = None
        self._is_subscribed = False
        self._answers: list[dict[str, Any]] | None = None

    def ask(self, commands: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"iiot-access-{self._mark}",
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._timeout_s
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        set_login(client, self._settings)
        marked = [{**command, "correlationData": self._mark} for command in commands]
        try:
            client.connect(*address(self._settings), keepalive=30)
            self._loop(client, lambda: self._reason is not None)
            if self._reason is None or self._reason.is_failure:
                raise ConnectionRefusedError(f"connecting: {self._reason or 'no answer'}")
            client.subscribe(_RESPONSES, 1)
            self._loop(client, lambda: self._is_subscribed)
            client.publish(_REQUESTS, json.dumps({"commands": marked}), qos=1)
            self._loop(client, lambda: self._answers is not None)
        finally:
            client.disconnect()
            client.loop(timeout=0.0)
        if self._answers is None:
            raise NoDynamicSecurity("no answer on $CONTROL", retry_after_s=3600)
        return self._answers

    def _loop(self, client: paho.Client, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._timeout_s
        while not is_done() and time.monotonic() < deadline:
            if client.loop(timeout=0.1) != paho.MQTT_ERR_SUCCESS and not is_done():
                raise ConnectionError("the broker closed the connection")

    def _on_connect(
        self, client: paho.Client, userdata: object, flags: object, reason: ReasonCode, properties: object
    ) -> None:
        self._reason = reason

    def _on_subscribe(
        self, client: paho.Client, userdata: object, mid: int, reasons: object, properties: object
    ) -> None:
        self._is_subscribed = True

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        answers = json.loads(message.payload).get("responses", [])
        # Another platform on this broker may be talking to the plugin as well.
        if answers and answers[0].get("correlationData") == self._mark:
            self._answers = answers
