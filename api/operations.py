"""What a route says about itself, beside its handler: what it takes and what it answers.

    @blueprint.post("")
    @requires("devices:write")
    @operation(body=_NewDeviceBody, answers={201: DeviceAnswer}, problems=(409, 422))
    def create() -> ...:
        \"\"\"Add a device with its metrics.\"\"\"

The summary and the description come from the docstring, the permission from `@requires`, the path's
parameters from the rule; `api/operation_objects.py` adds the problems that follow from the route's shape.
`body` and `query` are the models that `read_body` and `read_query` are called with; a test compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Generic, ParamSpec, TypeVar

from flask import request
from pydantic import BaseModel, ConfigDict

from api.bodies import Body, MalformedQuery, Query
from domain.errors import FieldError

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item")


class Answer(BaseModel):
    """What a route answers. It documents the answer; answers are checked against it by the tests only."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)


class Page(Answer, Generic[Item]):
    """One page of a list; `next_cursor` continues it, and is null on the last page."""

    items: list[Item]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Media:
    """An answer that is not JSON."""

    content_type: str
    example: str


AnswerKind = type[BaseModel] | Media | tuple[Media, ...] | None


@dataclass(frozen=True, slots=True)
class Operation:
    """What `@operation` declares.

    Attributes:
        answers: What comes back for each status of success; None for an answer without content.
        problems: Further statuses that are answered with a problem document.
        security: Names of the security schemes that replace what `@requires` says; "" is nobody at all.
    """

    body: type[Body] | None
    query: type[Query] | None
    answers: Mapping[int, AnswerKind]
    problems: tuple[int, ...]
    security: tuple[str, ...] | None


def operation(
    *,
    answers: Mapping[int, AnswerKind],
    body: type[Body] | None = None,
    query: type[Query] | None = None,
    problems: tuple[int, ...] = (),
    security: tuple[str, ...] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Describe a route for the OpenAPI document; stands below `@requires` or `@public`.

    A route without a query model refuses all query parameters.
    """

    def decorate(handler: Callable[P, R]) -> Callable[P, R]:
        @wraps(handler)
        def strict(*args: P.args, **kwargs: P.kwargs) -> R:
            if request.query_string:
                _refuse_query()
            return handler(*args, **kwargs)

        described = strict if query is None else handler
        described.__operation__ = Operation(body, query, answers, problems, security)  # type: ignore[attr-defined]
        return described

    return decorate


def operation_of(handler: Callable[..., object]) -> Operation | None:
    """What the handler declares, or None where it declares nothing."""
    return getattr(handler, "__operation__", None)


def _refuse_query() -> None:
    names = sorted(request.args) or [""]
    raise MalformedQuery(
        "this route takes no query parameters",
        errors=[FieldError(f"/{name[:100]}", "is not a parameter of this route") for name in names],
    )
