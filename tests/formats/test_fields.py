import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.formats.fields import (
    MAX_BLOCK,
    REPLY_HEADERS,
    REQUEST_HEADERS,
    AllowList,
    Pair,
    ReplyBlock,
    encode_block,
    is_clean_request_id,
    is_clean_value,
    is_no_responders,
    nominated,
    parse_block,
    prefers_plain_text,
)

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 §5.6.2
HOP_BY_HOP = ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"]
HOP_BY_HOP += ["proxy-authenticate", "proxy-authorization"]
FRAMING = ["content-length", "host"]
RESERVED = ["nats-", "nats-msg-id", "nats-service-error"]
IDS = [b"a", b"A.z_0-9", b"-", b"x" * 128]
NO_IDS = [b"", b"x" * 129, b"a b", b" a", b"a\n", b"a/b", b"a~", b"\xc3\xa9", b"<script>"]
CONTROLS = bytes([*range(9), *range(10, 32), 127])  # all but tab

names = st.from_regex(re.compile(TOKEN), fullmatch=True)
values = st.binary(max_size=30).map(lambda value: value.translate(None, CONTROLS).strip(b" \t"))
pairs = st.lists(st.tuples(names, values), min_size=1, max_size=6)
blocks = st.one_of(
    st.binary(max_size=80),
    st.binary(max_size=80).map(lambda rest: b"NATS/1.0" + rest),
    st.lists(
        st.sampled_from(
            [b"A: b", b"A:b", b"A :b", b"", b": x", b"A", b" A: b", b"A: \x00", b"A: b\rc", b"A: \xff", b"\n"]
        ),
        max_size=5,
    ).map(lambda lines: b"\r\n".join([b"NATS/1.0", *lines, b"", b""])),
)


@given(pairs)
def test_clean_pairs_come_back_from_a_block_in_order(sent: list[Pair]) -> None:
    expected = ReplyBlock(None, tuple((name.lower(), value) for name, value in sent))
    assert parse_block(encode_block(sent)) == expected


@given(blocks)
@example(b"NATS/1.0\r\nA: b\nC: d\r\n\r\n")
@example(b"NATS/1.0\r\nA: b\r\n\r\nSET: x\r\n\r\n")
def test_whatever_a_block_holds_only_clean_names_and_values_come_out(block: bytes) -> None:
    try:
        parsed = parse_block(block)
    except ValueError:
        return
    for name, value in parsed.pairs:
        assert re.fullmatch(TOKEN, name)
        assert name == name.lower()
        assert not set(value) & set(CONTROLS)
    assert parsed.status is None or 0 <= parsed.status <= 999


def test_a_block_of_no_pairs_is_no_block() -> None:
    assert encode_block([]) == b""


def test_a_block_is_written_as_adr_4_says() -> None:
    assert encode_block([(b"A", b"1"), (b"b", b"")]) == b"NATS/1.0\r\nA: 1\r\nb: \r\n\r\n"


def test_repeated_headers_stay_in_order() -> None:
    block = parse_block(b"NATS/1.0\r\nSet-Cookie: b=2\r\nX: y\r\nset-cookie: a=1\r\nSET-COOKIE: b=2\r\n\r\n")
    assert block.pairs == ((b"set-cookie", b"b=2"), (b"x", b"y"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"))
    assert block.first(b"set-cookie") == b"b=2"
    assert block.first(b"absent") is None


@pytest.mark.parametrize(
    ("block", "status", "parsed"),
    [
        (b"NATS/1.0\r\n\r\n", None, ()),
        (b"NATS/1.0 \r\n\r\n", None, ()),
        (b"NATS/1.0 503\r\n\r\n", 503, ()),
        (b"NATS/1.0 503 No Responders\r\nNats-Subject: a\r\n\r\n", 503, ((b"nats-subject", b"a"),)),
        (b"NATS/1.0\t100 Idle\r\n\r\n", 100, ()),
        (b"NATS/1.0\r\nA:\t b:c \t\r\n\r\n", None, ((b"a", b"b:c"),)),
        (b"NATS/1.0\r\nA:\r\n\r\n", None, ((b"a", b""),)),
        (b"NATS/1.0\r\nA: Jos\xc3\xa9\r\n\r\n", None, ((b"a", b"Jos\xc3\xa9"),)),
        (b"NATS/1.0\r\nA: b\tc\r\n\r\n", None, ((b"a", b"b\tc"),)),
        (b"NATS/1.0\r\nA: XbX\r\n\r\n", None, ((b"a", b"XbX"),)),
    ],
)
def test_a_block_has_the_status_of_its_first_line_and_its_pairs(
    block: bytes, status: int | None, parsed: tuple[Pair, ...]
) -> None:
    assert parse_block(block) == ReplyBlock(status, parsed)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"", "does not begin with NATS/1.0"),
        (b"\r\n\r\n", "does not begin with NATS/1.0"),
        (b"NATS/1.1\r\n\r\n", "does not begin with NATS/1.0"),
        (b"nats/1.0\r\n\r\n", "does not begin with NATS/1.0"),
        (b"NATS/1.0503\r\n\r\n", "does not begin with NATS/1.0"),
        (b"NATS/1.0X\r\n\r\n", "does not begin with NATS/1.0"),
        (b"NATS/1.0\nA: b\r\n\r\n", "does not begin with NATS/1.0"),
        (b"NATS/1.0", "has no end"),
        (b"NATS/1.0\r\n", "has no end"),
        (b"NATS/1.0\r\nA: b\r\n", "has no end"),
        (b"NATS/1.0\r\nA: b\r\n\r\nrest", "has no end"),
        (b"NATS/1.0 5x3\r\n\r\n", "not a number of three digits"),
        (b"NATS/1.0 50\r\n\r\n", "not a number of three digits"),
        (b"NATS/1.0 5031\r\n\r\n", "not a number of three digits"),
        (b"NATS/1.0 \xb2\xb2\xb2\r\n\r\n", "not a number of three digits"),
        (b"NATS/1.0\r\nA\r\n\r\n", "name is not a token"),
        (b"NATS/1.0\r\n: b\r\n\r\n", "name is not a token"),
        (b"NATS/1.0\r\nA : b\r\n\r\n", "name is not a token"),
        (b"NATS/1.0\r\nA: b\r\n folded\r\n\r\n", "name is not a token"),
        (b"NATS/1.0\r\nJos\xc3\xa9: b\r\n\r\n", "name is not a token"),
        (b"NATS/1.0\r\nA: b\r\n\r\nC: d\r\n\r\n", "name is not a token"),
        (b"NATS/1.0\r\nA: b\nC: d\r\n\r\n", "'A' has a control character"),
        (b"NATS/1.0\r\nA: b\rC: d\r\n\r\n", "'A' has a control character"),
        (b"NATS/1.0\r\nA: \x00\r\n\r\n", "'A' has a control character"),
        (b"NATS/1.0\r\nA: \x7f\r\n\r\n", "'A' has a control character"),
    ],
)
def test_a_broken_block_is_refused_with_its_reason(block: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason) + "$"):
        parse_block(block)


def test_an_allow_list_has_its_names_in_lower_case_and_spells_them_as_they_were_listed() -> None:
    allow = AllowList(["X-Tenant", "traceparent"])
    assert allow.names == {b"x-tenant", b"traceparent"}
    assert (allow.spell(b"x-tenant"), allow.spell(b"traceparent")) == (b"X-Tenant", b"traceparent")


@pytest.mark.parametrize("name", [*HOP_BY_HOP, *FRAMING, *RESERVED])
@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title])
def test_hop_by_hop_framing_and_nats_headers_can_not_be_listed(name: str, spell: Callable[[str], str]) -> None:
    with pytest.raises(ValueError, match=rf"^header '{name}' can't be forwarded$"):
        AllowList(["x-fine", spell(name)])


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "a\n", "a\r\nb", "a\x00", "(a)"])
def test_what_is_no_header_name_can_not_be_listed(name: str) -> None:
    with pytest.raises(ValueError, match="can't be forwarded"):
        AllowList([name])


@pytest.mark.parametrize("name", ["authorization", "cookie", "natsy", "x-nats-id", "hostname"])
def test_any_other_name_may_be_listed(name: str) -> None:
    assert AllowList([name]).names == {name.encode()}


def test_the_default_lists_are_those_of_the_design() -> None:
    assert set(REQUEST_HEADERS) == {"traceparent", "tracestate", "x-request-id"}
    entity = {"content-type", "content-language", "content-disposition", "etag", "last-modified"}
    assert set(REPLY_HEADERS) == entity | {"cache-control", "location", "retry-after", "link", "vary"}
    for header_names in (REQUEST_HEADERS, REPLY_HEADERS):
        assert AllowList(header_names).names == {name.encode() for name in header_names}
    assert MAX_BLOCK == 16 * 1024


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (b"close", {b"close"}),
        (b"close, X-Secret", {b"close", b"x-secret"}),
        (b"keep-alive,\tTraceParent ,te", {b"keep-alive", b"traceparent", b"te"}),
    ],
)
def test_connection_nominates_names_in_any_case(connection: bytes, expected: set[bytes]) -> None:
    assert nominated(connection) == expected


@given(st.binary())
def test_a_clean_value_has_no_control_character_but_tab(value: bytes) -> None:
    assert is_clean_value(value) == (not set(value) & set(CONTROLS))


@given(st.integers(0, 255))
def test_each_byte_of_a_value_counts(byte: int) -> None:
    assert is_clean_value(b"a" + bytes([byte])) == (byte == 9 or 32 <= byte != 127)


@pytest.mark.parametrize(("value", "clean"), [(value, True) for value in IDS] + [(value, False) for value in NO_IDS])
def test_a_request_id_is_1_to_128_of_letters_digits_dot_underscore_and_dash(value: bytes, clean: bool) -> None:
    assert is_clean_request_id(value) is clean


@pytest.mark.parametrize(
    "block",
    [b"NATS/1.0 503\r\n\r\n", b"NATS/1.0 503 No Responders\r\n\r\n", b"NATS/1.0 503\r\nNats-Subject: a.b\r\n\r\n"],
)
def test_no_responders_is_a_status_line_of_503_and_an_empty_payload(block: bytes) -> None:
    assert is_no_responders(block, b"")
    assert not is_no_responders(block, b"x")


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"NATS/1.0\r\nStatus: 503\r\n\r\n",
        b"NATS/1.0\r\nNats-Service-Error-Code: 503\r\n\r\n",
        b"NATS/1.0\r\nX: NATS/1.0 503\r\n\r\n",
        b"NATS/1.0 408\r\n\r\n",
        b"NATS/1.0 408 503\r\n\r\n",
    ],
)
def test_a_header_that_a_service_wrote_is_never_no_responders(block: bytes) -> None:
    assert not is_no_responders(block, b"")


@pytest.mark.parametrize(
    ("accept", "plain"),
    [
        (b"", False),
        (b"*/*", False),
        (b"application/json", False),
        (b"text/plain", True),
        (b"text/*", True),
        (b"text/html", False),
        (b"text/plain, application/json", False),
        (b"application/json, text/plain", False),
        (b"text/plain, */*", True),
        (b"*/*, text/plain", True),
        (b"text/plain;q=0", False),
        (b"text/plain;q=0.000, */*;q=0", False),
        (b"text/plain;q=0.5", True),
        (b"text/plain;q=0.5, application/json", False),
        (b"text/plain;q=0.5, application/*", False),
        (b"text/*, */*", True),
        (b"text/plain, application/json;q=0.9", True),
        (b"text/plain;q=0.9,application/json;q=0.8", True),
        (b"text/plain;q=0.2, */*", False),
        (b"text/*;q=0.5, application/*;q=0.4", True),
        (b"text/*, application/json", False),
        (b"text/plain, application/*", True),
        (b"text/plain;charset=utf-8", True),
        (b"text/plain ; q=1 , application/json ; q=0.1", True),
        (b"text/plain, application/json;Q=0.1", True),
        (b"text/Plain", True),
        (b"text/plain;q=x", False),
        (b"text/plain;q=nan", False),
        (b"text/plain;q=-1", False),
        (b"text/plain;q=9, application/json", False),
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        (b"text/plain\xff", False),
        (b"text/,;,,q=", False),
    ],
)
def test_accept_prefers_plain_text_only_where_it_says_so(accept: bytes, plain: bool) -> None:
    assert prefers_plain_text(accept) is plain


@given(
    st.binary()
    | st.lists(st.sampled_from([b"text/plain", b"*/*", b",", b";", b"q=", b"1", b"nan", b"inf"])).map(b"".join)
)
def test_any_accept_gets_an_answer(accept: bytes) -> None:
    assert prefers_plain_text(accept) in (True, False)


@pytest.mark.parametrize(
    "accept", [b"TEXT/PLAIN", b"Text/plain", b"application/json;q=0.1, */*", b"application/json;q=0, */*"]
)
def test_accept_is_read_in_any_case_and_json_may_be_the_one_that_is_not_wanted(accept: bytes) -> None:
    assert prefers_plain_text(accept)


def test_another_status_that_begins_with_503_is_not_no_responders() -> None:
    assert not is_no_responders(b"NATS/1.0 5031\r\n\r\n", b"")
    assert is_no_responders(b"NATS/1.0 503 No Responders\r\n\r\n", b"")


def test_a_name_that_is_not_ascii_can_t_be_forwarded() -> None:
    with pytest.raises(ValueError, match="can't be forwarded"):
        AllowList(["x-é"])
