"""The doctor behind `check`: looks at everything the platform needs and names the remedy for what is wrong.

Each check yields findings and changes nothing. No finding holds a secret.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from doctor.database import check_database
from doctor.finding import Finding, Level
from doctor.machine import (
    PROJECT,
    check_console,
    check_disk,
    check_open_files,
    check_python,
    check_secrets,
    check_time_zones,
)
from doctor.services import check_broker, check_device_users, check_encryption, check_redis
from settings import Settings

__all__ = ["Finding", "Level", "examine", "findings"]


def examine(settings: Settings, *, output: TextIO | None = None, folder: Path = PROJECT / "var") -> int:
    """Print a line for every finding, and the remedy below it where there is one.

    Args:
        settings: What to look at.
        output: Where to print; standard output by default.
        folder: The working folder of the embedded services, where there is one.

    Returns:
        The exit code: 0 when nothing is FAIL, else 1.
    """
    output = output or sys.stdout
    counts = dict.fromkeys(Level, 0)
    for finding in findings(settings, folder):
        counts[finding.level] += 1
        word = finding.level.name.ljust(4)
        shown = f"\x1b[{finding.level.value}m{word}\x1b[0m" if output.isatty() else word
        print(f"{shown}  {finding.name}: {finding.text}", file=output)
        if finding.remedy:
            print("\n".join(f"      {line}" for line in finding.remedy.splitlines()), file=output)
    print(", ".join(f"{count} {level.name}" for level, count in counts.items()), file=output)
    return 1 if counts[Level.FAIL] else 0


def findings(settings: Settings, folder: Path = PROJECT / "var") -> Iterator[Finding]:
    """Look at one thing after the other."""
    yield from check_python()
    yield Finding(Level.OK, "settings", f"usable, {settings.environment}")
    yield from check_secrets(settings, folder)
    yield from check_database(settings)
    yield from check_redis(settings)
    yield from check_broker(settings)
    yield from check_device_users(settings)
    yield from check_encryption(settings)
    yield from check_disk("working folder", folder if folder.exists() else PROJECT)
    yield from check_console()
    yield from check_open_files(settings)
    yield from check_time_zones()
