from dataclasses import replace

import pytest

from app.edge.proxies import MAX_ROOT, Proxies, parse_root
from app.edge.request import Caller, PeerCertificate

PROXY = Caller(address="10.0.0.1", scheme="http", lane="fast")
STRANGER = Caller(address="192.0.2.1", scheme="http", lane="fast")
PROXIES = Proxies(["10.0.0.0/8"], root="/usual")


def find_root(*prefixes: bytes, caller: Caller = PROXY) -> str:
    return PROXIES.find_root(caller, [(b"host", b"t"), *((b"x-forwarded-prefix", prefix) for prefix in prefixes)])


@pytest.mark.parametrize(
    ("prefixes", "root"),
    [
        ((b"/api",), "/api"),
        ((b"/api/",), "/api"),
        ((b" /shop/api-v1.2_~ ",), "/shop/api-v1.2_~"),
        ((b"/a", b"/b"), "/a/b"),
        ((b"/a, /b/",), "/a/b"),
        ((b"/",), ""),
    ],
)
def test_a_trusted_proxy_says_under_which_path_callers_see_the_gateway(prefixes: tuple[bytes, ...], root: str) -> None:
    assert find_root(*prefixes) == root
    assert find_root(*prefixes, caller=STRANGER) == "/usual"
    assert find_root(*prefixes, caller=Caller(address=None, scheme="http", lane="asgi")) == "/usual"


@pytest.mark.parametrize(
    "prefix",
    [
        b"",
        b"api",
        b"//evil.example",
        b"https://evil.example",
        b"/a, //evil.example",
        b"/a/../b",
        b"/.",
        b'/"><script>',
        b"/a%2Fb",
        b"/\xc3\xa9",
        b"/a\r\nx",
        b"/" + b"x" * MAX_ROOT,
        b"," * 60_000,
    ],
)
def test_what_is_no_plain_path_is_not_believed(prefix: bytes) -> None:
    assert find_root(prefix) == "/usual"


def test_without_a_word_of_a_proxy_that_of_the_server_counts_and_then_the_setting() -> None:
    below = Caller(address="10.0.0.1", scheme="http", lane="asgi", root="/server")
    assert find_root() == "/usual"
    assert find_root(caller=below) == "/server"
    assert find_root(b"/proxy", caller=below) == "/proxy"
    assert Proxies().find_root(PROXY, [(b"x-forwarded-prefix", b"/api")]) == ""


def test_a_root_is_a_path_without_a_slash_at_its_end() -> None:
    assert [parse_root(text) for text in ("/", "/a/", "/a/b")] == ["", "/a", "/a/b"]


# Who calls

EVIL = "203.0.113.66"


def believe(*fields: tuple[str, str], caller: Caller = PROXY, proxies: Proxies = PROXIES) -> Caller:
    return proxies.believe(caller, [(b"host", b"t"), *((name.encode(), value.encode()) for name, value in fields)])


def test_the_caller_is_whom_a_trusted_proxy_names() -> None:
    told = believe(
        ("x-forwarded-for", EVIL), ("x-forwarded-for", "192.0.2.7, 10.9.9.9"), ("x-forwarded-proto", "https")
    )
    assert (told.address, told.scheme, told.lane, told.peer) == ("192.0.2.7", "https", "fast", "10.0.0.1")
    told = believe(("forwarded", f"for={EVIL}"), ("forwarded", 'for="[2a00::1]:80";host=a.example;proto=https'))
    assert (told.address, told.scheme, told.host) == ("2a00::1", "https", "a.example")


def test_nobody_gets_the_certificate_of_a_proxy() -> None:
    certificate = PeerCertificate((("commonName", "proxy"),), (), "01", "ab")
    proxy = replace(PROXY, certificate=certificate)
    assert believe(("x-forwarded-for", "192.0.2.7"), caller=proxy).certificate is None
    assert believe(("x-forwarded-proto", "https"), caller=proxy).certificate is None
    assert believe(caller=proxy).certificate is certificate


def test_a_proxy_that_shows_a_certificate_speaks_for_somebody_else_and_the_certificate_is_not_kept() -> None:
    proxies = Proxies(["10.0.0.0/8"])
    proxy = replace(PROXY, certificate=PeerCertificate((("commonName", "proxy"),), (), "01", "ab"))
    told = {believe(("client-cert", f":{number}:"), caller=proxy, proxies=proxies) for number in range(9)}
    assert [(one.is_forwarded, one.certificate, one.address) for one in told] == [(True, None, "10.0.0.1")]
    assert b":1:" not in str(proxies._known).encode()
    stranger = replace(proxy, address="192.0.2.1")
    assert believe(("client-cert", ":1:"), caller=stranger, proxies=proxies) is stranger


@pytest.mark.parametrize("address", ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", None, ""])
def test_nobody_else_chooses_who_calls(address: str | None) -> None:
    caller = Caller(address=address, scheme="http", lane="asgi")
    fields = [("forwarded", f"for={EVIL};proto=https;host=evil"), ("x-forwarded-for", EVIL)]
    assert believe(*fields, caller=caller) is caller
    assert believe(*fields, proxies=Proxies()) is PROXY


def test_a_proxy_that_says_nothing_calls_for_itself() -> None:
    assert believe() is PROXY
    assert believe(("x-real-ip", EVIL)) is PROXY
    told = believe(("x-forwarded-proto", "https"), ("x-forwarded-for", ""))
    assert (told.address, told.scheme) == ("10.0.0.1", "https")


def test_who_is_not_known_has_no_address_and_counts_as_the_proxy() -> None:
    for fields in (
        [("x-forwarded-for", "unknown")],
        [("forwarded", "for=_hidden")],
        [("forwarded", f"for={EVIL}"), ("x-forwarded-for", "192.0.2.7")],
    ):
        told = believe(*fields)
        assert (told.address, told.counted_as) == (None, "10.0.0.1")


def test_the_path_of_a_proxy_is_believed_of_whomever_it_speaks_for() -> None:
    fields = [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-prefix", "/api")]
    pairs = [(name.encode(), value.encode()) for name, value in fields]
    assert PROXIES.find_root(believe(*fields), pairs) == "/api"
    unknown = Caller(address=None, scheme="http", lane="fast", peer="10.0.0.1")  # of the PROXY protocol
    assert PROXIES.find_root(unknown, pairs) == "/usual"


def test_what_was_said_is_read_once_and_little_of_it_is_remembered() -> None:
    proxies = Proxies(["10.0.0.0/8"])
    one, other = (believe(("x-forwarded-for", "192.0.2.7"), proxies=proxies) for _ in range(2))
    assert one is other
    for number in range(3000):
        believe(("x-forwarded-for", f"192.0.{number >> 8}.{number & 255}"), proxies=proxies)
    long = [("x-forwarded-for", "1" * 60_000 + ", 192.0.2.7")]
    assert believe(*long, proxies=proxies) is not believe(*long, proxies=proxies)
    assert believe(*long, proxies=proxies).address == "192.0.2.7"
    assert len(proxies._known) == 1024
