"""A head that is read by comparison is read as the parser would read it."""

from dataclasses import dataclass, field

import httptools
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from app.http.head import find_length
from app.http.repeats import MOST_REMEMBERED, KnownHead, may_be_known

names = st.sampled_from(
    ["Host", "Accept", "accept", "X-Id", "x-id", "Cookie", "Content-Length", "content-length", "Connection", "Expect",
     "Upgrade", "Transfer-Encoding", "Proxy-Connection", "X-Id ", " X", "", "X:Id"]
)  # fmt: skip
values = st.sampled_from(
    ["a", "a b", "0", "2", "007", "-1", "+1", "1, 1", "close", "keep-alive", "chunked", "", " ", " a", "a ", "\ta",
     "a\tb", "a: b", ": ", "caf\u00e9", "a\x00b", "a\x7f", "a\n b", "a\nb: c", "a\r\n b", "a\r\nb: c", "a\rb"]
)  # fmt: skip
colons = st.sampled_from([": ", ": ", ": ", ":", " : ", ":  ", ""])
odd_lines = st.tuples(names, colons, values)
versions = st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", ": x", "HTTP/1.1: x"])
sound_names = st.sampled_from(["Host", "Accept", "X-Id", "Cookie", "Connection", "Upgrade", "Expect"])
sound_values = st.sampled_from(["a", "a", "a b", "close", "keep-alive", "caf\u00e9", "a\tb", "a\r\n b"])
sound_lines = st.tuples(sound_names, st.sampled_from([": ", ": ", ":", ":  "]), sound_values)
length_lines = st.tuples(st.just("Content-Length"), st.just(": "), st.sampled_from(["0", "2", "007"]))


def write(version: str, fields: list[tuple[str, str, str]]) -> bytes:
    text = "".join(f"{name}{colon}{value}\r\n" for name, colon, value in fields)
    return f" {version}\r\n{text}\r\n".encode("latin-1")


@pytest.fixture(autouse=True)
def lane() -> None:
    """No gateway runs here, on neither lane."""


@dataclass
class Read:
    """What the parser says of a head."""

    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    is_whole: bool = False
    connection: tuple[object, ...] = ()
    parser: httptools.HttpRequestParser = field(init=False)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.is_whole = True
        parser = self.parser
        self.connection = parser.should_keep_alive(), parser.should_upgrade(), parser.get_http_version()


def parse(rest: bytes) -> Read | None:
    read = Read()
    read.parser = httptools.HttpRequestParser(read)
    try:
        read.parser.feed_data(b"POST /" + rest)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    return read if read.is_whole else None


@given(st.lists(sound_lines | length_lines, min_size=1, max_size=4), st.data())
@example([("Host", ": ", "t"), ("Content-Length", ": ", "0")], None)
@settings(max_examples=500)
def test_heads_are_read_as_the_parser_reads_them(
    before: list[tuple[str, str, str]], data: st.DataObject | None
) -> None:
    rest = write("HTTP/1.1", before)
    first = parse(rest)
    if first is None or b"transfer-encoding" in dict(first.fields) or not may_be_known(rest):
        return
    known = KnownHead(b"POST ", rest, first.fields, find_length(first.fields) or 0)
    for number in range(4):
        if data is None:
            version, now = "HTTP/1.1", [*before[:-1], ("Content-Length", ": ", str(number))]
        else:
            is_odd = number > 1 and data.draw(st.booleans())
            version = data.draw(versions) if is_odd else "HTTP/1.1"
            new = values if is_odd else st.sampled_from("abc")
            odd = odd_lines if is_odd else st.nothing()
            now = [data.draw(st.just(line) | st.tuples(st.just(line[0]), st.just(": "), new) | odd) for line in before]
        rest = write(version, now)
        varied = known.varies
        fields = known.read(rest)
        event(f"{'some values varied' if varied else 'nothing varied'}, {'alike' if fields else 'not alike'}")
        if fields is None:
            continue
        again = parse(rest)
        assert again is not None
        assert (fields, known.length) == (again.fields, find_length(again.fields) or 0)
        assert again.connection == first.connection


LINES = [b"Host: t", b"X-Id: %d", b"Accept: */*", b"Traceparent: %d", b"X-Last: x"]
LIKE = b" HTTP/1.1\r\n" + b"\r\n".join(LINES) + b"\r\n\r\n"


def learn(*heads: tuple[int, int]) -> KnownHead:
    """What heads with these values have in common."""
    rest = LIKE % heads[0]
    first = parse(rest)
    assert first
    known = KnownHead(b"GET ", rest, first.fields, 0)
    for values in heads[1:]:
        assert known.read(LIKE % values)
    return known


@pytest.mark.parametrize("heads", [[(1, 1), (2, 2)], [(1, 1), (2, 1), (2, 2)], [(1, 1), (2, 1), (1, 2)]])
def test_what_has_differed_once_may_differ_again_without_a_look_at_the_other_lines(
    monkeypatch: pytest.MonkeyPatch, heads: list[tuple[int, int]]
) -> None:
    known = learn(*heads)
    monkeypatch.setattr(KnownHead, "_learn", lambda *_: pytest.fail("it was compared line by line"))
    for count in (2, 3, 10_000):
        assert known.read(LIKE % (count, 7)) == [
            (b"host", b"t"), (b"x-id", b"%d" % count), (b"accept", b"*/*"), (b"traceparent", b"7"), (b"x-last", b"x")
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"X-Id: 3", b"X-Id: \x7f"),
        (b"X-Id: 3", b"X-Id:"),
        (b"Host: t", b"Host: u"),
        (b"X-Last: x\r\n", b""),
        (b"X-Last: x\r\n", b"X-Last: x\r\nX-More: x\r\n"),
        (b"Accept: */*", b"Accepts: */*"),
        (b"Traceparent: 3", b"Traceparent: 3\n"),
        (b" HTTP/1.1", b" HTTP/1.0"),
        (b"X-Last: x", b"X-Last: " + b"x" * MOST_REMEMBERED),
    ],
)
def test_another_difference_is_for_the_parser(old: bytes, new: bytes) -> None:
    known = learn((1, 1), (2, 2))
    assert known.read((LIKE % (3, 3)).replace(old, new)) is None
    assert known.read(LIKE % (4, 4))


def test_a_value_that_was_always_the_same_may_differ_too() -> None:
    known = learn((1, 1), (2, 2))
    read = known.read((LIKE % (3, 3)).replace(b"*/*", b"text/html"))
    assert read
    assert read[2] == (b"accept", b"text/html")
    assert known.read(LIKE % (4, 4))
