import pytest

from app.formats.addresses import find_network


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("a.sock", "a.sock"),
        ("", ""),
    ],
)
def test_an_address_counts_as_itself_and_one_of_ipv6_as_its_64(address: str, network: str) -> None:
    assert find_network(address) == network
