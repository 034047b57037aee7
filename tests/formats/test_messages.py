import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.formats.fields import Pair
from app.formats.messages import ReplyBlock, encode_block, is_no_responders, parse_block

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 §5.6.2


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


def test_another_status_that_begins_with_503_is_not_no_responders() -> None:
    assert not is_no_responders(b"NATS/1.0 5031\r\n\r\n", b"")
    assert is_no_responders(b"NATS/1.0 503 No Responders\r\n\r\n", b"")
