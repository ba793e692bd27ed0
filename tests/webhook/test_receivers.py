"""The matrix of receivers: each gets the right class of retry, and no attempt outlives its deadline."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme

from domain.delivery import Failure, Verdict, verdict
from tests.webhook.receivers import Behave, answering, guard, receiving
from webhook import MAX_ANSWER_BYTES, MAX_BODY_BYTES, Answer, Guard, Request, deliver

DEADLINE_S = 1.0


def post(url: str, *, body: bytes = b"{}", using: Guard | None = None) -> Answer:
    return deliver(Request(url, body, {}), using or guard(deadline_s=DEADLINE_S))


def answer_of(behave: Behave) -> Answer:
    with receiving(behave) as receiver:
        return post(f"http://{receiver.authority}/hook?plant=a")


def class_of(answer: Answer) -> Verdict:
    return verdict(answer.status, answer.failure)


@pytest.mark.parametrize(
    ("status_line", "expected"),
    [
        ("200 OK", Verdict.DELIVERED),
        ("201 Created", Verdict.DELIVERED),
        ("204 No Content", Verdict.DELIVERED),
        ("301 Moved Permanently", Verdict.REPAIR),
        ("304 Not Modified", Verdict.REPAIR),
        ("307 Temporary Redirect", Verdict.REPAIR),
        ("400 Bad Request", Verdict.REPAIR),
        ("401 Unauthorized", Verdict.REPAIR),
        ("404 Not Found", Verdict.REPAIR),
        ("408 Request Timeout", Verdict.RETRY),
        ("410 Gone", Verdict.GONE),
        ("429 Too Many Requests", Verdict.RETRY),
        ("500 Internal Server Error", Verdict.RETRY),
        ("502 Bad Gateway", Verdict.RETRY),
        ("503 Service Unavailable", Verdict.RETRY),
        ("504 Gateway Timeout", Verdict.RETRY),
    ],
)
def test_a_status_gets_its_class_of_retry(status_line: str, expected: Verdict) -> None:
    answer = answer_of(answering(status_line))
    assert answer.status == int(status_line[:3])
    assert class_of(answer) is expected


@pytest.mark.parametrize(("text", "expected_s"), [("7", 7), ("99999999999", 86_400)])
def test_retry_after_in_seconds_is_understood_and_bounded(text: str, expected_s: float) -> None:
    answer = answer_of(answering("429 Too Many Requests", f"Retry-After: {text}"))
    assert answer.retry_after_s == expected_s


def test_retry_after_as_a_date_is_understood() -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    answer = answer_of(answering("429 Too Many Requests", f"Retry-After: {in_a_minute}"))
    assert answer.retry_after_s is not None
    assert 30 <= answer.retry_after_s <= 61


def test_nonsense_in_retry_after_counts_as_nothing() -> None:
    assert answer_of(answering("503 Service Unavailable", "Retry-After: soon")).retry_after_s is None


def test_a_redirect_is_not_followed() -> None:
    with receiving(answering("200 OK"), host="127.77.0.2") as target:
        moved = answering("302 Found", f"Location: http://{target.authority}/")
        assert answer_of(moved).status == 302
    assert target.connections == 0


def silent(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.recv(1)


def dripping(first: bytes) -> Callable[[socket.socket], None]:
    def behave(link: socket.socket) -> None:
        link.settimeout(0.2)
        link.sendall(first)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while True:
                with contextlib.suppress(TimeoutError):
                    if link.recv(1) == b"":
                        return
                link.sendall(b"x")

    return behave


@pytest.mark.parametrize(
    "behave",
    [
        silent,
        dripping(b""),
        dripping(b"HTTP/1.1 200 OK\r\nX-Slow: "),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
    ],
    ids=["silent", "drips the status line", "drips a header", "drips the body"],
)
def test_a_slow_receiver_is_left_at_the_deadline(behave: Behave) -> None:
    started = time.monotonic()
    answer = answer_of(behave)
    assert answer.failure is Failure.TIMEOUT
    assert class_of(answer) is Verdict.RETRY
    assert DEADLINE_S * 0.9 <= time.monotonic() - started < DEADLINE_S + 1


def test_the_deadline_is_ten_seconds_unless_a_test_is_in_a_hurry() -> None:
    assert Guard().deadline_s == 10.0


def test_of_ten_megabytes_only_the_start_is_read() -> None:
    answer = answer_of(answering("200 OK", body=b"a" * 10_000_000))
    assert len(answer.body) == MAX_ANSWER_BYTES
    assert class_of(answer) is Verdict.DELIVERED


def test_a_reset_is_tried_again() -> None:
    def reset(link: socket.socket) -> None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    answer = answer_of(reset)
    assert answer.failure in {Failure.UNREACHABLE, Failure.PROTOCOL}
    assert class_of(answer) is Verdict.RETRY


def test_nobody_listening_is_tried_again() -> None:
    with receiving(answering("200 OK")) as receiver:
        pass
    answer = post(f"http://{receiver.authority}/")
    assert answer.failure is Failure.UNREACHABLE
    assert class_of(answer) is Verdict.RETRY


@pytest.mark.parametrize("noise", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 99999 No\r\n\r\n", b"\x00" * 100])
def test_what_is_not_http_is_a_failure_of_the_protocol(noise: bytes) -> None:
    answer = answer_of(lambda link: link.sendall(noise))
    assert answer.failure is Failure.PROTOCOL


def test_endless_headers_are_refused() -> None:
    line = b"X-Filler: " + b"a" * 500 + b"\r\n"
    answer = answer_of(lambda link: link.sendall(b"HTTP/1.1 200 OK\r\n" + line * 2000))
    assert answer.failure in {Failure.PROTOCOL, Failure.UNREACHABLE}


def test_a_megabyte_is_sent_and_one_byte_more_is_not() -> None:
    with receiving(answering("200 OK")) as receiver:
        url = f"http://{receiver.authority}/"
        patient = guard(deadline_s=10.0)
        assert post(url, body=b"a" * MAX_BODY_BYTES, using=patient).status == 200
        refused = post(url, body=b"a" * (MAX_BODY_BYTES + 1), using=patient)
    assert class_of(refused) is Verdict.DEAD
    assert receiver.connections == 1
    assert len(receiver.requests[0].body) == MAX_BODY_BYTES


def test_a_header_with_a_line_break_is_never_sent() -> None:
    with receiving(answering("200 OK")) as receiver:
        url = f"http://{receiver.authority}/"
        answer = deliver(Request(url, b"{}", {"X-Plant": "a\r\nX-Evil: 1"}), guard())
    assert answer.failure is Failure.PROTOCOL
    assert receiver.requests == []


def tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def authority_file(tmp_path: Path) -> tuple[trustme.CA, Path]:
    authority = trustme.CA()
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return authority, path


def secure_answer(
    certificate: trustme.LeafCert, ca_file: Path | None, *, name: str = "scada.plant-a.example"
) -> Answer:
    def lookup(host: str, port: int, *rest: object) -> object:
        return socket.getaddrinfo("127.77.0.1", port, type=socket.SOCK_STREAM)

    with receiving(answering("200 OK"), context=tls(certificate)) as receiver:
        careful = guard(deadline_s=5.0, ca_file=ca_file, lookup=lookup)
        answer = post(f"https://{name}:{receiver.port}/hook", using=careful)
        assert len(receiver.requests) == (1 if answer.status else 0)
        return answer


def test_a_certificate_of_the_plants_authority_is_accepted(authority_file: tuple[trustme.CA, Path]) -> None:
    authority, path = authority_file
    assert secure_answer(authority.issue_cert("scada.plant-a.example"), path).status == 200


@pytest.mark.parametrize("fault", ["expired", "wrong name", "unknown authority"])
def test_a_bad_certificate_gets_no_byte_of_the_alert(
    authority_file: tuple[trustme.CA, Path], fault: str
) -> None:
    authority, path = authority_file
    yesterday = datetime.now(UTC) - timedelta(days=1)
    certificate = {
        "expired": lambda: authority.issue_cert("scada.plant-a.example", not_after=yesterday),
        "wrong name": lambda: authority.issue_cert("other.example"),
        "unknown authority": lambda: trustme.CA().issue_cert("scada.plant-a.example"),
    }[fault]()
    answer = secure_answer(certificate, path)
    assert answer.failure is Failure.TLS
    assert class_of(answer) is Verdict.REPAIR


def test_a_receiver_without_tls_fails_the_handshake() -> None:
    with receiving(lambda link: link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as receiver:
        answer = post(f"https://{receiver.authority}/")
    assert answer.failure in {Failure.TLS, Failure.TIMEOUT, Failure.UNREACHABLE}


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        receiving(answering("200 OK"), host="127.0.0.1") as proxy,
        receiving(answering("200 OK")) as receiver,
    ):
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{proxy.authority}")
        assert post(f"http://{receiver.authority}/").status == 200
    assert (proxy.connections, receiver.connections) == (0, 1)
