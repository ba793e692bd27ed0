"""Access and refresh tokens: JSON Web Tokens signed with HMAC-SHA256, nothing else accepted.

Each token names the key that signed it (`kid`), so that a secret key is replaced without signing anybody out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import jwt
from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token, create_refresh_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException

from domain.errors import Unauthenticated
from settings import AccessSettings

ISSUER = "iiot-platform"
AUDIENCE = "iiot-api"
MAX_TOKEN_CHARS = 2048
# Three parts of base64url without padding (RFC 7515); the library would also take a token with `=` behind it.
_WRITTEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

TokenType = Literal["access", "refresh"]
_CREATE: dict[TokenType, Callable[..., str]] = {
    "access": create_access_token,
    "refresh": create_refresh_token,
}


class TokenRefused(Unauthenticated):
    """The token is not valid."""


class TokenExpired(Unauthenticated):
    """The token has expired."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says: whose it is, the version of their tokens and the session it belongs to.

    Attributes:
        generation: Its place among the session's tokens; only the newest refresh token works.
    """

    user_id: str
    tenant_id: int
    token_version: int
    session_id: str
    generation: int
    expires_at: datetime


class Tokens:
    """Issues and reads tokens for one application. Thread-safe."""

    def __init__(self, app: Flask, access: AccessSettings) -> None:
        self._app = app
        signing, previous = access.derived_secret("jwt"), access.previous_derived_secret("jwt")
        self._kid = _key_id(signing)
        self._keys = {_key_id(key): key for key in (previous, signing) if key is not None}
        app.config.update(
            JWT_SECRET_KEY=signing,
            JWT_ALGORITHM="HS256",
            JWT_DECODE_ALGORITHMS=["HS256"],
            JWT_ENCODE_ISSUER=ISSUER,
            JWT_DECODE_ISSUER=ISSUER,
            JWT_ENCODE_AUDIENCE=AUDIENCE,
            JWT_DECODE_AUDIENCE=AUDIENCE,
            JWT_TOKEN_LOCATION=["headers"],
            JWT_ACCESS_TOKEN_EXPIRES=timedelta(seconds=access.access_token_s),
            JWT_REFRESH_TOKEN_EXPIRES=timedelta(seconds=access.refresh_token_s),
        )
        JWTManager(app).decode_key_loader(self._key_of)

    def issue(
        self,
        token_type: TokenType,
        *,
        user_id: str,
        tenant_id: int,
        token_version: int,
        session_id: str,
        generation: int,
    ) -> str:
        """A new token."""
        claims = {
            "tenant_id": tenant_id,
            "token_version": token_version,
            "session_id": session_id,
            "generation": generation,
        }
        with self._app.app_context():
            return _CREATE[token_type](
                identity=user_id, additional_claims=claims, additional_headers={"kid": self._kid}
            )

    def read(self, token: str, token_type: TokenType) -> Claims:
        """The claims of a token whose signature, issuer, audience, type and times are right.

        Raises:
            TokenExpired: It was right once.
            TokenRefused: It is anything else.
        """
        if len(token) > MAX_TOKEN_CHARS or not _WRITTEN.fullmatch(token):
            raise TokenRefused
        try:
            with self._app.app_context():
                decode_token(token)
            # Read once more, as it was written: the library takes a token without a type for an access token.
            payload = jwt.decode(token, options={"verify_signature": False})
            if payload.get("type") != token_type:
                raise TokenRefused("this token is for another use")
            return _claims(payload)
        except jwt.ExpiredSignatureError:
            raise TokenExpired from None
        except (jwt.PyJWTError, JWTExtendedException, KeyError, TypeError, ValueError):
            raise TokenRefused from None

    def _key_of(self, header: Mapping[str, Any], _claims: Mapping[str, Any]) -> str:
        """The key that a token names; only keys of the settings are ever looked at."""
        key = self._keys.get(header.get("kid", self._kid))
        if key is None:
            raise jwt.InvalidKeyError("no such key")
        return key


def _key_id(key: str) -> str:
    """A name for a key that tells nothing of it."""
    return hashlib.sha256(b"kid:" + key.encode()).hexdigest()[:16]


def _claims(payload: dict[str, object]) -> Claims:
    user_id, tenant_id, version = payload["sub"], payload["tenant_id"], payload["token_version"]
    expires, generation = payload["exp"], payload["generation"]
    if type(tenant_id) is not int or type(version) is not int or type(expires) is not int:
        raise TypeError("a claim is of the wrong type")
    if type(generation) is not int or type(payload["session_id"]) is not str:
        raise TypeError("a claim is of the wrong type")
    if not 0 < tenant_id < 2**31 or not 0 < generation < 2**31:
        raise ValueError("there is no such tenant or generation")
    return Claims(
        user_id=str(UUID(str(user_id))),
        tenant_id=tenant_id,
        token_version=version,
        session_id=str(UUID(payload["session_id"])),
        generation=generation,
        expires_at=datetime.fromtimestamp(expires, tz=UTC),
    )
