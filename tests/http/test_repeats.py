"""A head that is read by comparison is read as the parser would read it."""

from dataclasses import dataclass, field

import httptools
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from app.http.head import find_length
from app.http.repeats import read_alike

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
def test_it_is_read_as_the_parser_reads_it(before: list[tuple[str, str, str]], data: st.DataObject | None) -> None:
    if data is None:
        version, now = "HTTP/1.1", [*before[:-1], ("Content-Length", ": ", "5")]
    else:
        version = data.draw(versions)
        now = [
            data.draw(st.just(line) | st.tuples(st.just(line[0]), st.just(": "), values) | odd_lines) for line in before
        ]
    first = parse(write("HTTP/1.1", before))
    if first is None or b"transfer-encoding" in dict(first.fields):
        return
    rest = write(version, now)
    alike = read_alike(write("HTTP/1.1", before), rest, first.fields, find_length(first.fields) or 0)
    event("alike" if alike else "not alike")
    if alike is None:
        return
    second = parse(rest)
    assert second is not None
    assert alike == (second.fields, find_length(second.fields) or 0)
    assert second.connection == first.connection
