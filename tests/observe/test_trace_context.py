"""Which parent a request has, and which headers its service gets."""

import itertools
import re

import pytest

from app.formats.fields import Pair, allow
from app.observe.trace_context import MAX_STATE, Parent, choose_names, find_parent, make_ids, remove_trace, write_trace

TRACE, SPAN = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"
OTHER_TRACE, OTHER_SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
VALUE = b"00-%b-%b-01" % (TRACE, SPAN)
NAMES = choose_names(allow(()))


def said(*values: bytes, state: tuple[bytes, ...] = ()) -> list[Pair]:
    return [(b"traceparent", value) for value in values] + [(b"tracestate", value) for value in state]


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (VALUE, 1),
        (b" %b\t" % VALUE, 1),
        (VALUE[:-2] + b"00", 0),
        (VALUE[:-2] + b"03", 3),
        (VALUE[:-2] + b"ff", 3),  # flags that nobody knows yet are not passed on
        (b"01" + VALUE[2:], 1),
        (b"cc%b-what-the-future-brings" % VALUE[2:], 1),
    ],
)
def test_a_traceparent_names_the_parent(value: bytes, flags: int) -> None:
    assert find_parent(said(value)) == Parent(TRACE, SPAN, flags, b"")


@pytest.mark.parametrize(
    "values",
    [
        (),
        (b"",),
        (b"00-1",),
        (VALUE.upper(),),
        (VALUE + b"-more",),
        (VALUE + b"\n",),
        (b"ff" + VALUE[2:],),
        (b"00-%b-%b-01" % (b"0" * 32, SPAN),),
        (b"00-%b-%b-01" % (TRACE, b"0" * 16),),
        (b"00-%b-%b-1" % (TRACE, SPAN),),
        (VALUE.replace(b"a", b"g"),),
        (VALUE, VALUE),
        (VALUE, b""),
        (VALUE, VALUE[:-1], VALUE),
        (b"\xff" * 60_000,),
    ],
)
def test_a_traceparent_that_breaks_the_specification_counts_as_none(values: tuple[bytes, ...]) -> None:
    assert find_parent(said(*values, state=(b"a=1",))) is None


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ((b"a=1",), b"a=1"),
        ((b"a=1, b=2", b" c=3"), b"a=1, b=2,c=3"),
        ((b"a=" + b"1" * (MAX_STATE - 2),), b"a=" + b"1" * (MAX_STATE - 2)),
        ((b"a=" + b"1" * (MAX_STATE - 1),), b""),
        ((b"a=\x01",), b""),
        ((b"a=\xff",), b""),
    ],
)
def test_a_tracestate_travels_as_it_came_unless_it_could_harm(state: tuple[bytes, ...], kept: bytes) -> None:
    parent = find_parent(said(VALUE, state=state))
    assert parent is not None
    assert parent.state == kept


@pytest.mark.parametrize("is_sampled", [True, False])
@pytest.mark.parametrize("headers", [[], said(VALUE, state=(b"a=1",)), said(b"nonsense", state=(b"a=1",))])
@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"NATS/1.0\r\nX-A: b\r\n\r\n",
        b"NATS/1.0\r\nTraceParent: x\r\nX-A: traceparent: \r\ntracestate: y\r\ntracestate: z\r\n\r\n",
    ],
)
def test_a_service_gets_one_valid_traceparent(block: bytes, headers: list[Pair], is_sampled: bool) -> None:
    parent = find_parent(headers)
    written = write_trace(remove_trace(block, NAMES), NAMES, OTHER_TRACE, OTHER_SPAN, parent, is_sampled)
    first, *lines, end, more = written.split(b"\r\n")
    assert (first, end, more) == (b"NATS/1.0", b"", b"")
    others = [line for line in lines if not line.lower().startswith(b"trace")]
    assert others == [line for line in block.split(b"\r\n") if line.startswith(b"X-")]
    (told,) = (line for line in lines if line.lower().startswith(b"traceparent:"))
    context = find_parent(said(told.removeprefix(b"traceparent: ")))
    assert context == Parent(OTHER_TRACE, OTHER_SPAN, int(is_sampled), b"")
    states = [line for line in lines if line.startswith(b"tracestate:")]
    assert states == ([b"tracestate: a=1"] if parent else [])


def test_no_id_comes_twice() -> None:
    made = [each for ids in itertools.islice(make_ids(), 1000) for each in ids]
    assert len(set(made)) == 3000
    assert all(re.fullmatch(rb"[0-9a-f]{16}", each) for each in made)
