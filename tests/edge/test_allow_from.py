import pytest

from app.edge.allow_from import AllowFrom
from app.edge.request import Caller, Request
from app.errors import Forbidden

NETWORKS = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1")


def is_allowed(address: str | None, *networks: str) -> bool:
    caller = Caller(address=address, scheme="http", lane="fast")
    request = Request(method="GET", path=b"/", query=b"", headers=(), version="1.1", received=0.0, caller=caller)
    try:
        AllowFrom(networks).check(request)
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.0",
        "10.255.255.255",
        "192.0.2.7",
        "2001:db8::",
        "2001:db8:ffff::1",
        "::1",
        "::ffff:10.1.2.3",
        "::ffff:c000:207",
        "2001:db8::1%eth0",
    ],
)
def test_an_address_of_a_listed_network_is_allowed(address: str) -> None:
    assert is_allowed(address, *NETWORKS)


@pytest.mark.parametrize(
    "address",
    ["9.255.255.255", "11.0.0.0", "192.0.2.8", "2001:db9::", "::2", "::ffff:11.0.0.1", "::10.1.2.3", "", "no", None],
)
def test_any_other_address_is_not(address: str | None) -> None:
    assert not is_allowed(address, *NETWORKS)


def test_zero_bits_are_all_addresses_of_one_family() -> None:
    assert is_allowed("203.0.113.1", "0.0.0.0/0")
    assert not is_allowed("2001:db8::1", "0.0.0.0/0")
    assert is_allowed("2001:db8::1", "::/0")
