"""Keeps the broker's users as PostgreSQL says: one device at once, all at the start and hourly."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from domain.broker_user import BrokerUser, differences, username_of
from domain.errors import Unavailable
from fleet.turns import TurnsThread
from observability import Heartbeats, get_logger
from storage import credentials
from storage.pool import SystemDatabase

log = get_logger("access")

HEARTBEAT = "broker access"
_RETRY_FIRST_S, _RETRY_MAX_S = 1.0, 300.0


class AccessDriver(Protocol):
    """What makes and removes users at the broker. Every call raises Unavailable where it cannot."""

    def users(self) -> dict[str, str | None]:
        """Users of devices by name, with the credential each was made with; None for one shut out."""
        ...

    def put(self, users: Sequence[BrokerUser]) -> None:
        """Make users anew, cutting their connections."""
        ...

    def remove(self, usernames: Sequence[str]) -> None:
        """Remove users, cutting their connections."""
        ...


class BrokerAccess:
    """Owns the thread that compares the broker with PostgreSQL."""

    def __init__(
        self,
        database: SystemDatabase,
        driver: AccessDriver,
        *,
        secret_of: Callable[[str], str],
        heartbeats: Heartbeats,
        interval: timedelta = timedelta(hours=1),
    ) -> None:
        self._database = database
        self._driver = driver
        self._secret_of = secret_of
        self._interval_s = interval.total_seconds()
        self._retry_s = _RETRY_FIRST_S
        # One change at a time, each from what PostgreSQL says at its turn: the last is the newest.
        self._turn = threading.Lock()
        self._turns = TurnsThread(HEARTBEAT, self._take_turn, heartbeats=heartbeats, turn_limit_s=90.0)

    def start(self) -> None:
        """Compare now, then hourly and after every `wake`."""
        self._turns.start()

    def stop(self, timeout_s: float) -> bool:
        """End the thread; return whether it has ended."""
        return self._turns.stop(timeout_s)

    def wake(self) -> None:
        """Compare soon: the broker was connected anew and may have lost its users. Returns at once."""
        self._turns.wake()

    def secret(self, credential_id: str) -> str:
        """The secret that belongs to a credential: it follows from the platform's secret key."""
        return self._secret_of(f"device credential {credential_id}")

    def enforce(self, device_key: int) -> bool:
        """Have the broker know one device as PostgreSQL says; return whether it does now.

        What does not succeed here is tried again by the thread.
        """
        try:
            with self._turn:
                with self._database.transaction() as cursor:
                    row = credentials.broker_user(cursor, device_key)
                user = None if row is None else self._user(row)
                if user is not None:
                    self._driver.put([user])
        except Unavailable as problem:
            log.warning("broker_user_not_changed", detail=problem.detail)
            self.wake()
            return False
        return user is not None

    def reconcile(self) -> int:
        """Have the broker know every device as PostgreSQL says; return how many users were changed.

        Raises:
            Unavailable: the broker or PostgreSQL cannot do it now.
        """
        with self._turn:
            with self._database.transaction() as cursor:
                rows = credentials.broker_users(cursor)
            users = [user for row in rows if (user := self._user(row)) is not None]
            found = differences({user.username: user for user in users}, self._driver.users())
            if found.put:
                self._driver.put(found.put)
            if found.remove:
                self._driver.remove(found.remove)
        return len(found.put) + len(found.remove)

    def _user(self, row: credentials.BrokerUserRow) -> BrokerUser | None:
        username = username_of(row.tenant_slug, row.device_id)
        if row.credential_id is None:
            return BrokerUser(username, None)
        password = self.secret(row.credential_id)
        if hashlib.sha256(password.encode()).digest() != row.secret_sha256:
            # The device has a secret that we can no longer make: leave what the broker knows alone.
            log.error("credential_of_another_secret_key", user=username, remedy="issue a new credential")
            return None
        return BrokerUser(username, row.credential_id, password)

    def _take_turn(self) -> float:
        try:
            changed = self.reconcile()
        except Unavailable as problem:
            log.warning("broker_users_not_compared", detail=problem.detail or problem.title)
            due_s, self._retry_s = self._retry_s, min(self._retry_s * 2, _RETRY_MAX_S)
            return due_s
        self._retry_s = _RETRY_FIRST_S
        if changed:
            log.info("broker_users_changed", changed=changed)
        return self._interval_s
