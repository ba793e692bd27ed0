"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad a finding is, with its colour on a terminal."""

    OK = "32"
    WARN = "33"
    FAIL = "31"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; what is not OK has a remedy."""

    level: Level
    name: str
    text: str
    remedy: str = ""
