"""IP networks, and tests whether an address is in them."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_REMEMBERED = 4096  # addresses


def parse_network(text: str) -> Network:
    """Parse a network such as `10.0.0.0/8`, or one address. Raises ValueError, whose text says what is wrong."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        right = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("must be an IP address or a network such as 10.0.0.0/8") from None
    raise ValueError(f"the address has bits beyond the length of the network: write {right}")


class Networks:
    """A set of networks. An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`, RFC 4291 §2.5.5.2) counts as the IPv4 address.
    An unknown address (None) is in no network."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(parse_network(text) for text in networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, text: str | None) -> bool:
        address = _parse_address(text)
        return address is not None and any(address in network for network in self._networks)


def write_address(text: str | None) -> str | None:
    """An address in canonical form: without a zone, and an IPv4-mapped IPv6 address as the IPv4 address. None if the
    text is not an address."""
    address = _parse_address(text)
    return None if address is None else str(address)


@lru_cache(_REMEMBERED)
def _parse_address(text: str | None) -> IpAddress | None:
    try:
        address = ipaddress.ip_address((text or "").partition("%")[0])  # without the zone of a link-local address
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
