"""No URL makes the platform talk to what the deployment does not allow: not one byte reaches a listener.

The positive control sends the same URLs without the guard: it shows that the range of listeners works.
"""

from __future__ import annotations

import contextlib
import socket
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network

import pytest
import requests
from urllib3.exceptions import InsecureRequestWarning

from domain.delivery import Failure
from tests.webhook.hostile_urls import MOVED, HostileNames, direct_urls, redirects
from tests.webhook.receivers import Receiver, answering, guard, receiving
from webhook import Guard, Request, UrlRefused, check_url, deliver

HOUSE_HOST = "127.77.0.1"


@dataclass(frozen=True, slots=True)
class Range:
    """Listeners on everything that is forbidden, on one port, and an allowed receiver beside them."""

    forbidden: tuple[Receiver, ...]
    house: Receiver

    @property
    def reached(self) -> int:
        return sum(listener.connections for listener in self.forbidden)

    def url(self, template: str) -> str:
        return template.replace("{port}", str(self.forbidden[0].port))


@pytest.fixture(scope="module")
def shooting_range() -> Iterator[Range]:
    answer = answering("200 OK")
    with contextlib.ExitStack() as stack:
        house = stack.enter_context(receiving(answer, host=HOUSE_HOST))
        four = stack.enter_context(receiving(answer, host="0.0.0.0"))
        listeners = [four]
        with contextlib.suppress(OSError):  # A machine without IPv6.
            listeners.append(stack.enter_context(receiving(answer, host="::1", port=four.port)))
        yield Range(tuple(listeners), house)


def careful(names: HostileNames) -> Guard:
    return guard(deadline_s=2.0, lookup=names.getaddrinfo)


CASES = direct_urls()


@pytest.mark.parametrize("template", CASES)
def test_a_hostile_url_reaches_nothing(shooting_range: Range, template: str) -> None:
    before = shooting_range.reached
    names = HostileNames(HOUSE_HOST)
    answer = deliver(Request(shooting_range.url(template), b"{}", {}), careful(names))
    if "rebind" in template:
        # The allowed answer counts, and it was asked for once only; the trap was never sprung.
        assert sum(names.asked.values()) == 1
        assert shooting_range.reached == before + (1 if answer.status else 0)
        assert all(listener.connections == 0 for listener in shooting_range.forbidden[1:])
        return
    assert answer.status is None
    assert answer.failure in {Failure.REFUSED, Failure.UNRESOLVED, Failure.PROTOCOL}
    assert shooting_range.reached == before


@pytest.mark.parametrize(("status_line", "target"), redirects())
def test_a_redirect_leads_nowhere(shooting_range: Range, status_line: str, target: str) -> None:
    before = shooting_range.reached
    shooting_range.house.behave = answering(status_line, f"Location: {shooting_range.url(target)}")
    names = HostileNames(HOUSE_HOST)
    answer = deliver(Request(f"http://{shooting_range.house.authority}/", b"{}", {}), careful(names))
    assert answer.status == int(status_line[:3])
    assert shooting_range.reached == before


def test_without_the_guard_most_of_them_arrive(
    shooting_range: Range, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    names = HostileNames(HOUSE_HOST)
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    arrived = total = 0
    urls = [shooting_range.url(template) for template in CASES]
    for url in urls:
        arrived += _arrives(shooting_range, url)
        total += 1
    for status_line, target in redirects():
        shooting_range.house.behave = answering(status_line, f"Location: {shooting_range.url(target)}")
        arrived += _arrives(shooting_range, f"http://{shooting_range.house.authority}/")
        total += 1
    record_property("hostile URLs", total)
    record_property("arrive without the guard", arrived)
    assert len(MOVED) == 5
    assert total >= 100
    assert arrived >= 0.6 * total


def _arrives(shooting_range: Range, url: str) -> int:
    before = shooting_range.reached
    with warnings.catch_warnings(), contextlib.suppress(requests.RequestException, ValueError, OSError):
        warnings.simplefilter("ignore", InsecureRequestWarning)
        requests.post(url, data=b"{}", timeout=(0.2, 1), verify=False)  # noqa: S501 - the control is careless
    return int(shooting_range.reached > before)


def test_an_allowed_receiver_is_reached(shooting_range: Range) -> None:
    shooting_range.house.behave = answering("200 OK")
    url = f"http://{shooting_range.house.authority}/hook"
    assert deliver(Request(url, b"{}", {}), careful(HostileNames(HOUSE_HOST))).status == 200


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/services/T1",
        "https://hooks.example.com:8443/a?b=c",
        "https://[2606:4700::1111]/",
        "https://1.1.1.1/",
        "http://127.77.0.9:1880/node-red",
        "http://node-red.plant.example:1880/in",
    ],
)
def test_a_usual_url_may_be_typed(url: str) -> None:
    check_url(url, guard())


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "http://1.1.1.1/",
        "https://1.1.1.1:22/",
        "https://user@hooks.example.com/",
        "ftp://hooks.example.com/",
        "hooks.example.com",
        "https://" + "a" * 2048,
        "https://hooks.example.com/ü",
    ],
)
def test_an_impossible_url_is_refused_when_it_is_typed(url: str) -> None:
    with pytest.raises(UrlRefused):
        check_url(url, guard())


def test_the_allow_list_never_opens_metadata_or_link_local(shooting_range: Range) -> None:
    everything = Guard(allowed_networks=(ip_network("0.0.0.0/0"), ip_network("fc00::/7")), deadline_s=1.0)
    for host in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "[fd00:ec2::254]", "0.0.0.0"):
        url = f"http://{host}:{shooting_range.forbidden[0].port}/"
        assert deliver(Request(url, b"{}", {}), everything).failure is Failure.REFUSED
