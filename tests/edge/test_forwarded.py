"""Of whom a trusted proxy speaks. 10.0.0.0/8 and 2001:db8::/32 are trusted; 192.0.2.1 is the caller; 203.0.113.66 is
the address that a stranger would like to have."""

import pytest

from app.edge.forwarded import MAX_HOPS, MAX_SIZE, UNKNOWN, Origin, read_forwarded, read_x_forwarded
from app.edge.networks import Networks

TRUSTED = Networks(["10.0.0.0/8", "2001:db8::/32"])
EVIL = "203.0.113.66"
NOBODY = Origin(address=UNKNOWN)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (f"{EVIL}, 192.0.2.1", "192.0.2.1"),
        (f"{EVIL}, 192.0.2.1, 10.0.0.9", "192.0.2.1"),
        (f"{EVIL},192.0.2.1,,10.0.0.9 ,\t, 10.0.0.8,", "192.0.2.1"),
        ("10.0.0.9, 10.0.0.8", "10.0.0.9"),
        ("192.0.2.1:8080", "192.0.2.1"),
        ("192.0.2.1:_port", "192.0.2.1"),
        ("2a00::1", "2a00::1"),
        ("2A00:0:0::1", "2a00::1"),
        ("[2a00::1]", "2a00::1"),
        ("[2a00::1]:443", "2a00::1"),
        ('"[2a00::1]:443"', "2a00::1"),
        (f"{EVIL}, [2001:db8::5]:80", EVIL),  # whom a trusted proxy names
        ("::ffff:192.0.2.1", "192.0.2.1"),
        (f"{EVIL}, ::ffff:10.0.0.9", EVIL),
        ("", None),
        (" , ,", None),
        (f"{EVIL}, unknown", UNKNOWN),
        (f"{EVIL}, _hidden", UNKNOWN),
        (f"{EVIL}, localhost", UNKNOWN),
        (f"{EVIL}, 192.0.2.1, unknown, 10.0.0.9", UNKNOWN),
        (f"{EVIL}, 192.0.2", UNKNOWN),
        (f"{EVIL}, 192.0.2.256", UNKNOWN),
        (f"{EVIL}, 192.0.2.01", UNKNOWN),
        (f"{EVIL}, 0300.0.2.1", UNKNOWN),
        (f"{EVIL}, 3221225985", UNKNOWN),
        (f"{EVIL}, 0xc0000201", UNKNOWN),
        (f"{EVIL}, [192.0.2.1]", UNKNOWN),
        (f"{EVIL}, [2a00::1", UNKNOWN),
        (f"{EVIL}, fe80::1%eth0", UNKNOWN),
        (f"{EVIL}, 192.0.2.1:http", UNKNOWN),
        (f"{EVIL}, 192.0.2.1:123456", UNKNOWN),
        (f"{EVIL}, 192.0.2.1 10.0.0.9", UNKNOWN),
        (f"{EVIL}, 192.0.2.1\x00", UNKNOWN),
        (f"{EVIL}, \xb9.0.0.1", UNKNOWN),
        (f"{EVIL}, for=192.0.2.1", UNKNOWN),
        (f"{EVIL}, 192.0.2.1/32", UNKNOWN),
        (f"{EVIL}, " + "1" * 60_000, UNKNOWN),
        (f"{EVIL}, " + "10.0.0.9, " * MAX_HOPS, "10.0.0.9"),
        (f"{EVIL}, " + "," * 60_000, None),
    ],
)
def test_the_first_address_from_the_right_that_is_not_trusted_is_the_caller_s(value: str, address: str | None) -> None:
    assert read_x_forwarded(value.encode("latin-1"), b"", b"", TRUSTED) == Origin(address=address)


@pytest.mark.parametrize(
    ("fors", "protos", "hosts", "scheme", "host"),
    [
        ("192.0.2.1", "https", "a.example", "https", "a.example"),
        ("192.0.2.1", "HTTPS", "a.example:8443", "https", "a.example:8443"),
        ("192.0.2.1, 10.0.0.9", "https, http", "a.example, b.example", "https", "a.example"),
        ("192.0.2.1, 10.0.0.9", "https", "a.example", "https", "a.example"),
        ("192.0.2.1", "https, http", "evil.example, a.example", "http", "a.example"),
        ("", "evil, https", "evil.example, a.example", "https", "a.example"),
        ("192.0.2.1", "javascript", "a b", None, None),
        ("192.0.2.1", "https\x00", 'a"b', None, None),
        ("192.0.2.1", "wss", "[2a00::1]:80", None, "[2a00::1]:80"),
        ("192.0.2.1", "", "a" * 254, None, None),
        ("192.0.2.1", "", "a/b", None, None),
        ("192.0.2.1", "", "user@a", None, None),
    ],
)
def test_the_scheme_and_the_host_are_of_the_proxy_that_named_the_caller(
    fors: str, protos: str, hosts: str, scheme: str | None, host: str | None
) -> None:
    origin = read_x_forwarded(fors.encode(), protos.encode(), hosts.encode(), TRUSTED)
    assert (origin.scheme, origin.host) == (scheme, host)


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("for=192.0.2.1", Origin(address="192.0.2.1")),
        ("For=192.0.2.1; PROTO=https;host=a.example", Origin(address="192.0.2.1", scheme="https", host="a.example")),
        ("for=192.0.2.1;by=10.0.0.1;;", Origin(address="192.0.2.1")),
        ('for="192.0.2.1:_p"', Origin(address="192.0.2.1")),
        ('for="[2a00::1]:80";host="a.example:80"', Origin(address="2a00::1", host="a.example:80")),
        ("for=[2a00::1]:80", Origin(address="2a00::1")),
        (
            f"for={EVIL}, for=192.0.2.1;proto=https , for=10.0.0.9;proto=http",
            Origin(address="192.0.2.1", scheme="https"),
        ),
        (f"for={EVIL},for=192.0.2.1,, for=10.0.0.9,", Origin(address="192.0.2.1")),
        ("for=10.0.0.9, for=10.0.0.8;proto=https", Origin(address="10.0.0.9")),
        ("proto=https", Origin(scheme="https")),
        (f"for={EVIL}, proto=https, for=10.0.0.9", Origin(address="10.0.0.9", scheme="https")),
        ("", Origin()),
        (f"for={EVIL}, for=unknown;proto=https", Origin(address=UNKNOWN, scheme="https")),
        (f"for={EVIL}, for=_hidden", NOBODY),
        (f'for={EVIL}, for="_hidden:_port"', NOBODY),
        # quotes of a stranger that would swallow what the proxy adds
        (f'for="{EVIL}, for=192.0.2.1', Origin(address="192.0.2.1")),
        (f'for="{EVIL}\\", for="192.0.2.1"', Origin(address="192.0.2.1")),
        (f'x="\\, for={EVIL}", for="[2a00::1]"', Origin(address="2a00::1")),
        # a host that a stranger asked for, with commas and parameters in it
        (f'for=192.0.2.1;host="a, for={EVIL};x="', Origin(address="192.0.2.1")),
        (f'for=192.0.2.1;host="a, for={EVIL};x=\\""', NOBODY),
        # what is no element
        (f"for={EVIL}, for=192.0.2.1;for={EVIL}", NOBODY),
        (f"for={EVIL}, for=192.0.2.1;FOR=192.0.2.1", NOBODY),
        (f"for={EVIL}, for", NOBODY),
        (f"for={EVIL}, for=", NOBODY),
        (f"for={EVIL}, =192.0.2.1", NOBODY),
        (f"for={EVIL}, for =192.0.2.1", NOBODY),
        (f"for={EVIL}, for= 192.0.2.1", NOBODY),
        (f"for={EVIL}, for=192.0.2.1 proto=https", NOBODY),
        (f"for={EVIL}, 192.0.2.1", NOBODY),
        (f'for={EVIL}, for="192.0.2.1', NOBODY),
        (f'for={EVIL}, for=192.0.2.1"', NOBODY),
        (f"for={EVIL}, for='192.0.2.1'", NOBODY),
        (f"for={EVIL}, for=2a00::1;\x00", NOBODY),
        (f"for={EVIL}, \xe9=192.0.2.1", NOBODY),
        (f"for={EVIL}, " + '"' * 60_000, NOBODY),
        (f"for={EVIL}, " + "for=10.0.0.9, " * MAX_HOPS, Origin(address="10.0.0.9")),
        (f"for={EVIL}" + "," * 60_000, Origin()),
        (f"for={EVIL}, for=192.0.2.1" + ";" * 600, Origin(address="192.0.2.1")),
        (f"for={EVIL}, for=192.0.2.1" + ";" * 60_000, NOBODY),
    ],
)
def test_an_element_of_forwarded_is_read_from_the_right_and_whole_or_not_at_all(value: str, origin: Origin) -> None:
    assert read_forwarded(value.encode("latin-1"), TRUSTED) == origin


@pytest.mark.parametrize("size", range(1, 25))
def test_an_entry_that_is_cut_through_is_not_read(size: int) -> None:
    """Of 10.203.0.113 the end is another address."""
    for read, entry in (
        (read_forwarded, b"for=10.203.0.113,"),
        (lambda value, t: read_x_forwarded(value, b"", b"", t), b"10.203.0.113,"),
    ):
        value = entry * 2 + b" " * (MAX_SIZE - size)
        assert read(value, TRUSTED).address in ("10.203.0.113", None, UNKNOWN)
        value = entry * 2 + b" " * (MAX_SIZE - size) + entry
        assert read(value, TRUSTED).address in ("10.203.0.113", UNKNOWN)


def test_two_that_agree_are_believed_and_two_that_do_not_leave_nobody() -> None:
    one, other = (
        Origin(address="192.0.2.1", scheme="https", host="a"),
        Origin(address="192.0.2.2", scheme="http", host="b"),
    )
    assert one.join(one) == one
    assert one.join(Origin()) == Origin().join(one) == one
    assert one.join(other) == other.join(one) == NOBODY
    assert one.join(Origin(address=UNKNOWN)).address == UNKNOWN
    assert one.join(Origin(scheme="http")) == Origin(address="192.0.2.1", host="a")
