import pytest

from app.edge.proxies import MAX_ROOT, Proxies, parse_root
from app.edge.request import Caller

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
