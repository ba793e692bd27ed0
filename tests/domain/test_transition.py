"""The order of severities."""

from domain.transition import Severity


def test_severities_rise_from_info_to_critical() -> None:
    assert [severity.rank for severity in Severity] == [0, 1, 2, 3, 4]
    assert Severity("critical").rank > Severity("high").rank
