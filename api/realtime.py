"""Socket.IO: who may connect, what they listen to, and when they have to go.

A connection is authenticated once, but a token ends and people lose rights. Two loops look again: one asks
every two seconds whether each token is still good, the other, which never waits for anything, disconnects
every second whoever has to go.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flask import request
from flask_socketio import ConnectionRefusedError as Refused

from api.broadcast import ALL_DEVICES, Audience, Broadcaster, alert_room, room_of
from api.socket_server import SocketServer
from domain.errors import PlatformError, Unavailable
from domain.identifier import is_device_id
from domain.reading import StoredReadings
from domain.transition import AlertChange
from observability import Heartbeats, get_logger, sockets_cut, sockets_open
from rbac import Principal
from settings import Settings

__all__ = ["Realtime", "create_socketio"]

log = get_logger("realtime")

HEARTBEAT = "socket sweep"
CHECK_HEARTBEAT = "socket rights"
PERMISSION = "telemetry:read"
ALERTS_PERMISSION = "alerts:read"

_SWEEP_EVERY_S = 1.0
_CHECK_EVERY_S = 2.0
_MAX_IDS = 1000
_MAX_TOKEN_CHARS = 8192
_MAX_WAITING_PACKETS = 2000
_MAX_EVENTS_PER_SWEEP = 200
# A transport that has not signed in after this time only holds a thread.
_SIGN_IN_WITHIN_S = 10.0
# What a client that was asked to go gets to do so before its connection is cut.
_GO_WITHIN_S = 1.0


@dataclass(slots=True, eq=False)
class _Listener:
    """One signed-in socket.

    Attributes:
        ended: Why it has to go, once that is known.
        events: What it has sent since the last sweep.
    """

    token: str
    transport_id: str
    principal: Principal
    rooms: set[str] = field(default_factory=set)
    ended: str | None = None
    events: int = 0


def create_socketio(settings: Settings) -> SocketServer:
    """The Socket.IO server: threads, own origin and the allowed ones, small messages, few transports."""
    return SocketServer(settings.web)


class Realtime:
    """Owns the sockets, the sweep and the broadcast."""

    def __init__(
        self,
        socketio: SocketServer,
        *,
        authenticate: Callable[[str], Principal],
        devices_of: Callable[[int, Sequence[str]], set[str]],
        settings: Settings,
        heartbeats: Heartbeats,
    ) -> None:
        self._socketio = socketio
        self._authenticate = authenticate
        self._devices_of = devices_of
        self._max_sockets = settings.web.max_sockets
        self._heartbeats = heartbeats
        self._listeners: dict[str, _Listener] = {}
        self._lock = threading.Lock()
        self._first_seen: dict[str, float] = {}
        self._leaving: dict[str, float] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._audience = Audience()
        self._broadcaster = Broadcaster(
            self._audience,
            emit=self._emit,
            interval_s=settings.web.broadcast_interval_s,
            heartbeats=heartbeats,
        )
        self.is_listening = self._audience.is_listening
        socketio.on_event("connect", self._on_connect)
        socketio.on_event("disconnect", self._on_disconnect)
        socketio.on_event("subscribe", self._on_subscribe)
        socketio.on_event("unsubscribe", self._on_unsubscribe)
        socketio.on_event("*", self._on_unknown)

    def start(self) -> None:
        """Start the broadcast and the two loops."""
        self._broadcaster.start()
        for name, step, every_s in (
            (HEARTBEAT, self.sweep, _SWEEP_EVERY_S),
            (CHECK_HEARTBEAT, self.check_rights, _CHECK_EVERY_S),
        ):
            thread = threading.Thread(target=self._run, args=(name, step, every_s), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, timeout_s: float) -> None:
        """Disconnect everyone and end the threads."""
        deadline = time.monotonic() + timeout_s
        self._stopping.set()
        self._broadcaster.stop(timeout_s)
        self.disconnect_all()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._socketio.server.shutdown()

    def publish(self, batch: list[StoredReadings]) -> None:
        """Take committed readings; returns at once."""
        self._broadcaster.publish(batch)

    def device_changed(self, tenant_id: int, device_id: str, status: str, last_seen_us: int) -> None:
        """Take the new status of a device; returns at once."""
        self._broadcaster.device_changed(tenant_id, device_id, status, last_seen_us)

    def alerts_changed(self, changes: Sequence[AlertChange]) -> None:
        """Take committed alert events; returns at once."""
        self._broadcaster.alerts_changed(changes)

    def disconnect_all(self) -> None:
        """Close every transport, signed in or not; cut those that do not go by themselves."""
        for transport_id in self._socketio.transports():
            self._socketio.hang_up(transport_id)
        deadline = time.monotonic() + _GO_WITHIN_S
        while self._socketio.has_connections() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._socketio.abort_all()

    # Events of clients ------------------------------------------------------------------------------

    def _on_connect(self, auth: object = None) -> None:
        transport_id = self._socketio.server.manager.eio_sid_from_sid(_sid(), "/")
        try:
            self._admit(auth, transport_id)
        except Refused:
            self._leaving[transport_id] = time.monotonic() + _GO_WITHIN_S
            raise

    def _admit(self, auth: object, transport_id: str) -> None:
        if not {"token", "access_token"}.isdisjoint(request.args):
            raise Refused("the token belongs into auth, not into the address")
        token = auth.get("token") if isinstance(auth, dict) else None
        if not isinstance(token, str) or not 0 < len(token) <= _MAX_TOKEN_CHARS:
            raise Refused("an access token is required: connect with auth {token}")
        try:
            principal = self._authenticate(token)
        except Unavailable as error:
            raise Refused(f"not possible at the moment: {error}") from None
        except PlatformError as error:
            raise Refused(f"the token is not accepted: {error}") from None
        with self._lock:
            if len(self._listeners) >= self._max_sockets:
                log.warning("socket_refused", reason="too many sockets")
                raise Refused("there are too many live connections; try again later")
            listener = self._listeners[_sid()] = _Listener(token, transport_id, principal)
            sockets_open.set(len(self._listeners))
            self._keep_to_rights(_sid(), listener)

    def _on_disconnect(self, reason: object = None) -> None:
        self._forget(_sid())

    def _on_unknown(self, event: object, *body: object) -> dict[str, Any]:
        if listener := self._listeners.get(_sid()):
            listener.events += 1
        return {"error": "there is no such event"}

    def _on_subscribe(self, body: object = None, *rest: object) -> dict[str, Any]:
        sid = _sid()
        listener = self._listeners.get(sid)
        if listener is None:
            return {"error": "the connection is not signed in"}
        listener.events += 1
        wanted = _device_ids(body)
        if isinstance(wanted, str):
            return {"error": wanted}
        tenant_id = listener.principal.tenant_id
        named = [device_id for device_id in wanted if device_id != ALL_DEVICES]
        try:
            known = self._devices_of(tenant_id, named) if named else set()
        except PlatformError as error:
            return {"error": str(error)}
        accepted = [device_id for device_id in wanted if device_id == ALL_DEVICES or device_id in known]
        with self._lock:
            # Only now: rights may have gone while the devices were looked up.
            if self._listeners.get(sid) is not listener or listener.ended:
                return {"error": "the connection is not signed in"}
            if not listener.principal.may(PERMISSION):
                return {"error": f"the permission {PERMISSION} is missing"}
            for device_id in accepted:
                self._enter(sid, listener, room_of(tenant_id, device_id))
        return {"subscribed": accepted, "unknown": [name for name in named if name not in known]}

    def _on_unsubscribe(self, body: object = None, *rest: object) -> dict[str, Any]:
        sid = _sid()
        listener = self._listeners.get(sid)
        if listener is None:
            return {"error": "the connection is not signed in"}
        listener.events += 1
        wanted = _device_ids(body)
        if isinstance(wanted, str):
            return {"error": wanted}
        with self._lock:
            for device_id in wanted:
                self._leave(sid, listener, room_of(listener.principal.tenant_id, device_id))
        return {"unsubscribed": wanted}

    # Rooms: python-socketio's are not safe against one thread entering what another leaves, so that every
    # change happens under the lock, also that of a disconnect.

    def _enter(self, sid: str, listener: _Listener, room: str) -> None:
        if room not in listener.rooms:
            self._socketio.server.enter_room(sid, room)
            listener.rooms.add(room)
            self._audience.join(room)

    def _leave(self, sid: str, listener: _Listener, room: str) -> None:
        if room in listener.rooms:
            listener.rooms.remove(room)
            self._audience.leave(room)
            self._socketio.server.leave_room(sid, room)

    def _leave_all(self, sid: str, listener: _Listener) -> None:
        for room in list(listener.rooms):
            self._leave(sid, listener, room)

    def _forget(self, sid: str) -> None:
        with self._lock:
            listener = self._listeners.pop(sid, None)
            sockets_open.set(len(self._listeners))
            if listener is not None:
                self._leave_all(sid, listener)

    def _emit(self, event: str, data: dict[str, Any], rooms: list[str]) -> None:
        try:
            self._socketio.server.emit(event, data, to=rooms)
        except KeyError:
            # A room was left by its last listener between python-socketio's look and its step.
            self._socketio.server.emit(event, data, to=rooms)

    # The loops --------------------------------------------------------------------------------------

    def _run(self, name: str, step: Callable[[], None], every_s: float) -> None:
        while not self._stopping.wait(every_s):
            self._heartbeats.beat(name, limit_s=60)
            try:
                step()
            except Exception:  # It guards everyone: one odd socket must not end it.
                log.exception("sweep_failed", loop=name)
        self._heartbeats.forget(name)

    def check_rights(self) -> None:
        """Ask once per token whether it is still good; mark those whose is not, and take lost rights away.

        A revocation counts at once, an outage does not: then only a token's own end does.
        """
        principals: dict[str, Principal | None] = {}
        for token in {listener.token for listener in list(self._listeners.values())}:
            try:
                principals[token] = self._authenticate(token)
            except Unavailable:
                break
            except PlatformError:
                principals[token] = None
        for sid, listener in list(self._listeners.items()):
            if listener.token in principals:
                self._renew(sid, listener, principals[listener.token])

    def _renew(self, sid: str, listener: _Listener, principal: Principal | None) -> None:
        with self._lock:
            if principal is None or principal.tenant_id != listener.principal.tenant_id:
                listener.ended = "token revoked"
            else:
                listener.principal = principal
            if listener.ended:
                self._leave_all(sid, listener)
            else:
                self._keep_to_rights(sid, listener)

    def _keep_to_rights(self, sid: str, listener: _Listener) -> None:
        """Everybody who may read alerts hears of those of the own tenant, without asking."""
        alerts = alert_room(listener.principal.tenant_id)
        if not listener.principal.may(PERMISSION):
            for room in listener.rooms - {alerts}:
                self._leave(sid, listener, room)
        if listener.principal.may(ALERTS_PERMISSION):
            self._enter(sid, listener, alerts)
        else:
            self._leave(sid, listener, alerts)

    def sweep(self) -> None:
        """Disconnect whose token has ended or was revoked, who floods, reads slowly or never signed in."""
        now = datetime.now(UTC)
        transports = self._socketio.transports()
        for sid, listener in list(self._listeners.items()):
            cause = listener.ended
            if listener.principal.expires_at <= now:
                cause = "token expired"
            elif listener.events > _MAX_EVENTS_PER_SWEEP:
                cause = "too many events"
            listener.events = 0
            if cause:
                self._cut(sid, listener, cause)
            elif listener.transport_id not in transports:
                self._forget(sid)
        self._sweep_transports(transports)

    def _cut(self, sid: str, listener: _Listener, cause: str) -> None:
        sockets_cut.labels(cause).inc()
        log.info("socket_disconnected", cause=cause, user_id=listener.principal.user_id)
        self._forget(sid)
        with suppress(KeyError):  # It went by itself at this very moment.
            self._socketio.server.disconnect(sid)
        self._socketio.hang_up(listener.transport_id)
        self._leaving.setdefault(listener.transport_id, time.monotonic() + _GO_WITHIN_S)

    def _sweep_transports(self, transports: dict[str, Any]) -> None:
        now = time.monotonic()
        signed_in = {listener.transport_id: sid for sid, listener in list(self._listeners.items())}
        self._first_seen = {name: self._first_seen.get(name, now) for name in transports}
        for transport_id, transport in transports.items():
            sid = signed_in.get(transport_id)
            if transport.queue.qsize() > _MAX_WAITING_PACKETS:
                if sid is not None and (listener := self._listeners.get(sid)):
                    self._cut(sid, listener, "reads too slowly")
                signed_in.pop(transport_id, None)
                self._leaving[transport_id] = now
            elif sid is None and now - self._first_seen[transport_id] > _SIGN_IN_WITHIN_S:
                self._leaving.setdefault(transport_id, now)
        for transport_id, until in list(self._leaving.items()):
            if until <= now:
                del self._leaving[transport_id]
                if transport_id not in signed_in:  # A refused client may have come back with a good token.
                    self._socketio.abort(transport_id)


def _sid() -> str:
    sid: str = request.sid  # type: ignore[attr-defined]
    return sid


def _device_ids(body: object) -> list[str] | str:
    """The device ids of a request, or what is wrong with it."""
    devices = body.get("devices") if isinstance(body, dict) else None
    if devices == ALL_DEVICES:
        return [ALL_DEVICES]
    if not isinstance(devices, list):
        return 'send {"devices": [...]} with device ids, or "*" for all'
    if len(devices) > _MAX_IDS:
        return f"at most {_MAX_IDS} devices at once"
    if not all(isinstance(item, str) and (item == ALL_DEVICES or is_device_id(item)) for item in devices):
        return "a device id has 1 to 64 of A-Z a-z 0-9 . _ -"
    return list(dict.fromkeys(devices))
