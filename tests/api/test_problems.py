"""Each kind of error leaves with its status, and nothing inside shows."""

from __future__ import annotations

import pytest
from flask import Flask
from werkzeug.exceptions import BadRequest, ImATeapot

from api.problems import ContentTooLarge, UnsupportedContent, register_problems
from api.requests import register_request_hooks
from domain.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidInput,
    NotFound,
    PlatformError,
    RuleBroken,
    Unauthenticated,
    Unavailable,
)
from storage.pool import DatabaseUnavailable, DataRejected, StatementTimeout


class PumpIsDry(Conflict):
    """A pump cannot start dry."""


def _answer(error: Exception) -> tuple[int, dict[str, object], dict[str, str]]:
    app = Flask("problems")
    register_request_hooks(app)
    register_problems(app)

    def fail() -> str:
        raise error

    app.add_url_rule("/fail", view_func=fail)
    response = app.test_client().get("/fail", headers={"X-Request-ID": "the-id"})
    assert response.content_type == "application/problem+json"
    return response.status_code, response.get_json(), dict(response.headers)


@pytest.mark.parametrize(
    ("error", "status_code"),
    [
        (InvalidInput("x"), 400),
        (BadRequest(), 400),
        (DataRejected("x", sqlstate="22021", constraint=None), 400),
        (Unauthenticated("x"), 401),
        (Forbidden("x"), 403),
        (NotFound("x"), 404),
        (Conflict("x"), 409),
        (PumpIsDry("x"), 409),
        (DataRejected("x", sqlstate="23505", constraint="users_key"), 409),
        (ContentTooLarge("x"), 413),
        (UnsupportedContent("x"), 415),
        (ImATeapot(), 418),
        (RuleBroken("x"), 422),
        (PlatformError("x"), 500),
        (KeyError("x"), 500),
        (Unavailable("x"), 503),
        (DatabaseUnavailable("x"), 503),
        (StatementTimeout("x"), 503),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_each_error_has_its_status(error: Exception, status_code: int) -> None:
    answered, body, _ = _answer(error)
    assert answered == body["status"] == status_code
    assert set(body) == {"type", "title", "status", "detail", "instance", "request_id"}
    assert body["request_id"] == "the-id"


def test_a_named_error_tells_its_title_its_detail_and_the_wrong_fields() -> None:
    error = PumpIsDry("P-101 has no water", errors=[FieldError("/start", "needs water")])
    assert _answer(error)[1] == {
        "type": "urn:iiot:problem:pump-is-dry",
        "title": "A pump cannot start dry.",
        "status": 409,
        "detail": "P-101 has no water",
        "instance": "/fail",
        "request_id": "the-id",
        "errors": [{"pointer": "/start", "detail": "needs water"}],
    }


def test_what_is_away_says_when_to_come_back() -> None:
    headers = _answer(Unavailable("soon", retry_after_s=7))[2]
    assert headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("inner words"),
        DatabaseUnavailable("inner words"),
        DataRejected("inner words", sqlstate="23505", constraint="inner words"),
    ],
)
def test_inner_words_go_to_the_log_with_the_id_and_not_to_the_user(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    _, body, _ = _answer(error)
    assert "inner words" not in str(body)
    logged = capsys.readouterr()
    assert "the-id" in logged.out + logged.err
    assert "inner words" in logged.out + logged.err


def test_a_redirect_stays_a_redirect() -> None:
    app = Flask("problems")
    register_problems(app)
    app.add_url_rule("/folder/", view_func=lambda: "inside")
    response = app.test_client().get("/folder")
    assert response.status_code == 308
    assert response.headers["Location"].endswith("/folder/")
