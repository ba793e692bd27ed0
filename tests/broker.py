"""A Mosquitto of a test's own, which it can stop and start again; configured as the platform ships it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

from tests.mqtt_line import Publisher
from tests.polling import until
from tools.bootstrap import PROJECT
from tools.services import broker_users, ports
from tools.services.child import ServiceError
from tools.services.external import mqtt_login
from tools.services.mosquitto import NO_USERS, Program, configuration, find_program
from tools.services.place import Place

PASSWORD = "tests-only-broker-password"


class OwnBroker:
    """One Mosquitto with its queue and its port, over any number of starts."""

    def __init__(self, folder: Path, program: Program, *, has_plugin: bool = True) -> None:
        self._folder = folder
        self._program = program
        self._has_plugin = has_plugin
        self._child: subprocess.Popen[bytes] | None = None
        self.port = ports.choose()
        self._write()

    @property
    def url(self) -> str:
        """The platform's URL."""
        return f"mqtt://{broker_users.PLATFORM_USER}:{PASSWORD}@{ports.LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start it and wait until it takes the platform's login."""
        settings = self._folder / "mosquitto.conf"
        with (self._folder / "log").open("ab") as log:
            self._child = subprocess.Popen(
                [self._program.path, "-c", settings],
                cwd=self._folder,
                env=self._program.environment(),
                stdout=log,
                stderr=log,
            )
        until(self._takes_logins, what="a broker that takes the platform's login")

    def _takes_logins(self) -> bool:
        assert self._child is not None
        assert self._child.poll() is None, (self._folder / "log").read_text()
        with suppress(ServiceError):
            mqtt_login(self.url, timeout_s=1.0)
            return True
        return False

    def stop(self) -> None:
        """Stop it as a restart of the machine would: it keeps its queue."""
        if self._child is not None:
            self._child.send_signal(signal.SIGTERM)
            self._child.wait(timeout=15)
            self._child = None

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish as the platform."""
        with Publisher(self.url) as publisher:
            publisher.publish(topic, payload)
            publisher.flush()

    def forget(self) -> None:
        """Throw the queue and all sessions away; only while it is stopped."""
        (self._folder / "mosquitto.db").unlink(missing_ok=True)

    def forget_users(self) -> None:
        """Lose the users that the platform made; only while it is stopped."""
        (self._folder / "dynamic-security.json").write_text(json.dumps(NO_USERS), encoding="utf-8")

    def _write(self) -> None:
        plugin = self._program.plugin() if self._has_plugin else None
        text = configuration(self.port, max_queued_bytes=64 * 1024 * 1024, plugin=plugin)
        if os.geteuid() == 0:
            text += "user root\n"  # else it gives up root, and with it the folder of the test
        files = {
            "mosquitto.conf": text,
            "passwords": broker_users.mosquitto_passwords({broker_users.PLATFORM_USER: PASSWORD}),
            "acl": broker_users.mosquitto_acl(),
            "dynamic-security.json": json.dumps(NO_USERS),
        }
        for name, content in files.items():
            path = self._folder / name
            path.write_text(content, encoding="utf-8")
            path.chmod(0o600)


@contextmanager
def own_broker(folder: Path, *, has_plugin: bool = True) -> Iterator[OwnBroker]:
    """A started broker; skips the test where only the degraded one can be had."""
    var = Path(os.environ.get("VAR_DIR") or PROJECT / "var")
    vendor = next(
        (path for path in (PROJECT / "var" / "vendor", var.parent / "vendor") if path.exists()),
        var / "vendor",
    )
    try:
        program = find_program(Place(folder, folder, None), vendor, lambda text: None)
    except ServiceError as error:
        pytest.skip(f"no Mosquitto here: {error}")
    broker = OwnBroker(folder, program, has_plugin=has_plugin)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class OldBroker:
    """Speaks just enough MQTT 3.1.1: refuses version 5, then delivers one message and notes its end."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._listener.getsockname()[1]}"
        self.versions: list[int] = []
        self.acknowledged = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, connection.makefile("rb") as stream, suppress(OSError):
                    self._talk(connection, stream)

    def _talk(self, connection: socket.socket, stream: IO[bytes]) -> None:
        while head := stream.read(2):
            # Every packet of this conversation is shorter than 128 bytes.
            body = stream.read(head[1])
            match head[0] & 0xF0:
                case 0x10:
                    self.versions.append(body[6])
                    connection.sendall(b"\x20\x02\x00" + (b"\x01" if body[6] == 5 else b"\x00"))
                    if body[6] == 5:
                        return
                case 0x80:
                    connection.sendall(b"\x90\x03" + body[:2] + b"\x01")
                    connection.sendall(b"\x32\x0a\x00\x04t/1x\x00\x07{}")
                case 0x40:
                    assert body == b"\x00\x07"
                    self.acknowledged.set()
