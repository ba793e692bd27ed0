"""Who may log in to the embedded broker and what each may do there.

`platform` is the platform itself. The demo plant's devices are ordinary devices: each has its own user
`{tenant}/{device_id}` and can publish and subscribe only below its own topic.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping

from mqtt.password_file import password_line

PLATFORM_USER = "platform"
TOPIC_ROOT = "iiot/v1"
DEMO_DEVICES = (
    *("P-101", "P-102", "P-103", "P-104", "P-105"),
    *("C-201", "C-202"),
    *("M-301", "M-302", "M-303", "M-304"),
    *("T-401", "T-402"),
    "H-501",
    *("E-601", "E-602", "E-603"),
    *("G-1", "G-2"),
)
# Topics of Mosquitto only: the fallback broker has no plugin that would listen.
CONTROL_TOPICS = "$CONTROL/dynamic-security/#"
PLATFORM_TOPICS = {"readwrite": (f"{TOPIC_ROOT}/#", "demo/#"), "read": ("$SYS/#",)}
DEVICE_TOPICS = {"write": ("telemetry", "status", "alerts", "commands/+/response"), "read": ("commands/+",)}


def demo_password(secret: str, user: str) -> str:
    """Return the broker password of a demo device, derived so that plant and broker need no shared list."""
    digest = hmac.new(secret.encode(), user.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def users(platform_password: str, demo_secret: str | None, tenant: str) -> dict[str, str]:
    """Return every broker user's password; without a `demo_secret` there are no demo devices."""
    found = {PLATFORM_USER: platform_password}
    if demo_secret:
        for device in DEMO_DEVICES:
            user = f"{tenant}/{device}"
            found[user] = demo_password(demo_secret, user)
    return found


def mosquitto_passwords(passwords: Mapping[str, str]) -> str:
    """Return Mosquitto's password file."""
    return "".join(password_line(user, password) + "\n" for user, password in passwords.items())


def mosquitto_acl() -> str:
    """Return Mosquitto's ACL file: what is not named is denied."""
    lines = [f"user {PLATFORM_USER}"]
    lines += [f"topic {access} {topic}" for access, topics in PLATFORM_TOPICS.items() for topic in topics]
    lines.append(f"topic readwrite {CONTROL_TOPICS}")
    lines += [
        f"pattern {access} {TOPIC_ROOT}/%u/{topic}"
        for access, topics in DEVICE_TOPICS.items()
        for topic in topics
    ]
    return "\n".join(lines) + "\n"


def amqtt_acl(names: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Return the same rights for the fallback broker, which knows no patterns: topics per user."""
    publish: dict[str, list[str]] = {}
    subscribe: dict[str, list[str]] = {}
    for name in names:
        if name == PLATFORM_USER:
            publish[name] = list(PLATFORM_TOPICS["readwrite"])
            subscribe[name] = [*PLATFORM_TOPICS["readwrite"], *PLATFORM_TOPICS["read"]]
        else:
            publish[name] = [f"{TOPIC_ROOT}/{name}/{topic}" for topic in DEVICE_TOPICS["write"]]
            subscribe[name] = [f"{TOPIC_ROOT}/{name}/{topic}" for topic in DEVICE_TOPICS["read"]]
    return {"publish_acl": publish, "acl": subscribe}
