"""Who did something that must be accounted for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, an API key or the platform itself, acting inside one tenant.

    Attributes:
        label: How the audit log names the actor: an e-mail address, or `system`.
        key_id: The API key that the person's program used, if it used one.
        address: The network address that the request came from, None for the platform itself.
    """

    tenant_id: int
    label: str
    user_id: str | None = None
    key_id: str | None = None
    address: str | None = None
    request_id: str = ""

    @classmethod
    def system(cls, tenant_id: int) -> Actor:
        """The platform itself: a timer, the ingest, a periodic job."""
        return cls(tenant_id, "system")
