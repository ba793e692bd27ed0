"""Signs of life, and logs that never show the values of variables."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import redirect_stderr
from typing import Literal

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from observability import (
    Beat,
    Heartbeats,
    configure_logging,
    get_logger,
    log_context,
    metrics_page,
    possible_gaps,
)

PASSWORD = "a-password-in-a-variable"


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def _fail_with_a_secret_at_hand() -> None:
    password = PASSWORD
    raise ValueError(f"{len(password)} characters")


@pytest.mark.parametrize("format", ["console", "json"])
def test_an_exception_is_logged_without_the_values_of_variables(
    restored_logging: None, format: Literal["console", "json"]
) -> None:
    with redirect_stderr(io.StringIO()) as written:
        configure_logging(format=format, level="info")
        try:
            _fail_with_a_secret_at_hand()
        except ValueError:
            get_logger("tests").exception("it_failed")
            logging.getLogger("a library").exception("it failed there")
    text = written.getvalue()
    assert "24 characters" in text
    assert "it_failed" in text
    assert "it failed there" in text
    assert PASSWORD not in text


def test_json_logs_are_one_object_a_line(restored_logging: None) -> None:
    with redirect_stderr(io.StringIO()) as written:
        configure_logging(format="json", level="info")
        with log_context(request_id="r-1"):
            get_logger("tests").info("something_happened", rows=3)
        get_logger("tests").debug("nobody_asked")
        logging.getLogger("a library").warning("odd")
    first, second = [json.loads(line) for line in written.getvalue().splitlines()]
    assert {name: first[name] for name in ("event", "rows", "request_id", "level", "component")} == {
        "event": "something_happened",
        "rows": 3,
        "request_id": "r-1",
        "level": "info",
        "component": "tests",
    }
    assert first["timestamp"].endswith("Z")
    assert second["event"] == "odd"


def test_a_loop_is_alive_until_its_limit_has_passed() -> None:
    assert Beat("writer", age_s=30.0, limit_s=30.0).is_alive
    assert not Beat("writer", age_s=30.1, limit_s=30.0).is_alive


def test_heartbeats_are_reported_by_name_until_they_are_forgotten() -> None:
    heartbeats = Heartbeats()
    heartbeats.beat("writer")
    heartbeats.beat("job", limit_s=0.0)
    job, writer = heartbeats.report()
    assert (job.name, writer.name) == ("job", "writer")
    assert writer.is_alive
    assert job.age_s >= 0
    heartbeats.forget("job")
    heartbeats.forget("never heard of")
    assert [beat.name for beat in heartbeats.report()] == ["writer"]


def test_metrics_are_a_page_that_prometheus_reads() -> None:
    before = _sample("iiot_mqtt_possible_gaps_total")
    possible_gaps.inc()
    assert _sample("iiot_mqtt_possible_gaps_total") == before + 1


def _sample(name: str) -> float:
    page, content_type = metrics_page()
    assert content_type.startswith("text/plain")
    samples = [
        sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        if sample.name == name
    ]
    assert len(samples) == 1
    return samples[0]
