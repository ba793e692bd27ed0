"""What a device may do at the broker, and how the broker's users differ from those it should have."""

from __future__ import annotations

from domain.broker_user import BrokerUser, differences, topics_of


def test_a_device_publishes_below_its_own_topic_and_reads_its_own_commands() -> None:
    topics = topics_of("iiot/v1", "plant-a/P-101")
    assert topics.publish == (
        "iiot/v1/plant-a/P-101/telemetry",
        "iiot/v1/plant-a/P-101/status",
        "iiot/v1/plant-a/P-101/alerts",
        "iiot/v1/plant-a/P-101/commands/+/response",
    )
    assert topics.subscribe == ("iiot/v1/plant-a/P-101/commands/+",)


def test_only_users_that_differ_are_made_anew() -> None:
    wanted = {
        name: BrokerUser(name, credential)
        for name, credential in (("a/same", "1"), ("a/rotated", "2"), ("a/new", "3"), ("a/out", None))
    }
    found = differences(wanted, {"a/same": "1", "a/rotated": "old", "a/out": "4", "a/gone": "5"})
    assert [user.username for user in found.put] == ["a/new", "a/out", "a/rotated"]
    assert found.remove == ["a/gone"]


def test_a_user_that_is_shut_out_already_is_left_alone() -> None:
    found = differences({"a/out": BrokerUser("a/out", None)}, {"a/out": None})
    assert (found.put, found.remove) == ([], [])
