"""Passwords: hashed slowly, compared honestly, few at a time."""

from __future__ import annotations

import threading

import pytest
from argon2 import PasswordHasher

from api.passwords import Passwords, PasswordTooWeak, SignInsBusy, check_new_password

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def passwords() -> Passwords:
    return Passwords()


def test_a_password_fits_its_own_hash_only(passwords: Passwords) -> None:
    stored = passwords.hash(PASSWORD)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.verify(stored, PASSWORD)
    assert not passwords.verify(stored, PASSWORD + " ")
    assert not passwords.verify(None, PASSWORD)
    assert not passwords.verify("no hash at all", PASSWORD)
    assert passwords.hash(PASSWORD) != stored


def test_the_same_password_from_another_keyboard_fits(passwords: Passwords) -> None:
    assert passwords.verify(passwords.hash("Gr\u00f6\u00dfenwahn \u2460"), "Gro\u0308\u00dfenwahn 1")


def test_long_passwords_are_not_cut(passwords: Passwords) -> None:
    assert not passwords.verify(passwords.hash("x" * 100 + "a"), "x" * 100 + "b")


def test_a_weaker_hash_is_known_as_outdated(passwords: Passwords) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    assert passwords.verify(weak, PASSWORD)
    assert passwords.is_outdated(weak)
    assert not passwords.is_outdated(passwords.hash(PASSWORD))


def test_who_finds_no_slot_is_told_to_come_back() -> None:
    passwords = Passwords(at_once=1, wait_s=0.05)
    inside, may_leave = threading.Event(), threading.Event()

    def occupy() -> None:
        with passwords._slot():
            inside.set()
            may_leave.wait(10)

    thread = threading.Thread(target=occupy)
    thread.start()
    assert inside.wait(10)
    with pytest.raises(SignInsBusy):
        passwords.hash(PASSWORD)
    may_leave.set()
    thread.join(10)
    assert passwords.hash(PASSWORD)


@pytest.mark.parametrize(
    "password", ["", "short", "x" * 11, "abababababababab", "alice@plant-a.example", "é" * 300]
)
def test_guessable_passwords_are_refused(password: str) -> None:
    with pytest.raises(PasswordTooWeak):
        check_new_password(password, email="Alice@plant-a.example")


@pytest.mark.parametrize("password", ["twelve chars", PASSWORD, "пароль не пароль", "x1" + "longer " * 30])
def test_long_passwords_of_any_characters_are_taken(password: str) -> None:
    check_new_password(password, email="alice@plant-a.example")
