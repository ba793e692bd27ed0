"""How tenants and devices may be called: these names travel in topics, URLs and user names."""

import re

_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,64}")


def is_device_id(text: str) -> bool:
    """Tell whether `text` can name a device: 1 to 64 of `A-Z a-z 0-9 . _ -`.

    `.` and `..` are refused: every HTTP client resolves them as path segments, so such a device
    could never be reached at its own URL.
    """
    return _IDENTIFIER.fullmatch(text) is not None and text not in {".", ".."}


def is_tenant_slug(text: str) -> bool:
    """Tell whether `text` can name a tenant in topics and settings; the rule is that of devices."""
    return is_device_id(text)
