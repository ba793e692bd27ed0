"""What the standards of alarm management ask for, each with its source, to be held against the figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """At most `at_most` of a figure, for one operator.

    Attributes:
        figure: The figure's name, with dots into what the KPIs answer.
    """

    figure: str
    at_most: float
    source: str


# ISA-18.2 dropped the daily figure in 2016; where it is still asked for, it is one of the first two.
TARGETS = (
    Target("per_day", 144, "IEC 62682, very likely acceptable"),
    Target("per_day", 150, "ISA-18.2 (2009), very likely acceptable"),
    Target("per_hour", 6, "ISA-18.2, very likely acceptable"),
    Target("peak_10_min.raised", 10, "EEMUA 191 and ISA-18.2, more is a flood"),
    Target("flood.ratio", 0.01, "ISA-18.2"),
    Target("top_sources_share", 0.05, "ISA-18.2, 1 % to 5 %"),
    Target("chattering", 0, "ISA-18.2, with a plan to correct any"),
    Target("stale", 5, "ISA-18.2, less than 5 on any day"),
)
