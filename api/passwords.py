"""Passwords: argon2id, few at a time, so that sign-ins cannot starve the ingest of processor and memory."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from domain.errors import RuleBroken, Unavailable

MIN_PASSWORD_CHARS = 12
MAX_PASSWORD_CHARS = 256


class PasswordTooWeak(RuleBroken):
    """The new password is too easy to guess."""


class SignInsBusy(Unavailable):
    """Too many people are signing in at this moment."""


class Passwords:
    """Hashes and verifies with argon2id (19 MiB, 2 passes, 1 lane; OWASP's first choice). Thread-safe."""

    def __init__(self, *, at_once: int = 2, wait_s: float = 5.0) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)
        self._slots = threading.Semaphore(at_once)
        self._wait_s = wait_s
        # Checked where there is no such person, so that the answer takes as long.
        self._nobody = self._hasher.hash("nobody has this password")

    def hash(self, password: str) -> str:
        """The hash to store."""
        with self._slot():
            return self._hasher.hash(_normal(password))

    def verify(self, password_hash: str | None, password: str) -> bool:
        """Tell whether the password belongs to the hash; None takes the same time and is never true."""
        try:
            with self._slot():
                self._hasher.verify(password_hash or self._nobody, _normal(password))
        except (VerificationError, InvalidHashError):
            return False
        return password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether the hash was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=self._wait_s):
            raise SignInsBusy(retry_after_s=2)
        try:
            yield
        finally:
            self._slots.release()


def check_new_password(password: str, *, email: str) -> None:
    """Let only passwords that are long enough and are not the address go on.

    Raises:
        PasswordTooWeak: It is not good enough.
    """
    normal = _normal(password)
    if not MIN_PASSWORD_CHARS <= len(normal) <= MAX_PASSWORD_CHARS:
        raise PasswordTooWeak(f"use {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters")
    if len(set(normal)) < 5 or normal.lower() == email.lower():
        raise PasswordTooWeak("use something that is harder to guess")


def _normal(password: str) -> str:
    """The same password from every keyboard: Unicode NFKC, as NIST SP 800-63B advises."""
    return unicodedata.normalize("NFKC", password)
