"""Who may do what: permissions, the four default roles, the Principal, and `@requires` for routes.

A permission is written `resource:action`. Routes are closed by default: `register_api` refuses to start with
a route that carries neither `@requires(...)` nor `@public`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import Flask, current_app, g, request

from domain.audit import Actor
from domain.errors import Forbidden, Unauthenticated
from storage import accounts
from storage.pool import SystemDatabase

P = ParamSpec("P")
R = TypeVar("R")

_READ = frozenset({"devices:read", "telemetry:read", "dead_letters:read", "alerts:read", "commands:read"})
_BUILD = frozenset(
    {"devices:write", "credentials:write", "telemetry:write", "telemetry:backfill", "dead_letters:replay"}
)
_OPERATE = frozenset(
    {"alerts:acknowledge", "alerts:shelve", "alerts:clear", "devices:service", "commands:write"}
)
_ADMINISTER = frozenset({"platform:read"})

PERMISSIONS = _READ | _BUILD | _OPERATE | _ADMINISTER


@dataclass(frozen=True, slots=True)
class DefaultRole:
    """A role that every tenant starts with."""

    name: str
    description: str
    permissions: frozenset[str]


DEFAULT_ROLES = (
    DefaultRole("admin", "Everything inside the tenant", PERMISSIONS),
    DefaultRole("developer", "Sets up devices and sends telemetry", _READ | _BUILD),
    DefaultRole("operator", "Watches the plant and handles alerts", _READ | _OPERATE),
    DefaultRole("viewer", "Looks and changes nothing", _READ),
)


class PermissionMissing(Forbidden):
    """A permission is missing."""


class CredentialsMissing(Unauthenticated):
    """An access token is required."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking: a person of one tenant, with everything that decides what they may do.

    Attributes:
        expires_at: When the access token that proved it ends, aware UTC.
        session_id: The sign-in that the token belongs to.
    """

    user_id: str
    email: str
    name: str
    tenant_id: int
    tenant_slug: str
    tenant_name: str
    roles: tuple[str, ...]
    permissions: frozenset[str]
    expires_at: datetime
    session_id: str = ""

    def may(self, permission: str) -> bool:
        """Tell whether the principal has the permission."""
        return permission in self.permissions

    def must(self, permission: str) -> None:
        """Let only a principal with the permission go on.

        Raises:
            PermissionMissing: The principal does not have it.
        """
        if permission not in self.permissions:
            raise PermissionMissing(f"this needs the permission {permission}")


Authenticate = Callable[[str], Principal]
"""Turns an access token into its principal; raises Unauthenticated."""


def use_authenticator(app: Flask, authenticate: Authenticate) -> None:
    """Let `@requires` on the routes of `app` ask `authenticate` who carries a token."""
    app.extensions["rbac"] = authenticate


def requires(permission: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Open a route to principals with the permission; without one, to everybody who is signed in."""
    if permission is not None and permission not in PERMISSIONS:
        raise ValueError(f"unknown permission {permission!r}")

    def decorate(handler: Callable[P, R]) -> Callable[P, R]:
        @wraps(handler)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            principal = authenticated()
            if permission is not None:
                principal.must(permission)
            return handler(*args, **kwargs)

        return _with_access(guarded, permission or "signed in")

    return decorate


def public(handler: Callable[P, R]) -> Callable[P, R]:
    """Open a route to everybody, on purpose."""
    return _with_access(handler, "public")


def access_of(handler: Callable[..., object]) -> str | None:
    """What a route asks for: a permission, `signed in`, `public`, or None where nobody decided."""
    return getattr(handler, "__access__", None)


def _with_access(handler: Callable[P, R], access: str) -> Callable[P, R]:
    handler.__access__ = access  # type: ignore[attr-defined]
    return handler


def authenticated() -> Principal:
    """The principal of this request, from its bearer token.

    Raises:
        Unauthenticated: There is no token, or it is not valid.
    """
    authenticate: Authenticate = current_app.extensions["rbac"]
    principal = authenticate(bearer_token())
    g.principal = principal
    return principal


def current_principal() -> Principal:
    """The principal that `@requires` has let in."""
    principal: Principal = g.principal
    return principal


def current_actor() -> Actor:
    """The principal of this request as the audit log names it."""
    principal = current_principal()
    return Actor(
        tenant_id=principal.tenant_id,
        label=principal.email,
        user_id=principal.user_id,
        address=request.remote_addr,
        request_id=g.get("request_id", ""),
    )


def bearer_token() -> str:
    """The token of the `Authorization: Bearer` header.

    Raises:
        CredentialsMissing: The request carries none.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise CredentialsMissing("send an access token: Authorization: Bearer <token>")
    return token


def seed_tenant(database: SystemDatabase, slug: str, name: str) -> int:
    """Create the tenant and its default roles where they are missing; return its tenant_id.

    Default roles get the permissions of this release; roles that people made are left alone.
    """
    with database.transaction() as cursor:
        tenant_id = accounts.ensure_tenant(cursor, slug=slug, name=name)
        for role in DEFAULT_ROLES:
            accounts.put_default_role(
                cursor,
                tenant_id,
                name=role.name,
                description=role.description,
                permissions=sorted(role.permissions),
            )
        return tenant_id
