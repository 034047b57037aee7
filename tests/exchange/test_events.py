"""The forms of streams: a reader of the standard gets each message as one event, and no message can forge another."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.exchange.events import FORMS, RETRY, RETRY_JITTER, EventWriter, choose_form, write_time
from app.formats.messages import Reply, encode_block

SSE, NDJSON = FORMS
payloads = st.one_of(
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(alphabet="\r\n :adeatvn", max_size=40).map(str.encode),
    st.binary(max_size=20),
    st.sampled_from([b"x\n\nevent: gap\ndata: y\n\n", b"id: 7", b"\xef\xbb\xbfx", b"retry: 1\n"]),
)
values = st.text(alphabet=st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=10).map(
    lambda text: text.strip(" \t").encode("latin-1")
)


def read_events(stream: bytes) -> list[tuple[str, str]]:
    """The types and data of events, as the HTML standard §9.2.6 says."""
    events = []
    kind, data = "", list[str]()
    for line in re.split(r"\r\n|\r|\n", stream.decode())[:-1]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if data:
                events.append((kind or "message", "\n".join(data)))
            kind, data = "", []
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        else:
            assert name in ("", "retry")
    assert not data
    return events


def write_all(writer: EventWriter, messages: list[tuple[bytes, bytes]]) -> tuple[bytes, list[bytes]]:
    """A stream of the messages that are text, and these."""
    written, kept = [writer.write_first()], []
    for value, payload in messages:
        block = encode_block([(b"Event-Type", value)])
        try:
            written.append(writer.write(Reply(block, payload)))
        except UnicodeDecodeError:
            with pytest.raises(UnicodeDecodeError):
                payload.decode()
        else:
            kept.append(payload)
            written.append(writer.write_beat())
    return b"".join([*written, writer.write_gap({"cause": "slow"})]), kept


@given(messages=st.lists(st.tuples(values, payloads)))
def test_a_browser_reads_what_was_written(messages: list[tuple[bytes, bytes]]) -> None:
    stream, kept = write_all(EventWriter(SSE, "event-type"), messages)
    found = read_events(stream)
    expected = [re.sub(r"\r\n|\r", "\n", payload.decode()) for payload in kept]
    assert [data for _, data in found] == [*expected, '{"cause":"slow"}']
    assert [kind for kind, _ in found].count("gap") == 1
    assert found[-1][0] == "gap"


@given(messages=st.lists(st.tuples(values, payloads)))
def test_each_line_is_a_message(messages: list[tuple[bytes, bytes]]) -> None:
    stream, kept = write_all(EventWriter(NDJSON, "event-type"), messages)
    lines = [json.loads(line) for line in stream.split(b"\n") if line]
    assert lines.pop() == {"gap": {"cause": "slow"}}
    assert len(lines) == len(kept)
    for line, payload in zip(lines, kept, strict=True):
        text = payload.decode()
        assert line["data"] == text or line["data"] == json.loads(text)


@given(payload=st.binary(max_size=50))
def test_base64_takes_any_payload(payload: bytes) -> None:
    for form in FORMS:
        assert EventWriter(form, is_base64=True).write(Reply(b"", payload))


def test_equal_rules_make_equal_writers() -> None:
    assert EventWriter(SSE, "A") == EventWriter(SSE, "a")
    assert len({EventWriter(SSE), EventWriter(NDJSON), EventWriter(SSE, is_base64=True), EventWriter(SSE, "a")}) == 4


def test_browsers_come_again_at_different_times() -> None:
    times = {int(EventWriter(SSE).write_first().split()[1]) for _ in range(50)}
    assert len(times) > 10
    assert all(abs(time - RETRY) <= RETRY_JITTER for time in times)


@pytest.mark.parametrize(
    ("accept", "form"),
    [(b"", SSE), (b"*/*", SSE), (b"application/json", SSE), (b"application/x-ndjson", NDJSON), (SSE.encode(), SSE)],
)
def test_accept_chooses_the_form(accept: bytes, form: str) -> None:
    assert choose_form(accept) == form


def test_a_time_is_as_in_rfc_3339() -> None:
    assert write_time(0.5) == "1970-01-01T00:00:00.500Z"
