"""Generated requests against the running platform: every answer is documented and none is a failure.

`./run fuzz` is the long form of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import SECRET_KEY
from tests.people import PASSWORD, PEOPLE, Plants
from tests.server import Server, running_server
from tools.fuzz.__main__ import MOST_LIMITED_SHARE, RAISED, sign_in
from tools.fuzz.campaign import Effort, Person, send

pytestmark = [pytest.mark.services, pytest.mark.slow]

SEED = 20_260_131
CASES = 1_700
EFFORT = Effort(cases_per_operation=25)


@pytest.fixture(scope="module")
def fuzzed(owner_url: str, redis_url: str, mqtt_url: str, plants: Plants) -> Iterator[Server]:
    """The platform, with tokens that outlast the requests."""
    with running_server(owner_url, redis_url, mqtt_url, secret_key=SECRET_KEY, **RAISED) as running:
        yield running


@pytest.mark.parametrize("name", ["anonymous", "vera", "alice"])
def test_whatever_is_sent_the_answer_is_a_documented_one(
    fuzzed: Server, record_property: Callable[[str, object], None], name: str
) -> None:
    is_known = name in PEOPLE
    token = sign_in(fuzzed.url, PEOPLE[name].email, PASSWORD) if is_known else None
    outcome = send(fuzzed.url, Person(name, token), cases=CASES, seed=SEED, effort=EFFORT)
    record_property("answers", outcome.cases)
    record_property("by status", outcome.by_status())
    assert outcome.failures == []
    assert outcome.cases >= CASES
    assert outcome.share_of(429) < MOST_LIMITED_SHARE
    # Somebody who is signed in stays it, so that routes are tested and not the door.
    assert not is_known or outcome.share_of(401) < 0.1
    assert "request_failed" not in fuzzed.log_text()
