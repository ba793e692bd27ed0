"""Grafana's macros and variables for PostgreSQL, expanded as its plugin does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# Grafana's own pattern: an argument holds no closing bracket.
_MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The values of a variable; a list is quoted by Grafana, a single one is not."""

    values: Sequence[str]
    is_list: bool

    def text(self) -> str:
        """What stands for the variable in a query."""
        escaped = [value.replace("'", "''") for value in self.values]
        return ",".join(f"'{value}'" for value in escaped) if self.is_list else escaped[0]


@dataclass(frozen=True, slots=True)
class Shown:
    """The time that a dashboard shows."""

    start: datetime
    stop: datetime
    interval: str = "5m"


def expand(sql: str, chosen: Mapping[str, Chosen], shown: Shown) -> str:
    """Return the query as PostgreSQL gets it."""
    for name, value in chosen.items():
        # In pieces, because a value may hold what re.sub would read as a reference.
        sql = value.text().join(re.split(rf"\$\{{{name}(?::\w+)?\}}|\${name}\b", sql))
    sql = sql.replace("$__interval", shown.interval)
    expanded = _MACRO.sub(lambda match: _macro(match[1], match[2], shown), sql)
    if re.search(r"\$\{?[_a-zA-Z]", expanded):
        raise ValueError(f"unresolved: {expanded}")
    return expanded


def _macro(name: str, arguments: str, shown: Shown) -> str:
    first, *rest = (argument.strip() for argument in arguments.split(","))
    if name == "__timeFilter":
        return f"{first} BETWEEN '{_moment(shown.start)}' AND '{_moment(shown.stop)}'"
    if name == "__timeGroupAlias":
        match = re.fullmatch(r"'?(\d+)(ms|[smhdw])'?", rest[0])
        if match is None:
            raise ValueError(f"no interval: {rest[0]}")
        seconds = f"{int(match[1]) * _SECONDS[match[2]]:g}"
        return f'floor(extract(epoch from {first})/{seconds})*{seconds} AS "time"'
    raise ValueError(f"unknown macro ${name}")


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
