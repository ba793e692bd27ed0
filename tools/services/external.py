"""Services that the user names by URL: connect, check the version, say what is wrong; never change them.

Redis and MQTT are asked in their own protocols over a plain socket: a few bytes, and no client library to
load before every start.
"""

import contextlib
import re
import socket
import ssl
import struct
import time
from urllib.parse import SplitResult, unquote, urlsplit

from tools.services.child import ServiceError

TIMEOUT_S = 5.0
OLDEST_POSTGRES = 14
OLDEST_REDIS = 7
CONNACK_REASONS = {
    1: "it refuses MQTT 3.1.1",
    2: "it refuses the client identifier",
    3: "it is not available",
    4: "wrong user name or password",
    5: "this user is not authorised",
}


def without_password(url: str) -> str:
    """Return the URL as it may be shown."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def check_postgres(url: str) -> str:
    """Return the server's version text after a login.

    Raises:
        ServiceError: when it cannot be reached or is older than PostgreSQL 14.
    """
    from storage.pool import DatabaseUnavailable, Pool, PoolOptions  # only needed here, and slow to load

    options = PoolOptions(
        size=1, wait_s=TIMEOUT_S, connect_timeout_s=int(TIMEOUT_S), statement_timeout_s=TIMEOUT_S
    )
    pool = Pool(url, name="check", options=options)
    try:
        with pool.connection() as connection:
            version = connection.server_version
    except DatabaseUnavailable as error:
        reason = str(error.__cause__ or error).strip().splitlines()[-1]
        raise ServiceError(
            f"DATABASE_URL ({without_password(url)}) cannot be used: {reason}. "
            "Remedy: start that PostgreSQL, correct the URL, or unset DATABASE_URL to use an embedded one."
        ) from error
    finally:
        pool.close()
    if version < OLDEST_POSTGRES * 10_000:
        raise ServiceError(
            f"DATABASE_URL ({without_password(url)}) is PostgreSQL {version // 10_000}; "
            f"needed is {OLDEST_POSTGRES} or newer."
        )
    return f"PostgreSQL {version // 10_000}.{version % 10_000}"


def check_redis(url: str) -> str:
    """Return the server's version text after a login.

    Raises:
        ServiceError: when it cannot be reached or is older than Redis 7.
    """
    try:
        version = redis_version(url, timeout_s=TIMEOUT_S)
    except ServiceError as error:
        raise ServiceError(
            f"REDIS_URL ({without_password(url)}) cannot be used: {error}. "
            "Remedy: start that Redis, correct the URL, or unset REDIS_URL to use an embedded one."
        ) from error
    if int(version.split(".", maxsplit=1)[0]) < OLDEST_REDIS:
        raise ServiceError(
            f"REDIS_URL ({without_password(url)}) is Redis {version}; needed is {OLDEST_REDIS} or newer."
        )
    return f"Redis {version}"


def check_mqtt(url: str) -> str:
    """Return what was reached after the broker accepted a login.

    Raises:
        ServiceError: when it cannot be reached or refuses the login.
    """
    try:
        mqtt_login(url, timeout_s=TIMEOUT_S)
    except ServiceError as error:
        raise ServiceError(
            f"MQTT_URL ({without_password(url)}) cannot be used: {error}. "
            "Remedy: start that broker, correct the URL, or unset MQTT_URL to use an embedded one."
        ) from error
    return "MQTT broker"


def redis_version(url: str, *, timeout_s: float) -> str:
    """Log in to a Redis (or Valkey) and return the Redis version that it speaks for.

    Raises:
        ServiceError: when it does not answer, or refuses the login.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss"):
        raise ServiceError("the URL must start with redis:// or rediss://")
    with _connect(parts, 6379, timeout_s, tls=parts.scheme == "rediss") as connection:
        answers = connection.makefile("rb")
        try:
            if parts.password is not None:
                login = [unquote(part) for part in (parts.username, parts.password) if part]
                connection.sendall(_redis_command("AUTH", *login))
                _redis_answer(answers.readline())
            connection.sendall(_redis_command("INFO", "server"))
            size = int(_redis_answer(answers.readline())[1:])
            body = answers.read(size).decode("utf-8", "replace")
        except (OSError, ValueError) as error:
            raise ServiceError(f"no Redis answer ({error})") from error
    found = re.search(r"redis_version:(\S+)", body)
    return found.group(1) if found else "0"


def _redis_command(*words: str) -> bytes:
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


def _redis_answer(line: bytes) -> str:
    if not line or line[:1] == b"-":
        raise ServiceError(line[1:].decode("utf-8", "replace").strip() or "the connection was closed")
    return line.decode("ascii").strip()


def mqtt_login(url: str, *, timeout_s: float) -> None:
    """Connect as the URL says (MQTT 3.1.1, clean session) and disconnect.

    Raises:
        ServiceError: when the broker does not answer or refuses.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("mqtt", "mqtts"):
        raise ServiceError("the URL must start with mqtt:// or mqtts://")
    tls = parts.scheme == "mqtts"
    with _connect(parts, 8883 if tls else 1883, timeout_s, tls=tls) as connection:
        flags, fields = 0x02, [f"iiot-check-{time.monotonic_ns() % 10**9}"]
        for part, flag in ((parts.username, 0x80), (parts.password, 0x40)):
            if part is not None:
                flags |= flag
                fields.append(unquote(part))
        body = b"\x00\x04MQTT\x04" + bytes((flags,)) + struct.pack("!H", 10)
        for text in fields:
            encoded = text.encode()
            body += struct.pack("!H", len(encoded)) + encoded
        try:
            connection.sendall(b"\x10" + _mqtt_length(len(body)) + body)
            answer = connection.makefile("rb").read(4)
            if len(answer) != 4 or answer[0] != 0x20:
                raise ServiceError("the connection was closed without a CONNACK")
            if answer[3] != 0:
                raise ServiceError(CONNACK_REASONS.get(answer[3], f"CONNACK code {answer[3]}"))
            connection.sendall(b"\xe0\x00")
        except OSError as error:
            raise ServiceError(f"no CONNACK ({error})") from error


def _mqtt_length(length: int) -> bytes:
    encoded = bytearray()
    while True:
        length, digit = divmod(length, 128)
        encoded.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(encoded)


def _connect(parts: SplitResult, default_port: int, timeout_s: float, *, tls: bool) -> socket.socket:
    try:
        host, port = parts.hostname or "localhost", parts.port or default_port
        with contextlib.ExitStack() as undo:
            connection = undo.enter_context(socket.create_connection((host, port), timeout_s))
            if tls:
                context = ssl.create_default_context()
                connection = undo.enter_context(context.wrap_socket(connection, server_hostname=host))
            undo.pop_all()
            return connection
    except (OSError, ValueError) as error:
        raise ServiceError(str(error)) from error
