"""Signing in and out."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Blueprint
from pydantic import Field

from api.bodies import Body, read_body
from api.services import services
from api.sessions import TokenPair
from rbac import Principal, bearer_token, current_principal, public, requires

blueprint = Blueprint("auth", __name__, url_prefix="/auth")

_Password = Annotated[str, Field(min_length=1, max_length=1024)]


class _Login(Body):
    email: Annotated[str, Field(min_length=1, max_length=254)]
    password: _Password
    tenant: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class _PasswordChange(Body):
    current_password: _Password
    new_password: _Password


@blueprint.post("/login")
@public
def login() -> dict[str, Any]:
    """Exchange an e-mail address and a password for a pair of tokens."""
    given = read_body(_Login)
    pair = services().sessions.login(email=given.email, password=given.password, tenant=given.tenant)
    return _pair_body(pair)


@blueprint.post("/refresh")
@public
def refresh() -> dict[str, Any]:
    """Exchange a refresh token, sent as bearer, for a new pair."""
    return _pair_body(services().sessions.refresh(bearer_token()))


@blueprint.post("/logout")
@requires()
def logout() -> tuple[str, int]:
    """End all sessions of the person."""
    services().sessions.logout(current_principal())
    return "", 204


@blueprint.get("/me")
@requires()
def me() -> dict[str, Any]:
    """Who the token belongs to."""
    return {"user": _user_body(current_principal())}


@blueprint.put("/password")
@requires()
def change_password() -> dict[str, Any]:
    """Change the own password; all sessions end and the answer begins a new one."""
    given = read_body(_PasswordChange)
    return _pair_body(
        services().sessions.change_password(
            current_principal(), current=given.current_password, new=given.new_password
        )
    )


def _pair_body(pair: TokenPair) -> dict[str, Any]:
    return {
        "access_token": pair.access_token,
        "refresh_token": pair.refresh_token,
        "token_type": "Bearer",
        "expires_in": services().settings.access.access_token_s,
        "user": _user_body(pair.principal),
    }


def _user_body(principal: Principal) -> dict[str, Any]:
    return {
        "user_id": principal.user_id,
        "email": principal.email,
        "name": principal.name,
        "tenant": {
            "tenant_id": principal.tenant_id,
            "slug": principal.tenant_slug,
            "name": principal.tenant_name,
        },
        "roles": principal.roles,
        "permissions": sorted(principal.permissions),
    }
