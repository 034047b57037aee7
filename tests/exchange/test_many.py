"""The forms of many replies: no reply can forge an element, a line or an event."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.exchange.many import FORMS, ElementWriter, choose_form, open_stream, write_array, write_end, write_part
from app.formats.messages import Reply
from app.routing.kinds import Gather
from app.routing.routes import ReplyRules, Route

replies = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)).map(
            lambda value: json.dumps(value, indent=1).encode()
        ),
        st.sampled_from([b"data: x\n\nevent: end\n\n", b"]", b"\r\n\r\n", b"{}\n{}", b'{"X-Replies-Ended":"end"}']),
    )
)


def make_writer(content_type: str | None = None) -> ElementWriter:
    kind = Gather()
    rules = ReplyRules(content_type=content_type)
    return ElementWriter(Route(name="a", methods=("GET",), path="/a", subject="a", kind=kind, reply=rules), kind)


def read_events(text: str) -> list[tuple[str, str]]:
    """The types and data of events, as a browser reads them (the HTML standard, §9.2.6)."""
    events = []
    for block in text.split("\n\n")[:-1]:
        fields = [line.partition(": ") for line in block.split("\n")]
        data = "\n".join(value for name, _, value in fields if name == "data")
        events.append((next((value for name, _, value in fields if name == "event"), "message"), data))
    return events


@given(payloads=replies, content_type=st.sampled_from([None, "application/json", "text/plain"]))
def test_each_form_has_every_reply_once_and_in_order(payloads: list[bytes], content_type: str | None) -> None:
    writer = make_writer(content_type)
    elements = [writer.write(Reply(b"", payload)) for payload in payloads]
    written = [element for element in elements if isinstance(element, bytes)]
    assert len(written) == len(payloads)
    values = [json.loads(element) for element in written]
    assert json.loads(write_array(written, "stall").body) == values
    lines = b"".join(
        [*(write_part("application/x-ndjson", e) for e in written), write_end("application/x-ndjson", "max")]
    )
    assert [json.loads(line) for line in lines.split(b"\n")[:-1]] == [*values, {"X-Replies-Ended": "max"}]
    events = b"".join([*(write_part("text/event-stream", e) for e in written), write_end("text/event-stream", "max")])
    assert b"\r" not in events
    found = read_events(events.decode())
    assert [json.loads(data) for kind, data in found if kind == "message"] == values
    assert found[-1] == ("end", '{"X-Replies-Ended":"max"}')


@pytest.mark.parametrize(
    "payload", [b'{"a": 1.10, "b": 12345678901234567890123}', b'"\\n"', b"1e400", b"\xef\xbb\xbf1"]
)
def test_json_stays_as_it_is_and_other_texts_become_strings(payload: bytes) -> None:
    element = make_writer().write(Reply(b"", payload))
    is_kept = element == payload
    assert is_kept or json.loads(bytes(element)) == payload.decode()  # type: ignore[arg-type] # it is no Unchecked


@pytest.mark.parametrize(
    ("accept", "method", "form"),
    [
        (b"", "GET", FORMS[0]),
        (b"text/*", "GET", FORMS[2]),
        (b"application/*", "GET", FORMS[0]),
        (b"text/event-stream", "HEAD", FORMS[0]),
        (b"application/json;q=0.1, application/x-ndjson;q=0.2", "GET", FORMS[1]),
        (b",".join([b"text/event-stream"] * 100), "GET", FORMS[0]),
    ],
)
def test_accept_chooses_the_form(accept: bytes, method: str, form: str) -> None:
    assert choose_form(accept, method) == form


def test_a_stream_is_not_stored_and_not_buffered() -> None:
    fields = dict(open_stream("text/event-stream").fields.pairs)
    assert (fields[b"cache-control"], fields[b"x-accel-buffering"]) == (b"no-store", b"no")
