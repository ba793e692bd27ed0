"""Names of devices and tenants: safe in a topic, a URL and a broker's user name."""

import pytest

from domain.identifier import is_device_id, is_tenant_slug


@pytest.mark.parametrize("text", ["P-101", "default", "pump_7.b", "0", "x" * 64])
def test_plain_names_are_accepted(text: str) -> None:
    assert is_device_id(text)
    assert is_tenant_slug(text)


@pytest.mark.parametrize("text", ["", "x" * 65, "a/b", "a+b", "#", "a b", "é", "P-101\n", "٣", ".", ".."])
def test_wildcards_separators_and_surprises_are_refused(text: str) -> None:
    assert not is_device_id(text)
    assert not is_tenant_slug(text)
