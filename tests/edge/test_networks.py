import re

import pytest

from app.edge.networks import Networks, parse_network


def test_networks_are_true_where_there_are_any() -> None:
    assert not Networks(())
    assert Networks(["::1"])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "must be an IP address or a network such as 10.0.0.0/8"),
        ("localhost", "must be an IP address or a network such as 10.0.0.0/8"),
        ("10.0.0.0/33", "must be an IP address or a network such as 10.0.0.0/8"),
        ("10.0.0", "must be an IP address or a network such as 10.0.0.0/8"),
        ("10.1.2.3/8", "the address has bits beyond the length of the network: write 10.0.0.0/8"),
        ("2001:db8::1/32", "the address has bits beyond the length of the network: write 2001:db8::/32"),
    ],
)
def test_what_is_no_network_is_refused_with_what_would_be_right(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(fault)}$"):
        parse_network(text)
