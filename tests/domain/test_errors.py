"""Errors: a class's docstring is the title that users read."""

import pickle

from domain.errors import Conflict, FieldError, InvalidInput, Unavailable


class PumpAlreadyRunning(Conflict):
    """The pump is running already.

    What follows is for programmers.
    """


class PumpWithoutWords(PumpAlreadyRunning):
    __doc__ = None


def test_the_first_line_of_the_docstring_is_the_title() -> None:
    error = PumpAlreadyRunning("P-101 has been running since 06:00")
    assert error.title == "The pump is running already."
    assert str(error) == "P-101 has been running since 06:00"


def test_without_a_detail_the_title_speaks() -> None:
    assert str(PumpAlreadyRunning()) == "The pump is running already."


def test_a_class_without_words_of_its_own_takes_those_of_its_parent() -> None:
    assert PumpWithoutWords().title == "The pump is running already."


def test_wrong_fields_are_listed() -> None:
    error = InvalidInput("two fields are wrong", errors=[FieldError("/name", "is empty")])
    assert error.errors == [FieldError(pointer="/name", detail="is empty")]


def test_unavailable_says_when_to_come_back_and_survives_pickling() -> None:
    error: Unavailable = pickle.loads(pickle.dumps(Unavailable("PostgreSQL is away", retry_after_s=7)))
    assert (error.detail, error.retry_after_s) == ("PostgreSQL is away", 7)
