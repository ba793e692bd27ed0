"""One person's requests: as many runs of schemathesis as it takes, and what came of them."""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.bootstrap import PROJECT
from tools.fuzz.hooks import COUNTS_FILE

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)
# Refusals that are right for whatever the document forbids; the web server itself answers the last two.
_CONFIGURATION = """\
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 503, 414, 431]
"""
# Whoever called these would be somebody else afterwards, or nobody.
ENDS_THE_SESSION = ("auth_logout", "auth_change_password")
_TAIL_CHARS = 6000


@dataclass(frozen=True, slots=True)
class Person:
    """Who sends requests; without a token, nobody who is known."""

    name: str
    token: str | None


@dataclass(frozen=True, slots=True)
class Effort:
    """How much one run does: cases for each operation, and of which kinds."""

    cases_per_operation: int
    phases: Sequence[str] = ("examples", "coverage", "fuzzing", "stateful")


@dataclass(slots=True)
class Outcome:
    """What came of one person's requests.

    Attributes:
        answers: How often each status came, by `status operation`.
        failures: What was wrong, one line for each kind, and the end of schemathesis' own report.
    """

    person: str
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """Requests that were answered."""
        return self.answers.total()

    def by_status(self) -> dict[str, int]:
        """How often each status came."""
        found: Counter[str] = Counter()
        for name, count in self.answers.items():
            found[name.partition(" ")[0]] += count
        return dict(sorted(found.items()))

    def share_of(self, status: int) -> float:
        """The part of the answers that had this status."""
        return self.by_status().get(str(status), 0) / max(1, self.cases)


def send(base_url: str, person: Person, *, cases: int, seed: int, effort: Effort) -> Outcome:
    """Send at least `cases` requests; the second and later runs use the seeds after `seed`."""
    outcome = Outcome(person.name)
    with tempfile.TemporaryDirectory() as folder:
        while outcome.cases < cases and len(outcome.seeds) < 1000:
            before = outcome.cases
            _run(base_url, person, outcome, seed + len(outcome.seeds), effort, Path(folder))
            if outcome.cases == before or outcome.failures:
                break
    return outcome


def _run(base_url: str, person: Person, outcome: Outcome, seed: int, effort: Effort, folder: Path) -> None:
    configuration, counts, report = (folder / name for name in ("schemathesis.toml", "counts", "report"))
    configuration.write_text(_CONFIGURATION, encoding="utf-8")
    counts.unlink(missing_ok=True)
    header = ["--header", f"Authorization: Bearer {person.token}"] if person.token else []
    left_out = [f"--exclude-operation-id={name}" for name in ENDS_THE_SESSION] if person.token else []
    arguments = [
        *("--checks", ",".join(CHECKS)),
        *("--phases", ",".join(effort.phases)),
        *("--max-examples", str(effort.cases_per_operation)),
        *("--seed", str(seed)),
        *("--continue-on-failure", "--no-shrink"),
        *("--generation-database", "none"),
        *("--warnings", "off"),
        *("--suppress-health-check", "all"),
        *("--report-json-path", str(report)),
    ]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration)),
            *("run", f"{base_url}/api/v1/openapi.json", "--no-color", *header, *left_out, *arguments),
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "SCHEMATHESIS_HOOKS": "tools.fuzz.hooks",
            COUNTS_FILE: str(counts),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    outcome.seeds.append(seed)
    if counts.exists():
        outcome.answers.update(json.loads(counts.read_text(encoding="utf-8")))
    if done.returncode != 0:
        outcome.failures += _failures(report)
        lines = (line[:300] for line in (done.stdout + done.stderr).splitlines())
        outcome.failures.append("\n".join(lines)[-_TAIL_CHARS:])


def _failures(report: Path) -> list[str]:
    """What schemathesis' report names, a line for each kind."""
    if not report.exists():
        return ["schemathesis wrote no report"]
    found = json.loads(report.read_text(encoding="utf-8"))
    lines = [f"{item['title']}: {', '.join(item['operations'])}" for item in found["failures"]]
    return lines + [str(item)[:300] for item in found["errors"]]
