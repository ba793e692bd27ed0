"""Signing in and out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Blueprint, g, request
from pydantic import Field

from api.bodies import Body, read_body
from api.operations import Answer, operation
from api.services import services
from api.sessions import Origin, TokenPair
from rbac import Principal, bearer_token, current_actor, current_principal, public, requires

blueprint = Blueprint("auth", __name__, url_prefix="/auth")

_Password = Annotated[str, Field(min_length=1, max_length=1024, examples=["correct horse battery staple"])]


class _Login(Body):
    email: Annotated[str, Field(min_length=1, max_length=254, examples=["alice@plant-a.example"])]
    password: _Password
    tenant: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=64,
                description="The tenant's slug, where several tenants know the e-mail address.",
            ),
        ]
        | None
    ) = None


class _PasswordChange(Body):
    current_password: _Password
    new_password: _Password


class TenantAnswer(Answer):
    """A tenant."""

    tenant_id: int
    slug: Annotated[str, Field(examples=["plant-a"])]
    name: Annotated[str, Field(examples=["Plant A"])]


class PersonAnswer(Answer):
    """Who is signed in, and what they may do."""

    user_id: str
    email: Annotated[str, Field(examples=["alice@plant-a.example"])]
    name: Annotated[str, Field(examples=["Alice"])]
    tenant: TenantAnswer
    roles: Annotated[list[str], Field(examples=[["viewer"]])]
    permissions: Annotated[list[str], Field(examples=[["devices:read", "telemetry:read"]])]


class MeAnswer(Answer):
    """Who the token belongs to."""

    user: PersonAnswer


class TokensAnswer(Answer):
    """A pair of tokens; `expires_in` is the access token's life in seconds."""

    access_token: Annotated[str, Field(examples=["eyJhbGciOi..."])]
    refresh_token: Annotated[str, Field(examples=["eyJhbGciOi..."])]
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Field(examples=[900])]
    user: PersonAnswer


@blueprint.post("/login")
@public
@operation(body=_Login, answers={200: TokensAnswer}, problems=(401,))
def login() -> dict[str, Any]:
    """Exchange an e-mail address and a password for a pair of tokens."""
    given = read_body(_Login)
    pair = services().sessions.login(email=given.email, password=given.password, tenant=given.tenant)
    return _pair_body(pair)


@blueprint.post("/refresh")
@public
@operation(answers={200: TokensAnswer}, problems=(401,), security=("refresh_token",))
def refresh() -> dict[str, Any]:
    """Exchange the newest refresh token of a session, sent as bearer, for a new pair.

    It works once. Sending it a second time ends the session with all its tokens.
    """
    origin = Origin(request.remote_addr, g.get("request_id", ""))
    return _pair_body(services().sessions.refresh(bearer_token(), origin))


@blueprint.post("/logout")
@requires()
@operation(answers={204: None})
def logout() -> tuple[str, int]:
    """End all sessions of the person."""
    services().sessions.logout(current_principal(), current_actor())
    return "", 204


@blueprint.get("/me")
@requires()
@operation(answers={200: MeAnswer})
def me() -> dict[str, Any]:
    """Who the token belongs to."""
    return {"user": _user_body(current_principal())}


@blueprint.put("/password")
@requires()
@operation(body=_PasswordChange, answers={200: TokensAnswer}, problems=(422,))
def change_password() -> dict[str, Any]:
    """Change the own password; all sessions end and the answer begins a new one."""
    given = read_body(_PasswordChange)
    return _pair_body(
        services().sessions.change_password(
            current_principal(), current_actor(), current=given.current_password, new=given.new_password
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
