"""Parses the PROXY protocol, versions 1 and 2: the address of a client behind a proxy that passes bytes on. Pure.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, sections 2.1 and 2.2

Law: the gateway never waits for more than MAX_HEADER bytes of a header. It refuses bytes as soon as they can't become a
valid header.
"""

import ipaddress
import re
from dataclasses import dataclass

MAX_HEADER = 4096  # bytes, with the TLVs of version 2; nginx has the same bound

_MAX_LINE = 107  # bytes of a header of version 1
_WORD = b"PROXY "
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED = 16  # bytes of a header of version 2 before the addresses

_PORT = rb"(?:0|[1-9][0-9]{0,4})"
_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: .*)?|TCP4 ([0-9.]+) ([0-9.]+) (%b) (%b)|TCP6 ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (%b) (%b))"
    % ((_PORT,) * 4),
    re.DOTALL,
)
_LOCAL, _PROXY = 0x20, 0x21  # version and command
_SIZES = {0x0: 0, 0x1: 12, 0x2: 36, 0x3: 216}  # bytes of the addresses, by family
_ADDRESS = {0x11: 4, 0x12: 4, 0x21: 16, 0x22: 16}  # bytes of one: TCP and UDP (QUIC) over IPv4 and IPv6


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyHeader:
    """A header of `size` bytes. `source` is the address and port of the client. It is None if the proxy does not say
    them: `UNKNOWN`, a Unix socket, or an unspecified family. With `is_local` the proxy itself is the client."""

    size: int
    source: tuple[str, int] | None = None
    is_local: bool = False


def parse_header(data: bytes) -> ProxyHeader | None:
    """The header at the beginning of a connection; None while it is incomplete. Raises ValueError, whose text says what
    is wrong."""
    if data.startswith(_WORD[: len(data)]):
        return _parse_line(data)
    if data.startswith(_SIGNATURE[: len(data)]):
        return _parse_binary(data)
    raise ValueError("The connection does not begin with a header of the PROXY protocol.")


def _parse_line(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, _MAX_LINE)
    if end < 0:
        if len(data) >= _MAX_LINE:
            raise ValueError("The line of the PROXY protocol is too long.")
        return None
    match = _LINE.fullmatch(data, 0, end)
    if match is None:
        raise ValueError("The line of the PROXY protocol is broken.")
    addresses, ports = [text for text in match.group(1, 2, 5, 6) if text], match.group(3, 4, 7, 8)
    if not addresses:
        return ProxyHeader(size=end + 2)
    source, _ = [_parse_address(text, 4 if match[1] else 6) for text in addresses]
    port, _ = [_parse_port(text) for text in ports if text]
    return ProxyHeader(size=end + 2, source=(source, port))


def _parse_address(text: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        address = None
    if address is None or address.version != version:
        raise ValueError("The line of the PROXY protocol has a broken address.")
    return _write(address)


def _write(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return str(getattr(address, "ipv4_mapped", None) or address)


def _parse_port(text: bytes) -> int:
    port = int(text)
    if port > 65535:
        raise ValueError("The line of the PROXY protocol has a broken port.")
    return port


def _parse_binary(data: bytes) -> ProxyHeader | None:
    if len(data) < _FIXED:
        return None
    command, kind = data[12], data[13]
    size = _FIXED + int.from_bytes(data[14:16])
    if command not in (_LOCAL, _PROXY):
        raise ValueError("The header of the PROXY protocol has an unknown version or command.")
    if size > MAX_HEADER:
        raise ValueError("The header of the PROXY protocol is too long.")
    if command == _PROXY and (kind & 0xF > 2 or size - _FIXED < _SIZES.get(kind >> 4, MAX_HEADER)):
        raise ValueError("The header of the PROXY protocol is broken.")
    if len(data) < size:
        return None
    if command == _LOCAL:
        return ProxyHeader(size=size, is_local=True)
    return ProxyHeader(size=size, source=_read_source(data, kind))


def _read_source(data: bytes, kind: int) -> tuple[str, int] | None:
    """The source address and port. The two ports come after the two addresses. TLVs after them are ignored."""
    length = _ADDRESS.get(kind)
    if length is None:
        return None
    ports = _FIXED + 2 * length
    return _write(ipaddress.ip_address(data[_FIXED : _FIXED + length])), int.from_bytes(data[ports : ports + 2])
