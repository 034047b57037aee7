import json
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import MAX_FACT, BadReply, ServiceError
from app.exchange.kinds import choose_special
from app.exchange.replies import MAX_GUESSED, ReplyReader
from app.formats.fields import Pair
from app.formats.messages import encode_block
from app.routing.parameters import Parameter
from app.routing.routes import AUTO, ReplyRules, Route

OCTETS = (b"content-type", b"application/octet-stream")
JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain; charset=utf-8")
VARY = (b"vary", b"Accept")

OTHER_NUMBERS = [b"0", b"20", b"99", b"100", b"101", b"199", b"600", b"999", b"2000", b"0200"]
NO_NUMBERS = [b"", b"abc", b"2 0", b"+20", b"-200", b"200 OK", b"20\xb2", b"2.0", b"0x1"]


class Seen(NamedTuple):
    """What a reply has become."""

    status: int
    headers: list[Pair]
    body: bytes
    slug: str | None


def answer(*pairs: Pair, payload: bytes = b"", rules: ReplyRules | None = None, prefers_text: bool = False) -> Seen:
    """What a reply with these headers becomes on a route with these rules."""
    return answer_block(encode_block(pairs), payload, rules=rules, prefers_text=prefers_text)


def answer_block(
    block: bytes, payload: bytes = b"", *, rules: ReplyRules | None = None, prefers_text: bool = False
) -> Seen:
    route = Route(name="a", methods=("GET",), path="/a", subject="a", reply=rules or ReplyRules())
    response = ReplyReader(route).read(block, payload, prefers_text)
    return Seen(response.status, list(response.fields.pairs), response.body, response.slug)


def fail(code: bytes | None, text: bytes | None = b"It broke", *, rules: ReplyRules | None = None) -> ServiceError:
    """The error that a service error of no payload becomes."""
    pairs = [(b"Nats-Service-Error-Code", code), (b"Nats-Service-Error", text)]
    with pytest.raises(ServiceError) as caught:
        answer(*((name, value) for name, value in pairs if value is not None), rules=rules)
    return caught.value


def test_a_payload_is_all_that_a_service_needs() -> None:
    assert answer(payload=b"\x00\xff") == Seen(200, [OCTETS], b"\x00\xff", None)


def test_an_empty_payload_is_an_answer_too() -> None:
    assert answer() == Seen(200, [OCTETS], b"", None)


# The type


@pytest.mark.parametrize(
    ("sent", "declared", "allowed", "expected"),
    [
        (None, None, ("content-type",), b"application/octet-stream"),
        (None, "application/json", ("content-type",), b"application/json"),
        (b"image/png", None, ("content-type",), b"image/png"),
        (b"image/png", "application/json", ("content-type",), b"image/png"),
        (b"image/png", "application/json", (), b"application/json"),
        (b"image/png", None, (), b"application/octet-stream"),
        (b"image/png", None, ("Content-Type",), b"image/png"),
    ],
)
def test_the_type_is_the_replys_else_the_routes_else_bytes(
    sent: bytes | None, declared: str | None, allowed: tuple[str, ...], expected: bytes
) -> None:
    pairs = [(b"Content-Type", sent)] if sent else []
    reply = answer(*pairs, rules=ReplyRules(content_type=declared, headers=allowed))
    assert reply.headers == [(b"content-type", expected)]


# The status


@pytest.mark.parametrize("status", [200, 201, 204, 299, 302, 304, 400, 404, 418, 500, 599])
def test_a_service_may_set_a_final_status(status: int) -> None:
    reply = answer((b"Http-Status", b"%d" % status), payload=b"x")
    assert (reply.status, reply.body, reply.slug) == (status, b"x", None)


@pytest.mark.parametrize("text", [*OTHER_NUMBERS, *NO_NUMBERS])
def test_any_other_status_is_a_bad_reply(text: bytes) -> None:
    with pytest.raises(BadReply, match=r"Http-Status that is not a number from 200 to 599\.$"):
        answer((b"Http-Status", text))


def test_without_a_status_of_its_own_a_reply_has_the_routes() -> None:
    assert answer(rules=ReplyRules(status=202)).status == 202
    assert answer((b"http-status", b"200"), rules=ReplyRules(status=202)).status == 200


# The headers


def test_only_listed_headers_pass_in_order_and_with_lower_case_names() -> None:
    pairs = [
        (b"Location", b"/a/1"),
        (b"X-Secret", b"1"),
        (b"Http-Status", b"201"),
        (b"Server", b"x"),
        (b"ETag", b'"1"'),
    ]
    assert answer(*pairs).headers == [(b"location", b"/a/1"), (b"etag", b'"1"'), OCTETS]


@pytest.mark.parametrize(
    "name",
    [b"Set-Cookie", b"Transfer-Encoding", b"Connection", b"Content-Length", b"Date", b"X-Request-Id", b"Nats-Msg-Id"],
)
def test_a_header_outside_the_list_never_passes(name: bytes) -> None:
    assert answer((name, b"1")).headers == [OCTETS]


def test_repeated_headers_stay_repeated_where_they_are_listed() -> None:
    cookies = [(b"set-cookie", b"b=2"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    reply = answer(*cookies, (b"link", b"<a>"), rules=ReplyRules(headers=("set-cookie",)))
    assert reply.headers == [*cookies, OCTETS]


# Text in JSON


@pytest.mark.parametrize("text", ["hello, sue", "", "José", '"\\\n\x00', "\u2028", "\U0001f600", "\ufeff"])
def test_a_wrapped_reply_is_a_message_in_json(text: str) -> None:
    reply = answer(payload=text.encode(), rules=ReplyRules(wrap="message"))
    assert json.loads(reply.body) == {"message": text}
    assert (reply.status, reply.headers, reply.slug) == (200, [VARY, JSON], None)


def test_a_message_is_compact_json_in_utf_8() -> None:
    reply = answer(payload="hello, José".encode(), rules=ReplyRules(wrap="message"))
    assert reply.body == '{"message":"hello, José"}'.encode()


def test_who_prefers_text_gets_the_payload_as_it_is() -> None:
    reply = answer(payload="hello, José".encode(), rules=ReplyRules(wrap="message"), prefers_text=True)
    assert reply == Seen(200, [VARY, TEXT], "hello, José".encode(), None)


@pytest.mark.parametrize("prefers_text", [True, False])
def test_a_reply_that_is_not_text_can_not_be_wrapped(prefers_text: bool) -> None:
    with pytest.raises(BadReply, match=r"not text in UTF-8, as this route declares\.$"):
        answer(payload=b"\xff", rules=ReplyRules(wrap="message"), prefers_text=prefers_text)


def test_a_wrapped_reply_keeps_its_status_and_headers_but_not_its_type() -> None:
    pairs = [(b"Content-Type", b"text/html"), (b"ETag", b"1"), (b"Http-Status", b"203"), (b"X-Secret", b"1")]
    reply = answer(*pairs, payload=b"x", rules=ReplyRules(wrap="message"))
    assert reply == Seen(203, [(b"etag", b"1"), VARY, JSON], b'{"message":"x"}', None)


def test_without_wrap_nobodys_preference_changes_a_reply() -> None:
    assert answer(payload=b"x", prefers_text=True) == answer(payload=b"x", prefers_text=False)


# Which request headers may have chosen it


def answer_selected(*pairs: Pair, payload: bytes = b"x", prefers_text: bool = False, **rules: Any) -> list[bytes]:
    """Every Vary of a reply with these headers, on a route with these rules."""
    reply = ReplyRules(wrap=rules.pop("wrap", None))
    route = Route(name="a", methods=("GET",), path="/a", subject="a", payload="params", reply=reply, **rules)
    response = ReplyReader(route).read(encode_block(pairs), payload, prefers_text)
    return [value for name, value in response.fields.pairs if name == b"vary"]


TENANT = Parameter(name="X-Tenant", location="header")
REGION = Parameter(name="x-region", location="header")


@pytest.mark.parametrize("sent", [(), ((b"etag", b"1"),), ((b"nats-service-error-code", b"404"),)])
def test_vary_names_header_parameters_and_headers_that_travel(sent: tuple[Pair, ...]) -> None:
    assert answer_selected(*sent) == []
    assert answer_selected(*sent, parameters=(TENANT, REGION)) == [b"X-Tenant, x-region"]
    assert answer_selected(*sent, headers=("Accept-Language", "cookie")) == [b"Accept-Language, cookie"]
    assert answer_selected(*sent, parameters=(TENANT,), headers=("x-tenant", "a")) == [b"X-Tenant, a"]
    assert answer_selected(*sent, parameters=(Parameter(name="q", location="query"),)) == []


@pytest.mark.parametrize("prefers_text", [True, False])
def test_a_wrapped_reply_varies_by_accept_too(prefers_text: bool) -> None:
    for headers, vary in {("x-request-id",): b"Accept", ("accept", "a"): b"Accept, a", ("A",): b"Accept, A"}.items():
        assert answer_selected(wrap="message", headers=headers, prefers_text=prefers_text) == [vary]


@pytest.mark.parametrize(
    "header",
    ["traceparent", "TraceState", "X-Request-Id", "X-Request-Timeout", "If-Match", "if-none-match", "If-Modified-Since",
     "If-Unmodified-Since", "If-Range", "Range", "Authorization", "Content-Type",
     "content-encoding", "Content-Language"],
)  # fmt: skip
def test_headers_that_choose_no_content_are_not_in_vary(header: str) -> None:
    assert answer_selected(headers=(header,)) == []
    assert answer_selected(headers=(header, "X-Tenant")) == [b"X-Tenant"]


@pytest.mark.parametrize(
    ("own", "joined"),
    [
        ([b"Accept-Encoding"], [b"Accept-Encoding, X-Tenant"]),
        ([b"x-tenant"], [b"x-tenant"]),
        ([b"a , X-TENANT,,b", b"A"], [b"a, X-TENANT, b"]),
        ([b"a", b"*"], [b"*"]),
        ([b""], [b"X-Tenant"]),
    ],
)
def test_vary_is_joined_with_that_of_the_service(own: list[bytes], joined: list[bytes]) -> None:
    pairs = [(b"Vary", value) for value in own]
    assert answer_selected(*pairs, parameters=(TENANT,)) == joined
    assert answer_selected(*pairs) == own


def test_a_problem_has_no_vary_but_the_service_s_since_no_cache_stores_it() -> None:
    for own in ([], [(b"vary", b"a")]):
        with pytest.raises(ServiceError) as caught:
            answer_selected((b"nats-service-error-code", b"404"), *own, payload=b"", parameters=(TENANT,))
        assert list(caught.value.headers) == own


# Service errors (ADR-32)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (b"400", 400),
        (b"404", 404),
        (b"499", 499),
        (b"500", 500),
        (b"599", 599),
        (b"0404", 404),
        (b"399", 502),
        (b"200", 502),
        (b"600", 502),
        (b"0", 502),
        (b"1", 502),
        (b"40400", 502),
        (b"", 502),
        (None, 502),
        (b"abc", 502),
        (b"-404", 502),
        (b"4 4", 502),
        (b"404.0", 502),
        (b"40\xb2", 502),
        (b"9" * 5_000, 502),
    ],
)
def test_a_code_is_its_own_status_from_400_to_599_and_else_502(code: bytes | None, status: int) -> None:
    assert fail(code).status == status


@pytest.mark.parametrize(
    ("code", "status"),
    [(b"1001", 409), (b"404", 410), (b"500", 429), (b"401", 502), (b"403", 403), (b"E_CUSTOMS", 423)],
)
def test_the_route_maps_codes_first(code: bytes, status: int) -> None:
    rules = ReplyRules(errors={1001: 409, 404: 410, 500: 429, 401: 502, "E_CUSTOMS": 423})
    assert fail(code, rules=rules).status == status


@pytest.mark.parametrize("code", [b"", None, b"x", b"-1", b"9" * 30])
def test_a_code_that_is_no_number_is_mapped_by_nobody(code: bytes | None) -> None:
    assert fail(code, rules=ReplyRules(errors={1: 409, -1: 409, 502: 409})).status == 502


@pytest.mark.parametrize("code", [b"400", b"404", b"499"])
def test_the_text_of_a_4xx_is_shown(code: bytes) -> None:
    assert fail(code, b"No such order").detail == "No such order"


@pytest.mark.parametrize("code", [b"500", b"503", b"599", b"1", b"", None])
def test_the_text_of_a_5xx_is_hidden(code: bytes | None) -> None:
    assert fail(code, b"KeyError('secret')").detail == "The service answered with an error."


@pytest.mark.parametrize("code", [b"500", b"404", b"1", None])
def test_the_text_of_every_error_is_shown_where_the_route_says_so(code: bytes | None) -> None:
    assert fail(code, b"It broke", rules=ReplyRules(expose_errors=True)).detail == "It broke"


def test_the_mapped_status_decides_whether_the_text_is_shown() -> None:
    rules = ReplyRules(errors={1001: 409, 404: 502})
    assert fail(b"1001", b"shown", rules=rules).detail == "shown"
    assert "hidden" not in fail(b"404", b"hidden", rules=rules).detail


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Order José 日本 😀 is gone".encode(), "Order José 日本 😀 is gone"),
        (b"a\tb", "ab"),
        ("a\u202eb\u200bc\u2028d\x85e\u00a0f".encode(), "abcdef"),
        (b"a\xffb", "a\ufffdb"),
        (b"<script>", "<script>"),
        (b"x" * MAX_FACT, "x" * 512),
        (b"x" * (MAX_FACT + 1), "x" * 512),
        ("é".encode() * (MAX_FACT + 1), "é" * 512),
    ],
)
def test_the_text_is_cleaned_to_512_printable_characters(text: bytes, shown: str) -> None:
    assert fail(b"404", text).detail == shown


@pytest.mark.parametrize("text", [None, b"", b"\t"])
def test_an_error_without_words_says_what_a_service_error_is(text: bytes | None) -> None:
    assert fail(b"404", text).detail == ServiceError.cause


def test_the_words_alone_make_an_error() -> None:
    with pytest.raises(ServiceError):
        answer((b"Nats-Service-Error", b""))


@pytest.mark.parametrize(("code", "status"), [(b"404", 404), (b"500", 500), (b"1001", 409), (b"7", 502)])
def test_the_payload_of_a_service_error_goes_out_with_the_mapped_status(code: bytes, status: int) -> None:
    pairs = [(b"Nats-Service-Error-Code", code), (b"Nats-Service-Error", b"secret"), (b"Content-Type", b"text/html")]
    reply = answer(*pairs, payload=b"<p>", rules=ReplyRules(errors={1001: 409}))
    assert reply == Seen(status, [(b"content-type", b"text/html")], b"<p>", "service-error")


def test_the_payload_of_a_service_error_is_not_wrapped() -> None:
    reply = answer((b"Nats-Service-Error-Code", b"404"), payload=b"\xff", rules=ReplyRules(wrap="message"))
    assert reply == Seen(404, [(b"content-type", b"application/octet-stream")], b"\xff", "service-error")


def test_the_code_of_a_service_error_goes_before_a_status_beside_it() -> None:
    assert answer((b"Http-Status", b"junk"), (b"Nats-Service-Error-Code", b"404"), payload=b"x").status == 404


# What is no reply


@pytest.mark.parametrize("status", [b"100", b"404", b"408", b"409", b"503", b"200"])
def test_an_inline_nats_status_is_a_bad_reply(status: bytes) -> None:
    with pytest.raises(BadReply, match=rf"has the NATS status {status.decode()}, which is not a reply"):
        answer_block(b"NATS/1.0 %b Words\r\n\r\n" % status, b"x")


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"junk", "does not begin with NATS/1.0"),
        (b"NATS/1.0\r\n", "has no end"),
        (b"NATS/1.0\r\n" + b"A: b\r\n" * 12_000 + b"\r\n", "its headers have 72012 bytes, more than 65536"),
        (b"NATS/1.0 x\r\n\r\n", "not a number of three digits"),
        (b"NATS/1.0\r\nA b\r\n\r\n", "name is not a token"),
        (b"NATS/1.0\r\nLocation: /\nSet-Cookie: a=1\r\n\r\n", "'Location' has a control character"),
    ],
)
def test_a_broken_header_block_is_a_bad_reply_with_its_reason(block: bytes, reason: str) -> None:
    with pytest.raises(BadReply) as caught:
        answer_block(block, b"x")
    assert caught.value.detail.startswith("The service's reply can't be used: ")
    assert caught.value.detail.endswith(".")
    assert reason in caught.value.detail


LINES = [b"Http-Status: 200", b"Http-Status: 99", b"Nats-Service-Error-Code: 404", b"Nats-Service-Error: \xff\x1b[0m"]
LINES += [b"ETag: \xff", b"ETag: a\rb", b"Vary: x", b"Content-Type: ", b"X: y", b"", b"junk"]


@given(
    lines=st.lists(st.sampled_from(LINES) | st.binary(max_size=10), max_size=5),
    payload=st.binary(max_size=10),
    wrap=st.sampled_from([None, "message"]),
    expose=st.booleans(),
)
def test_whatever_a_service_says_becomes_a_clean_response_or_one_of_two_errors(
    lines: list[bytes], payload: bytes, wrap: Literal["message"] | None, expose: bool
) -> None:
    block = b"\r\n".join([b"NATS/1.0", *lines, b"", b""])
    try:
        reply = answer_block(block, payload, rules=ReplyRules(wrap=wrap, expose_errors=expose))
    except (BadReply, ServiceError) as error:
        shown, status, headers = error.detail, error.status, [OCTETS]
    else:
        shown, status, headers = "", reply.status, reply.headers
    assert shown.isprintable()
    assert len(shown) <= MAX_FACT
    assert 200 <= status <= 599
    assert b"content-type" in dict(headers)
    assert all(name == name.lower() and not set(b"\r\n\x00") & set(value) for name, value in headers)


@pytest.mark.parametrize(("size", "passes"), [(0, True), (3, True), (4, False)])
def test_a_reply_over_the_limit_of_its_route_is_a_bad_one(size: int, passes: bool) -> None:
    rules = ReplyRules(max_bytes=3)
    if passes:
        assert answer(payload=b"x" * size, rules=rules).body == b"x" * size
    else:
        with pytest.raises(BadReply, match=r"reply has 4 bytes; this route passes on 3\.$"):
            answer(payload=b"x" * size, rules=rules)


def test_a_service_error_without_a_payload_keeps_the_headers_that_are_not_about_one() -> None:
    pairs = [(b"Nats-Service-Error-Code", b"429"), (b"Retry-After", b"7"), (b"ETag", b"1"), (b"X-Secret", b"1")]
    with pytest.raises(ServiceError) as caught:
        answer(*pairs, (b"Content-Type", b"text/html"), (b"Cache-Control", b"public"))
    assert (caught.value.status, caught.value.headers) == (429, ((b"retry-after", b"7"),))


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"a": 1}', "application/json"),
        (b"[]", "application/json"),
        (b"7", "application/json"),
        (b'"text"', "application/json"),
        (b"hello", "text/plain; charset=utf-8"),
        (b"{", "text/plain; charset=utf-8"),
        (b"NaN", "text/plain; charset=utf-8"),
        (b"<script>", "text/plain; charset=utf-8"),
        ("hé".encode(), "text/plain; charset=utf-8"),
        (b"\xff", "application/octet-stream"),
        (b"", "application/octet-stream"),
        (b"[" + b"7," * MAX_GUESSED + b"7]", "application/json"),
        (b"[" + b"x" * MAX_GUESSED, "text/plain; charset=utf-8"),
        (b"[" * MAX_GUESSED, "text/plain; charset=utf-8"),
    ],
)
def test_a_reply_has_the_type_that_it_looks_like(payload: bytes, expected: str) -> None:
    route = Route(name="a", methods=("GET",), path="/a", subject="a", reply=ReplyRules(content_type=AUTO))
    reader = choose_special(route).replies
    assert dict(reader.read(b"", payload, False).fields.pairs)[b"content-type"] == expected.encode()
    block = encode_block(((b"content-type", b"image/png"),))
    assert dict(reader.read(block, payload, False).fields.pairs)[b"content-type"] == b"image/png"
