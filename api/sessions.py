"""Signing in and staying in: passwords to tokens, tokens to principals, and the end of both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from api.passwords import Passwords, check_new_password
from api.tokens import Claims, TokenExpired, TokenRefused, Tokens, TokenType
from domain.audit import Actor
from domain.errors import FieldError, RuleBroken, Unauthenticated
from rbac import Principal
from storage import accounts, audit
from storage import sessions as stored
from storage.pool import AppDatabase, SystemDatabase
from storage.remembered import Remembered

# A revocation in this process counts at once, one in another process after this time. Open sockets are
# looked at every few seconds on top of it, so that they end within 5 s as well.
CHECK_AGAIN_AFTER_S = 1.5


class LoginRefused(Unauthenticated):
    """The e-mail address or the password is wrong."""


class RefreshTokenReused(Unauthenticated):
    """The refresh token was used before."""


class PasswordNotChanged(RuleBroken):
    """The current password is wrong."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from, for the audit log."""

    address: str | None
    request_id: str


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a successful sign-in hands out."""

    access_token: str
    refresh_token: str
    principal: Principal


class Sessions:
    """Signs people in, and tells who carries a token. Thread-safe."""

    def __init__(
        self,
        *,
        tokens: Tokens,
        passwords: Passwords,
        app_database: AppDatabase,
        system_database: SystemDatabase,
        refresh_token_s: int,
    ) -> None:
        self._tokens = tokens
        self._passwords = passwords
        self._app_database = app_database
        self._system_database = system_database
        self._refresh_token_s = refresh_token_s
        self._principals: Remembered[str, Principal] = Remembered(ttl_s=CHECK_AGAIN_AFTER_S)

    def login(self, *, email: str, password: str, tenant: str | None) -> TokenPair:
        """Sign a person in; `tenant` (a slug) is needed where several tenants know the address.

        Raises:
            LoginRefused: No such person, wrong password, or an address that several tenants know: the
                answer and the time it takes are the same.
        """
        with self._system_database.transaction() as cursor:
            candidates = accounts.login_candidates(cursor, email=email, tenant=tenant)
        found = candidates[0] if len(candidates) == 1 else None
        if not self._passwords.verify(found.password_hash if found else None, password) or found is None:
            raise LoginRefused("check both; where several tenants know the address, name the tenant as well")
        outdated = self._passwords.is_outdated(found.password_hash)
        new_hash = self._passwords.hash(password) if outdated else None
        with self._app_database.tenant(found.tenant_id) as cursor:
            accounts.note_login(cursor, found.user_id, new_hash=new_hash)
        return self._begin(found.tenant_id, found.user_id)

    def refresh(self, refresh_token: str, origin: Origin) -> TokenPair:
        """A new pair for the newest refresh token of a session.

        An older one was copied, by whom nobody can tell: the session ends with all its tokens.

        Raises:
            RefreshTokenReused: The token has made its pair already.
            Unauthenticated: The token is not valid, or its person was signed out since.
        """
        claims = self._tokens.read(refresh_token, "refresh")
        account = self._account_of(claims)
        with self._app_database.tenant(claims.tenant_id) as cursor:
            given = (claims.tenant_id, claims.session_id, claims.generation)
            is_revoked = stored.revoke_if_reused(cursor, *given)
            generation = stored.rotate(cursor, *given, life_s=self._refresh_token_s)
            if is_revoked:
                target = f"session/{claims.session_id}"
                audit.record(cursor, _actor(account, origin), "session.reuse_refused", target)
        if is_revoked:
            self._principals.forget_where(lambda principal: principal.session_id == claims.session_id)
        if generation is None:
            raise RefreshTokenReused("sign in again" if is_revoked else "use the newer one")
        return self._pair(account, claims.session_id, generation)

    def authenticate(self, access_token: str) -> Principal:
        """Who carries the token. What it found is believed for a moment.

        Raises:
            Unauthenticated: The token is not valid, or its person was signed out or deactivated.
        """
        principal = self._principals.get(access_token)
        if principal is None:
            asked_at = self._principals.now()
            claims = self._tokens.read(access_token, "access")
            principal = _principal(self._account_of(claims), claims)
            self._principals.put(access_token, principal, asked_at=asked_at)
        if principal.expires_at <= datetime.now(UTC):
            raise TokenExpired
        return principal

    def logout(self, principal: Principal, actor: Actor) -> None:
        """End all sessions of the person."""
        with self._app_database.tenant(principal.tenant_id) as cursor:
            accounts.revoke_tokens(cursor, principal.user_id)
            audit.record(cursor, actor, "session.logout", f"user/{principal.user_id}")
        self._forget(principal.user_id)

    def change_password(self, principal: Principal, actor: Actor, *, current: str, new: str) -> TokenPair:
        """Replace the password, end all sessions and begin a new one.

        Raises:
            PasswordNotChanged: The current password is wrong.
            PasswordTooWeak: The new one is not good enough.
        """
        check_new_password(new, email=principal.email)
        account = self._account(principal.tenant_id, principal.user_id)
        if not self._passwords.verify(account.password_hash, current):
            raise _wrong_current_password()
        new_hash = self._passwords.hash(new)
        with self._app_database.tenant(principal.tenant_id) as cursor:
            changed = accounts.set_password(
                cursor, principal.user_id, replaced_hash=account.password_hash, new_hash=new_hash
            )
            if changed:
                audit.record(cursor, actor, "user.change_password", f"user/{principal.user_id}")
        if not changed:
            raise _wrong_current_password()
        self._forget(principal.user_id)
        return self._begin(principal.tenant_id, principal.user_id)

    def _begin(self, tenant_id: int, user_id: str) -> TokenPair:
        """The first pair of a new session."""
        account = self._account(tenant_id, user_id)
        with self._app_database.tenant(tenant_id) as cursor:
            session_id = stored.open_session(cursor, tenant_id, user_id, life_s=self._refresh_token_s)
        return self._pair(account, session_id, stored.FIRST_GENERATION)

    def _account(self, tenant_id: int, user_id: str, *, session_id: str | None = None) -> accounts.Account:
        account = accounts.account(self._app_database, tenant_id, user_id, session_id=session_id)
        if account is None:
            raise TokenRefused
        return account

    def _account_of(self, claims: Claims) -> accounts.Account:
        account = self._account(claims.tenant_id, claims.user_id, session_id=claims.session_id)
        if account.token_version != claims.token_version:
            raise TokenRefused("the session was ended")
        return account

    def _pair(self, account: accounts.Account, session_id: str, generation: int) -> TokenPair:
        access = self._issue("access", account, session_id, generation)
        refresh = self._issue("refresh", account, session_id, generation)
        return TokenPair(access, refresh, _principal(account, self._tokens.read(access, "access")))

    def _issue(
        self, token_type: TokenType, account: accounts.Account, session_id: str, generation: int
    ) -> str:
        return self._tokens.issue(
            token_type,
            user_id=account.user_id,
            tenant_id=account.tenant_id,
            token_version=account.token_version,
            session_id=session_id,
            generation=generation,
        )

    def _forget(self, user_id: str) -> None:
        self._principals.forget_where(lambda principal: principal.user_id == user_id)


def _wrong_current_password() -> PasswordNotChanged:
    return PasswordNotChanged(errors=[FieldError("/current_password", "is wrong")])


def _actor(account: accounts.Account, origin: Origin) -> Actor:
    return Actor(
        tenant_id=account.tenant_id,
        label=account.email,
        user_id=account.user_id,
        address=origin.address,
        request_id=origin.request_id,
    )


def _principal(account: accounts.Account, claims: Claims) -> Principal:
    return Principal(
        user_id=account.user_id,
        email=account.email,
        name=account.name,
        tenant_id=account.tenant_id,
        tenant_slug=account.tenant_slug,
        tenant_name=account.tenant_name,
        roles=account.roles,
        permissions=account.permissions,
        expires_at=claims.expires_at,
        session_id=claims.session_id,
    )
