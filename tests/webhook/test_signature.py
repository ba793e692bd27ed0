"""Signatures: receivers verify them with the public library, and nothing else passes."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.webhook.receivers import answering, guard, receiving
from webhook import Request, deliver, new_secret, signed_headers

BODY = b'{"type":"alert.raised","message":"P-101 is too hot \xe2\x80\x94 80 \xc2\xb0C"}'


def test_the_vector_of_the_specification_is_reproduced() -> None:
    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        now=datetime.fromtimestamp(1614265330, UTC),
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_verifies_what_arrived_over_the_wire() -> None:
    key = new_secret()
    with receiving(answering("200 OK")) as receiver:
        headers = signed_headers("n-1", BODY, [key], now=datetime.now(UTC))
        assert deliver(Request(f"http://{receiver.authority}/hook", BODY, headers), guard()).status == 200
    (request,) = receiver.requests
    assert Webhook(key).verify(request.body, request.headers)["type"] == "alert.raised"


def test_both_secrets_verify_while_one_replaces_the_other() -> None:
    old, new, foreign = new_secret(), new_secret(), new_secret()
    headers = signed_headers("n-2", BODY, [new, old], now=datetime.now(UTC))
    for key in (old, new):
        Webhook(key).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(foreign).verify(BODY, headers)


@pytest.mark.parametrize("bit", range(0, len(BODY) * 8, 37))
def test_one_changed_bit_of_the_body_fails(bit: int) -> None:
    key = new_secret()
    headers = signed_headers("n-3", BODY, [key], now=datetime.now(UTC))
    changed = bytearray(BODY)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises((WebhookVerificationError, UnicodeDecodeError)):
        Webhook(key).verify(bytes(changed), headers)


@pytest.mark.parametrize("age_s", [301, -301, 86_400])
def test_a_message_that_is_too_old_or_too_new_fails(age_s: int) -> None:
    key = new_secret()
    headers = signed_headers("n-4", BODY, [key], now=datetime.now(UTC) - timedelta(seconds=age_s))
    with pytest.raises(WebhookVerificationError, match="too"):
        Webhook(key).verify(BODY, headers)


def test_another_id_fails() -> None:
    key = new_secret()
    headers = signed_headers("n-5", BODY, [key], now=datetime.now(UTC))
    with pytest.raises(WebhookVerificationError):
        Webhook(key).verify(BODY, {**headers, "webhook-id": "n-6"})


def test_a_clock_in_another_zone_signs_the_same_moment() -> None:
    key, moment = new_secret(), datetime.now(UTC)
    east = signed_headers("n-7", BODY, [key], now=moment.astimezone(timezone(timedelta(hours=9))))
    assert east == signed_headers("n-7", BODY, [key], now=moment)
    Webhook(key).verify(BODY, east)


def test_secrets_have_the_strength_that_the_standard_asks_for() -> None:
    assert 24 <= len(base64.b64decode(new_secret().removeprefix("whsec_"))) <= 64
