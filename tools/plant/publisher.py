"""All devices of the demo plant on one thread: one selector, one MQTT client a device."""

import heapq
import json
import selectors
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.reasoncodes import ReasonCode

from tools.plant.broker import Broker
from tools.plant.control_desk import ControlDesk
from tools.plant.device_link import DeviceLink
from tools.plant.model.catalogue import DEVICES, children
from tools.plant.model.episodes import DIP_DEVICES
from tools.plant.model.plant import Plant
from tools.plant.reports import Reporter, encoded
from tools.services.broker_users import demo_password

CONTROL_TOPIC, REPLY_TOPIC = "demo/control", "demo/control/reply"

# A plant that was held up for longer than this (a suspended machine) goes on from now.
_CATCH_UP_S = 30
_GOODBYE_S = 3.0
_HOUSEKEEPING_S = 1.0
_PATIENCE_S = 10.0
_VICTIM_OF_F14 = "P-101"


class Publisher:
    """Runs the devices of one tenant until it is stopped."""

    def __init__(
        self,
        broker: Broker,
        plant: Plant,
        desk: ControlDesk,
        *,
        tenant: str,
        device_secret: str,
        topic_root: str = "iiot/v1",
    ) -> None:
        """Prepare one link for each device.

        Args:
            broker: Where the broker is; its user runs the control desk.
            plant: What the devices measure.
            desk: What answers requests and commands.
            tenant: Slug of the tenant whose devices these are.
            device_secret: What the devices' passwords are derived from; empty: all use the broker's user.
            topic_root: What every topic starts with.
        """
        self._broker = broker
        self._plant = plant
        self._desk = desk
        self._root = f"{topic_root}/{tenant}"
        self._reporters = [Reporter(plant, device) for device in DEVICES]
        self._links = {
            device.device_id: self._link(device.device_id, tenant, device_secret) for device in DEVICES
        }
        self._control = broker.client(f"demo-plant-{tenant}")
        self._control.on_connect = self._control_connected
        self._control.on_message = self._requested
        self._control_retry_s = 0.0
        self._selector = selectors.DefaultSelector()
        for client in self._clients():
            self._watch(client)

    def run(self, stop: threading.Event, *, on_first_connection: Callable[[], None] = lambda: None) -> None:
        """Scan and publish until `stop` is set, then say goodbye.

        `on_first_connection` is called once: when all devices are connected, or after ten seconds.
        """
        turns = [(self._next_turn_s(reporter, time.time()), i) for i, reporter in enumerate(self._reporters)]
        heapq.heapify(turns)
        housekeeping_s, is_heard = 0.0, False
        patience_s = time.monotonic() + _PATIENCE_S
        while not stop.is_set():
            self._serve(min(0.5, max(0.0, turns[0][0] - time.time())))
            now_s = time.time()
            while turns[0][0] <= now_s:
                turn_s, position = turns[0]
                if turn_s > now_s - _CATCH_UP_S:
                    self._take_turn(self._reporters[position], int(turn_s))
                    heapq.heapreplace(turns, (turn_s + 1, position))
                else:
                    heapq.heapreplace(turns, (self._next_turn_s(self._reporters[position], now_s), position))
            if time.monotonic() >= housekeeping_s:
                housekeeping_s = time.monotonic() + _HOUSEKEEPING_S
                self._keep_house()
            if not is_heard and (self._are_all_online() or time.monotonic() > patience_s):
                is_heard = True
                on_first_connection()
        self._leave()

    def _are_all_online(self) -> bool:
        return all(link.is_online for link in self._links.values())

    @property
    def strangers(self) -> list[str]:
        """Devices whose own user the broker does not know."""
        return [device_id for device_id, link in self._links.items() if not link.has_own_user]

    @property
    def refusals(self) -> dict[str, str]:
        """Why devices have no connection: device to the last reason."""
        return {
            device_id: link.refused
            for device_id, link in self._links.items()
            if link.refused and not link.is_online
        }

    def _link(self, device_id: str, tenant: str, device_secret: str) -> DeviceLink:
        username = f"{tenant}/{device_id}" if device_secret else None
        return DeviceLink(
            self._broker,
            device_id=device_id,
            topic_root=self._root,
            client_id=f"{tenant}-{device_id}",
            username=username,
            password=demo_password(device_secret, username) if username else None,
            on_command=self._desk.command,
        )

    def _clients(self) -> list[mqtt.Client]:
        return [self._control, *(link.client for link in self._links.values())]

    def _watch(self, client: mqtt.Client) -> None:
        """Let the selector follow the client's socket; paho says when it opens, closes or has to write."""
        selector = self._selector

        def opened(client: mqtt.Client, _userdata: object, sock: Any) -> None:
            selector.register(sock, selectors.EVENT_READ, client)

        def closing(_client: mqtt.Client, _userdata: object, sock: Any) -> None:
            with suppress(KeyError, ValueError):
                selector.unregister(sock)

        def writing(client: mqtt.Client, _userdata: object, sock: Any) -> None:
            selector.modify(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, client)

        def written(client: mqtt.Client, _userdata: object, sock: Any) -> None:
            with suppress(KeyError, ValueError):
                selector.modify(sock, selectors.EVENT_READ, client)

        client.on_socket_open = opened
        client.on_socket_close = closing
        client.on_socket_register_write = writing
        client.on_socket_unregister_write = written

    def _serve(self, timeout_s: float) -> None:
        """Read and write what the sockets are ready for."""
        for key, events in self._selector.select(timeout_s):
            client: mqtt.Client = key.data
            if events & selectors.EVENT_READ:
                client.loop_read()
                # TLS may hold decrypted bytes that no selector sees.
                while getattr(client.socket(), "pending", int)():
                    client.loop_read()
            if events & selectors.EVENT_WRITE and client.want_write():
                client.loop_write()

    def _keep_house(self) -> None:
        """Send pings, follow gateway faults, and connect again whoever has no connection."""
        now_s, time_s = time.monotonic(), int(time.time())
        held = self._held_devices(time_s)
        for device_id, link in self._links.items():
            if (device_id in held) != link.is_held:
                if device_id in held:
                    link.cut()
                else:
                    link.restore()
            link.client.loop_misc()
            if link.client.socket() is None and not link.is_held and now_s >= link.retry_at_s:
                link.connect(now_s)
        self._control.loop_misc()
        if self._control.socket() is None and now_s >= self._control_retry_s:
            self._control_retry_s = now_s + 5.0
            with suppress(OSError):
                self._broker.start_connecting(self._control)

    def _held_devices(self, time_s: int) -> set[str]:
        return {
            device_id
            for episode in self._plant.episodes
            if episode.fault == "F11" and episode.is_active(time_s)
            for device_id in (episode.asset, *(child.device_id for child in children(episode.asset)))
        }

    def _next_turn_s(self, reporter: Reporter, now_s: float) -> float:
        turn_s = int(now_s) + reporter.phase_ms / 1000
        return turn_s if turn_s >= now_s else turn_s + 1

    def _take_turn(self, reporter: Reporter, time_s: int) -> None:
        link = self._links[reporter.device.device_id]
        report = reporter.scan(time_s)
        if report is not None:
            link.send(report)
        for episode in self._plant.episodes:
            if (
                episode.fault == "F12"
                and link.device_id in DIP_DEVICES
                and episode.is_active(time_s)
                and episode.dip_trip_s(link.device_id) == time_s
            ):
                link.raise_alert(
                    {
                        "ts": time_s * 1000 + reporter.phase_ms,
                        "code": "undervoltage_trip",
                        "severity": "high",
                        "message": f"{link.device_id} tripped on undervoltage",
                    }
                )

    def _control_connected(
        self,
        client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.ConnectFlags,
        code: ReasonCode,
        _properties: object,
    ) -> None:
        if not code.is_failure:
            client.subscribe(CONTROL_TOPIC, qos=1)

    def _requested(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        try:
            request = json.loads(message.payload)
        except ValueError:
            request = None
        answer = self._desk.answer(request)
        if isinstance(request, dict) and "request_id" in request:
            answer["request_id"] = request["request_id"]
        if answer["ok"] and isinstance(request, dict) and request.get("fault") == "F14":
            self._spoof(answer)
        else:
            self._reply(answer)

    def _spoof(self, answer: dict[str, Any]) -> None:
        """Publish as another device and tell what the broker said."""
        topic = f"{self._root}/{_VICTIM_OF_F14}/telemetry"
        payload = encoded({"ts": int(time.time() * 1000), "values": {"discharge_pressure": 0.0}})
        link = self._links[answer["started"]["asset"]]

        def tell(verdict: str) -> None:
            self._reply({**answer, "topic": topic, "broker": verdict})

        if link.is_online:
            link.publish_as(topic, payload, tell)
        else:
            tell("not connected")

    def _reply(self, answer: dict[str, Any]) -> None:
        self._control.publish(REPLY_TOPIC, encoded(answer), qos=1)

    def _leave(self) -> None:
        """Publish every device's status offline, wait until the broker has it, and disconnect."""
        for link in self._links.values():
            link.say_goodbye()
        deadline = time.monotonic() + _GOODBYE_S
        while time.monotonic() < deadline and not all(link.is_settled for link in self._links.values()):
            self._serve(0.05)
        for client in self._clients():
            client.disconnect()
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline and any(client.socket() for client in self._clients()):
            self._serve(0.05)
        self._selector.close()
