"""Socket.IO: who may connect, what they listen to, and when they have to go.

A connection is authenticated once, but a token ends and people lose rights: a sweep looks every second at
every open socket again. Each socket holds a thread, so that their number is bounded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import request
from flask_socketio import ConnectionRefusedError as Refused
from flask_socketio import SocketIO

from api.broadcast import ALL_DEVICES, Audience, Broadcaster, room_of
from domain.errors import Unauthenticated, Unavailable
from domain.identifier import is_device_id
from domain.reading import StoredReadings
from observability import Heartbeats, get_logger, sockets_open
from rbac import Principal
from settings import Settings

log = get_logger("realtime")

HEARTBEAT = "socket sweep"
PERMISSION = "telemetry:read"

_SWEEP_EVERY_S = 1.0
_MAX_IDS = 1000
_MAX_WAITING_PACKETS = 2000
# A transport that has not signed in after this time only holds a thread.
_SIGN_IN_WITHIN_S = 10.0
_MAX_MESSAGE_BYTES = 65_536


class _Json:
    """orjson in the shape that python-socketio asks for."""

    @staticmethod
    def dumps(value: object, **_options: object) -> str:
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_options: object) -> Any:
        return orjson.loads(text)


@dataclass(slots=True)
class _Listener:
    """One signed-in socket."""

    token: str
    principal: Principal
    rooms: set[str] = field(default_factory=set)


def create_socketio(settings: Settings) -> SocketIO:
    """The Socket.IO server: threads, own origin and the allowed ones, small messages."""
    origins = settings.web.origins
    return SocketIO(
        async_mode="threading",
        cors_allowed_origins=origins or None,
        max_http_buffer_size=_MAX_MESSAGE_BYTES,
        ping_interval=20,
        ping_timeout=20,
        json=_Json,
    )


class Realtime:
    """Owns the sockets, the sweep and the broadcast."""

    def __init__(
        self,
        socketio: SocketIO,
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
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._audience = Audience()
        self._broadcaster = Broadcaster(
            self._audience,
            emit=lambda event, data, rooms: socketio.server.emit(event, data, room=rooms),
            interval_s=settings.web.broadcast_interval_s,
            heartbeats=heartbeats,
        )
        self.is_listening = self._audience.is_listening
        socketio.on_event("connect", self._on_connect)
        socketio.on_event("disconnect", self._on_disconnect)
        socketio.on_event("subscribe", self._on_subscribe)
        socketio.on_event("unsubscribe", self._on_unsubscribe)

    def start(self) -> None:
        """Start the broadcast and the sweep."""
        self._broadcaster.start()
        self._thread = threading.Thread(target=self._run, name="socket-sweep", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Disconnect everyone and end the threads."""
        self._stopping.set()
        self._broadcaster.stop(timeout_s)
        self.disconnect_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def publish(self, batch: list[StoredReadings]) -> None:
        """Take committed readings; returns at once."""
        self._broadcaster.publish(batch)

    def device_changed(self, tenant_id: int, device_id: str, status: str, last_seen_us: int) -> None:
        """Take the new status of a device; returns at once."""
        self._broadcaster.device_changed(tenant_id, device_id, status, last_seen_us)

    def disconnect_all(self) -> None:
        """Close every transport, signed in or not."""
        for transport in list(self._transports().values()):
            transport.close(wait=False)

    # Events of clients ------------------------------------------------------------------------------

    def _on_connect(self, auth: object = None) -> None:
        if "token" in request.args:
            raise Refused("the token belongs into auth, not into the address")
        token = auth.get("token") if isinstance(auth, dict) else None
        if not isinstance(token, str) or not token:
            raise Refused("an access token is required: connect with auth {token}")
        try:
            principal = self._authenticate(token)
        except Unauthenticated as error:
            raise Refused(f"the token is not accepted: {error}") from None
        except Unavailable as error:
            raise Refused(f"not possible at the moment: {error}") from None
        if not principal.may(PERMISSION):
            raise Refused(f"the permission {PERMISSION} is missing")
        with self._lock:
            if len(self._listeners) >= self._max_sockets:
                log.warning("socket_refused", reason="too many", open=len(self._listeners))
                raise Refused("there are too many live connections; try again later")
            self._listeners[_sid()] = _Listener(token, principal)
            sockets_open.set(len(self._listeners))

    def _on_disconnect(self, reason: object = None) -> None:
        self._forget(_sid())

    def _on_subscribe(self, body: object = None) -> dict[str, Any]:
        listener = self._listeners.get(_sid())
        wanted = _device_ids(body)
        if listener is None:
            return {"error": "the connection is not signed in"}
        if isinstance(wanted, str):
            return {"error": wanted}
        tenant_id = listener.principal.tenant_id
        named = [device_id for device_id in wanted if device_id != ALL_DEVICES]
        try:
            known = self._devices_of(tenant_id, named) if named else set()
        except Unavailable as error:
            return {"error": str(error)}
        accepted = [device_id for device_id in wanted if device_id == ALL_DEVICES or device_id in known]
        self._enter(listener, [room_of(tenant_id, device_id) for device_id in accepted])
        return {"subscribed": accepted, "unknown": [name for name in named if name not in known]}

    def _on_unsubscribe(self, body: object = None) -> dict[str, Any]:
        listener = self._listeners.get(_sid())
        wanted = _device_ids(body)
        if listener is None:
            return {"error": "the connection is not signed in"}
        if isinstance(wanted, str):
            return {"error": wanted}
        for device_id in wanted:
            room = room_of(listener.principal.tenant_id, device_id)
            if room in listener.rooms:
                listener.rooms.discard(room)
                self._audience.leave(room)
                self._socketio.server.leave_room(_sid(), room)
        return {"unsubscribed": wanted}

    def _enter(self, listener: _Listener, rooms: Sequence[str]) -> None:
        with self._lock:
            if self._listeners.get(_sid()) is not listener:
                return  # It was disconnected meanwhile.
            for room in rooms:
                if room not in listener.rooms:
                    listener.rooms.add(room)
                    self._socketio.server.enter_room(_sid(), room)
                    self._audience.join(room)

    def _forget(self, sid: str) -> None:
        with self._lock:
            listener = self._listeners.pop(sid, None)
            sockets_open.set(len(self._listeners))
        if listener is not None:
            for room in listener.rooms:
                self._audience.leave(room)

    # The sweep --------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.wait(_SWEEP_EVERY_S):
            self._heartbeats.beat(HEARTBEAT)
            try:
                self.sweep()
            except Exception:  # The sweep guards everyone; one odd socket must not end it.
                log.exception("sweep_failed")
        self._heartbeats.forget(HEARTBEAT)

    def sweep(self) -> None:
        """Disconnect those whose right to listen has ended, who read too slowly, or who never signed in."""
        for sid, listener in list(self._listeners.items()):
            if cause := self._cause_to_go(listener):
                log.info("socket_disconnected", cause=cause, user_id=listener.principal.user_id)
                self._socketio.server.disconnect(sid)
                self._forget(sid)
        self._sweep_transports()

    def _cause_to_go(self, listener: _Listener) -> str | None:
        if listener.principal.expires_at <= datetime.now(UTC):
            return "token expired"
        try:
            listener.principal = self._authenticate(listener.token)
        except Unauthenticated:
            return "token revoked"
        except Unavailable:
            return None  # PostgreSQL cannot say; the token still has its own end.
        return None if listener.principal.may(PERMISSION) else "permission withdrawn"

    def _sweep_transports(self) -> None:
        transports = self._transports()
        signed_in = {
            self._socketio.server.manager.eio_sid_from_sid(sid, "/") for sid in list(self._listeners)
        }
        now = time.monotonic()
        self._first_seen = {sid: self._first_seen.get(sid, now) for sid in transports}
        for sid, transport in transports.items():
            if transport.queue.qsize() > _MAX_WAITING_PACKETS:
                log.warning("socket_disconnected", cause="reads too slowly")
                transport.close(wait=False)
            elif sid not in signed_in and now - self._first_seen[sid] > _SIGN_IN_WITHIN_S:
                transport.close(wait=False)

    def _transports(self) -> dict[str, Any]:
        """The open transports; engine.io drops closed ones from its table only now and then."""
        sockets = self._socketio.server.eio.sockets if self._socketio.server else {}
        return {sid: transport for sid, transport in dict(sockets).items() if not transport.closed}


def _sid() -> str:
    sid: str = request.sid  # type: ignore[attr-defined]
    return sid


def _device_ids(body: object) -> list[str] | str:
    """The device ids of a request, or what is wrong with it."""
    devices = body.get("devices") if isinstance(body, dict) else None
    if not isinstance(devices, list):
        return 'send {"devices": [...]} with device ids, or "*" for all'
    if len(devices) > _MAX_IDS:
        return f"at most {_MAX_IDS} devices at once"
    if not all(isinstance(item, str) and (item == ALL_DEVICES or is_device_id(item)) for item in devices):
        return "a device id has 1 to 64 of A-Z a-z 0-9 . _ -"
    return list(dict.fromkeys(devices))
