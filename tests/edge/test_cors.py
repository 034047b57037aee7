import pytest

from app.edge.cors import (
    MAX_ASKED,
    MAX_ORIGIN,
    Cors,
    CorsRules,
    Preflight,
    check_origin,
    check_pattern,
    read_preflight,
    takes_any_origin,
)
from app.edge.request import Caller, Request
from app.formats.fields import Pair

APP = "https://app.example.com"
PATTERN = r"https://[a-z0-9-]+\.example\.com"
NOT_ALLOWED = {b"vary": b"Origin"}


def ask(rules: CorsRules, *origins: str, method: str = "GET", answers_with: tuple[str, ...] = ()) -> dict[bytes, bytes]:
    """The fields that an answer gets."""
    fields: list[Pair] = [(b"origin", origin.encode("latin-1")) for origin in origins]
    request = make_request(method, fields)
    Cors(rules, answers_with).check(request)
    return read_added(request)


def make_request(method: str, fields: list[Pair]) -> Request:
    caller = Caller(address=None, scheme="http", lane="fast")
    return Request(method=method, path=b"/", query=b"", headers=fields, version="1.1", received=0.0, caller=caller)


def read_added(request: Request) -> dict[bytes, bytes]:
    assert len(dict(request.added)) == len(request.added)
    return {**dict(request.added), b"vary": request.vary}


def preflight(
    rules: CorsRules,
    *,
    origin: str = APP,
    method: str = "PUT",
    headers: str = "",
    takes: tuple[str, ...] = ("GET", "PUT"),
) -> dict[bytes, bytes]:
    asked = Preflight(origin.encode(), method.encode(), headers.encode())
    request = make_request("OPTIONS", [])
    headers_read = (b"x-tenant", b"cookie", b"connection", b"sec-fetch-mode")
    Cors(rules).check_preflight(request, asked, methods=takes, headers=headers_read)
    return read_added(request)


def rule(*origins: str, **more: object) -> CorsRules:
    return CorsRules(allow_origins=frozenset(origins), **more)  # type: ignore[arg-type] # by the words of the file


@pytest.mark.parametrize("origin", [APP, "http://localhost:5173", "http://[::1]:8080", "moz-extension://0a1b-2c"])
def test_an_origin_that_is_listed_is_named(origin: str) -> None:
    added = ask(rule(APP, origin), origin)
    assert added[b"access-control-allow-origin"] == origin.encode()
    assert added[b"vary"] == b"Origin"
    assert b"access-control-allow-credentials" not in added


HOSTILE = [
    "https://evil.example",
    "https://app.example.com.evil.example",
    "https://app.example.comx",
    "https://app.example.com:8443",
    "http://app.example.com",
    "https://xapp.example.com",
    "https://APP.example.com",
    "https://app.example.com/",
    "https://app.example.com/path",
    "https://app.example.com, https://evil.example",
    "https://app.example.com https://evil.example",
    " https://app.example.com",
    "https://user@app.example.com",
    "https://evil.example#https://app.example.com",
    "https://evil.example?.example.com",
    "https://evil.example\\.example.com",
    "app.example.com",
    "null",
    "NULL",
    "*",
    "",
    "https://",
    "https://app.example.com\x00",
    "https://app.example.com\t",
    "https://\xe4pp.example.com",
    "https://" + "a" * MAX_ORIGIN + ".example.com",
]


@pytest.mark.parametrize("origin", HOSTILE)
def test_any_other_origin_is_not_named_and_the_answer_varies_all_the_same(origin: str) -> None:
    assert ask(rule(APP, allow_credentials=True), origin) == NOT_ALLOWED


@pytest.mark.parametrize("origin", [origin for origin in HOSTILE if origin != "https://xapp.example.com"])
def test_a_pattern_is_for_the_whole_origin(origin: str) -> None:
    rules = CorsRules(allow_origin_regex=PATTERN)
    assert ask(rules, APP)[b"access-control-allow-origin"] == APP.encode()
    assert ask(rules, origin) == NOT_ALLOWED


def test_a_pattern_that_fits_anything_names_nothing_but_an_origin() -> None:
    rules = CorsRules(allow_origin_regex=r"(?s).*")
    assert ask(rules, "https://any.example")[b"access-control-allow-origin"] == b"https://any.example"
    for origin in ("null", "https://a.example\x00", "https://a.example, b", "x" * (MAX_ORIGIN + 1)):
        assert ask(rules, origin) == NOT_ALLOWED


def test_a_pattern_takes_no_longer_with_a_hostile_origin() -> None:
    rules = CorsRules(allow_origin_regex=r"https://(a+)+\.example")  # exponential where matching goes back
    assert ask(rules, "https://" + "a" * 400 + "!") == NOT_ALLOWED
    assert ask(rules, "https://" + "a" * 400) == NOT_ALLOWED


def test_no_origin_and_two_of_them_are_not_allowed() -> None:
    for rules in (rule(APP), rule("*")):
        assert ask(rules) == NOT_ALLOWED
        assert ask(rules, APP, APP) == NOT_ALLOWED


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_a_star_allows_all_and_names_none(origin: str) -> None:
    added = ask(rule("*"), origin)
    assert (added[b"access-control-allow-origin"], added[b"vary"]) == (b"*", b"Origin")


def test_credentials_are_told_to_those_who_are_allowed() -> None:
    assert ask(rule(APP, allow_credentials=True), APP)[b"access-control-allow-credentials"] == b"true"


def test_a_page_may_read_what_the_gateway_and_the_route_answer_with_or_what_is_listed() -> None:
    added = ask(rule(APP), APP, answers_with=("ETag", "X-Total", "Content-Type", "vary"))
    exposed = (
        b"x-request-id, retry-after, ratelimit, ratelimit-policy, allow, accept, server-timing, www-authenticate, "
        b"etag, x-total"
    )
    assert added[b"access-control-expose-headers"] == exposed
    listed = ask(rule(APP, expose_headers=("X-Total",)), APP, answers_with=("etag",))
    assert listed[b"access-control-expose-headers"] == b"x-total"
    assert b"access-control-expose-headers" not in ask(rule(APP, expose_headers=()), APP)
    assert ask(rule("*", expose_headers=("*",)), APP)[b"access-control-expose-headers"] == b"*"


def test_an_answer_to_a_method_that_is_not_allowed_can_not_be_read() -> None:
    rules = rule(APP, allow_methods=("GET",))
    assert b"access-control-allow-origin" in ask(rules, APP, method="GET")
    assert b"access-control-allow-origin" in ask(rules, APP, method="HEAD")
    assert ask(rules, APP, method="POST") == NOT_ALLOWED
    assert b"access-control-allow-origin" in ask(rule(APP, allow_methods=("*",)), APP, method="POST")


def test_a_preflight_is_answered_by_what_the_routes_take_and_read() -> None:
    assert preflight(rule(APP)) == {
        b"access-control-allow-origin": APP.encode(),
        b"access-control-allow-methods": b"GET, PUT",
        b"access-control-allow-headers": b"accept, accept-language, content-language, content-type, x-tenant",
        b"access-control-max-age": b"600",
        b"vary": b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }


def test_a_preflight_of_another_origin_gets_nothing_but_vary() -> None:
    assert list(preflight(rule(APP), origin="https://evil.example")) == [b"vary"]


def test_methods_and_headers_that_are_listed_bound_a_preflight() -> None:
    added = preflight(rule(APP, allow_methods=("GET",), allow_headers=("X-Other",), max_age=5))
    assert added[b"access-control-allow-methods"] == b"GET"
    assert added[b"access-control-allow-headers"] == b"accept, accept-language, content-language, content-type, x-other"
    assert added[b"access-control-max-age"] == b"5"
    assert b"access-control-allow-methods" not in preflight(rule(APP, allow_methods=("DELETE",)))


@pytest.mark.parametrize(
    ("asked", "added"),
    [
        ("x-b,X-A", b"x-a, x-b"),
        ("x-a\r\nevil: 1", b""),
        ("x-a, b c", b""),
        ("", b""),
        ("x" * (MAX_ASKED + 1), b""),
    ],
)
def test_a_star_for_headers_repeats_the_names_that_are_asked_for(asked: str, added: bytes) -> None:
    allowed = preflight(rule(APP, allow_headers=("*",)), headers=asked)[b"access-control-allow-headers"]
    always = b"accept, accept-language, content-language, content-type"
    assert allowed == (b"%b, %b" % (always, added) if added else always)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"origin", b"https://a.example")],
        [(b"access-control-request-method", b"GET")],
        [(b"origin", b"https://a.example"), (b"access-control-request-method", b"G T")],
        [(b"origin", b"https://a.example"), (b"access-control-request-method", b"")],
        [(b"origin", b"https://a.example"), (b"access-control-request-method", b"GET")] * 2,
    ],
)
def test_what_lacks_an_origin_or_a_method_is_no_preflight(fields: list[Pair]) -> None:
    assert read_preflight(fields) is None


@pytest.mark.parametrize(
    "text", [APP, "*", "http://localhost", "http://127.0.0.1:8000", "http://[::1]", "https://xn--e1a"]
)
def test_an_origin_is_written_as_browsers_send_it(text: str) -> None:
    check_origin(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("https://a.example/", "slash"),
        ("https://a.example/x", "path"),
        ("https://A.example", "lower case"),
        ("a.example", "scheme"),
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:80", "usual port"),
        ("https://*.example", "allow_origin_regex"),
        ("null", "any page"),
        ("https://\u00e4.example", "origin"),
        ("", "origin"),
        ("https://" + "a" * MAX_ORIGIN, "origin"),
    ],
)
def test_any_other_spelling_is_a_mistake(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        check_origin(text)


@pytest.mark.parametrize("pattern", ["(", "a)|(b", "(?=a)b", r"(a)\1", "[z-a]"])
def test_a_pattern_that_can_not_run_in_linear_time_is_a_mistake(pattern: str) -> None:
    with pytest.raises(ValueError, match="regular expression"):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("rules", "is_open"),
    [
        (rule("*"), True),
        (rule(APP), False),
        (CorsRules(allow_origin_regex=".*"), True),
        (CorsRules(allow_origin_regex="https://.*"), True),
        (CorsRules(allow_origin_regex=r"https?://[^/]+(:\d+)?"), True),
        (CorsRules(allow_origin_regex=PATTERN), False),
        (CorsRules(allow_origin_regex=r"http://localhost:\d+"), False),
    ],
)
def test_rules_that_any_host_passes_are_known(rules: CorsRules, is_open: bool) -> None:
    assert takes_any_origin(rules) is is_open
