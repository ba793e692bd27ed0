"""Webhooks: one guarded function that posts signed bytes to a URL that a user has typed.

The eight protections, in the order in which they act:

1. the URL's grammar is strict: absolute http or https, ASCII, no user information, at most 2048 characters;
2. its name is resolved once per attempt, and every answer is judged: public addresses, or networks that the
   deployment allows (a setting, not the API); never link-local, metadata or addresses that hide another one;
3. the connection goes to the judged address, and the peer is compared; the name serves TLS and Host only;
4. redirects are an answer like any other, and proxies of the environment are not asked;
5. TLS is verified; plain http reaches allowed networks only;
6. bodies are signed as in Standard Webhooks 1.0.0, with two secrets while one is being replaced;
7. bodies are at most 1 MB, and at most 64 kB of the answer are read;
8. an attempt ends within its deadline as a whole, however slowly bytes come in.

Spacing and retries belong to the dispatcher. What failed is told in `domain.delivery.Failure`'s words: a raw
error could be used to look around inside the plant's network.
"""

from __future__ import annotations

import base64
import io
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ssrfguard import Address, Policy, SSRFGuardError, Target, connect, resolve
from standardwebhooks import Webhook

from domain.delivery import Failure
from domain.errors import RuleBroken

Network = IPv4Network | IPv6Network

MAX_BODY_BYTES = 1_048_576
MAX_ANSWER_BYTES = 65_536
MAX_URL_CHARS = 2048
MAX_RETRY_AFTER_S = 86_400.0
_USER_AGENT = "INSA-IIoT-Webhooks/1"

# Beside ssrfguard's table of special addresses; these win over the deployment's allow list too.
_NEVER: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.0/24",
        "224.0.0.0/3",
        "::/128",
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/32",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_UNICAST_6 = IPv6Network("2000::/3")


class UrlRefused(RuleBroken):
    """This URL is not one that webhooks may be sent to."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What a deployment allows its webhooks to reach.

    Attributes:
        allowed_networks: Plant-internal networks that may be reached, also over plain http and on any port.
        ports: What may be reached elsewhere.
        ca_file: Certificates to trust beside those of the system.
        deadline_s: For one attempt as a whole.
        lookup: `socket.getaddrinfo`, or what a test puts in its place.
    """

    allowed_networks: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset({443, 8443})
    ca_file: Path | None = None
    deadline_s: float = 10.0
    lookup: Callable[..., Any] = socket.getaddrinfo
    _policy: Policy = field(init=False, repr=False, compare=False)
    _context: ssl.SSLContext = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare what all deliveries share."""
        policy = Policy(
            allowed_networks=self.allowed_networks,
            allowed_ports=frozenset(range(1, 65_536)),
            max_url_length=MAX_URL_CHARS,
            max_connection_attempts=2,
        )
        context = ssl.create_default_context()
        if self.ca_file is not None:
            context.load_verify_locations(self.ca_file)
        object.__setattr__(self, "_policy", policy)
        object.__setattr__(self, "_context", context)

    @property
    def policy(self) -> Policy:
        """The rules that ssrfguard judges by."""
        return self._policy

    @property
    def context(self) -> ssl.SSLContext:
        """TLS with verified names and certificates."""
        return self._context

    def allows_inside(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether the address lies in a network that the deployment allows."""
        return any(address in network for network in self.allowed_networks)


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: the bytes are signed as they are."""

    url: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt: a status, or a failure.

    Attributes:
        body: The start of the receiver's answer, for the delivery ledger.
        latency_ms: From the look-up to the end of the answer.
        retry_after_s: What the receiver asks for, at most a day.
    """

    status: int | None = None
    failure: Failure | None = None
    body: bytes = b""
    latency_ms: float = 0.0
    retry_after_s: float | None = None


def new_secret() -> str:
    """A signing secret as Standard Webhooks writes it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def signed_headers(message_id: str, body: bytes, keys: Sequence[str], *, now: datetime) -> dict[str, str]:
    """The headers that prove origin, content and time; one signature per secret, for rotation."""
    # The library takes the clock's digits as UTC, whatever the zone.
    moment = now.astimezone(UTC)
    text = body.decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(Webhook(key).sign(message_id, moment, text) for key in keys),
    }


def check_url(url: str, guard: Guard) -> None:
    """Judge what can be judged without a look-up, for the moment at which somebody types the URL.

    Raises:
        UrlRefused: No delivery to this URL could ever succeed.
    """
    try:
        target = _target(url, guard)
        if target.address is not None:
            _judge(target, target.address, guard)
    except SSRFGuardError:
        raise UrlRefused("the URL, its address or its port is not allowed by this deployment") from None


def deliver(request: Request, guard: Guard) -> Answer:
    """Post once and return what came of it; raises nothing that the receiver or the network can cause."""
    started = time.monotonic()
    answer = _attempt(request, guard, started + guard.deadline_s)
    latency_ms = (time.monotonic() - started) * 1000
    return Answer(answer.status, answer.failure, answer.body, latency_ms, answer.retry_after_s)


def _attempt(request: Request, guard: Guard, deadline: float) -> Answer:  # noqa: PLR0911 - one per failure
    if len(request.body) > MAX_BODY_BYTES:
        return Answer(failure=Failure.TOO_LARGE)
    try:
        target = _target(request.url, guard)
        addresses = _resolved(target, guard, deadline)
        with connect(addresses, policy=guard.policy, timeout=_left_s(deadline) / 2) as plain:
            return _exchange(plain, request, target, guard, deadline)
    except SSRFGuardError:
        return Answer(failure=Failure.REFUSED)
    except socket.gaierror:
        return Answer(failure=Failure.UNRESOLVED)
    except TimeoutError:
        return Answer(failure=Failure.TIMEOUT)
    except ssl.SSLError:
        return Answer(failure=Failure.TLS)
    except OSError:
        return Answer(failure=Failure.UNREACHABLE)
    except (HTTPException, ValueError):
        return Answer(failure=Failure.PROTOCOL)


class _Denied(SSRFGuardError):
    pass


def _target(url: str, guard: Guard) -> Target:
    if not url.isascii() or any(character <= " " or character in '\\"<>^`{|}\x7f' for character in url):
        raise _Denied("characters")
    return guard.policy.check_url(url)


def _judge(target: Target, address: IPv4Address | IPv6Address, guard: Guard) -> None:
    guard.policy.check_address(address)
    if any(address in network for network in _NEVER):
        raise _Denied("special address")
    if guard.allows_inside(address):
        return
    if isinstance(address, IPv6Address) and address not in _UNICAST_6:
        raise _Denied("not a public address")
    if not address.is_global:
        raise _Denied("not a public address")
    if target.scheme != "https" or target.port not in guard.ports:
        raise _Denied("only https on the usual ports leaves the plant")


def _resolved(target: Target, guard: Guard, deadline: float) -> Sequence[Address]:
    """Look up once, with a deadline, which `getaddrinfo` has none of; every answer must be allowed."""
    found: Future[Sequence[Address]] = Future()

    def look_up() -> None:
        try:
            found.set_result(resolve(target, policy=guard.policy, resolver=guard.lookup))
        except (OSError, ValueError, SSRFGuardError) as error:
            found.set_exception(error)

    threading.Thread(target=look_up, name="webhook look-up", daemon=True).start()
    addresses = found.result(timeout=_left_s(deadline))
    for address in addresses:
        _judge(target, ip_address(str(address.ip)), guard)
    return addresses


def _exchange(
    plain: socket.socket, request: Request, target: Target, guard: Guard, deadline: float
) -> Answer:
    plain.settimeout(_left_s(deadline))
    if target.scheme == "http":
        return _post(plain, request, target, deadline)
    with guard.context.wrap_socket(plain, server_hostname=target.host) as encrypted:
        return _post(encrypted, request, target, deadline)


def _post(link: socket.socket, request: Request, target: Target, deadline: float) -> Answer:
    message = memoryview(_head(request, target) + request.body)
    while message:
        link.settimeout(_left_s(deadline))
        message = message[link.send(message) :]
    response = HTTPResponse(_Deadlined(link, deadline), method="POST")  # type: ignore[arg-type]
    response.begin()
    body = response.read(MAX_ANSWER_BYTES)
    return Answer(
        status=response.status, body=body, retry_after_s=_retry_after_s(response.getheader("Retry-After"))
    )


def _head(request: Request, target: Target) -> bytes:
    parts = urlsplit(request.url)
    host = f"[{target.host}]" if ":" in target.host else target.host
    default_port = 443 if target.scheme == "https" else 80
    headers = {
        "Host": host if target.port == default_port else f"{host}:{target.port}",
        "User-Agent": _USER_AGENT,
        "Content-Type": "application/json",
        "Content-Length": str(len(request.body)),
        "Connection": "close",
        **request.headers,
    }
    if any(not f"{name}{text}".isprintable() for name, text in headers.items()):
        raise ValueError("a header has control characters")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


class _Deadlined(io.RawIOBase):
    """Reads from a socket, each time with only as much patience as is left in total."""

    def __init__(self, link: socket.socket, deadline: float) -> None:
        self._link = link
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._link.settimeout(_left_s(self._deadline))
        return self._link.recv_into(buffer)


def _left_s(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline of the attempt has passed")
    return left


def _retry_after_s(text: str | None) -> float | None:
    """Seconds or an HTTP date (RFC 9110, 10.2.3); nonsense counts as nothing."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), MAX_RETRY_AFTER_S)
