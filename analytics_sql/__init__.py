"""SQL in files: the statements that read telemetry over time, and the loader of all named SQL.

A file holds statements that each start with a line `-- name: some_name`; the comment lines after it say in
a sentence what the statement gives and, where it matters, which index serves it (`-- Index: name`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)[ \t]*$", re.MULTILINE)
_INDEX = re.compile(r"^-- Index: (\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One named statement: its text with `%(name)s` parameters, its comment, and the index that serves it."""

    name: str
    sql: str
    comment: str
    index: str | None


@cache
def load_statements(path: Path) -> dict[str, Statement]:
    """Read the named statements of a file.

    Raises:
        ValueError: a name stands twice, or text comes before the first name.
    """
    pieces = _NAME.split(path.read_text(encoding="utf-8"))
    if pieces[0].strip():
        raise ValueError(f"{path.name}: text before the first '-- name:' line")
    statements: dict[str, Statement] = {}
    for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
        if name in statements:
            raise ValueError(f"{path.name}: the name {name!r} stands twice")
        lines = body.strip().splitlines()
        comment = "\n".join(line.removeprefix("--").strip() for line in lines if line.startswith("--"))
        sql = "\n".join(line for line in lines if not line.startswith("--")).strip().rstrip(";")
        index = _INDEX.search(body)
        statements[name] = Statement(name, sql, comment, index[1] if index else None)
    return statements


def statement(path: Path, name: str) -> str:
    """The SQL text of one named statement of a file."""
    return load_statements(path)[name].sql


HERE = Path(__file__).parent
