"""Strict reading of bodies and query parameters: what is not exactly understood is refused.

Malformed input (not JSON, wrong types, unknown fields) is a 400 with a JSON pointer to each wrong field.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import orjson
from flask import current_app, request
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from api.problems import ContentTooLarge, UnsupportedContent
from domain.errors import FieldError, InvalidInput

MAX_DEPTH = 32


class MalformedBody(InvalidInput):
    """The body is not what this route takes."""


class MalformedQuery(InvalidInput):
    """The query parameters are not what this route takes."""


class Body(BaseModel):
    """A JSON object with known fields of exact types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Query(BaseModel):
    """Query parameters, each given at most once."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


BodyModel = TypeVar("BodyModel", bound=Body)
QueryModel = TypeVar("QueryModel", bound=Query)


def is_optional(model: type[Body]) -> bool:
    """Whether a body of this shape may be left out."""
    return not any(field.is_required() for field in model.model_fields.values())


def read_body(model: type[BodyModel]) -> BodyModel:
    """The body of this request as a model; where every field may be left out, so may the body.

    Raises:
        MalformedBody: It is no strict JSON, or not of the model's shape.
        UnsupportedContent: It is not sent as plain `application/json`.
        ContentTooLarge: It is larger than the settings allow; nothing of it was read.
    """
    if is_optional(model) and not (request.content_length or "Transfer-Encoding" in request.headers):
        return model()
    tree = _strict_json(_raw_body())
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise MalformedBody(
            "the body has fields that are missing, unknown or wrong", errors=_field_errors(error)
        ) from None


def read_query(model: type[QueryModel]) -> QueryModel:
    """The query parameters of this request as a model.

    Raises:
        MalformedQuery: A parameter is missing, unknown, given twice or wrong.
    """
    given: dict[str, str] = {}
    for name, values in request.args.lists():
        if len(values) > 1:
            raise MalformedQuery(errors=[FieldError(_pointer((name,)), "is given more than once")])
        if "\x00" in values[0]:
            raise MalformedQuery(errors=[FieldError(_pointer((name,)), "has a NUL character")])
        given[name] = values[0]
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise MalformedQuery(
            "query parameters are missing, unknown or wrong", errors=_field_errors(error)
        ) from None


def _raw_body() -> bytes:
    limit_bytes = current_app.config["MAX_CONTENT_LENGTH"]
    if (request.content_length or 0) > limit_bytes:
        raise ContentTooLarge(f"at most {limit_bytes} bytes are accepted")
    if request.mimetype != "application/json":
        raise UnsupportedContent("send the body as application/json")
    if request.mimetype_params.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        raise UnsupportedContent("JSON is read as UTF-8 only")
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise UnsupportedContent("compressed bodies are not accepted")
    raw = request.get_data(cache=False)
    # A body of unknown length is cut at the limit without a word.
    if request.content_length is None and len(raw) >= limit_bytes:
        raise ContentTooLarge(f"fewer than {limit_bytes} bytes are accepted without Content-Length")
    return raw


def _strict_json(raw: bytes) -> object:
    """Decode JSON; orjson itself refuses NaN, Infinity, bad UTF-8 and lone surrogates."""
    try:
        tree = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"the body is not valid JSON: {error.msg} (character {error.pos})") from None
    _check_depth(tree, MAX_DEPTH)
    if b"\\u0000" in raw and _has_nul(tree):
        raise MalformedBody("the body has a text with a NUL character")
    # orjson keeps the last of equal keys silently; the numbers were checked above and are not needed here.
    try:
        json.loads(raw, object_pairs_hook=_refuse_equal_keys, parse_int=len, parse_float=len)
    except _EqualKeys as error:
        raise MalformedBody(f"the body has the key {error.key[:64]!r} twice in one object") from None
    return tree


def _check_depth(tree: object, left: int) -> None:
    if left == 0:
        raise MalformedBody(f"the body is nested deeper than {MAX_DEPTH} levels")
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for child in children:
        if isinstance(child, (dict, list)):
            _check_depth(child, left - 1)


def _has_nul(tree: object) -> bool:
    if isinstance(tree, str):
        return "\x00" in tree
    if isinstance(tree, dict):
        return any("\x00" in key or _has_nul(child) for key, child in tree.items())
    return isinstance(tree, list) and any(_has_nul(child) for child in tree)


class _EqualKeys(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _refuse_equal_keys(pairs: list[tuple[str, Any]]) -> None:
    seen = {key for key, _ in pairs}
    if len(seen) != len(pairs):
        names = [key for key, _ in pairs]
        raise _EqualKeys(next(key for key in names if names.count(key) > 1))


def _field_errors(error: ValidationError) -> list[FieldError]:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [FieldError(_pointer(item["loc"]), _sentence(item)) for item in found]


def _sentence(item: ErrorDetails) -> str:
    if item["type"] == "missing":
        return "is missing"
    if item["type"] == "extra_forbidden":
        return "is not a field of this route"
    return item["msg"].removeprefix("Value error, ")


def _pointer(location: tuple[int | str, ...]) -> str:
    """A JSON pointer (RFC 6901) from pydantic's location, without undecodable or endless parts."""
    parts = [str(part)[:100].replace("~", "~0").replace("/", "~1") for part in location]
    return "".join(f"/{part}" for part in parts)
