"""What callers write costs a number of steps that does not grow with its length. Counted are all calls, those of native
functions too: a time would say more of the machine."""

import sys
import time
from collections.abc import Callable
from types import FrameType

import pytest

from app.edge.request import Caller, Request
from app.exchange.outbound import Outbound
from app.exchange.plans import Limits
from app.exchange.relay import Relay
from app.exchange.responses import Response
from app.exchange.way_out import WayOut
from app.formats.fields import Pair
from app.observe.record import Observers
from app.routing.parameters import MAX_MANY, Parameter
from app.routing.routes import ReplyRules, Route
from app.routing.table import RouteTable

SIZE = 64 * 1024  # bytes of a request head
MAX_LINES = 256  # of one
MAX_PAIRS = 1024  # of a query
MAX_STEPS = 8 * MAX_PAIRS

LOWER = "[a-z]*"
ROUTES = (
    Route(name="wrap", methods=("GET",), path="/wrap/{id}", subject="x.{id}", reply=ReplyRules(wrap="message")),
    Route(
        name="query",
        methods=("GET",),
        path="/query",
        subject="x.query",
        payload="params",
        parameters=(
            Parameter(name="q", location="query", pattern=LOWER),
            Parameter(name="tag", location="query", many=True, pattern=LOWER),
            Parameter(name="price", location="query", many=True, type="number"),
            Parameter(name="X-Kind", location="header", pattern=LOWER),
            Parameter(name="X-Count", location="header", type="integer"),
        ),
    ),
    Route(
        name="path",
        methods=("GET",),
        path="/path/{a}/{b}",
        subject="x.path",
        payload="params",
        parameters=(Parameter(name="a", pattern=LOWER), Parameter(name="b")),
    ),
    Route(
        name="post",
        methods=("POST",),
        path="/post",
        subject="x.post",
        accepts=("application/json",),
        headers=("x-request-id", "traceparent", "tracestate", "if-match"),
    ),
    Route(
        name="deep",
        methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
        path="/deep/{a}/{b}/{c}",
        subject="x.{a}.{b}.{c}",
    ),
)

Made = tuple[str, bytes, bytes, list[Pair]]


def get(path: bytes, query: bytes = b"", *headers: Pair) -> Made:
    return "GET", path, query, list(headers)


def post(*headers: Pair) -> Made:
    return "POST", b"/post", b"", [(b"content-length", b"1"), *headers]


def fill(piece: bytes) -> bytes:
    return piece * (SIZE // len(piece))


SENT = "sent"
REQUESTS: dict[str, tuple[Made, int | str | None]] = {
    "Accept of commas": (get(b"/wrap/1", b"", (b"accept", fill(b","))), 431),
    "Accept of semicolons": (get(b"/wrap/1", b"", (b"accept", fill(b";"))), 431),
    "Accept with parameters": (get(b"/wrap/1", b"", (b"accept", fill(b"a/b;q=1"))), 431),
    "Accept with a long weight": (get(b"/wrap/1", b"", (b"accept", b"text/plain;q=" + fill(b"9"))), SENT),
    "Accept in many lines": (get(b"/wrap/1", b"", *[(b"accept", b"a/b")] * MAX_LINES), 431),
    "as many media ranges as may be": (get(b"/wrap/1", b"", (b"accept", b"a/b;q=0.1;b;c;d," * 63 + b"*/*")), SENT),
    "Accept where it has no say": (get(b"/query", b"", (b"accept", fill(b","))), SENT),
    "Connection of commas": (get(b"/wrap/1", b"", (b"connection", fill(b"a,"))), 431),
    "Connection in many lines": (get(b"/wrap/1", b"", *[(b"connection", b"a")] * MAX_LINES), 431),
    "as many names as may be": (get(b"/wrap/1", b"", (b"connection", b"x-y," * 63 + b"close")), SENT),
    "X-Request-Id": (get(b"/wrap/1", b"", (b"x-request-id", fill(b"a"))), SENT),
    "X-Request-Id in many lines": (get(b"/wrap/1", b"", *[(b"x-request-id", b" ")] * MAX_LINES), SENT),
    "X-Request-Timeout": (get(b"/wrap/1", b"", (b"x-request-timeout", fill(b"9"))), 422),
    "X-Request-Timeout of dots": (get(b"/wrap/1", b"", (b"x-request-timeout", fill(b"1."))), 422),
    "traceparent": (get(b"/wrap/1", b"", (b"traceparent", fill(b"a"))), 431),
    "traceparent in many lines": (get(b"/wrap/1", b"", *[(b"traceparent", b"")] * MAX_LINES), SENT),
    "a token": (get(b"/wrap/" + fill(b"a")), 414),
    "an encoded token": (get(b"/wrap/" + fill(b"%41")), 414),
    "a token of 128 characters": (get(b"/wrap/" + b"%F0%9F%98%80" * 128), SENT),
    "a query of names": (get(b"/query", fill(b"q&")), 414),
    "a query of ampersands": (get(b"/query", fill(b"&")), 414),
    "a query of encoded names": (get(b"/query", fill(b"%41&")), 414),
    "a query of one encoded name": (get(b"/query", fill(b"%41")), SENT),
    "as many pairs as may be": (get(b"/query", b"&".join([b"x=%41"] * MAX_PAIRS)), SENT),
    "a query of equals signs": (get(b"/query", b"q=" + fill(b"=")), 422),
    "a query of plus signs": (get(b"/query", b"q=" + fill(b"+")), 422),
    "an encoded value": (get(b"/query", b"q=" + fill(b"%41")), 422),
    "a half encoded value": (get(b"/query", b"q=" + fill(b"%61b")), SENT),
    "a badly encoded value": (get(b"/query", b"q=" + fill(b"%")), 422),
    "a long value": (get(b"/query", b"q=" + fill(b"a")), SENT),
    "a long wrong value": (get(b"/query", b"q=" + fill(b"a") + b"A"), 422),
    "many values": (get(b"/query", b"&".join([b"tag=" + b"a" * 250] * MAX_MANY)), SENT),
    "too many values": (get(b"/query", b"&".join([b"tag=a"] * MAX_PAIRS)), 422),
    "many numbers": (get(b"/query", b"&".join([b"price=1234.5e1"] * MAX_MANY)), SENT),
    "a long number": (get(b"/query", b"price=" + fill(b"9")), 422),
    "a header with a pattern": (get(b"/query", b"", (b"x-kind", fill(b"a"))), SENT),
    "a header that breaks its pattern": (get(b"/query", b"", (b"x-kind", fill(b"A"))), 422),
    "a header that is an integer": (get(b"/query", b"", (b"x-count", fill(b"9"))), 422),
    "a header parameter in many lines": (get(b"/query", b"", *[(b"x-kind", b"a")] * MAX_LINES), 422),
    "a path parameter": (get(b"/path/" + fill(b"a") + b"/b"), SENT),
    "an encoded path parameter": (get(b"/path/" + fill(b"%61") + b"/b"), SENT),
    "slashes": (get(fill(b"/")), None),
    "slashes behind a literal": (get(b"/deep" + fill(b"/")), None),
    "encoded segments": (get(b"/deep" + fill(b"/%41")), None),
    "one encoded segment": (get(b"/" + fill(b"%41")), None),
    "slashes for another method": (("OPTIONS", fill(b"/"), b"", []), None),
    "a literal that is encoded": (get(b"/%77%72%61%70/1"), SENT),
    "Content-Type": (post((b"content-type", fill(b";"))), 415),
    "Content-Type of slashes": (post((b"content-type", fill(b"/"))), 415),
    "Content-Type in many lines": (post(*[(b"content-type", b"a/b")] * MAX_LINES), 415),
    "Content-Encoding in many lines": (post(*[(b"content-encoding", b"a")] * MAX_LINES), 415),
    "Content-Length": (post((b"content-length", fill(b"1"))), 415),
    "If-Match": (post((b"content-type", b"application/json"), (b"if-match", fill(b"a"))), 431),
    "If-Match in many lines": (post((b"content-type", b"application/json"), *[(b"if-match", b"a")] * MAX_LINES), SENT),
}


@pytest.fixture(scope="module")
def relay() -> Relay:
    limits = Limits(timeout=2.0, max_timeout=30.0, max_body=1000)
    return Relay(RouteTable(ROUTES), limits, WayOut(Observers()))


def count_steps(run: Callable[[], object]) -> int:
    """Calls of functions, native ones and those of generators included."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", REQUESTS)
def test_a_head_costs_few_steps_whatever_is_in_it(relay: Relay, name: str) -> None:
    (method, path, query, headers), expected = REQUESTS[name]
    request = Request(
        method=method,
        path=path,
        query=query,
        headers=headers,
        version="1.1",
        received=time.monotonic(),
        caller=Caller(address=None, scheme="http", lane="fast"),
    )
    assert count_steps(lambda: relay.begin(request)) < MAX_STEPS
    answer = relay.begin(request)
    assert isinstance(answer, Outbound | Response | None)
    outcome = SENT if isinstance(answer, Outbound) else answer and answer.status
    assert outcome == expected


def test_steps_are_counted() -> None:
    assert count_steps(lambda: [len(text) for text in ["a"] * 1000]) > 1000
    assert count_steps(lambda: sum(1 for _ in range(1000))) > 1000
