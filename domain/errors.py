"""Named errors. The first line of a class's docstring is the title that users read.

Each error says what went wrong for the caller; how that becomes an HTTP status is decided by the
API, not here. Features derive their own errors from the six below:

    class AlertNotAcknowledgeable(Conflict):
        \"\"\"Only an unacknowledged alert can be acknowledged.\"\"\"
"""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field of an input.

    Attributes:
        pointer: JSON pointer (RFC 6901) to the field, such as `/metrics/0/unit`.
        detail: What is wrong with it, in one sentence.
    """

    pointer: str
    detail: str


class PlatformError(Exception):
    """The platform could not do this."""

    def __init__(self, detail: str = "", *, errors: Iterable[FieldError] = ()) -> None:
        """Describe this occurrence.

        Args:
            detail: What happened this time, safe to show to the user who asked.
            errors: The wrong fields, for bad input.
        """
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors)

    @property
    def title(self) -> str:
        """The first line of the class's docstring: the same for every occurrence."""
        return (inspect.getdoc(type(self)) or type(self).__name__).partition("\n")[0]

    def __str__(self) -> str:
        """Return the detail, or the title where there is none."""
        return self.detail or self.title


class InvalidInput(PlatformError):
    """The request is malformed."""


class RuleBroken(PlatformError):
    """The request is well formed but breaks a rule."""


class Unauthenticated(PlatformError):
    """Valid credentials are required."""


class Forbidden(PlatformError):
    """A permission is missing."""


class NotFound(PlatformError):
    """There is no such object."""


class Conflict(PlatformError):
    """The request conflicts with the present state."""


class Unavailable(PlatformError):
    """The platform cannot do this at the moment."""

    def __init__(
        self, detail: str = "", *, retry_after_s: int = 5, errors: Iterable[FieldError] = ()
    ) -> None:
        """Describe this occurrence.

        Args:
            detail: What is away, safe to show.
            retry_after_s: After how many whole seconds another attempt makes sense.
            errors: Kept for symmetry with the other errors; usually empty.
        """
        super().__init__(detail, errors=errors)
        self.retry_after_s = retry_after_s
