"""Lines of Mosquitto's password file, for a broker whose users are not driven by the platform."""

from __future__ import annotations

import base64
import hashlib
import os

PBKDF2_ROUNDS = 101  # mosquitto_passwd's number; safe only because every password here is long and random


def password_line(user: str, password: str, salt: bytes | None = None) -> str:
    """Return one line of Mosquitto's password file (scheme 7: PBKDF2 with SHA-512)."""
    salt = os.urandom(12) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, PBKDF2_ROUNDS)
    encoded = (base64.b64encode(part).decode("ascii") for part in (salt, digest))
    return f"{user}:$7${PBKDF2_ROUNDS}${'$'.join(encoded)}"
