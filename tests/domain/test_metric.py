"""Metric names: whatever devices send as a key, as long as people and URLs can carry it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.metric import MAX_METRIC_NAME_CHARS, MetricKind, metric_name


@pytest.mark.parametrize(
    "name",
    [
        "temperature",
        "bearing_de.temp",
        "Motor Current L1",
        "ns=2;s=Pump",
        "Node Control/Rebirth",
        "température",
        "%",
    ],
)
def test_keys_as_devices_send_them_are_metric_names(name: str) -> None:
    assert metric_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " flow",
        "flow ",
        "flow\n",
        "fl\x00ow",
        "fl\u200bow",
        "flow\N{NO-BREAK SPACE}",
        "\ud800",
        "m" * 65,
        "/flow",
        "flow/",
        "a//b",
        "a/../b",
        ".",
        "..",
    ],
)
def test_names_that_nobody_could_read_or_address_are_refused(name: str) -> None:
    assert metric_name(name) is None


def test_two_encodings_of_one_name_are_one_metric() -> None:
    assert metric_name("tempe\N{COMBINING ACUTE ACCENT}rature") == metric_name("température")


@given(st.text(max_size=4 * MAX_METRIC_NAME_CHARS))
def test_an_accepted_name_is_short_and_stable(text: str) -> None:
    name = metric_name(text)
    if name is not None:
        assert len(name) <= MAX_METRIC_NAME_CHARS
        assert metric_name(name) == name


def test_kinds_have_the_words_of_the_interface() -> None:
    assert [kind.value for kind in MetricKind] == ["gauge", "counter", "state"]
