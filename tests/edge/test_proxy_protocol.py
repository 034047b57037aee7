import pytest

from app.edge.proxy_protocol import MAX_HEADER, ProxyHeader, parse_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = bytes((192, 0, 2, 1, 10, 0, 0, 1)) + (4711).to_bytes(2) + (80).to_bytes(2)
V6 = bytes.fromhex("2a00" + "00" * 13 + "01" + "2001" + "00" * 13 + "02") + (4711).to_bytes(2) + (80).to_bytes(2)
MAPPED = bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 1)) + bytes(16) + (4711).to_bytes(2) + (80).to_bytes(2)
TLVS = b"\x02\x00\x03a.b" + b"\x04\x00\x00" + b"\x20\xff\xff"  # the last one lies about its length


def binary(command: int, kind: int, body: bytes = b"", size: int | None = None) -> bytes:
    return SIGNATURE + bytes((command, kind)) + (len(body) if size is None else size).to_bytes(2) + body


READ = {
    b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n": ("192.0.2.1", 4711),
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": ("255.255.255.255", 65535),
    b"PROXY TCP6 2A00:0::1 2001::2 0 80\r\n": ("2a00::1", 0),
    b"PROXY TCP6 ::ffff:192.0.2.1 2001::2 1 80\r\n": ("192.0.2.1", 1),
    b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n": ("ffff:" * 7 + "ffff", 65535),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN 192.0.2.1 10.0.0.1 4711 80\r\n": None,
    b"PROXY UNKNOWN \x00\xff\n\r\r\n": None,
    binary(0x21, 0x11, V4): ("192.0.2.1", 4711),
    binary(0x21, 0x12, V4): ("192.0.2.1", 4711),
    binary(0x21, 0x11, V4 + TLVS): ("192.0.2.1", 4711),
    binary(0x21, 0x11, V4 + bytes(MAX_HEADER - 16 - 12)): ("192.0.2.1", 4711),
    binary(0x21, 0x21, V6): ("2a00::1", 4711),
    binary(0x21, 0x22, V6 + TLVS): ("2a00::1", 4711),
    binary(0x21, 0x21, MAPPED): ("192.0.2.1", 4711),
    binary(0x21, 0x31, bytes(216)): None,
    binary(0x21, 0x32, bytes(216) + TLVS): None,
    binary(0x21, 0x00): None,
    binary(0x21, 0x00, V4): None,
    binary(0x21, 0x10, V4): None,
}
LOCAL = (binary(0x20, 0x00), binary(0x20, 0x11, V4), binary(0x20, 0xFF, b"\x01" * 9))
BROKEN = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
    b"\r\nGET / HTTP/1.1\r\n",
    b"\r\n\r\n\x00\r\nQUIT\r",
    b"P\r\n",
    b"proxy TCP4 192.0.2.1 10.0.0.1 4711 80\r\n",
    b" PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n",
    b"PROXY  TCP4 192.0.2.1 10.0.0.1 4711 80\r\n",
    b"PROXY\tTCP4 192.0.2.1 10.0.0.1 4711 80\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP5 192.0.2.1 10.0.0.1 4711 80\r\n",
    b"PROXY UDP4 192.0.2.1 10.0.0.1 4711 80\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 \r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 x\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 65536\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 99999 80\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 04711 80\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 -1 80\r\n",
    b"PROXY TCP4 192.0.2.256 10.0.0.1 4711 80\r\n",
    b"PROXY TCP4 192.0.2.01 10.0.0.1 4711 80\r\n",
    b"PROXY TCP4 192.0.2.1 x 4711 80\r\n",
    b"PROXY TCP4 2a00::1 2001::2 4711 80\r\n",
    b"PROXY TCP6 192.0.2.1 10.0.0.1 4711 80\r\n",
    b"PROXY TCP6 [2a00::1] 2001::2 4711 80\r\n",
    b"PROXY TCP6 fe80::1%lo 2001::2 4711 80\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\nGET / HTTP/1.1\r\n",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"PROXY UNKNOWN " + b"x" * 60_000,
    binary(0x11, 0x11, V4),
    binary(0x31, 0x11, V4),
    binary(0x22, 0x11, V4),
    binary(0x2F, 0x11, V4),
    binary(0x21, 0x13, V4),
    binary(0x21, 0x41, bytes(300)),
    binary(0x21, 0xF1, bytes(300)),
    binary(0x21, 0x11, V4[:-1]),
    binary(0x21, 0x11),
    binary(0x21, 0x21, V4),
    binary(0x21, 0x31, bytes(215)),
    binary(0x21, 0x11, size=MAX_HEADER - 15),
    binary(0x20, 0x00, size=0xFFFF),
)


@pytest.mark.parametrize(("header", "source"), READ.items())
def test_a_header_names_the_client_and_ends_where_the_request_begins(
    header: bytes, source: tuple[str, int] | None
) -> None:
    expected = ProxyHeader(size=len(header), source=source)
    assert parse_header(header) == expected
    assert parse_header(header + b"GET / HTTP/1.1\r\n\r\n") == expected
    assert parse_header(header + header) == expected


@pytest.mark.parametrize("header", LOCAL)
def test_a_proxy_that_speaks_for_itself_is_the_client(header: bytes) -> None:
    assert parse_header(header) == ProxyHeader(size=len(header), is_local=True)


@pytest.mark.parametrize("header", [*READ, *LOCAL])
def test_a_header_may_come_byte_by_byte(header: bytes) -> None:
    assert [parse_header(header[:size]) for size in range(len(header))] == [None] * len(header)


@pytest.mark.parametrize("data", BROKEN)
def test_what_is_no_header_is_refused_with_its_reason(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^The (?:connection|line|header) .* PROXY protocol.*\.$"):
        parse_header(data)


def test_no_more_than_the_bound_is_ever_waited_for() -> None:
    for beginning in (b"PROXY UNKNOWN ", b"PROXY TCP4 ", binary(0x21, 0x11, size=MAX_HEADER - 16)):
        longest = beginning
        while len(longest) <= MAX_HEADER + 1:
            try:
                if parse_header(longest):
                    break
            except ValueError:
                break
            longest += b"1"
        assert len(longest) <= MAX_HEADER
