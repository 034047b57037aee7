from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.formats.fields import (
    MAX_BLOCK,
    REPLY_HEADERS,
    REQUEST_HEADERS,
    AllowList,
    find_hop_by_hop_names,
    is_clean_request_id,
    is_clean_value,
)

HOP_BY_HOP = ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"]
HOP_BY_HOP += ["proxy-authenticate", "proxy-authorization"]
FRAMING = ["content-length", "host"]
RESERVED = ["nats-", "nats-msg-id", "nats-service-error"]
IDS = [b"a", b"A.z_0-9", b"-", b"x" * 128]
NO_IDS = [b"", b"x" * 129, b"a b", b" a", b"a\n", b"a/b", b"a~", b"\xc3\xa9", b"<script>"]
CONTROLS = bytes([*range(9), *range(10, 32), 127])  # all but tab


def test_an_allow_list_has_its_names_in_lower_case_and_spells_them_as_they_were_listed() -> None:
    allow = AllowList(["X-Tenant", "traceparent"])
    assert allow.names == {b"x-tenant", b"traceparent"}
    assert (allow.canonical(b"x-tenant"), allow.canonical(b"traceparent")) == (b"X-Tenant", b"traceparent")


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
    assert find_hop_by_hop_names(connection) == expected


@given(st.binary())
def test_a_clean_value_has_no_control_character_but_tab(value: bytes) -> None:
    assert is_clean_value(value) == (not set(value) & set(CONTROLS))


@given(st.integers(0, 255))
def test_each_byte_of_a_value_counts(byte: int) -> None:
    assert is_clean_value(b"a" + bytes([byte])) == (byte == 9 or 32 <= byte != 127)


@pytest.mark.parametrize(("value", "clean"), [(value, True) for value in IDS] + [(value, False) for value in NO_IDS])
def test_a_request_id_is_1_to_128_of_letters_digits_dot_underscore_and_dash(value: bytes, clean: bool) -> None:
    assert is_clean_request_id(value) is clean


def test_a_name_that_is_not_ascii_can_t_be_forwarded() -> None:
    with pytest.raises(ValueError, match="can't be forwarded"):
        AllowList(["x-é"])
