"""Signing in and staying in: passwords to tokens, tokens to principals, and the end of both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from api.passwords import Passwords, check_new_password
from api.tokens import Claims, TokenExpired, TokenRefused, Tokens, TokenType
from domain.errors import FieldError, RuleBroken, Unauthenticated
from rbac import Principal
from storage import accounts
from storage.pool import AppDatabase, SystemDatabase
from storage.remembered import Remembered

# A revocation in this process counts at once, one in another process after this time. Open sockets are
# looked at every few seconds on top of it, so that they end within 5 s as well.
CHECK_AGAIN_AFTER_S = 1.5


class LoginRefused(Unauthenticated):
    """The e-mail address or the password is wrong."""


class PasswordNotChanged(RuleBroken):
    """The current password is wrong."""


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
    ) -> None:
        self._tokens = tokens
        self._passwords = passwords
        self._app_database = app_database
        self._system_database = system_database
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
        return self._pair(self._account(found.tenant_id, found.user_id))

    def refresh(self, refresh_token: str) -> TokenPair:
        """A new pair for a refresh token.

        Raises:
            Unauthenticated: The token is not valid, or its person was signed out since.
        """
        return self._pair(self._account_of(self._tokens.read(refresh_token, "refresh")))

    def authenticate(self, access_token: str) -> Principal:
        """Who carries the token. What it found is believed for a moment.

        Raises:
            Unauthenticated: The token is not valid, or its person was signed out or deactivated.
        """
        principal = self._principals.get(access_token)
        if principal is None:
            asked_at = self._principals.now()
            claims = self._tokens.read(access_token, "access")
            principal = _principal(self._account_of(claims), claims.expires_at)
            self._principals.put(access_token, principal, asked_at=asked_at)
        if principal.expires_at <= datetime.now(UTC):
            raise TokenExpired
        return principal

    def logout(self, principal: Principal) -> None:
        """End all sessions of the person."""
        with self._app_database.tenant(principal.tenant_id) as cursor:
            accounts.revoke_tokens(cursor, principal.user_id)
        self._forget(principal.user_id)

    def change_password(self, principal: Principal, *, current: str, new: str) -> TokenPair:
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
        if not changed:
            raise _wrong_current_password()
        self._forget(principal.user_id)
        return self._pair(self._account(principal.tenant_id, principal.user_id))

    def _account(self, tenant_id: int, user_id: str) -> accounts.Account:
        account = accounts.account(self._app_database, tenant_id, user_id)
        if account is None:
            raise TokenRefused
        return account

    def _account_of(self, claims: Claims) -> accounts.Account:
        account = self._account(claims.tenant_id, claims.user_id)
        if account.token_version != claims.token_version:
            raise TokenRefused("the session was ended")
        return account

    def _pair(self, account: accounts.Account) -> TokenPair:
        access = self._issue("access", account)
        claims = self._tokens.read(access, "access")
        return TokenPair(access, self._issue("refresh", account), _principal(account, claims.expires_at))

    def _issue(self, token_type: TokenType, account: accounts.Account) -> str:
        return self._tokens.issue(
            token_type,
            user_id=account.user_id,
            tenant_id=account.tenant_id,
            token_version=account.token_version,
        )

    def _forget(self, user_id: str) -> None:
        self._principals.forget_where(lambda principal: principal.user_id == user_id)


def _wrong_current_password() -> PasswordNotChanged:
    return PasswordNotChanged(errors=[FieldError("/current_password", "is wrong")])


def _principal(account: accounts.Account, expires_at: datetime) -> Principal:
    return Principal(
        user_id=account.user_id,
        email=account.email,
        name=account.name,
        tenant_id=account.tenant_id,
        tenant_slug=account.tenant_slug,
        tenant_name=account.tenant_name,
        roles=account.roles,
        permissions=account.permissions,
        expires_at=expires_at,
    )
