"""Runs inside schemathesis: counts the answers by status and operation, and writes the counts in the end."""

import atexit
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis

COUNTS_FILE = "IIOT_FUZZ_COUNTS"
_counts: Counter[str] = Counter()


@schemathesis.hook
def after_call(
    context: schemathesis.HookContext,  # noqa: ARG001 - schemathesis calls hooks by these names
    case: schemathesis.Case[Any],
    response: schemathesis.Response,
) -> None:
    """Count one answer."""
    _counts[f"{response.status_code} {case.operation.label}"] += 1


def _write() -> None:
    if COUNTS_FILE in os.environ:
        Path(os.environ[COUNTS_FILE]).write_text(json.dumps(_counts), encoding="utf-8")


atexit.register(_write)
