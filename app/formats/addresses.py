"""IP addresses, as they are counted. Pure."""

import ipaddress
from functools import lru_cache

_REMEMBERED = 4096  # addresses


@lru_cache(_REMEMBERED)
def find_network(address: str) -> str:
    """What bounds on each caller count: the address itself, or the /64 of an IPv6 one, since such a caller usually has
    all addresses of it. An IPv4 caller of a socket that takes both has an address like ::ffff:192.0.2.1 (RFC 4291
    §2.5.5.2). What is no address counts as it is."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
