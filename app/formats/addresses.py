"""The form in which limits per caller count an IP address. Pure."""

import ipaddress
from functools import lru_cache

_REMEMBERED = 4096  # addresses


@lru_cache(_REMEMBERED)
def find_network(address: str) -> str:
    """The address or network for which a limit per caller counts: the address itself, or the /64 of an IPv6 address,
    since such a caller usually has all addresses of a /64. An IPv4 caller may have an address like ::ffff:192.0.2.1
    (RFC 4291 §2.5.5.2), if the socket takes both kinds. A text that is not an address is returned unchanged."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
